"""Piano rolls: what a frame of music says, and how it travels with the data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from seqebm.data.checked_json import field, read_format
from seqebm.data.sequences import Sequence

LOWEST, NOTES = 21, 88  #: a piano's lowest key, A0, as a MIDI pitch, and the number of its keys
PITCHES = 128  #: of MIDI
BEATS_PER_MINUTE = 120  #: where nothing says how fast music is, as in MIDI
FINEST = 960  #: the most frames of a beat
LONGEST_ROLL = 2**18  #: frames, 36 hours of eighths: files that claim more are damaged
UNIT = "note"


@dataclass(frozen=True)
class PianoRoll:
    """What the frames of a piano roll are: 1 for each note that sounds, 0 for the others.

    It is kept as text in the `preparation` of `seqebm.data.Sequences`, and so goes with data files
    and with the runs of models that learned from them.

    Attributes:
        frames_per_beat: frames of a quarter note, from 1 to 960; 2 are eighths.
        lowest: MIDI pitch of the first value of a frame, from 0 to 127; 60 is middle C.

    Raises:
        TypeError: a number that is not whole.
        ValueError: one that is out of range.

    Example:
        >>> eighths = PianoRoll(frames_per_beat=2)
        >>> PianoRoll.from_json(eighths.to_json()) == eighths, eighths.frame_rate
        (True, 4.0)
    """

    FORMAT: ClassVar[str] = "seqebm-piano-roll"  #: of its JSON

    frames_per_beat: int = 2
    lowest: int = LOWEST

    def __post_init__(self) -> None:
        _check_range("frames_per_beat", self.frames_per_beat, 1, FINEST)
        _check_range("lowest", self.lowest, 0, PITCHES - 1)

    @property
    def frame_rate(self) -> float:
        """Frames a second at 120 beats a minute, where nothing says how fast the music is."""
        return self.frames_per_beat * BEATS_PER_MINUTE / 60

    def sequence(
        self, roll: npt.NDArray[np.bool_], name: str, frame_rate: float | None = None
    ) -> Sequence:
        """A roll `[time, notes]` with all that a data set says of it.

        Args:
            roll: true where a note sounds.
            name: of the music.
            frame_rate: frames a second; None takes the property of this name.
        """
        rate = self.frame_rate if frame_rate is None else frame_rate
        frames = torch.from_numpy(roll.astype(np.float32))
        return Sequence(frames, name=name, frame_rate=rate, unit=UNIT)

    def to_json(self) -> str:
        """As text.

        Example:
            >>> PianoRoll().to_json()
            '{"format": "seqebm-piano-roll", "frames_per_beat": 2, "lowest": 21}'
        """
        return json.dumps({"format": self.FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> PianoRoll:
        """What `to_json` has written; the text may be a stranger's.

        Raises:
            ValueError: it is anything else; the message says what was expected where.

        Example:
            >>> PianoRoll.from_json('{"format": "seqebm-preparation"}')
            Traceback (most recent call last):
            ValueError: format: expected seqebm-piano-roll, got 'seqebm-preparation'
        """
        content = read_format(text, cls.FORMAT)
        return cls(field(content, "frames_per_beat", int), field(content, "lowest", int))


def binary_roll(sequence: Sequence) -> npt.NDArray[np.bool_]:
    """The roll of a sequence, `[time, notes]`.

    Raises:
        ValueError: values other than 0 and 1, such as probabilities: which notes sound has to be
            drawn, or decided by a threshold, before.

    Example:
        >>> binary_roll(Sequence(torch.tensor([[0.0, 1.0]])))
        array([[False,  True]])
    """
    frames = sequence.original().detach().cpu()
    roll = frames > 0.5
    if not torch.equal(roll.to(frames), frames):
        raise ValueError(
            f"{sequence.name or 'roll'}: expected 0 and 1, got {float(frames.min()):g} to "
            f"{float(frames.max()):g}: draw the notes, or compare with a threshold"
        )
    return roll.numpy()


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")
