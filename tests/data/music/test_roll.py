"""What frames of music are, as text that goes with them."""

import json

import pytest
import torch
from made import random_roll

from seqebm.data import Sequence, Sequences, load_sequences, save_sequences
from seqebm.data.mocap import Joint, Motion, Preparation, Skeleton
from seqebm.data.music import PianoRoll, binary_roll
from seqebm.data.preparations import read_preparation


def test_a_preparation_goes_through_text_and_files(tmp_path):
    preparation = PianoRoll(3, 24)
    assert read_preparation(preparation.to_json()) == preparation
    music = Sequences([Sequence(random_roll(1))], preparation.to_json())
    save_sequences(tmp_path / "a.h5", music)
    assert read_preparation(load_sequences(tmp_path / "a.h5").preparation) == preparation


def test_preparations_of_motions_are_told_from_those_of_music():
    root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
    jump = Motion(Skeleton([root]), [[0, 7, 0, 0], [0, 8, 0, 0]], frame_rate=30)
    assert isinstance(read_preparation(Preparation.fit([jump]).to_json()), Preparation)
    assert read_preparation("") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "seqebm-other"}, "format: expected one of"),
        ({"format": 3}, "format: expected a value of type str"),
        ({"frames_per_beat": 0}, "frames_per_beat: expected 1 to 960, got 0"),
        ({"frames_per_beat": 2.0}, "frames_per_beat: expected a value of type int"),
        ({"frames_per_beat": True}, "frames_per_beat: expected a value of type int"),
        ({"lowest": 128}, "lowest: expected 0 to 127"),
        ({"lowest": 10**30}, "lowest: expected 0 to 127"),
        ({"lowest": None}, "lowest: expected a value of type int"),
    ],
)
def test_damaged_preparations_are_refused(change, message):
    text = json.dumps({**json.loads(PianoRoll().to_json()), **change})
    with pytest.raises(ValueError, match=message):
        read_preparation(text)


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(TypeError, match=r"frames_per_beat: expected an integer, got 1\.5"):
        PianoRoll(1.5)


def test_only_zeros_and_ones_say_what_sounds():
    frames = random_roll(2)
    assert torch.equal(torch.from_numpy(binary_roll(Sequence(frames))), frames > 0)
    scaled = Sequence(frames * 2 - 1, scale=0.5, offset=0.5)
    assert torch.equal(torch.from_numpy(binary_roll(scaled)), frames > 0)
    with pytest.raises(ValueError, match="draw the notes"):
        binary_roll(Sequence(frames * 0.9))
