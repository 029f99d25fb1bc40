"""Hessian-free optimisation damped by searching along every conjugate direction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch

from seqebm.optim.conjugate import conjugate_gradients
from seqebm.optim.curvature import GaussNewton
from seqebm.optim.hessian_free import DAMPING, check_range, converged
from seqebm.optim.second_order import Direction, SecondOrder, Situation

SHRINK, HALVINGS = 0.5, 6  # of the search along a direction


class AugmentedHessianFree(SecondOrder):
    """Each conjugate direction is followed as far as it lowers f itself.

    Conjugate directions c_i lower a quadratic independently of each other, so that f, which the
    quadratic resembles, can be lowered along one after the other: the parameters move by
    Σ_i ε_i α_i c_i, where α_i is the rate of conjugate gradients and ε_i comes of a backtracking
    search of f (Sutskever 2013, sec. 6.2; line-search damping). It takes the place of λ and of
    stopping early. The last step is the first direction of the next, and all others are made
    conjugate to it (an augmented Krylov space; Erhel and Guyomarc'h 2000).

    Every direction costs evaluations of f, about three on the checking batches.

    Args:
        params: the parameters, in one group.
        damping: λ, small and fixed: it keeps directions without curvature finite.
        structural: μ, the weight of structural damping beside λ: λμ G_S.
        iterations: at most so many directions.

    Raises:
        ValueError: a setting out of its range, or several groups.

    Example:
        >>> import torch
        >>> from seqebm.optim import AugmentedHessianFree, Prediction, Squared
        >>> net, x, y = torch.nn.Linear(2, 1), torch.eye(2), torch.tensor([[1.0], [2.0]])
        >>> optimizer = AugmentedHessianFree(net.parameters(), damping=1e-6)
        >>> optimizer.step(lambda x: Prediction(net(x), Squared(y)), [x]).after < 1e-4
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        damping: float = 1e-3,
        structural: float = 0.0,
        iterations: int = 100,
    ) -> None:
        check_range("damping", damping, *DAMPING)
        check_range("structural", structural, 0, math.inf)
        check_range("iterations", iterations, 1, math.inf)
        super().__init__(
            params, {"damping": damping, "structural": structural, "iterations": iterations}
        )

    def direction(self, here: Situation) -> Direction | None:
        """The sum of the searched directions."""
        matrix = GaussNewton(here.objective, here.curvature)
        weight = self.damping * self.settings["structural"]
        step, value = torch.zeros_like(here.gradient), here.before
        values: list[float] = []
        iterates = conjugate_gradients(
            lambda v: matrix.product(v, weight) + self.damping * v,
            -here.gradient,
            first=here.remembered,
        )
        for iterate in islice(iterates, self.settings["iterations"]):
            values.append(iterate.value)
            step, value = self._searched(here, step, value, iterate.rate * iterate.direction)
            if converged(values):
                break
        if not values:
            return None
        return Direction(step, value, math.nan, len(values), len(values), step)

    def _searched(
        self, here: Situation, step: torch.Tensor, value: float, change: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """The step with as much of a change as lowers f most, of 1, 1/2, 1/4 … and nothing.

        A change that is too long by far is halved until f falls, then as long as f goes on falling.
        """
        rate, best, lowest = 1.0, step, value
        for _ in range(HALVINGS):
            moved = step + rate * change
            reached = here.value(moved)
            if reached < lowest:
                best, lowest = moved, reached
            elif lowest < value:
                break
            rate *= SHRINK
        return best, lowest
