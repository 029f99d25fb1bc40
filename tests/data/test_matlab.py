"""Matrices in MATLAB files; `tests/data/mocap/test_taylor.py` damages such files."""

import numpy as np
import pytest
from scipy.io import savemat

from seqebm.data.matlab import kind_of, variables

KINDS = [("a", "b"), ("a",), ("c",)]


def test_the_first_kind_that_is_all_there_is_read(tmp_path):
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.arange(6.0).reshape(2, 3), np.uint8([[7]])
    savemat(tmp_path / "x.mat", {"a": cells, "c": np.float32([[1.5, 2]]), "text": "ignored"})
    assert kind_of(tmp_path / "x.mat", KINDS) == ("a",)
    found = variables(tmp_path / "x.mat", KINDS)
    assert [one.tolist() for one in found["a"]] == [[[0, 1, 2], [3, 4, 5]], [[7]]]
    assert variables(tmp_path / "x.mat", [("c",)])["c"][0].tolist() == [[1.5, 2]]
    savemat(tmp_path / "y.mat", {"a": cells, "b": cells})
    assert kind_of(tmp_path / "y.mat", KINDS) == ("a", "b")


@pytest.mark.parametrize("read", [kind_of, variables])
def test_other_variables_are_listed(tmp_path, read):
    savemat(tmp_path / "x.mat", {"b": [[1.0]], "d": [[1.0]]})
    with pytest.raises(
        ValueError, match=r"x\.mat: expected variables a, b; or a; or c; found b, d"
    ):
        read(tmp_path / "x.mat", KINDS)
    (tmp_path / "x.mat").write_bytes(b"no MATLAB")
    with pytest.raises(ValueError, match=r"x\.mat: not a MATLAB 5 file"):
        read(tmp_path / "x.mat", KINDS)
    with pytest.raises(FileNotFoundError, match=r"y\.mat: no such file"):
        read(tmp_path / "y.mat", KINDS)
