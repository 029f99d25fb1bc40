"""Checks of sequences, and the blocks in which they are worked on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from seqebm.checks import check_float, check_lengths

BLOCK_ELEMENTS = 2**22  # 32 MiB of float64 a block while fitting


def blocks(frames: Tensor, lengths: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut into blocks of `size` sequences, no longer than they need, with zeros for padding."""
    for start in range(0, len(frames), size):
        some = lengths[start : start + size]
        block = frames[start : start + size, : int(some.max())]
        block = block.masked_fill(~real(some, block.shape[1])[..., None], 0)
        if not block.isfinite().all():
            raise ValueError(
                "frames: expected finite values, got NaN or infinity "
                f"in sequences {start} to {start + len(some) - 1}"
            )
        yield block, some


def training_blocks(frames: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of a bounded size in float64 on the CPU, where scipy solves."""
    size = max(1, BLOCK_ELEMENTS // frames[0].numel())
    for block, some in blocks(frames.detach(), lengths, size):
        yield block.cpu().double(), some.cpu()


def real(lengths: Tensor, time: int) -> Tensor:
    """True `[batch, time]` where a frame is not padding."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def check_frames(frames: Tensor, width: int | None = None) -> None:
    """Raise where frames are no floating-point tensor [batch, time, width]."""
    check_float(frames, "frames")
    if frames.dim() != 3:
        raise ValueError(f"frames: expected [batch, time, visible], got shape {list(frames.shape)}")
    if width is not None and frames.shape[2] != width:
        raise ValueError(f"frames: expected width {width} as fitted, got {frames.shape[2]}")


def check_sequences(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """The lengths, also where None was given; frames and lengths must fit each other."""
    check_frames(frames)
    if frames.numel() == 0:
        raise ValueError(f"frames: expected at least one number, got shape {list(frames.shape)}")
    batch, time = frames.shape[:2]
    if lengths is None:
        return torch.full((batch,), time, device=frames.device)
    check_lengths(lengths, batch, time)
    return lengths.to(frames.device, torch.int64)


def check_count(name: str, value: int) -> None:
    """Raise where `value` is no positive whole number."""
    if not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
