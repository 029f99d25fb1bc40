import json
import random
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from fuzz import mutated
from scipy.spatial.transform import Rotation

from seqebm.data.mocap import prepare, read_amc, read_bvh, rotations, write_amc, write_bvh
from seqebm.data.mocap.motion import (
    ROTATIONS,
    TRANSLATIONS,
    Joint,
    Motion,
    Skeleton,
)
from seqebm.data.mocap.prepare import Preparation
from seqebm.data.mocap.rotations import euler_angles, euler_rotation
from seqebm.data.mocap.taylor import body_centred, ground_path

CODES = ["exponential map", "six numbers"]
FULL_ROOT = Joint("root", -1, (0, 0, 0), (*TRANSLATIONS, *ROTATIONS))
ORDERS = ["".join(order) for n in (1, 2, 3) for order in permutations("xyz", n)]


def random_skeleton(rng, joints=7):
    """Any channels in any order, any axes, any direction upwards."""
    made = []
    for number in range(joints):
        translations = rng.permutation(TRANSLATIONS)[: rng.integers(4) * rng.integers(2)]
        rotations = rng.permutation(ROTATIONS)[: rng.integers(4)]
        if number == 0:
            translations, rotations = (
                TRANSLATIONS,
                rng.permutation(ROTATIONS)[: 1 + rng.integers(3)],
            )
        made.append(
            Joint(
                f"joint {number}",
                int(rng.integers(number)) if number else -1,
                rng.normal(size=3),
                tuple(map(str, rng.permutation([*translations, *rotations]))),
                Rotation.random(random_state=rng).as_matrix() if rng.random() < 0.5 else np.eye(3),
            )
        )
    return Skeleton(made, bool(rng.integers(2)), str(rng.choice(["x", "y", "z"])))


def random_motion(skeleton, rng, time=80):
    """Its angles go anywhere, in part quickly."""
    pace = rng.choice([0.02, 0.3, 2.0], size=len(skeleton.channels))
    walk = np.cumsum(rng.normal(size=(time, len(pace))) * pace, axis=0)
    return Motion(skeleton, rng.normal(size=len(pace)) + walk, frame_rate=60)


def exact_frames(preparation, motion):
    """`frames` in float64."""
    columns = prepare._columns(preparation._taken(motion), preparation.rotations)
    changes = preparation.std > 0
    return torch.from_numpy((columns - preparation.mean)[:, changes] / preparation.std[changes])


def size(motion):
    """Of the space in which it takes place."""
    return np.abs(motion.positions()).max()


def error(preparation, motion, exact):
    """How far, at most, joints are from where they were, in units of the size."""
    frames = exact_frames(preparation, motion) if exact else preparation.frames(motion)
    again = preparation.motion(frames, start=preparation.path(motion)[0])
    step = round(motion.frame_rate / preparation.frame_rate)
    return np.abs(again.positions() - motion.positions()[::step]).max() / size(motion)


def body(values, up="y", **options):
    """A motion of a root and a bone on it."""
    skeleton = Skeleton([FULL_ROOT, Joint("head", 0, (0.1, 1, 0.2))], up=up, **options)
    return Motion(skeleton, values, frame_rate=30)


def fall(time=40, seed=0, up="y", **options):
    return body(np.random.default_rng(seed).normal(size=(time, 6)), up, **options)


# ----------------------------------------------------------------------------- there and back again


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize("seed", range(25))
def test_any_motion_of_any_skeleton_comes_back(rotations, seed):
    rng = np.random.default_rng(seed)
    skeleton = random_skeleton(rng)
    motions = [random_motion(skeleton, rng) for _ in range(2)]
    preparation = Preparation.fit(motions, rotations)
    for motion in motions:
        assert error(preparation, motion, exact=True) < 1e-11
        assert error(preparation, motion, exact=False) < 3e-6


def circles(time=400):
    """Six times around and on, leaning to one side of the room."""
    angle = np.linspace(0, 40, time)
    still = np.zeros(time)
    return [5 * np.cos(angle), still + 1, 5 * np.sin(angle), still + 0.3, -angle, still]


def lies_and_rolls(time=200):
    angle = np.linspace(0, 12, time)
    return [angle, 0 * angle + 0.1, 0 * angle, 0 * angle + np.pi / 2, 0 * angle, angle]


def somersaults(time=200):
    angle = np.linspace(0, 8 * np.pi, time)  # with frames exactly upside down and upright
    angle[[25, 50]] = np.pi, 2 * np.pi
    return [0 * angle, 1 + np.abs(np.sin(angle)), angle / 5, angle, 0 * angle, 0 * angle]


def stands_on_its_head(time=50):
    noise = np.random.default_rng(0).normal(size=(2, time)) * 1e-16
    return [*noise, 0 * noise[0] + 3, 0 * noise[0] + np.pi, *noise]


MOTIONS = [circles, lies_and_rolls, somersaults, stands_on_its_head]


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize("values", MOTIONS)
def test_what_bodies_can_do_comes_back(rotations, values):
    motion = body(np.stack(values(), axis=1))
    jumping = motion.values.copy()
    jumping[:, 1] += np.arange(len(jumping)) % 7
    motions = [motion, replace(motion, values=jumping)]
    preparation = Preparation.fit(motions, rotations)
    for one in motions:
        assert error(preparation, one, exact=True) < 1e-11
        assert error(preparation, one, exact=False) < 1e-6


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [("mocap_bvh", "131_01.bvh"), ("mocap_amc_other", "*.amc"), ("mocap_cmu35", "35_01.amc")],
)
def test_recordings_come_back(real_data, folder, pattern, rotations):
    for path in sorted(real_data(folder).glob(pattern)):
        motion = read_bvh(path) if path.suffix == ".bvh" else read_amc(path)
        for rate in (None, motion.frame_rate / 4):
            preparation = Preparation.fit([motion], rotations, rate)
            assert error(preparation, motion, exact=True) < 1e-12
            assert error(preparation, motion, exact=False) < 2e-7


def test_recordings_of_one_person_are_prepared_together(real_data):
    folder = real_data("mocap_cmu35")
    paths = sorted(folder.glob("amc_trimmed/*.amc"))[:4]
    motions = [read_amc(path, folder / "35.asf") for path in paths]
    preparation = Preparation.from_json(Preparation.fit(motions[:2], frame_rate=30).to_json())
    for motion in motions[:2]:
        assert error(preparation, motion, exact=True) < 1e-12
    for motion in motions:
        assert error(preparation, motion, exact=False) < 2e-7
    # what a joint cannot do is no column
    assert {"rfemur.x", "rfemur.z", "rtibia.x"} < {*preparation.names}
    assert "rtibia.y" not in preparation.names


def test_channels_come_back_of_joints_with_one_two_and_three_axes():
    rng = np.random.default_rng(0)
    skeleton = Skeleton(
        [
            FULL_ROOT,
            *(
                Joint(f"about {axes}", 0, (1, 1, 1), tuple(f"r{a}" for a in axes))
                for axes in ORDERS
            ),
        ]
    )
    values = np.cumsum(rng.normal(size=(300, len(skeleton.channels))) * 0.2, axis=0)
    values -= np.round(values[0] / (2 * np.pi)) * 2 * np.pi
    for fixed_axes in (False, True):
        motion = Motion(replace(skeleton, fixed_axes=fixed_axes), values, frame_rate=60)
        preparation = Preparation.fit([motion])
        again = preparation.motion(exact_frames(preparation, motion), preparation.path(motion)[0])
        np.testing.assert_allclose(again.values, values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rotations", CODES)
def test_nothing_depends_on_what_comes_later(rotations):
    motion = fall()
    preparation = Preparation.fit([motion], rotations)
    frames = preparation.frames(motion)
    beginning = replace(motion, values=motion.values[:9])
    np.testing.assert_allclose(preparation.frames(beginning), frames[:9], atol=1e-6)
    whole = preparation.motion(frames).values
    for time in (1, 2, 9):
        np.testing.assert_array_equal(preparation.motion(frames[:time]).values, whole[:time])


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_any_part_is_the_same_from_where_it_starts(rotations, up):
    motion = fall(up=up)
    preparation = Preparation.fit([motion], rotations)
    part = preparation.motion(preparation.frames(motion)[7:], preparation.path(motion)[7])
    np.testing.assert_allclose(part.positions(), motion.positions()[7:], atol=1e-5)


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_frames_are_the_same_wherever_a_body_is_and_faces(rotations, up):
    motion = fall(up=up)
    way = np.roll([0.0, 7, -5], "xyz".index(up))
    turn = euler_rotation(up, [[2.5]], fixed_axes=False)
    order = "".join(channel[1] for channel in ROTATIONS)
    turned = euler_rotation(order, motion.values[:, 3:], fixed_axes=False)
    moved = np.hstack(
        [turn.apply(motion.values[:, :3]) + way, euler_angles(turn * turned, order, False)]
    )
    preparation = Preparation.fit([motion], rotations)
    np.testing.assert_allclose(
        exact_frames(preparation, replace(motion, values=moved)),
        exact_frames(preparation, motion),
        atol=1e-9,
    )
    start = preparation.path(motion)[0]
    frames = exact_frames(preparation, motion)
    there = preparation.motion(frames, start=[*start[:2], start[2] + 2.5]).positions()
    pivot = motion.positions()[:1, :1]
    np.testing.assert_allclose(there, turned_about(pivot, turn, motion.positions()), atol=1e-9)


def turned_about(pivot, turn, places):
    return pivot + turn.apply((places - pivot).reshape(-1, 3)).reshape(places.shape)


# -------------------------------------------------------------------------------------- the columns


def test_columns_say_what_they_are():
    wrist = Joint("wrist", 0, channels=("tx", "rz", "ry"))
    skeleton = Skeleton([FULL_ROOT, Joint("bone", 0), wrist], up="z")
    motion = random_motion(skeleton, np.random.default_rng(0))
    ground = ["root.forward", "root.left", "root.height"]
    assert Preparation.fit([motion]).names == [
        *ground,
        *("wrist.tx", "root.turn", "root.tilt.x", "root.tilt.y", "wrist.x", "wrist.y", "wrist.z"),
    ]
    six = Preparation.fit([motion], "six numbers").names
    assert six[:5] == [*ground, "wrist.tx", "root.turn"]
    assert six[5:11] == [f"root.tilt.{name}" for name in ("xx", "xy", "xz", "yx", "yy", "yz")]


def test_an_upright_walk_has_the_ways_and_turns_of_taylor():
    rng = np.random.default_rng(0)
    heading = np.cumsum(rng.uniform(-1, 1, 60))
    places = rng.normal(size=(60, 3))
    motion = body(np.column_stack([places, 0 * places[:, :2], heading]), up="z")
    preparation = Preparation.fit([motion])
    assert preparation.names == ["root.forward", "root.left", "root.height", "root.turn"]
    raw = np.column_stack([0 * places[:, :2], heading, places])
    _, _, turn, forward, right, height = body_centred(raw).T
    expected = np.stack([forward, -right, np.roll(height, -1), turn], axis=1)[:-1]
    found = preparation.sequence(motion).original()
    np.testing.assert_allclose(found[1:], expected, atol=1e-5)
    np.testing.assert_array_equal(found[0, [0, 1, 3]], found[1, [0, 1, 3]])
    np.testing.assert_allclose(preparation.path(motion), ground_path(raw), atol=1e-9)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_ahead_is_the_axis_after_up_and_left_the_one_after_that(up):
    number = "xyz".index(up)
    axes = np.roll(np.eye(3), -number, axis=0)  # up, forward, left
    np.testing.assert_array_equal(np.cross(axes[1], axes[2]), axes[0])
    values = np.zeros((3, 6))
    values[:, :3] = np.arange(3)[:, None] ** 2 * (3 * axes[1] + 2 * axes[2] + axes[0])
    values[:, 3 + number] = np.arange(3) ** 2 * 1e-9  # hardly turns
    sequence = Preparation.fit([body(values, up)]).sequence(body(values, up))
    np.testing.assert_allclose(sequence.original()[1:, :2], [[3, 2], [9, 6]], atol=1e-5)


def test_the_tilt_turns_about_axes_on_the_ground():
    preparation = Preparation.fit([fall()])
    assert [name for name in preparation.names if "tilt" in name] == ["root.tilt.x", "root.tilt.z"]


def test_upside_down_the_heading_stays_that_before():
    upright = np.tile([0, 0, 0, 0, 0.7, 0], (5, 1))
    values = np.concatenate([upright, np.stack(stands_on_its_head(), axis=1)])
    values[:, 1] = np.random.default_rng(0).normal(size=len(values))  # something must move
    motion = body(values)
    np.testing.assert_allclose(Preparation.fit([motion]).path(motion)[:, 2], 0.7, atol=1e-12)


def test_headings_and_maps_do_not_jump():
    skeleton = Skeleton([FULL_ROOT, Joint("wheel", 0, (1, 0, 0), ("rx", "rz"))])
    values = np.zeros((100, 8))
    values[:, 4] = np.arange(100) * 0.5
    values[:, 6] = np.deg2rad(np.arange(100) * 30 % 360)  # no turn at all, again and again
    motion = Motion(skeleton, values, frame_rate=30)
    preparation = Preparation.fit([motion])
    assert preparation.names == ["wheel.x"]
    found = preparation.sequence(motion).original()[:, 0]
    np.testing.assert_allclose(np.diff(found), np.deg2rad(30), atol=1e-4)
    np.testing.assert_allclose(preparation.path(motion)[:, 2], values[:, 4], atol=1e-9)


def test_a_somersault_keeps_its_heading_and_tilts_on_and_on():
    motion = body(np.stack(somersaults(), axis=1))
    preparation = Preparation.fit([motion])
    assert preparation.names == ["root.forward", "root.height", "root.tilt.x"]
    tilt = preparation.sequence(motion).original()[:, 2]
    np.testing.assert_allclose(tilt, motion.values[:, 3], atol=1e-5)


def test_maps_are_those_nearest_to_the_frame_before():
    turns = Rotation.random(200, random_state=np.random.default_rng(0))
    maps = rotations._to_vectors([turns])[:, 0]
    np.testing.assert_allclose(Rotation.from_rotvec(maps).as_matrix(), turns.as_matrix(), atol=1e-9)
    assert np.linalg.norm(maps[0]) <= np.pi
    shortest = turns.as_rotvec()
    axes = shortest / np.linalg.norm(shortest, axis=1, keepdims=True)
    for full in np.arange(-9, 10)[:, None, None] * 2 * np.pi:
        others = shortest + full[0] * axes
        step = np.linalg.norm(maps[1:] - maps[:-1], axis=1)
        assert (step <= np.linalg.norm(others[1:] - maps[:-1], axis=1) + 1e-9).all()


def test_frames_are_z_scores_of_all_motions():
    motions = [fall(seed=seed, time=30 + seed) for seed in range(3)]
    preparation = Preparation.fit(motions)
    frames = [preparation.frames(motion) for motion in motions]
    assert frames[0].dtype == torch.float32
    std, mean = torch.std_mean(torch.cat(frames), dim=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones_like(std))


@pytest.mark.parametrize("rotations", CODES)
def test_constant_columns_are_left_out_and_put_back(rotations):
    shoulder = Joint(
        "shoulder", 0, (0, 3, 0), ("rz", "rx", "ry"), Rotation.random(random_state=0).as_matrix()
    )
    hand = Joint("hand", 1, (0, 5, 0), ("tx", "ty", "tz", "rx"))
    values = np.zeros((50, 13)) + np.random.default_rng(0).normal(size=13)
    values[:, 0] += np.linspace(0, 1000, 50)  # at the same speed, up to rounding
    values[:, 11] = np.arange(50) ** 2
    motion = Motion(Skeleton([FULL_ROOT, shoulder, hand]), values, frame_rate=30)
    preparation = Preparation.fit([motion], rotations)
    assert preparation.names == ["hand.tz"]
    assert error(preparation, motion, exact=True) < 1e-12


def test_every_kth_frame_is_taken():
    motion = replace(fall(time=41), frame_rate=1 / 0.0083)
    preparation = Preparation.fit([motion], frame_rate=30)
    taken = replace(motion, values=motion.values[::4], frame_rate=30)
    assert preparation.frame_rate == 30
    np.testing.assert_array_equal(preparation.frames(motion), preparation.frames(taken))
    again = preparation.motion(
        preparation.frames(motion), preparation.path(motion)[0], name="again"
    )
    assert (len(again), again.frame_rate, again.name) == (11, 30, "again")
    np.testing.assert_allclose(again.positions(), taken.positions(), atol=1e-5)


def test_the_lowest_rate_is_that_of_all():
    quick, slow = replace(fall(), frame_rate=60), replace(fall(seed=1), frame_rate=20)
    assert Preparation.fit([quick, slow]).frame_rate == 20


def test_a_sequence_says_all_of_a_motion():
    motion = replace(fall(), name="fall")
    preparation = Preparation.fit([motion])
    sequence = preparation.sequence(motion, split="train")
    assert (sequence.name, sequence.frame_rate, sequence.split) == ("fall", 30, "train")
    np.testing.assert_array_equal(sequence.frames, preparation.frames(motion))
    height = sequence.original()[:, preparation.names.index("root.height")]
    np.testing.assert_allclose(height, motion.values[:, 1], atol=1e-5)


def test_people_of_other_sizes_have_the_same_frames():
    motion = fall()
    joints = [replace(joint, offset=2 * joint.offset) for joint in motion.skeleton.joints]
    tall = replace(motion, skeleton=replace(motion.skeleton, joints=joints))
    preparation = Preparation.fit([motion])
    np.testing.assert_array_equal(preparation.frames(tall), preparation.frames(motion))


# ------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize("rotations", CODES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1, 30])
def test_anything_is_a_motion_and_stays_that(rotations, seed, scale, tmp_path):
    rng = np.random.default_rng(seed)
    skeleton = random_skeleton(rng)
    preparation = Preparation.fit([random_motion(skeleton, rng)], rotations)
    frames = torch.from_numpy(rng.normal(size=(30, len(preparation.names))) * scale)
    motion = preparation.motion(frames)
    assert error(preparation, motion, exact=True) < 1e-11
    write_bvh(tmp_path / "sample.bvh", motion)
    assert size(read_bvh(tmp_path / "sample.bvh")) == pytest.approx(size(motion), rel=1e-9)


def test_a_sample_becomes_an_acclaim_file(real_data, tmp_path):
    walk = read_amc(real_data("mocap_cmu35/35_01.amc"))
    text = Preparation.fit([walk], frame_rate=30).to_json()
    preparation = Preparation.from_json(text)
    sample = preparation.motion(torch.randn(20, len(preparation.names)), name="sample")
    write_amc(tmp_path / "sample.amc", sample)
    again = read_amc(tmp_path / "sample.amc", walk.skeleton, frame_rate=30)
    np.testing.assert_allclose(again.positions(), sample.positions(), atol=1e-9)


def test_the_largest_numbers_are_a_motion():
    preparation = Preparation.fit([fall()])
    frames = torch.full((3, len(preparation.names)), 3e38)
    assert np.isfinite(preparation.motion(frames).positions()).all()


def test_a_tensor_of_any_kind_will_do():
    preparation = Preparation.fit([fall()])
    frames = torch.ones(4, len(preparation.names), dtype=torch.bfloat16, requires_grad=True)
    expected = preparation.motion(torch.ones(4, len(preparation.names))).values
    np.testing.assert_array_equal(preparation.motion(frames).values, expected)


def test_any_six_numbers_are_a_rotation_by_gram_and_schmidt():
    numbers = (
        np.random.default_rng(0).normal(size=(20, 2, 6)) * 10.0 ** np.arange(-9, 11)[:, None, None]
    )
    found = rotations._from_axes(numbers)[1].as_matrix()
    first, second = numbers[:, 1, :3], numbers[:, 1, 3:]
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    y = second - (x * second).sum(axis=1, keepdims=True) * x
    np.testing.assert_allclose(found[:, :, 0], x, atol=1e-9)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, :, 1], y, atol=1e-9)


@pytest.mark.parametrize(
    "numbers",
    [[0] * 6, [0, 0, 0, 0, 1, 0], [0, 2, 0, 0, 0, 0], [1, 2, 3, -2, -4, -6], [1, 0, 0, 1, 0, 0]],
)
def test_numbers_that_leave_the_rotation_open_give_one(numbers):
    (turn,) = rotations._from_axes(np.array([[numbers]], dtype=float))
    matrix = turn.as_matrix()[0]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    length = np.linalg.norm(numbers[:3])
    if length:
        np.testing.assert_allclose(matrix[:, 0], np.array(numbers[:3]) / length, atol=1e-12)


# ------------------------------------------------------------------------------------------- angles


def misses(turns, order, angles, fixed_axes):
    """Angles between rotations and those of Euler angles."""
    return (turns.inv() * euler_rotation(order, angles, fixed_axes)).magnitude()


@pytest.mark.parametrize("fixed_axes", [False, True])
@pytest.mark.parametrize("order", [order for order in ORDERS if len(order) < 3])
def test_one_and_two_angles_are_the_nearest_of_all(order, fixed_axes):
    turns = Rotation.random(30, random_state=np.random.default_rng(0))
    found = misses(turns, order, euler_angles(turns, order, fixed_axes), fixed_axes)
    circle = np.linspace(0, 2 * np.pi, 121)
    grid = np.stack(np.meshgrid(*[circle] * len(order)), axis=-1).reshape(-1, len(order))
    tried = euler_rotation(order, grid, fixed_axes).as_quat()
    cosine = np.abs(turns.as_quat() @ tried.T).max(axis=1)  # of half the angle
    best = 2 * np.arccos(cosine.clip(max=1))
    assert (found <= best + 1e-9).all()
    assert (found >= best - 0.06).all()  # more would be a mistake of this test


@pytest.mark.parametrize("fixed_axes", [False, True])
@pytest.mark.parametrize("order", [order for order in ORDERS if len(order) == 3])
def test_three_angles_are_exact_in_the_gimbal_lock_and_beside_it(order, fixed_axes):
    turns = Rotation.random(100, random_state=np.random.default_rng(0))
    assert misses(turns, order, euler_angles(turns, order, fixed_axes), fixed_axes).max() < 1e-14
    rng = np.random.default_rng(1)
    for distance in (0, 1e-15, 1e-13, 1e-11, 1e-8, 1e-5):
        angles = rng.uniform(-3, 3, size=(100, 3))
        angles[:, 1] = rng.choice([-1, 1], 100) * np.pi / 2 + distance
        locked = euler_rotation(order, angles, fixed_axes)
        found = euler_angles(locked, order, fixed_axes)
        assert misses(locked, order, found, fixed_axes).max() < 1e-11


@pytest.mark.parametrize("fixed_axes", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_angles_do_not_jump(order, fixed_axes):
    time = np.linspace(0, 6, 500)
    angles = np.stack([2 * time, 3 * np.sin(time), np.cos(time) - time], axis=1)[:, : len(order)]
    turns = euler_rotation(order, angles, fixed_axes)  # through the gimbal lock and back
    np.testing.assert_allclose(euler_angles(turns, order, fixed_axes), angles, atol=1e-9)


def test_an_angle_that_may_be_anything_stays():
    angles = np.array([[0.3, 1.5, 0.2], [0.4, np.pi / 2, 0.6]])
    turns = euler_rotation("zyx", angles, fixed_axes=False)
    found = euler_angles(turns, "zyx", fixed_axes=False)
    np.testing.assert_allclose(found[:, 0], 0.3, atol=1e-9)
    half_turn = Rotation.from_rotvec([[0.4, 0, 0], [0, np.pi, 0]])
    np.testing.assert_allclose(euler_angles(half_turn, "x", fixed_axes=False), 0.4, atol=1e-9)


@pytest.mark.parametrize("order", ["", "xx", "xyx", "X", "a", "xyzx"])
def test_other_orders_are_refused(order):
    with pytest.raises(ValueError, match="order: expected one to three"):
        euler_angles(Rotation.random(2), order, fixed_axes=False)


# --------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("rotations", CODES)
def test_a_preparation_survives_as_text(rotations):
    rng = np.random.default_rng(3)
    skeleton = random_skeleton(rng)
    limited = Joint("limited", 0, (1, 2, 3), ("rx", "tz"), limits=((-np.inf, 0.1), (0, np.inf)))
    skeleton = replace(skeleton, joints=[*skeleton.joints, limited], metres=0.0254 / 0.45)
    preparation = Preparation.fit([random_motion(skeleton, rng)], rotations, frame_rate=20)
    text = preparation.to_json()
    again = Preparation.from_json(text)
    assert again.to_json() == text
    assert again.names == preparation.names
    assert again.skeleton.joints[-1].limits == limited.limits
    assert again.skeleton.metres == skeleton.metres
    frames = torch.randn(20, len(again.names))
    one, other = again.motion(frames), preparation.motion(frames)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.positions(), other.positions())


def damaged(path, value):
    """The text of a preparation with another value at a path of keys."""
    content = json.loads(Preparation.fit([fall()]).to_json())
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return json.dumps(content)


JOINT = ("skeleton", "joints", 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "seqebm-sequences", "format: expected seqebm-preparation"),
        (["format"], ["x" * 9999], "format: expected seqebm-preparation, got .{60}$"),
        (["skeleton"], None, "skeleton: expected a value of type dict, got None"),
        (["rotations"], "angles", "rotations: expected one of"),
        (["rotations"], [], "rotations: expected a value of type str"),
        (["rotations"], "six numbers", "mean: expected 10 finite numbers, got .7"),
        (["frame_rate"], 0, "frame_rate: expected a positive number"),
        (["frame_rate"], "30", "frame_rate: expected a number"),
        (["frame_rate"], True, "frame_rate: expected a number"),
        (["columns"], {}, "columns: expected a value of type list"),
        (["columns"], [], "mean: expected 7 finite numbers"),
        (["columns", 0], ["root.forward", 0], "columns: expected names, means and standard"),
        (["columns", 0], "abc", "columns: expected a value of type list"),
        (["columns", 0, 0], "root.back", "columns: expected root.forward, got 'root.back'"),
        (["columns", 0, 1], 1e31, "columns: expected a number from"),
        (["columns", 0, 1], float("nan"), "columns: expected a number from"),
        (["columns", 0, 1], 10**400, "columns: expected a number from"),
        (["columns", 0, 2], -1, "std: expected positive numbers"),
        (["skeleton", "joints"], [], "joints: expected one or more"),
        (["skeleton", "joints"], [None] * 10_001, "joints: expected at most 10000, got 10001"),
        (["skeleton", "joints", 0], 1, "joints: expected a value of type dict"),
        (["skeleton", "joints", 0, "channels"], ["tx", "ty", "rx"], "root 'root': expected three"),
        (["skeleton", "up"], "w", "up: expected x, y or z"),
        (["skeleton", "fixed_axes"], 1, "fixed_axes: expected a value of type bool"),
        (["skeleton", "metres"], -1, "metres: expected a positive length"),
        ([*JOINT, "name"], "root", "of different names"),
        ([*JOINT, "parent"], 1, "the parent of 'head'"),
        ([*JOINT, "parent"], 0.0, "parent: expected a value of type int"),
        ([*JOINT, "offset"], [1, 2], "offset of 'head': expected 3 numbers"),
        ([*JOINT, "offset"], [1, 2, "3"], "offset of 'head': expected a number"),
        ([*JOINT, "channels"], ["sx"], "channels of 'head': unknown"),
        ([*JOINT, "channels"], [[]], "channels of 'head': expected a value of type str"),
        ([*JOINT, "axes"], [[1, 0, 0]] * 3, "axes of 'head': expected a rotation"),
        ([*JOINT, "axes"], [[1, 0, 0]] * 2, "axes of 'head': expected .3, 3. finite numbers"),
        ([*JOINT, "axes"], [], "axes of 'head': expected .3, 3. finite numbers"),
        (
            [*JOINT, "axes"],
            [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
            "axes of 'head': expected a rotation",
        ),
        ([*JOINT, "limits"], [[0, 1]], "limits of 'head': expected 0, got 1"),
        ([*JOINT, "limits"], [0], "limits of 'head': expected pairs"),
    ],
)
def test_a_text_that_is_damaged_is_refused(path, value, message):
    with pytest.raises(ValueError, match=message):
        Preparation.from_json(damaged(path, value))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "NaN", "[" * 100_000, " " * (2**24 + 1)], ids=range(7)
)
def test_a_text_that_is_no_preparation_is_refused(text):
    with pytest.raises(ValueError, match=r"^preparation: expected "):
        Preparation.from_json(text)


def test_no_column_that_changes_is_refused():
    preparation = Preparation.fit([fall()])
    with pytest.raises(ValueError, match="std: expected positive numbers"):
        replace(preparation, std=0 * preparation.std)


def test_damage_is_refused_or_harmless():
    text = Preparation.fit([fall()]).to_json().encode()
    rng = random.Random(0)
    for _ in range(300):
        try:
            preparation = Preparation.from_json(mutated(text, rng).decode(errors="replace"))
            preparation.motion(torch.randn(3, len(preparation.names)))
        except ValueError:
            pass


# ---------------------------------------------------------------------------------------- bad input


def test_there_must_be_motions():
    with pytest.raises(ValueError, match="motions: expected one or more"):
        Preparation.fit([])
    with pytest.raises(TypeError, match="motion: expected a Motion, got Tensor"):
        Preparation.fit(torch.rand(3, 4))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda one: replace(one, up="z"), "expected y upwards, got z upwards"),
        (lambda one: replace(one, fixed_axes=True), "expected moving axes, got fixed axes"),
        (lambda one: replace(one, metres=0.01), "a unit of None metres, got a unit of 0.01"),
        (lambda one: replace(one, joints=one.joints[:2]), "got no more"),
        (lambda one: replace(one, joints=[*one.joints, Joint("tail", 0)]), "expected no more"),
        (
            lambda one: replace(one, joints=[*one.joints[:2], replace(one.joints[2], parent=0)]),
            "expected joint 'hat' on 1 with nothing, got joint 'hat' on 0",
        ),
        (
            lambda one: replace(
                one, joints=[replace(FULL_ROOT, channels=FULL_ROOT.channels[::-1]), *one.joints[1:]]
            ),
            "expected joint 'root' on -1 with tx, .*, got joint 'root' on -1 with rz, ry,",
        ),
    ],
)
def test_another_skeleton_is_refused(other, message):
    skeleton = Skeleton([FULL_ROOT, Joint("head", 0), Joint("hat", 1)])
    motion = Motion(skeleton, fall().values, frame_rate=30)
    stranger = replace(motion, skeleton=other(skeleton))
    with pytest.raises(ValueError, match=message):
        Preparation.fit([motion, stranger])
    for use in ("frames", "sequence", "path"):
        with pytest.raises(ValueError, match=message):
            getattr(Preparation.fit([motion]), use)(stranger)


@pytest.mark.parametrize(
    "channels", [(), ("tx", "ty", "tz"), ("rx", "ry", "rz"), ("tx", "tz", "rx", "ry", "rz")]
)
def test_the_root_must_move_and_turn(channels):
    skeleton = Skeleton([Joint("hip", -1, channels=channels), Joint("leg", 0, channels=("rx",))])
    motion = random_motion(skeleton, np.random.default_rng(0))
    with pytest.raises(
        ValueError, match="root 'hip': expected three translations and one rotation"
    ):
        Preparation.fit([motion])


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 7, 29, 60, 1e300])
def test_rates_that_do_not_divide_are_refused(rate):
    with pytest.raises(ValueError, match="frame_rate: "):
        Preparation.fit([fall()], frame_rate=rate)


def test_one_frame_is_refused():
    motion = fall()
    alone = replace(motion, values=motion.values[:1], name="alone")
    with pytest.raises(ValueError, match="motion 'alone': expected two frames or more"):
        Preparation.fit([motion, alone])
    with pytest.raises(ValueError, match="expected two frames or more"):
        Preparation.fit([motion]).frames(alone)
    with pytest.raises(ValueError, match="expected two frames or more"):
        Preparation.fit([motion], frame_rate=30 / len(motion))
    with pytest.raises(ValueError, match="expected two frames or more"):
        Preparation.fit([motion], frame_rate=1e-320)


def test_what_does_not_move_is_refused():
    with pytest.raises(ValueError, match="no column changes"):
        Preparation.fit([body(np.ones((5, 6)))])


def test_unknown_rotations_are_refused():
    with pytest.raises(ValueError, match=r"rotations: expected one of .*, got 'quaternion'"):
        Preparation.fit([fall()], rotations="quaternion")


@pytest.mark.parametrize(
    ("frames", "kind", "message"),
    [
        (np.zeros((3, 6)), TypeError, "frames: expected a tensor, got ndarray"),
        (torch.zeros(3, 5), ValueError, r"frames: expected \[time, 6\] .*, got \[3, 5\]"),
        (torch.zeros(6), ValueError, r"frames: expected \[time, 6\]"),
        (torch.zeros(0, 6), ValueError, "with at least one frame"),
        (torch.full((3, 6), float("nan")), ValueError, "frames: expected numbers that are finite"),
        (torch.full((3, 6), 1e300, dtype=torch.float64), ValueError, "finite in float32"),
    ],
)
def test_other_frames_are_refused(frames, kind, message):
    preparation = Preparation.fit([fall()])
    assert len(preparation.names) == 6
    with pytest.raises(kind, match=message):
        preparation.motion(frames)


@pytest.mark.parametrize("start", [[0, 0], [0, 0, float("nan")], 0, [[0, 0, 0]]])
def test_other_starts_are_refused(start):
    preparation = Preparation.fit([fall()])
    with pytest.raises(ValueError, match="start: expected a row of path"):
        preparation.motion(torch.zeros(3, 6), start=start)


def test_what_is_not_a_motion_is_refused():
    with pytest.raises(TypeError, match="motion: expected a Motion, got ndarray"):
        Preparation.fit([fall()]).frames(np.zeros((3, 6)))


def test_what_is_too_far_away_is_refused():
    motion = fall()
    with pytest.raises(ValueError, match="finite real numbers in float32"):
        Preparation.fit([motion]).frames(replace(motion, values=motion.values * 1e100))
