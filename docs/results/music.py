"""Train and measure models of polyphonic music (Boulanger-Lewandowski et al. 2012).

    python datasets/polyphonic_music.py FOLDER/music_polyphonic RUNS
    python docs/results/music.py train RUNS [NAME …]      # resumes what was stopped; hours
    python docs/results/music.py validate RUNS [NAME …]   # prints what settings are chosen by
    python docs/results/music.py measure RUNS [NAME …]    # writes music.json; an hour

A run is called SET-MODEL-SEED, such as jsb-rtrbm-1; all of a set or of a model are meant by
`jsb` or `jsb-rtrbm`. Each is trained by one command, which is printed and kept with its figures:

    seqebm train MODEL --data RUNS/SET.h5 --preset music --set KEY=VALUE … --out RUNS/SET-MODEL-SEED

Settings were chosen on the validation data; only `measure` looks at the test data. Likelihoods are
nats per frame, first frames included, every frame counting as much; those of RBMs by annealing from
both ends.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from record import machine, printed

from seqebm import evaluate
from seqebm.data import Sequences, load_sequences
from seqebm.learning import load_training
from seqebm.learning.runs import open_run
from seqebm.models import SequenceModel

SETS = {
    "jsb": "JSB_Chorales",
    "piano": "Piano_midi",
    "nottingham": "Nottingham",
    "muse": "MuseData",
}
MODELS = ("trbm", "rtrbm", "rnn-rbm", "lstm-rbm", "rnn-nade", "rnn")
SEEDS = (1, 2, 3)
SET_CHANGES: dict[str, dict[str, float]] = {  # to the preset, for all models of a set
    "jsb": {"noise": 0.2},
    "piano": {"hidden": 150, "state": 100, "decay": 0.3, "steps": 2500},
    "nottingham": {"steps": 6000},
    "muse": {"steps": 5000},
}
CHANGES: dict[str, dict[str, float]] = {  # for a model everywhere, and for a model of a set
    "rtrbm": {"lr": 0.005},
    "rnn-nade": {"lr": 0.005},
    "rnn": {"lr": 0.005},
    "jsb-trbm": {"noise": 0.1, "steps": 3000},
    "jsb-rtrbm": {"noise": 0.15, "lr": 0.01, "batch": 16, "gibbs_steps": 10, "steps": 3000},
    "jsb-rnn-rbm": {"hidden": 250, "state": 150, "steps": 6000},
    "jsb-lstm-rbm": {"state": 150, "steps": 4000},
    "jsb-rnn-nade": {"hidden": 150, "state": 100, "decay": 0.5, "steps": 1500},
    "jsb-rnn": {"hidden": 100, "decay": 0.5, "steps": 600},
    "piano-lstm-rbm": {"steps": 1500},
    "piano-rnn-nade": {"decay": 1.0, "steps": 1000},
    "piano-rnn": {"decay": 1.0, "steps": 1000},
    "nottingham-trbm": {"order": 8, "steps": 3000},
    "nottingham-rnn-rbm": {"steps": 12_000},
    "nottingham-rtrbm": {"order": 8, "steps": 5000},
    "muse-trbm": {"order": 8, "steps": 3000},
    "muse-rtrbm": {"order": 8},
}
ROUGH = {"runs": 4, "temperatures": 100, "sweeps": 5}  # of all frames
FINE = {"runs": 10, "temperatures": 1000, "sweeps": 10}  # of some, drawn at random
FRAMES = {"jsb": 2000}  # so many, or a thousand
RUNGS = 10  # of the parallel tempering that draws frames
FORETOLD, SAMPLES = 5000, 2  # frames whose accuracy is measured, and samples of each


def chosen(names: list[str]) -> list[tuple[str, str, int]]:
    """Sets, models and seeds of the runs that names stand for, short trainings first."""
    every = [(s, m, seed) for s in SETS for seed in SEEDS for m in MODELS]
    if not names:
        return every
    called = {run: (f"{run[0]}-", f"{run[0]}-{run[1]}-", f"{called_so(run)}-") for run in every}
    return [run for run in every if any(f"{name}-" in called[run] for name in names)]


def called_so(run: tuple[str, str, int]) -> str:
    """The name of a run."""
    return "-".join(map(str, run))


def command(folder: Path, run: tuple[str, str, int]) -> list[str]:
    """The command that trains a run."""
    name, model, seed = run
    keys = dict(SET_CHANGES[name])
    for changed in (model, f"{name}-{model}"):
        keys |= CHANGES.get(changed, {})
    settings = [f"--set={key}={value}" for key, value in {**keys, "seed": seed}.items()]
    data, out = folder / f"{SETS[name]}.h5", folder / called_so(run)
    line = ["seqebm", "train", model, "--data", str(data), "--preset", "music"]
    return [*line, *settings, "--out", str(out)]


def train(folder: Path, names: list[str]) -> None:
    """Train, or go on training, one run after another."""
    for run in chosen(names):
        line = command(folder, run)
        print(" ".join(line), flush=True)
        subprocess.run([sys.executable, "-m", *line, "--resume"], check=True)


def figures(folder: Path, run: tuple[str, str, int], data: Sequences) -> dict:
    """What is kept of a run."""
    path = folder / called_so(run)
    model, training = open_run(path).model, load_training(path)[1]
    count = FRAMES.get(run[0], 1000)
    if hasattr(model, "sampling_rungs"):
        model.sampling_rungs = RUNGS
    report = {
        "command": " ".join(command(Path("RUNS"), run)),
        "steps": training["step"],
        "seconds": training["seconds"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "test": likelihood(model, data.split("test"), count),
    }
    report["accuracy"] = accuracy(model, data.split("test"))
    return report


def accuracy(model: SequenceModel, data: Sequences) -> float:
    """The expected frame-level accuracy of some frames, drawn at random."""
    frames, lengths = data.padded()
    source = generator()
    some = evaluate.some_frames(lengths, FORETOLD, source)
    samples = (
        evaluate.next_frames(model, frames, lengths, source, some)[some] for _ in range(SAMPLES)
    )
    return evaluate.frame_accuracy((sample[None] for sample in samples), frames[some][None])


def likelihood(model: SequenceModel, data: Sequences, count: int) -> dict:
    """Nats per frame between bounds, for which so many frames are annealed long."""
    frames, lengths = data.padded()
    source = generator()
    rough = evaluate.brackets(model, frames, lengths, source, None, **ROUGH)
    chosen = evaluate.some_frames(lengths, count, source)
    fine = evaluate.brackets(model, frames, lengths, source, None, chosen, **FINE)
    nats = evaluate.refined_nats(rough, fine, chosen, lengths)
    return {**nats._asdict(), "good": nats.good}


def validate(folder: Path, names: list[str]) -> None:
    """Print the likelihood of 600 frames of the validation data, annealed a little."""
    for run in finished(folder, names):
        data = load_sequences(folder / f"{SETS[run[0]]}.h5").split("valid")
        frames, lengths = data.padded()
        chosen = evaluate.some_frames(lengths, 600, generator())
        model = open_run(folder / called_so(run)).model
        found = evaluate.brackets(model, frames, lengths, generator(), None, chosen, **ROUGH)
        values = found.estimate[chosen]
        error = float(values.std()) / len(values) ** 0.5
        sides = float(found.from_model[chosen].mean()), float(found.from_base[chosen].mean())
        print(f"{called_so(run)} {float(values.mean()):.3f} ± {error:.3f}", sides, flush=True)


def finished(folder: Path, names: list[str]) -> list[tuple[str, str, int]]:
    """The runs that have been trained."""
    return [run for run in chosen(names) if (folder / called_so(run) / "model.h5").exists()]


def measure(folder: Path, names: list[str]) -> None:
    """Measure finished runs and keep their figures; those of other runs stay as they are."""
    out = Path(__file__).with_suffix(".json")
    kept = json.loads(out.read_text()) if out.exists() else {"runs": {}}
    for run in finished(folder, names):
        data = load_sequences(folder / f"{SETS[run[0]]}.h5")
        kept["runs"][called_so(run)] = {
            **figures(folder, run, data),
            "commit": printed("git", "rev-parse", "--short", "HEAD"),
        }
        kept |= {"torch": torch.__version__, "machine": machine()}
        out.write_text(json.dumps(kept, indent=1) + "\n")
        print(called_so(run), kept["runs"][called_so(run)]["test"]["estimate"], flush=True)


def generator(seed: int = 1) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    do = {"train": train, "validate": validate, "measure": measure}[sys.argv[1]]
    do(Path(sys.argv[2]), sys.argv[3:])
