"""Writing files so that a killed run leaves no half of one, and reading files from strangers."""

from __future__ import annotations

import errno
import io
import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from numbers import Integral
from pathlib import Path
from typing import Any
from uuid import uuid4


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends without an error.

    The temporary file is in the same folder and has the same suffix. It is on the disk before it
    takes the place of `path`, so whatever interrupts the program leaves the old file or the new
    one. After an error it is removed and `path` is as it was.

    Args:
        path: The file to write.

    Yields:
        The path to write to; no file is there yet.

    Raises:
        OSError: If the file cannot be written; the message names `path`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(Path(folder) / "note.txt") as temporary:
        ...         _ = temporary.write_text("all or nothing")
        ...     Path(folder, "note.txt").read_text()
        'all or nothing'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, f"cannot be written ({error})", str(path)) from error
    finally:
        with suppress(OSError):  # there is nothing to remove after a success
            temporary.unlink()


@contextmanager
def write_hdf5(path: str | os.PathLike[str], format: str, version: int = 1) -> Iterator[Any]:
    """A new HDF5 file of this library, which becomes `path` when the block ends without an error.

    It is made in memory and then written as in `atomic_path`: HDF5 may crash the program when a
    disk is full. Text should be stored with `set_text`.

    Args:
        path: The file to write.
        format: The root attribute `format`, for `read_hdf5`.
        version: The root attribute `version`.

    Yields:
        The open `h5py.File`.

    Raises:
        OSError: If the file cannot be written; the message names `path`.

    Example:
        See `read_hdf5`.
    """
    import h5py

    content = io.BytesIO()
    # the layout of HDF5 1.8: checksums, and attributes of more than 64 KiB
    with h5py.File(content, "w", libver=("v108", "latest")) as file:
        set_text(file, "format", format)
        file.attrs["version"] = version
        yield file
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


@contextmanager
def read_hdf5(path: str | os.PathLike[str], format: str, version: int = 1) -> Iterator[Any]:
    """An HDF5 file of this library, open for reading, whose errors name the file.

    Args:
        path: The file to read.
        format: What the root attribute `format` must be.
        version: The newest layout that the caller can read (root attribute `version`).

    Yields:
        The open `h5py.File`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an intact HDF5 file of that format and version, or if anything
            that is read from it in the block is missing or damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "weights.h5"
        ...     with write_hdf5(path, "my-weights") as file:
        ...         file["weight"] = [1.0, 2.0]
        ...     with read_hdf5(path, "my-weights") as file:
        ...         check_dataset(file["weight"], path)
        ...         print(file["weight"][:])
        [1. 2.]
    """
    import h5py

    path = existing_file(path)
    with blame(path):
        if not h5py.is_hdf5(path):
            raise ValueError("not an HDF5 file")
        with h5py.File(path, "r") as file:
            _check_format(file, format, version)
            yield file


def set_text(node: Any, name: str, text: str) -> None:
    """Stores text as an attribute of an HDF5 group or data set, for `get_text`.

    The string has a fixed length: those of variable length, which h5py makes by default, are
    kept on a heap without checksums, where HDF5 can loop forever if the file is damaged.

    Raises:
        ValueError: If the text cannot be encoded in UTF-8.
    """
    import h5py

    content = text.encode()
    node.attrs.create(name, content, dtype=h5py.string_dtype(length=max(1, len(content))))


def get_text(node: Any, name: str) -> str:
    """The text in an attribute of an HDF5 group or data set.

    Raises:
        KeyError: If there is no such attribute.
        TypeError: If it is not text.
    """
    value = node.attrs[name]
    if isinstance(value, bytes):  # of a fixed length
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r}")
    return value


def check_dataset(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Refuses an HDF5 object that is not a plain array of numbers of a plausible size.

    A header of a few bytes can claim any number of terabytes. Deflate makes data at most 1032
    times smaller, so an honest data set needs storage in proportion. To be called before the
    data are read.

    Args:
        dataset: What was found in the file.
        path: The file, for the message and for its size.

    Raises:
        ValueError: If it is not a data set, not numeric, kept in other files, or claims more
            than the bytes stored can hold.
    """
    import h5py

    name = f"{path}: {getattr(dataset, 'name', dataset)}"
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"{name} is not an array")
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers, its type is {dataset.dtype}")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} is kept in other files")
    cells = max(math.prod(dataset.shape), math.prod(dataset.chunks or ()))
    stored = min(dataset.id.get_storage_size(), os.path.getsize(path))
    check_claim(cells * dataset.dtype.itemsize, stored, name)


def check_claim(claimed: int, stored: int, name: str) -> None:
    """Refuses a claim of more bytes than deflate can have put into `stored` bytes.

    Raises:
        ValueError: If the claim is not plausible; the message starts with `name`.
    """
    if claimed > 1100 * stored + 2**20:
        raise ValueError(f"{name} claims {claimed} bytes, but only {stored} are stored")


@contextmanager
def blame(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turns `errors` and the usual errors of reading damaged files into a ValueError naming it."""
    usual = (OSError, RuntimeError, LookupError, TypeError, ValueError)
    try:
        yield
    except usual + errors as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {error}") from error


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path` as a Path.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is not a file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    return path


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """What a folder holds with one of these suffixes, in lower case, in the order of names."""
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes]


def _check_format(file: Any, wanted: str, newest: int) -> None:
    if "format" not in file.attrs or get_text(file, "format") != wanted:
        raise ValueError(f"its format is not {wanted}")
    version = file.attrs.get("version")
    if not isinstance(version, Integral) or int(version) > newest:
        raise ValueError(f"its version is {version}, this release reads {wanted} up to {newest}")
