"""Recurrent cores against the equations of their sources, written out in tests/brute.py."""

import brute
import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import (
    CELLS,
    MRNN,
    Cell,
    FusedCell,
    Reservoir,
    StackedCells,
    StandardRNN,
    TensorRNN,
    as_cell,
    make_cell,
)
from seqebm.cells.named import cell_from

MADE = {
    **{name: lambda name=name: make_cell(name, 3, 4) for name in CELLS},
    "relu": lambda: make_cell("rnn", 3, 4, nonlinearity="relu"),
    "two layers": lambda: make_cell("lstm", 3, 4, layers=2),
    "skips": lambda: StandardRNN(3, 4, order=3),
    "sigmoid": lambda: StandardRNN(3, 4, nonlinearity="sigmoid"),
    "factors": lambda: MRNN(3, 4, factors=6),
    "leaky": lambda: Reservoir(3, 4, radius=1.2, leak=0.3, density=0.7, input_scale=0.5),
    "stacked": lambda: StackedCells(
        [make_cell("mrnn", 3, 4), make_cell("gru", 7, 2), make_cell("memory-lstm", 5, 4)]
    ),
    "stacked, with a scan": lambda: StackedCells([StandardRNN(3, 4), make_cell("lstm", 7, 2)]),
}


@pytest.fixture(params=MADE)
def cell(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        cell = MADE[request.param]().double()
        for parameter in cell.parameters():
            nn.init.normal_(parameter, std=0.6)
    return cell


def frames(batch=2, time=5, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, 3, generator=generator, dtype=torch.float64)


def test_a_sequence_is_what_the_equations_say(cell):
    if cell.settings.get("nonlinearity") == "relu" or cell.settings.get("layers", 1) > 1:
        pytest.skip("torch's own; tests/models/test_rnn.py")
    outputs, _ = cell(frames(), cell.initial_state(2))
    for got, one in zip(outputs, frames().numpy(), strict=True):
        torch.testing.assert_close(got.detach(), torch.from_numpy(brute.shown(cell, one)))


def test_a_sequence_equals_its_steps(cell):
    outputs, after = cell(frames(), cell.initial_state(2))
    state = cell.initial_state(2)
    torch.testing.assert_close(outputs[:, 0], cell.output(state))
    for t, frame in enumerate(frames().unbind(1), 1):
        state = cell.step(state, frame)
        torch.testing.assert_close(outputs[:, t], cell.output(state))
    torch.testing.assert_close(state, after)
    assert outputs.shape == (2, 6, cell.hidden_size)


def test_a_sequence_in_two_parts_or_none(cell):
    whole, after = cell(frames(), cell.initial_state(2))
    first, state = cell(frames()[:, :2], cell.initial_state(2))
    nothing, state = cell(frames()[:, :0], state)
    second, state = cell(frames()[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second[:, 1:]], dim=1), whole)
    torch.testing.assert_close(nothing, whole[:, 2:3])
    torch.testing.assert_close(state, after)


def test_gradients(cell):
    if isinstance(cell, FusedCell):
        pytest.skip("torch's own")
    if cell.settings["kind"] == "truncated-lstm":
        pytest.skip("not that of the function")
    names, parameters = list(dict(cell.named_parameters())), list(cell.parameters())

    def outputs(inputs, *values):
        given = dict(zip(names, values, strict=True))
        call = torch.func.functional_call

        class Bound(nn.Module):
            def __init__(self):
                super().__init__()
                self.cell = cell

            def forward(self, inputs):
                return self.cell(inputs, self.cell.initial_state(len(inputs)))[0]

        return call(Bound(), {f"cell.{name}": value for name, value in given.items()}, inputs)

    inputs = (frames(time=3).requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(outputs, inputs)
    learned = torch.autograd.grad(outputs(*inputs).square().sum(), inputs)
    assert all(bool(gradient.any()) for gradient in learned)


def test_a_trace_is_what_is_read(cell):
    """Outputs and gradients are those of `forward`."""
    outputs, _ = cell(frames(), cell.initial_state(2))
    trace = cell.trace(frames(), cell.initial_state(2))
    torch.testing.assert_close(trace.outputs, outputs, rtol=1e-12, atol=1e-12)
    assert trace.inputs.shape == trace.slopes.shape
    assert trace.inputs.shape[:2] == (2, 5)
    assert not trace.slopes.requires_grad
    nothing = cell.trace(frames()[:, :0], cell.initial_state(2))
    torch.testing.assert_close(nothing.outputs, outputs[:, :1])
    assert nothing.inputs.shape == nothing.slopes.shape == (2, 0, trace.inputs.shape[2])
    parameters = list(cell.parameters())
    if parameters:
        errors = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(3)).double()
        expected = torch.autograd.grad(outputs, parameters, errors)
        torch.testing.assert_close(
            torch.autograd.grad(trace.outputs, parameters, errors), expected, rtol=1e-10, atol=1e-12
        )


def test_gradients_of_a_trace_have_derivatives(cell):
    """Jv by the gradient of Jᵀu, against Jᵀu for every u."""
    parameters = list(cell.parameters())
    if not parameters:
        pytest.skip("nothing is learned")
    trace = cell.trace(frames(), cell.initial_state(2))
    generator = torch.Generator().manual_seed(3)
    v = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    made = (trace.outputs, trace.inputs)
    errors = [torch.zeros_like(one, requires_grad=True) for one in made]
    gradient = torch.autograd.grad(made, parameters, errors, create_graph=True)
    for one, got in zip(made, torch.autograd.grad(gradient, errors, v), strict=True):
        rows = (
            torch.autograd.grad(number, parameters, retain_graph=True, materialize_grads=True)
            for number in one.flatten()
        )
        expected = [sum((a * b).sum() for a, b in zip(row, v, strict=True)) for row in rows]
        torch.testing.assert_close(got.flatten(), torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_the_truncated_gradient_is_the_one_that_is_learned_online():
    """Krause 2015, eq. 2.17, with forget gates: one trace for each weight, and no way back."""
    cell = make_cell("truncated-lstm", 3, 4).double()
    n, inputs = 4, frames(batch=1, time=6)[0]
    wanted = torch.randn(6, n, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    outputs, _ = cell(inputs[None], cell.initial_state(1))
    loss = (outputs[0, 1:] * wanted).sum()
    got = torch.autograd.grad(
        loss, (cell.hidden_to_gates, cell.visible_to_gates, cell.initial_cell)
    )
    w, u, b = (p.detach() for p in (cell.hidden_to_gates, cell.visible_to_gates, cell.gate_bias))
    h, c = cell.initial_hidden.detach(), cell.initial_cell.detach()
    trace_w, trace_u, trace_c = torch.zeros_like(w), torch.zeros_like(u), torch.ones(n).double()
    sums = [torch.zeros_like(one) for one in (w, u, c)]
    for v, error in zip(inputs, wanted, strict=True):
        i, f, o, g = (w @ h + u @ v + b).split(n)
        i, f, o, g = i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()
        slopes = torch.cat([g * i * (1 - i), c * f * (1 - f), torch.zeros(n), i * (1 - g**2)])
        keep = f.repeat(4)[:, None]
        trace_w = keep * trace_w + slopes[:, None] * h
        trace_u = keep * trace_u + slopes[:, None] * v
        trace_c = f * trace_c
        c = f * c + i * g
        to_cell = (error * o * (1 - c.tanh() ** 2)).repeat(4)[:, None]
        own = torch.zeros(4 * n).double()
        own[2 * n : 3 * n] = error * c.tanh() * o * (1 - o)
        sums[0] += to_cell * trace_w + own[:, None] * h
        sums[1] += to_cell * trace_u + own[:, None] * v
        sums[2] += to_cell[:n, 0] * trace_c
        h = o * c.tanh()
    for a, b in zip(got, sums, strict=True):
        torch.testing.assert_close(a, b)


def test_settings_make_the_same_shape_again(cell):
    again = cell_from(cell.settings).double()
    again.load_state_dict(cell.state_dict())
    assert again.settings == cell.settings
    expected, _ = cell(frames(), cell.initial_state(2))
    torch.testing.assert_close(again(frames(), again.initial_state(2))[0], expected)


def test_the_standard_network_is_torchs():
    cell, fused = StandardRNN(3, 4).double(), make_cell("rnn", 3, 4).double()
    network = fused.network
    with torch.no_grad():
        network.weight_ih_l0.copy_(cell.visible_to_hidden)
        network.weight_hh_l0.copy_(cell.hidden_to_hidden[0])
        network.bias_ih_l0.copy_(cell.hidden_bias.normal_())
        network.bias_hh_l0.zero_()
        fused.initial_hidden.copy_(cell.initial_hidden)
    expected, _ = fused(frames(), fused.initial_state(2))
    torch.testing.assert_close(cell(frames(), cell.initial_state(2))[0], expected)


def test_an_mrnn_is_a_tensor_rnn_with_a_factored_tensor():
    """Sutskever 2013, eq. 5.4."""
    mrnn, tensor = MRNN(3, 4, factors=5).double(), TensorRNN(3, 4).double()
    with torch.no_grad():
        for m, matrix in enumerate(tensor.hidden_to_hidden):
            gains = torch.diag(mrnn.visible_to_factors[:, m])
            matrix.copy_(mrnn.factors_to_hidden @ gains @ mrnn.hidden_to_factors)
        for name in ("visible_to_hidden", "hidden_bias", "initial_hidden"):
            getattr(tensor, name).copy_(getattr(mrnn, name).normal_())
    expected, _ = tensor(frames(), tensor.initial_state(2))
    torch.testing.assert_close(mrnn(frames(), mrnn.initial_state(2))[0], expected)


@pytest.mark.parametrize("kind", ["mrnn", "mlstm"])
def test_factors_have_unit_variance_for_frames_as_expected(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(StackedCells([make_cell(kind, 50, 400)]), "categorical:50")
    model.start_at(torch.full((50,), 0.02))
    (cell,) = model.cell.layers
    assert cell.visible_to_factors.var().item() == pytest.approx(1, rel=0.02)  # one of 50 is on
    model = seqebm.RNN(make_cell(kind, 50, 400), "gaussian")
    model.start_at(torch.zeros(50))
    frames = torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    gains = frames @ model.cell.visible_to_factors.T
    assert gains.var().item() == pytest.approx(1, rel=0.1)


def test_forget_gates_begin_open():
    mlstm, memory = make_cell("mlstm", 3, 4), make_cell("memory-lstm", 3, 4)
    assert mlstm.gate_bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert memory.forget_bias.tolist() == [5.0, 5.0]


def test_recurrent_matrices_are_what_leads_from_state_to_state(cell):
    """With all of them zero, a state shows nothing of the one before but through open gates."""
    found = cell.recurrent_matrices()
    inside = {p.untyped_storage().data_ptr() for p in (*cell.parameters(), *cell.buffers())}
    assert all(matrix.untyped_storage().data_ptr() in inside for matrix in found)
    for matrix in found:
        matrix.zero_()
    forgets = cell.settings.get("leak", 1.0) == 1.0
    if cell.settings["kind"] in ("rnn", "skip-rnn", "tensor-rnn", "mrnn", "esn") and forgets:
        before = cell(frames(), cell.initial_state(2))[0][:, -1]
        other = cell(torch.cat([frames(seed=3)[:, :4], frames()[:, 4:]], 1), cell.initial_state(2))
        torch.testing.assert_close(other[0][:, -1], before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_cell("elman", 3, 4), r"cell: expected one of rnn, lstm, .*'elman'"),
        (lambda: make_cell("mrnn", 0, 4), "input_size: expected at least 1, got 0"),
        (lambda: make_cell("tensor-rnn", 3, 0), "hidden_size: expected at least 1, got 0"),
        (lambda: MRNN(3, 4, factors=0), "factors: expected at least 1, got 0"),
        (lambda: StandardRNN(3, 4, order=0), "order: expected at least 1, got 0"),
        (
            lambda: StandardRNN(3, 4, 1, "relu"),
            "expected one of tanh, sigmoid, got 'relu'",
        ),
        (lambda: make_cell("memory-lstm", 3, 5), "hidden_size: expected an even number, got 5"),
        *(
            (
                lambda name=name, value=value: Reservoir(3, 4, **{name: value}),
                rf"{name}: expected a number in \(0, 1\], got {value}",
            )
            for name in ("leak", "density")
            for value in (0.0, -0.1, 1.1, float("nan"))
        ),
        (lambda: Reservoir(3, 4, radius=-1.0), "radius: expected a number from 0 up, got -1.0"),
        (lambda: Reservoir(3, 4, input_scale=float("inf")), "input_scale: .* got inf"),
        (lambda: StackedCells([]), "cells: expected at least one, got none"),
        (
            lambda: StackedCells([make_cell("gru", 3, 4), make_cell("gru", 4, 4)]),
            "cells: number 2 must have input size 7, got 4",
        ),
    ],
)
def test_what_a_cell_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_torchs_networks_become_cells():
    gru = nn.GRU(3, 4, batch_first=True)
    assert as_cell(gru).network is gru
    cell = make_cell("mrnn", 3, 4)
    assert as_cell(cell) is cell
    assert isinstance(cell, Cell)
