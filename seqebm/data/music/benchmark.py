"""The four data sets of polyphonic music of Boulanger-Lewandowski et al. (2012), as handed on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqebm.data.checked_json import LONGEST, read_object, shown, typed
from seqebm.data.matlab import variables
from seqebm.data.music.roll import LOWEST, NOTES, PianoRoll
from seqebm.data.sequences import Sequence, Sequences
from seqebm.files import blame, existing_file

BENCHMARK_FILES = (".mat", ".json")
SPLITS = ("train", "valid", "test")
ROLL_VARIABLES = tuple(f"{split}data" for split in SPLITS)  #: names of variables, read together


def read_benchmark(path: str | os.PathLike[str]) -> Sequences:
    """Reads JSB chorales, MuseData, Nottingham or Piano-midi.de with their published splits.

    Boulanger-Lewandowski, Bengio and Vincent, "Modeling temporal dependencies in high-dimensional
    sequences" (2012). Music is transposed to C major or C minor. The files do not say how long a
    frame is: it is a quarter note where the name of the file begins with "JSB", in any case of
    letters, and an eighth in the others. Nor do they say how fast the music is: 120 beats a minute
    are assumed.

    Args:
        path: a .mat file with the cell arrays traindata, validdata and testdata of matrices
            `[time, 88]` of zeros and ones; or a .json file with "train", "valid" and "test", each a
            list of sequences, which are lists of frames, which are lists of MIDI pitches.

    Returns:
        Rolls of 88 notes, named such as "train 1", whose preparation is a `PianoRoll`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds anything else; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "jsb-made-up.json"
        ...     _ = path.write_text('{"train": [[[60, 64], []]], "valid": [[[62]]], "test": []}')
        ...     music = read_benchmark(path)
        >>> music.lengths, music.split("train")[0].frames[0].nonzero().ravel() + 21
        (tensor([2, 1]), tensor([60, 64]))
    """
    path = existing_file(path)
    read = _json_rolls if path.suffix.lower() == ".json" else _mat_rolls
    preparation = PianoRoll(1 if path.name.lower().startswith("jsb") else 2)
    with blame(path):
        return Sequences(_named(read(path), preparation), preparation.to_json())


def _named(
    splits: Iterable[tuple[str, Iterator[npt.NDArray[np.bool_]]]], preparation: PianoRoll
) -> Iterator[Sequence]:
    for split, rolls in splits:
        for number, roll in enumerate(rolls, start=1):
            yield replace(preparation.sequence(roll, f"{split} {number}"), split=split)


def _mat_rolls(path: Path) -> Iterator[tuple[str, Iterator[npt.NDArray[np.bool_]]]]:
    for name, matrices in variables(path, [ROLL_VARIABLES]).items():
        cells = enumerate(matrices, start=1)
        yield name.removesuffix("data"), (_mat_roll(one, f"{name}{{{n}}}") for n, one in cells)


def _mat_roll(matrix: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.bool_]:
    if matrix.shape[1] != NOTES or not np.isin(matrix, (0, 1)).all():
        raise ValueError(f"{what}: expected zeros and ones [time, {NOTES}], got {matrix.shape}")
    return matrix == 1


def _json_rolls(path: Path) -> Iterator[tuple[str, Iterator[npt.NDArray[np.bool_]]]]:
    if path.stat().st_size > LONGEST:
        raise ValueError(f"expected at most {LONGEST} bytes, got {path.stat().st_size}")
    content = read_object(path.read_text(encoding="utf-8"), "music")
    for split in SPLITS:
        pieces = enumerate(typed(content.get(split), list, split), start=1)
        yield split, (_json_roll(piece, f"{split} {n}") for n, piece in pieces)


def _json_roll(piece: Any, what: str) -> npt.NDArray[np.bool_]:
    frames = typed(piece, list, what)
    roll = np.zeros((len(frames), NOTES), dtype=bool)
    for row, frame in zip(roll, frames, strict=True):
        row[[_key(pitch, what) for pitch in typed(frame, list, what)]] = True
    return roll


def _key(pitch: Any, what: str) -> int:
    if type(pitch) is not int or not LOWEST <= pitch < LOWEST + NOTES:
        raise ValueError(
            f"{what}: expected pitches from {LOWEST} to {LOWEST + NOTES - 1}, got {shown(pitch)}"
        )
    return pitch - LOWEST
