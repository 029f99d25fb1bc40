"""JSON of skeletons, and the checks that JSON from strangers needs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from seqebm.data.mocap.motion import Joint, Skeleton

LONGEST = 2**24  # characters of JSON
MOST_JOINTS = 10_000
LARGEST = 1e30  # number in JSON; the squares of what follows from it are finite


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        ValueError: it is anything else.
    """
    if len(text) > LONGEST:
        raise ValueError(f"preparation: expected at most {LONGEST} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"preparation: expected JSON: {error}") from error
    return typed(content, dict, "preparation")


def read_format(text: str, wanted: str) -> dict[str, Any]:
    """The JSON object in a text, of this format; a ValueError for anything else."""
    content = read_object(text)
    if content.get("format") != wanted:
        raise ValueError(f"format: expected {wanted}, got {shown(content.get('format'))}")
    return content


def skeleton_to(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as what JSON can hold."""
    return {
        "joints": [
            {
                "name": joint.name,
                "parent": int(joint.parent),
                "offset": np.asarray(joint.offset).tolist(),
                "channels": [*joint.channels],
                "axes": joint.axes.tolist(),
                # JSON has no infinity
                "limits": [
                    [float(value) if math.isfinite(value) else None for value in pair]
                    for pair in joint.limits
                ],
            }
            for joint in skeleton.joints
        ],
        "fixed_axes": skeleton.fixed_axes,
        "up": skeleton.up,
        "metres": skeleton.metres,
    }


def skeleton_from(content: dict[str, Any]) -> Skeleton:
    """What `skeleton_to` has written; a ValueError that says where for anything else."""
    joints = field(content, "joints", list)
    if len(joints) > MOST_JOINTS:
        raise ValueError(f"joints: expected at most {MOST_JOINTS}, got {len(joints)}")
    metres = content.get("metres")
    return Skeleton(
        [_joint_from(typed(joint, dict, "joints")) for joint in joints],
        field(content, "fixed_axes", bool),
        field(content, "up", str),
        None if metres is None else number(metres, "metres"),
    )


def _joint_from(content: dict[str, Any]) -> Joint:
    name = field(content, "name", str)
    where = f"of {shown(name)}"
    rows = [numbers(row, 3, f"axes {where}") for row in field(content, "axes", list)]
    return Joint(
        name,
        field(content, "parent", int),
        numbers(content.get("offset"), 3, f"offset {where}"),
        tuple(typed(one, str, f"channels {where}") for one in field(content, "channels", list)),
        np.array(rows),
        tuple(_limits_from(pair, f"limits {where}") for pair in field(content, "limits", list)),
    )


def _limits_from(pair: Any, what: str) -> tuple[float, float]:
    if type(pair) is not list or len(pair) != 2:
        raise ValueError(f"{what}: expected pairs, got {shown(pair)}")
    low, high = pair
    return (
        -math.inf if low is None else number(low, what),
        math.inf if high is None else number(high, what),
    )


def field(content: dict[str, Any], key: str, kind: type) -> Any:
    """An entry of an object; a ValueError if it is missing or of another type."""
    return typed(content.get(key), kind, key)


def typed(value: Any, kind: type, what: str) -> Any:
    """The value; a ValueError if it is of another type."""
    if type(value) is not kind:
        raise ValueError(f"{what}: expected a value of type {kind.__name__}, got {shown(value)}")
    return value


def numbers(values: Any, count: int, what: str) -> list[float]:
    """A list of `count` numbers; a ValueError if it is anything else."""
    if type(values) is not list or len(values) != count:
        raise ValueError(f"{what}: expected {count} numbers, got {shown(values)}")
    return [number(value, what) for value in values]


def number(value: Any, what: str) -> float:
    """A finite number of a size that can be computed with; a ValueError for anything else."""
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise ValueError(
            f"{what}: expected a number from {-LARGEST} to {LARGEST}, got {shown(value)}"
        )
    return float(value)


def shown(value: Any) -> str:
    """What came, for an error message."""
    return repr(value)[:60]
