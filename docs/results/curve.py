"""Whether compiled sweeps teach a model what plain ones do, and how much sooner.

    python docs/results/curve.py

The first 2000 updates of the thesis' RTRBM (learning rate falling to 0 within them), with three
seeds, both ways: the same chains in distribution, drawn with other random numbers. The figures are
next-frame errors of 20 videos on the way. Seconds are those of the training alone, with the
compilation.
"""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch

from seqebm import gibbs
from seqebm.evaluate import prediction_errors
from seqebm.learning.recipes import held_out_videos, make_recipe
from seqebm.learning.training import train
from seqebm.models import SequenceModel

STEPS, EVERY = 2000, 400
WAYS = {"plain": math.inf, "compiled": gibbs.WORTH_COMPILING}  # draws that are worth compiling


def curve(seed: int, way: str) -> dict[str, object]:
    """The errors of one training and its seconds."""
    settings = {"steps": str(STEPS), "seed": str(seed)}
    recipe = make_recipe("rtrbm", "thesis-balls", settings)
    test, measuring = held_out_videos(recipe, 20), 0.0

    def error(model: SequenceModel) -> dict[str, float]:
        nonlocal measuring
        started = time.monotonic()
        found = float(prediction_errors(model.predict, test).mean())
        measuring += time.monotonic() - started
        return {"error": found}

    gibbs.WORTH_COMPILING = WAYS[way]  # type: ignore[assignment]
    started = time.monotonic()
    _, history = train(recipe, evaluate=error, evaluate_every=EVERY, progress=False)
    seconds = time.monotonic() - started - measuring
    return {"errors": [record["error"] for record in history], "seconds": seconds}


def main() -> None:
    """Train, print and keep the figures."""
    torch.set_num_threads(1)
    figures = {seed: {way: curve(seed, way) for way in WAYS} for seed in (1, 2, 3)}
    for seed, both in figures.items():
        for way, found in both.items():
            errors = " ".join(f"{error:.2f}" for error in found["errors"])  # type: ignore[attr-defined]
            print(f"seed {seed}, {way}: {errors} in {found['seconds']:.0f} s")
    report = {
        "command": "python docs/results/curve.py",
        "recipe": asdict(make_recipe("rtrbm", "thesis-balls", {"steps": str(STEPS)})),
        "torch": torch.__version__,
        "every": EVERY,
        "figures": figures,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
