"""Block Gibbs chains of many RBMs at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.checks import check_generator
from seqebm.rbm import RBMEnergy
from seqebm.sweeps import Sweeps, fast_sweeps, plain_sweeps

WORTH_COMPILING = 10**10  #: draws of a unit: compiling takes about 10 s and saves about 2 ns a draw

_repeats: ContextVar[int] = ContextVar("repeats", default=1)


@contextlib.contextmanager
def repeated(times: int) -> Iterator[None]:
    """Say that chains as those within will be run so many times, as in a training loop.

    Where that makes enough work, the sweeps are compiled. `fit` and `sample` say so themselves;
    one context within another multiplies. A compiled chain draws other samples than a plain one
    with the same seed, from the same distribution.

    Example:
        >>> with repeated(10_000):
        ...     pass  # a training step
    """
    token = _repeats.set(times * _repeats.get())
    try:
        yield
    finally:
        _repeats.reset(token)


def _sweeps(rbm: RBMEnergy, v: Tensor, steps: int) -> Sweeps:
    """Fast sweeps where so many units are to be drawn that compiling saves more than it takes."""
    fast = fast_sweeps(rbm, v) if worth_compiling(rbm, len(v) * steps) else None
    return fast or plain_sweeps


def worth_compiling(rbm: RBMEnergy, sweeps: int) -> bool:
    """Whether so many sweeps, done again as `repeated` says, are worth the time of a compiler."""
    return sweeps * sum(rbm.weight.shape) * _repeats.get() >= WORTH_COMPILING


def _rowwise(bias: Tensor, rows: int) -> Tensor:
    """`bias` as [units] where all rows share it, else as [rows, units]."""
    return bias if bias.ndim == 1 else bias.reshape(rows, bias.shape[-1])


@contextlib.contextmanager
def _bf16_products() -> Iterator[None]:
    """Let torch use bf16 inside products of float32 matrices, where the hardware gains by it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@torch.no_grad()
def chain(
    rbm: RBMEnergy,
    start: Tensor,
    steps: int,
    generator: torch.Generator | None = None,
    bf16: bool = False,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run `steps` sweeps h ~ P(h|v), v ~ P(v|h) from `start` in every row's RBM.

    Memory does not grow with `steps`. Long chains, and those within `repeated`, are compiled.

    Args:
        rbm: the machines.
        start: visible states to begin with, [*rows, visible].
        steps: number of sweeps, at least 1.
        generator: source of randomness; None is torch's default.
        bf16: whether the chain uses W rounded to bf16. Binary states are exact in bf16 and sums
            stay in float32, so hardware that multiplies bf16 faster may do so, and the result is
            the same, but for rounding, on hardware that does not.
        known: values at which visible units are held throughout, NaN where they are free,
            [*rows, visible].

    Returns:
        The last visible states and the means E[v|h] they were drawn from, each [*rows, visible].

    Raises:
        ValueError: `steps` below 1, or a generator on another device.

    Example:
        >>> from seqebm.units import Bernoulli
        >>> rbm = RBMEnergy(Bernoulli(2), torch.zeros(1, 2), torch.full((2,), 99.), torch.zeros(1))
        >>> chain(rbm, torch.zeros(3, 2), steps=1)[0]
        tensor([[1., 1.],
                [1., 1.],
                [1., 1.]])
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least one Gibbs sweep, got {steps}")
    check_generator(generator, start.device)
    if bf16:
        with _bf16_products():
            rbm = replace(rbm, weight=rbm.weight.bfloat16().to(rbm.weight))
            return chain(rbm, start, steps, generator, known=known)
    v = start.reshape(-1, start.shape[-1])
    visible_bias, hidden_bias = (_rowwise(b, len(v)) for b in (rbm.visible_bias, rbm.hidden_bias))
    rbm = replace(rbm, visible_bias=visible_bias, hidden_bias=hidden_bias)
    if known is None:
        v, v_mean = _sweeps(rbm, v, steps)(rbm, v, steps, generator)
    else:
        held, v_mean = known.reshape(v.shape), v
        for _ in range(steps):
            v, v_mean = plain_sweeps(rbm, overlaid(v, held), 1, generator)
        v, v_mean = overlaid(v, held), overlaid(v_mean, held)
    return v.view(start.shape), v_mean.view(start.shape)


def overlaid(frames: Tensor, known: Tensor | None) -> Tensor:
    """The frames with the known values, those that are not NaN, in their places."""
    return frames if known is None else torch.where(known.isnan(), frames, known)


def mean_field(rbm: RBMEnergy, h: Tensor, steps: int, known: Tensor | None = None) -> Tensor:
    """Solve the mean-field equations of second order for E[v], beginning with hidden means h.

    Each unit sees the means of the other layer less what the unit itself has put into them (the
    Onsager term of Thouless, Anderson and Palmer 1977; for RBMs Gabrié, Tramel and Krzakala 2015):

        h_j = σ(b_j + Σ_i W_ji v_i + (½ − h_j) Σ_i W_ji² v_i(1 − v_i)),   and v likewise.

    Half of each update of h is taken, for stability.

    Args:
        rbm: the machines.
        h: hidden means to begin with, [*rows, hidden].
        steps: number of iterations.
        known: values at which visible units are held, NaN where they are free, [*rows, visible].

    Returns:
        The visible means, [*rows, visible].
    """
    return solve_mean_field(rbm, h, steps, known)[0]


@torch.no_grad()
def solve_mean_field(
    rbm: RBMEnergy, h: Tensor, steps: int, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`mean_field` with the hidden means [*rows, hidden] as well."""
    squares = rbm.weight.square()
    fixed = None if known is None else known.where(known.isnan(), 0.0)  # the variance of the known
    h = h.clamp(0, 1)
    v = overlaid(rbm.visible_mean(h), known)
    for _ in range(steps):
        variance = overlaid(rbm.visible.variance(v), fixed)
        own = rbm.hidden.half_slope(h) * F.linear(variance, squares)
        h = (h + rbm.hidden.mean(rbm.hidden_drive(v) + rbm.hidden_bias + own)) / 2
        own = rbm.visible.half_slope(v) * (rbm.hidden.variance(h) @ squares)
        v = overlaid(rbm.visible.mean(rbm.visible_drive(h) + rbm.visible_bias + own), known)
    return v, h
