"""Tests of the relatives of Hessian-free optimisation."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from seqebm.optim import (
    AugmentedHessianFree,
    Categorical,
    GaussNewton,
    Hessian,
    KrylovDescent,
    NewtonCG,
    Objective,
    Prediction,
    Squared,
)
from seqebm.optim.krylov import krylov_basis

KINDS = {
    "augmented": AugmentedHessianFree,
    "krylov": KrylovDescent,
    "newton": NewtonCG,
}


def data(cases: int = 100) -> tuple[Tensor, Tensor]:
    """Inputs, and classes that a small network can tell."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(cases, 4, generator=generator, dtype=torch.float64)
    return x, nn.functional.one_hot((x[:, 0] * x[:, 1] > 0).long()).double()


def small(seed: int = 1) -> nn.Sequential:
    """A feed-forward network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)).double()


def forward_of(network: nn.Module):
    """Its forward pass."""
    return lambda batch: Prediction(network(batch[0]), Categorical(batch[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_learns(kind: str) -> None:
    """f falls at every step, and classes that no linear map tells apart are told."""
    network, batch = small(), data()
    optimizer = KINDS[kind](network.parameters())
    for _ in range(40):
        report = optimizer.step(forward_of(network), [batch])
        assert report.after <= report.before
    assert float((network(batch[0]).argmax(1) != batch[1].argmax(1)).double().mean()) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_solves_a_quadratic_in_one_step(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(30, 1, generator=generator, dtype=torch.float64)
    network = nn.Linear(5, 1).double()
    settings = {} if kind == "krylov" else {"damping": 1e-10}
    optimizer = KINDS[kind](network.parameters(), **settings)
    optimizer.step(lambda b: Prediction(network(b[0]), Squared(b[1])), [(x, y)])
    solution = torch.linalg.lstsq(torch.cat([x, x.new_ones(30, 1)], 1), y).solution
    torch.testing.assert_close(network.weight.detach(), solution[:5].t(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_bit_for_bit(kind: str) -> None:
    batch = data()

    def run(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.step(forward_of(network), [batch])

    whole, first, second = small(), small(), small(seed=5)
    run(whole, KINDS[kind](whole.parameters()), 4)
    before = KINDS[kind](first.parameters())
    run(first, before, 2)
    second.load_state_dict(first.state_dict())
    after = KINDS[kind](second.parameters())
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(second, after, 2)
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Hill(nn.Module):
    """One output that is a hill over its two parameters: cos of their norm."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([0.3, 0.4], dtype=torch.float64))

    def forward(self) -> Tensor:
        return (2 + self.at.norm().cos()).view(1, 1)


def test_newton_goes_downhill_where_curvature_is_negative() -> None:
    hill = Hill()
    start = hill.at.detach().clone()
    f = Objective(hill.parameters(), lambda _: Prediction(hill(), Squared(torch.zeros(1, 1))))
    slope = f.gradient([0])[1]
    report = NewtonCG(hill.parameters(), damping=0.1).step(f.forward, [0])
    assert report.after < report.before
    moved = hill.at.detach() - start
    assert float(moved @ slope) == pytest.approx(-float(moved.norm() * slope.norm()))


def test_newton_step_is_that_of_the_dense_system() -> None:
    network, batch = small(), data()
    f = Objective(network.parameters(), forward_of(network))
    units, damping = torch.eye(len(f.position), dtype=torch.float64), 5.0
    matrix = torch.stack([Hessian(f, [batch]).product(u) for u in units]) + damping * units
    start, slope = f.position, f.gradient([batch])[1]
    NewtonCG(network.parameters(), damping=damping).step(f.forward, [batch])
    step = torch.linalg.solve(matrix, -slope)
    torch.testing.assert_close(f.position - start, step, rtol=1e-3, atol=1e-6)


def test_searched_directions_are_followed_as_far_as_f_falls() -> None:
    """A quadratic model that overestimates every step by four: rates of 1/4 are found."""
    network = nn.Linear(3, 1, bias=False).double()
    x, y = torch.eye(3, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64)

    class Flat(Squared):
        def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
            return direction / 4

    optimizer = AugmentedHessianFree(network.parameters(), damping=1e-10)
    report = optimizer.step(lambda x: Prediction(network(x), Flat(y)), [x])
    assert report.after == pytest.approx(0, abs=1e-12)
    assert math.isnan(report.predicted)
    assert math.isnan(report.ratio)


def test_krylov_basis() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    matrix, vector = noise @ noise.t(), noise[0]
    known = torch.ones(9, dtype=torch.float64)
    basis, images = krylov_basis(matrix.mv, vector, 4, [known])
    assert basis.shape == (5, 9)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(images, basis @ matrix)
    wanted = [vector]
    for _ in range(3):
        wanted.append(matrix @ wanted[-1])
    for one in (*wanted, known):  # all lie in the space
        torch.testing.assert_close(basis.t() @ (basis @ one), one, rtol=1e-8, atol=1e-8)
    again, _ = krylov_basis(matrix.mv, vector, 4, [vector])
    assert len(again) == 4  # a known vector that is in the space already


def test_krylov_finds_the_best_place_of_its_subspace() -> None:
    """On a quadratic: that of the dense projected system."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    network = nn.Linear(8, 1, bias=False).double()
    f = Objective(network.parameters(), lambda _: Prediction(network(x), Squared(y)))
    start, slope = f.position, f.gradient([0])[1]
    basis, images = krylov_basis(GaussNewton(f, [0]).product, slope, 3, [])
    best = basis.t() @ torch.linalg.solve(basis @ images.t(), -basis @ slope)
    KrylovDescent(network.parameters(), dimensions=3, iterations=100).step(f.forward, [0])
    torch.testing.assert_close(f.position - start, best, rtol=1e-5, atol=1e-7)


def test_krylov_comes_back_from_where_f_is_not_finite() -> None:
    """A wall of infinities not far from where it starts."""
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(network.weight)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def forward(_: int) -> Prediction:
        wall = math.inf if float(network.weight.detach()) > 0.5 else 1.0
        return Prediction(network(x) * wall, Squared(y))

    report = KrylovDescent(network.parameters()).step(forward, [0])
    assert report.after <= report.before
    assert math.isfinite(report.after)


def test_bad_settings() -> None:
    network = nn.Linear(2, 1)
    for kind, name in (
        (AugmentedHessianFree, "damping"),
        (AugmentedHessianFree, "iterations"),
        (KrylovDescent, "dimensions"),
        (KrylovDescent, "iterations"),
        (NewtonCG, "damping"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected a number from"):
            kind(network.parameters(), **{name: 0})
    with pytest.raises(ValueError, match="structural: expected a number from"):
        AugmentedHessianFree(network.parameters(), structural=-1)
