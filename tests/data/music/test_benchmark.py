"""The benchmark of polyphonic music in MATLAB files and JSON."""

import json
import random

import numpy as np
import pytest
import torch
from made import chords
from scipy.io import savemat

from seqebm.data import load_sequences
from seqebm.data.music import PianoRoll, read_benchmark

PIECES = {"train": [[[60, 64], []], [[21]]], "valid": [[[108, 21]]], "test": [[[62], [62], [65]]]}


def write_json(path, pieces):
    path.write_text(json.dumps(pieces))
    return path


def write_mat(path, rolls):
    """Rolls of each split, as cell arrays."""
    cells = {}
    for split, given in rolls.items():
        cells[f"{split}data"] = np.empty((1, len(given)), dtype=object)
        for n, roll in enumerate(given):
            cells[f"{split}data"][0, n] = roll
    savemat(path, cells)
    return path


def rolls_of(pieces):
    def roll(piece):
        made = np.zeros((len(piece), 88), dtype=np.uint8)
        for row, pitches in zip(made, piece, strict=True):
            row[[pitch - 21 for pitch in pitches]] = 1
        return made

    return {split: [roll(piece) for piece in given] for split, given in pieces.items()}


@pytest.fixture(params=["json", "mat"])
def music(request, tmp_path):
    if request.param == "json":
        return read_benchmark(write_json(tmp_path / "some.json", PIECES))
    return read_benchmark(write_mat(tmp_path / "some.mat", rolls_of(PIECES)))


def test_pieces_have_their_notes_names_and_splits(music):
    assert [one.name for one in music] == ["train 1", "train 2", "valid 1", "test 1"]
    assert [one.split for one in music] == ["train", "train", "valid", "test"]
    assert [chords(one) for one in music] == [
        [[60, 64], []],
        [[21]],
        [[21, 108]],
        [[62], [62], [65]],
    ]
    assert {(one.unit, one.frame_rate) for one in music} == {("note", 4.0)}
    assert PianoRoll.from_json(music.preparation) == PianoRoll(2, 21)


@pytest.mark.parametrize("name", ["jsb-x.json", "JSB_x.json"])
def test_frames_of_chorales_are_quarters(tmp_path, name):
    music = read_benchmark(write_json(tmp_path / name, PIECES))
    assert PianoRoll.from_json(music.preparation).frames_per_beat == 1
    assert music[0].frame_rate == 2


def test_load_sequences_tells_music_from_motion_by_the_variables(tmp_path):
    made = load_sequences(write_mat(tmp_path / "a.mat", rolls_of(PIECES)))
    assert PianoRoll.from_json(made.preparation)
    savemat(tmp_path / "b.mat", {"train_data": np.zeros((9, 2)), "test_data": np.ones((9, 2))})
    assert load_sequences(tmp_path / "b.mat").preparation == ""
    savemat(tmp_path / "c.mat", {"weights": np.zeros(3)})
    with pytest.raises(ValueError, match=r"traindata.*Motion.*found weights"):
        load_sequences(tmp_path / "c.mat")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([[[20]]], "train 1: expected pitches from 21 to 108, got 20"),
        ([[[60]], [[109]]], "train 2: expected pitches from 21 to 108, got 109"),
        ([[[60.0]]], "got 60.0"),
        ([[[True]]], "got True"),
        ([[["60"]]], "got '60'"),
        ([[[10**400]]], "got 1000"),
        ([[[-1]]], "got -1"),
        ([[60]], "train 1: expected a value of type list, got 60"),
        ([60], "train 1: expected a value of type list, got 60"),
        ({"a": 1}, "train: expected a value of type list"),
        (None, "train: expected a value of type list"),
        ([[]], "frames must be"),
    ],
)
def test_json_that_is_no_music(tmp_path, train, message):
    path = write_json(tmp_path / "a.json", {**PIECES, "train": train})
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_sequences(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 10**5, b'{"train": [[[6' * 9]
)
def test_files_that_are_no_json(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_sequences(path)


def test_enormous_json_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="at most 16777216 bytes, got 1099511627776"):
        load_sequences(path)


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (np.full((3, 88), 2), "expected zeros and ones"),
        (np.full((3, 88), 0.5), "expected zeros and ones"),
        (np.zeros((3, 87)), r"expected zeros and ones \[time, 88\], got \(3, 87\)"),
        (np.zeros((0, 88)), "has 0 numbers"),
    ],
)
def test_matrices_that_are_no_rolls(tmp_path, roll, message):
    path = write_mat(tmp_path / "a.mat", {**rolls_of(PIECES), "valid": [roll]})
    with pytest.raises(ValueError, match=f"^{path}: validdata{{1}}.*{message}"):
        load_sequences(path)


def outcome(path):
    """The music, or the message of the ValueError."""
    try:
        return load_sequences(path), None
    except ValueError as caught:
        return None, str(caught)


@pytest.mark.parametrize("kind", ["json", "mat"])
def test_damaged_files_are_refused_or_make_rolls(tmp_path, kind):
    write = {"json": write_json, "mat": lambda p, pieces: write_mat(p, rolls_of(pieces))}[kind]
    whole, rng, refused = write(tmp_path / f"a.{kind}", PIECES).read_bytes(), random.Random(1), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / f"a.{kind}").write_bytes(damaged[: rng.choice([None, rng.randrange(200)])])
        found, message = outcome(tmp_path / f"a.{kind}")
        assert (found is None) == (message is not None)
        if found is not None:
            assert set(torch.cat([one.frames for one in found]).unique().tolist()) <= {0, 1}
        else:
            assert message.startswith(f"{tmp_path}/a.{kind}: ")
            refused += 1
    assert refused > 100


# --- real files ------------------------------------------------------------------------------

COUNTS = {
    "JSB_Chorales": [(229, 13807), (76, 4602), (77, 4725)],
    "MuseData": [(524, 245202), (135, 82755), (124, 64339)],
    "Nottingham": [(694, 176561), (173, 45513), (170, 44463)],
    "Piano_midi": [(87, 75911), (12, 8540), (25, 19036)],
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_published_files(name, real_data):
    music = load_sequences(real_data("music_polyphonic") / f"{name}.mat")
    parts = [music.split(split) for split in ("train", "valid", "test")]
    assert [(len(part), int(part.lengths.sum())) for part in parts] == COUNTS[name]


def test_the_chorales_are_the_same_in_both_files(real_data):
    folder = real_data("music_polyphonic")
    files = ("JSB_Chorales.mat", "jsb-chorales-quarter.json")
    matrices, lists = (load_sequences(folder / name) for name in files)
    assert matrices.preparation == lists.preparation
    for one, other in zip(matrices, lists, strict=True):
        assert (one.name, one.split, one.frame_rate) == (other.name, other.split, 2)
        assert torch.equal(one.frames, other.frames)
