"""Bouncing balls by Hessian-free optimisation and by Adam (Sutskever 2013, sec. 4.3.4 and 4.5.1).

    python docs/results/second.py RUN …   # writes second.json

of runs that commands such as these have trained, minutes each, with about as many sequences read
for gradients and products by both methods:

    seqebm train rnn --data balls --optimizer hf --set hidden=300 --set damping=1
        --set structural=1 --set batch=1000 --set steps=40 --set resolution=15 --set length=30
    seqebm train rnn --data balls --set hidden=300 --set batch=50 --set steps=3600 --set lr=0.003
        --set clip=1 --set resolution=15 --set length=30

The measure is the Kullback-Leibler divergence of the predicted from the true grey levels, summed
over a sequence of 30 frames of three balls, 15 x 15 pixels, of 1000 fresh sequences.
"""

import json
import sys
from pathlib import Path

import torch
from record import machine, printed
from torch import Tensor

from seqebm.learning import load_training
from seqebm.learning.recipes import held_out_videos
from seqebm.learning.runs import open_run

OUT = Path(__file__).with_suffix(".json")
COUNT = 1000


def divergence(frames: Tensor, log_prob: Tensor) -> Tensor:
    """KL of each sequence, [n], from frames [n, time, pixels] and log-probabilities [n, time]."""
    entropy = -(torch.xlogy(frames, frames) + torch.xlogy(1 - frames, 1 - frames)).sum(-1)
    return (-log_prob - entropy).sum(1)


def sequences_read(recipe, history: list[dict]) -> float:
    """Sequences that gradients and products were of, by the mean number of products recorded."""
    if recipe.optimizer != "hf":
        return recipe.batch * recipe.steps
    products = [record["step_products"] for record in history]
    return recipe.steps * recipe.batch * (1 + sum(products) / len(products) / 10)


@torch.no_grad()
def main() -> None:
    """Measure the runs and keep their figures."""
    found = json.loads(OUT.read_text()) if OUT.exists() else {"runs": {}}
    for path in map(Path, sys.argv[1:]):
        run, history = open_run(path), load_training(path)[1]["history"]
        frames = held_out_videos(run.recipe, COUNT)
        kl = divergence(frames, run.model.log_prob(frames))
        found["runs"][path.name] = {
            "kl": float(kl.mean()),
            "error": float(kl.std()) / COUNT**0.5,
            "steps": run.recipe.steps,
            "sequences": sequences_read(run.recipe, history),
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "seconds": history[-1]["seconds"],
            "commit": printed("git", "rev-parse", "--short", "HEAD"),
        }
        print(path.name, found["runs"][path.name])
    found |= {"torch": torch.__version__, "machine": machine()}
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
