"""Measure one and two layers of TRBMs on two balls in 20 x 20 pixels, and what they denoise.

    for c in hh,vh,vv vh,vv hh,vv hh,vh; do
        seqebm train stack --data balls --preset thesis-layers --set connections=$c --out RUNS/$c
    done
    seqebm train rbm --data balls --preset thesis-layers --out RUNS/rbm
    python docs/results/layers.py RUNS [COMMIT]

Sutskever 2013, sec. 3.3-3.4.1, with the noise of his fig. 3.2: smaller balls at fixed places that
appear and disappear, at three strengths. Five test sets of 20 videos, one for each seed; means and
standard errors are over all 100 videos. Yardsticks are fitted on 200 noisy and clean videos of each
strength, which the models never see.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from seqebm.data import bouncing_balls
from seqebm.data.noise import flickering_balls, missing_pixels
from seqebm.evaluate import (
    Score,
    denoisers,
    free_run_errors,
    prediction_errors,
    quality_table,
    to_json,
)
from seqebm.learning import load_training
from seqebm.learning.runs import open_run
from seqebm.models import SequenceModel, Stack

NAMES = {"hh,vh,vv": "TRBM", "vh,vv": "TRBM-HH", "hh,vv": "TRBM-VH", "hh,vh": "TRBM-VV"}
STRENGTHS = (0.1, 0.3, 0.6)
SEEDS = (1, 2, 3, 4, 5)
HORIZONS = [1, 2, 5, 10, 20]

Denoiser = Callable[[Tensor], Tensor]


def generator(seed: int) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


def videos(count: int, seed: int) -> Tensor:
    """Two balls, [count, 100, 400]; the seeds of training videos are sequences of numbers."""
    return bouncing_balls(count, 100, 20, 2, generator=generator(seed))


def test_videos() -> Tensor:
    """Twenty videos of each seed."""
    return torch.cat([videos(20, 30_000 + seed) for seed in SEEDS])


def noisy_videos(clean: Tensor, strength: float) -> Tensor:
    """The test videos with the noise of each seed."""
    parts = zip(clean.chunk(len(SEEDS)), SEEDS, strict=True)
    return torch.cat([flickering_balls(part, strength, generator(seed)) for part, seed in parts])


def all_models(folder: Path) -> tuple[dict[str, SequenceModel], dict[str, float]]:
    """Each variant with one layer and with two, and the minutes of every training."""
    models: dict[str, SequenceModel] = {}
    minutes: dict[str, float] = {}
    for connections, name in NAMES.items():
        stack = open_run(folder / connections).model
        assert isinstance(stack, Stack)
        for count in range(1, len(stack) + 1):
            layers = name if count == 1 else f"{name}, {count} layers"
            models[layers] = stack[:count]
            _, training = load_training(folder / connections / f"layer-{count}.h5")
            minutes[layers] = training["seconds"] / 60
    models["static RBM"] = open_run(folder / "rbm").model
    minutes["static RBM"] = load_training(folder / "rbm")[1]["seconds"] / 60
    return models, minutes


def generation(model: SequenceModel, clean: Tensor) -> dict[str, object]:
    """Errors of the next frame and of free runs from ten frames."""
    free = free_run_errors(
        lambda prefix, length, rng: model.sample_means(length, len(prefix), prefix, rng),
        clean,
        10,
        HORIZONS,
        generator(1),
    )
    return {
        "next_frame": Score.of(prediction_errors(model.predict, clean), 400)._asdict(),
        "free_run": {str(h): to_json(scores) for h, scores in free.items()},
    }


def denoising(models: dict[str, SequenceModel], clean: Tensor, strength: float) -> dict:
    """The quality of what every model and every yardstick makes of the noisy videos."""
    train = videos(200, 40_000)
    yardsticks = denoisers(flickering_balls(train, strength, generator(9)), train)
    noisy = noisy_videos(clean, strength)
    ways: dict[str, Denoiser] = {**yardsticks, **{n: m.denoise for n, m in models.items()}}
    estimates = {name: way(noisy) for name, way in ways.items()}
    return {name: score._asdict() for name, score in quality_table(estimates, clean).items()}


def missing(models: dict[str, SequenceModel], clean: Tensor) -> dict:
    """A third of the pixels black: denoised as they are, with the mask, with sweeps as well."""
    clean = clean[:20]
    mask = missing_pixels(clean, 1 / 3, generator(1))
    dark = clean * mask
    table = {}
    for name, model in models.items():
        estimates = {
            "unmasked": model.denoise(dark),
            "masked": model.denoise(dark, mask),
            "masked, 5 sweeps": model.denoise(dark, mask, sweeps=5, generator=generator(1)),
        }
        table[name] = {k: v._asdict() for k, v in quality_table(estimates, clean).items()}
    return table


def main() -> None:
    """Measure the runs and keep the figures."""
    torch.set_num_threads(1)
    folder, *commit = sys.argv[1:]
    models, minutes = all_models(Path(folder))
    clean = test_videos()
    head = ["git", "rev-parse", "--short", "HEAD"]
    report = {
        "command": "python docs/results/layers.py RUNS",
        "training": "seqebm train stack --data balls --preset thesis-layers --set connections=…",
        "commit": commit[0] if commit else subprocess.check_output(head, text=True).strip(),
        "torch": torch.__version__,
        "minutes": minutes,
        "generation": {name: generation(model, clean) for name, model in models.items()},
        "denoising": {str(s): denoising(models, clean, s) for s in STRENGTHS},
        "missing": missing(models, clean),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
