"""Make the gallery of the music runs: what each kind of model draws, to see, to read and to hear.

    python videos/make_music.py RUNS videos/music

RUNS is the folder of `docs/results/music.py`. Of every kind of model and two data sets half a
minute is drawn from the beginning: MIDI files, piano rolls above each other, and spectrograms of
their sound. What 40 such samples have in common with the test data, counted, goes to
docs/results/music-samples.json.
"""

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

from seqebm import evaluate, pianoroll, sound
from seqebm.data import Sequence, load_sequences, music
from seqebm.learning.runs import open_run

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SETS = {"jsb": "JSB_Chorales", "nottingham": "Nottingham"}
MODELS = ("trbm", "rtrbm", "rnn-rbm", "lstm-rbm", "rnn-nade", "rnn")
SECONDS, COUNT = 30, 40
BURN_IN, RUNGS = 50, 10  # sweeps and rungs of the parallel tempering that draws a frame

runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
report: dict[str, dict[str, dict]] = {}
for name, file in SETS.items():
    test = load_sequences(runs / f"{file}.h5").split("test")
    rate = test[0].frame_rate
    length = round(SECONDS * rate)
    statistics = {"data": evaluate.roll_statistics(*test.padded())}
    rolls = {"data": test[0].frames[:length]}
    for kind in MODELS:
        path = runs / f"{name}-{kind}-1"
        if not (path / "model.h5").exists():
            continue
        model = open_run(path).model
        if hasattr(model, "sampling_steps"):
            model.sampling_steps, model.sampling_rungs = BURN_IN, RUNGS
        drawn = model.sample(length, batch=COUNT, generator=torch.Generator().manual_seed(1))
        statistics[kind], rolls[kind] = evaluate.roll_statistics(drawn), drawn[0]
        music.write_midi(folder / f"{name}-{kind}.mid", Sequence(drawn[0], frame_rate=rate))
    report[name] = {
        kind: {
            **{key: getattr(found, key) for key in ("mean_notes", "repeated", "held", "silent")},
            "distances": [
                evaluate.total_variation(*pair)
                for pair in zip(found[:3], statistics["data"][:3], strict=True)
            ],
        }
        for kind, found in statistics.items()
    }
    print(evaluate.format_statistics(statistics))
    figure, axes = plt.subplots(len(rolls), 2, figsize=(11, 1.7 * len(rolls)), squeeze=False)
    for (kind, roll), (left, right) in zip(rolls.items(), axes, strict=True):
        left.imshow(pianoroll.still(roll)[0], aspect="auto", extent=(0, len(roll) / rate, 0, 1))
        samples = sound.synthesised(roll.numpy() > 0.5, rate)
        hiss = 1e-5 * np.random.default_rng(1).standard_normal(len(samples))  # no log of 0
        right.specgram(samples + hiss, NFFT=2048, Fs=sound.RATE, vmin=-130)
        left.set(ylabel=kind, yticks=[])
        right.set(ylim=(0, 3000), yticks=[])
    for axis in axes[-1]:
        axis.set(xlabel="seconds")
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=60)
out = Path(__file__).parents[1] / "docs" / "results" / "music-samples.json"
command = "python videos/make_music.py RUNS videos/music"
out.write_text(json.dumps({"command": command, **report}, indent=1) + "\n")
