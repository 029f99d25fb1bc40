import io
import random
import warnings

import numpy as np
import pytest
import torch
from fuzz import mutated

from seqebm.data import load_sequences
from seqebm.data.mocap import Markers, read_c3d

c3d = pytest.importorskip("c3d")


def recording(time=12, markers=3, seed=1):
    """Places in float32 with a marker that is not seen for a while."""
    places = np.random.default_rng(seed).normal(size=(time, markers, 3)).astype(np.float32) * 100
    places[3:6, 1] = np.nan
    return places


def write(path, places, labels=("head", "lknee", "rknee"), scale=-1.0):
    writer = c3d.Writer(point_rate=120, point_scale=scale)
    writer.set_point_labels(list(labels))
    frames = []
    for frame in places:
        points = np.zeros((len(frame), 5), np.float32)
        seen = ~np.isnan(frame[:, 0])
        points[seen, :3] = frame[seen]
        points[~seen, 3:] = -1
        frames.append((points, np.array([])))
    writer.add_frames(frames)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses analog channels
        writer.write(content)
    path.write_bytes(content.getvalue())


def test_what_the_package_has_written(tmp_path):
    write(tmp_path / "walk.c3d", recording())
    markers = read_c3d(tmp_path / "walk.c3d")
    assert markers.names == ["head", "lknee", "rknee"]
    assert (markers.frame_rate, markers.unit, markers.name) == (120, "mm", "walk")
    np.testing.assert_array_equal(markers.places, recording())
    assert (~markers.seen).sum() == 3
    assert torch.equal(markers.mask.sum(1), torch.tensor([9, 9, 9, 6, 6, 6, *[9] * 6]))


def test_as_data_missing_markers_are_where_they_were(tmp_path):
    places = recording()
    places[:2, 2] = np.nan
    write(tmp_path / "walk.c3d", places)
    (sequence,) = load_sequences(tmp_path / "walk.c3d")
    assert (sequence.shape, sequence.unit, sequence.frame_rate) == ((3, 3), "mm", 120)
    frames = sequence.frames.view(-1, 3, 3).numpy()
    seen = ~np.isnan(places)
    np.testing.assert_array_equal(frames[seen], places[seen])
    np.testing.assert_array_equal(frames[3:6, 1], np.tile(places[2, 1], (3, 1)))
    np.testing.assert_array_equal(frames[:2, 2], np.tile(places[2, 2], (2, 1)))


def test_a_marker_that_never_was_seen():
    places = recording()
    places[:, 0] = np.nan
    frames = Markers(["a", "b", "c"], places, 60).sequence().frames
    assert not frames[:, :3].any()


def test_integers_are_scaled(tmp_path):
    places = np.round(recording())
    write(tmp_path / "walk.c3d", places, scale=1.0)
    np.testing.assert_array_equal(read_c3d(tmp_path / "walk.c3d").places, places)


def test_markers_get_names_of_their_own(tmp_path):
    write(tmp_path / "walk.c3d", recording(), labels=("toe", "toe", ""))
    assert read_c3d(tmp_path / "walk.c3d").names == ["toe", "toe 2", "marker 3"]


def test_a_file_that_ends_early(tmp_path):
    write(tmp_path / "walk.c3d", recording(time=200))
    content = (tmp_path / "walk.c3d").read_bytes()
    (tmp_path / "walk.c3d").write_bytes(content[: len(content) * 2 // 3])
    with pytest.warns(UserWarning, match=r"walk\.c3d: ends after \d+ of 200 frames"):
        markers = read_c3d(tmp_path / "walk.c3d")
    np.testing.assert_array_equal(markers.places, recording(time=200)[: len(markers.places)])


@pytest.mark.parametrize("content", [b"", b"walk", bytes(2048), b"\x02\x50" * 2000])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "walk.c3d").write_bytes(content)
    with pytest.raises(ValueError, match=r"walk\.c3d: "):
        read_c3d(tmp_path / "walk.c3d")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_c3d(tmp_path / "nowhere.c3d")


def survives(path):
    try:
        markers = read_c3d(path)
    except ValueError as error:
        message = str(error)
    else:
        return bool(markers.sequence().frames.isfinite().all())
    return message.startswith(str(path))


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(tmp_path):
    write(tmp_path / "walk.c3d", recording())
    content, rng = (tmp_path / "walk.c3d").read_bytes(), random.Random(1)
    path = tmp_path / "bad.c3d"
    for _ in range(300):
        path.write_bytes(mutated(content, rng))
        assert survives(path)


@pytest.mark.parametrize(
    "places", [np.zeros((5, 2, 3)), np.zeros((0, 3, 3)), np.full((5, 3, 3), np.inf)]
)
def test_places_that_cannot_be(places):
    with pytest.raises(ValueError, match="places: expected"):
        Markers(["a", "b", "c"], places, 60)


def test_half_a_place_is_none():
    places = recording()
    places[0, 0, 1] = np.nan
    with pytest.raises(ValueError, match="three times NaN"):
        Markers(["a", "b", "c"], places, 60)
