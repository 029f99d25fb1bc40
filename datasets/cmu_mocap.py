"""Walks and runs of subject 35 of CMU: 29 trials to learn, 2 to validate, 2 to test.

    python datasets/cmu_mocap.py [FOLDER [OUT]]

FOLDER holds cmu35WalkJog.mat and 35.asf; by default mocap_cmu35 in $SEQEBM_DATA. cmu35.h5 is
written to OUT, by default the same folder. Other recordings of CMU are prepared from their own
files with `seqebm data mocap SUBJECT_*.amc --frame-rate 30 --out data.h5`.

Data card
    source      mocap.cs.cmu.edu, subject 35; the trials as Lawrence's GPmat has them (every fourth
                of 120 frames a second), github.com/SheffieldML/GPmat, datasets/data
    frames      [35 … 125, 62] float32 at 30 a second: way, turn and height of the body in its own
                frame, exponential maps of joints, as z-scores of the training trials;
                `seqebm.data.mocap.Preparation` makes them motions again
    splits      test 35_18 (a run) and 35_29 (a walk), as everyone has it since Lawrence (2007);
                valid 35_17 (a run) and 35_34 (a walk), which is our choice; all others train
    yardsticks  squared error summed over a frame, over t = 2 … of each test trial; printed below
    licence     CMU: free for all uses, may be part of a product, may not be sold as data; credit
                mocap.cs.cmu.edu, NSF EIA-0196217
"""

import os
import sys
from pathlib import Path

from seqebm.data import save_sequences
from seqebm.data.mocap import prepared, read_trials
from seqebm.evaluate import format_table, next_frame_table, yardsticks

SPLITS = {"35_18": "test", "35_29": "test", "35_17": "valid", "35_34": "valid"}


def main() -> None:
    """Write the file and print the yardsticks of each test trial."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "mocap_cmu35"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    trials = prepared(read_trials(folder / "cmu35WalkJog.mat"), SPLITS)
    save_sequences(out / "cmu35.h5", trials)
    print(f"{out / 'cmu35.h5'}: {len(trials)} trials of {trials.n_visible} values a frame")
    fitted = yardsticks(*trials.split("train").padded())
    for trial in trials.split("test"):
        print(f"{trial.name}\n{format_table(next_frame_table(fitted, trial.frames[None]))}")


if __name__ == "__main__":
    main()
