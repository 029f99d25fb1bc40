"""The commands on music: made-up pieces, from MIDI files to files that can be listened to."""

import json
import shutil
import sys
import wave

import numpy as np
import pytest
import torch
from conftest import TINY

import seqebm
from seqebm import pianoroll, sound, video
from seqebm.data import Sequence, Sequences, load_sequences, read_video, save_sequences
from seqebm.data.music import PianoRoll, read_benchmark, read_midi, write_midi


def piece(seed, time=24):
    """Chords that wander about middle C, at 100 beats a minute."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.zeros(time, 88)
    frames[:, 30:50] = (torch.rand(time, 20, generator=generator) < 0.2).float()
    frames[0, 39] = 1
    return Sequence(frames, frame_rate=10 / 3, name=f"piece-{seed}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    for seed in (1, 2, 3, 4):
        write_midi(folder / f"piece-{seed}.mid", piece(seed))
    chorales = {"train": [[[60, 64], [60]]] * 3, "valid": [[[62]]], "test": [[[60], []]]}
    (folder / "jsb.json").write_text(json.dumps(chorales))
    return folder


@pytest.fixture(autouse=True)
def place(home, tmp_path, monkeypatch):
    """The current folder of a test: a copy of the home, which it may change."""
    shutil.copytree(home, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


PREPARE = "data music . --valid piece-3 --test piece-4 --out data.h5"


@pytest.fixture
def run(done):
    """A folder with data.h5 and a trained run."""
    done(PREPARE)
    done("train rtrbm --data data.h5 TINY --out run")
    return seqebm.load("run")


# --- data ------------------------------------------------------------------------------------


def test_midi_files_become_rolls(done):
    assert done(PREPARE) == "data.h5: 4 pieces of music, 96 frames of 88 notes\n"
    data = load_sequences("data.h5")
    assert [one.split for one in data] == ["train", "train", "valid", "test"]
    assert PianoRoll.from_json(data.preparation) == PianoRoll(2)
    for one, seed in zip(data, (1, 2, 3, 4), strict=True):
        assert torch.equal(one.frames, piece(seed).frames)
        assert one.frame_rate == pytest.approx(10 / 3)


def test_a_beat_may_have_more_frames(done):
    done("data music piece-1.mid piece-2.mid --frames-per-beat 4 --out data.h5")
    data = load_sequences("data.h5")
    assert PianoRoll.from_json(data.preparation) == PianoRoll(4)
    assert torch.equal(data[1].frames, piece(2).frames.repeat_interleave(2, dim=0))


def test_training_music_is_transposed(done):
    done("data music piece-1.mid piece-2.mid --test piece-2 --transpose -2:3 --out data.h5")
    data = load_sequences("data.h5")
    assert [one.name for one in data.split("train")] == [
        "piece-1 -2",
        "piece-1 -1",
        "piece-1",
        "piece-1 +1",
        "piece-1 +2",
        "piece-1 +3",
    ]
    assert torch.equal(data[0].frames, piece(1).frames.roll(-2, 1))
    assert [one.name for one in data.split("test")] == ["piece-2"]


def test_the_benchmark_keeps_its_splits(done):
    assert done("data music jsb.json --out data.h5") == (
        "data.h5: 5 pieces of music, 9 frames of 88 notes\n"
    )
    data = load_sequences("data.h5")
    assert [len(data.split(split)) for split in ("train", "valid", "test")] == [3, 1, 1]
    assert PianoRoll.from_json(data.preparation) == PianoRoll(1)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("data music nowhere.mid --out x.h5", "nowhere.mid: no such file"),
        ("data music nowhere.mat --out x.h5", "nowhere.mat: no such file"),
        ("data music song.mp3 --out x.h5", "song.mp3: expected a file of type .mid, .midi"),
        ("data music .. --out x.h5", "..: holds no .mid or .midi"),
        ("data music piece-1.mid --test piece-9 --out x.h5", "there is no 'piece-9'"),
        ("data music jsb.json --test a --out x.h5", "stands alone"),
        ("data music jsb.json piece-1.mid --out x.h5", "stands alone"),
        ("data music jsb.json --frames-per-beat 2 --out x.h5", "stands alone"),
        ("data music piece-1.mid jsb.json --out x.h5", "jsb.json: expected a file of type .mid"),
        ("data music piece-1.mid --frames-per-beat 999 --out x.h5", "expected 1 to 960"),
        ("data music piece-1.mid --transpose 3 --out x.h5", "--transpose: expected LOW:HIGH"),
        ("data music piece-1.mid --transpose 3:1 --out x.h5", "--transpose: expected LOW:HIGH"),
        ("data music piece-1.mid --transpose 0:x --out x.h5", "--transpose: expected LOW:HIGH"),
        ("data music piece-1.mid --transpose 0:9999 --out x.h5", "--transpose: expected LOW"),
        ("data music piece-1.mid --transpose 80:90 --out x.h5", "none by which 'piece-1' stays"),
    ],
)
def test_music_that_cannot_be_prepared(line, named, refused, place):
    assert named in refused(line)
    assert not (place / "x.h5").exists()


def test_notes_are_flipped_by_noise(done):
    done(PREPARE)
    done("data noise data.h5 --kind salt-and-pepper --strength 0.1 --out noisy.h5")
    noisy = load_sequences("noisy.h5")
    assert noisy.preparation == PianoRoll().to_json()
    assert 0.01 < (noisy[0].frames != piece(1).frames).float().mean() < 0.1


# --- samples ---------------------------------------------------------------------------------


def test_samples_of_music_are_drawn(run, done):
    for name in ("new.h5", "new.mid", "new.wav", "new.mp4", "new.gif", "new.png"):
        assert done(f"sample run --frames 12 --out {name}") == f"{name}\n"
    drawn = run.sample(12, 1, None, torch.Generator().manual_seed(1))[0]
    made = load_sequences("new.h5")
    assert torch.equal(made[0].frames, drawn)
    assert made.preparation == PianoRoll().to_json()
    again = read_midi("new.mid")
    assert torch.equal(again.frames, drawn)
    assert again.frame_rate == pytest.approx(10 / 3, rel=1e-5)
    with wave.open("new.wav") as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(3.66, abs=0.01)
    assert len(read_video("new.mp4").frames) == 90  # 12 frames at 10/3, 25 pictures a second
    assert len(read_video("new.gif").frames) == 12


def test_means_are_no_music_but_can_be_kept_and_seen(run, done, refused):
    done("sample run --frames 12 --means --out means.h5")
    drawn = run.sample_means(12, 1, None, torch.Generator().manual_seed(1))[0]
    assert torch.equal(load_sequences("means.h5")[0].frames, drawn)
    done("sample run --frames 12 --means --out means.png")
    for name in ("means.mid", "means.wav", "means.mp4"):
        assert "expected 0 and 1" in refused(f"sample run --frames 12 --means --out {name}")


def test_a_piece_is_continued_at_its_own_speed(run, done):
    slow = Sequence(piece(4).frames, frame_rate=2.0)
    write_midi("slow.mid", slow)
    done("sample run --frames 9 --prompt slow.mid --prompt-frames 6 --out new.mid")
    made = read_midi("new.mid")
    assert torch.equal(made.frames[:6], slow.frames[:6])
    assert len(made.frames) == 15
    assert made.frame_rate == 2
    drawn = run.sample(9, 1, slow.frames[None, :6], torch.Generator().manual_seed(1))[0]
    assert torch.equal(made.frames[6:], drawn)


def test_pictures_say_what_was_given(run, done, pictures_written):
    shown = pictures_written()
    done("sample run --frames 9 --prompt piece-4.mid --prompt-frames 6 --out new.png")
    done("sample run --frames 9 --prompt piece-4.mid --prompt-frames 6 --out new.h5")
    expected = pianoroll.still(load_sequences("new.h5")[0].frames, given=6)
    assert np.array_equal(shown["new.png"][0], expected)


def test_prompts_have_as_many_frames_a_beat_as_the_run(done):
    done("data music piece-1.mid --frames-per-beat 4 --out data.h5")
    done("train rtrbm --data data.h5 TINY --out run")
    done("sample run --frames 3 --prompt piece-1.mid --prompt-frames 8 --out new.h5")
    made = load_sequences("new.h5")[0].frames
    assert torch.equal(made[:8], piece(1).frames[:4].repeat_interleave(2, dim=0))


def test_quarters_are_no_prompt_for_eighths(run, done, refused):
    assert "jsb.json: prepared in another way" in refused(
        "sample run --prompt jsb.json --prompt-frames 1 --out new.mid"
    )


def test_one_piece_fits_in_a_file(run, done, refused):
    for name in ("new.mid", "new.wav", "new.mp4"):
        assert "has room for one sequence, got 2" in refused(f"sample run --count 2 --out {name}")
    for name in ("new.png", "new.gif"):
        done(f"sample run --count 2 --frames 12 --out {name}")


def test_videos_are_no_music(done, refused):
    done("data balls --n 2 --length 5 --resolution 6 --balls 1 --out balls.h5")
    for name in ("a.mid", "a.wav"):
        assert "the frames are not music" in refused(f"render balls.h5 --out {name}")


def test_motions_are_no_music_and_music_is_no_motion(run, refused):
    assert "format: expected one of" in refused("sample run --frames 3 --out new.bvh")


# --- pictures and sound ----------------------------------------------------------------------


def test_music_is_shown_as_a_roll(done, pictures_written):
    done(PREPARE)
    shown = pictures_written()
    done("render piece-1.mid --out a.png")
    assert np.array_equal(shown["a.png"][0], pianoroll.still(piece(1).frames))
    done("render data.h5 --count 4 --out b.png")
    stills = [pianoroll.still(piece(seed).frames) for seed in (1, 2, 3, 4)]
    assert np.array_equal(shown["b.png"][0], video.grid(stills))
    done("render piece-1.mid --out c.gif")
    pictures, rate = shown["c.gif"]
    assert len(pictures) == 24
    assert rate == pytest.approx(10 / 3)


def test_long_music_is_a_film_or_a_still(done, refused):
    music = Sequence(piece(1).frames.repeat(50, 1), frame_rate=40.0)
    write_midi("long.mid", music)
    assert "1200 frames is too long" in refused("render long.mid --out a.gif")
    done("render long.mid --out a.mp4")
    done("render long.mid --out a.png")
    assert len(read_video("a.mp4").frames) == 750


def test_what_is_not_installed_is_said_in_a_line(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    assert "pip install seqebm[midi]" in refused("render piece-1.mid --out a.png")


def test_music_can_be_heard(done):
    done("render piece-1.mid --out a.wav")
    with wave.open("a.wav") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    expected = sound.synthesised(piece(1).frames.numpy() > 0, 10 / 3)
    np.testing.assert_allclose(samples[: len(expected)], expected[: len(samples)], atol=1e-3)


def test_probabilities_are_shown_by_brightness(done, pictures_written):
    means = Sequences([Sequence(piece(1).frames * 0.5)], PianoRoll().to_json())
    save_sequences("means.h5", means)
    shown = pictures_written()
    done("render means.h5 --out a.png")
    assert np.array_equal(shown["a.png"][0], pianoroll.still(means[0].frames))


# --- denoising -------------------------------------------------------------------------------


def test_music_is_denoised_as_probabilities(run, done, refused):
    done("data noise data.h5 --kind salt-and-pepper --strength 0.1 --out noisy.h5")
    done("denoise run --data noisy.h5 --out clean.h5")
    noisy, clean = load_sequences("noisy.h5"), load_sequences("clean.h5")
    torch.testing.assert_close(clean[0].frames, run.denoise(noisy[0].frames[None])[0])
    for name in ("clean.png", "clean.gif"):
        done(f"denoise run --data noisy.h5 --out {name}")
    for name in ("clean.mid", "clean.wav"):
        one = "denoise run --data piece-1.mid"
        assert "expected 0 and 1" in refused(f"{one} --out {name}")


# --- real data -------------------------------------------------------------------------------


def test_the_chorales_from_file_to_sound(real_data, done):
    folder = real_data("music_polyphonic")
    assert "382 pieces of music, 23134 frames" in done(
        f"data music {folder}/JSB_Chorales.mat --out jsb.h5"
    )
    published = read_benchmark(folder / "jsb-chorales-quarter.json")
    assert torch.equal(load_sequences("jsb.h5")[0].frames, published[0].frames)
    done(f"train rtrbm --data jsb.h5 {TINY} --out run")
    done("sample run --frames 12 --prompt jsb.h5 --out new.mid")
    assert read_midi("new.mid", 1).frame_rate == pytest.approx(2)
    done("render jsb.h5 --out new.mp4")
    assert read_video("new.mp4").frame_rate == 25
