"""Schedules: pure functions of the step, so that a resumed run needs no state of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Schedule = Callable[[int], float]


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
