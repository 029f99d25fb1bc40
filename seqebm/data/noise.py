"""Noise for videos: what a model that was trained on clean frames is asked to undo.

Every noise is a function `(frames, strength, generator, shape) -> frames`, every mask of missing
data a function `(frames, strength, generator, shape) -> mask` that is True where a pixel is
observed. Frames are `[..., time, visible]`, grey levels in [0, 1] for all noises but `white`; they
keep their type and device, and the given ones are left as they are. The leading dimensions count
sequences, each of which gets noise of its own. `strength` 0 changes nothing. `shape` is (height,
width) of a frame, and None stands for square frames.

`NOISES` and `MASKS` hold them by the names of the command line.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from seqebm.checks import check_float
from seqebm.data.balls import render_balls

_DURATION = 10  # frames that a ball of the noise or a missing box stays, on average
_BALLS = 10
_BOX, _RADIUS = 10.0, 0.72  # the balls of the videos have a radius of 1.2 in a box of 10


class Noise(Protocol):
    """What all noises and masks look like from outside."""

    def __call__(
        self,
        frames: Tensor,
        strength: float,
        generator: torch.Generator | None = None,
        shape: tuple[int, int] | None = None,
    ) -> Tensor:
        """Noisy frames or a mask, of the shape of `frames`."""


def frame_shape(visible: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) of frames with that many pixels.

    Args:
        visible: pixels of a frame.
        shape: the height and width that it should have, or None for a square.

    Raises:
        ValueError: the pixels do not make such a frame, or are no square.

    Example:
        >>> frame_shape(900, None), frame_shape(12, (3, 4))
        ((30, 30), (3, 4))
    """
    if shape is None:
        side = math.isqrt(visible)
        if side == 0 or side * side != visible:
            raise ValueError(
                f"shape: expected (height, width) for frames of {visible} pixels, which are no "
                "square, got None"
            )
        return side, side
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != visible:
        raise ValueError(f"shape: expected (height, width) of {visible} pixels, got {shape}")
    return shape


# ---------------------------------------------------------------------------------------- noise


def salt_and_pepper(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Set a random share of the pixels to 0 or 1, each with equal probability.

    Args:
        frames: grey levels in [0, 1], any shape.
        strength: the share of the pixels that are hit, from 0 to 1.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        ValueError: a strength outside [0, 1].

    Example:
        >>> salt_and_pepper(torch.full((4,), 0.5), strength=1.0).sort().values.unique().numel() <= 2
        True
    """
    _check_share(strength)
    draws = _uniform((2, *frames.shape), frames, generator)
    return torch.where(draws[0] < strength, (draws[1] < 0.5).to(frames), frames)


def white(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Add independent N(0, strength²) to every value, whatever its range.

    Args:
        frames: real numbers such as z-scores, any shape.
        strength: the standard deviation.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength that is negative or not finite.

    Example:
        >>> noisy = white(torch.zeros(2, 10, 400), 3.0, torch.Generator().manual_seed(1))
        >>> round(noisy.std().item())
        3
    """
    check_float(frames, "frames")
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength: expected a finite number of at least 0, got {strength}")
    device = frames.device if generator is None else generator.device
    draws = torch.randn(frames.shape, generator=generator, device=device)
    return frames + strength * draws.to(frames)


def gaussian(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Add independent N(0, strength²) to every pixel and clip to [0, 1].

    Args:
        frames: grey levels in [0, 1], any shape.
        strength: the standard deviation before clipping.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength that is negative or not finite.

    Example:
        >>> frames = torch.full((2, 10, 400), 0.5)
        >>> noisy = gaussian(frames, 0.1, torch.Generator().manual_seed(1))
        >>> round(noisy.std().item(), 2)
        0.1
    """
    return white(frames, strength, generator).clamp_(0, 1)


def flickering_balls(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Add small balls at fixed places that appear and disappear at random times.

    The noise of Sutskever's thesis (2013, fig. 3.2), which is correlated in space and time. A
    sequence has ten balls, their centres uniform in the frame and their radius 0.072 of its longer
    side, six tenths of that of the balls in `bouncing_balls`. Each is there or not by a two-state
    Markov chain of its own, begun in its stationary distribution. A ball that is there stays for 10
    frames on average, or, with a strength above 0.9, for 1 / (1 - strength). Sums are clipped at 1.

    Args:
        frames: grey levels in [0, 1], `[..., time, visible]`.
        strength: the share of the time that each ball is there, from 0 to 1.
        generator: source of randomness; None is torch's default.
        shape: (height, width) of a frame; None is a square.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength outside [0, 1], frames without time, or a shape that is not theirs.

    Example:
        >>> noisy = flickering_balls(torch.zeros(20, 900), 1.0, torch.Generator().manual_seed(1))
        >>> bool((noisy == noisy[0]).all()), bool(noisy.max() > 0.9)
        (True, True)
    """
    height, width = _checked_shape(frames, strength, shape)
    side = max(height, width)
    chains = (*frames.shape[:-1], _BALLS)
    # a state is drawn anew in so many frames that the ball disappears in one of ten
    anew = _uniform(chains, frames, generator) * max(1, _DURATION * (1 - strength)) < 1
    there = _held(_uniform(chains, frames, generator) < strength, anew)
    extent = torch.tensor([width, height], device=frames.device) * (_BOX / side)
    centres = _uniform((*frames.shape[:-2], _BALLS, 1, 2), frames, generator) * extent
    images = render_balls(centres, side, _RADIUS, _BOX).unflatten(-1, (side, side))
    images = images[..., :height, :width].flatten(-2)  # centres lie in this part of the square
    return (frames + (there.to(images) @ images).to(frames)).clamp_(max=1)


def occlusion_boxes(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Cover a box of each sequence with black: the frames times `missing_boxes`.

    Args:
        frames: grey levels in [0, 1], `[..., time, visible]`.
        strength: the share of a frame that is covered, from 0 to 1.
        generator: source of randomness; None is torch's default.
        shape: (height, width) of a frame; None is a square.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        TypeError, ValueError: as `missing_boxes`.

    Example:
        >>> noisy = occlusion_boxes(torch.ones(5, 100), 0.25)
        >>> (noisy == 0).sum(1).tolist()
        [25, 25, 25, 25, 25]
    """
    return frames * missing_boxes(frames, strength, generator, shape)


def dropped_frames(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Make some frames black: the frames times `missing_frames`.

    Args:
        frames: grey levels in [0, 1], `[..., time, visible]`.
        strength: the probability of a frame to be black.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        TypeError, ValueError: as `missing_frames`.

    Example:
        >>> dropped_frames(torch.ones(3, 2), 1.0).sum().item()
        0.0
    """
    return frames * missing_frames(frames, strength, generator, shape)


# ---------------------------------------------------------------------------------------- masks


def missing_pixels(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Every pixel of every frame is missing with probability `strength`, independently.

    Args:
        frames: `[..., time, visible]`.
        strength: the probability.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        True where a pixel is observed, bool, of the shape of `frames`.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength outside [0, 1], or frames without time.

    Example:
        >>> missing_pixels(torch.ones(2, 3), 0.0).all().item()
        True
    """
    _check_sequences(frames, strength)
    return _uniform(tuple(frames.shape), frames, generator) >= strength


def missing_boxes(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """A box of each sequence is missing, at a place that stays for a while and then jumps.

    The box has the proportions and `strength` of the area of a frame, as nearly as whole pixels
    allow. Before each frame it jumps with probability 1/10 to a place drawn uniformly among those
    inside the frame.

    Args:
        frames: `[..., time, visible]`.
        strength: the share of the area, from 0 to 1.
        generator: source of randomness; None is torch's default.
        shape: (height, width) of a frame; None is a square.

    Returns:
        True where a pixel is observed, bool, of the shape of `frames`.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength outside [0, 1], frames without time, or a shape that is not theirs.

    Example:
        >>> missing_boxes(torch.ones(1, 4), 0.5).sum().item()
        2
    """
    height, width = _checked_shape(frames, strength, shape)
    rows = max(1, round(math.sqrt(strength) * height))
    columns = min(width, round(strength * height * width / rows))
    jumps = _uniform((*frames.shape[:-1], 1), frames, generator) * _DURATION < 1
    places = _held(_uniform((*frames.shape[:-1], 2), frames, generator), jumps)
    in_rows = _stripe(places[..., 0], rows, height)
    in_columns = _stripe(places[..., 1], columns, width)
    return ~(in_rows[..., :, None] & in_columns[..., None, :]).flatten(-2)


def missing_frames(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Every frame is missing as a whole with probability `strength`, independently.

    Args:
        frames: `[..., time, visible]`.
        strength: the probability.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        True where a pixel is observed, bool, of the shape of `frames`.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength outside [0, 1], or frames without time.

    Example:
        >>> missing_frames(torch.ones(2, 3), 1.0).any().item()
        False
    """
    _check_sequences(frames, strength)
    observed = _uniform((*frames.shape[:-1], 1), frames, generator) >= strength
    return observed.expand(frames.shape).contiguous()


def missing_stretch(
    frames: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Frames that follow one another are missing, once in every sequence.

    Args:
        frames: `[..., time, visible]`.
        strength: the share of the frames, from 0 to 1, as nearly as whole frames allow. Where
            they begin is drawn uniformly.
        generator: source of randomness; None is torch's default.
        shape: not needed; there so that this is a `Noise`.

    Returns:
        True where a value is observed, bool, of the shape of `frames`.

    Raises:
        TypeError: frames are not of a floating-point type.
        ValueError: a strength outside [0, 1], or frames without time.

    Example:
        >>> missing_stretch(torch.ones(10, 2), 0.3).sum().item()
        14
    """
    _check_sequences(frames, strength)
    time = frames.shape[-2]
    begin = _uniform((*frames.shape[:-2], 1), frames, generator)[..., 0]
    missing = _stripe(begin, round(strength * time), time)
    return (~missing).unsqueeze(-1).expand(frames.shape).contiguous()


NOISES: dict[str, Noise] = {
    "salt-and-pepper": salt_and_pepper,
    "gaussian": gaussian,
    "white": white,
    "balls": flickering_balls,
    "boxes": occlusion_boxes,
    "dropped": dropped_frames,
}

MASKS: dict[str, Noise] = {
    "pixels": missing_pixels,
    "boxes": missing_boxes,
    "frames": missing_frames,
    "stretch": missing_stretch,
}


def _uniform(size: tuple[int, ...], frames: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) on the device of the frames, drawn on that of the generator."""
    device = frames.device if generator is None else generator.device
    return torch.rand(size, generator=generator, device=device).to(frames.device)


def _held(values: Tensor, anew: Tensor) -> Tensor:
    """Values `[..., time, k]`, each the one of the last time at which `anew` was True (or 0)."""
    times = torch.arange(values.shape[-2], device=values.device)[:, None]
    last = torch.where(anew, times, 0).cummax(-2).values
    return values.gather(-2, last.expand(values.shape))


def _stripe(place: Tensor, length: int, size: int) -> Tensor:
    """True `[..., size]` for `length` neighbours; `place` in [0, 1) says where they begin."""
    first = (place * (size - length + 1)).floor()[..., None]
    cells = torch.arange(size, device=place.device)
    return (cells >= first) & (cells < first + length)


def _checked_shape(
    frames: Tensor, strength: float, shape: tuple[int, int] | None
) -> tuple[int, int]:
    _check_sequences(frames, strength)
    return frame_shape(frames.shape[-1], shape)


def _check_sequences(frames: Tensor, strength: float) -> None:
    check_float(frames, "frames")
    if frames.dim() < 2:
        raise ValueError(f"frames: expected [..., time, visible], got shape {list(frames.shape)}")
    _check_share(strength)


def _check_share(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a share from 0 to 1, got {strength}")
