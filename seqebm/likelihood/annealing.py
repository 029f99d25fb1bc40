"""log Z of RBMs between bounds, by annealing from both ends of a path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from seqebm import gibbs
from seqebm.likelihood.exact import enumerated_units, exact_samples
from seqebm.rbm import RBMEnergy
from seqebm.tempering import AnnealingPath, anneal, mean_field_paths, parallel_tempering

ENUMERATED_SAMPLES = 12  #: units of the smaller layer up to which exact samples are drawn
RUNGS = 10  #: of the parallel tempering that draws samples of larger machines
SHARES = (1.0, 0.5, 0.0)  #: of the biases of mean field that the base may have
PILOT_MACHINES, PILOT_RUNS = 32, 16  #: of annealings that choose a path
PILOT_TEMPERATURES = 1000  #: at most, of those that choose a base
PILOT_INTERVALS = 64  #: of those that choose a spacing
BLOCK = 2**18  #: numbers in the states of a layer that are led along a path together: 1 MB


class Annealing(NamedTuple):
    """How much is annealed.

    Attributes:
        runs: from each end, for each machine.
        temperatures: number of β from 0 to 1.
        sweeps: of the parallel tempering whose states runs from the model begin with.
    """

    runs: int = 100
    temperatures: int = 500
    sweeps: int = 50


class Annealed(NamedTuple):
    """What annealing from both ends says of log Z, every entry [*rows], float64.

    Attributes:
        lower: log of the mean weight of runs from the base to the target: at most log Z in
            expectation, by Jensen's inequality (Neal 2001).
        estimate: Bennett's combination of both ends (1976).
        upper: minus the log of the mean inverse weight of runs from the target to the base: at
            least log Z in expectation where they begin with exact samples (Grosse, Ghahramani and
            Adams 2015).
        lower_error: standard error of `lower`.
        upper_error: standard error of `upper`.
        effective: share of the runs that count, the smaller one of both ends: the effective
            sample size (Σw)²/Σw² by the number of runs.
    """

    lower: Tensor
    estimate: Tensor
    upper: Tensor
    lower_error: Tensor
    upper_error: Tensor
    effective: Tensor


@torch.no_grad()
def annealed_log_partition(
    rbm: RBMEnergy,
    start: Tensor,
    temperatures: int = 500,
    sweeps: int = 50,
    generator: torch.Generator | None = None,
    rates: Tensor | None = None,
) -> Annealed:
    """log Z of every row's RBM by annealing between it and independent units, from both ends.

    Runs from the target begin with exact samples where the smaller layer has at most 12 units.
    Else they begin with the ends of parallel tempering, which in its turn begins at `start`. These
    should be states that the machines ought to know, such as the frames that a model is measured
    on: where runs from the base miss the mode that these are in, the two ends disagree.

    Base and spacing are chosen by annealing some of the machines.

    Args:
        rbm: the machines.
        start: visible states, one for each run, [*rows, runs, visible].
        temperatures: number of β from 0 to 1.
        sweeps: of parallel tempering.
        generator: source of randomness.
        rates: mean visible states of data that the machines should know as a whole, [*rows,
            visible], for one more base (Salakhutdinov and Murray 2008); None where such data are
            not at hand. They must not be those of one mode: runs that all begin there miss the
            others together, and the two ends agree on what is wrong.

    Raises:
        ValueError: fewer than two temperatures or runs, or no sweeps.

    Example:
        >>> from seqebm.units import Bernoulli
        >>> rbm = RBMEnergy(Bernoulli(2), torch.zeros(1, 2), torch.zeros(2), torch.zeros(1))
        >>> found = annealed_log_partition(rbm, torch.zeros(4, 2), temperatures=2)
        >>> found.estimate.exp().round()
        tensor(8., dtype=torch.float64)
    """
    runs = start.shape[-2]
    if temperatures < 2 or runs < 2:
        raise ValueError(f"temperatures, runs: expected at least 2, got {temperatures} and {runs}")
    row, states = _in_a_row(rbm), start.reshape(-1, *start.shape[-2:])
    path = narrowest_path(row, states, temperatures, sweeps, generator, rates)
    betas = spaced(path, temperatures, generator)
    rungs = spaced(path, RUNGS, generator)
    blocks = [*_blocks(path, states)]
    found = []
    with gibbs.repeated(len(blocks)):
        for part, v in blocks:
            samples = _model_samples(part, v, rungs, sweeps, generator)
            found.append(_both_ends(part, samples, betas, generator))
    return Annealed(*(torch.cat(parts).view(rbm.rows) for parts in zip(*found, strict=True)))


def _model_samples(
    path: AnnealingPath,
    start: Tensor,
    rungs: Tensor,
    sweeps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Visible states of the target, [machines, runs, visible]: exact ones where they can be had."""
    if enumerated_units(path.target) <= ENUMERATED_SAMPLES:
        return exact_samples(path.target, start.shape[-2], generator)
    ladder = start.expand(len(rungs), *start.shape)
    return parallel_tempering(path, ladder, rungs, sweeps, generator).v[-1]


def _both_ends(
    path: AnnealingPath, samples: Tensor, betas: Tensor, generator: torch.Generator | None
) -> Annealed:
    """The estimates from as many samples of the base as there are of the target."""
    _, up = anneal(path, path.base_samples(samples.shape[-2], generator), betas, generator)
    _, down = anneal(path, samples, betas.flip(0), generator)
    base, lower, upper = path.base_log_partition.double(), _log_mean(up), _log_mean(down)
    return Annealed(
        base + lower.log_mean,
        base + bennett(up, -down),
        base - upper.log_mean,
        lower.error,
        upper.error,
        torch.minimum(lower.effective, upper.effective),
    )


class _LogMean(NamedTuple):
    log_mean: Tensor
    error: Tensor
    effective: Tensor


def _log_mean(log_weights: Tensor) -> _LogMean:
    """log of the mean weight over the last axis, its error, and the share of weights that count."""
    runs, log_sum = log_weights.shape[-1], log_weights.logsumexp(-1)
    effective = (2 * log_sum - (2 * log_weights).logsumexp(-1)).exp() / runs
    error = ((1 / effective - 1) / (runs - 1)).clamp(min=0).sqrt()
    return _LogMean(log_sum - math.log(runs), error, effective)


def bennett(forward: Tensor, reverse: Tensor) -> Tensor:
    """log Z of the target less that of the base, from the log weights of runs from both ends.

    It is the C with Σ σ(forward − C) = Σ σ(C − reverse), the estimate of least variance that makes
    use of both (Bennett 1976).

    Args:
        forward: log weights of runs from the base to the target, [..., runs].
        reverse: of as many runs from the target to the base, with the sign of `forward`.

    Returns:
        [...].

    Example:
        >>> bennett(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
        tensor(1.5000)
    """
    both = torch.cat([forward, reverse], dim=-1)
    low, high = both.amin(-1, keepdim=True), both.amax(-1, keepdim=True)
    for _ in range(60):  # bisection
        middle = (low + high) / 2
        surplus = (forward - middle).sigmoid() - (middle - reverse).sigmoid()
        below = surplus.sum(-1, keepdim=True) > 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).squeeze(-1)


def narrowest_path(
    rbm: RBMEnergy,
    start: Tensor,
    temperatures: int,
    sweeps: int,
    generator: torch.Generator | None,
    rates: Tensor | None = None,
) -> AnnealingPath:
    """The path on which annealing leaves the least between bounds, of those from several bases.

    It is tried with as many temperatures as there will be, or a thousand. Short runs would choose
    for the many machines with one mode, which are near to what mean field finds; the gap that is
    left after long ones is that of the few which have several, and for these flatter bases are far
    better.

    Args:
        rbm: the machines, [machines].
        start: [machines, runs, visible].
        temperatures: number of β from 0 to 1.
        sweeps: of parallel tempering.
        generator: source of randomness.
        rates: for as many machines or None, see `annealed_log_partition`.
    """
    paths = mean_field_paths(rbm, SHARES)
    if rates is not None:
        paths.append(base_rates(rbm, rates.reshape_as(rbm.visible_bias)))
    which = _spread(len(start))
    few = [_part_of(path, which) for path in paths]
    betas = torch.linspace(0, 1, min(temperatures, PILOT_TEMPERATURES)).to(rbm.weight)
    rungs = torch.linspace(0, 1, RUNGS).to(betas)
    samples = _model_samples(few[1], start[which, :PILOT_RUNS], rungs, sweeps, generator)
    gaps = []
    for path in few:
        found = _both_ends(path, samples, betas, generator)
        gaps.append(float((found.upper - found.lower).abs().mean()))
    return paths[gaps.index(min(gaps))]


def base_rates(rbm: RBMEnergy, rates: Tensor) -> AnnealingPath:
    """The path from hidden units of no preference and visible ones of given means.

    Args:
        rbm: the machines, [*rows].
        rates: [*rows, visible].
    """
    hidden_bias = torch.zeros_like(rbm.hidden_bias)
    return AnnealingPath(rbm, rbm.visible.input_for(rates), hidden_bias)


@torch.no_grad()
def spaced(path: AnnealingPath, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Values of β from 0 to 1 with as much change between any two neighbours, [count].

    Change is the standard deviation of ∂log f_β(v)/∂β, averaged over some of the machines, as a
    short annealing at even distances finds it.

    Args:
        path: the machines, [machines].
        count: at least 2.
        generator: source of randomness.
    """
    few = _part_of(path, _spread(len(path.visible_bias)))
    even = torch.linspace(0, 1, PILOT_INTERVALS + 1).to(path.target.weight)
    v, changes = few.base_samples(PILOT_RUNS, generator), []
    for pair in even.unfold(0, 2, 1):
        v, gain = anneal(few, v, pair, generator)
        changes.append(gain.std(-1).mean())
    density = torch.stack(changes)
    density = density + 0.1 * density.mean() + 1e-12  # some everywhere, for what did not show
    length = torch.cat([density.new_zeros(1), density.cumsum(0)]) / density.sum()
    wanted = torch.linspace(0, 1, count).to(length)
    right = torch.searchsorted(length, wanted).clamp(1, PILOT_INTERVALS)
    share = (wanted - length[right - 1]) / (length[right] - length[right - 1])
    betas = ((right - 1 + share) / PILOT_INTERVALS).to(even)
    betas[0], betas[-1] = 0.0, 1.0  # without rounding
    return betas


def _spread(machines: int) -> Tensor:
    """Numbers of some of the machines, from the first to the last."""
    return torch.linspace(0, machines - 1, min(machines, PILOT_MACHINES)).long()


def _in_a_row(rbm: RBMEnergy) -> RBMEnergy:
    """The same machines with rows [machines]."""

    def flat(bias: Tensor) -> Tensor:
        return bias.expand(*rbm.rows, -1).reshape(-1, bias.shape[-1])

    return replace(rbm, visible_bias=flat(rbm.visible_bias), hidden_bias=flat(rbm.hidden_bias))


def _part(rbm: RBMEnergy, which: Tensor | slice) -> RBMEnergy:
    """Some of the machines, which have rows [machines]."""
    visible_bias, hidden_bias = rbm.visible_bias[which], rbm.hidden_bias[which]
    return replace(rbm, visible_bias=visible_bias, hidden_bias=hidden_bias)


def _part_of(path: AnnealingPath, which: Tensor | slice) -> AnnealingPath:
    """The path of some of the machines."""
    return AnnealingPath(
        _part(path.target, which), path.visible_bias[which], path.hidden_bias[which]
    )


def _blocks(path: AnnealingPath, states: Tensor) -> Iterator[tuple[AnnealingPath, Tensor]]:
    """The machines and their states in blocks that fit in a processor's cache."""
    size = max(1, BLOCK // (states.shape[-2] * max(path.target.weight.shape)))
    for first in range(0, len(states), size):
        some = slice(first, first + size)
        yield _part_of(path, some), states[some]
