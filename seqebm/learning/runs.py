"""A training run in a folder: `recipe.json` says what is trained, `model.h5` how far it came."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from seqebm.data import Sequences
from seqebm.files import atomic_path
from seqebm.learning import parallel
from seqebm.learning.checkpoint import RUN_FILE, StrPath, load
from seqebm.learning.fit import History
from seqebm.learning.recipes import Recipe, build_model, with_units
from seqebm.learning.training import layer_file, train
from seqebm.models import SequenceModel

RECIPE_FILE = "recipe.json"
CHANGEABLE = ("limit",)  # keys of a recipe that decide no step, only whether there are more


@dataclass(frozen=True)
class FrameFormat:
    """What a frame of the training data was, so that samples can be shown and kept.

    Attributes:
        shape: its shape, (height, width) for a picture.
        frame_rate: frames a second.
        unit: what the numbers are.
        preparation: how frames were made from something else, see `seqebm.data.Sequences`.
    """

    shape: tuple[int, ...]
    frame_rate: float
    unit: str
    preparation: str = ""


@dataclass(frozen=True)
class Description:
    """What a run trains, as `recipe.json` keeps it.

    Attributes:
        recipe: what is trained.
        data: the file of the training data, "balls", or the name of a task.
        format: of the frames.
    """

    recipe: Recipe
    data: str
    format: FrameFormat


@dataclass(frozen=True)
class Run(Description):
    """A finished or interrupted training run.

    Attributes:
        model: as the last checkpoint has it.
    """

    model: SequenceModel


def frame_format(recipe: Recipe, sequences: Sequences | None) -> FrameFormat:
    """The format of the training data; None stands for generated bouncing balls."""
    if sequences is None:
        return FrameFormat((recipe.resolution, recipe.resolution), 25.0, "grey level")
    first = sequences[0]
    return FrameFormat(first.shape, first.frame_rate, first.unit, sequences.preparation)


def start(
    folder: StrPath,
    recipe: Recipe,
    data: str,
    sequences: Sequences | None,
    *,
    resume: bool = False,
    device: str = "cpu",
    evaluate: Callable[[SequenceModel], Mapping[str, float]] | None = None,
    progress: bool | None = None,
) -> tuple[SequenceModel, History]:
    """Train in a folder, or go on there.

    Args:
        folder: made if need be; a folder that already holds a run is refused without `resume`.
        recipe: what to train; to resume it must be the one that the run began with.
        data: name of the training data, kept with the run.
        sequences: the training data; None generates bouncing balls as the recipe says.
        resume: go on from the last checkpoint, if there is one.
        device: where the model is trained; on another one a resumed run draws other chains.
        evaluate: measures the model now and then for the history, see `fit`.
        progress: see `fit`.

    Returns:
        The trained model and its history.

    Raises:
        ValueError: a folder in use, a run with another recipe, or a device that cannot be used.
        OSError: a folder that cannot be written.
    """
    folder = Path(folder)
    recipe = recipe if sequences is None else with_units(recipe, sequences)
    description = Description(recipe, data, frame_format(recipe, sequences))
    _empty_model(description)  # tells what no model can have before anything is written
    if parallel.rank() == 0:
        prepare(folder, description, resume)
    parallel.wait()
    every = max(1, recipe.steps // 100)
    return train(
        recipe,
        sequences,
        device,
        checkpoint=folder / RUN_FILE,
        checkpoint_every=min(every, 500),
        resume=resume,
        evaluate=evaluate,
        evaluate_every=every,
        progress=progress,
    )


def prepare(folder: Path, description: Description, resume: bool) -> None:
    """Write down what is trained, or compare it with what is written.

    Raises:
        ValueError: a folder in use, or a run with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = RUN_FILE if description.recipe.model != "stack" else layer_file(folder / RUN_FILE, 1)
    if (folder / first).exists():  # before the first checkpoint nothing is lost
        if not resume:
            raise ValueError(
                f"{folder}: already holds a training run; resume it or name another folder"
            )
        _check_same(read_description(folder), description, folder)
    with atomic_path(folder / RECIPE_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(description), indent=2) + "\n")


def open_run(folder: StrPath) -> Run:
    """Read a run from its folder.

    Raises:
        FileNotFoundError: no run there, or one that was stopped before its first checkpoint.
        ValueError: damaged files, or a run that learns a task and so has no model of sequences.
    """
    folder = Path(folder)
    found = read_description(folder)
    if found.recipe.task:
        raise ValueError(
            f"{folder}: its network has learned the task {found.recipe.task} and models no "
            "sequences; what there is to do with it is `seqebm evaluate`"
        )
    if found.recipe.model == "stack" and not (folder / RUN_FILE).exists():
        raise FileNotFoundError(f"{folder}: its layers are not all trained yet; resume the run")
    model = load(folder)
    expected = _empty_model(found)
    if type(model) is not type(expected) or model.settings != expected.settings:
        raise ValueError(f"{folder}: {RUN_FILE} and {RECIPE_FILE} do not belong together")
    return Run(found.recipe, found.data, found.format, model)


def _empty_model(description: Description) -> SequenceModel:
    """The model that a run trains, without memory for its parameters."""
    with torch.device("meta"):
        return build_model(description.recipe, math.prod(description.format.shape))


def read_description(folder: Path) -> Description:
    """What `recipe.json` says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a damaged one.
    """
    path = folder / RECIPE_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder}: holds no training run (no {RECIPE_FILE})")
    try:
        found = json.loads(path.read_text())
        form = found["format"]
        shape = tuple(int(n) for n in form["shape"])
        form = FrameFormat(
            shape,
            float(form["frame_rate"]),
            str(form["unit"]),
            str(form.get("preparation", "")),
        )
        return Description(Recipe(**found["recipe"]), str(found["data"]), form)
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def _check_same(old: Description, new: Description, folder: Path) -> None:
    """Raise where a run would be resumed with another recipe or data of another form."""
    before, after = asdict(old.recipe), asdict(new.recipe)
    keys = [key for key in after if before[key] != after[key] and key not in CHANGEABLE]
    keys += ["data"] if (old.data, old.format) != (new.data, new.format) else []
    if keys:
        raise ValueError(f"{folder}: this run was begun with another {', '.join(keys)}")
