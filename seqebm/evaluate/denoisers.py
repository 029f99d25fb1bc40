"""Denoisers that every model should be compared with: medians, regressions, Kalman filters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.checks import check_float
from seqebm.evaluate.inputs import check_count, check_frames, check_sequences, training_blocks
from seqebm.evaluate.ridge import (
    LinearFit,
    apply_fits,
    choose_penalty,
    fit_ridge,
    last_tenth,
)
from seqebm.evaluate.yardsticks import MeanFrame, RidgeAutoregression
from seqebm.ridge import check_penalty

Denoiser: TypeAlias = Callable[[Tensor], Tensor]

_FLOOR = 1e-6  # of the variance of clean frames: without any noise the filter has no solution


@dataclass(frozen=True)
class TemporalMedian:
    """Estimate every pixel by its median over the last frames, or as many as there are.

    The median of an even number of values is the mean of the two in the middle.

    Attributes:
        window: how many frames, the present one included.

    Example:
        >>> frames = torch.tensor([[[0.0], [1.0], [0.0], [0.5]]])
        >>> TemporalMedian(3)(frames).flatten().tolist()
        [0.0, 0.5, 0.0, 0.5]
    """

    window: int = 5

    def __post_init__(self) -> None:
        check_count("window", self.window)

    def __call__(self, frames: Tensor) -> Tensor:
        """Denoise `[batch, time, visible]`; a TypeError or ValueError for anything else."""
        check_sequences(frames, None)
        ends = range(1, 1 + frames.shape[1])
        return torch.stack([_median(frames[:, max(0, t - self.window) : t]) for t in ends], 1)


@dataclass(frozen=True, eq=False)
class LinearDenoiser:
    """Estimate the clean frame by ridge regression on the last noisy frames: b + Σ A_n v_{t-n}.

    At the beginning, where there are fewer than k frames, the fit of that lower order is used.

    Attributes:
        fits: those of order 1, …, k; the newest frame has the first tap.
        low: estimates are not allowed below this.
        high: estimates are not allowed above this.

    Example:
        >>> clean = torch.rand(20, 8, 1, generator=torch.Generator().manual_seed(1))
        >>> linear = LinearDenoiser.fit(0.5 * clean, clean, order=1, penalty=0.0)
        >>> round(linear.fits[0].taps.item(), 4), torch.allclose(linear(0.5 * clean), clean)
        (2.0, True)
    """

    fits: tuple[LinearFit, ...]
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def fit(
        cls, noisy: Tensor, clean: Tensor, order: int = 4, penalty: float | None = None
    ) -> LinearDenoiser:
        """Fit all orders up to `order` on every frame that has the predecessors for the last one.

        Order k minimises Σ|clean_t - b - Σ_n A_n noisy_{t-n}|² + λ Σ_n |A_n|², n = 0, …, k - 1, λ
        being `penalty` times the mean diagonal of the centred Gram matrix of the noisy frames; b is
        not penalised. The normal equations are accumulated in float64 on the CPU, a block of
        sequences at a time. Estimates are clipped to [0, 1] if all clean frames lie there.

        Args:
            noisy: training sequences `[batch, time, visible]`.
            clean: what they were made from, of the same shape.
            order: the number of noisy frames, from 1 to `time`.
            penalty: the relative penalty, at least 0. None: for each order the one of `PENALTIES`
                that is best on the last tenth of the sequences (or of the frames of the only one),
                fitted on the rest; the final fit uses everything.

        Raises:
            TypeError, ValueError: frames or settings are malformed or not finite, or there is
                nothing to choose the penalty on.
        """
        lengths = _check_pair(noisy, clean)
        check_count("order", order)
        if order > noisy.shape[1]:
            raise ValueError(
                f"order: expected at most the {noisy.shape[1]} frames of a sequence, got {order}"
            )
        check_penalty(penalty)
        means = MeanFrame.fit(clean).frame, MeanFrame.fit(noisy).frame
        totals = _orders(_moments(noisy, clean, order, *means))
        if penalty is None:
            some_noisy, some_clean = (last_tenth(v, lengths, order)[0] for v in (noisy, clean))
            held = _orders(_moments(some_noisy, some_clean, order, *means))
            penalties = [choose_penalty(*pair) for pair in zip(totals, held, strict=True)]
        else:
            penalties = [penalty] * order
        pairs = zip(totals, penalties, strict=True)
        fits = tuple(fit_ridge(total, chosen, *means) for total, chosen in pairs)
        return cls(fits, *_range(clean))

    def __call__(self, frames: Tensor) -> Tensor:
        """Denoise `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        check_frames(frames, width=len(self.fits[0].bias))
        return apply_fits(self.fits, frames, delay=0).clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class KalmanDenoiser:
    """Estimate the clean frame by a Kalman filter on the principal components of clean frames.

    The coordinates x_t of a clean frame are seen as y_t, those of the noisy frame:

        x_t = A_1 x_{t-1} + A_2 x_{t-2} + b + q_t,   y_t = H x_t + r_t,   q ~ N(0, Q), r ~ N(0, R)

    Two lags let the state (x_t, x_{t-1}) have a velocity; H is there because some kinds of noise
    make frames paler (with half of the pixels of bouncing balls hit by salt and pepper the error is
    a third lower with it). The gain is that of the steady state, but for the first frame, which is
    weighed against the spread of all clean frames; a gain of its own for every frame lowers the
    error of 100 frames by 0.5%.

    Attributes:
        clean_mean: the mean clean frame `[visible]`, where x = 0.
        noisy_mean: the mean noisy frame `[visible]`, where y = 0.
        components: principal components `[visible, components]`.
        transition: of the state, `[2 * components, 2 * components]`.
        drift: of the state, `[2 * components]`.
        observation: (H, 0), `[components, 2 * components]`.
        first_gain: of the first frame, `[2 * components, components]`.
        gain: of all later frames, likewise.
        low: estimates are not allowed below this.
        high: estimates are not allowed above this.

    Example:
        >>> generator = torch.Generator().manual_seed(1)
        >>> clean = torch.randn(50, 30, 1, generator=generator).cumsum(1)
        >>> noisy = clean + torch.randn(50, 30, 1, generator=generator)
        >>> kalman = KalmanDenoiser.fit(noisy, clean)
        >>> 0.6 < kalman.gain[0].item() < 0.65  # of a random walk: (√5 - 1) / 2
        True
    """

    clean_mean: Tensor
    noisy_mean: Tensor
    components: Tensor
    transition: Tensor
    drift: Tensor
    observation: Tensor
    first_gain: Tensor
    gain: Tensor
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def fit(cls, noisy: Tensor, clean: Tensor, components: int = 50) -> KalmanDenoiser:
        """Fit the dynamics to clean sequences and the observation to pairs, by least squares.

        The dynamics are a `RidgeAutoregression` of order 2 that chooses its penalty. Q and R are
        the covariances of what the fits leave. Estimates are clipped to [0, 1] if all clean frames
        lie there.

        Args:
            noisy: training sequences `[batch, time, visible]`, of 4 frames or more.
            clean: what they were made from, of the same shape.
            components: how many principal components; fewer where the clean frames vary in fewer
                directions.

        Raises:
            TypeError, ValueError: frames or settings are malformed or not finite.
        """
        _check_pair(noisy, clean, least=4)
        check_count("components", components)
        clean_mean, noisy_mean = MeanFrame.fit(clean).frame, MeanFrame.fit(noisy).frame
        basis = _principal_components(clean, clean_mean, components)
        x, y = _coordinates(clean, clean_mean, basis), _coordinates(noisy, noisy_mean, basis)
        width, dynamics = x.shape[2], RidgeAutoregression.fit(x, order=2)
        taps, bias, _ = dynamics.fits[2]
        transition = torch.cat([torch.cat([*taps], 1), torch.eye(width, 2 * width).to(x)])
        seen = torch.linalg.lstsq(x.flatten(0, 1), y.flatten(0, 1)).solution.T
        observation = F.pad(seen, (0, width))
        floor = _FLOOR * x.square().mean() * torch.eye(width).to(x)
        r = _covariance(y - x @ seen.T) + floor
        q = F.pad(_covariance((x - dynamics(x))[:, 2:]) + floor, (0, width, 0, width))
        before_first = _covariance(torch.cat([x[:, 1:], x[:, :-1]], 2))
        return cls(
            clean_mean,
            noisy_mean,
            basis,
            transition,
            F.pad(bias, (0, width)),
            observation,
            _gain(before_first, observation, r),
            _gain(_steady_covariance(transition, observation, q, r), observation, r),
            *_range(clean),
        )

    def __call__(self, frames: Tensor) -> Tensor:
        """Denoise `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        check_frames(frames, width=len(self.clean_mean))
        basis, transition, observation = (
            matrix.to(frames) for matrix in (self.components, self.transition, self.observation)
        )
        drift, first_gain, gain = (
            part.to(frames) for part in (self.drift, self.first_gain, self.gain)
        )
        seen = (frames - self.noisy_mean.to(frames)) @ basis
        states = [seen[:, 0] @ first_gain.T]
        for y in seen[:, 1:].unbind(1):
            expected = states[-1] @ transition.T + drift
            states.append(expected + (y - expected @ observation.T) @ gain.T)
        x = torch.stack(states, 1)[..., : basis.shape[1]]
        return (self.clean_mean.to(frames) + x @ basis.T).clamp(self.low, self.high)


def denoisers(noisy: Tensor, clean: Tensor) -> dict[str, Denoiser]:
    """Fit the denoisers that every model should be compared with.

    Args:
        noisy: training sequences `[batch, time, visible]`, of 4 frames or more.
        clean: what they were made from, of the same shape.

    Returns:
        "noisy" (which leaves frames as they are), "temporal median", "linear" and "Kalman". Their
        estimates of a frame use this frame and earlier ones.

    Raises:
        TypeError, ValueError: frames are malformed or not finite, or the clean ones do not vary.

    Example:
        >>> clean = torch.rand(20, 6, 4)
        >>> list(denoisers(clean + 0.1 * torch.randn(20, 6, 4), clean))
        ['noisy', 'temporal median', 'linear', 'Kalman']
    """
    _check_pair(noisy, clean, least=4)
    order = min(4, noisy.shape[1] - 1)  # one frame more than the fit needs: to hold out
    return {
        "noisy": lambda frames: frames,
        "temporal median": TemporalMedian(),
        "linear": LinearDenoiser.fit(noisy, clean, order),
        "Kalman": KalmanDenoiser.fit(noisy, clean),
    }


def _check_pair(noisy: Tensor, clean: Tensor, least: int = 1) -> Tensor:
    """The lengths of the sequences; raises where they are no pairs, or shorter than `least`."""
    for name, frames in (("noisy", noisy), ("clean", clean)):
        check_float(frames, name)
        if frames.dim() != 3 or frames.numel() == 0 or frames.shape[1] < least:
            raise ValueError(
                f"{name}: expected [batch, time, visible] with at least {least} frames, "
                f"got shape {list(frames.shape)}"
            )
        if not frames.isfinite().all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if noisy.shape != clean.shape:
        raise ValueError(
            f"noisy: expected the shape {list(clean.shape)} of clean, got {list(noisy.shape)}"
        )
    return check_sequences(clean, None)


def _range(clean: Tensor) -> tuple[float, float]:
    """What to clip estimates to: [0, 1] if all clean frames lie there."""
    return (0, 1) if clean.min() >= 0 and clean.max() <= 1 else (-math.inf, math.inf)


def _median(frames: Tensor) -> Tensor:
    """The median over time."""
    ordered, last = frames.sort(1).values, frames.shape[1] - 1
    return (ordered[:, last // 2] + ordered[:, (last + 1) // 2]) / 2


def _moments(
    noisy: Tensor, clean: Tensor, order: int, clean_mean: Tensor, noisy_mean: Tensor
) -> Tensor:
    """Σ w wᵀ over windows w = (clean_t, noisy_t, …, noisy_{t-order+1}), as `fit_ridge` has them."""
    width = 1 + len(clean_mean)
    total = clean_mean.new_zeros((1 + order) * width, (1 + order) * width)
    lengths = check_sequences(clean, None)
    blocks = (training_blocks(frames, lengths) for frames in (noisy, clean))
    for (some_noisy, _), (some_clean, _) in zip(*blocks, strict=True):
        x = F.pad(some_noisy - noisy_mean, (0, 1), value=1.0)
        y = F.pad(some_clean - clean_mean, (0, 1), value=1.0)
        lags = x.unfold(1, order, 1).flip(-1).transpose(2, 3)  # [batch, windows, order, width]
        windows = torch.cat([y[:, order - 1 :, None], lags], 2).flatten(2).flatten(0, 1)
        total.addmm_(windows.T, windows)
    return total.view(1 + order, width, 1 + order, width)


def _orders(moments: Tensor) -> list[Tensor]:
    """The moments of the first windows 1, 2, … inputs long, on the same targets."""
    return [moments[: 1 + k, :, : 1 + k] for k in range(1, len(moments))]


def _principal_components(frames: Tensor, mean: Tensor, count: int) -> Tensor:
    """The directions `[visible, count]` in which frames vary most, or all in which they do."""
    lengths = check_sequences(frames, None)
    covariance = mean.new_zeros(len(mean), len(mean))
    for block, _ in training_blocks(frames, lengths):
        rows = (block - mean).flatten(0, 1)
        covariance.addmm_(rows.T, rows, alpha=1 / int(lengths.sum()))
    values, vectors = torch.linalg.eigh(covariance)
    rounding = torch.finfo(mean.dtype).eps * (values.sum() + mean.square().sum())
    count = min(count, int((values > rounding).sum()))
    if count == 0:
        raise ValueError("clean: expected frames that vary, got the same one everywhere")
    return vectors[:, -count:].flip(1)


def _coordinates(frames: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Frames in a basis, `[batch, time, components]`, in float64 on the CPU."""
    blocks = training_blocks(frames, check_sequences(frames, None))
    return torch.cat([(block - mean) @ basis for block, _ in blocks])


def _covariance(values: Tensor) -> Tensor:
    """Mean of v vᵀ over the first two dimensions."""
    rows = values.flatten(0, 1)
    return rows.T @ rows / len(rows)


def _steady_covariance(transition: Tensor, observation: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """Of the state expected before a frame is seen, when many have been."""
    from scipy.linalg import solve_discrete_are

    arguments = (matrix.numpy() for matrix in (transition.T, observation.T, q, r))
    return torch.from_numpy(solve_discrete_are(*arguments))


def _gain(covariance: Tensor, observation: Tensor, r: Tensor) -> Tensor:
    """How far a state of this covariance follows what is seen: P Hᵀ (H P Hᵀ + R)⁻¹."""
    seen = observation @ covariance
    return torch.linalg.solve(seen @ observation.T + r, seen).T
