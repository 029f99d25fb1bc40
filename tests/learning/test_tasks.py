from dataclasses import asdict, replace

import pytest
import torch

from seqebm.cells import StandardRNN
from seqebm.data.problems import PROBLEMS, make_problem
from seqebm.learning import load_training, tasks
from seqebm.learning.problems import ProblemNetwork, momentum_initialisation, thesis_initialisation
from seqebm.learning.recipes import TASK_OPTIMIZERS, Recipe
from seqebm.learning.schedules import addition_schedules, memorization_schedules
from seqebm.learning.tasks import (
    COMMON,
    KEYS,
    PRESETS,
    make_network,
    make_schedules,
    open_task,
    start,
    task_recipe,
)
from seqebm.optim.nesterov import NAG, Momentum

TINY = {"hidden": "6", "steps": "2", "cg_steps": "3", "batch": "20"}


def recipe(task="memorization-5", length=12, preset=None, model="rnn", **settings):
    return task_recipe(model, task, length, preset, settings)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ------------------------------------------------------------------------------------- recipes


def test_hessian_free_learning_begins_as_in_the_thesis():
    assert recipe("xor") == Recipe(
        "rnn",
        task="xor",
        length=12,
        hidden=100,
        input_scale=0.1,
        batch=10_000,
        steps=50_000,
        optimizer="hf",
        damping=0.1,
        structural=1 / 30,
        cg_steps=300,
        limit=50_000,
    )
    assert recipe("xor", optimizer="hf") == recipe("xor", preset="task-hf") == recipe("xor")
    plain = replace(recipe("xor"), damping=0.3, structural=0.0)
    assert recipe("xor", preset="task-hf-plain") == plain


@pytest.mark.parametrize("preset", [None, "task-hf", "task-hf-plain"])
def test_the_damping_of_random_permutation_grows_with_its_length(preset):
    assert recipe("random-permutation", 30, preset).damping == pytest.approx(3)
    assert recipe("random-permutation", 200, preset).damping == pytest.approx(20)
    assert recipe("random-permutation", 200, preset, damping="0.7").damping == 0.7


def test_every_optimiser_has_a_preset():
    for name in TASK_OPTIMIZERS:
        made = recipe("xor", optimizer=name)
        assert made == recipe("xor", preset=f"task-{name}")
        assert made.optimizer == name
        assert (made.hidden, made.batch) == (100, 10_000 if name == "hf" else 100)
        assert made.steps == 50_000
    assert set(PRESETS) == {"task-hf-plain", *(f"task-{name}" for name in TASK_OPTIMIZERS)}


def values(schedules):
    return {k: [f(t) for t in (0, 1499, 1500, 7000, 40_000)] for k, f in schedules.items()}


@pytest.mark.parametrize("optimizer", ["nag", "momentum"])
@pytest.mark.parametrize(
    ("task", "scale", "expected"),
    [
        ("addition", 0.02, addition_schedules()),
        ("multiplication", 0.02, addition_schedules()),
        ("memorization-5", 0.3, memorization_schedules(1e-3)),
        ("memorization-20", 0.3, memorization_schedules(3e-4)),
    ],
)
def test_momentum_follows_the_schedules_of_the_thesis(optimizer, task, scale, expected):
    made = recipe(task, optimizer=optimizer)
    assert made.input_scale == scale
    assert values(make_schedules(made)) == values(expected)


def test_other_tasks_and_methods_follow_the_keys():
    for made in (
        recipe("xor", optimizer="nag", lr="0.5"),
        recipe("addition", optimizer="adam", lr="0.5"),
        recipe("addition", optimizer="nag", lr="0.5", thesis_schedules="0"),
    ):
        schedules = make_schedules(made)
        assert [schedules["lr"](step) for step in (0, 25_000, 50_000)] == [0.5, 0.25, 0.0]
        assert schedules.keys() == {"lr"}
    assert make_schedules(recipe("addition")) == {}


def test_settings_are_stronger_than_presets():
    made = recipe("addition", preset="task-hf-plain", structural="0.5", hidden="7")
    assert (made.structural, made.hidden, made.damping) == (0.5, 7, 0.3)


def test_all_keys_of_the_presets_count():
    assert {*COMMON} <= {*KEYS} <= {*asdict(Recipe())}
    assert {key for preset in PRESETS.values() for key in preset} <= {*KEYS}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "rtrbm"}, r"^model: a task is learned by one of rnn, lstm, .*, not by 'rtrbm'$"),
        ({"model": "lstm-rbm"}, "not by 'lstm-rbm'$"),
        ({"task": "subtraction"}, r"^task: expected one of addition, .*, got 'subtraction'$"),
        ({"task": "addition", "length": 9}, r"^length: expected .*10.*, got 9$"),
        ({"preset": "thesis-balls"}, r"^preset: expected one of task-hf, .*, got 'thesis-balls'$"),
        ({"optimizer": "lbfgs"}, r"^optimizer: expected one of hf, .*, got 'lbfgs'$"),
        ({"gibbs_steps": "2"}, r"^gibbs_steps: counts for no task; the keys are hidden, "),
        ({"length_": "2"}, r"^unknown key 'length_'"),
        ({"hidden": "many"}, r"^hidden: expected int, got 'many'$"),
        ({"limit": "0"}, r"^limit: expected a number from 1 to "),
        (
            {"task": "xor", "optimizer": "nag", "thesis_schedules": "1"},
            "^thesis_schedules: expected a task of addition, .* and one of nag, momentum$",
        ),
        ({"task": "addition", "thesis_schedules": "1"}, "^thesis_schedules: "),
    ],
)
def test_what_no_task_can_have_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        recipe(**settings)


# ------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("task", PROBLEMS)
def test_an_rnn_begins_as_the_thesis_has_it(task):
    problem = make_problem(task, 12)
    for optimizer, begin in (
        ("hf", thesis_initialisation),
        ("nag", momentum_initialisation),
        ("adam", momentum_initialisation),
    ):
        expected = ProblemNetwork(StandardRNN(problem.n_inputs, 20), problem.n_outputs)
        begin(expected, 0.25, generator=torch.Generator().manual_seed(7))
        settings = {"hidden": "20", "input_scale": "0.25", "seed": "7"}
        assert same(make_network(recipe(task, optimizer=optimizer, **settings)), expected)


@pytest.mark.parametrize("model", [model for model in tasks.MODELS if model != "rnn"])
def test_other_cells_begin_by_their_own_rules(model):
    settings = {"hidden": "6", "layers": "gru:2,lstm:4", "order": "2"}
    before = torch.get_rng_state()
    first, again = (make_network(recipe(model=model, seed="7", **settings)) for _ in range(2))
    other = make_network(recipe(model=model, seed="8", **settings))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)
    assert first.cell.hidden_size == 6
    assert first(torch.zeros(2, 3, 4)).shape == (2, 3, 3)


def test_the_keys_of_a_cell_reach_it():
    network = make_network(recipe(model="esn", hidden="40", input_scale="0.25", radius="0.5"))
    assert float(network.cell.visible_to_hidden.abs().max()) <= 0.25
    assert network.cell.settings["radius"] == 0.5
    assert len(make_network(recipe(model="skip-rnn", order="3")).cell.hidden_to_hidden) == 3


# ----------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("optimizer", TASK_OPTIMIZERS)
@pytest.mark.parametrize("model", ["rnn", "gru"])
def test_every_method_learns_in_a_folder(optimizer, model, tmp_path):
    made = recipe(model=model, optimizer=optimizer, **TINY)
    network, history = start(tmp_path / "run", made, progress=False)
    opened = open_task(tmp_path / "run")
    assert same(opened.network, network)
    assert (opened.recipe, opened.history) == (made, history)
    assert history[-1]["step"] == 2
    assert not same(network, make_network(made))


def test_keys_of_an_optimiser_reach_it(tmp_path):
    def training(**settings):
        folder = tmp_path / "-".join(settings.values())
        start(folder, recipe(**TINY, **settings), progress=False)
        return load_training(folder)[1]

    curved = training(optimizer="hf", damping="7", structural="0.5")
    group = curved["optimizer"]["param_groups"][0]
    assert (group["structural"], group["iterations"]) == (0.5, 3)
    assert curved["history"][0]["step_damping"] == 7
    for name, kind in (("nag", NAG), ("momentum", Momentum)):
        settings = {"lr": "0.25", "momentum": "0.5", "thesis_schedules": "0"}
        kept = training(optimizer=name, **settings)
        group = kept["optimizer"]["param_groups"][0]
        assert (kept["optimizer_kind"], group["momentum"]) == (kind.__name__, 0.5)
        assert group["lr"] == 0.125  # in a straight line to zero


@pytest.mark.parametrize(("progress", "expected"), [(True, True), (False, False), (None, False)])
def test_a_bar_shows_what_a_step_did(progress, expected, tmp_path, capsys):
    _, history = start(tmp_path / "run", recipe(**TINY), progress=progress)
    shown, last = capsys.readouterr().err, history[-1]
    assert bool(shown) is expected
    if expected:
        loss, ratio = f"loss={last['loss']:.3f}", f"ρ={last['step_ratio']:.2f}"
        for part in (loss, ratio, "2/2", "λ=", "CG=", f"wrong={last['sequences']:.1%}"):
            assert part in shown


def test_a_bar_goes_on_where_a_run_was_stopped(tmp_path, capsys):
    short = recipe(**{**TINY, "steps": "5", "limit": "9"})
    _, history = start(tmp_path / "run", short, progress=False)
    done = history[-1]["step"]
    assert done in (2, 3)  # of one minibatch and three or four products each
    start(tmp_path / "run", replace(short, limit=99), resume=True, progress=True)
    assert f"{done}/5" in capsys.readouterr().err.split("\r")[1]


def test_another_kind_of_run_is_no_task(tmp_path):
    start(tmp_path / "run", recipe(**TINY), progress=False)
    text = (tmp_path / "run" / "recipe.json").read_text()
    for old, new, message in (
        ('"task": "memorization-5"', '"task": ""', "this run learns no task$"),
        ('"task": "memorization-5"', '"task": "a"', "this run learns no task$"),
        ('"task": "memorization-5"', '"task": "xor"', "its files do not belong together$"),
        ('"hidden": 6', '"hidden": 7', "its files do not belong together$"),
    ):
        assert text.count(old) == 1
        (tmp_path / "run" / "recipe.json").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=message):
            open_task(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="holds no training run"):
        open_task(tmp_path)
