"""The Python of the README and of the pages on data runs as it stands; their commands exist."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from seqebm.cells import CELLS
from seqebm.cli import cli
from seqebm.data import Sequence
from seqebm.data.mocap import Joint, Motion, Skeleton, read_motion, write_motion
from seqebm.data.music import read_midi, write_midi

README = Path(__file__).parents[1] / "README.md"
MOTION = README.parent / "docs" / "motion.md"
MUSIC = README.parent / "docs" / "music.md"
TEXT = README.parent / "docs" / "text.md"
LIKELIHOOD = README.parent / "docs" / "likelihood.md"
CTC = README.parent / "docs" / "ctc.md"
RECURRENT = README.parent / "docs" / "recurrent.md"
OPTIMISATION = README.parent / "docs" / "optimisation.md"
COMMANDS = [
    line
    for page in (README, MOTION, MUSIC, TEXT, LIKELIHOOD, RECURRENT, OPTIMISATION)
    for line in re.findall(r"^    (seqebm .*)$", page.read_text(), re.MULTILINE)
]


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    assert names["continued"].shape == (4, 20, 100)
    assert (tmp_path / "model.h5").exists()


def test_the_python_of_the_page_on_recurrent_networks_runs():
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", RECURRENT.read_text(), re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    assert names["continued"].shape == (4, 30, 9)


def test_the_python_of_the_page_on_optimisation_runs(capsys):
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", OPTIMISATION.read_text(), re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    assert names["report"].after < names["report"].before
    assert capsys.readouterr().out


def test_the_page_on_recurrent_networks_names_every_cell():
    table = re.findall(r"^\| (`.*?`) \|", RECURRENT.read_text(), re.MULTILINE)
    named = {name.strip("`") for line in table for name in line.split(", ")}
    assert named == {*CELLS, "stacked"}


def test_the_python_of_the_page_on_ctc_runs():
    names: dict = {}
    with torch.random.fork_rng(devices=[]):
        for code in re.findall(r"```python\n(.*?)```", CTC.read_text(), re.DOTALL):
            exec(code, names)
    assert [len(one) for one in names["found"]] == [len(one) for one in names["greedy"]] == [2, 1]
    assert names["posterior"].shape == (2, 50, 5)


def test_the_python_of_the_page_on_likelihoods_runs():
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", LIKELIHOOD.read_text(), re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    mean = names["mean"]
    assert mean.lower < mean.estimate < mean.upper < mean.lower + 0.05
    torch.testing.assert_close(names["log_p"].mean().item(), mean.estimate, rtol=0, atol=0.05)


def test_the_python_of_the_page_on_motion_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joints = [Joint("hip", -1, channels=("tx", "ty", "tz", "ry", "rx"))]
    joints += [Joint("knee", 0, (0, -4, 0), ("rx",)), Joint("foot", 1, (0, -4, 0))]
    values = np.random.default_rng(1).normal(size=(240, 6)).cumsum(0) * 0.05
    write_motion("walk.bvh", Motion(Skeleton(joints), values, frame_rate=120))
    (code,) = re.findall(r"```python\n(.*?)```", MOTION.read_text(), re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        exec(code, {})
    assert len(read_motion("new.bvh")) == 60
    assert (tmp_path / "new.mp4").exists()


def test_the_python_of_the_page_on_music_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(1)
    write_midi("song.mid", Sequence((torch.rand(40, 88, generator=generator) < 0.1).float()))
    names: dict = {}
    with torch.random.fork_rng(devices=[]):
        for code in re.findall(r"```python\n(.*?)```", MUSIC.read_text(), re.DOTALL):
            exec(code, names)
    assert torch.equal(read_midi("new.mid").frames, names["drawn"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "song.mid",
        "new.mid",
        "new.wav",
        "new.png",
        "new.mp4",
    }
    assert "intervals" in capsys.readouterr().out


def test_the_python_of_the_page_on_text_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "The cat sat (as cats do) on the mat. " * 1200
    (tmp_path / "book.txt").write_text(words)
    names: dict = {}
    with torch.random.fork_rng(devices=[]):
        for code in re.findall(r"```python\n(.*?)```", TEXT.read_text(), re.DOTALL):
            exec(code, names)
    assert sorted(names["best"].words) == ["mat", "on", "sat", "the"]
    assert "Bits(bits=" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"book.txt", "surprise.png"}


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_readme_exist(line):
    command, words = cli, shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
