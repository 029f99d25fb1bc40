"""Skeletons and forward kinematics against matrices written out here."""

import numpy as np
import pytest

from seqebm.data.mocap import Joint, Motion, Skeleton

ROOT = Joint("root", -1, (1, 2, 3), ("tx", "tz", "ry"))


def about(axis, angle):
    """The rotation matrix about x, y or z."""
    i, j = [(1, 2), (2, 0), (0, 1)]["xyz".index(axis)]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


@pytest.mark.parametrize("fixed_axes", [False, True])
def test_joints_are_where_products_of_matrices_put_them(fixed_axes):
    axes = about("x", 0.3) @ about("z", -1.1)
    skeleton = Skeleton(
        [
            ROOT,
            Joint("arm", 0, (0, 4, 1), ("rz", "rx", "ry"), axes),
            Joint("hand", 1, (2, 0, -1), ("ty",)),
            Joint("leg", 0, (0, -4, 0)),
        ],
        fixed_axes,
    )
    values = np.random.default_rng(1).normal(size=(5, 7))
    places = Motion(skeleton, values, frame_rate=30).positions()
    for place, (tx, tz, turn, z, x, y, ty) in zip(places, values, strict=True):
        root = about("y", turn)
        moving = about("z", z) @ about("x", x) @ about("y", y)
        fixed = about("y", y) @ about("x", x) @ about("z", z)
        arm = root @ axes @ (fixed if fixed_axes else moving) @ axes.T
        at_arm = np.array([tx, 2, tz]) + root @ [0, 4, 1]
        expected = [[tx, 2, tz], at_arm, at_arm + arm @ [2, ty, -1]]
        np.testing.assert_allclose(place[:3], expected, atol=1e-12)
        np.testing.assert_allclose(place[3], [tx, 2, tz] + root @ [0, -4, 0], atol=1e-12)


def test_channels_are_those_of_the_joints_in_turn():
    skeleton = Skeleton([ROOT, Joint("arm", 0), Joint("hand", 1, channels=("rx",))])
    assert skeleton.channels == ["root.tx", "root.tz", "root.ry", "hand.rx"]
    assert [skeleton.columns(name) for name in skeleton.names] == [
        slice(0, 3),
        slice(3, 3),
        slice(3, 4),
    ]
    with pytest.raises(ValueError, match="there is no 'foot', there are root, arm, hand"):
        skeleton.columns("foot")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offset": (1, 2)}, "offset of 'arm'"),
        ({"offset": (1, 2, np.nan)}, "offset of 'arm'"),
        ({"channels": ("rx", "rx")}, "channels of 'arm'"),
        ({"channels": ("roll",)}, "channels of 'arm'"),
        ({"axes": 2 * np.eye(3)}, "axes of 'arm': expected a rotation"),
        ({"axes": -np.eye(3)}, "axes of 'arm': expected a rotation"),
        ({"channels": ("rx", "ry"), "limits": ((0, 1),)}, "limits of 'arm': expected 2, got 1"),
    ],
)
def test_joints_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        Joint("arm", 0, **fields)


@pytest.mark.parametrize(
    ("joints", "options", "message"),
    [
        ([], {}, "expected one or more"),
        ([ROOT, Joint("root", 0)], {}, "twice: .'root'"),
        ([Joint("root", 0)], {}, "the parent of 'root'"),
        ([ROOT, Joint("arm", 2), Joint("hand", 1)], {}, "the parent of 'arm'"),
        ([ROOT, Joint("second root", -1)], {}, "the parent of 'second root'"),
        ([ROOT], {"up": "w"}, "up: expected x, y or z"),
        ([ROOT], {"metres": 0.0}, "metres: expected a positive length"),
    ],
)
def test_skeletons_that_cannot_be(joints, options, message):
    with pytest.raises(ValueError, match=message):
        Skeleton(joints, **options)


@pytest.mark.parametrize(
    ("values", "frame_rate", "message"),
    [
        (np.zeros((2, 4)), 30, r"values: expected \[time, 3\]"),
        (np.zeros((0, 3)), 30, "at least one frame"),
        ([[0, 0, 0], [0, np.nan, 0]], 30, "root.tz of frame 1 is not finite"),
        (np.zeros((2, 3)), 0, "frame_rate: expected a positive number"),
    ],
)
def test_motions_that_cannot_be(values, frame_rate, message):
    with pytest.raises(ValueError, match=message):
        Motion(Skeleton([ROOT]), values, frame_rate)
