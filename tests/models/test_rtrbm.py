import pytest
import torch
import torch.nn.functional as F
from torch import nn

import seqebm
from seqebm import gibbs
from seqebm.units import Gaussian


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def rtrbm(order=0, visible="bernoulli"):
    model = seqebm.RTRBM(3, 4, order, visible).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator())
    return model


def data(batch=2, time=6, seed=2):
    return torch.rand(batch, time, 3, generator=generator(seed), dtype=torch.float64).round()


def taps(weights, past, initial, order):
    """Σ_n weights[n] v_{t−n}; at the first frame initial[n] stands in for lag n + 1."""
    total = 0.0
    for n in range(1, order + 1):
        v = past[-n] if n <= len(past) else initial[n - len(past) - 1]
        total = total + weights[n - 1] @ v
    return total


def plain(model, frames):
    """r_0 … r_T (eq. 3.20) of one sequence, and B_v and B_h before every frame and at the end."""
    states, b_vs, b_hs, past = [model.initial_hidden], [], [], []
    for v in [*frames, None]:
        b_v, b_h = model.visible_bias, model.hidden_bias + model.hidden_to_hidden @ states[-1]
        if model.order:
            b_v = b_v + taps(model.visible_to_visible, past, model.initial_visible, model.order)
            b_h = b_h + taps(model.visible_to_hidden, past, model.initial_visible, model.order)
        b_vs.append(b_v)
        b_hs.append(b_h)
        if v is not None:
            states.append(torch.sigmoid(model.weight @ model.visible.scaled(v) + b_h))
            past.append(v)
    return states, b_vs, b_hs


@pytest.mark.parametrize("order", [0, 1, 3])
def test_filter_equals_the_plain_loop(order):
    model, frames = rtrbm(order), data()
    expected = torch.stack([torch.stack(plain(model, one)[0][1:]) for one in frames])
    torch.testing.assert_close(model.filter(frames), expected.detach())


def test_filter_of_gaussian_frames():
    model = rtrbm(2, Gaussian(3, torch.tensor([0.5, 1.0, 2.0])))
    frames = torch.randn(2, 5, 3, generator=generator(), dtype=torch.float64)
    expected = torch.stack([torch.stack(plain(model, one)[0][1:]) for one in frames])
    torch.testing.assert_close(model.filter(frames), expected.detach())


@pytest.mark.parametrize("order", [0, 2])
def test_biases_of_every_frame_equal_the_plain_loop(order):
    model, frames = rtrbm(order), data()
    contexts, _ = model.scan(model.initial_state(2), frames)
    machines = model.rbm(contexts)
    for i, one in enumerate(frames):
        _, b_vs, b_hs = plain(model, one)
        torch.testing.assert_close(machines.hidden_bias[i], torch.stack(b_hs))
        b_v = machines.visible_bias.expand(2, 7, -1)[i]
        torch.testing.assert_close(b_v, torch.stack(b_vs))


def test_the_filtered_state_is_the_context_of_the_next_frame():
    model, frames = rtrbm(1), data()
    contexts, state = model.scan(model.initial_state(2), frames)
    torch.testing.assert_close(contexts.hidden[:, 1:].detach(), model.filter(frames))
    assert torch.equal(contexts.hidden[:, 0], model.initial_hidden.expand(2, 4))
    assert torch.equal(state.hidden, contexts.hidden[:, -1])
    assert torch.equal(state.visible[:, 0], frames[:, -1])


def test_scanning_in_two_parts_equals_scanning_at_once():
    model, frames = rtrbm(3), data()
    whole, end = model.scan(model.initial_state(2), frames)
    first, middle = model.scan(model.initial_state(2), frames[:, :2])
    second, last = model.scan(middle, frames[:, 2:])
    for a, b, c in zip(whole, first, second, strict=True):
        torch.testing.assert_close(a, torch.cat([b, c[:, 1:]], dim=1))
    for a, b in zip(end, last, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("order", [0, 2])
def test_the_gradient_runs_back_through_time(order, monkeypatch):
    """Against autograd through the plain loop, with the same ends of the chains."""
    model, frames, ends = rtrbm(order), data(), data(seed=3)
    monkeypatch.setattr(gibbs, "chain", lambda *_: (ends, ends))
    expected = 0.0
    for one, end in zip(frames, ends, strict=True):
        _, b_vs, b_hs = plain(model, one)
        for v, u, b_v, b_h in zip(one, end, b_vs, b_hs, strict=False):  # not the biases at the end
            inputs = model.weight @ v + b_h, model.weight @ u + b_h
            expected = expected + (u - v) @ b_v - F.softplus(inputs[0]).sum()
            expected = expected + F.softplus(inputs[1]).sum()
    loss, expected = model.loss(frames), expected / 12
    torch.testing.assert_close(loss, expected)
    parameters = dict(model.named_parameters())
    got = torch.autograd.grad(loss, list(parameters.values()))
    wanted = torch.autograd.grad(expected, list(parameters.values()))
    for name, a, b in zip(parameters, got, wanted, strict=True):
        assert bool(a.any()), name
        torch.testing.assert_close(a, b, msg=name)


def test_early_frames_matter_to_the_last_one():
    """The gradient with respect to the frames themselves, which is had without a warning."""
    model, frames = rtrbm(), data(batch=1).requires_grad_()
    model.log_prob(frames)[0, -1].backward()
    assert bool(frames.grad[0, 0].any())


def test_generated_frames_are_remembered_through_the_recurrence():
    """Alg. 3: after `sample` the state is the filtered one, without any noise of its own."""
    model = rtrbm(1)
    samples = model.sample(4, batch=3, generator=generator())
    _, state = model.scan(model.initial_state(3), samples)
    step = model.initial_state(3)
    for frame in samples.unbind(1):
        _, step = model.imagine(step, frame, generator())
    for a, b in zip(state, step, strict=True):
        torch.testing.assert_close(a, b)
