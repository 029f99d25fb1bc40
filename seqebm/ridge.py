"""Ridge regression from sums of products, so that nobody holds all inputs at once.

y ≈ b + W x with the smallest Σ|y − b − W x|² + λ |W|², in float64 on the CPU. b is free; λ is given
relative to the mean diagonal of the centred Gram matrix of the inputs, and so means the same
whatever their number and their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class NormalEquations(NamedTuple):
    """Centred second moments of inputs x and targets y; made by `centred`.

    Attributes:
        pairs: how many.
        x_mean: [inputs].
        y_mean: [outputs].
        xx: Σ (x − x̄)(x − x̄)ᵀ.
        xy: Σ (x − x̄)(y − ȳ)ᵀ.
        yy: Σ (y − ȳ)², [outputs].
        rounding: how wrong eigenvalues of xx may be.
    """

    pairs: Tensor
    x_mean: Tensor
    y_mean: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor
    rounding: Tensor


class Solution(NamedTuple):
    """y ≈ y_mean + (x − x_mean) weight.

    Attributes:
        weight: [inputs, outputs].
        x_mean: [inputs].
        y_mean: [outputs].
        penalty: λ, relative.
    """

    weight: Tensor
    x_mean: Tensor
    y_mean: Tensor
    penalty: float


def check_penalty(penalty: float | None) -> None:
    """Raise where a penalty is neither None nor a finite number of at least 0."""
    if penalty is not None and not 0 <= penalty < math.inf:
        raise ValueError(f"penalty: expected a finite number of at least 0, got {penalty}")


def centred(
    pairs: Tensor, x_sum: Tensor, y_sum: Tensor, xx: Tensor, xy: Tensor, yy: Tensor
) -> NormalEquations:
    """Normal equations from sums over the pairs: of ones, x, y, x xᵀ, x yᵀ and y².

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]).double(), torch.tensor([[1.0], [5.0]]).double()
        >>> sums = x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.square().sum(0)
        >>> round(solve(centred(torch.tensor(2.0), *sums), penalty=0.0).weight.item(), 6)
        2.0
    """
    x_mean, y_mean = x_sum / pairs, y_sum / pairs
    limits = torch.finfo(xx.dtype)
    return NormalEquations(
        pairs,
        x_mean,
        y_mean,
        xx - pairs * x_mean.outer(x_mean),
        xy - pairs * x_mean.outer(y_mean),
        yy - pairs * y_mean**2,
        rounding=xx.trace() * limits.eps + limits.tiny,
    )


def solve(equations: NormalEquations, penalty: float) -> Solution:
    """Ridge regression; rounding is added to the diagonal so that it stays positive definite."""
    from scipy.linalg import cho_factor, cho_solve

    gram = equations.xx.clone()
    diagonal = gram.diagonal()
    diagonal += penalty * diagonal.mean() + equations.rounding
    factor = cho_factor(gram.numpy(), overwrite_a=True, check_finite=False)
    weight = torch.from_numpy(cho_solve(factor, equations.xy.numpy(), check_finite=False))
    return Solution(weight, equations.x_mean, equations.y_mean, penalty)


def squared_errors(fit: Solution, data: NormalEquations) -> Tensor:
    """Σ(y − prediction)² of every output, from the moments of the data alone, [outputs]."""
    offset = data.y_mean - fit.y_mean - (data.x_mean - fit.x_mean) @ fit.weight
    explained = (fit.weight * (2 * data.xy - data.xx @ fit.weight)).sum(0)
    return data.yy - explained + data.pairs * offset**2


def best_penalty(
    training: NormalEquations, held: NormalEquations, penalties: Sequence[float]
) -> float:
    """The penalty whose fit on `training` has the smallest squared error on `held`."""
    errors = [float(squared_errors(solve(training, one), held).sum()) for one in penalties]
    return penalties[errors.index(min(errors))]
