"""What several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqebm.cli.media import (
    MIDI_FILES,
    MOTION_FILES,
    SOUND_FILES,
    medium,
    only,
    piano_roll,
    sound_of,
)

if TYPE_CHECKING:
    from torch import Generator

    from seqebm.data import Sequences
    from seqebm.learning.runs import Run

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
SEED = click.IntRange(0, 2**63 - 1)
DATA_FILES = (".h5", ".hdf5")


def generator(seed: int) -> Generator:
    """A source of randomness that begins from the seed."""
    import torch

    return torch.Generator().manual_seed(seed)


def sequences_for(run: Run, path: Path) -> Sequences:
    """The sequences of a file, as frames that the model of the run knows, in its order of time.

    Recordings of motion and music in MIDI files are prepared as the run's data were.

    Raises:
        ValueError: sequences that were prepared in another way.
    """
    from seqebm.data import Sequences
    from seqebm.learning.recipes import in_order

    preparation = run.format.preparation
    found = medium(preparation).read(path, run.format.shape, preparation)
    if found.preparation not in ("", preparation):
        raise ValueError(f"{path}: prepared in another way than the data of the run")
    return in_order(run.recipe, Sequences(found, preparation))


def write_sequences(out: Path, sequences: Sequences, given: int = 0) -> None:
    """A data file; a motion, MIDI or sound file of the only sequence; or pictures of all of them.

    Args:
        out: its ending says which.
        sequences: at least one.
        given: so many frames at the beginning were not made by a model; music shows which.
    """
    suffix = out.suffix.lower()
    if suffix in DATA_FILES:
        from seqebm.data import save_sequences

        save_sequences(out, sequences)
    elif suffix in MOTION_FILES:
        from seqebm.data import mocap

        only(out, sequences)
        mocap.write_motion(out, mocap.motions(sequences)[0])
    elif suffix in MIDI_FILES:
        from seqebm.data.music import write_midi

        write_midi(out, only(out, sequences), piano_roll(sequences))
    elif suffix in SOUND_FILES:
        from seqebm.sound import write_wav

        only(out, sequences)
        write_wav(out, sound_of(sequences))
    else:
        medium(sequences.preparation).write(out, sequences, given)
