"""What several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Generator

    from seqebm.data import Sequences

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
SEED = click.IntRange(0, 2**63 - 1)
DATA_FILES = (".h5", ".hdf5")


def generator(seed: int) -> Generator:
    """A source of randomness that begins from the seed."""
    import torch

    return torch.Generator().manual_seed(seed)


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The frame shape as (height, width); frames that are no pictures show as one row."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, math.prod(shape))


def write_pictures(out: Path, pictures: Any, frame_rate: float) -> None:
    """A video; or a png strip of about ten frames."""
    from seqebm import video

    if out.suffix == ".png":
        pictures = video.strip(pictures, every=max(1, len(pictures) // 10))
    video.save(out, pictures, frame_rate)


def write_sequences(out: Path, sequences: Sequences) -> None:
    """A data file; or the pictures of the first sequence."""
    from seqebm import video
    from seqebm.data import save_sequences

    if out.suffix.lower() in DATA_FILES:
        save_sequences(out, sequences)
    else:
        first = sequences[0]
        write_pictures(
            out, video.pictures(first.frames, picture_shape(first.shape)), first.frame_rate
        )
