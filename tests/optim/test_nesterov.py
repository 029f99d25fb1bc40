import copy
import math

import pytest
import torch

import seqebm
from seqebm.learning import linear, load_training
from seqebm.learning.schedules import nesterov_momentum
from seqebm.optim.nesterov import NAG, Momentum

METHODS = (Momentum, NAG)


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameter(values):
    return values.clone().requires_grad_()


MATRIX, START = normal(6, 4), normal(4, seed=2)


def objective(x):
    """Smooth, not quadratic and not symmetric."""
    return torch.log1p((MATRIX @ x - 1).exp()).sum() + 0.1 * (x**4).sum()


def slope(x):
    return MATRIX.T @ torch.sigmoid(MATRIX @ x - 1) + 0.4 * x**3


def rate(step):
    return 0.03 / (1 + step % 7)


def inertia(step):
    return 0.95 - 0.3 * math.cos(0.5 * step) ** 2


def update(optimizer, x, step=None):
    """A step as a plain loop has it, at the point where the parameters are."""
    if step is not None:
        optimizer.param_groups[0].update(lr=rate(step), momentum=inertia(step))
    optimizer.zero_grad()
    objective(x).backward()
    optimizer.step()


def theta(optimizer, x):
    with optimizer.at_theta():
        return x.detach().clone()


# ------------------------------------------------------------------------------------ the equations


def test_momentum_is_equations_7_1_and_7_2_over_changing_schedules():
    x = parameter(START)
    optimizer = Momentum([x])
    expected, v = START.clone(), torch.zeros(4, dtype=torch.float64)
    for step in range(60):
        v = inertia(step) * v - rate(step) * slope(expected)
        expected = expected + v
        update(optimizer, x, step)
        torch.testing.assert_close(theta(optimizer, x), expected, rtol=1e-12, atol=1e-12)


def test_nag_is_equations_7_12_and_7_13_over_changing_schedules():
    x = parameter(START)
    optimizer = NAG([x])
    expected, v = START.clone(), torch.zeros(4, dtype=torch.float64)
    for t in range(60):
        before = inertia(t - 1)  # of the step before; at the first one v is zero
        v = before * v - rate(t) * slope(expected + before * v)
        expected = expected + v
        update(optimizer, x, t)
        torch.testing.assert_close(theta(optimizer, x), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.detach(), expected + inertia(t) * v, rtol=1e-12, atol=1e-12)


def test_nag_is_equations_7_4_to_7_6():
    x = parameter(START)
    optimizer, momentum = NAG([x], lr=0.02), nesterov_momentum()
    y, past, a = START.clone(), START.clone(), 1.0  # θ_{−1} = y_0
    for step in range(60):
        now = y - 0.02 * slope(y)
        following = (1 + math.sqrt(4 * a**2 + 1)) / 2
        y, past, a = now + (a - 1) * (now - past) / following, now, following
        optimizer.param_groups[0]["momentum"] = momentum(step)
        update(optimizer, x)
        torch.testing.assert_close(theta(optimizer, x), now, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.detach(), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_constant_rate_and_momentum_are_as_in_torch(method):
    x, y = parameter(START), parameter(START)
    own = method([x], lr=0.02, momentum=0.9)
    other = torch.optim.SGD([y], lr=0.02, momentum=0.9, nesterov=method is NAG)
    for _ in range(50):
        update(own, x)
        update(other, y)
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(x, START, atol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_without_momentum_it_is_gradient_descent(method):
    x, expected = parameter(START), START.clone()
    optimizer = method([x], lr=0.02, momentum=0.0)
    for _ in range(10):
        expected = expected - 0.02 * slope(expected)
        update(optimizer, x)
    torch.testing.assert_close(x.detach(), expected, rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------- rates on a quadratic

CURVATURES = torch.logspace(-4, 0, 30, dtype=torch.float64)  # σ = 1e-4, L = 1
FAR = normal(30, seed=3)


def excesses(steps, restarts, momentum=None):
    """f(θ_t) − f(θ*) of Nesterov's method with ε = 1/L, and how often it was restarted."""
    x = parameter(FAR)
    optimizer, momentum = NAG([x], lr=1.0), momentum or nesterov_momentum()
    found, begin, count = [], 0, 0
    for step in range(steps):
        optimizer.param_groups[0]["momentum"] = momentum(step - begin)
        x.grad = CURVATURES * x.detach()
        optimizer.step()
        found.append(float(CURVATURES @ theta(optimizer, x) ** 2) / 2)
        if restarts and optimizer.restart_on_increase(found[-1]):
            begin, count = step + 1, count + 1
    return found, count


def test_a_quadratic_is_within_the_bound_7_14():
    distance = float(FAR @ FAR)
    for restarts in (False, True):
        for t, excess in enumerate(excesses(1500, restarts)[0]):
            assert excess <= 4 * distance / (t + 2) ** 2


def test_with_restarts_it_converges_nearly_at_the_rate_of_the_best_momentum():
    plain, _ = excesses(4000, restarts=False)
    restarted, count = excesses(4000, restarts=True)
    best = (1 - 0.01) / (1 + 0.01)  # sec. 7.5 for √(σ/L) = 0.01
    ideal, _ = excesses(4000, restarts=False, momentum=lambda step: best)
    distance = float(FAR @ FAR)
    assert all(excess <= (1 - 0.01) ** t * distance for t, excess in enumerate(ideal, 1))  # 7.15
    assert 5 < count < 40
    assert restarted[-1] < 1e-6 * plain[-1]
    half = math.log(restarted[1999] / restarted[-1]) / 2000  # the exponent, where 7.15 has 0.01
    assert half > 0.5 * 0.01


def test_a_restart_needs_a_rise():
    x = parameter(START)
    optimizer = NAG([x], lr=0.02)
    losses = (3.0, 2.0, torch.tensor(2.0, requires_grad=True), 2.5, 2.4, 2.6)
    assert [optimizer.restart_on_increase(loss) for loss in losses] == [
        False,
        False,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_restart_begins_anew_at_theta(method):
    x = parameter(START)
    optimizer = method([x], lr=0.02)
    for _ in range(5):
        update(optimizer, x)
    here = theta(optimizer, x)
    optimizer.restart()
    assert torch.equal(x, here)
    assert torch.equal(theta(optimizer, x), here)
    y = parameter(here)
    fresh = method([y], lr=0.02)
    for _ in range(5):
        update(optimizer, x)
        update(fresh, y)
        assert torch.equal(x, y)


# ---------------------------------------------------------------------------------------- θ itself


def test_theta_is_not_where_the_gradient_is_taken_and_the_parameters_come_back_exactly():
    x = parameter(START)
    optimizer = NAG([x], lr=0.02)
    assert torch.equal(theta(optimizer, x), START)
    for _ in range(5):
        update(optimizer, x)
    before = x.detach().clone()
    assert not torch.allclose(theta(optimizer, x), before, atol=1e-3)
    assert torch.equal(x, before)
    with pytest.raises(KeyError), optimizer.at_theta():
        raise KeyError
    assert torch.equal(x, before)


def test_looking_at_theta_changes_nothing_that_follows():
    x, y = parameter(START), parameter(START)
    one, other = NAG([x], lr=0.02), NAG([y], lr=0.02)
    for _ in range(10):
        update(one, x)
        update(other, y)
        theta(one, x)
    assert torch.equal(x, y)


# --------------------------------------------------------------------------------- as an optimiser


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_was_kept_goes_on_bit_for_bit(method):
    x = parameter(START)
    optimizer = method([x])
    for step in range(7):
        update(optimizer, x, step)
    assert not optimizer.restart_on_increase(1.0)
    y = parameter(x.detach())
    other = method([y])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(7, 20):
        update(optimizer, x, step)
        update(other, y, step)
    assert torch.equal(x, y)
    assert torch.equal(theta(optimizer, x), theta(other, y))
    assert other.restart_on_increase(1.5)


@pytest.mark.parametrize("method", METHODS)
def test_fit_resumes_bit_for_bit(method, tmp_path):
    frames = normal(12, 6, 4, seed=4).sigmoid().float()
    schedules = {"lr": linear(0.1, 0.01, 9), "momentum": nesterov_momentum()}

    def run(steps, path, resume=False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = seqebm.RTRBM(4, 3)
        optimizer = method(model.parameters())
        seqebm.fit(
            model,
            frames,
            steps=steps,
            batch=4,
            optimizer=optimizer,
            schedules=schedules,
            checkpoint=tmp_path / path,
            resume=resume,
            generator=torch.Generator().manual_seed(2),
        )
        return model, optimizer

    model, optimizer = run(9, "whole.h5")
    run(4, "parts.h5")
    resumed, other = run(9, "parts.h5", resume=True)
    for one, two in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)
    with optimizer.at_theta(), other.at_theta():
        for one, two in zip(model.parameters(), resumed.parameters(), strict=True):
            assert torch.equal(one, two)
    saved, _ = load_training(tmp_path / "parts.h5")
    assert torch.equal(saved.weight, resumed.weight)  # where the next gradient is wanted


@pytest.mark.parametrize("method", METHODS)
def test_groups_have_rates_of_their_own_and_no_gradient_is_no_step(method):
    x, y, z = (parameter(START) for _ in range(3))
    optimizer = method([{"params": [x, z]}, {"params": [y], "lr": 0.0}], lr=0.02)

    def closure():
        optimizer.zero_grad()
        loss = objective(x) + objective(y)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert torch.equal(y, START)
    assert torch.equal(z, START)
    assert not torch.equal(x, START)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["lr", "momentum"])
def test_rates_and_momenta_out_of_range_are_refused(method, name):
    for value in (-0.1, math.inf, math.nan) + ((1.1,) if name == "momentum" else ()):
        with pytest.raises(ValueError, match=rf"^{name}: expected a .*number.*, got {value}$"):
            method([parameter(START)], **{name: value})
