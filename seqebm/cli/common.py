"""What several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Generator

    from seqebm.data import Sequences
    from seqebm.learning.runs import Run
    from seqebm.video import Pictures

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
SEED = click.IntRange(0, 2**63 - 1)
DATA_FILES = (".h5", ".hdf5")
MOTION_FILES = (".amc", ".bvh")  # as in seqebm.data.mocap, which takes a while to import


def generator(seed: int) -> Generator:
    """A source of randomness that begins from the seed."""
    import torch

    return torch.Generator().manual_seed(seed)


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The frame shape as (height, width); frames that are no pictures show as one row."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, math.prod(shape))


def show(sequences: Sequences) -> Pictures:
    """Videos, or figures of prepared motions, in a grid; figures that are done stand still."""
    from seqebm import scenes, video

    if sequences.preparation:
        import numpy as np

        from seqebm import figures
        from seqebm.data import mocap

        panels = [figures.figure(motion) for motion in mocap.motions(sequences)]
        longest = int(sequences.lengths.max())
        still = [np.repeat(panel[-1:], longest - len(panel), axis=0) for panel in panels]
        whole = [np.concatenate(pair) for pair in zip(panels, still, strict=True)]
        return video.grid(whole)
    return scenes.many(sequences.padded()[0], picture_shape(sequences[0].shape))


def sequences_for(run: Run, path: Path) -> Sequences:
    """The sequences of a file, as frames that the model of the run knows.

    A recording of motion is prepared as the run's data were.

    Raises:
        ValueError: motions that were prepared in another way.
    """
    from seqebm.data import Sequences, load_sequences

    preparation = run.format.preparation
    if preparation and path.suffix.lower() in MOTION_FILES:
        from seqebm.data import mocap

        prepared = mocap.read_preparation(preparation)
        return Sequences([prepared.sequence(mocap.read_motion(path))], preparation)
    found = load_sequences(path, picture_shape(run.format.shape))
    if found.preparation not in ("", preparation):
        raise ValueError(f"{path}: prepared in another way than the data of the run")
    return Sequences(found, preparation)


def write_pictures(out: Path, pictures: Any, frame_rate: float) -> None:
    """A video; or a png strip of about ten frames."""
    from seqebm import video

    if out.suffix == ".png":
        pictures = video.strip(pictures, every=max(1, len(pictures) // 10))
    video.save(out, pictures, frame_rate)


def write_sequences(out: Path, sequences: Sequences) -> None:
    """A data file; a motion file of the only sequence; or the pictures of all of them."""
    from seqebm.data import save_sequences

    if out.suffix.lower() in DATA_FILES:
        save_sequences(out, sequences)
    elif out.suffix.lower() in MOTION_FILES:
        from seqebm.data import mocap

        if len(sequences) > 1:
            raise ValueError(f"{out}: has room for one motion, got {len(sequences)}")
        mocap.write_motion(out, mocap.motions(sequences)[0])
    else:
        write_pictures(out, show(sequences), sequences[0].frame_rate)
