"""Follow a video frame by frame, as from a camera: filter, predict the next frame, keep nothing.

    python sampling/stream.py run/ videos.h5

Videos may be in any file that `seqebm.data.load_sequences` reads; the first one is used.
"""

import sys

from seqebm.data import load_sequences
from seqebm.learning.runs import open_run

folder, data = sys.argv[1:]
stream = open_run(folder).model.stream()
for t, frame in enumerate(load_sequences(data)[0].frames):
    error = (stream.predict()[0] - frame).square().sum()
    hidden = stream.filter(frame.unsqueeze(0))
    print(f"frame {t:3}: error {error:7.3f}, mean hidden activity {hidden.mean():.3f}")
