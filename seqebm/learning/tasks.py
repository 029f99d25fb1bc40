"""Training runs that learn a task: a problem of `seqebm.data.problems` in the place of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqebm.cells import CELLS, StandardRNN
from seqebm.data.problems import PROBLEMS, Problem, make_problem
from seqebm.learning.checkpoint import RUN_FILE, StrPath, load_training
from seqebm.learning.fit import History, progress_bar
from seqebm.learning.problems import (
    ProblemNetwork,
    momentum_initialisation,
    thesis_initialisation,
)
from seqebm.learning.recipes import TASK_OPTIMIZERS, Recipe, build_cell, parsed
from seqebm.learning.runs import Description, FrameFormat, prepare, read_description
from seqebm.learning.schedules import (
    Schedule,
    addition_schedules,
    linear,
    memorization_schedules,
)
from seqebm.learning.solving import solve
from seqebm.learning.training import ACCELERATED, make_optimizer
from seqebm.optim.second_order import shown

MODELS = (*CELLS, "stacked")
KEYS = (  # of a recipe that count for a task, beside model, task and length
    "hidden",
    "order",
    "layers",
    "radius",
    "leak",
    "density",
    "input_scale",
    "limit",
    "steps",
    "batch",
    "seed",
    "optimizer",
    "damping",
    "structural",
    "cg_steps",
    "lr",
    "lr_end",
    "momentum",
    "thesis_schedules",
)
COMMON: dict[str, Any] = {"hidden": 100, "steps": 50_000, "input_scale": 0.1}
CURVED = {**COMMON, "optimizer": "hf", "batch": 10_000}  # Sutskever 2013, sec. 4.4
SLOPED = {**COMMON, "batch": 100}  # Sutskever 2013, sec. 7.4
PRESETS: dict[str, dict[str, Any]] = {
    "task-hf": {**CURVED, "damping": 0.1, "structural": 1 / 30},
    "task-hf-plain": {**CURVED, "damping": 0.3, "structural": 0.0},
    **{f"task-{name}": {**SLOPED, "optimizer": name} for name in TASK_OPTIMIZERS if name != "hf"},
}
ADDED = {"input_scale": 0.02, "thesis_schedules": True}  # sec. 7.4.1 and 7.4.2
MEMORIZED = {"input_scale": 0.3, "thesis_schedules": True}
SCHEDULED: dict[str, dict[str, Any]] = {  # of nag and momentum, for a task
    "addition": ADDED,
    "multiplication": ADDED,
    "memorization-5": {**MEMORIZED, "lr": 1e-3},
    "memorization-20": {**MEMORIZED, "lr": 3e-4},
}
TEST_EVERY = 100  # steps between tests, where a step is a short one


@dataclass(frozen=True)
class TaskRun(Description):
    """A finished or interrupted run that learns a task.

    Attributes:
        network: as the last checkpoint has it.
        history: what `solve` gave until then.
    """

    network: ProblemNetwork
    history: History


def task_recipe(
    model: str, task: str, length: int, preset: str | None, settings: Mapping[str, str]
) -> Recipe:
    """A recipe for a task, from a preset and settings given as text.

    Args:
        model: one of `MODELS`; "rnn" is a `StandardRNN`, which begins as the thesis has it.
        task: one of `seqebm.data.problems.PROBLEMS`.
        length: T.
        preset: one of `PRESETS`; None takes the one that is called after the optimiser, which is hf
            unless the settings say otherwise.
        settings: of the keys in `KEYS`.

    Raises:
        ValueError: an unknown model, task, preset or key, or a value that cannot be.

    Example:
        >>> recipe = task_recipe("rnn", "random-permutation", 50, None, {"seed": "3"})
        >>> recipe.optimizer, recipe.damping, recipe.seed
        ('hf', 5.0, 3)
    """
    if model not in MODELS:
        raise ValueError(
            f"model: a task is learned by one of {', '.join(MODELS)}, not by {model!r}"
        )
    if task not in PROBLEMS:
        raise ValueError(f"task: expected one of {', '.join(PROBLEMS)}, got {task!r}")
    make_problem(task, length)  # tells whether there is one of that length
    values = parsed(settings)
    for key in values:
        if key not in KEYS:
            raise ValueError(f"{key}: counts for no task; the keys are {', '.join(KEYS)}")
    values = {**_preset(preset, task, length, values.get("optimizer", "hf")), **values}
    recipe = replace(Recipe(), **values, model=model, task=task, length=length)
    if recipe.thesis_schedules and not (task in SCHEDULED and recipe.optimizer in ACCELERATED):
        tasks, methods = ", ".join(SCHEDULED), ", ".join(ACCELERATED)
        raise ValueError(f"thesis_schedules: expected a task of {tasks} and one of {methods}")
    return recipe


def _preset(name: str | None, task: str, length: int, optimizer: str) -> dict[str, Any]:
    """The values of a preset for a task, or those with which an optimiser begins."""
    if name is None:
        if optimizer not in TASK_OPTIMIZERS:
            known = ", ".join(TASK_OPTIMIZERS)
            raise ValueError(f"optimizer: expected one of {known}, got {optimizer!r}")
        name = f"task-{optimizer}"
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)} for a task, got {name!r}")
    values = dict(PRESETS[name])
    if values["optimizer"] in ACCELERATED:
        values |= SCHEDULED.get(task, {})
    if "damping" in values and task == "random-permutation":
        values["damping"] = 0.1 * length  # sec. 4.4.4
    return values


def make_network(recipe: Recipe) -> ProblemNetwork:
    """The network of a recipe with its initial values, which its seed decides.

    An rnn begins as Sutskever 2013 has it: for hf as in sec. 4.4, for other methods as in sec.
    7.4.1. Other cells begin as they do everywhere.

    Raises:
        ValueError: settings that the cell cannot have.
    """
    problem = make_problem(recipe.task, recipe.length)
    with torch.random.fork_rng(devices=[]):  # initial values without touching the global state
        torch.manual_seed(recipe.seed)
        network = _network(recipe, problem)
    if recipe.model == "rnn":
        begin = thesis_initialisation if recipe.optimizer == "hf" else momentum_initialisation
        generator = torch.Generator().manual_seed(recipe.seed)
        begin(network, recipe.input_scale, generator=generator)
    return network


def _network(recipe: Recipe, problem: Problem) -> ProblemNetwork:
    """The network of a recipe, with any initial values."""
    if recipe.model == "rnn":
        return ProblemNetwork(StandardRNN(problem.n_inputs, recipe.hidden), problem.n_outputs)
    return ProblemNetwork(build_cell(recipe, problem.n_inputs), problem.n_outputs)


def make_schedules(recipe: Recipe) -> dict[str, Schedule]:
    """The schedules of a recipe for a task."""
    if recipe.optimizer == "hf":
        return {}
    if not recipe.thesis_schedules:
        return {"lr": linear(recipe.lr, recipe.lr_end, recipe.steps)}
    if recipe.task.startswith("memorization"):
        return memorization_schedules(recipe.lr)
    return addition_schedules()


def start(
    folder: StrPath, recipe: Recipe, *, resume: bool = False, progress: bool | None = None
) -> tuple[ProblemNetwork, History]:
    """Learn a task in a folder, or go on there, until it is solved or the recipe ends.

    Args:
        folder: made if need be; a folder that already holds a run is refused without `resume`.
        recipe: what to learn (`task_recipe`); to resume it must be the one that the run began with,
            but for `limit`.
        resume: go on from the last checkpoint, if there is one.
        progress: whether to show a progress bar; None shows it on a terminal only.

    Returns:
        The network and its history, see `solve`.

    Raises:
        ValueError: a folder in use, or a run with another recipe.
        OSError: a folder that cannot be written.
    """
    folder, problem = Path(folder), make_problem(recipe.task, recipe.length)
    network = make_network(recipe)
    form = FrameFormat((problem.n_inputs,), 1.0, "")
    prepare(folder, Description(recipe, recipe.task, form), resume)
    checkpoint = folder / RUN_FILE
    done = open_task(folder).history[-1]["step"] if checkpoint.exists() else 0
    with progress_bar(int(done), recipe.steps, progress) as bar:

        def tell(record: Mapping[str, float]) -> None:
            bar.set_postfix(_shown(record), refresh=False)
            bar.update(record["step"] - bar.n)

        history = solve(
            network,
            problem,
            make_optimizer(network, recipe),
            steps=recipe.steps,
            batch=recipe.batch,
            seed=recipe.seed,
            schedules=make_schedules(recipe),
            test_every=1 if recipe.optimizer == "hf" else TEST_EVERY,
            limit=recipe.limit,
            checkpoint=checkpoint,
            resume=resume,
            tell=tell,
        )
    return network, history


def _shown(record: Mapping[str, float]) -> dict[str, str]:
    """What a progress bar tells of a record."""
    told = {"loss": f"{record['loss']:.3f}", "wrong": f"{record['sequences']:.1%}"}
    return told | shown(record)


def open_task(folder: StrPath) -> TaskRun:
    """Read a run that learns a task from its folder.

    Raises:
        FileNotFoundError: no run there, or one that was stopped before its first checkpoint.
        ValueError: damaged files, or a run of another kind.
    """
    folder = Path(folder)
    found = read_description(folder)
    if found.recipe.task not in PROBLEMS:
        raise ValueError(f"{folder}: this run learns no task")
    stored, training = load_training(folder)
    network: nn.Module = stored
    with torch.device("meta"):
        expected = _network(found.recipe, make_problem(found.recipe.task, found.recipe.length))
    if not isinstance(network, ProblemNetwork) or network.settings != expected.settings:
        raise ValueError(f"{folder}: its files do not belong together")
    return TaskRun(found.recipe, found.data, found.format, network, training["history"])
