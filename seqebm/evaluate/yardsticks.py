"""Predictors that every model should be compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.evaluate.inputs import (
    check_count,
    check_frames,
    check_sequences,
    real,
    training_blocks,
)
from seqebm.evaluate.ridge import (
    LinearFit,
    apply_fits,
    choose_penalty,
    fit_ridge,
    last_tenth,
)
from seqebm.ridge import check_penalty

Predictor: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]


def copy_last(frames: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Predict that nothing moves: v_t = v_{t-1}. The first frame is predicted as zeros.

    Args:
        frames: `[batch, time, visible]`.
        lengths: not needed; there so that this is a predictor.

    Returns:
        Predictions `[batch, time, visible]`.

    Raises:
        TypeError, ValueError: frames are not a floating-point tensor of rank 3.

    Example:
        >>> copy_last(torch.tensor([[[1.0], [2.0], [4.0]]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    check_frames(frames)
    return F.pad(frames, (0, 0, 1, 0))[:, :-1]


@dataclass(frozen=True)
class LinearExtrapolation:
    """Predict that every dimension keeps its velocity: v_t = 2 v_{t-1} - v_{t-2}, within bounds.

    The first frame is predicted as zeros and the second as a copy of the first.

    Attributes:
        low: predictions are not allowed below this.
        high: predictions are not allowed above this.

    Example:
        >>> frames = torch.tensor([[[0.1], [0.5], [0.8], [0.9]]])
        >>> [round(v, 3) for v in LinearExtrapolation()(frames).flatten().tolist()]
        [0.0, 0.1, 0.9, 1.1]
        >>> [round(v, 3) for v in LinearExtrapolation(0, 1)(frames).flatten().tolist()]
        [0.0, 0.1, 0.9, 1.0]
    """

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; see `copy_last` for arguments and errors."""
        last = copy_last(frames)
        velocity = last[:, 2:] - last[:, 1:-1]
        return torch.cat([last[:, :2], last[:, 2:] + velocity], 1).clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class MeanFrame:
    """Predict the mean training frame, always.

    Attributes:
        frame: the mean `[visible]`, float64.

    Example:
        >>> frames = torch.tensor([[[1.0], [2.0]], [[6.0], [9.0]]])
        >>> mean = MeanFrame.fit(frames, torch.tensor([2, 1]))
        >>> mean(torch.zeros(1, 2, 1)).flatten().tolist()
        [3.0, 3.0]
    """

    frame: Tensor

    @classmethod
    def fit(cls, frames: Tensor, lengths: Tensor | None = None) -> MeanFrame:
        """Average all frames, padding left out.

        Args:
            frames: `[batch, time, visible]`.
            lengths: `[batch]`, or None if no sequence is padded.

        Raises:
            TypeError, ValueError: frames or lengths are malformed or not finite.
        """
        lengths = check_sequences(frames, lengths)
        total = sum(block.sum((0, 1)) for block, _ in training_blocks(frames, lengths))
        return cls(total / lengths.sum().cpu())

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        check_frames(frames, width=len(self.frame))
        return self.frame.to(frames).expand_as(frames)


@dataclass(frozen=True, eq=False)
class RidgeAutoregression:
    """Predict by a linear autoregression: v_t = b + A_1 v_{t-1} + … + A_k v_{t-k}.

    Frames with fewer than k predecessors are predicted by the fit of that lower order, the first
    one by the mean training frame.

    Attributes:
        fits: those of order 0 (the mean frame), 1, …, k.

    Example:
        >>> frames = 0.5 ** torch.arange(8.0).reshape(1, 8, 1)  # v_t = v_{t-1} / 2
        >>> ridge = RidgeAutoregression.fit(frames, order=1, penalty=1e-9)
        >>> round(ridge.fits[1].taps.item(), 4), round(ridge(frames)[0, 3].item(), 4)
        (0.5, 0.125)
    """

    fits: tuple[LinearFit, ...]

    @classmethod
    def fit(
        cls,
        frames: Tensor,
        lengths: Tensor | None = None,
        order: int = 1,
        penalty: float | None = None,
    ) -> RidgeAutoregression:
        """Fit all orders up to `order` on every frame that has the predecessors for it.

        Order k minimises Σ|v_t - b - Σ_n A_n v_{t-n}|² + λ Σ_n |A_n|², λ being `penalty` times the
        mean diagonal of the centred Gram matrix of the predecessors; b is not penalised. The
        normal equations are accumulated in float64 on the CPU, a block of sequences at a time.

        Args:
            frames: training sequences `[batch, time, visible]`.
            lengths: `[batch]`, or None if no sequence is padded.
            order: the number of predecessors, at least 1.
            penalty: the relative penalty, at least 0. None: for each order the one of `PENALTIES`
                that predicts best the last tenth of the sequences longer than `order` (or of the
                frames of the only one), fitted on the rest; the final fit uses everything.

        Raises:
            TypeError, ValueError: frames or lengths are malformed or not finite; no sequence is
                longer than `order`; or there is nothing to choose the penalty on.
        """
        lengths = check_sequences(frames, lengths)
        _check_order(order, int(lengths.max()))
        check_penalty(penalty)
        mean = MeanFrame.fit(frames, lengths).frame
        totals = _window_moments(frames, lengths, order, mean)
        if penalty is None:
            held = _window_moments(*last_tenth(frames, lengths, 1 + order), order, mean)
            penalties = [choose_penalty(*pair) for pair in zip(totals, held, strict=True)]
        else:
            penalties = [penalty] * order
        fits = [LinearFit(mean.new_zeros(0, len(mean), len(mean)), mean, 0.0)]
        for total, chosen in zip(totals, penalties, strict=True):
            fits.append(fit_ridge(total, chosen, mean, mean))
        return cls(tuple(fits))

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        check_frames(frames, width=len(self.fits[0].bias))
        return apply_fits(self.fits, frames, delay=1)


def yardsticks(frames: Tensor, lengths: Tensor | None = None) -> dict[str, Predictor]:
    """Fit the predictors that every model should be compared with.

    Linear extrapolation is clipped to [0, 1] if all training frames lie in [0, 1]. Orders of
    autoregression for which the training sequences are too short are left out.

    Args:
        frames: training sequences `[batch, time, visible]`.
        lengths: `[batch]`, or None if no sequence is padded.

    Returns:
        "mean frame", "copy last", "linear extrapolation" and "ridge AR(1)" … "ridge AR(4)".

    Raises:
        TypeError, ValueError: frames or lengths are malformed or not finite.

    Example:
        >>> list(yardsticks(torch.rand(20, 4, 2)))
        ['mean frame', 'copy last', 'linear extrapolation', 'ridge AR(1)', 'ridge AR(2)']
    """
    lengths = check_sequences(frames, lengths)
    predictors: dict[str, Predictor] = {
        "mean frame": MeanFrame.fit(frames, lengths),
        "copy last": copy_last,
        "linear extrapolation": _extrapolation_for(frames, lengths),
    }
    order = min(4, int(lengths.max()) - 2)  # one frame more than the fit needs: to hold out
    if order >= 1:
        fits = RidgeAutoregression.fit(frames, lengths, order).fits
        for k in range(1, order + 1):
            predictors[f"ridge AR({k})"] = RidgeAutoregression(fits[: k + 1])
    return predictors


def _extrapolation_for(frames: Tensor, lengths: Tensor) -> LinearExtrapolation:
    """Clipped to [0, 1] if all frames lie there."""
    for block, _ in training_blocks(frames, lengths):
        if block.min() < 0 or block.max() > 1:
            return LinearExtrapolation()
    return LinearExtrapolation(0, 1)


# ------------------------------------------------- normal equations of the ridge autoregression


def _window_moments(frames: Tensor, lengths: Tensor, order: int, centre: Tensor) -> list[Tensor]:
    """Σ w wᵀ over all windows w = (x_t, …, x_{t-k}) inside a sequence, for k = 1, …, order.

    x_t is the frame less `centre`, with a one behind it that carries the intercept; a moment is
    `[1 + k, visible + 1, 1 + k, visible + 1]`. With x_t = 0 outside a sequence, the sum over the
    windows that stick out as well is block Toeplitz, its block (m, n) being Σ_t x_t x_{t-(n-m)}ᵀ:
    one pass serves all orders. The few windows that stick out are then taken away.
    """
    products = _lag_products(frames, lengths, order, centre)
    moments = [_block_toeplitz(products[: 1 + k]) for k in range(1, 1 + order)]
    for x, some in _with_ones(frames, lengths, centre):
        for k, moment in enumerate(moments, start=1):
            _subtract_edges(moment, x, some, k)
    shape = (-1, 1 + len(centre))
    return [moment.unflatten(0, shape).unflatten(2, shape) for moment in moments]


def _lag_products(frames: Tensor, lengths: Tensor, order: int, centre: Tensor) -> Tensor:
    """Σ_t x_t x_{t-n}ᵀ `[1 + order, visible + 1, visible + 1]` for n = 0, …, order."""
    width = 1 + len(centre)
    products = centre.new_zeros(1 + order, width, width)
    for x, _ in _with_ones(frames, lengths, centre):
        time = x.shape[1]
        for lag in range(min(1 + order, time)):
            products[lag].addmm_(x[:, lag:].flatten(0, 1).T, x[:, : time - lag].flatten(0, 1))
    return products


def _block_toeplitz(products: Tensor) -> Tensor:
    """The matrix with block (m, n) = products[n - m], products[-n] being products[n]ᵀ."""
    lags = range(len(products))
    rows = [[products[n - m] if n >= m else products[m - n].T for n in lags] for m in lags]
    return torch.cat([torch.cat(row, 1) for row in rows])


def _with_ones(frames: Tensor, lengths: Tensor, centre: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of x_t (see `_window_moments`), `[batch, time, visible + 1]`."""
    for block, some in training_blocks(frames, lengths):
        x = F.pad(block - centre, (0, 1), value=1.0)
        yield x.masked_fill_(~real(some, x.shape[1])[..., None], 0), some


def _subtract_edges(moment: Tensor, x: Tensor, lengths: Tensor, order: int) -> None:
    """Take away the windows that stick out of their sequence; only their frames inside count."""
    width = x.shape[2]
    first = F.pad(x, (0, 0, 0, order))
    for lags in range(1, 1 + order):  # windows that begin before the sequence, with `lags` in it
        head = first[:, :lags].flip(1).flatten(1)
        moment[: lags * width, : lags * width].addmm_(head.T, head, alpha=-1)
    last = _last_frames(x, lengths, order)
    for after in range(1, 1 + order):  # windows that end `after` frames after the sequence
        once = lengths - 1 + after >= order  # the others begin before it too: taken away above
        tail = last[once, : 1 + order - after].flatten(1)
        moment[after * width :, after * width :].addmm_(tail.T, tail, alpha=-1)


def _last_frames(x: Tensor, lengths: Tensor, count: int) -> Tensor:
    """The last frames `[batch, count, width]`, the very last first, the first one repeated."""
    index = (lengths[:, None] - 1 - torch.arange(count)).clamp(min=0)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def _check_order(order: int, longest: int) -> None:
    check_count("order", order)
    if order >= longest:
        raise ValueError(
            f"order: expected less than the {longest} frames of the longest sequence, got {order}"
        )
