"""Frames, errors and weights as pictures, and pictures as mp4, gif and png.

A picture maker (:func:`pictures`, :func:`error_pictures`, :func:`receptive_fields`,
:func:`weight_matrix`) turns numbers into uint8 pictures `[time, height, width]` (grey) or
`[time, height, width, 3]` (RGB). A layout (:func:`side_by_side`, :func:`grid`, :func:`strip`) turns
pictures into one larger picture. :func:`save` writes the result, :class:`Writer` a part at a time.
A still is a video of one frame, so everything can be put beside everything else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import lru_cache
from itertools import accumulate, zip_longest
from numbers import Integral
from pathlib import Path
from subprocess import PIPE
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from seqebm import ffmpeg
from seqebm.ffmpeg import Ffmpeg
from seqebm.files import atomic_path

Pictures: TypeAlias = npt.NDArray[np.uint8]
Values: TypeAlias = torch.Tensor | npt.NDArray[Any]

BACKGROUND = 17
OUTLINE = 64
CAPTION = 215
FONT_SIZE, CAPTION_HEIGHT = 16, 20
MARGIN = 10
PLEASANT_SIDE, LONGEST_SIDE = 180, 720
TILE_SIDE = 60
DOT_SIDE = 10
FASTEST_GIF_FRAME = 20  # milliseconds; players slow anything faster down to 100

# Error → colour: black where there is none, through red (too bright) or blue (too dark).
ERROR_STOPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ERROR_COLOURS = ((165, 215, 255), (40, 110, 230), (0, 0, 0), (225, 60, 35), (255, 205, 150))


def pictures(frames: Values, shape: tuple[int, int], zoom: int | None = None) -> Pictures:
    """Grey pictures of the frames of one sequence.

    Args:
        frames: `[time, visible]`, 0 is black and 1 is white; values outside are clipped.
        shape: height and width of a frame in pixels; their product is `visible`.
        zoom: side of the square that a pixel becomes. By default the smallest that makes the
            shorter side 180, as long as the longer one stays within 720.

    Returns:
        uint8 `[time, height · zoom, width · zoom]`.

    Raises:
        ValueError: frames that are empty, not finite or not `[time, height · width]`, or a zoom
            that is not a positive whole number.

    Example:
        >>> pictures(torch.tensor([[0.0, 0.5, 1.0, 2.0]]), shape=(2, 2), zoom=1)
        array([[[  0, 128],
                [255, 255]]], dtype=uint8)
    """
    values = _images("frames", frames, shape)
    return _zoomed((values.clip(0, 1) * 255).round(), zoom)


def error_pictures(errors: Values, shape: tuple[int, int], zoom: int | None = None) -> Pictures:
    """Coloured pictures of signed errors, prediction − truth, on a fixed scale from −1 to 1.

    No error is black, too bright is red to orange and too dark is blue to light blue. The scale
    does not depend on the errors, so two videos can be compared.

    Args:
        errors: `[time, visible]`; values outside [−1, 1] are clipped.
        shape: height and width of a frame in pixels.
        zoom: as in :func:`pictures`.

    Returns:
        uint8 `[time, height · zoom, width · zoom, 3]`.

    Raises:
        ValueError: as in :func:`pictures`.

    Example:
        >>> error_pictures(torch.tensor([[-1.0, 0.0, 0.5]]), shape=(1, 3), zoom=1)[0, 0].tolist()
        [[165, 215, 255], [0, 0, 0], [225, 60, 35]]
    """
    values = _images("errors", errors, shape)
    channels = [
        np.interp(values, ERROR_STOPS, levels) for levels in zip(*ERROR_COLOURS, strict=True)
    ]
    return _zoomed(np.stack(channels, axis=-1).round(), zoom)


def receptive_fields(
    weight: Values, shape: tuple[int, int], count: int = 36, columns: int = 6
) -> Pictures:
    """The weights from the visibles to the first hidden units, a tile for each unit.

    Zero is mid-grey; the strongest weight shown is white if positive and black if negative, the
    same for all tiles. Tiles run left to right, then down.

    Args:
        weight: `[hidden, visible]`.
        shape: height and width of a frame in pixels.
        count: the most hidden units to show.
        columns: tiles in a row.

    Returns:
        uint8 `[1, height, width, 3]`, one picture.

    Raises:
        ValueError: a weight that is empty, not finite or not `[hidden, height · width]`, or a count
            or columns that is not a positive whole number.

    Example:
        >>> fields = receptive_fields(torch.randn(40, 900), shape=(30, 30))
        >>> matrix = weight_matrix(torch.randn(40, 40))
        >>> side_by_side({"receptive fields": fields, "hidden to hidden": matrix}).shape
        (1, 424, 766, 3)
    """
    _check_natural("count", count)
    tiles = _images("weight", weight, shape)[:count]
    zoom = max(1, TILE_SIDE // max(shape))
    return grid([_signed_greys(tiles, zoom)[i : i + 1] for i in range(len(tiles))], columns)


def weight_matrix(matrix: Values, count: int = 36) -> Pictures:
    """The weights between the first hidden units as squares: area for size, white for positive.

    A Hinton diagram: row i, column j is `matrix[i, j]`, so with the hidden-to-hidden weights of an
    RTRBM row i holds what unit i hears. The largest weight shown fills its cell.

    Args:
        matrix: `[hidden, hidden]`.
        count: the most rows and columns to show.

    Returns:
        uint8 `[1, height, width]`, one picture.

    Raises:
        ValueError: a matrix that is empty, not finite or not two-dimensional, or a count that is
            not a positive whole number.

    Example:
        >>> weight_matrix(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).shape
        (1, 20, 20)
    """
    _check_natural("count", count)
    values = _array("matrix", matrix)[:count, :count]
    sides = np.sqrt(np.abs(values) / _scale(values)) * (DOT_SIDE - 1)
    distance = np.abs(np.arange(DOT_SIDE) - (DOT_SIDE - 1) / 2)
    covered = np.clip(sides[..., None] / 2 - distance + 0.5, 0, 1)  # of each pixel, on one axis
    squares = np.einsum("ij,ijy,ijx->iyjx", np.sign(values), covered, covered)
    return _signed_greys(squares.reshape(1, *(DOT_SIDE * n for n in values.shape)), zoom=1)


def side_by_side(panels: Mapping[str, Pictures]) -> Pictures:
    """Put videos of equal length beside each other, each under its caption.

    Args:
        panels: caption → pictures, grey or RGB, of any size.

    Returns:
        uint8 `[time, height, width, 3]`.

    Raises:
        ValueError: no panels, or panels of different lengths.
        TypeError: panels that are not uint8 arrays.

    Example:
        >>> truth, guess = torch.rand(2, 50, 900)
        >>> video = side_by_side({
        ...     "truth": pictures(truth, (30, 30)),
        ...     "prediction": pictures(guess, (30, 30)),
        ...     "error": error_pictures(guess - truth, (30, 30)),
        ... })
        >>> video.shape
        (50, 232, 586, 3)
    """
    _check_panels(panels.items())
    captions = [_caption(text) for text in panels]
    return _montage([captions, [_outlined(panel) for panel in panels.values()]], MARGIN)


def grid(panels: Sequence[Pictures], columns: int | None = None) -> Pictures:
    """Put many videos of equal length in one, row after row, with thin lines between them.

    Args:
        panels: pictures, grey or RGB.
        columns: panels in a row; None makes as many rows as columns, or one less.

    Returns:
        uint8 `[time, height, width, 3]`.

    Raises:
        ValueError: no panels, panels of different lengths, or columns that is not a positive whole
            number.
        TypeError: panels that are not uint8 arrays.

    Example:
        >>> samples = torch.rand(16, 20, 900)
        >>> grid([pictures(sample, (30, 30), zoom=2) for sample in samples], columns=4).shape
        (20, 248, 248, 3)
    """
    _check_panels(enumerate(panels))
    columns = math.ceil(math.sqrt(len(panels))) if columns is None else columns
    _check_natural("columns", columns)
    outlined = [_outlined(panel) for panel in panels]
    rows = [outlined[i : i + columns] for i in range(0, len(outlined), columns)]
    return _montage(rows, gap=0)


def strip(rows: Pictures | Mapping[str, Pictures], every: int = 1, columns: int = 10) -> Pictures:
    """Lay the frames of videos out in time, left to right: a video for the printed page.

    Args:
        rows: pictures, or caption → pictures for several rows with captions at their left.
        every: show frames 0, `every`, 2 · `every` …
        columns: the most frames in a row.

    Returns:
        uint8 `[1, height, width, 3]`, one picture.

    Raises:
        ValueError: no rows, rows of different lengths, or every or columns that is not a positive
            whole number.
        TypeError: panels that are not uint8 arrays.

    Example:
        >>> video = pictures(torch.rand(100, 900), (30, 30), zoom=2)
        >>> strip(video, every=5, columns=8).shape
        (1, 70, 536, 3)
    """
    captioned = rows if isinstance(rows, Mapping) else {"": rows}
    _check_panels(captioned.items())
    _check_natural("every", every)
    _check_natural("columns", columns)
    lines = []
    for text, video in captioned.items():
        shown = [video[i : i + 1] for i in range(0, len(video), every)[:columns]]
        lines.append([_caption(f" {text} " if text else ""), *map(_outlined, shown)])
    return _montage(lines, gap=4)


def save(path: str | os.PathLike[str], pictures: Pictures, frame_rate: float = 25.0) -> None:
    """Write pictures to a file whose extension says how; the file appears whole or not at all.

    - `.mp4`: H.264 in yuv420p, which every player opens; odd sizes get one more row or column.
    - `.gif`: loops for ever. Frames last a whole number of hundredths of a second, at least two:
      the nearest to 1 / `frame_rate` is taken, so rates above 50 play slower. Frames equal to the
      one before are merged with it. Grey levels are exact; RGB is reduced to 256 colours.
    - `.png`: one picture, exact.

    Args:
        path: the file to write, in a folder that exists.
        pictures: uint8 `[time, height, width]` or `[time, height, width, 3]`; for png also without
            time.
        frame_rate: frames per second, from 0.1 to 1000; without meaning for png.

    Raises:
        ValueError: an unknown extension, a frame rate out of range, pictures that are empty or of
            another shape, or several pictures for a png.
        TypeError: pictures that are not uint8 arrays.
        OSError: a file that cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Path(folder) / "noise.gif", pictures(torch.rand(10, 900), (30, 30)))
    """
    write = _WRITERS.get(Path(path).suffix.lower())
    if write is None:
        known = ", ".join(sorted(_WRITERS))
        raise ValueError(f"path must end in one of {known}, got {os.fspath(path)!r}")
    _check_rate(frame_rate)
    _check_levels("pictures", pictures)
    with atomic_path(path) as temporary:
        write(temporary, pictures, frame_rate)


class Writer:
    """Writes an mp4 of any length as its pictures come, in memory that does not grow.

    The file grows in place, in fragments that can each be played: a player shows what there is,
    whenever and however the program ends, while :func:`save` writes all of a file or nothing. When
    the block ends, by an error too, the file holds every picture that was written. If the program
    is killed without a chance to end the block, ffmpeg completes the file a moment later; if ffmpeg
    is killed as well, the last few seconds are missing.

    Args:
        path: the file to write, which ends in .mp4. It is made, or emptied, by the first `write`.
        frame_rate: frames per second, from 0.1 to 1000.

    Raises:
        ValueError: another extension, or a frame rate out of range.

    Example:
        >>> import tempfile
        >>> frames = torch.rand(10, 900)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Writer(Path(folder) / "noise.mp4") as writer:
        ...         for frame in frames:
        ...             writer.write(pictures(frame[None], (30, 30)))
    """

    # a key frame a second, at usual rates, and each of them with what follows on the disk at once
    _layout = "-g 25 -movflags frag_keyframe+empty_moov+default_base_moof -flush_packets 1"

    def __init__(self, path: str | os.PathLike[str], frame_rate: float = 25.0) -> None:
        if Path(path).suffix.lower() != ".mp4":
            raise ValueError(f"path must end in .mp4, got {os.fspath(path)!r}")
        _check_rate(frame_rate)
        self._path, self._frame_rate = Path(path), frame_rate
        self._size: tuple[int, ...] = ()  # of the first picture, once there is one
        self._ffmpeg: Ffmpeg | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Writer:
        return self

    def write(self, pictures: Pictures) -> None:
        """Append pictures.

        Args:
            pictures: uint8 `[time, height, width]` or `[time, height, width, 3]`, all of one size.

        Raises:
            ValueError: pictures that are empty, or of another shape than the first ones.
            TypeError: pictures that are not uint8 arrays.
            OSError: a file that cannot be written; the message names it.
        """
        _check_levels("pictures", pictures)
        _check_video("pictures", pictures)
        size = self._size = self._size or pictures.shape[1:]
        if pictures.shape[1:] != size:
            raise ValueError(f"pictures must all be {list(size)}, got {list(pictures.shape[1:])}")
        if self._ffmpeg is None:
            self._ffmpeg = self._opened.enter_context(self._encoder())
        try:
            self._ffmpeg.stdin.write(np.ascontiguousarray(pictures).data)
            self._ffmpeg.stdin.flush()
        except BrokenPipeError:
            self._complete(self._ffmpeg)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._opened:
            if self._ffmpeg is not None and kind is None:
                self._complete(self._ffmpeg)
            elif self._ffmpeg is not None:  # of two errors, the block's is the one to know about
                with suppress(OSError):
                    self._complete(self._ffmpeg)

    def _encoder(self) -> AbstractContextManager[Ffmpeg]:
        height, width = self._size[:2]
        source = f"-f rawvideo -pix_fmt {'gray' if len(self._size) == 2 else 'rgb24'}"
        source += f" -s {width}x{height} -framerate {self._frame_rate} -i pipe:0"
        even = f"-vf pad=ceil(iw/2)*2:ceil(ih/2)*2:color=0x{BACKGROUND * 0x010101:06x}"
        target = f"-c:v libx264 -preset slow -crf 23 -pix_fmt yuv420p {self._layout} -f mp4"
        options = f"-y {source} {even} {target}".split()
        return ffmpeg.running(*options, f"file:{self._path}", stdin=PIPE)

    def _complete(self, encoder: Ffmpeg) -> None:
        """Let ffmpeg write the end of the file; raise what it says if it cannot."""
        with suppress(BrokenPipeError):
            encoder.stdin.close()
        done, said = encoder.end()
        if not done:
            raise OSError(f"{self._path}: ffmpeg: {said or 'it gave no reason'}")


class _WholeWriter(Writer):
    """Writes an mp4 that can be played only once it is complete, and then from any place."""

    _layout = "-movflags +faststart"


def _write_mp4(path: Path, pictures: Pictures, frame_rate: float) -> None:
    with _WholeWriter(path, frame_rate) as writer:
        writer.write(pictures)


def _write_gif(path: Path, pictures: Pictures, frame_rate: float) -> None:
    """Grey pictures with all 256 greys, RGB ones with one palette for the whole video."""
    from PIL import Image

    _check_video("pictures", pictures)
    stack = Image.fromarray(pictures.reshape(-1, *pictures.shape[2:]))  # frames below each other
    if pictures.ndim == 4:
        stack = stack.quantize(256, dither=Image.Dither.NONE)
    tops = range(0, stack.height, pictures.shape[1])
    first, *rest = [stack.crop((0, top, stack.width, top + tops.step)) for top in tops]
    duration = max(10 * round(100 / frame_rate), FASTEST_GIF_FRAME)
    first.save(path, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)


def _write_png(path: Path, pictures: Pictures, _frame_rate: float) -> None:
    """Write the only picture, with or without an axis of time."""
    from PIL import Image

    untimed = pictures.ndim == 2 or (pictures.ndim == 3 and pictures.shape[2] == 3)
    timed = pictures[None] if untimed else pictures
    _check_video("pictures", timed)
    if len(timed) > 1:
        raise ValueError(f"a png holds one picture, got {len(timed)}: lay them out with strip()")
    Image.fromarray(timed[0]).save(path, "PNG", optimize=True)


_WRITERS = {".mp4": _write_mp4, ".gif": _write_gif, ".png": _write_png}


def _array(name: str, values: Values) -> npt.NDArray[np.float64]:
    """Float64 array of a two-dimensional, finite and non-empty tensor or array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have two dimensions, none empty, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {(~np.isfinite(array)).sum()} other values")
    return array


def _images(name: str, values: Values, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Float64 `[count, height, width]` of `[count, height · width]`."""
    array = _array(name, values)
    if len(shape) != 2 or min(shape) < 1 or math.prod(shape) != array.shape[1]:
        raise ValueError(
            f"shape must be a height and a width whose product is the size of a row of {name}, "
            f"{array.shape[1]}, got {tuple(shape)}"
        )
    return array.reshape(-1, *shape)


def _zoomed(images: npt.NDArray[np.float64], zoom: int | None) -> Pictures:
    """Each pixel of `[time, height, width, …]`, levels 0 to 255, as a square of equal pixels."""
    if zoom is None:
        shorter, longer = sorted(images.shape[1:3])
        zoom = max(1, min(math.ceil(PLEASANT_SIDE / shorter), LONGEST_SIDE // longer))
    _check_natural("zoom", zoom)
    return images.astype(np.uint8).repeat(zoom, axis=1).repeat(zoom, axis=2)


def _scale(values: npt.NDArray[np.float64]) -> float:
    """The largest magnitude, or 1 where all is zero."""
    return float(np.abs(values).max()) or 1.0


def _signed_greys(images: npt.NDArray[np.float64], zoom: int) -> Pictures:
    """Zero to mid-grey, the largest magnitude to white or black."""
    return _zoomed((127.5 + 127.5 * images / _scale(images)).round(), zoom)


@lru_cache
def _caption(text: str) -> Pictures:
    """One line of text on the background, `[1, height, width]`; nothing for no text."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    image = Image.new("L", (math.ceil(font.getlength(text)), CAPTION_HEIGHT), BACKGROUND)
    ImageDraw.Draw(image).text((0, CAPTION_HEIGHT / 2), text, CAPTION, font, anchor="lm")
    return np.array(image)[None]


def _outlined(panel: Pictures) -> Pictures:
    """The panel with a line of one pixel around it."""
    sides = [(0, 0), (1, 1), (1, 1), (0, 0)][: panel.ndim]
    return np.pad(panel, sides, constant_values=OUTLINE)


def _montage(rows: Sequence[Sequence[Pictures]], gap: int) -> Pictures:
    """RGB canvas with every panel in the middle of its cell; stills last as long as the rest."""
    heights = [max(panel.shape[1] for panel in row) for row in rows]
    widths = [max(p.shape[2] for p in column if p is not None) for column in zip_longest(*rows)]
    time = max(len(panel) for row in rows for panel in row)
    size = (sum(heights) + gap * (len(heights) + 1), sum(widths) + gap * (len(widths) + 1))
    canvas = np.full((time, *size, 3), BACKGROUND, dtype=np.uint8)
    for row, height, top in zip(rows, heights, _starts(heights, gap), strict=False):
        for panel, width, left in zip(row, widths, _starts(widths, gap), strict=False):
            y = top + (height - panel.shape[1]) // 2
            x = left + (width - panel.shape[2]) // 2
            rgb = panel if panel.ndim == 4 else panel[..., None]
            canvas[:, y : y + panel.shape[1], x : x + panel.shape[2]] = rgb
    return canvas


def _starts(sizes: Sequence[int], gap: int) -> Iterator[int]:
    """Where cells of these sizes begin, with a gap before each."""
    return accumulate((size + gap for size in sizes), initial=gap)


def _check_natural(name: str, value: int) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value!r}")


def _check_rate(frame_rate: float) -> None:
    if not 0.1 <= frame_rate <= 1000:
        raise ValueError(f"frame_rate must be from 0.1 to 1000 frames per second, got {frame_rate}")


def _check_levels(name: str, pictures: Pictures) -> None:
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        kind = getattr(pictures, "dtype", type(pictures).__name__)
        raise TypeError(f"{name} must be uint8 arrays as pictures() makes them, got {kind}")


def _check_video(name: str, pictures: Pictures) -> None:
    if pictures.ndim < 3 or pictures.shape[3:] not in ((), (3,)) or pictures.size == 0:
        raise ValueError(
            f"{name} must be [time, height, width] or [time, height, width, 3] and not empty, "
            f"got {list(pictures.shape)}"
        )


def _check_panels(panels: Iterable[tuple[object, Pictures]]) -> None:
    """Panels must exist and last equally long."""
    lengths = {}
    for name, panel in panels:
        _check_levels(f"panel {name!r}", panel)
        _check_video(f"panel {name!r}", panel)
        lengths[name] = len(panel)
    if not lengths:
        raise ValueError("there must be at least one panel, got none")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"panels must have the same number of frames, got {lengths}")
