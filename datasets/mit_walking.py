"""MIT's walks, as Taylor, Hinton and Roweis (2007) prepared them: 35 blocks to learn, 4 to test.

    python datasets/mit_walking.py [FOLDER [OUT]]

FOLDER holds data.mat (raw) or motion.mat (body-centred); by default mocap_mit_taylor in
$SEQEBM_DATA. Two files are written to OUT, by default the same folder: mit_walking.h5, scaled by
the training blocks, and mit_walking_all.h5, scaled by all blocks, as published numbers are.

Data card
    source      Hsu, Pulli and Popović (2005), who recorded a person walking in several styles;
                Graham Taylor's data.mat with his program for conditional RBMs; blocks as Gan et al.
                (2015) cut them. Files: github.com/uoguelph-mlrg/mhmublv, Data/data.mat
    frames      [100, 49] float32 at 30 a second (every fourth of 120), the last block [26, 49]:
                turn and way of the body in its own frame, height, exponential maps of joints, as
                z-scores; `seqebm.data.mocap.MITPreparation` makes them motions again
    splits      35 training blocks, 4 test blocks, which follow them in the third recording. Blocks
                4 and 6 (from 0) run over the end of a recording into the next
    last frame  of the recording and so of the last test block: no model sees it coming, nearly a
                tenth of the test error of a ridge regression is there
    yardsticks  squared error summed over 49 values; printed below, over t = 2 … of each block
    licence     ECL-2.0 for the repository, with Taylor's notice that the files may be used, changed
                and handed on where it is kept; Hsu's own terms are not stated
"""

import os
import sys
from pathlib import Path

from seqebm.data import save_sequences
from seqebm.data.mocap import mit_walking
from seqebm.evaluate import format_table, next_frame_table, yardsticks


def main() -> None:
    """Write both files and print the yardsticks."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "mocap_mit_taylor"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    for name, scaling in (("mit_walking", "train"), ("mit_walking_all", "all")):
        walks = mit_walking(folder, scaling)
        save_sequences(out / f"{name}.h5", walks)
        print(f"{out / name}.h5: {len(walks)} blocks, scaled by {scaling}")
        fitted = yardsticks(*walks.split("train").padded())
        print(format_table(next_frame_table(fitted, *walks.split("test").padded())))


if __name__ == "__main__":
    main()
