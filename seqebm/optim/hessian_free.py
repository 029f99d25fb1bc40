"""Hessian-free optimisation with structural damping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from seqebm.optim.conjugate import Iterate, conjugate_gradients
from seqebm.optim.curvature import GaussNewton
from seqebm.optim.second_order import Direction, Report, SecondOrder, Situation

DAMPING = (1e-10, 1e10)  # between which λ stays
RAISE, LOWER = 3 / 2, 2 / 3  # λ is multiplied by: where ρ < 1/4, and where ρ > 3/4
PROGRESS, WINDOW = 5e-4, 10  # of the criterion by which conjugate gradients stop
LOOK = 1.3  # f is looked at when the number of iterations has grown by this factor
REDUCTION = 0.9  # of the largest reduction seen, below which conjugate gradients stop
POWER = 0.75  # of the diagonal that preconditions


class HessianFree(SecondOrder):
    """Hessian-free optimisation (Martens 2010), structurally damped (Sutskever 2013, chapter 4).

    A step minimises, by conjugate gradients, the quadratic

        q(δ) = f'(θ)ᵀδ + δᵀ (G + λ I + λμ G_S) δ / 2

    of eqs. 4.1, 4.2 and 4.7: G is the Gauss–Newton matrix of f, and G_S that of the change of what
    the forward pass holds (`Prediction.held`). Iterations stop when they make too little progress
    on q (Martens 2010, sec. 4.4), or when f on the checking batches is no longer lowered by 90% of
    the most that it was (Sutskever 2013, sec. 4.4), and the iterate that lowers f most is taken.
    The next step begins from this one's last iterate, times the rate of the step: a search that
    shortened it says that it was too long, and one that failed makes the next begin at zero.
    λ follows ρ (sec. 4.2.1), which counts as −∞ where f rises, and stays within bounds.

    Sums are divided by the count of the loss. The thesis' text, whose constants are λ = 0.1 and
    μ = 1/30, divides by sequences (`count=`); the code released with it by targets, and for tanh
    units it has a quarter of G_S.

    Args:
        params: the parameters, in one group.
        damping: λ to begin with.
        structural: μ; 0 damps all directions alike.
        iterations: at most so many of conjugate gradients.
        decay: of the last iterate, where the next step begins.
        precondition: whether the space is scaled by (diag G + λ)^(3/4) (Martens 2010, sec. 4.7),
            the diagonal by a random estimate. For recurrent networks it brings nothing.
        generator: source of randomness of that estimate.

    Raises:
        ValueError: a setting out of its range, or several groups.

    Example:
        >>> import torch
        >>> from seqebm.optim import HessianFree, Prediction, Squared
        >>> net = torch.nn.Linear(3, 1)
        >>> x, y = torch.eye(3), torch.tensor([[1.0], [2.0], [3.0]])
        >>> optimizer = HessianFree(net.parameters(), damping=1e-6)
        >>> report = optimizer.step(lambda batch: Prediction(net(batch), Squared(y)), [x])
        >>> net(x).detach().round(decimals=3).flatten()
        tensor([1., 2., 3.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        damping: float = 0.1,
        structural: float = 0.0,
        iterations: int = 300,
        decay: float = 0.95,
        precondition: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        low, high = DAMPING
        check_range("damping", damping, low, high)
        check_range("structural", structural, 0, math.inf)
        check_range("iterations", iterations, 1, math.inf)
        check_range("decay", decay, 0, 1)
        self.generator = generator
        settings = {
            "damping": damping,
            "structural": structural,
            "iterations": iterations,
            "decay": decay,
            "precondition": precondition,
        }
        super().__init__(params, settings)

    def direction(self, here: Situation) -> Direction | None:
        """Conjugate gradients on q."""
        damping = self.damping
        matrix = GaussNewton(here.objective, here.curvature)
        weight = damping * self.settings["structural"]
        warm, scale = here.remembered, None
        if self.settings["precondition"]:
            scale = (matrix.diagonal(self.generator) + damping).pow(POWER)
        return truncated(
            here,
            lambda v: matrix.product(v, weight) + damping * v,
            None if warm is None else self.settings["decay"] * warm,
            scale,
            self.settings["iterations"],
        )

    def adapt(self, report: Report) -> None:
        """The rule of Levenberg and Marquardt (Sutskever 2013, sec. 4.2.1)."""
        factor = RAISE if report.ratio < 1 / 4 else LOWER if report.ratio > 3 / 4 else 1.0
        low, high = DAMPING
        self.settings["damping"] = min(max(factor * report.damping, low), high)


def truncated(
    here: Situation,
    product: Callable[[Tensor], Tensor],
    start: Tensor | None,
    scale: Tensor | None,
    iterations: int,
) -> Direction | None:
    """Conjugate gradients on f'(θ)ᵀδ + δᵀB δ / 2, stopped early, at the iterate that lowers f most.

    Args:
        here: where the optimiser stands.
        product: with B.
        start: the first δ; None is zero.
        scale: see `conjugate_gradients`.
        iterations: at most so many.

    Returns:
        The direction, or None where there is no iterate.
    """
    steps = islice(conjugate_gradients(product, -here.gradient, start, scale), iterations)
    values: list[float] = []
    looked: list[Direction] = []

    def look(iterate: Iterate) -> float:
        """f at an iterate; whatever lowers it is a direction to go."""
        count, value = len(values), here.value(iterate.position)
        products = count + (start is not None)
        looked.append(
            Direction(iterate.position, value, iterate.value, products, count, iterate.position)
        )
        return value

    iterate = None
    for iterate in steps:
        values.append(iterate.value)
        if converged(values):
            break
        if not looked or len(values) >= LOOK * looked[-1].chosen:
            reduction = here.before - look(iterate)
            most = max(here.before - one.value for one in looked)
            if most > 0 and reduction < REDUCTION * most:
                break
    if iterate is None:
        return None
    if looked[-1].chosen < len(values):
        look(iterate)
    best, last = min(looked, key=lambda one: one.value), looked[-1]
    return best._replace(products=last.products, remembered=last.step)


def converged(values: list[float]) -> bool:
    """Whether the last of these φ has gained too little in k iterations (Martens 2010, sec. 4.4).

    (φ(x_i) − φ(x_{i−k})) / φ(x_i) < 0.0005 k for k = max(10, i/10) (Martens' own constants).
    """
    window = max(WINDOW, len(values) // 10)
    if len(values) <= window or values[-1] >= 0:
        return False
    return (values[-1] - values[-1 - window]) / values[-1] < window * PROGRESS


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError where a setting is out of its range."""
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")
