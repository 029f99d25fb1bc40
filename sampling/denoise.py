"""Destroy some pixels of a video and let a trained model reconstruct them as the video plays.

    python sampling/denoise.py run/ video.mp4 denoised.mp4

The video may be of any length, for only one frame of it is in memory. `open_frames` also reads gifs
and folders of images that way, and takes the first sequence of any other data file.
"""

import sys

import torch

from seqebm import scenes, video
from seqebm.data import open_frames
from seqebm.data.noise import salt_and_pepper
from seqebm.learning.runs import open_run

folder, data, out = sys.argv[1:]
run = open_run(folder)
shape, stream = run.format.shape, run.model.stream()
generator = torch.Generator().manual_seed(1)
with open_frames(data, shape) as frames, video.Writer(out, frames.frame_rate) as writer:
    for clean in frames:
        noisy = salt_and_pepper(clean, 0.15, generator).unsqueeze(0)  # a batch of one
        denoised = stream.denoise(noisy)
        writer.write(scenes.comparison(noisy, denoised, shape, clean.unsqueeze(0)))
