"""The one protocol of all recurrent cores: an initial state, one step, a whole sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqebm.cells import pieces
from seqebm.optim.initialisations import small_parameter

State = Any  #: what a cell carries from frame to frame: tensors [batch, …], in tuples if several


class Trace(NamedTuple):
    """A sequence as a cell has read it, for Gauss–Newton products and structural damping.

    Structural damping (Sutskever 2013, sec. 4.2.3) adds λμ Jᵀ (D∘e)″ J to the Gauss–Newton matrix,
    with J the derivative of `inputs` and the diagonal `slopes` for (D∘e)″.

    Attributes:
        outputs: as `Cell.forward` gives them, [batch, time + 1, hidden].
        inputs: what may not change much, [batch, time, units]: the total inputs u_t of units that
            show e(u_t), or of their gates; of a cell that does not tell them, the outputs after
            each frame.
        slopes: the diagonal of the second derivative of the distance with respect to `inputs`,
            [batch, time, units], without a gradient: e'(u), so 1 − tanh² u or σ(u) (1 − σ(u)), if
            it matches e; ones for outputs, of half their squared change (Krause 2015, eq. 3.24).
    """

    outputs: Tensor
    inputs: Tensor
    slopes: Tensor


class Cell(nn.Module, ABC):
    """A recurrent core: it reads frames and shows, after each, what it makes of those so far.

    A cell supplies where it begins, what of its work needs the frames only (`drive`, done for all
    times in one product), how a state follows from the one before (`advance`), and what it shows of
    a state (`output`). Parameters are matrices [outputs, inputs], as everywhere.

    Attributes:
        input_size: width of the frames.
        hidden_size: width of the outputs.
        settings: the arguments by which `make_cell` makes a cell of the same shape.

    Example:
        >>> import seqebm
        >>> cell = seqebm.cells.MRNN(9, 5)
        >>> outputs, state = cell(torch.rand(2, 7, 9), cell.initial_state(2))
        >>> outputs.shape  # before the first frame, and after each
        torch.Size([2, 8, 5])
    """

    def __init__(self, input_size: int, hidden_size: int, **settings: Any) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.settings = {"input_size": input_size, "hidden_size": hidden_size, **settings}

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The learned state before the first frame of `batch` sequences."""

    @abstractmethod
    def output(self, state: State) -> Tensor:
        """What is shown of a state, [batch, hidden]."""

    @abstractmethod
    def drive(self, frames: Tensor) -> Tensor:
        """What enters a step because of its frame, [..., drive] for frames [..., input]."""

    @abstractmethod
    def advance(self, state: State, drive: Tensor) -> State:
        """The state after a frame whose drive is [batch, drive]."""

    @abstractmethod
    def recurrent_matrices(self) -> list[Tensor]:
        """The matrices [units, units] on the way from a state to the next, as views to be filled.

        Where there are gates each has its own.
        """

    def expect(self, power: float) -> None:
        """Let an untrained cell expect frames of this mean squared length.

        Only cells in which frames multiply states do anything: their factors get unit variance.
        """

    def step(self, state: State, frame: Tensor) -> State:
        """The state after a frame [batch, input]."""
        return self.advance(state, self.drive(frame))

    def forward(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Read frames [batch, time, input].

        Returns:
            The outputs before the first frame and after each, [batch, time + 1, hidden], and the
            state after the last.
        """
        outputs = [self.output(state)]
        drives = self.drive(frames.transpose(0, 1))  # whose frames are each in one piece
        for drive in pieces.unbind(drives):
            state = self.advance(state, drive)
            outputs.append(self.output(state))
        return pieces.stack(outputs, dim=1), state

    def trace(self, frames: Tensor, state: State) -> Trace:
        """Read frames [batch, time, input] for Gauss–Newton products.

        Outputs and their gradients are those of `forward`. Autograd can differentiate gradients
        with respect to the errors they are made of, in time linear in the length; cells with loops
        of their own for it (torch's RNN and LSTM, and the `StandardRNN` of order 1) refuse other
        second derivatives with a RuntimeError: see `seqebm.cells.scans.scan`.

        Example:
            The derivative of all outputs in a direction of the parameters, by two gradients:

            >>> import seqebm
            >>> cell = seqebm.cells.make_cell("lstm", 9, 5)
            >>> outputs = cell.trace(torch.rand(2, 7, 9), cell.initial_state(2)).outputs
            >>> parameters = list(cell.parameters())
            >>> direction = [torch.randn_like(parameter) for parameter in parameters]
            >>> errors = torch.zeros_like(outputs, requires_grad=True)
            >>> gradient = torch.autograd.grad(outputs, parameters, errors, create_graph=True)
            >>> torch.autograd.grad(gradient, errors, direction)[0].shape
            torch.Size([2, 8, 5])
        """
        outputs, _ = Cell.forward(self, frames, state)
        shown = outputs[:, 1:]
        return Trace(outputs, shown, shown.new_ones(()).expand_as(shown))


class ShownCell(Cell):
    """A cell whose state is what it shows, h.

    Attributes:
        initial_hidden: h_0, [hidden].
    """

    def __init__(self, input_size: int, hidden_size: int, **settings: Any) -> None:
        super().__init__(input_size, hidden_size, **settings)
        self.initial_hidden = small_parameter(hidden_size)

    def initial_state(self, batch: int) -> Tensor:
        """h_0, [batch, hidden]."""
        return self.initial_hidden.expand(batch, -1)

    def output(self, state: Tensor) -> Tensor:
        """h_t."""
        return state


class GatedCell(Cell):
    """A cell that shows h and remembers c behind gates: i, f, o and what enters, in this order.

    Attributes:
        gate_bias: of the gates and of what enters, [4 · hidden].
        initial_hidden: h_0, [hidden].
        initial_cell: c_0, [hidden].
    """

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float, **settings: Any
    ) -> None:
        super().__init__(input_size, hidden_size, forget_bias=forget_bias, **settings)
        bias = torch.zeros(4 * hidden_size)
        bias[hidden_size : 2 * hidden_size] = forget_bias
        self.gate_bias = nn.Parameter(bias)
        self.initial_hidden = small_parameter(hidden_size)
        self.initial_cell = small_parameter(hidden_size)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """h_0 and c_0, [batch, hidden]."""
        return self.initial_hidden.expand(batch, -1), self.initial_cell.expand(batch, -1)

    def output(self, state: tuple[Tensor, Tensor]) -> Tensor:
        """h_t."""
        return state[0]
