"""MIDI files: good ones, hard ones and damaged ones."""

import random
import sys
import time
import tracemalloc

import mido
import pytest
import torch
from made import (
    END,
    NOTE_OFF,
    NOTE_ON,
    chords,
    event,
    held,
    midi,
    number,
    random_roll,
    roll_of,
    tempo,
)

from seqebm.data import Sequence, load_sequences
from seqebm.data.music import PianoRoll, read_benchmark, read_midi, write_midi
from seqebm.data.music.midi import LARGEST_FILE, LONGEST_NUMBER

BEAT = 480


def read(tmp_path, content, **options):
    path = tmp_path / "some.mid"
    path.write_bytes(content)
    return read_midi(path, **options)


def error(tmp_path, content, **options):
    """The message, after the name of the file."""
    with pytest.raises(ValueError, match=f"^{tmp_path / 'some.mid'}: ") as caught:
        read(tmp_path, content, **options)
    return str(caught.value).removeprefix(f"{tmp_path / 'some.mid'}: ")


# --- what a roll says ------------------------------------------------------------------------


def test_notes_sound_in_the_frames_that_they_cover(tmp_path):
    track = [
        event(0, NOTE_ON, 60, 64),
        event(BEAT, NOTE_ON, 64, 64),  # the third frame
        event(BEAT, NOTE_OFF, 60, 0),
        event(BEAT, NOTE_ON, 64, 0),  # an end, too
    ]
    music = read(tmp_path, midi(track))
    assert chords(music) == [[60], [60], [60, 64], [60, 64], [64], [64]]
    assert (music.name, music.unit, music.shape) == ("some", "note", (88,))
    assert chords(read(tmp_path, midi(track), frames_per_beat=1)) == [[60], [60, 64], [64]]


@pytest.mark.parametrize(("late", "first"), [(108, [60]), (109, []), (-120, [60])])
def test_a_frame_says_what_sounds_before_its_middle(tmp_path, late, first):
    """Nine twentieths of an eighth of 240 ticks are 108."""
    track = [event(240 + late, NOTE_ON, 60, 64), event(240, NOTE_OFF, 60, 0)]
    assert chords(read(tmp_path, midi(track)))[1] == first


def test_notes_between_two_moments_are_lost(tmp_path):
    track = [event(109, NOTE_ON, 60, 64), event(100, NOTE_OFF, 60, 0), *held(62, 480)]
    assert chords(read(tmp_path, midi(track)))[:2] == [[], [62]]


def test_divisions_that_frames_do_not_divide_are_exact(tmp_path):
    track = [step for _ in range(500) for step in held(60, 101)]
    music = read(tmp_path, midi(track, division=101), frames_per_beat=3)
    assert music.frames.shape == (1500, 88)
    assert music.frames[:, 60 - 21].all()


def test_tracks_sound_together_and_the_longest_decides(tmp_path):
    content = midi(held(60, BEAT), [event(BEAT, 0xC0, 1), *held(64, BEAT)])
    assert chords(read(tmp_path, content)) == [[60], [60], [64], [64]]


def test_hundreds_of_tracks(tmp_path):
    music = read(tmp_path, midi(*(held(21 + n % 88, BEAT * (1 + n % 3)) for n in range(400))))
    assert music.frames.sum(1).tolist() == [88] * 6


def test_channels_of_a_track_do_not_end_each_others_notes(tmp_path):
    track = [
        event(0, NOTE_ON, 60, 64),
        event(0, NOTE_ON | 1, 60, 64),
        event(BEAT, NOTE_OFF, 60, 0),
        event(BEAT, NOTE_OFF | 1, 60, 0),
    ]
    assert chords(read(tmp_path, midi(track, format=0))) == [[60]] * 4


def test_a_note_that_is_struck_again_counts_from_then_on(tmp_path):
    track = [
        event(0, NOTE_ON, 60, 64),
        event(BEAT, NOTE_ON, 60, 64),
        event(BEAT, NOTE_OFF, 60, 0),
        event(BEAT, NOTE_OFF, 60, 0),
    ]
    assert chords(read(tmp_path, midi(track))) == [[], [], [60], [60], [], []]


def test_notes_that_never_end_sound_until_their_track_does(tmp_path):
    track = [event(0, NOTE_ON, 60, 64), event(BEAT, NOTE_ON, 62, 64)]
    content = midi(track, held(70, 3 * BEAT), end=number(BEAT) + END)
    assert chords(read(tmp_path, content))[3:5] == [[60, 62, 70], [70]]


def test_percussion_and_what_a_piano_does_not_have_are_left_out(tmp_path):
    content = midi(held(60, BEAT), held(40, BEAT, channel=9), held(20, BEAT), held(109, BEAT))
    assert chords(read(tmp_path, content)) == [[60], [60]]
    kept = read(tmp_path, midi(held(21, BEAT), held(108, BEAT)))
    assert chords(kept) == [[21, 108]] * 2


def test_running_status_is_understood(tmp_path):
    track = [event(0, NOTE_ON, 60, 64), event(BEAT, 64, 64), event(BEAT, 60, 0), event(0, 64, 0)]
    assert chords(read(tmp_path, midi(track))) == [[60], [60], [60, 64], [60, 64]]


def test_the_frame_rate_is_that_of_the_mean_tempo(tmp_path):
    assert read(tmp_path, midi(held(60, BEAT))).frame_rate == 4  # 120 beats a minute
    steady = midi([tempo(0, 600_000), *held(60, 7 * BEAT)])
    assert read(tmp_path, steady).frame_rate == pytest.approx(2 / 0.6, rel=1e-12)
    # a beat at half a second, and two at a whole one, which another track says
    changing = midi([tempo(BEAT, 1_000_000)], held(60, 3 * BEAT))
    music = read(tmp_path, changing)
    assert len(music.frames) / music.frame_rate == pytest.approx(2.5)


# --- hard files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged: it ends too early"),
        (b"RIFF" + bytes(100), "MThd"),
        (b"\x00" * 2000, "MThd"),
        (midi(), "no notes"),
        (midi([]), "no notes"),
        (midi([event(0, 0xC0, 1), event(BEAT, 0xC0, 2)]), "no notes"),
        (midi(held(60, 0)), "no notes"),
        (midi(held(109, BEAT)), "no notes in it that a piano has"),
        (midi([event(0, 60, 64)]), "running status"),
        (midi([tempo(0, 0), *held(60, BEAT)]), "a tempo of zero"),
        (midi([b"\x00\xff\x51\x01\x09", *held(60, BEAT)]), "damaged: "),
        (midi(held(60, BEAT), format=2), "format 0 or 1"),
        (midi(held(60, BEAT), format=7), "format 0 or 1"),
        (midi(held(60, BEAT), division=0), "beats"),
        (midi(held(60, BEAT), division=0xE728), "beats"),  # 25 frames a second
        (midi(held(60, BEAT))[:-3], "ends too early"),
        (midi(held(60, BEAT))[:30], "ends too early"),
        (midi(held(60, 2**28 - 1)), "at most 262144 frames"),
        (midi([event(2**60, NOTE_ON, 60, 64), *held(60, BEAT)]), "at most 262144 frames"),
        (midi([event(2**9999, NOTE_ON, 60, 64), *held(60, BEAT)]), "at most 262144 frames"),
        (midi([b"\xff" * (LONGEST_NUMBER + 1)]), "a number of more than"),
        (midi([event(0, 0xFF, 0x59, 2, 99, 99), *held(60, BEAT)]), "key"),
        (midi([event(0, 0xF0, 0xFF, 0xFF, 0x7F)]), "exceeds maximum length"),
        (bytes(LARGEST_FILE + 1), "at most 4194304 bytes, got 4194305"),
    ],
)
def test_files_that_hold_no_music(tmp_path, content, message):
    assert message in error(tmp_path, content)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mid: no such file"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(ValueError, match="not a file"):
        read_midi(tmp_path)


def test_mido_is_asked_for_where_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(ImportError, match=r"pip install seqebm\[midi\]"):
        read(tmp_path, midi(held(60, BEAT)))
    with pytest.raises(ImportError, match=r"pip install seqebm\[midi\]"):
        write_midi(tmp_path / "a.mid", roll_of([60]))


@pytest.mark.parametrize("frames", [0, 961, -1])
def test_frames_of_a_beat_are_checked(tmp_path, frames):
    with pytest.raises(ValueError, match="frames_per_beat: expected 1 to 960"):
        read(tmp_path, midi(held(60, BEAT)), frames_per_beat=frames)


def test_more_frames_of_a_beat_make_files_too_long(tmp_path):
    content = midi(held(60, BEAT * 300))
    assert len(read(tmp_path, content, frames_per_beat=800).frames) == 240_000
    assert "frames" in error(tmp_path, content, frames_per_beat=900)


def damaged(whole, rng):
    """The file with some bytes changed, taken away or repeated."""
    content = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(content))
        kind = rng.choice(["flip", "set", "cut", "drop", "repeat"])
        if kind == "flip":
            content[place] ^= 1 << rng.randrange(8)
        elif kind == "set":
            content[place] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == "cut" and place > 0:
            del content[place:]
        elif kind == "drop" and len(content) > 9:
            del content[place : place + rng.randint(1, 8)]
        else:
            content[place:place] = content[place : place + rng.randint(1, 8)]
    return bytes(content)


def outcome(path):
    """The roll, or the message of the ValueError."""
    try:
        return read_midi(path).frames, None
    except ValueError as caught:
        return None, str(caught)


def test_damaged_files_are_refused_or_make_a_roll(tmp_path):
    path = tmp_path / "damaged.mid"
    write_midi(path, Sequence(random_roll(1)))
    wholes = [
        path.read_bytes(),
        midi([tempo(0, 400_000), *held(60, BEAT)], held(64, 2 * BEAT), held(30, BEAT, 9)),
    ]
    rng, refused = random.Random(1), 0
    tracemalloc.start()
    began = time.monotonic()
    for case in range(800):
        path.write_bytes(damaged(wholes[case % 2], rng))
        roll, message = outcome(path)
        if message is not None:
            assert message.startswith(f"{path}: ")
            refused += 1
        else:
            assert roll.shape[1] == 88
            assert set(roll.unique().tolist()) <= {0, 1}
    assert 50 < refused < 750
    assert time.monotonic() - began < 60
    assert tracemalloc.get_traced_memory()[1] < 2**29
    tracemalloc.stop()


# --- written files ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("frames_per_beat", [1, 2, 3, 7, 24, 960])
def test_what_is_written_is_read_again(tmp_path, seed, frames_per_beat):
    share = [0.001, 0.05, 0.3, 0.5, 0.9, 1.0][seed]
    frames = random_roll(seed, time=1 + 17 * seed, share=share)
    frames[0, 40] = 1  # not silent all the time
    music = Sequence(frames, frame_rate=(0.75 + seed) * frames_per_beat)
    write_midi(tmp_path / "a.mid", music, PianoRoll(frames_per_beat))
    again = read_midi(tmp_path / "a.mid", frames_per_beat)
    assert torch.equal(again.frames, frames)
    assert again.frame_rate == pytest.approx(music.frame_rate, rel=1e-5)


def test_notes_of_successive_frames_are_one_note(tmp_path):
    write_midi(tmp_path / "a.mid", roll_of([60], [60, 64], [64], []))
    (track,) = mido.MidiFile(tmp_path / "a.mid").tracks
    events = [(m.type, m.note, m.time) for m in track if not m.is_meta]
    assert events == [
        ("note_on", 60, 0),
        ("note_on", 64, 240),
        ("note_off", 60, 240),
        ("note_off", 64, 240),
    ]
    assert track[-1].time == 240


def test_rolls_may_begin_at_another_pitch(tmp_path):
    middle = Sequence(torch.eye(3))
    write_midi(tmp_path / "a.mid", middle, PianoRoll(lowest=60))
    assert chords(read_midi(tmp_path / "a.mid")) == [[60], [61], [62]]
    with pytest.raises(ValueError, match="3 notes from 126 on pass 127"):
        write_midi(tmp_path / "b.mid", middle, PianoRoll(lowest=126))


@pytest.mark.parametrize(
    ("music", "message"),
    [
        (Sequence(torch.full((2, 88), 0.5), name="means"), "means: expected 0 and 1, got 0.5"),
        (Sequence(torch.full((2, 88), 2.0)), "expected 0 and 1, got 2"),
        (Sequence(torch.ones(2, 88), frame_rate=1e-4), "is no tempo"),
        (Sequence(torch.ones(2, 88), frame_rate=1e8), "is no tempo"),
    ],
)
def test_what_midi_cannot_hold(tmp_path, music, message):
    with pytest.raises(ValueError, match=message):
        write_midi(tmp_path / "a.mid", music)
    assert not (tmp_path / "a.mid").exists()


# --- real files ------------------------------------------------------------------------------

SOURCES = {  # of the benchmark: split, number from 1, semitones
    "alb_esp1": ("train 1", -2),
    "alb_esp5": ("valid 1", -3),
    "alb_se2": ("train 6", 5),
    "bor_ps5": ("valid 4", -1),
    "burg_quelle": ("test 9", 5),
    "chpn_op10_e01": ("test 10", 0),
    "chpn-p6": ("train 36", 1),
    "grieg_waechter": ("train 45", -4),
    "scn15_1": ("train 74", 5),
    "ty_maerz": ("train 80", 5),
}


def test_the_benchmark_is_made_like_this(real_data):
    folder = real_data("music_midi") / "piano_midi_de"
    published = {
        one.name: one for one in read_benchmark(real_data("music_polyphonic") / "Piano_midi.mat")
    }
    for source, (name, semitones) in SOURCES.items():
        made = read_midi(folder / f"{source}.mid").frames[1:].roll(semitones, dims=1)
        expected = published[name].frames
        assert torch.equal(made[: len(expected)], expected), source
        assert not made[len(expected) :].any(), source


def test_the_files_of_nottingham_and_a_later_revision_are_read(real_data):
    for folder in ("nottingham", "piano_midi_de"):
        for music in load_sequences(real_data("music_midi") / folder):
            assert music.frames.any(1).float().mean() > 0.7
            assert 1 < music.frame_rate < 8
