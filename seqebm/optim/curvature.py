"""Products with the Gauss–Newton matrix and with the Hessian of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from seqebm.optim.objective import (
    Batch,
    Held,
    Objective,
    Prediction,
    flat,
    refused_modules,
    summed,
)

Made = TypeVar("Made")


class Linearisation:
    """The linear map J from changes of the parameters to changes inside a network, at a point.

    Jᵀu is linear in the errors u; with its graph kept, its derivative with respect to them is J,
    so that both directions need nothing of the forward pass any more.

    Args:
        objective: whose parameters they are.
        prediction: of the forward pass that is linearised: J has rows for its outputs, and for what
            it holds.

    Raises:
        ValueError: outputs that do not depend on the parameters.
    """

    def __init__(self, objective: Objective, prediction: Prediction) -> None:
        self.objective = objective
        self.values = [prediction.outputs, *(held.values for held in prediction.held)]
        if not all(value.requires_grad for value in self.values):
            raise ValueError("forward: expected outputs that depend on the parameters")
        self._errors = [torch.zeros_like(v, requires_grad=True) for v in self.values]
        self._pulled = torch.autograd.grad(
            self.values,
            objective.parameters,
            self._errors,
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )

    def forward(self, vector: Tensor) -> list[Tensor]:
        """J times a vector [N]: of the outputs, and of each quantity that is held."""
        parts = self.objective.parts(vector)
        used = [(g, part) for g, part in zip(self._pulled, parts, strict=True) if g.requires_grad]
        pulled, parts = map(list, zip(*used, strict=True))
        return list(
            torch.autograd.grad(
                pulled,
                self._errors,
                parts,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        )

    def backward(self, errors: Sequence[Tensor]) -> Tensor:
        """Jᵀ times errors of the outputs, and of what is held if they are given, [N]."""
        gradients = torch.autograd.grad(
            self.values[: len(errors)],
            self.objective.parameters,
            list(errors),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return flat(gradients)


class _OverBatches(ABC, Generic[Made]):
    """A mean over batches of what each is made into once: kept where there is one batch.

    Of several each is made anew every time, so that memory is that of one.
    """

    def __init__(self, objective: Objective, batches: Sequence[Batch]) -> None:
        if not batches:
            raise ValueError("batches: expected at least one, got none")
        self.objective, self.batches = objective, batches
        self._kept = [self._made(batches[0])] if len(batches) == 1 else None

    @abstractmethod
    def _made(self, batch: Batch) -> tuple[Made, float]:
        """What a batch is made into, and the count of its loss."""

    def _mean(self, of_one: Callable[[Made], Tensor]) -> Tensor:
        """What a function gives of each batch, summed and divided by the sum of the counts."""
        kept = self._kept or (self._made(batch) for batch in self.batches)
        total, count = torch.zeros_like(self.objective.position), 0.0
        for made, cases in kept:
            total += of_one(made)
            count += cases
        return summed(total) / float(summed(total.new_tensor(count, dtype=torch.float64)))


class GaussNewton(_OverBatches[tuple[Linearisation, Prediction]]):
    """The matrix G = Jᵀ (L∘g)'' J, structurally damped, as a mean over batches, by its products.

        G v + structural · G_S v,     G_S = J_xᵀ (D∘e)'' J_x

    of Sutskever 2013, eq. 4.4 and sec. 4.2.3, where x is what the forward pass holds. Both come of
    the same two passes. One batch is run forward once and kept for all products; of several each is
    run anew for every product, so that memory is that of one.

    Args:
        objective: the objective.
        batches: over which it is a mean here.

    Raises:
        ValueError: see `Linearisation`; no batches.

    Example:
        >>> from seqebm.optim import Objective, Prediction, Squared
        >>> net, x = torch.nn.Linear(3, 1), torch.ones(5, 3)
        >>> forward = lambda x: Prediction(net(x), Squared(torch.zeros(5, 1)))
        >>> GaussNewton(Objective(net.parameters(), forward), [x]).product(torch.ones(4))
        tensor([4., 4., 4., 4.])
    """

    def product(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        """G times a vector [N]; `structural` is the weight λμ of G_S.

        Raises:
            ValueError: such a weight where nothing is held.
        """

        def of_one(made: tuple[Linearisation, Prediction]) -> Tensor:
            linear, at = made
            changes = linear.forward(vector)
            errors = [at.loss.curvature(at.outputs, changes[0])]
            if structural:
                if not at.held:
                    raise ValueError("structural: expected 0, for the forward pass holds nothing")
                pairs = zip(at.held, changes[1:], strict=True)
                errors += [(held.slopes * change).mul_(structural) for held, change in pairs]
            return linear.backward(errors)

        return self._mean(of_one)

    def diagonal(self, generator: torch.Generator | None = None) -> Tensor:
        """An unbiased estimate of the diagonal of G, [N], of one backward pass a batch.

        (Jᵀ S ε)² for random signs ε, drawn for all cases together, and S Sᵀ = (L∘g)'' (Martens,
        Sutskever and Swersky 2012).
        """

        def of_one(made: tuple[Linearisation, Prediction]) -> Tensor:
            linear, at = made
            signs = torch.randint(
                2, at.outputs.shape, generator=generator, device=at.outputs.device
            )
            noise = at.loss.root(at.outputs, 2.0 * signs.to(at.outputs) - 1)
            return linear.backward([noise]).square()

        return self._mean(of_one)

    def _made(self, batch: Batch) -> tuple[tuple[Linearisation, Prediction], float]:
        """The linear map of a forward pass, and the values it was taken at."""
        with refused_modules():
            prediction = self.objective.forward(batch)
        linear = Linearisation(self.objective, prediction)
        outputs, loss, held = prediction
        fixed = tuple(Held(one.values.detach(), one.slopes.detach()) for one in held)
        return (linear, Prediction(outputs.detach(), loss, fixed)), loss.count


class Hessian(_OverBatches[tuple[Tensor, ...]]):
    """The matrix f''(θ) of the objective itself, as a mean over batches, by its products.

    By double backward (Pearlmutter 1994): the gradient's graph is kept where there is one batch.
    It need not be positive. Structural damping is not for it.

    Args:
        objective: the objective, whose forward pass must be differentiable twice: not through
            `Cell.trace`.
        batches: over which it is a mean here.

    Raises:
        ValueError: no batches.
    """

    def product(self, vector: Tensor) -> Tensor:
        """f''(θ) times a vector [N]."""
        parameters, parts = self.objective.parameters, self.objective.parts(vector)

        def of_one(gradient: tuple[Tensor, ...]) -> Tensor:
            used = [(g, v) for g, v in zip(gradient, parts, strict=True) if g.requires_grad]
            return flat(
                torch.autograd.grad(
                    [g for g, _ in used],
                    parameters,
                    [v for _, v in used],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
            )

        return self._mean(of_one)

    def _made(self, batch: Batch) -> tuple[tuple[Tensor, ...], float]:
        """The gradient of a batch's summed loss, with its graph, and the loss' count."""
        with refused_modules():
            outputs, loss, _ = self.objective.forward(batch)
        gradient = torch.autograd.grad(
            loss.sum(outputs),
            self.objective.parameters,
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return gradient, loss.count
