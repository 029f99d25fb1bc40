import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from conftest import KEYS, LENGTH, SIDE, TINY
from PIL import Image

import seqebm
from seqebm import cli, scenes, video
from seqebm.cells import CELLS
from seqebm.data import Sequence, Sequences, bouncing_balls, load_sequences, read_video
from seqebm.data import save_sequences as save_data
from seqebm.data.noise import MASKS, NOISES
from seqebm.evaluate import Quality
from seqebm.learning import load_training, runs, training
from seqebm.learning.recipes import (
    MODELS,
    OUTPUTS,
    ball_videos,
    held_out_videos,
    make_recipe,
)

YARDSTICKS = [
    "mean frame",
    "copy last",
    "linear extrapolation",
    *(f"ridge AR({order})" for order in (1, 2, 3, 4)),
]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def videos(n, seed=1, length=LENGTH, side=SIDE):
    return bouncing_balls(n, length, side, balls=1, generator=generator(seed))


def ball_sequences():
    """Eight videos, of which the last three are held out."""
    return Sequences(
        Sequence(
            frames,
            name=f"video {i}",
            frame_rate=20.0,
            unit="grey level",
            shape=(SIDE, SIDE),
            split="train" if i < 5 else "test",
        )
        for i, frames in enumerate(videos(8))
    )


def ragged_sequences():
    """Three videos of different lengths, with names and a scaling."""
    lengths = (LENGTH, 7, 2)
    return Sequences(
        Sequence(
            frames[:end],
            name=f"number {end}",
            frame_rate=12.5,
            unit="candela",
            shape=(SIDE, SIDE),
            scale=3.0,
            offset=torch.arange(100.0),
        )
        for frames, end in zip(videos(3, seed=2), lengths, strict=True)
    )


def write_mp4(path, frames, side=SIDE):
    video.save(path, video.pictures(frames, (side, side), zoom=4), frame_rate=20.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with small data, a run that was trained on them, and files that are no good."""
    folder = tmp_path_factory.mktemp("home")
    save_data(folder / "data.h5", ball_sequences())
    save_data(folder / "ragged.h5", ragged_sequences())
    save_data(folder / "wide.h5", Sequences.from_frames(videos(4, side=9), shape=(9, 9)))
    save_data(folder / "real.h5", Sequences.from_frames(3 * videos(4) - 1, shape=(SIDE, SIDE)))
    write_mp4(folder / "clip.mp4", videos(1, seed=3)[0])
    make_bad_files(folder)
    make_run(folder / "run", folder / "data.h5")
    return folder


def make_bad_files(folder):
    (folder / "file").write_text("a regular file")
    (folder / "text.h5").write_text("a shopping list")
    (folder / "text.mp4").write_text("a shopping list")
    for name, share in (("data.h5", 0.5), ("clip.mp4", 0.2)):
        content = (folder / name).read_bytes()
        (folder / f"cut{Path(name).suffix}").write_bytes(content[: int(share * len(content))])


def make_run(folder, data):
    """A run whose parameters are so large that everything given to the model matters."""
    recipe, data = make_recipe("rtrbm", None, KEYS), Path(data).resolve()
    sequences = load_sequences(data).split("train")
    model, _ = runs.start(folder, recipe, str(data), sequences, progress=False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator())
    torch.nn.init.normal_(model.hidden_to_hidden, std=10.0, generator=generator())
    seqebm.save(model, folder / "model.h5")


@pytest.fixture(autouse=True)
def place(home, tmp_path, monkeypatch):
    """The current folder of a test: a copy of the home, which it may change."""
    folder = tmp_path / "place"
    shutil.copytree(home, folder)
    monkeypatch.chdir(folder)
    return folder


def program(line):
    """The command line of `seqebm` in a process of its own."""
    return [sys.executable, "-c", "from seqebm.cli import main; main()", *line.split()]


def environment():
    """The environment variables under which a process finds this library."""
    return {**os.environ, "PYTHONPATH": str(Path(seqebm.__file__).parents[1])}


def parameters(folder):
    return seqebm.load(folder).state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def recipe_of(folder):
    return json.loads(Path(folder, "recipe.json").read_text())["recipe"]


def gif_pictures(path, rate=20):
    """The grey pictures of a gif at a frame rate; equal ones in a row are merged in the file."""
    shown = []
    with Image.open(path) as image:
        for t in range(image.n_frames):
            image.seek(t)
            picture = np.asarray(image.convert("L"))
            shown += [picture] * round(image.info["duration"] * rate / 1000)
    return np.stack(shown)


def files():
    """Everything in the current folder."""
    return sorted(str(path) for path in Path().rglob("*"))


# --- help ------------------------------------------------------------------------------------


GROUPS = ("data", "data balls", "data video", "data mocap", "data noise", "data hiddens")
PLAIN = ("train", "evaluate", "sample", "denoise", "render", "demo")


@pytest.mark.parametrize("name", ["", *GROUPS, *PLAIN])
def test_help_goes_to_stdout(name, done):
    for option in ("-h", "--help"):
        text = done(f"{name} {option}")
        assert text.startswith("Usage: ")
        assert f"{name} [OPTIONS]" in text
        assert "-h, --help" in text


def test_the_help_lists_all_commands_and_models(done):
    text = done("--help")
    for name in ("data", *PLAIN):
        assert f"\n  {name} " in text
    text = " ".join(done("train --help").replace("-\n", "-").split()).replace("- ", "-")
    assert "MODEL is rbm, trbm, rtrbm, stack or" in text
    assert f"one of the cells {', '.join(CELLS)}, or stacked" in text
    assert all(f"CELL-{output}" in text for output in OUTPUTS)
    text = " ".join(done("data noise --help").split())
    for known in (NOISES, MASKS):
        assert " or ".join(", ".join(known).rsplit(", ", 1)) in text


def test_the_version(done):
    assert seqebm.__version__ in done("--version")


@pytest.mark.parametrize("line", ["", "data"])
def test_without_a_command_there_is_help_or_one_line(line, command):
    code, out, err = command(line)
    if code == 0:
        assert out.startswith("Usage: ")
    else:
        assert (code, len(err.splitlines())) == (2, 1)


# --- data ------------------------------------------------------------------------------------


def test_data_balls(done):
    line = "--n 3 --length 11 --resolution 8 --balls 2 --radius 1.0 --seed 5 --split test"
    assert done(f"data balls {line} --out new.h5").startswith("new.h5: 3 videos of 11 frames")
    made = load_sequences("new.h5")
    expected = bouncing_balls(3, 11, 8, 2, 1.0, generator=generator(5))
    assert len(made) == 3
    for one, frames in zip(made, expected, strict=True):
        assert torch.equal(one.frames, frames)
        assert (one.shape, one.unit, one.split) == ((8, 8), "grey level", "test")


def test_data_balls_has_the_standard_settings(done):
    done("data balls --n 1 --out new.h5")
    (one,) = load_sequences("new.h5")
    expected = bouncing_balls(1, 100, 30, 3, 1.2, generator=generator(1))[0]
    assert torch.equal(one.frames, expected)
    assert one.split == ""


def test_data_video_of_a_video_a_gif_and_a_folder(done):
    levels = torch.tensor([0.0, 0.4, 0.8])
    frames = levels[:, None].expand(-1, 36)
    pictures = video.pictures(frames, (6, 6), zoom=3)
    video.save("a.mp4", pictures, frame_rate=10)
    video.save("b.gif", pictures, frame_rate=20)
    Path("c").mkdir()
    for i, picture in enumerate(pictures):
        video.save(f"c/{i}.png", picture)
    text = done("data video a.mp4 b.gif c --resolution 5 --out new.h5")
    assert text == "new.h5: 3 videos, 9 frames\n"
    made = load_sequences("new.h5")
    assert [one.name for one in made] == ["a", "b", "c"]
    assert [one.frame_rate for one in made] == [10, 20, 25]
    for one in made:
        assert (one.shape, one.unit) == ((5, 5), "grey level")
        assert torch.allclose(one.frames, levels[:, None].expand(-1, 25), atol=0.02)


def test_data_video_makes_frames_of_30_by_30(done):
    done("data video clip.mp4 --out new.h5")
    (one,) = load_sequences("new.h5")
    assert one.shape == (30, 30)
    assert one.frames.shape == (LENGTH, 900)


def test_data_hiddens_are_what_a_layer_above_learns_from(done):
    done("data hiddens run --data ragged.h5 --out hiddens.h5")
    for given, found in zip(load_sequences("ragged.h5"), load_sequences("hiddens.h5"), strict=True):
        assert torch.equal(found.frames, seqebm.load("run").filter(given.frames[None])[0])
        assert (found.name, found.split, found.unit) == (given.name, given.split, "probability")
    done("train rtrbm --data hiddens.h5 --out upper --set steps=1 --set hidden=3")
    stack = seqebm.Stack([seqebm.load("run"), seqebm.load("upper")])
    assert stack.predict(load_sequences("ragged.h5")[0].frames[None]).shape[2] == SIDE * SIDE


@pytest.mark.parametrize("kind", NOISES)
def test_data_noise_of_every_kind(kind, done):
    line = f"data noise data.h5 --kind {kind} --strength 0.3 --seed 4 --out new.h5"
    assert done(line) == f"new.h5: 8 sequences, {8 * LENGTH} frames\n"
    random = generator(4)
    for found, one in zip(load_sequences("new.h5"), ball_sequences(), strict=True):
        expected = NOISES[kind](one.frames, 0.3, random, (SIDE, SIDE))
        assert torch.equal(found.frames, expected)
        assert not torch.equal(found.frames, one.frames)
        for key in ("name", "frame_rate", "unit", "shape", "split"):
            assert getattr(found, key) == getattr(one, key)


@pytest.mark.parametrize("kind", MASKS)
def test_data_noise_with_missing_pixels(kind, done):
    done(f"data noise ragged.h5 --missing {kind} --share 0.5 --out new.h5 --mask-out mask.h5")
    random = generator()
    triples = zip(*map(load_sequences, ("ragged.h5", "new.h5", "mask.h5")), strict=True)
    for one, found, mask in triples:
        expected = MASKS[kind](one.frames, 0.5, random, (SIDE, SIDE))
        assert torch.equal(mask.frames, expected.float())
        assert torch.equal(found.frames, one.frames * mask.frames)
        assert (found.scale, mask.scale, mask.name) == (one.scale, 1, one.name)
        assert not mask.offset.any()


def test_data_noise_of_a_video_as_a_video(done):
    frames = videos(1, seed=3)[0]
    line = f"--kind gaussian --missing boxes --resolution {SIDE} --out new.mp4 --mask-out mask.mp4"
    assert done(f"data noise clip.mp4 {line}") == f"new.mp4: 1 sequences, {LENGTH} frames\n"
    random = generator()
    expected = NOISES["gaussian"](read_video("clip.mp4", SIDE).frames, 0.1, random, (SIDE, SIDE))
    mask = MASKS["boxes"](frames, 0.1, random, (SIDE, SIDE))
    assert torch.equal(read_video("mask.mp4", SIDE).frames > 0.5, mask)
    found = read_video("new.mp4", SIDE)
    assert found.frame_rate == 20
    assert float((found.frames - expected * mask).abs().mean()) < 0.01


# --- train -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_as_in_the_library(model, done):
    own = {"layers": "mrnn:4,gru:2"} if model.startswith("stacked") else {}
    extra = "".join(f" --set {key}={value}" for key, value in own.items())
    text = done(f"train {model} --data balls --out new TINY{extra}")
    recipe = make_recipe(model, None, {**KEYS, **own})
    expected, _ = training.train(recipe)
    assert equal(parameters("new"), expected.state_dict())
    if model != "stack":  # whose layers have each a file of their own while they are trained
        assert load_training("new")[1]["step"] == 3
    count = sum(p.numel() for p in expected.parameters())
    assert f"new: {type(expected).__name__} with {count} parameters, 3 steps" in text


def test_the_error_of_a_model_that_tempers_is_by_mean_field_meanwhile(done):
    text = done("train rtrbm --data balls --out new TINY --set rungs=3")
    assert "held-out sequences by mean field, summed over a frame:" in text
    assert seqebm.load("new").sampling_rungs == 3


def test_a_training_ends_with_the_error_of_videos_that_it_never_saw(done):
    text = done("train rtrbm --data balls --out new TINY")
    test = held_out_videos(make_recipe("rtrbm", None, KEYS), 20)
    predicted = seqebm.load("new").predict(test)
    errors = [
        sum(float(((predicted[n, t] - test[n, t]) ** 2).sum()) for t in range(1, LENGTH))
        for n in range(20)
    ]
    error = sum(errors) / (20 * (LENGTH - 1))
    assert text.splitlines()[1].endswith(f"summed over a frame: {error:.3f}")
    history = load_training("new")[1]["history"]
    assert history[-1]["error"] == pytest.approx(error, rel=1e-5)


def test_the_settings_are_those_of_the_recipe(done):
    settings = (
        "--set lr=0.02 --set gibbs_steps=0:1,2:3 --set lr=0.05 --set order=2 --set average=.5"
    )
    done(f"train rtrbm --data balls --out new TINY {settings}")
    found = recipe_of("new")
    assert (found["lr"], found["gibbs_steps"], found["order"]) == (0.05, "0:1,2:3", 2)
    assert (found["hidden"], found["average"], found["momentum"]) == (4, 0.5, 0.9)
    assert seqebm.load("new").settings["order"] == 2


def test_settings_go_before_those_of_a_preset(done):
    done("train trbm --data balls --out new --preset thesis-balls TINY --set pretrain=2")
    found = recipe_of("new")
    assert (found["hidden"], found["steps"], found["batch"], found["pretrain"]) == (4, 3, 2, 2)
    assert (found["optimizer"], found["connections"], found["lr"]) == ("sgd", "hh", 0.01)
    model = seqebm.load("new")
    assert model.visible_to_visible is None
    assert model.visible_to_hidden is None
    assert model.hidden_to_hidden.shape == (1, 4, 4)


def test_real_numbers_are_for_gaussian_units(done):
    done("train rtrbm --data real.h5 --out new TINY --visible gaussian")
    done("train rtrbm --data real.h5 --out same TINY --set visible=gaussian")
    assert recipe_of("new")["visible"] == "gaussian"
    assert seqebm.load("new").visible.spec == "gaussian"
    assert equal(parameters("new"), parameters("same"))


def test_only_the_training_split_is_trained_on(done):
    text = done("train rtrbm --data data.h5 --out new TINY")
    recipe = make_recipe("rtrbm", None, KEYS)
    expected, _ = training.train(recipe, ball_sequences()[:5])
    assert equal(parameters("new"), expected.state_dict())
    assert "held-out" in text


def test_sequences_that_are_held_out_are_never_trained_on(done, monkeypatch):
    unmarked = [Sequence(frames) for frames in videos(4)]
    marked = [Sequence(frames, split="test") for frames in videos(2, seed=2)]
    save_data("mixed.h5", unmarked + marked)
    given = []
    start = runs.start

    def spy(folder, recipe, data, sequences, **options):
        given.extend(one.split for one in sequences)
        return start(folder, recipe, data, sequences, **options)

    monkeypatch.setattr(runs, "start", spy)
    text = done("train rtrbm --data mixed.h5 --out new TINY")
    assert "held-out" in text
    assert given == [""] * 4


def test_without_marked_splits_everything_is_trained_on(done):
    text = done("train rtrbm --data ragged.h5 --out new TINY")
    expected, _ = training.train(make_recipe("rtrbm", None, KEYS), ragged_sequences())
    assert equal(parameters("new"), expected.state_dict())
    assert "held-out" not in text


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor cannot flush")
def test_tiny_numbers_are_zeros_in_a_training(done, monkeypatch):
    start, tiny = runs.start, torch.tensor(1e-40)
    found = []

    def spy(*arguments, **options):
        found.append(float(2 * tiny))
        return start(*arguments, **options)

    monkeypatch.setattr(runs, "start", spy)
    done("train rtrbm --data balls --out new TINY")
    done("evaluate new --data balls --json --prompt 2")
    assert found == [0.0]
    assert float(2 * tiny) > 0


def test_a_run_knows_its_data_from_any_folder(place, done):
    done("train rtrbm --data data.h5 --out new TINY")
    opened = runs.open_run("new")
    assert opened.data == str(place / "data.h5")
    assert opened.format == runs.FrameFormat((SIDE, SIDE), 20.0, "grey level")


def test_a_video_is_data_too(done):
    done("train rtrbm --data clip.mp4 --out new TINY")
    assert seqebm.load("new").visible.size == (4 * SIDE) ** 2


def test_a_run_is_not_overwritten(done, refused):
    done("train rtrbm --data balls --out new TINY")
    before = Path("new/model.h5").read_bytes()
    assert "new: already holds" in refused("train rtrbm --data balls --out new TINY")
    assert "new: already holds" in refused("train lstm --data data.h5 --out new TINY")
    assert Path("new/model.h5").read_bytes() == before


@pytest.mark.parametrize("settings", ["", "--set average=0.9 --set pretrain=2"])
def test_an_interrupted_run_is_resumed_bit_for_bit(settings, command, done, monkeypatch):
    line = f"train rtrbm --data balls TINY --set steps=6 {settings}"
    done(f"{line} --out whole")
    original, calls = cli.learning._next_frame_error, itertools.count()

    def interrupting(model, held_out):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return original(model, held_out)

    monkeypatch.setattr(cli.learning, "_next_frame_error", interrupting)
    code, _, err = command(f"{line} --out new")
    assert (code, err.strip()) == (130, "seqebm: interrupted")
    assert load_training("new")[1]["step"] == 3
    monkeypatch.setattr(cli.learning, "_next_frame_error", original)
    done(f"{line} --out new --resume")
    assert load_training("new")[1]["step"] == 6
    assert equal(parameters("new"), parameters("whole"))


def test_a_finished_run_is_resumed_without_a_change(done):
    line = "train rtrbm --data data.h5 --out new TINY"
    first = done(line)
    before = Path("new/model.h5").read_bytes()
    assert done(f"{line} --resume") == first
    assert Path("new/model.h5").read_bytes() == before


def test_there_need_not_be_anything_to_resume(done):
    done("train rtrbm --data balls --out new TINY --resume")
    done("train rtrbm --data balls --out whole TINY")
    assert equal(parameters("new"), parameters("whole"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("train rtrbm --data balls TINY --set lr=0.5", "lr"),
        ("train rtrbm --data balls TINY --set steps=4", "steps"),
        ("train rtrbm --data balls TINY --set seed=2 --set hidden=5", "hidden, seed"),
        ("train trbm --data balls TINY", "model"),
        ("train rtrbm --data data.h5 TINY", "data"),
        ("train rtrbm --data balls TINY --visible gaussian", "visible"),
    ],
)
def test_a_run_is_resumed_with_its_own_recipe_only(line, named, done, refused):
    done("train rtrbm --data balls --out new TINY")
    before = Path("new/model.h5").read_bytes()
    assert refused(f"{line} --out new --resume").endswith(f"begun with another {named}")
    assert Path("new/model.h5").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_is_resumed_bit_for_bit(done):
    line = f"train rtrbm --data data.h5 {TINY} --set steps=120"
    process = subprocess.Popen(
        program(f"{line} --out new"), env=environment(), stdout=subprocess.DEVNULL
    )
    while not Path("new/model.h5").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.05)  # somewhere between two checkpoints
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 1 <= load_training("new")[1]["step"] < 120
    done(f"{line} --out new --resume")
    done(f"{line} --out whole")
    assert load_training("new")[1]["step"] == 120
    assert equal(parameters("new"), parameters("whole"))


# --- evaluate --------------------------------------------------------------------------------


def report(done, line):
    """The only JSON object on stdout."""
    text = done(f"{line} --json")
    assert text.startswith("{")
    assert len(text.splitlines()) == 1
    return json.loads(text)


def mean_error(predicted, sequences):
    """Squared error summed over a frame, over t = 2 … T of a sequence, then over sequences."""
    means = []
    for guess, one in zip(predicted, sequences, strict=True):
        frames = one.frames
        errors = [float(((guess[t] - frames[t]) ** 2).sum()) for t in range(1, len(frames))]
        means.append(sum(errors) / len(errors))
    return sum(means) / len(means)


def test_the_table_has_the_model_beside_every_yardstick(done):
    text = done("evaluate run --data data.h5")
    table, free = text.split("Free run", 1)
    rows = [line.split("  ")[0] for line in table.splitlines()[2:] if line]
    assert rows == ["RTRBM", *YARDSTICKS]
    assert "from 10 frames, horizon 1\n" in free
    assert "horizon 2\n" in free
    assert free.count("copy last") == free.count("model") == 2
    assert "nats" not in text


def test_the_scores_are_those_of_the_held_out_sequences(done):
    scores = report(done, "evaluate run --data data.h5")["next_frame"]
    assert list(scores) == ["RTRBM", *YARDSTICKS]
    train, test = ball_sequences()[:5], ball_sequences()[5:]
    predict = seqebm.load("run").predict
    expected = {
        "RTRBM": [predict(one.frames[None])[0] for one in test],
        "copy last": [torch.cat([one.frames[:1], one.frames[:-1]]) for one in test],
        "mean frame": [torch.cat([one.frames for one in train]).mean(0).expand(LENGTH, -1)] * 3,
    }
    for name, predicted in expected.items():
        assert scores[name]["per_frame"] == pytest.approx(mean_error(predicted, test), rel=1e-4)
        assert scores[name]["per_dim"] == pytest.approx(scores[name]["per_frame"] / 100)
        assert scores[name]["sequences"] == 3


def test_free_runs_are_scored_where_the_sequences_reach(done):
    free = report(done, "evaluate run --data data.h5 --prompt 5")["free_run"]
    assert list(free) == ["1", "2", "5"]
    test = ball_sequences()[5:]
    for horizon, score in free.items():
        assert list(score) == ["model", "copy last"]
        frame = 5 + int(horizon) - 1
        errors = [float(((one.frames[frame] - one.frames[4]) ** 2).sum()) for one in test]
        assert score["copy last"]["per_frame"] == pytest.approx(sum(errors) / 3, rel=1e-4)
    assert free == report(done, "evaluate run --data data.h5 --prompt 5")["free_run"]


def test_sequences_without_a_test_split_are_all_measured(done):
    scores = report(done, "evaluate run --data ragged.h5 --prompt 1")
    test = ragged_sequences()
    predicted = [seqebm.load("run").predict(one.frames[None])[0] for one in test]
    found = scores["next_frame"]["RTRBM"]
    assert found["sequences"] == 3
    assert found["per_frame"] == pytest.approx(mean_error(predicted, test), rel=1e-4)
    free = scores["free_run"]
    assert [free[h]["model"]["sequences"] for h in ("1", "2", "5", "10")] == [3, 2, 2, 1]
    assert free["10"]["model"]["per_frame_se"] is None


def test_the_yardsticks_may_be_fitted_on_other_data(done):
    scores = report(done, "evaluate run --data data.h5 --train ragged.h5")["next_frame"]
    mean = torch.cat([one.frames for one in ragged_sequences()]).mean(0)
    expected = mean_error([mean.expand(LENGTH, -1)] * 3, ball_sequences()[5:])
    assert scores["mean frame"]["per_frame"] == pytest.approx(expected, rel=1e-4)


def test_a_run_on_balls_is_measured_on_fresh_ones(done):
    done("train rtrbm --data balls --out new TINY")
    scores = report(done, "evaluate new --data balls")["next_frame"]
    assert scores["RTRBM"]["sequences"] == 200
    recipe = make_recipe("rtrbm", None, KEYS)
    test = held_out_videos(recipe, 200)
    copied = [torch.cat([frames[:1], frames[:-1]]) for frames in test]
    expected = mean_error(copied, [Sequence(frames) for frames in test])
    assert scores["copy last"]["per_frame"] == pytest.approx(expected, rel=1e-4)
    mean = ball_videos(recipe, 200)(0).mean((0, 1)).expand(LENGTH, -1)
    expected = mean_error([mean] * 200, [Sequence(frames) for frames in test])
    assert scores["mean frame"]["per_frame"] == pytest.approx(expected, rel=1e-6)


def test_the_likelihood_is_a_mean_over_frames(done):
    line = "evaluate run --data ragged.h5 --prompt 1 --likelihood"
    found = report(done, line + " --temperatures 100")["nats_per_frame"]
    model, total = seqebm.load("run"), 0.0
    for one in ragged_sequences():
        total += model.log_prob(one.frames[None], method="exact").sum().item()
    exact = total / (LENGTH + 7 + 2)
    assert found["lower"] <= exact <= found["upper"]
    assert found["estimate"] == pytest.approx(exact, rel=1e-3)
    assert (found["frames"], found["sequences"], found["good"]) == (LENGTH + 7 + 2, 3, True)
    words = done(line + " --temperatures 100")
    assert f"log-likelihood: {found['estimate']:.4f} nats per frame, between" in words
    assert "nats_per_frame" not in report(done, "evaluate run --data data.h5")


def test_an_rbm_or_an_rnn_is_measured_like_the_others(done):
    for model, name in (("rbm", "RBM"), ("gru", "RNN")):
        done(f"train {model} --data data.h5 --out {model} TINY")
        found = report(done, f"evaluate {model} --data data.h5 --likelihood")
        assert list(found["next_frame"]) == [name, *YARDSTICKS]
        assert found["nats_per_frame"]["estimate"] < 0


def test_two_runs_are_compared_frame_by_frame(done, refused):
    done("train gru --data data.h5 --out gru TINY")
    done("train lstm --data data.h5 --out lstm TINY")
    line = "evaluate gru --data data.h5 --likelihood"
    found = report(done, line + " --against lstm")
    other = report(done, "evaluate lstm --data data.h5 --likelihood")
    gain = found["nats_per_frame"]["estimate"] - other["nats_per_frame"]["estimate"]
    assert found["gain"]["mean"] == pytest.approx(gain, abs=1e-4)
    assert f"frame by frame: {gain:.4f} ±" in done(line + " --against lstm")
    assert_names(refused("evaluate gru --data data.h5 --against lstm"), "--against.*--likelihood")


def test_too_little_annealing_is_said_instead_of_a_flattering_number(done):
    model = seqebm.RBM(SIDE**2, 30)
    torch.nn.init.normal_(model.weight, std=3.0, generator=torch.Generator().manual_seed(1))
    done("train rbm --data data.h5 --out strong TINY --set hidden=30")
    seqebm.save(model, "strong/model.h5")
    line = "evaluate strong --data data.h5 --likelihood --temperatures 2"
    found = report(done, line)["nats_per_frame"]
    assert found["estimate"] is None
    assert not found["good"]
    assert "annealed too little to say, between" in done(line)


# --- sample ----------------------------------------------------------------------------------


def means(length, count=1, prefix=None, seed=1):
    return seqebm.load("run").sample_means(length, count, prefix, generator(seed))


def frames_of(path):
    return torch.stack([one.frames for one in load_sequences(path)])


def test_samples_in_a_data_file(done):
    assert done("sample run --frames 4 --count 3 --seed 7 --out new.h5") == "new.h5\n"
    assert torch.equal(frames_of("new.h5"), means(4, 3, seed=7))
    for one in load_sequences("new.h5"):
        assert (one.shape, one.frame_rate, one.unit) == ((SIDE, SIDE), 20.0, "grey level")


def test_one_sample_of_200_frames_is_the_default(done):
    done("sample run --out new.h5")
    assert torch.equal(frames_of("new.h5"), means(200))


def test_samples_differ_with_the_seed_and_among_each_other(done):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        done(f"sample run --frames 3 --count 2 --seed {seed} --out {name}.h5")
    a, b, c = (frames_of(f"{name}.h5") for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a[0], a[1])


@pytest.mark.parametrize("binary", ["", "--binary"])
def test_a_continuation_begins_with_the_prompt(binary, done):
    line = f"sample run --frames 3 --count 2 --prompt data.h5 --prompt-frames 6 {binary}"
    done(f"{line} --out new.h5")
    found, given = frames_of("new.h5"), ball_sequences()[0].frames[None, :6]
    assert found.shape == (2, 9, 100)
    assert torch.equal(found[:, :6], given.expand(2, -1, -1))
    draw = seqebm.load("run").sample if binary else seqebm.load("run").sample_means
    assert torch.equal(found[:, 6:], draw(3, 2, given, generator()))
    assert not torch.equal(found[:, 6:], draw(3, 2, None, generator()))


def test_ten_frames_of_the_prompt_are_the_default(done):
    done("sample run --frames 1 --prompt data.h5 --out new.h5")
    assert torch.equal(frames_of("new.h5")[0, :10], ball_sequences()[0].frames[:10])
    assert frames_of("new.h5").shape[1] == 11


def test_binary_samples_hold_zeros_and_ones_only(done):
    done("sample run --frames 5 --count 2 --binary --out new.h5")
    assert frames_of("new.h5").unique().tolist() == [0.0, 1.0]
    done("sample run --frames 5 --count 2 --out grey.h5")
    assert len(frames_of("grey.h5").unique()) > 2


@pytest.mark.parametrize("count", [1, 3])
def test_samples_in_a_video(count, done):
    done(f"sample run --frames 5 --count {count} --out new.mp4")
    shown = read_video("new.mp4")
    assert len(shown.frames) == 5
    assert shown.frame_rate == 20
    if count == 1:
        expected = video.pictures(means(5)[0], (SIDE, SIDE))
        found = shown.frames.reshape(expected.shape)
        assert float((found * 255 - torch.from_numpy(expected)).abs().mean()) < 8


def test_samples_in_a_gif(done):
    done("sample run --frames 5 --out new.gif")
    assert np.array_equal(gif_pictures("new.gif"), video.pictures(means(5)[0], (SIDE, SIDE)))


@pytest.mark.parametrize(("frames", "shown"), [(7, [*range(7)]), (40, [*range(0, 40, 4)])])
def test_samples_on_one_page(frames, shown, done):
    done(f"sample run --frames {frames} --out new.png")
    pictures = video.pictures(means(frames)[0], (SIDE, SIDE))
    with Image.open("new.png") as image:
        assert np.array_equal(np.asarray(image), video.strip(pictures[shown])[0])


# --- denoise ---------------------------------------------------------------------------------


def test_denoising_a_data_file_keeps_all_but_the_frames(done):
    assert done("denoise run --data ragged.h5 --out new.h5") == "new.h5\n"
    model, made, noisy = seqebm.load("run"), load_sequences("new.h5"), ragged_sequences()
    assert len(made) == len(noisy)
    for one, before in zip(made, noisy, strict=True):
        assert torch.equal(one.frames, model.denoise(before.frames[None])[0])
        assert not torch.equal(one.frames, before.frames)
        for key in ("name", "frame_rate", "unit", "shape", "split"):
            assert getattr(one, key) == getattr(before, key)
        assert torch.equal(one.scale, before.scale)
        assert torch.equal(one.offset, before.offset)


def test_denoising_keeps_splits(done):
    done("denoise run --data data.h5 --out new.h5")
    assert [one.split for one in load_sequences("new.h5")] == ["train"] * 5 + ["test"] * 3


def test_videos_are_scaled_to_the_frames_of_the_run(done):
    write_mp4("large.mp4", videos(1, seed=4)[0])
    done("denoise run --data large.mp4 --out new.h5")
    (one,) = load_sequences("new.h5")
    small = read_video("large.mp4", (SIDE, SIDE))
    assert torch.equal(one.frames, seqebm.load("run").denoise(small.frames[None])[0])
    assert (one.name, one.frame_rate, one.shape) == ("large", 20.0, (SIDE, SIDE))


def test_a_prompt_is_scaled_to_the_frames_of_the_run(done):
    write_mp4("large.mp4", videos(1, seed=4)[0])
    done("sample run --frames 2 --prompt large.mp4 --prompt-frames 3 --out new.h5")
    small = read_video("large.mp4", (SIDE, SIDE))
    assert torch.equal(frames_of("new.h5")[0, :3], small.frames[:3])


def test_images_are_scaled_to_the_frames_of_the_run(done):
    Path("images").mkdir()
    for t, picture in enumerate(video.pictures(videos(1)[0], (SIDE, SIDE), zoom=3)):
        video.save(f"images/{t}.png", picture)
    done("denoise run --data images --out new.h5")
    expected = seqebm.load("run").denoise(videos(1))[0]
    assert torch.allclose(load_sequences("new.h5")[0].frames, expected, atol=0.02)


@pytest.fixture
def written(monkeypatch):
    """The pictures that are written to videos piece by piece, by file name, before they are."""
    pieces = {}
    write = video.Writer.write

    def record(self, pictures):
        pieces.setdefault(self._path.name, []).append(pictures)
        write(self, pictures)

    monkeypatch.setattr(video.Writer, "write", record)
    return pieces


def large_gif(path):
    shown = video.pictures(videos(1, seed=3)[0], (SIDE, SIDE), zoom=4)
    video.save(path, shown, frame_rate=20.0)


def image_folder(path):
    path.mkdir()
    for t, picture in enumerate(video.pictures(videos(1, seed=3)[0], (SIDE, SIDE), zoom=2)):
        video.save(path / f"{t}.png", picture)


@pytest.mark.parametrize(
    ("source", "rate"),
    [("clip.mp4", 20), ("data.h5", 20), ("ragged.h5", 12.5), ("clip.gif", 20), ("images", 25)],
)
def test_a_video_is_denoised_as_the_library_does_it(source, rate, done, written):
    large_gif(Path("clip.gif"))
    image_folder(Path("images"))
    assert done(f"denoise run --data {source} --out new.mp4") == "new.mp4\n"
    noisy = load_sequences(source, (SIDE, SIDE))[0].frames
    expected = video.pictures(seqebm.load("run").denoise(noisy[None])[0], (SIDE, SIDE))
    found = np.concatenate(written["new.mp4"])
    assert np.abs(found.astype(int) - expected).max() <= 1
    shown = read_video("new.mp4")
    assert (shown.frame_rate, shown.shape) == (rate, (180, 180))
    assert len(shown.frames) == len(noisy) == len(written["new.mp4"])
    assert float((shown.frames * 255 - torch.from_numpy(expected).flatten(1)).abs().mean()) < 8


def make_mask():
    """A mask of every kind of file; the mask."""
    mask = torch.rand(LENGTH, SIDE * SIDE, generator=generator(9)) > 0.4
    one = Sequence(0.51 * mask.float(), shape=(SIDE, SIDE))
    save_data("mask.h5", [one])
    write_mp4("mask.mp4", mask.float())
    return mask


@pytest.mark.parametrize("name", ["mask.h5", "mask.mp4"])
def test_a_video_is_denoised_with_its_mask(name, done, written):
    mask = make_mask()
    done(f"denoise run --data clip.mp4 --mask {name} --out new.mp4")
    noisy = read_video("clip.mp4", SIDE).frames
    denoised = seqebm.load("run").denoise(noisy[None], mask[None])[0]
    expected = video.pictures(denoised, (SIDE, SIDE))
    found = np.concatenate(written["new.mp4"])
    assert np.abs(found.astype(int) - expected).max() <= 1
    without = video.pictures(seqebm.load("run").denoise(noisy[None])[0], (SIDE, SIDE))
    assert np.abs(found.astype(int) - without).max() > 10
    done(f"denoise run --data clip.mp4 --mask {name} --keep --out kept.mp4")
    kept = video.pictures(torch.where(mask, noisy, denoised), (SIDE, SIDE))
    assert np.abs(np.concatenate(written["kept.mp4"]).astype(int) - kept).max() <= 1


@pytest.mark.parametrize("out", ["new.mp4", "new.h5"])
def test_missing_pixels_are_settled_back_and_forth(out, done):
    mask = make_mask()
    done(f"denoise run --data clip.mp4 --mask mask.h5 --sweeps 3 --out {out}")
    noisy, model = read_video("clip.mp4", SIDE).frames, seqebm.load("run")
    expected = model.denoise(noisy[None], mask[None], sweeps=3, generator=generator(1))[0]
    found = load_sequences(out, SIDE)[0].frames
    assert float((found - expected).abs().mean()) < (1e-6 if out == "new.h5" else 0.03)


def test_a_stack_is_trained_and_denoises_with_as_many_layers_as_asked(done):
    done("train stack --data data.h5 --out deep --set layers=trbm:5,rtrbm:4 --set steps=2")
    frames = load_sequences("data.h5")[0].frames[None]
    stack = seqebm.load("deep")
    for option, model in {"": stack, "--layers 2": stack, "--layers 1": stack.layers[0]}.items():
        done(f"denoise deep --data data.h5 {option} --out new.h5")
        assert torch.equal(load_sequences("new.h5")[0].frames, model.denoise(frames)[0])


@pytest.mark.parametrize("clean", ["", "--clean data.h5"])
def test_a_second_video_shows_everything_side_by_side(clean, done, written):
    line = f"denoise run --data clip.mp4 {clean} --out new.mp4 --side-by-side both.mp4"
    assert done(line).startswith("new.mp4\n")
    noisy = read_video("clip.mp4", SIDE).frames
    denoised = seqebm.load("run").denoise(noisy[None])[0]
    truth = ball_sequences()[0].frames if clean else None
    expected = scenes.comparison(noisy, denoised, (SIDE, SIDE), truth)
    assert np.abs(np.concatenate(written["both.mp4"]).astype(int) - expected).max() <= 1
    shown = read_video("both.mp4")
    count = 3 if clean else 2
    assert (shown.frame_rate, shown.shape) == (20, (232, count * 192 + 10))
    assert len(shown.frames) == LENGTH
    assert read_video("new.mp4").shape == (180, 180)


def quality(clean, estimates):
    """Of several sequences as one."""
    judge = Quality((SIDE, SIDE))
    for one, estimate in zip(clean, estimates, strict=True):
        judge.add(one.frames, estimate)
    return judge.result()._asdict()


@pytest.mark.parametrize(("out", "count"), [("new.mp4", 1), ("new.gif", 1), ("new.h5", 8)])
def test_the_quality_beside_clean_frames(out, count, done):
    done("data noise data.h5 --kind salt-and-pepper --out noisy.h5")
    line = f"denoise run --data noisy.h5 --clean data.h5 --out {out}"
    found = report(done, line)
    assert (found["out"], found["frames"]) == (out, count * LENGTH)
    clean, noisy = ball_sequences()[:count], load_sequences("noisy.h5")[:count]
    model = seqebm.load("run")
    expected = {
        "noisy": quality(clean, [one.frames for one in noisy]),
        "denoised": quality(clean, [model.denoise(one.frames[None])[0] for one in noisy]),
    }
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, rel=1e-4)
    lines = done(line).splitlines()
    assert lines[0] == out
    for name, text in zip(expected, lines[1:], strict=True):
        score = expected[name]
        assert text.split(":")[0] == name
        numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", text)]
        assert numbers == pytest.approx([score["mse"], score["psnr"], score["ssim"]], abs=5e-3)


def test_json_without_clean_frames(done):
    assert report(done, "denoise run --data clip.mp4 --out new.mp4") == {
        "out": "new.mp4",
        "frames": LENGTH,
    }


def test_without_any_noise_there_is_no_signal_to_noise_ratio(done):
    found = report(done, "denoise run --data data.h5 --clean data.h5 --out new.mp4")
    assert found["noisy"] == {"mse": 0, "psnr": None, "ssim": 1, "frames": LENGTH}
    assert found["denoised"]["psnr"] > 0
    assert "PSNR inf dB" in done("denoise run --data data.h5 --clean data.h5 --out new.mp4")


def test_quality_needs_scikit_image(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    line = "denoise run --data clip.mp4 --clean data.h5 --out new.mp4"
    assert_names(refused(line), "--clean: SSIM is computed by scikit-image: pip install")
    assert not Path("new.mp4").exists()


def test_a_data_file_is_denoised_with_masks(done):
    done("data noise ragged.h5 --missing pixels --share 0.5 --out new.h5 --mask-out mask.h5")
    done("denoise run --data new.h5 --mask mask.h5 --out clean.h5")
    triples = zip(*map(load_sequences, ("new.h5", "mask.h5", "clean.h5")), strict=True)
    for noisy, mask, found in triples:
        seen = mask.frames[None] > 0.5
        assert torch.equal(found.frames, seqebm.load("run").denoise(noisy.frames[None], seen)[0])
        assert found.name == noisy.name


def test_a_denoised_video_may_be_a_gif_or_a_page(done):
    for name in ("new.gif", "new.png"):
        done(f"denoise run --data data.h5 --out {name}")
        with Image.open(name) as image:
            assert image.width > image.height


# --- videos that are damaged, and commands that are stopped ----------------------------------


def faststart(path, frames, side):
    """A video whose index comes first: what is left of it when it is cut can be read."""
    shown = video.pictures(frames, (side, side), zoom=4)
    with video._WholeWriter(path, 20.0) as writer:
        writer.write(shown)


@pytest.mark.parametrize("which", ["data", "clean", "mask"])
def test_a_video_that_ends_early_is_refused_and_what_came_before_can_be_played(
    which, command, place
):
    faststart(place / "long.mp4", torch.rand(90, SIDE * SIDE, generator=generator()), SIDE)
    content = Path("long.mp4").read_bytes()
    Path("short.mp4").write_bytes(content[: int(0.7 * len(content))])
    files = {"data": "long.mp4", "clean": "long.mp4", "mask": "long.mp4"} | {which: "short.mp4"}
    line = " ".join(f"--{name} {file}" for name, file in files.items())
    code, out, err = command(f"denoise run {line} --out new.mp4 --side-by-side both.mp4 --json")
    assert (code, out) == (2, "")
    found = re.fullmatch(r"seqebm: short\.mp4: damaged after (\d+) frames\n", err)
    count = int(found[1])
    assert 30 < count < 90
    assert len(read_video("new.mp4").frames) == len(read_video("both.mp4").frames) == count


def test_a_video_whose_size_changes_is_refused(command):
    parts = b""
    for width in (40, 80):
        picture = f"testsrc2=size={width}x40:rate=10:duration=2"
        parts += ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-f", "mpegts", "-")
    ffmpeg("-f", "mpegts", "-i", "-", "-c", "copy", "two.mkv", given=parts)
    code, out, err = command("denoise run --data two.mkv --out new.mp4")
    assert (code, out) == (2, "")
    assert err == "seqebm: two.mkv: after 20 frames of 40 x 40 pixels comes one of 80 x 40\n"
    assert len(read_video("new.mp4").frames) == 20


def ffmpeg(*options, given=None):
    """What ffmpeg writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *options]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def long_video(path, times):
    """The clip many times over."""
    ffmpeg("-stream_loop", str(times - 1), "-i", "clip.mp4", "-c", "copy", path)


def playable_frames(path):
    """How many frames a player would show, whether or not the file is complete."""
    return ffmpeg("-i", path, "-f", "yuv4mpegpipe", "-vf", "scale=2:2", "-").count(b"FRAME\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "code", "said"),
    [
        (signal.SIGINT, True, 130, "seqebm: interrupted"),  # as Ctrl-C in a terminal
        (signal.SIGTERM, False, 143, ""),
        (signal.SIGKILL, False, -9, ""),
        (signal.SIGKILL, True, -9, ""),
    ],
)
def test_what_is_denoised_when_the_command_is_stopped_can_be_played(number, group, code, said):
    long_video("long.mp4", 3000)
    with subprocess.Popen(
        program("denoise run --data long.mp4 --out new.mp4 --side-by-side both.mp4"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts what it runs in the background with this signal ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while not (Path("new.mp4").exists() and Path("new.mp4").stat().st_size > 20_000):
            assert process.poll() is None
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, number)
        _, err = process.communicate()
    assert (process.returncode, err.strip()) == (code, said)
    counts = [settled(lambda path=path: playable_frames(path)) for path in ("new.mp4", "both.mp4")]
    assert 25 <= min(counts) <= max(counts) < 3000 * LENGTH
    assert max(counts) - min(counts) <= 1
    # nothing but the last picture, which is cut off in the pipe, may be missing
    assert len(read_video("new.mp4", 2).frames) == counts[0]


def settled(measure):
    """A number that no longer changes: ffmpeg may still complete the file."""
    before, now = None, measure()
    while now != before:
        time.sleep(0.3)
        before, now = now, measure()
    return now


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(place):
    """Frames of 40 × 40, of which 6000 would take 38 MB, and 240 MB as they are shown."""
    save_data("large.h5", Sequences.from_frames(videos(6, side=40), shape=(40, 40)))
    recipe = make_recipe("rtrbm", None, KEYS)
    path = str(place / "large.h5")
    runs.start("large", recipe, path, load_sequences(path), progress=False)
    peaks = []
    for frames in (300, 6000):
        long_video("long.mp4", frames // LENGTH)
        line = "denoise large --data long.mp4 --out new.mp4"
        code = "from seqebm.cli import main; main(); import resource as r, sys; "
        code += "print(r.getrusage(r.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        done = subprocess.run(
            [sys.executable, "-c", code, *line.split()],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert playable_frames("new.mp4") == frames // LENGTH * LENGTH
        peaks.append(int(done.stderr) / 1024)  # MB
    assert peaks[1] < peaks[0] + 15


# --- render ----------------------------------------------------------------------------------


def test_render_shows_the_first_sequence(done):
    assert done("render data.h5 --out new.gif") == "new.gif\n"
    assert np.array_equal(gif_pictures("new.gif"), video.pictures(videos(8)[0], (SIDE, SIDE)))


@pytest.mark.parametrize(("count", "rows", "columns"), [(4, 2, 2), (5, 2, 3), (99, 3, 3)])
def test_render_shows_many_in_a_grid(count, rows, columns, done):
    done(f"render data.h5 --count {count} --out new.mp4")
    shown = read_video("new.mp4")
    assert shown.shape == (rows * 122, columns * 122)
    assert len(shown.frames) == LENGTH


def test_render_shows_ragged_sequences_and_videos_of_any_size(done):
    done("render ragged.h5 --count 3 --out new.mp4")
    assert len(read_video("new.mp4").frames) == LENGTH
    done("render clip.mp4 --out new.png")
    with Image.open("new.png") as image:
        assert image.width > image.height


def test_render_shows_what_is_no_picture_as_one_row(done):
    save_data("angles.h5", Sequences.from_frames(torch.rand(1, 5, 4)))
    done("render angles.h5 --out new.mp4")
    height, width = read_video("new.mp4").shape
    assert width == 4 * height


# --- demo ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "folder"), [("demo", "demo"), ("demo --out new", "new")])
def test_the_demonstration_prints_its_report(line, folder, done, monkeypatch):
    monkeypatch.setattr("seqebm.demo.run_demo", lambda out: f"report of {out!r}")
    assert done(line) == f"report of {Path(folder)!r}\n"


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("paint", "'paint'"),
        ("data paint", "'paint'"),
        ("sample", "RUN"),
        ("sample run", "--out"),
        ("evaluate run", "--data"),
        ("train rtrbm --out new", "--data"),
        ("sample run --out new.mp4 --speed 3", "--speed"),
        ("sample run --out new.mp4 --frames many", "--frames.*'many'"),
        ("sample run again --out new.mp4", "again"),
        ("data balls --n 0 --out new.h5", "--n.* 0 "),
        ("data balls --n 2 --length 0 --out new.h5", "length must be .* got 0"),
        ("data balls --n 2 --resolution -3 --out new.h5", "resolution must be .* got -3"),
        ("data balls --n 2 --balls 0 --out new.h5", "balls must be .* got 0"),
        ("data balls --n 2 --radius nan --out new.h5", "radius must be .* got nan"),
        ("data video --out new.h5", "FILES"),
        ("data video clip.mp4 --resolution 0 --out new.h5", "resolution must be .* got 0"),
        # missing files
        ("data video nothing.mp4 --out new.h5", "nothing.mp4: no such file"),
        ("evaluate nothing --data data.h5", "nothing: holds no training run"),
        ("evaluate data.h5 --data data.h5", "data.h5: holds no training run"),
        ("evaluate run --data nothing.h5", "nothing.h5: no such file"),
        ("evaluate run --data data.h5 --train nothing.h5", "nothing.h5: no such file"),
        ("sample nothing --out new.mp4", "nothing: holds no training run"),
        ("sample run --prompt nothing.h5 --out new.mp4", "nothing.h5: no such file"),
        ("denoise nothing --data data.h5 --out new.mp4", "nothing: holds no training run"),
        ("denoise run --data nothing.mp4 --out new.mp4", "nothing.mp4: no such file"),
        ("denoise run --data nothing.h5 --out new.mp4", "nothing.h5: no such file"),
        ("render nothing.h5 --out new.mp4", "nothing.h5: no such file"),
        # files that are not what their names say
        ("render file --out new.mp4", "file: the type is not one of"),
        ("data video run --out new.h5", "run: no frame can be read"),
        ("data video data.h5 --out new.h5", "data.h5: no video"),
        ("denoise run --data run --out new.mp4", "run: no frame can be read"),
        *(
            (line.format(kind), f"^seqebm: {kind}.h5: (not an HDF5 file|.*truncated)")
            for kind in ("text", "cut")
            for line in (
                "evaluate run --data {}.h5",
                "evaluate run --data data.h5 --train {}.h5",
                "sample run --prompt {}.h5 --out new.mp4",
                "denoise run --data {}.h5 --out new.mp4",
                "render {}.h5 --out new.mp4",
            )
        ),
        *(
            (line.format(kind), f"^seqebm: {kind}.mp4: no video")
            for kind in ("text", "cut")
            for line in (
                "data video clip.mp4 {}.mp4 --out new.h5",
                "evaluate run --data {}.mp4",
                "denoise run --data {}.mp4 --out new.h5",
                "render {}.mp4 --out new.gif",
            )
        ),
        ("evaluate run --data run/model.h5", "run/model.h5: its format"),
        # frames and masks that do not belong together, files that are written while they are read
        ("denoise run --data clip.mp4 --mask nothing.h5 --out new.mp4", "nothing.h5: no such"),
        ("denoise run --data clip.mp4 --clean nothing.h5 --out new.h5", "nothing.h5: no such"),
        ("denoise run --data clip.mp4 --mask text.mp4 --out new.mp4", "text.mp4: no video"),
        ("denoise run --data clip.mp4 --clean text.h5 --out new.mp4", "text.h5: not an HDF5 file"),
        ("denoise run --data clip.mp4 --mask wide.h5 --out new.mp4", "wide.h5: .*81.*clip.* 100"),
        ("denoise run --data data.h5 --clean wide.h5 --out new.mp4", "wide.h5: .*81.*data.* 100"),
        ("denoise run --data data.h5 --mask ragged.h5 --out new.h5", "ragged.h5: <3 .*data.* <8 "),
        ("denoise run --data clip.mp4 --mask wide.h5 --out new.h5", "wide.h5: <4 .*clip.* <1 "),
        ("denoise run --data clip.mp4 --mask wide.h5 --out new.gif", r"wide.* \[13, 81.*, 100\]"),
        ("denoise run --data clip.mp4 --clean real.h5 --out new.mp4", "clean: .* from 0 to 1"),
        ("denoise run --data clip.mp4 --out clip.mp4", "clip.mp4: .* while it is read"),
        (
            "denoise run --data data.h5 --mask clip.mp4 --out new.mp4 --side-by-side clip.mp4",
            "clip.mp4: .* while it is read",
        ),
        (
            "denoise run --data clip.mp4 --out new.mp4 --side-by-side run/../new.mp4",
            "--side-by-side: .*new.mp4 is --out",
        ),
        ("denoise run --data clip.mp4 --out new.h5 --side-by-side b.mp4", "--side-by-side: .*h5'"),
        ("denoise run --data clip.mp4 --out new.mp4 --side-by-side new.gif", "mp4, got 'new.gif'"),
        ("denoise run --data clip.mp4 --out nowhere/new.mp4", "nowhere/new.mp4: ffmpeg: .*No such"),
        ("denoise run --data clip.mp4 --sweeps 2 --out new.mp4", "--keep: go with --mask"),
        ("denoise run --data clip.mp4 --layers 1 --out new.mp4", "--layers: the run has no stack"),
        ("train stack --data balls --out new --set layers=trbm", "layers: expected KIND:HIDDEN"),
        ("train stack --data balls --out new --set layers=rnn:2,rnn:2", r"layers\[0\]: .*got RNN"),
        ("data hiddens run --data wide.h5 --out new.h5", r"frames: expected shape .*100"),
        ("data noise clip.mp4 --out new.h5", "--kind, --missing"),
        ("data noise clip.mp4 --kind snow --out new.h5", "--kind: .*salt-and-pepper.* 'snow'"),
        ("data noise clip.mp4 --missing teeth --out new.h5", "--missing: .*pixels.* 'teeth'"),
        ("data noise clip.mp4 --kind balls --strength 2 --out new.h5", "strength: .* 2"),
        ("data noise clip.mp4 --missing boxes --share -1 --out new.h5", "strength: .* -1"),
        ("data noise clip.mp4 --kind balls --out new.h5 --mask-out mask.h5", "--mask-out"),
        ("data noise nothing.mp4 --kind balls --out new.h5", "nothing.mp4: no such file"),
        ("data noise clip.mp4 --kind balls --out new.txt", "new.txt"),
        ("data noise clip.mp4 --kind balls --out file/new.h5", "file/new.h5"),
        # frames of another width
        ("evaluate run --data wide.h5", "100.* 81"),
        ("evaluate run --data data.h5 --train wide.h5", "width 81.* 100"),
        ("sample run --prompt wide.h5 --out new.mp4", "prefix: .*100.* 81"),
        ("denoise run --data wide.h5 --out new.mp4", "100.* 81"),
        ("denoise run --data wide.h5 --out new.h5", "100.* 81"),
        ("denoise run --data real.h5 --out new.h5", r"\[0, 1\]"),
        # numbers out of range
        ("sample run --prompt data.h5 --prompt-frames 14 --out new.mp4", "--prompt-frames.* 14"),
        ("sample run --prompt data.h5 --prompt-frames 0 --out new.mp4", "--prompt-frames.* 0"),
        ("sample run --frames 0 --out new.mp4", "--frames.* 0 "),
        ("sample run --count 0 --out new.mp4", "--count.* 0 "),
        ("sample run --seed 18446744073709551616 --out new.mp4", "seed"),
        (
            "sample run --frames 1000000000000000 --count 1000000000000000 --out new.h5",
            "10{15}|memory",
        ),
        ("evaluate run --data data.h5 --prompt 0", "prompt.* 0"),
        ("evaluate run --data data.h5 --prompt 13", "prompt.* 13"),
        ("render data.h5 --count 0 --out new.mp4", "count"),
        ("render data.h5 --count -1 --out new.mp4", "count"),
        # places that cannot be written
        ("data balls --n 1 --length 2 --out file/new.h5", "file/new.h5"),
        ("data video clip.mp4 --out file/new.h5", "file/new.h5"),
        ("sample run --frames 2 --out file/new.h5", "file/new.h5"),
        ("sample run --frames 2 --out file/new.mp4", "file/new.mp4"),
        ("sample run --frames 2 --out file/new.gif", "file/new.gif"),
        ("denoise run --data data.h5 --out file/new.png", "file/new.png"),
        ("render data.h5 --out nowhere/new.mp4", "nowhere/new.mp4"),
        ("demo --out file", "'file'"),
        ("demo --out file/new", "'file/new'"),
        ("demo --out run", "run: is not empty"),
        ("sample run --frames 2 --out new.txt", "new.txt"),
        ("denoise run --data data.h5 --out new.txt", "new.txt"),
        ("render data.h5 --out new", "'new'"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(line, named, refused):
    before = files()
    assert_names(refused(line), named)
    assert files() == before


def assert_names(message, pattern):
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(message)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("train elman --data balls", "rbm, trbm, rtrbm, rnn, lstm, gru, .*stack, got 'elman'"),
        ("train rtrbm --data balls --speed", "--speed"),
        ("train rtrbm --data balls --device gpu", "device: 'gpu' cannot be used here: "),
        ("train rtrbm --data balls --preset best", "thesis-balls, .*demo, got 'best'"),
        ("train rtrbm --data balls TINY --set speed=3", "'speed'"),
        ("train rtrbm --data balls TINY --set speed", "KEY=VALUE, got 'speed'"),
        ("train rtrbm --data balls TINY --set model=lstm", "'model'"),
        ("train rtrbm --data nothing.h5 TINY", "nothing.h5: no such file"),
        ("train rtrbm --data text.h5 TINY", "text.h5: not an HDF5 file"),
        ("train rtrbm --data cut.h5 TINY", "cut.h5: .*truncated"),
        ("train rtrbm --data text.mp4 TINY", "text.mp4: no video"),
        ("train rtrbm --data cut.mp4 TINY", "cut.mp4: no video"),
        ("train rtrbm --data run/model.h5 TINY", "run/model.h5: its format"),
        ("train rtrbm --data real.h5 TINY", r"Bernoulli .*\[0, 1\]"),
    ],
)
def test_bad_trainings_are_refused_in_one_line(line, named, refused):
    assert_names(refused(f"{line} --out new"), named)
    assert not Path("new/model.h5").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("hidden=many", "hidden.* 'many'"),
        ("hidden=2.5", "hidden.* '2.5'"),
        ("hidden=0", "hidden.* 0"),
        ("hidden=-1", "hidden.* -1"),
        ("hidden=100000000000000", "hidden|memory"),
        ("order=-1", "order.* -1"),
        ("visible=ternary", "'ternary'"),
        ("held_at_zero=shoes", "held_at_zero.* 'shoes'"),
        ("steps=-1", "steps.* -1"),
        ("steps=0", "steps.* 0"),
        ("batch=0", "batch.* 0"),
        ("seed=-1", "seed.* -1"),
        ("seed=18446744073709551616", "seed"),
        ("optimizer=best", "optimizer.* 'best'"),
        ("lr=high", "lr.* 'high'"),
        ("lr=-1", "lr.* -1"),
        ("lr=nan", "lr.* nan"),
        ("optimizer=sgd,momentum=-1", "momentum.* -1"),
        ("gibbs_steps=often", "gibbs_steps.* 'often'"),
        ("gibbs_steps=0:1:2", "gibbs_steps.* '0:1:2'"),
        ("gibbs_steps=0", "Gibbs.* 0"),
        ("clip=-1", "clip.* -1"),
        ("average=2", "average.* 2"),
        ("balls=0", "balls.* 0"),
        ("resolution=0", "resolution.* 0"),
        ("length=0", "length.* 0"),
    ],
)
def test_bad_values_of_a_recipe_are_refused_in_one_line(settings, named, refused):
    settings = " ".join(f"--set {setting}" for setting in settings.split(","))
    assert_names(refused(f"train rtrbm --data balls --out new TINY {settings}"), named)
    assert not Path("new/model.h5").exists()


def test_the_connections_of_a_trbm_are_checked(refused):
    message = refused("train trbm --data balls --out new TINY --set connections=hh,xx")
    assert_names(message, "connections.* 'xx'")


def test_networks_cannot_be_pretrained(refused):
    line = "train lstm --data balls --out new --preset thesis-balls TINY"
    assert "pretrain" in refused(f"{line} --set pretrain=3")


@pytest.mark.parametrize("out", ["file", "file/new"])
def test_a_run_needs_a_folder(out, refused):
    assert f"'{out}'" in refused(f"train rtrbm --data balls --out {out} TINY")


@pytest.mark.parametrize("data", ["balls", "data.h5"])
def test_a_training_that_diverges_is_stopped_with_its_step_named(data, refused):
    line = f"train rtrbm --data {data} --out new TINY --visible gaussian --set lr=1e30"
    assert_names(refused(line), "stopped at step")


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("--data real.h5 TINY", "--data real.h5 TINY --visible gaussian"),
        ("--data balls TINY --set optimizer=adma", "--data balls TINY --set optimizer=adam"),
    ],
)
def test_a_mistake_can_be_corrected_in_the_same_folder(bad, good, refused, done):
    refused(f"train rtrbm {bad} --out new")
    done(f"train rtrbm {good} --out new")


# --- damaged runs ----------------------------------------------------------------------------


def description(**changes):
    """The text of the run's recipe.json with some entries changed."""
    return json.dumps({**json.loads(Path("run/recipe.json").read_text()), **changes})


DAMAGES = {
    "empty": lambda: "",
    "cut": lambda: description()[:40],
    "null": lambda: "null",
    "deep": lambda: "[" * 100_000,
    "recipe is null": lambda: description(recipe=None),
    "shape of another width": lambda: description(
        format={"shape": [3, 3], "frame_rate": 25, "unit": ""}
    ),
}


@pytest.mark.parametrize(
    "line",
    ["sample run --frames 2 --out new.mp4", "train rtrbm --data data.h5 --out run TINY --resume"],
    ids=["sample", "resume"],
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_recipe_is_refused_in_one_line(damage, line, refused):
    Path("run/recipe.json").write_text(DAMAGES[damage]())
    assert_names(refused(line), "run|shape")


def test_a_recipe_that_is_no_text_is_refused(refused):
    Path("run/recipe.json").write_bytes(b"\xff\xfe\x00{")
    assert_names(refused("evaluate run --data data.h5"), "run/recipe.json: damaged")


COMMANDS = [
    "evaluate run --data data.h5",
    "sample run --frames 2 --out new.mp4",
    "denoise run --data data.h5 --out new.h5",
    "train rtrbm --data data.h5 --out run TINY --resume",
]


@pytest.fixture
def trained(place, done):
    """The run in a state in which it can be resumed."""
    shutil.rmtree("run")
    done("train rtrbm --data data.h5 --out run TINY")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("line", COMMANDS)
def test_another_format_in_place_of_the_checkpoint_is_refused(line, refused):
    shutil.copy("data.h5", "run/model.h5")
    assert_names(refused(line), "run/model.h5: its format is not seqebm-model")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("line", COMMANDS)
def test_a_cut_or_overwritten_checkpoint_is_refused(line, refused):
    content = Path("run/model.h5").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"a shopping list"):
        Path("run/model.h5").write_bytes(damaged)
        assert "run/model.h5: " in refused(line)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("other", ["trbm", "rtrbm"])
def test_a_checkpoint_of_another_model_is_refused(line, other, done, refused):
    done(f"train {other} --data data.h5 --out other TINY --set hidden=5")
    shutil.copy("other/model.h5", "run/model.h5")
    assert_names(refused(line), "run")


@pytest.mark.parametrize("line", COMMANDS[:3])
def test_a_run_without_a_checkpoint_is_refused(line, refused):
    Path("run/model.h5").unlink()
    assert_names(refused(line), "run/model.h5: no such file")


def test_a_run_whose_training_data_are_gone_says_so(home, refused):
    text = Path("run/recipe.json").read_text().replace(str(home), "/nowhere")
    Path("run/recipe.json").write_text(text)
    assert "/nowhere/data.h5: no such file" in refused("evaluate run --data data.h5")


def test_bad_input_to_the_program_itself():
    line = program("evaluate run --data text.h5 --json")
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "seqebm: text.h5: not an HDF5 file\n"
