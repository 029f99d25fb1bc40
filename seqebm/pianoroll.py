"""Music as pictures: time to the right, pitch upwards, a bar for each note.

:func:`still` draws a roll in lines below each other, as a score, and :func:`playing` the same a
page at a time with a play-head that moves as the music does. The pictures are those of
`seqebm.video`, which lays them out beside each other and saves them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from seqebm.video import BACKGROUND, Pictures, Values

NOTES = 128  # of MIDI; a roll has no more
OCTAVE, C = 12, 0  # pitches of an octave; those that 12 divides are C
BLACK_KEYS = (1, 3, 6, 8, 10)  # semitones above C
LINE = 128  # frames
MOST_LINES = 64  # of a still
KEY_SIDE, FRAME_SIDE = 5, 6  # pixels: height of a note, width of a frame
GAP = 10  # between lines
VIDEO_RATE = 25.0  # pictures a second

NEW, GIVEN = (255, 176, 64), (196, 200, 208)  # colours of notes
HEAD, BORDER = (255, 255, 255), (92, 178, 255)
WHITE_KEY, BLACK_KEY, OCTAVE_LINE = 42, 31, 84  # greys of rows


def still(roll: Values, lowest: int = 21, given: int = 0) -> Pictures:
    """A whole roll as one picture, in lines of 128 frames.

    The rows are those of the notes that are played, whole octaves from C to B, with a line beneath
    each C; rows of black keys are darker. A note is the brighter the more probable it is.

    Args:
        roll: `[time, notes]`, from 0 to 1; values outside are clipped.
        lowest: MIDI pitch of the first note.
        given: so many frames at the beginning were given to a model: their notes are grey, those
            that it made are orange, and a blue line is between them.

    Returns:
        uint8 `[1, height, width, 3]`.

    Raises:
        ValueError: a roll that is empty, not finite, of another shape or of more than 8192 frames,
            pitches that MIDI does not have, or `given` out of range.

    Example:
        >>> still(torch.eye(12), lowest=60).shape
        (1, 60, 72, 3)
    """
    drawn = _Drawing(roll, lowest, given)
    if len(drawn.pages) > MOST_LINES:
        raise ValueError(
            f"roll: expected at most {MOST_LINES * LINE} frames for a still, got {drawn.time}"
        )
    lines = [drawn.page(start) for start in drawn.pages]
    gap = np.full((GAP, *lines[0].shape[1:]), BACKGROUND, dtype=np.uint8)
    parts = [part for line in lines for part in (gap, line)][1:]
    return np.concatenate(parts)[None]


def playing(
    roll: Values,
    frame_rate: float,
    lowest: int = 21,
    given: int = 0,
    video_rate: float = VIDEO_RATE,
) -> Iterator[Pictures]:
    """A roll as it is played, one picture at a time, for a video of any length.

    It shows a page of 128 frames, on which a play-head moves, and then the next one.

    Args:
        roll: as for :func:`still`, and so are `lowest` and `given`; of any length.
        frame_rate: frames of the roll a second.
        lowest: MIDI pitch of the first note.
        given: frames at the beginning that were given to a model.
        video_rate: pictures a second.

    Returns:
        An iterator over uint8 `[1, height, width, 3]`, which lasts as long as the roll does.

    Raises:
        ValueError: as for :func:`still`, before the first picture is asked for, or rates that are
            not positive.

    Example:
        >>> import tempfile
        >>> from seqebm.video import Writer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Writer(f"{folder}/scale.mp4") as writer:
        ...         for picture in playing(torch.eye(12), frame_rate=4, lowest=60):
        ...             writer.write(picture)
    """
    if not (0 < frame_rate < math.inf and 0 < video_rate < math.inf):
        raise ValueError(f"frame_rate, video_rate: not positive: {frame_rate}, {video_rate}")
    drawn = _Drawing(roll, lowest, given)
    count = max(1, round(drawn.time * video_rate / frame_rate))
    places = (picture * frame_rate / video_rate for picture in range(count))
    return _with_head(drawn, places)


def _with_head(drawn: _Drawing, places: Iterator[float]) -> Iterator[Pictures]:
    """Pages with a play-head at places, in frames."""
    for start, of_page in itertools.groupby(places, lambda place: int(place) // LINE * LINE):
        page = drawn.page(start)
        for place in of_page:
            picture = page.copy()
            column = int((place - start) * FRAME_SIDE)
            picture[:, column : column + 2] = HEAD
            yield picture[None]


class _Drawing:
    """A roll that is drawn a page at a time, all of one size."""

    def __init__(self, roll: Values, lowest: int, given: int) -> None:
        values = _levels(roll, lowest)
        self.time = len(values)
        if not 0 <= given <= self.time:
            raise ValueError(f"given: expected 0 to {self.time} frames, got {given}")
        self.pages = range(0, self.time, LINE)
        self._given = given
        pitches = _octaves(values, lowest)
        self._roll = _rows(values, lowest, pitches)
        self._ground = _ground(pitches, min(self.time, LINE))

    def page(self, start: int) -> npt.NDArray[np.uint8]:
        """The frames from `start` on, `[height, width, 3]`."""
        image = self._ground.copy()
        frames = self._roll[start : start + LINE]
        light = frames.T[::-1].repeat(KEY_SIDE, axis=0).repeat(FRAME_SIDE, axis=1)[..., None]
        light[::KEY_SIDE] = 0  # so that neighbours are told apart
        given = np.arange(start, start + len(frames)) < self._given
        colours = np.where(given[:, None], GIVEN, NEW).repeat(FRAME_SIDE, axis=0)
        drawn = image[:, : light.shape[1]]
        drawn[:] = (drawn * (1 - light) + colours * light).round()
        image[:, light.shape[1] :] = BACKGROUND
        if 0 < self._given - start < len(frames):
            image[:, (self._given - start) * FRAME_SIDE - 1] = BORDER
        return image


def _levels(roll: Values, lowest: int) -> npt.NDArray[np.float64]:
    if isinstance(roll, torch.Tensor):
        roll = roll.detach().cpu().numpy()
    values = np.asarray(roll, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"roll: expected finite [time, notes], not empty, got {values.shape}")
    if not 0 <= lowest <= NOTES - values.shape[1]:
        raise ValueError(f"lowest: {values.shape[1]} notes from {lowest} on are not in 0 to 127")
    return values.clip(0, 1)


def _octaves(values: npt.NDArray[np.float64], lowest: int) -> range:
    """The pitches from C to B that what is played is in; an octave where nothing is."""
    pitches = np.flatnonzero(values.any(axis=0)) + lowest
    if not len(pitches):
        pitches = np.array([lowest])
    first, last = int(pitches.min()) // OCTAVE, int(pitches.max()) // OCTAVE
    return range(OCTAVE * first, OCTAVE * (last + 1))


def _rows(values: npt.NDArray[np.float64], lowest: int, pitches: range) -> npt.NDArray[np.float32]:
    """The notes of these pitches, `[time, pitches]`; zeros where the roll has none."""
    rows = np.zeros((len(values), NOTES + OCTAVE), dtype=np.float32)
    rows[:, lowest : lowest + values.shape[1]] = values
    return rows[:, pitches.start : pitches.stop]


def _ground(pitches: range, width: int) -> npt.NDArray[np.uint8]:
    """What is behind the notes, the highest pitch on top."""
    size = (KEY_SIDE * len(pitches), FRAME_SIDE * width, 3)
    image = np.full(size, WHITE_KEY, dtype=np.uint8)
    for row, pitch in enumerate(reversed(pitches)):
        bottom = KEY_SIDE * (row + 1)
        if pitch % OCTAVE in BLACK_KEYS:
            image[bottom - KEY_SIDE : bottom] = BLACK_KEY
        if pitch % OCTAVE == C:
            image[bottom - 1] = OCTAVE_LINE
    return image
