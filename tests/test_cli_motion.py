"""The commands on motion capture: made-up walks, from recordings to files that others can open."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY

import seqebm
from seqebm import figures
from seqebm.data import load_sequences
from seqebm.data.mocap import (
    Joint,
    Motion,
    Skeleton,
    motions,
    read_amc,
    read_bvh,
    read_motion,
    read_preparation,
    write_motion,
)
from seqebm.data.noise import missing_stretch, white
from seqebm.evaluate import joint_distance

ROOT = ("tx", "ty", "tz", "rx", "ry", "rz")


def leg():
    """A body as Acclaim files have it: bones that begin where others end."""
    joints = [
        Joint("root", -1, channels=ROOT),
        Joint("femur", 0, (0, 0, 0), ("rx", "rz")),
        Joint("tibia", 1, (0, -4, 0), ("rx",)),
        Joint("tibia tip", 2, (0, -4, 0)),
    ]
    return Skeleton(joints, fixed_axes=True)


def walk(seed=1, time=60, skeleton=None):
    """A body whose limbs swing and whose root goes along a curve, at 60 frames a second."""
    joints = [
        Joint("hip", -1, channels=ROOT),
        Joint("lknee", 0, (1, -4, 0), ("rx", "ry")),
        Joint("lfoot", 1, (0, -4, 0), ("rx",)),
        Joint("rknee", 0, (-1, -4, 0), ("rx", "ry")),
        Joint("rfoot", 3, (0, -4, 0), ("rx",)),
        Joint("toe", 4, (0, 0, 1)),
    ]
    rng = np.random.default_rng(seed)
    phase, t = rng.uniform(0, 6, size=12), np.arange(time)[:, None] / 60
    skeleton = skeleton or Skeleton(joints)
    values = 0.3 * np.sin(2 * np.pi * t + phase[: len(skeleton.channels)])
    values[:, 4] = 0.8 * t[:, 0]
    values[:, :3] = 3 * np.concatenate([np.sin(t), 3 + 0.1 * values[:, :1], t], axis=1)
    return Motion(skeleton, values, 60.0, name=f"walk-{seed}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Recordings, prepared data, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("home")
    for seed in (1, 2, 3, 4):
        write_motion(folder / f"walk-{seed}.bvh", walk(seed))
    return folder


@pytest.fixture(autouse=True)
def place(home, tmp_path, monkeypatch):
    """The current folder of a test: a copy of the home, which it may change."""
    shutil.copytree(home, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


FILES = "walk-1.bvh walk-2.bvh walk-3.bvh walk-4.bvh"
PREPARE = f"data mocap {FILES} --frame-rate 30 --valid walk-3 --test walk-4 --out data.h5"


@pytest.fixture
def run(done):
    """A folder with data.h5 and a trained run."""
    done(PREPARE)
    done("train rtrbm --data data.h5 --visible gaussian --set order=2 TINY --out run")
    return seqebm.load("run")


# --- data ------------------------------------------------------------------------------------


def test_recordings_are_prepared_by_those_to_train_on(done):
    said = done(PREPARE)
    assert said == "data.h5: 4 motions, 120 frames of 14 values, 30 a second\n"
    data = load_sequences("data.h5")
    assert [one.split for one in data] == ["train", "train", "valid", "test"]
    assert data.lengths.tolist() == [30] * 4
    training = torch.cat([one.frames for one in data.split("train")])
    torch.testing.assert_close(training.mean(0), torch.zeros(14), atol=1e-5, rtol=0)
    torch.testing.assert_close(training.std(0), torch.ones(14), atol=1e-5, rtol=0)
    for one, seed in zip(motions(data), (1, 2, 3, 4), strict=True):
        assert one.name == f"walk-{seed}"
        recorded = read_bvh(f"walk-{seed}.bvh")
        taken = Motion(recorded.skeleton, recorded.values[::2], 30)
        assert joint_distance(one, _facing_alike(one, taken)) < 1e-3


def _facing_alike(motion, recorded):
    """The recording where the motion is: both go on from the same place and heading."""
    preparation = read_preparation(load_sequences("data.h5").preparation)
    frames = preparation.frames(recorded)
    assert len(frames) == len(motion)
    return preparation.motion(frames)


def test_a_folder_of_recordings_is_prepared_as_its_files_are(done):
    done(PREPARE)
    done("data mocap . --frame-rate 30 --valid walk-3 --test walk-4 --out folder.h5")
    data, folder = load_sequences("data.h5"), load_sequences("folder.h5")
    assert folder.preparation == data.preparation
    assert [one.name for one in folder] == [one.name for one in data]


def test_joints_may_turn_in_six_numbers(done):
    done(f"data mocap {FILES} --out data.h5 --rotations six-numbers")
    assert "lknee.xx" in read_preparation(load_sequences("data.h5").preparation).names


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("data mocap nowhere.bvh --out x.h5", "nowhere.bvh: no such file"),
        ("data mocap run --out x.h5", "run: expected a file of type .amc, .bvh"),
        ("data mocap .. --out x.h5", "..: holds no .amc or .bvh"),
        ("data mocap walk-1.bvh --test walk-9 --out x.h5", "there is no 'walk-9'"),
        ("data mocap walk-1.bvh --test walk-1 --out x.h5", "motions: expected one or more"),
        ("data mocap walk-1.bvh --frame-rate 50 --out x.h5", "is not a multiple of 50"),
        ("data mocap walk-1.bvh --rotations euler --out x.h5", "'euler' is not one of"),
        ("data mocap nowhere.mat --out x.h5", "nowhere.mat: no such file"),
    ],
)
def test_recordings_that_cannot_be_prepared(line, named, refused, place):
    assert named in refused(line)
    assert not (place / "x.h5").exists()


def test_what_joints_do_can_be_missing_for_a_while(done):
    done(PREPARE)
    done(
        "data noise data.h5 --kind white --strength 0.1 --missing stretch --share 0.4 "
        "--joints lknee,lfoot --out noisy.h5 --mask-out mask.h5 --seed 3"
    )
    data, noisy, masks = (load_sequences(f"{name}.h5") for name in ("data", "noisy", "mask"))
    assert noisy.preparation == data.preparation != ""
    names = read_preparation(data.preparation).names
    hidden = torch.tensor([name.startswith(("lknee", "lfoot")) for name in names])
    random = torch.Generator().manual_seed(3)
    for one, spoilt, mask in zip(data, noisy, masks, strict=True):
        expected = white(one.frames, 0.1, random)
        seen = missing_stretch(one.frames, 0.4, random) | ~hidden
        assert torch.equal(mask.frames, seen.float())
        assert torch.equal(spoilt.frames, expected * seen)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--missing frames --joints lknee,tail", "there is no 'tail' that moves, there are hip"),
        ("--kind white --joints lknee", "--joints: go with --missing"),
        ("--kind gaussian", "--kind: expected white, for motions are no grey levels"),
    ],
)
def test_joints_that_cannot_be_missing(line, named, done, refused):
    done(PREPARE)
    assert named in refused(f"data noise data.h5 {line} --out x.h5")


# --- training and evaluation -----------------------------------------------------------------


def test_a_run_knows_how_its_frames_were_prepared(run):
    form = json.loads(Path("run/recipe.json").read_text())["format"]
    assert form["preparation"] == load_sequences("data.h5").preparation
    assert form["frame_rate"] == 30


@pytest.mark.parametrize("model", ["rbm", "trbm", "rtrbm", "gru"])
@pytest.mark.parametrize("preset", ["motion", "motion-prediction"])
def test_the_presets_train_every_model(model, preset, done):
    done(PREPARE)
    small = "--set hidden=4 --set steps=2 --set batch=2 --set gibbs_steps=1"
    said = done(f"train {model} --data data.h5 --preset {preset} {small} --out run")
    assert "next-frame error on held-out sequences" in said
    report = json.loads(done("evaluate run --data data.h5 --prompt 5 --json"))
    assert report["next_frame"]["copy last"]["sequences"] == 1


def test_evaluation_scores_samples_where_asked(run, done):
    report = json.loads(done("evaluate run --data data.h5 --prompt 5 --samples 4 --json"))
    scores = report["energy"]
    assert list(scores) == ["1", "2", "5", "10", "20"]
    assert list(scores["1"]) == ["RTRBM", "AR(3), Gaussian noise"]
    text = done("evaluate run --data data.h5 --prompt 5 --samples 4")
    assert "Energy score of 4 samples from 5 frames, horizon 10" in text


# --- samples ---------------------------------------------------------------------------------


def test_samples_become_motions_that_others_can_open(run, done):
    for name in ("new.bvh", "new.h5", "new.mp4", "new.gif", "new.png"):
        assert done(f"sample run --frames 20 --out {name}") == f"{name}\n"
    drawn = run.sample_means(20, 1, None, torch.Generator().manual_seed(1))
    made = load_sequences("new.h5")
    assert torch.equal(made[0].frames, drawn[0])
    (motion,) = motions(made)
    again = read_bvh("new.bvh")
    assert again.frame_rate == pytest.approx(30)
    assert again.skeleton.names == [*motion.skeleton.names[:-1], "rfoot tip"]
    np.testing.assert_allclose(again.positions(), motion.positions(), atol=1e-6)


def test_samples_of_acclaim_recordings_have_their_skeleton(done):
    for seed in (1, 2):
        write_motion(f"a-{seed}.amc", walk(seed, skeleton=leg()))
    done("data mocap a-1.amc a-2.amc --frame-rate 30 --out data.h5")
    done("train trbm --data data.h5 --visible gaussian TINY --out run")
    done("sample run --frames 20 --out new.amc")
    assert len(read_amc("new.amc")) == 20
    assert Path("new.asf").exists()


def test_a_recording_is_continued(run, done):
    done("sample run --frames 9 --prompt walk-4.bvh --prompt-frames 6 --out new.h5")
    prompt = load_sequences("data.h5")[3].frames
    made = load_sequences("new.h5")[0].frames
    assert torch.equal(made[:6], prompt[:6])
    assert len(made) == 15


def test_data_that_were_prepared_in_another_way_are_no_prompt(run, done, refused):
    done(f"data mocap {FILES} --frame-rate 30 --out other.h5")
    assert "other.h5: prepared in another way" in refused(
        "sample run --prompt other.h5 --out new.h5"
    )


def test_one_motion_fits_in_a_file(run, refused):
    assert "has room for one sequence, got 2" in refused("sample run --count 2 --out new.bvh")


def test_runs_on_videos_make_no_motions(done, refused):
    done("data balls --n 2 --length 5 --resolution 6 --balls 1 --out balls.h5")
    done("train rtrbm --data balls.h5 TINY --out run")
    assert "not prepared motions" in refused("sample run --frames 3 --out new.bvh")


# --- denoising -------------------------------------------------------------------------------


def test_a_missing_limb_is_filled_in(run, done):
    done(
        "data noise data.h5 --missing stretch --share 0.3 --joints lknee,lfoot "
        "--out noisy.h5 --mask-out mask.h5"
    )
    for name in ("clean.h5", "clean.bvh", "clean.mp4", "clean.gif"):
        done(f"denoise run --data noisy.h5 --mask mask.h5 --out {name}")
    noisy, masks, made = (load_sequences(f"{name}.h5") for name in ("noisy", "mask", "clean"))
    for one, mask, clean in zip(noisy, masks, made, strict=True):
        seen = mask.frames[None] > 0.5
        expected = run.denoise(one.frames[None], seen)[0]
        torch.testing.assert_close(clean.frames, expected)
    np.testing.assert_allclose(
        read_motion("clean.bvh").positions(), motions(made)[0].positions(), atol=1e-6
    )
    done("denoise run --data noisy.h5 --mask mask.h5 --keep --out kept.h5")
    for one, mask, clean, kept in zip(noisy, masks, made, load_sequences("kept.h5"), strict=True):
        seen = mask.frames > 0.5
        assert torch.equal(kept.frames, torch.where(seen, one.frames, clean.frames))


def test_the_quality_of_motions_is_that_of_their_joints(run, done):
    done("data noise data.h5 --kind white --strength 0.2 --out noisy.h5")
    line = "denoise run --data noisy.h5 --clean data.h5 --out new.h5"
    report = json.loads(done(f"{line} --json"))
    data, noisy = load_sequences("data.h5"), load_sequences("noisy.h5")
    distances = [joint_distance(a, b) for a, b in zip(motions(data), motions(noisy), strict=True)]
    assert report["noisy"]["distance"] == pytest.approx(np.mean(distances), rel=1e-4)
    assert report["noisy"]["mse"] == pytest.approx(0.04, rel=0.2)
    assert report["noisy"]["unit"] == "units"
    assert report["frames"] == 120
    assert "units away" in done(f"{line} --side-by-side both.mp4")
    assert load_sequences("both.mp4").lengths.tolist() == [30]


# --- videos ----------------------------------------------------------------------------------


def test_recordings_and_data_are_shown_as_figures(done, pictures_written):
    done(PREPARE)
    shown = pictures_written()
    done("render walk-1.bvh --out a.mp4")
    recorded = figures.resampled(read_bvh("walk-1.bvh"), 30)
    assert np.array_equal(shown["a.mp4"][0], figures.figure(recorded))
    assert shown["a.mp4"][1] == 30
    done("render data.h5 --count 4 --out b.mp4")
    pictures, rate = shown["b.mp4"]
    assert rate == 30
    assert pictures.shape[0] == 30
    assert pictures.shape[1] > 512
    write_motion("short.bvh", walk(5, time=20))
    done("data mocap walk-1.bvh short.bvh --out ragged.h5")
    done("render ragged.h5 --count 2 --out d.mp4")
    pictures = shown["d.mp4"][0]
    assert len(pictures) == 60
    assert np.array_equal(pictures[19, :, 260:], pictures[59, :, 260:])
    done("render data.h5 --ghost data.h5 --out c.mp4")
    assert shown["c.mp4"][0].shape == (30, 256, 256, 3)


def test_videos_have_no_ghosts(done, refused):
    done("data balls --n 2 --length 5 --resolution 6 --balls 1 --out balls.h5")
    assert "not prepared motions" in refused("render balls.h5 --ghost balls.h5 --out a.mp4")


# --- real data -------------------------------------------------------------------------------


def test_the_files_of_mit_and_cmu(real_data, done, refused):
    walks = real_data("mocap_mit_taylor")
    assert "39 motions, 3826 frames of 49 values" in done(
        f"data mocap {walks}/data.mat --out mit.h5"
    )
    assert "stand alone" in refused(f"data mocap {walks}/data.mat --test x --out y.h5")
    trials = real_data("mocap_cmu35/cmu35WalkJog.mat")
    assert "33 motions, 2813 frames of 62 values" in done(
        f"data mocap {trials} --test 35_18 --test 35_29 --out cmu.h5"
    )
    assert len(load_sequences("cmu.h5").split("test")) == 2
    done(f"train trbm --data mit.h5 --visible gaussian {TINY} --out run")
    done("sample run --frames 12 --prompt mit.h5 --out new.bvh")
    assert len(read_bvh("new.bvh")) == 22
    assert len(load_sequences("new.bvh")[0].frames) == 22
