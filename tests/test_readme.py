"""The README's Python runs as it stands, and its commands exist."""

import re
from pathlib import Path

import pytest
import torch

from seqebm.cli import cli

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    assert names["continued"].shape == (4, 20, 100)
    assert (tmp_path / "model.h5").exists()


@pytest.mark.parametrize("line", re.findall(r"^    (seqebm .*)$", README.read_text(), re.MULTILINE))
def test_the_commands_of_the_readme_exist(line):
    command, words = cli, line.split()[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
