"""MIDI files as piano rolls, and piano rolls as MIDI files."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqebm.data.music.roll import LONGEST_ROLL, LOWEST, NOTES, PITCHES, PianoRoll, binary_roll
from seqebm.data.sequences import Sequence
from seqebm.files import atomic_path, blame, existing_file

if TYPE_CHECKING:
    from mido import MidiFile, MidiTrack

MIDI_FILES = (".mid", ".midi")
LARGEST_FILE = 2**22  # bytes; the reader needs some hundred times as much memory
LONGEST_NUMBER = 2**11  # bytes ≥ 128 in a row: the time to read a number grows as their square
PERCUSSION = 9  # the channel whose numbers are drums, not pitches
DEFAULT_TEMPO = 500_000  # microseconds of a beat, where a file says nothing
SLOWEST_TEMPO = 2**24 - 1
LATE = (9, 20)  # what sounds after 9/20 of a frame is what the frame says
TICKS = 480  # of a beat at least, in files that are written
DAMAGE = (EOFError, struct.error, OSError, LookupError, TypeError, ValueError)  # what mido raises
VELOCITY = 80  # loudness of all notes that are written, of 127


class Note(NamedTuple):
    """What sounds from one tick to another; not at `end` any more."""

    pitch: int
    start: int
    end: int


def read_midi(path: str | os.PathLike[str], frames_per_beat: int = 2) -> Sequence:
    """Reads a MIDI file as a piano roll of 88 notes.

    Time is counted in beats: how the tempo changes does not matter. Frame k says which notes sound
    at 9/20 of its duration, so that notes played a little early or late are where they are meant,
    and those between two such moments are lost. A note sounds from its note-on to its note-off in
    the same track and channel; one that is never ended sounds until the end of its track; one that
    is struck again before it ends counts from then on. The roll lasts until the last track ends.
    Percussion (channel 10) and pitches that a piano does not have (below 21, above 108) are left
    out.

    The rolls of Boulanger-Lewandowski et al. (2012) were made like this, but begin an eighth later
    and leave out what comes after the last notes: where the sources have not changed since, theirs
    are the first frames of `read_midi(path).frames[1:]`, transposed.

    Args:
        path: a MIDI file of format 0 or 1, at most 4 MiB large.
        frames_per_beat: frames of a quarter note; 2 are eighths.

    Returns:
        Frames `[time, 88]` of zeros and ones. The frame rate is that of the mean tempo: they last
        as long as the file does; 120 beats a minute where it says nothing.

    Raises:
        ImportError: mido is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another kind; it has no notes, no beats, a tempo of
            zero, or more than 262144 frames. The message names it.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     chord = Sequence(torch.zeros(3, 88).index_fill(1, torch.tensor([39, 43, 46]), 1.0))
        ...     write_midi(f"{folder}/chord.mid", chord)
        ...     read_midi(f"{folder}/chord.mid").frames.equal(chord.frames)
        True
    """
    preparation = PianoRoll(frames_per_beat)
    path = existing_file(path)
    file = _parsed(path)
    with blame(path):
        length = max((_ticks(track) for track in file.tracks), default=0)
        notes = [note for track in file.tracks for note in _notes(track)]
        roll = _roll(notes, length, file.ticks_per_beat, frames_per_beat)
        rate = frames_per_beat * 1e6 / _mean_tempo(file, length)
        return preparation.sequence(roll, Path(path).stem, rate)


def write_midi(
    path: str | os.PathLike[str], sequence: Sequence, preparation: PianoRoll | None = None
) -> None:
    """Writes a piano roll as a MIDI file of one track, whole or not at all.

    A note that goes on from one frame to the next is held: a roll does not tell it from one that is
    struck again. The tempo is that of the frame rate, to a microsecond of a beat.

    Args:
        path: the file.
        sequence: frames of zeros and ones.
        preparation: what the frames are; by default eighths of the 88 notes of a piano.

    Raises:
        ImportError: mido is not installed.
        ValueError: other values, such as probabilities; pitches above 127; a frame rate that no
            tempo has.
        OSError: the file cannot be written.

    Example:
        See `read_midi`.
    """
    mido = _mido()
    music = preparation or PianoRoll()
    roll = binary_roll(sequence)
    if music.lowest + roll.shape[1] > PITCHES:
        raise ValueError(f"sequence: {roll.shape[1]} notes from {music.lowest} on pass 127")
    tempo = round(music.frames_per_beat * 1e6 / sequence.frame_rate)
    if not 1 <= tempo <= SLOWEST_TEMPO:
        raise ValueError(f"frame_rate: {sequence.frame_rate:g} a second is no tempo of MIDI")
    ticks = -(-TICKS // music.frames_per_beat)  # of a frame
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo)])
    before = 0
    for frame, kind, pitch in _events(roll, music.lowest):
        time = (frame - before) * ticks
        track.append(mido.Message(kind, note=pitch, velocity=VELOCITY, time=time))
        before = frame
    track.append(mido.MetaMessage("end_of_track", time=(len(roll) - before) * ticks))
    file = mido.MidiFile(type=0, ticks_per_beat=ticks * music.frames_per_beat, tracks=[track])
    with atomic_path(path) as temporary:
        file.save(temporary)


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise ImportError("MIDI files need mido: pip install seqebm[midi]") from error
    return mido


def _parsed(path: Path) -> MidiFile:
    """The file, whose numbers are not to be trusted yet; a ValueError if it is none."""
    mido = _mido()
    with blame(path):
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"expected at most {LARGEST_FILE} bytes, got {path.stat().st_size}")
        content = path.read_bytes()
        if re.search(rb"[\x80-\xff]{%d}" % LONGEST_NUMBER, content):
            raise ValueError(f"a number of more than {LONGEST_NUMBER} bytes")
        try:
            file = mido.MidiFile(file=io.BytesIO(content))
        except (mido.KeySignatureError, *DAMAGE) as error:
            raise ValueError(f"damaged: {str(error) or 'it ends too early'}") from error
        if file.type not in (0, 1):
            raise ValueError(f"expected format 0 or 1, tracks that go together, got {file.type}")
        if file.ticks_per_beat <= 0:
            raise ValueError("it does not count its time in beats")
        return file


def _ticks(track: MidiTrack) -> int:
    return sum(message.time for message in track)


def _notes(track: MidiTrack) -> Iterator[Note]:
    now, sounding = 0, {}
    for message in track:
        now += message.time
        if message.type in ("note_on", "note_off") and message.channel != PERCUSSION:
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity > 0:
                sounding[key] = now
            elif key in sounding:
                yield Note(message.note, sounding.pop(key), now)
    yield from (Note(pitch, start, now) for (_, pitch), start in sounding.items())


def _roll(
    notes: list[Note], length: int, ticks_per_beat: int, frames_per_beat: int
) -> npt.NDArray[np.bool_]:
    """Which notes sound in each frame, `[time, 88]`."""

    def frame(tick: int) -> int:
        """The first frame that says what is at the tick or later."""
        late, whole = LATE
        past = whole * tick * frames_per_beat - late * ticks_per_beat
        return -(-past // (whole * ticks_per_beat))

    time = frame(length)
    if time > LONGEST_ROLL:
        raise ValueError(f"expected at most {LONGEST_ROLL} frames")
    kept = [note for note in notes if 0 <= note.pitch - LOWEST < NOTES]
    if not kept or time < 1:
        raise ValueError("there are no notes in it that a piano has")
    # how many notes of a pitch sound is the sum of those that began less those that ended
    changes = np.zeros((time + 1, NOTES), dtype=np.int32)
    keys = [note.pitch - LOWEST for note in kept]
    np.add.at(changes, ([frame(note.start) for note in kept], keys), 1)
    np.add.at(changes, ([frame(note.end) for note in kept], keys), -1)
    return changes.cumsum(axis=0)[:-1] > 0


def _mean_tempo(file: MidiFile, length: int) -> float:
    """Microseconds of a beat, the mean over the ticks of the file."""
    changes = [(0, DEFAULT_TEMPO)]
    for track in file.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "set_tempo":
                changes.append((now, message.tempo))
    changes.sort(key=lambda change: change[0])  # of those at one tick the last one counts
    ends = [start for start, _ in changes[1:]] + [length]
    total = sum((end - start) * tempo for (start, tempo), end in zip(changes, ends, strict=True))
    if min(tempo for _, tempo in changes) == 0:
        raise ValueError("a tempo of zero microseconds a beat")
    return total / length


def _events(roll: npt.NDArray[np.bool_], lowest: int) -> Iterator[tuple[int, str, int]]:
    """Frames, kinds and pitches of what begins and ends; ends come first."""
    edges = np.diff(roll.astype(np.int8), axis=0, prepend=0, append=0)
    for frame, change in enumerate(edges):
        for kind, sign in (("note_off", -1), ("note_on", 1)):
            for note in np.flatnonzero(change == sign):
                yield frame, kind, lowest + int(note)
