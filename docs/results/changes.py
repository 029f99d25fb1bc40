"""What each part of the recipe for models with taps brings: short trainings without it.

    python docs/results/changes.py docs/results/changes.json

Each row of the preset balls-taps changes one thing, for 1200 updates that end with learning rate 0;
the next-frame error is that of 50 videos of 100 frames (about half an hour on one thread).
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from seqebm.evaluate import Score, prediction_errors
from seqebm.learning.recipes import held_out_videos, make_recipe
from seqebm.learning.training import train

CHANGES = {
    "as it is": {},
    "biases begin near zero": {"start_at_mean": "false"},
    "CD-10": {"gibbs_steps": "10"},
    "Adam, 0.001": {"lr": "0.001"},
    "Adam, 0.01": {"lr": "0.01"},
    "SGD, 0.1": {"optimizer": "sgd", "lr": "0.1"},
    "one tap": {"order": "1"},
    "four taps": {"order": "4"},
    "no taps": {"order": "0"},
    "W′ held at zero": {"held_at_zero": "hidden_to_hidden"},
}


def main() -> None:
    """Train every variant and write FILE after each."""
    torch.set_num_threads(1)
    report: dict = {"torch": torch.__version__, "updates": 1200, "rows": {}}
    for name, settings in CHANGES.items():
        recipe = make_recipe("rtrbm", "balls-taps", {"steps": "1200", **settings})
        started = time.process_time()
        model, _ = train(recipe, progress=False)
        seconds = time.process_time() - started
        videos = held_out_videos(replace(recipe, length=100), 50)
        score = Score.of(prediction_errors(model.predict, videos), videos.shape[-1])
        report["rows"][name] = {"settings": settings, "seconds": seconds, **score._asdict()}
        print(name, score, f"{seconds:.0f} s", flush=True)
        Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
