"""Momentum and Nesterov's accelerated gradient, with a rate and a momentum for each step.

Both take any schedules by their entries "lr" and "momentum", as `seqebm.fit` sets them. Torch's
optimiser `SGD` is the same only while both are constant: its learning rate also scales the velocity
gathered before, and it looks ahead with the momentum of the step that is over.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class _Accelerated(torch.optim.Optimizer):
    """What both methods have in common: a direction for each parameter, kept from step to step."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.9) -> None:
        if not 0 <= lr < math.inf:
            raise ValueError(f"lr: expected a finite number of at least 0, got {lr}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum: expected a number from 0 to 1, got {momentum}")
        # the last loss is an entry of the groups because these are what checkpoints keep
        super().__init__(params, {"lr": lr, "momentum": momentum, "last_loss": math.inf})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, with the gradients that the parameters have or get from `closure`.

        Parameters without a gradient stay as they are.

        Returns:
            What `closure` gave.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    kept = self._kept(parameter)
                    self._move(parameter, gradient, kept, group["lr"], group["momentum"])
        return loss

    @abstractmethod
    def _move(
        self, parameter: Tensor, gradient: Tensor, kept: Tensor, lr: float, momentum: float
    ) -> None:
        """Change a parameter and its direction."""

    def _kept(self, parameter: Tensor) -> Tensor:
        """The direction of a parameter, zero at first."""
        state = self.state[parameter]
        if "direction" not in state:
            state["direction"] = torch.zeros_like(parameter)
        return state["direction"]

    @contextmanager
    def at_theta(self) -> Iterator[None]:
        """Within it the parameters are θ_t; afterwards exactly what they were before."""
        yield

    @torch.no_grad()
    def restart(self) -> None:
        """Set the velocity to zero; the parameters are θ_t then."""
        for parameter in self.state:
            self._kept(parameter).zero_()

    def restart_on_increase(self, loss: float | Tensor) -> bool:
        """Restart where the objective rose (O'Donoghue and Candès 2012; Sutskever 2013, sec. 7.5).

        To be called after every step with f(θ_t). For a smooth and strongly convex f the method of
        Nesterov's momentum then converges at nearly the rate of the best constant momentum, without
        knowing it. The momentum begins again too, so its schedule must count the steps since the
        last restart. On losses of minibatches it is of no use, as the thesis found.

        Returns:
            Whether the loss was larger than the one before, and the velocity is zero now.

        Example:
            >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
            >>> curvature, begin, restarts = torch.tensor([0.01, 1.0]), 0, 0
            >>> optimizer = NAG([x], lr=1.0)
            >>> for step in range(300):
            ...     optimizer.param_groups[0]["momentum"] = 1 - 3 / (step - begin + 5)
            ...     x.grad = curvature * x.detach()
            ...     optimizer.step()
            ...     with optimizer.at_theta():
            ...         loss = float(curvature @ x.detach() ** 2) / 2
            ...     if optimizer.restart_on_increase(loss):
            ...         begin, restarts = step + 1, restarts + 1
            >>> loss < 1e-9, restarts > 2
            (True, True)
        """
        (first, *_) = self.param_groups
        value = loss.item() if isinstance(loss, Tensor) else loss
        rose = value > first["last_loss"]
        first["last_loss"] = value
        if rose:
            self.restart()
        return rose


class Momentum(_Accelerated):
    """v_t = μ_t v_{t−1} − ε_t ∇f(θ_{t−1}) and θ_t = θ_{t−1} + v_t (Sutskever 2013, eqs. 7.1–7.2).

    Args:
        params: parameters, or groups of them, as for any optimiser of torch.
        lr: ε, at least 0.
        momentum: μ, from 0 to 1.

    Raises:
        ValueError: a rate or a momentum out of range.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = Momentum([weight], lr=0.1, momentum=0.5)
        >>> for rate in (0.1, 0.2):
        ...     optimizer.param_groups[0]["lr"] = rate
        ...     weight.grad = torch.tensor([1.0])
        ...     optimizer.step()  # v is −0.1, then −0.05 − 0.2
        >>> weight.detach()
        tensor([0.6500])
    """

    def _move(
        self, parameter: Tensor, gradient: Tensor, kept: Tensor, lr: float, momentum: float
    ) -> None:
        kept.mul_(momentum).sub_(gradient, alpha=lr)
        parameter.add_(kept)


class NAG(_Accelerated):
    """Nesterov's accelerated gradient (Sutskever 2013, eqs. 7.4–7.8 and 7.12–7.13).

    v_t = μ_{t−1} v_{t−1} − ε_t ∇f(θ_{t−1} + μ_{t−1} v_{t−1}) and θ_t = θ_{t−1} + v_t

    The parameters are kept where the next gradient is wanted, at y_{t+1} = θ_t + μ_t v_t, so that
    any loop for training may be used. All that is remembered besides is μ_t v_t: the next velocity
    needs nothing else, and θ_t is the difference of both. So a step needs ε_t and the momentum μ_t
    *after* it, and the entries of the groups at step t = 0, 1 … are those of Nesterov's iteration t
    (eqs. 7.4 and 7.6), with μ_t = (a_t − 1) / a_{t+1} or 1 − 3/(t + 5). The first velocity is 0,
    so nothing looks ahead before step 0. (The printed eq. 7.12 has ε_{t−1} where eq. 7.4 has ε_t.)

    `at_theta` gives θ_t for an evaluation; `restart` leaves the parameters there when training is
    over. A checkpoint holds y_{t+1} and μ_t v_t, from which training goes on bit for bit.

    Args:
        params: parameters, or groups of them, as for any optimiser of torch.
        lr: ε, at least 0.
        momentum: μ, from 0 to 1.

    Raises:
        ValueError: a rate or a momentum out of range.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = NAG([weight], lr=0.1, momentum=0.5)
        >>> weight.grad = torch.tensor([1.0])
        >>> optimizer.step()  # v is −0.1
        >>> weight.detach()
        tensor([0.8500])
        >>> with optimizer.at_theta():
        ...     weight.detach().clone()
        tensor([0.9000])
    """

    def _move(
        self, parameter: Tensor, gradient: Tensor, kept: Tensor, lr: float, momentum: float
    ) -> None:
        kept.sub_(gradient, alpha=lr)  # μ_{t−1} v_{t−1} becomes v_t
        parameter.sub_(gradient, alpha=lr).add_(kept, alpha=momentum)
        kept.mul_(momentum)

    @contextmanager
    def at_theta(self) -> Iterator[None]:
        """Within it the parameters are θ_t; afterwards exactly what they were before.

        Gradients must not be taken within it.
        """
        ahead = {parameter: parameter.detach().clone() for parameter in self.state}
        self._back()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in ahead.items():
                    parameter.copy_(value)

    def restart(self) -> None:
        """Set the velocity to zero; the parameters are θ_t then."""
        self._back()
        super().restart()

    @torch.no_grad()
    def _back(self) -> None:
        """Move the parameters from y_{t+1} to θ_t."""
        for parameter in self.state:
            parameter.sub_(self._kept(parameter))
