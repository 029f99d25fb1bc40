"""The MATLAB files in which motion capture is handed on among those who model it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from seqebm.data.matlab import variables
from seqebm.data.mocap.acclaim import read_asf
from seqebm.data.mocap.motion import Array, Motion
from seqebm.data.mocap.taylor import UNIT, are_body_centred
from seqebm.data.sequences import Sequence, Sequences
from seqebm.files import blame, existing_file

#: names of variables that are read together
MOTION_VARIABLES = (("Motion",), ("train_data", "test_data"), ("Y", "lbls", "Ytest", "lblstest"))
MIT_WIDTH = 108  #: columns of the recordings of Hsu, Pulli and Popović (2005)
_TRIALS = {
    "train": [f"35_{n:02d}" for n in range(1, 35) if n not in (18, 27, 29)],
    "test": ["35_18", "35_29"],
}
_TRIAL_WIDTH = 62


def read_mat(path: str | os.PathLike[str]) -> Sequences:
    """Reads the MATLAB files in which motion capture is handed on among those who model it.

    ======================== ===================================================================
    Motion                   [time, 108] each, MIT's walks of Taylor, Hinton and Roweis (2007),
                             raw at 120 or `body_centred` at 30 frames a second
    train_data, test_data    [time, visible] each, blocks of z-scores of Gan et al. (2015), at 30
    Y, lbls, Ytest, lblstest walks and runs of subject 35 of CMU in Lawrence's GPmat (2015), at 30:
                             [time, 62], and one-hot which trial a frame is of; the place of the
                             root comes first, then angles in degrees, which become radians
    ======================== ===================================================================

    Motion is taken to be body-centred if that is how all recordings end: with the turn and the way
    of the last frame those of the frame before. Other variables are not read.

    Args:
        path: a MATLAB 5 file, compressed or not (in MATLAB: `save -v7`).

    Returns:
        One sequence for each recording, block or trial, in float32; `split` where the file has one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds other variables, which the message lists, or
            anything but numbers in them.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     blocks = {"train_data": np.random.rand(100, 49), "test_data": np.zeros((26, 49))}
        ...     savemat(f"{folder}/blocks.mat", blocks)
        ...     [(block.name, block.split) for block in read_mat(f"{folder}/blocks.mat")]
        [('train_data 1', 'train'), ('test_data 1', 'test')]
    """
    path = existing_file(path)
    with blame(path):
        found = variables(path, MOTION_VARIABLES)
        if "Motion" in found:
            return _motions(found["Motion"])
        if "Y" in found:
            train = _trials(found["Y"][0], found["lbls"][0], "train")
            return Sequences([*train, *_trials(found["Ytest"][0], found["lblstest"][0], "test")])
        return Sequences(
            _sequence(
                block,
                name=f"{name} {n}",
                split=name.removesuffix("_data"),
                unit="standard deviation",
            )
            for name, blocks in found.items()
            for n, block in enumerate(blocks, start=1)
        )


def holds_trials(path: str | os.PathLike[str]) -> bool:
    """Whether a MATLAB file is one for `read_trials`; raises as `read_mat`."""
    return read_mat(path)[0].frames.shape[1] == _TRIAL_WIDTH


def read_trials(
    path: str | os.PathLike[str], skeleton: str | os.PathLike[str] | None = None
) -> list[Motion]:
    """Reads the walks and runs of subject 35 of CMU in Lawrence's GPmat (2015) as motions.

    Args:
        path: the MATLAB file with Y, lbls, Ytest and lblstest, see `read_mat`.
        skeleton: the subject's .asf; None takes 35.asf beside the file.

    Returns:
        31 trials to train on, and 35_18 (a run) and 35_29 (a walk) to test on, by their names; 30
        frames a second.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is damaged or holds something else.
    """
    path = existing_file(path)
    body = read_asf(Path(path).with_name("35.asf") if skeleton is None else skeleton)
    trials = read_mat(path)
    if len(body.channels) != _TRIAL_WIDTH or trials[0].frames.shape[1] != _TRIAL_WIDTH:
        raise ValueError(f"{path}: expected trials and a skeleton of {_TRIAL_WIDTH} channels")
    return [Motion(body, one.frames.numpy(), one.frame_rate, one.name) for one in trials]


def check_recordings(motions: list[Array]) -> None:
    """Raise ValueError where arrays do not look like recordings of MIT, raw or body-centred."""
    for motion in motions:
        if len(motion) < 2 or motion.shape[1] != MIT_WIDTH:
            raise ValueError(f"Motion: expected [2 or more, {MIT_WIDTH}], got {motion.shape}")


def _motions(motions: list[Array]) -> Sequences:
    check_recordings(motions)
    frame_rate = 30.0 if are_body_centred(motions) else 120.0
    return Sequences(
        _sequence(motion, name=f"Motion {n}", frame_rate=frame_rate, unit=UNIT)
        for n, motion in enumerate(motions, start=1)
    )


def _trials(frames: Array, labels: Array, split: str) -> Iterator[Sequence]:
    names = _TRIALS[split]
    if frames.shape[1] != _TRIAL_WIDTH or labels.shape != (len(frames), len(names)):
        raise ValueError(
            f"expected [time, {_TRIAL_WIDTH}] and labels [time, {len(names)}] to {split}, "
            f"got {frames.shape} and {labels.shape}"
        )
    trial = labels.argmax(axis=1)
    one_each = np.array_equal(labels, np.eye(len(names))[trial])
    steps = np.diff(trial, prepend=-1, append=len(names))
    if not one_each or not np.isin(steps, (0, 1)).all():
        raise ValueError(f"labels to {split}: expected one trial a frame, and one after another")
    place, degrees = frames[:, :3], frames[:, 3:]
    frames = np.concatenate([place, np.radians(degrees)], axis=1)
    starts = np.flatnonzero(np.diff(trial)) + 1
    for name, motion in zip(names, np.split(frames, starts), strict=True):
        yield _sequence(motion, name=name, split=split, unit=UNIT)


def _sequence(
    frames: Array, name: str, unit: str, frame_rate: float = 30.0, split: str = ""
) -> Sequence:
    values = torch.from_numpy(frames)
    return Sequence(values, name=name, frame_rate=frame_rate, unit=unit, split=split)
