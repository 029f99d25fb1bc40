"""Recurrent neural networks as generative models."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from seqebm.cells import Cell, as_cell
from seqebm.cells.named import cell_from
from seqebm.models.conditionals import Conditional, Factorial
from seqebm.models.mixture import MixtureDensity, make_mixture
from seqebm.models.nade import NADE, checked_nade, make_nade
from seqebm.models.recurrent import RecurrentModel
from seqebm.optim import Held, Prediction
from seqebm.units import Units, make_units


class RNN(RecurrentModel):
    """A recurrent network whose state parametrises the distribution of the next frame.

    p(v_t | v_<t) = p(v_t; z_{t−1}) with z = W_o h + b_o (Sutskever 2013, eqs. 2.14–2.15). The
    initial state is learned, and with it the distribution z_0 of the first frame. The loss is the
    exact negative log-likelihood (eq. 2.16), or what the conditional takes for it.

    Args:
        cell: a cell of `seqebm.cells`, or torch's own `nn.RNN`, `nn.LSTM` or `nn.GRU`, built with
            `batch_first=True`; its input size is the width of the frames.
        conditional: independent units, "bernoulli", "gaussian", "gaussian:learned" or a `Units`
            object; or a distribution in which the units of a frame depend on each other:
            "nade:HIDDEN", "orderless-nade:HIDDEN", or a `NADE`; "mixture:K", a `MixtureDensity`.

    Attributes:
        output: makes the distribution of the next frame of z.
        readout: W_o and b_o, a `torch.nn.Linear`.

    Example:
        >>> import torch
        >>> model = RNN(torch.nn.LSTM(9, 5, batch_first=True), "bernoulli")
        >>> model.loss(torch.rand(2, 7, 9)).backward()
        >>> model.sample(3, batch=2).shape
        torch.Size([2, 3, 9])
    """

    def __init__(
        self, cell: Cell | nn.RNNBase, conditional: str | Units | NADE = "bernoulli"
    ) -> None:
        super().__init__()
        self.cell = as_cell(cell)
        self.output = make_output(conditional, self.cell.input_size)
        self.readout = nn.Linear(self.cell.hidden_size, self.output.n_inputs)
        self.settings = {"cell": self.cell.settings, "conditional": self.output.spec}

    @property
    def visible(self) -> Units:  # type: ignore[override]
        """The kind of the visible units."""
        return self.output.visible

    @property
    def output_bias(self) -> Tensor:
        """The part of b_o that is the bias of the visible units."""
        return self.readout.bias[: self.visible.size]

    def prediction(self, frames: Tensor, lengths: Tensor | None = None) -> Prediction:
        """What methods of second order ask for: outputs, what they cost, hidden units.

        The cost is `loss` up to a constant. Structural damping holds what the cell tells of itself
        (`Cell.trace`).

        Args:
            frames: [batch, time, visible].
            lengths: frames of each sequence that count, [batch]; None takes all.

        Raises:
            ValueError: frames that the units cannot take, or a conditional whose loss is not convex
                in its outputs, as those of a NADE and of a mixture are not.

        Example:
            >>> import seqebm, torch
            >>> from seqebm.optim import HessianFree
            >>> model = RNN(seqebm.cells.MRNN(9, 5), "bernoulli")
            >>> optimizer = HessianFree(model.parameters())
            >>> report = optimizer.step(model.prediction, [torch.rand(20, 7, 9)])
            >>> report.after < report.before
            True
        """
        if not isinstance(self.output, Independent):
            raise ValueError(
                f"conditional: expected independent units, for the loss of a {self.output.spec} "
                "is not convex in its outputs, and there is no Gauss–Newton matrix"
            )
        frames, mask = self._checked(frames, lengths)
        trace = self.cell.trace(frames, self.initial_state(len(frames)))
        x = self.readout(trace.outputs)[:, :-1]
        parts = frames, x, trace.inputs, trace.slopes
        if mask is None:
            frames, x, inputs, slopes = (part.flatten(0, 1) for part in parts)
        else:
            frames, x, inputs, slopes = (part[mask] for part in parts)
        outputs, loss = self.visible.matching(frames, x)
        return Prediction(outputs, loss, (Held(inputs, slopes),))

    def conditional(self, context: Tensor) -> Conditional:
        """What `output` makes of W_o h + b_o."""
        return self.output(self.readout(context))


class Independent(nn.Module):
    """Units of the next frame that are independent of each other given the past."""

    def __init__(self, visible: Units) -> None:
        super().__init__()
        self.visible = visible
        self.n_inputs = visible.size
        self.spec = visible.spec

    def forward(self, x: Tensor) -> Factorial:
        """Units with total input x, [*rows, visible]."""
        return Factorial(self.visible, x)


Output = Independent | NADE | MixtureDensity


def make_output(conditional: str | Units | NADE, n_visible: int) -> Output:
    """The output layer that a name or an object stands for.

    Raises:
        ValueError: an unknown name, or an object of another size.
        TypeError: neither a name nor such an object.
    """
    if isinstance(conditional, NADE):
        return checked_nade(conditional, n_visible)
    if isinstance(conditional, str) and "nade" in conditional:
        return make_nade(conditional, n_visible)
    if isinstance(conditional, str) and conditional.startswith("mixture"):
        return make_mixture(conditional, n_visible)
    return Independent(make_units(conditional, n_visible))


def rnn(cell: dict[str, Any], conditional: str) -> RNN:
    """An `RNN` from its settings, as checkpoints give them."""
    return RNN(cell_from(cell), conditional)
