import itertools
import math

import pytest
import torch
from torch import nn

import seqebm
from seqebm.models.nade import NADE, AutoregressiveDrive, OrderlessNADE, make_nade

KINDS = {"nade": NADE, "orderless": OrderlessNADE}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def build(kind, n_visible=4, n_hidden=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = KINDS[kind](n_visible, n_hidden).double()
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.8)
    return made


def frame(nade, rows=(2, 3)):
    return nade(torch.randn(*rows, nade.n_inputs, generator=generator(3), dtype=torch.float64))


def binary(*shape, seed=2):
    return (torch.rand(*shape, generator=generator(seed), dtype=torch.float64) > 0.5).double()


every_kind = pytest.mark.parametrize("kind", KINDS)


def test_drives_are_those_of_the_definition():
    v, c = binary(5, 4), torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    nade = build("orderless")
    weight, output, known = nade.weight, nade.output_weight, nade.known_weight
    got = AutoregressiveDrive.apply(v, c, weight.t(), output, known.t())
    for i in range(4):
        total = c + v[:, :i] @ weight[:, :i].t() + known[:, :i].sum(1)
        torch.testing.assert_close(got[:, i], total.sigmoid() @ output[i])


@every_kind
def test_the_gradient_written_by_hand_is_that_of_finite_differences(kind):
    nade = build(kind)
    v = torch.rand(5, 4, generator=generator(), dtype=torch.float64).requires_grad_()
    c = torch.randn(5, 3, generator=generator(), dtype=torch.float64).requires_grad_()
    known = None if kind == "nade" else nade.known_weight.t()
    assert torch.autograd.gradcheck(
        AutoregressiveDrive.apply, (v, c, nade.weight.t(), nade.output_weight, known)
    )


@every_kind
def test_probabilities_of_all_frames_sum_to_one(kind):
    rows = frame(build(kind)).with_state_axis()
    states = torch.tensor([*itertools.product((0.0, 1.0), repeat=4)]).double()
    total = rows.log_prob(states, "exact").exp().sum(-1)
    torch.testing.assert_close(total, torch.ones(2, 3).double())


def test_a_nade_takes_its_units_one_after_the_other():
    one = frame(build("nade"), (1,))
    v = binary(1, 4)
    p = torch.ones(()).double()
    nade, b, c = one.nade, one.visible_bias[0], one.hidden_bias[0]
    for i in range(4):
        drive = c + sum((nade.weight[:, j] * v[0, j] for j in range(i)), torch.zeros(3))
        on = (b[i] + nade.output_weight[i] @ drive.sigmoid()).sigmoid()
        p = p * (on if v[0, i] else 1 - on)
    torch.testing.assert_close(one.log_prob(v, "auto")[0], p.log())


def test_orders_are_permutations_that_never_change():
    first, again = OrderlessNADE(88, 5), OrderlessNADE(88, 7)
    assert first.orders == again.orders
    assert len(first.orders) == 8
    assert all(sorted(order) == [*range(88)] for order in first.orders)
    assert first.orders[0][:5] == [41, 49, 30, 75, 66]  # those that saved models have been made for


@every_kind
def test_samples_are_distributed_as_log_prob_says(kind):
    one = frame(build(kind), ())
    many = one.nade(torch.cat([one.visible_bias, one.hidden_bias]).expand(40_000, -1))
    drawn, _ = many.sample(generator())
    states = torch.tensor([*itertools.product((0.0, 1.0), repeat=4)]).double()
    p = one.with_state_axis().log_prob(states, "exact").exp()
    count = (drawn.unsqueeze(1) == states).all(-1).double().mean(0)
    z = (count - p) / (p * (1 - p) / 40_000).sqrt()
    assert z.abs().max() < 4.5


@every_kind
def test_means_by_three_ways(kind):
    one = frame(build(kind), (3,))
    exact, auto = one.mean("exact", None), one.mean("auto", None)
    assert torch.equal(exact, auto)
    samples = torch.stack([one.mean("samples", generator(seed)) for seed in range(100)]).mean(0)
    torch.testing.assert_close(samples, exact, rtol=0, atol=0.02)
    torch.testing.assert_close(one.mean("mean_field", None), exact, rtol=0, atol=0.15)
    with pytest.raises(ValueError, match="expected one of auto, exact, mean_field, samples"):
        one.mean("gibbs", None)


def test_large_frames_have_means_without_enumeration():
    nade = NADE(40, 5)
    mean = nade(torch.randn(2, nade.n_inputs, generator=generator())).mean("auto", None)
    assert mean.shape == (2, 40)
    assert bool(((mean > 0) & (mean < 1)).all())


@every_kind
def test_known_values_are_held(kind):
    one = frame(build(kind), (500,))
    known = torch.full((500, 4), torch.nan).double()
    known[:, 2] = 1.0
    drawn, mean = one.sample(generator(), known)
    filled = one.fill(known)
    for part in (drawn, mean, filled):
        assert bool((part[:, 2] == 1).all())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}


def test_an_orderless_nade_fills_in_from_what_comes_later_too():
    one = frame(build("orderless"), (1,))
    known = torch.tensor([[torch.nan, torch.nan, torch.nan, 0.0]]).double()
    other = torch.tensor([[torch.nan, torch.nan, torch.nan, 1.0]]).double()
    assert (one.fill(known) - one.fill(other))[:, :3].abs().min() > 1e-3
    plain = frame(build("nade"), (1,))
    assert torch.equal(plain.fill(known)[:, :3], plain.fill(other)[:, :3])


def test_an_orderless_nade_draws_what_is_free_from_all_that_is_known():
    one = frame(build("orderless"), ())
    many = one.nade(torch.cat([one.visible_bias, one.hidden_bias]).expand(20_000, -1))
    known = torch.tensor([1.0, torch.nan, 0.0, 1.0]).double()
    with torch.no_grad():
        drawn, mean = many.sample(generator(), known.expand(20_000, -1))
        p = one.given(known).mean("exact", None)[1]
    torch.testing.assert_close(mean[:, 1], p.expand(20_000))
    assert abs(float((drawn[:, 1].mean() - p) / (p * (1 - p) / 20_000).sqrt())) < 4


def test_the_orderless_loss_is_the_mean_over_all_orders():
    """E[loss] = mean over all 3! orders of −log p(v), and its gradient likewise."""
    nade = build("orderless", 3)
    x = torch.randn(nade.n_inputs, generator=generator(3), dtype=torch.float64)
    v = torch.tensor([1.0, 0.0, 1.0]).double()
    many = nade(x.expand(100_000, -1)).loss(v.expand(100_000, -1), generator())
    one = nade(x)
    orders = [[*order] for order in itertools.permutations(range(3))]
    exact = -torch.stack([one._log_prob_in(order, v) for order in orders]).mean()
    error = many.detach().std() / math.sqrt(len(many))
    assert (many.mean() - exact).detach().abs() < 4 * error
    got = torch.autograd.grad(many.mean(), list(nade.parameters()))
    wanted = torch.autograd.grad(exact, list(nade.parameters()))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.01)


def test_a_nade_learns_what_independent_units_cannot():
    """Two units that are always equal: log 2 nats a frame instead of 2 log 2."""
    frames = (torch.rand(64, 4, 1, generator=generator()) > 0.5).float().expand(-1, -1, 2)
    for conditional in ("nade:4", "orderless-nade:8"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = seqebm.RNN(nn.RNN(2, 2, batch_first=True), conditional)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        seqebm.fit(model, frames, steps=300, batch=64, optimizer=optimizer, generator=generator())
        nats = float(-model.log_prob(frames).detach().mean())
        assert math.log(2) - 0.02 < nats < math.log(2) + 0.1, conditional


@pytest.mark.parametrize("spec", ["nade", "nade:", "nade:x", "nade:-3", "ordered-nade:5"])
def test_names_that_are_none_are_refused(spec):
    with pytest.raises(ValueError, match="expected nade:HIDDEN, orderless-nade:HIDDEN"):
        make_nade(spec, 4)
    with pytest.raises(ValueError, match="nade"):
        seqebm.RNN(nn.RNN(4, 3, batch_first=True), spec)


def test_sizes_must_fit():
    with pytest.raises(ValueError, match="n_hidden: expected at least 1, got 0"):
        NADE(4, 0)
    with pytest.raises(ValueError, match="conditional: expected 5 units, got 4"):
        seqebm.RNN(nn.RNN(5, 3, batch_first=True), NADE(4, 3))


@every_kind
def test_a_model_with_a_nade_is_saved_and_loaded(kind, tmp_path):
    model = seqebm.RNN(nn.GRU(4, 3, 2, batch_first=True), KINDS[kind](4, 5))
    seqebm.save(model, tmp_path / "model.h5")
    again = seqebm.load(tmp_path / "model.h5")
    assert again.settings == model.settings
    assert type(again.output) is KINDS[kind]
    frames = binary(2, 3, 4).float()
    assert torch.equal(again.log_prob(frames), model.log_prob(frames))
