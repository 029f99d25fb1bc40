import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import CELLS, StackedCells, make_cell
from seqebm.learning.online import real_time_gradients


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames(time=6, visible=3, seed=2):
    return (
        torch.rand(time, visible, generator=generator(seed), dtype=torch.float64) > 0.5
    ).double()


def build(cell, conditional="bernoulli"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(cell(), conditional).double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.6)
    return model


KINDS = {name: lambda name=name: make_cell(name, 3, 4) for name in CELLS if "truncated" not in name}
KINDS["two layers"] = lambda: make_cell("lstm", 3, 2, layers=2)
KINDS["stacked"] = lambda: StackedCells([make_cell("mrnn", 3, 2), make_cell("gru", 5, 2)])


@pytest.mark.parametrize("cell", KINDS)
def test_it_equals_bptt_at_every_frame(cell):
    model, v = build(KINDS[cell]), frames()
    parameters = list(model.parameters())
    for t, step in enumerate(real_time_gradients(model, v)):
        loss = -model.log_prob(v[None])[0, t]
        expected = torch.autograd.grad(loss, parameters, materialize_grads=True)
        torch.testing.assert_close(step.loss, loss.detach())
        for a, b in zip(step.gradients, expected, strict=True):
            torch.testing.assert_close(a, b)
    assert t == len(v) - 1


@pytest.mark.parametrize("conditional", ["gaussian:learned", "nade:3", "mixture:2"])
def test_it_equals_bptt_whatever_the_state_drives(conditional):
    model, v = build(KINDS["mrnn"], conditional), frames()
    steps = list(real_time_gradients(model, v))
    expected = torch.autograd.grad(-model.log_prob(v[None]).sum(), list(model.parameters()))
    for gradients, b in zip(zip(*(s.gradients for s in steps), strict=True), expected, strict=True):
        torch.testing.assert_close(sum(gradients), b)


def test_learning_while_a_sequence_goes_on():
    """Frames that alternate: after a while each is foretold."""
    model = build(KINDS["skip-rnn"])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    v, losses = torch.eye(3).repeat(90, 1), []
    for step in real_time_gradients(model, v):
        losses.append(float(step.loss))
        for parameter, gradient in zip(model.parameters(), step.gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    assert sum(losses[:20]) / 20 > 1.0
    assert sum(losses[-20:]) / 20 < 0.1


@pytest.mark.parametrize("shape", [(3,), (2, 4, 3), (4, 2)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match=r"frames: expected \[time, 3\], got"):
        next(real_time_gradients(build(KINDS["rnn"]), torch.zeros(shape)))


def test_bad_values():
    with pytest.raises(ValueError, match="frames"):
        next(real_time_gradients(build(KINDS["rnn"]), torch.full((2, 3), torch.nan)))
