"""One training step of an RTRBM as a multiple of its matrix products, on one thread.

    python benchmarks/rtrbm_step.py [--json FILE]

900 visible and 400 hidden units, T = 100, CD-25, batch 1 and 16. Contestants take turns, times
are process CPU time, figures are medians; compare ratios, not milliseconds. Then: peak memory of a
step against k, and the share of a training step that making the videos takes.
"""

import argparse
import json
import platform
import resource  # noqa: F401  (used by the processes that peak_memory starts)
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from seqebm import RTRBM
from seqebm.data import BallVideos

VISIBLE, HIDDEN, LENGTH, STEPS = 900, 400, 100, 25


class Products:
    """The matrix products of a step, into kept buffers, and nothing else."""

    def __init__(self, batch: int) -> None:
        rows = batch * LENGTH
        self.w, self.u = torch.randn(HIDDEN, VISIBLE) / 30, torch.randn(HIDDEN, HIDDEN) / 20
        self.v, self.h = torch.rand(rows, VISIBLE), torch.rand(rows, HIDDEN)
        self.v_out, self.h_out = torch.empty_like(self.v), torch.empty_like(self.h)
        self.r = torch.rand(batch, HIDDEN)
        self.r_out = torch.empty_like(self.r)
        self.dw, self.du = torch.empty_like(self.w), torch.empty_like(self.u)

    def __call__(self) -> None:
        for _ in range(STEPS):
            torch.mm(self.v, self.w.t(), out=self.h_out)
            torch.mm(self.h, self.w, out=self.v_out)
        for _ in range(LENGTH):  # the recurrence, forwards and backwards
            torch.mm(self.r, self.u.t(), out=self.r_out)
            torch.mm(self.r, self.u, out=self.r_out)
        for _ in range(3):  # W v for r, for F(v) and for F(v_k), each with its gradient
            torch.mm(self.v, self.w.t(), out=self.h_out)
            torch.mm(self.h.t(), self.v, out=self.dw)
        torch.mm(self.h, self.u.t(), out=self.h_out)  # W′ r for the biases, with its gradients
        torch.mm(self.h, self.u, out=self.h_out)
        for _ in range(2):
            torch.mm(self.h.t(), self.h, out=self.du)


class Step:
    """What `fit` does in a step: loss, gradient, update."""

    def __init__(self, batch: int) -> None:
        self.frames = torch.rand(batch, LENGTH, VISIBLE)
        self.model = RTRBM(VISIBLE, HIDDEN)
        self.model.gibbs_steps = STEPS
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        self.model.loss(self.frames).backward()
        self.optimizer.step()


class PlainStep(Step):
    """The step as people write it: bernoulli, a new tensor for everything, a loop over time."""

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        m, r = self.model, self.model.initial_hidden.expand(len(self.frames), -1)
        biases = []
        for v in self.frames.unbind(1):
            biases.append(m.hidden_bias + r @ m.hidden_to_hidden.t())
            r = torch.sigmoid(v @ m.weight.t() + biases[-1])
        bias = torch.stack(biases, 1)
        with torch.no_grad():
            v = self.frames
            for _ in range(STEPS):
                h = torch.bernoulli(torch.sigmoid(v @ m.weight.t() + bias))
                v = torch.bernoulli(torch.sigmoid(h @ m.weight + m.visible_bias))
        (self._free_energy(self.frames, bias) - self._free_energy(v, bias)).mean().backward()
        self.optimizer.step()

    def _free_energy(self, v: Tensor, bias: Tensor) -> Tensor:
        inputs = v @ self.model.weight.t() + bias
        return -(v @ self.model.visible_bias) - torch.nn.functional.softplus(inputs).sum(-1)


def medians(contestants: dict, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, taking turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if i:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def step_ratios(batch: int, rounds: int) -> dict[str, float]:
    contestants = {"products": Products(batch), "seqebm": Step(batch), "plain": PlainStep(batch)}
    seconds = medians(contestants, rounds)
    row = {f"{name}_ms": 1000 * value for name, value in seconds.items()}
    for name in ("seqebm", "plain"):
        row[f"{name}_ratio"] = seconds[name] / seconds["products"]
    return row


def peak_memory(gibbs_steps: int) -> float:
    """Peak resident MB of a process that does three steps of batch 16."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import rtrbm_step as b\n"
        f"s = b.Step(16); s.model.gibbs_steps = {gibbs_steps}\n"
        "for _ in range(3): s()\n"
        "print(b.resource.getrusage(b.resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    root = Path(__file__).parents[1]
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    return float(printed.stdout)


def data_share(step_seconds: float) -> float:
    """CPU seconds of one generated video over those of a training step on it."""
    videos = BallVideos(1, seed=1)
    start = time.process_time()
    for step in range(1024):
        videos(step)
    return (time.process_time() - start) / 1024 / step_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for batch, rounds in ((1, 21), (16, 5)):
        row = report[f"batch {batch}"] = step_ratios(batch, rounds)
        print(
            f"batch {batch:2}: products {row['products_ms']:.1f} ms = 1.00, "
            f"seqebm {row['seqebm_ratio']:.2f}, plain {row['plain_ratio']:.2f}"
        )
    report["peak MB by k"] = {k: peak_memory(k) for k in (1, 25, 100)}
    print(
        "peak memory:", ", ".join(f"k={k} {mb:.0f} MB" for k, mb in report["peak MB by k"].items())
    )
    report["data share"] = data_share(report["batch 1"]["seqebm_ms"] / 1000)
    print(f"making a video takes {100 * report['data share']:.1f}% of a step on it")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
