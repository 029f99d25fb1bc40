"""How fast recurrent cores read a batch and learn from it, beside torch's networks.

    python benchmarks/cells.py [--json FILE]

takes about two minutes: T = 200, batch 100, 100 units, 50 inputs, one thread. Forward alone, and
forward and backward; contestants take turns in one process, figures are medians of CPU time and
ratios to `torch.nn.RNN`. "weights gathered" is the MRNN with the gradient of each weight formed in
one product after the last step and not in one at every step: it is not worth having.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timing import compare
from torch import Tensor, nn

from seqebm.cells import CELLS, MRNN, Cell, make_cell

TIME, BATCH, UNITS, WIDTH = 200, 100, 100, 50


class Gathered(torch.autograd.Function):
    """A weight whose gradient is formed of all that `Product` has written down."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, written: list) -> Tensor:
        ctx.written = written
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        inputs, errors = (torch.cat(parts) for parts in zip(*ctx.written, strict=True))
        return errors.t() @ inputs, None


class Product(torch.autograd.Function):
    """A product that passes errors on and writes down what the weight's gradient is made of."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, written: list) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.written = written
        return inputs @ weight.t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        inputs, weight = ctx.saved_tensors
        ctx.written.append((inputs, grad))
        return grad @ weight, None, None


class GatheredMRNN(MRNN):
    """The MRNN with its recurrent products gathered."""

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As that of the MRNN."""
        lists: list[list] = [[], []]
        weights = (self.hidden_to_factors, self.factors_to_hidden)
        fh, hf = (Gathered.apply(w, one) for w, one in zip(weights, lists, strict=True))
        outputs = [state]
        for drive in self.drive(frames.transpose(0, 1)).unbind():
            to_hidden, gain = drive.split([self.hidden_size, len(self.visible_to_factors)], dim=-1)
            factors = gain * Product.apply(state, fh, lists[0])
            state = (to_hidden + Product.apply(factors, hf, lists[1])).tanh()
            outputs.append(state)
        return torch.stack(outputs, dim=1), state


def contestants(backward: bool) -> dict[str, Callable[[], object]]:
    """Every cell, and torch's networks by themselves."""
    source = torch.Generator().manual_seed(1)
    hot = torch.randint(WIDTH, (BATCH, TIME), generator=source)
    frames = F.one_hot(hot, WIDTH).float()
    torch.manual_seed(1)
    networks = {
        f"torch.nn.{kind.__name__}": kind(WIDTH, UNITS, batch_first=True)
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
    }
    cells: dict[str, Cell] = {kind: make_cell(kind, WIDTH, UNITS) for kind in CELLS}
    cells["mrnn, weights gathered"] = GatheredMRNN(WIDTH, UNITS)
    calls = {name: lambda one=one: one(frames)[0] for name, one in networks.items()}
    calls |= {
        name: lambda one=one: one(frames, one.initial_state(BATCH))[0]
        for name, one in cells.items()
    }

    def learn(call: Callable[[], Tensor]) -> None:
        call().square().mean().backward()

    if backward:
        return {name: lambda call=call: learn(call) for name, call in calls.items()}
    return {name: torch.no_grad()(call) for name, call in calls.items()}


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    rounds = {"forward": False, "forward and backward": True}
    compare(__doc__, {name: partial(contestants, backward) for name, backward in rounds.items()})
