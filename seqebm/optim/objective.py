"""An objective over batches as a function of one flat vector of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from seqebm.optim.losses import MatchingLoss

Batch = Any  #: whatever a forward pass takes


class Held(NamedTuple):
    """A quantity inside a network whose change structural damping penalises.

    Attributes:
        values: x, such as the total inputs of hidden units.
        slopes: the diagonal of the Hessian of the distance (D∘e)(x) at x, of the same shape: where
            D matches the nonlinearity e that is e'(x).
    """

    values: Tensor
    slopes: Tensor


class Prediction(NamedTuple):
    """What a forward pass over a batch gives.

    Attributes:
        outputs: the total inputs o of the output units, [*cases, n], with their graph.
        loss: what they cost.
        held: what structural damping holds, if anything.
    """

    outputs: Tensor
    loss: MatchingLoss
    held: tuple[Held, ...] = ()


Forward = Callable[[Batch], Prediction]


class Objective:
    """f(θ): the mean loss of a forward pass over batches.

    A mean is a sum over all batches, divided by the sum of their losses' counts; batches are met
    one at a time, so memory is that of one. Inside a process group of `torch.distributed` the sums
    go over the batches of all processes.

    Args:
        parameters: θ.
        forward: the pass; it must give the same for the same batch and parameters every time.

    Raises:
        ValueError: no parameters, or such on several devices or of several dtypes.
    """

    def __init__(self, parameters: Iterable[Tensor], forward: Forward) -> None:
        self.parameters = list(parameters)
        self.forward = forward
        if not self.parameters:
            raise ValueError("parameters: expected some, got none")
        kinds = {(p.device, p.dtype) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(
                f"parameters: expected one device and dtype, got {sorted(map(str, kinds))}"
            )

    @property
    def position(self) -> Tensor:
        """θ, [N], a copy."""
        return flat(self.parameters)

    @torch.no_grad()
    def move_to(self, position: Tensor) -> None:
        """Set θ."""
        for parameter, part in zip(self.parameters, self.parts(position), strict=True):
            parameter.copy_(part)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """A flat vector in pieces of the parameters' shapes."""
        pieces = vector.split([p.numel() for p in self.parameters])
        return [piece.view_as(p) for piece, p in zip(pieces, self.parameters, strict=True)]

    def value(self, batches: Sequence[Batch]) -> float:
        """f(θ), in float64; infinity where it is not a number."""
        total = torch.zeros(2, dtype=torch.float64, device=self.parameters[0].device)
        with torch.no_grad():
            for batch in batches:
                outputs, loss, _ = self.forward(batch)
                total += _pair(loss.sum(outputs), loss)
        mean = _mean(summed(total))
        return math.inf if math.isnan(mean) else mean

    @contextmanager
    def moved_to(self, position: Tensor) -> Iterator[None]:
        """θ is elsewhere inside.

        Other values are put under the parameters meanwhile, and theirs back: writing into them
        would spoil the graphs that curvature is kept in.
        """
        kept = [p.data for p in self.parameters]
        try:
            for parameter, part in zip(self.parameters, self.parts(position), strict=True):
                parameter.data = part
            yield
        finally:
            for parameter, data in zip(self.parameters, kept, strict=True):
                parameter.data = data

    def gradient(self, batches: Sequence[Batch]) -> tuple[float, Tensor]:
        """f(θ) and f'(θ), [N].

        Raises:
            ValueError: a forward pass with dropout or batch normalisation in training, or one whose
                outputs do not depend on the parameters.
            FloatingPointError: a value or gradient that is not finite.
        """
        total = torch.zeros(2, dtype=torch.float64, device=self.parameters[0].device)
        gradient = torch.zeros_like(self.position)
        for batch in batches:
            with refused_modules():
                outputs, loss, _ = self.forward(batch)
            if not outputs.requires_grad:
                raise ValueError("forward: expected outputs that depend on the parameters")
            value = loss.sum(outputs)
            gradient += flat(
                torch.autograd.grad(
                    value, self.parameters, allow_unused=True, materialize_grads=True
                )
            )
            total += _pair(value.detach(), loss)
        gradient, total = summed(gradient), summed(total)
        mean = _mean(total)
        if not (math.isfinite(mean) and bool(gradient.isfinite().all())):
            raise FloatingPointError(f"objective: expected a finite value and gradient, got {mean}")
        return mean, gradient / total[1].to(gradient.dtype)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Tensors in one vector, without their graph."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes, where there are several."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def _pair(value: Tensor, loss: MatchingLoss) -> Tensor:
    """A sum and what it is to be divided by."""
    return torch.stack([value, torch.full_like(value, loss.count)])


def _mean(total: Tensor) -> float:
    """A sum divided by its count."""
    value, count = total.tolist()
    if not count:
        raise ValueError("batches: expected at least one, got none")
    return float(value / count)


@contextmanager
def refused_modules() -> Iterator[None]:
    """Raise ValueError inside where a module is called whose outputs change from call to call."""

    def check(module: nn.Module, inputs: Any) -> None:
        changing = isinstance(module, _DropoutNd) and module.p > 0
        changing |= isinstance(module, nn.RNNBase) and module.dropout > 0
        changing |= isinstance(module, _NormBase) and module.track_running_stats
        if module.training and changing:
            raise ValueError(
                f"forward: {module} in training gives something else at every call, which no "
                "method of second order can follow; switch it off with eval()"
            )

    hook = nn.modules.module.register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        hook.remove()
