"""Networks in which the frame decides how a state leads to the next."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells.base import GatedCell, ShownCell
from seqebm.optim.initialisations import small_parameter


class TensorRNN(ShownCell):
    """h_t = tanh(W_hv v_t + W_hh^(v_t) h_{t−1} + b_h), W_hh^(v) = Σ_m v_m W_hh^(m).

    Sutskever 2013, eqs. 5.1 and 5.3. Every value of a frame has a matrix of its own, so this is for
    narrow frames; `MRNN` factors the tensor.

    Args:
        input_size: width of the frames.
        hidden_size: number of hidden units.

    Attributes:
        visible_to_hidden: W_hv, [hidden, input].
        hidden_to_hidden: W_hh^(m), [input, hidden, hidden].
        hidden_bias: b_h, [hidden].
        initial_hidden: h_0, [hidden].

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, kind="tensor-rnn")
        self.visible_to_hidden = small_parameter(hidden_size, input_size, std=input_size**-0.5)
        shape = (input_size, hidden_size, hidden_size)
        self.hidden_to_hidden = small_parameter(*shape, std=hidden_size**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_size))

    def recurrent_matrices(self) -> list[Tensor]:
        """W_hh^(m)."""
        return list(self.hidden_to_hidden.detach())

    def drive(self, frames: Tensor) -> Tensor:
        """W_hv v + b_h, and v itself."""
        bias = F.linear(frames, self.visible_to_hidden, self.hidden_bias)
        return torch.cat([bias, frames], dim=-1)

    def advance(self, state: Tensor, drive: Tensor) -> Tensor:
        """Eq. 5.1, without forming W_hh^(v) for each sequence: Σ_m v_m (W_hh^(m) h)."""
        bias, frame = drive.split([self.hidden_size, self.input_size], dim=-1)
        pairs = (frame.unsqueeze(-1) * state.unsqueeze(-2)).flatten(1)  # v_m h_j
        weight = self.hidden_to_hidden.transpose(1, 2).flatten(0, 1)
        return torch.addmm(bias, pairs, weight).tanh()


class MRNN(ShownCell):
    """The multiplicative RNN, a `TensorRNN` whose tensor is factored.

        f_t = (W_fv v_t) ⊙ (W_fh h_{t−1})          h_t = tanh(W_hf f_t + W_hv v_t + b_h)

    Sutskever, Martens and Hinton 2011; Sutskever 2013, eqs. 5.4 to 5.6 (which leave b_h out; where
    exactly one value of a frame is one it makes no difference).

    Args:
        input_size: width of the frames.
        hidden_size: number of hidden units.
        factors: number of factors F; None is as many as there are hidden units.

    Attributes:
        visible_to_factors: W_fv, [factors, input].
        hidden_to_factors: W_fh, [factors, hidden].
        factors_to_hidden: W_hf, [hidden, factors].
        visible_to_hidden: W_hv, [hidden, input].
        hidden_bias: b_h, [hidden].
        initial_hidden: h_0, [hidden].

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, factors: int | None = None) -> None:
        factors = hidden_size if factors is None else factors
        super().__init__(input_size, hidden_size, kind="mrnn", factors=factors)
        if factors < 1:
            raise ValueError(f"factors: expected at least 1, got {factors}")
        self.visible_to_factors = small_parameter(factors, input_size, std=input_size**-0.5)
        self.hidden_to_factors = small_parameter(factors, hidden_size, std=hidden_size**-0.5)
        self.factors_to_hidden = small_parameter(hidden_size, factors, std=factors**-0.5)
        self.visible_to_hidden = small_parameter(hidden_size, input_size, std=input_size**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_size))

    def expect(self, power: float) -> None:
        """Scale W_fv, so that W_fv v has unit variance for frames of this mean squared length.

        Gains that are too large leave states at ±1: after 400 updates on balls (15 × 15) W_fv of
        variance 1 gave a next-frame error of 13.7, of this variance one of 1.1.
        """
        _scale(self.visible_to_factors, power)

    def recurrent_matrices(self) -> list[Tensor]:
        """W_fh and W_hf."""
        return [self.hidden_to_factors.detach(), self.factors_to_hidden.detach()]

    def drive(self, frames: Tensor) -> Tensor:
        """W_hv v + b_h, and W_fv v."""
        to_hidden = F.linear(frames, self.visible_to_hidden, self.hidden_bias)
        return torch.cat([to_hidden, F.linear(frames, self.visible_to_factors)], dim=-1)

    def advance(self, state: Tensor, drive: Tensor) -> Tensor:
        """Eqs. 5.5 and 5.6."""
        to_hidden, gain = drive.split([self.hidden_size, len(self.visible_to_factors)], dim=-1)
        factors = gain * F.linear(state, self.hidden_to_factors)
        return torch.addmm(to_hidden, factors, self.factors_to_hidden.t()).tanh()


class MLSTM(GatedCell):
    """The multiplicative LSTM (Krause 2015, eqs. 4.7 to 4.10 and algorithm 7).

        m_t = (W_mh h_{t−1}) ⊙ (W_mi v_t)
        ω, φ, ρ = σ of, x = W_·i v_t + W_·m m_t + b_·      (gates of input, memory and output)
        c_t = φ_t ⊙ c_{t−1} + ω_t ⊙ x_t                    h_t = tanh(ρ_t ⊙ c_t)

    What enters the cells is not squashed, and the output gate stands inside the tanh, as in the
    source; biases are added, that of the forget gate begins at `forget_bias`.

    Args:
        input_size: width of the frames.
        hidden_size: number of hidden units, and of factors.
        forget_bias: the bias φ begins with; a large one remembers for long.

    Attributes:
        visible_to_factors: W_mi, [hidden, input].
        hidden_to_factors: W_mh, [hidden, hidden].
        visible_to_gates: W_·i of ω, φ, ρ and x below each other, [4 · hidden, input].
        factors_to_gates: W_·m likewise, [4 · hidden, hidden].
        gate_bias: [4 · hidden].
        initial_hidden: h_0, [hidden].
        initial_cell: c_0, [hidden].

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size, forget_bias, kind="mlstm")
        spread = hidden_size**-0.5
        self.visible_to_factors = small_parameter(hidden_size, input_size, std=input_size**-0.5)
        self.hidden_to_factors = small_parameter(hidden_size, hidden_size, std=spread)
        gates = 4 * hidden_size
        self.visible_to_gates = small_parameter(gates, input_size, std=input_size**-0.5)
        self.factors_to_gates = small_parameter(gates, hidden_size, std=spread)

    def expect(self, power: float) -> None:
        """Scale W_mi, as `MRNN.expect` does W_fv."""
        _scale(self.visible_to_factors, power)

    def recurrent_matrices(self) -> list[Tensor]:
        """W_mh, and W_·m of each gate."""
        gates = self.factors_to_gates.detach().split(self.hidden_size)
        return [self.hidden_to_factors.detach(), *gates]

    def drive(self, frames: Tensor) -> Tensor:
        """W_·i v + b of the gates, and W_mi v."""
        to_gates = F.linear(frames, self.visible_to_gates, self.gate_bias)
        return torch.cat([to_gates, F.linear(frames, self.visible_to_factors)], dim=-1)

    def advance(self, state: tuple[Tensor, Tensor], drive: Tensor) -> tuple[Tensor, Tensor]:
        """Algorithm 7."""
        h, c = state
        to_gates, gain = drive.split([4 * self.hidden_size, self.hidden_size], dim=-1)
        factors = gain * F.linear(h, self.hidden_to_factors)
        inputs = torch.addmm(to_gates, factors, self.factors_to_gates.t())
        write, keep, show, x = inputs.split(self.hidden_size, dim=-1)
        c = keep.sigmoid() * c + write.sigmoid() * x
        return (show.sigmoid() * c).tanh(), c


@torch.no_grad()
def _scale(weight: Tensor, power: float) -> None:
    """Give the entries of a matrix the variance 1/power."""
    weight.mul_(power**-0.5 / weight.square().mean().sqrt())
