import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

import seqebm
from seqebm import demo, evaluate, scenes
from seqebm.data import read_video
from seqebm.demo import MARK, run_demo
from seqebm.learning import load_training
from seqebm.learning.recipes import PRESETS, ball_videos, held_out_videos, make_recipe
from seqebm.learning.runs import open_run

TINY = {
    "hidden": 4,
    "order": 2,
    "steps": 3,
    "batch": 2,
    "gibbs_steps": "1",
    "balls": 1,
    "resolution": 10,
    "length": 12,
    "start_at_mean": False,  # its grey frames are easily told from the truth
}
YARDSTICKS = [
    "mean frame",
    "copy last",
    "linear extrapolation",
    *(f"ridge AR({order})" for order in (1, 2, 3, 4)),
]
VIDEOS = {
    "continuation.mp4": 2,
    "prediction.mp4": 3,
    "denoising.mp4": 3,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder and the report of a tiny demonstration."""
    folder = tmp_path_factory.mktemp("made") / "deep" / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "demo", TINY)
        return folder, run_demo(folder)


class InThisProcess:
    """In place of a pool of processes, which take long to start."""

    def __init__(self, *arguments):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        pass

    map = staticmethod(map)


@pytest.fixture
def quick(monkeypatch):
    """A tiny demonstration in one process, without videos, for what does not depend on them."""
    monkeypatch.setitem(PRESETS, "demo", TINY)
    monkeypatch.setattr(demo, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(scenes, "save_gallery", lambda *arguments: {"nothing.mp4": "nothing"})


def recipe(model):
    return make_recipe(model, None, {key: str(value) for key, value in TINY.items()})


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is in the folder -------------------------------------------------------------------


def test_everything_is_in_the_folder(made):
    names = sorted(path.name for path in made[0].iterdir())
    assert names == sorted(
        [MARK, "report.json", "report.txt", "rtrbm", "samples.mp4", "trbm", "weights.png", *VIDEOS]
    )


def test_the_report_has_the_models_beside_the_yardsticks(made):
    folder, report = made
    assert (folder / "report.txt").read_text() == report + "\n"
    lines = report.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("predictor"))
    rows = [line.split("  ")[0] for line in lines[start + 1 : lines.index("", start)]]
    assert rows == ["RTRBM", "TRBM", *YARDSTICKS]
    for name in (*VIDEOS, "samples.mp4", "weights.png"):
        assert f"  {name} " in report


def test_the_figures_are_kept_too(made):
    scores = json.loads((made[0] / "report.json").read_text())
    assert list(scores) == ["RTRBM", "TRBM", *YARDSTICKS]
    assert all(score["sequences"] == 50 for score in scores.values())


def test_the_figures_are_those_of_new_videos(made):
    scores = json.loads((made[0] / "report.json").read_text())
    test = held_out_videos(replace(recipe("rtrbm"), length=100), 50)
    assert test.shape == (50, 100, 100)
    predicted = {
        name.upper(): seqebm.load(made[0] / name).predict(test) for name in ("rtrbm", "trbm")
    }
    predicted["mean frame"] = ball_videos(recipe("rtrbm"), 200)(0).mean((0, 1))
    for name, guess in predicted.items():
        error = (guess.expand_as(test) - test)[:, 1:].double().square().sum().item() / (50 * 99)
        assert scores[name]["per_frame"] == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("name", ["rtrbm", "trbm"])
def test_both_models_are_runs_with_the_same_settings(name, made):
    opened = open_run(made[0] / name)
    assert opened.recipe == recipe(name)
    assert opened.data == "balls"
    assert type(opened.model).__name__ == name.upper()
    assert load_training(made[0] / name)[1]["step"] == 3


@pytest.mark.parametrize("name", VIDEOS)
def test_the_videos_have_all_frames_and_captioned_panels(name, made):
    shown = read_video(made[0] / name)
    assert len(shown.frames) == 100
    assert shown.shape == (232, VIDEOS[name] * 192 + 10)
    assert shown.frame_rate == 25


def test_nine_samples_in_a_square(made):
    shown = read_video(made[0] / "samples.mp4")
    assert len(shown.frames) == 100
    assert shown.shape == (3 * 122, 3 * 122)


def test_the_weights_are_a_picture(made):
    model = seqebm.load(made[0] / "rtrbm")
    expected = scenes.weights(model, (10, 10))
    with Image.open(made[0] / "weights.png") as image:
        assert (image.height, image.width) == expected.shape[1:3]


def test_the_first_video_begins_with_the_truth_twice(made):
    """Up to the compression, the prompt is the same on both sides; afterwards it is not."""
    height, width = 232, 394
    frames = read_video(made[0] / "continuation.mp4").frames.reshape(-1, height, width)
    left, right = (frames[:, 41:221, x : x + 180] for x in (11, 203))
    errors = (left - right).abs().mean((1, 2))
    assert errors[:10].max() < 0.02
    assert errors[10:].min() > 0.1


# --- where it is written ---------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_second_run_replaces_the_first_and_resumes_nothing(made, tmp_path, monkeypatch):
    folder = tmp_path / "demo"
    shutil.copytree(made[0], folder)
    monkeypatch.setitem(PRESETS, "demo", {**TINY, "steps": 2, "hidden": 3})
    run_demo(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MARK, "report.json", "report.txt", "rtrbm", "trbm"]
    )
    for name in ("rtrbm", "trbm"):
        opened = open_run(folder / name)
        assert (opened.recipe.steps, opened.recipe.hidden) == (2, 3)
        assert load_training(folder / name)[1]["step"] == 2


@pytest.mark.usefixtures("quick")
def test_the_same_run_twice_gives_the_same_figures(tmp_path):
    for _ in range(2):
        run_demo(tmp_path / "demo")
        assert seqebm.load(tmp_path / "demo" / "trbm").hidden_to_hidden.shape == (2, 4, 4)
    first = (tmp_path / "demo" / "report.json").read_bytes()
    run_demo(tmp_path / "other")
    assert (tmp_path / "other" / "report.json").read_bytes() == first


@pytest.mark.usefixtures("quick")
def test_what_an_interrupted_run_left_is_replaced(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    folder = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "next_frame_table", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_demo(folder)
    assert (folder / "trbm").exists()
    assert not (folder / "report.txt").exists()
    run_demo(folder)
    assert (folder / "report.txt").exists()


@pytest.mark.usefixtures("quick")
def test_an_empty_folder_may_be_used(tmp_path):
    run_demo(tmp_path)
    assert (tmp_path / "report.txt").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "rtrbm/recipe.json"])
def test_a_folder_with_other_files_is_refused_and_left_alone(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    before = content(tmp_path)
    with pytest.raises(ValueError, match=f"^{tmp_path}: is not empty"):
        run_demo(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["file", "file/demo"])
def test_a_path_that_cannot_be_a_folder_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match=f"'{tmp_path / name}'"):
        run_demo(tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.usefixtures("quick")
def test_the_global_random_state_is_left_alone(tmp_path):
    state = torch.get_rng_state()
    run_demo(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
