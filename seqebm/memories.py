"""Memories: delay lines, their taps, and the recurrence of the RTRBM.

A memory turns the frames seen so far into a context. Sequences are [batch, time, width].
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def delay(initial: Tensor, sequence: Tensor) -> Tensor:
    """The last `order` vectors before each time, and after the end.

    Args:
        initial: what stands for the vectors before the first, newest first, [batch, order, width].
        sequence: [batch, time, width].

    Returns:
        [batch, time + 1, order, width]; entry [:, t, n] is the vector at time t − 1 − n, so entry
        t holds what is known before frame t and the last entry what is known after the end.

    Example:
        >>> delay(torch.zeros(1, 2, 1), torch.tensor([[[1.], [2.]]])).squeeze()
        tensor([[0., 0.],
                [1., 0.],
                [2., 1.]])
    """
    order, times = initial.shape[1], sequence.shape[1] + 1
    whole = torch.cat([initial.flip(1), sequence], dim=1)
    lags = [whole[:, order - 1 - n : order - 1 - n + times] for n in range(order)]
    return (
        torch.stack(lags, dim=2)
        if lags
        else whole.new_empty(len(whole), times, 0, initial.shape[-1])
    )


def taps(windows: Tensor, weights: Tensor) -> Tensor:
    """Σ_n weights[n] @ windows[..., n, :], as one product over the stacked window.

    Args:
        windows: [..., order, width in], newest first, as `delay` gives them.
        weights: [order, width out, width in].

    Returns:
        [..., width out].
    """
    return F.linear(windows.flatten(-2), stacked(weights))


def taps_of_data(windows: Tensor, weights: Tensor) -> Tensor:
    """`taps` for windows [batch, time, order, width in] of a sequence that wants no gradient.

    Only the first `order` windows get one, for the learned vectors before the first that they
    hold. That leaves out a product as large as the one of the forward pass.
    """
    out: Tensor = _TapsOfData.apply(windows.flatten(-2), stacked(weights), len(weights))
    return out


def stacked(weights: Tensor) -> Tensor:
    """[order, width out, width in] as [width out, order · width in], for stacked windows."""
    return weights.transpose(0, 1).flatten(1)


class _TapsOfData(torch.autograd.Function):
    """windows @ weightᵀ with a gradient for the first `count` windows only."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, weight: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(windows, weight)
        ctx.count = count
        return F.linear(windows, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        windows, weight = ctx.saved_tensors
        early = grad[:, : ctx.count] @ weight
        late = windows.shape[1] - early.shape[1]
        return F.pad(early, (0, 0, 0, late)), grad.flatten(0, 1).t() @ windows.flatten(0, 1), None


def recurrence(drive: Tensor, weight: Tensor, initial: Tensor) -> Tensor:
    """r_t = σ(drive_t + W′ r_{t−1}) with r_0 = `initial` (Sutskever 2013, eq. 3.20).

    The forward and backward passes are the only loops over time in an RTRBM. The backward pass
    carries δ_t = r_t ⊙ (1 − r_t) ⊙ ∂L/∂r_t through time (eq. 3.23) and then forms the gradient of
    W′ for all times in one product, Σ_t δ_t r_{t−1}ᵀ (eq. 3.24, with t = 1 for a learned r_0).

    Args:
        drive: everything that enters the units except W′ r_{t−1}, [batch, time, hidden].
        weight: W′, [hidden, hidden].
        initial: r_0, [batch, hidden].

    Returns:
        r_0 … r_T, [batch, time + 1, hidden].

    Example:
        >>> recurrence(torch.zeros(1, 2, 1), torch.zeros(1, 1), torch.zeros(1, 1)).flatten()
        tensor([0.0000, 0.5000, 0.5000])
    """
    states: Tensor = _Recurrence.apply(drive.transpose(0, 1), weight, initial)
    return states.transpose(0, 1)


class _Recurrence(torch.autograd.Function):
    """The recurrence on time-major tensors, whose slices are contiguous."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, weight: Tensor, initial: Tensor) -> Tensor:
        states = drive.new_empty(len(drive) + 1, *initial.shape)
        states[0] = initial
        transposed = weight.t()
        for t in range(len(drive)):
            torch.addmm(drive[t], states[t], transposed, out=states[t + 1]).sigmoid_()
        ctx.save_for_backward(weight, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # nothing in place here, so that autograd can follow for second derivatives
        weight, states = ctx.saved_tensors
        slopes = (states[1:] * (1 - states[1:])).unbind()
        *grads, carried = grad.unbind()
        reversed_deltas = []
        for slope, here in zip(reversed(slopes), reversed(grads), strict=True):
            reversed_deltas.append(carried * slope)
            carried = torch.addmm(here, reversed_deltas[-1], weight)
        deltas = torch.stack(reversed_deltas[::-1]) if reversed_deltas else grad[:0]
        weight_grad = deltas.flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        return deltas, weight_grad, carried
