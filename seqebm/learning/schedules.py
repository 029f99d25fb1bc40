"""Schedules: pure functions of the step, so that a resumed run needs no state of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

Schedule = Callable[[int], float]


def set_entry(optimizer: torch.optim.Optimizer, name: str, value: float) -> None:
    """Give every group of an optimiser the value of a schedule.

    Raises:
        ValueError: not all groups have such an entry.
    """
    if not all(name in group for group in optimizer.param_groups):
        raise ValueError(f"schedules: neither optimiser nor model has {name!r}")
    for group in optimizer.param_groups:
        group[name] = value


def constant(value: float) -> Schedule:
    """The same value at every step.

    Example:
        >>> constant(0.9)(17)
        0.9
    """
    return lambda step: value


def linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` at step 0 in a straight line to `end` at step `steps`, and `end` ever after.

    Raises:
        ValueError: `steps` below 1.

    Example:
        >>> [linear(1.0, 0.0, 4)(step) for step in (0, 1, 4, 9)]
        [1.0, 0.75, 0.0, 0.0]
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    return lambda step: start + (end - start) * min(1.0, step / steps)


def piecewise(values: Mapping[int, float]) -> Schedule:
    """The value whose step was reached last: {0: 10, 1000: 25} is 10, and 25 from step 1000 on.

    Raises:
        ValueError: no value for step 0.

    Example:
        >>> schedule = piecewise({0: 10, 1000: 25})
        >>> [schedule(0), schedule(999), schedule(1000)]
        [10, 10, 25]
    """
    if 0 not in values:
        raise ValueError(f"values: expected one for step 0, got steps {sorted(values)}")
    starts = sorted(values)
    return lambda step: values[max(start for start in starts if start <= step)]


def capped(schedule: Schedule, largest: float) -> Schedule:
    """The same schedule, but never above a value.

    Example:
        >>> capped(linear(0.0, 1.0, 4), 0.6)(3)
        0.6
    """
    return lambda step: min(schedule(step), largest)


def rising_momentum() -> Schedule:
    """1 − 3/(t + 5), which the momentum of Nesterov's method tends to (Sutskever 2013, eq. 7.13).

    Example:
        >>> [rising_momentum()(step) for step in (0, 1, 295)]
        [0.4, 0.5, 0.99]
    """
    return lambda step: 1 - 3 / (step + 5)


def nesterov_momentum() -> Schedule:
    """μ_t = (a_t − 1) / a_{t+1}, where a_0 = 1 and a_{t+1} = (1 + √(4 a_t² + 1)) / 2.

    Nesterov 1983; Sutskever 2013, eqs. 7.5 and 7.8. It begins at 0 and is `rising_momentum` to
    0.001 from step 40 on.

    Example:
        >>> [round(nesterov_momentum()(step), 3) for step in (0, 1, 2, 295)]
        [0.0, 0.282, 0.434, 0.99]
    """
    a = [1.0]  # those that were needed so far

    def momentum(step: int) -> float:
        while len(a) < step + 2:
            a.append((1 + math.sqrt(4 * a[-1] ** 2 + 1)) / 2)
        return (a[step] - 1) / a[step + 1]

    return momentum


def autoencoder_schedules(
    lr: float = 0.005, steps: int = 600_000, largest: float = 0.999
) -> dict[str, Schedule]:
    """Rate and momentum of the deep autoencoders of Sutskever 2013, sec. 7.3, for `fit`.

    The momentum is 0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.997 and then 0.999. The section has it
    rise at "roughly" exponentially spaced steps, the last time after a third of them; here each
    value ends at twice the step at which the one before it did. In the last tenth of the steps the
    momentum is at most 0.99 and the rate a tenth of itself, for the finer convergence.

    Args:
        lr: ε of the first nine tenths; the section has 0.005 (CURVES, MNIST) and 0.0005 (FACES).
        steps: number of updates in all.
        largest: a cap of the momentum; the section has 0.999 for Nesterov's method, 0.99 and 0.9
            for momentum.

    Raises:
        ValueError: so few steps that the values cannot follow one another.

    Example:
        >>> schedules = autoencoder_schedules()
        >>> [schedules["momentum"](step) for step in (0, 3125, 200_000, 540_000)]
        [0.8, 0.9, 0.999, 0.99]
        >>> [round(schedules["lr"](step), 6) for step in (0, 540_000)]
        [0.005, 0.0005]
    """
    if steps < _SHORTEST:
        raise ValueError(f"steps: expected at least {_SHORTEST}, got {steps}")
    last = steps - steps // 10
    rises = [0, *(steps // 3 // 2**k for k in reversed(range(len(_MOMENTA) - 1)))]
    momentum = piecewise({**dict(zip(rises, _MOMENTA, strict=True)), last: 0.99})
    return {"lr": piecewise({0: lr, last: lr / 10}), "momentum": capped(momentum, largest)}


def addition_schedules() -> dict[str, Schedule]:
    """Rate and momentum of the addition and multiplication problems, T = 80 (sec. 7.4.2).

    For `learn` of `seqebm.learning.problems` over 50 000 updates (Sutskever 2013).

    Example:
        >>> schedules = addition_schedules()
        >>> [schedules["lr"](step) for step in (0, 1500, 3000, 6000, 30_000)]
        [3e-05, 0.0003, 0.003, 0.001, 0.0001]
    """
    rates = {0: 3e-5, 1500: 3e-4, 3000: 3e-3, 6000: 1e-3, 30_000: 1e-4}
    return {"lr": piecewise(rates), "momentum": piecewise(_MOMENTUM)}


def memorization_schedules(first: float = 1e-3) -> dict[str, Schedule]:
    """Rate and momentum of the memorization problems (Sutskever 2013, sec. 7.4.2).

    The section says only that ε must be reduced to about 0.00001 "fairly early on (after 1500
    iterations)", because gradients explode otherwise, and that little depends on the rest. The
    momentum is that of `addition_schedules` here.

    Args:
        first: ε before, for a loss that is averaged over the time steps. Tried with Nesterov's
            method and one seed: for 5 bits and T = 200 the loss was 0.03 after 2400 updates with
            0.001, and 0.11 with 0.0003; for 10 symbols and T = 50 it was 0.39 after 2200 with
            0.001, and 0.27 after 2000 with 0.0003.

    Example:
        >>> schedules = memorization_schedules()
        >>> [schedules["lr"](step) for step in (0, 1500)]
        [0.001, 1e-05]
    """
    return {"lr": piecewise({0: first, 1500: 1e-5}), "momentum": piecewise(_MOMENTUM)}


_MOMENTA = (0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.997, 0.999)
_SHORTEST = 3 * 2 ** (len(_MOMENTA) - 2)  # the first value then has one step
_MOMENTUM = {0: 0.9, 4000: 0.98}  # of the recurrent networks of sec. 7.4.2
