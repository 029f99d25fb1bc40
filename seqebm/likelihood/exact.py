"""Log-likelihoods and samples of RBMs by enumeration of the smaller layer; mean field."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from seqebm import gibbs
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Units

LARGEST_ENUMERATION = 24  #: units of the smaller layer up to which a sum over its states is done
_BLOCK = 2**19  # numbers in one block of the enumeration: 4 MB in float64, which caches hold


def enumerated_units(rbm: RBMEnergy) -> int:
    """The number of binary units with as many states as an exact sum must run through."""
    return math.ceil(min(len(rbm.weight), rbm.visible.bits))


def _over_hidden(rbm: RBMEnergy) -> bool:
    """Whether an exact sum runs over the states of the hidden layer, and not of the visible one."""
    return len(rbm.weight) <= rbm.visible.bits


def binary_states(n: int, start: int, stop: int, like: Tensor) -> Tensor:
    """Rows `start` to `stop` of the list of all 2ⁿ binary vectors, [stop − start, n].

    Example:
        >>> binary_states(2, 0, 4, torch.tensor(0.0)).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    return Bernoulli(n).states(start, stop, like)


def state_blocks(n: int, numbers: int, like: Tensor) -> Iterator[Tensor]:
    """All binary vectors of n units in blocks [states, n], for sums that are done in blocks.

    Args:
        n: number of units.
        numbers: what the sum keeps in memory for each state, beside the state itself.
        like: gives dtype and device.

    Raises:
        ValueError: more than `LARGEST_ENUMERATION` units.
    """
    if n > LARGEST_ENUMERATION:
        raise ValueError(
            f"exact enumeration takes at most {LARGEST_ENUMERATION} units, this layer has {n}"
        )
    yield from _state_blocks(Bernoulli(n), numbers, like)


def _state_blocks(units: Units, numbers: int, like: Tensor) -> Iterator[Tensor]:
    """`state_blocks` of units of any kind whose states can be listed."""
    size, count = max(1, _BLOCK // max(units.size, numbers)), round(2**units.bits)
    for start in range(0, count, size):
        yield units.states(start, min(start + size, count), like)


def _blocks(rbm: RBMEnergy) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of states of the enumerated layer with log Σ exp(−E) over the other layer.

    Yields states [states, units] and log weights [*rows, states].
    """
    n_hidden, n_visible = rbm.weight.shape
    n = enumerated_units(rbm)
    if n > LARGEST_ENUMERATION:
        raise ValueError(
            f"exact enumeration takes at most {LARGEST_ENUMERATION} units in the smaller layer, "
            f"this RBM has {n} (visible {n_visible}, hidden {n_hidden})"
        )
    # each layer's part is done on the rows of its own biases, which may be fewer than all rows
    visible_rows, hidden_rows = rbm.visible_bias[..., 0].numel(), rbm.hidden_bias[..., 0].numel()
    over_hidden = _over_hidden(rbm)
    own_rows = visible_rows * n_visible if over_hidden else hidden_rows * n_hidden
    rows, units = with_state_axis(rbm), rbm.hidden if over_hidden else rbm.visible
    for states in _state_blocks(units, max(own_rows, rbm.rows.numel()), rbm.weight):
        if over_hidden:
            others = rbm.visible.log_partition(rows.visible_bias, rbm.visible_drive(states))
            yield states, others + rbm.hidden_bias @ states.t()
        else:
            others = rbm.hidden.log_partition(rows.hidden_bias, rbm.hidden_drive(states))
            yield states, others + rbm.visible_bias @ states.t()


def _in_float64(rbm: RBMEnergy) -> RBMEnergy:
    """The same machines, so that sums over millions of states are exact to the last digits."""
    weight, b, c = rbm.weight.double(), rbm.visible_bias.double(), rbm.hidden_bias.double()
    return RBMEnergy(rbm.visible, weight, b, c)


def with_state_axis(rbm: RBMEnergy) -> RBMEnergy:
    """The same machines with rows [*rows, 1], ready to meet a list of states."""
    visible_bias, hidden_bias = rbm.visible_bias.unsqueeze(-2), rbm.hidden_bias.unsqueeze(-2)
    return RBMEnergy(rbm.visible, rbm.weight, visible_bias, hidden_bias)


def log_partition(rbm: RBMEnergy) -> Tensor:
    """The exact log Z of every row's RBM, [*rows] (Sutskever 2013, eq. 2.25). Differentiable.

    The sum runs over the states of the smaller layer, in blocks; the other layer is summed in
    closed form.

    Raises:
        ValueError: the smaller layer has more than `LARGEST_ENUMERATION` units.

    Example:
        >>> from seqebm.units import Bernoulli
        >>> rbm = RBMEnergy(Bernoulli(2), torch.zeros(1, 2), torch.zeros(2), torch.zeros(1))
        >>> log_partition(rbm).exp()
        tensor(8.)
    """
    blocks = [weights.logsumexp(-1) for _, weights in _blocks(_in_float64(rbm))]
    return torch.stack(blocks).logsumexp(0).to(rbm.weight.dtype)


def exact_log_prob(rbm: RBMEnergy, v: Tensor) -> Tensor:
    """log p(v) = −F(v) − log Z in nats for every row, [*rows]. Differentiable.

    Raises:
        ValueError: the smaller layer has more than `LARGEST_ENUMERATION` units.
    """
    precise = _in_float64(rbm)
    return (-precise.free_energy(v.double()) - log_partition(precise)).to(v.dtype)


@torch.no_grad()
def exact_mean(rbm: RBMEnergy) -> Tensor:
    """E[v] of every row's RBM, [*rows, visible], by enumeration.

    Raises:
        ValueError: the smaller layer has more than `LARGEST_ENUMERATION` units.
    """
    dtype, rbm = rbm.weight.dtype, _in_float64(rbm)
    log_z = log_partition(rbm).unsqueeze(-1)
    mean = rbm.weight.new_zeros(*rbm.rows, rbm.weight.shape[1])
    for states, weights in _blocks(rbm):
        p = (weights - log_z).exp()
        visible = with_state_axis(rbm).visible_mean(states) if _over_hidden(rbm) else states
        mean += (p.unsqueeze(-2) @ visible).squeeze(-2)
    return mean.to(dtype)


@torch.no_grad()
def exact_samples(rbm: RBMEnergy, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Independent visible states of every row's RBM, [*rows, count, visible], by enumeration.

    Raises:
        ValueError: the smaller layer has more than `LARGEST_ENUMERATION` units.

    Example:
        >>> from seqebm.units import Bernoulli
        >>> rbm = RBMEnergy(Bernoulli(2), torch.zeros(1, 2), torch.full((2,), 99.0), torch.zeros(1))
        >>> exact_samples(rbm, 2)
        tensor([[1., 1.],
                [1., 1.]])
    """
    blocks = [*_blocks(rbm)]
    states = torch.cat([block for block, _ in blocks])
    log_p = torch.cat([weights for _, weights in blocks], dim=-1)
    p = (log_p - log_p.logsumexp(-1, keepdim=True)).exp()
    drawn = torch.multinomial(p.reshape(-1, len(states)), count, True, generator=generator)
    chosen = states[drawn.view(*rbm.rows, count)]
    if not _over_hidden(rbm):
        return chosen
    mean = with_state_axis(rbm).visible_mean(chosen)
    return rbm.visible.sample(mean, generator)


@torch.no_grad()
def mean_field_log_partition(rbm: RBMEnergy, h: Tensor, steps: int = 50) -> Tensor:
    """log Z of every row's RBM as mean field of second order has it, [*rows].

    At the solution of `gibbs.mean_field`, log Z ≈ G_v + G_h + hᵀWv + ½ Σ_ij W_ij² var h_i var v_j,
    G being the entropy of a layer less its own energy (Gabrié, Tramel and Krzakala 2015). It is an
    estimate without a bound; it is good where W is weak or one state has all the weight.

    Args:
        rbm: the machines.
        h: hidden means to begin with, [*rows, hidden].
        steps: number of iterations.

    Example:
        >>> from seqebm.units import Bernoulli
        >>> rbm = RBMEnergy(Bernoulli(2), torch.zeros(1, 2), torch.zeros(2), torch.zeros(1))
        >>> mean_field_log_partition(rbm, torch.zeros(1)).exp()
        tensor(8.)
    """
    v, h = gibbs.solve_mean_field(rbm, h, steps)
    squares = rbm.weight.square()
    scaled = rbm.visible.scaled(v)
    h_variance, v_variance = rbm.hidden.variance(h), rbm.visible.variance(v)
    v_drive = rbm.visible_drive(h) + rbm.visible.half_slope(v) * (h_variance @ squares)
    h_drive = rbm.hidden_drive(v) + rbm.hidden.half_slope(h) * (v_variance @ squares.t())
    return (
        rbm.visible.log_partition(rbm.visible_bias, v_drive)
        - (scaled * v_drive).sum(-1)
        + rbm.hidden.log_partition(rbm.hidden_bias, h_drive)
        - (h * h_drive).sum(-1)
        + (h * rbm.hidden_drive(v)).sum(-1)
        + ((h_variance @ squares) * v_variance).sum(-1) / 2
    )
