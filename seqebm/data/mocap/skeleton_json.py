"""Skeletons as JSON, and JSON from strangers as skeletons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from seqebm.data.checked_json import field, number, numbers, shown, typed
from seqebm.data.mocap.motion import Joint, Skeleton

MOST_JOINTS = 10_000


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
