"""Cells by name, as commands and checkpoints know them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from seqebm.cells.base import Cell
from seqebm.cells.fused import FusedCell
from seqebm.cells.lstm import MemoryLSTM
from seqebm.cells.multiplicative import MLSTM, MRNN, TensorRNN
from seqebm.cells.reservoir import Reservoir
from seqebm.cells.stacked import StackedCells
from seqebm.cells.standard import StandardRNN
from seqebm.cells.truncated import TruncatedLSTM


def _fused(
    network: Callable[..., nn.RNNBase],
    input_size: int,
    hidden_size: int,
    layers: int = 1,
    **options: Any,
) -> FusedCell:
    return FusedCell(network(input_size, hidden_size, layers, batch_first=True, **options))


CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": partial(_fused, nn.RNN),
    "lstm": partial(_fused, nn.LSTM),
    "gru": partial(_fused, nn.GRU),
    "skip-rnn": StandardRNN,
    "tensor-rnn": TensorRNN,
    "mrnn": MRNN,
    "mlstm": MLSTM,
    "memory-lstm": MemoryLSTM,
    "truncated-lstm": TruncatedLSTM,
    "esn": Reservoir,
}


def make_cell(kind: str, input_size: int, hidden_size: int, **options: Any) -> Cell:
    """The cell that a name stands for.

    Args:
        kind: one of `CELLS`.
        input_size: width of the frames.
        hidden_size: width of the outputs.
        options: further arguments of that cell; of torch's networks `layers`, `nonlinearity` …

    Raises:
        ValueError: an unknown name, or sizes that the cell cannot have.

    Example:
        >>> make_cell("mrnn", 9, 5, factors=7).hidden_to_factors.shape
        torch.Size([7, 5])
    """
    if kind not in CELLS:
        raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {kind!r}")
    return CELLS[kind](input_size, hidden_size, **options)


def cell_from(settings: dict[str, Any]) -> Cell:
    """A cell of the shape that another's `settings` tell of."""
    if settings["kind"] == "stacked":
        return StackedCells([cell_from(own) for own in settings["cells"]])
    return make_cell(**settings)


def as_cell(cell: Cell | nn.RNNBase) -> Cell:
    """The cell itself, or torch's network as one.

    Raises:
        TypeError: anything else.
        ValueError: a network that sees the future, or gives outputs of another form.
    """
    return cell if isinstance(cell, Cell) else FusedCell(cell)
