"""Skeletons that move: joints, their channels over time, and where that puts them."""

from __future__ import annotations

import collections.abc
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from seqebm.data.mocap.rotations import Array, euler_rotation
from seqebm.data.sequences import Sequence

TRANSLATIONS = ("tx", "ty", "tz")
ROTATIONS = ("rx", "ry", "rz")


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint of a skeleton; the tip of a limb is one without channels.

    Attributes:
        name: of its own in the skeleton.
        parent: number of the joint that it hangs on, smaller than its own; -1 for the root.
        offset: [3], from there to here at rest, in the axes of the parent.
        channels: what a motion says of it, in order: any of "tx", "ty", "tz", "rx", "ry", "rz",
            none twice. A translation stands in place of the offset's component.
        axes: C, [3, 3], the rotation from the axes about which it turns to those of the skeleton.
        limits: lowest and highest value of each channel where the file has them, else empty.

    Raises:
        ValueError: a field has another shape or is not finite, or a channel is unknown or twice.

    Example:
        >>> Joint("knee", 0, (0.0, -8.0, 0.0), ("rx",)).offset
        array([ 0., -8.,  0.])
    """

    name: str
    parent: int
    offset: Array | collections.abc.Sequence[float] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()
    axes: Array = field(default_factory=lambda: np.eye(3))
    limits: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, shape in (("offset", (3,)), ("axes", (3, 3))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"{name} of {self.name!r}: expected {shape} finite numbers")
            object.__setattr__(self, name, value)
        lengths_stay = np.allclose(self.axes @ self.axes.T, np.eye(3))
        if not lengths_stay or np.linalg.det(self.axes) < 0:
            raise ValueError(f"axes of {self.name!r}: expected a rotation")
        unknown = sorted(set(self.channels) - {*TRANSLATIONS, *ROTATIONS})
        if unknown or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels of {self.name!r}: unknown or twice in {self.channels}")
        if len(self.limits) not in (0, len(self.channels)):
            raise ValueError(
                f"limits of {self.name!r}: expected {len(self.channels)}, got {len(self.limits)}"
            )

    @property
    def rotation_order(self) -> str:
        """The axes that it turns about, one after the other, such as "zyx"."""
        return "".join(channel[1] for channel in self.channels if channel in ROTATIONS)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints that hang on each other.

    A joint turns all that hangs on it. With C its `axes` and R the product of its rotations, the
    joint's axes in the world are G = G_parent C R Cᵀ, and its place is
    x = x_parent + G_parent · offset.

    Attributes:
        joints: parents before their children; the first is the root, and the only one.
        fixed_axes: whether a joint's rotations follow one another about axes that stay (Acclaim:
            R = Rz Ry Rx for the channels rx, ry, rz) or that turn along (BVH: for rz, ry, rx).
        up: the axis of the world that points upwards, "x", "y" or "z".
        metres: length of the unit of offsets and translations, or None if it is not known.

    Raises:
        ValueError: no joint, a name twice, a parent that does not come before its child, a second
            root, or another field out of range.

    Example:
        >>> hip = Joint("hip", -1, channels=("tx", "ty", "tz", "rx"))
        >>> knee = Joint("knee", 0, (0, -8, 0), ("rx",))
        >>> leg = Skeleton([hip, knee, Joint("toe", 1, (0, -9, 0))])
        >>> leg.channels, leg.columns("knee")
        (['hip.tx', 'hip.ty', 'hip.tz', 'hip.rx', 'knee.rx'], slice(4, 5, None))
    """

    joints: collections.abc.Sequence[Joint]
    fixed_axes: bool = False
    up: str = "y"
    metres: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "joints", tuple(self.joints))
        twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if not self.joints or twice:
            raise ValueError(f"joints: expected one or more, of different names, twice: {twice}")
        for number, joint in enumerate(self.joints):
            if not (-1 if number == 0 else 0) <= joint.parent < number:
                raise ValueError(
                    f"joints: the parent of {joint.name!r} (number {number}) must be an earlier "
                    f"one, and -1 of the first only, got {joint.parent}"
                )
        if self.up not in ("x", "y", "z"):
            raise ValueError(f"up: expected x, y or z, got {self.up!r}")
        if self.metres is not None and not 0 < self.metres < np.inf:
            raise ValueError(f"metres: expected a positive length, got {self.metres}")

    @property
    def names(self) -> list[str]:
        """Of the joints."""
        return [joint.name for joint in self.joints]

    @property
    def channels(self) -> list[str]:
        """Names of all channels, "joint.channel", in the order of a motion's columns."""
        return [f"{joint.name}.{channel}" for joint in self.joints for channel in joint.channels]

    def scales(self, angle: float) -> Array:
        """[channels], `angle` for rotations and 1 for translations.

        With π / 180 it turns numbers in degrees into those of a `Motion`.
        """
        channels = [channel for joint in self.joints for channel in joint.channels]
        return np.array([angle if channel in ROTATIONS else 1.0 for channel in channels])

    def columns(self, name: str) -> slice:
        """The columns of a motion that are those of a joint.

        Raises:
            ValueError: there is no joint of this name.
        """
        start = 0
        for joint in self.joints:
            end = start + len(joint.channels)
            if joint.name == name:
                return slice(start, end)
            start = end
        raise ValueError(f"joint: there is no {name!r}, there are {', '.join(self.names)}")


@dataclass(frozen=True, eq=False)
class Motion:
    """A recording: a skeleton and what its channels do.

    Attributes:
        skeleton: what moves.
        values: [time, channels], float64: radians, and lengths in the unit of the skeleton.
        frame_rate: frames per second.
        name: what it shows or where it comes from.
        first_frame: number of the first frame in the file that it comes from.

    Raises:
        ValueError: values that do not fit the skeleton, no frames, values that are not finite, or a
            frame rate that is not positive.

    Example:
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> raised = Motion(arm, np.array([[0.0], [np.pi / 2]]), frame_rate=30)
        >>> raised.positions()[:, 1].round(6) + 0.0
        array([[2., 0., 0.],
               [0., 2., 0.]])
    """

    skeleton: Skeleton
    values: Array
    frame_rate: float
    name: str = ""
    first_frame: int = 1

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        width = len(self.skeleton.channels)
        if values.ndim != 2 or values.shape[1] != width or len(values) == 0:
            raise ValueError(
                f"values: expected [time, {width}] with at least one frame, got {[*values.shape]}"
            )
        if not np.isfinite(values).all():
            frame, column = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"values: {self.skeleton.channels[column]} of frame {frame} is not finite"
            )
        if not 0 < self.frame_rate < np.inf:
            raise ValueError(f"frame_rate: expected a positive number, got {self.frame_rate}")
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    def sequence(self) -> Sequence:
        """The values as they are, as data: for other programs, and to look at.

        Models learn better from motions that are prepared first.
        """
        return Sequence(
            torch.from_numpy(self.values),
            name=self.name,
            frame_rate=self.frame_rate,
            unit="radian, length of the file",
        )

    def turn(self, joint: Joint) -> Rotation:
        """R of a joint of the skeleton, in its own axes, one rotation a frame."""
        found = self._channel_values(joint)
        order = joint.rotation_order
        if not order:
            return Rotation.from_matrix(np.tile(np.eye(3), (len(self), 1, 1)))
        angles = np.stack([found[f"r{axis}"] for axis in order], axis=1)
        return euler_rotation(order, angles, self.skeleton.fixed_axes)

    def local_rotation(self, joint: Joint) -> Rotation:
        """C R Cᵀ of a joint, its turn in the axes of its parent, one rotation a frame."""
        axes = Rotation.from_matrix(joint.axes)
        return axes * self.turn(joint) * axes.inv()

    def pose(self) -> tuple[list[Rotation], Array]:
        """Forward kinematics.

        Returns:
            G of every joint, `len(motion)` rotations each, and the places of all joints in the
            world, [time, joints, 3], in the unit of the skeleton.
        """
        turns: list[Rotation] = []
        places = np.empty((len(self), len(self.skeleton.joints), 3))
        for number, joint in enumerate(self.skeleton.joints):
            offset, turn = self._offset(joint), self.local_rotation(joint)
            if joint.parent >= 0:
                parent = turns[joint.parent]
                places[:, number] = places[:, joint.parent] + parent.apply(offset)
                turn = parent * turn
            else:
                places[:, number] = offset
            turns.append(turn)
        return turns, places

    def positions(self) -> Array:
        """Where the joints are in the world, [time, joints, 3], in the unit of the skeleton."""
        return self.pose()[1]

    def _channel_values(self, joint: Joint) -> dict[str, Array]:
        return dict(
            zip(joint.channels, self.values[:, self.skeleton.columns(joint.name)].T, strict=True)
        )

    def _offset(self, joint: Joint) -> Array:
        """[time, 3], with the translations in place of the components that they stand for."""
        offset = np.tile(joint.offset, (len(self), 1))
        for channel, values in self._channel_values(joint).items():
            if channel in TRANSLATIONS:
                offset[:, TRANSLATIONS.index(channel)] = values
        return offset
