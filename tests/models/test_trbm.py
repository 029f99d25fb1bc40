import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import seqebm
from seqebm import gibbs

SUBSETS = [subset for n in (1, 2, 3) for subset in itertools.combinations(("hh", "vh", "vv"), n)]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def trbm(order=1, connections=("hh", "vh", "vv"), visible="bernoulli", n_visible=3, n_hidden=2):
    model = seqebm.TRBM(n_visible, n_hidden, order, visible, connections).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator())
    return model


def data(batch=2, time=6, visible=3, seed=2):
    return torch.rand(batch, time, visible, generator=generator(seed), dtype=torch.float64).round()


def lag(past, initial, n):
    """The value n steps back: `past` is what there was, oldest first; then the initial values.

    At the first frame initial[0] stands in for lag 1, initial[1] for lag 2; at the second frame
    initial[0] stands in for lag 2.
    """
    return past[-n] if n <= len(past) else initial[n - len(past) - 1]


def biases(model, frames, hiddens):
    """B_v and B_h of eq. 3.2 for the frame after the given ones, lag by lag."""
    b_v, b_h = model.visible_bias, model.hidden_bias
    for n in range(1, model.order + 1):
        if model.visible_to_visible is not None:
            b_v = b_v + model.visible_to_visible[n - 1] @ lag(frames, model.initial_visible, n)
        if model.visible_to_hidden is not None:
            b_h = b_h + model.visible_to_hidden[n - 1] @ lag(frames, model.initial_visible, n)
        if model.hidden_to_hidden is not None:
            b_h = b_h + model.hidden_to_hidden[n - 1] @ lag(hiddens, model.initial_hidden, n)
    return b_v, b_h


def filtered(model, frames):
    """Eq. 3.5 for one sequence: p_t = σ(W v_t + B_h(v, p)), with gradients all the way."""
    past, means = [], []
    for v in frames:
        _, b_h = biases(model, past, means)
        means.append(torch.sigmoid(model.weight @ model.visible.scaled(v) + b_h))
        past.append(v)
    return means


# --- filtering -------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", SUBSETS)
@pytest.mark.parametrize("order", [1, 3])
def test_filter_equals_the_plain_loop(order, connections):
    model, frames = trbm(order, connections), data()
    expected = torch.stack([torch.stack(filtered(model, one)) for one in frames])
    torch.testing.assert_close(model.filter(frames), expected.detach())


def test_gaussian_frames_drive_the_hidden_units_divided_by_their_variance():
    model = trbm(2, visible=seqebm.units.Gaussian(3, torch.tensor([0.5, 1.0, 2.0])))
    frames = torch.randn(2, 5, 3, generator=generator(), dtype=torch.float64)
    expected = torch.stack([torch.stack(filtered(model, one)) for one in frames])
    torch.testing.assert_close(model.filter(frames), expected.detach())


def test_more_taps_than_frames():
    model, frames = trbm(order=5), data(time=2)
    expected = torch.stack([torch.stack(filtered(model, one)) for one in frames])
    torch.testing.assert_close(model.filter(frames), expected.detach())


@pytest.mark.parametrize("connections", SUBSETS)
def test_biases_of_every_frame_equal_the_plain_loop(connections):
    model, frames = trbm(3, connections), data()
    contexts, _ = model.scan(model.initial_state(2), frames)
    machines = model.rbm(contexts)
    b_v = machines.visible_bias.expand(2, 7, -1)
    b_h = machines.hidden_bias.expand(2, 7, -1)
    for i, one in enumerate(frames):
        means = filtered(model, one)
        for t in range(7):
            expected_v, expected_h = biases(model, list(one[:t]), means[:t])
            torch.testing.assert_close(b_v[i, t], expected_v)
            torch.testing.assert_close(b_h[i, t], expected_h)


def test_initial_values_stand_in_for_negative_times():
    """By hand: at the first frame lag n + 1 is initial[n], as it is and not squashed."""
    model = trbm(order=3, n_visible=1, n_hidden=1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        model.initial_hidden[:, 0] = torch.tensor([10.0, 200.0, 3000.0])
        model.initial_visible[:, 0] = torch.tensor([1.0, 20.0, 300.0])
        model.visible_to_visible.fill_(1.0)
        model.hidden_to_hidden.fill_(1.0)
    frames = torch.zeros(1, 3, 1).double()
    contexts, _ = model.scan(model.initial_state(1), frames)
    machines = model.rbm(contexts)
    assert machines.visible_bias.flatten().tolist() == [321.0, 21.0, 1.0, 0.0]
    # the hiddens after the first frame are σ(3210) = 1, then σ(210 + 1) = 1, then σ(10 + 2) …
    torch.testing.assert_close(
        machines.hidden_bias.flatten().detach(),
        torch.tensor([3210.0, 211.0, 12.0, 3.0]).double(),
        rtol=0,
        atol=1e-4,
    )


# --- learning --------------------------------------------------------------------------------


def free_energy(model, v, b_v, b_h):
    """−log Σ_h exp(−E(v, h)) of Bernoulli units (eq. 2.29) given the biases of one frame."""
    return -(v @ b_v) - F.softplus(model.weight @ v + b_h).sum()


def plain_loss(model, frames, ends, detach):
    """F(v_t) − F(end of the chain), averaged, with filtered hiddens as constants or not."""
    total, count = 0.0, 0
    for one, end in zip(frames, ends, strict=True):
        means = filtered(model, one)
        means = [p.detach() for p in means] if detach else means
        for t, v in enumerate(one):
            b_v, b_h = biases(model, list(one[:t]), means[:t])
            total = total + free_energy(model, v, b_v, b_h) - free_energy(model, end[t], b_v, b_h)
            count += 1
    return total / count


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("connections", [subset for subset in SUBSETS if "hh" in subset])
@pytest.mark.parametrize("order", [1, 3])
def test_filtered_hiddens_are_constants_to_the_gradient(order, connections, monkeypatch):
    model, frames, ends = trbm(order, connections), data(), data(seed=3)
    monkeypatch.setattr(gibbs, "chain", lambda *_: (ends, ends))
    loss = model.loss(frames)
    constant = plain_loss(model, frames, ends, detach=True)
    torch.testing.assert_close(loss, constant)
    learned, through = gradients(model, loss), plain_loss(model, frames, ends, detach=False)
    for got, expected in zip(learned, gradients(model, constant), strict=True):
        torch.testing.assert_close(got, expected)
    through = gradients(model, through)
    names = [name for name, _ in model.named_parameters()]
    moved = (learned[names.index("weight")] - through[names.index("weight")]).abs().max()
    assert moved > 1e-4  # the other gradient is another one: this test can fail


def test_without_hidden_taps_nothing_is_left_out(monkeypatch):
    model, frames, ends = trbm(3, ("vh", "vv")), data(), data(seed=3)
    monkeypatch.setattr(gibbs, "chain", lambda *_: (ends, ends))
    expected = plain_loss(model, frames, ends, detach=False)
    for a, b in zip(gradients(model, model.loss(frames)), gradients(model, expected), strict=True):
        torch.testing.assert_close(a, b)


def test_every_parameter_learns():
    for connections in SUBSETS:
        model = trbm(2, connections)
        model.loss(data(), generator=generator()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


def test_one_chain_runs_for_each_frame_with_its_own_biases(monkeypatch):
    model, frames, calls = trbm(2), data(), []

    def spy(rbm, start, steps, source, bf16):
        calls.append((rbm, start, steps, source))
        return start, start

    monkeypatch.setattr(gibbs, "chain", spy)
    model.gibbs_steps, source = 7, generator()
    assert model.loss(frames, generator=source).item() == pytest.approx(0.0)
    ((rbm, start, steps, used),) = calls
    assert rbm.rows == (2, 6)
    assert torch.equal(start, frames)
    assert steps == 7
    assert used is source


# --- generation ------------------------------------------------------------------------------


def test_imagined_hiddens_are_binary():
    model, source = trbm(order=3), generator()
    context, state = model._begin(4, data(batch=4, time=1))
    assert bool(((state.hidden[:, 0] > 0) & (state.hidden[:, 0] < 1)).all())  # filtered: a mean
    for count in range(1, 6):
        frame, _ = model.conditional(context).sample(source)
        contexts, state = model.imagine(state, frame, source)
        context = seqebm.models.base.at(contexts, seqebm.models.base.LAST)
        drawn = state.hidden[:, : min(count, 3)]
        assert bool(((drawn == 0) | (drawn == 1)).all())
        assert torch.equal(context.hidden, state.hidden)
        assert torch.equal(context.visible, state.visible)
        assert torch.equal(state.visible[:, 0], frame)


def test_imagined_hiddens_have_the_filtered_mean():
    model, n = trbm(order=2), 40_000
    frame = data(batch=1, time=1)[:, 0].expand(n, 3)
    _, before = model._begin(n)
    _, state = model.imagine(before, frame, generator())
    p = filtered(model, frame[:1])[0].detach()
    z = (state.hidden[:, 0].mean(0) - p) / (p * (1 - p) / n).sqrt()
    assert z.abs().max() < 4.5
    assert torch.equal(state.hidden[:, 1], before.hidden[:, 0])


def test_sampling_remembers_what_it_drew(monkeypatch):
    """The hiddens in the memory of `sample` are the drawn ones: binary at every later frame."""
    model, seen = trbm(order=2), []
    conditional = type(model).conditional
    monkeypatch.setattr(
        type(model),
        "conditional",
        lambda self, context: seen.append(context) or conditional(self, context),
    )
    model.sample(6, batch=5, generator=generator())
    for t, context in enumerate(seen):
        drawn = context.hidden[:, : min(t, 2)]
        assert bool(((drawn == 0) | (drawn == 1)).all())
    assert torch.equal(seen[0].hidden[0], model.initial_hidden)
    seen.clear()
    model.sample_like_rtrbm(6, batch=5, generator=generator())
    for context in seen[1:]:
        assert bool(((context.hidden[:, 0] > 0) & (context.hidden[:, 0] < 1)).all())


def coin():
    """The visible unit shows a hidden unit that follows a fair coin one frame later."""
    model = seqebm.TRBM(1, 2, connections=("hh",))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        model.weight[1, 0] = 10.0
        model.visible_bias.fill_(-5.0)
        model.hidden_bias[1] = -60.0
        model.hidden_to_hidden[0, 1, 0] = 80.0
    return model


def test_sampling_like_an_rtrbm_leaves_out_the_noise_of_the_hiddens():
    """With the mean ½ in place of the coin the hidden unit gets 80/2 − 60 < 0 and is never on."""
    drawn = coin().sample(2, batch=2000, generator=generator())[:, 1]
    means = coin().sample_like_rtrbm(2, batch=2000, generator=generator())[:, 1]
    assert abs(drawn.mean().item() - 0.5) < 0.05
    assert means.mean().item() < 0.03


def test_sampling_like_an_rtrbm_takes_the_same_arguments():
    model = trbm()
    prefix = data()
    a, b = (model.sample_like_rtrbm(3, prefix=prefix, generator=generator()) for _ in range(2))
    assert a.shape == (2, 3, 3)
    assert torch.equal(a, b)
    with pytest.raises(ValueError, match="length ≥ 1"):
        model.sample_like_rtrbm(0)
    with pytest.raises(ValueError, match="prefix: "):
        model.sample_like_rtrbm(1, prefix=torch.zeros(2, 3, 4))


def test_without_hidden_taps_both_ways_of_sampling_are_one():
    model = trbm(2, ("vh", "vv"))
    a = model.sample(5, batch=3, generator=generator())
    assert torch.equal(a, model.sample_like_rtrbm(5, batch=3, generator=generator()))
