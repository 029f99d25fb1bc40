"""Tests of the Hessian-free optimiser."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from seqebm.optim import (
    Bernoulli,
    Categorical,
    GaussNewton,
    Held,
    HessianFree,
    Objective,
    Prediction,
    Report,
    Squared,
)
from seqebm.optim.hessian_free import converged
from seqebm.optim.second_order import line_search


def data(cases: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs, and classes that a small network can tell."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(cases, 4, generator=generator, dtype=torch.float64)
    classes = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()
    return x, nn.functional.one_hot(classes, 3).double()


def small(seed: int = 1) -> nn.Sequential:
    """A feed-forward network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3)).double()


def forward_of(network: nn.Sequential):
    """Its forward pass, which holds the total inputs of its hidden units."""

    def forward(batch: tuple[Tensor, Tensor]) -> Prediction:
        x, y = batch
        totals = network[0](x)
        hidden = totals.tanh()
        return Prediction(network[2](hidden), Categorical(y), (Held(totals, 1 - hidden.square()),))

    return forward


def test_a_quadratic_is_solved_in_one_step() -> None:
    """A linear network with squared error: λ → 0 gives the solution of the normal equations."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    network = nn.Linear(5, 2).double()
    optimizer = HessianFree(network.parameters(), damping=1e-10)
    report = optimizer.step(lambda b: Prediction(network(b[0]), Squared(b[1])), [(x, y)])
    solution = torch.linalg.lstsq(torch.cat([x, x.new_ones(30, 1)], 1), y).solution
    torch.testing.assert_close(network.weight.detach(), solution[:5].t(), rtol=0, atol=1e-6)
    torch.testing.assert_close(network.bias.detach(), solution[5], rtol=0, atol=1e-6)
    assert report.ratio == pytest.approx(1, abs=1e-6)
    assert report.rate == 1
    assert report.after - report.before == pytest.approx(report.predicted, rel=1e-6)


@pytest.mark.parametrize("structural", [0.0, 0.5])
@pytest.mark.parametrize("precondition", [False, True])
def test_step_is_that_of_the_dense_system(structural: float, precondition: bool) -> None:
    """With iterations to spare and f falling, δ = −(G + λI + λμ G_S)⁻¹ f'."""
    network, batch = small(), data(40)
    forward = forward_of(network)
    f = Objective(network.parameters(), forward)
    gauss_newton, damping = GaussNewton(f, [batch]), 50.0
    units = torch.eye(len(f.position), dtype=torch.float64)
    matrix = torch.stack([gauss_newton.product(u, damping * structural) for u in units])
    slope = f.gradient([batch])[1]
    start, before = f.position, f.value([batch])
    step = torch.linalg.solve(matrix + damping * units, -slope)
    optimizer = HessianFree(
        network.parameters(),
        damping=damping,
        structural=structural,
        precondition=precondition,
        generator=torch.Generator().manual_seed(0),
    )
    report = optimizer.step(forward, [batch])
    torch.testing.assert_close(f.position - start, step, rtol=1e-3, atol=1e-6)
    predicted = slope @ step + step @ (matrix + damping * units) @ step / 2
    assert report.predicted == pytest.approx(float(predicted), rel=1e-4)
    assert report.ratio == pytest.approx((f.value([batch]) - before) / float(predicted), rel=1e-4)
    assert (report.before, report.loss) == (pytest.approx(before), pytest.approx(before))
    assert report.gradient_norm == pytest.approx(float(slope.norm()))
    assert report.damping == damping


def test_learns_faster_than_gradient_descent_does() -> None:
    """All 200 cases told apart in 30 steps; f never rises on the checking batch."""
    network, batch = small(), data(200)
    optimizer = HessianFree(network.parameters(), damping=1.0)
    for _ in range(30):
        report = optimizer.step(forward_of(network), [batch])
        assert report.after <= report.before
    wrong = network(batch[0]).argmax(1) != batch[1].argmax(1)
    assert float(wrong.double().mean()) < 0.03


def test_damping_follows_the_ratio() -> None:
    optimizer = HessianFree(small().parameters(), damping=3.0)
    empty = Report(0, 1, 0, 0, -1, 0.5, 3.0, 1, 1, 1)
    for ratio, expected in ((0.1, 4.5), (-math.inf, 4.5), (0.5, 3.0), (0.9, 2.0)):
        optimizer.adapt(empty._replace(ratio=ratio))
        assert optimizer.damping == pytest.approx(expected)
    optimizer.adapt(empty._replace(ratio=-1, damping=9e9))
    assert optimizer.damping == 1e10


def test_resumes_bit_for_bit() -> None:
    """Six steps at once, and three, a state_dict through torch.save, and three more."""
    batches = [data(50, seed) for seed in range(6)]

    def run(network: nn.Sequential, optimizer: HessianFree, part: list) -> None:
        for batch in part:
            optimizer.step(forward_of(network), [batch], [(batch[0][:20], batch[1][:20])])

    whole = small()
    run(whole, HessianFree(whole.parameters(), structural=0.1), batches)
    first = small()
    before = HessianFree(first.parameters(), structural=0.1)
    run(first, before, batches[:3])
    second = small(seed=9)
    second.load_state_dict(first.state_dict())
    after = HessianFree(second.parameters(), damping=7.0)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    assert after.settings["structural"] == 0.1
    run(second, after, batches[3:])
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_micro_batches_change_nothing() -> None:
    x, y = data(60)
    reports = []
    for pieces in (1, 4):
        network = small()
        batches = list(zip(x.chunk(pieces), y.chunk(pieces), strict=True))
        optimizer = HessianFree(network.parameters(), structural=0.3)
        optimizer.step(forward_of(network), batches)
        reports.append(optimizer.step(forward_of(network), batches))
    assert reports[0] == pytest.approx(reports[1], rel=1e-6)


def test_separate_batches() -> None:
    """Gradient, curvature and check come from the batches that they are asked of."""
    network = small()
    one, two, three = data(30, 1), data(20, 2), data(10, 3)
    forward = forward_of(network)
    seen: list[int] = []

    def watched(batch: tuple[Tensor, Tensor]) -> Prediction:
        seen.append(len(batch[0]))
        return forward(batch)

    f = Objective(network.parameters(), forward)
    before = [f.value([one]), f.value([three])]
    report = HessianFree(network.parameters()).step(watched, [one], [two], [three])
    assert (report.loss, report.before) == pytest.approx(before)
    assert seen.count(30) == 1  # the gradient
    assert seen.count(20) == 1  # the curvature, run once for all products
    assert seen.count(10) == len(seen) - 2


def test_failing_step_leaves_the_parameters_and_raises_the_damping() -> None:
    """A check that every change makes worse."""
    network, batch = small(), data(30)
    forward = forward_of(network)
    at = [p.detach().clone() for p in network.parameters()]

    def stubborn(one: tuple[Tensor, Tensor, bool]) -> Prediction:
        x, y, check = one
        if not check:
            return forward((x, y))
        moved = sum(
            float((p - a).abs().sum()) for p, a in zip(network.parameters(), at, strict=True)
        )
        return Prediction(torch.full((1, 1), moved), Squared(torch.zeros(1, 1)))

    optimizer = HessianFree(network.parameters(), damping=1.0)
    report = optimizer.step(stubborn, [(*batch, False)], None, [(*batch, True)])
    assert (report.rate, report.ratio) == (0, -math.inf)
    assert report.after == report.before == 0
    assert optimizer.damping == 1.5
    for parameter, value in zip(network.parameters(), at, strict=True):
        assert torch.equal(parameter, value)
        assert not bool(optimizer.state[parameter]["direction"].any())


class Spoiled(Squared):
    """A loss whose curvature is not a number."""

    def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
        return direction * float("nan")


def test_curvature_that_is_not_finite_is_recovered_from() -> None:
    network, x = nn.Linear(2, 1), torch.ones(3, 2)
    optimizer = HessianFree(network.parameters(), damping=1.0)
    at = network.weight.detach().clone()
    report = optimizer.step(lambda x: Prediction(network(x), Spoiled(torch.zeros(3, 1))), [x])
    assert (report.products, report.rate, report.ratio) == (0, 0, -math.inf)
    assert optimizer.damping == 1.5
    assert torch.equal(network.weight, at)


def test_zero_gradient_changes_nothing() -> None:
    network, x = nn.Linear(2, 1), torch.ones(3, 2)
    y = network(x).detach()
    optimizer = HessianFree(network.parameters(), damping=1.0)
    report = optimizer.step(lambda x: Prediction(network(x), Squared(y)), [x])
    assert (report.products, report.rate) == (0, 0)
    assert optimizer.damping == 1.0


def test_values_that_are_not_finite() -> None:
    network, x = nn.Linear(2, 1), torch.full((3, 2), float("nan"))
    y = torch.zeros(3, 1)
    with pytest.raises(FloatingPointError, match="objective: expected a finite value"):
        HessianFree(network.parameters()).step(lambda x: Prediction(network(x), Squared(y)), [x])


def test_a_forward_pass_that_changes_is_refused() -> None:
    network, x = nn.Linear(2, 1), torch.ones(3, 2)
    nn.init.ones_(network.weight)
    nn.init.zeros_(network.bias)
    y, source = torch.zeros(3, 1), torch.Generator().manual_seed(0)
    noisy = lambda x: Prediction(network(x + torch.rand(3, 2, generator=source)), Squared(y))  # noqa: E731
    with pytest.raises(ValueError, match="forward: expected the same at every call"):
        HessianFree(network.parameters()).step(noisy, [x])


def test_frozen_parameters_stay() -> None:
    network, batch = small(), data(30)
    network[0].bias.requires_grad_(False)
    at = network[0].bias.clone()
    HessianFree(network.parameters()).step(forward_of(network), [batch])
    assert torch.equal(network[0].bias, at)


def test_bad_settings() -> None:
    network = nn.Linear(2, 1)
    for name, value in (("damping", 0.0), ("structural", -1.0), ("iterations", 0), ("decay", 1.1)):
        with pytest.raises(ValueError, match=f"{name}: expected a number from"):
            HessianFree(network.parameters(), **{name: value})
    groups = [{"params": [network.weight]}, {"params": [network.bias]}]
    with pytest.raises(ValueError, match="params: expected one group"):
        HessianFree(groups)
    with pytest.raises(ValueError, match="batches: expected at least one"):
        HessianFree(network.parameters()).step(lambda x: None, [])  # type: ignore[arg-type, return-value]


def test_mixed_parameters_are_refused() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, dtype=torch.float64))]
    with pytest.raises(ValueError, match="parameters: expected one device and dtype"):
        HessianFree(parameters).step(lambda x: None, [0])  # type: ignore[arg-type, return-value]


def test_bernoulli_of_float32_stays_float32() -> None:
    network, x = nn.Linear(3, 2), torch.eye(3)
    y = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5]])
    optimizer = HessianFree(network.parameters(), damping=0.01)
    losses = [
        optimizer.step(lambda x: Prediction(network(x), Bernoulli(y)), [x]).loss for _ in range(8)
    ]
    assert network.weight.dtype == torch.float32
    assert losses[-1] < 0.5 * losses[0]


def test_criterion() -> None:
    """Eleven values at least; stops where ten iterations gained less than half a per cent."""
    assert not converged([-1.0] * 10)
    assert converged([-1.0] * 11)
    assert not converged([-1.0] * 10 + [-1.01])
    assert not converged([1.0] * 20)
    long = [-1.0 - 1e-4 * i for i in range(200)]  # k = 20: 0.002 of 1.02 against 0.01
    assert converged(long)


def test_line_search() -> None:
    assert line_search(lambda rate: (rate - 0.3) ** 2, 0.49, 0.09) == (
        pytest.approx(0.8**3),
        pytest.approx((0.8**3 - 0.3) ** 2),
    )
    assert line_search(lambda rate: 1.0, math.inf, 0.5) == (0.0, 0.5)
    assert line_search(lambda rate: pytest.fail("not needed"), 0.1, 0.5) == (1.0, 0.1)
