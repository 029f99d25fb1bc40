"""Torch's own recurrent networks as cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells import pieces, scans
from seqebm.cells.base import Cell, Trace
from seqebm.optim.initialisations import small_parameter


class FusedCell(Cell):
    """Torch's RNN, LSTM or GRU, which learns where it begins.

    Args:
        network: `torch.nn.RNN`, `torch.nn.LSTM` or `torch.nn.GRU`, with `batch_first=True`.

    Attributes:
        network: see above.
        initial_hidden: h_0 of every layer, [layers, hidden].
        initial_cell: c_0 of the layers of an LSTM, [layers, hidden], else None.

    Raises:
        TypeError: another kind of network.
        ValueError: one that sees the future, or gives outputs of another form.
    """

    def __init__(self, network: nn.RNNBase) -> None:
        _check(network)
        options = {"bias": network.bias, "dropout": network.dropout, "layers": network.num_layers}
        if isinstance(network, nn.RNN):
            options["nonlinearity"] = network.nonlinearity
        kind = network.mode.split("_")[0].lower()
        super().__init__(network.input_size, network.hidden_size, kind=kind, **options)
        self.network = network
        shape = (network.num_layers, network.hidden_size)
        self.initial_hidden = small_parameter(*shape)
        self.initial_cell = small_parameter(*shape) if isinstance(network, nn.LSTM) else None

    def initial_state(self, batch: int) -> Tensor | tuple[Tensor, Tensor]:
        """h_0, for an LSTM with c_0, [batch, layers, hidden]."""
        hidden = self.initial_hidden.expand(batch, -1, -1)
        if self.initial_cell is None:
            return hidden
        return hidden, self.initial_cell.expand(batch, -1, -1)

    def output(self, state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """h of the last layer."""
        return (state if isinstance(state, Tensor) else state[0])[:, -1]

    def recurrent_matrices(self) -> list[Tensor]:
        """W_hh of each gate and layer."""
        layers = [getattr(self.network, f"weight_hh_l{n}") for n in range(self.network.num_layers)]
        return [gate for matrix in layers for gate in matrix.detach().split(self.hidden_size)]

    def drive(self, frames: Tensor) -> Tensor:
        """The frames: torch does their products inside."""
        return frames

    def advance(
        self, state: Tensor | tuple[Tensor, Tensor], drive: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """One step."""
        return self._run(drive.unsqueeze(1), state)[1]

    def forward(
        self, frames: Tensor, state: Tensor | tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """All steps in torch's own loop."""
        before = self.output(state).unsqueeze(1)
        if frames.shape[1] == 0:  # torch's networks refuse an empty sequence
            return before, state
        outputs, state = self._run(frames, state)
        return torch.cat([before, outputs], dim=1), state

    def trace(self, frames: Tensor, state: Tensor | tuple[Tensor, Tensor]) -> Trace:
        """As `Cell.trace`; RNN and LSTM by scans, the inputs of their layers beside each other."""
        if isinstance(self.network, nn.GRU):
            return super().trace(frames, state)
        initial = torch.stack([state] if isinstance(state, Tensor) else state)
        below = frames.transpose(0, 1)
        layers: list[scans.Scanned] = []
        for layer in range(self.network.num_layers):
            if layers:
                below = F.dropout(layers[-1].states[1:], self.network.dropout, self.training)
            layers.append(
                scans.scan(self._recurrence(), below, initial[:, :, layer], *self._weights(layer))
            )
        inputs, slopes = (
            pieces.beside([getattr(one, name) for one in layers]) for name in ("inputs", "slopes")
        )
        return Trace(*(one.transpose(0, 1) for one in (layers[-1].states, inputs, slopes)))

    def _recurrence(self) -> scans.Recurrence:
        """Of an RNN or LSTM."""
        if isinstance(self.network, nn.RNN):
            return scans.Standard(self.network.nonlinearity)
        return scans.LSTM()

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Those of the inputs, what is added to them, and those of the states."""
        network = self.network
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if network.bias else [])]
        from_below, from_before, *biases = (getattr(network, f"{n}_l{layer}") for n in names)
        bias = sum(biases) if biases else from_below.new_zeros(len(from_below))
        return from_below, bias, from_before

    def _run(
        self, frames: Tensor, state: Tensor | tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Torch's network, whose states have the layers before the batch."""
        if isinstance(state, Tensor):
            outputs, after = self.network(frames, state.transpose(0, 1).contiguous())
            return outputs, after.transpose(0, 1)
        hidden, cell = (part.transpose(0, 1).contiguous() for part in state)
        outputs, (hidden, cell) = self.network(frames, (hidden, cell))
        return outputs, (hidden.transpose(0, 1), cell.transpose(0, 1))


def _check(network: nn.RNNBase) -> None:
    """Raise where a network would see the future or give outputs of another form."""
    if not isinstance(network, nn.RNNBase):
        raise TypeError(
            "cell: expected a cell of seqebm.cells, or torch's RNN, LSTM or GRU, "
            f"got {type(network).__name__}"
        )
    if not network.batch_first:
        raise ValueError("cell: expected batch_first=True, got False")
    if network.bidirectional:
        raise ValueError("cell: a bidirectional cell sees the frames it should predict")
    if network.proj_size:
        raise ValueError(f"cell: expected no projection, got proj_size={network.proj_size}")
