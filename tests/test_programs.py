"""The programs of the repository, which are the documentation that runs."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seqebm
from seqebm import scenes
from seqebm.data import Sequences, bouncing_balls, load_sequences, read_video, save_sequences
from seqebm.data.mocap import (
    Joint,
    Motion,
    Skeleton,
    motions,
    prepared,
    read_bvh,
    read_preparation,
)
from seqebm.learning import runs
from seqebm.learning.recipes import Recipe

ROOT = Path(__file__).parents[1]
SAMPLING = sorted((ROOT / "sampling").glob("*.py"))
DATASETS = sorted((ROOT / "datasets").glob("*.py"))
PROGRAMS = SAMPLING + DATASETS
SIDE, LENGTH = 10, 14


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with videos and a tiny run, whose parameters are large enough to matter."""
    folder = tmp_path_factory.mktemp("home")
    generator = torch.Generator().manual_seed(1)
    videos = bouncing_balls(3, LENGTH, SIDE, 1, generator=generator)
    sequences = Sequences.from_frames(videos, shape=(SIDE, SIDE), frame_rate=20.0)
    save_sequences(folder / "data.h5", sequences)
    recipe = Recipe(hidden=4, steps=2, batch=2, gibbs_steps="1")
    path = folder / "data.h5"
    model, _ = runs.start(folder / "run", recipe, str(path), sequences, progress=False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    seqebm.save(model, folder / "run" / "model.h5")
    return folder


def run(name, *arguments):
    """What a sampling program says, run as a person would."""
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "sampling" / name, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def panels(count):
    """Height and width of captioned pictures of 18 × 10 pixels a side, beside each other."""
    return 232, count * 192 + 10


# --- what they make --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("continue_video.py", panels(2)),
        ("denoise.py", panels(3)),
        ("predict.py", panels(3)),
    ],
)
def test_programs_that_show_a_video_beside_what_the_model_makes_of_it(name, shape, home, tmp_path):
    assert run(name, home / "run", home / "data.h5", tmp_path / "new.mp4") == ""
    shown = read_video(tmp_path / "new.mp4")
    assert shown.shape == shape
    assert shown.frame_rate == 20
    assert len(shown.frames) == LENGTH
    truth = load_sequences(home / "data.h5")[0].frames.reshape(-1, SIDE, SIDE)
    where = shape[1] - 191 if name == "denoise.py" else 11
    pixels = shown.frames.reshape(-1, *shape)[:, 41 + 9 : 221 : 18, where + 9 :: 18][..., :SIDE]
    assert float((pixels - truth).abs().mean()) < 0.05


@pytest.mark.slow
def test_samples(home, tmp_path):
    assert run("sample.py", home / "run", tmp_path / "new.mp4") == ""
    shown = read_video(tmp_path / "new.mp4")
    assert shown.shape == (3 * 122, 3 * 122)
    assert len(shown.frames) == 200


def test_weights(home, tmp_path):
    assert run("weights.py", home / "run", tmp_path / "new.png") == ""
    expected = scenes.weights(seqebm.load(home / "run"), (SIDE, SIDE))
    with Image.open(tmp_path / "new.png") as image:
        assert np.array_equal(np.asarray(image), expected[0])


def test_a_stream_says_what_the_whole_video_gives(home):
    lines = run("stream.py", home / "run", home / "data.h5").splitlines()
    model, frames = seqebm.load(home / "run"), load_sequences(home / "data.h5")[0].frames
    errors = (model.predict(frames[None])[0] - frames).square().sum(1)
    hidden = model.filter(frames[None])[0].mean(1)
    assert len(lines) == LENGTH
    for t, line in enumerate(lines):
        found = re.fullmatch(r"frame +(\d+): error +([\d.]+), mean hidden activity ([\d.]+)", line)
        assert int(found[1]) == t
        assert float(found[2]) == pytest.approx(float(errors[t]), abs=2e-3)
        assert float(found[3]) == pytest.approx(float(hidden[t]), abs=2e-3)


def imported(path):
    """A program as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bouncing(monkeypatch):
    """The recipe of the bouncing balls with a few small videos in place of thousands."""
    module = imported(ROOT / "datasets" / "bouncing_balls.py")

    def make(n, seed, split):
        generator = torch.Generator().manual_seed(seed)
        videos = bouncing_balls(n // 40, 12, SIDE, 1, generator=generator)
        return Sequences.from_frames(videos, shape=(SIDE, SIDE), split=split)

    monkeypatch.setattr(module, "make", make)
    return module


def assert_balls(folder):
    for name, count in (("train", 100), ("test", 5)):
        made = load_sequences(folder / f"{name}.h5")
        assert len(made) == count
        assert {one.split for one in made} == {name}


def test_the_bouncing_balls_are_written_and_measured(bouncing, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bouncing_balls.py", str(tmp_path / "a" / "b")])
    bouncing.main()
    assert_balls(tmp_path / "a" / "b")
    said = capsys.readouterr().out
    for name in ("train.h5", "test.h5", "mean frame", "copy last", "ridge AR(4)"):
        assert name in said


def test_the_bouncing_balls_go_to_the_folder_of_the_data(bouncing, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bouncing_balls.py"])
    monkeypatch.setenv("SEQEBM_DATA", str(tmp_path / "here"))
    bouncing.main()
    assert_balls(tmp_path / "here" / "bouncing_balls")
    monkeypatch.delenv("SEQEBM_DATA")
    monkeypatch.chdir(tmp_path)
    bouncing.main()
    assert_balls(tmp_path / "data" / "bouncing_balls")


def test_the_bouncing_balls_are_those_of_the_seeds():
    made = imported(ROOT / "datasets" / "bouncing_balls.py").make(3, 2, "test")
    expected = bouncing_balls(3, 100, 30, 3, 1.2, generator=torch.Generator().manual_seed(2))
    assert len(made) == 3
    for one, frames in zip(made, expected, strict=True):
        assert torch.equal(one.frames, frames)
        assert (one.shape, one.unit, one.split) == ((30, 30), "grey level", "test")


def test_a_walk_is_continued_beside_the_truth(tmp_path):
    hip = Joint("hip", -1, channels=("tx", "ty", "tz", "ry"))
    body = Skeleton([hip, Joint("knee", 0, (0, -4, 0), ("rx",)), Joint("foot", 1, (0, -4, 0))])
    values = np.random.default_rng(1).normal(size=(2, 45, 5)).cumsum(1) * 0.1
    walks = prepared([Motion(body, one, 30.0, str(n)) for n, one in enumerate(values)])
    save_sequences(tmp_path / "walks.h5", walks)
    recipe = Recipe(hidden=4, steps=2, batch=2, gibbs_steps="1", visible="gaussian")
    data = str(tmp_path / "walks.h5")
    model, _ = runs.start(tmp_path / "run", recipe, data, walks, progress=False)
    assert run("continue_motion.py", tmp_path / "run", data, tmp_path / "new.mp4") == ""
    assert read_video(tmp_path / "new.mp4").frames.shape[0] == 45
    prompt = walks[0].frames[None, :30]
    drawn = model.sample_means(15, prefix=prompt, generator=torch.Generator().manual_seed(1))
    whole = read_preparation(walks.preparation).motion(torch.cat([prompt, drawn], 1)[0])
    written = read_bvh(tmp_path / "new.bvh").positions()
    np.testing.assert_allclose(written, whole.positions(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "folder", "files", "said"),
    [
        ("mit_walking", "mocap_mit_taylor", ["mit_walking", "mit_walking_all"], "5.33 ± 0.71"),
        ("cmu_mocap", "mocap_cmu35", ["cmu35"], "6.426"),
    ],
)
def test_motion_capture_is_prepared_and_measured(
    name, folder, files, said, real_data, tmp_path, monkeypatch, capsys
):
    arguments = [f"{name}.py", str(real_data(folder)), str(tmp_path / "a")]
    monkeypatch.setattr(sys, "argv", arguments)
    imported(ROOT / "datasets" / f"{name}.py").main()
    assert said in capsys.readouterr().out
    assert sorted(path.stem for path in (tmp_path / "a").iterdir()) == files
    for file in files:
        made = load_sequences(tmp_path / "a" / f"{file}.h5")
        assert {one.split for one in made} >= {"train", "test"}
        assert len(motions(made[:1])[0]) == len(made[0].frames)


# --- what they are ---------------------------------------------------------------------------


def test_there_is_a_test_for_every_program():
    assert {path.name for path in SAMPLING} == {
        "continue_motion.py",
        "continue_video.py",
        "denoise.py",
        "predict.py",
        "sample.py",
        "stream.py",
        "weights.py",
    }
    known = {"bouncing_balls.py", "cmu_mocap.py", "mit_walking.py"}
    assert {path.name for path in DATASETS} == known


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_is_at_most_a_page(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_says_how_to_run_it(path):
    source = path.read_text()
    assert source.startswith('"""')
    assert f"python {path.parent.name}/{path.name} " in source.split('"""')[1]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_uses_public_names_only(path):
    assert not re.search(r"(import|\.) ?_[a-z]", path.read_text())
