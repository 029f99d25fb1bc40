"""What bf16 inside the products of the negative phase does to the learned model.

    python docs/results/bf16.py

The same RTRBM (two balls, 15 x 15 pixels, 100 hidden units, one tap, CD-10) is trained both ways
with three seeds; the figures are next-frame errors of 200 videos. W is rounded to bf16 on every
machine, so the model learned is the same, but for rounding, on machines that gain no time by it.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from seqebm.evaluate import Score, prediction_errors
from seqebm.learning.recipes import held_out_videos, make_recipe
from seqebm.learning.training import train

SETTINGS = {
    "hidden": "100",
    "order": "1",
    "balls": "2",
    "resolution": "15",
    "length": "50",
    "batch": "8",
    "lr": "0.01",
    "steps": "1500",
}


def error(seed: int, bf16: bool) -> dict[str, float]:
    """The error of one training."""
    recipe = make_recipe("rtrbm", None, {**SETTINGS, "seed": str(seed), "bf16": str(bf16)})
    model, _ = train(recipe, progress=False)
    test = held_out_videos(recipe, 200)
    return Score.of(prediction_errors(model.predict, test), test.shape[-1])._asdict()


def main() -> None:
    """Train, print and keep the figures."""
    torch.set_num_threads(1)
    figures = {
        seed: {"float32": error(seed, False), "bf16": error(seed, True)} for seed in (1, 2, 3)
    }
    for seed, both in figures.items():
        texts = (f"{way} {score['per_frame']:.3f}" for way, score in both.items())
        print(f"seed {seed}: {', '.join(texts)}")
    report = {
        "command": "python docs/results/bf16.py",
        "recipe": asdict(make_recipe("rtrbm", None, SETTINGS)),
        "torch": torch.__version__,
        "figures": figures,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
