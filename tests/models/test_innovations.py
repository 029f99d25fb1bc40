"""Innovations: what they add to a model. The laws of all models hold for them too."""

import math

import pytest
import torch
from torch import nn

import seqebm
from seqebm import Innovations
from seqebm.models.base import BEFORE, at


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def untrained(order=2, size=3):
    return Innovations(seqebm.RTRBM(size, 4, visible="gaussian"), order)


def frames(batch=2, time=6, size=3, seed=1):
    return torch.randn(batch, time, size, generator=generator(seed))


def test_an_untrained_model_expects_a_random_walk():
    model, walk = untrained(), frames()
    expected = model.predict(walk)
    torch.testing.assert_close(expected[:, 1:], walk[:, :-1], atol=0.06, rtol=0)
    assert not model.visible_to_visible[1:].any()


def test_without_hidden_units_it_is_a_gaussian_autoregression_with_volatility():
    model = untrained()
    for name, parameter in model.model.named_parameters():
        if name != "visible.log_sigma":
            nn.init.zeros_(parameter)
    nn.init.normal_(model.visible_to_visible, std=0.3, generator=generator())
    v = frames(1, 5)
    contexts, _ = model.scan(model.initial_state(1), v)
    place, scale = (at(part, BEFORE) for part in (contexts.place, contexts.scale))
    normal = torch.distributions.Normal(place, scale)
    torch.testing.assert_close(model.log_prob(v), normal.log_prob(v).sum(-1))
    expected = model.visible_bias + sum(
        tap @ past for tap, past in zip(model.visible_to_visible, (v[0, 3], v[0, 2]), strict=True)
    )
    torch.testing.assert_close(place[0, 4], expected)


def test_violent_frames_make_violent_ones_expected():
    model = untrained()
    calm, violent = 0.01 * frames(1, 4), 10 * frames(1, 4)
    scales = [
        model.scan(model.initial_state(1), v)[0].scale[0, -1, 0].item() for v in (calm, violent)
    ]
    floor = math.sqrt(1 - torch.sigmoid(model.reaction).item())
    assert scales[0] >= floor
    assert scales[1] > 5 * scales[0]


def test_the_loss_of_scaled_frames():
    """A change of the unit of the frames changes the loss by the logarithm of the factor."""
    model, walk = untrained(), frames()
    before = model.loss(walk, generator=generator())
    with torch.no_grad():
        model.visible.log_sigma.add_(math.log(7))
        model.initial_visible.mul_(7)
    after = model.loss(7 * walk, generator=generator())
    torch.testing.assert_close(after - before, torch.tensor(3 * math.log(7)), rtol=1e-4, atol=1e-4)


def test_it_learns_the_taps_and_the_volatility_of_a_made_up_process():
    """An AR(2) of three values whose noise is ten times as strong in some sequences."""
    source, size = generator(5), 3
    first, second = 1.6 * torch.eye(size), -0.8 * torch.eye(size)
    strength = torch.where(torch.arange(64) % 2 == 0, 0.1, 1.0)[:, None]
    past = [torch.zeros(64, size), torch.zeros(64, size)]
    for _ in range(60):
        noise = strength * torch.randn(64, size, generator=source)
        past.append(past[-1] @ first + past[-2] @ second + noise)
    walks = torch.stack(past[22:], 1)
    model = Innovations(seqebm.RBM(size, 2, "gaussian"), order=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    seqebm.fit(
        model,
        walks,
        steps=600,
        batch=32,
        optimizer=optimizer,
        schedules={"lr": lambda step: 0.02 * (1 - step / 600), "gibbs_steps": lambda _: 1},
        generator=generator(),
        progress=False,
    )
    taps = model.visible_to_visible.detach()
    torch.testing.assert_close(taps, torch.stack([first, second]), atol=0.06, rtol=0)
    contexts, _ = model.scan(model.initial_state(64), walks)
    scales = contexts.scale[:, 10:].mean((1, 2)).detach()
    assert scales[1::2].mean() / scales[::2].mean() == pytest.approx(10, rel=0.3)


def test_a_free_run_that_diverges_is_an_error():
    model = untrained(order=2)
    assert model.spectral_radius == pytest.approx(1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator())).Q
    with torch.no_grad():  # v_t = 2 · 0.9 Q v_{t−1} − 0.81 Q² v_{t−2} has both roots at 0.9
        model.visible_to_visible[0] = 2 * 0.9 * turn
        model.visible_to_visible[1] = -(0.9**2) * turn @ turn
    assert model.spectral_radius == pytest.approx(0.9, abs=0.01)
    assert model.sample(500, batch=2, generator=generator()).isfinite().all()
    with torch.no_grad():
        model.visible_to_visible[0] = 3 * turn
    assert model.spectral_radius > 2
    with pytest.raises(FloatingPointError, match=r"frame \d+ of a sample is not finite"):
        model.sample(500, batch=2, generator=generator())
    with pytest.raises(FloatingPointError, match="free run diverges"):
        model.sample_means(500, batch=2, generator=generator())


def test_there_are_no_sweeps_back_and_forth():
    with pytest.raises(ValueError, match="sweeps: expected 0 for innovations, got 2"):
        untrained().denoise(frames(), frames() > 0, sweeps=2)


def test_numbers_of_sweeps_are_those_of_the_model():
    model = untrained()
    model.gibbs_steps, model.sampling_steps = 3, 4
    assert (model.model.gibbs_steps, model.model.sampling_steps) == (3, 4)
    assert (model.gibbs_steps, model.sampling_steps) == (3, 4)
    network = Innovations(seqebm.RNN(nn.GRU(3, 4, batch_first=True), "gaussian"))
    assert not hasattr(network, "gibbs_steps")


def test_settings_build_it_again(tmp_path):
    for inside in (
        seqebm.RNN(nn.GRU(3, 4, batch_first=True), "gaussian:learned"),
        seqebm.Stack([seqebm.RBM(3, 4, "gaussian"), seqebm.TRBM(4, 2)]),
        seqebm.TRBM(3, 4, 2, "gaussian", ("vh", "vv"), rank=2),
    ):
        model = Innovations(inside, order=2)
        seqebm.save(model, tmp_path / "model.h5")
        loaded = seqebm.load(tmp_path / "model.h5")
        assert loaded.settings == model.settings
        assert torch.equal(loaded.predict(frames()), model.predict(frames()))


@pytest.mark.parametrize(
    ("model", "order", "error", "match"),
    [
        (seqebm.RTRBM(3, 4), 2, ValueError, "model: expected Gaussian visible units"),
        (seqebm.RTRBM(3, 4, visible="gaussian"), 0, ValueError, "order: expected at least 1"),
        (nn.Linear(3, 4), 2, TypeError, "model: expected a sequence model, got Linear"),
    ],
)
def test_what_it_cannot_be_made_of(model, order, error, match):
    with pytest.raises(error, match=match):
        Innovations(model, order)


# --- taps of low rank ------------------------------------------------------------------------


def test_taps_of_low_rank_equal_their_products():
    low = seqebm.RTRBM(3, 4, 2, "gaussian", rank=1)
    full = seqebm.RTRBM(3, 4, 2, "gaussian")
    state = low.state_dict()
    product = state.pop("factors_to_visible") @ state.pop("visible_to_factors")
    full.load_state_dict({**state, "visible_to_visible": product})
    torch.testing.assert_close(low.predict(frames()), full.predict(frames()))
    assert low.visible_to_visible is full.visible_to_factors is full.factors_to_visible is None


def test_ranks_that_cannot_be():
    with pytest.raises(ValueError, match="rank: expected at least 1"):
        seqebm.RTRBM(3, 4, 2, rank=0)
    with pytest.raises(ValueError, match="of visible-to-visible taps, got 2"):
        seqebm.RTRBM(3, 4, rank=2)
    with pytest.raises(ValueError, match="of visible-to-visible taps, got 2"):
        seqebm.TRBM(3, 4, connections=("hh", "vh"), rank=2)
    with pytest.raises(ValueError, match="rank"):
        seqebm.TRBM(3, 4, rank=2).transposed()
