"""Recurrent neural networks as generative models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqebm.models.base import Context, SequenceModel
from seqebm.models.conditionals import Factorial
from seqebm.models.energy import small_parameter
from seqebm.units import Units, make_units

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RNN(SequenceModel):
    """A recurrent network whose state parametrises independent units of the next frame.

    p(v_t | v_<t) = p(v_t; z_{t−1}) with z = W_o h + b_o (Sutskever 2013, eqs. 2.14–2.15). The
    initial state is learned, and with it the distribution z_0 of the first frame. The loss is the
    exact negative log-likelihood (eq. 2.16).

    Args:
        cell: torch's own `nn.RNN`, `nn.LSTM` or `nn.GRU`, built with `batch_first=True`; its input
            size is the width of the frames.
        conditional: "bernoulli", "gaussian", "gaussian:learned", or a `Units` object.

    Attributes:
        cell: the recurrent network.
        readout: W_o and b_o, a `torch.nn.Linear`.
        initial_hidden: h_0 for every layer, [layers, hidden].
        initial_cell: the initial cells of an LSTM, [layers, hidden], else None.

    Example:
        >>> model = RNN(torch.nn.LSTM(9, 5, batch_first=True), "bernoulli")
        >>> model.loss(torch.rand(2, 7, 9)).backward()
        >>> model.sample(3, batch=2).shape
        torch.Size([2, 3, 9])
    """

    def __init__(self, cell: nn.RNNBase, conditional: str | Units = "bernoulli") -> None:
        super().__init__()
        _check_cell(cell)
        self.cell = cell
        self.visible = make_units(conditional, cell.input_size)
        self.readout = nn.Linear(cell.hidden_size, cell.input_size)
        self.initial_hidden = small_parameter(cell.num_layers, cell.hidden_size)
        lstm = isinstance(cell, nn.LSTM)
        self.initial_cell = small_parameter(cell.num_layers, cell.hidden_size) if lstm else None
        self.settings = {
            "cell": cell.mode.split("_")[0].lower(),
            "n_visible": cell.input_size,
            "n_hidden": cell.hidden_size,
            "layers": cell.num_layers,
            "visible": self.visible.spec,
            "options": _options(cell),
        }

    @property
    def output_bias(self) -> nn.Parameter:
        """b_o."""
        return self.readout.bias

    def initial_state(self, batch: int) -> Tensor | tuple[Tensor, Tensor]:
        """h_0 (for an LSTM with its cells) for every sequence, [layers, batch, hidden]."""
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

    def conditional(self, context: Tensor) -> Factorial:
        """Independent units with total input W_o h + b_o."""
        return Factorial(self.visible, self.readout(context))

    def hidden(self, contexts: Tensor, frames: Tensor) -> Tensor:
        """The output of the cell's last layer."""
        return contexts[:, 1:]


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


def _options(cell: nn.RNNBase) -> dict[str, Any]:
    """What torch was told of a cell beyond its sizes."""
    options: dict[str, Any] = {"bias": cell.bias, "dropout": cell.dropout}
    return {**options, "nonlinearity": cell.nonlinearity} if isinstance(cell, nn.RNN) else options


def rnn(
    cell: str,
    n_visible: int,
    n_hidden: int,
    layers: int = 1,
    visible: str | Units = "bernoulli",
    options: dict[str, Any] | None = None,
) -> RNN:
    """An `RNN` with the cell that a name stands for, as commands and checkpoints give it."""
    if cell not in CELLS:
        raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {cell!r}")
    made = CELLS[cell](n_visible, n_hidden, layers, batch_first=True, **(options or {}))
    return RNN(made, visible)
