"""Measure models of motion capture: next frames, forecasts, feet, missing limbs.

    python datasets/mit_walking.py FOLDER/mocap_mit_taylor RUNS
    python datasets/cmu_mocap.py FOLDER/mocap_cmu35 RUNS
    for d in mit_walking mit_walking_all cmu35; do for m in rtrbm trbm; do
        train="seqebm train $m --data RUNS/$d.h5"
        $train --preset motion --out RUNS/$d-$m-taps
        $train --preset motion-prediction --out RUNS/$d-$m-innovations
    done
    train="seqebm train rtrbm --data RUNS/$d.h5 --preset motion --set gibbs_steps=10"
    $train --set order=0 --out RUNS/$d-rtrbm-no-taps
    train="seqebm train trbm --data RUNS/$d.h5 --preset motion"
    $train --set gibbs_steps=10 --set order=1 --set connections=hh --out RUNS/$d-trbm-no-taps
    $train --set connections=vh,vv --set rank=20 --out RUNS/$d-crbm-rank-20
    done
    python docs/results/mocap.py RUNS [COMMIT]

Next frames have three protocols. `blocks`: each test sequence alone, error averaged over t = 2 …,
then over sequences. `frames`: the same, averaged over all frames. `continued`: all test frames,
each given all frames before it in its recording, the training blocks among them.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from seqebm import evaluate
from seqebm.data import Sequences, load_sequences
from seqebm.data.mocap import MITPreparation, read_preparation
from seqebm.data.noise import white
from seqebm.learning import load_training
from seqebm.learning.runs import open_run

SETS = ("mit_walking", "mit_walking_all", "cmu35")
KINDS = (
    "trbm-no-taps",
    "rtrbm-no-taps",
    "crbm-rank-20",
    "trbm-taps",
    "rtrbm-taps",
    "trbm-innovations",
    "rtrbm-innovations",
)
FREE = ("trbm-taps", "rtrbm-taps", "trbm-innovations", "rtrbm-innovations")
PROMPT, HORIZONS, SAMPLES = 30, (3, 15, 30, 60), 100  # 0.1, 0.5, 1 and 2 s of 30 frames a second
LIMB = ("lfemur", "ltibia", "lfoot", "ltoes")
GAP = (45, 75)  # frames of a window in which the limb is missing
NOISE = 0.3  # standard deviation, of z-scores
TOES, NEAR = ("ltoes", "rtoes"), 30.0  # millimetres above the lowest place of either


def generator(seed: int = 1) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


def frame_errors(predict: evaluate.Predictor, one: Tensor) -> Tensor:
    """Squared errors of all frames [time, visible], summed over each, [time]."""
    return (predict(one[None], None)[0] - one).square().sum(-1)


def next_frames(predict: evaluate.Predictor, data: Sequences) -> dict:
    """The figures of one predictor."""
    test = data.split("test")
    errors = [frame_errors(predict, one.frames)[1:] for one in test]
    report = {
        "blocks": sum(e.mean().item() for e in errors) / len(errors),
        "frames": torch.cat(errors).mean().item(),
        "each": {one.name: e.mean().item() for one, e in zip(test, errors, strict=True)},
    }
    if isinstance(read_preparation(data.preparation), MITPreparation):
        last = 35 * 100 - (438 + 260)  # frames of the third recording that are training data
        third = torch.cat([one.frames for one in data])[-last - 326 :]
        report["continued"] = frame_errors(predict, third)[last:].mean().item()
    return report


def windows(data: Sequences, hop: int = 16) -> Tensor:
    """Pieces of the test frames in a row, [n, PROMPT + longest horizon, visible]."""
    frames = torch.cat([one.frames for one in data.split("test")])
    return frames.unfold(0, PROMPT + max(HORIZONS), hop).transpose(1, 2)


def forecasts(models: dict, data: Sequences) -> dict:
    """Energy scores beside an autoregression with Gaussian noise."""
    continuations: dict[str, evaluate.Continuation] = {
        name: lambda prefix, length, rng, model=model: model.sample(
            length, len(prefix), prefix, rng
        )
        for name, model in models.items()
    }
    known = data.split("train").padded()
    continuations["AR(3), Gaussian noise"] = evaluate.GaussianAutoregression.learn(*known)
    scores = evaluate.energy_scores(
        continuations, windows(data), PROMPT, HORIZONS, SAMPLES, generator()
    )
    return {f"{h / 30:g} s": evaluate.to_json(score) for h, score in scores.items()}


def feet(frames: Tensor, data: Sequences) -> float | None:
    """How fast toes near the ground slide, mean over motions [n, time, visible], in m/s.

    None where toes of some motion are never near its lowest place for two frames: a wild one.
    """
    preparation = read_preparation(data.preparation)
    motions = [preparation.motion(one) for one in frames.unbind()]
    try:
        speeds = [evaluate.foot_skate(motion, TOES, NEAR) / 1000 for motion in motions]
    except ValueError:
        return None
    return sum(speeds) / len(speeds)


def free_runs(models: dict, data: Sequences) -> dict:
    """Ten seconds after each prompt, and a thousand frames."""
    prefix = windows(data)[:, :PROMPT]
    real = windows(data)
    report: dict = {
        "data": {
            "change": (real[:, 1:] - real[:, :-1]).square().sum(-1).mean().item(),
            "largest": real.abs().max().item(),
            "skate": feet(real, data),
        }
    }
    for name, model in models.items():
        report[name] = {}
        for kind, draw in (("samples", model.sample), ("means", model.sample_means)):
            long = draw(1000, len(prefix), prefix, generator())
            changes = [
                (a[:, 1:] - a[:, :-1]).square().sum(-1).mean().item() for a in long.split(200, 1)
            ]
            report[name][kind] = {
                "finite": bool(long.isfinite().all()),
                "largest": long.abs().max().item(),
                "spread": [part.std(1).mean().item() for part in long.split(200, 1)],
                "change": changes,
                "skate": feet(long[:, :300], data),
            }
    return report


def missing_limb(models: dict, data: Sequences) -> dict:
    """A leg that is missing for a second, filled in by models and by others."""
    preparation = read_preparation(data.preparation)
    hidden = torch.tensor([name.startswith(LIMB) for name in preparation.names])
    clean = windows(data)
    seen = torch.ones_like(clean, dtype=torch.bool)
    start, end = GAP
    seen[:, start:end, hidden] = False
    share = torch.linspace(0, 1, end - start + 2)[1:-1, None]
    line, held = clean.clone(), clean.clone()
    between = torch.lerp(clean[:, None, start - 1], clean[:, None, end], share)
    line[:, start:end, hidden] = between[..., hidden]
    held[:, start:end, hidden] = clean[:, start - 1 : start].expand(-1, end - start, -1)[
        ..., hidden
    ]
    estimates = {"last value held": held, "linear interpolation": line}
    for name, model in models.items():
        estimates[name] = torch.where(seen, clean, model.denoise(clean, seen))
    return {
        name: _quality(estimate, clean, ~seen, preparation) for name, estimate in estimates.items()
    }


def noisy_values(models: dict, data: Sequences) -> dict:
    """What is left of white noise on all values, beside denoisers that are fitted to it."""
    known, clean = torch.stack([one.frames for one in data.split("train")]), windows(data)
    spoilt, noisy = white(known, NOISE, generator(2)), white(clean, NOISE, generator(3))
    ways = evaluate.denoisers(spoilt, known)
    ways |= {name: model.denoise for name, model in models.items()}
    errors = {name: (way(noisy) - clean).square().mean((1, 2)) for name, way in ways.items()}
    return {
        name: {"per_value": e.mean().item(), "per_value_se": e.std().item() / math.sqrt(len(e))}
        for name, e in errors.items()
    }


def _quality(estimate: Tensor, clean: Tensor, missing: Tensor, preparation: object) -> dict:
    """Errors of the missing values, and of joints in the frames that miss some."""
    start, end = GAP
    quality = evaluate.MotionQuality(preparation)  # type: ignore[arg-type]
    for a, b in zip(clean[:, start:end], estimate[:, start:end], strict=True):
        quality.add(a, b)
    squared = (estimate - clean).square()[missing].view(len(clean), -1).mean(1)
    return {
        "per_value": squared.mean().item(),
        "per_value_se": squared.std().item() / math.sqrt(len(squared)),
        "joints": 1000 * quality.result().distance,  # millimetres
    }


def main() -> None:
    """Measure all runs in RUNS and write mocap.json."""
    folder, *commit = sys.argv[1:]
    report: dict = {"commit": commit[0] if commit else _commit(), "torch": torch.__version__}
    for name in SETS:
        data = load_sequences(Path(folder, f"{name}.h5"))
        runs = {kind: Path(folder, f"{name}-{kind}") for kind in KINDS}
        models = {kind: open_run(run).model for kind, run in runs.items()}
        fitted = evaluate.yardsticks(*data.split("train").padded())
        predictors = {**fitted, **{kind: model.predict for kind, model in models.items()}}
        free = {kind: models[kind] for kind in FREE}
        report[name] = {
            "next_frame": {kind: next_frames(p, data) for kind, p in predictors.items()},
            "seconds": {kind: load_training(run)[1]["seconds"] for kind, run in runs.items()},
            "parameters": {k: sum(p.numel() for p in m.parameters()) for k, m in models.items()},
        }
        if name == "mit_walking":
            report[name]["energy"] = forecasts(free, data)
            report[name]["free_run"] = free_runs(free, data)
            report[name]["missing_limb"] = missing_limb(free, data)
            report[name]["noise"] = noisy_values(free, data)
    out = Path(__file__).with_suffix(".json")
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(out)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
