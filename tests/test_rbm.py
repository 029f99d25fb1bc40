import dataclasses
import itertools
import math

import pytest
import torch

from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Gaussian

ROWS, VISIBLE, HIDDEN = (2, 3), 2, 3
SIGMA = (0.7, 1.5)
STEP = 0.1
GRID = torch.arange(-15, 15, STEP, dtype=torch.float64)


def normal(*shape, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def machines(visible):
    """Six RBMs, each with biases of its own."""
    return RBMEnergy(
        visible,
        normal(HIDDEN, VISIBLE, seed=1),
        normal(*ROWS, VISIBLE, seed=2),
        normal(*ROWS, HIDDEN, seed=3),
    )


@pytest.fixture(params=["bernoulli", "gaussian"])
def rbm(request):
    gaussian = Gaussian(VISIBLE, torch.tensor(SIGMA)).double()
    return machines(Bernoulli(VISIBLE) if request.param == "bernoulli" else gaussian)


def is_gaussian(rbm):
    return isinstance(rbm.visible, Gaussian)


def states(n):
    return [torch.tensor(s).double() for s in itertools.product((0.0, 1.0), repeat=n)]


def energy(rbm, row, v, h):
    """E(v, h) of one machine, a sum of plain numbers."""
    total = 0.0
    for i in range(VISIBLE):
        s = SIGMA[i] if is_gaussian(rbm) else 1.0
        b, x = float(rbm.visible_bias[row][i]), float(v[i])
        total += (x - b) ** 2 / (2 * s**2) if is_gaussian(rbm) else -x * b
        for j in range(HIDDEN):
            total -= float(h[j]) * float(rbm.weight[j, i]) * x / s**2
    return total - sum(float(h[j]) * float(rbm.hidden_bias[row][j]) for j in range(HIDDEN))


def all_rows():
    return itertools.product(*[range(n) for n in ROWS])


def frames(rbm):
    v = normal(*ROWS, VISIBLE, seed=4)
    return v if is_gaussian(rbm) else (v > 0).double()


def test_energy_equals_the_sum_written_out(rbm):
    v, h = frames(rbm), (normal(*ROWS, HIDDEN, seed=5) > 0).double()
    got = rbm.energy(v, h)
    assert got.shape == ROWS
    for row in all_rows():
        assert got[row].item() == pytest.approx(energy(rbm, row, v[row], h[row]))


def test_free_energy_sums_the_hidden_units_out(rbm):
    v = frames(rbm)
    got = rbm.free_energy(v)
    assert got.shape == ROWS
    for row in all_rows():
        total = sum(math.exp(-energy(rbm, row, v[row], h)) for h in states(HIDDEN))
        assert got[row].item() == pytest.approx(-math.log(total))


def test_samples_give_the_visible_bias_the_gradient_of_their_means(rbm):
    """And the other parameters that of the samples."""
    v, mean = frames(rbm), normal(*ROWS, VISIBLE, seed=6).sigmoid()
    b_v, b_h = (b.clone().requires_grad_() for b in (rbm.visible_bias, rbm.hidden_bias))
    weight = rbm.weight.clone().requires_grad_()
    own = RBMEnergy(rbm.visible, weight, b_v, b_h)
    got = torch.autograd.grad(own.sampled_free_energy(v, mean).sum(), [weight, b_v, b_h])
    of_samples = torch.autograd.grad(own.free_energy(v).sum(), [weight, b_v, b_h])
    of_means = torch.autograd.grad(own.free_energy(mean).sum(), b_v)[0]
    torch.testing.assert_close(got[0], of_samples[0])
    torch.testing.assert_close(got[1], of_means)
    torch.testing.assert_close(got[2], of_samples[2])


def test_hidden_mean_is_the_mean_under_the_joint(rbm):
    v = frames(rbm)
    got = rbm.hidden_mean(v)
    for row in all_rows():
        p = [math.exp(-energy(rbm, row, v[row], h)) for h in states(HIDDEN)]
        mean = sum(weight * h for weight, h in zip(p, states(HIDDEN), strict=True)) / sum(p)
        torch.testing.assert_close(got[row], mean)


def test_visible_mean_is_the_mean_under_the_joint(rbm):
    h = (normal(*ROWS, HIDDEN, seed=5) > 0).double()
    got = rbm.visible_mean(h)
    for row in all_rows():
        for i in range(VISIBLE):  # given h the visible units are independent: vary one alone
            values = GRID if is_gaussian(rbm) else torch.tensor([0.0, 1.0]).double()
            v = torch.zeros(VISIBLE).double()
            p = []
            for value in values:
                v[i] = value
                p.append(math.exp(-energy(rbm, row, v, h[row])))
            mean = (torch.tensor(p).double() @ values).item() / sum(p)
            assert got[row][i].item() == pytest.approx(mean, rel=1e-6)


def test_drives_are_the_products_with_the_weight():
    rbm = machines(Bernoulli(VISIBLE))
    v, h = frames(rbm), normal(*ROWS, HIDDEN, seed=5)
    torch.testing.assert_close(rbm.hidden_drive(v), torch.einsum("hv,...v->...h", rbm.weight, v))
    torch.testing.assert_close(rbm.visible_drive(h), torch.einsum("hv,...h->...v", rbm.weight, h))


def test_the_hidden_layer_sees_gaussian_units_divided_by_their_variance():
    weight, zero = torch.ones(1, 1), torch.zeros(1)
    rbm = RBMEnergy(Gaussian(1, 0.5), weight, zero, zero)
    torch.testing.assert_close(rbm.hidden_drive(torch.tensor([3.0])), torch.tensor([12.0]))
    torch.testing.assert_close(rbm.visible_mean(torch.ones(1)), torch.tensor([1.0]))


def test_biases_without_rows_are_shared(rbm):
    shared = dataclasses.replace(
        rbm, visible_bias=rbm.visible_bias[0, 0], hidden_bias=rbm.hidden_bias[0, 0]
    )
    assert shared.rows == ()
    one_shared = dataclasses.replace(rbm, visible_bias=rbm.visible_bias[0, 0])
    assert one_shared.rows == rbm.rows == ROWS
    v = frames(rbm)
    torch.testing.assert_close(shared.free_energy(v)[0, 0], rbm.free_energy(v)[0, 0])
    repeated = dataclasses.replace(
        one_shared, visible_bias=rbm.visible_bias[0, 0].expand(*ROWS, -1)
    )
    torch.testing.assert_close(one_shared.free_energy(v), repeated.free_energy(v))


def test_the_hidden_layer_has_the_width_of_the_weight(rbm):
    assert isinstance(rbm.hidden, Bernoulli)
    assert rbm.hidden.size == HIDDEN


def test_the_gradient_of_the_free_energy_is_the_expected_statistic():
    """∂F/∂W = −E[h|v] vᵀ, ∂F/∂b_v = −v, ∂F/∂b_h = −E[h|v]."""
    rbm = machines(Bernoulli(VISIBLE))
    for parameter in (rbm.weight, rbm.visible_bias, rbm.hidden_bias):
        parameter.requires_grad_()
    v = frames(rbm)
    rbm.free_energy(v).sum().backward()
    h = rbm.hidden_mean(v).detach()
    torch.testing.assert_close(rbm.weight.grad, -torch.einsum("abh,abv->hv", h, v))
    torch.testing.assert_close(rbm.visible_bias.grad, -v)
    torch.testing.assert_close(rbm.hidden_bias.grad, -h)
