"""Cells on top of each other, each with a way of its own to the frames and to the output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqebm.cells.base import Cell, State, Trace


class StackedCells(Cell):
    """Layers that read the frame and the layer below, and all show what they make of it.

    Krause 2015, eqs. 4.4 to 4.6: layer l > 1 has the frame and the output of layer l − 1 as its
    input, and the output of the whole is that of all layers beside each other. Short ways to the
    data and to the loss make deep networks easier to train (Graves 2013). In the source the layer
    below enters h_l only; here a cell treats all of its input alike, so that any cell can be
    stacked.

    Args:
        cells: from the bottom to the top. The first has the width of the frames as its input size,
            each of the others that and the hidden size of the one below.

    Raises:
        ValueError: no cells, or one whose input size does not fit.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        if not cells:
            raise ValueError("cells: expected at least one, got none")
        width, below = cells[0].input_size, 0
        for number, cell in enumerate(cells, 1):
            if cell.input_size != width + below:
                raise ValueError(
                    f"cells: number {number} must have input size {width + below}, "
                    f"got {cell.input_size}"
                )
            below = cell.hidden_size
        super().__init__(width, sum(cell.hidden_size for cell in cells))
        self.settings = {"kind": "stacked", "cells": [cell.settings for cell in cells]}
        self.cells = nn.ModuleList(cells)

    @property
    def layers(self) -> list[Cell]:
        """The cells, from the bottom to the top."""
        return list(self.cells)  # type: ignore[arg-type]

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """Those of the layers."""
        return tuple(cell.initial_state(batch) for cell in self.layers)

    def output(self, state: tuple[State, ...]) -> Tensor:
        """Those of the layers, beside each other."""
        shown = [cell.output(own) for cell, own in zip(self.layers, state, strict=True)]
        return torch.cat(shown, dim=-1)

    def expect(self, power: float) -> None:
        """As that of the first layer; those above see the layer below beside the frame."""
        self.layers[0].expect(power)

    def recurrent_matrices(self) -> list[Tensor]:
        """Those of the layers."""
        return [matrix for cell in self.layers for matrix in cell.recurrent_matrices()]

    def drive(self, frames: Tensor) -> Tensor:
        """The frames: what the upper layers make of them depends on the layers below."""
        return frames

    def advance(self, state: tuple[State, ...], drive: Tensor) -> tuple[State, ...]:
        """One layer after the other."""
        new: list[State] = []
        frame = drive
        for cell, own in zip(self.layers, state, strict=True):
            new.append(cell.step(own, frame))
            frame = torch.cat([drive, cell.output(new[-1])], dim=-1)
        return tuple(new)

    def forward(self, frames: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Layer by layer: each of them reads the whole sequence at once."""
        outputs, new = [], []
        below = frames
        for cell, own in zip(self.layers, state, strict=True):
            shown, after = cell(below, own)
            outputs.append(shown)
            new.append(after)
            below = torch.cat([frames, shown[:, 1:]], dim=-1)
        return torch.cat(outputs, dim=-1), tuple(new)

    def trace(self, frames: Tensor, state: tuple[State, ...]) -> Trace:
        """As `Cell.trace`, layer by layer; what the layers hold stands beside each other."""
        layers: list[Trace] = []
        below = frames
        for cell, own in zip(self.layers, state, strict=True):
            layers.append(cell.trace(below, own))
            below = torch.cat([frames, layers[-1].outputs[:, 1:]], dim=-1)
        return Trace(*(torch.cat(parts, dim=-1) for parts in zip(*layers, strict=True)))
