"""A training run in a folder: `recipe.json` says what is trained, `model.h5` how far it came."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqebm.data import Sequences
from seqebm.files import atomic_path
from seqebm.learning.checkpoint import RUN_FILE, StrPath, load
from seqebm.learning.recipes import Recipe, train
from seqebm.models import SequenceModel

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True)
class FrameFormat:
    """What a frame of the training data was, so that samples can be shown and kept.

    Attributes:
        shape: its shape, (height, width) for a picture.
        frame_rate: frames a second.
        unit: what the numbers are.
    """

    shape: tuple[int, ...]
    frame_rate: float
    unit: str


@dataclass(frozen=True)
class Run:
    """A finished or interrupted training run.

    Attributes:
        recipe: what was trained.
        data: the file of the training data, or "balls".
        format: of the frames.
        model: as the last checkpoint has it.
    """

    recipe: Recipe
    data: str
    format: FrameFormat
    model: SequenceModel


def frame_format(recipe: Recipe, sequences: Sequences | None) -> FrameFormat:
    """The format of the training data; None stands for generated bouncing balls."""
    if sequences is None:
        return FrameFormat((recipe.resolution, recipe.resolution), 25.0, "grey level")
    first = sequences[0]
    return FrameFormat(first.shape, first.frame_rate, first.unit)


def start(
    folder: StrPath,
    recipe: Recipe,
    data: str,
    sequences: Sequences | None,
    *,
    resume: bool = False,
    evaluate: Callable[[SequenceModel], Mapping[str, float]] | None = None,
    progress: bool | None = None,
) -> SequenceModel:
    """Train in a folder, or go on there.

    Args:
        folder: made if need be; a folder that already holds a run is refused without `resume`.
        recipe: what to train; to resume it must be the one that the run began with.
        data: name of the training data, kept with the run.
        sequences: the training data; None generates bouncing balls as the recipe says.
        resume: go on from the last checkpoint, if there is one.
        evaluate: measures the model now and then for the history, see `fit`.
        progress: see `fit`.

    Returns:
        The trained model.

    Raises:
        ValueError: a folder in use, or a run with another recipe.
        OSError: a folder that cannot be written.
    """
    folder = Path(folder)
    description = {
        "recipe": asdict(recipe),
        "data": data,
        "format": asdict(frame_format(recipe, sequences)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / RECIPE_FILE).exists():
        with atomic_path(folder / RECIPE_FILE) as temporary:
            temporary.write_text(json.dumps(description, indent=2) + "\n")
    elif not resume:
        raise ValueError(
            f"{folder}: already holds a training run; resume it or name another folder"
        )
    else:
        _check_same(_description(folder), description, folder)
    every = max(1, recipe.steps // 100)
    model, _ = train(
        recipe,
        sequences,
        checkpoint=folder / RUN_FILE,
        checkpoint_every=min(every, 500),
        resume=resume,
        evaluate=evaluate,
        evaluate_every=every,
        progress=progress,
    )
    return model


def open_run(folder: StrPath) -> Run:
    """Read a run from its folder.

    Raises:
        FileNotFoundError: no run there, or one that was stopped before its first checkpoint.
        ValueError: damaged files.
    """
    folder = Path(folder)
    description = _description(folder)
    try:
        recipe = Recipe(**description["recipe"])
        values = description["format"]
        shape = tuple(int(n) for n in values["shape"])
        form = FrameFormat(shape, float(values["frame_rate"]), str(values["unit"]))
        data = str(description["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / RECIPE_FILE}: damaged: {error}") from error
    return Run(recipe, data, form, load(folder))


def _description(folder: Path) -> dict[str, Any]:
    path = folder / RECIPE_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder}: holds no training run (no {RECIPE_FILE})")
    try:
        return dict(json.loads(path.read_text()))
    except (UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def _check_same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    """Raise where a run would be resumed with another recipe or data of another form."""
    new = json.loads(json.dumps(new))
    if old == new:
        return
    before, after = old.get("recipe", {}), new["recipe"]
    keys = [key for key in after if before.get(key) != after[key]] or ["data"]
    raise ValueError(f"{folder}: this run was begun with another {', '.join(keys)}")
