"""The walks that Taylor, Hinton and Roweis (2007) and many after them learned."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation
from torch import Tensor

from seqebm.data.checked_json import number, numbers, read_format
from seqebm.data.matlab import variables
from seqebm.data.mocap.matlab import MIT_WIDTH, MOTION_VARIABLES, check_recordings
from seqebm.data.mocap.motion import ROTATIONS, TRANSLATIONS, Array, Joint, Motion, Skeleton
from seqebm.data.mocap.prepare import at_rate, checked_frames, checked_start
from seqebm.data.mocap.rotations import euler_angles
from seqebm.data.mocap.taylor import (
    UNIT,
    are_body_centred,
    body_centred,
    standardised,
    world,
    z_scaling,
)
from seqebm.data.sequences import Sequence, Sequences
from seqebm.files import blame, existing_file

# The 49 columns of 108 that change in the walks of `mit_walking`, counted from 0: six of the root
# and one or three angles of each joint. The others are lengths of bones, and angles that are 0.
MIT_COLUMNS = (
    *range(9),
    *(13, 18, 19, 20, 25),  # knee, ankle, toes of the left leg
    *(30, 31, 32, 37, 42, 43, 44, 49),  # the right leg
    *(column for joint in range(54, 108, 6) for column in range(joint, joint + 3)),
)
# The files do not name the 18 joints; these are what their places and movements show.
_LEG, _ARM = ("femur", "tibia", "foot", "toes"), ("clavicle", "humerus", "radius", "hand")
_NAMES = (
    "pelvis",
    *(f"{side}{bone}" for side in "lr" for bone in _LEG),
    "thorax",
    *(f"{side}{bone}" for side in "lr" for bone in _ARM),
)
_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 12, 9, 14, 15, 16)
# the recordings have no head, but figures should: from the thorax, and from there
_HEAD, _CROWN = (0.0, 0.0, 330.0), (0.0, 0.0, 200.0)
_MILLIMETRE = 0.001
_TURNS = tuple(reversed(ROTATIONS))
_MIT_LENGTHS = (438, 260, 3128)  # frames of the three sequences at 30 frames a second
_MIT_FILES = ("data.mat", "motion.mat", "mit_mocap.mat")
_BLOCK, _TRAINING_BLOCKS = 100, 35
_BLOCK_LENGTHS = (100,) * 38 + (26,)


def restore_columns(frames: npt.ArrayLike, constants: npt.ArrayLike) -> Array:
    """Puts the columns back that are not in `MIT_COLUMNS`.

    Args:
        frames: `[time, 49]`, raw or body-centred.
        constants: `[108]`, what the other columns are, such as any frame of the file that the
            columns were taken from: they are the same in all of them. The lengths of the bones are
            among them; zeros do to compare angles.

    Returns:
        `[time, 108]`.

    Raises:
        ValueError: another shape.

    Example:
        >>> frames = np.random.rand(5, 108)
        >>> frames[1:] = np.where(np.isin(range(108), MIT_COLUMNS), frames[1:], frames[0])
        >>> np.array_equal(restore_columns(frames[:, MIT_COLUMNS], constants=frames[0]), frames)
        True
    """
    frames, constants = np.asarray(frames, np.float64), np.asarray(constants, np.float64)
    if frames.ndim != 2 or frames.shape[1] != len(MIT_COLUMNS):
        raise ValueError(f"frames: expected [time, {len(MIT_COLUMNS)}], got {[*frames.shape]}")
    if constants.shape != (MIT_WIDTH,):
        raise ValueError(f"constants: expected [{MIT_WIDTH}], got {[*constants.shape]}")
    restored = np.tile(constants, (len(frames), 1))
    restored[:, MIT_COLUMNS] = frames
    return restored


def mit_motion(frames: npt.ArrayLike, frame_rate: float, name: str = "") -> Motion:
    """Raw recordings of Hsu, Pulli and Popović (2005) as a motion, to pose, show and write it.

    Joint k of the 18 has its exponential map in columns 6k … 6k + 2 and its offset in the three
    after these; the root's offset is where it is. The names of joints, millimetres as the unit and
    the head above the thorax are ours.

    Args:
        frames: `[time, 108]`, raw; of the offsets, those of the first frame are taken.
        frame_rate: frames per second.
        name: of the motion.

    Returns:
        A motion whose joints turn about z, y and x, z upwards.

    Raises:
        ValueError: another shape, or not finite.

    Example:
        >>> mit_motion(np.zeros((5, 108)), frame_rate=120).positions().shape
        (5, 20, 3)
    """
    frames = np.asarray(frames, np.float64)
    if frames.ndim != 2 or frames.shape[1] != MIT_WIDTH or len(frames) == 0:
        raise ValueError(f"frames: expected [time, {MIT_WIDTH}], got {[*frames.shape]}")
    if not np.isfinite(frames).all():
        raise ValueError("frames: expected finite numbers")
    maps, offsets = np.moveaxis(frames.reshape(len(frames), -1, 2, 3), 2, 0)
    joints = [Joint(_NAMES[0], -1, channels=(*TRANSLATIONS, *_TURNS))]
    joints += [
        Joint(name, parent, offset, _TURNS)
        for name, parent, offset in zip(_NAMES[1:], _PARENTS[1:], offsets[0, 1:], strict=True)
    ]
    joints.append(Joint("head", _NAMES.index("thorax"), _HEAD))
    joints.append(Joint("head tip", len(joints) - 1, _CROWN))
    angles = [
        euler_angles(Rotation.from_rotvec(one), "zyx", False) for one in np.swapaxes(maps, 0, 1)
    ]
    return Motion(
        Skeleton(joints, up="z", metres=_MILLIMETRE),
        np.column_stack([offsets[:, 0], *angles]),
        frame_rate,
        name,
    )


@dataclass(frozen=True, eq=False)
class MITPreparation:
    """What the frames of `mit_walking` mean, for figures and for files that others can open.

    Attributes:
        mean: of the 49 columns.
        std: their standard deviation, positive.
        constants: the other columns are as in these 108.
        frame_rate: frames per second.

    Raises:
        ValueError: a field has another shape, is not finite, or `std` is not positive.

    Example:
        >>> import torch
        >>> preparation = MITPreparation(np.zeros(49), np.ones(49), np.zeros(108))
        >>> preparation.names[-1], len(preparation.motion(torch.zeros(5, 49)))
        ('rhand.z', 5)
    """

    FORMAT: ClassVar[str] = "seqebm-mit-preparation"  #: of its JSON

    mean: Array
    std: Array
    constants: Array
    frame_rate: float = 30.0

    def __post_init__(self) -> None:
        for name, width in (("mean", 49), ("std", 49), ("constants", MIT_WIDTH)):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != (width,) or not np.isfinite(value).all():
                raise ValueError(f"{name}: expected {width} finite numbers, got {[*value.shape]}")
            object.__setattr__(self, name, value)
        if not (self.std > 0).all():
            raise ValueError("std: expected positive numbers")

    @property
    def names(self) -> list[str]:
        """What each column of the frames is, such as "pelvis.turn" or "lfemur.x"."""
        root = ("down.x", "down.y", "turn", "forward", "right", "height")
        others = [f"{name}.{axis}" for name in _NAMES[1:] for axis in ("x", "y", "z", "", "", "")]
        names = [*(f"{_NAMES[0]}.{one}" for one in root), *others]
        return [names[column] for column in MIT_COLUMNS]

    def motion(
        self, frames: Tensor, start: npt.ArrayLike = (0.0, 0.0, 0.0), name: str = ""
    ) -> Motion:
        """The motion that frames mean, see `world`.

        Args:
            frames: `[time, 49]`, z-scores.
            start: `[3]`, x, y and heading in radians of the first frame.
            name: of the motion.

        Raises:
            TypeError: frames are not a tensor.
            ValueError: frames or start have another shape or are not finite.
        """
        scores = checked_frames(frames, len(MIT_COLUMNS)).detach().cpu().double().numpy()
        centred = restore_columns(scores * self.std + self.mean, self.constants)
        return mit_motion(world(centred, checked_start(start)), self.frame_rate, name)

    def sequence(self, motion: Motion, split: str = "") -> Sequence:
        """The inverse of `motion`, up to the beginning of the path.

        Args:
            motion: of the skeleton of `mit_motion`, at this frame rate or a multiple of it.
            split: part of the data set.

        Raises:
            ValueError: it has other joints, another rate, or fewer than two frames.
        """
        own = mit_motion(self.constants[None], self.frame_rate).skeleton
        if (motion.skeleton.channels, motion.skeleton.up) != (own.channels, own.up):
            raise ValueError(f"motion {motion.name!r}: another skeleton than that of MIT's walks")
        motion = at_rate(motion, self.frame_rate)
        raw = np.tile(self.constants, (len(motion), 1))
        raw[:, 3:6] = motion.values[:, :3]
        for k, joint in enumerate(motion.skeleton.joints[: len(_NAMES)]):
            raw[:, 6 * k : 6 * k + 3] = motion.turn(joint).as_rotvec()
        return standardised(
            body_centred(raw)[:, MIT_COLUMNS],
            self.mean,
            self.std,
            name=motion.name,
            frame_rate=self.frame_rate,
            unit=UNIT,
            split=split,
        )

    def to_json(self) -> str:
        """All that `motion` needs, as text; every number is exact."""
        parts = {key: getattr(self, key).tolist() for key in ("mean", "std", "constants")}
        return json.dumps({"format": self.FORMAT, "frame_rate": self.frame_rate, **parts})

    @classmethod
    def from_json(cls, text: str) -> MITPreparation:
        """What `to_json` has written; the text may be a stranger's.

        Raises:
            ValueError: it is anything else; the message says what was expected where.
        """
        content = read_format(text, cls.FORMAT)
        sizes = {"mean": len(MIT_COLUMNS), "std": len(MIT_COLUMNS), "constants": MIT_WIDTH}
        parts = {key: np.array(numbers(content.get(key), n, key)) for key, n in sizes.items()}
        return cls(**parts, frame_rate=number(content.get("frame_rate"), "frame_rate"))


def mit_walking(path: str | os.PathLike[str], scaling: str = "train") -> Sequences:
    """The walks that Taylor, Hinton and Roweis (2007) learned, cut as Gan et al. (2015) cut them.

    Three recordings of walking in several styles by Hsu, Pulli and Popović (2005), 30 frames a
    second, body-centred, `MIT_COLUMNS` only, as z-scores. All 3826 frames in a row are cut into
    blocks of 100: the first 35 to train on; 100, 100, 100 and 26 to test, from the third
    recording. Blocks 4 and 6, from 0, run over the end of a recording into the next, and their
    names say so. The unit of lengths is not stated; the hips are 870 of them above the ground,
    which makes them millimetres.

    Args:
        path: a file, or a folder with a file of one of these names; the first there is:

            - data.mat, raw, 120 frames a second, of which every fourth is taken
            - motion.mat, body-centred, 30 frames a second
            - mit_mocap.mat, the blocks, as z-scores: `original` gives these, not angles

        scaling: whose mean and standard deviation the z-scores have: "train", of the training
            blocks; "all", of the test blocks too, for comparison with published numbers.

    Returns:
        39 sequences of 49 values, their `split` "train" or "test". But for those of mit_mocap.mat
        they have a `MITPreparation`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `scaling` is unknown, the file is damaged, or it holds other data.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> noise = np.array([np.random.rand(n, 108) for n in (1750, 1040, 12510)], dtype=object)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     savemat(f"{folder}/data.mat", {"Motion": noise})
        ...     data = mit_walking(folder)
        >>> data.split("train"), data.split("test").lengths
        (<35 sequences>, tensor([100, 100, 100,  26]))
        >>> data[4].name
        'sequence 1, frames 401-438; sequence 2, frames 1-62'
    """
    if scaling not in ("train", "all"):
        raise ValueError(f'scaling: expected "train" or "all", got {scaling!r}')
    path = existing_file(_mit_file(Path(path)))
    with blame(path):
        blocks, constants = _mit_blocks(variables(path, MOTION_VARIABLES))
        known = blocks if scaling == "all" else blocks[:_TRAINING_BLOCKS]
        mean, std = z_scaling(np.concatenate(known))
        preparation = None if constants is None else MITPreparation(mean, std, constants)
        made = (
            standardised(
                block,
                mean,
                std,
                name=_block_name(number),
                frame_rate=30.0,
                unit=UNIT if preparation else "standard deviation",
                split="train" if number < _TRAINING_BLOCKS else "test",
            )
            for number, block in enumerate(blocks)
        )
        return Sequences(made, preparation.to_json() if preparation else "")


def _mit_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _MIT_FILES:
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(f"{path}: there is none of {', '.join(_MIT_FILES)}")


def _mit_blocks(found: dict[str, list[Array]]) -> tuple[list[Array], Array | None]:
    """The 39 blocks, before they are scaled, and what their other columns are, if that is known."""
    if "Motion" in found:
        motions = found["Motion"]
        check_recordings(motions)
        if not are_body_centred(motions):
            motions = [body_centred(motion[::4]) for motion in motions]
        if tuple(len(motion) for motion in motions) != _MIT_LENGTHS:
            raise ValueError(f"expected recordings of {_MIT_LENGTHS} frames at 30 a second")
        whole = np.concatenate(motions)
        frames = whole[:, MIT_COLUMNS]
        return [frames[n : n + _BLOCK] for n in range(0, len(frames), _BLOCK)], whole[0]
    blocks = [*found.get("train_data", []), *found.get("test_data", [])]
    if [block.shape for block in blocks] != [(n, len(MIT_COLUMNS)) for n in _BLOCK_LENGTHS]:
        raise ValueError("expected the blocks of MIT's walks: 38 of [100, 49] and one of [26, 49]")
    return blocks, None


def _block_name(number: int) -> str:
    """Such as "sequence 3, frames 3003-3102", counted from 1 at 30 frames a second."""
    parts = []
    start = number * _BLOCK
    for sequence, length in enumerate(_MIT_LENGTHS, start=1):
        first, last = max(1, 1 + start), min(length, start + _BLOCK)
        if first <= last:
            parts.append(f"sequence {sequence}, frames {first}-{last}")
        start -= length
    return "; ".join(parts)
