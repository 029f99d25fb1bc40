import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from seqebm.data.mocap import Joint, Motion, Skeleton
from seqebm.figures import angle_plot, figure, figure_frames, resampled
from seqebm.video import strip


def walker(time=30, speed=0.0, frame_rate=30, unit=1.0, up="y", start=0.0):
    """A body of 1.6 whose longest way from the root is 1, and which goes along x at a speed."""
    joints = {
        "hips": (None, (0, 0.8, 0)),
        "lhip": ("hips", (0.1, 0, 0)),
        "lknee": ("lhip", (0, -0.4, 0)),
        "lfoot": ("lknee", (0, -0.4, 0)),
        "rhip": ("hips", (-0.1, 0, 0)),
        "rknee": ("rhip", (0, -0.4, 0)),
        "rfoot": ("rknee", (0, -0.4, 0)),
        "chest": ("hips", (0, 0.4, 0)),
        "larm": ("chest", (0.2, 0, 0)),
        "lhand": ("larm", (0, -0.4, 0)),
        "rarm": ("chest", (-0.2, 0, 0)),
        "rhand": ("rarm", (0, -0.4, 0)),
        "head": ("chest", (0, 0.2, 0)),
        "head tip": ("head", (0, 0.2, 0)),
    }
    swing = {"lhip": 0.4, "rhip": -0.4, "larm": -0.5, "rarm": 0.5}
    names = list(joints)

    def turned(place):
        x, y, z = (unit * number for number in place)
        return {"x": (y, z, x), "y": (x, y, z), "z": (x, -z, y)}[up]  # of a body with y upwards

    skeleton = Skeleton(
        [
            Joint(
                name,
                -1 if parent is None else names.index(parent),
                turned(offset),
                ("tx", "ty", "tz") if parent is None else ("rx",) if name in swing else (),
            )
            for name, (parent, offset) in joints.items()
        ],
        up=up,
    )
    clock = np.arange(time) / frame_rate
    places = [turned((start + speed * seconds, 0.8, 0)) for seconds in clock]
    angles = [size * np.sin(2 * np.pi * clock) for size in swing.values()]
    return Motion(skeleton, np.column_stack([places, *angles]), frame_rate)


def moved(motion, x=0.0, y=0.0, z=0.0):
    values = motion.values.copy()
    values[:, :3] += [x, y, z]
    return replace(motion, values=values)


def pixel(place, size=256):
    """Row and column of x to the right, y above and z in front of the root, seen from azimuth 0.

    The camera is 4.5 away, level with a place 0.07 below the root, and sees 2 at that distance.
    """
    x, y, z = place
    scale = size / 2 * 4.5 / (4.5 - z)
    return round(size / 2 - (y + 0.07) * scale - 0.5), round(size / 2 + x * scale - 0.5)


def side(colour):
    """Blue is left, orange is right, grey is neither; lights and shades keep that."""
    red, _, blue = map(int, colour)
    return "left" if blue > red + 25 else "right" if red > blue + 25 else "middle"


def floor_pixel(x, z, height=0.8):
    """Row and column of the floor below a root at a height, from azimuth 0, elevation 15."""
    sine, cosine = np.sin(np.deg2rad(15)), np.cos(np.deg2rad(15))
    below = height - 0.07
    scale = 128 * 4.5 / (4.5 - z * cosine + below * sine)
    return round(127.5 + (z * sine + below * cosine) * scale), round(127.5 + x * scale)


def assert_line(picture, row):
    """There is a line of the grid at this row, left of the figure, where no other line is."""
    rows = picture[row - 8 : row + 9, 30:45].mean(axis=(1, 2))
    assert abs(rows.argmax() - 8) <= 1
    assert rows.max() > rows.min() + 10


def is_limb(pictures):
    """Where pixels are brighter than the brightest line of the grid."""
    return pictures.max(axis=-1) > 125


# --- figure ----------------------------------------------------------------------------------


def test_there_is_a_picture_for_each_frame():
    pictures = figure(walker(7), size=(96, 128))
    assert pictures.shape == (7, 96, 128, 3)
    assert pictures.dtype == np.uint8
    assert len(np.unique(pictures.reshape(7, -1), axis=0)) == 7  # it moves
    assert strip(pictures, columns=3).shape[0] == 1  # what the library takes for pictures


def test_frames_come_one_at_a_time_and_are_those_of_the_figure():
    motion = walker(5, speed=1.0)
    frames = figure_frames(motion, (64, 64), motion, (10, 20))
    first = next(frames)
    assert first.shape == (1, 64, 64, 3)
    rest = list(frames)
    assert np.array_equal(
        np.concatenate([first, *rest]), figure(motion, (64, 64), motion, (10, 20))
    )


def test_limbs_are_where_a_projection_by_hand_puts_them_in_the_colour_of_their_side():
    picture = figure(walker(1), view=(0, 0))[0]  # at rest, seen from +z, so left is at the right
    for place, expected in [
        ((0.1, -0.2, 0), "left"),
        ((-0.1, -0.6, 0), "right"),
        ((0.2, 0.2, 0), "left"),
        ((-0.2, 0.2, 0), "right"),
        ((0, 0.2, 0), "middle"),
        ((0, 0.56, 0), "middle"),  # in the head
        ((0.05, 0.7, 0), "middle"),
    ]:
        found = picture[pixel(place)]
        assert side(found) == expected
        assert is_limb(found)
    for place in [(0, -0.4, 0), (0.15, 0.2, 0), (0, 0.85, 0)]:  # between the legs, beside, above
        assert not is_limb(picture[pixel(place)])


def test_a_limb_that_points_at_the_camera_looks_larger_and_lighter_at_its_near_end():
    stick = Skeleton([Joint("a", -1), Joint("b", 0, (0.5, 0, -0.5)), Joint("c", 0, (0.5, 0, 0.5))])
    skeleton = replace(stick, joints=[*stick.joints, Joint("d", 2, (0, 0.3, 0))])
    skeleton = replace(skeleton, joints=[*skeleton.joints, Joint("e", 1, (0, 0.3, 0))])
    reach = 0.3 + np.sqrt(0.5)
    picture = figure(Motion(skeleton, np.zeros((1, 0)), 30), view=(0, 0))[0]
    near = pixel(np.array([0.5, 0.15, 0.5]) / reach)
    far = pixel(np.array([0.5, 0.15, -0.5]) / reach)
    assert near[1] > far[1] + 10  # perspective
    assert picture[near].max() > picture[far].max() + 20
    assert is_limb(picture[near[0]])[near[1] - 9 : near[1] + 9].sum() > (
        is_limb(picture[far[0]])[far[1] - 9 : far[1] + 9].sum()
    )


def test_what_is_nearer_hides_what_is_farther():
    motion = walker(1)
    from_left, from_right = (figure(motion, view=(azimuth, 0))[0] for azimuth in (90, -90))
    middle = pixel((0, -0.2, 0.1))  # where one thigh is before the other
    assert side(from_left[middle]) == "left"
    assert side(from_right[middle]) == "right"


def test_elevation_raises_the_camera():
    picture = figure(walker(1), view=(0, 90))[0]
    rows, columns = np.nonzero(is_limb(picture))
    assert np.ptp(rows) < 30  # the head and the feet are in one place
    assert abs(columns.mean() - 127.5) < 2
    assert figure(walker(1), view=(0, 0))[0][pixel((0, 0.6, 0))].max() > 150


def test_a_figure_stays_in_the_picture_wherever_it_walks():
    for motion in (walker(400, speed=8.0), walker(30, speed=1.5, start=1e6)):
        shown = is_limb(figure(motion, size=(64, 64))[:: len(motion) // 10])
        counts = shown.sum(axis=(1, 2))
        assert counts.min() > 0.6 * counts.max()
        assert not shown[:, [0, -1]].any()
        assert not shown[:, :, [0, -1]].any()


def test_a_figure_stays_near_the_picture_though_it_jumps_far_in_one_frame():
    motion = walker(60)
    values = motion.values.copy()
    values[30:, 0] += 50
    shown = is_limb(figure(replace(motion, values=values), size=(64, 64)))
    assert shown.any(axis=(1, 2)).all()


def test_the_grid_moves_beneath_a_figure_that_walks_and_only_then():
    def corner(motion):  # where no shadow falls
        return figure(motion, view=(0, 15))[:, -25:, :60].astype(int)

    standing = corner(walker(20))
    assert np.ptp(standing, axis=0).max() <= 1
    walking = corner(walker(21, speed=1.2))  # a square of 0.4 in 10 frames
    assert abs(walking[5] - walking[0]).max() > 15
    assert abs(walking[15] - walking[5]).mean() < 0.3  # one square on: the same picture


def test_the_camera_does_not_sway_with_each_step():
    motion = walker(90)
    clock = np.arange(90) / 30
    values = motion.values.copy()
    values[:, 0] += 0.03 * np.sin(2 * np.pi * clock)  # from one foot to the other
    values[:, 1] += 0.03 * np.sin(4 * np.pi * clock)  # up and down
    pictures = figure(replace(motion, values=values), view=(0, 15))[30:60]
    assert abs(np.diff(pictures[:, -25:, :60].astype(int), axis=0)).max() < 8
    tops = is_limb(pictures).any(axis=2).argmax(axis=1)
    assert np.ptp(tops) > 4  # but the head goes up and down


def test_the_floor_is_as_low_as_the_lowest_joint_ever_is():
    motion = walker(3)
    standing = figure(motion, view=(0, 15))[0]
    assert_line(standing, floor_pixel(0, -0.8)[0])
    assert_line(standing, floor_pixel(0, -1.2)[0])
    values = motion.values.copy()
    values[:, 1] += [1000.5, 1000.5, 1000]  # it lands from a jump, at any height
    values[:, 3:] = 0
    high = figure(replace(motion, values=values, frame_rate=0.5), view=(0, 15))[0]
    assert_line(high, floor_pixel(0, -1.2, height=1.3)[0])


def test_the_floor_is_not_seen_from_below():
    truth = walker(1)
    sunk = figure(moved(truth, y=-9), ghost=truth)[0]
    assert is_limb(sunk).any()
    assert (sunk[-25:] == 17).all()


def test_a_shadow_falls_to_the_right_of_the_figure_and_away_from_the_camera():
    motion = walker(1)
    picture = figure(motion, view=(0, 15))[0].astype(int)
    row, column = floor_pixel(0.5 * 1.5, -0.45 * 1.5)  # of the head, 1.5 above the floor
    assert picture[row, column].max() < picture[row, 255 - column].max() - 10


# --- what it must not depend on --------------------------------------------------------------


def test_the_axis_that_is_up_makes_no_difference():
    upright = walker(10, speed=1.0)
    assert np.array_equal(figure(walker(10, speed=1.0, up="z")), figure(upright))
    still = replace(upright, values=upright.values * [1, 1, 1, 0, 0, 0, 0])
    sideways = walker(10, speed=1.0, up="x")  # in which rx is another rotation
    sideways = replace(sideways, values=sideways.values * [1, 1, 1, 0, 0, 0, 0])
    difference = figure(sideways, view=(130, 15)).astype(int) - figure(still, view=(40, 15))
    assert abs(difference).mean() < 0.05


@pytest.mark.parametrize("unit", [100.0, 0.0254])
def test_the_unit_of_lengths_makes_no_difference(unit):
    shown = figure(walker(10, speed=1.0, unit=unit)).astype(int)
    assert abs(shown - figure(walker(10, speed=1.0))).mean() < 0.05


def test_sizes_show_the_same_in_more_or_fewer_pixels():
    large = figure(walker(1), size=(256, 256))[0]
    small = figure(walker(1), size=(128, 128))[0]
    reduced = np.asarray(Image.fromarray(large).reduce(2))
    assert abs(reduced.astype(int) - small).mean() < 3
    wide = figure(walker(1), size=(128, 256))[0]
    assert abs(wide[:, 64:-64].astype(int) - small).mean() < 0.5


def test_the_arguments_are_left_as_they_are():
    motion = walker(3)
    before = motion.values.copy()
    figure(motion, (32, 32), motion)
    assert np.array_equal(motion.values, before)


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("lfemur", "rfemur"),
        ("LHipJoint", "RHipJoint"),
        ("LeftHip", "RightHip"),
        ("mixamorig:LeftUpLeg", "mixamorig:RightUpLeg"),
        ("thigh_l", "thigh_r"),
        ("Bip01 L Thigh", "Bip01 R Thigh"),
        ("left hip", "right hip"),
    ],
)
def test_sides_are_told_from_names_that_come_in_pairs(left, right):
    skeleton = Skeleton(
        [
            Joint("root", -1),
            Joint("lowerback", 0, (0, 1, 0)),
            Joint(left, 0, (0.7, 0.7, 0)),
            Joint(right, 0, (-0.7, 0.7, 0)),
            Joint("End Site", 2, (0, -0.01, 0)),
        ]
    )
    picture = figure(Motion(skeleton, np.zeros((1, 0)), 30), view=(0, 0))[0]
    for place, expected in [((0.35, 0.35), "left"), ((-0.35, 0.35), "right"), ((0, 0.5), "middle")]:
        assert side(picture[pixel((*place, 0))]) == expected


def test_a_name_without_a_twin_and_a_place_that_both_sides_share_are_in_the_middle():
    skeleton = Skeleton(
        [
            Joint("thorax", -1),
            Joint("lcollar", 0, (0, 0.5, 0)),
            Joint("rcollar", 0, (0, 0.5, 0)),
            Joint("lhand", 1, (0.5, 0, 0)),
            Joint("lfinger", 0, (0.5, -0.5, 0)),
        ]
    )
    picture = figure(Motion(skeleton, np.zeros((1, 0)), 30), view=(0, 0))[0]
    assert side(picture[pixel((0, 0.2, 0))]) == "middle"
    assert side(picture[pixel((0.25, -0.25, 0))]) == "middle"
    assert side(picture[pixel((0.25, 0.5, 0))]) == "left"  # the finger's thorax is no left side


def test_a_head_is_there_only_where_a_name_says_so():
    motion = walker(1)
    joints = [
        replace(joint, name=joint.name.replace("head", "top")) for joint in motion.skeleton.joints
    ]
    bare = figure(replace(motion, skeleton=replace(motion.skeleton, joints=joints)), view=(0, 0))
    beside = pixel((0.06, 0.7, 0))
    assert is_limb(figure(motion, view=(0, 0))[0])[beside]
    assert not is_limb(bare[0])[beside]


# --- ghosts ----------------------------------------------------------------------------------


def test_a_ghost_is_fainter_and_in_the_same_world():
    motion = walker(1)
    alone = figure(motion, view=(0, 0))[0].astype(int)
    both = figure(motion, ghost=moved(motion, x=0.5), view=(0, 0))[0].astype(int)
    thigh, ghost = pixel((0.1, -0.2, 0)), pixel((0.6, -0.2, 0))
    assert np.array_equal(both[thigh], alone[thigh])
    assert alone[ghost].max() < both[ghost].max() < 0.75 * both[thigh].max()
    assert both[ghost].argmax() == 2  # of a blue leg


def test_a_ghost_that_does_the_same_is_hidden():
    motion = walker(3)
    difference = figure(motion, ghost=motion).astype(int) - figure(motion)
    assert abs(difference).mean() < 0.1  # but for the edges


def test_the_ghost_stands_on_the_floor():
    truth = walker(1)
    aloft = figure(moved(truth, y=0.5), ghost=moved(truth, x=400), view=(0, 15))[0]
    assert_line(aloft, floor_pixel(0, -1.2, height=1.3)[0])


@pytest.mark.parametrize("away", [(0, 0, 4.4), (0, 0, 5), (0, 0, 60), (1e12, 0, 0), (0, -1e9, 0)])
def test_a_ghost_out_of_sight_leaves_no_trace(away):
    motion = walker(1)
    alone = figure(motion, view=(0, 0)).astype(int)
    both = figure(motion, ghost=moved(motion, *away), view=(0, 0)).astype(int)
    assert is_limb(both).sum() == is_limb(alone).sum()


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 64)}, r"size: expected .* at least 16, got \(0, 64\)"),
        ({"size": (64, -64)}, "size: "),
        ({"size": (64.5, 64)}, "size: "),
        ({"size": (64,)}, "size: "),
        ({"size": 64}, "size: "),
        ({"view": (0, -1)}, "view: .* from 0 to 90 degrees, got"),
        ({"view": (0, 91)}, "view: "),
        ({"view": (np.nan, 10)}, "view: "),
        ({"view": (0, np.nan)}, "view: "),
        ({"view": (0, 1, 2)}, "view: "),
        ({"ghost": walker(4)}, "ghost: expected 3 frames as motion, got 4"),
        ({"ghost": walker(3, frame_rate=60)}, "ghost: expected 30 frames per second .* got 60"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        figure_frames(walker(3), **arguments)


@pytest.mark.parametrize("joints", [[Joint("a", -1)], [Joint("a", -1), Joint("b", 0)]])
def test_a_skeleton_without_limbs_is_refused(joints):
    with pytest.raises(ValueError, match="motion: its skeleton has no limbs"):
        figure(Motion(Skeleton(joints), np.zeros((2, 0)), 30))


# --- resampled -------------------------------------------------------------------------------


def counting(time, frame_rate):
    hip = Skeleton([Joint("hip", -1, channels=("tx",))])
    return Motion(hip, np.arange(float(time))[:, None], frame_rate, "counting", 5)


@pytest.mark.parametrize("frame_rate", [120, 120.00048, 119.98])
def test_a_fourth_of_the_frame_rate_takes_every_fourth_frame(frame_rate):
    motion = resampled(counting(100_000, frame_rate), 30)
    assert np.array_equal(motion.values[:, 0], np.arange(0, 100_000, 4))
    assert (motion.frame_rate, motion.name, motion.first_frame) == (30, "counting", 5)


def test_frames_nearest_in_time_are_taken_where_rates_do_not_divide():
    motion = resampled(counting(121, 60), 25)
    times = np.arange(51) / 25
    assert len(motion) == 51  # both last two seconds
    assert abs(motion.values[:, 0] / 60 - times).max() <= 1 / 120 + 1e-9
    assert resampled(counting(2, 60), 1).values.tolist() == [[0.0]]


def test_the_same_frame_rate_leaves_all_frames():
    assert np.array_equal(resampled(counting(1000, 30), 30).values, counting(1000, 30).values)
    rounded = resampled(counting(1000, 1 / 0.0416667), 24)  # a little more than it has
    assert np.array_equal(rounded.values, counting(1000, 24).values)


def test_angles_are_not_averaged_across_the_wrap():
    arm = Skeleton([Joint("arm", -1, channels=("rz",))])
    angles = np.array([3.1, -3.1, 3.1, -3.1, 3.1])
    assert resampled(Motion(arm, angles[:, None], 50), 35).values.tolist() == [
        [3.1],
        [-3.1],
        [-3.1],
    ]


@pytest.mark.parametrize("frame_rate", [0, -30, np.nan, np.inf])
def test_frame_rates_must_be_positive(frame_rate):
    with pytest.raises(ValueError, match="frame_rate: expected a positive number"):
        resampled(counting(5, 30), frame_rate)


@pytest.mark.parametrize("frame_rate", [31, 60])
def test_frames_are_not_made_up(frame_rate):
    with pytest.raises(ValueError, match=f"at most that of the motion, 30, got {frame_rate}"):
        resampled(counting(5, 30), frame_rate)


# --- angle_plot ------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """The matplotlib figures that are saved."""
    figures = []
    module = pytest.importorskip("matplotlib.figure")
    save = module.Figure.savefig
    monkeypatch.setattr(
        module.Figure,
        "savefig",
        lambda *args, **kwargs: (figures.append(args[0]), save(*args, **kwargs)),
    )
    return figures


def curves(panel):
    """Seconds and values of each line, the one on top first."""
    lines = sorted(panel.get_lines(), key=lambda line: -line.get_zorder())
    return [np.array(line.get_data()) for line in lines]


def titles(plot):
    return [panel.get_title(loc="left") for panel in plot.axes]


def test_a_plot_shows_angles_in_degrees_and_lengths_in_the_unit_over_seconds(tmp_path, drawn):
    motion = walker(60, speed=2.0)
    angle_plot(tmp_path / "walk.png", motion, channels=["rarm.rx", "hips.tx"])
    with Image.open(tmp_path / "walk.png") as image:
        assert image.format == "PNG"
        assert image.width == 900
    (plot,) = drawn
    assert titles(plot) == ["rarm.rx", "hips.tx"]
    assert [panel.get_ylabel() for panel in plot.axes] == ["degrees", "units"]
    ((seconds, angle),), ((_, length),) = map(curves, plot.axes)
    clock = np.arange(60) / 30
    np.testing.assert_allclose(seconds, clock)
    np.testing.assert_allclose(angle, np.rad2deg(0.5 * np.sin(2 * np.pi * clock)))
    np.testing.assert_allclose(length, 2 * clock)
    assert not plot.legends


def turning(turns, time=40, name=""):
    wheel = Skeleton([Joint("wheel", -1, channels=("rz",)), Joint("rim", 0, (1, 0, 0))])
    angles = np.linspace(*turns, time) * 2 * np.pi
    return Motion(wheel, np.angle(np.exp(1j * angles))[:, None], 20, name)


def test_angles_go_on_beyond_a_full_turn_and_begin_within_half_of_each_other(tmp_path, drawn):
    angle_plot(tmp_path / "turns.png", turning((0.45, 3), name="made"), turning((0.55, 3), 30))
    (plot,) = drawn
    (seconds, top), (other_seconds, beneath) = curves(plot.axes[0])
    np.testing.assert_allclose(top[[0, -1]], [0.45 * 360, 3 * 360])
    np.testing.assert_allclose(beneath[[0, -1]], [0.55 * 360, 3 * 360])
    assert (seconds[-1], other_seconds[-1]) == (39 / 20, 29 / 20)
    assert [text.get_text() for text in plot.legends[0].get_texts()] == ["made", "other"]


def test_six_channels_that_vary_most_are_shown_in_their_order(tmp_path, drawn):
    joints = [Joint(f"j{n}", n - 1, (0, 1, 0), ("rx",)) for n in range(8)]
    spread = np.array([0.1, 0.5, 0.01, 0.4, 0.3, 0.02, 0.6, 0.7])
    values = spread * np.sin(np.arange(50))[:, None]
    values[:, 2] += np.repeat([0, 2 * np.pi], 25)  # the same angle
    motion = Motion(Skeleton(joints), values, 25)
    angle_plot(tmp_path / "liveliest.png", motion)
    assert titles(drawn[0]) == [f"j{n}.rx" for n in (0, 1, 3, 4, 6, 7)]


def test_the_unit_does_not_decide_what_is_lively(tmp_path, drawn):
    joints = [Joint("root", -1, channels=("tx", "ty"))]
    joints += [Joint(f"j{n}", n, (0, 1000, 0), ("rx",)) for n in range(5)]
    waves = np.sin(np.arange(50))[:, None] * [500, 5000, *[0.5] * 5]  # of 5000
    angle_plot(tmp_path / "lively.png", Motion(Skeleton(joints), waves, 25))
    assert titles(drawn[0]) == ["root.ty", *(f"j{n}.rx" for n in range(5))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"channels": ["rarm.rx", "rarm.rz"]},
            "channels: there is no 'rarm.rz', there are hips.tx",
        ),
        ({"channels": []}, "channels: expected at least one"),
        (
            {"other": turning((0, 1)), "channels": ["rarm.rx"]},
            "there is no 'rarm.rx', there are wh",
        ),
        ({"path": "walk.pdf"}, r"path must end in \.png, got 'walk\.pdf'"),
    ],
)
def test_bad_plots_are_refused_and_leave_no_file(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        angle_plot(**{"path": "walk.png", "motion": walker(5), **arguments})
    assert not list(tmp_path.iterdir())


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install seqebm\[plots\]"):
        angle_plot(tmp_path / "walk.png", walker(5))
