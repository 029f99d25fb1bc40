import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
from fuzz import mutated

from seqebm.data.mocap import Joint, Motion, Skeleton
from seqebm.data.mocap.bvh import read_bvh, write_bvh

ARM = """HIERARCHY
ROOT Hips
{
\tOFFSET 1.0 2.0 3.0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Arm
\t{
\t\tOFFSET 0 4 0
\t\tCHANNELS 3 Yrotation Zrotation Xrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 0 5
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.04
1 2 3 10 20 30 40 50 60
-1.5 .5 2e1 -90 0 +45 0 180 -20
"""
ARM_VALUES = [[1, 2, 3, 10, 20, 30, 40, 50, 60], [-1.5, 0.5, 20, -90, 0, 45, 0, 180, -20]]


def read(tmp_path, content):
    path = tmp_path / "some.bvh"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_bvh(path)


def read_again(tmp_path, motion):
    write_bvh(tmp_path / "again.bvh", motion)
    return read_bvh(tmp_path / "again.bvh")


def outcome(tmp_path, content):
    """The message of the ValueError, or None if the file is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            read(tmp_path, content)
        except ValueError as caught:
            return str(caught)
    return None


def error(tmp_path, content):
    """The message, after the name of the file."""
    with pytest.raises(ValueError, match=r"some\.bvh") as caught:
        read(tmp_path, content)
    return str(caught.value).removeprefix(str(tmp_path / "some.bvh"))


def about(axis, degrees):
    """The matrix of a turn about an axis of the coordinates."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def arm_places(values):
    x, y, z, *angles = values
    hips = about("z", angles[0]) @ about("x", angles[1]) @ about("y", angles[2])
    arm = hips @ about("y", angles[3]) @ about("z", angles[4]) @ about("x", angles[5])
    root = np.array([x, y, z])
    elbow = root + hips @ [0, 4, 0]
    return np.stack([root, elbow, elbow + arm @ [0, 0, 5]])


def assert_same(motion, other):
    assert motion.skeleton.names == other.skeleton.names
    assert motion.skeleton.channels == other.skeleton.channels
    for joint, twin in zip(motion.skeleton.joints, other.skeleton.joints, strict=True):
        assert joint.parent == twin.parent
        assert joint.offset.tolist() == twin.offset.tolist()
    np.testing.assert_allclose(motion.values, other.values, rtol=1e-12, atol=0)
    assert motion.frame_rate == pytest.approx(other.frame_rate, rel=1e-14)


def places_by_name(motion):
    """Positions [time, 3] of each joint: a file may have the joints in another order."""
    return dict(zip(motion.skeleton.names, motion.positions().swapaxes(0, 1), strict=True))


# ------------------------------------------------------------------------------------------ reading


def test_all_of_a_file_is_read(tmp_path):
    motion = read(tmp_path, ARM)
    skeleton = motion.skeleton
    assert skeleton.names == ["Hips", "Arm", "Arm tip"]
    assert [joint.parent for joint in skeleton.joints] == [-1, 0, 1]
    assert [joint.offset.tolist() for joint in skeleton.joints] == [[1, 2, 3], [0, 4, 0], [0, 0, 5]]
    assert skeleton.joints[0].channels == ("tx", "ty", "tz", "rz", "rx", "ry")
    assert skeleton.joints[1].channels == ("ry", "rz", "rx")
    assert skeleton.joints[2].channels == ()
    assert not skeleton.fixed_axes
    assert (skeleton.up, skeleton.metres) == ("y", None)
    assert all((joint.axes == np.eye(3)).all() for joint in skeleton.joints)
    assert motion.frame_rate == 25
    assert motion.name == "some"
    expected = np.array(ARM_VALUES)
    expected[:, 3:] *= np.pi / 180
    np.testing.assert_allclose(motion.values, expected, rtol=1e-15)


def test_places_are_those_of_the_matrices_in_the_order_of_the_channels(tmp_path):
    expected = [arm_places(values) for values in ARM_VALUES]
    np.testing.assert_allclose(read(tmp_path, ARM).positions(), expected, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n{", " {"),
        lambda text: text.replace("Hips\n{", "Hips{").replace("Site\n\t\t{\n\t\t\t", "Site{"),
        lambda text: text.replace("\n\t\t}\n\t}\n}", "}}}"),
        lambda text: text.replace("\t", ""),
        lambda text: text.replace("\t", "      ").replace(" ", " \t "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\r\n", 5),
        lambda text: text.replace("\n", "\n\n  \n"),
        lambda text: text.replace("\n", "\n# {\n  // JOINT\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace("Frames:", "Frames :").replace("Time:", "Time :"),
        lambda text: text.replace("Frames: ", "Frames:").replace("Time: ", "Time:"),
        lambda text: text.replace("Frames: ", "Frames:\n").replace("Time: ", "Time:\n"),
        lambda text: text.replace("MOTION\n", "MOTION ").replace("2\nFrame", "2 Frame"),
        lambda text: text.replace("Frame Time", "FRAME\tTIME"),
        lambda text: text.replace("HIERARCHY\n", "HIERARCHY "),
        lambda text: text.upper().replace("HIPS", "Hips").replace("ARM", "Arm"),
        lambda text: text.lower().replace("hips", "Hips").replace("arm", "Arm"),
        lambda text: text.replace("End Site", "END  SITE of the arm"),
    ],
)
def test_other_layouts_say_the_same(tmp_path, change):
    assert change(ARM) != ARM
    motion = read(tmp_path, change(ARM))
    assert_same(motion, read(tmp_path, ARM))


def test_offset_may_come_after_the_channels_and_the_joints(tmp_path):
    moved = ARM.replace("\tOFFSET 1.0 2.0 3.0\n", "").replace(
        "}\nMOTION", "OFFSET 1 2 3\n}\nMOTION"
    )
    assert_same(read(tmp_path, moved), read(tmp_path, ARM))


def test_positions_and_rotations_may_be_mixed_on_any_joint(tmp_path):
    mixed = ARM.replace(
        "CHANNELS 3 Yrotation Zrotation Xrotation", "CHANNELS 2 Yrotation Xposition"
    )
    mixed = mixed.replace("40 50 60", "90 7").replace("0 180 -20", "0 8")
    motion = read(tmp_path, mixed)
    assert motion.skeleton.joints[1].channels == ("ry", "tx")
    np.testing.assert_allclose(motion.values[:, 6:], [[np.pi / 2, 7], [0, 8]])


@pytest.mark.parametrize("name", ["Left Arm", "mixamorig:Arm", "Arm#1", "End", "joint", "Bräs 腕"])
def test_any_name_will_do(tmp_path, name):
    motion = read(tmp_path, ARM.replace("JOINT Arm", f"JOINT {name}"))
    assert motion.skeleton.names == ["Hips", name, f"{name} tip"]
    assert_same(read_again(tmp_path, motion), motion)


def test_names_in_another_encoding_stay_recognizable(tmp_path):
    motion = read(tmp_path, ARM.replace("Arm", "Bräs").encode("latin-1"))
    assert motion.skeleton.names == ["Hips", r"Br\xe4s", r"Br\xe4s tip"]
    assert_same(read_again(tmp_path, motion), motion)


def test_names_become_unique(tmp_path):
    text = """HIERARCHY
        ROOT a { OFFSET 0 0 0
            CHANNELS 1 Xrotation
            End Site { OFFSET 0 0 1 }
            JOINT b { OFFSET 0 0 0
                End Site { OFFSET 0 0 1 } End Site { OFFSET 0 0 1 } }
            JOINT b { OFFSET 0 0 0
                End Site { OFFSET 0 0 1 } }
            JOINT a tip { OFFSET 0 0 0 }
            JOINT b { OFFSET 0 0 0 }
            JOINT b 2 { OFFSET 0 0 0 }
            End Site { OFFSET 0 0 1 } }
        MOTION
        Frames: 1
        Frame Time: 1
        0
    """
    names = read(tmp_path, text).skeleton.names
    assert names[:6] == ["a", "a tip 2", "b", "b tip", "b tip 2", "b 2"]
    assert names[6:] == ["b 2 tip", "a tip", "b 3", "b 2 2", "a tip 3"]


def test_many_joints_of_one_name_and_deep_ones_take_no_time(tmp_path):
    depth = 900
    opening = "JOINT a { OFFSET 0 0 0\n" * depth
    text = f"HIERARCHY ROOT a {{ OFFSET 0 0 0\nCHANNELS 1 Xposition\n{opening}{'}' * depth}}}"
    motion = read(tmp_path, f"{text}\nMOTION\nFrames: 1\nFrame Time: 1\n0\n")
    assert len(motion.skeleton.joints) == depth + 1
    again = read_again(tmp_path, motion)
    assert len(again.skeleton.joints) == depth + 1


def test_frames_of_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("seqebm.data.mocap.bvh._BLOCK", 100)
    values = np.random.default_rng(0).normal(size=(200, 9))
    lines = [" ".join(map(repr, frame)) for frame in np.round(values, 4).tolist()]
    header = ARM[: ARM.index("1 2 3 10")].replace("Frames: 2", "Frames: 200")
    motion = read(tmp_path, header + "\n".join(lines))
    np.testing.assert_allclose(motion.values[:, :3], np.round(values[:, :3], 4), rtol=0)
    lines[150] += " 7"
    first = header.count("\n") + 1
    assert error(tmp_path, header + "\n".join(lines)).startswith(f":{first + 150}: expected 9")
    assert "a longer one" in error(tmp_path, header + "1" * 150)


# ---------------------------------------------------------------------------- files that were cut


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ARM.replace("Frames: 2", "Frames: 3"), 20),
        (ARM.replace("Frames: 2", "Frames: 3") + "1 2 3 4 5", 21),
        (ARM.replace("Frames: 2", "Frames: 3") + "1 2 3 4 5 6 7 8 -", 21),
        (ARM.replace("Frames: 2", "Frames: 4") + "1 2 3 4 5 6 7 8 9", 21),
        (ARM.replace("Frames: 2", "Frames: 4") + "1 2 3 4 5 6 7 8 9e", 21),
        (ARM.replace("Frames: 2", "Frames: 3") + "   ", 21),
    ],
)
def test_a_cut_file_gives_whole_frames_and_a_warning(tmp_path, text, line):
    with pytest.warns(UserWarning, match=rf"some\.bvh:{line}: the file ends after 2 of") as caught:
        motion = read(tmp_path, text)
    assert caught[0].filename == __file__
    assert len(motion) == 2


def test_the_last_frame_needs_no_line_end_but_all_numbers(tmp_path):
    assert len(read(tmp_path, ARM.removesuffix("\n"))) == 2
    with pytest.warns(UserWarning, match="after 1 of 2 frames"):
        assert len(read(tmp_path, ARM.removesuffix(" -20\n"))) == 1


def test_a_file_cut_anywhere_gives_its_frames_or_an_error(tmp_path):
    first = ARM.index("1 2 3 10")
    for length in range(len(ARM) - 1):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            if length <= ARM.index("\n", first):
                assert error(tmp_path, ARM[:length])
            else:
                motion = read(tmp_path, ARM[:length])
                # "-2" may be all of the last number, or not
                assert len(motion) == (
                    2 if length >= len(ARM) - 3 and ARM[length - 1] != "-" else 1
                )


# ------------------------------------------------------------------------------------ wrong files


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY\n", "", ":1: expected HIERARCHY, got 'ROOT'"),
        ("ROOT Hips", "JOINT Hips", ":2: expected ROOT, got 'JOINT Hips'"),
        ("ROOT Hips", "ROOT", ":2: expected a name after ROOT, got 'ROOT'"),
        ("JOINT Arm\n\t{", "JOINT Arm\n", ":8: expected {, got 'OFFSET 0 4 0'"),
        ("\t{\n", "\t{ {\n", ":7: expected OFFSET or CHANNELS or JOINT or End Site, got '{'"),
        ("\t\t}\n\t}\n}", "\t\t}\n\t}", ":15: expected } or JOINT or End Site, got 'MOTION'"),
        ("\n}\nMOTION", "\n}\n}\nMOTION", ":16: expected MOTION, got '}'"),
        ("\n}\nMOTION", "\n}\nROOT b {\n}\nMOTION", ":16: expected MOTION, as more than one ROOT"),
        ("\tOFFSET 0 0 5\n", "", ":12: expected OFFSET, got '}'"),
        ("0 4 0", "0 4", ":8: expected OFFSET and three numbers, got 'OFFSET 0 4'"),
        ("0 4 0", "0 4 0 0", ":8: expected OFFSET and three numbers"),
        ("0 4 0", "0 nan 0", ":8: expected OFFSET and three numbers"),
        ("0 4 0", "0 1e999 0", ":8: expected OFFSET and three numbers"),
        ("0 4 0", "0 1_0 0", ":8: expected OFFSET and three numbers"),
        ("0 4 0\n", "0 4 0\nOFFSET 0 4 0\n", ":9: expected } or CHANNELS or"),
        ("CHANNELS 3", "CHANNELS 4", ":9: expected CHANNELS 3, as so many follow in the line"),
        ("CHANNELS 3", "CHANNELS", ":9: expected CHANNELS 2"),
        ("CHANNELS 3", "CHANNELS three", ":9: expected CHANNELS 3"),
        ("CHANNELS 3 Yr", "CHANNELS 3 Wr", ":9: expected channels such as Xposition"),
        ("CHANNELS 3 Yr", "CHANNELS 3 Xr", ":9: expected channels such as Xposition or Zrotation,"),
        ("OFFSET 0 0 5", "CHANNELS 0", ":12: expected OFFSET, got 'CHANNELS 0'"),
        ("OFFSET 0 0 5", "JOINT x", ":12: expected OFFSET, got 'JOINT x'"),
        ("\t}\n}", "\t}\nCHANNELS 0\n}", ":15: expected } or JOINT or End Site, got 'CHANNELS 0'"),
        ("MOTION\n", "", ":16: expected MOTION, got 'Frames'"),
        ("Frames: 2\n", "", ":17: expected Frames:, got 'Frame'"),
        ("Frames: 2", "Frames 2", ":17: expected Frames:, got '2'"),
        ("Frames: 2", "Frames: two", ":17: expected a number of frames from 1 to"),
        ("Frames: 2", "Frames: 0", ":17: expected a number of frames from 1 to"),
        ("Frames: 2", "Frames: -2", ":17: expected a number of frames from 1 to"),
        ("Frames: 2", "Frames: 99999999999", "bytes, got '99999999999'"),
        ("Frames: 2", f"Frames: {'9' * 9999}", "bytes, got '99999999999"),
        ("Frame Time: 0.04\n", "", ":18: expected Frame Time:, got '1'"),
        ("0.04", "0", ":18: expected a positive number of seconds, got '0'"),
        ("0.04", "-1", ":18: expected a positive number of seconds, got '-1'"),
        ("0.04", "1e-320", ":18: expected a positive number of seconds, got '1e-320'"),
        ("0.04", "nan", ":18: expected a positive number of seconds, got 'nan'"),
        ("0.04", "0.04 s", ":18: expected the end of the line, got 's'"),
        ("Frames: 2", "Frames: 1", ":20: expected the end of the file after 1 frames, got '-1.5"),
        ("40 50 60", "40 50", ":19: expected 9 numbers, one a channel, got 8"),
        ("0 180 -20", "0 180 -20 1", ":20: expected 9 numbers, one a channel, got 10"),
        ("0 180 -20", "0 180", ":20: expected 9 numbers, one a channel, got 8"),
        ("40 50 60", "40 50 nan", ":19: expected a finite number, got 'nan'"),
        ("40 50 60", "40 50 inf", ":19: expected a finite number, got 'inf'"),
        ("40 50 60", "40 50 1e999", ":19: expected a finite number, got '1e999'"),
        ("40 50 60", "40 50 6,0", ":19: expected a finite number, got '6,0'"),
        ("40 50 60", "40 50 1_0", ":19: expected a finite number, got '1_0'"),
        ("0 180 -20", "0 180 x", ":20: expected a finite number, got 'x'"),
        ("0 180 -20\n", "0 180 x", ":20: expected a finite number, got 'x'"),
        ("0 180 -20\n", "0 x -20", ":20: expected a finite number, got 'x'"),
        ("-20\n", "-20 1", ":20: expected 9 numbers, one a channel, got 10"),
        (ARM[ARM.index("1 2 3 10") :], "", ":18: expected 2 frames, got the end of the file"),
        (ARM[ARM.index("\t\t\tOFFSET") :], "", ":11: expected OFFSET, got the end of the file"),
        (ARM[ARM.index("MOTION") :], "", ":15: expected MOTION, got the end of the file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, old, new, message):
    assert old in ARM
    assert message in error(tmp_path, ARM.replace(old, new, 1))


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x7fELF\0\0\xff\xfe", random.Random(0).randbytes(5000)]
)
def test_other_files_are_refused(tmp_path, content):
    assert "expected HIERARCHY, got" in error(tmp_path, content)


def test_absurd_hierarchies_are_refused(tmp_path):
    nested = "JOINT a { OFFSET 0 0 0\n" * 5000
    assert "nested at most" in error(tmp_path, f"HIERARCHY ROOT a {{ {nested}")
    many = "JOINT a { OFFSET 0 0 0\n}" * 20000
    assert "at most 10000 joints" in error(tmp_path, f"HIERARCHY ROOT a {{ {many}")
    assert "a longer one" in error(tmp_path, "HIERARCHY ROOT a" + "b" * 3_000_000)
    frozen = "HIERARCHY ROOT a { OFFSET 0 0 0 }\nMOTION\nFrames: 1\nFrame Time: 1\n\n"
    assert "expected a joint with channels" in error(tmp_path, frozen)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.bvh"):
        read_bvh(tmp_path / "none.bvh")
    with pytest.raises(ValueError, match="not a file"):
        read_bvh(tmp_path)


def test_damaged_files_are_read_or_refused(tmp_path):
    rng = random.Random(0)
    messages = [outcome(tmp_path, mutated(ARM.encode(), rng)) for _ in range(2500)]
    start = f"{tmp_path / 'some.bvh'}:"
    assert all(message is None or message.startswith(start) for message in messages)
    assert 100 < messages.count(None) < 2000


# ------------------------------------------------------------------------------------------ writing


def test_a_file_written_again_is_the_same(tmp_path):
    motion = read(tmp_path, ARM)
    again = read_again(tmp_path, motion)
    assert_same(again, motion)
    assert "OFFSET 0.0 0.0 5.0" in (tmp_path / "again.bvh").read_text()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["again.bvh", "some.bvh"]


def test_no_digit_is_lost(tmp_path):
    rng = np.random.default_rng(1)
    joints = [
        Joint("a", -1, rng.normal(size=3), ("tz", "rx", "ty")),
        Joint("still", 0, rng.normal(size=3)),
        Joint("b", 1, 1e-7 * rng.normal(size=3), ("ry", "rx")),
        Joint("b tip", 2, 1e9 * rng.normal(size=3)),
    ]
    values = rng.normal(size=(50, 5)) * 10.0 ** rng.integers(-200, 200, size=(50, 5))
    motion = Motion(Skeleton(joints), values, frame_rate=np.float64(119.88))
    assert_same(read_again(tmp_path, motion), motion)
    assert "JOINT still\n\t{\n" in (tmp_path / "again.bvh").read_text()


def test_leaves_without_channels_under_joints_without_channels_stay_joints(tmp_path):
    joints = [
        Joint("root", -1, channels=("ry",)),
        Joint("fixed", 0, (1, 0, 0)),
        Joint("end", 1, (0, 2, 0)),
        Joint("root tip", 0, (0, 0, 3)),
    ]
    motion = Motion(Skeleton(joints), np.ones((1, 1)), frame_rate=1)
    assert_same(read_again(tmp_path, motion), motion)
    text = (tmp_path / "again.bvh").read_text()
    assert (text.count("CHANNELS 0"), text.count("End Site")) == (2, 1)


def test_joints_are_written_depth_first_with_their_columns(tmp_path):
    joints = [
        Joint("root", -1, channels=("tx", "ry")),
        Joint("left", 0, (1, 0, 0), ("rx",)),
        Joint("right", 0, (-1, 0, 0), ("rz", "ry")),
        Joint("left hand", 1, (0, 1, 1), ("ry",)),
        Joint("right hand", 2, (0, 1, -1), ("rz",)),
    ]
    values = np.random.default_rng(2).normal(size=(4, 7))
    motion = Motion(Skeleton(joints), values, frame_rate=10)
    again = read_again(tmp_path, motion)
    assert again.skeleton.names == ["root", "left", "left hand", "right", "right hand"]
    np.testing.assert_allclose(again.values, values[:, [0, 1, 2, 5, 3, 4, 6]], rtol=1e-12)
    for name, places in places_by_name(motion).items():
        np.testing.assert_allclose(places_by_name(again)[name], places, atol=1e-12)


def fixed_skeleton(fixed_axes=True):
    """As an Acclaim file has them: breadth first, with axes of their own."""
    lean = about("z", 25) @ about("y", -40) @ about("x", 110)
    return Skeleton(
        [
            Joint("root", -1, (0, 1, 0), ("tx", "rx", "ty", "ry", "tz", "rz"), about("x", 30)),
            Joint("hip", 0, (1, -2, 0.5)),
            Joint("neck", 0, (0, 3, 0), ("rx", "ry", "rz"), lean),
            Joint("knee", 1, (0, -8, 1), ("rx",), lean.T),
            Joint("hand", 2, (2, 0.5, 0.25), ("rz", "rx"), about("y", 90)),
            Joint("hand tip", 4, (0.5, 0.5, 2)),
            Joint("knee tip", 3, (-0.5, -9, 2)),
        ],
        fixed_axes=fixed_axes,
        up="z",
        metres=0.0254,
    )


@pytest.mark.parametrize("fixed_axes", [True, False])
def test_other_axes_are_converted_and_all_joints_stay(tmp_path, fixed_axes):
    rng = np.random.default_rng(3)
    skeleton = replace(fixed_skeleton(fixed_axes), up="y")
    motion = Motion(skeleton, rng.uniform(-7, 7, size=(300, 12)), frame_rate=120)
    again = read_again(tmp_path, motion)
    assert again.skeleton.joints[0].channels == ("tx", "ty", "tz", "rz", "ry", "rx")
    assert not again.skeleton.fixed_axes
    assert {*again.skeleton.names} == {*motion.skeleton.names}
    for name, places in places_by_name(motion).items():
        np.testing.assert_allclose(places_by_name(again)[name], places, atol=1e-9)


def test_conversion_agrees_with_explicit_matrices(tmp_path):
    own = about("z", 20) @ about("x", 70)
    joint = Joint("a", -1, channels=("rx", "ry", "rz"), axes=own)
    skeleton = Skeleton([joint, Joint("a tip", 0, (1, 2, 3))], fixed_axes=True)
    again = read_again(tmp_path, Motion(skeleton, np.radians([[10, 20, 30]]), frame_rate=1))
    turn = own @ about("z", 30) @ about("y", 20) @ about("x", 10) @ own.T
    np.testing.assert_allclose(again.positions()[0, 1], turn @ [1, 2, 3], atol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-9, 1e-7, 1e-5])
def test_conversion_is_exact_at_and_near_the_gimbal_lock(tmp_path, distance):
    joint = Joint("a", -1, channels=("rx", "ry", "rz"))
    tips = [Joint("a tip", 0, (100, 20, 3)), Joint("a tip 2", 0, (0, -40, 100))]
    angles = np.random.default_rng(4).uniform(-3, 3, size=(100, 3))
    angles[:, 1] = np.where(angles[:, 1] > 0, np.pi / 2 - distance, -np.pi / 2 + distance)
    motion = Motion(Skeleton([joint, *tips], fixed_axes=True), angles, frame_rate=60)
    again = read_again(tmp_path, motion)
    np.testing.assert_allclose(again.positions(), motion.positions(), atol=1e-12)


@pytest.mark.parametrize("name", ["", " a", "a ", "a{", "}", "a\nb", "a\rb", "\ud800"])
def test_names_that_cannot_be_written_are_refused(tmp_path, name):
    motion = Motion(Skeleton([Joint(name, -1, channels=("rx",))]), np.ones((1, 1)), frame_rate=1)
    with pytest.raises(ValueError, match=r"cannot be written|encode"):
        write_bvh(tmp_path / "bad.bvh", motion)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("channels", "values", "frame_rate", "message"),
    [
        ((), np.ones((2, 0)), 1, "a joint with channels"),
        (("rx",), np.full((2, 1), 1e308), 1, "too large"),
        (("rx",), np.ones((2, 1)), 1e-320, "too large"),
    ],
)
def test_motions_that_cannot_be_written_are_refused(
    tmp_path, channels, values, frame_rate, message
):
    motion = Motion(Skeleton([Joint("a", -1, channels=channels)]), values, frame_rate)
    with pytest.raises(ValueError, match=message):
        write_bvh(tmp_path / "bad.bvh", motion)
    assert not [*tmp_path.iterdir()]


# ---------------------------------------------------------------------------------- the real file


def test_the_recording_is_read_and_survives_being_written(real_data, tmp_path):
    motion = read_bvh(real_data("mocap_bvh/131_01.bvh"))
    skeleton = motion.skeleton
    assert motion.values.shape == (994, 96)
    assert sum(bool(joint.channels) for joint in skeleton.joints) == 31
    assert len(skeleton.joints) == 38
    assert motion.name == "131_01"
    assert motion.frame_rate == pytest.approx(120, rel=1e-5)
    np.testing.assert_allclose(motion.values[0, :3], [5.23, 16.9002, -33.8986])
    np.testing.assert_allclose(np.degrees(motion.values[0, 3:6]), [-5.4029, 9.8098, 10.4956])
    heights = motion.positions()[:, :, 1]
    highest = heights[:, skeleton.names.index("Head tip")]
    assert (highest > heights[:, skeleton.names.index("LeftToe")]).all()
    assert_same(read_again(tmp_path, motion), motion)


def test_the_recording_cut_in_the_middle_gives_half_of_it(real_data, tmp_path):
    content = real_data("mocap_bvh/131_01.bvh").read_bytes()
    with pytest.warns(UserWarning, match=r"some\.bvh:\d+: the file ends after \d+ of 994 frames"):
        half = read(tmp_path, content[: len(content) // 2])
    whole = read_bvh(real_data("mocap_bvh/131_01.bvh"))
    assert 450 < len(half) < 550
    assert (half.values == whole.values[: len(half)]).all()


@pytest.mark.parametrize("channels", [("tx", "ty", "tz", "rx", "rz"), ("tz",), ("ry", "ty"), ()])
@pytest.mark.parametrize("fixed_axes", [False, True])
@pytest.mark.parametrize(("up", "axes"), [("x", (2, 0, 1)), ("y", (0, 1, 2)), ("z", (1, 2, 0))])
def test_in_a_file_y_points_upwards(up, axes, fixed_axes, channels, tmp_path):
    """Of a body whose third axis is up, what was y becomes x, z becomes y and x becomes z."""
    arm = Joint("arm", 0, (1, 2, 3), ("ty", "rx", "ry"))
    root = Joint("root", -1, (4, 5, 6), channels)
    skeleton = Skeleton([root, arm, Joint("hand", 1, (0, 0, 2))], fixed_axes, up)
    values = np.random.default_rng(1).normal(size=(7, len(skeleton.channels)))
    motion = Motion(skeleton, values, frame_rate=50)
    write_bvh(tmp_path / "a.bvh", motion)
    again = read_bvh(tmp_path / "a.bvh")
    assert again.skeleton.up == "y"
    np.testing.assert_allclose(again.positions(), motion.positions()[..., axes], atol=1e-9)
