"""How fast chains and training steps are on a GPU, beside what bounds them.

    python benchmarks/gpu.py [--json FILE]

takes about two minutes on a CUDA device. Contestants take turns, figures are medians. A step of
the thesis-size RTRBM is bounded by the launches of its small kernels, so it is compared with its
matrix products captured as one graph; dense chains are bounded by arithmetic.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import rtrbm_step
import torch
from torch import Tensor

from seqebm import RTRBM, gibbs
from seqebm.learning.graphs import Graphs, gradient
from seqebm.rbm import RBMEnergy
from seqebm.sweeps import compiled_sweeps, fused_sweeps, plain_sweeps
from seqebm.units import Bernoulli

REPEATS = 30


def milliseconds(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median time of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        for _ in range(3):
            run()
    for _ in range(REPEATS):
        for name, run in contestants.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """A CUDA graph of what `run` launches."""
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def step(batch: int, length: int = 100, k: int = 25) -> dict[str, float]:
    """The gradient of a thesis-size RTRBM: products alone, plain, captured."""
    with torch.device("cuda"):
        products = captured(rtrbm_step.Products(batch, length, k))
        model = RTRBM(rtrbm_step.VISIBLE, rtrbm_step.HIDDEN)
        frames = torch.rand(batch, length, rtrbm_step.VISIBLE)
    model.gibbs_steps = k
    generator = torch.Generator("cuda").manual_seed(1)
    graphs = Graphs(model, torch.Generator("cuda").manual_seed(1))

    def as_in_fit() -> Tensor:
        with gibbs.repeated(10**9):
            return graphs(frames, None)

    return milliseconds(
        {
            "products, captured": products,
            "seqebm, captured": as_in_fit,
            "seqebm, plain": lambda: gradient(model, frames, None, None, generator),
        }
    )


def chains(rows: int, visible: int = 784, hidden: int = 500, k: int = 50) -> dict[str, float]:
    """Units drawn per nanosecond by long chains of one RBM."""
    with torch.device("cuda"):
        weight = torch.randn(hidden, visible) / visible**0.5
        rbm = RBMEnergy(Bernoulli(visible), weight, torch.zeros(visible), torch.zeros(hidden))
        v, h = torch.rand(rows, visible).round(), torch.rand(rows, hidden).round()
    generator = torch.Generator("cuda").manual_seed(1)

    def products() -> None:
        for _ in range(k):
            torch.mm(v, weight.t())
            torch.mm(h, weight)

    def bf16() -> None:
        with gibbs._bf16_products():
            fused_sweeps(rbm, v, k, generator)

    times = milliseconds(
        {
            "products, float32": products,
            "kernel, bf16": bf16,
            "kernel, float32": lambda: fused_sweeps(rbm, v, k, generator),
            "compiled": lambda: compiled_sweeps(rbm, v, k, generator),
            "plain": lambda: plain_sweeps(rbm, v, k, generator),
        }
    )
    return {name: rows * (visible + hidden) * k / (1e6 * ms) for name, ms in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py: needs a CUDA device")
    report: dict = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    with torch.no_grad():
        report["units per ns, 784 x 500"] = {rows: chains(rows) for rows in (1024, 4096, 16384)}
    report["ms per gradient, CD-25, 900 x 400, T = 100"] = {b: step(b) for b in (1, 16)}
    print(json.dumps(report, indent=1))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
