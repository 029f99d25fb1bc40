"""What programs that train and measure a series of runs have in common.

Such a program, docs/results/NAME.py, is called as

    python docs/results/NAME.py train RUNS [RUN …]     # resumes what was stopped
    python docs/results/NAME.py measure RUNS [RUN …]   # measures again what has been trained

RUNS is a folder, which has the data. A run is called DATA-MODEL-SEED, such as ptb-mrnn-1; all of a
data set or of a model are meant by `ptb` or `ptb-mrnn`, and all there are by no name. The figures
of each run go into NAME.json as soon as it is trained, with the command and the commit.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from record import machine, printed

from seqebm.learning import load_training
from seqebm.learning.checkpoint import RUN_FILE
from seqebm.learning.runs import Run, open_run


class Name(NamedTuple):
    """What a run is called.

    Attributes:
        data: the data set.
        model: the model, or the model and what is special of it.
        seed: of the training.
    """

    data: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}-{self.model}-{self.seed}"

    def called(self) -> set[str]:
        """The names by which a run is meant."""
        return {self.data, f"{self.data}-{self.model}", str(self)}


class Series(NamedTuple):
    """Runs that are trained and measured alike.

    Attributes:
        runs: in the order in which they are trained.
        arguments: what follows `seqebm train` in the command of a run, given the folder.
        figures: of a trained run, beside those that all have.
        file: where figures are kept, a JSON file.
    """

    runs: list[Name]
    arguments: Callable[[Path, Name], list[str]]
    figures: Callable[[Path, Name, Run], dict]
    file: Path

    def main(self) -> None:
        """Do what the command line says."""
        do = {"train": self.train, "measure": self.measure}[sys.argv[1]]
        torch.set_num_threads(1)
        do(Path(sys.argv[2]), sys.argv[3:])

    def train(self, folder: Path, names: list[str]) -> None:
        """Train, or go on training, one run after another, and measure each; some may fail."""
        for run in self.chosen(names):
            if self.kept()["runs"].get(str(run), {}).get("command") == self.command(run):
                continue
            out = str(folder / str(run))
            line = ["seqebm", "train", *self.arguments(folder, run), "--out", out]
            print(" ".join(line), flush=True)
            done = subprocess.run([sys.executable, "-m", *line, "--resume"], check=False)
            if done.returncode == 0:
                self.keep(folder, run)

    def measure(self, folder: Path, names: list[str]) -> None:
        """Measure the runs that have been trained to their ends."""
        for run in self.chosen(names):
            if is_finished(folder / str(run)):
                self.keep(folder, run)

    def chosen(self, names: Iterable[str]) -> list[Name]:
        """The runs that are meant."""
        wanted = set(names)
        return [run for run in self.runs if not wanted or wanted & run.called()]

    def command(self, run: Name) -> str:
        """How a run is trained, wherever its files are."""
        return " ".join(["seqebm train", *self.arguments(Path("RUNS"), run), f"--out RUNS/{run}"])

    def kept(self) -> dict:
        """The figures so far."""
        found: dict = json.loads(self.file.read_text()) if self.file.exists() else {"runs": {}}
        return found

    def keep(self, folder: Path, run: Name) -> None:
        """Measure a run and write its figures beside those of the others."""
        opened, training = open_run(folder / str(run)), load_training(folder / str(run))[1]
        row = {
            "command": self.command(run),
            "commit": printed("git", "rev-parse", "--short", "HEAD"),
            "parameters": sum(p.numel() for p in opened.model.parameters()),
            "steps": training["step"],
            "seconds": training["seconds"],
            **self.figures(folder, run, opened),
        }
        kept = self.kept()
        kept["runs"][str(run)] = row
        kept |= {"torch": torch.__version__, "machine": machine()}
        self.file.write_text(json.dumps(kept, indent=1) + "\n")
        print(run, json.dumps(row), flush=True)


def is_finished(path: Path) -> bool:
    """Whether a run has made all its updates."""
    if not (path / RUN_FILE).exists():
        return False
    return bool(load_training(path)[1]["step"] == open_run(path).recipe.steps)
