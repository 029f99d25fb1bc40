"""Music to listen to: piano rolls as sound, written as .wav or under the pictures of an .mp4.

The sound is that of a plucked string rather than of a piano: a few harmonics, of which the higher
ones die away sooner.
"""

from __future__ import annotations

import math
import os
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from seqebm import ffmpeg
from seqebm.files import atomic_path
from seqebm.video import Pictures, Writer

Samples = npt.NDArray[np.float32]

RATE = 22_050  #: samples a second
LONGEST = 3600.0  # seconds; an hour takes 320 MB
HARMONICS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)  # how loud they begin
ATTACK, RELEASE = 0.008, 0.06  # seconds in which a note begins and ends
LONGEST_TONE = 16.0  # seconds, after which a string has died away
DECAY = 1.2  # seconds in which the first harmonic of middle C falls to 1/e; the n-th in 1/n of it
PEAK = 0.9  # of the loudest sample; 1 is all that a file can hold
TUNING = (69, 440.0)  # a MIDI pitch and its frequency


def synthesised(
    roll: npt.NDArray[np.bool_], frame_rate: float, lowest: int = 21, rate: int = RATE
) -> Samples:
    """The sound of a piano roll; a note that goes on from frame to frame is struck once.

    Args:
        roll: `[time, notes]`, true where a note sounds.
        frame_rate: frames a second.
        lowest: MIDI pitch of the first note.
        rate: samples a second. Harmonics above half of it are left out.

    Returns:
        Samples from -0.9 to 0.9, the loudest 0.9 or, of silence, all 0. After the last frame notes
        have 0.06 seconds to end in.

    Raises:
        ValueError: a roll of another shape or type, or longer than an hour, or a rate that is not
            positive.

    Example:
        >>> chord = np.zeros((4, 88), dtype=bool)
        >>> chord[:, [39, 43, 46]] = True
        >>> sound = synthesised(chord, frame_rate=2)
        >>> round(len(sound) / RATE, 2), round(float(sound.max()), 3)
        (2.06, 0.9)
    """
    if roll.ndim != 2 or roll.dtype != np.bool_:
        raise ValueError(f"roll: expected booleans [time, notes], got {roll.dtype} {roll.shape}")
    if not (0 < frame_rate < math.inf and rate >= 1):
        raise ValueError(f"frame_rate, rate: not positive: {frame_rate}, {rate}")
    if len(roll) > LONGEST * frame_rate:
        raise ValueError(f"roll: expected at most {LONGEST:g} seconds of music")
    release = math.ceil(RELEASE * rate)
    sound = np.zeros(round(len(roll) / frame_rate * rate) + release, dtype=np.float32)
    for note, start, end in _notes(roll):
        first, last = (round(frame / frame_rate * rate) for frame in (start, end))
        part = sound[first : min(last, first + round(LONGEST_TONE * rate)) + release]
        part += _tone(lowest + note, len(part), rate)
    loudest = np.abs(sound).max()
    return sound * np.float32(PEAK / loudest) if loudest > 0 else sound


def _notes(roll: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Note, first frame and the frame after the last one of all that is held."""
    edges = np.diff(roll.T.astype(np.int8), axis=1, prepend=0, append=0)
    for (note, start), (_, end) in zip(
        np.argwhere(edges == 1), np.argwhere(edges == -1), strict=True
    ):
        yield int(note), int(start), int(end)


def _tone(pitch: int, length: int, rate: int) -> Samples:
    """A string that is plucked, and damped at the end."""
    reference, frequency = TUNING
    frequency *= 2 ** ((pitch - reference) / 12)
    seconds = np.arange(length) / rate
    decay = DECAY * 2 ** ((60 - pitch) / 24)  # low strings sound longer
    tone = sum(
        loudness * np.exp(-seconds * n / decay) * np.sin(2 * np.pi * n * frequency * seconds)
        for n, loudness in enumerate(HARMONICS, start=1)
        if n * frequency < rate / 2
    )
    attack = np.minimum(seconds / ATTACK, 1)
    damping = np.clip((length - np.arange(length)) / (RELEASE * rate), 0, 1)
    return (tone * attack * damping).astype(np.float32)


def write_wav(path: str | os.PathLike[str], samples: Samples, rate: int = RATE) -> None:
    """Writes samples as a .wav file, one channel of 16 bits, whole or not at all.

    Args:
        path: the file.
        samples: from -1 to 1.
        rate: samples a second.

    Raises:
        ValueError: samples out of range, or not one row of them.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_wav(f"{folder}/tone.wav", np.sin(np.arange(RATE) / 5))
        ...     with wave.open(f"{folder}/tone.wav") as file:
        ...         file.getnframes() == file.getframerate() == RATE
        True
    """
    if samples.ndim != 1 or not (np.abs(samples) <= 1).all():
        raise ValueError(f"samples: expected one row from -1 to 1, got {list(samples.shape)}")
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


def write_film(
    path: str | os.PathLike[str],
    pictures: Iterable[Pictures],
    frame_rate: float,
    samples: Samples,
    rate: int = RATE,
) -> None:
    """Writes an .mp4 of pictures and of sound, whole or not at all, in memory that does not grow.

    Args:
        path: the file, which ends in .mp4.
        pictures: as for `seqebm.video.Writer.write`, one after another.
        frame_rate: pictures a second.
        samples: from -1 to 1, see `write_wav`.
        rate: samples a second.

    Raises:
        ValueError: another ending of the path, or what the writers of pictures and samples refuse.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from seqebm import pianoroll
        >>> roll = np.eye(88, dtype=bool)[40:50]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pictures = pianoroll.playing(roll, frame_rate=8)
        ...     write_film(f"{folder}/scale.mp4", pictures, 25, synthesised(roll, frame_rate=8))
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"path must end in .mp4, got {os.fspath(path)!r}")
    with TemporaryDirectory() as folder, atomic_path(path) as temporary:
        silent, sound = f"{folder}/silent.mp4", f"{folder}/sound.wav"
        write_wav(sound, samples, rate)
        with Writer(silent, frame_rate) as writer:
            for picture in pictures:
                writer.write(picture)
        streams = ["-i", silent, "-i", sound, "-c:v", "copy", "-c:a", "aac"]
        target = ["-movflags", "+faststart", f"file:{temporary}"]
        with ffmpeg.running("-y", *streams, *target) as encoder:
            done, said = encoder.end()
        if not done:
            raise OSError(f"ffmpeg: {said or 'it gave no reason'}")
