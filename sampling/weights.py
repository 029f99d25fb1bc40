"""Picture what the hidden units look at and how they drive each other (Sutskever 2013, fig. 3.4).

    python sampling/weights.py run/ weights.png

The run is a folder that `seqebm train` wrote.
"""

import sys

from seqebm import scenes, video
from seqebm.learning.runs import open_run

folder, out = sys.argv[1:]
run = open_run(folder)
video.save(out, scenes.weights(run.model, run.format.shape))
