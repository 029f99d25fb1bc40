"""The fixed random network of an echo-state network."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from seqebm.cells.base import Cell
from seqebm.optim.initialisations import scale_to_radius_, sparse_

# products with a sparse matrix are faster from here on (a CPU, one thread, batches of 1 to 64)
SPARSE_UNITS, SPARSE_DENSITY = 300, 0.1


class Reservoir(Cell):
    """h_t = α h_{t−1} + (1 − α) tanh(W_hh h_{t−1} + W_hv v_t + b_h), in which nothing is learned.

    Jaeger and Haas 2004; Sutskever 2013, sec. 2.8.4 and eq. 2.45, here with biases, without which
    tanh makes nothing of a frame that it does not make of its negative (Lukoševičius 2012, eq. 2).
    The weights are buffers: no optimiser changes them, files keep them. h_0 is zero; where the
    radius is below 1, states usually forget it (the echo-state property).

    Every unit has the same number of incoming connections, density · hidden_size, at least one, so
    that there is always a way round and with it an eigenvalue other than zero.

    Args:
        input_size: width of the frames.
        hidden_size: number of hidden units.
        radius: spectral radius of W_hh.
        leak: 1 − α, the share of a state that is new; 1 is a network without leak.
        density: share of the entries of W_hh that are not zero; from N(0, 1) before scaling.
        input_scale: W_hv and b_h are uniform in (−input_scale, input_scale).

    Attributes:
        visible_to_hidden: W_hv, [hidden, input].
        hidden_to_hidden: W_hh, [hidden, hidden].
        hidden_bias: b_h, [hidden].

    Raises:
        ValueError: a size below 1, a leak or density outside (0, 1], a radius or scale that is
            negative or not finite.

    Example:
        >>> import torch, seqebm
        >>> model = seqebm.RNN(Reservoir(2, 50, radius=0.9, leak=0.3), "gaussian")
        >>> [name for name, _ in model.named_parameters()]
        ['readout.weight', 'readout.bias']
        >>> penalty = seqebm.learning.fit_readout(model, torch.randn(20, 30, 2))
    """

    visible_to_hidden: Tensor
    hidden_to_hidden: Tensor
    hidden_bias: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        radius: float = 0.9,
        leak: float = 1.0,
        density: float = 0.1,
        input_scale: float = 1.0,
    ) -> None:
        settings = {
            "radius": radius,
            "leak": leak,
            "density": density,
            "input_scale": input_scale,
        }
        super().__init__(input_size, hidden_size, kind="esn", **settings)
        for name in ("leak", "density"):
            if not 0 < settings[name] <= 1:
                raise ValueError(f"{name}: expected a number in (0, 1], got {settings[name]}")
        for name in ("radius", "input_scale"):
            if not 0 <= settings[name] < float("inf"):
                raise ValueError(f"{name}: expected a number from 0 up, got {settings[name]}")
        self.leak = leak
        self.register_buffer("visible_to_hidden", torch.empty(hidden_size, input_size))
        self.register_buffer("hidden_to_hidden", torch.empty(hidden_size, hidden_size))
        self.register_buffer("hidden_bias", torch.empty(hidden_size))
        if not self.hidden_bias.is_meta:  # where there is nothing to draw
            self.visible_to_hidden.uniform_(-input_scale, input_scale)
            self.hidden_bias.uniform_(-input_scale, input_scale)
            sparse_(self.hidden_to_hidden, connections=max(1, round(density * hidden_size)))
            scale_to_radius_(self.hidden_to_hidden, radius)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, hidden]."""
        return self.hidden_bias.new_zeros(batch, self.hidden_size)

    def output(self, state: Tensor) -> Tensor:
        """h_t."""
        return state

    def recurrent_matrices(self) -> list[Tensor]:
        """W_hh."""
        return [self.hidden_to_hidden]

    def drive(self, frames: Tensor) -> Tensor:
        """W_hv v + b_h."""
        return F.linear(frames, self.visible_to_hidden, self.hidden_bias)

    def advance(self, state: Tensor, drive: Tensor) -> Tensor:
        """Eq. 2.45."""
        return state.lerp(torch.addmm(drive, state, self.hidden_to_hidden.t()).tanh(), self.leak)

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Without a gradient, where nobody asks for one with respect to the frames."""
        if torch.is_grad_enabled() and (frames.requires_grad or state.requires_grad):
            return super().forward(frames, state)
        return self._run(frames, state)

    @torch.no_grad()
    def _run(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`Cell.forward` with states as columns, in place, and products that leave out zeros."""
        batch, time, _ = frames.shape
        states = state.new_empty(time + 1, self.hidden_size, batch)
        states[0] = state.t()
        states[1:] = self.drive(frames.transpose(0, 1)).transpose(1, 2)
        weight = fastest(self.hidden_to_hidden)
        before, *rest = states.unbind()
        for after in rest:  # which hold the drives
            torch.addmm(after, weight, before, out=after).tanh_()
            before = torch.lerp(before, after, self.leak, out=after)
        return states.permute(2, 0, 1), before.t().clone()


_compressed = WeakTensorKeyDictionary()  # matrices to their number of changes and sparse forms


def fastest(matrix: Tensor) -> Tensor:
    """The matrix in the form that multiplies fastest: compressed rows if large and sparse enough.

    They are kept, until the matrix changes, here and not beside it: torch copies no module that
    holds a sparse tensor.
    """
    if not matrix.is_cpu or len(matrix) < SPARSE_UNITS or matrix.itemsize < 4:
        return matrix
    if matrix.is_inference():  # nobody counts its changes
        return matrix
    changes, sparse = _compressed.get(matrix, (None, None))
    if changes != matrix._version:
        few = matrix.count_nonzero() <= SPARSE_DENSITY * matrix.numel()
        sparse = _compress(matrix) if few else None
        _compressed[matrix] = matrix._version, sparse
    return matrix if sparse is None else sparse


def _compress(matrix: Tensor) -> Tensor:
    """Compressed rows, without torch's warning that these are young."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return matrix.to_sparse_csr()
