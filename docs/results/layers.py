"""Measure one and two layers of TRBMs on two balls in 20 x 20 pixels, and what they denoise.

    for c in hh,vh,vv vh,vv hh,vv hh,vh; do
        train="seqebm train stack --data balls --set connections=$c"
        $train --preset thesis-layers --out RUNS/thesis-layers/$c
        $train --preset balls-layers --set from_below=false --out RUNS/balls-layers/$c
        $train --preset balls-layers --out RUNS/balls-layers/$c-from-below
    done
    for p in thesis-layers balls-layers; do
        seqebm train rbm --data balls --preset $p --out RUNS/$p/rbm
    done
    python docs/results/layers.py RUNS [COMMIT]

Sutskever 2013, sec. 3.3-3.4.1, with the noise of his fig. 3.2: smaller balls at fixed places that
appear and disappear, at three strengths. Five test sets of 20 videos, one for each seed; means and
standard errors are over all 100 videos. Yardsticks are fitted on 200 noisy and clean videos of each
strength, which the models never see. The figures go into layers.json, fig. 3.2 into videos/layers.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from seqebm import video
from seqebm.data import bouncing_balls
from seqebm.data.noise import flickering_balls, missing_pixels
from seqebm.evaluate import (
    QualityScore,
    Score,
    denoisers,
    free_run_errors,
    prediction_errors,
    quality_table,
    to_json,
)
from seqebm.learning import load_training
from seqebm.learning.runs import open_run
from seqebm.models import TRBM, SequenceModel, Stack

PRESETS = ("thesis-layers", "balls-layers")
NAMES = {"hh,vh,vv": "TRBM", "vh,vv": "TRBM-HH", "hh,vv": "TRBM-VH", "hh,vh": "TRBM-VV"}
STRENGTHS = (0.1, 0.3, 0.6)
SEEDS = (1, 2, 3, 4, 5)
HORIZONS = [1, 2, 5, 10, 20]


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
    """Each variant with one layer and with two, and the minutes of every training.

    The second layer of "exchanged" has learned nothing: it is the first with its layers of units
    exchanged, and so has the same distribution. That of "from below" has learned from there on.
    """
    models: dict[str, SequenceModel] = {}
    minutes: dict[str, float] = {}

    def add(name: str, model: SequenceModel, checkpoint: Path) -> None:
        models[name] = model
        minutes[name] = load_training(checkpoint)[1]["seconds"] / 60

    for connections, name in NAMES.items():
        run = folder / connections
        stack = _stack(run)
        first = stack.layers[0]
        assert isinstance(first, TRBM)
        add(name, stack[:1], run / "layer-1.h5")
        add(f"{name}, 2 layers", stack, run / "layer-2.h5")
        models[f"{name}, exchanged"] = Stack([first, first.transposed()])
        run = folder / f"{connections}-from-below"
        if run.exists():  # as it does for one of the presets
            add(f"{name}, from below", _stack(run), run / "layer-2.h5")
    add("static RBM", open_run(folder / "rbm").model, folder / "rbm")
    return models, minutes


def _stack(run: Path) -> Stack:
    model = open_run(run).model
    assert isinstance(model, Stack)
    return model


def generation(model: SequenceModel, clean: Tensor) -> dict[str, object]:
    """Errors of the next frame, of free runs from ten frames, and of clean frames given back."""
    free = free_run_errors(
        lambda prefix, length, rng: model.sample_means(length, len(prefix), prefix, rng),
        clean,
        10,
        HORIZONS,
        generator(1),
    )
    return {
        "next_frame": Score.of(prediction_errors(model.predict, clean), 400)._asdict(),
        "clean": Score.of((model.denoise(clean) - clean).square().sum(-1).mean(1), 400)._asdict(),
        "free_run": {str(h): to_json(scores) for h, scores in free.items()},
    }


def scores(table: Mapping[str, QualityScore]) -> dict[str, dict]:
    """As plain dictionaries."""
    return {name: score._asdict() for name, score in table.items()}


def denoising(models: dict[str, SequenceModel], clean: Tensor, strength: float) -> dict[str, dict]:
    """The quality of what every model makes of the noisy videos."""
    noisy = noisy_videos(clean, strength)
    return scores(quality_table({name: m.denoise(noisy) for name, m in models.items()}, clean))


def yardsticks(clean: Tensor, strength: float) -> dict[str, dict]:
    """The quality of what ways without a model make of them."""
    train = videos(200, 40_000)
    ways = denoisers(flickering_balls(train, strength, generator(9)), train)
    noisy = noisy_videos(clean, strength)
    return scores(quality_table({name: way(noisy) for name, way in ways.items()}, clean))


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
        table[name] = scores(quality_table(estimates, clean))
    return table


def gallery(models: dict[str, SequenceModel], clean: Tensor, folder: Path) -> None:
    """Fig. 3.2: a video, with noise, and denoised by one layer and by two."""
    noisy = noisy_videos(clean, 0.3)[:1]
    two = models.get("TRBM-VV, from below", models["TRBM-VV, 2 layers"])
    rows = {
        "clean": clean[0],
        "noisy": noisy[0],
        "one layer": models["TRBM-VV"].denoise(noisy)[0],
        "two layers": two.denoise(noisy)[0],
    }
    pictures = {name: video.pictures(frames[:60], (20, 20)) for name, frames in rows.items()}
    folder.mkdir(parents=True, exist_ok=True)
    video.save(folder / "denoised.gif", video.side_by_side(pictures))
    strips = {name: shown[20:40] for name, shown in pictures.items()}
    video.save(folder / "denoised.png", video.strip(strips, every=2))


def measured(folder: Path, clean: Tensor) -> dict[str, object]:
    """All figures of one way to train."""
    models, minutes = all_models(folder)
    gallery(models, clean, Path(__file__).parents[2] / "videos" / "layers" / folder.name)
    return {
        "minutes": minutes,
        "generation": {name: generation(model, clean) for name, model in models.items()},
        "denoising": {str(s): denoising(models, clean, s) for s in STRENGTHS},
        "missing": missing(models, clean),
    }


def main() -> None:
    """Measure the runs and keep the figures."""
    torch.set_num_threads(1)
    folder, *commit = sys.argv[1:]
    clean = test_videos()
    head = ["git", "rev-parse", "--short", "HEAD"]
    report = {
        "command": "python docs/results/layers.py RUNS",
        "training": "seqebm train stack --data balls --preset PRESET --set connections=…",
        "commit": commit[0] if commit else subprocess.check_output(head, text=True).strip(),
        "torch": torch.__version__,
        "yardsticks": {str(s): yardsticks(clean, s) for s in STRENGTHS},
        "presets": {name: measured(Path(folder) / name, clean) for name in PRESETS},
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
