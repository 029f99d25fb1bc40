"""Destroy some pixels of a video and let a trained model reconstruct them as the video plays.

    python sampling/denoise.py run/ videos.h5 denoised.mp4

Videos may be in any file that `seqebm.data.load_sequences` reads; the first one is used.
"""

import sys

import torch

from seqebm import scenes, video
from seqebm.data import load_sequences
from seqebm.data.noise import salt_and_pepper
from seqebm.learning.runs import open_run

folder, data, out = sys.argv[1:]
run = open_run(folder)
clean = load_sequences(data)[0]
noisy = salt_and_pepper(clean.frames, 0.15, torch.Generator().manual_seed(1))
shown = scenes.denoising(run.model, noisy, run.format.shape, clean.frames)
video.save(out, shown, clean.frame_rate)
