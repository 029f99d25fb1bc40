"""Tests of conjugate gradients against direct solves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqebm.optim.conjugate import conjugate_gradients

N = 12


def positive(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A positive matrix whose eigenvalues are from 0.1 to 10, and a vector."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(N, N, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(noise).Q
    values = torch.logspace(-1, 1, N, dtype=torch.float64)
    b = torch.randn(N, generator=generator, dtype=torch.float64)
    return (basis * values) @ basis.t(), b


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_solution(warm: bool, scaled: bool) -> None:
    B, b = positive()
    start = torch.ones(N, dtype=torch.float64) if warm else None
    *_, last = conjugate_gradients(B.mv, b, start, B.diagonal() if scaled else None)
    torch.testing.assert_close(last.position, torch.linalg.solve(B, b), rtol=1e-8, atol=1e-8)


def test_each_iterate_is_the_best_of_its_krylov_space() -> None:
    """x_i minimises φ over span{b, Bb … B^{i−1}b}: the definition, solved densely."""
    B, b = positive()
    krylov = [b]
    for iterate, _ in zip(conjugate_gradients(B.mv, b), range(6), strict=False):
        basis = torch.linalg.qr(torch.stack(krylov, 1)).Q
        best = basis @ torch.linalg.solve(basis.t() @ B @ basis, basis.t() @ b)
        torch.testing.assert_close(iterate.position, best, rtol=1e-8, atol=1e-8)
        assert iterate.value == pytest.approx(float(best @ B @ best / 2 - b @ best))
        krylov.append(B @ krylov[-1])


def test_directions_are_conjugate() -> None:
    B, b = positive()
    steps = list(zip(conjugate_gradients(B.mv, b), range(N), strict=False))
    directions = torch.stack([iterate.direction for iterate, _ in steps])
    inner = directions @ B @ directions.t()
    off = inner - torch.diag(inner.diagonal())
    assert float(off.abs().max()) < 1e-8 * float(inner.diagonal().max())
    total = sum(iterate.rate * iterate.direction for iterate, _ in steps)
    torch.testing.assert_close(total, steps[-1][0].position)


def test_first_direction_is_part_of_the_space() -> None:
    """Iterates minimise φ over span{d, b', Bb' …}, where b' is the residual after d."""
    B, b = positive()
    first = torch.ones(N, dtype=torch.float64)
    steps = list(zip(conjugate_gradients(B.mv, b, first=first), range(5), strict=False))
    residual = b - B @ steps[0][0].position
    krylov, project = [first, residual], torch.outer(first, B @ first) / (first @ B @ first)
    for iterate, _ in steps[1:]:
        basis = torch.linalg.qr(torch.stack(krylov, 1)).Q
        best = basis @ torch.linalg.solve(basis.t() @ B @ basis, basis.t() @ b)
        torch.testing.assert_close(iterate.position, best, rtol=1e-8, atol=1e-8)
        image = B @ krylov[-1]  # the space is that of B, made conjugate to d
        krylov.append(image - B @ (project @ krylov[-1]))
    directions = torch.stack([iterate.direction for iterate, _ in steps])
    inner = directions @ B @ directions.t()
    assert float((inner - torch.diag(inner.diagonal())).abs().max()) < 1e-8 * float(inner.max())


def test_one_product_a_step() -> None:
    B, b = positive()
    calls = 0

    def product(vector: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return B @ vector

    for start, extra in ((None, 0), (torch.ones(N, dtype=torch.float64), 1)):
        calls = 0
        steps = [i for i, _ in zip(conjugate_gradients(product, b, start), range(5), strict=False)]
        assert calls - extra <= len(steps) + 1


def test_nothing_to_do() -> None:
    B, _ = positive()
    assert not list(conjugate_gradients(B.mv, torch.zeros(N, dtype=torch.float64)))


@pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan"), float("inf")])
def test_curvature_that_is_not_positive_ends_the_iterates(bad: float) -> None:
    """The first step is along the first axis; the direction of the second has bad curvature."""
    b = torch.tensor([1.0, 1.0])
    steps = list(conjugate_gradients(lambda v: torch.tensor([1.0, bad]) * v, b))
    assert len(steps) <= 1
    assert all(bool(step.position.isfinite().all()) for step in steps)
