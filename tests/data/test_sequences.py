import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from seqebm.data import Sequence, Sequences, SymbolSequence, load_sequences, save_sequences
from seqebm.data.sequences import read_sequences


def example(seed=0):
    """Three sequences that differ in every field."""
    generator = torch.Generator().manual_seed(seed)
    return Sequences(
        [
            Sequence(torch.rand(7, 6, generator=generator), "a", 30.0, "cm", (2, 3), "train"),
            Sequence(torch.rand(4, 6, generator=generator), "é", 12.5, split="test", scale=2.0),
            Sequence(
                torch.rand(9, 6, generator=generator),
                split="train",
                scale=torch.arange(1.0, 7.0),
                offset=torch.arange(6.0) - 2,
            ),
        ]
    )


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for field in ("frames", "scale", "offset"):
            a, b = getattr(one, field), getattr(other, field)
            assert a.dtype == torch.float32
            assert torch.equal(a, b)
        for field in ("name", "frame_rate", "unit", "shape", "split"):
            assert getattr(one, field) == getattr(other, field)


def test_original_undoes_the_scaling():
    one = Sequence(torch.tensor([[1, 2], [3, 4]]), scale=torch.tensor([10.0, 100.0]), offset=5)
    assert one.original().tolist() == [[15.0, 205.0], [35.0, 405.0]]
    assert one.shape == (2,)
    assert one.frames.dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frames": torch.zeros(3)}, r"frames must be \[time, visible\], not empty, got \[3\]"),
        ({"frames": torch.zeros(0, 4)}, "frames must be"),
        ({"frames": torch.zeros(4, 0)}, "frames must be"),
        ({"frames": torch.tensor([[float("nan")] * 4])}, "frames must be finite"),
        ({"frames": torch.full((1, 4), 1e300, dtype=torch.float64)}, "frames must be finite"),
        ({"frames": torch.zeros(2, 4, dtype=torch.complex64)}, "frames must be finite real"),
        ({"shape": (2, 3)}, r"shape \(2, 3\) does not make frames of 4 values"),
        ({"shape": (-2, -2)}, "shape"),
        ({"frame_rate": 0.0}, "frame_rate must be positive, got 0.0"),
        ({"frame_rate": float("inf")}, "frame_rate"),
        ({"scale": torch.ones(3)}, "scale must be finite, one number or 4"),
        ({"scale": float("nan")}, "scale must be finite"),
        ({"offset": torch.ones(1, 4)}, "offset must be"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Sequence(**{"frames": torch.zeros(2, 4), **fields})


def test_fields_of_other_types_are_refused():
    with pytest.raises(TypeError, match="frames must be a tensor, got list"):
        Sequence([[1.0]])
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        Sequence(torch.zeros(1, 1), name=3)


def test_sequences_are_a_list():
    data = example()
    assert len(data) == 3
    assert data[-1] is data[2]
    assert isinstance(data[1:], Sequences)
    assert list(data[1:]) == [data[1], data[2]]
    assert data.n_visible == 6
    assert data.lengths.tolist() == [7, 4, 9]
    assert data.lengths.dtype == torch.int64
    assert repr(data) == "<3 sequences>"
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(TypeError, match="got Tensor"):
        Sequences([torch.zeros(2, 2)])


def test_splits_are_found_by_name():
    data = example()
    assert list(data.split("train")) == [data[0], data[2]]
    with pytest.raises(ValueError, match=r"no split 'valid', there are \['test', 'train'\]"):
        data.split("valid")


def test_sequences_are_reversed_in_time_each_by_itself():
    data = Sequences(example(), "how")
    found = data.backwards()
    assert found.preparation == "how"
    times = [one.frames.tolist()[::-1] for one in data]
    mirrored = (
        replace(one, frames=torch.tensor(frames)) for one, frames in zip(data, times, strict=True)
    )
    assert_same(found, [*mirrored])
    assert_same(found.backwards(), data)
    frames, lengths = found.padded()
    assert torch.equal(frames[1, :4], data[1].frames[[3, 2, 1, 0]])
    assert not frames[1, 4:].any()
    assert torch.equal(lengths, data.lengths)


def test_padded_and_from_frames_are_inverse():
    data = example()
    frames, lengths = data.padded()
    assert frames.shape == (3, 9, 6)
    for one, row, length in zip(data, frames, [7, 4, 9], strict=True):
        assert torch.equal(row[:length], one.frames)
        assert (row[length:] == 0).all()
    again = Sequences.from_frames(frames, lengths, split="all", shape=(3, 2))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(again, data, strict=True))
    assert {(one.split, one.shape) for one in again} == {("all", (3, 2))}
    assert Sequences.from_frames(frames).lengths.tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    "lengths", [torch.tensor([2]), torch.tensor([0, 2]), torch.tensor([2, 4]), torch.rand(2)]
)
def test_bad_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths must be 2 integers from 1 to 3"):
        Sequences.from_frames(torch.zeros(2, 3, 4), lengths)


def test_bad_batches_are_refused():
    with pytest.raises(ValueError, match=r"frames must be \[n, time, visible\], got \[3, 4\]"):
        Sequences.from_frames(torch.zeros(3, 4))


def test_different_widths_have_no_batch():
    data = Sequences([Sequence(torch.zeros(2, 3)), Sequence(torch.zeros(2, 4))])
    with pytest.raises(ValueError, match=r"one width, got widths \[3, 4\]"):
        data.padded()
    with pytest.raises(ValueError, match=r"got widths \[\]"):
        _ = data[:0].n_visible


def test_files_keep_everything(tmp_path):
    path = tmp_path / "data.h5"
    save_sequences(path, example())
    assert_same(load_sequences(path), example())
    assert os.listdir(tmp_path) == ["data.h5"]


def test_the_layout_is_the_documented_one(tmp_path):
    save_sequences(tmp_path / "data.h5", example())
    with h5py.File(tmp_path / "data.h5") as file:
        assert dict(file.attrs) == {"format": b"seqebm-sequences", "version": 1}
        assert list(file["sequences"]) == ["00000", "00001", "00002"]
        one = file["sequences/00000"]
        assert one.dtype == np.float32
        assert one.shape == (7, 6)
        assert one.compression == "gzip"
        assert sorted(one.attrs) == [
            "frame_rate", "name", "offset", "scale", "shape", "split", "unit",
        ]  # fmt: skip
        assert one.attrs["shape"].tolist() == [2, 3]
        assert one.attrs["frame_rate"] == 30.0
        assert one.attrs["unit"] == b"cm"


def test_wide_frames_keep_their_scale(tmp_path):
    wide = Sequence(torch.rand(2, 40_000), scale=torch.rand(40_000), name="x" * 70_000)
    save_sequences(tmp_path / "wide.h5", [wide])
    assert_same(load_sequences(tmp_path / "wide.h5"), Sequences([wide]))


def test_numbers_of_six_digits_keep_their_order(tmp_path):
    path = tmp_path / "data.h5"
    save_sequences(path, example()[:2])
    with h5py.File(path, "r+") as file:
        file.move("sequences/00000", "sequences/100000")
        file.move("sequences/00001", "sequences/99999")
    assert [one.name for one in read_sequences(path)] == ["é", "a"]


def test_missing_attributes_have_their_defaults(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(format="seqebm-sequences", version=1)
        file["sequences/00000"] = np.arange(6, dtype=">f8").reshape(3, 2)
        file["sequences/00000"].attrs["unit"] = "µm"  # of variable length: h5py's default
    (one,) = read_sequences(path)
    assert one.unit == "µm"
    assert one.frames.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert (one.name, one.frame_rate, one.shape) == ("", 25.0, (2,))


def test_no_sequences_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="sequences must not be empty"):
        save_sequences(tmp_path / "data.h5", [])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.attrs.update(format="seqebm-sequences", version=1)
        file.create_group("sequences")
    with pytest.raises(ValueError, match=r"data\.h5: no sequences in it"):
        read_sequences(tmp_path / "data.h5")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [5]),
        ("shape", "wide"),
        ("frame_rate", -1.0),
        ("frame_rate", [1.0, 2.0]),
        ("scale", np.ones(5)),
        ("scale", "large"),
        ("name", 3),
        ("split", h5py.Empty("f4")),
    ],
)
def test_bad_attributes_name_the_file_and_the_sequence(tmp_path, field, value):
    path = tmp_path / "data.h5"
    save_sequences(path, example())
    with h5py.File(path, "r+") as file:
        file["sequences/00001"].attrs[field] = value
    with pytest.raises(ValueError, match=f"^{path}: /sequences/00001: "):
        load_sequences(path)


@pytest.mark.parametrize("frames", [np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.inf)])
def test_bad_frames_name_the_file_and_the_sequence(tmp_path, frames):
    path = tmp_path / "data.h5"
    save_sequences(path, example())
    with h5py.File(path, "r+") as file:
        del file["sequences/00001"]
        file["sequences/00001"] = frames
    with pytest.raises(ValueError, match=f"^{path}: /sequences/00001: frames must be"):
        load_sequences(path)


def test_huge_claims_are_refused_quickly(tmp_path):
    path = tmp_path / "data.h5"
    save_sequences(path, example())
    with h5py.File(path, "r+") as file:
        file["sequences"].create_dataset("00003", shape=(10**12,), dtype="f4", chunks=(1000,))
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"/sequences/00003 claims 4000000000000 bytes"):
        load_sequences(path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("group", [None, "array"])
def test_files_without_the_group_are_refused(tmp_path, group):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(format="seqebm-sequences", version=1)
        if group:
            file["sequences"] = np.zeros(3)
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_sequences(path)


def test_truncated_files_are_refused(tmp_path):
    save_sequences(tmp_path / "data.h5", example())
    whole = (tmp_path / "data.h5").read_bytes()
    path = tmp_path / "cut.h5"
    ends = random.Random(1).sample(range(len(whole)), 150)
    for end in [0, 1, 7, 8, len(whole) - 1, *ends]:
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=f"^{path}: "):
            load_sequences(path)


def test_damaged_files_raise_nothing_else(tmp_path):
    save_sequences(tmp_path / "data.h5", example())
    whole = (tmp_path / "data.h5").read_bytes()
    path = tmp_path / "damaged.h5"
    random_ = random.Random(3)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[random_.randrange(len(whole))] = random_.randrange(256)
        path.write_bytes(damaged)
        try:
            load_sequences(path)  # some bytes are not used
        except ValueError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused > 100


def test_a_failed_save_keeps_the_old_file(tmp_path):
    path = tmp_path / "data.h5"
    save_sequences(path, example())
    bad = Sequence(torch.zeros(2, 2), name="\ud800")  # not possible in UTF-8, found out halfway
    with pytest.raises(UnicodeEncodeError, match="surrogates"):
        save_sequences(path, [*example(1), bad])
    assert_same(load_sequences(path), example())
    assert os.listdir(tmp_path) == ["data.h5"]


def test_folders_that_do_not_exist_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/none/data.h5"):
        save_sequences(tmp_path / "none" / "data.h5", example())


@pytest.mark.slow
def test_a_killed_save_leaves_a_whole_file(tmp_path):
    path = tmp_path / "data.h5"
    program = textwrap.dedent(
        """
        import sys, torch
        from seqebm.data import Sequences, save_sequences
        for value in range(1, 1_000_000):
            save_sequences(sys.argv[1], Sequences.from_frames(torch.full((20, 500, 50), value)))
            print(value, flush=True)
        """
    )
    save_sequences(path, Sequences.from_frames(torch.zeros(20, 500, 50)))
    waits = random.Random(2)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()  # it saves all the time from now on
            time.sleep(waits.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        frames, lengths = load_sequences(path).padded()
        assert lengths.tolist() == [500] * 20
        assert (frames == frames[0, 0, 0]).all()
        assert frames[0, 0, 0] >= 1


# --- preparation -----------------------------------------------------------------------------


def test_a_preparation_goes_with_all_sequences(tmp_path):
    long = "how it was made, ½ of it in Σ " * 5000  # attributes of HDF5 end at 64 KiB by default
    made = Sequences([Sequence(torch.rand(3, 2), split="train")] * 3, preparation=long)
    save_sequences(tmp_path / "data.h5", made)
    read = read_sequences(tmp_path / "data.h5")
    assert read.preparation == read[1:].preparation == read.split("train").preparation == long


def test_there_need_not_be_a_preparation(tmp_path):
    save_sequences(tmp_path / "data.h5", [Sequence(torch.rand(3, 2))])
    assert read_sequences(tmp_path / "data.h5").preparation == ""
    with pytest.raises(TypeError, match="preparation must be a string, got int"):
        Sequences([], preparation=3)


# --- symbols ---------------------------------------------------------------------------------


def symbols(time=300, categories=5, seed=1):
    source = torch.Generator().manual_seed(seed)
    return torch.randint(categories, (time,), generator=source)


@pytest.mark.parametrize("categories", [2, 256, 257, 65536])
def test_symbols_are_kept_in_files_as_they_are(tmp_path, categories):
    one = SymbolSequence(
        symbols=symbols(categories=categories), categories=categories, name="a", split="test"
    )
    save_sequences(tmp_path / "a.h5", Sequences([one], "how"))
    (again,) = load_sequences(tmp_path / "a.h5")
    assert isinstance(again, SymbolSequence)
    assert torch.equal(again.symbols, one.symbols)
    assert (again.categories, again.name, again.split) == (categories, "a", "test")
    with h5py.File(tmp_path / "a.h5") as file:
        stored = file["sequences/00000"]
        assert stored.dtype.itemsize == (1 if categories <= 256 else 2)
        assert stored.shape == (300,)


def test_frames_of_symbols_are_one_hot():
    one = SymbolSequence(symbols=symbols(), categories=5)
    expected = torch.zeros(300, 5)
    expected[torch.arange(300), symbols()] = 1
    assert torch.equal(one.frames, expected)
    assert torch.equal(one[7:20], expected[7:20])
    assert torch.equal(one[7], expected[7])
    assert torch.equal(one.original(), expected)
    assert (len(one), one.n_visible, one.shape) == (300, 5, (5,))
    assert one.symbols.dtype == torch.uint8


def test_symbols_are_reversed_in_time():
    one = SymbolSequence(symbols=symbols(), categories=5, name="a", split="test")
    (found,) = Sequences([one]).backwards()
    assert isinstance(found, SymbolSequence)
    assert found.symbols.tolist() == symbols().tolist()[::-1]
    assert (found.categories, found.name, found.split) == (5, "a", "test")


def test_frames_are_not_made_unless_asked_for(monkeypatch):
    """A book of 20 million characters: its frames would take 4 GB."""
    one = SymbolSequence(symbols=torch.zeros(20_000_000, dtype=torch.uint8), categories=50)
    data = Sequences([replace(one, split="train")])
    monkeypatch.setattr(SymbolSequence, "__getitem__", None)
    assert data.n_visible == 50
    assert data.lengths.tolist() == [20_000_000]
    assert data.split("train")[0].split == "train"
    assert len(data.backwards()[0]) == 20_000_000


def test_symbols_and_frames_of_one_width_go_together():
    both = Sequences(
        [SymbolSequence(symbols=symbols(4, 3), categories=3), Sequence(torch.zeros(2, 3))]
    )
    frames, lengths = both.padded()
    assert frames.shape == (2, 4, 3)
    assert lengths.tolist() == [4, 2]


@pytest.mark.parametrize(
    ("given", "categories", "error", "named"),
    [
        (torch.tensor([0, 5]), 5, ValueError, "symbols must be from 0 to 4, got 0 to 5"),
        (torch.tensor([-1, 3]), 5, ValueError, "got -1 to 3"),
        (torch.tensor([0.0]), 5, TypeError, "symbols must be a tensor of whole numbers"),
        ([0, 1], 5, TypeError, "got list"),
        (torch.tensor([[0]]), 5, ValueError, r"symbols must be \[time\]"),
        (torch.tensor([], dtype=torch.int64), 5, ValueError, "not empty"),
        (torch.tensor([0]), 1, ValueError, "categories must be from 2 to 65536, got 1"),
        (torch.tensor([0]), 65537, ValueError, "categories must be from 2 to 65536, got 65537"),
        (torch.tensor([0]), 5.0, TypeError, "categories must be a whole number"),
    ],
)
def test_bad_symbols(given, categories, error, named):
    with pytest.raises(error, match=named):
        SymbolSequence(symbols=given, categories=categories)


@pytest.mark.parametrize(
    ("values", "categories", "named"),
    [
        (np.array([0, 7], "uint8"), 5, "symbols must be from 0 to 4, got 0 to 7"),
        (np.array([0, 1], "uint8"), 2**40, "categories must be from 2 to 65536"),
        (np.array([0, 1], "uint8"), 0, "categories must be from 2"),
        (np.array([0, 1], "uint8"), 2.5, "categories must be a whole number"),
        (np.array([0, 1], "uint8"), "many", "categories must be a whole number"),
        (np.array([0, 1], "float32"), 5, "symbols must be unsigned integers"),
        (np.array([0, 1], "int64"), 5, "symbols must be unsigned integers"),
        (np.array([0, 1], "uint64"), 5, "symbols must be unsigned integers"),
        (np.array([[0, 1]], "uint8"), 5, r"symbols must be \[time\]"),
        (np.array([], "uint8"), 5, r"symbols must be \[time\], not empty"),
    ],
)
def test_files_with_bad_symbols(tmp_path, values, categories, named):
    one = SymbolSequence(symbols=symbols(), categories=5)
    save_sequences(tmp_path / "a.h5", [one])
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["sequences/00000"]
        file["sequences/00000"] = values
        file["sequences/00000"].attrs["categories"] = categories
    with pytest.raises(ValueError, match=rf"a\.h5: /sequences/00000: {named}"):
        load_sequences(tmp_path / "a.h5")


def test_plain_integers_are_no_symbols(tmp_path):
    save_sequences(tmp_path / "a.h5", [Sequence(torch.ones(3, 2))])
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["sequences/00000"]
        file["sequences/00000"] = np.array([0, 1], "uint8")
    with pytest.raises(ValueError, match=r"frames must be \[time, visible\]"):
        load_sequences(tmp_path / "a.h5")
