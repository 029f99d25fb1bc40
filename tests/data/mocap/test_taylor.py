import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from seqebm.data.mocap.matlab import read_mat
from seqebm.data.mocap.mit import MIT_COLUMNS, mit_walking, restore_columns
from seqebm.data.mocap.taylor import body_centred, ground_path, standardised, world, z_scaling

LENGTHS = (438, 260, 3128)
BLOCKS = [100] * 38 + [26]


def mit(real_data, name):
    return loadmat(real_data(f"mocap_mit_taylor/{name}.mat"))


def cells(arrays):
    """A cell array for `savemat`."""
    made = np.empty((1, len(arrays)), dtype=object)
    for n, array in enumerate(arrays):
        made[0, n] = array
    return made


def mat_bytes(variables, compressed=False):
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


def raw_frames(time, seed=0, width=8, tilt=1.0):
    """Upright bodies that face and stand anywhere, the exponential map of at most half a turn."""
    draw = np.random.default_rng(seed).uniform
    angles = np.stack([draw(-9, 9, time), draw(-tilt, tilt, time), draw(-tilt, tilt, time)], axis=1)
    turns = Rotation.from_euler("ZYX", angles).as_rotvec()
    return np.hstack([turns, draw(-2000, 2000, (time, 3)), draw(-1, 1, (time, width - 6))])


def by_definition(frames):
    """`body_centred`, a frame and an angle at a time."""
    down = np.array([0, 0, -1])
    rows, headings = [], []
    for frame in frames:
        x, y, _ = Rotation.from_rotvec(frame[:3]).as_matrix().T
        headings.append(np.arctan2(x[1], x[0]))
        rows.append([np.arccos(x @ down), np.arccos(y @ down), *[np.nan] * 3, *frame[5:]])
    for n, row in enumerate(rows[:-1]):
        turn = (headings[n + 1] - headings[n] + np.pi) % (2 * np.pi) - np.pi
        way = frames[n + 1, 3:5] - frames[n, 3:5]
        bearing = headings[n] - np.arctan2(way[1], way[0])
        length = np.hypot(*way)
        row[2:5] = turn, length * np.cos(bearing), length * np.sin(bearing)
    rows[-1][2:5] = rows[-2][2:5]
    return np.array(rows)


# ------------------------------------------------------------------------------------- the root


def test_the_root_is_described_as_defined():
    frames = raw_frames(50)
    np.testing.assert_allclose(body_centred(frames), by_definition(frames), rtol=0, atol=1e-9)


def test_a_walk_in_a_circle_has_one_speed_and_one_turn():
    heading = np.linspace(0, 7, 71)  # more than once around
    frames = np.zeros((71, 6))
    frames[:, 2] = (heading + np.pi) % (2 * np.pi) - np.pi
    frames[:, 3:] = np.stack([np.sin(heading), -np.cos(heading), 0 * heading + 0.9], axis=1)
    chord = 2 * np.sin(0.05)
    to_the_left = [np.pi / 2, np.pi / 2, 0.1, chord * np.cos(0.05), -chord * np.sin(0.05), 0.9]
    np.testing.assert_allclose(body_centred(frames), np.tile(to_the_left, (71, 1)), atol=1e-12)
    np.testing.assert_allclose(ground_path(frames)[:, 2], heading, atol=1e-12)


def test_moving_and_turning_on_the_ground_changes_nothing():
    frames = raw_frames(40)
    turn = Rotation.from_rotvec([0, 0, 2.5])
    moved = frames.copy()
    moved[:, :3] = (turn * Rotation.from_rotvec(frames[:, :3])).as_rotvec()
    moved[:, 3:6] = turn.apply(frames[:, 3:6]) + np.array([300, -50, 0])
    np.testing.assert_allclose(body_centred(moved), body_centred(frames), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_world_gives_every_raw_frame_back(seed):
    frames = raw_frames(200, seed)
    back = world(body_centred(frames), start=ground_path(frames)[0])
    np.testing.assert_allclose(back, frames, rtol=0, atol=1e-9)


def test_what_a_model_says_of_the_root_comes_back():
    frames = body_centred(raw_frames(30))
    raw = world(frames)
    np.testing.assert_array_equal(raw[0, 3:5], [0, 0])
    np.testing.assert_allclose(body_centred(raw), frames, rtol=0, atol=1e-9)


def test_impossible_angles_become_the_nearest_pose():
    raw = world([[0.3, 0.2, 0, 0, 0, 9], [-0.5, 4.0, 0, 0, 0, 9]])
    axes = Rotation.from_rotvec(raw[:, :3]).as_matrix()
    np.testing.assert_allclose(-axes[:, 2, 0], np.cos([0.3, 0.5]))
    np.testing.assert_allclose(axes[:, 2, 2], 0, atol=1e-12)


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match=r"2 or more, of 6 values or more, got \[1, 6\]"):
        body_centred(np.zeros((1, 6)))
    with pytest.raises(ValueError, match=r"got \[3, 5\]"):
        ground_path(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="not finite in frame 1"):
        world([[0.0] * 6, [np.nan] * 6])
    with pytest.raises(ValueError, match="start"):
        world(np.zeros((2, 6)), start=(0, 0))


# ------------------------------------------------------------------------- columns and z-scores


def test_the_columns_that_change_are_49():
    assert len(MIT_COLUMNS) == 49
    assert [*MIT_COLUMNS] == sorted({*MIT_COLUMNS})


def test_dropped_columns_come_back():
    whole = restore_columns(np.ones((3, 49)), constants=np.arange(108))
    assert whole.sum(axis=0).tolist() == [3 if n in MIT_COLUMNS else 3 * n for n in range(108)]
    with pytest.raises(ValueError, match=r"expected \[time, 49\], got \[3, 48\]"):
        restore_columns(np.ones((3, 48)), np.zeros(108))
    with pytest.raises(ValueError, match=r"expected \[108\], got \[49\]"):
        restore_columns(np.ones((3, 49)), np.zeros(49))


def test_z_scores_are_undone_by_the_sequence():
    frames = np.random.default_rng(0).normal(870, 20, (50, 3))
    mean, std = z_scaling(frames[:30])
    walk = standardised(frames, mean, std, name="walk", unit="mm")
    np.testing.assert_allclose(std, torch.from_numpy(frames[:30]).std(0))
    np.testing.assert_allclose(walk.frames[:30].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(walk.original(), frames, rtol=1e-6)
    assert (walk.name, walk.unit) == ("walk", "mm")


def test_constant_columns_have_no_z_scores():
    frames = np.random.default_rng(0).normal(size=(50, 4))
    frames[:, 1] = 0.1
    frames[:, 3] = 7 + 1e-15 * frames[:, 3]
    with pytest.raises(ValueError, match=r"columns \[1, 3\] \(from 0\) do not change"):
        z_scaling(frames)
    with pytest.raises(ValueError, match="two or more"):
        z_scaling(frames[:1])


# -------------------------------------------------------------------- the walks, made up or real


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A folder with the three files, of noise."""
    folder = tmp_path_factory.mktemp("mit")
    raw = [raw_frames(4 * n - 2, seed=n, width=108) for n in LENGTHS]
    centred = [body_centred(frames[::4]) for frames in raw]
    frames = np.concatenate(centred)[:, MIT_COLUMNS]
    mean, std = z_scaling(frames)
    blocks = np.split((frames - mean) / std, range(100, 3826, 100))
    savemat(folder / "data.mat", {"Motion": cells(raw), "skel": {"type": "mit"}})
    savemat(folder / "motion.mat", {"Motion": cells(centred)}, do_compression=True)
    mocap = {"train_data": cells(blocks[:35]), "test_data": cells(blocks[35:])}
    savemat(folder / "mit_mocap.mat", mocap)
    return folder


@pytest.fixture(params=["made up", "real"])
def walks(request):
    """A folder with the three files."""
    if request.param == "made up":
        return request.getfixturevalue("made_up")
    return request.getfixturevalue("real_data")("mocap_mit_taylor")


@pytest.mark.parametrize("scaling", ["train", "all"])
def test_all_files_give_the_same_walks(walks, scaling):
    raw, centred, blocks = (
        mit_walking(walks / name, scaling) for name in ("data.mat", "motion.mat", "mit_mocap.mat")
    )
    assert raw.lengths.tolist() == BLOCKS
    assert [walk.split for walk in raw] == ["train"] * 35 + ["test"] * 4
    assert {walk.frame_rate for walk in raw} == {30.0}
    for one, two, three in zip(raw, centred, blocks, strict=True):
        assert one.name == two.name == three.name
        torch.testing.assert_close(two.frames, one.frames, rtol=0, atol=1e-5)
        torch.testing.assert_close(three.frames, one.frames, rtol=0, atol=1e-5)
        torch.testing.assert_close(two.original(), one.original(), rtol=1e-4, atol=1e-4)
    known = raw.split("train") if scaling == "train" else raw
    frames = torch.cat([walk.frames for walk in known])
    torch.testing.assert_close(frames.mean(0), torch.zeros(49), rtol=0, atol=1e-5)
    torch.testing.assert_close(frames.std(0), torch.ones(49))


def test_blocks_are_named_after_their_frames(made_up):
    walks = mit_walking(made_up)
    motion = read_mat(made_up / "motion.mat")
    assert walks[0].name == "sequence 1, frames 1-100"
    assert walks[4].name == "sequence 1, frames 401-438; sequence 2, frames 1-62"
    assert walks[6].name == "sequence 2, frames 163-260; sequence 3, frames 1-2"
    assert walks[38].name == "sequence 3, frames 3103-3128"
    expected = torch.cat([motion[0].frames[400:], motion[1].frames[:62]])[:, MIT_COLUMNS]
    torch.testing.assert_close(walks[4].original(), expected, rtol=1e-4, atol=1e-3)


def test_a_folder_gives_the_first_file_there_is(made_up, tmp_path):
    assert mit_walking(made_up)[0].unit == "radian, length of the source"
    with pytest.raises(FileNotFoundError, match=r"none of data\.mat, motion\.mat, mit_mocap\.mat"):
        mit_walking(tmp_path)
    (tmp_path / "mit_mocap.mat").write_bytes((made_up / "mit_mocap.mat").read_bytes())
    assert mit_walking(tmp_path)[0].unit == "standard deviation"
    with pytest.raises(FileNotFoundError, match="no such file"):
        mit_walking(tmp_path / "data.mat")
    with pytest.raises(ValueError, match=r'expected "train" or "all", got "?\'test\''):
        mit_walking(made_up, "test")


def test_other_recordings_are_no_mit_walks(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"Motion": cells([raw_frames(40, width=108)])})
    with pytest.raises(ValueError, match=r"a.mat: expected recordings of \(438, 260, 3128\)"):
        mit_walking(path)
    savemat(path, {"train_data": np.ones((100, 49)), "test_data": np.ones((26, 49))})
    with pytest.raises(ValueError, match=r"a.mat: expected the blocks"):
        mit_walking(path)
    savemat(path, trials())
    with pytest.raises(ValueError, match=r"a.mat: expected the blocks"):
        mit_walking(path)


def test_the_published_columns_and_angles_are_reached(real_data):
    raw, centred = (mit(real_data, name)["Motion"][0] for name in ("data", "motion"))
    for frames, expected in zip(raw, centred, strict=True):
        frames = frames[::4]
        np.testing.assert_allclose(body_centred(frames), expected, rtol=0, atol=1e-9)
        back = world(expected, start=ground_path(frames)[0])
        np.testing.assert_allclose(back, frames, rtol=0, atol=1e-9)
        whole = restore_columns(expected[:, MIT_COLUMNS], constants=raw[0][0])
        np.testing.assert_array_equal(whole, expected)


def test_the_published_z_scores_are_reached(real_data):
    frames = np.concatenate(mit(real_data, "motion")["Motion"][0])[:, MIT_COLUMNS]
    mean, std = z_scaling(frames)
    file = mit(real_data, "mit_mocap")
    blocks = [*file["train_data"][0], *file["test_data"][0]]
    assert [len(block) for block in blocks] == BLOCKS
    np.testing.assert_allclose((frames - mean) / std, np.concatenate(blocks), rtol=0, atol=1e-9)
    for walk, block in zip(
        mit_walking(real_data("mocap_mit_taylor"), scaling="all"), blocks, strict=True
    ):
        np.testing.assert_allclose(walk.frames, block, rtol=0, atol=1e-5)


# ----------------------------------------------------------------------------------- .mat files


def trials(time=(2, 3)):
    """Variables like those of cmu35WalkJog.mat: trials of 2 frames, and of 3 to test."""
    draw = np.random.default_rng(0).uniform
    variables = {}
    for suffix, trial, count in (("", time[0], 31), ("test", time[1], 2)):
        variables[f"Y{suffix}"] = draw(-180, 180, (trial * count, 62))
        variables[f"lbls{suffix}"] = np.repeat(np.eye(count), trial, axis=0)
    return variables


@pytest.mark.parametrize("compressed", [False, True])
def test_motions_are_raw_or_body_centred(tmp_path, compressed):
    raw = [raw_frames(n, seed=n, width=108) for n in (9, 5)]
    centred = [body_centred(frames) for frames in raw]
    for name, motions in (("raw", raw), ("centred", centred)):
        variables = {"skel": {"tree": [1, 2]}, "Motion": cells(motions)}
        savemat(tmp_path / f"{name}.mat", variables, do_compression=compressed)
        read = read_mat(tmp_path / f"{name}.mat")
        assert [one.name for one in read] == ["Motion 1", "Motion 2"]
        assert {one.frame_rate for one in read} == {120.0 if name == "raw" else 30.0}
        for one, expected in zip(read, motions, strict=True):
            np.testing.assert_array_equal(one.frames, expected.astype(np.float32))
    savemat(tmp_path / "short.mat", {"Motion": cells([raw[0][:1]])})
    with pytest.raises(ValueError, match=r"short.mat: Motion: expected \[2 or more, 108\]"):
        read_mat(tmp_path / "short.mat")


def test_blocks_keep_their_split(tmp_path):
    savemat(
        tmp_path / "a.mat",
        {"train_data": cells([np.eye(3), np.ones((2, 3))]), "test_data": np.zeros((1, 3))},
    )
    read = read_mat(tmp_path / "a.mat")
    assert [one.name for one in read] == ["train_data 1", "train_data 2", "test_data 1"]
    assert [one.split for one in read] == ["train", "train", "test"]
    assert read[1].frames.tolist() == [[1.0] * 3] * 2


def test_trials_are_told_apart_and_their_angles_become_radians(tmp_path):
    variables = trials()
    savemat(tmp_path / "a.mat", variables)
    read = read_mat(tmp_path / "a.mat")
    assert read.lengths.tolist() == [2] * 31 + [3] * 2
    assert [one.split for one in read] == ["train"] * 31 + ["test"] * 2
    assert [one.name for one in read[16:18]] == ["35_17", "35_19"]
    assert [one.name for one in read[24:27]] == ["35_26", "35_28", "35_30"]
    assert [one.name for one in read[31:]] == ["35_18", "35_29"]
    expected = variables["Y"][2:4].astype(np.float32)
    np.testing.assert_array_equal(read[1].frames[:, :3], expected[:, :3])
    np.testing.assert_allclose(read[1].frames[:, 3:], np.radians(expected[:, 3:]), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels[::-1],
        lambda labels: 2 * labels,
        lambda labels: labels[:, [0, *range(30)]],
        lambda labels: np.roll(labels, 1, axis=0),
        lambda labels: np.zeros_like(labels),
    ],
)
def test_every_frame_is_of_one_trial(tmp_path, change):
    variables = trials()
    variables["lbls"] = change(variables["lbls"])
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(ValueError, match=r"a.mat: labels to train: expected one trial a frame"):
        read_mat(tmp_path / "a.mat")


def test_labels_must_fit_the_frames(tmp_path):
    variables = trials()
    variables["lblstest"] = variables["lblstest"][1:]
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(ValueError, match=r"a.mat: expected \[time, 62\] and labels \[time, 2\]"):
        read_mat(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (np.full((3, 108), np.nan), r"Motion is not finite in float32"),
        (np.full((3, 108), 1e39), r"Motion is not finite in float32"),
        (np.full((3, 108), 1j), r"Motion is not a matrix of real numbers"),
        (np.zeros((3, 108, 2)), r"Motion is not a matrix of real numbers"),
        ("walk", r"Motion is not a matrix of real numbers"),
        ({"frames": 3}, r"Motion is not a matrix of real numbers"),
        (np.zeros((0, 108)), r"Motion has 0 numbers, its shape is \[0, 108\]"),
        (cells([np.eye(3), cells([np.eye(3)])]), r"Motion\{2\} is not a matrix of real numbers"),
        (cells([np.eye(3), "walk"]), r"Motion\{2\} is not a matrix of real numbers"),
        (np.empty((1, 0), dtype=object), r"Motion has 0 cells"),
    ],
)
def test_anything_but_numbers_is_refused(tmp_path, motion, message):
    savemat(tmp_path / "a.mat", {"Motion": motion})
    with pytest.raises(ValueError, match=rf"a.mat: {message}"):
        read_mat(tmp_path / "a.mat")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"bias": np.ones(3), "scale": np.ones(3)})
    with pytest.raises(ValueError, match=r"a.mat: expected variables .*; found bias, scale"):
        read_mat(path)
    savemat(path, {"Motion": np.ones((3, 108))}, format="4")
    with pytest.raises(ValueError, match=r"a.mat: not a MATLAB 5 file"):
        read_mat(path)
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"MATLAB 5.0 MAT-file" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.mat: not a MATLAB 5 file"):
            read_mat(path)
    with pytest.raises(ValueError, match="not a file"):
        read_mat(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_mat(tmp_path / "b.mat")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int64, np.uint64, np.float32])
def test_numbers_of_all_types_are_read(tmp_path, kind):
    frames = np.arange(6).reshape(2, 3).astype(kind)
    savemat(tmp_path / "a.mat", {"train_data": frames, "test_data": frames[:1]})
    assert read_mat(tmp_path / "a.mat")[0].frames.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("compressed", [False, True])
def test_claims_of_headers_take_no_memory(tmp_path, compressed):
    inner = cells([np.ones((1, 1)), np.ones((1, 2))])
    content = mat_bytes({"Motion": cells([np.ones((3, 4)), inner])})
    small = struct.pack("<IIII", 5, 8, 1, 2)  # the shape of both cell arrays
    for place in [n for n in range(len(content)) if content.startswith(small, n)]:
        for shape in ((1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (2**30, 1)):
            claim = content[: place + 8] + struct.pack("<II", *shape) + content[place + 16 :]
            if compressed:
                body = zlib.compress(claim[128:])
                claim = claim[:128] + struct.pack("<II", 15, len(body)) + body
            (tmp_path / "a.mat").write_bytes(claim)
            tracemalloc.start()
            with pytest.raises(ValueError, match=r"a.mat: Motion"):
                read_mat(tmp_path / "a.mat")
            assert tracemalloc.get_traced_memory()[1] < 2**20
            tracemalloc.stop()


def mutated(content, rng):
    """The content with a few bytes changed, gone, twice, or with a number that is an extreme."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place, end = sorted(rng.integers(0, len(content) + 1, 2))
        match rng.integers(6):
            case 0:
                del content[place:]
            case 1:
                del content[place : min(end, place + 16)]
            case 2:
                content[place:place] = content[place : min(end, place + 64)]
            case 3:
                value = rng.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
                content[place // 4 * 4 : place // 4 * 4 + 4] = struct.pack("<I", value)
            case _:
                content[place : place + 1] = rng.bytes(1)
    return bytes(content)


def survives(read, path):
    """Whether anything is read; the error names the file."""
    try:
        return len(read(path)) > 0
    except ValueError as error:
        message = str(error)
    assert message.startswith(str(path))
    return False


def test_damaged_files_give_value_errors_only(tmp_path):
    rng = np.random.default_rng(0)
    originals = [
        mat_bytes({"train_data": cells([np.eye(3), np.ones((2, 3))]), "test_data": np.eye(3)}),
        mat_bytes({"Motion": cells([raw_frames(3, width=108), raw_frames(2, width=108)])}),
        mat_bytes(trials((1, 1))),
    ]
    path = tmp_path / "a.mat"
    survived = 0
    for number in range(1500):
        content = originals[number % len(originals)]
        if number % 2:  # what is damaged before it is compressed gets past the checksum
            body = zlib.compress(mutated(content[128:], rng))
            content = content[:128] + struct.pack("<II", 15, len(body)) + body
        if number % 4 != 1:
            content = mutated(content, rng)
        path.write_bytes(content)
        survived += survives(read_mat, path)
    assert 100 < survived < 1400


def test_damaged_walks_give_value_errors_only(made_up, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("mit_mocap.mat", "motion.mat"):
        content = (made_up / name).read_bytes()
        path = tmp_path / name
        for _ in range(25):
            path.write_bytes(mutated(content, rng))
            survives(mit_walking, path)


def test_real_files_are_read_as_scipy_reads_them(real_data):
    for name, keys in (("data", ["Motion"]), ("mit_mocap", ["train_data", "test_data"])):
        expected = [cell for key in keys for cell in mit(real_data, name)[key][0]]
        read = read_mat(real_data(f"mocap_mit_taylor/{name}.mat"))
        for one, frames in zip(read, expected, strict=True):
            np.testing.assert_array_equal(one.frames, frames.astype(np.float32))
    assert read_mat(real_data("mocap_mit_taylor/data.mat"))[0].frame_rate == 120
    assert read_mat(real_data("mocap_mit_taylor/motion.mat"))[0].frame_rate == 30


def test_real_trials_are_those_of_their_names(real_data):
    folder = real_data("mocap_cmu35")
    read = {one.name: one for one in read_mat(folder / "cmu35WalkJog.mat")}
    assert len(read) == 33
    assert (len(read["35_18"].frames), len(read["35_29"].frames)) == (44, 125)
    for name in ("35_07", "35_28", "35_29", "35_34"):  # whole recordings, at 120 frames a second
        lines = (folder / "amc_trimmed" / f"{name}.amc").read_text().splitlines()
        roots = np.array([line.split()[1:] for line in lines if line.startswith("root")], float)
        roots[:, 3:] = np.radians(roots[:, 3:])
        np.testing.assert_allclose(read[name].frames[:, :6], roots[::4], rtol=0, atol=1e-5)
