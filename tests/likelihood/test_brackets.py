import warnings

import pytest
import torch
from torch import nn

import seqebm
from seqebm.likelihood import Bracket, annealing, bracket, brackets, known
from seqebm.models import conditionals


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


MODELS = {
    "RBM": lambda: seqebm.RBM(5, 4),
    "TRBM": lambda: seqebm.TRBM(5, 4, order=2),
    "RTRBM": lambda: seqebm.RTRBM(5, 4),
    "RTRBM gaussian": lambda: seqebm.RTRBM(3, 4, order=1, visible="gaussian:learned"),
    "TRBM categorical": lambda: seqebm.TRBM(6, 4, visible="categorical:3"),
    "LSTM-RBM": lambda: seqebm.RNNRBM(5, 4, "lstm"),
    "Innovations": lambda: seqebm.Innovations(seqebm.RTRBM(3, 4, visible="gaussian"), order=1),
}
EXACT = {
    "LSTM": lambda: seqebm.RNN(nn.LSTM(5, 4, batch_first=True)),
    "RNN-NADE": lambda: seqebm.RNN(nn.RNN(5, 4, batch_first=True), "nade:6"),
    "GRU with an orderless NADE": lambda: seqebm.RNN(
        nn.GRU(5, 4, batch_first=True), "orderless-nade:6"
    ),
    "Stack": lambda: seqebm.Stack([seqebm.RTRBM(5, 3), seqebm.RTRBM(3, 2)]),
}


def build(make, scale=0.7):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = make().double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=scale)
    return model


def data(model, batch=3, time=6):
    noise = torch.randn(batch, time, model.visible.size, generator=generator(2)).double()
    if model.visible.spec == "categorical:3":
        return nn.functional.one_hot(noise.view(batch, time, -1, 3).argmax(-1)).flatten(2).double()
    gaussian = model.visible.spec.startswith("gaussian")
    return noise if gaussian else (noise > 0).double()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_the_bracket_contains_the_exact_value(make, scale):
    model = build(make, scale)
    frames, lengths = data(model), torch.tensor([6, 2, 4])
    if scale > 1 and model.visible.spec.startswith("gaussian"):
        pytest.skip("frames that such a model would never make")
    exact = model.log_prob(frames, lengths, "exact").detach()
    found = bracket(model, frames, lengths, generator(), runs=50, temperatures=200)
    assert bool((found.lower <= exact).all())
    assert bool((exact <= found.upper).all())
    assert all(part.shape == (3, 6) for part in (*found, found.lower, found.upper))
    assert not any(part[1, 2:].any() for part in (found.lower, found.estimate, found.upper))


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_exact_models_have_brackets_without_width(make):
    model = build(make)
    frames, lengths = data(model), torch.tensor([6, 2, 4])
    found, exact = bracket(model, frames, lengths), model.log_prob(frames, lengths).detach()
    for part in (found.lower, found.estimate, found.upper):
        torch.testing.assert_close(part, exact)
    inside = torch.arange(6) < lengths.unsqueeze(1)
    assert torch.equal(found.good, inside)


def random_models(count, scale):
    for seed in range(count):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = torch.randint(3, 11, (2,)).tolist()
            model = seqebm.RTRBM(*sizes).double()
            for parameter in model.parameters():
                nn.init.normal_(parameter, std=scale / max(sizes) ** 0.5)
            with torch.no_grad():  # units that are not all on or all off
                model.visible_bias -= model.weight.sum(0) / 2
                model.hidden_bias -= model.weight.sum(1) / 2
        yield model


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 5.0, 15.0])
def test_coverage_over_many_models(scale):
    """Of 100 random models and 2000 of their frames at each scale, at most 1% are outside."""
    outside, frames_seen = 0, 0
    for seed, model in enumerate(random_models(100, scale)):
        frames = model.sample(10, batch=2, generator=generator(seed))
        exact = model.log_prob(frames, method="exact").detach()
        found = bracket(model, frames, None, generator(seed), runs=50, temperatures=100)
        outside += int(((exact < found.lower) | (exact > found.upper)).sum())
        frames_seen += exact.numel()
    assert frames_seen == 2000
    assert outside <= 20


def test_a_static_rbm_is_annealed_once(monkeypatch):
    rows = []
    original = brackets.annealed_log_partition

    def counting(rbm, *arguments):
        rows.append(rbm.rows)
        return original(rbm, *arguments)

    monkeypatch.setattr(brackets, "annealed_log_partition", counting)
    model = build(MODELS["RBM"])
    frames = data(model)
    found = bracket(model, frames, None, generator(), runs=50, temperatures=100)
    assert rows == [torch.Size([])]
    exact = model.log_prob(frames, method="exact")
    torch.testing.assert_close(found.estimate, exact.detach(), rtol=0, atol=0.1)


def test_log_prob_anneals_what_is_too_large_to_enumerate(monkeypatch):
    model = build(MODELS["RTRBM"])
    frames = data(model)
    exact = model.log_prob(frames)
    monkeypatch.setattr(conditionals, "EXACT_LOG_PROB", 3)
    annealed = model.log_prob(frames, generator=generator())
    assert not torch.equal(annealed, exact)
    torch.testing.assert_close(annealed, exact.detach(), rtol=0, atol=0.05)
    assert not annealed.requires_grad
    again = model.log_prob(frames, method="ais", generator=generator())
    assert torch.equal(annealed, again)


def test_a_larger_model_than_can_be_enumerated():
    """Two halves that know nothing of each other, each of which can be."""
    half = build(lambda: seqebm.RBM(14, 14), 0.8)
    whole = seqebm.RBM(28, 28).double()
    with torch.no_grad():
        whole.weight.copy_(torch.block_diag(half.weight, half.weight))
        whole.visible_bias.copy_(half.visible_bias.repeat(2))
        whole.hidden_bias.copy_(half.hidden_bias.repeat(2))
    frames = data(whole)
    exact = half.log_prob(frames[..., :14]) + half.log_prob(frames[..., 14:])
    found = bracket(whole, frames, None, generator(), temperatures=300)
    assert bool((found.lower <= exact).all() & (exact <= found.upper).all())
    assert (found.upper - found.lower).max() < 0.5


def test_too_little_annealing_is_said_and_not_called_good():
    model = build(lambda: seqebm.RBM(22, 22), 3.0)
    frames = data(model)
    found = bracket(model, frames, None, generator(), runs=20, temperatures=3, sweeps=1)
    assert not found.good.any()
    with pytest.warns(UserWarning, match=r"estimates of 18 of 18 frames are not to be trusted"):
        conditionals._warn_of_bad_estimates(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditionals._warn_of_bad_estimates(known(torch.zeros(3)))


def test_ends_are_three_errors_outside():
    zero, one = torch.zeros(2), torch.ones(2)
    found = Bracket(-5 * one, -4 * one, -3 * one, 0.1 * one, 0.2 * one, one)
    torch.testing.assert_close(found.lower, -5.3 * one)
    torch.testing.assert_close(found.upper, -2.4 * one)
    assert bool(found.good.all())
    assert not found._replace(effective=zero + 0.09).good.any()


def test_the_least_width_is_that_of_the_rule_of_three():
    """Without interactions every run has the same weight."""
    for dtype in (torch.float32, torch.float64):
        model = seqebm.RBM(20, 5).to(dtype)
        with torch.no_grad():
            model.weight.zero_()
        frames = data(model).to(dtype)
        exact = model.double().log_prob(frames.double(), method="exact").detach()
        found = bracket(model.to(dtype), frames, None, generator(), runs=100, temperatures=5)
        assert bool((found.lower <= exact).all() & (exact <= found.upper).all())
        torch.testing.assert_close(found.estimate, exact, rtol=1e-5, atol=1e-5)
        assert (found.upper - found.lower).max() < 0.061


def test_a_stack_that_cannot_be_enumerated_is_refused():
    stack = seqebm.Stack([seqebm.RTRBM(4, 25), seqebm.RTRBM(25, 2)])
    with pytest.raises(ValueError, match="at most 24 units"):
        bracket(stack, torch.zeros(1, 2, 4))


def test_bad_input_is_refused():
    model = build(MODELS["RTRBM"])
    with pytest.raises(ValueError, match="frames"):
        bracket(model, torch.zeros(2, 3, 4).double())
    with pytest.raises(ValueError, match="at least 2, got 1 and 100"):
        bracket(model, data(model), temperatures=1)
    large = seqebm.RBM(25, 25)
    with pytest.raises(ValueError, match="sweeps: expected at least 1, got 0"):
        bracket(large, torch.zeros(1, 2, 25), sweeps=0)


def test_a_seed_decides_the_bracket():
    model = build(MODELS["RTRBM"])
    frames = data(model)
    a, b = (bracket(model, frames, None, generator(3), 10, 10) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_chains_give_the_starting_states_of_larger_machines(monkeypatch):
    monkeypatch.setattr(annealing, "ENUMERATED_SAMPLES", 0)
    model = build(MODELS["TRBM"])
    frames = data(model)
    exact = model.log_prob(frames, method="exact").detach()
    found = bracket(model, frames, None, generator(), temperatures=200)
    assert bool((found.lower <= exact).all() & (exact <= found.upper).all())
