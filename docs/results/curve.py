"""Whether compiled sweeps teach a model what plain ones do.

    python docs/results/curve.py

The first 1200 updates of the thesis' RTRBM (learning rate falling to 0 within them), with three
seeds, both ways: the same chains in distribution, drawn with other random numbers. The figures are
next-frame errors of 20 videos on the way. How much faster it is, `benchmarks` says.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch

from seqebm import gibbs
from seqebm.evaluate import prediction_errors
from seqebm.learning.recipes import held_out_videos, make_recipe
from seqebm.learning.training import train
from seqebm.models import SequenceModel

STEPS, EVERY = 1200, 300
WAYS = {"plain": math.inf, "compiled": 0}  # draws that are worth compiling


def curve(seed: int, way: str) -> list[float]:
    """The errors of one training."""
    settings = {"steps": str(STEPS), "seed": str(seed)}
    recipe = make_recipe("rtrbm", "thesis-balls", settings)
    test = held_out_videos(recipe, 20)

    def error(model: SequenceModel) -> dict[str, float]:
        return {"error": float(prediction_errors(model.predict, test).mean())}

    gibbs.WORTH_COMPILING = WAYS[way]  # type: ignore[assignment]
    _, history = train(recipe, evaluate=error, evaluate_every=EVERY, progress=False)
    return [record["error"] for record in history]


def main() -> None:
    """Train, print and keep the figures."""
    torch.set_num_threads(1)
    figures = {seed: {way: curve(seed, way) for way in WAYS} for seed in (1, 2, 3)}
    for seed, both in figures.items():
        for way, found in both.items():
            print(f"seed {seed}, {way}: " + " ".join(f"{error:.2f}" for error in found))
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
