"""Music in MIDI files and folders of them, and its splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from seqebm.data.music.midi import MIDI_FILES, read_midi
from seqebm.data.music.roll import PianoRoll
from seqebm.data.sequences import Sequences
from seqebm.data.splits import splits_by_name
from seqebm.files import files_in


def read_music(paths: Iterable[str | os.PathLike[str]], frames_per_beat: int = 2) -> Sequences:
    """Reads MIDI files, and all those in folders, as piano rolls of one kind.

    Args:
        paths: .mid or .midi files, or folders of them.
        frames_per_beat: frames of a quarter note; 2 are eighths.

    Returns:
        A roll for each file, see `read_midi`, whose preparation is a `PianoRoll`.

    Raises:
        ImportError: mido is not installed.
        FileNotFoundError: there is no such file.
        ValueError: one is of another kind, or damaged; or a folder has none.

    Example:
        >>> import tempfile, torch
        >>> from seqebm.data import Sequence
        >>> from seqebm.data.music import write_midi
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a", "b"):
        ...         write_midi(f"{folder}/{name}.mid", Sequence(torch.ones(4, 88)))
        ...     [one.name for one in read_music([folder])]
        ['a', 'b']
    """
    files = [file for path in paths for file in _midi_files(Path(path))]
    read = (read_midi(file, frames_per_beat) for file in files)
    return Sequences(read, PianoRoll(frames_per_beat).to_json())


def with_splits(sequences: Sequences, splits: Mapping[str, str]) -> Sequences:
    """The sequences, each in the split that its name is given; in "train" where none is.

    Raises:
        ValueError: there is a name that no sequence has.

    Example:
        >>> import torch
        >>> music = Sequences.from_frames(torch.ones(2, 4, 88), name="prelude")
        >>> [one.split for one in with_splits(music, {"prelude": "test"})]
        ['test', 'test']
    """
    named = splits_by_name((one.name for one in sequences), splits)
    made = (replace(one, split=named[one.name]) for one in sequences)
    return Sequences(made, sequences.preparation)


def _midi_files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix.lower() not in MIDI_FILES:
            raise ValueError(f"{path}: expected a file of type {', '.join(MIDI_FILES)}")
        return [path]
    found = files_in(path, MIDI_FILES)
    if not found:
        raise ValueError(f"{path}: holds no {' or '.join(MIDI_FILES)}")
    return found
