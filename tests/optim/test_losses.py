"""Tests of the matching losses: values, gradients and Hessians against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.optim import Bernoulli, Categorical, MatchingLoss, Squared

OUTPUTS = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LOSSES = {
    "squared": Squared(OUTPUTS.flip(0)),
    "bernoulli": Bernoulli(OUTPUTS.flip(0).sigmoid()),
    "categorical": Categorical(OUTPUTS.flip(0).softmax(-1)),
}
REFERENCES = {
    "squared": lambda o, y: 0.5 * F.mse_loss(o, y, reduction="sum"),
    "bernoulli": lambda o, y: F.binary_cross_entropy_with_logits(o, y, reduction="sum"),
    "categorical": lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(0, 1), reduction="sum"),
}


def dense(loss: MatchingLoss) -> Tensor:
    """The Hessian of a loss at `OUTPUTS`, by torch."""
    at = torch.autograd.functional.hessian(loss.sum, OUTPUTS)
    return at.reshape(OUTPUTS.numel(), OUTPUTS.numel())


def columns(function, loss: MatchingLoss) -> Tensor:
    """A linear function of directions in the space of outputs, as a matrix."""
    units = torch.eye(OUTPUTS.numel(), dtype=torch.float64).view(-1, *OUTPUTS.shape)
    return torch.stack([function(OUTPUTS, unit).flatten() for unit in units], dim=1)


@pytest.mark.parametrize("kind", LOSSES)
def test_value(kind: str) -> None:
    loss = LOSSES[kind]
    torch.testing.assert_close(loss.sum(OUTPUTS), REFERENCES[kind](OUTPUTS, loss.targets))


@pytest.mark.parametrize("kind", LOSSES)
def test_curvature_is_the_hessian(kind: str) -> None:
    loss = LOSSES[kind]
    torch.testing.assert_close(columns(loss.curvature, loss), dense(loss), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LOSSES)
def test_root_squared_is_the_hessian(kind: str) -> None:
    loss = LOSSES[kind]
    root = columns(loss.root, loss)
    torch.testing.assert_close(root @ root.t(), dense(loss), rtol=0, atol=1e-12)


def test_sums_are_float64() -> None:
    """A million small losses beside a large one, which float32 would lose."""
    outputs = torch.full((1_000_001, 1), 1e-3)
    outputs[0] = 1e3
    found = Squared(torch.zeros_like(outputs)).sum(outputs)
    assert float(found) == pytest.approx(0.5 * 1e6 + 0.5, abs=1e-3)


def test_counts() -> None:
    assert Squared(torch.zeros(3, 2, 4)).count == 6
    assert Categorical(torch.ones(3, 2, 1)).count == 6
    assert Bernoulli(torch.zeros(3, 2, 4), count=3).count == 3


def test_bad_targets() -> None:
    with pytest.raises(ValueError, match="targets: expected some, got shape"):
        Squared(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="targets: expected finite"):
        Squared(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="targets: expected values from 0 to 1"):
        Bernoulli(torch.tensor([[1.5]]))
    with pytest.raises(ValueError, match="targets: expected values from 0 to 1"):
        Bernoulli(torch.tensor([[float("nan")]]))
    for wrong in ([[0.5, 0.6]], [[-0.5, 1.5]], [[float("nan"), 1.0]]):
        with pytest.raises(ValueError, match="targets: expected probabilities that sum to 1"):
            Categorical(torch.tensor(wrong))
    with pytest.raises(ValueError, match="count: expected more than 0"):
        Squared(torch.zeros(2, 3), count=0)


@pytest.mark.parametrize("kind", LOSSES)
def test_bad_outputs(kind: str) -> None:
    with pytest.raises(ValueError, match=r"outputs: expected shape \[3, 2, 4\].*got \[3, 2, 1\]"):
        LOSSES[kind].sum(OUTPUTS[..., :1])
