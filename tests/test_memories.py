import pytest
import torch

import seqebm
from seqebm.memories import delay, recurrence, taps, taps_of_data


def normal(*shape, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 3, 7])
@pytest.mark.parametrize("time", [0, 1, 5])
def test_delay_gives_the_vectors_before_each_time(order, time):
    initial, sequence = normal(2, order, 3, seed=1), normal(2, time, 3, seed=2)
    got = delay(initial, sequence)
    assert got.shape == (2, time + 1, order, 3)
    for t in range(time + 1):
        for n in range(order):
            at = t - 1 - n  # the time of lag n + 1; times −1, −2 … are initial[0], initial[1] …
            expected = sequence[:, at] if at >= 0 else initial[:, -1 - at]
            assert torch.equal(got[:, t, n], expected)


def test_a_delay_line_without_taps_is_empty():
    assert delay(torch.zeros(2, 0, 3), torch.zeros(2, 5, 3)).shape == (2, 6, 0, 3)


def test_delay_carries_gradients_to_the_initial_values():
    initial = normal(1, 3, 2, seed=1).requires_grad_()
    delay(initial, torch.zeros(1, 2, 2).double()).sum().backward()
    # after the window of time 0, lag n + 1 is seen at the times while it has not moved out
    assert initial.grad[0, :, 0].tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("order", [1, 3])
def test_taps_sum_the_products(order):
    windows, weights = normal(2, 4, order, 3, seed=1), normal(order, 5, 3, seed=2)
    got = taps(windows, weights)
    assert got.shape == (2, 4, 5)
    for b in range(2):
        for t in range(4):
            expected = sum(weights[n] @ windows[b, t, n] for n in range(order))
            torch.testing.assert_close(got[b, t], expected)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("time", [0, 1, 5])
def test_taps_of_data_equal_taps(order, time):
    data, results = normal(2, time, 3, seed=3), []
    for tap in (taps, taps_of_data):
        initial = normal(order, 3, seed=1).requires_grad_()
        weights = normal(order, 5, 3, seed=2).requires_grad_()
        out = tap(delay(initial.expand(2, order, 3), data), weights)
        (out * normal(2, time + 1, 5, seed=4)).sum().backward()
        results.append((out, initial.grad, weights.grad))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_taps_of_data_pass_gradcheck_twice():
    def early(initial, weights):
        return taps_of_data(delay(initial, normal(2, 4, 2, seed=3)), weights)

    arguments = normal(2, 2, 2, seed=1).requires_grad_(), normal(2, 3, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(early, arguments)
    assert torch.autograd.gradgradcheck(early, arguments)


def plain_recurrence(drive, weight, initial):
    """r_t = σ(drive_t + W′ r_{t−1}), left to autograd."""
    states = [initial]
    for t in range(drive.shape[1]):
        states.append(torch.sigmoid(drive[:, t] + states[-1] @ weight.T))
    return torch.stack(states, dim=1)


def inputs(batch=2, time=4, hidden=3):
    drive = normal(batch, time, hidden, seed=1)
    weight, initial = normal(hidden, hidden, seed=2), normal(batch, hidden, seed=3)
    return [x.requires_grad_() for x in (drive, weight, initial)]


@pytest.mark.parametrize(("batch", "time", "hidden"), [(2, 4, 3), (1, 1, 1), (3, 9, 2), (2, 0, 3)])
def test_recurrence_and_its_gradient_equal_the_plain_loop(batch, time, hidden):
    expected_inputs = inputs(batch, time, hidden)
    got_inputs = inputs(batch, time, hidden)
    expected, got = plain_recurrence(*expected_inputs), recurrence(*got_inputs)
    torch.testing.assert_close(got, expected)
    upstream = normal(*got.shape, seed=4)
    for result in (expected, got):
        result.backward(upstream)
    for a, b in zip(got_inputs, expected_inputs, strict=True):
        torch.testing.assert_close(a.grad, torch.zeros_like(a) if b.grad is None else b.grad)


def test_recurrence_passes_gradcheck():
    assert torch.autograd.gradcheck(recurrence, inputs())


def test_recurrence_can_be_differentiated_twice():
    assert torch.autograd.gradgradcheck(recurrence, inputs())


def test_the_hessian_of_a_log_likelihood_through_the_recurrence():
    """Rows of the Hessian against differences of gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RTRBM(3, 2).double()
    parameters, frames = list(model.parameters()), normal(2, 4, 3, seed=5).sigmoid().round()

    def gradient(**options):
        return torch.autograd.grad(model.log_prob(frames).sum(), parameters, **options)

    direction = [normal(*p.shape, seed=i) for i, p in enumerate(parameters)]
    slope = sum((g * d).sum() for g, d in zip(gradient(create_graph=True), direction, strict=True))
    exact = torch.autograd.grad(slope, parameters)
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(d, alpha=sign * 1e-5)
        sides.append(gradient())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(d, alpha=sign * 1e-5)
    for name, a, b, got in zip(dict(model.named_parameters()), *sides, exact, strict=True):
        torch.testing.assert_close(got, (a - b) / 2e-5, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("place", [(slice(None), 0), (slice(None), 2), (0, -1), (1, 1, 2)])
def test_the_gradient_of_a_part_of_the_states(place):
    got_inputs, expected_inputs = inputs(), inputs()
    recurrence(*got_inputs)[place].sum().backward()
    plain_recurrence(*expected_inputs)[place].sum().backward()
    for a, b in zip(got_inputs, expected_inputs, strict=True):
        torch.testing.assert_close(a.grad, torch.zeros_like(a) if b.grad is None else b.grad)


def test_the_initial_state_is_used_as_it_is():
    initial = torch.tensor([[-5.0, 7.0]])
    states = recurrence(torch.zeros(1, 1, 2), torch.eye(2), initial)
    assert torch.equal(states[:, 0], initial)
    torch.testing.assert_close(states[:, 1], initial.sigmoid())


def test_recurrence_leaves_its_inputs_alone():
    given = [x.detach() for x in inputs()]
    copies = [x.clone() for x in given]
    recurrence(*given)
    assert all(torch.equal(a, b) for a, b in zip(given, copies, strict=True))
