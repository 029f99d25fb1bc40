"""Losses that match their outputs: convex in them, with the products that curvature is made of.

An output nonlinearity g and a loss L match where L∘g is convex in the total inputs o of the outputs
and its gradient is g(o) − y (Schraudolph 2002; Sutskever 2013, sec. 4.2.2). Only then is the
Gauss–Newton matrix positive semi-definite.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor


class MatchingLoss(ABC):
    """L(g(o); y), summed over all outputs, for given targets y.

    Args:
        targets: y, of the shape of the outputs, [*cases, n].
        count: what sums of this loss are divided by to make a mean; None: the number of cases,
            which is that of the targets over n. (The thesis divides by sequences.)

    Attributes:
        targets: see above.
        count: see above.

    Raises:
        ValueError: targets that the loss does not have, none at all, or a count of 0 or below.
    """

    def __init__(self, targets: Tensor, count: float | None = None) -> None:
        if targets.numel() == 0:
            raise ValueError(f"targets: expected some, got shape {tuple(targets.shape)}")
        self.check(targets)
        self.targets = targets
        self.count = math.prod(targets.shape[:-1]) if count is None else count
        if not self.count > 0:
            raise ValueError(f"count: expected more than 0, got {count}")

    def check(self, targets: Tensor) -> None:
        """Raise ValueError where targets cannot be those of this loss."""
        if not bool(targets.isfinite().all()):
            raise ValueError("targets: expected finite values")

    def sum(self, outputs: Tensor) -> Tensor:
        """The loss of outputs o, a float64 scalar: batches are large and differences small."""
        if outputs.shape != self.targets.shape:
            expected, got = [*self.targets.shape], [*outputs.shape]
            raise ValueError(f"outputs: expected shape {expected} as the targets have, got {got}")
        return self.each(outputs).sum(dtype=torch.float64)

    @abstractmethod
    def each(self, outputs: Tensor) -> Tensor:
        """The loss of each output or case."""

    @abstractmethod
    def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """(L∘g)''(o) times a direction in the space of outputs, of the shape of both."""

    @abstractmethod
    def root(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """S times noise, where S Sᵀ = (L∘g)''(o): of white noise it has that covariance."""


class Squared(MatchingLoss):
    """½ (o − y)², of linear outputs.

    Example:
        >>> float(Squared(torch.zeros(2, 3)).sum(torch.ones(2, 3)))
        3.0
    """

    def each(self, outputs: Tensor) -> Tensor:
        """½ (o − y)²."""
        return 0.5 * (outputs - self.targets).square()

    def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """The direction itself."""
        return direction

    def root(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """The noise itself."""
        return noise


class Bernoulli(MatchingLoss):
    """The cross entropy of σ(o) with targets from 0 to 1, ln(1 + eᵒ) − y o.

    Example:
        >>> round(float(Bernoulli(torch.ones(1, 1)).sum(torch.zeros(1, 1))), 4)
        0.6931
    """

    def check(self, targets: Tensor) -> None:
        """Targets are probabilities."""
        if not bool(((targets >= 0) & (targets <= 1)).all()):
            raise ValueError("targets: expected values from 0 to 1")

    def each(self, outputs: Tensor) -> Tensor:
        """−y ln σ(o) − (1 − y) ln σ(−o)."""
        return F.softplus(outputs) - self.targets * outputs

    def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """σ(o) σ(−o) times the direction."""
        p = outputs.sigmoid()
        return p * (1 - p) * direction

    def root(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """√(σ(o) σ(−o)) times the noise."""
        p = outputs.sigmoid()
        return (p * (1 - p)).sqrt() * noise


class Categorical(MatchingLoss):
    """The cross entropy of softmax(o) with probabilities y of classes, ln Σ_k exp o_k − yᵀo.

    Args:
        targets: y, [*cases, classes]; for classes that are known, `torch.nn.functional.one_hot`.
        count: see `MatchingLoss`.

    Example:
        >>> round(float(Categorical(torch.eye(4)[:1]).sum(torch.zeros(1, 4))), 4)
        1.3863
    """

    def check(self, targets: Tensor) -> None:
        """Targets of a case are probabilities that sum to one."""
        if not bool(((targets >= 0) & ((targets.sum(-1, keepdim=True) - 1).abs() < 1e-3)).all()):
            raise ValueError("targets: expected probabilities that sum to 1 along the last axis")

    def each(self, outputs: Tensor) -> Tensor:
        """−yᵀ ln softmax(o)."""
        return outputs.logsumexp(-1) - (self.targets * outputs).sum(-1)

    def curvature(self, outputs: Tensor, direction: Tensor) -> Tensor:
        """(diag p − p pᵀ) times the direction, p = softmax(o)."""
        p = outputs.softmax(-1)
        weighted = p * direction
        return weighted - p * weighted.sum(-1, keepdim=True)

    def root(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """(diag √p − p √pᵀ) times the noise."""
        p = outputs.softmax(-1)
        weighted = p.sqrt() * noise
        return weighted - p * weighted.sum(-1, keepdim=True)
