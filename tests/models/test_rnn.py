import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import FusedCell, make_cell
from seqebm.models.rnn import rnn
from seqebm.units import Gaussian

CELLS = {
    "rnn": (nn.RNN, nn.RNNCell),
    "lstm": (nn.LSTM, nn.LSTMCell),
    "gru": (nn.GRU, nn.GRUCell),
}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def build(cell, layers=1, visible="bernoulli"):
    model = seqebm.RNN(CELLS[cell][0](3, 4, layers, batch_first=True), visible).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator())
    return model


def data(batch=2, time=5, seed=2):
    return torch.rand(batch, time, 3, generator=generator(seed), dtype=torch.float64)


def stepped(model, cell, frames):
    """The last layer's output before each frame and after the last, one step at a time."""
    steps, hiddens, memories = [], [], []
    for layer in range(model.cell.network.num_layers):
        step = CELLS[cell][1](3 if layer == 0 else 4, 4).double()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(step, name, getattr(model.cell.network, f"{name}_l{layer}"))
        steps.append(step)
        hiddens.append(model.cell.initial_hidden[layer].expand(len(frames), -1))
        if cell == "lstm":
            memories.append(model.cell.initial_cell[layer].expand(len(frames), -1))
    outputs = [hiddens[-1]]
    for x in frames.unbind(1):
        for layer, step in enumerate(steps):
            if cell == "lstm":
                hiddens[layer], memories[layer] = step(x, (hiddens[layer], memories[layer]))
            else:
                hiddens[layer] = step(x, hiddens[layer])
            x = hiddens[layer]
        outputs.append(hiddens[-1])
    return torch.stack(outputs, dim=1)


every_cell = pytest.mark.parametrize(("cell", "layers"), [(c, n) for c in CELLS for n in (1, 2)])


@every_cell
def test_scan_equals_stepping_by_hand(cell, layers):
    model, frames = build(cell, layers), data()
    contexts, _ = model.scan(model.initial_state(2), frames)
    expected = stepped(model, cell, frames)
    torch.testing.assert_close(contexts, expected)
    torch.testing.assert_close(model.filter(frames), expected[:, 1:].detach())


@every_cell
def test_scanning_in_two_parts_equals_scanning_at_once(cell, layers):
    model, frames = build(cell, layers), data()
    whole, _ = model.scan(model.initial_state(2), frames)
    first, state = model.scan(model.initial_state(2), frames[:, :2])
    nothing, state = model.scan(state, frames[:, :0])
    second, _ = model.scan(state, frames[:, 2:])
    torch.testing.assert_close(whole, torch.cat([first, second[:, 1:]], dim=1))
    torch.testing.assert_close(nothing, whole[:, 2:3])


def distribution(model, x):
    if model.visible.spec == "bernoulli":
        return torch.distributions.Bernoulli(logits=x)
    return torch.distributions.Normal(x, model.visible.log_sigma.exp())


VISIBLE = ["bernoulli", Gaussian(3, torch.tensor([0.5, 1.0, 2.0])), "gaussian:learned"]


@pytest.mark.parametrize("visible", VISIBLE, ids=["bernoulli", "gaussian", "learned"])
@every_cell
def test_log_prob_and_mean_are_those_of_torch(cell, layers, visible):
    model, frames = build(cell, layers, visible), data()
    frames = frames.round() if visible == "bernoulli" else frames
    x = model.readout(stepped(model, cell, frames)[:, :-1])
    p = distribution(model, x)
    expected = p.log_prob(frames).sum(-1)
    for method in ("auto", "exact"):
        torch.testing.assert_close(model.log_prob(frames, method=method), expected)
    torch.testing.assert_close(model.predict(frames), p.mean.detach())


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 2])])
@pytest.mark.parametrize("visible", ["bernoulli", "gaussian:learned"])
@every_cell
def test_the_loss_is_the_negative_log_likelihood_with_its_gradient(cell, layers, visible, lengths):
    model, frames = build(cell, layers, visible), data()
    parameters = dict(model.named_parameters())
    p = distribution(model, model.readout(stepped(model, cell, frames)[:, :-1]))
    if visible == "bernoulli":  # grey values: the cross-entropy
        log_p = -nn.functional.binary_cross_entropy_with_logits(p.logits, frames, reduction="none")
    else:
        log_p = p.log_prob(frames)
    ends = torch.tensor([5, 5]) if lengths is None else lengths
    inside = torch.arange(5) < ends.unsqueeze(1)
    expected = -log_p.sum(-1)[inside].mean()
    loss = model.loss(frames, lengths)
    torch.testing.assert_close(loss, expected)
    got = torch.autograd.grad(loss, list(parameters.values()))
    wanted = torch.autograd.grad(expected, list(parameters.values()))
    for name, a, b in zip(parameters, got, wanted, strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_the_initial_state_is_learned():
    model = build("lstm", 2)
    model.loss(data()).backward()
    assert bool(model.cell.initial_hidden.grad.any())
    assert bool(model.cell.initial_cell.grad.any())


def test_an_rnn_has_nothing_to_correct_observed_values_by():
    model, frames = build("gru"), data()
    assert torch.equal(model.denoise(frames), frames)
    mask = data(seed=5) > 0.4
    filled = model.denoise(frames, mask)
    assert torch.equal(filled[mask], frames[mask])
    # a missing value is the mean given the filled-in frames before it
    torch.testing.assert_close(filled[~mask], model.predict(filled)[~mask])


def test_samples_condition_on_what_was_drawn():
    model = build("rnn")
    samples = model.sample(3, batch=30_000, generator=generator())
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    p = model.predict(samples)
    z = (samples - p).sum(0) / (p * (1 - p)).sum(0).sqrt()
    assert z.abs().max() < 4.5


# --- errors ----------------------------------------------------------------------------------


def test_bad_cells_are_refused():
    with pytest.raises(TypeError, match=r"cell: .*torch's RNN, LSTM or GRU, got Linear"):
        seqebm.RNN(nn.Linear(3, 4))
    with pytest.raises(TypeError, match=r"cell: .*got str"):
        seqebm.RNN("lstm")
    with pytest.raises(ValueError, match="cell: expected batch_first=True, got False"):
        seqebm.RNN(nn.LSTM(3, 4))
    with pytest.raises(ValueError, match=r"cell: .*bidirectional"):
        seqebm.RNN(nn.LSTM(3, 4, batch_first=True, bidirectional=True))
    with pytest.raises(ValueError, match="cell: expected no projection, got proj_size=2"):
        seqebm.RNN(nn.LSTM(3, 4, batch_first=True, proj_size=2))


def test_units_must_fit_the_cell():
    with pytest.raises(ValueError, match="units: expected a layer of 3 units, got one of 5"):
        seqebm.RNN(nn.GRU(3, 4, batch_first=True), Gaussian(5))
    with pytest.raises(ValueError, match=r"units: expected one of .*'poisson'"):
        seqebm.RNN(nn.GRU(3, 4, batch_first=True), "poisson")


@pytest.mark.parametrize("cell", CELLS)
def test_an_rnn_from_its_settings(cell):
    model = seqebm.RNN(make_cell(cell, 3, 4, layers=2), "gaussian")
    again = rnn(**model.settings)
    assert type(again.cell) is FusedCell
    assert type(again.cell.network) is CELLS[cell][0]
    assert again.cell.network.num_layers == 2
    assert again.visible.spec == "gaussian"
    assert again.settings == model.settings


@pytest.mark.parametrize("method", ["mean_field", "gibbs", "ais"])
def test_an_rnn_has_no_approximate_methods(method):
    with pytest.raises(ValueError, match=f"method: expected one of auto, exact, got '{method}'"):
        build("rnn").predict(data(), method=method)
