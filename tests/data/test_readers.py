import io
import struct
import subprocess
import warnings
import zipfile

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from seqebm.data import load_sequences, mocap, open_frames, read_images, read_video
from seqebm.data.readers import read_arrays


def write_video(path, frames, output_params=()):
    """Writes [time, height, width, 3] bytes with little loss at 10 frames per second."""
    height, width = frames.shape[1:3]
    options = {"fps": 10, "quality": 10, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    options["output_params"] = list(output_params)
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), **options)
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def write_changing_video(path, sizes, time=20):
    """Writes a video in which frames of one size, (width, height), come after those of another."""
    parts = []
    for width, height in sizes:
        picture = f"testsrc2=size={width}x{height}:rate=10:duration={time / 10}"
        parts.append(ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-f", "mpegts", "-"))
    ffmpeg("-f", "mpegts", "-i", "-", "-c", "copy", path, given=b"".join(parts))


def ffmpeg(*options, given=None):
    """What ffmpeg writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, options)]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def streamed(path, resolution=None):
    """The frames of a stream up to its end or to an error, and the message of the error."""
    frames = []
    try:
        with open_frames(path, resolution) as stream:
            for frame in stream:
                frames.append(frame)
    except ValueError as error:
        return frames, str(error)
    return frames, None


def outcome(read, path):
    """What is read, or the message of the ValueError."""
    try:
        return read(path), None
    except ValueError as error:
        return None, str(error)


def smooth_frames():
    """Eight grey frames [8, 32, 64, 3]: a ramp from left to right that gets brighter."""
    ramp = np.linspace(0, 120, 64)[None, None, :, None]
    times = np.arange(8)[:, None, None, None] * 15
    return np.broadcast_to(ramp + times + 10, (8, 32, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".MKV"])
def test_videos_become_grey_levels(tmp_path, suffix):
    frames = smooth_frames()
    write_video(tmp_path / f"ramp{suffix}", frames)
    (video,) = load_sequences(tmp_path / f"ramp{suffix}")
    assert (video.name, video.unit, video.shape) == ("ramp", "grey level", (32, 64))
    assert video.frame_rate == 10.0
    expected = torch.from_numpy(frames[..., 0] / 255).flatten(1).float()
    assert video.frames.shape == expected.shape
    assert (video.frames - expected).abs().max() < 0.03


def test_videos_are_resized_by_averaging(tmp_path):
    frames = smooth_frames()
    write_video(tmp_path / "ramp.mp4", frames)
    small = read_video(tmp_path / "ramp.mp4", resolution=(4, 8))
    assert small.shape == (4, 8)
    expected = (frames[..., 0] / 255).reshape(8, 4, 8, 8, 8).mean((2, 4)).reshape(8, 32)
    assert (small.frames - torch.from_numpy(expected)).abs().max() < 0.02
    assert read_video(tmp_path / "ramp.mp4", resolution=5).shape == (5, 5)


def test_colours_have_the_luma_of_bt_601(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    for number, colour in enumerate(colours):
        Image.new("RGB", (3, 2), colour).save(tmp_path / f"{number}.png")
    found = read_images(tmp_path).frames
    assert found[:, 0].tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0])
    assert found.max() <= 1
    video = np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in colours])
    write_video(tmp_path / "colours.mp4", video)
    hd = ("-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709")  # has another luma
    write_video(tmp_path / "hd.mp4", video, hd)
    for name in ("colours.mp4", "hd.mp4"):
        means = read_video(tmp_path / name).frames.mean(1)
        assert means.tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0], abs=0.02)


def test_gifs_are_read_with_their_frame_rate(tmp_path):
    images = [Image.new("L", (6, 4), grey) for grey in (0, 51, 255)]
    images[2].putpixel((1, 0), 102)
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=40)
    (gif,) = load_sequences(tmp_path / "a.gif")
    assert gif.shape == (4, 6)
    assert gif.frame_rate == pytest.approx(25.0)
    assert gif.frames[:, 0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert gif.frames[2, 1] == pytest.approx(0.4)
    images[0].save(tmp_path / "b.gif")
    assert read_video(tmp_path / "b.gif", 1).frame_rate == 10.0  # it says nothing


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".gif"])
@pytest.mark.parametrize("content", [b"", b"hello " * 1000, b"GIF89a", b"#EXTM3U\nfile:a.mp4\n"])
def test_what_is_not_a_video_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: [^\n]*$"):
        load_sequences(path)


def test_truncated_videos_are_refused(tmp_path):
    write_video(tmp_path / "clip.mp4", smooth_frames())
    whole = (tmp_path / "clip.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    for share in (0.1, 0.5, 0.95):  # the index is at the end
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=f"^{path}: no video"):
            read_video(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_videos_truncated_after_their_index_are_refused(tmp_path, suffix):
    whole = tmp_path / f"clip{suffix}"
    write_video(whole, smooth_frames(), ["-movflags", "faststart"])
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: int(0.8 * whole.stat().st_size)])
    with pytest.raises(ValueError, match=rf"^{path}: damaged after \d+ frames$"):
        read_video(path)


def test_truncated_gifs_are_refused_or_shorter(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 20, 20), dtype=np.uint8)
    images = [Image.fromarray(frame) for frame in noise]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    whole = (tmp_path / "a.gif").read_bytes()
    path = tmp_path / "cut.gif"
    outcomes = set()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        found, error = outcome(read_video, path)
        outcomes.add(len(found.frames) if error is None else error.split(":")[0])
    assert str(path) in outcomes
    assert outcomes <= {str(path), 1, 2, 3, 4, 5}


def test_audio_is_not_a_video(tmp_path):
    path = tmp_path / "sound.avi"
    samples = bytes(2000)
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    data = b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(header) + len(data)) + header + data)
    with pytest.raises(ValueError, match=f"^{path}: no video"):
        read_video(path)


def test_images_come_in_natural_order(tmp_path):
    for number in (10, 9, 1, 100):
        Image.new("L", (4, 6), number).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("ignored")
    (images,) = load_sequences(tmp_path)
    assert (images.frames[:, 0] * 255).round().tolist() == [1, 9, 10, 100]
    assert images.shape == (6, 4)
    assert images.name == tmp_path.name
    assert images.frame_rate == 25.0
    assert read_images(tmp_path, 2, frame_rate=3).frame_rate == 3.0


def test_images_are_resized_by_averaging(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    found = read_images(tmp_path, resolution=(2, 4))
    assert found.shape == (2, 4)
    expected = (pixels / 255).reshape(2, 3, 4, 2).mean((1, 3)).reshape(1, 8)
    np.testing.assert_allclose(found.frames, expected, atol=1e-6)


def test_images_of_all_kinds_are_read(tmp_path):
    grey = np.full((2, 2), 51, np.uint8)
    for suffix in ("png", "bmp", "tif", "jpg"):
        Image.fromarray(grey).save(tmp_path / f"8bit.{suffix}")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png", transparency=b"\0\1\2")
    Image.fromarray(grey).convert("LA").save(tmp_path / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16bit.png")
    Image.fromarray(grey.astype(np.int32) * 257).save(tmp_path / "32bit.tif")
    frames = read_images(tmp_path).frames
    assert frames.shape == (8, 4)
    assert (frames - 0.2).abs().max() < 0.01


@pytest.mark.parametrize("value", [-1, 65536])
def test_grey_levels_beyond_16_bits_are_refused(tmp_path, value):
    Image.fromarray(np.full((2, 2), value, np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=r"deep\.tif: grey values of more than 16 bits"):
        read_images(tmp_path)


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: float"):
        read_images(tmp_path)


def test_the_odd_image_is_named(tmp_path):
    Image.new("L", (4, 6)).save(tmp_path / "1.png")
    Image.new("L", (4, 7)).save(tmp_path / "2.png")
    message = r"2\.png: its size is \(7, 4\), that of 1\.png \(6, 4\)"
    with pytest.raises(ValueError, match=message):
        read_images(tmp_path)
    assert read_images(tmp_path, resolution=3).frames.shape == (2, 9)


def test_damaged_images_are_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)).save(
        tmp_path / "good.png"
    )
    whole = (tmp_path / "good.png").read_bytes()
    for end in (0, 10, 40, 60, len(whole) // 2):
        (tmp_path / "half.png").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"half\.png: "):
            read_images(tmp_path)


@pytest.mark.parametrize("side", [8200, 10_000, 30_000])
def test_enormous_images_are_refused(tmp_path, side):
    def chunk(kind, content):
        import zlib

        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b""))
    with pytest.raises(ValueError, match=r"bomb\.png: .*pixels"):
        read_images(tmp_path)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path}: no frame"):
        load_sequences(tmp_path)
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        read_images(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: not a folder"):
        read_images(tmp_path / "file")


@pytest.mark.parametrize("resolution", [0, (3, -1), 10**6])
def test_bad_resolutions_are_refused(tmp_path, resolution):
    with pytest.raises(ValueError, match="resolution must be positive"):
        read_images(tmp_path, resolution)


def test_arrays_of_two_and_three_axes_are_read(tmp_path):
    array = np.arange(24.0).reshape(2, 4, 3)
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", np.asfortranarray(array[0].astype(">i2")))
    assert [one.name for one in load_sequences(tmp_path / "a.npy")] == ["a[0]", "a[1]"]
    assert load_sequences(tmp_path / "a.npy").padded()[0].tolist() == array.tolist()
    (one,) = load_sequences(tmp_path / "b.npy")
    assert one.name == "b"
    assert one.frames.tolist() == array[0].tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_read_in_order(tmp_path, save):
    save(tmp_path / "a.npz", walk=np.ones((5, 3)), run=np.zeros((2, 4, 3), np.uint8))
    data = load_sequences(tmp_path / "a.npz")
    assert [one.name for one in data] == ["walk", "run[0]", "run[1]"]
    assert data.lengths.tolist() == [5, 4, 4]
    assert data[0].frames.sum() == 15


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "expected"),
        (np.zeros((1, 2, 3, 4)), "expected"),
        (np.zeros((0, 3, 2)), "no sequences in it"),
        (np.zeros((0, 3)), "frames must be"),
        (np.full((2, 2), np.nan), "frames must be finite"),
        (np.full((2, 2), 1e300), "frames must be finite"),
        (np.array([["a", "b"]]), "arrays must hold numbers"),
        (np.array([[1, None]]), "arrays must hold numbers"),
        (np.zeros((2, 2), complex), "arrays must hold numbers"),
    ],
)
def test_arrays_that_are_no_sequences_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    for suffix in ("npy", "npz"):
        with pytest.raises(ValueError, match=f"^{tmp_path}/a.{suffix}: .*{message}"):
            load_sequences(tmp_path / f"a.{suffix}")


def npy_header(shape, descr="<f4"):
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**62, 2**62), (-1, 4), (3, 2)])
def test_claims_beyond_the_file_are_refused(tmp_path, shape):
    content = npy_header(shape) + bytes(20)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    for suffix in ("npy", "npz"):
        with pytest.raises(ValueError, match=f"^{tmp_path}/a.{suffix}: an array of shape"):
            load_sequences(tmp_path / f"a.{suffix}")


def test_archives_that_claim_too_much_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    content = npy_header((250_000_000, 4)) + bytes(20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    claimed = struct.pack("<I", 4_000_000_000 + len(content) - 20)
    archived = path.read_bytes().replace(struct.pack("<I", len(content)) * 2, claimed * 2)
    path.write_bytes(archived)
    with pytest.raises(ValueError, match=f"^{path}: a.npy claims 4000000"):
        load_sequences(path)


def test_damaged_archives_never_raise_anything_else(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(60.0).reshape(20, 3))
    np.save(tmp_path / "a.npy", np.arange(60.0).reshape(20, 3))
    random = np.random.default_rng(3)
    for suffix in ("npz", "npy"):
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        path = tmp_path / f"damaged.{suffix}"
        for end in random.integers(0, len(whole), 60):
            path.write_bytes(whole[:end])
            with pytest.raises(ValueError, match=f"^{path}: "):
                read_arrays(path)
        for position in random.integers(0, len(whole), 200):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            error = outcome(read_arrays, path)[1]  # None: a changed number is no damage
            assert error is None or error.startswith(f"{path}: ")


def test_unknown_types_list_the_known_ones(tmp_path):
    path = tmp_path / "data.xyz"
    path.write_text("1 2 3")
    with pytest.raises(
        ValueError, match=rf"^{path}: .* \.h5, .*\.npz, .*\.gif, .*\.bvh, .*a folder of images"
    ):
        load_sequences(path)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".npy", ".npz", ".mp4", ".gif", ".xyz"])
def test_missing_files_are_missing(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"none{suffix}: no such file"):
        load_sequences(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".npy", ".npz"])
def test_text_under_another_name_is_refused(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    path.write_text("0.1 0.2\n" * 50)
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_sequences(path)


# --- frames one at a time --------------------------------------------------------------------


def write_all_kinds(folder):
    """The same video in each kind of file; their paths."""
    frames = smooth_frames()
    images = [Image.fromarray(frame) for frame in frames]
    write_video(folder / "a.mp4", frames)
    images[0].save(folder / "a.gif", save_all=True, append_images=images[1:], duration=40)
    (folder / "images").mkdir()
    for number, image in enumerate(images):
        image.save(folder / "images" / f"{number}.png")
    np.save(folder / "a.npy", np.stack([frames[..., 0].reshape(8, -1) / 255] * 2))
    return [folder / name for name in ("a.mp4", "a.gif", "images", "a.npy")]


@pytest.mark.parametrize("resolution", [None, (4, 8), 5])
def test_a_stream_has_the_frames_of_the_first_sequence(tmp_path, resolution):
    for path in write_all_kinds(tmp_path):
        first = load_sequences(path, resolution)[0]
        with open_frames(path, resolution) as stream:
            assert stream.shape == first.shape
            assert stream.frame_rate == first.frame_rate
            frames = [*stream]
            assert [*stream] == []
        assert torch.equal(torch.stack(frames), first.frames)
        assert all(frame.dtype == torch.float32 for frame in frames)


def test_streams_can_be_read_in_turn(tmp_path):
    paths = [path for path in write_all_kinds(tmp_path) if path.suffix != ".npy"]
    with (
        open_frames(paths[0], 4) as a,
        open_frames(paths[1], 4) as b,
        open_frames(paths[2], 4) as c,
    ):
        triples = [*zip(a, b, c, strict=True)]
    assert len(triples) == 8
    for a, b, c in triples:
        assert torch.allclose(a, c, atol=0.03)
        assert torch.allclose(b, c, atol=0.03)


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


def stop_with(error, path):
    """Reads a frame and then has an error of its own."""
    with open_frames(path) as stream:
        next(stream.frames)
        raise error


def test_a_reader_that_stops_early_leaves_no_process(tmp_path, started):
    # more than fits in a pipe: ffmpeg waits for its reader
    write_video(tmp_path / "a.mp4", np.zeros((80, 64, 64, 3), np.uint8))
    started.clear()
    with open_frames(tmp_path / "a.mp4") as stream:
        next(stream.frames)
        assert started[-1].poll() is None
    with pytest.raises(ZeroDivisionError):
        stop_with(ZeroDivisionError(), tmp_path / "a.mp4")
    assert started
    assert all(process.returncode is not None for process in started)


def test_errors_of_who_reads_are_left_alone(tmp_path):
    for path in write_all_kinds(tmp_path):
        with pytest.raises(ValueError, match=r"^mine$"):
            stop_with(ValueError("mine"), path)


def test_an_open_gif_leaves_warnings_alone(tmp_path):
    before = [*warnings.filters]
    path = write_all_kinds(tmp_path)[1]
    with open_frames(path) as stream:
        next(stream.frames)
        assert warnings.filters == before


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize("other", [(96, 48), (32, 48), (64, 32), (128, 128)])
def test_frames_of_another_size_are_refused_with_their_number(tmp_path, suffix, other):
    path = tmp_path / f"a{suffix}"
    write_changing_video(path, [(64, 48), other])
    frames, message = streamed(path)
    assert message == (
        f"{path}: after {len(frames)} frames of 64 x 48 pixels comes one of {other[0]} x {other[1]}"
    )
    assert len(frames) == 20
    assert all(len(frame) == 64 * 48 for frame in frames)
    with pytest.raises(ValueError, match="after 20 frames of 64 x 48"):
        read_video(path, resolution=5)


def test_parts_of_one_size_are_one_video(tmp_path):
    write_changing_video(tmp_path / "a.mkv", [(64, 48), (64, 48)])
    frames, message = streamed(tmp_path / "a.mkv")
    assert (len(frames), message) == (40, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_stream_says_after_how_many_frames_a_file_ends_early(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    faststart = ["-movflags", "faststart"] if suffix in (".mp4", ".mov") else []
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    write_video(whole, noise, [*faststart, "-bf", "0"])
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    frames, message = streamed(cut)
    assert message == f"{cut}: damaged after {len(frames)} frames"
    assert 30 * share - 12 < len(frames) < 30  # some are still in the decoder
    with pytest.raises(ValueError, match=f"^{cut}: damaged after {len(frames)} frames$"):
        read_video(cut)


def test_a_stream_of_images_names_the_odd_one(tmp_path):
    for number in range(3):
        Image.new("L", (4, 6)).save(tmp_path / f"{number}.png")
    Image.new("L", (4, 7)).save(tmp_path / "3.png")
    frames, message = streamed(tmp_path)
    assert len(frames) == 3
    assert message == f"{tmp_path}/3.png: its size is (7, 4), that of 0.png (6, 4)"


@pytest.mark.parametrize("name", ["none.mp4", "none.gif", "none.h5", "none"])
def test_there_must_be_something_to_open(tmp_path, name):
    with pytest.raises((FileNotFoundError, ValueError), match=name), open_frames(tmp_path / name):
        pass


def test_motions_are_read_as_their_channels(tmp_path):
    arm = mocap.Skeleton(
        [mocap.Joint("shoulder", -1, channels=("rz",)), mocap.Joint("hand", 0, (2, 0, 0))]
    )
    motion = mocap.Motion(arm, np.array([[0.0], [0.5]]), frame_rate=50)
    mocap.write_bvh(tmp_path / "arm.bvh", motion)
    (sequence,) = load_sequences(tmp_path / "arm.bvh")
    assert sequence.frames.flatten().tolist() == [0.0, 0.5]
    assert (sequence.name, sequence.frame_rate) == ("arm", 50)
    assert sequence.unit == "radian, length of the file"


def test_real_motions_are_read(real_data):
    (walk,) = load_sequences(real_data("mocap_cmu35/35_01.amc"))
    assert walk.frames.shape == (358, 62)
    assert len(load_sequences(real_data("mocap_mit_taylor/mit_mocap.mat"))) == 39
