"""The LSTM with the gradient that it was first trained by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.cells.base import GatedCell
from seqebm.optim.initialisations import small_parameter


class TruncatedLSTM(GatedCell):
    """An LSTM whose errors go back in time through its cells only.

        i, f, o = σ of, g = tanh of W_·v v_t + W_·h h_{t−1} + b_·
        c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t                h_t = o_t ⊙ tanh c_t

    What comes back to h_{t−1} from the gates of later times is left out of the gradient, ∂E/∂h_t is
    taken to be ∂E_t/∂h_t (Hochreiter and Schmidhuber 1997; Krause 2015, sec. 2.2 and eq. 2.17). So
    it neither vanishes nor explodes while the forget gates are open, and equals what can be
    learned online with one number for each weight, ∂c_t/∂θ = f_t ∂c_{t−1}/∂θ + what θ does at t.
    As a function it is torch's LSTM.

    Args:
        input_size: width of the frames.
        hidden_size: number of cells.
        forget_bias: the bias that forget gates begin with.

    Attributes:
        visible_to_gates: W_·v of i, f, o and g below each other, [4 · hidden, input].
        hidden_to_gates: W_·h likewise, [4 · hidden, hidden].
        gate_bias: [4 · hidden].
        initial_hidden: h_0, [hidden].
        initial_cell: c_0, [hidden].

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias, kind="truncated-lstm")
        gates, spread = 4 * hidden_size, hidden_size**-0.5
        self.visible_to_gates = small_parameter(gates, input_size, std=input_size**-0.5)
        self.hidden_to_gates = small_parameter(gates, hidden_size, std=spread)

    def recurrent_matrices(self) -> list[Tensor]:
        """W_·h of each gate."""
        return list(self.hidden_to_gates.detach().split(self.hidden_size))

    def drive(self, frames: Tensor) -> Tensor:
        """W_·v v + b_·."""
        return F.linear(frames, self.visible_to_gates, self.gate_bias)

    def advance(self, state: tuple[Tensor, Tensor], drive: Tensor) -> tuple[Tensor, Tensor]:
        """One step, for which h_{t−1} is a constant."""
        h, c = state
        gates = torch.addmm(drive, h.detach(), self.hidden_to_gates.t())
        write, keep, show, x = gates.split(self.hidden_size, dim=-1)
        c = keep.sigmoid() * c + write.sigmoid() * x.tanh()
        return show.sigmoid() * c.tanh(), c
