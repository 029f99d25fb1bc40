"""Linear conjugate gradients, a step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Iterate(NamedTuple):
    """Where conjugate gradients stand after a step.

    Attributes:
        position: x, [N].
        value: φ(x) = xᵀB x/2 − bᵀx.
        direction: the direction c of the step, conjugate to those before.
        rate: α: the step was α c.
    """

    position: Tensor
    value: float
    direction: Tensor
    rate: float


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    b: Tensor,
    start: Tensor | None = None,
    scale: Tensor | None = None,
    first: Tensor | None = None,
) -> Iterator[Iterate]:
    """Minimise φ(x) = xᵀB x/2 − bᵀx for a positive matrix B (Hestenes and Stiefel 1952).

    One product a step, and one to begin with where the start is not zero. The iterates end where
    there is nothing left to minimise, and where a direction has curvature that is not positive or
    not finite: there is no lowest point along it.

    Args:
        product: the products B x.
        b: [N].
        start: where to begin, [N]; None is zero.
        scale: the diagonal of a preconditioner M, whose inverse should be like that of B, [N];
            None leaves the space as it is.
        first: a direction to search before all others, which are then made conjugate to it, too
            (Erhel and Guyomarc'h 2000), [N]; None begins with the residual.

    Yields:
        Every iterate. Positions are new tensors.

    Example:
        >>> B = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> *_, last = conjugate_gradients(B.mv, torch.tensor([3.0, 4.0]))
        >>> last.position.round(decimals=5)
        tensor([1., 1.])
    """
    x = torch.zeros_like(b) if start is None else start
    residual = b.clone() if start is None else b - product(start)
    solved = torch.finfo(b.dtype).eps * float(b.norm())
    known: tuple[Tensor, float] | None = None  # B times the first direction, its curvature
    if first is not None:
        image = product(first)
        curvature = float(first.dot(image))
        if 0 < curvature < math.inf:
            known = image, curvature
            rate = float(first.dot(residual)) / curvature
            x, residual = x + rate * first, residual - rate * image
            yield _iterate(x, residual, b, first, rate)

    def conjugate_to_first(vector: Tensor) -> Tensor:
        if first is None or known is None:
            return vector
        return vector - float(known[0].dot(vector)) / known[1] * first

    preconditioned = residual if scale is None else residual / scale
    direction, power = conjugate_to_first(preconditioned), float(residual.dot(preconditioned))
    while float(residual.norm()) > solved:
        image = product(direction)
        curvature = float(direction.dot(image))
        if not 0 < curvature < math.inf:
            return
        rate = power / curvature
        x, residual = x + rate * direction, residual - rate * image
        yield _iterate(x, residual, b, direction, rate)
        preconditioned = residual if scale is None else residual / scale
        last, power = power, float(residual.dot(preconditioned))
        direction = conjugate_to_first(preconditioned) + (power / last) * direction


def _iterate(x: Tensor, residual: Tensor, b: Tensor, direction: Tensor, rate: float) -> Iterate:
    """An iterate with its φ, which the residual b − Bx makes cheap."""
    return Iterate(x, -0.5 * float(x.dot(residual + b)), direction, rate)
