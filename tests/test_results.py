"""The programs of docs/results that train and measure series of runs."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seqebm.data import Sequence, Sequences, save_sequences
from seqebm.data.text import Characters
from seqebm.evaluate import bits_per_symbol, surprises
from seqebm.learning.recipes import Recipe, build_model, make_recipe
from seqebm.learning.runs import open_run

ROOT = Path(__file__).parents[1]
TEXT = {"train": "the cat sat on the mat. " * 40, "valid": "a cat sat on a hat. ", "test": "oh. "}
VOCABULARY = Characters.of(TEXT.values())


@pytest.fixture
def program(monkeypatch):
    """Imports a program, which is then called as from a command line."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "results")
    yield importlib.import_module
    for name in ("series", "record", "mocap", "characters", "recurrent", "music", "mnist"):
        sys.modules.pop(name, None)


def recipe_of(arguments):
    """The recipe that `seqebm train` makes of its arguments."""
    settings = dict(one.removeprefix("--set=").split("=", 1) for one in arguments[5:])
    assert arguments[3] == "--preset"
    return make_recipe(arguments[0], arguments[4], settings)


@pytest.fixture
def characters(program, tmp_path, monkeypatch):
    """The program on characters, with one run of two updates on a short text."""
    module = program("characters")
    made = [VOCABULARY.sequence(VOCABULARY.encode(t), split=s) for s, t in TEXT.items()]
    save_sequences(tmp_path / "ptb.h5", Sequences(made, VOCABULARY.to_json()))
    monkeypatch.setattr(module, "SYMBOLS", {"ptb": VOCABULARY.size})
    monkeypatch.setattr(module, "PARAMETERS", 2500)
    monkeypatch.setattr(module, "TOLERANCE", 0.05)
    monkeypatch.setattr(module, "BUDGET", {"steps": 2, "batch": 2})
    monkeypatch.setattr(module, "RATES", {"mrnn": 0.01})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the processes that train
    runs = [module.Name("ptb", model, 1) for model in ("mrnn", "gru")]
    return module.SERIES._replace(runs=runs, file=tmp_path / "characters.json")


def call(series, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
    series.main()


@pytest.mark.slow
def test_runs_are_trained_and_measured_once(characters, tmp_path, monkeypatch):
    call(characters, monkeypatch, "train", tmp_path, "ptb-mrnn")
    kept = json.loads(characters.file.read_text())
    assert [*kept["runs"]] == ["ptb-mrnn-1"]
    row, model = kept["runs"]["ptb-mrnn-1"], open_run(tmp_path / "ptb-mrnn-1").model
    assert row["command"] == (
        f"seqebm train mrnn --data RUNS/ptb.h5 --preset text --set=hidden={model.cell.hidden_size} "
        "--set=steps=2 --set=batch=2 --set=lr=0.01 --set=seed=1 --out RUNS/ptb-mrnn-1"
    )
    assert row["parameters"] == sum(p.numel() for p in model.parameters())
    assert row["parameters"] == pytest.approx(2500, rel=0.05)
    for split in ("valid", "test"):
        text = VOCABULARY.sequence(VOCABULARY.encode(TEXT[split]))
        assert row[split]["bits"] == pytest.approx(bits_per_symbol(surprises(model, text)).bits)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # which would train
    call(characters, monkeypatch, "train", tmp_path, "ptb-mrnn-1")
    characters.file.write_text(json.dumps({"runs": {"another": {"bits": 1}}}))
    call(characters, monkeypatch, "measure", tmp_path)
    again = json.loads(characters.file.read_text())["runs"]
    assert [*again] == ["another", "ptb-mrnn-1"]
    assert again["another"] == {"bits": 1}
    assert again["ptb-mrnn-1"]["test"] == row["test"]
    recipe = tmp_path / "ptb-mrnn-1" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"steps": 2', '"steps": 3'))
    characters.file.unlink()
    call(characters, monkeypatch, "measure", tmp_path)  # it has not come to its end
    assert not characters.file.exists()


def test_runs_are_called_by_their_names_and_what_they_have_in_common(program):
    series = program("characters").SERIES
    assert series.chosen([]) == series.runs
    assert {run.seed for run in series.runs[:10]} == {1}
    music = program("music").SERIES
    assert [str(run) for run in music.chosen(["jsb-rnn"])] == [f"jsb-rnn-{n}" for n in (1, 2, 3)]
    assert [str(run) for run in series.chosen(["anna-rnn"])] == [f"anna-rnn-{n}" for n in (1, 2, 3)]
    assert [str(run) for run in series.chosen(["ptb-mlstm-2", "pt"])] == ["ptb-mlstm-2"]


@pytest.mark.parametrize("symbols", [50, 77])
@pytest.mark.parametrize("model", ["rnn", "lstm", "mrnn", "stacked", "mlstm"])
def test_all_networks_of_characters_are_of_one_size(program, model, symbols):
    module = program("characters")
    hidden = module.hidden_units(model, symbols)
    assert module.parameters(model, hidden, symbols) == pytest.approx(216_000, rel=0.01)


@pytest.mark.parametrize("name", ["characters", "recurrent", "music", "mnist"])
def test_every_run_has_a_model(program, name):
    for run in program(name).SERIES.runs:
        recipe = recipe_of(program(name).SERIES.arguments(Path("RUNS"), run))
        with torch.device("meta"):
            build_model(recipe, 49)
        assert recipe.seed == run.seed


@pytest.mark.slow
def test_errors_of_balls_are_those_of_the_tables(program, tmp_path, monkeypatch):
    module = program("recurrent")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(module, "UPDATES", 2)
    few = module.held_out_videos
    monkeypatch.setattr(module, "held_out_videos", lambda recipe, count: few(recipe, count // 50))
    runs = [module.Name("balls", "gru", 1)]
    monkeypatch.setitem(module.CHANGES["balls"], "gru", {"hidden": 4})
    series = module.SERIES._replace(runs=runs, file=tmp_path / "recurrent.json")
    call(series, monkeypatch, "train", tmp_path)
    (row,) = json.loads(series.file.read_text())["runs"].values()
    opened = open_run(tmp_path / "balls-gru-1")
    videos = few(Recipe(), 4)
    assert videos.shape == (4, 100, 900)
    error = (opened.model.predict(videos) - videos)[:, 1:].square().sum(-1).mean()
    assert row["next_frame"]["per_frame"] == pytest.approx(float(error.detach()), rel=1e-5)


def coin_tosses(length, size):
    frames = (
        torch.rand(length, size, generator=torch.Generator().manual_seed(length)) < 0.3
    ).float()
    return Sequence(frames)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program_name", "run", "settings", "data"),
    [
        ("music", ("jsb", "rtrbm", 1), {"hidden": 5, "steps": 20}, "JSB_Chorales"),
        ("music", ("muse", "rnn", 1), {"hidden": 5, "steps": 20}, "MuseData"),
        ("mnist", ("mnist", "cd1", 1), {"hidden": 5, "steps": 20, "chains": 0}, "mnist"),
    ],
)
def test_likelihoods_of_tables_hold_the_exact_value(
    program, tmp_path, monkeypatch, program_name, run, settings, data
):
    module = program(program_name)
    tosses = [replace(coin_tosses(n, 6), split="test") for n in (12, 20)]
    save_sequences(tmp_path / f"{data}.h5", Sequences([coin_tosses(30, 6), *tosses]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    key = "cd1" if program_name == "mnist" else "-".join(run[:2])
    monkeypatch.setitem(module.CHANGES, key, settings)
    if program_name == "mnist":
        annealing = {"runs": 50, "temperatures": 50, "sweeps": 20}
        monkeypatch.setattr(module, "ANNEALING", annealing)
    else:
        monkeypatch.setattr(module, "FRAMES", {True: 9, False: 9})
        monkeypatch.setattr(module, "TEMPERATURES", dict.fromkeys((True, False), (5, 40)))
    series = module.SERIES._replace(runs=[module.Name(*run)], file=tmp_path / "figures.json")
    call(series, monkeypatch, "train", tmp_path)
    (row,) = json.loads(series.file.read_text())["runs"].values()
    model = open_run(tmp_path / "-".join(map(str, run))).model
    exact = torch.cat([model.log_prob(one.frames[None])[0].detach() for one in tosses])
    assert row["test"]["frames"] == len(exact) == 32
    assert row["test"]["lower"] - 1e-6 <= float(exact.mean()) <= row["test"]["upper"] + 1e-6
    if program_name == "music":
        assert 0 < row["accuracy"] < 1
