"""Let a trained model continue a video, beside what really happened.

    python sampling/continue_video.py run/ videos.h5 continued.mp4

The data file may be anything that `seqebm.data.load_sequences` reads; its first sequence is used.
"""

import sys

import torch

from seqebm import scenes, video
from seqebm.data import load_sequences
from seqebm.learning.runs import open_run

folder, data, out = sys.argv[1:]
run = open_run(folder)
truth = load_sequences(data)[0]
generator = torch.Generator().manual_seed(1)
shown = scenes.continuation(run.model, truth.frames, 10, run.format.shape, generator)
video.save(out, shown, truth.frame_rate)
