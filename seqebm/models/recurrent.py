"""What sequence models whose memory is one of torch's recurrent networks have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqebm.models.base import Context, SequenceModel
from seqebm.models.energy import small_parameter

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentModel(SequenceModel):
    """A sequence model that remembers what a recurrent network remembers; its context is the state.

    Attributes:
        cell: the recurrent network, torch's RNN, LSTM or GRU.
        initial_hidden: h_0 for every layer, [layers, state].
        initial_cell: the initial cells of an LSTM, [layers, state], else None.
    """

    cell: nn.RNNBase
    initial_hidden: nn.Parameter
    initial_cell: nn.Parameter | None

    def _remember_by(self, cell: nn.RNNBase) -> None:
        """Take the cell, which must fit, and learn where it begins."""
        _check_cell(cell)
        self.cell = cell
        self.initial_hidden = small_parameter(cell.num_layers, cell.hidden_size)
        lstm = isinstance(cell, nn.LSTM)
        self.initial_cell = small_parameter(cell.num_layers, cell.hidden_size) if lstm else None

    def initial_state(self, batch: int) -> Tensor | tuple[Tensor, Tensor]:
        """h_0 (for an LSTM with its cells) for every sequence, [layers, batch, state]."""
        shape = (-1, batch, -1)
        hidden = self.initial_hidden.unsqueeze(1).expand(*shape).contiguous()
        if self.initial_cell is None:
            return hidden
        return hidden, self.initial_cell.unsqueeze(1).expand(*shape).contiguous()

    def scan(self, state: Context, frames: Tensor) -> tuple[Tensor, Context]:
        """Run torch's cell over the frames."""
        first = state if isinstance(state, Tensor) else state[0]
        before = first[-1].unsqueeze(1)
        if frames.shape[1] == 0:  # torch's cells refuse an empty sequence
            return before, state
        outputs, state = self.cell(frames, state)
        return torch.cat([before, outputs], dim=1), state

    def hidden(self, contexts: Tensor, frames: Tensor) -> Tensor:
        """The output of the cell's last layer."""
        return contexts[:, 1:]


def make_cell(
    kind: str,
    n_visible: int,
    n_hidden: int,
    layers: int = 1,
    options: dict[str, Any] | None = None,
) -> nn.RNNBase:
    """The cell that a name stands for, as commands and checkpoints give it.

    Raises:
        ValueError: an unknown name.
    """
    if kind not in CELLS:
        raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {kind!r}")
    return CELLS[kind](n_visible, n_hidden, layers, batch_first=True, **(options or {}))


def cell_settings(cell: nn.RNNBase) -> dict[str, Any]:
    """What `make_cell` needs to know to make a cell of the same shape again."""
    options: dict[str, Any] = {"bias": cell.bias, "dropout": cell.dropout}
    if isinstance(cell, nn.RNN):
        options["nonlinearity"] = cell.nonlinearity
    return {
        "kind": cell.mode.split("_")[0].lower(),
        "n_visible": cell.input_size,
        "n_hidden": cell.hidden_size,
        "layers": cell.num_layers,
        "options": options,
    }


def _check_cell(cell: nn.RNNBase) -> None:
    """Raise where a cell would see the future or give outputs of another form."""
    if not isinstance(cell, nn.RNNBase):
        raise TypeError(f"cell: expected torch's RNN, LSTM or GRU, got {type(cell).__name__}")
    if not cell.batch_first:
        raise ValueError("cell: expected batch_first=True, got False")
    if cell.bidirectional:
        raise ValueError("cell: a bidirectional cell sees the frames it should predict")
    if cell.proj_size:
        raise ValueError(f"cell: expected no projection, got proj_size={cell.proj_size}")
