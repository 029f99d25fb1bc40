"""How long gradients take that vanish, with denormal numbers and with zeros in their places.

    python benchmarks/denormals.py [--json FILE]

takes ten seconds: T = 200, batch 100, 100 units, 50 inputs, one thread. The loss is of the last
state only, or of all states. In the first case the gradient shrinks at every step back, to numbers
below 1e-38, which many processors are slow at; `seqebm train` has them taken for zero. Contestants
take turns in one process, figures are medians of CPU time and ratios to the first of a table.
"""

from collections.abc import Callable
from functools import partial

import torch
from timing import compare

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


if __name__ == "__main__":
    rounds = {"loss at the last step": True, "loss at all steps": False}
    compare(__doc__, {name: partial(gradients, last) for name, last in rounds.items()})
