import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import seqebm
from seqebm.likelihood import exact_log_prob

# two pixels that agree, one that is usually on: what a tiny RBM can learn
PATTERNS = torch.tensor([[1.0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1]])
VECTORS = PATTERNS[[0, 0, 0, 1, 1, 1, 2, 3]]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def rbm(visible="bernoulli", std=0.5, sizes=(4, 3)):
    model = seqebm.RBM(*sizes, visible)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std, generator=generator())
    return model


def states(n):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def exact_gradient(model, vectors):
    return torch.autograd.grad(-model.log_prob(vectors).mean(), list(model.parameters()))


# --- vectors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_vectors_are_sequences_of_one_frame(visible):
    model = rbm(visible)
    log_prob = model.log_prob(VECTORS)
    assert log_prob.shape == (8,)
    assert torch.equal(log_prob, model.log_prob(VECTORS.unsqueeze(1))[:, 0])
    loss = model.loss(VECTORS, generator=generator())
    assert torch.equal(loss, model.loss(VECTORS.unsqueeze(1), generator=generator()))


def test_log_prob_of_vectors_by_enumeration():
    model = rbm()
    weight, b_v, b_h = (p.detach() for p in (model.weight, model.visible_bias, model.hidden_bias))

    def p(v):
        return sum(math.exp(h @ weight @ v + v @ b_v + h @ b_h) for h in states(3))

    total = sum(p(v) for v in states(4))
    expected = torch.tensor([math.log(p(v) / total) for v in VECTORS])
    torch.testing.assert_close(model.log_prob(VECTORS).detach(), expected)


def test_every_frame_of_a_sequence_is_independent():
    model = rbm()
    sequence = VECTORS.view(2, 4, 4)
    torch.testing.assert_close(model.log_prob(sequence).flatten(), model.log_prob(VECTORS))
    assert (model.predict(sequence) == model.predict(sequence)[0, 0]).all()
    torch.testing.assert_close(model.filter(sequence).view(8, 3), model.hidden_mean(VECTORS))


def test_energy_and_means_are_those_of_the_parameters():
    model = rbm()
    v, h = VECTORS, states(3)
    weight, b_v, b_h = model.weight, model.visible_bias, model.hidden_bias
    expected = -(h @ weight * v).sum(-1) - v @ b_v - h @ b_h
    torch.testing.assert_close(model.energy(v, h), expected)
    torch.testing.assert_close(model.hidden_mean(v), torch.sigmoid(v @ weight.T + b_h))
    torch.testing.assert_close(model.visible_mean(h), torch.sigmoid(h @ weight + b_v))
    together = torch.stack([-model.energy(v, state.expand(8, 3)) for state in h])
    torch.testing.assert_close(model.free_energy(v), -together.logsumexp(0))


@pytest.mark.parametrize("bad", [torch.zeros(8, 5), torch.zeros(4), torch.full((8, 4), 2.0)])
def test_bad_vectors(bad):
    for model in (rbm(), with_chains(rbm())):
        for call in (model.loss, model.log_prob):
            with pytest.raises(ValueError, match="frames: "):
                call(bad)


# --- contrastive divergence ------------------------------------------------------------------


def test_the_loss_is_a_difference_of_free_energies_of_data_and_chain(monkeypatch):
    model, ends = rbm(), states(4)[3:11]
    monkeypatch.setattr(seqebm.gibbs, "chain", lambda *_: (ends.unsqueeze(1), ends.unsqueeze(1)))
    expected = (model.free_energy(VECTORS) - model.free_energy(ends)).mean()
    torch.testing.assert_close(model.loss(VECTORS), expected)


def test_the_gradient_of_a_long_chain_is_the_exact_one():
    """CD with chains long enough to forget their start, averaged over 40 000 of them."""
    model = rbm(std=0.3)
    model.gibbs_steps = 12
    loss = model.loss(VECTORS.repeat(5000, 1), generator=generator())
    for got, exact in zip(
        torch.autograd.grad(loss, list(model.parameters())),
        exact_gradient(model, VECTORS),
        strict=True,
    ):
        # every entry is a mean of numbers in [−1, 1]: a standard error of at most 0.005
        torch.testing.assert_close(got, exact, rtol=0, atol=0.02)


def with_chains(model, count=100):
    model.start_chains(count, generator())
    return model


def train(model, steps=300, lr=0.5):
    optimizer, source = torch.optim.SGD(model.parameters(), lr=lr), generator()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(VECTORS, generator=source).backward()
        optimizer.step()


@pytest.mark.parametrize("prepare", [lambda model: model, with_chains], ids=["CD", "PCD"])
def test_learning_raises_the_exact_log_likelihood(prepare):
    model = prepare(rbm(std=0.1))
    model.gibbs_steps = 2
    before = model.log_prob(VECTORS).mean().item()
    train(model)
    entropy = 2 * 3 / 8 * math.log(8 / 3) + 2 / 8 * math.log(8)  # of the data: no model gets above
    pixels = VECTORS.mean(0)
    independent = torch.distributions.Bernoulli(pixels).log_prob(VECTORS).sum(-1).mean().item()
    after = model.log_prob(VECTORS).mean().item()
    assert before < independent + 0.5 < after < -entropy


def test_gaussian_units_learn_too():
    model = rbm("gaussian:learned", std=0.1)
    before = model.log_prob(VECTORS).mean().item()
    train(model, 100, lr=0.1)
    assert model.log_prob(VECTORS).mean().item() > before + 0.5


# --- persistent chains -----------------------------------------------------------------------


def test_chains_begin_with_samples_of_the_model():
    model = rbm()
    model.start_chains(50, generator())
    assert model.chains.shape == (50, 4)
    assert torch.equal(model.chains, model.sample(1, batch=50, generator=generator())[:, 0])
    assert not model.chains.requires_grad


def test_chains_go_on_from_call_to_call():
    model = with_chains(rbm(), 20)
    model.gibbs_steps = 3
    source, copy = generator(5), generator(5)
    for _ in range(3):
        expected, mean = seqebm.gibbs.chain(model._static, model.chains, 3, copy)
        loss = model.loss(VECTORS, generator=source)
        assert torch.equal(model.chains, expected)
        surplus = ((mean - expected) @ model.visible_bias).mean()
        difference = model.free_energy(VECTORS).mean() - model.free_energy(expected).mean()
        torch.testing.assert_close(loss, difference + surplus)


def test_chains_need_not_be_as_many_as_the_data():
    model = with_chains(rbm(), 3)
    lengths = torch.tensor([2, 1])
    padded = torch.stack([PATTERNS[:2], PATTERNS[2:]])
    padded[1, 1] = torch.nan
    same = with_chains(rbm(), 3)
    loss = model.loss(padded, lengths, generator())
    torch.testing.assert_close(loss, same.loss(PATTERNS[:3], generator=generator()))
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_the_gradient_of_many_persistent_chains_is_the_exact_one():
    model = with_chains(rbm(std=0.3), 40_000)
    loss = model.loss(VECTORS, generator=generator())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for got, exact in zip(gradients, exact_gradient(model, VECTORS), strict=True):
        torch.testing.assert_close(got, exact, rtol=0, atol=0.02)


def test_chains_are_saved_and_go_on_after_loading(tmp_path):
    model = with_chains(rbm(), 7)
    model.loss(VECTORS, generator=generator())
    seqebm.learning.save(model, tmp_path / "rbm.h5")
    loaded = seqebm.learning.load(tmp_path / "rbm.h5")
    assert torch.equal(loaded.chains, model.chains)
    assert not loaded.chains.requires_grad
    a, b = (m.loss(VECTORS, generator=generator(3)) for m in (model, loaded))
    assert torch.equal(a, b)
    assert torch.equal(loaded.chains, model.chains)
    assert "chains" not in dict(loaded.named_parameters())


def test_no_chains_are_no_chains_after_loading(tmp_path):
    seqebm.learning.save(rbm(), tmp_path / "rbm.h5")
    assert seqebm.learning.load(tmp_path / "rbm.h5").chains is None


def test_there_is_at_least_one_chain():
    with pytest.raises(ValueError, match=r"expected .*batch ≥ 1, got .* 0"):
        rbm().start_chains(0)


def test_the_conditional_is_the_same_machine():
    model = rbm()
    torch.testing.assert_close(model.log_prob(VECTORS), exact_log_prob(model._static, VECTORS))


def test_denoising_leaves_persistent_chains_where_they_are():
    model = seqebm.RBM(4, 3)
    model.start_chains(5)
    before = model.chains.clone()
    frames = torch.rand(1, 3, 4)
    model.denoise(frames, frames > 0.5, sweeps=2)
    assert torch.equal(model.chains, before)


def test_samples_by_parallel_tempering_are_in_all_modes():
    """All units on or all off, where Gibbs chains stay where they begin."""
    rbm = seqebm.RBM(6, 6).double()
    with torch.no_grad():
        rbm.weight.fill_(2.0)
        rbm.visible_bias.fill_(-6.0)
        rbm.hidden_bias.fill_(-6.0)
    generator = torch.Generator().manual_seed(1)

    def share():
        drawn = rbm.sample(1, batch=2000, generator=generator)[:, 0]
        on = drawn.mean(1)
        assert bool(((on < 0.4) | (on > 0.6)).double().mean() > 0.95)
        return float((on > 0.5).double().mean())

    rbm.sampling_steps = 150
    assert rbm.predict(torch.zeros(1, 1, 6).double(), method="exact").mean() == pytest.approx(0.5)
    rbm.sampling_rungs = 8
    assert share() == pytest.approx(0.5, abs=0.05)
    off = torch.zeros(500, 6).double()
    conditional, _, _ = rbm.conditionals(off.unsqueeze(1))
    begun = off.view(1, 500, 1, 6).expand(8, -1, -1, -1)
    tempered = replace(conditional, rungs=8)._tempering(begun, 150, generator)[-1].squeeze(-2)
    alone, _ = seqebm.gibbs.chain(conditional.rbm, off, 30, generator)
    assert (tempered.mean(1) > 0.5).double().mean() == pytest.approx(0.5, abs=0.1)
    assert (alone.mean(-1) > 0.5).double().mean() < 0.1


def test_means_of_a_machine_of_two_modes():
    """All on, or less often all off: mean field and a chain stay in one of them."""
    rbm = seqebm.RBM(12, 12).double()
    with torch.no_grad():
        rbm.weight.fill_(1.0)
        rbm.visible_bias.fill_(-6.0)
        rbm.hidden_bias.fill_(-5.93)
    v, generator = torch.zeros(40, 1, 12).double(), torch.Generator().manual_seed(1)
    exact = float(rbm.predict(v[:1], method="exact").mean())
    assert 0.6 < exact < 0.8
    assert not 0.3 < float(rbm.predict(v[:1], method="mean_field").mean()) < 0.9
    rbm.sampling_rungs, rbm.sampling_steps = 8, 100
    found = rbm.predict(v, generator=generator).mean((1, 2))  # "auto" takes tempering
    assert float(found.mean()) == pytest.approx(exact, abs=0.06)


def test_samples_by_parallel_tempering_have_the_exact_moments():
    model = seqebm.RTRBM(4, 3).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7, generator=torch.Generator().manual_seed(2))
    model.sampling_rungs, model.sampling_steps = 4, 20
    prefix = torch.ones(1, 2, 4).double()
    drawn = model.sample(1, 20_000, prefix, torch.Generator().manual_seed(3))[:, 0]
    following = torch.cat([prefix, torch.zeros(1, 1, 4).double()], dim=1)
    mean = model.predict(following, method="exact")[0, -1]
    z = (drawn.mean(0) - mean) / (mean * (1 - mean) / 20_000).sqrt()
    assert z.abs().max() < 4.5
