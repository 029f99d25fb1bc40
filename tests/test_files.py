import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from seqebm.files import (
    atomic_path,
    check_claim,
    check_dataset,
    get_text,
    read_hdf5,
    set_text,
    write_hdf5,
)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        assert not temporary.exists()
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "note.txt"
    path.write_text("old")

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def write_numbers(path):
    with write_hdf5(path, "numbers") as file:
        file["x"] = np.arange(3.0)


def test_files_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    missing = tmp_path / "missing" / "a.h5"
    with pytest.raises(FileNotFoundError, match=f"cannot be written.*'{missing}'"):
        write_numbers(missing)
    with pytest.raises(OSError, match=f"cannot be written.*'{tmp_path}/file/a.h5'"):
        write_numbers(tmp_path / "file" / "a.h5")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(IsADirectoryError, match=f"cannot be written.*'{tmp_path}/folder.h5'"):
        write_numbers(tmp_path / "folder.h5")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.h5"]


def test_files_without_permission_are_named(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(PermissionError, match=f"'{tmp_path}/a.h5'"):
        write_numbers(tmp_path / "a.h5")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.h5"
    write_numbers(path)
    return path


def read_x(path: Path, **kwargs):
    with read_hdf5(path, "numbers", **kwargs) as file:
        check_dataset(file["x"], path)
        return file["x"][()]


def test_intact_files_are_read(path):
    assert read_x(path).tolist() == [0.0, 1.0, 2.0]
    assert read_x(str(path), version=2).tolist() == [0.0, 1.0, 2.0]


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/no.h5: no such file"):
        read_x(tmp_path / "no.h5")
    with pytest.raises(ValueError, match=f"{tmp_path}: not a file"):
        read_x(tmp_path)


@pytest.mark.parametrize("text", ["", "x", "é ∑", "long " * 20_000])
def test_texts_come_back(tmp_path, text):
    with write_hdf5(tmp_path / "a.h5", "texts", version=3) as file:
        set_text(file, "note", text)
    with read_hdf5(tmp_path / "a.h5", "texts", version=3) as file:
        assert get_text(file, "note") == text
        with pytest.raises(TypeError, match="version must be text, got"):
            get_text(file, "version")


def test_texts_of_other_programs_are_read(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "numbers"  # of variable length: h5py's default
    assert read_x(path).tolist() == [0.0, 1.0, 2.0]


def test_an_error_while_writing_hdf5_leaves_the_old_file_alone(path):
    def write():
        with write_hdf5(path, "numbers") as file:
            file["x"] = [7.0]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert read_x(path).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_full_disk_is_an_os_error(path):
    program = """if True:
        import resource, signal, sys
        import numpy as np
        from seqebm.files import write_hdf5
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with write_hdf5(sys.argv[1], "numbers") as file:
                file["x"] = np.zeros(100_000)
        except OSError as error:
            print(error)
    """
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert str(path) in done.stdout
    assert os.listdir(path.parent) == ["data.h5"]
    assert read_x(path).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("content", [b"", b"1 2 3\n4 5 6\n", b"\x89HDF\r\n\x1a\n"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "data.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: "):
        read_x(path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"format": "letters"}, "its format is not numbers"),
        ({"format": [1, 2]}, "format must be text"),
        ({"version": 2}, "its version is 2, this release reads numbers up to 1"),
        ({"version": "one"}, "its version is one"),
    ],
)
def test_other_formats_and_newer_versions_are_refused(path, attributes, message):
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        read_x(path)


def test_hdf5_files_of_other_programs_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(ValueError, match=r"other\.h5: its format is not numbers"):
        read_x(tmp_path / "other.h5")


def test_errors_in_the_block_name_the_file_once(path):
    def read(name):
        with read_hdf5(path, "numbers") as file:
            return file[name]

    with pytest.raises(ValueError, match=f"^{path}: .*'y'.*exist"):
        read("y")
    with h5py.File(path, "r+") as file:
        del file["x"]
        file.create_group("x")
    with pytest.raises(ValueError, match=f"^{path}: /x is not an array$"):
        read_x(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": (10**12,), "dtype": "f4", "chunks": (1000,)},
        {"shape": (2**40, 2**40), "dtype": "u1", "chunks": (1, 1)},  # 2^80 overflows 64 bits
        {"shape": (10**12,), "dtype": "f4"},
        {"shape": (1,), "maxshape": (None,), "chunks": (10**8,), "dtype": "f4"},
    ],
)
def test_claims_beyond_what_is_stored_are_refused(path, settings):
    with h5py.File(path, "r+") as file:
        del file["x"]
        file.create_dataset("x", **settings)
    with pytest.raises(ValueError, match=f"^{path}: /x claims .* bytes, but only"):
        read_x(path)


def test_the_best_compression_is_accepted(path):
    with h5py.File(path, "r+") as file:
        del file["x"]
        zeros = np.zeros(2**24, dtype="u1")
        file.create_dataset(
            "x", data=zeros, compression="gzip", compression_opts=9, chunks=(2**24,)
        )
    assert len(read_x(path)) == 2**24


@pytest.mark.parametrize("data", ["text", [b"ab"], 1j, h5py.Empty("f4")])
def test_anything_but_numbers_is_refused(path, data):
    with h5py.File(path, "r+") as file:
        del file["x"]
        file["x"] = data
    with pytest.raises(ValueError, match=f"^{path}: /x (must hold numbers|is not an array)"):
        read_x(path)


def test_data_in_other_files_are_refused(path, tmp_path):
    (tmp_path / "secret").write_bytes(b"12345678")
    with h5py.File(path, "r+") as file:
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource("other.h5", "y", shape=(3,))
        file.create_virtual_dataset("virtual", layout)
        external = [(str(tmp_path / "secret"), 0, 8)]
        file.create_dataset("external", shape=(1,), dtype="f8", external=external)
        for name in ("virtual", "external"):
            with pytest.raises(ValueError, match=f"/{name} is kept in other files"):
                check_dataset(file[name], path)


def test_claims_have_a_limit():
    check_claim(2**20 + 1100, 1, "x")
    with pytest.raises(ValueError, match=r"^x claims 1049677 bytes, but only 1 are stored"):
        check_claim(2**20 + 1101, 1, "x")
