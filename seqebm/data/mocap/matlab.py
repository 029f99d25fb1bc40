"""The MATLAB files in which motion capture is handed on among those who model it."""

from __future__ import annotations

import itertools
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seqebm.data.mocap.acclaim import read_asf
from seqebm.data.mocap.motion import Array, Motion
from seqebm.data.mocap.taylor import UNIT, are_body_centred
from seqebm.data.sequences import Sequence, Sequences
from seqebm.files import blame, existing_file

MIT_WIDTH = 108  #: columns of the recordings of Hsu, Pulli and Popović (2005)
_TRIALS = {
    "train": [f"35_{n:02d}" for n in range(1, 35) if n not in (18, 27, 29)],
    "test": ["35_18", "35_29"],
}
_TRIAL_WIDTH = 62


def read_mat(path: str | os.PathLike[str]) -> Sequences:
    """Reads the MATLAB files in which motion capture is handed on among those who model it.

    ======================== ===================================================================
    Motion                   [time, 108] each, MIT's walks of Taylor, Hinton and Roweis (2007),
                             raw at 120 or `body_centred` at 30 frames a second
    train_data, test_data    [time, visible] each, blocks of z-scores of Gan et al. (2015), at 30
    Y, lbls, Ytest, lblstest walks and runs of subject 35 of CMU in Lawrence's GPmat (2015), at 30:
                             [time, 62], and one-hot which trial a frame is of; the place of the
                             root comes first, then angles in degrees, which become radians
    ======================== ===================================================================

    Motion is taken to be body-centred if that is how all recordings end: with the turn and the way
    of the last frame those of the frame before. Other variables are not read.

    Args:
        path: a MATLAB 5 file, compressed or not (in MATLAB: `save -v7`).

    Returns:
        One sequence for each recording, block or trial, in float32; `split` where the file has one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds other variables, which the message lists, or
            anything but numbers in them.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     blocks = {"train_data": np.random.rand(100, 49), "test_data": np.zeros((26, 49))}
        ...     savemat(f"{folder}/blocks.mat", blocks)
        ...     [(block.name, block.split) for block in read_mat(f"{folder}/blocks.mat")]
        [('train_data 1', 'train'), ('test_data 1', 'test')]
    """
    path = existing_file(path)
    with blame(path, zlib.error, struct.error):
        found = variables(path)
        if "Motion" in found:
            return _motions(found["Motion"])
        if "Y" in found:
            train = _trials(found["Y"][0], found["lbls"][0], "train")
            return Sequences([*train, *_trials(found["Ytest"][0], found["lblstest"][0], "test")])
        return Sequences(
            _sequence(
                block,
                name=f"{name} {n}",
                split=name.removesuffix("_data"),
                unit="standard deviation",
            )
            for name, blocks in found.items()
            for n, block in enumerate(blocks, start=1)
        )


def holds_trials(path: str | os.PathLike[str]) -> bool:
    """Whether a MATLAB file is one for `read_trials`; raises as `read_mat`."""
    return read_mat(path)[0].frames.shape[1] == _TRIAL_WIDTH


def read_trials(
    path: str | os.PathLike[str], skeleton: str | os.PathLike[str] | None = None
) -> list[Motion]:
    """Reads the walks and runs of subject 35 of CMU in Lawrence's GPmat (2015) as motions.

    Args:
        path: the MATLAB file with Y, lbls, Ytest and lblstest, see `read_mat`.
        skeleton: the subject's .asf; None takes 35.asf beside the file.

    Returns:
        31 trials to train on, and 35_18 (a run) and 35_29 (a walk) to test on, by their names; 30
        frames a second.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is damaged or holds something else.
    """
    path = existing_file(path)
    body = read_asf(Path(path).with_name("35.asf") if skeleton is None else skeleton)
    trials = read_mat(path)
    if len(body.channels) != _TRIAL_WIDTH or trials[0].frames.shape[1] != _TRIAL_WIDTH:
        raise ValueError(f"{path}: expected trials and a skeleton of {_TRIAL_WIDTH} channels")
    return [Motion(body, one.frames.numpy(), one.frame_rate, one.name) for one in trials]


def check_recordings(motions: list[Array]) -> None:
    """Raise ValueError where arrays do not look like recordings of MIT, raw or body-centred."""
    for motion in motions:
        if len(motion) < 2 or motion.shape[1] != MIT_WIDTH:
            raise ValueError(f"Motion: expected [2 or more, {MIT_WIDTH}], got {motion.shape}")


def _motions(motions: list[Array]) -> Sequences:
    check_recordings(motions)
    frame_rate = 30.0 if are_body_centred(motions) else 120.0
    return Sequences(
        _sequence(motion, name=f"Motion {n}", frame_rate=frame_rate, unit=UNIT)
        for n, motion in enumerate(motions, start=1)
    )


def _trials(frames: Array, labels: Array, split: str) -> Iterator[Sequence]:
    names = _TRIALS[split]
    if frames.shape[1] != _TRIAL_WIDTH or labels.shape != (len(frames), len(names)):
        raise ValueError(
            f"expected [time, {_TRIAL_WIDTH}] and labels [time, {len(names)}] to {split}, "
            f"got {frames.shape} and {labels.shape}"
        )
    trial = labels.argmax(axis=1)
    one_each = np.array_equal(labels, np.eye(len(names))[trial])
    steps = np.diff(trial, prepend=-1, append=len(names))
    if not one_each or not np.isin(steps, (0, 1)).all():
        raise ValueError(f"labels to {split}: expected one trial a frame, and one after another")
    place, degrees = frames[:, :3], frames[:, 3:]
    frames = np.concatenate([place, np.radians(degrees)], axis=1)
    starts = np.flatnonzero(np.diff(trial)) + 1
    for name, motion in zip(names, np.split(frames, starts), strict=True):
        yield _sequence(motion, name=name, split=split, unit=UNIT)


def _sequence(
    frames: Array, name: str, unit: str, frame_rate: float = 30.0, split: str = ""
) -> Sequence:
    values = torch.from_numpy(frames)
    return Sequence(values, name=name, frame_rate=frame_rate, unit=unit, split=split)


# ------------------------------------------------------------------------------- MATLAB 5 files
#
# SciPy reads them too, but it makes room for whatever number of cells a header inside a cell
# claims: 650 bytes can ask for any number of gigabytes. Here nothing is larger than what is there.

_KINDS = (("Motion",), ("train_data", "test_data"), ("Y", "lbls", "Ytest", "lblstest"))
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15  # types of elements
_NUMBERS = {  # types of elements too
    1: "i1",
    2: "u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
_CELL, _NUMERIC, _COMPLEX = 1, range(6, 16), 0x800  # classes of arrays, and a flag


class _Matrix(NamedTuple):
    name: str
    flags: int
    shape: list[int]
    parts: Iterator[tuple[int, memoryview]]  # what comes after the header, not read yet


def variables(path: Path) -> dict[str, list[Array]]:
    """The variables of the kind of file that this is; one that is no cell array is a single one."""
    content = path.read_bytes()
    if content[124:128] != b"\x00\x01IM":
        raise ValueError("not a MATLAB 5 file of little-endian numbers (in MATLAB: save -v7)")
    found = {matrix.name: matrix for matrix in _matrices(memoryview(content)[128:])}
    for names in _KINDS:
        if {*names} <= {*found}:
            return {name: _arrays(found[name]) for name in names}
    known = "; or ".join(", ".join(names) for names in _KINDS)
    raise ValueError(f"expected variables {known}; found {', '.join(found) or 'none'}")


def _matrices(content: memoryview) -> Iterator[_Matrix]:
    for kind, body in _elements(content):
        if kind == _COMPRESSED:
            for inner in _elements(memoryview(zlib.decompress(body))):
                yield _matrix(*inner)
        else:
            yield _matrix(kind, body)


def _elements(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Types and contents of the data elements, which stand one after another."""
    while content:
        kind, size = struct.unpack_from("<II", content)
        start = 8
        if kind >> 16:  # a short one, whose content stands where others have their size
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
        end = start + size
        if end > len(content):
            raise ValueError(f"an element of {size} bytes, where {len(content) - start} are left")
        yield kind, content[start:end]
        content = content[end if kind == _COMPRESSED else -(-end // 8) * 8 :]


def _matrix(kind: int, body: memoryview) -> _Matrix:
    parts = _elements(body)
    header = dict(itertools.islice(parts, 3))
    if kind != _MATRIX or [*header] != [_UINT32, _INT32, _INT8]:
        raise ValueError("the header of an array is damaged")
    flags, _ = struct.unpack("<II", header[_UINT32])
    shape = [int(size) for size in np.frombuffer(header[_INT32], "<u4")]
    return _Matrix(bytes(header[_INT8]).decode("latin-1"), flags, shape, parts)


def _arrays(matrix: _Matrix) -> list[Array]:
    if matrix.flags & 0xFF != _CELL:
        return [_array(matrix, matrix.name)]
    cells = [*matrix.parts]
    if not cells or len(cells) != math.prod(matrix.shape):
        raise ValueError(f"{matrix.name} has {len(cells)} cells, its shape is {matrix.shape}")
    return [
        _array(_matrix(*cell), f"{matrix.name}{{{n}}}") for n, cell in enumerate(cells, start=1)
    ]


def _array(matrix: _Matrix, name: str) -> Array:
    if matrix.flags & 0xFF not in _NUMERIC or matrix.flags & _COMPLEX or len(matrix.shape) != 2:
        raise ValueError(f"{name} is not a matrix of real numbers")
    ((kind, numbers),) = matrix.parts
    if kind not in _NUMBERS:
        raise ValueError(f"the numbers of {name} are damaged")
    with np.errstate(invalid="ignore"):  # not all NaN can be converted; none is let through
        values = np.frombuffer(numbers, _NUMBERS[kind]).astype(np.float64)
    if not len(values) or len(values) != math.prod(matrix.shape):
        raise ValueError(f"{name} has {len(values)} numbers, its shape is {matrix.shape}")
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{name} is not finite in float32")
    return np.ascontiguousarray(values.reshape(matrix.shape, order="F"))
