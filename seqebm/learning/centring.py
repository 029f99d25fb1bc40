"""The centred gradient of machines with weights between two layers."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from seqebm.models.energy import EnergyModel


def centre(optimizer: torch.optim.Optimizer, model: EnergyModel, mean: Tensor) -> None:
    """Let every step of an optimiser be one of the centred machine's parameters.

    With E = … − (h − λ)ᵀ W (v − μ) weights learn how units vary together and biases how often they
    are on, where the gradients of the plain machine mix both (Melchior, Fischer and Wiskott 2016).
    It is the same machine: b_v and b_h are those of the centred one less Wᵀλ and W μ. So gradients
    are changed before a step and biases after it, and nothing else knows of it. μ stays the mean of
    the data; λ is σ(W μ + b_h), the hidden units' answer to it.

    Args:
        optimizer: of the model's parameters.
        model: a model whose conditional is an RBM.
        mean: μ, the mean frame of the data, [visible].

    Raises:
        ValueError: a mean of another shape.

    Example:
        >>> import seqebm
        >>> model = seqebm.RTRBM(9, 5)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> centre(optimizer, model, torch.full((9,), 0.1))
    """
    size = model.visible.size
    if mean.shape != (size,):
        raise ValueError(f"mean: expected shape [{size}], got {[*mean.shape]}")
    centring = _Centring(model, mean)
    optimizer.register_step_pre_hook(centring.before)
    optimizer.register_step_post_hook(centring.after)


class _Centring:
    """What is remembered from before a step until after it."""

    def __init__(self, model: EnergyModel, mean: Tensor) -> None:
        self.model, self.mean = model, mean

    @property
    def learned(self) -> bool:
        """Whether W and both biases are about to be changed; else the plain step is taken."""
        model = self.model
        return all(
            p.grad is not None for p in (model.weight, model.visible_bias, model.hidden_bias)
        )

    @torch.no_grad()
    def before(self, *_: Any) -> None:
        """Gradients of the centred machine's parameters for those of the plain one."""
        model = self.model
        if self.learned:
            self.weight = model.weight.clone()
            self.seen = model.visible.scaled(self.mean)
            self.hidden = (model.weight @ self.seen + model.hidden_bias).sigmoid()
            weight, b, c = (
                cast(Tensor, p.grad) for p in (model.weight, model.visible_bias, model.hidden_bias)
            )
            weight -= torch.outer(self.hidden, b) + torch.outer(c, self.seen)

    @torch.no_grad()
    def after(self, *_: Any) -> None:
        """Biases of the plain machine for those of the centred one."""
        if self.learned:
            change = self.model.weight - self.weight
            self.model.visible_bias.sub_(change.t() @ self.hidden)
            self.model.hidden_bias.sub_(change @ self.seen)
