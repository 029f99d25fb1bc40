"""Acclaim motion capture: skeletons of bones (.asf) and how they move (.amc)."""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
from scipy.spatial.transform import Rotation

from seqebm.data.mocap.motion import (
    ROTATIONS,
    TRANSLATIONS,
    Array,
    Joint,
    Motion,
    Skeleton,
)
from seqebm.data.mocap.rotations import euler_angles, euler_rotation
from seqebm.files import atomic_path, blame, existing_file

_INCH = 0.0254  # metres
_TIP = " tip"  # no name in a file has a blank, so a tip's name is never that of a bone
_BLANKS = str.maketrans("(),", "   ")  # the format takes these for blanks
_LONGEST = 2**20  # characters of a line
_BLOCK = 2**20  # characters read at once


def read_asf(path: str | os.PathLike[str]) -> Skeleton:
    """Reads an Acclaim skeleton.

    The joint named like a bone is where the bone starts and turns the bone and all that hangs on
    it. A bone that carries no other ends in a joint "<bone> tip" without channels. Joints come in
    the order of the hierarchy, depth first.

    Args:
        path: The file (.asf). Its angles are degrees unless it says ``angle rad``.

    Returns:
        A skeleton with fixed axes, y upwards, offsets in the unit of the file and limits in
        radians. `metres` follows from the file's unit of length and is None if it names none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a skeleton, or one with a bone that has other degrees of freedom
            than rotations; the message says where, as "path:line: expected …, got …".

    Example:
        >>> import tempfile
        >>> root = Joint("root", -1, channels=("tx", "ty", "tz"))
        >>> shin = Joint("shin", 0, channels=("rx",), limits=((0, 2.5),))
        >>> leg = Skeleton([root, shin, Joint("shin tip", 1, (0, -8, 0))], fixed_axes=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_asf(f"{folder}/leg.asf", leg)
        ...     read_asf(f"{folder}/leg.asf").channels
        ['root.tx', 'root.ty', 'root.tz', 'shin.rx']
    """
    with _open_lines(existing_file(path)) as lines:
        sections = _sections(lines)
        units = _keywords(sections[":units"])
        angle = _angle_unit(units["angle"]) if "angle" in units else math.radians(1)
        bones = _bones(sections[":bonedata"], angle)
        joints = _joined(_root(sections[":root"], angle), bones, sections[":hierarchy"])
        metres = _INCH / _positive(units["length"]) if "length" in units else None
        return Skeleton(joints, fixed_axes=True, metres=metres)


def read_amc(
    path: str | os.PathLike[str],
    skeleton: Skeleton | str | os.PathLike[str] | None = None,
    frame_rate: float | None = None,
) -> Motion:
    r"""Reads an Acclaim motion.

    Args:
        path: The file (.amc). Its angles are degrees unless it says ``:RADIANS``.
        skeleton: What moves, or its file (.asf). None looks beside the motion, then in the folder
            above: for 35_01.amc that is 35_01.asf, 35.asf or, if there is one only, any .asf.
        frame_rate: Frames per second; None takes what the file says (``:SAMPLES-PER-SECOND``),
            which few do, else 120, the rate of the CMU database.

    Returns:
        A motion with one row a frame, named like the file. If the file ends in the middle of a
        frame, that one is left out with a UserWarning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no whole frame, does not fit the skeleton, is damaged or skips
            frames; the message says where, as "path:line: expected …, got …". Also if the
            skeleton cannot be found or read, or `frame_rate` is out of range.

    Example:
        >>> import tempfile
        >>> shin = Skeleton([Joint("root", -1, channels=("rx",))], fixed_axes=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "kick.amc").write_text("7\nroot 0\n8\nroot 90\n")
        ...     kick = read_amc(f"{folder}/kick.amc", shin)
        >>> kick.first_frame, kick.frame_rate, kick.values.round(4).tolist()
        (7, 120.0, [[0.0], [1.5708]])
    """
    path = existing_file(path)
    if not isinstance(skeleton, Skeleton):
        skeleton = read_asf(_skeleton_beside(path) if skeleton is None else skeleton)
    counts = {joint.name: len(joint.channels) for joint in skeleton.joints if joint.channels}
    with _open_lines(path) as lines:
        line, angle, rate = _header(lines)
        first = _frame_number(line)
        blocks = []
        try:
            for block in _frames(line, lines, counts, first):
                blocks.append(block)
        except _CutShort as cut:
            if not blocks:
                raise
            warnings.warn(f"{cut}; only the frames before are read", stacklevel=2)
        values = np.concatenate(blocks)
        values *= skeleton.scales(angle)
    return Motion(skeleton, values, rate if frame_rate is None else frame_rate, path.stem, first)


def write_asf(path: str | os.PathLike[str], skeleton: Skeleton) -> None:
    """Writes a skeleton for `read_asf`, in degrees.

    Reading it back gives the same joints, depth first, to within rounding.

    Args:
        path: The file (.asf). It is written whole or not at all.
        skeleton: Like those that `read_asf` returns.

    Raises:
        ValueError: If the format cannot hold the skeleton: if its axes turn along (those of a
            .bvh do), if it is not y-up, or if it is not made of bones that start where their
            parents end.
        OSError: If the file cannot be written.

    Example:
        See `read_asf`.
    """
    _check_writable(skeleton)
    if skeleton.up != "y":
        raise ValueError(f"skeleton: an .asf is y-up, this one is {skeleton.up}-up")
    children: list[list[int]] = [[] for _ in skeleton.joints]
    for number, joint in enumerate(skeleton.joints[1:], start=1):
        children[joint.parent].append(number)
    tips = {number for number in range(1, len(children)) if _is_tip(skeleton, children, number)}
    bones = [number for number in range(1, len(children)) if number not in tips]
    text = _root_text(skeleton, children[0])
    for number in bones:
        text += _bone_text(skeleton, number, children[number])
    text += [":hierarchy", "  begin"]
    for number in [0, *bones]:
        kept = [skeleton.joints[child].name for child in children[number] if child not in tips]
        if kept:
            text.append(f"    {skeleton.joints[number].name} {' '.join(kept)}")
    _write(path, chain(text, ["  end"]))


def write_amc(path: str | os.PathLike[str], motion: Motion) -> None:
    """Writes a motion for `read_amc`, in degrees and with its frame rate.

    Args:
        path: The file (.amc). It is written whole or not at all.
        motion: Its skeleton is not written, see `write_asf`.

    Raises:
        ValueError: If the axes of its skeleton turn along (those of a .bvh do), so that the
            angles would mean something else, or if a name has blanks.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> shin = Skeleton([Joint("root", -1, channels=("tx", "rx"))], fixed_axes=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_amc(f"{folder}/kick.amc", Motion(shin, np.array([[1.5, np.pi]]), 60))
        ...     print(Path(folder, "kick.amc").read_text())
        :SAMPLES-PER-SECOND 60.0
        :FULLY-SPECIFIED
        :DEGREES
        1
        root 1.5 180.0
        <BLANKLINE>
    """
    _check_writable(motion.skeleton)
    _write(path, _motion_text(motion))


class _CutShort(ValueError):
    """What is wrong may be that the file ends too early."""


@dataclass
class _Line:
    """A line that says something.

    Attributes:
        path: of the file.
        number: in the file, from 1.
        words: one or more, without the comment.
        unended: whether the file ends in it, maybe in the middle.
    """

    path: Path
    number: int
    words: list[str]
    unended: bool

    def wrong(self, expected: str, cut: bool = False) -> ValueError:
        """The error to raise.

        Args:
            expected: what the line should have been.
            cut: whether it would be right if the file went on.
        """
        came = " ".join(self.words)
        came = came if len(came) <= 60 else f"{came[:57]}..."
        kind = _CutShort if cut and self.unended else ValueError
        return kind(f"{self.path}:{self.number}: expected {expected}, got {came!r}")

    def numbers(self, count: int, words: Sequence[str] | None = None) -> list[float]:
        """The finite numbers in some words, else in those after the first."""
        words = self.words[1:] if words is None else words
        if len(words) != count:
            raise self.wrong(f"{self.words[0]!r} and {count} numbers", cut=len(words) < count)
        values = [_number(word) for word in words]
        if not all(map(math.isfinite, values)):
            begun = all(map(math.isfinite, values[:-1])) and words[-1][-1] in "+-.eE"
            raise self.wrong(f"{self.words[0]!r} and finite numbers", cut=begun)
        return values


class _Lines:
    """The lines of a text file that say something, one after another."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self.file = file
        self.number = 0  # of lines so far, those that say nothing included
        self._raw = iter(lambda: file.readline(_LONGEST), "")

    def __iter__(self) -> Iterator[_Line]:
        return self

    def __next__(self) -> _Line:
        for raw in self._raw:
            self.number += 1
            if len(raw) >= _LONGEST:
                raise ValueError(f"{self.path}:{self.number}: not text, a line has no end")
            words = raw.partition("#")[0].translate(_BLANKS).split()
            if words:
                return _Line(self.path, self.number, words, unended=not raw.endswith("\n"))
        raise StopIteration

    def put_back(self, text: str) -> None:
        """Gives lines, the last of them maybe begun, that were taken from `file`."""
        self._raw = chain(io.StringIO(text + self.file.readline(_LONGEST)), self._raw)

    def ended(self, expected: str) -> ValueError:
        """The error to raise when there should be more."""
        return _CutShort(f"{self.path}:{self.number}: expected {expected}, got the end of the file")


@contextmanager
def _open_lines(path: Path) -> Iterator[_Lines]:
    # any bytes can be read; those that are not UTF-8 can be part of a name that is written again
    with blame(path), path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        yield _Lines(path, file)


def _number(word: str) -> float:
    """The number, or NaN if it is none; Python's own notation is wider."""
    try:
        return float(word) if word.isascii() and "_" not in word else math.nan
    except ValueError:
        return math.nan


def _positive(line: _Line) -> float:
    (value,) = line.numbers(1)
    if value <= 0:
        raise line.wrong(f"{line.words[0]!r} and a positive number")
    return value


# --- skeletons ---


def _sections(lines: _Lines) -> dict[str, list[_Line]]:
    """The lines of each section by its name in small letters."""
    found: dict[str, list[_Line]] = {}
    section = None
    for line in lines:
        name = line.words[0].lower()
        if name.startswith(":"):
            if name in found:
                raise line.wrong(f"{name!r} once only")
            section = found[name] = []
        elif section is None:
            raise line.wrong("a section such as :units")
        else:
            section.append(line)
    for name in (":root", ":bonedata", ":hierarchy"):
        if name not in found:
            raise lines.ended(f"a section {name}")
    return {":units": [], **found}


def _keywords(lines: list[_Line]) -> dict[str, _Line]:
    """Lines by their first word in small letters; those that start with a number go on."""
    found: dict[str, _Line] = {}
    last = None
    for line in lines:
        word = line.words[0].lower()
        if last is not None and not math.isnan(_number(word)):
            last.words += line.words
            continue
        if word in found:
            raise line.wrong(f"{word!r} once only")
        last = found[word] = line
    return found


def _angle_unit(line: _Line) -> float:
    """In radians."""
    words = [word.lower() for word in line.words[1:]]
    if words not in (["deg"], ["rad"]):
        raise line.wrong("'angle deg' or 'angle rad'")
    return math.radians(1) if words == ["deg"] else 1.0


def _axes(line: _Line, angles: list[float], order: str) -> Array:
    """The rotation by angles in radians about fixed axes, one after another."""
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise line.wrong("an order of axes such as XYZ at the end")
    return euler_rotation(order.lower(), [angles], fixed_axes=True).as_matrix()[0]


def _channels(line: _Line, allowed: tuple[str, ...]) -> tuple[str, ...]:
    channels = tuple(word.lower() for word in line.words[1:])
    if not set(channels) <= set(allowed) or len(set(channels)) < len(channels):
        # translations and "l" of a bone add to its length, which a Joint's do not
        raise line.wrong(f"{line.words[0]!r} and any of {' '.join(allowed)}, each once")
    return channels


def _root(section: list[_Line], angle: float) -> Joint:
    keywords = _keywords(section)
    channels: tuple[str, ...] = ()
    position = [0.0, 0.0, 0.0]
    turn = [0.0, 0.0, 0.0]
    axes = np.eye(3)
    if "order" in keywords:
        channels = _channels(keywords["order"], TRANSLATIONS + ROTATIONS)
    if "position" in keywords:
        position = keywords["position"].numbers(3)
    if "orientation" in keywords:
        turn = [angle * value for value in keywords["orientation"].numbers(3)]
    if "axis" in keywords:
        axes = _axes(keywords["axis"], turn, "".join(keywords["axis"].words[1:]))
    elif any(turn):
        raise keywords["orientation"].wrong("an 'axis' with the order of the orientation")
    return Joint("root", -1, position, channels, axes)


@dataclass
class _Bone:
    """What a skeleton says of a bone, in radians.

    `end` is where it ends, seen from its start, and `line` is where it has its name.
    """

    name: str
    line: _Line
    end: list[float]
    axes: Array
    channels: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]


def _bones(section: list[_Line], angle: float) -> dict[str, _Bone]:
    """By their names."""
    bones: dict[str, _Bone] = {}
    inside: list[_Line] | None = None
    for line in section:
        word = line.words[0].lower()
        if inside is None:
            if word != "begin":
                raise line.wrong("'begin' of a bone")
            inside = []
        elif word == "begin":
            raise line.wrong("'end' of the bone before the next")
        elif word == "end":
            bone = _bone(_keywords(inside), angle, line)
            if bone.name in bones or bone.name.lower() == "root":
                raise bone.line.wrong("another name, which is not taken")
            bones[bone.name] = bone
            inside = None
        else:
            inside.append(line)
    if inside is not None:
        raise section[-1].wrong("'end' of the bone after this")
    return bones


def _bone(keywords: dict[str, _Line], angle: float, last: _Line) -> _Bone:
    for needed in ("name", "direction", "length", "axis"):
        if needed not in keywords:
            raise last.wrong(f"{needed!r} of the bone before its end")
    name = keywords["name"]
    if len(name.words) != 2:
        raise name.wrong("'name' and one word")
    (length,) = keywords["length"].numbers(1)
    end = [length * part for part in keywords["direction"].numbers(3)]
    if length < 0 or not all(map(math.isfinite, end)):
        raise keywords["length"].wrong("a length from 0 up of which the bone is finite")
    line = keywords["axis"]
    turn = [angle * value for value in line.numbers(3, line.words[1:-1])]
    axes = _axes(line, turn, line.words[-1])
    channels = _channels(keywords["dof"], ROTATIONS) if "dof" in keywords else ()
    limits: tuple[tuple[float, float], ...] = ()
    if "limits" in keywords:
        line = keywords["limits"]
        values = [angle * _number(word) for word in line.words[1:]]
        if len(values) != 2 * len(channels) or any(map(math.isnan, values)):
            raise line.wrong(f"'limits' and {len(channels)} pairs of numbers, one for each dof")
        limits = tuple(zip(values[::2], values[1::2], strict=True))
    return _Bone(name.words[1], name, end, axes, channels, limits)


def _joined(root: Joint, bones: dict[str, _Bone], hierarchy: list[_Line]) -> list[Joint]:
    """The joints of a skeleton, depth first."""
    children = _children(hierarchy, bones)
    joints = [root]
    waiting = [(name, 0, [0.0, 0.0, 0.0]) for name in reversed(children["root"])]
    while waiting:  # a bone hangs once at most, so each comes here once at most
        name, parent, start = waiting.pop()
        bone = bones.pop(name)
        waiting += [(child, len(joints), bone.end) for child in reversed(children[name])]
        joints.append(Joint(name, parent, start, bone.channels, bone.axes, bone.limits))
        if not children[name]:
            joints.append(Joint(name + _TIP, len(joints) - 1, bone.end))
    for bone in bones.values():
        raise bone.line.wrong("a bone that hangs on the root in :hierarchy")
    return joints


def _children(hierarchy: list[_Line], bones: dict[str, _Bone]) -> dict[str, list[str]]:
    """The bones that hang on each one."""
    children: dict[str, list[str]] = {"root": [], **{name: [] for name in bones}}
    hung = {"root"}
    for line in hierarchy:
        if [word.lower() for word in line.words] in (["begin"], ["end"]):
            continue
        parent, *kids = (_in_small_if_root(word, children) for word in line.words)
        for name in (parent, *kids):
            if name not in children:
                raise line.wrong(f"the root or bones of :bonedata, which {name!r} is not")
        for kid in kids:
            if kid in hung:
                raise line.wrong(f"bones that hang nowhere yet, which {kid!r} is not")
            hung.add(kid)
        children[parent] += kids
    return children


def _in_small_if_root(word: str, names: dict[str, list[str]] | dict[str, int]) -> str:
    """The root is a keyword, in any case; names are not."""
    return "root" if word not in names and word.lower() == "root" else word


# --- motions ---


def _skeleton_beside(path: Path) -> Path:
    """The file of the skeleton of a motion."""
    stems = list(dict.fromkeys([path.stem, path.stem.rpartition("_")[0] or path.stem]))
    folders = Path(os.path.abspath(path)).parents[:2]
    for folder in folders:
        with blame(path):
            found = {one.stem: one for one in folder.iterdir() if one.suffix.lower() == ".asf"}
        for stem in [*stems, *found] if len(found) == 1 else stems:
            if stem in found:
                return found[stem]
    wanted = " or ".join(f"{stem}.asf" for stem in stems)
    raise ValueError(
        f"{path}: its skeleton is not beside it: there is no {wanted} and not exactly one .asf "
        f"in {' or '.join(map(str, folders))}; name it"
    )


def _header(lines: _Lines) -> tuple[_Line, float, float]:
    """The first line of the first frame, the unit of angles in radians, frames per second."""
    angle, rate = math.radians(1), 120.0
    for line in lines:
        word = line.words[0].lower()
        if not word.startswith(":"):
            return line, angle, rate
        if word in (":degrees", ":radians"):
            angle = 1.0 if word == ":radians" else math.radians(1)
        elif word == ":samples-per-second":
            rate = _positive(line)
    raise lines.ended("the number of a frame")


def _frames(line: _Line, lines: _Lines, counts: dict[str, int], number: int) -> Iterator[Array]:
    """All frames, [time, channels] at a time, in the units of the file.

    Args:
        line: the first of them.
        lines: the others.
        counts: how many channels the joints have, in the order of the columns.
        number: of the first frame.
    """
    frame = _frame(line, lines, counts, number)
    yield _row(frame, counts)
    number += 1
    # nearly always all frames look like the first, which is quick to read
    for block in _frames_alike(lines, list(frame), counts, number):
        yield block
        number += len(block)
    for line in lines:
        yield _row(_frame(line, lines, counts, number), counts)
        number += 1


def _frame_number(line: _Line) -> int:
    if len(line.words) != 1 or not re.fullmatch(r"-?[0-9]{1,15}", line.words[0]):
        raise line.wrong("the number of a frame", cut=len(line.words) == 1)
    return int(line.words[0])


def _frame(
    line: _Line, lines: _Lines, counts: dict[str, int], number: int
) -> dict[str, list[float]]:
    """What a frame says of each joint, in the order in which it does."""
    if _frame_number(line) != number:
        raise line.wrong(f"the number {number} of the next frame", cut=True)
    frame: dict[str, list[float]] = {}
    while len(frame) < len(counts):
        bone = next(lines, None)
        if bone is None:
            raise lines.ended(f"more of frame {number}")
        name = _in_small_if_root(bone.words[0], counts)
        if name not in counts or name in frame:
            missing = [repr(name) for name in counts if name not in frame]
            some = ", ".join(missing[:3]) + (", …" if missing[3:] else "")
            # one word can be the beginning of a bone
            raise bone.wrong(f"in frame {number} still {some}", cut=len(bone.words) == 1)
        frame[name] = bone.numbers(counts[name])
    return frame


def _row(frame: dict[str, list[float]], counts: dict[str, int]) -> Array:
    """[1, channels]"""
    return np.array([[value for name in counts for value in frame[name]]], dtype=np.float64)


def _frames_alike(
    lines: _Lines, order: list[str], counts: dict[str, int], number: int
) -> Iterator[Array]:
    """The following frames as long as nothing is unusual, a large block at a time."""
    layout = _layout(order, counts)
    starts = dict(zip(order, np.cumsum([1, *(counts[name] for name in order)]), strict=False))
    columns = [starts[name] + part for name in counts for part in range(counts[name])]
    text = ""
    while True:
        text += lines.file.read(_BLOCK)
        found = []
        end = 0
        while match := layout.match(text, end):
            found.append(" ".join(match.groups()))
            end = match.end()
        rows = _bulk(found, 1 + len(columns), number)
        if rows is None:  # the end, or line by line from here
            lines.put_back(text)
            return
        yield rows[:, columns]
        number += len(rows)
        lines.number += text.count("\n", 0, end)
        text = text[end:]


def _layout(order: list[str], counts: dict[str, int]) -> re.Pattern[str]:
    """A frame whose bones come in that order; its groups are all numbers.

    No two parts that follow one another can match the same character, so that a match takes time
    in proportion to the text, whatever is in it.
    """
    pattern = r"[ \t]*(-?[0-9]{1,15})[ \t]*\n"
    for name in order:
        numbers = rf"(?:[ \t]+[-+.0-9eE]+){{{counts[name]}}}"
        pattern += rf"[ \t]*{re.escape(name)}({numbers})[ \t]*\n"
    return re.compile(pattern)


def _bulk(found: list[str], width: int, number: int) -> Array | None:
    """Frames [time, width], each its number first, or None if there is none or one is wrong."""
    words = " ".join(found).split()
    try:
        rows = np.fromiter(map(float, words), np.float64, len(words)).reshape(-1, width)
    except ValueError:
        return None
    right = np.isfinite(rows).all() and (rows[:, 0] == number + np.arange(len(rows))).all()
    return rows if len(rows) and right else None


# --- writing ---


def _check_writable(skeleton: Skeleton) -> None:
    if not skeleton.fixed_axes:
        raise ValueError(
            "skeleton: the rotations of Acclaim follow one another about fixed axes, those of "
            "this skeleton about axes that turn along (fixed_axes=False): it cannot be written"
        )
    for name in (joint.name for joint in skeleton.joints if joint.channels):
        _check_name(name)


def _check_name(name: str) -> None:
    if name.translate(_BLANKS).split() != [name] or "#" in name or name[0] == ":":
        raise ValueError(f"skeleton: the name {name!r} cannot be written in an Acclaim file")


def _write(path: str | os.PathLike[str], text: Iterator[str]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        file.writelines(f"{line}\n" for line in text)


def _motion_text(motion: Motion) -> Iterator[str]:
    yield f":SAMPLES-PER-SECOND {float(motion.frame_rate)!r}"
    yield ":FULLY-SPECIFIED"
    yield ":DEGREES"
    factors = motion.skeleton.scales(math.degrees(1))
    names = [joint.name for joint in motion.skeleton.joints if joint.channels]
    columns = [motion.skeleton.columns(name) for name in names]
    for number, row in enumerate(motion.values, start=motion.first_frame):
        yield str(number)
        values = (row * factors).tolist()
        for name, part in zip(names, columns, strict=True):
            yield f"{name} {_words(values[part])}"


def _words(values: Sequence[float] | Array) -> str:
    """Numbers from which the very same ones can be read."""
    return " ".join(repr(float(value)) for value in values)


def _is_tip(skeleton: Skeleton, children: list[list[int]], number: int) -> bool:
    joint = skeleton.joints[number]
    alone = children[joint.parent] == [number] and not children[number]
    plain = not joint.channels and np.array_equal(joint.axes, np.eye(3))
    return alone and plain and joint.name == skeleton.joints[joint.parent].name + _TIP


def _root_text(skeleton: Skeleton, children: list[int]) -> list[str]:
    root = skeleton.joints[0]
    if root.name != "root" or root.limits:
        raise ValueError(
            f"skeleton: the first joint of an .asf is named 'root' and has no limits, "
            f"got {root.name!r} and {root.limits}"
        )
    for child in children:
        if np.any(skeleton.joints[child].offset):
            raise ValueError(
                f"skeleton: in an .asf {skeleton.joints[child].name!r} must start at the root"
            )
    text = ["# written by seqebm", ":version 1.10", ":name skeleton", ":units", "  mass 1.0"]
    if skeleton.metres is not None:
        text.append(f"  length {_words([_INCH / skeleton.metres])}")
    return [
        *text,
        "  angle deg",
        ":root",
        f"  order {' '.join(root.channels).upper()}",
        "  axis XYZ",
        f"  position {_words(root.offset)}",
        f"  orientation {_words(_orientation(root))}",
        ":bonedata",
    ]


def _bone_text(skeleton: Skeleton, number: int, children: list[int]) -> list[str]:
    joint = skeleton.joints[number]
    _check_name(joint.name)
    if not set(joint.channels) <= set(ROTATIONS):
        raise ValueError(f"skeleton: a bone of an .asf only turns, {joint.name!r} also moves")
    offsets = np.array([skeleton.joints[child].offset for child in children])
    ends: Array = np.unique(offsets.reshape(-1, 3), axis=0)
    if len(ends) != 1:
        raise ValueError(
            f"skeleton: a bone of an .asf has one end, where all that hangs on it starts; "
            f"{joint.name!r} has {len(ends)}"
        )
    length = math.hypot(*ends[0])
    text = [
        "  begin",
        f"    id {number}",
        f"    name {joint.name}",
        f"    direction {_words(ends[0] / length if length else ends[0])}",
        f"    length {length!r}",
        f"    axis {_words(_orientation(joint))} XYZ",
    ]
    if joint.channels:
        text.append(f"    dof {' '.join(joint.channels)}")
    if joint.limits:
        pairs = [f"({_words(np.degrees(pair))})" for pair in joint.limits]
        text.append(f"    limits {' '.join(pairs)}")
    return [*text, "  end"]


def _orientation(joint: Joint) -> Array:
    """Degrees about x, then y, then z, fixed axes, that make the axes of a joint."""
    axes = Rotation.from_matrix(joint.axes[None])
    return np.degrees(euler_angles(axes, "xyz", fixed_axes=True)[0])
