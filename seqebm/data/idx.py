"""The idx files of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib

import numpy as np
import numpy.typing as npt

from seqebm.files import blame, check_claim, existing_file

_UNSIGNED_BYTES = 8
_MOST_AXES = 4


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Reads the array of unsigned bytes in a compressed idx file (.gz).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything else; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with gzip.open(f"{folder}/labels.gz", "wb") as file:
        ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(f"{folder}/labels.gz")
        array([5, 0, 4], dtype=uint8)
    """
    path = existing_file(path)
    with blame(path, EOFError, zlib.error, struct.error), gzip.open(path) as file:
        zeros, kind, axes = struct.unpack(">HBB", file.read(4))
        if zeros or kind != _UNSIGNED_BYTES or not 1 <= axes <= _MOST_AXES:
            raise ValueError("not an idx file of unsigned bytes")
        shape = struct.unpack(f">{axes}I", file.read(4 * axes))
        size = math.prod(shape)
        check_claim(size, path.stat().st_size, f"{path}: its header")
        content = file.read(size + 1)
        if len(content) != size:
            there = "more" if len(content) > size else str(len(content))
            raise ValueError(f"an array of {list(shape)} needs {size} bytes, there are {there}")
        return np.frombuffer(content, np.uint8).reshape(shape)
