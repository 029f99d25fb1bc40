from dataclasses import replace

import pytest
import torch
from torch import nn

import seqebm
from seqebm.data import Sequence, Sequences, SymbolSequence
from seqebm.learning import PersistentChains, batches, fit, minibatches, windows
from seqebm.learning.recipes import Recipe
from seqebm.learning.training import train


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def ragged(lengths=(6, 3, 5, 6), visible=4):
    source = generator(2)
    return Sequences(
        Sequence((torch.rand(n, visible, generator=source) > 0.5).float()) for n in lengths
    )


def build(scale=0.5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RTRBM(4, 3)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=scale)
    model.gibbs_steps = 2
    return model


KINDS = {
    "whole": lambda: minibatches(ragged(), 2, seed=1),
    "windows": lambda: windows(ragged(), 4, 2, seed=1),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@every_kind
def test_chains_begin_at_the_data(make):
    data = make()
    chains = PersistentChains(data)
    assert chains.states.dtype == torch.uint8
    for step in range(5):
        batch = data(step)
        frames = batch if isinstance(batch, torch.Tensor) else batch[0]
        assert torch.equal(chains.take(step), frames)


@every_kind
def test_what_is_put_is_what_is_taken(make):
    data = make()
    chains, before = PersistentChains(data), PersistentChains(data)
    ends = 1 - chains.take(3)
    chains.put(3, ends)
    batch = data(3)
    frames, lengths = (batch, None) if isinstance(batch, torch.Tensor) else batch
    count = frames.shape[0] * frames.shape[1] if lengths is None else int(lengths.sum())
    changed = (chains.states != before.states).any(1)
    assert int(changed.sum()) == count
    inside = torch.ones(frames.shape[:2], dtype=torch.bool)
    if lengths is not None:
        inside = torch.arange(frames.shape[1]) < lengths.unsqueeze(1)
    assert torch.equal(chains.take(3)[inside], ends[inside])


def test_real_values_are_kept_as_they_are():
    chains = PersistentChains(minibatches(torch.rand(3, 5, 4), 2, seed=1))
    assert chains.states.dtype == torch.float32
    ends = torch.rand(2, 5, 4)
    chains.put(0, ends)
    assert torch.equal(chains.take(0), ends)


def test_the_loss_leaves_chains_where_they_end():
    model, lengths = build(), torch.tensor([5, 2])
    frames = (torch.rand(2, 5, 4, generator=generator()) > 0.5).float()
    start = (torch.rand(2, 5, 4, generator=generator(2)) > 0.5).float()
    inside = torch.arange(5) < lengths.unsqueeze(1)
    chains = start.clone()
    loss = model.loss(frames, lengths, generator(3), None, chains)
    assert torch.equal(chains[~inside], start[~inside])
    conditional, real, _ = model.conditionals(frames, lengths)
    ends, mean = seqebm.gibbs.chain(conditional.rbm, start[inside], 2, generator(3))
    assert torch.equal(chains[inside], ends)
    expected = conditional.rbm.free_energy(real) - conditional.rbm.sampled_free_energy(ends, mean)
    torch.testing.assert_close(loss, expected.mean())
    whole = start.clone()
    model.loss(frames, None, generator(3), None, whole)
    assert not torch.equal(whole, start)


def test_chains_that_begin_at_the_frames_are_those_of_contrastive_divergence():
    model, frames = build(), ragged((5, 5)).padded()[0]
    plain = model.loss(frames, None, generator())
    assert torch.equal(model.loss(frames, None, generator(), None, frames.clone()), plain)


def test_innovations_have_chains_of_frames():
    model = seqebm.Innovations(seqebm.RTRBM(3, 4, visible="gaussian"), order=1)
    frames = torch.randn(2, 6, 3, generator=generator())
    chains = frames.clone()
    model.loss(frames, None, generator(), None, chains).backward()
    assert not torch.equal(chains, frames)
    assert not chains.requires_grad
    plain = model.loss(frames, None, generator())
    assert torch.equal(model.loss(frames, None, generator(), None, frames.clone()), plain)


def test_chains_of_another_shape_are_refused():
    frames = torch.zeros(2, 5, 4)
    with pytest.raises(ValueError, match=r"chains: expected shape \[2, 5, 4\], got \[2, 4, 4\]"):
        build().loss(frames, None, None, None, torch.zeros(2, 4, 4))


@pytest.mark.slow
def test_chains_of_a_model_that_stays_become_its_samples():
    """Visited again and again, they forget the data: means as those of exact enumeration."""
    model = build(1.0)
    one = ragged((6,)).padded()[0]
    data = minibatches(one.expand(500, -1, -1), 500, seed=1)
    chains = PersistentChains(data)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    fit(model, data, steps=60, optimizer=still, chains=chains, generator=generator())
    means = chains.states.view(500, 6, 4).float().mean(0)
    expected = model.predict(one)[0]
    z = (means - expected) / (expected * (1 - expected) / 500).sqrt()
    assert z.abs().max() < 4.2


def test_a_resumed_run_has_the_chains_it_was_stopped_with(tmp_path):
    keys = {"lr": 0.5, "lr_end": 0.5, "persistent": True, "window": 4}
    recipe = Recipe("rtrbm", hidden=3, steps=12, batch=2, gibbs_steps="1", **keys)
    path = tmp_path / "run.h5"
    whole, _ = train(recipe, ragged(), progress=False)
    train(replace(recipe, steps=5), ragged(), checkpoint=path, progress=False)
    resumed, _ = train(recipe, ragged(), checkpoint=path, resume=True, progress=False)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    plain, _ = train(replace(recipe, persistent=False), ragged(), progress=False)
    assert not torch.equal(plain.weight, whole.weight)


def test_a_run_goes_on_with_the_setting_and_the_data_it_was_begun_with(tmp_path):
    data, path = minibatches(ragged(), 2, seed=1), tmp_path / "run.h5"
    fit(build(), data, steps=2, chains=PersistentChains(data), checkpoint=path)
    with pytest.raises(ValueError, match="saved with another setting of `chains`"):
        fit(build(), data, steps=4, checkpoint=path, resume=True)
    other = minibatches(ragged((6, 3)), 2, seed=1)
    with pytest.raises(ValueError, match=r"chains: expected shape \[9, 4\], got \[20, 4\]"):
        fit(build(), other, steps=4, chains=PersistentChains(other), checkpoint=path, resume=True)


def test_chains_need_data_from_a_file_and_a_model_that_draws_them():
    with pytest.raises(ValueError, match="persistent: goes with data from a file"):
        train(Recipe("rtrbm", steps=1, persistent=True), progress=False)
    with pytest.raises(ValueError, match="models that draw chains"):
        train(Recipe("gru", steps=1, persistent=True), ragged(), progress=False)


# --- contexts --------------------------------------------------------------------------------


def test_pieces_have_something_to_learn_from():
    data = windows(ragged((60, 9, 41)), 10, 3, seed=1, context=4)
    met = [piece for step in range(200) for piece in data.pieces(step)]
    assert all(5 <= piece.last - piece.first <= 10 for piece in met)
    assert {piece.sequence for piece in met} == {0, 1, 2}


def test_every_step_has_a_piece_that_is_longer_than_the_context():
    data = windows(ragged((12,)), 10, 1, seed=1, context=9)
    assert all(len(data.pieces(step)) >= 1 for step in range(50))
    assert all(p.last - p.first == 10 for step in range(50) for p in data.pieces(step))


@pytest.mark.parametrize("context", [-1, 6, 10])
def test_no_piece_is_longer_than_the_context(context):
    with pytest.raises(ValueError, match="context: expected less than the 6 frames"):
        windows(ragged(), 10, 2, seed=1, context=context)


# --- symbols ---------------------------------------------------------------------------------


def texts(lengths=(60, 33)):
    source = generator(3)
    drawn = (torch.randint(5, (n,), generator=source) for n in lengths)
    return Sequences(SymbolSequence(symbols=one, categories=5) for one in drawn)


def dense(sequences):
    return Sequences(Sequence(one.frames) for one in sequences)


@pytest.mark.parametrize("window", [0, 7])
def test_batches_of_symbols_are_those_of_their_frames(window):
    def met(data):
        return windows(data, window, 3, 1, 2) if window else minibatches(data, 2, seed=1)

    made, expected = met(texts()), met(dense(texts()))
    for step in range(20):
        for a, b in zip(made(step), expected(step), strict=True):
            assert torch.equal(a, b)


def test_chains_of_symbols_begin_at_their_frames(monkeypatch):
    monkeypatch.setattr(batches, "PART", 7)
    made, expected = (PersistentChains(windows(d, 9, 2, 1)) for d in (texts(), dense(texts())))
    assert made.states.dtype == torch.uint8
    assert torch.equal(made.states, expected.states)


def test_recipes_know_what_units_symbols_have():
    trained, _ = train(Recipe("gru", hidden=3, steps=1, window=9), texts(), progress=False)
    assert trained.visible.spec == "categorical:5"
    with pytest.raises(ValueError, match="visible: expected categorical:5 for these data"):
        train(Recipe("gru", hidden=3, steps=1, visible="gaussian"), texts(), progress=False)
    with pytest.raises(ValueError, match="expected bernoulli for a lstm-nade"):
        train(Recipe("lstm-nade", hidden=3, steps=1), texts(), progress=False)


@pytest.mark.parametrize("kind", ["rbm", "trbm", "rtrbm", "rnn", "lstm", "gru", "lstm-rbm"])
def test_every_kind_of_model_learns_from_symbols(kind):
    recipe = Recipe(kind, hidden=3, steps=2, window=9, context=3, gibbs_steps="1")
    trained, _ = train(recipe, texts(), progress=False)
    first = trained.log_prob(torch.eye(5).unsqueeze(1)).exp()
    assert float(first.detach().sum()) == pytest.approx(1, rel=1e-4)
    drawn = trained.sample(4, generator=generator())
    assert torch.equal(drawn.sum(2), torch.ones(1, 4))
