"""How good motions are: where joints are, and whether feet that stand slide."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

if TYPE_CHECKING:  # brings scipy, which the rest of `seqebm.evaluate` has no need of at its import
    from seqebm.data.mocap import AnyPreparation, Motion


class MotionScore(NamedTuple):
    """How close motions are to the clean ones.

    Attributes:
        mse: mean squared error per value of the frames.
        distance: of the joints from where they should be, seen from the root; mean over joints and
            frames.
        unit: of the distance: "m", or "units" where that of the skeleton is not known.
        frames: how many frames were compared.

    Example:
        >>> MotionScore(mse=0.25, distance=0.02, unit="m", frames=100).distance
        0.02
    """

    mse: float
    distance: float
    unit: str
    frames: int


class MotionQuality:
    """Compares prepared motions with the clean ones.

    Args:
        preparation: of the frames.
    """

    def __init__(self, preparation: AnyPreparation) -> None:
        self._preparation = preparation
        self._squared_error = self._distance = 0.0
        self._frames = self._visible = 0
        self._metres: float | None = None

    def add(self, clean: Tensor, estimate: Tensor) -> None:
        """Compare a whole motion.

        Args:
            clean: ``[time, visible]``.
            estimate: of the same shape.

        Raises:
            TypeError, ValueError: frames are malformed or not finite.
        """
        if clean.shape != estimate.shape:
            raise ValueError(f"estimate: expected shape {[*clean.shape]}, got {[*estimate.shape]}")
        motions = [self._preparation.motion(frames) for frames in (clean, estimate)]
        self._squared_error += float((clean - estimate).double().square().sum())
        self._distance += joint_distance(*motions) * len(clean)
        self._frames += len(clean)
        self._visible = clean.shape[1]
        self._metres = motions[0].skeleton.metres

    def result(self) -> MotionScore:
        """The quality of all motions so far; a ValueError if there are none."""
        if self._frames == 0:
            raise ValueError("frames: expected at least one to have been added, got none")
        mse = self._squared_error / (self._frames * self._visible)
        distance = self._distance / self._frames * (self._metres or 1.0)
        unit = "units" if self._metres is None else "m"
        return MotionScore(mse, distance, unit, self._frames)


def joint_distance(motion: Motion, other: Motion) -> float:
    """Mean distance of the joints, seen from the root, in the unit of the skeleton.

    Raises:
        ValueError: motions of another length or with other joints.

    Example:
        >>> from seqebm.data.mocap import Joint, Motion, Skeleton
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> up, down = (Motion(arm, np.full((9, 1), angle), 30) for angle in (1.57, -1.57))
        >>> round(joint_distance(up, down), 2)  # mean of a shoulder that stays and a hand
        2.0
    """
    if len(motion) != len(other) or motion.skeleton.names != other.skeleton.names:
        raise ValueError("other: expected as many frames and the same joints as the motion has")
    places = [one.positions() for one in (motion, other)]
    first, second = (place - place[:, :1] for place in places)
    return float(np.linalg.norm(first - second, axis=-1).mean())


def foot_skate(motion: Motion, feet: Collection[str], height: float) -> float:
    """Mean speed along the ground of feet that are near it, in the skeleton's unit per second.

    A foot counts from frame t to t + 1 if it is below the height in both.

    Args:
        motion: two frames or more.
        feet: names of joints.
        height: in the skeleton's unit, above the lowest place of any of the feet.

    Raises:
        ValueError: a joint that is not there, one frame only, or feet that are never near the
            ground.

    Example:
        >>> from seqebm.data.mocap import Joint, Motion, Skeleton
        >>> sole = Skeleton([Joint("sole", -1, channels=("tx",))])
        >>> slide = Motion(sole, np.arange(10.0)[:, None], frame_rate=30)
        >>> foot_skate(slide, ["sole"], height=1)
        30.0
    """
    names = motion.skeleton.names
    unknown = [foot for foot in feet if foot not in names]
    if unknown or not feet:
        raise ValueError(f"feet: expected some of {', '.join(names)}, got {unknown}")
    if len(motion) < 2:
        raise ValueError("motion: expected two frames or more")
    places = motion.positions()[:, [names.index(foot) for foot in feet]]
    up = "xyz".index(motion.skeleton.up)
    level = places[..., up]
    low = level - level.min() < height
    stands = low[1:] & low[:-1]
    if not stands.any():
        raise ValueError("feet: never near the ground for two frames")
    along_ground = np.delete(np.diff(places, axis=0), up, axis=-1)
    return float(np.linalg.norm(along_ground, axis=-1)[stands].mean() * motion.frame_rate)
