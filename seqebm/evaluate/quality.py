"""How close a video is to the clean one: squared error, PSNR and SSIM of grey levels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqebm.checks import check_float
from seqebm.data.noise import frame_shape
from seqebm.evaluate.errors import Score
from seqebm.evaluate.inputs import check_sequences

_BLOCK_PIXELS = 2**14  # of float64: what is worked on at a time stays in a core's cache
_WINDOW, _SIGMA = 11, 1.5  # of Wang et al. 2004


class VideoQuality(NamedTuple):
    """How close one video is to the clean one.

    Attributes:
        mse: mean squared error per pixel.
        psnr: peak signal-to-noise ratio in dB, 10 log10(1 / mse); infinite without any error.
        ssim: structural similarity, mean over frames; 1 without any error.
        frames: how many frames were compared.

    Example:
        >>> VideoQuality(mse=0.01, psnr=20.0, ssim=0.9, frames=100).psnr
        20.0
    """

    mse: float
    psnr: float
    ssim: float
    frames: int


class Quality:
    """Compares a video with the clean one, block by block as the two play.

    SSIM is that of Wang et al. (2004), computed by scikit-image: a Gaussian window of 11 x 11
    pixels and σ = 1.5, averaged over the places where it lies inside the frame. Where a side of the
    frame is below 11 pixels, the window is the largest odd one that fits, and σ has the same
    proportion to it; such figures are for comparisons among frames of this size.

    Args:
        shape: (height, width) of a frame, each 3 or more; None is a square.

    Raises:
        ImportError: scikit-image is not installed.
        ValueError: a frame is smaller than 3 x 3 pixels.

    Example:
        >>> quality = Quality()
        >>> quality.add(torch.zeros(2, 400), torch.full((2, 400), 0.1))
        >>> quality.add(torch.zeros(6, 400), torch.full((6, 400), 0.1))
        >>> result = quality.result()
        >>> round(result.mse, 4), round(result.psnr, 2), round(result.ssim, 4), result.frames
        (0.01, 20.0, 0.0099, 8)
    """

    def __init__(self, shape: tuple[int, int] | None = None) -> None:
        self._similarity = _load_similarity()
        self._shape = shape
        self._squared_error = self._summed_ssim = 0.0
        self._frames = self._visible = 0
        self._waiting = torch.empty(0), torch.empty(0)  # frames that make no block yet

    def add(self, clean: Tensor, estimate: Tensor) -> None:
        """Compare the next frames.

        Args:
            clean: grey levels in [0, 1], `[time, visible]`.
            estimate: of the same shape; it may leave [0, 1].

        Raises:
            TypeError: frames are not of a floating-point type.
            ValueError: frames are malformed, too small, not finite, or of another width than those
                before, or clean ones leave [0, 1].
        """
        _check_pair(clean, estimate)
        frames, visible = clean.shape
        if self._visible not in (0, visible):
            raise ValueError(f"clean: expected width {self._visible} as before, got {visible}")
        shape = frame_shape(visible, self._shape)
        if min(shape) < 3:
            raise ValueError(f"shape: expected at least 3 x 3 pixels for SSIM, got {shape}")
        self._frames += frames
        self._visible = visible
        new = (part.detach().cpu().double() for part in (clean, estimate))
        clean, estimate = (torch.cat(pair) for pair in zip(self._waiting, new, strict=True))
        size = max(1, _BLOCK_PIXELS // visible)  # single frames would take many times longer
        whole = len(clean) // size * size
        for start in range(0, whole, size):
            self._compare(clean[start : start + size], estimate[start : start + size])
        self._waiting = clean[whole:], estimate[whole:]

    def _compare(self, clean: Tensor, estimate: Tensor) -> None:
        """Compare a block of frames."""
        self._squared_error += float((clean - estimate).square().sum())
        shape = frame_shape(clean.shape[1], self._shape)
        self._summed_ssim += self._ssim(clean.numpy(), estimate.numpy(), shape)

    def result(self) -> VideoQuality:
        """The quality of all frames so far; a ValueError if there are none."""
        if self._frames == 0:
            raise ValueError("frames: expected at least one to have been added, got none")
        if len(self._waiting[0]):
            self._compare(*self._waiting)
            self._waiting = torch.empty(0), torch.empty(0)
        mse = self._squared_error / (self._frames * self._visible)
        psnr = -10 * math.log10(mse) if mse > 0 else math.inf
        return VideoQuality(mse, psnr, self._summed_ssim / self._frames, self._frames)

    def _ssim(self, a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> float:
        """The SSIM of frames `[time, visible]`, summed over time."""
        height, width = shape
        window = min(_WINDOW, (min(shape) - 1) | 1)
        # all frames as one tall picture: places where the window sees two of them are cut off below
        _, similar = self._similarity(
            a.reshape(-1, width),
            b.reshape(-1, width),
            data_range=1,
            gaussian_weights=True,
            sigma=_SIGMA * window / _WINDOW,
            use_sample_covariance=False,
            full=True,
        )
        edge = window // 2
        inside = similar.reshape(-1, height, width)[:, edge : height - edge, edge : width - edge]
        return float(inside.mean((1, 2)).sum())


class QualityScore(NamedTuple):
    """Means over videos with their standard errors over videos; those of one video are NaN.

    Attributes:
        mse: mean squared error per pixel.
        mse_se: its standard error.
        psnr: mean of the PSNR of each video, in dB.
        psnr_se: its standard error.
        ssim: structural similarity.
        ssim_se: its standard error.
        sequences: how many videos were averaged.

    Example:
        >>> videos = [VideoQuality(0.01, 20.0, 0.8, 9), VideoQuality(0.1, 10.0, 0.6, 9)]
        >>> score = QualityScore.of(videos)
        >>> score.psnr, round(score.psnr_se, 6), round(score.ssim, 6), score.sequences
        (15.0, 5.0, 0.7, 2)
    """

    mse: float
    mse_se: float
    psnr: float
    psnr_se: float
    ssim: float
    ssim_se: float
    sequences: int

    @classmethod
    def of(cls, videos: Sequence[VideoQuality]) -> QualityScore:
        """Summarise at least one video."""
        columns = torch.tensor([video[:3] for video in videos], dtype=torch.float64).T
        mse, psnr, ssim = (Score.of(column, visible=1)[:2] for column in columns)
        return cls(*mse, *psnr, *ssim, len(videos))


@torch.no_grad()
def quality_table(
    estimates: Mapping[str, Tensor],
    clean: Tensor,
    lengths: Tensor | None = None,
    shape: tuple[int, int] | None = None,
) -> dict[str, QualityScore]:
    """Compare estimates of the same videos with the clean ones.

    Args:
        estimates: by name, `[n, time, visible]` each, for example
            `{name: denoise(noisy) for name, denoise in denoisers(…).items()}`.
        clean: grey levels in [0, 1], `[n, time, visible]`.
        lengths: `[n]`, or None if no sequence is padded.
        shape: (height, width) of a frame; None is a square.

    Returns:
        A score for each name, in the same order.

    Raises:
        ImportError: scikit-image is not installed.
        TypeError, ValueError: as `Quality.add`; what an estimate has is said with its name.

    Example:
        >>> clean = torch.rand(3, 5, 400)
        >>> table = quality_table({"perfect": clean, "black": 0 * clean}, clean)
        >>> round(table["perfect"].ssim, 6), table["perfect"].psnr, table["black"].sequences
        (1.0, inf, 3)
    """
    lengths = check_sequences(clean, lengths)
    table = {}
    for name, estimate in estimates.items():
        check_float(estimate, name)
        if estimate.shape != clean.shape:
            raise ValueError(
                f"{name}: expected the shape {list(clean.shape)} of clean, got "
                f"{list(estimate.shape)}"
            )
        try:
            table[name] = QualityScore.of(
                [
                    _video_quality(a[:length], b[:length], shape)
                    for a, b, length in zip(clean, estimate, lengths.tolist(), strict=True)
                ]
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return table


def _video_quality(clean: Tensor, estimate: Tensor, shape: tuple[int, int] | None) -> VideoQuality:
    quality = Quality(shape)
    quality.add(clean, estimate)
    return quality.result()


def _load_similarity() -> Callable[..., tuple[float, np.ndarray]]:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ImportError(
            "SSIM is computed by scikit-image: pip install 'seqebm[quality]'"
        ) from error
    return structural_similarity


def _check_pair(clean: Tensor, estimate: Tensor) -> None:
    for name, frames in (("clean", clean), ("estimate", estimate)):
        check_float(frames, name)
        if not frames.isfinite().all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if clean.dim() != 2 or clean.numel() == 0:
        raise ValueError(
            f"clean: expected [time, visible] of one frame or more, got shape {list(clean.shape)}"
        )
    if estimate.shape != clean.shape:
        raise ValueError(
            f"estimate: expected the shape {list(clean.shape)} of clean, got {list(estimate.shape)}"
        )
    if clean.min() < 0 or clean.max() > 1:
        raise ValueError(
            f"clean: expected grey levels from 0 to 1, got {clean.min():.4g} to {clean.max():.4g}"
        )
