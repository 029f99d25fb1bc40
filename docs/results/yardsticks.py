"""Measure the yardsticks on the videos that `record.py` measures models on.

    python docs/results/yardsticks.py docs/results/yardsticks.json

The ridge autoregressions are fitted on 400 training videos.
"""

import json
import sys

from seqebm.evaluate import next_frame_table, to_json, yardsticks
from seqebm.learning.recipes import Recipe, ball_videos, held_out_videos

recipe = Recipe()
scores = next_frame_table(yardsticks(ball_videos(recipe, 400)(0)), held_out_videos(recipe, 200))
with open(sys.argv[1], "w") as file:
    json.dump({"command": " ".join(sys.argv), "next_frame": to_json(scores)}, file, indent=1)
    file.write("\n")
