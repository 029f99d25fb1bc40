"""Runs that learn backwards: the commands with them, and forwards with files that are mirrored."""

import json

import pytest
import torch

import seqebm
from seqebm.data import Sequences, load_sequences, save_sequences
from seqebm.data.text import Characters
from seqebm.learning import load_training

BOOK = "the cat sat on the mat, and the rat ate it.\nso it goes: " * 30
VOCABULARY = Characters.of([BOOK])
SOME = "--set window=20 --set context=5 --set steps=5"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder of a test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def texts(place, done):
    """Files text.h5 and txet.h5, and runs that learned one backwards and the other forwards."""
    (place / "book.txt").write_text(BOOK)
    done("data text book.txt --shares 60:20:20 --out text.h5")
    mirror("text.h5", "txet.h5")
    done(f"train gru --data text.h5 TINY {SOME} --set backwards=true --out run")
    done(f"train gru --data txet.h5 TINY {SOME} --out mirrored")
    return seqebm.load("mirrored")


@pytest.fixture
def videos(place, done):
    """Files video.h5 and oediv.h5 of two lengths, and runs as those of texts."""
    one, other = torch.rand(2, 9, 16, generator=torch.Generator().manual_seed(1))
    ragged = Sequences.from_frames(torch.stack([one, other]), torch.tensor([9, 6]), shape=(4, 4))
    save_sequences("video.h5", ragged)
    mirror("video.h5", "oediv.h5")
    done("train rnn --data video.h5 TINY --set backwards=true --out run")
    done("train rnn --data oediv.h5 TINY --out mirrored")
    return seqebm.load("mirrored")


def mirror(source, target):
    """Write the sequences of a file with their times reversed, by other means than `backwards`."""
    sequences = load_sequences(source)
    for one in sequences:
        name = "symbols" if hasattr(one, "symbols") else "frames"
        values = getattr(one, name)
        object.__setattr__(one, name, values[torch.arange(len(one) - 1, -1, -1)])
    save_sequences(target, sequences)


def frames_of(path):
    return [one.frames for one in load_sequences(path)]


def assert_mirrored(path, other):
    """Sequences of both files are each other's mirror images, and not their own."""
    for one, two in zip(frames_of(path), frames_of(other), strict=True):
        assert torch.equal(one, two.flip(0))
        assert not torch.equal(one, two)


# --- texts -----------------------------------------------------------------------------------


def test_texts_are_learned_from_their_ends(texts):
    learned = seqebm.load("run").state_dict()
    for name, values in texts.state_dict().items():
        assert torch.equal(learned[name], values)
    records = [load_training(f"{run}/model.h5")[1]["history"] for run in ("run", "mirrored")]
    assert [one["bits"] for one in records[0]] == [one["bits"] for one in records[1]]


def test_texts_are_measured_from_their_ends(texts, done):
    found = done("evaluate run --data text.h5 --learning 0.1 --json")
    assert found == done("evaluate mirrored --data txet.h5 --learning 0.1 --json")
    assert found != done("evaluate mirrored --data text.h5 --learning 0.1 --json")
    first = done("evaluate run --data text.h5").splitlines()[0]
    assert first == f"Bits per character, {len(BOOK) // 5} of them, from the last to the first"


def test_surprise_is_drawn_so_that_it_can_be_read(texts, done, pictures_written, monkeypatch):
    drawn = []
    monkeypatch.setattr("seqebm.text.heat_map", lambda *parts: drawn.append(parts))
    pictures_written()
    done("evaluate run --data text.h5 --picture a.png")
    done("evaluate mirrored --data txet.h5 --picture b.png")
    (labels, bits), (other_labels, other_bits) = drawn
    assert "".join(labels) == VOCABULARY.decode(load_sequences("text.h5").split("test")[0].symbols)
    assert labels == other_labels[::-1]
    assert torch.equal(bits, other_bits.flip(0))


def test_texts_are_written_before_an_ending(texts, done):
    backwards = done("sample run --frames 30 --count 2 --prompt ate").split("\n\n")
    forwards = done("sample mirrored --frames 30 --count 2 --prompt eta").split("\n\n")
    assert [one.rstrip("\n") for one in backwards] == [one.rstrip("\n")[::-1] for one in forwards]
    assert all(one.rstrip("\n").endswith("ate") for one in backwards)
    assert done("sample run --frames 30") == done("sample mirrored --frames 30")[-2::-1] + "\n"
    done("sample run --frames 30 --prompt ate --out a.h5")
    assert VOCABULARY.decode(load_sequences("a.h5")[0].symbols) == backwards[0]


def test_letters_of_several_bytes_are_written_whole(place, done):
    (place / "raw").write_bytes("naïve ☃ ".encode() * 20)
    done("data text raw --bytes --out raw.h5")
    done("train gru --data raw.h5 TINY --set window=20 --set backwards=true --out run")
    assert done("sample run --frames 5 --prompt ☃ï").endswith("☃ï\n")


# --- videos ----------------------------------------------------------------------------------


def test_videos_are_measured_from_their_ends(videos, done):
    line = "--prompt 2 --json"
    found = json.loads(done(f"evaluate run --data video.h5 {line}"))
    assert found == json.loads(done(f"evaluate mirrored --data oediv.h5 {line}"))
    assert found != json.loads(done(f"evaluate mirrored --data video.h5 {line}"))


def test_videos_end_as_the_prompt_does(videos, done):
    done("sample run --frames 4 --prompt video.h5 --prompt-frames 3 --out a.h5")
    done("sample mirrored --frames 4 --prompt oediv.h5 --prompt-frames 3 --out b.h5")
    assert_mirrored("a.h5", "b.h5")
    assert torch.equal(frames_of("a.h5")[0][-3:], frames_of("video.h5")[0][-3:])


@pytest.mark.parametrize("line", ["", "--sweeps 1 --mask mask.h5"])
def test_videos_are_denoised_in_their_own_order(videos, done, line):
    masks = [(frames > 0.3).float() for frames in frames_of("video.h5")]
    ones = [seqebm.data.Sequence(mask, shape=(4, 4)) for mask in masks]
    save_sequences("mask.h5", Sequences(ones))
    mirror("mask.h5", "ksam.h5")
    done(f"denoise run --data video.h5 {line} --out a.h5")
    done(f"denoise mirrored --data oediv.h5 {line.replace('mask.h5', 'ksam.h5')} --out b.h5")
    assert_mirrored("a.h5", "b.h5")


def test_a_film_is_denoised_as_a_whole(videos, done, pictures_written):
    shown = pictures_written()
    done("denoise run --data video.h5 --out a.mp4")
    done("denoise run --data video.h5 --out a.h5")
    done("render a.h5 --out b.mp4")
    assert (shown["a.mp4"][0] == shown["b.mp4"][0]).all()


def test_hidden_units_stand_beside_their_frames(videos, done):
    done("data hiddens run --data video.h5 --out a.h5")
    done("data hiddens mirrored --data oediv.h5 --out b.h5")
    assert_mirrored("a.h5", "b.h5")


def test_what_has_no_order_in_common_is_refused(videos, refused):
    line = "evaluate run --data video.h5 --prompt 2 --likelihood --against mirrored"
    assert "--against: expected a run in the same order of time" in refused(line)
    line = "train rnn --data balls TINY --set backwards=true --out balls"
    assert "backwards: goes with data from a file" in refused(line)


def test_a_stopped_run_goes_on(videos, done, refused):
    line = "train rnn --data video.h5 TINY --out run --resume"
    assert "3 steps" in done(f"{line} --set backwards=true")
    assert "this run was begun with another backwards" in refused(line)
