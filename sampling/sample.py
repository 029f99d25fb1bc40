"""Draw videos from a trained model.

    python sampling/sample.py run/ samples.mp4

What is shown are the conditional probabilities of the pixels, as in Sutskever 2013, sec. 3.11.1;
`model.sample` in place of `model.sample_means` draws the pixels themselves.
"""

import sys

import torch

from seqebm import scenes, video
from seqebm.learning.runs import open_run

folder, out = sys.argv[1:]
run = open_run(folder)
videos = run.model.sample_means(200, batch=9, generator=torch.Generator().manual_seed(1))
video.save(out, scenes.many(videos, run.format.shape), run.format.frame_rate)
