"""Train and measure RBMs of handwritten digits, 500 hidden units, in five ways.

    python datasets/mnist.py FOLDER/images_mnist RUNS
    python docs/results/mnist.py train RUNS [RUN …]   # writes mnist.json

`series.py` says how runs are called and resumed. mnist-long-1 is preset `mnist`, 60 000 updates by
a hundred images; the others have 10 000, and are told apart by what their negative phase comes from
and by whether the gradient is that of the centred machine. Log-likelihoods are of the 10 000 test
images, drawn once as zeros and ones (datasets/mnist.py), in nats an image.
"""

from pathlib import Path

import torch
from series import Name, Series

from seqebm.data import load_sequences
from seqebm.evaluate import brackets, nats_per_frame
from seqebm.learning.runs import Run

PLAIN = {"steps": 10_000, "centred": 0}
CHANGES: dict[str, dict[str, float]] = {  # to the preset
    "long": {},
    "cd1": {**PLAIN, "chains": 0, "gibbs_steps": 1},
    "cd25": {**PLAIN, "chains": 0, "gibbs_steps": 25},
    "pcd": PLAIN,
    "centred": {"steps": 10_000},
}
ANNEALING = {"runs": 200, "temperatures": 5000, "sweeps": 1000}  # of the one machine there is
LONG = {"runs": 600, "temperatures": 20_000, "sweeps": 2000}  # of mnist-long


def arguments(folder: Path, run: Name) -> list[str]:
    """How a run is trained."""
    settings = {**CHANGES[run.model], "seed": run.seed}
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    return ["rbm", "--data", str(folder / "mnist.h5"), "--preset", "mnist", *sets]


def figures(folder: Path, name: Name, run: Run) -> dict:
    """Nats an image between bounds, and what annealing from the base alone says."""
    test = load_sequences(folder / "mnist.h5").split("test")
    images = torch.cat([one.frames for one in test])[None]  # one sequence: log Z is found once
    annealing = LONG if name.model == "long" else ANNEALING
    found = brackets(run.model, images, None, torch.Generator().manual_seed(1), **annealing)
    nats = nats_per_frame(found)
    one_sided = {"nats": float(found.from_base.mean()), "error": float(found.upper_error.max())}
    return {"test": {**nats._asdict(), "good": nats.good}, "from base": one_sided}


SERIES = Series(
    runs=[Name("mnist", model, 1) for model in CHANGES],
    arguments=arguments,
    figures=figures,
    file=Path(__file__).with_suffix(".json"),
)

if __name__ == "__main__":
    SERIES.main()
