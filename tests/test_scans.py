"""Recurrent scans against torch's networks, dense Jacobians and the algorithm of their source."""

import pytest
import torch
from torch import nn

from seqebm.cells import FusedCell, StandardRNN
from seqebm.cells.scans import LSTM, NONLINEARITIES, Standard, Workspace, scan

TIME, BATCH, WIDTH, UNITS = 5, 2, 3, 4
KINDS = {**{name: lambda name=name: Standard(name) for name in NONLINEARITIES}, "lstm": LSTM}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def numbers(kind, time=TIME, seed=1):
    """Frames, initial state, W_v, b and W, all of which want gradients."""
    generator = torch.Generator().manual_seed(seed)
    gates, parts = (4 * UNITS, 2) if kind == "lstm" else (UNITS, 1)
    shapes = (time, BATCH, WIDTH), (parts, BATCH, UNITS), (gates, WIDTH), (gates,), (gates, UNITS)
    return [
        (0.6 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        for shape in shapes
    ]


def like(tensors, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in tensors]


def plain(kind, frames, initial, input_weight, bias, weight):
    """The equations in a loop that autograd follows: states and total inputs."""
    h, c = initial[0], initial[-1]
    states, inputs = [h], []
    for frame in frames:
        u = frame @ input_weight.T + bias + h @ weight.T
        if kind == "lstm":
            i, f, g, o = u.split(UNITS, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        else:
            h = getattr(torch, kind)(u)
        states.append(h)
        inputs.append(u)
    return torch.stack(states), torch.stack(inputs) if inputs else frames.new_zeros(
        0, BATCH, len(bias)
    )


def both(kind, given):
    return scan(KINDS[kind](), *given)[:2]


def double_backward(outputs, given):
    """Jv for a direction and Jᵀw for errors, as an optimiser computes them: often, of one graph."""
    errors = [torch.zeros_like(one, requires_grad=True) for one in outputs]
    gradient = torch.autograd.grad(outputs, given, errors, create_graph=True)
    return (
        lambda v: torch.autograd.grad(gradient, errors, v, retain_graph=True),
        lambda w: torch.autograd.grad(outputs, given, w, retain_graph=True),
    )


@pytest.mark.parametrize("time", [0, 1, TIME])
def test_states_and_inputs_are_what_the_equations_say(kind, time):
    given = numbers(kind, time)
    states, inputs, slopes = scan(KINDS[kind](), *given)
    expected = plain(kind, *given)
    torch.testing.assert_close((states, inputs), expected, rtol=1e-12, atol=1e-12)
    assert states.shape == (time + 1, BATCH, UNITS)
    assert inputs.shape == slopes.shape == (time, BATCH, len(given[-1]))


@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu"}, {"bias": False}])
@pytest.mark.parametrize("network", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
def test_traces_are_torchs_outputs(network, options, layers):
    if network is nn.LSTM and "nonlinearity" in options:
        pytest.skip("has none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = network(WIDTH, UNITS, layers, batch_first=True, **options).double()
    cell = FusedCell(network).double()
    frames = torch.randn(BATCH, TIME, WIDTH, dtype=torch.float64)
    expected, _ = cell(frames, cell.initial_state(BATCH))
    outputs = cell.trace(frames, cell.initial_state(BATCH)).outputs
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_slopes_are_those_of_the_nonlinearities(kind):
    _, inputs, slopes = scan(KINDS[kind](), *numbers(kind))
    u = inputs.detach().requires_grad_()
    if kind == "lstm":
        i, f, g, o = u.split(UNITS, dim=-1)
        e = torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], dim=-1)
    else:
        e = getattr(torch, kind)(u)
    torch.testing.assert_close(slopes, torch.autograd.grad(e.sum(), u)[0])
    assert not slopes.requires_grad


@pytest.mark.parametrize("time", [0, 1, 3])
def test_gradients(kind, time):
    assert torch.autograd.gradcheck(lambda *given: both(kind, given), numbers(kind, time))


def flat(tensors):
    return torch.cat([one.flatten() for one in tensors])


@pytest.mark.parametrize("time", [0, 1, TIME])
def test_products_are_those_of_dense_jacobians(kind, time):
    given = numbers(kind, time)
    parts = torch.autograd.functional.jacobian(
        lambda *given: flat(plain(kind, *given)), tuple(given)
    )
    jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)
    forward, back = double_backward(both(kind, given), given)
    for seed in (2, 3):  # memory that is used again holds nothing of the time before
        v = like(given, seed)
        ahead = forward(v)
        torch.testing.assert_close(flat(ahead), jacobian @ flat(v), rtol=1e-10, atol=1e-10)
        w = like(ahead, seed)
        torch.testing.assert_close(flat(back(w)), jacobian.T @ flat(w), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chosen", [[0], [1], [4], [2, 3]])
@pytest.mark.parametrize("output", [0, 1])
def test_products_for_some_parameters_and_outputs(kind, chosen, output):
    """Whether or not frames, states or inputs take part."""
    given = [one if number in chosen else one.detach() for number, one in enumerate(numbers(kind))]
    wanted = [given[number] for number in chosen]
    got = double_backward([both(kind, given)[output]], wanted)
    expected = double_backward([plain(kind, *given)[output]], wanted)
    v, w = like(wanted), like([both(kind, given)[output]])
    torch.testing.assert_close(got[0](v), expected[0](v), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got[1](w), expected[1](w), rtol=1e-10, atol=1e-10)


def test_tensors_in_any_order_of_memory(kind):
    given = numbers(kind)
    apart = [one.detach().mT.contiguous().mT if one.dim() > 1 else one.detach() for one in given]
    apart[0] = apart[0].transpose(0, 1).contiguous().transpose(0, 1)
    assert not apart[0].is_contiguous()
    assert not apart[-1].is_contiguous()
    for one in apart:
        one.requires_grad_()
    outputs = both(kind, apart)
    v, w = like(given), [one.transpose(0, 1).contiguous().transpose(0, 1) for one in like(outputs)]
    for got, expected, direction in zip(
        double_backward(outputs, apart),
        double_backward(both(kind, given), given),
        (v, w),
        strict=True,
    ):
        torch.testing.assert_close(got(direction), expected(direction))


def test_algorithm_6():
    """Sutskever 2013, sec. 4.6: with tanh, sigmoid and the damping of line 13."""
    dtype = torch.float64
    cell, readout, strength = StandardRNN(WIDTH, UNITS).double(), nn.Linear(UNITS, 2).double(), 0.3
    frames = torch.randn(1, TIME, WIDTH, generator=torch.Generator().manual_seed(3), dtype=dtype)
    parameters = [cell.visible_to_hidden, cell.hidden_to_hidden, cell.hidden_bias]
    parameters += [readout.weight, readout.bias]
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.6 * like([parameter], 4)[0])
    v = like(parameters, 5)

    trace = cell.trace(frames, cell.initial_state(1))
    o = readout(trace.outputs[:, 1:])
    forward, back = double_backward((o, trace.inputs), parameters)
    ro, ru = forward(v)
    z = o.detach().sigmoid()
    got = back((z * (1 - z) * ro, strength * trace.slopes * ru))

    w_hv, w_hh, _, w_oh, _ = (parameter.detach() for parameter in parameters)
    v_hv, v_hh, v_bh, v_oh, v_bo = v
    w_hh, v_hh = w_hh[0], v_hh[0]
    h, x = trace.outputs[0].detach(), frames[0]
    r_h, r_u, r_z = [torch.zeros(UNITS, dtype=dtype)], [], []
    for i in range(TIME):
        r_u.append(v_bh + v_hv @ x[i] + v_hh @ h[i] + w_hh @ r_h[-1])
        r_h.append((1 + h[i + 1]) * (1 - h[i + 1]) * r_u[-1])
        r_z.append(z[0, i] * (1 - z[0, i]) * (v_bo + v_oh @ h[i + 1] + w_oh @ r_h[-1]))
    sums = [torch.zeros_like(one) for one in (w_hv, w_hh, v_bh, w_oh, v_bo)]
    later = torch.zeros(UNITS, dtype=dtype)
    for i in reversed(range(TIME)):
        slope = (1 + h[i + 1]) * (1 - h[i + 1])
        delta = slope * (w_hh.T @ later + w_oh.T @ r_z[i])
        delta = delta + strength * slope * r_u[i]
        for total, part in zip(
            sums,
            (delta.outer(x[i]), delta.outer(h[i]), delta, r_z[i].outer(h[i + 1]), r_z[i]),
            strict=True,
        ):
            total += part
        later = delta
    sums[1] = sums[1].unsqueeze(0)
    torch.testing.assert_close(got, tuple(sums), rtol=1e-10, atol=1e-12)


def test_other_second_derivatives_are_refused(kind):
    given = numbers(kind)
    states, inputs = both(kind, given)
    loss = states.square().sum() + inputs.square().sum()
    gradients = torch.autograd.grad(loss, given, create_graph=True)
    for one in given:
        with pytest.raises(RuntimeError, match="with respect to the errors that enter them only"):
            torch.autograd.grad(sum(g.sum() for g in gradients), one, retain_graph=True)
    with pytest.raises(RuntimeError, match="Gauss–Newton"):
        sum(g.sum() for g in gradients).backward()


def test_what_a_product_gave_is_not_written_over_by_the_next(kind):
    given = numbers(kind)
    forward, back = double_backward(both(kind, given), given)
    ahead = forward(like(given))
    errors = back(like(ahead))
    kept = [one.clone() for one in (*ahead, *errors)]
    back(forward(like(given, seed=7)))
    assert all(torch.equal(a, b) for a, b in zip(kept, (*ahead, *errors), strict=True))


def test_a_workspace_gives_memory_again_when_nothing_uses_it():
    workspace, double = Workspace(), torch.zeros((), dtype=torch.float64)
    first = workspace.empty(double, 2, 3)
    place, part = first.data_ptr(), first[1]
    assert workspace.empty(double, 2, 3).data_ptr() != place
    del first
    assert workspace.empty(double, 6).data_ptr() != place
    del part
    again = {workspace.empty(double.float(), 12).data_ptr() for _ in range(3)}
    assert place in again | {workspace.empty(double, 3, 2).data_ptr()}
    assert workspace.empty(double, 0, 3).shape == (0, 3)


def test_products_take_no_new_memory_for_sequences(kind):
    """Beside the workspace nothing as large as one tensor of all times is asked for."""
    given = [one.detach().float().requires_grad_() for one in numbers(kind, time=60)]
    frames, *parameters = given
    states, _ = both(kind, [frames.detach(), *parameters])
    forward, back = double_backward([states], parameters)
    v, w = like(parameters), like([states])
    back(w), forward(v)
    with torch.profiler.profile(profile_memory=True) as profile:
        forward(v)
        back(w)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < states.numel() * states.itemsize


def test_an_unknown_nonlinearity():
    with pytest.raises(ValueError, match="expected one of tanh, sigmoid, relu, got 'cos'"):
        Standard("cos")
