"""Recordings in files of any kind as data to learn, and data as motions."""

import json
import random

import numpy as np
import pytest
import torch
from fuzz import mutated
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from seqebm.data import Sequence, Sequences, load_sequences
from seqebm.data.mocap import (
    MIT_COLUMNS,
    Joint,
    MITPreparation,
    Motion,
    Preparation,
    Skeleton,
    body_centred,
    ground_path,
    holds_trials,
    mit_motion,
    mit_walking,
    motions,
    prepared,
    read_amc,
    read_motion,
    read_preparation,
    read_trials,
    write_asf,
    write_motion,
)

ROOT = ("tx", "ty", "tz", "rx", "ry", "rz")
PARENTS = [-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 12, 9, 14, 15, 16]  # of MIT's joints


def tumble(name, time=40, frame_rate=60.0, seed=1):
    arm = [Joint("root", -1, channels=ROOT), Joint("hand", 0, (0, 3, 0), ("rx",))]
    values = np.cumsum(np.random.default_rng(seed).normal(size=(time, 7)) * 0.05, axis=0)
    return Motion(Skeleton(arm), values, frame_rate, name)


def mit_raw(time=50, seed=1):
    """Frames like MIT's: a body that is about upright, and bones whose lengths stay."""
    rng = np.random.default_rng(seed)
    raw = np.tile(rng.normal(size=108), (time, 1))
    angles = np.repeat(np.arange(108) % 6 < 3, 1)
    raw[:, angles] = np.cumsum(rng.normal(size=(time, 54)) * 0.02, axis=0)
    raw[:, 3:6] = np.cumsum(rng.normal(size=(time, 3)), axis=0) + np.array([0, 0, 900])
    fixed = np.setdiff1d(np.flatnonzero(angles), MIT_COLUMNS)
    raw[:, fixed] = 0
    return raw


# --- prepared recordings ---------------------------------------------------------------------


def test_recordings_are_scaled_by_those_to_train_on():
    recordings = [tumble(name, seed=seed) for seed, name in enumerate("abcd")]
    data = prepared(recordings, {"b": "valid", "d": "test"})
    assert [(one.name, one.split) for one in data] == [
        ("a", "train"),
        ("b", "valid"),
        ("c", "train"),
        ("d", "test"),
    ]
    alone = Preparation.fit([recordings[0], recordings[2]])
    assert data.preparation == alone.to_json()
    for one, recording in zip(data, recordings, strict=True):
        assert torch.equal(one.frames, alone.frames(recording))


def test_the_lowest_rate_counts_wherever_it_is():
    data = prepared([tumble("a"), tumble("b", frame_rate=30.0)], {"b": "test"})
    assert data.lengths.tolist() == [20, 40]


def test_names_that_no_recording_has():
    with pytest.raises(ValueError, match="splits: there is no 'x', there are a, b"):
        prepared([tumble("a"), tumble("b")], {"x": "test"})
    with pytest.raises(ValueError, match="motions: expected one or more"):
        prepared([tumble("a")], {"a": "test"})
    with pytest.raises(ValueError, match="motions: expected one or more"):
        prepared([])


def test_sequences_are_motions_again():
    recording = tumble("a")
    (motion,) = motions(prepared([recording]))
    assert motion.name == "a"
    seen = recording.positions() - recording.positions()[:, :1]
    again = motion.positions() - motion.positions()[:, :1]
    np.testing.assert_allclose(np.linalg.norm(again, axis=2), np.linalg.norm(seen, axis=2), 1e-5)


def test_sequences_that_are_no_motions():
    with pytest.raises(ValueError, match="the frames are not prepared motions"):
        motions(Sequences([Sequence(torch.zeros(3, 2))]))
    with pytest.raises(ValueError, match=r"frames: expected \[time, 7\]"):
        motions(Sequences([Sequence(torch.zeros(3, 2))], prepared([tumble("a")]).preparation))


@pytest.mark.parametrize("text", ["{}", "[]", "3", "{", '{"format": "jpeg"}', '{"format": 3}'])
def test_texts_that_are_no_preparation(text):
    with pytest.raises(ValueError, match=r"preparation|format"):
        read_preparation(text)


# --- files -----------------------------------------------------------------------------------


def test_a_motion_goes_to_a_file_of_either_kind(tmp_path):
    bones = [Joint("root", -1, channels=ROOT), Joint("shin", 0, (0, 0, 0), ("rx",))]
    skeleton = Skeleton([*bones, Joint("shin tip", 1, (0, -4, 0))], fixed_axes=True)
    motion = Motion(skeleton, tumble("a").values, 60.0, "kick")
    for name in ("kick.amc", "kick.bvh"):
        write_motion(tmp_path / name, motion)
        np.testing.assert_allclose(
            read_motion(tmp_path / name).positions(), motion.positions(), atol=1e-6
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kick.amc", "kick.asf", "kick.bvh"]
    for call in (lambda: write_motion("kick.fbx", motion), lambda: read_motion("kick.fbx")):
        with pytest.raises(ValueError, match=r"kick.fbx: expected a file of type .amc, .bvh"):
            call()


def test_a_folder_of_recordings_gives_all_of_them(tmp_path):
    for seed, name in enumerate(("b", "a")):
        write_motion(tmp_path / f"{name}.bvh", tumble(name, seed=seed))
    (tmp_path / "notes.txt").write_text("a second attempt")
    read = load_sequences(tmp_path)
    assert [one.name for one in read] == ["a", "b"]
    torch.testing.assert_close(
        read[1].frames.double(), torch.from_numpy(tumble("b", seed=0).values)
    )


# --- MIT -------------------------------------------------------------------------------------


def test_mit_joints_are_where_their_exponential_maps_put_them():
    """Forward kinematics by matrices, joint after joint."""
    raw = mit_raw(5)
    placed = mit_motion(raw, frame_rate=120).positions()
    for frame, expected in zip(raw, placed, strict=True):
        turns, places = [], []
        for k, parent in enumerate(PARENTS):
            turn = Rotation.from_rotvec(frame[6 * k : 6 * k + 3]).as_matrix()
            offset = frame[6 * k + 3 : 6 * k + 6]
            if parent >= 0:
                offset = places[parent] + turns[parent] @ offset
                turn = turns[parent] @ turn
            turns.append(turn)
            places.append(offset)
        np.testing.assert_allclose(expected[:18], places, atol=1e-9)


def test_mit_frames_are_motions_and_motions_frames():
    raw = mit_raw()
    centred = body_centred(raw)[:, MIT_COLUMNS]
    mean, std = centred.mean(0), centred.std(0)
    preparation = MITPreparation(mean, std, raw[0])
    scores = torch.from_numpy((centred - mean) / std)
    motion = preparation.motion(scores, start=ground_path(raw)[0], name="walk")
    recorded = mit_motion(raw, 30.0, "walk")
    np.testing.assert_allclose(motion.positions(), recorded.positions(), atol=1e-4)
    again = preparation.sequence(recorded, split="test")
    torch.testing.assert_close(again.frames, scores.float(), atol=1e-4, rtol=0)
    assert (again.name, again.split, again.frame_rate) == ("walk", "test", 30)
    faster = mit_motion(np.repeat(raw, 4, axis=0), 120.0)
    assert torch.equal(preparation.sequence(faster).frames, again.frames)
    assert len(preparation.names) == 49
    assert preparation.names[6:10] == ["lfemur.x", "lfemur.y", "lfemur.z", "ltibia.y"]


def test_mit_preparations_are_exact_in_json():
    rng = np.random.default_rng(1)
    preparation = MITPreparation(rng.normal(size=49), rng.uniform(1, 2, 49), rng.normal(size=108))
    again = read_preparation(preparation.to_json())
    assert type(again) is MITPreparation
    for name in ("mean", "std", "constants"):
        np.testing.assert_array_equal(getattr(again, name), getattr(preparation, name))


def test_damaged_mit_preparations_are_refused():
    preparation = MITPreparation(np.zeros(49), np.ones(49), np.zeros(108))
    text, rng = preparation.to_json().encode(), random.Random(1)
    for _ in range(300):
        try:
            damaged = mutated(text, rng).decode()
            read_preparation(damaged).motion(torch.zeros(2, 49))
        except ValueError:
            continue
    for key, value in (("mean", [0]), ("std", [0.0] * 49), ("frame_rate", "x"), ("constants", 3)):
        with pytest.raises(ValueError, match=key):
            read_preparation(json.dumps({**json.loads(text), key: value}))


def test_other_motions_are_no_mit_walks():
    preparation = MITPreparation(np.zeros(49), np.ones(49), np.zeros(108))
    with pytest.raises(ValueError, match="another skeleton"):
        preparation.sequence(tumble("a"))
    with pytest.raises(ValueError, match="not a multiple"):
        preparation.sequence(mit_motion(mit_raw(), 50.0))
    for frames in (np.zeros((0, 108)), np.zeros((3, 107)), np.full((3, 108), np.nan)):
        with pytest.raises(ValueError, match="frames: expected"):
            mit_motion(frames, 30.0)


def test_the_walks_stand_on_the_ground(real_data):
    """Toes come down to the floor again and again, and heads stay above: in millimetres."""
    walks = mit_walking(real_data("mocap_mit_taylor"))
    for motion in motions(walks[7:20]):
        heights = motion.positions()[..., 2]
        toes = heights[:, [4, 8]].min(axis=1)
        assert -40 < toes.min() < 40
        assert 1400 < heights[:, motion.skeleton.names.index("head tip")].mean() < 1800


# --- CMU -------------------------------------------------------------------------------------


def made_up_trials(folder, width=62):
    trials = np.repeat(np.eye(31), 3, axis=0)
    tests = np.repeat(np.eye(2), 3, axis=0)
    frames = np.random.default_rng(1).normal(size=(99, width))
    variables = {"Y": frames[:93], "lbls": trials, "Ytest": frames[93:], "lblstest": tests}
    savemat(folder / "trials.mat", variables)
    return frames


def test_trials_are_motions_of_the_skeleton_beside_them(tmp_path):
    frames = made_up_trials(tmp_path)
    spine = [
        Joint(f"bone-{n}", n - 1, (0, 0, 0) if n == 1 else (0, 1, 0), ("rx",)) for n in range(1, 57)
    ]
    bones = [Joint("root", -1, channels=ROOT), *spine, Joint("bone-56 tip", 56, (0, 1, 0))]
    write_asf(tmp_path / "35.asf", Skeleton(bones, fixed_axes=True))
    trials = read_trials(tmp_path / "trials.mat")
    assert len(trials) == 33
    assert [trial.name for trial in trials[-2:]] == ["35_18", "35_29"]
    first = frames[:3] * np.array([1.0] * 3 + [np.pi / 180] * 59)
    np.testing.assert_allclose(trials[0].values, first, rtol=1e-6)
    assert holds_trials(tmp_path / "trials.mat")
    with pytest.raises(FileNotFoundError, match=r"x\.asf"):
        read_trials(tmp_path / "trials.mat", tmp_path / "x.asf")
    write_asf(
        tmp_path / "short.asf", Skeleton([*bones[:3], Joint("bone-2 tip", 2, (0, 1, 0))], True)
    )
    with pytest.raises(ValueError, match="a skeleton of 62 channels"):
        read_trials(tmp_path / "trials.mat", tmp_path / "short.asf")


def test_the_published_trials_are_those_of_the_database(real_data):
    folder = real_data("mocap_cmu35")
    trials = {trial.name: trial for trial in read_trials(folder / "cmu35WalkJog.mat")}
    for name, path in (("35_01", "35_01.amc"), ("35_07", "amc_trimmed/35_07.amc")):
        recorded = read_amc(folder / path)
        taken = recorded.values[::4]
        assert abs(len(taken) - len(trials[name])) <= 1
        count = min(len(taken), len(trials[name]))
        np.testing.assert_allclose(trials[name].values[:count], taken[:count], atol=1e-5)
        assert trials[name].skeleton.channels == recorded.skeleton.channels
    assert not holds_trials(real_data("mocap_mit_taylor/motion.mat"))
