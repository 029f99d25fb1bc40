"""BVH files: a hierarchy of joints and one line of numbers a frame, in degrees."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from scipy.spatial.transform import Rotation

from seqebm.data.mocap.motion import ROTATIONS, TRANSLATIONS, Array, Joint, Motion, Skeleton
from seqebm.data.mocap.rotations import euler_angles
from seqebm.files import atomic_path, blame, existing_file

_CHANNELS = {
    **{f"{name[1]}position": name for name in TRANSLATIONS},
    **{f"{name[1]}rotation": name for name in ROTATIONS},
}
_BLOCK = 2**20  # characters that are read at once, and the longest line
_SHORT_LINE = f"a line of less than {_BLOCK} characters"
_MOST_JOINTS = 10_000
_DEEPEST = 1_000  # joints one on another
_LEAST_LEFT = 0.01  # of the frames that a file claims; with less it is not a file that was cut

_STATEMENT = re.compile(r"\s*([{}]|[^{}]+)")
_WORD = re.compile(r"\s*(:|[^\s:]+)")
_SKIPPED = re.compile(r"\s*(#|//|$)")  # comments and blank lines


def read_bvh(path: str | os.PathLike[str]) -> Motion:
    """Reads a BVH file.

    End Sites become joints without channels, named "<parent> tip". Of joints with the same name
    the second is called "<name> 2", and so on. Lines that begin with # or // are comments. A
    position stands in place of its component of the offset, as in `Joint`. A file that was cut
    gives the frames that are whole.

    Args:
        path: The file.

    Returns:
        The motion, named after the file: angles in radians, lengths in the unit of the file,
        rotations in the order of the channels about axes that turn along, y upwards.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If anything in it is wrong; the message says in which line, what was expected
            there and what came.

    Warns:
        UserWarning: If the file ends before its last frame.

    Example:
        >>> import tempfile
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> motion = Motion(arm, np.array([[0.0], [np.pi / 2]]), frame_rate=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bvh(f"{folder}/arm.bvh", motion)
        ...     raised = read_bvh(f"{folder}/arm.bvh")
        >>> raised.skeleton.names, raised.frame_rate
        (['shoulder', 'shoulder tip'], 20.0)
        >>> raised.positions()[:, 1].round(6) + 0.0
        array([[2., 0., 0.],
               [0., 2., 0.]])
    """
    path = existing_file(path)
    # bytes that are not UTF-8 can only be in names, where they stay recognizable
    with blame(path), path.open(encoding="utf-8-sig", errors="backslashreplace") as file:
        text = _Text(path, file)
        skeleton = Skeleton(_read_hierarchy(text))
        units = skeleton.scales(math.radians(1))
        if not len(units):
            raise text.error("a joint with channels", "none")
        count, frame_time = _read_timing(text, len(units))
        values = _read_frames(text, count, units)
        return Motion(skeleton, values, 1 / frame_time, name=path.stem)


def write_bvh(path: str | os.PathLike[str], motion: Motion) -> None:
    """Writes a BVH file, which `read_bvh`, Blender and others can read.

    Numbers are written so that none of their digits is lost. A joint without channels that ends a
    limb is written as an End Site, which has no name. Where a skeleton's rotations are not about
    axes that turn along (Acclaim), they are converted: they become Zrotation Yrotation Xrotation,
    and all joints are where they were. In a BVH file y points upwards: of a motion with another
    such axis the whole world is turned, x to y to z to x or back. Joints are written depth first.
    BVH knows no limits of channels and no unit of length.

    Args:
        path: The file; it is replaced if there is one.
        motion: What to write, with at least one channel.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If a name cannot be written (it is empty, has braces or line breaks, or begins
            or ends with a space), if there are no channels, or if a number gets too large.

    Example:
        >>> import tempfile
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> raised = Motion(arm, np.array([[0.0], [np.pi / 2]]), frame_rate=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bvh(f"{folder}/arm.bvh", raised)
        ...     print(Path(folder, "arm.bvh").read_text().expandtabs(2))
        HIERARCHY
        ROOT shoulder
        {
          OFFSET 0.0 0.0 0.0
          CHANNELS 1 Zrotation
          End Site
          {
            OFFSET 2.0 0.0 0.0
          }
        }
        MOTION
        Frames: 2
        Frame Time: 0.05
        0.0
        90.0
        <BLANKLINE>
    """
    skeleton = motion.skeleton
    turned = any((joint.axes != np.eye(3)).any() for joint in skeleton.joints)
    if skeleton.fixed_axes or skeleton.up != "y" or turned:
        motion = _with_moving_axes(motion)
    order, hierarchy = _hierarchy_lines(motion.skeleton)
    values = _file_values(motion, order)
    if not values.shape[1]:
        raise ValueError(f"{path}: a BVH file needs a joint with channels")
    frame_time = 1 / float(motion.frame_rate)
    if not (np.isfinite(values).all() and _is_frame_time(frame_time)):
        raise ValueError(f"{path}: an angle or the frame rate is too large for a BVH file")
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{line}\n" for line in hierarchy)
        out.write(f"MOTION\nFrames: {len(motion)}\nFrame Time: {frame_time!r}\n")
        out.writelines(f"{_spaced(frame)}\n" for frame in values)


def _number(word: str) -> float | None:
    """None where it is not a finite number."""
    if _begins_number(word):  # float() takes more than that: nan, inf, 1_000, digits of Tamil
        with suppress(ValueError):
            value = float(word)
            return value if math.isfinite(value) else None
    return None


def _begins_number(word: str) -> bool:
    """Whether it is, or can be the beginning of, a number."""
    return set(word) <= set("0123456789+-.eE")


def _is_frame_time(seconds: float | None) -> bool:
    return seconds is not None and 0 < seconds < math.inf and 1 / seconds < math.inf


# ------------------------------------------------------------------------------------------ reading


class _Text:
    """A text file by statements or words, then by blocks of lines."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self.path = path
        self._file = file
        self._number = 0  # of the line at hand
        self._line = ""
        self._at = 0  # where in the line the next word is
        self._came = ""  # what was taken last

    def statement(self) -> str:
        """A brace, or what is before the next brace or the end of the line; "" at the end."""
        return self._next(_STATEMENT)

    def word(self) -> str:
        """The next word, or a colon; "" at the end."""
        return self._next(_WORD)

    def expect(self, phrase: str) -> None:
        """Takes words, in upper or lower case.

        Raises:
            ValueError: Other ones came.
        """
        for word in phrase.replace(":", " :").split():
            if self.word().lower() != word.lower():
                raise self.error(phrase)

    def end_line(self) -> None:
        """Raises a ValueError if something is left of the line at hand."""
        self._came = self._line[self._at :].strip()
        if self._came:
            raise self.error("the end of the line")

    def blocks(self) -> Iterator[tuple[int, list[str], bool]]:
        """All that comes after the line at hand.

        Yields:
            The number of the first line, some lines, and whether the last of them has an end.
        """
        first, rest = self._number + 1, ""
        while piece := self._file.read(_BLOCK):
            *lines, rest = (rest + piece).split("\n")
            if lines:
                yield first, lines, True
            first += len(lines)
            if len(rest) >= _BLOCK:
                raise self.error(_SHORT_LINE, "a longer one", first)
        if rest:
            yield first, [rest], False

    def error(self, expected: str, came: str = "", line: int = 0) -> ValueError:
        """About what was taken last, unless something else is said to have come."""
        came = came or (repr(self._came[:60]) if self._came else "the end of the file")
        return ValueError(
            f"{self.path}:{line or max(1, self._number)}: expected {expected}, got {came}"
        )

    def _next(self, pattern: re.Pattern[str]) -> str:
        while self._at == len(self._line):
            line = self._file.readline(_BLOCK)
            if not line:
                self._came = ""
                return ""
            self._number += 1
            if len(line) == _BLOCK:
                raise self.error(_SHORT_LINE, "a longer one")
            self._line = "" if _SKIPPED.match(line) else line.rstrip()
            self._at = 0
        found = pattern.match(self._line, self._at)
        assert found is not None  # as the line does not end in spaces
        self._at = found.end()
        self._came = found[1].rstrip()
        return self._came


@dataclass
class _Node:
    """A joint or End Site while its block is read."""

    kind: str
    name: str
    parent: int
    offset: list[float] | None = None
    channels: tuple[str, ...] | None = None
    has_children: bool = False

    def expected(self) -> list[str]:
        """The statements that may come next in the block."""
        may_have_channels = self.channels is None and not self.has_children
        return [
            *(["OFFSET"] if self.offset is None else ["}"]),
            *(["CHANNELS"] if may_have_channels and self.kind != "End Site" else []),
            *(["JOINT", "End Site"] if self.kind != "End Site" else []),
        ]


def _read_hierarchy(text: _Text) -> list[Joint]:
    text.expect("HIERARCHY")
    nodes: list[_Node] = []
    path: list[int] = []  # from the root to the node whose block is open
    while path or not nodes:
        kind, rest = _parse_statement(text.statement())
        expected = nodes[path[-1]].expected() if path else ["ROOT"]
        if kind not in expected:
            raise text.error(" or ".join(expected))
        if kind == "OFFSET":
            nodes[path[-1]].offset = _read_offset(text, rest.split())
        elif kind == "CHANNELS":
            nodes[path[-1]].channels = _read_channels(text, rest.split())
        elif kind == "}":
            path.pop()
        else:
            if path:
                nodes[path[-1]].has_children = True
            nodes.append(_Node(kind, rest, parent=path[-1] if path else -1))
            path.append(len(nodes) - 1)
            _check_opening(text, nodes[-1], len(nodes), len(path))
    return [
        Joint(name, node.parent, node.offset or (), node.channels or ())
        for name, node in zip(_unique_names(nodes), nodes, strict=True)
    ]


def _parse_statement(statement: str) -> tuple[str, str]:
    """Its kind, as in `_Node.expected`, and what comes after the keyword."""
    keyword, rest = (*statement.split(maxsplit=1), "", "")[:2]
    is_tip = keyword.lower() == "end" and rest.lower().startswith("site")
    return "End Site" if is_tip else keyword.upper(), rest


def _check_opening(text: _Text, node: _Node, joints: int, depth: int) -> None:
    if node.kind != "End Site" and not node.name:
        raise text.error(f"a name after {node.kind}")
    if joints > _MOST_JOINTS or depth > _DEEPEST:
        raise text.error(f"at most {_MOST_JOINTS} joints, nested at most {_DEEPEST} deep")
    if text.statement() != "{":
        raise text.error("{")


def _read_offset(text: _Text, words: list[str]) -> list[float]:
    numbers = [number for number in map(_number, words) if number is not None]
    if not len(numbers) == len(words) == 3:
        raise text.error("OFFSET and three numbers")
    return numbers


def _read_channels(text: _Text, words: list[str]) -> tuple[str, ...]:
    count, *names = words or [""]
    if count != str(len(names)):
        raise text.error(f"CHANNELS {len(names)}, as so many follow in the line")
    channels = tuple(_CHANNELS.get(name.lower(), "") for name in names)
    if "" in channels or len(set(channels)) < len(channels):
        raise text.error("channels such as Xposition or Zrotation, none twice")
    return channels


def _unique_names(nodes: list[_Node]) -> list[str]:
    """Joints choose first, then tips, so that a file that is written again gives the same."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    uses: dict[str, int] = {}  # that were tried of a name
    for number in sorted(range(len(nodes)), key=lambda number: nodes[number].kind == "End Site"):
        node = nodes[number]
        wanted = f"{names[node.parent]} tip" if node.kind == "End Site" else node.name
        uses[wanted] = uses.get(wanted, 0) + 1
        while (name := wanted + f" {uses[wanted]}" * (uses[wanted] > 1)) in taken:
            uses[wanted] += 1
        taken.add(name)
        names[number] = name
    return [names[number] for number in range(len(nodes))]


def _read_timing(text: _Text, width: int) -> tuple[int, float]:
    """The number of frames and the seconds that one takes."""
    word = text.word().lower()
    if word == "root":
        raise text.error("MOTION, as more than one ROOT is not supported")
    if word != "motion":
        raise text.error("MOTION")
    text.expect("Frames:")
    word = text.word()
    # a number takes two characters or more, with the space after it
    most = text.size / (2 * width) / _LEAST_LEFT
    if not re.fullmatch("[0-9]{1,18}", word) or not 1 <= int(word) <= most:
        raise text.error(f"a number of frames from 1 to {most:.0f} in a file of {text.size} bytes")
    text.expect("Frame Time:")
    seconds = _number(text.word())
    if seconds is None or not _is_frame_time(seconds):
        raise text.error("a positive number of seconds")
    text.end_line()
    return int(word), seconds


def _read_frames(text: _Text, count: int, units: Array) -> Array:
    """The frames in the units of a `Motion`; with a warning if there are fewer than `count`."""
    width = len(units)
    values = np.empty((min(count, text.size // (2 * width) + 1), width))
    found, last = 0, 0
    for first, lines, is_ended in text.blocks():
        last = first + len(lines) - 1
        frames = [
            (number, line) for number, line in enumerate(lines, first) if not _SKIPPED.match(line)
        ]
        if found + len(frames) > count:
            number, line = frames[count - found]
            raise text.error(f"the end of the file after {count} frames", repr(line[:60]), number)
        # before the last frame, a line without an end may lack a digit even if it looks whole
        if frames and not is_ended and _may_be_cut(lines[0], width, is_last=found + 1 == count):
            break
        if frames:
            values[found : found + len(frames)] = _parse_frames(text, frames, width) * units
            found += len(frames)
    if not found:
        raise text.error(f"{count} frames", "the end of the file before one is whole", last)
    if found < count:
        message = f"{text.path}:{last}: the file ends after {found} of {count} frames"
        warnings.warn(message, stacklevel=3)  # in the line that calls read_bvh
    return values[:found]


def _may_be_cut(line: str, width: int, is_last: bool) -> bool:
    """Whether a line is the beginning of a frame, and not all of the last one."""
    *numbers, end = line.split()
    if len(numbers) >= width or None in map(_number, numbers) or not _begins_number(end):
        return False
    return not is_last or len(numbers) + 1 < width or _number(end) is None


def _parse_frames(text: _Text, frames: list[tuple[int, str]], width: int) -> Array:
    with suppress(ValueError):
        values = np.loadtxt([line for _, line in frames], comments=None, ndmin=2)
        if values.shape == (len(frames), width) and np.isfinite(values).all():
            return values
    # slower, but its error names the line
    return np.array([_parse_frame(text, number, line.split(), width) for number, line in frames])


def _parse_frame(text: _Text, number: int, words: list[str], width: int) -> list[float]:
    if len(words) != width:
        raise text.error(f"{width} numbers, one a channel", f"{len(words)}", number)
    values = []
    for word in words:
        value = _number(word)
        if value is None:
            raise text.error("a finite number", repr(word[:60]), number)
        values.append(value)
    return values


# ------------------------------------------------------------------------------------------ writing


def _with_moving_axes(motion: Motion) -> Motion:
    """The same motion with joints that turn about z, y and x, all turning along and parallel.

    In its world y points upwards.
    """
    skeleton = motion.skeleton
    shift = {"x": 1, "y": 0, "z": -1}[skeleton.up]  # of the axes of the world
    world = Rotation.from_matrix(np.roll(np.eye(3), shift, axis=0))
    joints, columns = [], []
    for number, joint in enumerate(skeleton.joints):
        values = motion.values[:, skeleton.columns(joint.name)]
        is_kept = [channel in TRANSLATIONS for channel in joint.channels]
        channels = [channel for channel in joint.channels if channel in TRANSLATIONS]
        turn, offset = motion.local_rotation(joint), joint.offset
        if number == 0:
            turn, offset = world * turn, np.roll(offset, shift)
            channels = [TRANSLATIONS[(TRANSLATIONS.index(c) + shift) % 3] for c in channels]
        columns.append(values[:, is_kept])
        if not all(is_kept) or (number == 0 and shift):
            channels += ["rz", "ry", "rx"]
            columns.append(euler_angles(turn, "zyx", fixed_axes=False))
        joints.append(Joint(joint.name, joint.parent, offset, tuple(channels)))
    return Motion(Skeleton(joints), np.concatenate(columns, axis=1), motion.frame_rate)


def _hierarchy_lines(skeleton: Skeleton) -> tuple[list[int], list[str]]:
    """The joints depth first, as they are in the file, and the lines about them."""
    children: list[list[int]] = [[] for _ in skeleton.joints]
    for child, joint in enumerate(skeleton.joints[1:], 1):
        children[joint.parent].append(child)
    order: list[int] = []
    lines = ["HIERARCHY"]
    left: list[tuple[int | None, int]] = [(0, 0)]  # joints and their depth; None is a "}"
    while left:
        number, depth = left.pop()
        indent = "\t" * depth
        if number is None:
            lines.append(f"{indent}}}")
            continue
        lines += [indent + line for line in _joint_lines(skeleton, number, not children[number])]
        order.append(number)
        left.append((None, depth))
        left += [(child, depth + 1) for child in reversed(children[number])]
    return order, lines


def _joint_lines(skeleton: Skeleton, number: int, is_leaf: bool) -> list[str]:
    """Up to where its children come."""
    joint = skeleton.joints[number]
    offset = f"\tOFFSET {_spaced(np.asarray(joint.offset))}"
    if is_leaf and number and not joint.channels and skeleton.joints[joint.parent].channels:
        return ["End Site", "{", offset]
    if not joint.name or joint.name != joint.name.strip() or set(joint.name) & set("{}\r\n"):
        raise ValueError(f"joint {joint.name!r}: the name cannot be written in a BVH file")
    names = {channel: name.capitalize() for name, channel in _CHANNELS.items()}
    channels = [str(len(joint.channels)), *(names[channel] for channel in joint.channels)]
    keyword = "JOINT" if number else "ROOT"
    return [f"{keyword} {joint.name}", "{", offset, f"\tCHANNELS {' '.join(channels)}"]


def _file_values(motion: Motion, order: list[int]) -> Array:
    """The values in the units of a file, joint after joint in the given order."""
    joints = motion.skeleton.joints
    ends = np.cumsum([len(joint.channels) for joint in joints])
    starts = ends - [len(joint.channels) for joint in joints]
    columns = [column for n in order for column in range(starts[n], ends[n])]
    with np.errstate(over="ignore"):  # the caller looks
        return (motion.values / motion.skeleton.scales(math.radians(1)))[:, columns]


def _spaced(numbers: Array) -> str:
    return " ".join(map(repr, numbers.tolist()))
