"""The standard recurrent neural network, with connections that skip steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells import scans
from seqebm.cells.base import Cell, Trace
from seqebm.optim.initialisations import small_parameter

NONLINEARITIES = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}


class StandardRNN(Cell):
    """h_t = e(W_hv v_t + Σ_n W_n h_{t−n} + b_h) (Sutskever 2013, sec. 2.5 and 2.8.2).

    With order 1 it is the standard network. Connections from states further back shorten the way
    that a gradient takes through time (NARX networks; Lin, Horne, Tiňo and Giles 1996).

    Args:
        input_size: width of the frames.
        hidden_size: number of hidden units.
        order: the number of earlier states that a unit sees.
        nonlinearity: e, "tanh" or "sigmoid".

    Attributes:
        visible_to_hidden: W_hv, [hidden, input].
        hidden_to_hidden: W_n, [order, hidden, hidden]; index 0 is lag 1.
        hidden_bias: b_h, [hidden].
        initial_hidden: h_0, h_{−1} …, [order, hidden], used as they are.

    Raises:
        ValueError: a size below 1, or an unknown nonlinearity.
    """

    def __init__(
        self, input_size: int, hidden_size: int, order: int = 1, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(
            input_size, hidden_size, kind="skip-rnn", order=order, nonlinearity=nonlinearity
        )
        if order < 1:
            raise ValueError(f"order: expected at least 1, got {order}")
        if nonlinearity not in NONLINEARITIES:
            names = ", ".join(NONLINEARITIES)
            raise ValueError(f"nonlinearity: expected one of {names}, got {nonlinearity!r}")
        self._e = NONLINEARITIES[nonlinearity]
        self.visible_to_hidden = small_parameter(hidden_size, input_size, std=input_size**-0.5)
        spread = (order * hidden_size) ** -0.5
        self.hidden_to_hidden = small_parameter(order, hidden_size, hidden_size, std=spread)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_size))
        self.initial_hidden = small_parameter(order, hidden_size)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """h_0, h_{−1} …, newest first, each [batch, hidden]."""
        return tuple(h.expand(batch, -1) for h in self.initial_hidden)

    def output(self, state: tuple[Tensor, ...]) -> Tensor:
        """h_t."""
        return state[0]

    def recurrent_matrices(self) -> list[Tensor]:
        """W_1, W_2 …"""
        return list(self.hidden_to_hidden.detach())

    def drive(self, frames: Tensor) -> Tensor:
        """W_hv v + b_h."""
        return F.linear(frames, self.visible_to_hidden, self.hidden_bias)

    def advance(self, state: tuple[Tensor, ...], drive: Tensor) -> tuple[Tensor, ...]:
        """e(…), before which the oldest state is forgotten."""
        for h, weight in zip(state, self.hidden_to_hidden, strict=True):
            drive = torch.addmm(drive, h, weight.t())
        return (self._e(drive), *state[:-1])

    def trace(self, frames: Tensor, state: tuple[Tensor, ...]) -> Trace:
        """As `Cell.trace`; with order 1 by a scan."""
        if len(state) > 1:
            return super().trace(frames, state)
        scanned = scans.scan(
            scans.Standard(self.settings["nonlinearity"]),
            frames.transpose(0, 1),
            state[0].unsqueeze(0),
            self.visible_to_hidden,
            self.hidden_bias,
            self.hidden_to_hidden[0],
        )
        return Trace(*(one.transpose(0, 1) for one in scanned))
