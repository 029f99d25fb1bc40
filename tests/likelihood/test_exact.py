import itertools
import math

import pytest
import torch

from seqebm.likelihood import (
    LARGEST_ENUMERATION,
    binary_states,
    enumerated_units,
    exact,
    exact_log_prob,
    exact_mean,
    exact_samples,
    log_partition,
)
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Categorical, Gaussian

SIGMA = (0.6, 1.3)


def normal(*shape, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def bernoulli(n_visible, n_hidden, rows=()):
    return RBMEnergy(
        Bernoulli(n_visible),
        normal(n_hidden, n_visible, seed=1),
        normal(*rows, n_visible, seed=2),
        normal(*rows, n_hidden, seed=3),
    )


def gaussian(rows=()):
    return RBMEnergy(
        Gaussian(2, torch.tensor(SIGMA)).double(),
        normal(3, 2, seed=1),
        normal(*rows, 2, seed=2),
        normal(*rows, 3, seed=3),
    )


def states(n):
    return [torch.tensor(s).double() for s in itertools.product((0.0, 1.0), repeat=n)]


def weight_of(rbm, v, b_v, b_h):
    """Σ_h exp(−E(v, h)) of one machine with Bernoulli units, a sum over all hidden states."""
    hiddens = states(len(rbm.weight))
    return sum(math.exp(h @ rbm.weight @ v + v @ b_v + h @ b_h) for h in hiddens)


SHAPES = [(3, 4), (4, 3), (3, 3), (1, 1)]


@pytest.mark.parametrize(("n_visible", "n_hidden"), SHAPES)
@pytest.mark.parametrize("rows", [(), (2,), (2, 2)])
def test_everything_equals_brute_force(n_visible, n_hidden, rows):
    rbm = bernoulli(n_visible, n_hidden, rows)
    v = (normal(*rows, n_visible, seed=4) > 0).double()
    z, log_p, mean = log_partition(rbm), exact_log_prob(rbm, v), exact_mean(rbm)
    assert z.shape == log_p.shape == rows
    assert mean.shape == (*rows, n_visible)
    for row in itertools.product(*[range(n) for n in rows]):
        b_v, b_h = rbm.visible_bias[row], rbm.hidden_bias[row]
        weights = [weight_of(rbm, state, b_v, b_h) for state in states(n_visible)]
        assert z[row].item() == pytest.approx(math.log(sum(weights)))
        expected = math.log(weight_of(rbm, v[row], b_v, b_h) / sum(weights))
        assert log_p[row].item() == pytest.approx(expected)
        total = sum(w * s for w, s in zip(weights, states(n_visible), strict=True))
        torch.testing.assert_close(mean[row], total / sum(weights))


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(3, 4), (4, 3)])
@pytest.mark.parametrize("shared", ["visible_bias", "hidden_bias"])
def test_one_bias_may_be_shared_by_all_rows(n_visible, n_hidden, shared):
    own = bernoulli(n_visible, n_hidden, (2, 3))
    biases = {"visible_bias": own.visible_bias, "hidden_bias": own.hidden_bias}
    one = biases[shared][0, 0]
    mixed = RBMEnergy(own.visible, own.weight, **{**biases, shared: one})
    full = RBMEnergy(own.visible, own.weight, **{**biases, shared: one.expand(2, 3, -1)})
    torch.testing.assert_close(log_partition(mixed), log_partition(full))
    torch.testing.assert_close(exact_mean(mixed), exact_mean(full))


def test_gaussian_units_are_a_mixture_of_normals():
    """p(v) = Σ_h P(h) N(v; b_v + Wᵀh, σ²) with log P(h) ∝ h·b_h + ((m)² − b_v²)/2σ²."""
    rbm, variance = gaussian(), torch.tensor(SIGMA).double() ** 2
    hiddens = torch.stack(states(3))
    centres = rbm.visible_bias + hiddens @ rbm.weight
    gain = ((centres**2 - rbm.visible_bias**2) / (2 * variance)).sum(-1)
    log_weights = hiddens @ rbm.hidden_bias + gain
    volume = 0.5 * (2 * math.pi * variance).log().sum()
    torch.testing.assert_close(log_partition(rbm), log_weights.logsumexp(0) + volume)
    v = normal(2, seed=4)
    normals = torch.distributions.Normal(centres, variance.sqrt()).log_prob(v).sum(-1)
    expected = (log_weights.log_softmax(0) + normals).logsumexp(0)
    torch.testing.assert_close(exact_log_prob(rbm, v), expected)
    torch.testing.assert_close(exact_mean(rbm), log_weights.softmax(0) @ centres)


def test_a_gaussian_density_integrates_to_one():
    rbm, grid = gaussian(), torch.arange(-20, 20, 0.1, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    assert exact_log_prob(rbm, points).exp().sum().item() * 0.01 == pytest.approx(1.0)


@pytest.mark.parametrize(
    "make", [lambda r: bernoulli(5, 6, r), lambda r: bernoulli(6, 5, r), gaussian]
)
@pytest.mark.parametrize("block", [1, 24, 100])
def test_the_size_of_the_blocks_does_not_matter(make, block, monkeypatch):
    rbm = make((2,))
    z, mean = log_partition(rbm), exact_mean(rbm)
    monkeypatch.setattr(exact, "_BLOCK", block)
    torch.testing.assert_close(log_partition(rbm), z)
    torch.testing.assert_close(exact_mean(rbm), mean)


def test_the_gradient_of_log_z_is_the_expected_statistic():
    """∂log Z/∂b_v = E[v], ∂log Z/∂W = E[h vᵀ]."""
    for n_visible, n_hidden in [(3, 4), (4, 3)]:
        rbm = bernoulli(n_visible, n_hidden)
        for parameter in (rbm.weight, rbm.visible_bias):
            parameter.requires_grad_()
        log_partition(rbm).backward()
        joint = torch.zeros(n_hidden, n_visible).double()
        weight, b_v, b_h = (p.detach() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
        total = 0.0
        for v in states(n_visible):
            for h in states(n_hidden):
                p = math.exp(h @ weight @ v + v @ b_v + h @ b_h)
                joint += p * torch.outer(h, v)
                total += p
        torch.testing.assert_close(rbm.weight.grad, joint / total)
        torch.testing.assert_close(rbm.visible_bias.grad, exact_mean(rbm))


def test_binary_states_lists_every_state_once():
    found = binary_states(4, 0, 16, torch.tensor(0.0))
    assert found.dtype == torch.float32
    assert len({tuple(state) for state in found.tolist()}) == 16
    parts = [binary_states(4, a, a + 4, torch.tensor(0.0)) for a in (0, 4, 8, 12)]
    assert torch.equal(torch.cat(parts), found)


def test_the_smaller_layer_is_enumerated_but_never_real_units():
    assert enumerated_units(bernoulli(3, 5)) == 3
    assert enumerated_units(bernoulli(5, 3)) == 3
    assert enumerated_units(gaussian()) == 3


@pytest.mark.parametrize(("categories", "n_hidden"), [(6, 11), (3, 6), (2, 9)])
def test_the_states_of_categorical_units_are_enumerated(categories, n_hidden, monkeypatch):
    """Six units, as many as hidden ones in the second case, by sums over all pairs of states."""
    source = torch.Generator().manual_seed(1)
    options = {"generator": source, "dtype": torch.float64}
    weight, b_v = torch.randn(n_hidden, 6, **options), torch.randn(2, 6, **options)
    b_h = torch.randn(2, n_hidden, **options)
    rbm = RBMEnergy(Categorical(6, categories), weight, b_v, b_h)
    assert enumerated_units(rbm) == {6: 3, 3: 4, 2: 3}[categories]
    codes = itertools.product(torch.eye(categories).double(), repeat=6 // categories)
    v = torch.stack([torch.cat(code) for code in codes])
    h = torch.stack([*states(n_hidden)])
    pairs = (v @ weight.t() @ h.t()).exp()
    for row in range(2):
        weights = ((v @ b_v[row]).exp()[:, None] * pairs * (h @ b_h[row]).exp()).sum(1)
        p = weights / weights.sum()
        one = RBMEnergy(rbm.visible, weight, b_v[row], b_h[row])
        torch.testing.assert_close(exact_log_prob(one, v), p.log())
        torch.testing.assert_close(exact_mean(rbm)[row], p @ v)
        monkeypatch.setattr(exact, "_BLOCK", 60)
        torch.testing.assert_close(log_partition(rbm)[row], weights.sum().log())


def test_samples_by_enumeration_of_categorical_units():
    weight = 2 * torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    rbm = RBMEnergy(Categorical(4, 4), weight, torch.zeros(4), torch.zeros(9))
    drawn = exact_samples(rbm, 20_000, torch.Generator().manual_seed(2))
    mean = exact_mean(rbm)
    z = (drawn.mean(0) - mean) / (mean * (1 - mean) / 20_000).sqrt()
    assert z.abs().max() < 4


def test_too_many_units_are_refused():
    n = LARGEST_ENUMERATION + 1
    zero = torch.zeros(n)
    too_large = RBMEnergy(Bernoulli(n), torch.zeros(n, n), zero, zero)
    real = RBMEnergy(Gaussian(2), torch.zeros(n, 2), torch.zeros(2), zero)
    for rbm in (too_large, real):
        v = torch.zeros(rbm.weight.shape[1])
        for compute in (log_partition, exact_mean, lambda rbm, v=v: exact_log_prob(rbm, v)):
            with pytest.raises(ValueError, match=f"at most 24 units.* has {n} "):
                compute(rbm)


def test_the_largest_layer_is_still_enumerated():
    n, width = LARGEST_ENUMERATION, 1
    rbm = RBMEnergy(Bernoulli(n), torch.zeros(width, n), torch.zeros(n), torch.zeros(width))
    assert log_partition(rbm).item() == pytest.approx((n + width) * math.log(2))
    rbm = RBMEnergy(Bernoulli(n), torch.zeros(n, n), torch.zeros(n), torch.zeros(n))
    assert log_partition(rbm).item() == pytest.approx(2 * n * math.log(2))


def test_large_biases_do_not_overflow():
    rbm = RBMEnergy(Bernoulli(2), torch.zeros(2, 2), torch.full((2,), 500.0), torch.zeros(2))
    assert log_partition(rbm).item() == pytest.approx(1000 + 2 * math.log(2))
    torch.testing.assert_close(exact_mean(rbm), torch.ones(2))


@pytest.mark.parametrize("seed", range(6))
def test_means_of_binary_units_are_probabilities_in_single_precision(seed):
    """log Z is in the thousands here, where the steps of float32 are 5e-4."""
    weight = normal(8, 900, seed=seed).float() / 2
    rbm = RBMEnergy(Bernoulli(900), weight, torch.full((900,), 6.0), torch.zeros(8))
    assert exact_mean(rbm).max() <= 1
