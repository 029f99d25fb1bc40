"""Neural autoregressive distribution estimators: frames whose units depend on each other."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqebm import likelihood
from seqebm.checks import check_generator
from seqebm.gibbs import overlaid
from seqebm.models.conditionals import (
    AVERAGED,
    EXACT_MEAN,
    Conditional,
    Factorial,
    check_method,
)
from seqebm.optim.initialisations import small_parameter
from seqebm.units import Bernoulli, Units

ORDERS = 8  #: that an orderless NADE takes its units in


class NADE(nn.Module):
    """The neural autoregressive distribution estimator of Larochelle and Murray (2011).

    p(v) = Π_i p(v_i | v_<i): an exact distribution in which hidden units tie the units of a frame
    together. Behind a recurrent network its two biases differ from row to row, and it makes the
    RNN-NADE of Boulanger-Lewandowski, Bengio and Vincent (2012):

        p(v_i = 1 | v_<i) = σ(b_i + V_i σ(c + Σ_{j<i} W_j v_j))

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units.

    Attributes:
        weight: W, [hidden, visible].
        output_weight: V, [visible, hidden].
        known_weight: None, see `OrderlessNADE`.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> import seqebm
        >>> model = seqebm.RNN(nn.LSTM(9, 8, batch_first=True), NADE(9, 5))
        >>> model.loss(torch.rand(2, 7, 9).round()).backward()
        >>> model.log_prob(torch.ones(2, 7, 9)).shape
        torch.Size([2, 7])
    """

    kind = "nade"
    known_weight: nn.Parameter | None

    def __init__(self, n_visible: int, n_hidden: int) -> None:
        super().__init__()
        for name, size in {"n_visible": n_visible, "n_hidden": n_hidden}.items():
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
        self.visible: Units = Bernoulli(n_visible)
        self.n_inputs = n_visible + n_hidden
        self.spec = f"{self.kind}:{n_hidden}"
        self.weight = small_parameter(n_hidden, n_visible, std=n_visible**-0.5)
        self.output_weight = small_parameter(n_visible, n_hidden, std=n_hidden**-0.5)
        self.known_weight = None

    @property
    def orders(self) -> list[list[int]]:
        """Lists of all units in the order they are taken; each list is as likely as the others."""
        return [[*range(self.visible.size)]]

    def forward(self, x: Tensor) -> AutoregressiveFrame:
        """The distributions whose biases b and c are x, [*rows, visible + hidden]."""
        return AutoregressiveFrame(self, *self._biases(x))

    def _biases(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, c = x.split([self.visible.size, len(self.weight)], dim=-1)
        return b, c


class OrderlessNADE(NADE):
    """A NADE that takes its units in any order (Uria, Murray and Larochelle 2014).

    It learns to tell the units of a frame that are not known from those that are, whichever these
    are: its loss draws them, and on average it is −log p(v) averaged over all orders. That takes
    two products where a NADE takes a step for every unit. Hidden units are told which units are
    known by weights of their own,

        p(v_i = 1 | v_known) = σ(b_i + V_i σ(c + Σ_{j known} (W_j v_j + M_j)))

    Likelihoods and samples are those of the even mixture of eight orders, always the same ones,
    which is better than any of them. Missing units are filled in or drawn from all that are known.

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units.

    Attributes:
        weight: W, [hidden, visible].
        output_weight: V, [visible, hidden].
        known_weight: M, [hidden, visible].

    Raises:
        ValueError: a size below 1.

    Example:
        >>> import seqebm
        >>> model = seqebm.RNN(nn.GRU(9, 8, batch_first=True), OrderlessNADE(9, 5))
        >>> model.loss(torch.rand(2, 7, 9).round()).backward()
        >>> model.sample(3).shape
        torch.Size([1, 3, 9])
    """

    kind = "orderless-nade"

    def __init__(self, n_visible: int, n_hidden: int) -> None:
        super().__init__(n_visible, n_hidden)
        self.known_weight = small_parameter(n_hidden, n_visible)

    @property
    def orders(self) -> list[list[int]]:
        """Lists of all units in the order they are taken; each list is as likely as the others."""
        return _shuffled(self.visible.size)

    def forward(self, x: Tensor) -> OrderlessFrame:
        """The distributions whose biases b and c are x, [*rows, visible + hidden]."""
        return OrderlessFrame(self, *self._biases(x))


@functools.cache
def _shuffled(n: int) -> list[list[int]]:
    """Orders of n units; Python's `random.random` gives the same numbers in all its versions."""
    source = random.Random(n)
    return [sorted(range(n), key=lambda _: source.random()) for _ in range(ORDERS)]


def make_nade(spec: str, n_visible: int) -> NADE:
    """The NADE that "nade:50" or "orderless-nade:50" stands for.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> make_nade("orderless-nade:5", 9).spec
        'orderless-nade:5'
    """
    kind, _, hidden = spec.partition(":")
    kinds = {made.kind: made for made in (NADE, OrderlessNADE)}
    if kind not in kinds or not hidden.isdecimal():
        raise ValueError(f"conditional: expected nade:HIDDEN, orderless-nade:HIDDEN, got {spec!r}")
    return kinds[kind](n_visible, int(hidden))


def checked_nade(nade: NADE, n_visible: int) -> NADE:
    """The NADE, which must have as many units; a ValueError otherwise."""
    if nade.visible.size != n_visible:
        raise ValueError(f"conditional: expected {n_visible} units, got {nade.visible.size}")
    return nade


@dataclass(frozen=True)
class AutoregressiveFrame(Conditional):
    """A NADE with its own biases in every row.

    Args:
        nade: its weights and orders.
        visible_bias: b, [*rows, visible].
        hidden_bias: c, [*rows, hidden].
        temperature: τ, by which the total input of each unit is divided.
    """

    nade: NADE
    visible_bias: Tensor
    hidden_bias: Tensor
    temperature: float = 1.0

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        return -self.log_prob(frames, "exact")

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        check_method(method, ("auto", "exact"))
        ordered = torch.stack([self._log_prob_in(order, frames) for order in self.nade.orders])
        return ordered.logsumexp(0) - math.log(len(ordered))

    def _log_prob_in(self, order: list[int], frames: Tensor) -> Tensor:
        """log p(v) where units are taken in this order, [*rows]."""
        rows = torch.broadcast_shapes(frames.shape[:-1], self.visible_bias.shape[:-1])
        v, b = frames[..., order], self.visible_bias[..., order]
        known = self.nade.known_weight
        x = b + AutoregressiveDrive.apply(
            v.expand(*rows, -1).reshape(-1, v.shape[-1]),
            self.hidden_bias.expand(*rows, -1).reshape(-1, self.hidden_bias.shape[-1]),
            self.nade.weight.t()[order],
            self.nade.output_weight[order],
            None if known is None else known.t()[order],
        ).view(*rows, -1)
        return self.nade.visible.log_prob(v, x / self.temperature)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        check_method(method, ("auto", *self._means()))
        if method == "auto":
            method = "exact" if self.nade.visible.size <= EXACT_MEAN else "mean_field"
        return self._means()[method](generator)

    def _means(self) -> dict[str, Callable[[torch.Generator | None], Tensor]]:
        """The ways to find E[v], by name."""
        unknown = torch.full_like(self.visible_bias, torch.nan)
        return {
            "exact": lambda _: self._exact_mean(),
            "mean_field": lambda _: self.fill(unknown),
            "samples": self._mean_of_samples,
        }

    def _exact_mean(self) -> Tensor:
        rows, count = self.with_state_axis(), self.visible_bias[..., 0].numel()
        size, numbers = self.nade.visible.size, count * self.nade.n_inputs
        blocks = likelihood.state_blocks(size, numbers, self.visible_bias)
        parts = [rows.log_prob(v, "exact").exp().unsqueeze(-2) @ v for v in blocks]
        return torch.stack(parts).sum(0).squeeze(-2)

    def _mean_of_samples(self, generator: torch.Generator | None) -> Tensor:
        means = [self.sample(generator)[1] for _ in range(AVERAGED)]
        return torch.stack(means).mean(0)

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Unit after unit. With known values each unit is drawn given those that come before it."""
        check_generator(generator, self.visible_bias.device)
        orders = self._drawn_orders(known, generator)
        unit = Bernoulli(1)
        return self._ancestral(orders, known, lambda p: unit.sample(p, generator))

    def _drawn_orders(self, known: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """An order for each row, [rows, visible], or one for all."""
        return torch.tensor(self.nade.orders, device=self.visible_bias.device)

    def _ancestral(
        self, orders: Tensor, known: Tensor | None, choose: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Values chosen unit after unit, and the means that they were chosen by."""
        nade, shape = self.nade, self.visible_bias.shape
        b, c = (x.reshape(-1, x.shape[-1]) for x in (self.visible_bias, self.hidden_bias))
        held = torch.full_like(b, torch.nan) if known is None else known.reshape(b.shape)
        v, mean, drive = torch.empty_like(b), torch.empty_like(b), c
        row = torch.arange(len(b), device=b.device)
        for unit in orders.t():
            x = b[row, unit] + (drive.sigmoid() * nade.output_weight[unit]).sum(-1)
            p = (x / self.temperature).sigmoid()
            mean[row, unit] = overlaid(p, held[row, unit])
            v[row, unit] = overlaid(choose(p), held[row, unit])
            drive = drive + v[row, unit].unsqueeze(-1) * nade.weight.t()[unit]
            if nade.known_weight is not None:
                drive = drive + nade.known_weight.t()[unit]
        return v.view(shape), mean.view(shape)

    def with_state_axis(self) -> AutoregressiveFrame:
        return replace(
            self,
            visible_bias=self.visible_bias.unsqueeze(-2),
            hidden_bias=self.hidden_bias.unsqueeze(-2),
        )

    def tempered(self, temperature: float) -> AutoregressiveFrame:
        """Each of the conditionals at τ, p(v_i | v_<i)^(1/τ), made to sum to one."""
        return replace(self, temperature=self.temperature * temperature)

    def greedy(self, known: Tensor | None = None) -> Tensor:
        """Unit after unit what is more probable, of an orderless NADE in its first order."""
        order = torch.tensor(self.nade.orders[:1], device=self.visible_bias.device)
        return self._ancestral(order, known, lambda p: (p > 0.5).to(p.dtype))[0]

    def fill(self, known: Tensor) -> Tensor:
        """Unit after unit, each by its mean given those before it, as if means were values."""
        order = torch.tensor(self.nade.orders[:1], device=known.device)
        return self._ancestral(order, known, lambda p: p)[0]

    def reconstruct(self, frames: Tensor) -> Tensor:
        # no hidden units that see a whole frame, to correct its entries by
        return frames


@dataclass(frozen=True)
class OrderlessFrame(AutoregressiveFrame):
    """An orderless NADE with its own biases in every row."""

    def given(self, known: Tensor) -> Factorial:
        """Each unit alone, given the known values; those are NaN where units are free."""
        seen = (~known.isnan()).to(known.dtype)
        drive = F.linear(known.nan_to_num(0.0), self.nade.weight)
        assert self.nade.known_weight is not None
        hidden = (self.hidden_bias + drive + F.linear(seen, self.nade.known_weight)).sigmoid()
        x = self.visible_bias + F.linear(hidden, self.nade.output_weight)
        return Factorial(self.nade.visible, x / self.temperature)

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        """−log p of the units that are not known, times all units over those (their eq. 9)."""
        check_generator(generator, frames.device)
        options: dict[str, Any] = {"generator": generator, "device": frames.device}
        size, rows = frames.shape[-1], frames.shape[:-1]
        place = torch.rand(frames.shape, **options).argsort(-1).argsort(-1)
        count = torch.randint(size, (*rows, 1), **options)  # of the known ones
        known = place < count
        x = self.given(frames.masked_fill(~known, torch.nan)).x
        each = F.binary_cross_entropy_with_logits(x, frames, reduction="none")
        return each.masked_fill(known, 0.0).sum(-1) * size / (size - count.squeeze(-1))

    def _drawn_orders(self, known: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """One of the orders for each row; in each what is known comes first."""
        rows, device = self.visible_bias[..., 0].numel(), self.visible_bias.device
        every = torch.tensor(self.nade.orders, device=device)
        orders = every[torch.randint(len(every), (rows,), generator=generator, device=device)]
        if known is None:
            return orders
        free = known.reshape(orders.shape).isnan().gather(1, orders)
        return orders.gather(1, free.byte().argsort(dim=1, stable=True))

    def fill(self, known: Tensor) -> Tensor:
        """Each unit by its mean given all that are known, before or after it."""
        return overlaid(self.given(known).mean("exact", None), known)


class AutoregressiveDrive(torch.autograd.Function):
    """x_i = V_i σ(c + Σ_{j<i} (W_j v_j + M_j)) of many rows, in memory for a single unit.

    Both passes run over the units with the sums of one unit at a time; autograd would keep those
    of all units. The backward pass takes the terms of the sum away again, one after the other.
    """

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, c: Tensor, weight: Tensor, output: Tensor, known: Tensor | None
    ) -> Tensor:
        """The drives.

        Args:
            ctx: of autograd.
            v: [rows, visible].
            c: [rows, hidden].
            weight: Wᵀ, [visible, hidden].
            output: V, [visible, hidden].
            known: Mᵀ, [visible, hidden], or None.

        Returns:
            [rows, visible].
        """
        drive, x = c.clone(), v.new_empty(v.shape[::-1])
        for i, value in enumerate(v.t().contiguous()):
            torch.mv(drive.sigmoid(), output[i], out=x[i])
            drive.addr_(value, weight[i])
            if known is not None:
                drive.add_(known[i])
        ctx.save_for_backward(v, drive, weight, output, known)
        return x.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of all arguments."""
        v, drive, weight, output, known = ctx.saved_tensors
        drive, values, grads = drive.clone(), v.t().contiguous(), grad.t().contiguous()
        carried = torch.zeros_like(drive)  # the gradient of the sum that later units see
        d_values, d_weight, d_output = (torch.empty_like(x) for x in (values, weight, output))
        d_known = None if known is None else torch.empty_like(known)
        for i in reversed(range(len(values))):
            torch.mv(carried, weight[i], out=d_values[i])
            torch.mv(carried.t(), values[i], out=d_weight[i])
            drive.addr_(values[i], weight[i], alpha=-1)
            if known is not None and d_known is not None:
                torch.sum(carried, 0, out=d_known[i])
                drive.sub_(known[i])
            hidden = drive.sigmoid()
            torch.mv(hidden.t(), grads[i], out=d_output[i])
            hidden.mul_(1 - hidden)
            carried.addcmul_(grads[i].unsqueeze(-1), hidden.mul_(output[i]))
        return d_values.t(), carried, d_weight, d_output, d_known
