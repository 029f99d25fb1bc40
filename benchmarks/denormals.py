"""How long gradients take that vanish, with denormal numbers and with zeros in their places.

    python benchmarks/denormals.py [--json FILE]

takes ten seconds: T = 200, batch 100, 100 units, 50 inputs, one thread. The loss is of the last
state only, or of all states. In the first case the gradient shrinks at every step back, to numbers
below 1e-38, which many processors are slow at; `seqebm train` has them taken for zero. Contestants
take turns in one process, figures are medians of CPU time and ratios to the first of a table.
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from timing import take_turns

from seqebm.cells import make_cell

TIME, BATCH, UNITS, WIDTH = 200, 100, 100, 50


def gradients(at_the_end: bool) -> dict[str, Callable[[], object]]:
    """The gradient of a network of tanh units, with zeros and with denormal numbers."""
    torch.manual_seed(1)
    cell = make_cell("rnn", WIDTH, UNITS)
    frames = torch.rand(BATCH, TIME, WIDTH)

    def gradient(flush: bool) -> None:
        torch.set_flush_denormal(flush)
        outputs, _ = cell(frames, cell.initial_state(BATCH))
        (outputs[:, -1:] if at_the_end else outputs).square().mean().backward()

    return {"flushed": lambda: gradient(True), "denormal": lambda: gradient(False)}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    file = parser.parse_args().json
    torch.set_num_threads(1)  # denormal numbers are flushed in one thread only
    report: dict = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for name, at_the_end in (("loss at the last step", True), ("loss at all steps", False)):
        report[name] = times = take_turns(gradients(at_the_end), 4.0)
        print(f"\n{name}")
        for contestant, row in times.items():
            print(f"{contestant:10} {row['ms']:8.1f} ms {row['ratio']:6.2f}")
    if file:
        file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
