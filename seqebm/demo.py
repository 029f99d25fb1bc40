"""The demonstration: a small RTRBM on bouncing balls, from nothing to videos, in minutes."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from seqebm import evaluate, scenes, video
from seqebm.data.noise import salt_and_pepper
from seqebm.learning import runs
from seqebm.learning.recipes import ball_videos, held_out_videos, make_recipe
from seqebm.models import SequenceModel

PROMPT = 10
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
    models = {
        name: runs.start(folder / name, replace(recipe, model=name), "balls", None)
        for name in ("rtrbm", "trbm")
    }
    minutes = (time.monotonic() - started) / 60
    shape = (recipe.resolution, recipe.resolution)
    test = held_out_videos(replace(recipe, length=100), 50)
    predictors = {
        **{name.upper(): model.predict for name, model in models.items()},
        **evaluate.yardsticks(ball_videos(recipe, 200)(0)),
    }
    scores = evaluate.next_frame_table(predictors, test)
    files = _videos(models["rtrbm"], test, shape, folder)
    report = _report(scores, minutes, files)
    (folder / "report.json").write_text(json.dumps(evaluate.to_json(scores), indent=2) + "\n")
    (folder / "report.txt").write_text(report + "\n")
    return report


def _clear(folder: Path) -> None:
    """Make an empty folder, in place of an earlier demonstration's only."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise ValueError(f"{folder}: is not empty and was not made by a demonstration")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def _videos(
    model: SequenceModel, test: Tensor, shape: tuple[int, int], folder: Path
) -> dict[str, str]:
    """Write the videos and pictures; file name → what it shows."""
    generator = torch.Generator().manual_seed(1)
    noisy = salt_and_pepper(test[0], 0.15, generator)
    made = {
        "continuation.mp4": (
            f"a test video beside what the model makes of its first {PROMPT} frames",
            scenes.continuation(model, test[0], PROMPT, shape, generator),
        ),
        "prediction.mp4": (
            "a test video, each frame predicted from those before it, and the error",
            scenes.prediction(model, test[1], shape),
        ),
        "denoising.mp4": (
            "a test video with 15% of its pixels destroyed, and what the model makes of it",
            scenes.denoising(model, noisy, shape, clean=test[0]),
        ),
        "samples.mp4": (
            "nine videos that the model made up",
            scenes.many(model.sample_means(100, 9, generator=generator), shape),
        ),
        "weights.png": (
            "what the hidden units look at, and how they drive each other",
            scenes.weights(model, shape),
        ),
    }
    for name, (_, pictures) in made.items():
        video.save(folder / name, pictures)
    return {name: text for name, (text, _) in made.items()}


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
