"""Train on the problems of long memory until they are solved: Sutskever 2013, fig. 4.1, again.

    python docs/results/problems.py train RUNS [NAME …] [--seeds N] [--limit N]
    python docs/results/problems.py plot          # draws problems.png from problems.json

A run is called TASK-LENGTH-DAMPING-SEED, such as addition-30-structural-1; all of a task, of a
length of it or of a kind of damping there are meant by `addition`, `addition-30` or
`addition-30-structural`. Each is trained by one command, which is printed and kept:

    seqebm train rnn --task TASK --length T --preset task-hf --set seed=1 --out RUNS/NAME

with task-hf-plain for plain damping. The work is counted in minibatches of 1000 sequences; a run
has failed when it has used more than --limit of them, 50 000 in the thesis. Short runs take half a
minute, those of length 200 hours. Figures are written to problems.json as soon as a run ends.
Runs that were solved or have used the limit are not done again, stopped ones go on where they
were, and failed ones do so under a larger limit.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from record import machine, printed

from seqebm.data.problems import PROBLEMS, SOLVED
from seqebm.learning.solving import LIMIT
from seqebm.learning.tasks import open_task

TASKS = tuple(PROBLEMS)
LENGTHS = (30, 50, 100, 200)
DAMPINGS = {"structural": "task-hf", "plain": "task-hf-plain"}
COLOURS = {"structural": "tab:blue", "plain": "tab:orange"}
OUT = Path(__file__).with_suffix(".json")

Name = tuple[str, int, str, int]


def chosen(names: list[str], seeds: int) -> list[Name]:
    """The runs that names stand for: seed after seed, short sequences first."""
    every = [
        (task, length, damping, seed)
        for seed in range(1, seeds + 1)
        for length in LENGTHS
        for task in TASKS
        for damping in DAMPINGS
    ]
    called = {run: {called_so(run[:end]) for end in (1, 2, 3, 4)} for run in every}
    return [run for run in every if not names or called[run] & {*names}]


def called_so(run: tuple[object, ...]) -> str:
    """The name of a run, or of several by what they have in common."""
    return "-".join(map(str, run))


def command(folder: Path, run: Name, limit: int) -> list[str]:
    """The command that trains a run."""
    task, length, damping, seed = run
    line = ["seqebm", "train", "rnn", "--task", task, "--length", str(length)]
    line += ["--preset", DAMPINGS[damping], "--set", f"seed={seed}"]
    line += [] if limit == LIMIT else ["--set", f"limit={limit}"]
    return [*line, "--out", str(folder / called_so(run))]


def train(folder: Path, names: list[str], seeds: int, limit: int) -> None:
    """Train what is missing, or go on with it, one run after another."""
    for run in chosen(names, seeds):
        kept = report()
        before = kept["runs"].get(called_so(run))
        if before is not None and (before["solved"] or before["minibatches"] >= limit):
            continue
        line = command(folder, run, limit)
        print(" ".join(line), flush=True)
        subprocess.run([sys.executable, "-m", *line, "--resume"], check=True)
        kept["runs"][called_so(run)] = figures(folder / called_so(run)) | {
            "command": " ".join(command(Path("RUNS"), run, limit)),
            "commit": printed("git", "rev-parse", "--short", "HEAD"),
            "machine": machine(),
            "torch": torch.__version__,
        }
        OUT.write_text(json.dumps(kept, indent=1) + "\n")


def figures(path: Path) -> dict:
    """What a run came to, by its last test."""
    last = open_task(path).history[-1]
    return {
        "solved": last["sequences"] < SOLVED,
        "error": last["sequences"],
        "minibatches": last["minibatches"],
        "steps": last["step"],
        "seconds": last["seconds"],
    }


def report() -> dict:
    """The figures so far."""
    return json.loads(OUT.read_text()) if OUT.exists() else {"runs": {}}


def plot(path: Path) -> None:
    """Draw the work that solving took, above, and how many runs failed, below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    runs = report()["runs"]
    shape = {"figsize": (2.1 * len(TASKS), 4.6), "sharex": True, "sharey": "row"}
    figure, axes = plt.subplots(2, len(TASKS), squeeze=False, **shape)
    for task, (above, below) in zip(TASKS, axes.T, strict=True):
        above.set(title=task, yscale="log", ylim=(100, 1.2 * LIMIT))
        below.set(xlabel="T", xticks=range(len(LENGTHS)), xticklabels=LENGTHS)
        below.set(ylim=(-0.05, 1.05), xlim=(-0.5, len(LENGTHS) - 0.5))
        for side, damping in ((-0.1, "structural"), (0.1, "plain")):
            found = [of(runs, task, length, damping) for length in LENGTHS]
            _work(above, found, side, damping)
            _failures(below, found, side, damping)
    axes[0, 0].set(ylabel="minibatches until solved")
    axes[1, 0].set(ylabel="share of runs that failed")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    labels = [f"{label} damping" for label in labels]
    figure.legend(handles, labels, loc="upper center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=80)


def of(runs: dict, task: str, length: int, damping: str) -> list[dict]:
    """The figures of all seeds."""
    start = called_so((task, length, damping)) + "-"
    return [found for name, found in runs.items() if name.startswith(start)]


def _work(axes, found: list[list[dict]], side: float, damping: str) -> None:
    """Mean, least and most minibatches of the runs of each length that were solved."""
    work = [[run["minibatches"] for run in runs if run["solved"]] for runs in found]
    places = [place for place, some in enumerate(work) if some]
    means = [sum(work[place]) / len(work[place]) for place in places]
    least = [mean - min(work[place]) for place, mean in zip(places, means, strict=True)]
    most = [max(work[place]) - mean for place, mean in zip(places, means, strict=True)]
    style = {"marker": "o", "markersize": 4, "capsize": 3, "color": COLOURS[damping]}
    axes.errorbar([p + side for p in places], means, (least, most), label=damping, **style)


def _failures(axes, found: list[list[dict]], side: float, damping: str) -> None:
    """The share of the runs of each length that failed."""
    places = [place for place, runs in enumerate(found) if runs]
    shares = [sum(not run["solved"] for run in found[p]) / len(found[p]) for p in places]
    axes.plot([p + side for p in places], shares, "o-", markersize=4, color=COLOURS[damping])


def main() -> None:
    """Train or plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("plot")
    training = parts.add_parser("train")
    training.add_argument("folder", type=Path, metavar="RUNS")
    training.add_argument("names", nargs="*", metavar="NAME")
    training.add_argument("--seeds", type=int, default=5)
    training.add_argument("--limit", type=int, default=LIMIT)
    options = parser.parse_args()
    if options.part == "plot":
        plot(OUT.with_suffix(".png"))
    else:
        train(options.folder, options.names, options.seeds, options.limit)


if __name__ == "__main__":
    main()
