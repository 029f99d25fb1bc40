"""Train and measure models of polyphonic music (Boulanger-Lewandowski et al. 2012).

    python datasets/polyphonic_music.py FOLDER/music_polyphonic RUNS
    python docs/results/music.py train RUNS [RUN …]      # writes music.json; a day
    python docs/results/music.py validate RUNS [RUN …]   # prints what settings are chosen by

`series.py` says how runs are called, resumed and measured. Settings were chosen on the validation
data. Likelihoods are nats per frame, first frames included, every frame counting as much; those of
RBMs by annealing from both ends.
"""

import sys
from pathlib import Path

import torch
from series import Name, Series, is_finished

from seqebm import evaluate
from seqebm.data import Sequences, load_sequences
from seqebm.learning.runs import Run, open_run
from seqebm.models import SequenceModel

SETS = {
    "jsb": "JSB_Chorales",
    "piano": "Piano_midi",
    "nottingham": "Nottingham",
    "muse": "MuseData",
}
MODELS = ("trbm", "rtrbm", "rnn-rbm", "lstm-rbm", "rnn-nade")
NETWORKS = ("rnn", "lstm", "mrnn", "mlstm")  # with independent notes; rnn-hf is Hessian-free
SEEDS = (1, 2, 3)
SET_CHANGES: dict[str, dict[str, float | str]] = {  # to the preset, for all models of a set
    "jsb": {"noise": 0.2},
    "piano": {
        "hidden": 150,
        "state": 100,
        "decay": 0.2,
        "noise": 0.01,
        "average": 0.998,
        "steps": 2500,
    },
    "nottingham": {"noise": 0.02, "average": 0.998, "steps": 10_000},
    "muse": {"steps": 5000},
}
CHANGES: dict[str, dict[str, float | str]] = {  # for a model everywhere, and for a model of a set
    "rtrbm": {"lr": 0.005},
    "rnn-nade": {"lr": 0.005},
    **{name: {"lr": 0.005} for name in NETWORKS},
    "rnn-hf": {
        "optimizer": "hf",
        "batch": 200,
        "cg_steps": 60,
        "damping": 1.0,
        "structural": 0.1,
        "clip": 0,
        "decay": 0,
        "noise": 0,
        "average": 0,
        "steps": 20,
    },
    "jsb-trbm": {"lr": 0.005, "noise": 0.02, "decay": 0.1, "average": 0.998, "steps": 2000},
    "jsb-rtrbm": {"noise": 0.15, "lr": 0.01, "batch": 16, "gibbs_steps": 10, "steps": 3000},
    "jsb-rnn-rbm": {"hidden": 250, "state": 150, "steps": 6000},
    "jsb-lstm-rbm": {"state": 150, "steps": 4000},
    "jsb-rnn-nade": {"hidden": 150, "state": 100, "decay": 0.5, "steps": 1500},
    **{f"jsb-{name}": {"hidden": 100, "decay": 0.5, "steps": 600} for name in NETWORKS},
    "jsb-rnn-hf": {"hidden": 100},
    "piano-lstm-rbm": {"noise": 0.02, "decay": 0.3, "steps": 1500},
    "piano-rnn-nade": {"decay": 1.0, "steps": 1000},
    **{f"piano-{name}": {"decay": 1.0, "steps": 1000} for name in NETWORKS},
    "nottingham-trbm": {"order": 8, "steps": 3000},
    "nottingham-lstm-rbm": {"noise": 0.05, "average": 0, "steps": 8000},
    "nottingham-rnn-rbm": {"state": 300, "steps": 14_000},
    "nottingham-rtrbm": {"order": 8, "steps": 20_000},
    "muse-lstm-rbm": {"noise": 0.04, "decay": 0.1, "average": 0.998, "steps": 10_000, "state": 200},
    "muse-trbm": {"order": 8, "steps": 3000},
    "muse-rtrbm": {"order": 8},
}
SHARP = ("jsb", "nottingham")  # sets whose machines have several modes: annealed longer
FRAMES = {True: 2000, False: 1000}  # that are annealed long, whether machines are sharp or not
ROUGH = {"runs": 4, "sweeps": 5}  # of all frames
FINE = {"runs": 10, "sweeps": 10}  # of some, drawn at random
TEMPERATURES = {True: (300, 2000), False: (100, 1000)}  # of both
RUNGS = 10  # of the parallel tempering that draws frames
FORETOLD, SAMPLES = 5000, 2  # frames whose accuracy is measured, and samples of each


def arguments(folder: Path, run: Name) -> list[str]:
    """How a run is trained."""
    keys = dict(SET_CHANGES[run.data])
    for changed in (run.model, f"{run.data}-{run.model}"):
        keys |= CHANGES.get(changed, {})
    sets = [f"--set={key}={value}" for key, value in {**keys, "seed": run.seed}.items()]
    data = str(folder / f"{SETS[run.data]}.h5")
    return [run.model.removesuffix("-hf"), "--data", data, "--preset", "music", *sets]


def figures(folder: Path, name: Name, run: Run) -> dict:
    """Nats per frame and accuracy of the test data."""
    model, data = run.model, load_sequences(folder / f"{SETS[name.data]}.h5").split("test")
    if hasattr(model, "sampling_rungs"):
        model.sampling_rungs = RUNGS
    found = likelihood(model, data, name.data in SHARP)
    return {"test": found, "accuracy": accuracy(model, data)}


def likelihood(model: SequenceModel, data: Sequences, sharp: bool) -> dict:
    """Nats per frame between bounds."""
    frames, lengths = data.padded()
    source, (few, many) = generator(), TEMPERATURES[sharp]
    rough = evaluate.brackets(model, frames, lengths, source, None, temperatures=few, **ROUGH)
    chosen = evaluate.some_frames(lengths, FRAMES[sharp], source)
    fine = evaluate.brackets(
        model, frames, lengths, source, None, chosen, temperatures=many, **FINE
    )
    nats = evaluate.refined_nats(rough, fine, chosen, lengths)
    return {**nats._asdict(), "good": nats.good}


def accuracy(model: SequenceModel, data: Sequences) -> float:
    """The expected frame-level accuracy of some frames, drawn at random."""
    frames, lengths = data.padded()
    source = generator()
    some = evaluate.some_frames(lengths, FORETOLD, source)
    samples = (
        evaluate.next_frames(model, frames, lengths, source, some)[some] for _ in range(SAMPLES)
    )
    return evaluate.frame_accuracy((sample[None] for sample in samples), frames[some][None])


def validate(folder: Path, names: list[str]) -> None:
    """Print the likelihood of 600 frames of the validation data, annealed a little."""
    for run in SERIES.chosen(names):
        if not is_finished(folder / str(run)):
            continue
        data = load_sequences(folder / f"{SETS[run.data]}.h5").split("valid")
        frames, lengths = data.padded()
        chosen = evaluate.some_frames(lengths, 600, generator())
        model = open_run(folder / str(run)).model
        few = TEMPERATURES[run.data in SHARP][0]
        found = evaluate.brackets(
            model, frames, lengths, generator(), None, chosen, temperatures=few, **ROUGH
        )
        values = found.estimate[chosen]
        error = float(values.std()) / len(values) ** 0.5
        sides = float(found.from_model[chosen].mean()), float(found.from_base[chosen].mean())
        print(f"{run} {float(values.mean()):.3f} ± {error:.3f}", sides, flush=True)


def generator(seed: int = 1) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


SERIES = Series(
    runs=[
        Name(data, model, seed)
        for seed in SEEDS
        for data in SETS
        for model in (*MODELS, *NETWORKS, "rnn-hf")
    ],
    arguments=arguments,
    figures=figures,
    file=Path(__file__).with_suffix(".json"),
)

if __name__ == "__main__":
    if sys.argv[1] == "validate":
        validate(Path(sys.argv[2]), sys.argv[3:])
    else:
        SERIES.main()
