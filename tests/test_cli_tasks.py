"""Problems of long memory in `seqebm train` and `seqebm evaluate`."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import seqebm
from seqebm.data.problems import make_problem
from seqebm.learning import load_training, tasks
from seqebm.learning.problems import ProblemNetwork, measure
from seqebm.learning.recipes import TEST_SEED

TASK = "--task memorization-5 --length 2"
SMALL = "--set hidden=10 --set cg_steps=4 --set batch=50 --set steps=3"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the run of a task, and one of bouncing balls."""
    folder = tmp_path_factory.mktemp("home")
    keys = {"hidden": "10", "steps": "2", "batch": "50", "cg_steps": "4"}
    recipe = tasks.task_recipe("rnn", "memorization-5", 2, None, keys)
    tasks.start(folder / "run", recipe, progress=False)
    return folder


@pytest.fixture(autouse=True)
def place(home, tmp_path, monkeypatch):
    """The current folder of a test: a copy of the home, which it may change."""
    shutil.copytree(home, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")


def state(folder):
    """Parameters and everything that a run goes on from, but for the time it took."""
    model, training = load_training(folder)
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in training["history"]]
    tensors = [*model.state_dict().values(), *training["ahead"].values()]
    tensors += [v for kept in training["optimizer"]["state"].values() for v in kept.values()]
    return history, tensors


def same(one, other):
    (history, tensors), (their, others) = state(one), state(other)
    pairs = zip(tensors, others, strict=True)
    return history == their and all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs
    )


# --------------------------------------------------------------------------------------- train


def test_a_task_is_learned_in_a_folder(done):
    said = done(f"train rnn {TASK} --optimizer hf --out new {SMALL}")
    history = load_training("new")[1]["history"]
    minibatches, share = history[-1]["minibatches"], history[-1]["sequences"]
    assert re.fullmatch(
        f"new: memorization-5 of length 2 not solved after 3 steps, {minibatches:.0f} minibatches "
        rf"and \d+ s; {share:.2%} of test sequences wrong\n",
        said,
    )
    kept = json.loads(Path("new/recipe.json").read_text())
    assert (kept["data"], kept["recipe"]["task"]) == ("memorization-5", "memorization-5")
    assert kept["recipe"]["length"] == 2
    assert (kept["recipe"]["optimizer"], kept["recipe"]["structural"]) == ("hf", 1 / 30)


@pytest.mark.slow
def test_a_solved_task_says_so(done):
    said = done("train rnn --task memorization-5 --length 2 --out new --set hidden=20")
    assert re.match(r"new: memorization-5 of length 2 solved after \d+ steps, ", said)
    assert said.endswith("; 0.00% of test sequences wrong\n")
    evaluated = done("evaluate new")
    assert evaluated.startswith("memorization-5 of length 2, 10000 sequences: solved\n")
    assert json.loads(done("evaluate new --json"))["solved"] is True


def test_a_length_is_a_hundred_unless_it_is_given(done):
    line = "train gru --task xor --optimizer sgd --out new --set hidden=2 --set steps=1"
    assert "xor of length 100 not solved after 1 steps, 0.1 minibatches" in done(line)


@pytest.mark.parametrize("optimizer", ["hf", "nag", "adam"])
def test_a_task_that_was_stopped_goes_on_bit_for_bit(optimizer, command, done, monkeypatch):
    monkeypatch.setattr(tasks, "TEST_EVERY", 1)
    line = f"train rnn {TASK} --optimizer {optimizer} {SMALL} --set steps=6 --out"
    done(f"{line} whole")
    shown = tasks._shown

    def stop_at_the_fourth(record):
        if record["step"] == 4:
            raise KeyboardInterrupt
        return shown(record)

    monkeypatch.setattr(tasks, "_shown", stop_at_the_fourth)
    code, _, err = command(f"{line} parts")
    assert (code, err.strip()) == (130, "seqebm: interrupted")
    assert [record["step"] for record in state("parts")[0]] == [1, 2, 3]
    monkeypatch.setattr(tasks, "_shown", shown)
    said = done(f"{line} parts --resume")
    assert "after 6 steps" in said
    assert same("parts", "whole")
    assert done(f"{line} parts --resume") == said  # nothing is left to do
    assert same("parts", "whole")


def test_a_failed_run_goes_on_under_a_larger_limit(done):
    line = f"train rnn {TASK} {SMALL} --out"
    done(f"{line} whole")
    used = [record["minibatches"] for record in state("whole")[0]]
    assert "after 2 steps" in done(f"{line} parts --set limit={used[1]:.0f}")
    assert "after 3 steps" in done(f"{line} parts --resume")
    assert same("parts", "whole")
    assert json.loads(Path("parts/recipe.json").read_text())["recipe"]["limit"] == 50_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnn --out new", "--data, --task: expected one of them, got neither"),
        (f"rnn {TASK} --data balls --out new", "--data, --task: expected one of them, got both"),
        (
            "rnn --data balls --length 5 --out new",
            "--length: goes with --task; of videos use --set length=FRAMES",
        ),
        ("rnn --task sums --out new", "task: expected one of addition, .* got 'sums'"),
        ("rnn --task addition --length 9 --out new", "length: expected .* got 9"),
        (f"trbm {TASK} --out new", "model: a task is learned by one of rnn, .* not by 'trbm'"),
        (f"gru-nade {TASK} --out new", "model: .* not by 'gru-nade'"),
        (f"rnn {TASK} --optimizer cg --out new", "optimizer: expected one of hf, .* got 'cg'"),
        ("rnn --data balls --optimizer nag --out new", "optimizer: .* adam, sgd, hf, got 'nag'"),
        (f"rnn {TASK} --preset music --out new", "preset: .* task-hf, .* got 'music'"),
        ("rnn --data balls --preset task-hf --out new", "preset: .* music, .* got 'task-hf'"),
        (
            f"rnn {TASK} --visible gaussian --out new",
            "visible: counts for no task; the keys are .*",
        ),
        (f"rnn {TASK} --set length=3 --out new", "length: counts for no task; the keys are .*"),
        ("rnn --data balls --set task=xor --out new", "unknown key 'task'; the keys are .*"),
        (
            f"rnn {TASK} --device meta --out new",
            "--device: a task is learned on the cpu, got 'meta'",
        ),
        (f"rnn {TASK} --out run", "run: already holds a training run; resume it or .*"),
        (
            f"rnn {TASK} --set hidden=11 --set batch=50 --set steps=2 --resume --out run",
            "run: this run was begun with another hidden, cg_steps",
        ),
        (
            "rnn --data balls --set hidden=10 --set steps=2 --resume --out run",
            "run: this run was begun with another input_scale, task, .*, data",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(line, message, refused):
    assert re.fullmatch(f"seqebm: {message}", refused(f"train {line}"))


# ------------------------------------------------------------------------- what there is to do


def errors(length):
    source = torch.Generator().manual_seed(TEST_SEED)
    return measure(seqebm.load("run"), make_problem("memorization-5", length), 10_000, source)


@pytest.mark.parametrize("length", [2, 5])
def test_a_task_is_evaluated_on_ten_thousand_sequences(length, done):
    expected = errors(length)
    option = "" if length == 2 else f" --length {length}"
    assert json.loads(done(f"evaluate run --json{option}")) == {
        "task": "memorization-5",
        "length": length,
        "solved": False,
        **expected._asdict(),
    }
    lines = done(f"evaluate run{option}").splitlines()
    assert lines[0] == f"memorization-5 of length {length}, 10000 sequences: not solved"
    assert [line.split(":")[1].strip() for line in lines[1:]] == [f"{e:.2%}" for e in expected]


def test_the_network_of_a_task_is_loaded():
    network = seqebm.load("run")
    assert isinstance(network, ProblemNetwork)
    assert network.settings["cell"]["hidden_size"] == 10


@pytest.mark.parametrize(
    "option",
    [
        "--data balls",
        "--train balls",
        "--prompt 3",
        "--samples 2",
        "--likelihood",
        "--against run",
        "--runs 3",
        "--temperatures 3",
        "--learning 0.1",
        "--picture a.png",
    ],
)
def test_what_says_nothing_of_a_task_is_refused(option, refused):
    name = option.split()[0]
    assert refused(f"evaluate run {option}") == f"seqebm: {name}: not for the run of a task"


def test_lengths_that_are_none_are_refused(refused, command):
    assert "--length" in refused("evaluate run --length 0")
    assert command("evaluate run --length x").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "sample run --out a.mp4",
        "denoise run --data a.mp4 --out b.mp4",
        "data hiddens run --data a.h5 --out b.h5",
    ],
)
def test_what_needs_a_model_of_sequences_refuses_a_task(line, refused):
    said = refused(line)
    assert said.startswith("seqebm: run: its network has learned the task memorization-5 and ")


def test_the_run_of_a_model_has_no_length(done, refused):
    done("train rtrbm --data balls --out balls TINY")
    said = refused("evaluate balls --data balls --length 3")
    assert said == "seqebm: --length: goes with the run of a task"
    assert refused("evaluate balls") == "seqebm: --data: expected a data file or 'balls'"
    said = refused("evaluate balls --data balls --likelihood --against run")
    assert "has learned the task" in said
