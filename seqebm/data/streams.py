"""Frames of videos and images, one at a time: however long a video is, one frame is in memory."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seqebm import ffmpeg
from seqebm.files import blame, existing_file

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from PIL.Image import Image

    from seqebm.ffmpeg import Ffmpeg

Resolution = int | tuple[int, int] | None
Size = tuple[int, int] | None  #: (height, width), or None for that of the file

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_MAX_PIXELS = 2**26  # in a frame: twice as many as in an 8K video
# a file from a stranger may be a playlist in disguise: no network, no other demultiplexers
_FFMPEG_LIMITS = ["-protocol_whitelist", "file", "-format_whitelist", "mov,mp4,avi,matroska,webm"]
# what ffmpeg says of some files that are not there to their end, without calling it a failure
_CUT = re.compile("ended prematurely|partial file|Truncating packet")


@dataclass(frozen=True)
class FrameStream:
    """Frames that are read while they are iterated over, once; made by `open_frames`.

    Attributes:
        shape: Shape of one frame, (height, width) for pictures.
        frame_rate: Frames per second.
        frames: The frames that are still to come, float32 ``[visible]`` each.
    """

    shape: tuple[int, ...]
    frame_rate: float
    frames: Iterator[Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        return self.frames


@contextmanager
def open_video(
    path: str | os.PathLike[str], resolution: Resolution = None
) -> Iterator[FrameStream]:
    """Opens a video or an animated gif; frames are as in `read_video`, which reads them all.

    Args:
        path: The file (.mp4, .avi, .mov, .mkv or .gif).
        resolution: (height, width) or the side of a square; None keeps the size.

    Yields:
        The stream of its frames, which can be read until the block ends.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no frame can be read, or if `resolution` is out of range; while the frames
            are read, if the file is damaged or ends early, or if the size of its frames changes.
            The message names the file and says after how many frames.

    Example:
        >>> from PIL import Image
        >>> import tempfile
        >>> images = [Image.new("L", (8, 6), grey) for grey in (0, 255)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images[0].save(f"{folder}/flash.gif", save_all=True, append_images=images[1:])
        ...     with open_video(f"{folder}/flash.gif", resolution=1) as stream:
        ...         [frame.item() for frame in stream]
        [0.0, 1.0]
    """
    path, size = existing_file(path), _size(resolution)
    opened = _open_gif if path.suffix.lower() == ".gif" else _open_with_ffmpeg
    with opened(path, size) as (frames, frame_rate):
        yield _stream(path, frames, frame_rate)


@contextmanager
def open_images(
    folder: str | os.PathLike[str], resolution: Resolution = None, frame_rate: float = 25.0
) -> Iterator[FrameStream]:
    """Opens a folder of images; frames are as in `read_images`, which reads them all.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: As `read_images`; while the frames are read, if one is damaged or has another
            size than the first.
    """
    folder, size = Path(folder), _size(resolution)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in _IMAGES), key=_natural)
    yield _stream(folder, _image_frames(paths, size), frame_rate)


def _stream(path: Path, frames: Iterator[np.ndarray], frame_rate: float) -> FrameStream:
    """The stream of arrays ``[height, width]``, of which the first says the shape."""
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frame can be read")
    # rounding may leave 1 + 1e-7
    tensors = (torch.tensor(one).clamp_(0, 1).flatten() for one in chain([first], frames))
    return FrameStream(first.shape, frame_rate, tensors)


# --- videos ----------------------------------------------------------------------------------


@contextmanager
def _open_with_ffmpeg(path: Path, size: Size) -> Iterator[tuple[Iterator[np.ndarray], float]]:
    """Grey frames of the size asked for, and the frame rate."""
    with blame(path, ArithmeticError), _decoder(path) as first_look:
        width, height, frame_rate = _y4m_header(first_look)
        _check_pixels(width, height)
    # ffmpeg would stretch frames of another size; a negative width is an error that tells it
    same = rf"crop=if(eq(iw\,{width})*eq(ih\,{height})\,iw\,-iw)"
    with _decoder(path, same) as decoder:
        yield _y4m_frames(path, decoder, (height, width), size), frame_rate


def _decoder(path: Path, *filters: str) -> AbstractContextManager[Ffmpeg]:
    # an absolute path: no name can be taken for an option or a protocol; by way of RGB, for the
    # luma of a video may be another one; y4m, for its header has the size and the frame rate
    source = ["-xerror", "-nostdin", *_FFMPEG_LIMITS, "-i", str(path.resolve())]
    chain = ",".join(["format=rgb24", "format=gray", *filters])
    return ffmpeg.running(*source, "-vf", chain, "-f", "yuv4mpegpipe", "-", stdout=PIPE)


def _y4m_header(decoder: Ffmpeg) -> tuple[int, int, float]:
    r"""Width, height and frame rate, from a line such as ``YUV4MPEG2 W64 H32 F25:1 …\n``."""
    header = {word[:1]: word[1:] for word in decoder.stdout.readline().split()}
    if not header:
        raise ValueError("no video in it that can be decoded")
    numerator, denominator = header[b"F"].split(b":")
    return int(header[b"W"]), int(header[b"H"]), int(numerator) / int(denominator)


def _y4m_frames(
    path: Path, decoder: Ffmpeg, shape: tuple[int, int], size: Size
) -> Iterator[np.ndarray]:
    r"""Frames of a stream of a header, which is a line, and then ``FRAME\n<pixels>`` …"""
    count, length = 0, len(b"FRAME\n") + shape[0] * shape[1]
    decoder.stdout.readline()
    while len(raw := decoder.stdout.read(length)) == length:
        pixels = np.frombuffer(raw, np.uint8, offset=len(b"FRAME\n"))
        yield _resize(pixels.reshape(shape) / np.float32(255), size)
        count += 1
    whole, said = decoder.end()
    if other := re.search(r"width '-(\d+)' or height '(\d+)'", said):
        raise ValueError(
            f"{path}: after {count} frames of {shape[1]} x {shape[0]} pixels comes one of "
            f"{other[1]} x {other[2]}"
        )
    if not whole or _CUT.search(said):
        raise ValueError(f"{path}: damaged after {count} frames")


# --- gifs and images -------------------------------------------------------------------------


@contextmanager
def _open_gif(path: Path, size: Size) -> Iterator[tuple[Iterator[np.ndarray], float]]:
    """Grey frames of the size asked for, and the mean frame rate."""
    from PIL import ImageSequence

    with _open_image(path) as image:
        with _decoding(path):  # milliseconds; what says nothing lasts as long as in browsers
            frames = ImageSequence.Iterator(image)
            durations = [frame.info.get("duration") or 100 for frame in frames]
            frame_rate = 1000 * len(durations) / sum(durations)
        yield _gif_frames(path, image, len(durations), size), frame_rate


def _gif_frames(path: Path, image: Image, count: int, size: Size) -> Iterator[np.ndarray]:
    for number in range(count):
        with _decoding(path):
            image.seek(number)
            frame = _resize(_grey(image), size)
        yield frame


def _image_frames(paths: list[Path], size: Size) -> Iterator[np.ndarray]:
    """Frames of one size, each from a file."""
    first: tuple[int, ...] | None = None
    for path in paths:
        with _open_image(path) as image, _decoding(path):
            frame = _resize(_grey(image), size)
            first = first or frame.shape
            if frame.shape != first:
                raise ValueError(f"its size is {frame.shape}, that of {paths[0].name} {first}")
        yield frame


@contextmanager
def _open_image(path: Path) -> Iterator[Image]:
    """An image whose size has been checked, and which has not been decoded yet."""
    from PIL import Image

    with _decoding(path):
        opened = Image.open(path)
    with opened as image:
        with _decoding(path):
            _check_pixels(*image.size)
        yield image


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Errors of Pillow name the file and bombs are errors, for as long as the block lasts."""
    from PIL import Image

    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    damages = SyntaxError, EOFError, ArithmeticError, struct.error
    with blame(path, *bombs, *damages), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


# --- pixels ----------------------------------------------------------------------------------


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


def _size(resolution: Resolution) -> Size:
    if resolution is None:
        return None
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    if min(height, width) < 1 or height * width > _MAX_PIXELS:
        raise ValueError(
            f"resolution must be positive, with at most {_MAX_PIXELS} pixels, got {resolution}"
        )
    return height, width


def _resize(frame: np.ndarray, size: Size) -> np.ndarray:
    """The frame with the size asked for, by averaging over areas."""
    from PIL import Image

    if size is None:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BOX))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(d or 0), text.lower()) for d, text in re.findall(r"(\d*)(\D*)", path.name)]
