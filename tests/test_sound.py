"""Music as sound."""

import wave

import numpy as np
import pytest

from seqebm import sound
from seqebm.data import read_video
from seqebm.ffmpeg import running
from seqebm.sound import PEAK, RATE, synthesised, write_film, write_wav


def held(*notes, time=8, width=88):
    """A chord of notes, as pitches."""
    roll = np.zeros((time, width), dtype=bool)
    roll[:, [note - 21 for note in notes]] = True
    return roll


def strength(samples, frequency):
    """How much of a frequency there is."""
    seconds = np.arange(len(samples)) / RATE
    return abs((samples * np.exp(-2j * np.pi * frequency * seconds)).mean())


@pytest.mark.parametrize(("pitch", "frequency"), [(69, 440.0), (57, 220.0), (60, 261.626)])
def test_notes_have_their_frequencies(pitch, frequency):
    samples = synthesised(held(pitch), frame_rate=4)
    own = strength(samples, frequency)
    for semitones in (-12, -5, -1, 1, 5, 7):
        assert strength(samples, frequency * 2 ** (semitones / 12)) < own / 5


def test_a_chord_has_the_frequencies_of_all_its_notes():
    samples = synthesised(held(60, 64, 67), frame_rate=4)
    present = [strength(samples, 440 * 2 ** ((p - 69) / 12)) for p in range(60, 69)]
    assert sorted(np.argsort(present)[-3:].tolist()) == [0, 4, 7]


def test_it_lasts_as_long_as_the_roll_and_a_release():
    for time, frame_rate in ((8, 4.0), (1, 3.7), (100, 11.3)):
        samples = synthesised(held(60, time=time), frame_rate)
        assert abs(len(samples) / RATE - time / frame_rate - sound.RELEASE) < 2 / RATE
        assert samples.dtype == np.float32


def test_it_never_clips_and_silence_is_silent():
    loud = synthesised(np.ones((4, 88), dtype=bool), frame_rate=4)
    assert np.abs(loud).max() == pytest.approx(PEAK)
    assert not synthesised(np.zeros((4, 88), dtype=bool), frame_rate=4).any()


def test_held_frames_are_one_note_and_struck_ones_are_not():
    """A string that is struck once only gets quieter."""
    tied = synthesised(held(60, time=16), frame_rate=8)
    broken = held(60, time=16)
    broken[7] = False
    struck = synthesised(broken, frame_rate=8)
    before, after = slice(RATE * 3 // 4, RATE * 7 // 8), slice(RATE, RATE * 9 // 8)
    assert np.abs(tied[after]).max() < np.abs(tied[before]).max()
    assert np.abs(struck[after]).max() > 1.5 * np.abs(struck[before]).max()


def test_nothing_clicks():
    """From sample to sample no more changes than the steepest wave does."""
    roll = np.random.default_rng(1).random((40, 88)) < 0.05
    roll[:, 60:] = False
    samples = synthesised(roll, frame_rate=7.3)
    highest = 440 * 2 ** ((21 + 59 - 69) / 12)
    for pitch in np.flatnonzero(roll.any(axis=0)):
        alone = np.zeros_like(roll)
        alone[:, pitch] = roll[:, pitch]
        tone = synthesised(alone, frame_rate=7.3)
        frequency = 440 * 2 ** ((21 + pitch - 69) / 12)
        steepest = 2 * np.pi * frequency * sum(n * a for n, a in enumerate(sound.HARMONICS, 1))
        assert np.abs(np.diff(tone)).max() < 1.1 * steepest / RATE + 0.01
    assert abs(samples[0]) < 1e-3
    assert abs(samples[-1]) < 2e-2
    above = np.abs(np.fft.rfft(samples))[int(len(samples) * 6.5 * highest / RATE) :]
    assert above.max() < 0.01 * np.abs(np.fft.rfft(samples)).max()


def test_harmonics_that_samples_cannot_hold_are_left_out():
    samples = synthesised(held(108), frame_rate=4, rate=10_000)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() / len(samples) * 10_000 == pytest.approx(4186, abs=2)
    assert spectrum[: int(len(samples) * 0.35)].max() < 0.05 * spectrum.max()


@pytest.mark.parametrize(
    ("roll", "frame_rate", "message"),
    [
        (np.ones((4, 88)), 4, "expected booleans"),
        (np.ones(4, dtype=bool), 4, "expected booleans"),
        (held(60), 0, "not positive"),
        (held(60), float("nan"), "not positive"),
        (held(60, time=3601), 1, "at most 3600 seconds"),
    ],
)
def test_what_makes_no_sound(roll, frame_rate, message):
    with pytest.raises(ValueError, match=message):
        synthesised(roll, frame_rate)


def test_a_wav_file_holds_the_samples(tmp_path):
    samples = synthesised(held(60), frame_rate=4)
    write_wav(tmp_path / "a.wav", samples)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        again = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    np.testing.assert_allclose(again, samples, atol=1e-4)


@pytest.mark.parametrize("samples", [np.array([1.01]), np.array([np.nan]), np.zeros((2, 2))])
def test_samples_that_a_file_cannot_hold(tmp_path, samples):
    with pytest.raises(ValueError, match="samples: expected one row from -1 to 1"):
        write_wav(tmp_path / "a.wav", samples)
    assert not list(tmp_path.iterdir())


def test_a_film_has_pictures_and_sound(tmp_path):
    samples = synthesised(held(69), frame_rate=4)
    pictures = (np.full((1, 32, 48, 3), 9 * k, dtype=np.uint8) for k in range(20))
    write_film(tmp_path / "a.mp4", pictures, 10, samples)
    video = read_video(tmp_path / "a.mp4")
    assert (len(video.frames), video.frame_rate, video.shape) == (20, 10, (32, 48))
    copy = ["-i", str(tmp_path / "a.mp4"), "-ac", "1", "-y", str(tmp_path / "back.wav")]
    with running(*copy) as ffmpeg:
        assert ffmpeg.end() == (True, "")
    with wave.open(str(tmp_path / "back.wav")) as file:
        again = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    assert strength(again, 440) > 0.8 * strength(samples, 440)


def test_films_that_cannot_be_written_leave_nothing(tmp_path):
    samples = synthesised(held(69), frame_rate=4)
    with pytest.raises(ValueError, match=r"must end in \.mp4"):
        write_film(tmp_path / "a.gif", iter([]), 10, samples)
    with pytest.raises(OSError, match=r"a\.mp4"):
        write_film(tmp_path / "a.mp4", iter([]), 10, samples)
    assert not list(tmp_path.iterdir())
