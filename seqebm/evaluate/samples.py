"""How good samples are as a forecast: proper scores of the whole distribution, not of a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqebm.evaluate.errors import Continuation, Score
from seqebm.evaluate.inputs import check_count, check_sequences, real
from seqebm.evaluate.ridge import LinearFit
from seqebm.evaluate.yardsticks import RidgeAutoregression


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """E|X − y| − ½ E|X − X′| of samples X of what turned out to be y (Gneiting and Raftery 2007).

    A strictly proper score: the lower the better, and lowest for samples of the true distribution.
    For one value it is the continuous ranked probability score (CRPS). The second mean is over
    pairs of different samples, so that the score has no bias.

    Args:
        samples: ``[n, ..., values]``, at least two.
        truth: ``[..., values]``.

    Returns:
        ``[...]``, in the unit of the values.

    Raises:
        ValueError: shapes that do not fit, or fewer than two samples.

    Example:
        >>> certain = torch.zeros(5, 1)
        >>> energy_score(certain, torch.tensor([2.0])).item()
        2.0
    """
    if samples.ndim < 2 or samples.shape[1:] != truth.shape or len(samples) < 2:
        raise ValueError(
            f"samples: expected [n, {', '.join(map(str, truth.shape))}] with n of 2 or more, "
            f"got {[*samples.shape]}"
        )
    count = len(samples)
    far = (samples - truth).norm(dim=-1).mean(0)
    apart = sum((samples - one).norm(dim=-1).sum(0) for one in samples)
    return far - torch.as_tensor(apart) / (2 * count * (count - 1))


@torch.no_grad()
def energy_scores(
    continuations: Mapping[str, Continuation],
    frames: Tensor,
    prompt: int,
    horizons: Sequence[int],
    samples: int = 100,
    generator: torch.Generator | None = None,
) -> dict[int, dict[str, Score]]:
    """Energy scores of what is sampled after a prompt.

    Args:
        continuations: by name, `(prefix, length, generator) -> [batch, length, visible]`, see
            `free_run_errors`.
        frames: `[n, time, visible]`.
        prompt: the number of frames given.
        horizons: horizon h is frame `prompt + h`.
        samples: how many continuations of each sequence are drawn, at least 2.
        generator: handed to the continuations.

    Returns:
        For each horizon a score for each name, to be laid out by `format_table`: `per_frame` is the
        energy score of whole frames, `per_dim` the mean CRPS of their values.

    Raises:
        TypeError, ValueError: arguments are malformed, or the sequences too short.

    Example:
        >>> def still(prefix, length, generator):
        ...     return prefix[:, -1:].expand(-1, length, -1)
        >>> frames = torch.zeros(3, 9, 2)
        >>> energy_scores({"still": still}, frames, 4, horizons=[1, 5])[5]["still"].per_frame
        0.0
    """
    check_sequences(frames, None)
    check_count("prompt", prompt)
    if samples < 2 or not horizons or min(horizons) < 1:
        raise ValueError(f"samples, horizons: expected 2 or more and 1 or more, got {samples}")
    if prompt + max(horizons) > frames.shape[1]:
        raise ValueError(
            f"horizons: expected at most {frames.shape[1] - prompt}, got {max(horizons)}"
        )
    places = [horizon - 1 for horizon in horizons]
    truth = frames[:, prompt:][:, places]
    prefix = frames[:, :prompt].repeat_interleave(samples, 0)
    result: dict[int, dict[str, Score]] = {horizon: {} for horizon in horizons}
    for name, continue_ in continuations.items():
        drawn = continue_(prefix, max(horizons), generator)[:, places]
        drawn = drawn.unflatten(0, (len(frames), samples)).transpose(0, 1)
        whole = energy_score(drawn, truth)
        single = energy_score(drawn.unsqueeze(-1), truth.unsqueeze(-1)).mean(-1)
        for number, horizon in enumerate(horizons):
            frame, value = Score.of(whole[:, number], 1), Score.of(single[:, number], 1)
            result[horizon][name] = frame._replace(
                per_dim=value.per_frame, per_dim_se=value.per_frame_se
            )
    return result


@dataclass(frozen=True, eq=False)
class GaussianAutoregression:
    """A linear autoregression with Gaussian noise, as a yardstick of what models sample.

    Attributes:
        fit: v_t = b + A_1 v_{t-1} + … + A_k v_{t-k} + noise.
        factor: L `[visible, visible]`, the noise having the covariance L Lᵀ.

    Example:
        >>> frames = torch.randn(20, 30, 2).cumsum(1)
        >>> walk = GaussianAutoregression.learn(frames, order=1)
        >>> walk(frames[:, :5], 7).shape
        torch.Size([20, 7, 2])
    """

    fit: LinearFit
    factor: Tensor

    @classmethod
    def learn(
        cls, frames: Tensor, lengths: Tensor | None = None, order: int = 3
    ) -> GaussianAutoregression:
        """The taps of `RidgeAutoregression`, and the covariance of what they leave.

        Raises:
            TypeError, ValueError: as of `RidgeAutoregression.fit`.
        """
        lengths = check_sequences(frames, lengths)
        ridge = RidgeAutoregression.fit(frames, lengths, order)
        inside = real(lengths, frames.shape[1])
        inside[:, :order] = False
        left = (frames - ridge(frames, lengths))[inside].double()
        floor = 1e-9 * left.square().mean() * torch.eye(left.shape[1])
        return cls(ridge.fits[-1], torch.linalg.cholesky(left.T @ left / len(left) + floor))

    def __call__(
        self, prefix: Tensor, length: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Samples `[batch, length, visible]` that go on from `[batch, order or more, visible]`."""
        taps, bias, factor = (part.to(prefix) for part in (*self.fit[:2], self.factor))
        if prefix.shape[1] < len(taps):
            raise ValueError(f"prefix: expected {len(taps)} frames or more, got {prefix.shape[1]}")
        past = list(prefix[:, -len(taps) :].unbind(1))
        for _ in range(length):
            noise = torch.randn(prefix.shape[::2], generator=generator).to(prefix) @ factor.T
            lags = zip(taps, reversed(past[-len(taps) :]), strict=True)
            past.append(bias + noise + sum(frame @ tap.T for tap, frame in lags))
        return torch.stack(past[len(taps) :], 1)
