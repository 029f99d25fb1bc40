"""Make the gallery of a trained run on motion capture.

    python videos/make_motion.py RUN walks.h5 videos/motion

Real walks, walks that the model continues after a second, and a leg that is missing for a second
beside what linear interpolation and the model make of it, with the truth as a ghost.
"""

import sys
from pathlib import Path

import torch

from seqebm import figures, video
from seqebm.data import load_sequences
from seqebm.data.mocap import read_preparation
from seqebm.learning.runs import open_run

LEG, GAP = ("lfemur", "ltibia", "lfoot", "ltoes"), slice(30, 60)

run, data, folder = open_run(sys.argv[1]), load_sequences(sys.argv[2]), Path(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
preparation = read_preparation(run.format.preparation)
generator = torch.Generator().manual_seed(1)
train, test = data.split("train"), data.split("test")

shown = [train[7], train[14], train[20], test[0]]
video.save(
    folder / "real.mp4",
    video.grid([figures.figure(preparation.motion(one.frames)) for one in shown], 4),
    30.0,
)

prompts = torch.stack([one.frames[:30] for one in shown])
walks = torch.cat([prompts, run.model.sample_means(300, 4, prompts, generator)], 1)
video.save(
    folder / "continued.mp4",
    video.grid([figures.figure(preparation.motion(one)) for one in walks], 4),
    30.0,
)
short = [
    figures.figure(figures.resampled(preparation.motion(one[30:180]), 15), size=(120, 120))
    for one in walks
]
video.save(folder / "continued.gif", video.grid(short, 4), 15.0)
figures.angle_plot(
    folder / "continued.png",
    preparation.motion(walks[3], name="continued after one second"),
    preparation.motion(test[0].frames, name="recorded"),
    ["lfemur.ry", "rfemur.ry", "ltibia.ry", "rtibia.ry"],
)

clean = test[1].frames
missing = torch.tensor([name.startswith(LEG) for name in preparation.names])
seen = torch.ones_like(clean, dtype=torch.bool)
seen[GAP] = ~missing
line, share = clean.clone(), torch.linspace(0, 1, 32)[1:-1, None]
line[GAP] = torch.where(missing, torch.lerp(clean[29], clean[60], share), clean[GAP])
filled = torch.where(seen, clean, run.model.denoise(clean[None], seen[None])[0])
truth = preparation.motion(clean)
panels = {
    name: figures.figure(preparation.motion(frames), ghost=truth)
    for name, frames in {"leg interpolated": line, "leg filled in by the model": filled}.items()
}
video.save(folder / "missing-leg.mp4", video.side_by_side(panels), 30.0)
