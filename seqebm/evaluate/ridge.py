"""Ridge regression for yardsticks that are linear in a few frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.ridge import NormalEquations, Solution, best_penalty, centred, solve

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class LinearFit(NamedTuple):
    """An affine map from a few successive frames to one frame.

    Attributes:
        taps: `[order, visible, visible]`, the newest frame first; rows are outputs.
        bias: `[visible]`.
        penalty: the ridge penalty of the fit, relative to the mean diagonal of its Gram matrix.

    Example:
        >>> LinearFit(torch.zeros(0, 3, 3), torch.ones(3), penalty=0.0).bias.tolist()
        [1.0, 1.0, 1.0]
    """

    taps: Tensor
    bias: Tensor
    penalty: float


def apply_fits(fits: tuple[LinearFit, ...], frames: Tensor, delay: int) -> Tensor:
    """Map the last frames to one frame, at all times; the first times have fits of lower order.

    Args:
        fits: for time 0, 1, …; the last one for all later times. Each has one tap more than the one
            before it; the first has 1 - `delay`.
        frames: `[batch, time, visible]`.
        delay: 1 where frame t itself is not used, 0 where it is the newest input.

    Returns:
        The results `[batch, time, visible]`.
    """
    time, last = frames.shape[1], len(fits) - 1
    early = [_apply(fit, frames, t, t + 1, delay) for t, fit in enumerate(fits[: min(last, time)])]
    late = [_apply(fits[-1], frames, last, time, delay)] if time > last else []
    return torch.cat(early + late, 1)


def fit_ridge(moments: Tensor, penalty: float, target: Tensor, inputs: Tensor) -> LinearFit:
    """The map that minimises the squared error and `penalty` times the mean diagonal · |taps|².

    Args:
        moments: Σ w wᵀ over windows w = (target, newest input, …, oldest input), each less its mean
            and with a one behind it: `[1 + order, visible + 1, 1 + order, visible + 1]`.
        penalty: relative to the mean diagonal of the centred Gram matrix of the inputs.
        target: what was taken away from targets `[visible]`; roughly their mean, so that little is
            lost to rounding.
        inputs: what was taken away from inputs, likewise.
    """
    return _uncentred(solve(_normal_equations(moments), penalty), target, inputs)


def choose_penalty(total: Tensor, held: Tensor) -> float:
    """The one of `PENALTIES` whose fit on total - held has the smallest squared error on held."""
    return best_penalty(_normal_equations(total - held), _normal_equations(held), PENALTIES)


def last_tenth(frames: Tensor, lengths: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The last tenth of the sequences that hold a window, or of the frames of the only one."""
    usable = (lengths >= window).nonzero().flatten()
    if len(usable) > 1:
        chosen = usable[-max(1, len(usable) // 10) :]
        return frames[chosen], lengths[chosen]
    length = int(lengths[usable])
    kept = max(window, length // 10)
    if kept == length:
        raise ValueError(
            f"penalty: expected a number, got None: with one sequence of at least {window} frames, "
            f"which has {length}, there is nothing to choose it on"
        )
    return frames[usable, length - kept : length], torch.full_like(usable, kept)


def _apply(fit: LinearFit, frames: Tensor, start: int, stop: int, delay: int) -> Tensor:
    """The results at the times start, …, stop - 1."""
    bias = fit.bias.to(frames).expand(len(frames), stop - start, -1)
    lags = range(delay, delay + len(fit.taps))
    lagged = (frames[:, start - n : stop - n] for n in lags)
    return sum((F.linear(v, tap) for v, tap in zip(lagged, fit.taps.to(frames), strict=True)), bias)


def _uncentred(solution: Solution, target: Tensor, inputs: Tensor) -> LinearFit:
    """The same map between frames from which nothing was taken away."""
    taps = solution.weight.unflatten(0, (-1, len(inputs))).transpose(1, 2)
    bias = target + solution.y_mean - solution.x_mean @ solution.weight - taps.sum(0) @ inputs
    return LinearFit(taps, bias, solution.penalty)


def _normal_equations(moments: Tensor) -> NormalEquations:
    """Those of the moments of windows, which `fit_ridge` describes."""
    sums, second = moments[:, :-1, 0, -1], moments[:, :-1, :, :-1]
    return centred(
        pairs=moments[0, -1, 0, -1],
        x_sum=sums[1:].flatten(),
        y_sum=sums[0],
        xx=second[1:, :, 1:].flatten(2).flatten(0, 1),
        xy=second[1:, :, 0].flatten(0, 1),
        yy=second[0, :, 0].diagonal(),
    )
