"""Readouts by ridge regression against least squares on an explicit design, in numpy."""

import brute
import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import Reservoir, make_cell
from seqebm.data import Sequence, Sequences
from seqebm.learning import fit_readout, readout

HIDDEN = 7


def made(conditional="gaussian", cell="esn", seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {"density": 0.4, "leak": 0.8} if cell == "esn" else {}
        return seqebm.RNN(make_cell(cell, 2, HIDDEN, **options), conditional).double()


def walks(lengths, seed=2):
    """Sequences far from the origin, with something to predict."""
    generator = torch.Generator().manual_seed(seed)
    noise = (torch.randn(length, 2, generator=generator) for length in lengths)
    return Sequences(Sequence(40 + 0.3 * one.cumsum(0).sin() + 0.1 * one) for one in noise)


def near(data):
    """The same about zero, where reservoirs are not saturated."""
    return Sequences(Sequence(one.frames - 40) for one in data)


def pairs(model, sequences, washout):
    """The states before frames, by the equation, and the frames."""
    found = [(brute.shown(model.cell, v)[:-1], v) for v in sequences]
    x = np.concatenate([x[washout:] for x, _ in found])
    return x, np.concatenate([v[washout:] for _, v in found])


def reference(x, y, penalty):
    """Ridge with a free intercept as one least-squares problem."""
    gram = np.sum((x - x.mean(0)) ** 2)
    rows = np.sqrt(penalty * gram / x.shape[1]) * np.eye(x.shape[1])
    design = np.block([[x, np.ones((len(x), 1))], [rows, np.zeros((len(rows), 1))]])
    targets = np.concatenate([y, np.zeros((len(rows), y.shape[1]))])
    solution = np.linalg.lstsq(design, targets, rcond=None)[0]
    return solution[:-1].T, solution[-1]


def assert_readout(model, expected, tolerance=1e-6):
    for got, value in zip((model.readout.weight, model.readout.bias), expected, strict=True):
        np.testing.assert_allclose(brute.array(got), value, rtol=tolerance, atol=tolerance)


def arrays(data):
    return [one.frames.double().numpy() for one in data]


@pytest.mark.parametrize("rows", [4096, 40])
@pytest.mark.parametrize("washout", [0, 5])
@pytest.mark.parametrize("penalty", [1e-6, 0.1])
def test_it_is_least_squares_on_the_explicit_design(penalty, washout, rows, monkeypatch):
    monkeypatch.setattr(readout, "ROWS", rows)
    monkeypatch.setattr(readout, "SEQUENCES", 3)
    model, data = made(), near(walks([30, 3, 50, 6, 5, 41, 20]))
    assert fit_readout(model, data, penalty, washout) == penalty
    assert_readout(model, reference(*pairs(model, arrays(data), washout), penalty))


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_any_network_may_stand_below(cell):
    model, data = made(cell=cell), near(walks([30, 20]))
    fit_readout(model, data, penalty=1e-3)
    assert_readout(model, reference(*pairs(model, arrays(data), 0), 1e-3))


def test_frames_in_one_tensor_are_sequences_of_one_length():
    generator = torch.Generator().manual_seed(3)
    frames = torch.randn(5, 20, 2, generator=generator, dtype=torch.float64)
    model = made()
    fit_readout(model, frames, penalty=1e-3, washout=2)
    assert_readout(model, reference(*pairs(model, frames.numpy(), 2), 1e-3))


def test_frames_far_from_the_origin_lose_nothing():
    model = made()
    model.cell.visible_to_hidden.mul_(0.01)
    data = walks([200, 100])
    fit_readout(model, data, penalty=1e-6)
    assert_readout(model, reference(*pairs(model, arrays(data), 0), 1e-6), 1e-5)


@pytest.mark.parametrize(
    ("lengths", "held"), [([30] * 20 + [4], [18, 19]), ([40, 25, 4], [1]), ([120], None)]
)
def test_the_penalty_is_the_best_on_the_last_tenth(lengths, held):
    washout = 5
    model, data = made(), near(walks(lengths))
    found = fit_readout(model, data, washout=washout)
    if held is None:
        x, y = pairs(model, arrays(data), washout)
        last = len(x) // 10
        training, test = (x[:-last], y[:-last]), (x[-last:], y[-last:])
    else:
        every = arrays(data)
        training = pairs(model, [v for i, v in enumerate(every) if i not in held], washout)
        test = pairs(model, [every[i] for i in held], washout)
    errors = {}
    for penalty in readout.PENALTIES:
        weight, bias = reference(*training, penalty)
        errors[penalty] = np.sum((test[1] - test[0] @ weight.T - bias) ** 2)
    assert errors[found] <= (1 + 1e-6) * min(errors.values())
    assert_readout(model, reference(*pairs(model, arrays(data), washout), found))


def test_without_a_penalty_no_readout_is_more_likely():
    model, data = made("gaussian:learned"), near(walks([60, 40]))
    fit_readout(model, data, penalty=0.0)
    frames, lengths = data.padded()
    model.loss(frames, lengths).backward()
    parameters = dict(model.named_parameters())
    assert set(parameters) == {"readout.weight", "readout.bias", "output.visible.log_sigma"}
    for name, parameter in parameters.items():
        assert float(parameter.grad.abs().max()) < 1e-7, name
    left = (model.predict(frames, lengths) - frames)[torch.arange(60) < lengths[:, None]]
    sigma = left.square().mean(0).sqrt()
    torch.testing.assert_close(model.visible.log_sigma.exp().detach(), sigma)


def test_frames_without_noise_leave_a_sigma():
    model = made("gaussian:learned")
    fit_readout(model, torch.ones(2, 9, 2), penalty=1e-3)
    assert bool(model.log_prob(torch.ones(1, 3, 2)).isfinite().all())
    torch.testing.assert_close(model.predict(torch.ones(1, 3, 2)), torch.ones(1, 3, 2).double())


def test_a_fixed_sigma_stays():
    model = made("gaussian:0.5")
    fit_readout(model, near(walks([30])), penalty=1e-3)
    torch.testing.assert_close(model.visible.log_sigma.exp(), torch.full((2,), 0.5).double())


def test_a_sine_runs_on_by_itself():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(Reservoir(1, 100, leak=0.5), "gaussian")
    wave = torch.sin(torch.arange(1200.0) / 5).view(1, -1, 1)
    fit_readout(model, wave[:, :1000], penalty=1e-7, washout=100)
    going_on = model.sample_means(200, prefix=wave[:, :1000])
    # the units' own noise is the only randomness that a mean has not
    assert float((going_on - wave[:, 1000:]).abs().max()) < 0.05


FRAMES = torch.zeros(2, 5, 2)


@pytest.mark.parametrize(
    ("model", "data", "options", "error", "message"),
    [
        (seqebm.RTRBM(2, 3), FRAMES, {}, TypeError, "model: expected an RNN, got RTRBM"),
        (made("bernoulli"), FRAMES, {}, ValueError, "Gaussian units, got 'bernoulli'"),
        (made("mixture:2"), FRAMES, {}, ValueError, "Gaussian units, got 'mixture:2'"),
        (made("nade:2"), FRAMES, {}, ValueError, "Gaussian units, got 'nade:2'"),
        (made("categorical:2"), FRAMES, {}, ValueError, "Gaussian units, got 'categorical:2'"),
        (made(), FRAMES, {"penalty": -1.0}, ValueError, "penalty: expected a finite number"),
        (made(), FRAMES, {"penalty": float("nan")}, ValueError, "penalty: expected a finite"),
        (made(), FRAMES, {"washout": 5}, ValueError, "washout: .* longest sequence, 5, got 5"),
        (made(), FRAMES, {"washout": -1}, ValueError, "washout: expected at least 0"),
        (made(), FRAMES[:1], {"washout": 4}, ValueError, "penalty: expected a number, got None"),
        (made(), FRAMES[:0], {}, ValueError, "data: expected at least one sequence, got none"),
        (made(), Sequences([]), {}, ValueError, "data: expected at least one sequence, got none"),
        (made(), FRAMES[:, :0], {}, ValueError, "washout: .* longest sequence, 0, got 0"),
        (made(), FRAMES[0], {}, ValueError, r"data: expected \[sequences, time, visible\]"),
        (made(), torch.zeros(2, 5, 3), {}, ValueError, "frames: expected shape"),
        (made(), torch.zeros(2, 5, 2).long(), {}, TypeError, "frames: expected a floating"),
        (made(), torch.full((2, 5, 2), torch.nan), {}, ValueError, "frames: expected finite"),
    ],
)
def test_what_cannot_be_fitted(model, data, options, error, message):
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    with pytest.raises(error, match=message):
        fit_readout(model, data, **options)
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), before)
