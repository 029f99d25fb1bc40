"""Bits per character beside brute force, and n-grams beside plain counting."""

import math
from collections import Counter

import brute
import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm.data import Sequence, SymbolSequence
from seqebm.evaluate import NGram, adaptive_surprises, bits_per_symbol, surprises


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def strong(model):
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator(7))
    return model


MODELS = {
    "LSTM": lambda: seqebm.RNN(nn.LSTM(4, 3, batch_first=True), "categorical:4"),
    "GRU": lambda: seqebm.RNN(nn.GRU(4, 3, batch_first=True), "categorical:4"),
    "RTRBM": lambda: seqebm.RTRBM(4, 3, order=2, visible="categorical:4"),
    "TRBM": lambda: seqebm.TRBM(4, 3, order=3, visible="categorical:4"),
    "RBM": lambda: seqebm.RBM(4, 3, "categorical:4"),
    "LSTM-RBM": lambda: seqebm.RNNRBM(4, 3, "lstm", "categorical:4"),
}


@pytest.fixture(params=MODELS)
def model(request):
    return strong(MODELS[request.param]())


def text(time=30, seed=2, categories=4):
    drawn = torch.randint(categories, (time,), generator=generator(seed))
    return SymbolSequence(symbols=drawn, categories=categories)


# --- surprise --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 30, 100])
def test_surprise_is_that_of_one_continuous_stream(model, chunk):
    found = torch.cat([*surprises(model, text(), chunk)])
    expected = -brute.log_prob(model, text().frames) / math.log(2)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert not found.requires_grad


def test_frames_that_are_kept_are_measured_too():
    model = strong(MODELS["LSTM"]())
    a, b = ([*surprises(model, one, 8)] for one in (text(), Sequence(text().frames)))
    assert all(map(torch.equal, a, b))


def test_symbols_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"frames: expected shape \[batch, time, 4\]"):
        next(surprises(strong(MODELS["LSTM"]()), text(categories=5)))
    with pytest.raises(ValueError, match="chunk: expected at least 1, got 0"):
        next(surprises(strong(MODELS["LSTM"]()), text(), 0))


# --- dynamic evaluation ----------------------------------------------------------------------


def test_a_model_that_learns_on_the_way_by_plain_steps():
    """An RBM remembers nothing: a chunk is scored, and then descended from, by itself."""
    model = seqebm.RNN(nn.RNN(4, 3, batch_first=True), "categorical:4").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.readout.bias[:] = torch.tensor([0.5, -0.5, 0.2, 0.0])
    bias, expected = model.readout.bias.detach().numpy().copy(), []
    symbols = text().symbols.numpy()
    for chunk in np.split(symbols, [8, 16, 24]):
        p = np.exp(bias) / np.exp(bias).sum()
        expected += [*-np.log2(p[chunk])]
        bias -= 0.3 * (p - np.bincount(chunk, minlength=4) / len(chunk))  # only b_o has a gradient
    before = [p.clone() for p in model.parameters()]
    found = torch.cat([*adaptive_surprises(model, text(), lambda p: torch.optim.SGD(p, lr=0.3), 8)])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert all(map(torch.equal, before, model.parameters()))


def test_the_state_goes_on_while_a_model_learns():
    """Two chunks by torch's own autograd, with the state carried from one to the next."""
    model = strong(MODELS["LSTM"]())
    found = torch.cat(
        [*adaptive_surprises(model, text(20), lambda p: torch.optim.SGD(p, lr=0.1), 10)]
    )
    learner, frames = strong(MODELS["LSTM"]()), text(20).frames.double()[None]
    first = -learner.log_prob(frames[:, :10])[0]
    _, state = learner.cell(frames[:, :10], learner.initial_state(1))
    state = tuple(part.detach() for part in state)
    gradients = torch.autograd.grad(first.mean(), [*learner.parameters()])
    with torch.no_grad():
        for parameter, gradient in zip(learner.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient
        outputs, _ = learner.cell(frames[:, 10:], state)
        logits = learner.readout(outputs[:, :-1]).log_softmax(-1)
        second = -(logits * frames[:, 10:]).sum(-1)[0]
    torch.testing.assert_close(found, torch.cat([first.detach(), second]) / math.log(2))


def test_models_that_draw_chains_learn_too(model):
    found = [
        torch.cat([*adaptive_surprises(model, text(), torch.optim.Adam, 10, generator())])
        for _ in range(2)
    ]
    assert torch.equal(*found)
    static = torch.cat([*surprises(model, text(), 10)])
    torch.testing.assert_close(found[0][:10], static[:10])
    assert not torch.allclose(found[0][10:], static[10:])


def test_what_repeats_is_learned():
    model = strong(MODELS["LSTM"]())
    word = SymbolSequence(symbols=torch.tensor([0, 3, 1, 1, 2] * 100), categories=4)

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=0.05)

    bits = torch.cat([*adaptive_surprises(model, word, adam, 20)])
    assert bits[-50:].mean() < 0.5 * bits[:50].mean()


# --- means -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[], [1], [100, 250], [37, 38, 39, 400]])
def test_the_mean_does_not_depend_on_the_chunks(cuts):
    bits = torch.rand(430, generator=generator(), dtype=torch.float64)
    found = bits_per_symbol(bits.tensor_split(cuts), block=100)
    blocks = bits[:400].view(4, 100).mean(1)
    assert found.bits == pytest.approx(float(bits.mean()))
    assert found.error == pytest.approx(float(blocks.std() / 2))
    assert found.symbols == 430


def test_one_block_has_no_error():
    assert math.isnan(bits_per_symbol([torch.rand(1999)]).error)
    assert bits_per_symbol([torch.rand(2000)]).error > 0


def test_no_symbols_have_no_mean():
    with pytest.raises(ValueError, match="chunks: expected at least one symbol"):
        bits_per_symbol([])
    with pytest.raises(ValueError, match="block: expected at least 1"):
        bits_per_symbol([torch.rand(3)], block=0)


# --- n-grams ---------------------------------------------------------------------------------


def counted(known, new, order, categories):
    """Witten and Bell's n-grams by dictionaries and loops."""
    grams, follow = Counter(), Counter()
    for n in range(order + 1):
        for place in range(n, len(known)):
            context = tuple(known[place - n : place])
            grams[context, known[place]] += 1
    kinds = Counter(context for context, _ in grams)
    for (context, _), count in grams.items():
        follow[context] += count
    bits = []
    for place, symbol in enumerate(new):
        p = 1 / categories
        for n in range(min(order, place) + 1):
            context = tuple(new[place - n : place])
            if follow[context]:
                p = (grams[context, symbol] + kinds[context] * p) / (
                    follow[context] + kinds[context]
                )
        bits.append(-math.log2(p))
    return bits


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("chunk", [5, 1000])
def test_ngrams_by_counting(order, chunk, monkeypatch):
    monkeypatch.setattr("seqebm.evaluate.ngrams.CHUNK", chunk)
    known, new = text(60, 3), text(40, 4)
    found = torch.cat([*NGram(known, order).surprises(new)])
    expected = counted(known.symbols.tolist(), new.symbols.tolist(), order, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ngrams_are_distributions():
    known = text(50, 3)
    ends = [
        SymbolSequence(symbols=torch.cat([text(6).symbols.long(), torch.tensor([k])]), categories=4)
        for k in range(4)
    ]
    last = [float(torch.cat([*NGram(known, 2).surprises(one)])[-1]) for one in ends]
    assert sum(2**-bits for bits in last) == pytest.approx(1)


def test_texts_that_are_shorter_than_a_context():
    found = torch.cat([*NGram(text(2), 5).surprises(text(3))])
    np.testing.assert_allclose(
        found, counted(text(2).symbols.tolist(), text(3).symbols.tolist(), 5, 4)
    )


def test_bad_orders():
    for order in (-1, 31):
        with pytest.raises(ValueError, match="order: expected 0 to 30 with 4 symbols"):
            NGram(text(), order)
    NGram(text(), 30)
    with pytest.raises(ValueError, match="text: expected 4 symbols, got 5"):
        next(NGram(text(), 1).surprises(text(categories=5)))
