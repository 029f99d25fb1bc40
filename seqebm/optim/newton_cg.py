"""Newton's method with truncated conjugate gradients, for comparison."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seqebm.optim.curvature import Hessian
from seqebm.optim.hessian_free import HessianFree, truncated
from seqebm.optim.second_order import Direction, Situation


class NewtonCG(HessianFree):
    """`HessianFree` with the true Hessian of f in the place of the Gauss–Newton matrix.

    The quadratic then need not have a minimum: conjugate gradients end at the first direction
    whose curvature, damped, is not positive, and where that is the first one the gradient is
    followed downhill (Dembo and Steihaug 1983). Sutskever (2013, sec. 4.2.2) says why the
    Gauss–Newton matrix is to be preferred.

    Args:
        params: the parameters, in one group.
        damping: λ to begin with.
        iterations: at most so many of conjugate gradients.

    Raises:
        ValueError: a setting out of its range, or several groups.

    Example:
        >>> import torch
        >>> from seqebm.optim import NewtonCG, Prediction, Squared
        >>> net, x, y = torch.nn.Linear(2, 1), torch.eye(2), torch.tensor([[1.0], [2.0]])
        >>> optimizer = NewtonCG(net.parameters(), damping=1e-6)
        >>> optimizer.step(lambda x: Prediction(net(x), Squared(y)), [x]).after < 1e-4
        True
    """

    def __init__(self, params: Iterable[Any], damping: float = 0.1, iterations: int = 300) -> None:
        super().__init__(params, damping, iterations=iterations, decay=0.0)

    def direction(self, here: Situation) -> Direction | None:
        """Conjugate gradients on the damped second-order model of f."""
        matrix = Hessian(here.objective, here.curvature)
        found = truncated(
            here,
            lambda v: matrix.product(v) + self.damping * v,
            None,
            None,
            self.settings["iterations"],
        )
        if found is not None:
            return found
        step = -here.gradient / self.damping  # what λ alone would make of it
        predicted = 0.5 * float(here.gradient.dot(step))
        return Direction(step, here.value(step), predicted, 1, 0, step)
