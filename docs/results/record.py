"""Measure a finished bouncing-ball run and keep the figures as a small JSON file.

    python docs/results/record.py RUN docs/results/balls-NAME.json [COMMIT]

COMMIT is that of the code that did the training, if it is not the present one.
Protocol G: 200 videos that no training saw, squared error of the next frame summed over pixels,
mean over t = 2 … 100, or to the length of the training's videos if these are longer. The Gibbs
averages come from a generator with seed 1.
"""

import json
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from seqebm.evaluate import Score, free_run_errors, prediction_errors
from seqebm.learning import load_training
from seqebm.learning.recipes import PRESETS, Recipe, held_out_videos, make_recipe
from seqebm.learning.runs import open_run


def main() -> None:
    """Measure RUN and write FILE."""
    folder, out, *commit = sys.argv[1:]
    run, (model, training) = open_run(folder), load_training(folder)
    test = held_out_videos(replace(run.recipe, length=max(100, run.recipe.length)), 200)
    generator = torch.Generator().manual_seed(1)

    def score(method: str) -> dict[str, float]:
        def predict(frames: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
            return model.predict(frames, lengths, method, generator)

        return Score.of(prediction_errors(predict, test), test.shape[-1])._asdict()

    free = free_run_errors(
        lambda prefix, length, rng: model.sample_means(length, len(prefix), prefix, rng),
        test,
        prompt=10,
        horizons=[1, 2, 5, 10, 20, 50],
        generator=generator,
    )
    report = {
        "command": _command(run.recipe, folder),
        "recipe": asdict(run.recipe),
        "commit": commit[0] if commit else printed("git", "rev-parse", "--short", "HEAD"),
        "machine": machine(),
        "torch": torch.__version__,
        "steps": training["step"],
        "seconds": training["seconds"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "next_frame": {method: score(method) for method in ("mean_field", "gibbs")},
        "free_run": {
            str(h): {k: v._asdict() for k, v in scores.items()} for h, scores in free.items()
        },
        "history": training["history"],
    }
    with open(out, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


def _command(recipe: Recipe, folder: str) -> str:
    """The command that does the training again: the nearest preset, and what differs from it."""

    def changed(preset: str | None) -> list[str]:
        begun = asdict(make_recipe(recipe.model, preset, {}))
        return [f"--set {k}={v}" for k, v in asdict(recipe).items() if v != begun[k]]

    preset = min([None, *PRESETS], key=lambda name: len(changed(name)))
    settings = changed(preset) if preset is None else [f"--preset {preset}", *changed(preset)]
    name = Path(folder).name  # wherever it lies on this machine
    return f"seqebm train {recipe.model} --data balls {' '.join(settings)} --out runs/{name}"


def printed(*command: str) -> str:
    """What a command says."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """The class of the machine: processor and threads."""
    cpu = printed("sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2")
    return f"{cpu or platform.machine()}, {torch.get_num_threads()} thread(s)"


if __name__ == "__main__":
    main()
