"""Idx files, good ones and those whose headers lie."""

import gzip
import struct

import numpy as np
import pytest

from seqebm.data.idx import read_idx


def write(path, content):
    path.write_bytes(gzip.compress(content))
    return path


def header(*shape, kind=8):
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_arrays_are_read(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = read_idx(write(tmp_path / "a.gz", header(*shape) + array.tobytes()))
    assert found.dtype == np.uint8
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ""),
        (b"\0\0\x08", ""),
        (header(2, kind=13) + bytes(8), "not an idx file of unsigned bytes"),
        (b"\1" + header(2)[1:] + bytes(2), "not an idx file of unsigned bytes"),
        (b"\0\0\x08\0", "not an idx file of unsigned bytes"),
        (b"\0\0\x08\xff" + bytes(2000), "not an idx file of unsigned bytes"),
        (header(2, 3)[:-2], ""),
        (header(2, 3) + bytes(5), r"an array of \[2, 3\] needs 6 bytes, there are 5"),
        (header(2, 3) + bytes(7), r"an array of \[2, 3\] needs 6 bytes, there are more"),
        (header(2**32 - 1, 2**32 - 1, 9) + bytes(9), "its header claims"),
    ],
)
def test_files_that_are_no_arrays(tmp_path, content, message):
    path = write(tmp_path / "a.gz", content)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        read_idx(path)


def test_files_that_are_not_compressed_or_cut(tmp_path):
    whole = gzip.compress(header(1000) + np.random.default_rng(1).bytes(1000))
    for content in (b"hello", header(2) + bytes(2), whole[:-9], whole[:30], whole[:500]):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(ValueError, match=f"^{tmp_path}/a.gz: "):
            read_idx(tmp_path / "a.gz")
    with pytest.raises(FileNotFoundError, match=r"b\.gz: no such file"):
        read_idx(tmp_path / "b.gz")
