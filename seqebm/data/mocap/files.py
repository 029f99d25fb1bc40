"""Motions in files of any kind, and the motions that prepared sequences stand for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from seqebm.data.checked_json import field, read_object, shown
from seqebm.data.mocap.acclaim import read_amc, write_amc, write_asf
from seqebm.data.mocap.bvh import read_bvh, write_bvh
from seqebm.data.mocap.matlab import read_trials
from seqebm.data.mocap.mit import MITPreparation
from seqebm.data.mocap.motion import Motion
from seqebm.data.mocap.prepare import Preparation
from seqebm.data.sequences import Sequences
from seqebm.data.splits import splits_by_name
from seqebm.files import files_in

MOTION_FILES = (".amc", ".bvh")
AnyPreparation: TypeAlias = Preparation | MITPreparation


def read_motion(path: str | os.PathLike[str]) -> Motion:
    """Reads an .amc, whose skeleton is beside it (see `read_amc`), or a .bvh.

    Raises:
        FileNotFoundError: there is no such file, or no skeleton.
        ValueError: it is of another kind, or damaged; the message names it.

    Example:
        >>> read_motion("walk.fbx")
        Traceback (most recent call last):
        ValueError: walk.fbx: expected a file of type .amc, .bvh
    """
    return read_amc(path) if _suffix(path) == ".amc" else read_bvh(path)


def read_motions(path: str | os.PathLike[str]) -> list[Motion]:
    """Reads the motions of a file for `read_motion` or `read_trials`, or of a folder.

    Raises:
        FileNotFoundError: there is no such file, or no skeleton.
        ValueError: it is of another kind, damaged, or a folder without motions.
    """
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return read_trials(path)
    if not path.is_dir():
        return [read_motion(path)]
    found = files_in(path, MOTION_FILES)
    if not found:
        raise ValueError(f"{path}: holds no {' or '.join(MOTION_FILES)}")
    return [read_motion(one) for one in found]


def write_motion(path: str | os.PathLike[str], motion: Motion) -> None:
    """Writes a .bvh, or an .amc and beside it the .asf of the same name, whole or not at all.

    Args:
        path: the file.
        motion: what to write; see `write_bvh`, `write_amc` and `write_asf` for what they can hold.

    Raises:
        ValueError: a file of another kind, or a motion that it cannot hold.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from seqebm.data.mocap import Joint, Skeleton
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_motion(f"{folder}/raised.bvh", Motion(arm, np.zeros((9, 1)), frame_rate=20))
        ...     read_motion(f"{folder}/raised.bvh").skeleton.names
        ['shoulder', 'shoulder tip']
    """
    if _suffix(path) == ".bvh":
        write_bvh(path, motion)
    else:
        write_asf(Path(path).with_suffix(".asf"), motion.skeleton)
        write_amc(path, motion)


def read_preparation(text: str) -> AnyPreparation:
    """The preparation that a `to_json` has written, such as that of `Sequences`.

    Raises:
        ValueError: it is anything else; the message says what was expected where.

    Example:
        >>> read_preparation("")
        Traceback (most recent call last):
        ValueError: preparation: the frames are not prepared motions
    """
    if not text:
        raise ValueError("preparation: the frames are not prepared motions")
    kinds = {kind.FORMAT: kind for kind in (Preparation, MITPreparation)}
    found = field(read_object(text, "preparation"), "format", str)
    if found not in kinds:
        raise ValueError(f"format: expected one of {', '.join(kinds)}, got {shown(found)}")
    return kinds[found].from_json(text)


def prepared(
    recordings: Iterable[Motion],
    splits: Mapping[str, str] | None = None,
    rotations: str = "exponential map",
    frame_rate: float | None = None,
) -> Sequences:
    """Recordings as sequences to learn, scaled by those of them that are to train on.

    Args:
        recordings: motions of one skeleton.
        splits: by the name of a motion, "train", "valid" or "test"; those that are not named are
            to train on.
        rotations: see `Preparation.fit`.
        frame_rate: see `Preparation.fit`.

    Returns:
        A sequence for each, with their preparation.

    Raises:
        TypeError, ValueError: as of `Preparation.fit`; a name that no motion has; or nothing left
            to train on.

    Example:
        >>> import numpy as np
        >>> from seqebm.data.mocap import Joint, Skeleton
        >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "rx", "ry", "rz"))
        >>> falls = [Motion(Skeleton([root]), np.random.rand(90, 6), 60, name=n) for n in "abc"]
        >>> data = prepared(falls, {"c": "test"}, frame_rate=30)
        >>> data.lengths, data.split("train")
        (tensor([45, 45, 45]), <2 sequences>)
    """
    given = list(recordings)
    named = splits_by_name((motion.name for motion in given), splits)
    training = [motion for motion in given if named[motion.name] == "train"]
    if frame_rate is None and given:
        frame_rate = min(motion.frame_rate for motion in given)
    preparation = Preparation.fit(training, rotations, frame_rate)
    made = (preparation.sequence(motion, named[motion.name]) for motion in given)
    return Sequences(made, preparation.to_json())


def motions(sequences: Sequences) -> list[Motion]:
    """What the frames of prepared sequences mean; each motion starts at the origin.

    Raises:
        ValueError: the sequences are not prepared motions, or of another width than those.

    Example:
        >>> import numpy as np
        >>> from seqebm.data.mocap import Joint, Preparation, Skeleton
        >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "rx", "ry", "rz"))
        >>> fall = Motion(Skeleton([root]), np.random.rand(90, 6), frame_rate=60, name="fall")
        >>> preparation = Preparation.fit([fall])
        >>> prepared = Sequences([preparation.sequence(fall)], preparation.to_json())
        >>> [(motion.name, len(motion)) for motion in motions(prepared)]
        [('fall', 90)]
    """
    preparation = read_preparation(sequences.preparation)
    return [preparation.motion(one.frames, name=one.name) for one in sequences]


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in MOTION_FILES:
        raise ValueError(f"{path}: expected a file of type {', '.join(MOTION_FILES)}")
    return suffix
