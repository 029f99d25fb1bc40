"""The recurrent neural network whose state drives the biases of a restricted Boltzmann machine."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells import Cell, as_cell, make_cell
from seqebm.cells.named import cell_from
from seqebm.models.energy import EnergyModel
from seqebm.models.recurrent import RecurrentModel
from seqebm.optim.initialisations import small_parameter
from seqebm.rbm import RBMEnergy
from seqebm.units import Units


class RNNRBM(RecurrentModel, EnergyModel):
    """The RNN-RBM of Boulanger-Lewandowski, Bengio and Vincent (2012), with any recurrent cell.

    p(v_t | v_<t) is an RBM whose biases are affine in the state s of a recurrent network that has
    read the frames before:

        B_v = b_v + W_sv s_{t−1}        B_h = b_h + W_sh s_{t−1}        (their eqs. 14 and 15)

    In an RTRBM the hidden units of the RBM and the state are one and the same; here each does its
    own work. The gradient of contrastive divergence runs back through time (full BPTT). The authors
    found that a network that begins as a trained predictor makes a better model
    (`learning.training.pretrain_cell`).

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units of the RBM.
        cell: a cell of `seqebm.cells`, or torch's `nn.RNN`, `nn.LSTM` or `nn.GRU`, built with
            `batch_first=True`, with the width of the frames as its input size; or a name of
            `seqebm.cells.CELLS` for one with as many units as the RBM has hidden ones.
        visible: "bernoulli", "gaussian", "gaussian:learned", or a `Units` object.

    Attributes:
        state_to_visible: W_sv, [visible, state].
        state_to_hidden: W_sh, [hidden, state].

    Raises:
        TypeError: a cell of another kind.
        ValueError: sizes that do not fit, or a cell that sees the future.

    Example:
        >>> import torch
        >>> model = RNNRBM(9, 5, torch.nn.LSTM(9, 8, batch_first=True))
        >>> model.loss(torch.rand(2, 7, 9)).backward()
        >>> model.sample(3, batch=2).shape, model.filter(torch.rand(2, 7, 9)).shape
        (torch.Size([2, 3, 9]), torch.Size([2, 7, 8]))
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        cell: Cell | nn.RNNBase | str = "rnn",
        visible: str | Units = "bernoulli",
    ) -> None:
        super().__init__(n_visible, n_hidden, visible)
        if isinstance(cell, str):
            cell = make_cell(cell, n_visible, n_hidden)
        self.cell = as_cell(cell)
        if self.cell.input_size != n_visible:
            raise ValueError(f"cell: expected input size {n_visible}, got {self.cell.input_size}")
        self.settings = {**self.settings, "cell": self.cell.settings}
        self.state_to_visible = small_parameter(n_visible, self.cell.hidden_size)
        self.state_to_hidden = small_parameter(n_hidden, self.cell.hidden_size)

    def biases(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """B_v and B_h."""
        return (
            self.visible_bias + F.linear(context, self.state_to_visible),
            self.hidden_bias + F.linear(context, self.state_to_hidden),
        )

    def begin(self, context: Tensor, rbm: RBMEnergy) -> Tensor:
        """What the frame calls for that the state expects: B_v knows most of it by itself."""
        return rbm.hidden_mean(self.visible.mean(rbm.visible_bias))


def rnnrbm(cell: dict[str, Any], **settings: Any) -> RNNRBM:
    """An `RNNRBM` from its settings, as checkpoints give them."""
    return RNNRBM(cell=cell_from(cell), **settings)
