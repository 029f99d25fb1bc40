"""Moving skeletons as videos of stick figures, and their channels as curves.

:func:`figure` draws a motion as pictures, which everything in `seqebm.video` takes, and
:func:`figure_frames` draws them one at a time. :func:`resampled` brings a motion to the frame rate
of a video. :func:`angle_plot` draws channels over time.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter1d

from seqebm.data.mocap.motion import TRANSLATIONS, Array, Motion, Skeleton
from seqebm.files import atomic_path
from seqebm.video import BACKGROUND, Pictures

Light = npt.NDArray[np.float32]

# Lengths are in reaches: the longest way along the bones from the root to a tip. People stand 1.3
# reaches high, and no pose takes a part of them further than one from their root.
DISTANCE = 4.5  # from the camera to what it looks at
VISIBLE = 1.0  # there, from the middle of the picture to its nearer edges
AIM = 0.07  # the camera looks at a place this far below the root, so that feet are well inside
SLACK = 0.35  # the furthest that the root gets from where the smooth camera takes it to be
NEAREST = 1.2  # what is nearer to the camera than this is not drawn: it would fill the picture
LIMB, HEAD, OUTLINE = 0.024, 0.085, 0.009  # radii, and what the outline adds to them
SPACING, LINE = 0.4, 0.012  # of the grid
SPOT = 2.6  # radius of the floor that is lit
SHADOW = (0.5, 0.45)  # it falls this far to the right and away from the camera, per height

SMOOTHING = (0.4, 0.4, 1.6)  # seconds, along the ground and upwards: longer than a step or a squat
SUPERSAMPLING = 3
SMALLEST = 16  # pixels
LEFT, RIGHT, MIDDLE = (92, 178, 255), (255, 150, 66), (226, 226, 222)
GRID = (96, 102, 114)
FLOOR = 0.42  # its light between the lines of the grid, where theirs is 1
DARKNESS = 0.75  # of the shadow
FAINTNESS = 0.45  # opacity of the ghost

SIDES = (("l", "r"), ("L", "R"), ("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
RATE_TOLERANCE = 1e-3
PLOTTED = 6


def figure(
    motion: Motion,
    size: tuple[int, int] = (256, 256),
    ghost: Motion | None = None,
    view: tuple[float, float] = (40.0, 15.0),
) -> Pictures:
    """A stick figure on a floor with a grid, seen by a camera that follows it.

    Left limbs are blue and right ones orange, where names of joints come in pairs such as "lfemur"
    and "rfemur" or "LeftKnee" and "RightKnee"; what is nearer is lighter and thicker. A joint whose
    name has "head" in it carries one. The floor is where the lowest joint ever is and its grid
    stays in place, while the camera follows the root smoothly and never turns.

    Pictures do not depend on the unit of lengths. With the longest way along the bones from the
    root to a tip as the unit, the camera is 4.5 away, the shorter side of the picture shows 2, and
    the squares of the grid are 0.4 wide.

    Args:
        motion: what moves. Each of its frames becomes a picture: see :func:`resampled`.
        size: height and width of a picture in pixels, each at least 16.
        ghost: another motion in the same world, drawn faint behind the first, such as the truth
            behind a prediction. It is the one that stands on the floor.
        view: azimuth and elevation of the camera in degrees. At azimuth 0 it stands towards +z if y
            is up and towards −y if z is up, so x runs to the right; at 90 it stands towards +x.
            (If x is up: −z, y, +y.) Elevation is from 0, level, to 90, straight from above.

    Returns:
        uint8 `[time, height, width, 3]`.

    Raises:
        ValueError: a ghost with another frame rate or number of frames, a size or view that is out
            of range, or a skeleton without limbs.

    Example:
        >>> from seqebm.data.mocap import Joint
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> waving = Motion(arm, np.sin(np.arange(20.0))[:, None], frame_rate=25)
        >>> figure(waving, size=(120, 90)).shape
        (20, 120, 90, 3)
    """
    return np.concatenate(list(figure_frames(motion, size, ghost, view)))


def figure_frames(
    motion: Motion,
    size: tuple[int, int] = (256, 256),
    ghost: Motion | None = None,
    view: tuple[float, float] = (40.0, 15.0),
) -> Iterator[Pictures]:
    """The pictures of :func:`figure` one at a time, for a video of any length.

    Args:
        motion: as for :func:`figure`, and so are the others.
        size: height and width of a picture in pixels.
        ghost: another motion, drawn faint.
        view: azimuth and elevation of the camera in degrees.

    Returns:
        An iterator over uint8 `[1, height, width, 3]`.

    Raises:
        ValueError: as for :func:`figure`, before the first picture is asked for.

    Example:
        >>> import tempfile
        >>> from seqebm.data.mocap import Joint
        >>> from seqebm.video import Writer
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> waving = Motion(arm, np.sin(np.arange(20.0))[:, None], frame_rate=25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Writer(Path(folder) / "waving.mp4", waving.frame_rate) as writer:
        ...         for picture in figure_frames(waving):
        ...             writer.write(picture)
    """
    camera = _Camera(size, view)
    places = _upright(motion)
    reach = _reach(motion.skeleton, places)
    if reach == 0:
        raise ValueError("motion: its skeleton has no limbs, so there is nothing to draw")
    if ghost is None:
        bodies = [_Body(motion.skeleton, places / reach)]
    else:
        if len(ghost) != len(motion):
            raise ValueError(f"ghost: expected {len(motion)} frames as motion, got {len(ghost)}")
        if not np.isclose(ghost.frame_rate, motion.frame_rate, rtol=RATE_TOLERANCE):
            raise ValueError(
                f"ghost: expected {motion.frame_rate:g} frames per second as motion, "
                f"got {ghost.frame_rate:g}"
            )
        truth = _Body(ghost.skeleton, _upright(ghost) / reach)
        bodies = [truth, _Body(motion.skeleton, places / reach)]
    ground = bodies[0].places[..., 2].min()
    for body in bodies:
        body.places[..., 2] -= ground
    return _draw(bodies, camera, motion.frame_rate)


def resampled(motion: Motion, frame_rate: float) -> Motion:
    """The frames of a motion nearest to the times of a lower frame rate; it lasts as long.

    Frames are picked, never averaged: angles may jump by 2π from one to the next.

    Args:
        motion: a recording.
        frame_rate: frames per second, at most that of the recording. Rates that divide to within
            a thousandth count as if they divided, since files round the duration of a frame.

    Returns:
        A motion of this frame rate.

    Raises:
        ValueError: a frame rate that is not positive, or higher than that of the motion.

    Example:
        >>> from seqebm.data.mocap import Joint
        >>> hip = Skeleton([Joint("hip", -1, channels=("tx",))])
        >>> recording = Motion(hip, np.arange(10.0)[:, None], frame_rate=120)
        >>> resampled(recording, 30).values.ravel(), resampled(recording, 80).values.ravel()
        (array([0., 4., 8.]), array([0., 2., 3., 4., 6., 8., 9.]))
    """
    if not 0 < frame_rate < np.inf:
        raise ValueError(f"frame_rate: expected a positive number, got {frame_rate}")
    step = motion.frame_rate / frame_rate
    if abs(step - round(step)) <= RATE_TOLERANCE * step:
        step = round(step)
    if step < 1:
        raise ValueError(
            f"frame_rate: expected at most that of the motion, {motion.frame_rate:g}, "
            f"got {frame_rate:g}"
        )
    count = int((len(motion) - 1) / step + RATE_TOLERANCE) + 1  # the last one, if rounding is near
    frames = np.rint(np.arange(count) * step).astype(int)
    return replace(motion, values=motion.values[frames], frame_rate=frame_rate)


def angle_plot(
    path: str | os.PathLike[str],
    motion: Motion,
    other: Motion | None = None,
    channels: Sequence[str] | None = None,
) -> None:
    """Draw channels over time, one below the other, to a png.

    Rotations are in degrees and go on beyond ±180, translations are in the unit of the skeleton.

    Args:
        path: the file to write, which ends in .png.
        motion: whose channels to draw.
        other: another motion with these channels, drawn paler and wider beneath, such as the truth
            beneath a prediction. It may have another length or frame rate.
        channels: "joint.channel", as in the `channels` of a skeleton. By default the six that vary
            most, where a radian counts as much as a translation by the size of the skeleton.

    Raises:
        ValueError: another ending of the path, no channels, or channels that a motion does not
            have.
        ImportError: matplotlib is not installed.
        OSError: a file that cannot be written.

    Example:
        >>> import tempfile
        >>> from seqebm.data.mocap import Joint
        >>> arm = Skeleton([Joint("shoulder", -1, channels=("rz",)), Joint("hand", 0, (2, 0, 0))])
        >>> waving = Motion(arm, np.sin(np.arange(20.0))[:, None], frame_rate=25, name="waving")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     angle_plot(Path(folder) / "waving.png", waving, channels=["shoulder.rz"])
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("angle_plot needs matplotlib: pip install seqebm[plots]") from error
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"path must end in .png, got {os.fspath(path)!r}")
    shown = _liveliest(motion) if channels is None else list(channels)
    if not shown:
        raise ValueError("channels: expected at least one, got none")
    curves = [_curve(motion, channel) for channel in shown]
    others = [] if other is None else [_curve(other, channel) for channel in shown]

    plot = Figure(figsize=(9, 1 + 1.4 * len(shown)), layout="constrained")
    panels = plot.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for panel, channel, curve in zip(panels, shown, curves, strict=True):
        panel.set_title(channel, loc="left", fontsize="medium")
        panel.set_ylabel("units" if _is_length(channel) else "degrees")
        panel.plot(np.arange(len(motion)) / motion.frame_rate, curve, color="C0", zorder=2)
        panel.grid(alpha=0.3)
        panel.margins(x=0)
    if other is not None:
        for panel, channel, curve, beneath in zip(panels, shown, curves, others, strict=True):
            # the same angle may be written in two ways: the nearer to the curve is shown
            turns = 0 if _is_length(channel) else 360 * round((curve[0] - beneath[0]) / 360)
            seconds = np.arange(len(other)) / other.frame_rate
            panel.plot(seconds, beneath + turns, color="C1", alpha=0.5, linewidth=4, zorder=1)
        names = [motion.name or "motion", other.name or "other"]
        plot.legend(panels[0].get_lines(), names, loc="outside upper right", ncols=2)
    panels[-1].set_xlabel("seconds")
    plot.align_ylabels()
    with atomic_path(path) as temporary:
        plot.savefig(temporary, format="png", dpi=100)


class _Camera:
    """Looks at the origin, wherever in the world that is."""

    def __init__(self, size: tuple[int, int], view: tuple[float, float]) -> None:
        if np.shape(size) != (2,) or not all(
            isinstance(n, Integral) and n >= SMALLEST for n in size
        ):
            raise ValueError(
                f"size: expected height and width in pixels, at least {SMALLEST}, got {size}"
            )
        if np.shape(view) != (2,) or not (np.isfinite(view[0]) and 0 <= view[1] <= 90):
            raise ValueError(
                f"view: expected an azimuth and an elevation from 0 to 90 degrees, got {view}"
            )
        self.size = size
        self.middle = np.array([size[1], size[0]]) / 2
        self.focal = min(size) / 2 * DISTANCE / VISIBLE  # pixels
        sine, raised = np.sin(np.deg2rad(view))
        cosine, level = np.cos(np.deg2rad(view))
        self.right = np.array([cosine, sine, 0])
        self.up = np.array([-sine * raised, cosine * raised, level])
        self.near = np.array([sine * level, -cosine * level, raised])  # towards the camera
        self.away = np.array([-sine, cosine])  # on the ground

    def project(self, points: Array) -> tuple[Array, Array]:
        """Columns and rows of points, [n, 2], nan where they are too near, and their depths."""
        depth = DISTANCE - points @ self.near
        depth[depth < NEAREST] = np.nan
        offset = np.stack([points @ self.right, -(points @ self.up)], axis=1)
        return self.middle + offset * (self.focal / depth)[:, None], depth


class _Floor:
    """The ground of the world, at height 0, as a camera sees it wherever it is."""

    def __init__(self, camera: _Camera) -> None:
        height, width = camera.size
        columns = (np.arange(width) + 0.5 - width / 2) / camera.focal
        rows = (height / 2 - 0.5 - np.arange(height)) / camera.focal
        rays = camera.right * columns[:, None] + camera.up * rows[:, None, None] - camera.near
        # where rays meet the ground, per height of the camera: far away for those above the horizon
        meet = np.moveaxis(rays[..., :2] / np.maximum(-rays[..., 2:], 1e-3), 2, 0)
        down, along = np.gradient(meet, axis=(1, 2))
        self._meet = meet.astype(np.float32)
        self._widths = np.maximum(abs(down) + abs(along), 1e-6).astype(np.float32)  # of a pixel
        self._back = DISTANCE * camera.near
        self._colours = np.linspace([BACKGROUND] * 3, GRID, 256).round().astype(np.uint8)

    def picture(self, target: Array, shadow: Light) -> Image.Image:
        """What a camera sees that looks at a place of the world."""
        *start, height = target + self._back
        height = max(height, 1e-3)  # ground that is above the camera is as dark as if far away
        distance = sum(
            np.square(meet * np.float32(height) + np.float32(back))
            for meet, back in zip(self._meet, self._back, strict=False)
        )
        light = np.maximum(1 - distance / np.float32(SPOT**2), 0)
        top = int(light.any(axis=1).argmax())  # all is dark above: nothing to compute there
        x, y = (
            _lines(meet * np.float32(height / SPACING) + np.float32(begin / SPACING % 1), width)
            for meet, width, begin in zip(
                self._meet[:, top:], self._widths[:, top:] * (height / SPACING), start, strict=True
            )
        )
        light[top:] *= (FLOOR + (1 - FLOOR) * (x + y - x * y)) * (1 - DARKNESS * shadow[top:])
        return Image.fromarray(self._colours[(255 * light).astype(np.uint8)])


def _lines(place: Light, width: Light) -> Light:
    """How much of the ground around each place is line, one at every whole number."""
    line = np.float32(LINE / SPACING)
    covered = ((width + line) / 2 - abs(place - np.rint(place))) / width
    return np.clip(covered, 0, np.minimum(line / width, 1))


class _Body:
    """Limbs and a head, as capsules between places that move."""

    def __init__(self, skeleton: Skeleton, places: Array) -> None:
        joints, names = skeleton.joints, set(skeleton.names)
        sides = [MIDDLE]
        limbs: dict[tuple[int, object], list[int]] = {}  # joints at the end of each
        head: list[int] = []
        for number, joint in enumerate(joints[1:], start=1):
            # a tip is at the side of the limb that it ends, whatever its name
            sides.append(_side(joint.name, names) or sides[joint.parent])
            # joints that share a place, as those that begin neck and collar bones, end one limb
            moves = not set(joint.channels).isdisjoint(TRANSLATIONS)
            place = number if moves else tuple(joint.offset)
            limbs.setdefault((joint.parent, place), []).append(number)
            if "head" in (joints[joint.parent].name + joint.name).lower():
                head = [joint.parent, number]
        ends, radii, colours = [], [], []
        for (start, _), (end, *others) in limbs.items():
            length = float(np.median(_lengths(places, start, end)))
            if length > 0:
                ends.append((start, end))
                radii.append(min(LIMB, length / 4))
                is_one_side = all(sides[other] == sides[end] for other in others)
                colours.append(sides[end] if is_one_side else MIDDLE)
        if head:
            places = np.append(places, places[:, head].mean(axis=1, keepdims=True), axis=1)
            ends.append((len(joints), len(joints)))
            radii.append(HEAD)
            colours.append(MIDDLE)
        self.places = places  # [time, joints, 3], and the middle of the head
        self._ends, self._radii = np.array(ends), np.array(radii)
        self._colours = np.array(colours, dtype=np.float64)

    def draw(self, image: Image.Image, frame: int, camera: _Camera, target: Array) -> None:
        """Draw onto an image of any number of pixels per pixel of the camera."""
        points, depths = camera.project(self.places[frame] - target)
        depth = depths[self._ends].mean(axis=1)
        zoom = image.width / camera.size[1]
        scale = zoom * camera.focal / depth
        bright = np.clip(0.82 + 0.45 * (DISTANCE - depth), 0.5, 1)[:, None] * self._colours
        # the outline, the limb, and a light on it that comes from the upper left
        shades = np.stack([0.25 * bright, bright, 255 - 0.65 * (255 - bright)], axis=1)
        radii = scale[:, None] * np.stack(
            [self._radii + OUTLINE, self._radii, 0.35 * self._radii], axis=1
        )
        shifts = radii[:, 1, None] * [0, 0, -0.3]
        ends = zoom * points[self._ends].reshape(-1, 4)

        draw = ImageDraw.Draw(image)
        for limb in self._visible(points, depth - self._radii, camera):
            layers = zip(radii[limb], shifts[limb], shades[limb].astype(int).tolist(), strict=True)
            for radius, shift, colour in layers:
                _capsule(draw, (ends[limb] + shift).tolist(), radius, tuple(colour))

    def shadow(self, frame: int, camera: _Camera, target: Array) -> Light:
        """What the body takes from the light of the ground, from 0 to 1, [height, width]."""
        places = self.places[frame]
        above = np.maximum(places[:, 2:], 0)
        fallen = places[:, :2] + above * (SHADOW[0] * camera.right[:2] + SHADOW[1] * camera.away)
        points, depths = camera.project(np.pad(fallen, ((0, 0), (0, 1))) - target)
        # half the pixels do, as it gets soft
        height, width = camera.size
        image = Image.new("L", (width // 2, height // 2))
        draw = ImageDraw.Draw(image)
        depth = depths[self._ends].mean(axis=1)
        radii = self._radii * camera.focal / depth / 2
        ends = points[self._ends].reshape(-1, 4) / 2
        for limb in self._visible(points, depth, camera):
            _capsule(draw, ends[limb].tolist(), radii[limb], 255)
        image = image.filter(ImageFilter.GaussianBlur(min(camera.size) / 256))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32) / np.float32(255)

    def _visible(self, points: Array, depth: Array, camera: _Camera) -> list[int]:
        """Numbers of the limbs that are in or near the picture, the furthest first."""
        inside = np.abs(points - camera.middle).max(axis=1) < 2 * max(camera.size)  # nan is not
        shown = inside[self._ends].all(axis=1)
        return [limb for limb in np.argsort(-depth).tolist() if shown[limb]]


def _capsule(
    draw: ImageDraw.ImageDraw, ends: list[float], radius: float, colour: int | tuple[int, ...]
) -> None:
    if ends[:2] != ends[2:]:
        draw.line(ends, colour, max(1, round(2 * radius)))
    for x, y in (ends[:2], ends[2:]):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _draw(bodies: list[_Body], camera: _Camera, frame_rate: float) -> Iterator[Pictures]:
    """Pictures of the last of the bodies, with the others faint behind it."""
    *ghosts, body = bodies
    floor = _Floor(camera)
    height, width = camera.size
    for frame, target in enumerate(_followed(body.places[:, 0], frame_rate)):
        image = floor.picture(target, body.shadow(frame, camera, target))
        image = image.resize(
            (SUPERSAMPLING * width, SUPERSAMPLING * height), Image.Resampling.NEAREST
        )
        for ghost in ghosts:
            drawn = image.copy()
            ghost.draw(drawn, frame, camera, target)
            image = Image.blend(image, drawn, FAINTNESS)
        body.draw(image, frame, camera, target)
        yield np.array(image.reduce(SUPERSAMPLING))[None]


def _followed(root: Array, frame_rate: float) -> Array:
    """Where a camera looks that follows a root smoothly, [time, 3]."""
    deviations = [seconds * frame_rate for seconds in SMOOTHING]
    margin = 4 * round(max(deviations)) + 1
    # going on beyond the ends as mirrored there, the path begins and ends with the root
    longer = np.pad(root, ((margin, margin), (0, 0)), "reflect", reflect_type="odd")
    smooth = np.column_stack(list(map(gaussian_filter1d, longer.T, deviations)))[margin:-margin]
    ahead = root - smooth
    distance = np.linalg.norm(ahead, axis=1, keepdims=True)
    return root - ahead * SLACK / np.hypot(SLACK, distance) - [0, 0, AIM]


def _upright(motion: Motion) -> Array:
    """Places of the joints, [time, joints, 3], with the third axis upwards."""
    x, y, z = np.moveaxis(motion.positions(), 2, 0)
    axes = {"x": (y, z, x), "y": (x, -z, y), "z": (x, y, z)}
    return np.stack(axes[motion.skeleton.up], axis=-1)


def _lengths(places: Array, start: int, end: int) -> Array:
    """Of a limb, at every time."""
    return np.linalg.norm(places[:, end] - places[:, start], axis=1)


def _reach(skeleton: Skeleton, places: Array) -> float:
    """The longest way along the bones from the root to a tip."""
    ways = [0.0]
    for number, joint in enumerate(skeleton.joints[1:], start=1):
        # a bone is as long as it usually is: it can stretch where a joint has translations
        ways.append(ways[joint.parent] + float(np.median(_lengths(places, joint.parent, number))))
    return max(ways)


def _side(name: str, names: Collection[str]) -> tuple[int, int, int] | None:
    """The colour of a joint that has a twin at the other side."""
    for left, right in SIDES:
        if _has_twin(name, left, right, names):
            return LEFT
        if _has_twin(name, right, left, names):
            return RIGHT
    return None


def _has_twin(name: str, here: str, there: str, names: Collection[str]) -> bool:
    starts = [start for start in range(len(name)) if name.startswith(here, start)]
    return any(name[:start] + there + name[start + len(here) :] in names for start in starts)


def _is_length(channel: str) -> bool:
    return channel.endswith(TRANSLATIONS)


def _curve(motion: Motion, channel: str) -> Array:
    """A channel over time, in degrees that do not jump or in the unit of the skeleton."""
    known = motion.skeleton.channels
    if channel not in known:
        raise ValueError(f"channels: there is no {channel!r}, there are {', '.join(known)}")
    values = motion.values[:, known.index(channel)]
    return values if _is_length(channel) else np.rad2deg(np.unwrap(values))


def _liveliest(motion: Motion) -> list[str]:
    """The channels that vary most, in the order of the skeleton."""
    channels = motion.skeleton.channels
    size = _reach(motion.skeleton, motion.positions()) or 1.0
    # of angles as points on a circle: a full turn that only the unwrapping makes does not count
    spreads = [
        (values / size if _is_length(channel) else np.exp(1j * values)).std()
        for channel, values in zip(channels, motion.values.T, strict=True)
    ]
    return [channels[number] for number in sorted(np.argsort(spreads)[::-1][:PLOTTED])]
