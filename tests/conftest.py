"""Small models of every kind for the tests of what all of them share."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

import seqebm
from seqebm import cli, video
from seqebm.units import Gaussian

# torch gives some warnings once a process; as errors they would hit whichever test comes first
torch.set_warn_always(True)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels for GPUs run line by line on the CPU
torch.set_num_threads(1)  # everything here is tiny: threads would only wait for each other

# settings of trainings that take no time
SIDE, LENGTH = 10, 13
KEYS = {
    "hidden": "4",
    "steps": "3",
    "batch": "2",
    "gibbs_steps": "1",
    "balls": "1",
    "resolution": str(SIDE),
    "length": str(LENGTH),
}
TINY = " ".join(f"--set {key}={value}" for key, value in KEYS.items())

MODELS = {
    "RBM": lambda: seqebm.RBM(4, 3),
    "RBM gaussian": lambda: seqebm.RBM(4, 3, Gaussian(4, 0.5)),
    "TRBM": lambda: seqebm.TRBM(4, 3, order=2),
    "TRBM-HH": lambda: seqebm.TRBM(4, 3, order=2, connections=("vh", "vv")),
    "TRBM-VH": lambda: seqebm.TRBM(4, 3, order=3, connections=("hh", "vv")),
    "TRBM-VV gaussian": lambda: seqebm.TRBM(4, 3, 1, "gaussian", ("hh", "vh")),
    "TRBM with hh only": lambda: seqebm.TRBM(4, 3, connections=("hh",)),
    "TRBM with vv only": lambda: seqebm.TRBM(4, 3, connections=("vv",)),
    "TRBM with hv": lambda: seqebm.TRBM(4, 3, connections=("vh", "hv")),
    "RTRBM": lambda: seqebm.RTRBM(4, 3),
    "RTRBM gaussian with taps": lambda: seqebm.RTRBM(4, 3, order=2, visible="gaussian:learned"),
    "RNN": lambda: seqebm.RNN(nn.RNN(4, 3, batch_first=True)),
    "LSTM, two layers": lambda: seqebm.RNN(nn.LSTM(4, 3, 2, batch_first=True), "gaussian"),
    "Stack of TRBM and RTRBM": lambda: seqebm.Stack(
        [seqebm.TRBM(4, 5, order=2), seqebm.RTRBM(5, 3)]
    ),
    "Stack of RBM and RNN": lambda: seqebm.Stack(
        [seqebm.RBM(4, 3), seqebm.RNN(nn.GRU(3, 3, batch_first=True))]
    ),
    "Innovations of an RTRBM": lambda: seqebm.Innovations(
        seqebm.RTRBM(4, 3, visible="gaussian"), order=2
    ),
    "Innovations of an LSTM": lambda: seqebm.Innovations(
        seqebm.RNN(nn.LSTM(4, 3, batch_first=True), "gaussian"), order=1
    ),
    "GRU gaussian": lambda: seqebm.RNN(nn.GRU(4, 3, batch_first=True), "gaussian:learned"),
}


@pytest.fixture(params=MODELS)
def any_model(request):
    """Each kind in turn: 4 visible and 3 hidden units, parameters so large that all matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = MODELS[request.param]()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="session")
def real_data():
    """Real files and folders by their names, from $SEQEBM_DATA or from beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEQEBM_DATA", beside))

    def find(name):
        if not (folder / name).exists():
            pytest.skip(f"there is no {folder / name}: set SEQEBM_DATA to the folder of the data")
        return folder / name

    return find


class Outcome(NamedTuple):
    code: object
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs a command line as `seqebm` does: exit code, stdout and stderr."""

    def run(line):
        arguments = line.replace("TINY", TINY).split()
        monkeypatch.setattr(sys, "argv", ["seqebm", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            torch.set_flush_denormal(False)  # which the command leaves to the end of its process
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def done(command):
    """Runs a command line that must succeed quietly; what it said on stdout."""

    def run(line):
        code, out, err = command(line)
        assert (code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused(command):
    """Runs a command line that must be refused with one line on stderr; that line."""

    def run(line):
        code, out, err = command(line)
        assert (code, out) == (2, "")
        assert err.startswith("seqebm: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err
        return err.strip()

    return run


@pytest.fixture
def pictures_written(monkeypatch):
    """From when it is called on, pictures are not written: they and their rates, by file."""

    def begin():
        shown = {}

        def save(path, pictures, frame_rate=25.0):
            shown[str(path)] = (pictures, frame_rate)

        monkeypatch.setattr(video, "save", save)
        return shown

    return begin
