"""Paths from machines without interactions to given ones, and samplers that go back and forth.

A block Gibbs chain can stay in one mode of an RBM for very long. Where the weights are small it
moves freely, so these samplers visit machines whose weights are a fraction β of the given ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm import gibbs
from seqebm.checks import check_generator
from seqebm.rbm import RBMEnergy
from seqebm.sweeps import AT_ONCE, COUNTERS, DTYPES, centred, compiled, draw_keys, or_plain, usable
from seqebm.units import Bernoulli, Units

MEAN_FIELD_STEPS = 30  #: by which a base is found


@dataclass(frozen=True)
class AnnealingPath:
    """RBMs between a base (β = 0) and the target (β = 1).

    Their weights are β W and their biases lie on a straight line between those of the base and of
    the target. Units of the base are independent: it has exact samples and an exact log Z.

    Args:
        target: the machines, [*rows].
        visible_bias: of the base, [*rows, visible].
        hidden_bias: of the base, [*rows, hidden].

    Example:
        >>> rbm = RBMEnergy(Bernoulli(2), torch.ones(1, 2), torch.zeros(2), torch.zeros(1))
        >>> AnnealingPath(rbm, torch.zeros(2), torch.zeros(1)).base_log_partition.exp()
        tensor(8.)
    """

    target: RBMEnergy
    visible_bias: Tensor
    hidden_bias: Tensor

    @property
    def base_log_partition(self) -> Tensor:
        """log Z of the base, [*rows]."""
        target, none = self.target, torch.zeros_like
        visible = target.visible.log_partition(self.visible_bias, none(self.visible_bias))
        return visible + target.hidden.log_partition(self.hidden_bias, none(self.hidden_bias))

    def base_samples(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Visible states of the base, [*rows, count, visible]."""
        visible = self.target.visible
        mean = visible.mean(self.visible_bias).unsqueeze(-2)
        return visible.sample(mean.expand(*self.target.rows, count, -1).contiguous(), generator)


@torch.no_grad()
def mean_field_paths(rbm: RBMEnergy, shares: Sequence[float]) -> list[AnnealingPath]:
    """Paths from independent units whose biases are a share of those of mean field.

    With the whole of them units of the base have about the means of the target's, and interactions
    between what units deviate from their means hardly move these along the path: it is short. But
    mean field may have found one mode of several, which the runs would then all end in. The share 0
    is the base where all binary states are alike.
    """
    v, h = gibbs.solve_mean_field(rbm, rbm.hidden_bias.sigmoid(), MEAN_FIELD_STEPS)
    b, c = rbm.visible.input_for(v), rbm.hidden.input_for(h)
    return [AnnealingPath(rbm, share * b, share * c) for share in shares]


@torch.no_grad()
def anneal(
    path: AnnealingPath, v: Tensor, betas: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Lead visible states along the path, with a Gibbs sweep at every β but the first.

    Args:
        path: the machines.
        v: states at the first β, [*rows, runs, visible].
        betas: where to go, [n].
        generator: source of randomness.

    Returns:
        The states at the last β, [*rows, runs, visible], and Σ_k log f_{k+1}(v_k) − log f_k(v_k)
        with f(v) = Σ_h exp(−E(v, h)), float64, [*rows, runs].
    """
    check_generator(generator, v.device)
    machines, shape = _machines(path), v.shape
    v = v.reshape(-1, *shape[-2:])
    fast = gibbs.worth_compiling(path.target, v[..., 0].numel() * len(betas))
    fast = fast and v.numel() < COUNTERS and v.dtype in DTYPES and usable(_compiled_annealing)
    lead = _compiled_annealing if fast else _plain_annealing
    total = torch.zeros(v.shape[:-1], dtype=torch.float64, device=v.device)
    for first in range(0, len(betas) - 1, AT_ONCE):
        v, gain = lead(v, betas[first : first + AT_ONCE + 1], generator, machines)
        total += gain
    return v.view(shape), total.view(shape[:-1])


@torch.no_grad()
def tempered_transitions(
    path: AnnealingPath, v: Tensor, betas: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Propose states by going down the path and up again (Neal 1996); then a sweep for everyone.

    Args:
        path: the machines.
        v: states of the target, [*rows, runs, visible].
        betas: the way down, from 1 on, [n].
        generator: source of randomness.

    Returns:
        States that are distributed as the target is where v are, [*rows, runs, visible], and which
        proposals were accepted, [*rows, runs].
    """
    low, down = anneal(path, v, betas, generator)
    proposed, up = anneal(path, low, betas.flip(0), generator)  # its last sweep is the target's
    chance = torch.rand(down.shape, dtype=down.dtype, device=v.device, generator=generator)
    accepted = chance.log() < down + up
    stayed, _ = anneal(path, v, betas[:1].expand(2), generator)
    return torch.where(accepted.unsqueeze(-1), proposed, stayed), accepted


class Tempered(NamedTuple):
    """What parallel tempering gives.

    Attributes:
        v: states at every β, [rungs, *rows, runs, visible].
        swapped: share of accepted exchanges between neighbours, [rungs − 1].
    """

    v: Tensor
    swapped: Tensor


@torch.no_grad()
def parallel_tempering(
    path: AnnealingPath,
    v: Tensor,
    betas: Tensor,
    sweeps: int,
    generator: torch.Generator | None = None,
) -> Tempered:
    """Gibbs chains at several β that exchange their states after every sweep (Geyer 1991).

    Chains of neighbouring rungs, even and odd ones in turn, exchange states with the probability
    min(1, f_i(v_j) f_j(v_i) / f_i(v_i) f_j(v_j)). At β = 0 every sweep draws independent states.

    Args:
        path: the machines.
        v: states to begin with, [rungs, *rows, runs, visible].
        betas: of the rungs, [rungs].
        sweeps: number of sweeps, at least 1.
        generator: source of randomness.

    Raises:
        ValueError: no sweeps, or a generator on another device.
    """
    if sweeps < 1:
        raise ValueError(f"sweeps: expected at least 1, got {sweeps}")
    check_generator(generator, v.device)
    machines, shape = _machines(path), v.shape
    v, beta = v.reshape(len(betas), -1, *shape[-2:]), betas.view(-1, 1, 1, 1)
    swapped, tried = betas.new_zeros(len(betas) - 1), betas.new_zeros(len(betas) - 1)
    for number in range(sweeps):
        v = _sweep(v, _drive(v, machines), beta, _plain_draw(generator), machines)
        low = torch.arange(len(betas) - 1, device=v.device)[number % 2 :: 2]
        accepted = _exchange(v, beta, low, generator, machines)
        swapped[low] += accepted.float().mean(dim=(1, 2))
        tried[low] += 1
    return Tempered(v.view(shape), swapped / tried.clamp(min=1))


# --- inner loops -----------------------------------------------------------------------------
#
# States are [..., machines, runs, units]. Machines are plain tensors, so that what is compiled
# meets nothing else: visible units, W, the biases b and c of the target, and those of the base.

Machines = tuple[Units, Tensor, Tensor, Tensor, Tensor, Tensor]
Draw = Callable[[Units, Tensor, int], Tensor]  # units, their means, layer: 0 hidden, 1 visible


def _machines(path: AnnealingPath) -> Machines:
    target, rows = path.target, path.target.rows
    b, c = (_in_a_row(x, rows) for x in (target.visible_bias, target.hidden_bias))
    b0, c0 = (_in_a_row(x, rows) for x in (path.visible_bias, path.hidden_bias))
    return target.visible, target.weight, b, c, b0, c0


def _in_a_row(bias: Tensor, rows: torch.Size) -> Tensor:
    """[units] where it is everyone's, or [machines, 1, units]."""
    return bias if bias.ndim == 1 else bias.expand(*rows, -1).reshape(-1, 1, bias.shape[-1])


def _biases(beta: Tensor, machines: Machines) -> tuple[Tensor, Tensor]:
    _, _, b, c, b0, c0 = machines
    return b0 + beta * (b - b0), c0 + beta * (c - c0)


def _drive(v: Tensor, machines: Machines) -> Tensor:
    visible, weight, *_ = machines
    return F.linear(visible.scaled(v), weight)


def _log_weight(v: Tensor, drive: Tensor, beta: Tensor, machines: Machines) -> Tensor:
    """log Σ_h exp(−E_β(v, h)), [..., machines, runs]."""
    visible, weight, *_ = machines
    b, c = _biases(beta, machines)
    return Bernoulli(len(weight)).log_partition(c, beta * drive) - visible.energy(v, b)


def _sweep(v: Tensor, drive: Tensor, beta: Tensor, draw: Draw, machines: Machines) -> Tensor:
    """New visible states."""
    visible, weight, *_ = machines
    hidden = Bernoulli(len(weight))
    b, c = _biases(beta, machines)
    h = draw(hidden, hidden.mean(c + beta * drive), 0)
    return draw(visible, visible.mean(b + beta * (h @ weight)), 1)


def _along(
    v: Tensor, betas: Tensor, draws: Iterable[Draw], machines: Machines
) -> tuple[Tensor, Tensor]:
    """See `anneal`."""
    visible, weight, *_ = machines
    hidden, gain = Bernoulli(len(weight)), torch.zeros_like(v[..., 0])
    steps = betas.unbind()
    b, c = _biases(steps[0], machines)
    for now, then, draw in zip(steps, steps[1:], draws, strict=False):
        drive, (b_then, c_then) = _drive(v, machines), _biases(then, machines)
        x = c_then + then * drive
        gain = gain + softplus_change(c + now * drive, x).sum(-1)
        gain = gain + (visible.energy(v, b) - visible.energy(v, b_then))
        h = draw(hidden, hidden.mean(x), 0)
        v = draw(visible, visible.mean(b_then + then * (h @ weight)), 1)
        b, c = b_then, c_then
    return v, gain


def softplus_change(x: Tensor, y: Tensor) -> Tensor:
    """log(1 + exp(y)) − log(1 + exp(x)) with one logarithm, for any numbers."""
    ratio = (1 + (-y.abs()).exp()) / (1 + (-x.abs()).exp())
    return y.relu() - x.relu() + ratio.log()


def _plain_draw(generator: torch.Generator | None) -> Draw:
    return lambda units, mean, _: units.sample(mean, generator)


def _plain_annealing(
    v: Tensor, betas: Tensor, generator: torch.Generator | None, machines: Machines
) -> tuple[Tensor, Tensor]:
    return _along(v, betas, [_plain_draw(generator)] * len(betas), machines)


@or_plain(_plain_annealing)
def _compiled_annealing(
    v: Tensor, betas: Tensor, generator: torch.Generator | None, machines: Machines
) -> tuple[Tensor, Tensor]:
    keys = draw_keys(len(betas) - 1, v.device, generator)
    found: tuple[Tensor, Tensor] = compiled(_hashed_annealing)(v, betas, keys, *machines)
    return found


def _hashed_annealing(
    v: Tensor, betas: Tensor, keys: Tensor, *machines: Any
) -> tuple[Tensor, Tensor]:
    """`_along` with random numbers that are computed from keys [steps, 2, 2]."""

    def draw_by(key: Tensor) -> Draw:
        return lambda units, mean, layer: units.pick(mean, centred(key[layer], mean))

    return _along(v, betas, [draw_by(key) for key in keys.unbind()], machines)


def _exchange(
    v: Tensor,
    beta: Tensor,
    low: Tensor,
    generator: torch.Generator | None,
    machines: Machines,
) -> Tensor:
    """Exchange states of rungs `low` with the next ones' in place; which were, [pairs, …, runs]."""
    high, drive = low + 1, _drive(v, machines)
    gain = torch.zeros_like(v[low][..., 0])
    for here, there in ((low, high), (high, low)):
        gain += _log_weight(v[there], drive[there], beta[here], machines)
        gain -= _log_weight(v[here], drive[here], beta[here], machines)
    chance = torch.empty_like(gain).uniform_(generator=generator)
    accepted = chance.log() < gain
    swap = accepted.unsqueeze(-1)
    v[low], v[high] = torch.where(swap, v[high], v[low]), torch.where(swap, v[low], v[high])
    return accepted
