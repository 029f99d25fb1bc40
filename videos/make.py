"""Make the gallery of a trained run on bouncing balls.

    python videos/make.py runs/best videos/best

Writes a continuation, a prediction, a denoised video, samples and weights into the folder, each
made by a function of `seqebm.scenes`.
"""

import sys
from pathlib import Path

from seqebm import scenes
from seqebm.learning.recipes import held_out_videos
from seqebm.learning.runs import open_run

run, folder = open_run(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
videos = held_out_videos(run.recipe, 2)
for name, text in scenes.save_gallery(run.model, videos, run.format.shape, folder).items():
    print(f"{folder / name}: {text}")
