"""How fast chains and training steps are, beside their matrix products and other libraries.

    python benchmarks [--threads 1 2] [--json FILE] [--plot FILE]

takes about five minutes; the plot, of how the times grow with batch, units, k and T, as long again.

Contestants take turns in one process and the figures are medians; the ratios to the matrix
products alone say more than the milliseconds. On one thread times are CPU time, on more of the
clock on the wall. Libraries that are not installed are left out: `pip install rbms learnergy
scikit-learn`. On a machine that does something else at the same time the figures mean nothing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import rbm_update
import rtrbm_step
import torch
from timing import take_turns

SIZES = ((900, 400, 100), (784, 500, 500), (100, 50, 20), (10, 10, 1))
GROWTH = {  # what is changed, of a CD-25 update of 900 x 400 units with batch 100
    "batch": (10, 30, 100, 300, 1000),
    "visible": (100, 300, 900, 2700),
    "k": (1, 5, 25, 100),
}
LENGTHS = (10, 30, 100, 300)
OURS = ("products", "seqebm, compiled", "seqebm, plain")


def updates(seconds: float) -> dict:
    """CD-1 and CD-25 at several sizes, and persistent chains of one step."""
    report = {}
    for visible, hidden, batch in SIZES:
        for title, kinds, k in (
            ("CD-1", rbm_update.CD, 1),
            ("CD-25", rbm_update.CD, 25),
            ("PCD-1", rbm_update.PERSISTENT, 1),
        ):
            problem = rbm_update.Problem(visible, hidden, batch, k)
            entered, missing = rbm_update.enter(kinds, problem)
            name = f"{title}, {visible} x {hidden}, batch {batch}"
            report[name] = show(name, take_turns(entered, seconds), missing)
    return report


def steps(seconds: float) -> dict:
    """Training steps of an RTRBM."""
    report = {}
    for batch in (1, 16):
        name = f"RTRBM step, CD-25, 900 x 400, T = 100, batch {batch}"
        report[name] = show(name, take_turns(rtrbm_step.contestants(batch), seconds))
    return report


def growth(seconds: float) -> dict:
    """How the times grow with batch, units, k and T."""
    report: dict = {}
    for what, values in GROWTH.items():
        for value in values:
            problem = rbm_update.Problem(**{what: value})
            entered, _ = rbm_update.enter({n: rbm_update.CD[n] for n in OURS}, problem)
            report.setdefault(what, {})[value] = take_turns(entered, seconds)
    for length in LENGTHS:
        every = rtrbm_step.contestants(length=length)
        report.setdefault("T", {})[length] = take_turns({n: every[n] for n in OURS}, seconds)
    return report


def show(name: str, times: dict, missing: tuple | list = ()) -> dict:
    """Print a table and hand the times on."""
    print(f"\n{name}")
    for contestant, row in times.items():
        low, high = row["quartiles"]
        print(
            f"  {contestant:20} {row['ms']:9.2f} ms ({low:.2f} to {high:.2f})"
            f"  {row['ratio']:6.2f} x products"
        )
    for contestant in missing:
        print(f"  {contestant:20} not installed")
    sys.stdout.flush()
    return times


def measure(seconds: float, with_growth: bool) -> dict:
    """Everything, with the number of threads that torch has been given."""
    report: dict = {"threads": torch.get_num_threads()}
    report["updates"], report["steps"] = updates(seconds), steps(seconds)
    if torch.get_num_threads() == 1:
        if with_growth:
            report["growth"] = growth(seconds / 2)
        kinds, ks = ("seqebm, plain", "seqebm, compiled"), (1, 25, 100)
        report["peak MB"] = {n: {k: rtrbm_step.peak_memory(n, k) for k in ks} for n in kinds}
        print("\npeak memory of an RTRBM step, batch 16:", report["peak MB"])
        step = report["steps"]["RTRBM step, CD-25, 900 x 400, T = 100, batch 1"]
        report["data share"] = rtrbm_step.data_share(step["seqebm, compiled"]["ms"])
        print(f"making a video takes {100 * report['data share']:.1f}% of a step on it")
    return report


def plot(report: dict, path: str) -> None:
    """Draw the growth of the times."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(report), figsize=(4 * len(report), 3.4), sharey=True)
    for axis, (what, values) in zip(axes, report.items(), strict=True):
        for name in OURS:
            axis.loglog(list(map(int, values)), [v[name]["ms"] for v in values.values()], "o-")
        axis.set_xlabel(what)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ms per update, one thread")
    axes[0].legend(OURS)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each table, at least")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--plot", help="write a picture of the growth to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        report = measure(arguments.seconds, bool(arguments.plot))
        Path(arguments.child).write_text(json.dumps(report))
        return
    report = {"machine": machine(), "torch": torch.__version__, "runs": []}
    for threads in arguments.threads:  # each in a process of its own: BLAS libraries ask but once
        print(f"\n=== {threads} thread{'s' if threads > 1 else ''}", flush=True)
        report["runs"].append(in_process(threads, sys.argv[1:]))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plot:
        plot(next(run["growth"] for run in report["runs"] if "growth" in run), arguments.plot)


def in_process(threads: int, arguments: list[str]) -> dict:
    """The report of a process with so many threads."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/report.json"
        subprocess.run(
            [sys.executable, str(Path(__file__).parent), *arguments, "--child", out],
            env={**os.environ, **{name: str(n) for name, n in counts.items()}},
            check=True,
        )
        return json.loads(Path(out).read_text())


def machine() -> str:
    """What kind of processor this is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if "model name" in line)
        flags = next(line for line in lines if line.startswith("flags")).split()
        known = [flag for flag in ("avx2", "avx512f", "amx_bf16") if flag in flags]
        return f"{name}, {os.cpu_count()} cores, {' '.join(known)}"
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
