"""The LSTM of the thesis, with memory units beside hidden units."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells.base import Cell
from seqebm.optim.initialisations import small_parameter


class MemoryLSTM(Cell):
    """The LSTM of Sutskever 2013, eqs. 2.37 to 2.43: memory units m beside hidden units h.

        h_t = tanh(W_hh h_{t−1} + W_hv v_t + W_hm m̃_{t−1})
        i^g, i, o, f = σ, tanh, σ, σ of W_·h h_t + W_·v v_t + W_·m m̃_{t−1}   (+ b_f for f)
        m_t = m_{t−1} ⊙ f_t + i_t ⊙ i^g_t              m̃_t = m_t ⊙ o_t

    The output, of which eq. 2.44 makes z_t, is h_t and m̃_t beside each other.

    Args:
        input_size: width of the frames.
        hidden_size: width of the output: half of it hidden units, half memory units.
        forget_bias: b_f to begin with; large, so that the memory lasts (the thesis' example is 5).

    Attributes:
        visible_weight: W_·v of h, i^g, i, o and f below each other, [5 · units, input].
        memory_weight: W_·m likewise, [5 · units, units].
        gate_weight: W_·h of i^g, i, o and f, [4 · units, units].
        hidden_to_hidden: W_hh, [units, units].
        forget_bias: b_f, [units].
        initial_hidden: h_0, [units].
        initial_memory: m_0, [units].
        initial_shown: m̃_0, [units].

    Raises:
        ValueError: a size below 1, or an odd number of outputs.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 5.0) -> None:
        super().__init__(input_size, hidden_size, kind="memory-lstm", forget_bias=forget_bias)
        if hidden_size % 2:
            raise ValueError(f"hidden_size: expected an even number, got {hidden_size}")
        self.units = units = hidden_size // 2
        spread = hidden_size**-0.5  # each unit sees h and m̃
        self.visible_weight = small_parameter(5 * units, input_size, std=input_size**-0.5)
        self.memory_weight = small_parameter(5 * units, units, std=spread)
        self.gate_weight = small_parameter(4 * units, units, std=spread)
        self.hidden_to_hidden = small_parameter(units, units, std=spread)
        self.forget_bias = nn.Parameter(torch.full((units,), float(forget_bias)))
        self.initial_hidden = small_parameter(units)
        self.initial_memory = small_parameter(units)
        self.initial_shown = small_parameter(units)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """h_0, m_0 and m̃_0, [batch, units]."""
        initial = (self.initial_hidden, self.initial_memory, self.initial_shown)
        h, m, shown = (one.expand(batch, -1) for one in initial)
        return h, m, shown

    def output(self, state: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """h_t and m̃_t."""
        return torch.cat([state[0], state[2]], dim=-1)

    def recurrent_matrices(self) -> list[Tensor]:
        """W_hh, and W_·m and W_·h of each unit and gate."""
        stacked = (self.memory_weight, self.gate_weight)
        gates = [gate for matrix in stacked for gate in matrix.detach().split(self.units)]
        return [self.hidden_to_hidden.detach(), *gates]

    def drive(self, frames: Tensor) -> Tensor:
        """W_·v v, and b_f."""
        return F.linear(frames, self.visible_weight, F.pad(self.forget_bias, (4 * self.units, 0)))

    def advance(
        self, state: tuple[Tensor, Tensor, Tensor], drive: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Eqs. 2.37 to 2.43."""
        h, m, shown = state
        inputs = torch.addmm(drive, shown, self.memory_weight.t())
        to_hidden, to_gates = inputs.split([self.units, 4 * self.units], dim=-1)
        h = torch.addmm(to_hidden, h, self.hidden_to_hidden.t()).tanh()
        gates = torch.addmm(to_gates, h, self.gate_weight.t())
        input_gate, i, output_gate, forget_gate = gates.split(self.units, dim=-1)
        m = m * forget_gate.sigmoid() + i.tanh() * input_gate.sigmoid()
        return h, m, m * output_gate.sigmoid()
