import itertools
import json
from dataclasses import asdict, replace

import pytest
import torch

import seqebm
from seqebm.data import Sequence, Sequences
from seqebm.learning import load_training, runs, training
from seqebm.learning.recipes import MODELS, Recipe
from seqebm.learning.runs import FrameFormat, frame_format, open_run, start

TINY = Recipe(hidden=3, steps=4, batch=2, gibbs_steps="2", balls=1, resolution=6, length=5)


def videos():
    """Five sequences of different lengths, frames of 2 × 3 pixels."""
    frames = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(1)).round()
    return Sequences(
        Sequence(one[: 2 + i], shape=(2, 3), frame_rate=12.5, unit="ink")
        for i, one in enumerate(frames)
    )


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Killed(Exception):
    """What stops a run from within."""


def killed_at(call):
    """An evaluation that ends the run at its call number `call`, counted from 0."""
    calls = itertools.count()

    def evaluate(model):
        if next(calls) == call:
            raise Killed
        return {}

    return evaluate


# --- beginning -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_what_its_folder_says(model, tmp_path):
    layers = "mrnn:2,gru:1" if model.startswith("stacked") else TINY.layers
    recipe = replace(TINY, model=model, hidden=4, layers=layers)
    trained, _ = start(tmp_path / "run", recipe, "balls", None)
    opened = open_run(tmp_path / "run")
    assert opened.recipe == recipe
    assert opened.data == "balls"
    assert opened.format == FrameFormat((6, 6), 25.0, "grey level")
    assert equal(opened.model, trained)
    assert equal(trained, training.train(recipe)[0])


def test_a_run_on_given_sequences(tmp_path):
    recipe = replace(TINY, model="trbm", order=2, average=0.5)
    trained, _ = start(str(tmp_path / "a" / "b"), recipe, "some/data.h5", videos())
    opened = open_run(str(tmp_path / "a" / "b"))
    assert opened.recipe == recipe
    assert opened.data == "some/data.h5"
    assert opened.format == FrameFormat((2, 3), 12.5, "ink")
    assert equal(opened.model, trained)
    assert equal(trained, training.train(recipe, videos())[0])


def test_the_format_of_the_frames():
    assert frame_format(TINY, None) == FrameFormat((6, 6), 25.0, "grey level")
    assert frame_format(TINY, videos()) == FrameFormat((2, 3), 12.5, "ink")
    vectors = Sequences([Sequence(torch.rand(3, 7))])
    assert frame_format(TINY, vectors) == FrameFormat((7,), 25.0, "")


def test_the_files_of_a_run(tmp_path):
    start(tmp_path / "run", TINY, "data.h5", Sequences([*videos()], preparation="how"))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "model.h5",
        "recipe.json",
    ]
    assert json.loads((tmp_path / "run" / "recipe.json").read_text()) == {
        "recipe": asdict(TINY),
        "data": "data.h5",
        "format": {"shape": [2, 3], "frame_rate": 12.5, "unit": "ink", "preparation": "how"},
    }


def test_an_empty_folder_or_one_with_other_files_may_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("a second attempt")
    start(tmp_path, TINY, "balls", None)
    assert (tmp_path / "notes.txt").read_text() == "a second attempt"
    assert open_run(tmp_path).recipe == TINY


def test_the_history_is_kept(tmp_path):
    start(tmp_path, TINY, "balls", None, evaluate=lambda model: {"two": 2.0})
    history = load_training(tmp_path)[1]["history"]
    assert [record["step"] for record in history] == [1, 2, 3, 4]
    assert all(record["two"] == 2.0 for record in history)


@pytest.mark.parametrize(
    ("steps", "checkpoint_every", "evaluate_every"),
    [(1, 1, 1), (99, 1, 1), (2000, 20, 20), (50_000, 500, 500), (1_000_000, 500, 10_000)],
)
def test_a_hundred_records_and_enough_checkpoints(
    steps, checkpoint_every, evaluate_every, tmp_path, monkeypatch
):
    given = {}

    def train(recipe, sequences, device, **options):
        given.update(options, device=device)
        return seqebm.RBM(4, 3), []

    monkeypatch.setattr(runs, "train", train)
    start(tmp_path, replace(TINY, steps=steps), "balls", None, progress=True)
    assert given["checkpoint"] == tmp_path / "model.h5"
    assert given["checkpoint_every"] == checkpoint_every
    assert given["evaluate_every"] == evaluate_every
    assert given["progress"] is True
    assert given["resume"] is False
    assert given["device"] == "cpu"


def test_the_global_random_state_is_left_alone(tmp_path):
    state = torch.get_rng_state()
    start(tmp_path, TINY, "balls", None)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/run"):
        with pytest.raises(OSError, match=f"'{tmp_path / folder}'"):
            start(tmp_path / folder, TINY, "balls", None)


def test_a_recipe_that_cannot_be_written_leaves_no_run(tmp_path, monkeypatch):
    def replace_file(source, target):
        raise PermissionError(13, "no entry", str(target))

    monkeypatch.setattr("os.replace", replace_file)
    with pytest.raises(OSError, match=r"recipe\.json"):
        start(tmp_path, TINY, "balls", None)
    assert list(tmp_path.iterdir()) == []


# --- going on --------------------------------------------------------------------------------

SETTINGS = {
    "plain": {},
    "average": {"average": 0.8},
    "pretrained": {"pretrain": 3},
    "sgd": {"optimizer": "sgd", "lr": 0.05, "gibbs_steps": "0:1,2:3"},
    "trbm": {"model": "trbm", "order": 2},
    "lstm": {"model": "lstm"},
}


@pytest.mark.parametrize("data", ["balls", "videos"])
@pytest.mark.parametrize("stop", [0, 3])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stopped_run_goes_on_as_if_it_had_not(settings, stop, data, tmp_path):
    recipe = replace(TINY, **SETTINGS[settings])
    sequences = None if data == "balls" else videos()
    whole, _ = start(tmp_path / "whole", recipe, data, sequences)
    with pytest.raises(Killed):
        start(tmp_path / "run", recipe, data, sequences, evaluate=killed_at(stop))
    steps = []
    resumed, _ = start(
        tmp_path / "run",
        recipe,
        data,
        sequences,
        resume=True,
        evaluate=lambda model: steps.append(1) or {},
    )
    assert len(steps) == 4 - stop
    assert equal(resumed, whole)
    assert equal(open_run(tmp_path / "run").model, whole)


def test_a_stopped_run_can_be_opened_from_its_first_checkpoint_on(tmp_path):
    with pytest.raises(Killed):
        start(tmp_path / "early", TINY, "balls", None, evaluate=killed_at(0))
    with pytest.raises(FileNotFoundError, match=r"model\.h5"):
        open_run(tmp_path / "early")
    with pytest.raises(Killed):
        start(tmp_path / "run", TINY, "balls", None, evaluate=killed_at(2))
    assert load_training(tmp_path / "run")[1]["step"] == 2
    assert equal(
        open_run(tmp_path / "run").model, training.train(replace(TINY, lr_end=5e-4, steps=2))[0]
    )


def test_a_finished_run_is_not_trained_again(tmp_path):
    recipe = replace(TINY, average=0.5)
    first, _ = start(tmp_path, recipe, "balls", None)
    content = (tmp_path / "model.h5").read_bytes()
    assert equal(start(tmp_path, recipe, "balls", None, resume=True)[0], first)
    assert (tmp_path / "model.h5").read_bytes() == content


def test_a_folder_in_use_is_refused(tmp_path):
    start(tmp_path, TINY, "balls", None)
    content = (tmp_path / "model.h5").read_bytes()
    for recipe in (TINY, replace(TINY, model="lstm")):
        with pytest.raises(ValueError, match=f"^{tmp_path}: already holds a training run"):
            start(tmp_path, recipe, "balls", None)
    assert (tmp_path / "model.h5").read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.5}, "lr"),
        ({"model": "trbm"}, "model"),
        ({"order": 1}, "order"),
        ({"seed": 2, "hidden": 4}, "hidden, seed"),
        ({"length": 6}, "length"),
    ],
)
def test_another_recipe_is_refused_with_its_keys(changes, named, tmp_path):
    start(tmp_path, TINY, "balls", None)
    with pytest.raises(ValueError, match=f"^{tmp_path}: .* begun with another {named}$"):
        start(tmp_path, replace(TINY, **changes), "balls", None, resume=True)


def test_other_data_are_refused(tmp_path):
    start(tmp_path, TINY, "data.h5", videos())
    turned = Sequences(replace(one, shape=(3, 2)) for one in videos())
    for data, sequences in (("other.h5", videos()), ("balls", None), ("data.h5", turned)):
        with pytest.raises(ValueError, match=r"begun with another data$"):
            start(tmp_path, TINY, data, sequences, resume=True)
    start(tmp_path, TINY, "data.h5", videos(), resume=True)


# --- bad folders -----------------------------------------------------------------------------


def test_folders_without_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("", "nothing", "file"):
        path = tmp_path / folder
        with pytest.raises(FileNotFoundError, match=f"^{path}: holds no training run"):
            open_run(path)


@pytest.fixture
def run(tmp_path):
    """The folder of a run, whose recipe.json a test may change."""
    start(tmp_path / "run", TINY, "balls", None)
    return tmp_path / "run"


def changed(run, **changes):
    """The text of recipe.json with other entries."""
    return json.dumps({**json.loads((run / "recipe.json").read_text()), **changes})


FORMAT = {"shape": [6, 6], "frame_rate": 25.0, "unit": "grey level"}
DAMAGES = {
    "empty": lambda run: "",
    "cut": lambda run: (run / "recipe.json").read_text()[:50],
    "a list": lambda run: "[1]",
    "an empty list": lambda run: "[]",
    "null": lambda run: "null",
    "a number": lambda run: "3",
    "text": lambda run: '"recipe"',
    "deep": lambda run: "[" * 100_000,
    "recipe is null": lambda run: changed(run, recipe=None),
    "recipe is a list": lambda run: changed(run, recipe=[]),
    "recipe is a number": lambda run: changed(run, recipe=3),
    "unknown key": lambda run: changed(run, recipe={"speed": 3}),
    "format is null": lambda run: changed(run, format=None),
    "format without a shape": lambda run: changed(run, format={}),
    "shape is a number": lambda run: changed(run, format={**FORMAT, "shape": 6}),
    "shape is text": lambda run: changed(run, format={**FORMAT, "shape": ["six"]}),
    "shape is infinite": lambda run: changed(run, format={**FORMAT, "shape": [float("inf")]}),
    "rate is text": lambda run: changed(run, format={**FORMAT, "frame_rate": "slow"}),
    "rate is a list": lambda run: changed(run, format={**FORMAT, "frame_rate": []}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_recipes_are_refused_by_name(damage, run):
    (run / "recipe.json").write_text(DAMAGES[damage](run))
    with pytest.raises(ValueError, match=f"^{run}/recipe.json: damaged"):
        open_run(run)


@pytest.mark.parametrize("damage", DAMAGES)
def test_runs_with_damaged_recipes_are_not_resumed(damage, run):
    (run / "recipe.json").write_text(DAMAGES[damage](run))
    content = (run / "model.h5").read_bytes()
    with pytest.raises(ValueError, match=f"^{run}"):
        start(run, TINY, "balls", None, resume=True)
    assert (run / "model.h5").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"a shopping list", b"\x89HDF\r\n\x1a\n"])
def test_damaged_checkpoints_are_refused_by_name(content, run):
    (run / "model.h5").write_bytes(content)
    for attempt in (open_run, lambda run: start(run, TINY, "balls", None, resume=True)):
        with pytest.raises(ValueError, match=f"^{run}/model.h5: "):
            attempt(run)


@pytest.mark.parametrize(
    "other", [replace(TINY, model="trbm"), replace(TINY, hidden=4), replace(TINY, model="gru")]
)
def test_a_checkpoint_of_another_model_is_refused(other, run, tmp_path):
    start(tmp_path / "other", other, "balls", None)
    (run / "model.h5").write_bytes((tmp_path / "other" / "model.h5").read_bytes())
    for attempt in (lambda run: start(run, TINY, "balls", None, resume=True), open_run):
        with pytest.raises(ValueError, match=f"^{run}"):
            attempt(run)
