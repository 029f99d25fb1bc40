"""Spoken digits: a part of the Free Spoken Digit Dataset, six speakers who say 0 … 9.

    python datasets/spoken_digits.py [FOLDER [OUT]]

FOLDER holds wav/{digit}_{speaker}_{number}.wav; by default speech_fsdd in $SEQEBM_DATA.
spoken_digits.h5 is written to OUT, by default the same folder; the digit is int(sequence.name[0]).
Needs `pip install seqebm[speech]`.

Data card
    source      github.com/Jakobovski/free-spoken-digit-dataset, recordings/ at commit 26eb9aa; of
                3000 recordings the 240 with numbers 0, 1, 5, 6: 16 bits at 8 kHz, 0.16 … 1.15 s
    frames      [time, 13] float32 at 100 a second: mel-frequency cepstral coefficients
                (`seqebm.data.speech.mfcc`), as z-scores of all training frames
    splits      as published: numbers 0 … 4 test, others train, 120 each; of the same speakers
    yardstick   test digits that are not those of the training recording with the nearest mean
                frame: 16.7%; printed below
    licence     CC BY-SA 4.0: credit, and hand on under the same terms
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from seqebm.data import Sequence, Sequences, save_sequences
from seqebm.data.speech import FRAME_RATE, mfcc, read_wav


def recording(path: Path) -> Sequence:
    """One file as it is, with the split that its name says."""
    split = "test" if int(path.stem.split("_")[2]) < 5 else "train"
    return Sequence(mfcc(*read_wav(path)), path.stem, FRAME_RATE, split=split)


def nearest_error(train: Sequences, test: Sequences) -> float:
    """The yardstick, as a share of the test recordings."""
    seen, new = (torch.stack([one.frames.mean(0) for one in part]) for part in (train, test))
    pairs = zip(test, torch.cdist(new, seen).argmin(1).tolist(), strict=True)
    return sum(one.name[0] != train[n].name[0] for one, n in pairs) / len(test)


def main() -> None:
    """Write the file and print the yardstick."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "speech_fsdd"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    spoken = Sequences(map(recording, sorted((folder / "wav").glob("[0-9]_*_[0-9]*.wav"))))
    frames = torch.cat([one.frames for one in spoken.split("train")])
    z = {"offset": frames.mean(0), "scale": frames.std(0)}
    digits = [replace(one, frames=(one.frames - z["offset"]) / z["scale"], **z) for one in spoken]
    save_sequences(out / "spoken_digits.h5", digits)
    error = nearest_error(*(Sequences(digits).split(name) for name in ("train", "test")))
    print(f"{out / 'spoken_digits.h5'}: {len(digits)} digits, nearest mean frame {error:.1%} wrong")


if __name__ == "__main__":
    main()
