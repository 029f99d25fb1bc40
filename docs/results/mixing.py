"""How far predictions depend on where their chains begin.

    python docs/results/mixing.py RUN... > docs/results/mixing.json

The next-frame error (5 videos, as in record.py) of averages along Gibbs chains, with more and more
sweeps before the average, begun where the model begins them and begun from the biases alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from seqebm.evaluate import prediction_errors
from seqebm.learning.recipes import held_out_videos
from seqebm.learning.runs import open_run
from seqebm.models import SequenceModel
from seqebm.models.energy import EnergyModel

SWEEPS = (50, 500, 2000)


def errors(model: EnergyModel, videos: torch.Tensor) -> dict[int, float]:
    """The error for each number of sweeps."""
    found = {}
    for sweeps in SWEEPS:
        model.sampling_steps = sweeps
        generator = torch.Generator().manual_seed(1)
        found[sweeps] = error(model, videos, "gibbs", generator)
    return found


def error(model: SequenceModel, videos: torch.Tensor, *how: Any) -> float:
    """The squared error of the next frame, summed over a frame."""
    errors = prediction_errors(lambda frames, lengths: model.predict(frames, lengths, *how), videos)
    return float(errors.mean())


def main() -> None:
    """Print a JSON object with the errors of every run."""
    report: dict = {"torch": torch.__version__}
    for folder in sys.argv[1:]:
        run = open_run(folder)
        videos = held_out_videos(run.recipe, 5)
        report[Path(folder).name] = {
            "mean field": error(run.model, videos),
            "from the last hidden state": errors(run.model, videos),
        }
        run.model.begin = lambda _, rbm: rbm.hidden_bias.sigmoid()
        report[Path(folder).name]["from the biases alone"] = errors(run.model, videos)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
