"""MNIST: handwritten digits, for models of single frames.

    python datasets/mnist.py [FOLDER [OUT]]

FOLDER is by default images_mnist in $SEQEBM_DATA; mnist.h5 is written to OUT, by default there.

Data card
    source      LeCun, Cortes and Burges, yann.lecun.com/exdb/mnist
    frames      [100, 784] float32: an image of 28 × 28 pixels each; a hundred make a sequence, in
                no order. To train on there are grey levels from 0 to 1, to be drawn as zeros and
                ones at every step (recipe key binarise); images to validate and test on were drawn
                once (seed 2), with the grey levels as probabilities
    splits      train: the first 50000 images of the training file, shuffled (seed 1); valid: its
                last 10000; test: the 10000 of the other file. Labels are left out
    licence     not stated by the authors
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from seqebm.data import Sequences, save_sequences
from seqebm.data.idx import read_idx

LENGTH, VALID = 100, 10_000


def images(path: Path) -> Tensor:
    """Grey levels from 0 to 1, [images, 784]."""
    levels = torch.tensor(read_idx(path))
    if levels.shape[1:] != (28, 28):
        raise ValueError(f"{path}: expected images of 28 × 28, got {[*levels.shape]}")
    return levels.flatten(1).float() / 255


def main() -> None:
    """Write the file and print the variance of the images to train on, summed over pixels."""
    given = [Path(argument) for argument in sys.argv[1:]]
    folder = given[0] if given else Path(os.environ.get("SEQEBM_DATA", "data")) / "images_mnist"
    out = given[1] if len(given) > 1 else folder
    out.mkdir(parents=True, exist_ok=True)
    known, test = (images(folder / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k"))
    train, valid = known[:-VALID], known[-VALID:]
    source = torch.Generator().manual_seed(2)
    valid, test = (part.bernoulli(generator=source) for part in (valid, test))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))
    parts = {"train": train[order], "valid": valid, "test": test}
    made = []
    for split, frames in parts.items():
        hundreds = frames.unflatten(0, (-1, LENGTH))
        made += Sequences.from_frames(hundreds, unit="grey level", shape=(28, 28), split=split)
    save_sequences(out / "mnist.h5", made)
    print(f"{out / 'mnist.h5'}: {len(made)} sequences, variance {train.var(0).sum():.3f}")


if __name__ == "__main__":
    main()
