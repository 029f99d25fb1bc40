import pytest

from seqebm.learning import constant, linear, piecewise


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
