"""Sequences cut into their frames and joined again, with second derivatives in linear time.

Autograd differentiates the gradient of `torch.stack` (and with it that of `torch.unbind`) piece by
piece, each time in a tensor of the whole: products with second derivatives then take time that
grows with the square of a sequence's length. Here each of the two is the other's gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def stack(pieces: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`torch.stack`.

    Example:
        >>> stack([torch.ones(2), torch.zeros(2)], dim=1)
        tensor([[1., 0.],
                [1., 0.]])
    """
    joined: Tensor = _Stack.apply(dim, *pieces)
    return joined


def unbind(whole: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """`torch.unbind`.

    Example:
        >>> unbind(torch.eye(2))
        (tensor([1., 0.]), tensor([0., 1.]))
    """
    if whole.shape[dim] == 0:  # a function without outputs is none
        return ()
    pieces: tuple[Tensor, ...] = _Unbind.apply(whole, dim)
    return pieces


def beside(parts: Sequence[Tensor]) -> Tensor:
    """Values of the same frames beside each other; of one part alone there is no copy.

    Example:
        >>> beside([torch.ones(1, 2), torch.zeros(1, 1)])
        tensor([[1., 1., 0.]])
    """
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), dim=-1)


class _Stack(torch.autograd.Function):
    """Its derivative in a direction stacks, its gradient unbinds."""

    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(dim: int, *pieces: Tensor) -> Tensor:
        return torch.stack(pieces, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.dim = inputs[0]

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor) -> Tensor:
        return stack(tangents, ctx.dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return (None, *unbind(grad, ctx.dim))


class _Unbind(torch.autograd.Function):
    """Its derivative in a direction unbinds, its gradient stacks."""

    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(whole: Tensor, dim: int) -> tuple[Tensor, ...]:
        return whole.unbind(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.dim = inputs[1]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> tuple[Tensor, ...]:
        return unbind(tangent, ctx.dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return stack(grads, ctx.dim), None
