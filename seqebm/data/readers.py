"""Sequences from files of other programs: videos, images and NumPy arrays."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from seqebm.data.matlab import kind_of
from seqebm.data.music import MIDI_FILES, ROLL_VARIABLES, read_benchmark, read_music
from seqebm.data.sequences import Sequence, Sequences, read_sequences
from seqebm.data.streams import FrameStream, Resolution, open_images, open_video
from seqebm.data.text import TEXT_FILES, read_texts
from seqebm.files import blame, check_claim, existing_file, files_in

_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".gif")
_RECORDINGS = (".amc", ".bvh", ".c3d")


def load_sequences(path: str | os.PathLike[str], resolution: Resolution = None) -> Sequences:
    """Reads the sequences of any supported file, or of a folder of images.

    ======================= ============================================================
    .h5 .hdf5               what `save_sequences` writes
    .npz .npy               arrays of numbers ``[time, visible]`` or ``[n, time, visible]``
    .mp4 .avi .mov .mkv     one sequence, see `read_video`
    .gif                    one sequence, see `read_video`
    a folder                of images: one sequence, see `read_images`; of .amc, .bvh or .c3d: all;
                            of .mid: all
    .amc .bvh               one recording of motion, see `seqebm.data.mocap.Motion`
    .c3d                    places of markers, see `seqebm.data.mocap.read_c3d`
    .mat                    recordings of motion, see `seqebm.data.mocap.read_mat`, or music, see
                            `seqebm.data.music.read_benchmark`: the names of variables decide
    .json                   music, see `seqebm.data.music.read_benchmark`
    .mid .midi              music as a roll of eighths, see `seqebm.data.music.read_midi`
    .txt                    a text in UTF-8, see `seqebm.data.text.read_texts`
    ======================= ============================================================

    Args:
        path: The file or the folder.
        resolution: Of the frames of videos and images, see `read_video`; other files keep theirs.

    Returns:
        The sequences, at least one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the type is not supported or the file cannot be read; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/noise.npy", np.random.rand(2, 5, 3))
        ...     load_sequences(f"{folder}/noise.npy")
        <2 sequences>
    """
    path = Path(path)
    if path.is_dir():
        recordings = files_in(path, _RECORDINGS)
        if recordings:
            return Sequences(one for recording in recordings for one in _read_motion(recording))
        if files_in(path, MIDI_FILES):
            return _read_music(path)
        return Sequences([read_images(path, resolution)])
    readers = _readers(resolution)
    reader = readers.get(existing_file(path).suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: the type is not one of {', '.join(readers)}, a folder of images")
    return reader(path)


@contextmanager
def open_frames(
    path: str | os.PathLike[str], resolution: Resolution = None
) -> Iterator[FrameStream]:
    """Opens any file that `load_sequences` reads, or a folder of images, a frame at a time.

    A video of any length needs the memory of one frame. Files of several sequences, which are
    read whole, give the first.

    Args:
        path: The file or the folder.
        resolution: Of the frames of videos and images, see `read_video`; other files keep theirs.

    Yields:
        The stream of the frames, which can be read until the block ends.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the type is not supported or no frame can be read; while the frames are
            read, if the file is damaged or ends early, or if the size of its frames changes. The
            message names the file and says after how many frames.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/noise.npy", np.random.rand(2, 5, 3))
        ...     with open_frames(f"{folder}/noise.npy") as stream:
        ...         stream.shape, [tuple(frame.shape) for frame in stream]
        ((3,), [(3,), (3,), (3,), (3,), (3,)])
    """
    path = Path(path)
    if path.is_dir():
        with open_images(path, resolution) as stream:
            yield stream
    elif path.suffix.lower() in _VIDEOS:
        with open_video(path, resolution) as stream:
            yield stream
    else:
        first = load_sequences(path)[0]
        yield FrameStream(first.shape, first.frame_rate, iter(first.frames))


def read_video(path: str | os.PathLike[str], resolution: Resolution = None) -> Sequence:
    """Reads a video or an animated gif as grey levels.

    Colours become the luma of ITU-R BT.601; what is transparent counts as opaque. Frames are
    resized one by one, each pixel being the mean of the area that it covers, so that only the
    small ones are ever kept.

    Args:
        path: The file (.mp4, .avi, .mov, .mkv or .gif).
        resolution: (height, width) or the side of a square, whatever the proportions of the
            video; None keeps its size.

    Returns:
        One sequence with frames ``[time, height * width]`` in [0, 1], row after row, and the
        frame rate of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no frame can be read, if the file is damaged or ends early, if the size of
            its frames changes, or if `resolution` is out of range.

    Example:
        >>> from PIL import Image
        >>> import tempfile
        >>> images = [Image.new("L", (8, 6), grey) for grey in (0, 255)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images[0].save(f"{folder}/flash.gif", save_all=True, append_images=images[1:])
        ...     read_video(f"{folder}/flash.gif", resolution=1).frames
        tensor([[0.],
                [1.]])
    """
    path = Path(path)
    with open_video(path, resolution) as stream, blame(path):
        return _grey_sequence(stream, path.stem)


def read_images(
    folder: str | os.PathLike[str], resolution: Resolution = None, frame_rate: float = 25.0
) -> Sequence:
    """Reads a folder of images as one sequence of grey levels, like `read_video`.

    Args:
        folder: Holds .png, .jpg, .bmp or .tif files, which are taken in the order of their names
            ("2.png" before "10.png"); other files are ignored.
        resolution: (height, width) or the side of a square; None keeps the size.
        frame_rate: Frames per second.

    Returns:
        One sequence with frames ``[time, height * width]`` in [0, 1], row after row.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no image, if one cannot be read or has another size than the
            first, or if `resolution` or `frame_rate` is out of range.

    Example:
        >>> from PIL import Image
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in (1, 2, 10):
        ...         Image.new("L", (8, 6), number).save(f"{folder}/{number}.png")
        ...     read_images(folder, resolution=(3, 4)).frames[:, 0] * 255
        tensor([ 1.,  2., 10.])
    """
    folder = Path(folder)
    with open_images(folder, resolution, frame_rate) as stream, blame(folder):
        return _grey_sequence(stream, folder.resolve().name)


def read_arrays(path: str | os.PathLike[str]) -> Sequences:
    """Reads arrays ``[time, visible]`` or ``[n, time, visible]`` of a .npy or .npz file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds anything but finite numbers of these shapes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", walk=np.zeros((5, 3)), run=np.zeros((2, 9, 3)))
        ...     [sequence.name for sequence in read_arrays(f"{folder}/data.npz")]
        ['walk', 'run[0]', 'run[1]']
    """
    path = existing_file(path)
    damaged = zipfile.BadZipFile, zlib.error, EOFError, tokenize.TokenError
    with blame(path, *damaged):
        arrays = _npz_arrays(path) if path.suffix.lower() == ".npz" else _npy_array(path)
        sequences = Sequences(one for name, array in arrays for one in _split_array(name, array))
        if not sequences:
            raise ValueError("no sequences in it")
        return sequences


def _readers(resolution: Resolution) -> dict[str, Callable[[Path], Sequences]]:
    """What reads a file, by its suffix."""

    def video(path: Path) -> Sequences:
        return Sequences([read_video(path, resolution)])

    return {
        **dict.fromkeys((".h5", ".hdf5"), read_sequences),
        **dict.fromkeys((".npz", ".npy"), read_arrays),
        **dict.fromkeys(_VIDEOS, video),
        **dict.fromkeys(_RECORDINGS, _read_motion),
        **dict.fromkeys(MIDI_FILES, _read_music),
        **dict.fromkeys(TEXT_FILES, _read_text),
        ".mat": _read_mat,
        ".json": read_benchmark,
    }


def _read_music(path: Path) -> Sequences:
    return read_music([path])


def _read_text(path: Path) -> Sequences:
    return read_texts([path])


def _read_mat(path: Path) -> Sequences:
    from seqebm.data import mocap

    kind = kind_of(path, [ROLL_VARIABLES, *mocap.MOTION_VARIABLES])
    return read_benchmark(path) if kind == ROLL_VARIABLES else mocap.read_mat(path)


def _read_motion(path: Path) -> Sequences:
    from seqebm.data import mocap  # brings scipy, which most have no need of

    if path.suffix.lower() == ".c3d":
        return Sequences([mocap.read_c3d(path).sequence()])
    return Sequences([mocap.read_motion(path).sequence()])


def _grey_sequence(stream: FrameStream, name: str) -> Sequence:
    return Sequence(
        torch.stack([*stream]),
        name=name,
        frame_rate=stream.frame_rate,
        unit="grey level",
        shape=stream.shape,
    )


def _npy_array(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        yield path.stem, _parse_npy(stream, size)


def _npz_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            stored = min(info.compress_size, path.stat().st_size)
            check_claim(info.file_size, stored, f"{path}: {info.filename}")
            with archive.open(info) as stream:
                yield info.filename.removesuffix(".npy"), _parse_npy(stream, info.file_size)


def _parse_npy(stream: IO[bytes], size: int) -> np.ndarray:
    """The array, if its header fits in the `size` bytes that there are."""
    formats: Any = np.lib.format
    read_header = {
        (1, 0): formats.read_array_header_1_0,
        (2, 0): formats.read_array_header_2_0,
    }
    version = formats.read_magic(stream)
    if version not in read_header:
        raise ValueError(f"version {version} of the .npy format is not supported")
    shape, _, dtype = read_header[version](stream)
    if dtype.kind not in "fiub":
        raise ValueError(f"arrays must hold numbers, the type is {dtype}")
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or claimed > size - stream.tell():
        raise ValueError(f"an array of shape {shape} does not fit in {size} bytes")
    stream.seek(0)
    return formats.read_array(stream, allow_pickle=False)


def _split_array(name: str, array: np.ndarray) -> Iterator[Sequence]:
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name}: expected [time, visible] or [n, time, visible], got {array.shape}"
        )
    with np.errstate(over="ignore"):  # too large for float32: refused as infinite
        frames = torch.from_numpy(array.astype(np.float32))
    if frames.ndim == 2:
        yield Sequence(frames, name=name)
    else:
        for number, one in enumerate(frames):
            yield Sequence(one, name=f"{name}[{number}]")
