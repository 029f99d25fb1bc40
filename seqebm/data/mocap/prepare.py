"""Recordings of one skeleton as frames for a model with Gaussian units, and frames as motions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from seqebm.data.checked_json import field, number, read_format, shown, typed
from seqebm.data.mocap.motion import TRANSLATIONS, Array, Joint, Motion, Skeleton
from seqebm.data.mocap.rotations import CODES, euler_angles, euler_rotation
from seqebm.data.mocap.skeleton_json import skeleton_from, skeleton_to
from seqebm.data.mocap.taylor import UNIT, standardised, z_scaling
from seqebm.data.sequences import Sequence

_ROUNDING = 1e-12  # what changes by no more of its size is constant
_SAME_RATE = 5e-3  # files round the time of a frame: one of 0.0083 s means 120 frames a second


@dataclass(frozen=True, eq=False)
class Preparation:
    """How recordings of one skeleton become frames for a model, and frames a motion again.

    The idea is that of Taylor, Hinton and Roweis, "Modeling human motion using binary latent
    variables" (2007): say of the root only what stays the same wherever a body is and wherever it
    faces, and of joints how they turn. Only the place and heading of the first frame are lost.

    ========================= =====================================================================
    column                    what it is
    ========================= =====================================================================
    root.forward, root.left   way on the ground from the frame before, seen from the heading there
    root.height               of the root, along `Skeleton.up`
    joint.tx …                other translations, as they are
    root.turn                 of the heading since the frame before, to the left
    root.tilt.x …             orientation that is left when the heading is taken away
    joint.x …                 R of a joint with rotations, in its own axes
    ========================= =====================================================================

    - **Time.** Ways and turns are from the frame before, so that frame t is placed by frames up to
      t and a model can be shown while it samples. The first frame has none before it: it repeats
      the second one's, and `motion` puts `start` in their place. No other frame says anything of
      later ones.
    - **Ground.** With the axes in the order x, y, z, x …, forward is the one after up, and left
      the one after that: z and x if y is up, x and y if z is. Identity faces forward.
    - **Heading.** The angle of the rotation about up that is nearest to the root's orientation
      (swing and twist). It is defined lying and, but for a tilt of exactly half a turn, upside
      down, where that of the frame before stays; near there it can turn fast. So a root should be
      about upright in its own axes when the body is. What is left, the tilt, turns about an axis
      on the ground.
    - **Rotations.** "exponential map" (Grassia 1998): 3 numbers, axis times angle in radians.
      Of those that mean the same, the one nearest to the frame before is taken, at first the
      shortest, so that none jumps, except that one of 2π has every axis. A joint that goes on
      round and round has numbers that go on too. "six numbers" (Zhou et al., "On the continuity
      of rotation representations in neural networks", 2019): the x axis and the y axis of the
      turned joint, "joint.xx", "joint.xy" …, continuous and bounded; of any six, the inverse
      makes a rotation.
    - **Constants.** Columns that are the same in all frames of `fit` are left out; `motion` puts
      them back. If they change in another recording, that is lost.

    Made by `fit` or `from_json`.

    Attributes:
        skeleton: what moves; a motion that is made has its offsets.
        rotations: "exponential map" or "six numbers".
        frame_rate: frames per second.
        mean: of all columns, of the constant ones too, float64; radians, and lengths in the unit
            of the skeleton (a frame, of ways and turns).
        std: standard deviation of all columns, float64, 0 where a column is constant.

    Raises:
        ValueError: the root lacks a translation or has no rotation, `rotations` is unknown, or
            another field is out of range.

    Example:
        >>> hip = Joint("hip", -1, channels=("tx", "ty", "tz", "ry", "rx"))
        >>> leg = Skeleton([hip, Joint("knee", 0, (0, -8, 0), ("rx",))])
        >>> steps = Motion(leg, np.random.rand(50, 6), frame_rate=30, name="steps")
        >>> preparation = Preparation.fit([steps])
        >>> print(*preparation.names)
        hip.forward hip.left hip.height hip.turn hip.tilt.x knee.x
        >>> frames = preparation.frames(steps)
        >>> again = preparation.motion(frames, start=preparation.path(steps)[0])
        >>> bool(np.allclose(again.values, steps.values, atol=1e-5))
        True
    """

    FORMAT: ClassVar[str] = "seqebm-preparation"  #: of its JSON

    skeleton: Skeleton
    rotations: str
    frame_rate: float
    mean: Array
    std: Array

    def __post_init__(self) -> None:
        _check_kind(self.skeleton, self.rotations)
        _check_rate(self.frame_rate)
        width = len(_names(self.skeleton, self.rotations))
        for name in ("mean", "std"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != (width,) or not np.isfinite(value).all():
                raise ValueError(f"{name}: expected {width} finite numbers, got {[*value.shape]}")
            object.__setattr__(self, name, value)
        if self.std.min() < 0 or not self.std.any():
            raise ValueError("std: expected positive numbers, and 0 for some columns at most")

    @classmethod
    def fit(
        cls,
        motions: Iterable[Motion],
        rotations: str = "exponential map",
        frame_rate: float | None = None,
    ) -> Preparation:
        """Learns which columns change, and their mean and standard deviation.

        Args:
            motions: those to go by: the ones to train on, as a rule. Of one skeleton, see `frames`.
            rotations: "exponential map" or "six numbers".
            frame_rate: frames per second; None takes the lowest of the motions. Of a motion that
                has k times as many, every k-th frame is taken, from the first on. Nothing is
                filtered before: what moves more than half a period in the time of a frame looks
                like something slower, and a turn by more than half a turn like one to the other
                side.

        Raises:
            TypeError: something else than motions.
            ValueError: no motions, one of fewer than two frames or of a rate that is not a
                multiple (to 0.5 %), different skeletons, a root without three translations and
                a rotation, unknown `rotations`, or no column that changes.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "rx", "ry", "rz"))
            >>> fall = Motion(Skeleton([root]), np.random.rand(90, 6), frame_rate=120)
            >>> preparation = Preparation.fit([fall], rotations="six numbers", frame_rate=60)
            >>> preparation.frames(fall).shape
            torch.Size([45, 10])
        """
        motions = list(motions)
        if not motions:
            raise ValueError("motions: expected one or more")
        for motion in motions:
            _check_type(motion)
        skeleton = motions[0].skeleton
        _check_kind(skeleton, rotations)
        for motion in motions:
            _check_skeleton(motion, skeleton)
        rate = min(motion.frame_rate for motion in motions) if frame_rate is None else frame_rate
        motions = [at_rate(motion, rate) for motion in motions]
        columns = np.concatenate([_columns(motion, rotations) for motion in motions])
        # ways are differences of places: these say how exact they are
        changes = np.ptp(columns, axis=0) > _ROUNDING * np.maximum(
            np.abs(columns).max(axis=0), _scale(motions, columns.shape[1])
        )
        if not changes.any():
            raise ValueError("motions: no column changes")
        mean, std = columns.mean(axis=0), np.zeros(columns.shape[1])
        mean[changes], std[changes] = z_scaling(columns[:, changes])
        return cls(skeleton, rotations, float(rate), mean, std)

    @property
    def names(self) -> list[str]:
        """What each column of the frames is, such as "root.forward" or "knee.x"."""
        names = _names(self.skeleton, self.rotations)
        return [name for name, changes in zip(names, self._changes, strict=True) if changes]

    def frames(self, motion: Motion) -> Tensor:
        """A motion as z-scores, computed in float64.

        Args:
            motion: of the same skeleton: of joints of the same names, parents and channels, with
                the same unit of length. People have different sizes: offsets, axes and limits of
                joints may differ.

        Returns:
            ``[time, visible]``, float32; time is that of every k-th frame, see `fit`.

        Raises:
            TypeError: it is something else.
            ValueError: it has another skeleton, fewer than two frames, a rate that is not a
                multiple of `frame_rate`, or is too far from the motions of `fit` for float32.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> east = Motion(Skeleton([root]), [[0, 7, 0, 0], [1, 7, 0, 0], [3, 7, 0, 0]], 30)
            >>> preparation = Preparation.fit([east])  # the first frame repeats the second one's
            >>> preparation.names, preparation.frames(east)[:, 0]
            (['root.left'], tensor([-0.5774, -0.5774,  1.1547]))
        """
        return self.sequence(motion).frames

    def sequence(self, motion: Motion, split: str = "") -> Sequence:
        """The frames of a motion with all that a data set says of them.

        Args:
            motion: see `frames`.
            split: part of the data set, such as "train".

        Returns:
            `frames` with the name of the motion, frame rate, unit, scale and offset.

        Raises:
            TypeError, ValueError: as of `frames`.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> jump = Motion(Skeleton([root]), [[0, 7, 0, 0], [0, 8, 0, 0]], 30, name="jump")
            >>> sequence = Preparation.fit([jump]).sequence(jump, split="train")
            >>> sequence.name, sequence.unit, sequence.original()[:, 0]
            ('jump', 'radian, length of the source', tensor([7., 8.]))
        """
        columns = _columns(self._taken(motion), self.rotations)[:, self._changes]
        return standardised(
            columns,
            self.mean[self._changes],
            self.std[self._changes],
            name=motion.name,
            frame_rate=self.frame_rate,
            unit=UNIT,
            split=split,
        )

    def path(self, motion: Motion) -> Array:
        """Where the root is above the ground and where it faces: what the frames do not say.

        Args:
            motion: see `frames`.

        Returns:
            `[time, 3]`, time as of the frames: the places along the two axes of the ground (z and
            x if y is up, x and y if z is) in the unit of the skeleton, and the heading in radians
            from the first towards the second of them, counted on over full turns.

        Raises:
            TypeError, ValueError: as of `frames`.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> jump = Motion(Skeleton([root]), [[5, 7, 6, 0], [5, 8, 6, 1]], frame_rate=30)
            >>> Preparation.fit([jump]).path(jump)
            array([[6., 5., 0.],
                   [6., 5., 1.]])
        """
        place, heading, _ = _ground(self._taken(motion))
        return np.column_stack([place.real, place.imag, heading])

    def motion(
        self, frames: Tensor, start: npt.ArrayLike = (0.0, 0.0, 0.0), name: str = ""
    ) -> Motion:
        """The inverse of `frames`, and the motion that a model's sample means.

        Every rotation becomes angles of the joint's channels, in their order. A rotation about
        three axes is exact; one about fewer axes is the nearest that the joint can make, which is
        the original one if the frames are of a motion. Angles do not jump by full turns, nor, of
        three axes, between the two triples that mean the same. No frame depends on later ones.
        Joints of 1000 recorded frames come back to 1e-7 of the size of where they move, as frames
        are float32; in float64 they would to 1e-15.

        Args:
            frames: ``[time, visible]``, z-scores, at least one frame; they are decoded in float64.
            start: `[3]`, place and heading of the first frame, a row of `path`.
            name: of the motion.

        Returns:
            A motion of `skeleton` at `frame_rate`, with as many frames.

        Raises:
            TypeError: frames are not a tensor.
            ValueError: frames or start have another shape or are not finite in float32.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> jump = Motion(Skeleton([root]), [[0, 7, 0, 0], [0, 8, 0, 0]], frame_rate=30)
            >>> mean = torch.zeros(3, 1)
            >>> Preparation.fit([jump]).motion(mean, start=[6, 5, 0]).values[:, :3].round(9)
            array([[5. , 7.5, 6. ],
                   [5. , 7.5, 6. ],
                   [5. , 7.5, 6. ]])
        """
        scores = np.zeros((len(checked_frames(frames, len(self.names))), len(self.std)))
        scores[:, self._changes] = frames.detach().cpu().to(torch.float64).numpy()
        values = _channel_values(
            self.skeleton, self.rotations, scores * self.std + self.mean, checked_start(start)
        )
        return Motion(self.skeleton, values, self.frame_rate, name)

    def to_json(self) -> str:
        """All that `motion` needs, as text for another process; every number is exact.

        The columns are a table of names, means and standard deviations.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> jump = Motion(Skeleton([root]), [[0, 7, 0, 0], [0, 8, 0, 0]], frame_rate=30)
            >>> json.loads(Preparation.fit([jump]).to_json())["columns"][2]
            ['root.height', 7.5, 0.7071067811865476]
        """
        names = _names(self.skeleton, self.rotations)
        content = {
            "format": self.FORMAT,
            "skeleton": skeleton_to(self.skeleton),
            "rotations": self.rotations,
            "frame_rate": self.frame_rate,
            "columns": [*zip(names, self.mean.tolist(), self.std.tolist(), strict=True)],
        }
        return json.dumps(content, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """The preparation that `to_json` has written; the text may be a stranger's.

        Raises:
            ValueError: it is anything else; the message says what was expected where.

        Example:
            >>> root = Joint("root", -1, channels=("tx", "ty", "tz", "ry"))
            >>> jump = Motion(Skeleton([root]), [[0, 7, 0, 0], [0, 8, 0, 0]], frame_rate=30)
            >>> Preparation.from_json(Preparation.fit([jump]).to_json()).names
            ['root.height']
        """
        content = read_format(text, cls.FORMAT)
        skeleton = skeleton_from(field(content, "skeleton", dict))
        table = [typed(row, list, "columns") for row in field(content, "columns", list)]
        if any(len(row) != 3 for row in table):
            raise ValueError("columns: expected names, means and standard deviations")
        preparation = cls(
            skeleton,
            field(content, "rotations", str),
            number(content.get("frame_rate"), "frame_rate"),
            np.array([number(mean, "columns") for _, mean, _ in table]),
            np.array([number(std, "columns") for _, _, std in table]),
        )
        names = _names(skeleton, preparation.rotations)
        for expected, (name, _, _) in zip(names, table, strict=True):
            if name != expected:
                raise ValueError(f"columns: expected {expected}, got {shown(name)}")
        return preparation

    @property
    def _changes(self) -> npt.NDArray[np.bool_]:
        return self.std > 0

    def _taken(self, motion: Motion) -> Motion:
        """A motion of this skeleton, at this frame rate."""
        _check_type(motion)
        _check_skeleton(motion, self.skeleton)
        return at_rate(motion, self.frame_rate)


# ------------------------------------------------------------------------------------------ columns


def _names(skeleton: Skeleton, rotations: str) -> list[str]:
    """Of all columns: lengths first, then angles."""
    root = skeleton.joints[0].name
    turning = [f"{root}.tilt", *(joint.name for joint in _turning(skeleton)[1:])]
    return [
        *(f"{root}.{name}" for name in ("forward", "left", "height")),
        *_other_translations(skeleton),
        f"{root}.turn",
        *(f"{name}.{suffix}" for name in turning for suffix in CODES[rotations].suffixes),
    ]


def _other_translations(skeleton: Skeleton) -> list[str]:
    """Their channels."""
    return [
        f"{joint.name}.{channel}"
        for joint in skeleton.joints[1:]
        for channel in joint.channels
        if channel in TRANSLATIONS
    ]


def _turning(skeleton: Skeleton) -> list[Joint]:
    """The joints with rotations: the root and others."""
    return [joint for joint in skeleton.joints if joint.rotation_order]


def _ground_channels(skeleton: Skeleton) -> list[str]:
    """The root's translations forward, to the left and upwards."""
    up = "xyz".index(skeleton.up)
    return [f"{skeleton.joints[0].name}.t{'xyz'[(up + n) % 3]}" for n in (1, 2, 3)]


def _columns(motion: Motion, rotations: str) -> Array:
    """All columns of a motion, [time, columns]."""
    skeleton = motion.skeleton
    values = _by_channel(motion)
    place, heading, tilt = _ground(motion)
    way = np.diff(place) * np.exp(-1j * heading[:-1])
    turns = [tilt, *(motion.turn(joint) for joint in _turning(skeleton)[1:])]
    return np.column_stack(
        [
            _with_first(way.real),
            _with_first(way.imag),
            values[_ground_channels(skeleton)[2]],
            *(values[channel] for channel in _other_translations(skeleton)),
            _with_first(np.diff(heading)),
            CODES[rotations].encode(turns).reshape(len(motion), -1),
        ]
    )


def _channel_values(skeleton: Skeleton, rotations: str, columns: Array, start: Array) -> Array:
    """The inverse of `_columns`: the values of a motion that starts there, [time, channels]."""
    others = _other_translations(skeleton)
    lengths, angles = np.split(columns, [3 + len(others)], axis=1)
    heading = _summed(start[2], angles[:, 0])
    way = (lengths[:, 0] + 1j * lengths[:, 1]) * np.exp(1j * np.roll(heading, 1))
    place = _summed(complex(start[0], start[1]), way)
    code = CODES[rotations]
    tilt, *turns = code.decode(angles[:, 1:].reshape(len(columns), -1, len(code.suffixes)))
    axes = Rotation.from_matrix(skeleton.joints[0].axes)
    facing = euler_rotation(skeleton.up, heading[:, None], fixed_axes=False)
    turns = [axes.inv() * facing * tilt * axes, *turns]
    values = dict(zip(others, lengths[:, 3:].T, strict=True))
    values |= zip(_ground_channels(skeleton), (place.real, place.imag, lengths[:, 2]), strict=True)
    for joint, turn in zip(_turning(skeleton), turns, strict=True):
        order = joint.rotation_order
        found = euler_angles(turn, order, skeleton.fixed_axes).T
        values |= {f"{joint.name}.r{axis}": one for axis, one in zip(order, found, strict=True)}
    return np.stack([values[channel] for channel in skeleton.channels], axis=1)


def _ground(motion: Motion) -> tuple[npt.NDArray[np.complex128], Array, Rotation]:
    """Of the root: places forward + i times to the left, headings, and tilts."""
    skeleton = motion.skeleton
    values = _by_channel(motion)
    forward, left, _ = (values[channel] for channel in _ground_channels(skeleton))
    turn = motion.local_rotation(skeleton.joints[0])
    heading = euler_angles(turn, skeleton.up, fixed_axes=False)
    tilt = euler_rotation(skeleton.up, -heading, fixed_axes=False) * turn
    return forward + 1j * left, heading[:, 0], tilt


def _by_channel(motion: Motion) -> dict[str, Array]:
    return dict(zip(motion.skeleton.channels, motion.values.T, strict=True))


def _with_first(steps: Array) -> Array:
    return np.concatenate([steps[:1], steps])


def _summed(start: complex, steps: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """From the start on; the first step, which led there, does not count."""
    return np.cumsum(np.concatenate([[start], steps[1:]]))


def _scale(motions: list[Motion], width: int) -> Array:
    """How large the numbers are from which each column is computed."""
    skeleton = motions[0].skeleton
    lengths = [
        n for n, name in enumerate(skeleton.channels) if name.rpartition(".")[2] in TRANSLATIONS
    ]
    largest = max(np.abs(motion.values[:, lengths]).max() for motion in motions)
    is_length = np.arange(width) < 3 + len(_other_translations(skeleton))
    return np.where(is_length, largest, 1.0)


def at_rate(motion: Motion, frame_rate: float) -> Motion:
    """Every k-th frame; a ValueError where the rate is no k-th, or fewer than two are left."""
    _check_rate(frame_rate)
    ratio = min(motion.frame_rate / frame_rate, len(motion))  # which leaves one, as more would
    step = round(ratio)
    if step < 1 or abs(ratio - step) > _SAME_RATE * step:
        raise ValueError(
            f"frame_rate: {motion.frame_rate} of {motion.name!r} is not a multiple of {frame_rate}"
        )
    taken = motion.values[::step]
    if len(taken) < 2:
        raise ValueError(f"motion {motion.name!r}: expected two frames or more to take, got one")
    return replace(motion, values=taken, frame_rate=frame_rate)


# ------------------------------------------------------------------------------------------- checks


def _check_kind(skeleton: Skeleton, rotations: str) -> None:
    root = skeleton.joints[0]
    if not set(TRANSLATIONS) <= set(root.channels) or not root.rotation_order:
        raise ValueError(
            f"root {root.name!r}: expected three translations and one rotation or more, "
            f"got {', '.join(root.channels) or 'no channels'}"
        )
    if rotations not in CODES:
        raise ValueError(f"rotations: expected one of {[*CODES]}, got {rotations!r}")


def _check_rate(frame_rate: float) -> None:
    if not 0 < frame_rate < np.inf:
        raise ValueError(f"frame_rate: expected a positive number, got {frame_rate}")


def _check_type(motion: Any) -> None:
    if not isinstance(motion, Motion):
        raise TypeError(f"motion: expected a Motion, got {type(motion).__name__}")


def _check_skeleton(motion: Motion, skeleton: Skeleton) -> None:
    for expected, got in zip_longest(
        _described(skeleton), _described(motion.skeleton), fillvalue="no more"
    ):
        if expected != got:
            raise ValueError(
                f"motion {motion.name!r}: another skeleton: expected {expected}, got {got}"
            )


def _described(skeleton: Skeleton) -> list[str]:
    """What skeletons must have in common."""
    return [
        f"{'fixed' if skeleton.fixed_axes else 'moving'} axes",
        f"{skeleton.up} upwards",
        f"a unit of {skeleton.metres} metres",
        *(
            f"joint {joint.name!r} on {joint.parent} with {', '.join(joint.channels) or 'nothing'}"
            for joint in skeleton.joints
        ),
    ]


def checked_frames(frames: Any, width: int) -> Tensor:
    """Frames `[time, width]`; a TypeError or ValueError for anything else."""
    if not isinstance(frames, Tensor):
        raise TypeError(f"frames: expected a tensor, got {type(frames).__name__}")
    if frames.ndim != 2 or frames.shape[1] != width or len(frames) == 0:
        raise ValueError(
            f"frames: expected [time, {width}] with at least one frame, got {[*frames.shape]}"
        )
    if not frames.to(torch.float32).isfinite().all():
        raise ValueError("frames: expected numbers that are finite in float32")
    return frames


def checked_start(start: npt.ArrayLike) -> Array:
    """A row of a path, `[3]`; a ValueError for anything else."""
    found = np.asarray(start, dtype=np.float64)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ValueError(f"start: expected a row of path, two places and a heading, got {start!r}")
    return found
