"""What sequence models whose memory is a recurrent network have in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqebm.cells import Cell
from seqebm.models.base import Context, SequenceModel, State


class RecurrentModel(SequenceModel):
    """A sequence model that remembers what a recurrent network remembers.

    Its context is what the network shows of its state.

    Attributes:
        cell: the network.
    """

    cell: Cell

    def initial_state(self, batch: int) -> State:
        """Where the network begins."""
        return self.cell.initial_state(batch)

    def scan(self, state: State, frames: Tensor) -> tuple[Context, State]:
        """Run the network over the frames."""
        outputs: tuple[Tensor, State] = self.cell(frames, state)
        return outputs

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """As `SequenceModel.start_at`; the cell is told how large frames are (`Cell.expect`)."""
        super().start_at(mean)
        # values of zeros and ones are their own squares; real ones are taken to have unit variance
        binary = math.isfinite(self.visible.bits)
        power = mean.sum() if binary else mean.square().sum() + len(mean)
        self.cell.expect(max(float(power), 1e-3))

    def hidden(self, contexts: Tensor, frames: Tensor) -> Tensor:
        """What the network shows after each frame."""
        return contexts[:, 1:]
