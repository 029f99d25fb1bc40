"""Show a model's prediction of every next frame of a video, and where it is wrong.

    python sampling/predict.py run/ videos.h5 predicted.mp4

Videos may be in any file that `seqebm.data.load_sequences` reads; the first one is used.
"""

import sys

from seqebm import scenes, video
from seqebm.data import load_sequences
from seqebm.learning.runs import open_run

folder, data, out = sys.argv[1:]
run = open_run(folder)
truth = load_sequences(data)[0]
video.save(out, scenes.prediction(run.model, truth.frames, run.format.shape), truth.frame_rate)
