"""The energy of restricted Boltzmann machines whose biases differ from row to row."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.units import Bernoulli, Units


@functools.cache
def _binary_layer(size: int) -> Bernoulli:
    """Hidden units have no parameters of their own: machines of one size share the object."""
    return Bernoulli(size)


@dataclass(frozen=True)
class RBMEnergy:
    """RBMs that share W and have biases of their own, one machine for each row.

    With Bernoulli units E(v, h) = −hᵀWv − vᵀb_v − hᵀb_h (Sutskever 2013, eq. 2.24); every other
    kind of visible unit brings its own terms (`seqebm.units`). Rows may have any leading shape;
    a bias without leading shape is shared by all rows.

    Args:
        visible: the kind of the visible units.
        weight: W, [hidden, visible].
        visible_bias: b_v, [..., visible].
        hidden_bias: b_h, [..., hidden].

    Example:
        >>> rbm = RBMEnergy(Bernoulli(2), torch.ones(1, 2), torch.zeros(2), torch.zeros(1))
        >>> rbm.energy(torch.ones(2), torch.ones(1))
        tensor(-2.)
    """

    visible: Units
    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    hidden: Units = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", _binary_layer(self.weight.shape[0]))

    @property
    def rows(self) -> torch.Size:
        """The leading shape that the biases have together."""
        shape = torch.broadcast_shapes(self.visible_bias.shape[:-1], self.hidden_bias.shape[:-1])
        return cast(torch.Size, shape)

    def hidden_drive(self, v: Tensor) -> Tensor:
        """W v, [..., hidden]."""
        return F.linear(self.visible.scaled(v), self.weight)

    def visible_drive(self, h: Tensor) -> Tensor:
        """Wᵀh, [..., visible]."""
        return h @ self.weight

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h|v] = σ(W v + b_h), [..., hidden] (eq. 2.26)."""
        return self.hidden.mean(self.hidden_drive(v) + self.hidden_bias)

    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v|h], [..., visible] (eq. 2.27)."""
        return self.visible.mean(self.visible_drive(h) + self.visible_bias)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h), [...]."""
        own = self.visible.energy(v, self.visible_bias) + self.hidden.energy(h, self.hidden_bias)
        return own - (h * self.hidden_drive(v)).sum(-1)

    def sampled_free_energy(self, v: Tensor, mean: Tensor) -> Tensor:
        """F at samples v, for its gradient where they stand for the model's expectation, [...].

        The gradient with respect to b_v is linear in v. There `mean`, that of the distributions
        which v was drawn from, takes the place of v: same expectation, less noise (Rao and
        Blackwell), which is what limits the training of taps from visible to visible units.
        """
        surplus = self.visible.scaled(mean - v).detach()
        return self.free_energy(v) - (surplus * self.visible_bias).sum(-1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = −log Σ_h exp(−E(v, h)), so that p(v) = exp(−F(v))/Z, [...]."""
        own = self.visible.energy(v, self.visible_bias)
        return own - self.hidden.log_partition(self.hidden_bias, self.hidden_drive(v))
