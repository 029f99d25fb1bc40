import itertools
import math

import pytest

from seqebm.learning import constant, linear, piecewise
from seqebm.learning.schedules import (
    addition_schedules,
    autoencoder_schedules,
    capped,
    memorization_schedules,
    nesterov_momentum,
    rising_momentum,
)


def test_a_constant_is_the_same_at_every_step():
    assert {constant(0.25)(step) for step in (0, 1, 10**9)} == {0.25}


def test_linear_is_a_straight_line_and_then_its_end():
    schedule = linear(2.0, -1.0, 6)
    expected = [2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.0]
    assert [schedule(step) for step in range(8)] == pytest.approx(expected)
    assert schedule(6) == -1.0
    assert schedule(10**9) == -1.0


def test_linear_over_one_step():
    assert [linear(3, 5, 1)(step) for step in range(3)] == [3, 5, 5]


@pytest.mark.parametrize("steps", [0, -4])
def test_linear_takes_at_least_one_step(steps):
    with pytest.raises(ValueError, match=f"steps: expected at least 1, got {steps}"):
        linear(1.0, 0.0, steps)(0)


def test_piecewise_holds_each_value_until_the_next():
    schedule = piecewise({1000: 25, 0: 10, 10: 5})
    found = {step: schedule(step) for step in (0, 9, 10, 999, 1000, 10**9)}
    assert found == {0: 10, 9: 10, 10: 5, 999: 5, 1000: 25, 10**9: 25}


@pytest.mark.parametrize("values", [{}, {1: 3.0}, {-1: 2, 5: 3}])
def test_piecewise_needs_a_value_for_step_zero(values):
    with pytest.raises(ValueError, match="values: expected one for step 0, got steps"):
        piecewise(values)


def test_a_cap_holds_where_the_schedule_is_above_it():
    assert [capped(linear(0, 4, 4), 2.5)(step) for step in range(5)] == [0, 1, 2, 2.5, 2.5]


def test_nesterovs_momentum_is_that_of_equations_7_5_and_7_8():
    a, expected = 1.0, []
    for _ in range(2000):
        following = (1 + math.sqrt(4 * a * a + 1)) / 2
        expected.append((a - 1) / following)
        a = following
    schedule = nesterov_momentum()
    assert schedule(1999) == expected[1999]  # whatever was asked for before
    assert [schedule(step) for step in range(2000)] == expected
    assert expected[0] == 0


def test_the_rising_momentum_is_what_nesterovs_tends_to():
    exact, rising = nesterov_momentum(), rising_momentum()
    assert [rising(step) for step in (0, 1, 5)] == [0.4, 0.5, 0.7]
    for step in (10, 100, 1000, 10_000):
        assert abs(rising(step) - exact(step)) < 0.2 / step  # both are 3 / step below 1


def test_the_schedules_of_the_autoencoders():
    schedules = autoencoder_schedules(0.0005)
    momenta = [schedules["momentum"](step) for step in range(600_000)]
    changes = [step for step in range(1, 600_000) if momenta[step] != momenta[step - 1]]
    assert [momenta[0], *(momenta[step] for step in changes)] == [
        *(0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.997, 0.999),
        0.99,
    ]
    assert changes[-2:] == [200_000, 540_000]
    ratios = [b / a for a, b in itertools.pairwise(changes[:7])]
    assert ratios == pytest.approx([2] * 6)
    assert [schedules["lr"](step) for step in (0, 539_999)] == [0.0005, 0.0005]
    assert schedules["lr"](540_000) == schedules["lr"](10**9) == pytest.approx(0.00005)


@pytest.mark.parametrize("largest", [0.99, 0.9])
def test_the_momentum_of_the_autoencoders_can_be_capped(largest):
    capped_one = autoencoder_schedules(steps=6000, largest=largest)["momentum"]
    free = autoencoder_schedules(steps=6000)["momentum"]
    assert [capped_one(s) for s in range(6000)] == [min(free(s), largest) for s in range(6000)]


def test_the_schedules_of_the_autoencoders_need_some_steps():
    first = autoencoder_schedules(steps=192)["momentum"]
    assert [first(0), first(1)] == [0.8, 0.9]
    with pytest.raises(ValueError, match="steps: expected at least 192, got 191"):
        autoencoder_schedules(steps=191)


def durations(schedule, steps):
    """The values of a schedule in order, each with the number of its steps."""
    runs = itertools.groupby(schedule(step) for step in range(steps))
    return [(value, len(list(run))) for value, run in runs]


def test_the_schedules_of_the_recurrent_networks_are_as_the_thesis_says():
    addition, memorization = addition_schedules(), memorization_schedules(0.0003)
    assert durations(addition["lr"], 50_000) == [
        *((3e-5, 1500), (3e-4, 1500), (3e-3, 3000), (1e-3, 24_000)),
        (1e-4, 20_000),
    ]
    assert durations(memorization["lr"], 50_000) == [(0.0003, 1500), (1e-5, 48_500)]
    for schedules in (addition, memorization):
        assert durations(schedules["momentum"], 50_000) == [(0.9, 4000), (0.98, 46_000)]
