"""Rotations over time as angles, as vectors and as axes, none of which jump."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
_NOTHING = 1e-14  # radians; and the length of a vector that has no direction


def euler_rotation(order: str, angles: Any, fixed_axes: bool) -> Rotation:
    """Rotations about axes of the given order, such as "zyx", by angles [time, axes].

    Example:
        >>> quarters = [[np.pi / 2, np.pi / 2]]
        >>> euler_rotation("xz", quarters, fixed_axes=True).apply([0, 1, 0]).round(6) + 0.0
        array([[0., 0., 1.]])
    """
    return Rotation.from_euler(order if fixed_axes else order.upper(), angles)


def euler_angles(turns: Rotation, order: str, fixed_axes: bool) -> Array:
    """The inverse of `euler_rotation`, for one to three different axes, frame after frame.

    About three axes, every rotation is met exactly, in the gimbal lock too. About one or two, the
    angles are those whose rotation is nearest, so that the angle between the two is smallest. Of
    angles that mean the same, those nearest to the frame before are taken, and the first are from
    -π to π; where an angle may be anything, it stays.

    Args:
        turns: one a frame.
        order: the axes, such as "zyx" or "x".
        fixed_axes: whether they stay, or turn along.

    Returns:
        `[time, axes]` in radians.

    Raises:
        ValueError: other axes.

    Example:
        >>> angles = np.array([[3.1, 0.2, 3.1], [3.3, 0.2, 3.3]])
        >>> turns = euler_rotation("zyx", angles, fixed_axes=False)
        >>> euler_angles(turns, "zyx", fixed_axes=False)
        array([[3.1, 0.2, 3.1],
               [3.3, 0.2, 3.3]])
        >>> knee = euler_rotation("xyz", [[0.5, 0.1, 0.1]], fixed_axes=True)
        >>> euler_angles(knee, "x", fixed_axes=True).round(3)
        array([[0.495]])
    """
    if not 1 <= len(order) == len(set(order) & set("xyz")):
        raise ValueError(f"order: expected one to three of x, y and z, none twice, got {order!r}")
    # turns about fixed axes, one after the other, are those about moving ones in reverse
    axes = ["xyz".index(axis) for axis in (reversed(order) if fixed_axes else order)]
    solve = (_one_angle, _two_angles, _three_angles)[len(axes) - 1]
    angles = np.unwrap(_wrapped(solve(turns, *axes)), axis=0)
    return angles[:, ::-1] if fixed_axes else angles


def _one_angle(turns: Rotation, first: int) -> Array:
    turn = turns.as_quat()
    return 2 * _direction(turn[:, first], turn[:, 3])[:, None]


def _two_angles(turns: Rotation, first: int, second: int) -> Array:
    """The nearest: those whose quaternion's product with the rotation's is largest.

    With half angles a and b, q(a, b) = cos a cos b + i sin a cos b + j cos a sin b ± k sin a sin b.
    So its product with w + ix + jy + kz is half of

        (w ∓ z) cos(a + b) + (x + y) sin(a + b) + (w ± z) cos(a - b) + (x - y) sin(a - b),

    where a + b and a - b can be chosen on their own.
    """
    turn = turns.as_quat()
    x, y, w = turn[:, first], turn[:, second], turn[:, 3]
    z = _handedness(first, second) * turn[:, 3 - first - second]
    total, difference = _direction(x + y, w - z), _direction(x - y, w + z)
    return np.stack([total + difference, total - difference], axis=1)


def _three_angles(turns: Rotation, first: int, second: int, third: int) -> Array:
    matrix = turns.as_matrix()
    # the one angle after which two are left that solve the rest; in the gimbal lock, any does
    angle = _direction(
        -_handedness(first, second) * matrix[:, second, third], matrix[:, third, third]
    )
    undone = Rotation.from_rotvec(np.outer(-angle, np.eye(3)[first])) * turns
    angles = np.column_stack([angle, _two_angles(undone, second, third)])
    others = angles * [1, -1, 1] + np.pi  # mean the same
    # to change between the two is as far from either: so whether to change needs no choice before
    stay, change = ((_wrapped(to[1:] - angles[:-1]) ** 2).sum(axis=1) for to in (angles, others))
    is_other = np.cumsum(np.concatenate([[False], change < stay])) % 2 == 1
    return np.where(is_other[:, None], others, angles)


def _direction(y: Array, x: Array) -> Array:
    """Angles of vectors, [time]; of one that has none, that of the frame before."""
    has_one = np.hypot(x, y) > _NOTHING
    last = np.maximum.accumulate(np.where(has_one, np.arange(len(x)), 0))
    return np.arctan2(y, x)[last]


def _handedness(first: int, second: int) -> int:
    """1 if the product of two axes is the third one, -1 if it is its opposite."""
    return 1 if (second - first) % 3 == 1 else -1


def _wrapped(angles: Array) -> Array:
    return np.remainder(angles + np.pi, 2 * np.pi) - np.pi


# ----------------------------------------------------------------------------- rotations as numbers


def _to_vectors(turns: list[Rotation]) -> Array:
    vectors = np.stack([turn.as_rotvec() for turn in turns], axis=1)
    for before, now in pairwise(vectors):
        # no turn and a full one about any axis are the same: that of the frame before is nearest
        has_axis = np.linalg.norm(now, axis=1, keepdims=True) > _NOTHING
        axes = _unit(np.where(has_axis, now, before), 0.0)
        full_turns = np.rint(((before - now) * axes).sum(axis=1, keepdims=True) / (2 * np.pi))
        now += 2 * np.pi * full_turns * axes
    return vectors


def _from_vectors(vectors: Array) -> list[Rotation]:
    return [Rotation.from_rotvec(vectors[:, joint]) for joint in range(vectors.shape[1])]


def _to_axes(turns: list[Rotation]) -> Array:
    matrices = np.stack([turn.as_matrix() for turn in turns], axis=1)
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=2)


def _from_axes(numbers: Array) -> list[Rotation]:
    """By Gram and Schmidt; an axis that they leave open becomes any."""
    x = _unit(numbers[..., :3], np.eye(3)[0])
    spare = np.eye(3)[np.abs(x).argmin(axis=2)]  # is never parallel to x
    z = _unit(np.cross(x, numbers[..., 3:]), _unit(np.cross(x, spare), 0.0))
    matrices = np.stack([x, np.cross(z, x), z], axis=3)
    return [Rotation.from_matrix(matrices[:, joint]) for joint in range(matrices.shape[1])]


def _unit(vectors: Array, instead: Array | float) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(lengths > _NOTHING, vectors / np.maximum(lengths, _NOTHING), instead)


class Code(NamedTuple):
    """A way to say rotations of joints, [time] each, in numbers [time, joints, suffixes]."""

    suffixes: tuple[str, ...]
    encode: Callable[[list[Rotation]], Array]
    decode: Callable[[Array], list[Rotation]]


CODES = {
    "exponential map": Code(("x", "y", "z"), _to_vectors, _from_vectors),
    "six numbers": Code(("xx", "xy", "xz", "yx", "yy", "yz"), _to_axes, _from_axes),
}
