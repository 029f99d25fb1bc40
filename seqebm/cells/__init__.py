"""Recurrent cores behind one protocol, `Cell`."""

from seqebm.cells.base import Cell, State, Trace
from seqebm.cells.fused import FusedCell
from seqebm.cells.lstm import MemoryLSTM
from seqebm.cells.multiplicative import MLSTM, MRNN, TensorRNN
from seqebm.cells.named import CELLS, as_cell, make_cell
from seqebm.cells.reservoir import Reservoir
from seqebm.cells.stacked import StackedCells
from seqebm.cells.standard import StandardRNN
from seqebm.cells.truncated import TruncatedLSTM

__all__ = [
    "CELLS",
    "MLSTM",
    "MRNN",
    "Cell",
    "FusedCell",
    "MemoryLSTM",
    "Reservoir",
    "StackedCells",
    "StandardRNN",
    "State",
    "TensorRNN",
    "Trace",
    "TruncatedLSTM",
    "as_cell",
    "make_cell",
]
