import random
import re
import warnings

import numpy as np
import pytest
from fuzz import mutated
from scipy.io import loadmat

from seqebm.data.mocap import Joint, Motion, Skeleton, acclaim
from seqebm.data.mocap.acclaim import read_amc, read_asf, write_amc, write_asf

BODY = """\
# a body of four bones
:version 1.10
:name body
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
  nothing that begin or end or root 1 would change
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 1 2 3
  orientation 0 0 0
:bonedata
  begin
    id 1
    name hip
    direction 0.6 -0.8 0
    length 5
    axis 0 0 0 XYZ
  end
  begin
    id 2
    name thigh
    direction 0 -1 0
    length 8
    axis 10 -20 30 XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70 70)
           (-inf inf)
    bodymass 2
    cofmass 1
  end
  begin
    id 3
    name toe
    direction 0 0 1
    length 1.5
    axis 40 50 60 ZXY
    dof rz
  end
  begin
    id 4
    name arm
    direction 1 0 0
    length 2
    axis 0 0 0 XYZ
    dof rz rx
  end
:hierarchy
  begin
    root arm hip
    hip thigh
    thigh toe
  end
"""
WALK = """\
#!OML:ASF body.asf
:FULLY-SPECIFIED
:DEGREES
9
root 1 2 3 10 20 30
arm 90 90
thigh 11 -22 33
toe 4
10
root -1.5 .5 2e1 -10 +200 0.25
arm 0 0
thigh 1 2 3
toe -5
11
root 0 0 0 0 0 0
arm -3 4
thigh 3 2 1
toe 0
"""
WALK_VALUES = [
    [1, 2, 3, 10, 20, 30, 90, 90, 11, -22, 33, 4],
    [-1.5, 0.5, 20, -10, 200, 0.25, 0, 0, 1, 2, 3, -5],
    [0, 0, 0, 0, 0, 0, -3, 4, 3, 2, 1, 0],
]
LENGTHS = [True] * 3 + [False] * 9  # which of them are


def asf(tmp_path, content):
    return read_asf(written(tmp_path / "body.asf", content))


def amc(tmp_path, content, **options):
    """The motion of the body that some text says."""
    written(tmp_path / "body.asf", BODY)
    return read_amc(written(tmp_path / "body_1.amc", content), **options)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def edited(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def assert_same(one, other, rtol=1e-12):
    """Two skeletons are, to within rounding."""
    assert one.names == other.names
    assert (one.fixed_axes, one.up) == (other.fixed_axes, other.up)
    assert (one.metres is None) == (other.metres is None)
    np.testing.assert_allclose(one.metres or 1, other.metres or 1, rtol=1e-12)
    for a, b in zip(one.joints, other.joints, strict=True):
        assert (a.parent, a.channels) == (b.parent, b.channels)
        np.testing.assert_allclose(a.offset, b.offset, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(a.axes, b.axes, rtol=0, atol=rtol)
        assert np.shape(a.limits) == np.shape(b.limits)
        np.testing.assert_allclose(a.limits, b.limits, rtol=rtol)


def turn(axis, degrees):
    """The matrix of a rotation about one axis."""
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]),
        "y": np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]),
        "z": np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]),
    }[axis]


def turns(order, degrees):
    """One rotation after another about fixed axes."""
    matrix = np.eye(3)
    for axis, angle in zip(order, degrees, strict=True):
        matrix = turn(axis, angle) @ matrix
    return matrix


# --- skeletons ---


def test_bones_become_joints_at_their_starts(tmp_path):
    skeleton = asf(tmp_path, BODY)
    assert skeleton.fixed_axes
    assert skeleton.up == "y"
    assert skeleton.metres == 0.0254 / 0.45
    joints = skeleton.joints
    assert skeleton.names == ["root", "arm", "arm tip", "hip", "thigh", "toe", "toe tip"]
    assert [joint.parent for joint in joints] == [-1, 0, 1, 0, 3, 4, 5]
    offsets = [[1, 2, 3], [0, 0, 0], [2, 0, 0], [0, 0, 0], [3, -4, 0], [0, -8, 0], [0, 0, 1.5]]
    assert [joint.offset.tolist() for joint in joints] == offsets
    assert joints[0].channels == ("tx", "ty", "tz", "rx", "ry", "rz")
    assert [joint.channels for joint in joints[1:]] == [
        ("rz", "rx"),
        (),
        (),
        ("rx", "ry", "rz"),
        ("rz",),
        (),
    ]
    limits = np.radians([[-160, 20], [-70, 70], [-np.inf, np.inf]])
    np.testing.assert_allclose(joints[4].limits, limits)
    assert not any(joint.limits for joint in (*joints[:4], *joints[5:]))
    np.testing.assert_allclose(joints[4].axes, turns("xyz", [10, -20, 30]), atol=1e-15)
    np.testing.assert_allclose(joints[5].axes, turns("zxy", [40, 50, 60]), atol=1e-15)
    for number in (0, 1, 2, 3, 6):
        assert (joints[number].axes == np.eye(3)).all()


@pytest.mark.parametrize(
    "spelt",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "   # begin\n\n  # name x\n\t\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("(", "").replace(")", "").replace("0 0 1\n", "0,0, 1\n"),
        lambda text: text.replace("20.0)\n", "20.0) ").replace("70)\n", "70) "),
        lambda text: text.replace("    limits ", "    limits\n     "),
        lambda text: text.replace("thigh toe", "thigh toe\n    root").replace("root arm hip", ""),
        lambda text: re.sub(
            r":\w+|begin|end|root|(?<=  )(name|dof|axis|limits|r[xyz]|XYZ|angle|deg|length)\b",
            lambda word: word[0].swapcase(),
            text,
        ),
    ],
    ids=[
        *("CRLF", "CR", "byte order mark", "comments and blank lines", "no last line end"),
        *("blanks of other kinds", "limits on one line", "limits on their own lines"),
        *("root without bones", "cases"),
    ],
)
def test_the_same_skeleton_can_be_spelt_in_many_ways(tmp_path, spelt):
    text = spelt(BODY)
    if "root arm hip" not in text.lower():
        text = text.replace("    root\n", "    root arm\n    root hip\n")
    assert_same(asf(tmp_path, text), asf(tmp_path, BODY))


def test_the_root_has_its_own_order_and_orientation(tmp_path):
    text = edited(BODY, "order TX TY TZ RX RY RZ", "order RZ TY RX")
    text = edited(text, "axis XYZ", "axis YZX")
    root = asf(tmp_path, edited(text, "orientation 0 0 0", "orientation 10 20 30")).joints[0]
    assert root.channels == ("rz", "ty", "rx")
    np.testing.assert_allclose(root.axes, turns("yzx", [10, 20, 30]), atol=1e-15)


def test_angles_can_be_radians(tmp_path):
    text = edited(BODY, "angle deg", "angle rad")
    for degrees, kind in (("10 -20 30", "axis"), ("40 50 60", "axis"), ("-160.0 20.0", "limits")):
        radians = " ".join(repr(float(np.radians(float(word)))) for word in degrees.split())
        text = re.sub(rf"({kind} \(?){re.escape(degrees)}", rf"\g<1>{radians}", text)
    text = edited(text, "(-70 70)", f"({-np.radians(70)} {np.radians(70)})")
    assert_same(asf(tmp_path, text), asf(tmp_path, BODY))


def test_without_units_the_length_is_unknown_and_angles_are_degrees(tmp_path):
    units = ":units\n  mass 1.0\n  length 0.45\n  angle deg\n"
    skeleton = asf(tmp_path, edited(BODY, units, ""))
    assert skeleton.metres is None
    np.testing.assert_allclose(skeleton.joints[4].axes, turns("xyz", [10, -20, 30]), atol=1e-15)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# a body of four bones", "some words", ":1: expected a section"),
        (":version 1.10", ":units", ":4: expected ':units' once"),
        ("angle deg", "angle grad", ":7: expected 'angle deg' or 'angle rad', got 'angle grad'"),
        ("angle deg", "angle", ":7: expected 'angle deg'"),
        ("length 0.45", "length 0", ":6: expected 'length' and a positive number"),
        ("length 0.45", "length one", ":6: expected 'length' and finite numbers"),
        ("length 0.45", "length 1e-320", "metres"),
        ("order TX", "order TX TX", ":11: expected 'order' and any of tx ty tz rx ry rz, each"),
        ("order TX", "order L", ":11: expected 'order'"),
        ("position 1 2 3", "position 1 2", ":13: expected 'position' and 3 numbers"),
        ("position 1 2 3", "position 1 2 nan", ":13: expected 'position' and finite"),
        ("axis XYZ\n  position", "axis XYX\n  position", ":12: expected an order of axes"),
        ("axis XYZ\n  position", "position", ":13: expected an 'axis' with"),
        ("axis XYZ\n  position", "axis XYZ\n  axis XYZ\n  position", ":13: expected 'axis' once"),
        (":root\n", ":rot\n", ": expected a section :root, got the end"),
        (":hierarchy\n", ":tree\n", ": expected a section :hierarchy, got the end"),
        (":bonedata\n  begin\n", ":bonedata\n", ":16: expected 'begin'"),
        ("    name hip\n", "", ":21: expected 'name' of the bone before its end, got 'end'"),
        ("    direction 0.6 -0.8 0\n", "", ":21: expected 'direction'"),
        ("    length 5\n", "", ":21: expected 'length'"),
        ("    axis 0 0 0 XYZ\n", "", ":21: expected 'axis'"),
        ("    name hip\n", "    name left hip\n", ":18: expected 'name' and one word"),
        ("name thigh", "name hip", ":25: expected another name, which is not taken"),
        ("name hip", "name Root", ":18: expected another name"),
        ("  end\n  begin\n    id 2", "  begin\n    id 2", ":22: expected 'end' of the bone"),
        ("  end\n:hierarchy", ":hierarchy", ":50: expected 'end' of the bone after this"),
        ("0.6 -0.8 0", "0.6 -0.8 0 1", ":19: expected 'direction' and 3 numbers"),
        ("0.6 -0.8 0", "0.6 -0.8 inf", ":19: expected 'direction' and finite numbers"),
        ("0.6 -0.8 0", "0.6 -0.8 1_0", ":19: expected 'direction' and finite numbers"),
        ("length 5", "length -5", ":20: expected a length"),
        ("0.6 -0.8 0\n    length 5", "100 0 0\n    length 1e307", ":20: expected a length"),
        ("0 0 0 XYZ", "0 0 XYZ", ":21: expected 'axis' and 3 numbers"),
        ("0 0 0 XYZ", "0 0 0 0 XYZ", ":21: expected 'axis' and 3 numbers"),
        ("0 0 0 XYZ", "0 0 0", ":21: expected 'axis' and 3 numbers"),
        ("0 0 0 XYZ", "0 0 0 XY", ":21: expected an order of axes"),
        ("dof rz rx", "dof rz rz", ":50: expected 'dof' and any of rx ry rz, each once"),
        ("dof rz rx", "dof rz l", ":50: expected 'dof'"),
        ("dof rz rx", "dof tx", ":50: expected 'dof'"),
        ("           (-70 70)\n", "", ":30: expected 'limits' and 3 pairs"),
        ("(-70 70)", "(nan 70)", ":30: expected 'limits' and 3 pairs"),
        ("(-70 70)", "(-70 70 1)", ":30: expected 'limits' and 3 pairs"),
        ("root arm hip", "arm hip", ":18: expected a bone that hangs on the root"),
        ("root arm hip", "root arm arm hip", ":54: expected bones that hang nowhere yet"),
        ("root arm hip", "root arm", ":18: expected a bone that hangs on the root"),
        ("root arm hip", "root arm tail", ":54: expected the root or bones"),
        ("thigh toe", "thigh toe\n    toe root", ":57: expected bones that hang nowhere yet"),
        ("thigh toe", "thigh toe\n    toe hip", ":57: expected bones that hang nowhere yet"),
        ("root arm hip\n    hip", "root arm\n    thigh hip\n    hip", ":18: expected a bone that"),
        ("thigh toe", "toe toe", ":38: expected a bone that hangs on the root"),
        ("thigh toe", "thighs toe", ":56: expected the root or bones of :bonedata, which 'thigh"),
    ],
)
def test_what_is_wrong_with_a_skeleton_is_said_with_its_line(tmp_path, old, new, message):
    text = edited(BODY, old, new).replace("orientation 0 0 0", "orientation 0 0 1")
    with pytest.raises(ValueError, match=f"body.asf.*{re.escape(message)}"):
        asf(tmp_path, text)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\0" * 3000, bytes(range(256)) * 20, b"x" * 3_000_000, BODY.encode("utf-16")],
    ids=["empty", "blank", "zeros", "bytes", "long line", "UTF-16"],
)
def test_files_that_are_no_text_of_this_kind_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"body.asf:\d+: "):
        asf(tmp_path, content)
    with pytest.raises(ValueError, match=r"body_1.amc:\d+: "):
        amc(tmp_path, content)


def test_a_file_must_be_there(tmp_path):
    for path in (tmp_path / "none.asf", tmp_path / "none.amc"):
        with pytest.raises(FileNotFoundError, match="none"):
            (read_asf if path.suffix == ".asf" else read_amc)(path)
    with pytest.raises(ValueError, match="not a file"):
        read_asf(tmp_path)


def test_a_deep_skeleton_is_read(tmp_path):
    names = [f"b{number}" for number in range(1500)]
    bones = [
        f"begin\nname {name}\ndirection 0 1 0\nlength 1\naxis 0 0 0 XYZ\nend" for name in names
    ]
    tree = [f"{a} {b}" for a, b in zip(["root", *names], names, strict=False)]
    text = "\n".join([":root", "order", ":bonedata", *bones, ":hierarchy", "begin", *tree, "end"])
    skeleton = asf(tmp_path, text)
    assert skeleton.names == ["root", *names, "b1499 tip"]


# --- motions ---


def test_a_motion_in_degrees_becomes_radians(tmp_path):
    motion = amc(tmp_path, WALK)
    assert (motion.first_frame, motion.frame_rate, motion.name) == (9, 120, "body_1")
    expected = np.where(LENGTHS, WALK_VALUES, np.radians(WALK_VALUES))
    np.testing.assert_allclose(motion.values, expected, rtol=1e-15)
    assert_same(motion.skeleton, asf(tmp_path, BODY))


def test_a_motion_can_be_in_radians(tmp_path):
    motion = amc(tmp_path, edited(WALK, ":DEGREES", ":Radians"))
    assert motion.values.tolist() == WALK_VALUES


def test_degrees_need_not_be_said(tmp_path):
    motion = amc(tmp_path, edited(WALK, ":FULLY-SPECIFIED\n:DEGREES\n", ""))
    np.testing.assert_allclose(motion.values, amc(tmp_path, WALK).values)


def test_positions_follow_the_classical_formula(tmp_path):
    """The end of a bone = the end of its parent + G C R Cᵀ · direction · length."""
    motion = amc(tmp_path, WALK)
    names = motion.skeleton.names
    places = motion.positions()
    for time, row in enumerate(np.array(WALK_VALUES)):
        root, place = turns("xyz", row[3:6]), row[:3]
        arm = root @ turns("zx", row[6:8])
        hip_end = place + root @ [3, -4, 0]
        c = turns("xyz", [10, -20, 30])
        thigh = root @ c @ turns("xyz", row[8:11]) @ c.T
        thigh_end = hip_end + thigh @ [0, -8, 0]
        c = turns("zxy", [40, 50, 60])
        toe = thigh @ c @ turns("z", row[11:]) @ c.T
        expected = {
            "root": place,
            "arm": place,
            "arm tip": place + arm @ [2, 0, 0],
            "hip": place,
            "thigh": hip_end,
            "toe": thigh_end,
            "toe tip": thigh_end + toe @ [0, 0, 1.5],
        }
        np.testing.assert_allclose(places[time], [expected[name] for name in names], atol=1e-12)


def test_rotations_are_applied_in_the_order_of_dof_about_fixed_axes(tmp_path):
    still = re.sub(r"root .*", "root 0 0 0 0 0 0", WALK)
    motion = amc(tmp_path, still)
    # by hand: x turns to y about z, then y turns to z about x
    np.testing.assert_allclose(motion.positions()[0, 2], [0, 0, 2], atol=1e-12)
    written(tmp_path / "other.asf", edited(BODY, "dof rz rx", "dof rx rz"))
    other = read_amc(tmp_path / "body_1.amc", tmp_path / "other.asf")
    # about x nothing changes, then x turns to y about z
    np.testing.assert_allclose(other.positions()[0, 2], [0, 2, 0], atol=1e-12)


@pytest.mark.parametrize(
    "spelt",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", " \n\n"),
        lambda text: text.replace("\n", "\t# 12\n # 12\n"),
        lambda text: text.replace("\n", " # twelve\n", 14),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("arm ", "  arm  \t"),
        lambda text: text.replace("root", "ROOT"),
        lambda text: edited(text, "arm 0 0\nthigh 1 2 3\n", "thigh 1 2 3\narm 0 0\n"),
        lambda text: re.sub(r"(root.*\n)(arm.*\n)", r"\2\1", text),
        lambda text: "\ufeff" + text + "\n\n",
    ],
    ids=[
        *("CRLF", "CR", "blank lines", "comments", "comments in the first frames"),
        *("no last line end", "blanks", "root in capitals", "one frame in another order"),
        *("all frames in another order", "byte order mark"),
    ],
)
def test_the_same_motion_can_be_spelt_in_many_ways(tmp_path, spelt):
    motion = amc(tmp_path, spelt(WALK))
    assert motion.first_frame == 9
    assert motion.values.tolist() == amc(tmp_path, WALK).values.tolist()


def long_walk(frames):
    body = WALK[WALK.index("root") : WALK.index("\n10\n")]
    return ":DEGREES\n" + "".join(f"{number - 3}\n{body}\n" for number in range(frames))


@pytest.mark.parametrize("block", [1, 50, 83, 1000])
def test_frames_are_read_in_blocks_of_any_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr(acclaim, "_BLOCK", block)
    motion = amc(tmp_path, long_walk(100))
    assert motion.first_frame == -3
    expected = np.where(LENGTHS, WALK_VALUES[0], np.radians(WALK_VALUES[0]))
    np.testing.assert_allclose(motion.values, np.tile(expected, (100, 1)), rtol=1e-15)


@pytest.mark.parametrize("block", [50, 200, 2**20])
@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("toe 4", "toe 4 5", 5, "'toe' and 1 numbers, got 'toe 4 5'"),
        ("toe 4", "toe", 5, "'toe' and 1 numbers"),
        ("toe 4", "toe nan", 5, "'toe' and finite numbers"),
        ("toe 4", "toe inf", 5, "'toe' and finite numbers"),
        ("toe 4", "toe 1e999", 5, "'toe' and finite numbers"),
        ("toe 4", "toe 1-2", 5, "'toe' and finite numbers"),
        ("toe 4", "toe four", 5, "'toe' and finite numbers"),
        ("toe 4", "toe 4_0", 5, "'toe' and finite numbers"),
        ("toe 4", "tail 4", 5, "in frame 46 still 'toe', got 'tail 4'"),
        ("arm 90 90", "hip 1", 3, "in frame 46 still 'arm', 'thigh', 'toe'"),
        ("arm 90 90", "toe tip", 3, "'toe' and finite numbers"),
        ("arm 90 90\n", "", 5, "in frame 46 still 'arm', got '47"),
        ("toe 4", "arm 4 4", 5, "in frame 46 still 'toe'"),
        ("toe 4", "toe 4\ntail 1", 6, "the number of a frame, got 'tail 1'"),
        ("toe 4\n47\n", "toe 4\n48\n", 6, "the number 47 of the next frame, got '48'"),
        ("toe 4\n47\n", "toe 4\n4.7\n", 6, "the number of a frame, got '4.7'"),
        ("toe 4\n47\n", "toe 4\n" + "9" * 9999 + "\n", 6, "the number of a frame, got '9"),
        ("toe 4", "toe 4\n:DEGREES", 6, "the number of a frame, got ':DEGREES'"),
    ],
)
def test_the_line_of_an_error_deep_in_a_motion_is_found(
    tmp_path, monkeypatch, block, old, new, line, message
):
    monkeypatch.setattr(acclaim, "_BLOCK", block)
    text = long_walk(100)
    start = text.index("\n46\n") + 1
    text = text[:start] + edited(text[start:], old, new)
    number = text[:start].count("\n") + line
    with pytest.raises(ValueError, match=re.escape(f"body_1.amc:{number}: expected {message}")):
        amc(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":DEGREES\n", ":1: expected the number of a frame, got the end"),
        (":DEGREES\n1\n", ":2: expected more of frame 1, got the end"),
        (":DEGREES\n1\nroot 1 2 3 4 5 6\narm 1 2\nthigh 1 2 3\nto", ":6: expected in frame 1"),
        ("walking\n1\n", ":1: expected the number of a frame, got 'walking'"),
        (":SAMPLES-PER-SECOND 0\n1\n", ":1: expected ':SAMPLES-PER-SECOND' and a positive"),
        (":SAMPLES-PER-SECOND many\n1\n", ":1: expected ':SAMPLES-PER-SECOND' and finite"),
    ],
)
def test_a_motion_without_a_frame_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        amc(tmp_path, text)


def test_a_file_cut_anywhere_keeps_its_whole_frames(tmp_path):
    """A cut in the last number of a frame cannot be seen: it may have been the last of all."""
    whole = amc(tmp_path, WALK).values
    for end in range(WALK.index("\n10\n") + 2, len(WALK)):
        text = WALK[:end]
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            motion = amc(tmp_path, text)
        frames = 1 + ("\ntoe -5" in text) + text.endswith("\ntoe 0")
        np.testing.assert_array_equal(motion.values, whole[:frames])
        if text.endswith(("\ntoe -5", "\ntoe -5\n", "\ntoe 0")):
            assert not given
        else:
            (warning,) = given
            lines = len(text.splitlines())
            assert f"body_1.amc:{lines}: expected" in str(warning.message)
            assert (warning.category, warning.filename) == (UserWarning, __file__)


def test_only_what_a_cut_can_explain_is_forgiven_at_the_end(tmp_path):
    for end in ("toe 0 0", "toe nan", "tail 1", "toe x"):
        with pytest.raises(ValueError, match=r"body_1.amc:18: expected"):
            amc(tmp_path, edited(WALK, "toe 0\n", end))
    with pytest.raises(ValueError, match=r"body_1.amc:18: expected"):
        amc(tmp_path, edited(WALK, "toe 0\n", "to\n"))


@pytest.mark.parametrize(
    ("said", "given", "expected"), [(None, None, 120), (60, None, 60), (60, 30.0, 30)]
)
def test_the_frame_rate_is_that_of_the_call_or_of_the_file_or_120(tmp_path, said, given, expected):
    text = WALK if said is None else f":Samples-per-second {said}\n{WALK}"
    assert amc(tmp_path, text, frame_rate=given).frame_rate == expected


def test_a_frame_rate_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="frame_rate"):
        amc(tmp_path, WALK, frame_rate=0)


# --- finding the skeleton ---


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["35_01.asf", "35.asf", "x.asf", "../35_01.asf"], "35_01.asf"),
        (["35.asf", "x.asf", "../35_01.asf"], "35.asf"),
        (["x.ASF", "../35.asf"], "x.ASF"),
        (["x.asf", "y.asf", "../35_01.asf", "../35.asf"], "../35_01.asf"),
        (["../35.asf", "../x.asf"], "../35.asf"),
        (["../x.asf"], "../x.asf"),
    ],
)
def test_the_skeleton_is_looked_for_beside_the_motion(tmp_path, monkeypatch, files, expected):
    folder = tmp_path / "trials"
    folder.mkdir()
    written(folder / "35_01.amc", WALK)
    for number, file in enumerate(files, start=1):
        written(folder / file, edited(BODY, "length 0.45", f"length {number}"))
    wanted = 0.0254 / (files.index(expected) + 1)
    assert read_amc(folder / "35_01.amc").skeleton.metres == wanted
    monkeypatch.chdir(folder)
    assert read_amc("35_01.amc").skeleton.metres == wanted


def test_without_a_skeleton_what_was_looked_for_is_said(tmp_path):
    path = written(tmp_path / "trials_35_01.amc", WALK)
    for name in ("x.asf", "y.asf"):
        written(tmp_path / name, BODY)
    message = "trials_35_01.asf or trials_35.asf and not exactly one .asf in"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_amc(path)


def test_a_skeleton_can_be_given(tmp_path):
    path = written(tmp_path / "walk.amc", WALK)
    skeleton = asf(tmp_path, BODY)
    written(tmp_path / "other.asf", "nothing")
    assert read_amc(path, skeleton).skeleton is skeleton
    assert_same(read_amc(path, str(tmp_path / "body.asf")).skeleton, skeleton)
    with pytest.raises(ValueError, match=r"other\.asf:1: expected a section"):
        read_amc(path, tmp_path / "other.asf")


# --- writing ---


def test_a_skeleton_is_read_back_as_it_was_written(tmp_path):
    text = edited(BODY, "orientation 0 0 0", "orientation 10 20 30")
    skeleton = asf(tmp_path, edited(text, "(-70 70)", "(-70.1 1e-3)"))
    write_asf(tmp_path / "again.asf", skeleton)
    assert_same(read_asf(tmp_path / "again.asf"), skeleton)


@pytest.mark.parametrize("middle", ["90", "-90", "89.9999999", "-90.00001", "1e-9"])
@pytest.mark.parametrize("order", ["XYZ", "YZX", "ZYX"])
def test_axes_are_kept_where_euler_angles_are_not_unique(tmp_path, middle, order):
    skeleton = asf(tmp_path, edited(BODY, "10 -20 30 XYZ", f"30 {middle} 50 {order}"))
    write_asf(tmp_path / "again.asf", skeleton)
    assert_same(read_asf(tmp_path / "again.asf"), skeleton)


def test_a_skeleton_of_a_root_only_and_unknown_unit_is_kept(tmp_path):
    skeleton = Skeleton([Joint("root", -1, (1, 2, 3), ("ry",))], fixed_axes=True)
    write_asf(tmp_path / "root.asf", skeleton)
    assert_same(read_asf(tmp_path / "root.asf"), skeleton)


def test_a_bone_without_length_is_kept(tmp_path):
    skeleton = asf(tmp_path, edited(BODY, "length 8", "length 0"))
    write_asf(tmp_path / "again.asf", skeleton)
    assert_same(read_asf(tmp_path / "again.asf"), skeleton)


def test_names_of_any_letters_are_kept(tmp_path):
    for name in ("Hüfte", b"h\xfcfte".decode(errors="surrogateescape")):
        text = BODY.replace("thigh", name).encode(errors="surrogateescape")
        skeleton = asf(tmp_path, text)
        assert name in skeleton.names
        write_asf(tmp_path / "again.asf", skeleton)
        assert_same(read_asf(tmp_path / "again.asf"), skeleton)
        values = np.ones((2, 12))
        write_amc(tmp_path / "again.amc", Motion(skeleton, values, 120))
        np.testing.assert_allclose(read_amc(tmp_path / "again.amc", skeleton).values, values)


ROOT = Joint("root", -1, channels=("tx", "ry"))
LEG = Joint("leg", 0, channels=("rx",))
TIP = Joint("leg tip", 1, (0, -1, 0))


@pytest.mark.parametrize(
    ("joints", "options", "message"),
    [
        ([ROOT, LEG, TIP], {"fixed_axes": False}, "fixed_axes=False"),
        ([ROOT, LEG, TIP], {"up": "z"}, "z-up"),
        ([Joint("hips", -1), LEG, TIP], {}, "'hips'"),
        ([Joint("root", -1, channels=("rx",), limits=((0, 1),)), LEG, TIP], {}, "no limits"),
        ([ROOT, Joint("leg", 0, (1, 0, 0)), TIP], {}, "'leg' must start at the root"),
        ([ROOT, LEG], {}, "'leg' has 0"),
        ([ROOT, LEG, TIP, Joint("toe", 1, (1, 0, 0)), Joint("toe tip", 3)], {}, "'leg' has 2"),
        ([ROOT, LEG, Joint("end", 1, (0, 1, 0))], {}, "'end' has 0"),
        ([ROOT, Joint("my leg", 0), Joint("my leg tip", 1)], {}, "'my leg'"),
        ([ROOT, Joint("leg#", 0), Joint("leg# tip", 1)], {}, "'leg#'"),
        ([ROOT, Joint(":leg", 0), Joint(":leg tip", 1)], {}, "':leg'"),
        ([ROOT, Joint("", 0), Joint(" tip", 1)], {}, "the name ''"),
        ([ROOT, Joint("leg", 0, channels=("tx",)), TIP], {}, "'leg' also moves"),
        ([ROOT, LEG, Joint("leg tip", 1, axes=np.diag([1, -1, -1]))], {}, "'leg tip'"),
    ],
)
def test_skeletons_that_the_format_cannot_hold_are_not_written(tmp_path, joints, options, message):
    skeleton = Skeleton(joints, **{"fixed_axes": True, **options})
    with pytest.raises(ValueError, match=message):
        write_asf(tmp_path / "no.asf", skeleton)
    assert not list(tmp_path.iterdir())


def test_a_motion_is_read_back_as_it_was_written(tmp_path):
    skeleton = asf(tmp_path, BODY)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 12)) * 10.0 ** rng.integers(-12, 12, (50, 12))
    write_amc(tmp_path / "body.amc", Motion(skeleton, values, 29.97, first_frame=-7))
    motion = read_amc(tmp_path / "body.amc")
    np.testing.assert_allclose(motion.values, values, rtol=1e-15)
    np.testing.assert_array_equal(motion.values[:, :3], values[:, :3])
    assert (motion.frame_rate, motion.first_frame) == (29.97, -7)
    text = (tmp_path / "body.amc").read_text()
    assert "tip" not in text
    assert "hip" not in text


def test_motions_that_the_format_cannot_hold_are_not_written(tmp_path):
    turning = Motion(Skeleton([ROOT]), np.zeros((1, 2)), 30)
    with pytest.raises(ValueError, match="fixed_axes=False"):
        write_amc(tmp_path / "no.amc", turning)
    named = Skeleton([Joint("my root", -1, channels=("rx",))], fixed_axes=True)
    with pytest.raises(ValueError, match="'my root'"):
        write_amc(tmp_path / "no.amc", Motion(named, np.zeros((1, 1)), 30))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    skeleton = asf(tmp_path, BODY)
    with pytest.raises(OSError, match="cannot be written"):
        write_asf(tmp_path / "none" / "body.asf", skeleton)


# --- damage ---


@pytest.mark.parametrize(("kind", "whole"), [("asf", BODY), ("amc", WALK)])
def test_damaged_files_are_read_or_refused(tmp_path, monkeypatch, kind, whole):
    """No other error, and no hang.

    Each loop of the readers takes a line, a match that is not empty or a bone that no other turn
    takes, and no part of a pattern can match what the part after it does.
    """
    monkeypatch.setattr(acclaim, "_BLOCK", 100)
    rng = random.Random(0)
    skeleton = asf(tmp_path, BODY)
    refusals = []
    for number in range(3000):
        path = tmp_path / f"{number}.{kind}"
        content = whole.encode()
        for _ in range(rng.choice([1, 1, 3])):
            content = mutated(content, rng) if content.split() else b""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                if kind == "asf":
                    read_asf(written(path, content))
                else:
                    read_amc(written(path, content), skeleton)
        except ValueError as error:
            refusals.append(str(error))
    assert 500 < len(refusals) < 3000
    assert all(message.startswith(str(tmp_path)) for message in refusals)


# --- recordings ---


def test_all_recordings_can_be_read(real_data):
    paths = [*real_data("mocap_cmu35").parent.glob("mocap_*/**/*.amc")]
    assert paths
    for path in paths:
        motion = read_amc(path)
        number = motion.first_frame + len(motion) - 1
        last = re.findall(rb"^\d+\r?$", path.read_bytes(), re.MULTILINE)[-1]
        assert int(last) == number
        # people: all joints within two metres of the root, on or above the ground
        places = motion.positions() * motion.skeleton.metres
        reach = np.linalg.norm(places - places[:, :1], axis=-1).max()
        assert 0.8 < reach < 2
        assert -0.5 < places[..., 1].min() < 0.5


def test_a_recording_equals_what_others_read_in_it(real_data):
    motion = read_amc(real_data("mocap_cmu35/35_01.amc"))
    assert (motion.values.shape, motion.first_frame, motion.name) == ((358, 62), 1, "35_01")
    others = loadmat(real_data("mocap_cmu35/cmu35WalkJog.mat"))
    trial = others["Y"][others["lbls"][:, 0] == 1]
    joints = [joint for joint in motion.skeleton.joints if joint.channels]
    # the order that is told beside the file
    order = """
        root lfemur ltibia lfoot ltoes rfemur rtibia rfoot rtoes lowerback upperback thorax
        lowerneck upperneck head lclavicle lhumerus lradius lwrist lhand lfingers lthumb
        rclavicle rhumerus rradius rwrist rhand rfingers rthumb
    """
    assert [joint.name for joint in joints] == order.split()
    degrees = np.where(np.arange(62) < 3, motion.values, np.degrees(motion.values))
    np.testing.assert_allclose(degrees[::4], trial, rtol=0, atol=1e-9)


def test_skeletons_of_recordings_are_kept(real_data, tmp_path):
    paths = [*real_data("mocap_cmu35").parent.glob("mocap_*/*.asf")]
    assert paths
    for path in paths:
        skeleton = read_asf(path)
        assert len(skeleton.joints) == 1 + 30 + 7
        assert skeleton.metres == pytest.approx(0.0254 / 0.45)
        write_asf(tmp_path / "again.asf", skeleton)
        assert_same(read_asf(tmp_path / "again.asf"), skeleton)


def test_a_recording_is_kept(real_data, tmp_path):
    motion = read_amc(real_data("mocap_amc_other/07_01.amc"))
    write_amc(tmp_path / "again.amc", motion)
    again = read_amc(tmp_path / "again.amc", motion.skeleton)
    np.testing.assert_allclose(again.values, motion.values, rtol=1e-12)


def test_a_recording_stands_where_the_classical_formula_says(real_data):
    """Bone after bone from the text of the files, with nothing of the library."""
    path = real_data("mocap_amc_other/49_18.amc")
    motion = read_amc(path)
    places = motion.positions()
    bones, tree = classical_skeleton((path.parent / "49.asf").read_text())
    frames = re.split(r"\n\d+\n", path.read_text())[1:]
    for time in range(0, len(motion), 100):
        said = {line.split()[0]: line.split()[1:] for line in frames[time].splitlines()}
        ends, axes = classical_pose(bones, tree, said)
        for number, joint in enumerate(motion.skeleton.joints[1:], start=1):
            parent = motion.skeleton.joints[joint.parent].name
            np.testing.assert_allclose(places[time, number], ends[parent], atol=1e-9)
        assert set(axes) == {"root", *bones}


def classical_skeleton(text):
    """direction · length, axis and dof of the bones by their names, and (parent, child) pairs."""
    bones = {}
    for block in re.findall(r"begin\s+id(.*?)end", text, re.DOTALL):
        said = {line.split()[0]: line.split()[1:] for line in block.splitlines() if line.strip()}
        vector = np.array(said["direction"], float) * float(said["length"][0])
        c = turns("xyz", map(float, said["axis"][:3]))
        bones[said["name"][0]] = vector, c, [word[1] for word in said.get("dof", [])]
    lines = text[text.index(":hierarchy") :].splitlines()
    pairs = [(line.split()[0], child) for line in lines for child in line.split()[1:]]
    return bones, pairs


def classical_pose(bones, pairs, said):
    """Where the bones end and how they are turned."""
    root = np.array(said["root"], float)
    ends, axes = {"root": root[:3]}, {"root": turns("xyz", root[3:])}
    for parent, child in pairs:
        vector, c, dof = bones[child]
        r = turns(dof, map(float, said.get(child, [])))
        axes[child] = axes[parent] @ c @ r @ c.T
        ends[child] = ends[parent] + axes[child] @ vector
    return ends, axes
