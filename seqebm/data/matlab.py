"""Matrices of numbers in MATLAB 5 files from strangers.

SciPy reads them too, but it makes room for whatever number of cells a header inside a cell claims:
650 bytes can ask for any number of gigabytes. Here nothing is larger than what is there.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seqebm.files import blame, existing_file

Array: TypeAlias = npt.NDArray[np.float64]
Names: TypeAlias = tuple[str, ...]

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


def variables(path: str | os.PathLike[str], kinds: Sequence[Names]) -> dict[str, list[Array]]:
    """The matrices of a file, by the names of the variables that they are.

    Args:
        path: a MATLAB 5 file, compressed or not (in MATLAB: `save -v7`).
        kinds: names that stand in a file together; the first kind of which it has all is read.

    Returns:
        The matrices of each cell array, float64; of a variable that is a matrix, that one only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds other variables, which the message lists, or
            anything but finite numbers in them.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     savemat(f"{folder}/data.mat", {"x": [[1, 2]], "other": "text"})
        ...     variables(f"{folder}/data.mat", [("a", "b"), ("x",)])
        {'x': [array([[1., 2.]])]}
    """
    with _opened(path) as found:
        return {name: _arrays(found[name]) for name in _kind(found, kinds)}


def kind_of(path: str | os.PathLike[str], kinds: Sequence[Names]) -> Names:
    """Which of `kinds` `variables` would read; it raises the same errors."""
    with _opened(path) as found:
        return _kind(found, kinds)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[dict[str, _Matrix]]:
    """The variables of a file, of which the headers are read; errors of the block name it."""
    path = existing_file(path)
    with blame(path, zlib.error, struct.error):
        content = path.read_bytes()
        if content[124:128] != b"\x00\x01IM":
            raise ValueError("not a MATLAB 5 file of little-endian numbers (in MATLAB: save -v7)")
        yield {matrix.name: matrix for matrix in _matrices(memoryview(content)[128:])}


def _kind(found: Collection[str], kinds: Sequence[Names]) -> Names:
    for names in kinds:
        if {*names} <= {*found}:
            return names
    known = "; or ".join(", ".join(names) for names in kinds)
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
