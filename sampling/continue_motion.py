"""Let a trained model go on walking, beside what really happened.

    python sampling/continue_motion.py run/ walks.h5 continued.mp4

The data are prepared motions (`seqebm data mocap`); the first sequence of the test split, or of
all, is continued after its first second. What the model made is written beside the video as a .bvh.
"""

import sys
from pathlib import Path

import torch

from seqebm import figures, video
from seqebm.data import load_sequences
from seqebm.data.mocap import read_preparation, write_motion
from seqebm.learning.runs import open_run

folder, data, out = sys.argv[1:]
run, sequences = open_run(folder), load_sequences(data)
preparation = read_preparation(run.format.preparation)
truth = next((one for one in sequences if one.split == "test"), sequences[0])
prompt = truth.frames[: round(truth.frame_rate)]
made = run.model.sample_means(
    len(truth.frames) - len(prompt),
    prefix=prompt[None],
    generator=torch.Generator().manual_seed(1),
)[0]
whole = torch.cat([prompt, made])
panels = {
    "truth": figures.figure(preparation.motion(truth.frames)),
    "continued after a second": figures.figure(preparation.motion(whole)),
}
video.save(out, video.side_by_side(panels), truth.frame_rate)
write_motion(Path(out).with_suffix(".bvh"), preparation.motion(whole, name="continued"))
