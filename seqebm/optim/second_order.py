"""What optimisers that look at curvature have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqebm.optim.objective import Batch, Forward, Objective, flat

SHRINK, TRIES = 0.8, 60  # of a line search


class Report(NamedTuple):
    """What happened in a step.

    Attributes:
        loss: f(θ) before the step, on the batches of the gradient.
        gradient_norm: of f'(θ), on the same.
        before: f(θ) on the checking batches.
        after: f after the step, on the checking batches.
        predicted: q(δ), what the quadratic made of the direction δ, below zero; not a number for
            methods that have no such prediction.
        ratio: ρ = (f(θ + δ) − f(θ)) / q(δ) (Sutskever 2013, eq. 4.3), −∞ where f rises.
        damping: λ in this step.
        products: products with the curvature matrix.
        chosen: the iteration of conjugate gradients whose direction was taken.
        rate: α: the step was α δ; 0 where nothing lowered f and the parameters stay.
    """

    loss: float
    gradient_norm: float
    before: float
    after: float
    predicted: float
    ratio: float
    damping: float
    products: int
    chosen: int
    rate: float

    def record(self) -> dict[str, float]:
        """Itself as a part of a training's history: step_loss and so on."""
        return {f"step_{name}": value for name, value in self._asdict().items()}


def shown(record: Mapping[str, float]) -> dict[str, str]:
    """What a progress bar tells of a report that is part of a record; nothing where none is."""
    if "step_damping" not in record:
        return {}
    told = {"λ": f"{record['step_damping']:.2g}", "ρ": f"{record['step_ratio']:.2f}"}
    return {**told, "CG": str(record["step_products"])}


class Direction(NamedTuple):
    """Where a method wants to go.

    Attributes:
        step: δ, [N].
        value: f(θ + δ) on the checking batches.
        predicted: see `Report`.
        products: see `Report`.
        chosen: see `Report`.
        remembered: what the next step begins from, [N].
    """

    step: Tensor
    value: float
    predicted: float
    products: int
    chosen: int
    remembered: Tensor


class Situation(NamedTuple):
    """Where an optimiser stands.

    Attributes:
        objective: f.
        gradient: f'(θ), [N].
        curvature: batches of the curvature matrix.
        check: the checking batches.
        before: f(θ) on these.
        remembered: from the step before, [N]; None where that left nothing.
    """

    objective: Objective
    gradient: Tensor
    curvature: Sequence[Batch]
    check: Sequence[Batch]
    before: float
    remembered: Tensor | None

    def value(self, step: Tensor) -> float:
        """f(θ + δ) on the checking batches."""
        with self.objective.moved_to(self.objective.position + step):
            return self.objective.value(self.check)


class SecondOrder(torch.optim.Optimizer, ABC):
    """An optimiser that is told how to run the network, to look at its curvature by itself.

    It is an optimiser of torch, with `state_dict` and `load_state_dict`; only `step` asks for more
    than a closure. All parameters are in one group.

    Args:
        params: the parameters, as for any optimiser of torch.
        defaults: settings of the group, "damping" among them.

    Raises:
        ValueError: several groups.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the only group."""
        if self.param_groups:
            raise ValueError("params: expected one group, for curvature couples all parameters")
        super().add_param_group(param_group)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the group; changes count from the next step on."""
        return self.param_groups[0]

    def step(  # type: ignore[override]
        self,
        forward: Forward,
        gradient: Sequence[Batch],
        curvature: Sequence[Batch] | None = None,
        check: Sequence[Batch] | None = None,
    ) -> Report:
        """Go one step.

        Args:
            forward: function from a batch to a `Prediction`: outputs and what they cost. It must
                give the same at every call.
            gradient: batches over which f and its gradient are means; as many as wanted: they are
                met one at a time.
            curvature: batches of the curvature matrix; None takes those of the gradient. Usually
                a part of them. One batch alone is run forward once for all products.
            check: batches on which steps must lower f; None takes those of the curvature.

        Returns:
            What happened.

        Raises:
            ValueError: no batches, or a forward pass that changes from call to call.
            FloatingPointError: f or its gradient is not finite where the step begins.
        """
        curvature = gradient if curvature is None else curvature
        check = curvature if check is None else check
        parameters = [p for p in self.settings["params"] if p.requires_grad]
        objective = Objective(parameters, forward)
        loss, slope = objective.gradient(gradient)
        before = objective.value(check)
        if check is gradient and not math.isclose(before, loss, rel_tol=1e-3, abs_tol=1e-6):
            raise ValueError(
                f"forward: expected the same at every call, got {loss:g} and then {before:g} "
                "for the same batches"
            )
        norm = float(slope.norm())
        report = Report(loss, norm, before, before, 0.0, 0.0, self.damping, 0, 0, 0.0)
        if not norm:
            return report
        here = Situation(objective, slope, curvature, check, before, self._remembered(parameters))
        found = self.direction(here)
        if found is None:  # no curvature to be had
            self._remember(objective, torch.zeros_like(slope))
            report = report._replace(ratio=-math.inf)
        else:
            report = self._go(here, found, report)
        self.adapt(report)
        return report

    @property
    def damping(self) -> float:
        """λ."""
        return float(self.settings["damping"])

    @abstractmethod
    def direction(self, here: Situation) -> Direction | None:
        """Where to go; None where the curvature matrix gives nothing finite to go by."""

    def adapt(self, report: Report) -> None:
        """Learn from what happened."""

    def _go(self, here: Situation, found: Direction, report: Report) -> Report:
        """Search along the direction for a lower f, and go there."""
        rate, after = line_search(
            lambda rate: here.value(rate * found.step), found.value, here.before
        )
        change = found.value - here.before
        objective = here.objective
        objective.move_to(objective.position + rate * found.step)
        self._remember(objective, rate * found.remembered)
        return report._replace(
            after=after,
            predicted=found.predicted,
            ratio=change / found.predicted if change < 0 else -math.inf,
            products=found.products,
            chosen=found.chosen,
            rate=rate,
        )

    def _remembered(self, parameters: list[Tensor]) -> Tensor | None:
        """What the last step left, if anything."""
        vector = flat(self.state[p].get("direction", torch.zeros_like(p)) for p in parameters)
        return vector if bool(vector.any()) else None

    def _remember(self, objective: Objective, vector: Tensor) -> None:
        """Keep a vector for the next step, in the pieces that a state_dict knows."""
        for parameter, part in zip(objective.parameters, objective.parts(vector), strict=True):
            self.state[parameter]["direction"] = part.clone()


def line_search(
    value: Callable[[float], float], whole: float, before: float
) -> tuple[float, float]:
    """The first rate of 1, 0.8, 0.8² … that lowers f.

    Args:
        value: f of a rate.
        whole: f of the rate 1, which is known.
        before: f of the rate 0.

    Returns:
        The rate, and f there; 0 and `before` where none of `TRIES` lowers f.
    """
    rate, here = 1.0, whole
    for _ in range(TRIES):
        if here < before:
            return rate, here
        rate *= SHRINK
        here = value(rate)
    return 0.0, before
