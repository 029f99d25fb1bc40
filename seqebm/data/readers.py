"""Sequences from files of other programs: videos, images and NumPy arrays."""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
import subprocess
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import torch

from seqebm.data.sequences import Sequence, Sequences, read_sequences
from seqebm.files import blame, check_claim, existing_file

if TYPE_CHECKING:
    from PIL.Image import Image

_VIDEOS = (".mp4", ".avi", ".mov", ".mkv")
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_MAX_PIXELS = 2**26  # in a frame: twice as many as in an 8K video
# a file from a stranger may be a playlist in disguise: no network, no other demultiplexers
_FFMPEG_LIMITS = ["-protocol_whitelist", "file", "-format_whitelist", "mov,mp4,avi,matroska,webm"]


def load_sequences(
    path: str | os.PathLike[str], resolution: int | tuple[int, int] | None = None
) -> Sequences:
    """Reads the sequences of any supported file, or of a folder of images.

    ======================= ============================================================
    .h5 .hdf5               what `save_sequences` writes
    .npz .npy               arrays of numbers ``[time, visible]`` or ``[n, time, visible]``
    .mp4 .avi .mov .mkv     one sequence, see `read_video`
    .gif                    one sequence, see `read_video`
    a folder                one sequence, see `read_images`
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
        return Sequences([read_images(path, resolution)])
    readers = _readers(resolution)
    reader = readers.get(existing_file(path).suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: the type is not one of {', '.join(readers)}, a folder of images")
    return reader(path)


def read_video(
    path: str | os.PathLike[str], resolution: int | tuple[int, int] | None = None
) -> Sequence:
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
        ValueError: If no frame can be read, or if `resolution` is out of range.

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
    path = existing_file(path)
    size = _size(resolution)
    read = _gif_frames if path.suffix.lower() == ".gif" else _ffmpeg_frames
    with blame(path, *_image_errors()):
        frames, frame_rate = read(path, size)
        return _grey_sequence(frames, path.stem, frame_rate)


def read_images(
    folder: str | os.PathLike[str],
    resolution: int | tuple[int, int] | None = None,
    frame_rate: float = 25.0,
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
    folder, size = Path(folder), _size(resolution)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in _IMAGES), key=_natural)
    frames: list[np.ndarray] = []
    for path in paths:
        with blame(path, *_image_errors()), _open_image(path) as image:
            frames.append(_resize(_grey(image), size))
            if frames[-1].shape != frames[0].shape:
                raise ValueError(
                    f"its size is {frames[-1].shape}, that of {paths[0].name} {frames[0].shape}"
                )
    with blame(folder):
        return _grey_sequence(frames, folder.resolve().name, frame_rate)


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


def _readers(resolution: int | tuple[int, int] | None) -> dict[str, Callable[[Path], Sequences]]:
    """What reads a file, by its suffix."""

    def video(path: Path) -> Sequences:
        return Sequences([read_video(path, resolution)])

    return {
        **dict.fromkeys((".h5", ".hdf5"), read_sequences),
        **dict.fromkeys((".npz", ".npy"), read_arrays),
        **dict.fromkeys((*_VIDEOS, ".gif"), video),
    }


def _ffmpeg_frames(path: Path, size: tuple[int, int] | None) -> tuple[list[np.ndarray], float]:
    """Grey frames of the size asked for, and the frame rate."""
    from imageio_ffmpeg import get_ffmpeg_exe

    # an absolute path: no name can be taken for an option or a protocol; by way of RGB, for the
    # luma of a video may be another one; y4m, for its header has the size and the frame rate
    source = [*_FFMPEG_LIMITS, "-i", str(path.resolve())]
    target = ["-vf", "format=rgb24,format=gray", "-f", "yuv4mpegpipe", "-"]
    command = [get_ffmpeg_exe(), "-v", "quiet", "-xerror", "-nostdin", *source, *target]
    with subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL) as process:
        try:
            frames, rate = _parse_y4m(cast(IO[bytes], process.stdout), size)
            if process.wait():
                raise ValueError(f"damaged after {len(frames)} frames")
            return frames, rate
        finally:
            process.kill()


def _parse_y4m(stream: IO[bytes], size: tuple[int, int] | None) -> tuple[list[np.ndarray], float]:
    r"""Frames and rate of a stream ``YUV4MPEG2 W64 H32 F25:1 …\n``, then ``FRAME\n<pixels>`` …"""
    header = {word[:1]: word[1:] for word in stream.readline().split()}
    if not header:
        raise ValueError("no video in it that can be decoded")
    width, height = int(header[b"W"]), int(header[b"H"])
    _check_pixels(width, height)
    frames, length = [], len(b"FRAME\n") + width * height
    while len(raw := stream.read(length)) == length:
        pixels = np.frombuffer(raw, np.uint8, offset=len(b"FRAME\n"))
        frames.append(_resize(pixels.reshape(height, width) / np.float32(255), size))
    numerator, denominator = header[b"F"].split(b":")
    return frames, int(numerator) / int(denominator)


def _gif_frames(path: Path, size: tuple[int, int] | None) -> tuple[list[np.ndarray], float]:
    """Grey frames of the size asked for, and the mean frame rate."""
    from PIL import ImageSequence

    frames, duration = [], 0.0
    with _open_image(path) as image:
        for frame in ImageSequence.Iterator(image):
            frames.append(_resize(_grey(frame), size))
            duration += frame.info.get("duration") or 100  # milliseconds; as browsers do
    return frames, 1000 * len(frames) / duration


@contextlib.contextmanager
def _open_image(path: Path) -> Iterator[Image]:
    """An image whose size is checked before it is decoded."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            _check_pixels(*image.size)
            yield image


def _image_errors() -> tuple[type[Exception], ...]:
    """What Pillow raises on damaged and on enormous images, beside the usual."""
    from PIL import Image

    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    return *bombs, SyntaxError, EOFError, ArithmeticError, struct.error


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= _MAX_PIXELS:
        raise ValueError(f"frames of {width} x {height} pixels, at most {_MAX_PIXELS} can be read")


def _grey(image: Image) -> np.ndarray:
    """Luma ``[height, width]`` in [0, 1]."""
    if image.mode == "F":
        raise ValueError("floating-point pixels, of which the white is not known")
    if not image.mode.startswith("I"):
        return np.asarray(image.convert("RGBA"))[..., :3].astype(np.float32) @ _LUMA / 255
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("grey values of more than 16 bits")
    return values.astype(np.float32) / 65535


def _size(resolution: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width), or None for that of the file."""
    if resolution is None:
        return None
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    if min(height, width) < 1 or height * width > _MAX_PIXELS:
        raise ValueError(
            f"resolution must be positive, with at most {_MAX_PIXELS} pixels, got {resolution}"
        )
    return height, width


def _resize(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The frame with the size asked for, by averaging over areas."""
    from PIL import Image

    if size is None:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BOX))


def _grey_sequence(frames: list[np.ndarray], name: str, frame_rate: float) -> Sequence:
    if not frames:
        raise ValueError("no frame can be read")
    values = torch.from_numpy(np.stack(frames)).clamp_(0, 1)  # rounding may leave 1 + 1e-7
    return Sequence(
        values.flatten(1),
        name=name,
        frame_rate=frame_rate,
        unit="grey level",
        shape=frames[0].shape,
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(d or 0), text.lower()) for d, text in re.findall(r"(\d*)(\D*)", path.name)]


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
