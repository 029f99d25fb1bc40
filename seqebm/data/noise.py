"""Noise for videos: what a model that was trained on clean frames is asked to undo."""

from __future__ import annotations

import torch
from torch import Tensor


def salt_and_pepper(
    frames: Tensor, strength: float, generator: torch.Generator | None = None
) -> Tensor:
    """Set a random share of the pixels to 0 or 1, each with equal probability.

    Args:
        frames: grey levels in [0, 1], any shape.
        strength: the share of the pixels that are hit, from 0 to 1.
        generator: source of randomness; None is torch's default.

    Returns:
        The noisy frames; the given ones are left as they are.

    Raises:
        ValueError: a strength outside [0, 1].

    Example:
        >>> salt_and_pepper(torch.full((4,), 0.5), strength=1.0).sort().values.unique().numel() <= 2
        True
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a share from 0 to 1, got {strength}")
    device = frames.device if generator is None else generator.device
    draws = torch.rand((2, *frames.shape), generator=generator, device=device)
    hit, white = (draws[0] < strength).to(frames.device), (draws[1] < 0.5).to(frames)
    return torch.where(hit, white, frames)
