import re
import subprocess
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from seqebm import ffmpeg
from seqebm.video import (
    Writer,
    error_pictures,
    grid,
    pictures,
    receptive_fields,
    save,
    side_by_side,
    strip,
    weight_matrix,
)

BACKGROUND, OUTLINE = 17, 64


def balls(time=100, resolution=30):
    """Three smooth discs on fixed Lissajous curves, [time, resolution²]."""
    clock = torch.arange(time, dtype=torch.float64) / 20
    axis = (torch.arange(resolution) + 0.5) / resolution
    total = torch.zeros(time, resolution, resolution, dtype=torch.float64)
    for k in range(3):
        y = 0.5 + 0.35 * torch.sin((1 + k) * clock + k)
        x = 0.5 + 0.35 * torch.cos((2 + 0.7 * k) * clock)
        square = (axis[None, :, None] - y[:, None, None]) ** 2
        square = square + (axis[None, None, :] - x[:, None, None]) ** 2
        total += torch.exp(-((square / 0.12**2) ** 4))
    return total.clamp(max=1).reshape(time, -1)


def noise(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def read_mp4(path):
    """What ffmpeg says about the file, and the pictures [time, height, width, 3]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-i", f"file:{path}"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    said = done.stderr.decode().split("Output #0")[0]
    width, height = map(int, re.search(r" (\d+)x(\d+)[, ]", said).groups())
    return said, np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def frame_rate(said):
    return float(re.search(r"([\d.]+) fps", said).group(1))


def read_gif(path):
    """Durations in milliseconds, the number of loops (0: for ever) and the pictures."""
    durations, shown = [], []
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            durations.append(image.info["duration"])
            shown.append(np.array(image.convert("RGB")))
        return durations, image.info["loop"], np.stack(shown)


def difference(a, b):
    return np.abs(np.asarray(a, float) - np.asarray(b, float))


# Picture makers


def test_pictures_equals_a_plain_loop_over_pixels():
    frames = torch.linspace(-0.3, 1.3, 24).reshape(2, 12)
    made = pictures(frames, (3, 4), zoom=5)
    assert made.shape == (2, 15, 20)
    assert made.dtype == np.uint8
    for t in range(2):
        for y in range(15):
            for x in range(20):
                value = float(frames[t, (y // 5) * 4 + x // 5])
                assert made[t, y, x] == round(255 * min(max(value, 0.0), 1.0))


@pytest.mark.parametrize(
    ("shape", "zoom"),
    [((30, 30), 6), ((28, 28), 7), ((15, 20), 12), ((200, 300), 1), ((1, 88), 8), ((1, 900), 1)],
)
def test_default_zoom_is_pleasant_and_bounded(shape, zoom):
    made = pictures(torch.zeros(1, shape[0] * shape[1]), shape)
    assert made.shape == (1, shape[0] * zoom, shape[1] * zoom)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.bool])
def test_pictures_of_any_dtype(kind):
    frames = torch.tensor([[0.0, 1.0]]).to(kind)
    assert pictures(frames, (1, 2), zoom=1).tolist() == [[[0, 255]]]


def test_pictures_of_read_only_arrays_and_of_tensors_with_gradient():
    array = np.broadcast_to(np.float32(1.0), (2, 4))
    assert pictures(array, (2, 2), zoom=1).tolist() == [[[255] * 2] * 2] * 2
    assert pictures(torch.ones(1, 1, requires_grad=True), (1, 1), zoom=1).item() == 255


def test_error_pictures_are_black_without_error_red_above_and_blue_below():
    errors = torch.tensor([[-9.0, -1.0, -0.25, 0.0, 0.25, 1.0, 9.0]])
    shown = error_pictures(errors, (1, 7), zoom=1)[0, 0].astype(int)
    assert shown[3].tolist() == [0, 0, 0]
    assert shown[2].tolist() == [20, 55, 115]  # half way from black to the colour of -0.5
    assert (shown[0] == shown[1]).all()
    assert (shown[5] == shown[6]).all()
    assert (shown[:3, 2] > shown[:3, 0]).all()
    assert (shown[4:, 0] > shown[4:, 2]).all()


def test_error_colours_get_brighter_with_the_error():
    errors = torch.linspace(0, 1, 50)
    for sign in (1, -1):
        light = error_pictures(sign * errors[None], (1, 50), zoom=1)[0, 0].sum(axis=-1)
        assert (np.diff(light.astype(int)) > 0).all()


def test_error_pictures_zoom_and_shape():
    assert error_pictures(torch.zeros(3, 6), (2, 3), zoom=4).shape == (3, 8, 12, 3)
    assert error_pictures(torch.zeros(3, 900), (30, 30)).shape == (3, 180, 180, 3)


def test_receptive_fields_place_each_unit_on_one_symmetric_scale():
    weight = torch.arange(-12.0, 8.0).reshape(5, 4)  # the largest magnitude is 12
    made = receptive_fields(weight, (2, 2), count=3, columns=2)
    side = 2 * 30 + 2  # zoom 30, and a line at either side
    assert made.shape == (1, 2 * side, 2 * side, 3)
    for unit in range(3):
        for pixel in range(4):
            y = unit // 2 * side + 1 + pixel // 2 * 30 + 15
            x = unit % 2 * side + 1 + pixel % 2 * 30 + 15
            expected = round(127.5 + 127.5 * float(weight[unit, pixel]) / 12)
            assert made[0, y, x].tolist() == [expected] * 3
    assert (made[0, side:, side:] == BACKGROUND).all()  # there is no fourth unit to show


def test_receptive_fields_scale_ignores_units_that_are_not_shown():
    weight = torch.tensor([[1.0], [-0.5], [100.0]])
    made = receptive_fields(weight, (1, 1), count=2, columns=2)
    assert made[0, 31, 31, 0] == 255
    assert made[0, 31, 62 + 31, 0] == 64


def test_weights_that_are_all_zero_are_mid_grey():
    assert (weight_matrix(torch.zeros(3, 3)) == 128).all()
    assert receptive_fields(torch.zeros(1, 4), (2, 2))[0, 5, 5, 0] == 128


def test_weight_matrix_squares_have_areas_in_proportion():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    made = weight_matrix(matrix, count=6)
    assert made.shape == (1, 50, 60)
    shown = matrix[:5, :6]
    for i in range(5):
        for j in range(6):
            cell = made[0, 10 * i : 10 * i + 10, 10 * j : 10 * j + 10]
            area = ((cell - 127.5) / 127.5).sum()
            expected = 81 * float(shown[i, j] / shown.abs().max())
            assert area == pytest.approx(expected, abs=0.5)  # 100 pixels, each rounded


def test_weight_matrix_strongest_weight_is_white_and_leaves_a_gap():
    cell = weight_matrix(torch.tensor([[2.0]]))[0]
    assert (cell[1:9, 1:9] == 255).all()
    assert cell[0, 0] < 255


@pytest.mark.parametrize("make", [pictures, error_pictures, receptive_fields])
@pytest.mark.parametrize("shape", [(2, 3), (4, 1, 1), (-2, -2), (4,)])
def test_shape_must_match_the_frames(make, shape):
    with pytest.raises(ValueError, match="shape must be a height and a width"):
        make(torch.zeros(2, 4), shape)


@pytest.mark.parametrize(
    ("make", "name"),
    [(pictures, "frames"), (error_pictures, "errors"), (receptive_fields, "weight")],
)
def test_values_must_be_finite_two_dimensional_and_there(make, name):
    for bad in (torch.zeros(0, 4), torch.zeros(4), torch.zeros(1, 2, 4)):
        with pytest.raises(ValueError, match=f"{name} must have two dimensions"):
            make(bad, (2, 2))
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"{name} must be finite, got 1 other"):
            make(torch.tensor([[0.0, bad, 0.0, 0.0]]), (2, 2))


def test_weight_matrix_rejects_what_is_not_a_finite_matrix():
    with pytest.raises(ValueError, match="matrix must have two dimensions"):
        weight_matrix(torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match="matrix must be finite"):
        weight_matrix(torch.full((2, 2), torch.nan))


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2"])
def test_counts_must_be_positive_whole_numbers(bad):
    panel = noise(2, 4, 4)
    calls = {
        "zoom": lambda: pictures(torch.zeros(1, 4), (2, 2), zoom=bad),
        "count": lambda: receptive_fields(torch.zeros(1, 4), (2, 2), count=bad),
        "columns": lambda: grid([panel], columns=bad),
        "every": lambda: strip(panel, every=bad),
    }
    calls_again = {
        "columns": lambda: strip(panel, columns=bad),
        "count": lambda: weight_matrix(torch.zeros(2, 2), count=bad),
    }
    for name, call in [*calls.items(), *calls_again.items()]:
        with pytest.raises(ValueError, match=f"{name} must be a positive whole number"):
            call()


# Layouts


def test_side_by_side_holds_every_panel_unchanged_under_its_caption():
    grey, colour = noise(3, 40, 60), noise(3, 40, 50, 3, seed=1)
    made = side_by_side({"a": grey, "b": colour})
    # margins of 10, captions of 20, a line of 1 around each panel
    assert made.shape == (3, 10 + 20 + 10 + 42 + 10, 10 + 62 + 10 + 52 + 10, 3)
    assert (made[:, 41:81, 11:71] == grey[..., None]).all()
    assert (made[:, 41:81, 83:133] == colour).all()
    assert (made[:, 40, 10:72] == OUTLINE).all()
    for left, right in ((10, 72), (82, 134)):
        caption = made[:, 10:30, left:right]
        assert caption.max() > 180  # light text
        assert (caption == caption[:1]).all()  # the same at all times
    made[:, 10:30, 10:134] = BACKGROUND
    assert (made[:, :40] == BACKGROUND).all()


def test_side_by_side_makes_room_for_long_captions_and_centres_small_panels():
    made = side_by_side(
        {"a caption far wider than its panel": noise(1, 8, 8), "b": noise(1, 20, 8)}
    )
    lines = np.argwhere((made[0, 40:62] == OUTLINE).all(axis=-1))
    first = lines[lines[:, 1] < made.shape[2] // 2]
    assert made.shape[2] > 200
    assert first[:, 0].min() == 6  # (22 - 10) / 2
    inside = made[0, 10:30, 10:-30]
    assert (inside[:, [0, -1]] < 128).all()  # the text is not cut off


def test_captions_differ_with_their_text():
    panel = noise(1, 30, 30)
    assert (side_by_side({"a": panel}) != side_by_side({"b": panel})).any()


def test_grid_fills_rows_first_and_leaves_the_rest_empty():
    panels = [noise(2, 5, 7, seed=k) for k in range(5)]
    made = grid(panels, columns=3)
    assert made.shape == (2, 14, 27, 3)
    for k, panel in enumerate(panels):
        top, left = 7 * (k // 3) + 1, 9 * (k % 3) + 1
        assert (made[:, top : top + 5, left : left + 7] == panel[..., None]).all()
    assert (made[:, 7:, 18:] == BACKGROUND).all()
    assert (made[:, 6:8, :18] == OUTLINE).all()  # two thin lines between rows


def test_grid_of_fewer_panels_than_columns_is_as_narrow_as_they_are():
    assert grid([noise(2, 5, 7)], columns=4).shape == (2, 7, 9, 3)


def test_strip_shows_every_few_frames_in_rows():
    truth, guess = noise(20, 6, 6), noise(20, 6, 6, 3, seed=1)
    made = strip({"": truth, " ": guess}, every=3, columns=4)
    step = 8 + 4  # a panel with its lines, and the gap
    left = made.shape[2] - 4 * step
    for k in range(4):
        x = left + step * k + 1
        expected = np.repeat(truth[3 * k][..., None], 3, axis=-1)
        # captions are taller than these panels: rows of 20, panels in the middle
        assert (made[0, 4 + 7 : 4 + 13, x : x + 6] == expected).all()
        assert (made[0, 28 + 7 : 28 + 13, x : x + 6] == guess[3 * k]).all()


def test_strip_has_captions_at_the_left_only_if_given():
    video = np.zeros((3, 30, 30), np.uint8)
    plain, captioned = strip(video), strip({"truth": video})
    assert plain.shape == (1, 40, 8 + 3 * 36, 3)
    assert captioned.shape[2] > plain.shape[2] + 20
    assert captioned[0, :, :-108].max() > 180
    assert plain.max() == OUTLINE
    assert (captioned[0, :, :8] == BACKGROUND).all()  # the text does not touch the edge


@pytest.mark.parametrize("lay", [side_by_side, strip, lambda panels: grid([*panels.values()], 2)])
def test_layouts_reject_bad_panels(lay):
    with pytest.raises(ValueError, match="at least one panel"):
        lay({})
    with pytest.raises(ValueError, match=r"same number of frames, got \{.*2.*3.*\}"):
        lay({"a": noise(2, 4, 4), "b": noise(3, 4, 4)})
    with pytest.raises(ValueError, match=r"panel .* must be \[time, height, width\]"):
        lay({"a": noise(4, 4)})
    with pytest.raises(TypeError, match=r"panel .* must be uint8 arrays.*float64"):
        lay({"a": np.zeros((2, 4, 4))})


# Files


def test_mp4_of_balls_is_small_and_close(tmp_path):
    shown = pictures(balls(), (30, 30))
    save(tmp_path / "balls.mp4", shown, frame_rate=30)
    said, read = read_mp4(tmp_path / "balls.mp4")
    assert frame_rate(said) == 30
    assert "Video: h264" in said
    assert "yuv420p" in said
    assert read.shape == (100, 180, 180, 3)
    # lossy: 1.5 grey levels on average, and no frame in another's place
    assert difference(read, shown[..., None]).mean() < 1.5
    assert difference(read[1:], shown[:-1, ..., None]).mean() > 3
    assert (tmp_path / "balls.mp4").stat().st_size < 60_000


def test_mp4_of_colours_keeps_the_colours(tmp_path):
    colours = np.array([[165, 215, 255], [0, 0, 0], [225, 60, 35], [17, 17, 17]], np.uint8)
    shown = np.broadcast_to(colours[None, None], (5, 1, 4, 3)).repeat(32, axis=1).repeat(32, axis=2)
    save(tmp_path / "colours.mp4", shown)
    _, read = read_mp4(tmp_path / "colours.mp4")
    centres = read[:, 16, 16::32]
    assert difference(centres, colours).max() < 10


@pytest.mark.parametrize("size", [(31, 33), (31, 34), (30, 33), (1, 1)])
def test_mp4_of_odd_size_is_padded_at_the_end(tmp_path, size):
    shown = np.full((4, *size), 200, np.uint8)
    save(tmp_path / "odd.mp4", shown)
    _, read = read_mp4(tmp_path / "odd.mp4")
    height, width = size
    assert read.shape == (4, height + height % 2, width + width % 2, 3)
    assert difference(read[:, :height, :width], shown[..., None]).max() < 25
    assert difference(read[:, height:], BACKGROUND).max(initial=0) < 10
    assert difference(read[:, :, width:], BACKGROUND).max(initial=0) < 10


@pytest.mark.parametrize("rate", [0.5, 12.5, 24000 / 1001, 120])
def test_mp4_frame_rate(tmp_path, rate):
    save(tmp_path / "rate.mp4", noise(12, 16, 16), frame_rate=rate)
    said, read = read_mp4(tmp_path / "rate.mp4")
    assert len(read) == 12
    assert frame_rate(said) == pytest.approx(rate, abs=0.01)
    seconds = float(re.search(r"Duration: 00:00:([\d.]+)", said).group(1))
    assert seconds == pytest.approx(12 / rate, abs=0.02)


def test_mp4_of_one_frame(tmp_path):
    save(tmp_path / "one.mp4", np.full((1, 20, 20), 99, np.uint8))
    assert read_mp4(tmp_path / "one.mp4")[1].shape == (1, 20, 20, 3)


def test_grey_gif_is_exact_small_and_loops_for_ever(tmp_path):
    shown = pictures(balls(), (30, 30))
    save(tmp_path / "balls.gif", shown)
    durations, loop, read = read_gif(tmp_path / "balls.gif")
    assert durations == [40] * 100
    assert loop == 0
    assert (read == shown[..., None]).all()
    assert (tmp_path / "balls.gif").stat().st_size < 350_000


def test_colour_gif_is_exact_up_to_256_colours_and_close_beyond(tmp_path):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (200, 3), dtype=np.uint8)
    few = palette[rng.integers(0, 200, (6, 20, 31))]
    save(tmp_path / "few.gif", few)
    assert difference(read_gif(tmp_path / "few.gif")[2], few).max() == 0
    errors = torch.from_numpy(rng.uniform(-1, 1, (6, 900)))
    many = error_pictures(errors, (30, 30), zoom=2)
    save(tmp_path / "many.gif", many)
    read = read_gif(tmp_path / "many.gif")[2]
    assert read.shape == many.shape
    assert difference(read, many).mean() < 4


@pytest.mark.parametrize(
    ("rate", "milliseconds"),
    [(1, 1000), (24, 40), (25, 40), (30, 30), (35, 30), (50, 20), (120, 20)],
)
def test_gif_durations_are_the_nearest_that_players_respect(tmp_path, rate, milliseconds):
    save(tmp_path / "rate.gif", noise(3, 8, 8), frame_rate=rate)
    assert read_gif(tmp_path / "rate.gif")[0] == [milliseconds] * 3


def test_gif_merges_equal_frames_at_the_same_total_duration(tmp_path):
    shown = noise(2, 8, 8).repeat([3, 2], axis=0)
    save(tmp_path / "still.gif", shown)
    durations, _, read = read_gif(tmp_path / "still.gif")
    assert durations == [120, 80]
    assert (read == shown[[0, 3]][..., None]).all()


@pytest.mark.parametrize("size", [(9, 7), (9, 7, 3), (1, 9, 7), (1, 9, 7, 3)])
def test_png_is_exact_with_or_without_time(tmp_path, size):
    shown = noise(*size)
    save(tmp_path / "picture.png", shown)
    with Image.open(tmp_path / "picture.png") as image:
        assert image.format == "PNG"
        assert (np.array(image) == (shown[0] if size[0] == 1 else shown)).all()


def test_extensions_are_read_in_any_case_and_names_are_taken_literally(tmp_path):
    for name in ("A.GIF", "B.Mp4", "with space: 100%03d.mp4", "-v.mp4", "ü.png"):
        save(tmp_path / name, noise(1, 8, 8))
    assert len(list(tmp_path.iterdir())) == 5
    assert read_mp4(tmp_path / "B.Mp4")[1].shape == (1, 8, 8, 3)


def test_a_relative_path_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("take:1").mkdir()  # not a protocol
    for name in ("-video.mp4", "take:1/video.mp4"):
        save(name, noise(2, 8, 8))
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["video.avi", "video", ".mp4"])
def test_unknown_extensions_are_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"one of \.gif, \.mp4, \.png, got '.*"):
        save(tmp_path / name, noise(1, 8, 8))


@pytest.mark.parametrize("rate", [0, -25, 1e-3, 1e9, float("nan"), float("inf")])
def test_frame_rates_out_of_range_are_refused(tmp_path, rate):
    with pytest.raises(ValueError, match="frame_rate must be from"):
        save(tmp_path / "video.mp4", noise(1, 8, 8), frame_rate=rate)


@pytest.mark.parametrize("extension", [".mp4", ".gif", ".png"])
def test_pictures_of_another_kind_are_refused(tmp_path, extension):
    path = tmp_path / f"video{extension}"
    for bad in (noise(0, 8, 8), noise(2, 0, 8), noise(1, 8, 8, 4), noise(1, 1, 8, 8, 3), noise(8)):
        with pytest.raises(ValueError, match="pictures must be"):
            save(path, bad)
    for bad in (np.zeros((1, 8, 8)), torch.zeros(1, 8, 8, dtype=torch.uint8), [[[1, 2]]]):
        with pytest.raises(TypeError, match="pictures must be uint8"):
            save(path, bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", [".mp4", ".gif"])
def test_videos_need_an_axis_of_time(tmp_path, extension):
    with pytest.raises(ValueError, match=r"pictures must be \[time, height, width\]"):
        save(tmp_path / f"video{extension}", noise(8, 8))


def test_several_pictures_in_a_png_are_refused(tmp_path):
    for bad in (noise(2, 8, 8), noise(2, 8, 8, 3)):
        with pytest.raises(ValueError, match=r"one picture, got 2: .*strip"):
            save(tmp_path / "video.png", bad)


@pytest.mark.parametrize("extension", [".mp4", ".gif", ".png"])
def test_folders_that_cannot_be_written_are_named(tmp_path, extension):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "missing", tmp_path / "file"):
        path = folder / f"video{extension}"
        with pytest.raises(OSError, match="video") as caught:
            save(path, noise(1, 8, 8))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("extension", [".gif", ".png"])
def test_an_interrupted_write_leaves_the_old_picture(tmp_path, monkeypatch, extension):
    path = tmp_path / f"video{extension}"
    path.write_bytes(b"old")

    def interrupted(self, target, *_args, **_kwargs):
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, noise(1, 8, 8))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def started(monkeypatch):
    """Every process that was started."""
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return processes


def stand_in_for_ffmpeg(folder, monkeypatch, script):
    program = folder / "ffmpeg"
    program.write_text(
        f'#!/bin/sh\nfor last; do :; done\nprintf half > "${{last#file:}}"\n{script}\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))


def test_a_failing_ffmpeg_leaves_the_old_video_and_no_process(tmp_path, monkeypatch, started):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    program = tmp_path / "bin"
    program.mkdir()
    stand_in_for_ffmpeg(program, monkeypatch, "cat > /dev/null; echo disk full >&2; exit 1")
    with pytest.raises(OSError, match="disk full") as caught:
        save(path, noise(50, 200, 200))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert {*tmp_path.iterdir()} == {path, program}
    assert [process.returncode for process in started] == [1]


def test_an_interrupted_ffmpeg_is_ended_and_leaves_the_old_video(tmp_path, monkeypatch, started):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    program = tmp_path / "bin"
    program.mkdir()
    stand_in_for_ffmpeg(program, monkeypatch, "exec sleep 60")

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ffmpeg.Ffmpeg, "end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, noise(2, 8, 8))
    assert path.read_bytes() == b"old"
    assert {*tmp_path.iterdir()} == {path, program}
    assert [process.poll() for process in started] == [-9]


def test_ffmpeg_has_ended_after_a_success(tmp_path, started):
    save(tmp_path / "video.mp4", noise(2, 8, 8))
    assert [process.returncode for process in started] == [0]


def test_the_same_pictures_make_the_same_file(tmp_path):
    shown = pictures(balls(10), (30, 30))
    for extension in (".mp4", ".gif"):
        for name in "ab":
            save(tmp_path / f"{name}{extension}", shown)
        first, second = ((tmp_path / f"{name}{extension}").read_bytes() for name in "ab")
        assert first == second


def test_the_pieces_fit_together(tmp_path):
    truth = balls(12)
    guess = truth.roll(1, dims=0)
    shape = (30, 30)
    panels = {
        "truth": pictures(truth, shape),
        "prediction": pictures(guess, shape),
        "error": error_pictures(guess - truth, shape),
    }
    video_of_three = side_by_side(panels)
    save(tmp_path / "three.mp4", video_of_three)
    save(tmp_path / "strip.png", strip(panels, every=4))
    fields = receptive_fields(truth, shape)
    save(
        tmp_path / "weights.png", side_by_side({"W": fields, "W'": weight_matrix(truth @ truth.T)})
    )
    _, read = read_mp4(tmp_path / "three.mp4")
    assert read.shape == video_of_three.shape
    assert difference(read, video_of_three).mean() < 3


# Files that grow


def write_in_parts(path, shown, sizes, **options):
    with Writer(path, **options) as writer:
        for part in np.split(shown, np.cumsum(sizes)):
            if len(part):
                writer.write(part)


@pytest.mark.parametrize("size", [(64, 48), (31, 33), (32, 32, 3)])
@pytest.mark.parametrize("sizes", [[1] * 59, [10, 1, 30], []])
def test_a_written_video_is_close_and_in_order(tmp_path, size, sizes):
    shown = (noise(60, *size) // 16 + np.arange(60).reshape(-1, *[1] * len(size)) * 4).astype("u1")
    write_in_parts(tmp_path / "parts.mp4", shown, sizes, frame_rate=12.5)
    said, read = read_mp4(tmp_path / "parts.mp4")
    assert frame_rate(said) == 12.5
    assert "yuv420p" in said
    height, width = size[:2]
    assert read.shape == (60, height + height % 2, width + width % 2, 3)
    levels = read[:, :height, :width].reshape(60, -1).mean(1)
    assert difference(levels, shown.reshape(60, -1).mean(1)).max() < 2


def test_a_written_video_is_hardly_larger_than_a_saved_one(tmp_path):
    shown = pictures(balls(300), (30, 30))
    save(tmp_path / "saved.mp4", shown)
    write_in_parts(tmp_path / "parts.mp4", shown, [1] * 299)
    saved, written = ((tmp_path / f"{name}.mp4").stat().st_size for name in ("saved", "parts"))
    assert written < 1.4 * saved


def test_nothing_is_written_before_the_first_picture(tmp_path, started):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    with Writer(path):
        pass
    assert path.read_bytes() == b"old"
    assert started == []


def write_and_fail(path, shown, error):
    with Writer(path) as writer:
        for picture in shown:
            writer.write(picture[None])
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_after_an_error_the_file_has_every_picture(tmp_path, error, started):
    with pytest.raises(type(error)) as caught:
        write_and_fail(tmp_path / "video.mp4", noise(40, 16, 16), error)
    assert caught.value is error
    assert len(read_mp4(tmp_path / "video.mp4")[1]) == 40
    assert started[0].returncode == 0


def test_a_file_can_be_played_while_it_grows(tmp_path):
    path, shown = tmp_path / "video.mp4", np.zeros((600, 32, 32), np.uint8)
    lengths = []
    with Writer(path) as writer:
        for part in np.split(shown, 6):
            writer.write(part)
            wait_until(lambda: count_frames(path) >= 100 * (len(lengths) + 1) - 90)
            lengths.append(count_frames(path))
    assert lengths == sorted(lengths)
    assert lengths[-1] < len(read_mp4(path)[1]) == 600


def count_frames(path):
    return len(read_mp4(path)[1]) if path.exists() and path.stat().st_size > 1000 else 0


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def write_while_ffmpeg_is_killed(path, started):
    with Writer(path) as writer:
        for number in range(1000):
            writer.write(noise(1, 32, 32))
            if number == 300:
                wait_until(lambda: count_frames(path) >= 200)
                started[0].kill()


def test_a_killed_ffmpeg_is_an_error_and_leaves_what_can_be_played(tmp_path, started):
    path = tmp_path / "video.mp4"
    with pytest.raises(OSError, match=f"^{path}: ffmpeg: it gave no reason$"):
        write_while_ffmpeg_is_killed(path, started)
    assert 200 <= count_frames(path) <= 301


def write_to_a_full_disk(path, error=None):
    with Writer(path) as writer:
        writer.write(noise(3, 8, 8))
        if error is not None:
            raise error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "full.mp4"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=rf"^{path}: ffmpeg: (.|\n)*No space left"):
        write_to_a_full_disk(path)
    with pytest.raises(ZeroDivisionError):  # the first error is the one to know about
        write_to_a_full_disk(path, ZeroDivisionError())


def test_a_writer_names_folders_that_cannot_be_written(tmp_path):
    path = tmp_path / "missing" / "video.mp4"
    with pytest.raises(OSError, match=f"^{path}: ffmpeg: "), Writer(path) as writer:
        writer.write(noise(1, 8, 8))


def test_an_ffmpeg_that_talks_a_lot_does_not_stop_anything(tmp_path, monkeypatch):
    talk = "yes 'nothing is right' | head -c 1020000 >&2; cat > /dev/null; echo the end >&2; exit 3"
    stand_in_for_ffmpeg(tmp_path, monkeypatch, talk)
    with pytest.raises(OSError, match=r"(nothing is right\n){5}the end$") as caught:
        write_in_parts(tmp_path / "video.mp4", noise(50, 200, 200), [1] * 49)
    assert len(str(caught.value)) < 1000


def test_what_a_writer_does_not_take(tmp_path):
    for name in ("video.gif", "video", ".mp4"):
        with pytest.raises(ValueError, match=r"path must end in \.mp4, got '.*"):
            Writer(tmp_path / name)
    with pytest.raises(ValueError, match="frame_rate must be from"):
        Writer(tmp_path / "video.mp4", frame_rate=0)
    with Writer(tmp_path / "video.mp4") as writer:
        with pytest.raises(TypeError, match="pictures must be uint8"):
            writer.write(np.zeros((1, 8, 8)))
        with pytest.raises(ValueError, match="pictures must be"):
            writer.write(noise(0, 8, 8))
        assert not (tmp_path / "video.mp4").exists()
        writer.write(noise(2, 8, 8))
        for other in (noise(1, 8, 10), noise(1, 8, 8, 3)):
            with pytest.raises(ValueError, match=r"pictures must all be \[8, 8\], got \[8, "):
                writer.write(other)
        writer.write(noise(2, 8, 8))
    assert count_frames(tmp_path / "video.mp4") == 4


def test_several_videos_can_be_written_at_once(tmp_path):
    paths = [tmp_path / f"{name}.mp4" for name in "ab"]
    with Writer(paths[0]) as a, Writer(paths[1]) as b:
        for _ in range(30):
            a.write(noise(1, 200, 200))
            b.write(noise(1, 16, 16))
    assert [count_frames(path) for path in paths] == [30, 30]
