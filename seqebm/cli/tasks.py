"""Problems that need a long memory in `seqebm train` and `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from seqebm.cli.common import generator

if TYPE_CHECKING:
    from seqebm.learning.recipes import Recipe


def train_task(out: Path, recipe: Recipe, device: str, resume: bool) -> None:
    """Learn the task of a recipe and say what came of it."""
    from seqebm.data.problems import SOLVED
    from seqebm.learning import tasks

    if device != "cpu":
        raise ValueError(f"--device: a task is learned on the cpu, got {device!r}")
    _, history = tasks.start(out, recipe, resume=resume)
    last = history[-1]
    solved = "solved" if last["sequences"] < SOLVED else "not solved"
    click.echo(
        f"{out}: {recipe.task} of length {recipe.length} {solved} after {last['step']} steps, "
        f"{last['minibatches']:.6g} minibatches and {last['seconds']:.0f} s; "
        f"{last['sequences']:.2%} of test sequences wrong"
    )


def evaluate_task(run: Path, length: int | None, as_json: bool) -> None:
    """Say what the network of a run gets wrong of 10 000 sequences that no training saw."""
    from seqebm.data.problems import SOLVED, make_problem
    from seqebm.learning.problems import measure
    from seqebm.learning.recipes import TEST_SEED
    from seqebm.learning.solving import TEST
    from seqebm.learning.tasks import open_task

    _refuse_others()
    opened = open_task(run)
    problem = make_problem(opened.recipe.task, length or opened.recipe.length)
    errors = measure(opened.network, problem, TEST, generator(TEST_SEED))
    solved = errors.sequences < SOLVED
    if as_json:
        about = {"task": problem.name, "length": problem.length, "solved": solved}
        click.echo(json.dumps({**about, **errors._asdict()}))
        return
    click.echo(
        f"{problem.name} of length {problem.length}, {TEST} sequences: "
        f"{'solved' if solved else 'not solved'}\n"
        f"wrong sequences:                      {errors.sequences:.2%}\n"
        f"wrong predictions:                    {errors.predictions:.2%}\n"
        f"wrong predictions that need a memory: {errors.recalled:.2%}"
    )


def _refuse_others() -> None:
    """Raise where `seqebm evaluate` was given an option that says nothing of a task."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name not in ("run", "length", "as_json"):
            raise ValueError(f"{parameter.opts[0]}: not for the run of a task")
