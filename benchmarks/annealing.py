"""How fast RBMs of many frames are annealed, beside their matrix products.

    python benchmarks/annealing.py [--threads 1 2] [--json FILE]

takes about a minute. The machines are as large as those of an RNN-RBM of music, 88 x 150, with 100
runs each, in blocks of as many as `likelihood` anneals together. From the time of a temperature
follows that of all frames of a test set; JSB has 4725. On a machine that does something else at the
same time the figures mean nothing.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from timing import take_turns

from seqebm import gibbs
from seqebm.likelihood import annealing
from seqebm.rbm import RBMEnergy
from seqebm.tempering import AnnealingPath, anneal, mean_field_paths
from seqebm.units import Bernoulli

VISIBLE, HIDDEN, RUNS, TEMPERATURES = 88, 150, 100, 50
FRAMES, ALL_TEMPERATURES = 4725, 1000  # of the whole that is extrapolated to


def block() -> tuple[AnnealingPath, torch.Tensor]:
    """The path of a block of machines, and states of the base."""
    source = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=source)

    count = annealing.BLOCK // (RUNS * HIDDEN)
    weight = 0.3 * normal(HIDDEN, VISIBLE)
    biases = normal(count, VISIBLE) - 3, normal(count, HIDDEN) - 1
    path = mean_field_paths(RBMEnergy(Bernoulli(VISIBLE), weight, *biases), [0.5])[0]
    return path, path.base_samples(RUNS, source)


def contestants() -> dict[str, Callable[[], object]]:
    """The products alone, and annealing compiled and plain."""
    path, v = block()
    weight, betas = path.target.weight, torch.linspace(0, 1, TEMPERATURES + 1)
    visible, hidden = v.reshape(-1, VISIBLE).clone(), torch.empty(v[..., 0].numel(), HIDDEN)

    def products() -> None:
        for _ in range(TEMPERATURES):
            torch.mm(visible, weight.t(), out=hidden)
            torch.mm(hidden, weight, out=visible)

    def annealed(worth_compiling: float) -> None:
        gibbs.WORTH_COMPILING = worth_compiling  # type: ignore[assignment]
        anneal(path, v, betas)

    return {
        "products": products,
        "compiled": lambda: annealed(0),
        "plain": lambda: annealed(float("inf")),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report = {}
    for threads in given.threads:
        torch.set_num_threads(threads)
        found = take_turns(contestants(), 20.0)
        blocks = FRAMES / len(block()[1])
        for name, result in found.items():
            result["minutes"] = result["ms"] / TEMPERATURES * ALL_TEMPERATURES * blocks / 60_000
            print(
                f"{threads} threads, {name}: {result['ratio']:.2f} x products; {FRAMES} frames, "
                f"{RUNS} runs, {ALL_TEMPERATURES} temperatures: {result['minutes']:.1f} min a side"
            )
        report[f"{threads} threads"] = found
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
