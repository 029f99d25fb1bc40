"""The demonstration: a small RTRBM on bouncing balls, from nothing to videos, in minutes."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from seqebm import evaluate, scenes
from seqebm.learning import load, runs
from seqebm.learning.recipes import Recipe, ball_videos, held_out_videos, make_recipe

MARK = ".seqebm-demo"  # a folder with this file was made by a demonstration and may be replaced


def run_demo(folder: Path) -> str:
    """Train an RTRBM and a TRBM the same way, measure both, and make videos of the RTRBM.

    Args:
        folder: where everything goes; what an earlier demonstration left there is replaced.

    Returns:
        The report, which is also kept as `report.txt` and, its figures, as `report.json`.

    Raises:
        ValueError: a folder that holds something else.
        OSError: a folder that cannot be written.
    """
    _clear(folder)
    started = time.monotonic()
    recipe = make_recipe("rtrbm", "demo", {})
    names = ("rtrbm", "trbm")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(partial(_train, recipe, folder), names))
    models = {name: load(folder / name) for name in names}
    minutes = (time.monotonic() - started) / 60
    shape = (recipe.resolution, recipe.resolution)
    test = held_out_videos(replace(recipe, length=100), 50)
    predictors = {
        **{name.upper(): model.predict for name, model in models.items()},
        **evaluate.yardsticks(ball_videos(recipe, 200)(0)),
    }
    scores = evaluate.next_frame_table(predictors, test)
    files = scenes.save_gallery(models["rtrbm"], test, shape, folder)
    report = _report(scores, minutes, files)
    (folder / "report.json").write_text(json.dumps(evaluate.to_json(scores), indent=2) + "\n")
    (folder / "report.txt").write_text(report + "\n")
    return report


def _train(recipe: Recipe, folder: Path, name: str) -> None:
    """Train one model, in a process of its own, on one thread: the other model has the other core.

    Only the RTRBM shows a progress bar; the TRBM takes less long.
    """
    torch.set_num_threads(1)
    progress = None if name == "rtrbm" else False
    runs.start(folder / name, replace(recipe, model=name), "balls", None, progress=progress)


def _clear(folder: Path) -> None:
    """Make an empty folder, in place of an earlier demonstration's only."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise ValueError(f"{folder}: is not empty and was not made by a demonstration")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def _report(scores: dict[str, evaluate.Score], minutes: float, files: dict[str, str]) -> str:
    width = max(map(len, files))
    return "\n".join(
        [
            f"Trained an RTRBM and a TRBM the same way in {minutes:.1f} minutes.",
            "",
            "Squared error of the next frame on 50 new videos, t = 2 … 100:",
            evaluate.format_table(scores),
            "",
            "Look at:",
            *(f"  {name.ljust(width)}  {text}" for name, text in files.items()),
        ]
    )
