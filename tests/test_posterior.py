"""Posteriors of hidden sequences and bounds, beside sums over all hidden sequences."""

import itertools
import math

import brute
import numpy as np
import pytest
import torch

import seqebm
from seqebm import likelihood
from seqebm.posterior import exact_posterior, lower_bound, particle_posterior
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Gaussian

CONNECTIONS = [
    ("hh",),
    ("hh", "vh", "vv"),
    ("vh", "vv"),
    ("hv", "vv"),
    ("hh", "vh", "vv", "hv"),
]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def strong(model, seed=1, std=1.0):
    model = model.double()
    for number, parameter in enumerate(model.parameters()):
        torch.nn.init.normal_(parameter, std=std, generator=generator(100 * seed + number))
    return model


def binary(*shape, seed=1):
    return torch.randint(2, shape, generator=generator(seed)).double()


def brute_posterior(model, frames):
    """log P(v_1 … v_t), E[h_t | v_1 … v_t] and E[h_t | all] by sums over hidden sequences."""
    frames, states = frames.numpy(), brute.hidden_states(model)
    logs, filtered = [0.0], []
    for t in range(1, len(frames) + 1):
        sequences = [np.array(s) for s in itertools.product(states, repeat=t)]
        p = np.array([brute.trbm_joint(model, frames[:t], hiddens) for hiddens in sequences])
        means = np.einsum("s,sth->th", p / p.sum(), np.array(sequences))
        logs.append(math.log(p.sum()))
        filtered.append(means[-1])
    return np.diff(logs), np.array(filtered), means


# --- exactly ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("connections", CONNECTIONS)
def test_the_exact_posterior_is_that_of_brute_force(connections, order):
    model = strong(seqebm.TRBM(3, 2, order, connections=connections))
    frames = binary(2, 4, 3)
    posterior = exact_posterior(model, frames)
    for number, sequence in enumerate(frames):
        log_prob, filtered, smoothed = brute_posterior(model, sequence)
        np.testing.assert_allclose(posterior.log_prob[number], log_prob)
        np.testing.assert_allclose(posterior.filtered[number], filtered)
        np.testing.assert_allclose(posterior.smoothed[number], smoothed)


def test_the_exact_posterior_of_ragged_sequences():
    model, frames = strong(seqebm.TRBM(3, 2)), binary(3, 5, 3)
    together = exact_posterior(model, frames, torch.tensor([5, 2, 3]))
    for number, length in enumerate((5, 2, 3)):
        alone = exact_posterior(model, frames[number : number + 1, :length])
        for a, b in zip(together[:3], alone[:3], strict=True):
            torch.testing.assert_close(a[number, :length], b[0])
            assert not a[number, length:].any()


# --- particles -------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_many_particles_find_the_exact_posterior(connections):
    """With 20 000 particles; six standard deviations of a mean over 5000 of them are 0.04."""
    model = strong(seqebm.TRBM(4, 3, connections=connections))
    frames, lengths = binary(2, 6, 4), torch.tensor([6, 4])
    exact = exact_posterior(model, frames, lengths)
    got = particle_posterior(model, frames, lengths, 20_000, generator=generator())
    for name, tolerance in {"log_prob": 0.04, "filtered": 0.04, "smoothed": 0.04}.items():
        a, b = getattr(got, name), getattr(exact, name)
        assert (a - b).abs().max() < tolerance, name
        assert not a[1, 4:].any()


def test_the_estimated_likelihood_is_unbiased_with_few_particles():
    """The mean of 4000 estimates with three particles each, within four standard errors."""
    model = strong(seqebm.TRBM(3, 2, connections=("hh",)), std=1.5)
    frames = binary(1, 5, 3)
    exact = exact_posterior(model, frames).log_prob.sum()
    many = particle_posterior(model, frames.expand(4000, -1, -1), None, 3, generator=generator())
    ratios = (many.log_prob.sum(1) - exact).exp()
    assert ratios.std() > 0.05  # there is something to average out
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / 4000**0.5
    assert many.log_prob.sum(1).mean() < exact


def test_particles_that_look_ahead_are_nearer_than_mean_field():
    """Hidden units that keep what the first frame said, and a future that contradicts it."""
    model = seqebm.TRBM(2, 2, connections=("hh",)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.weight[:] = 2 * torch.eye(2)
        model.weight.sub_(1)
        model.hidden_to_hidden[0] = 6 * torch.eye(2)
        model.hidden_bias.fill_(-3)
    frames = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]]).double()
    exact = exact_posterior(model, frames)
    particles = particle_posterior(model, frames, None, 2000, generator=generator())
    ahead, behind = (
        (v - exact.smoothed).abs().mean() for v in (particles.smoothed, model.filter(frames))
    )
    assert ahead < behind / 4


def test_memory_of_an_early_frame_is_bounded_by_the_lag():
    model, frames = strong(seqebm.TRBM(3, 2)), binary(1, 12, 3)
    a, b = (particle_posterior(model, f, None, 50, 3, generator()) for f in (frames, 1 - frames))
    assert a.smoothed.shape == b.smoothed.shape == (1, 12, 2)
    changed = torch.cat([frames[:, :9], 1 - frames[:, 9:]], 1)
    c = particle_posterior(model, changed, None, 50, 3, generator())
    assert torch.equal(a.smoothed[:, :6], c.smoothed[:, :6])
    assert not torch.equal(a.smoothed[:, 6:], c.smoothed[:, 6:])


def test_particles_of_gaussian_and_of_large_models():
    gaussian = strong(seqebm.TRBM(4, 3, visible="gaussian"), std=0.3)
    v = torch.randn(2, 5, 4, generator=generator()).double()
    exact = exact_posterior(gaussian, v)
    got = particle_posterior(gaussian, v, None, 5000, generator=generator())
    torch.testing.assert_close(got.log_prob, exact.log_prob, atol=0.05, rtol=0)
    large = seqebm.TRBM(30, 25)
    posterior = particle_posterior(large, torch.rand(2, 5, 30), None, 10)
    assert bool(posterior.log_prob.isfinite().all())


def test_log_partition_by_mean_field():
    """Near the exact one where W is weak: the error is of third order in W."""
    for units in (Bernoulli(8), Gaussian(8, torch.full((8,), 0.8))):
        errors = []
        for scale in (0.05, 0.1):
            source = generator()
            weight, b_v, b_h = (
                torch.randn(*n, generator=source).double() for n in ((6, 8), (3, 8), (3, 6))
            )
            rbm = RBMEnergy(units.double(), scale * weight, b_v, b_h)
            got = likelihood.mean_field_log_partition(rbm, b_h.sigmoid())
            errors.append((got - likelihood.log_partition(rbm)).abs().max())
        assert errors[1] < 1e-2
        assert errors[0] < errors[1] / 5


# --- bounds ----------------------------------------------------------------------------------


def sampled_bound(model, frames, copies=2000):
    """The bound of one sequence and its standard error, from copies of it that draw together."""
    many = frames.expand(copies, -1, -1)
    values = lower_bound(model, many, samples=2, generator=generator()).value
    return float(values.mean()), float(values.std() / copies**0.5)


def test_the_standard_error_is_that_of_the_draws():
    model, frames = strong(seqebm.TRBM(3, 2)), binary(1, 3, 3)
    bounds = lower_bound(model, frames.expand(300, -1, -1), samples=20, generator=generator())
    assert float(bounds.standard_error.mean()) == pytest.approx(float(bounds.value.std()), rel=0.2)


@pytest.mark.parametrize("connections", [("hh",), ("hh", "vh", "vv"), ("vh", "hv")])
def test_the_bound_of_a_trbm_is_eq_3_13(connections):
    model, frames = strong(seqebm.TRBM(3, 2, connections=connections)), binary(3, 3)
    value, error = sampled_bound(model, frames)
    assert 0 < error < 0.1
    assert abs(value - brute.trbm_bound(model, frames.numpy())) < 4 * error
    assert value < math.log(brute.trbm_sequence_probability(model, frames.numpy()))


@pytest.mark.parametrize(
    "model",
    [
        lambda: seqebm.RBM(3, 2),
        lambda: seqebm.RTRBM(3, 2),
        lambda: seqebm.TRBM(3, 2, connections=("vh", "vv")),
        lambda: seqebm.Stack([seqebm.RTRBM(3, 2)]),
    ],
)
def test_where_nothing_is_guessed_the_bound_is_the_log_likelihood(model):
    model, frames = strong(model()), binary(2, 4, 3)
    bound = lower_bound(model, frames)
    torch.testing.assert_close(bound.value, model.log_prob(frames).sum(1).detach())
    assert not bound.standard_error.any()


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (lambda: seqebm.TRBM(3, 2), lambda: seqebm.RTRBM(2, 3)),
        (lambda: seqebm.TRBM(3, 2, connections=("vh", "vv")), lambda: seqebm.TRBM(2, 2)),
        (lambda: seqebm.RBM(3, 2), lambda: seqebm.RBM(2, 3)),
        (lambda: seqebm.RTRBM(3, 2), lambda: seqebm.TRBM(2, 2, connections=("vv",))),
    ],
)
def test_the_bound_of_a_stack_is_below_its_log_likelihood(lower, upper):
    """Eq. 3.12 against M(v) = Σ_h Q(h) P(v|h) summed over all hidden sequences."""
    stack = seqebm.Stack([strong(lower(), 1, 0.7), strong(upper(), 2, 0.7)])
    for seed in range(3):
        frames = binary(2, 3, seed=seed)
        value, error = sampled_bound(stack, frames)
        exact = math.log(brute.stack_sequence_probability(stack, frames.numpy()))
        assert value < exact - 4 * error
        assert value > exact - 5  # and near it


def test_the_bound_of_a_new_layer_that_changes_nothing():
    """Sec. 2.7.1 and 3.4: exact posteriors, exchanged layers, and every draw gives log p(v)."""
    rbm = strong(seqebm.RBM(3, 2))
    frames = binary(2, 1, 3)
    bound = lower_bound(seqebm.Stack([rbm, rbm.transposed()]), frames, generator=generator())
    torch.testing.assert_close(bound.value, rbm.log_prob(frames).sum(1).detach())
    assert bound.standard_error.max() < 1e-6


def test_bounds_3_12_and_3_13_agree_when_the_new_layer_changes_nothing():
    """With hidden-to-hidden connections only: the draws are the same, and so is every term."""
    model, frames = strong(seqebm.TRBM(3, 2, connections=("hh",))), binary(2, 4, 3)
    stack = seqebm.Stack([model, model.transposed()])
    one, two = (lower_bound(m, frames, generator=generator()) for m in (model, stack))
    torch.testing.assert_close(one.value, two.value, rtol=1e-6, atol=1e-6)


def test_the_bound_of_a_trbm_hh_is_its_log_likelihood_at_the_start():
    """Sec. 3.4: E[log P(v, h) + log Q(h) − log P(h)] + H with Q(h) = P(h), by enumeration.

    The exchanged model Q has connections that make its own units depend on each other over time;
    its likelihood is had by the forward-backward algorithm.
    """
    model = strong(seqebm.TRBM(2, 2, connections=("vh", "vv")))
    q, frames = model.transposed(), binary(3, 2)
    exact, bound = math.log(brute.trbm_sequence_probability(model, frames.numpy())), 0.0
    p = brute.filtered(model, frames.numpy())
    for hiddens in itertools.product(brute.hidden_states(model), repeat=3):
        h = np.array(hiddens)
        log_posterior = np.log(np.where(h == 1, p, 1 - p)).sum()
        visibles = itertools.product(brute.support(model)[0], repeat=3)
        p_h = sum(brute.trbm_joint(model, np.array(v), h) for v in visibles)
        log_q = exact_posterior(q, torch.from_numpy(h).unsqueeze(0)).log_prob.sum().item()
        log_p_v = math.log(brute.trbm_joint(model, frames.numpy(), h)) - math.log(p_h)
        bound += math.exp(log_posterior) * (log_q + log_p_v - log_posterior)
    assert math.isclose(bound, exact, rel_tol=1e-9)


# --- bad input -------------------------------------------------------------------------------


def test_other_models_and_bad_arguments():
    model, v = seqebm.TRBM(3, 2), torch.zeros(1, 4, 3)
    for function in (exact_posterior, particle_posterior):
        with pytest.raises(TypeError, match=r"model: expected a TRBM.*got RTRBM"):
            function(seqebm.RTRBM(3, 2), v)
        with pytest.raises(ValueError, match="frames: expected shape"):
            function(model, torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="particles: expected at least 1, got 0"):
        particle_posterior(model, v, particles=0)
    with pytest.raises(ValueError, match="lag: expected at least 1, got 0"):
        particle_posterior(model, v, lag=0)
    with pytest.raises(ValueError, match="at most 12 hidden units in its last 3 layers, got 15"):
        exact_posterior(seqebm.TRBM(3, 5, order=3), v)
    with pytest.raises(ValueError, match="samples: expected at least 2, got 1"):
        lower_bound(model, v, samples=1)


def test_machines_of_more_than_twenty_units_are_not_enumerated(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("enumerated")

    monkeypatch.setattr(likelihood, "exact_log_prob", refuse)
    model = seqebm.TRBM(21, 21)
    found = particle_posterior(model, torch.zeros(1, 2, 21), particles=3)
    assert bool(found.log_prob.isfinite().all())
