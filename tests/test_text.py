"""What a model of characters does with text, beside brute force over all that it could do."""

import itertools
import math

import brute
import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm import text
from seqebm.data.text import Bytes, Characters
from seqebm.text import scores

VOCABULARY = Characters(" abc")


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def strong(model):
    """The model in float64 with parameters so large that every character matters."""
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=1.0, generator=generator(7))
    return model


def make(kind="lstm", size=4):
    return {
        "lstm": lambda: strong(
            seqebm.RNN(nn.LSTM(size, 5, batch_first=True), f"categorical:{size}")
        ),
        "rtrbm": lambda: strong(seqebm.RTRBM(size, 3, visible=f"categorical:{size}")),
    }[kind]()


def log_p(model, string, given=0):
    """log p of a string after its first characters, by plain loops."""
    codes = torch.eye(4, dtype=torch.float64)[[" abc".index(character) for character in string]]
    return float(brute.log_prob(model, codes)[given:].sum())


# --- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "rtrbm"])
def test_texts_are_scored_after_what_stands_before_them(kind, monkeypatch):
    monkeypatch.setattr(scores, "BLOCK", 50)  # two texts at a time
    model, texts = make(kind), ["a", "b ca", "cc", "abcabc", " "]
    found = text.log_probabilities(model, VOCABULARY, texts, before="ba c")
    expected = [log_p(model, "ba c" + one, 4) for one in texts]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    found = text.log_probabilities(model, VOCABULARY, texts)
    np.testing.assert_allclose(found, [log_p(model, one) for one in texts], rtol=1e-9)


@pytest.mark.parametrize(
    ("texts", "before", "named"),
    [
        ([], "a", "texts: expected at least one"),
        ([""], "", "text: expected at least one character"),
        (["ax"], "", "'x' .* is none of the 4 known ones"),
        (["a"], "é", "'é'"),
    ],
)
def test_texts_that_have_no_score(texts, before, named):
    with pytest.raises(ValueError, match=named):
        text.log_probabilities(make(), VOCABULARY, texts, before)


def test_models_of_other_symbols():
    binary = seqebm.RNN(nn.GRU(4, 3, batch_first=True))
    calls = [
        lambda model: text.log_probabilities(model, VOCABULARY, ["a"]),
        lambda model: text.written(model, VOCABULARY),
        lambda model: text.written_before(model, VOCABULARY, 5),
        lambda model: text.orderings(model, VOCABULARY, ["a", "b"]),
        lambda model: text.sampled_completions(model, VOCABULARY, "a", "b", 2),
        lambda model: text.best_completion(model, VOCABULARY, "a", "b", 2),
        lambda model: text.bracket_memory(model, VOCABULARY, "a", "b", "bc", steps=10),
    ]
    for call, model in itertools.product(calls, (make(size=5), binary)):
        with pytest.raises(ValueError, match="model: expected one of the 4 symbols"):
            call(model)


# --- writing ---------------------------------------------------------------------------------


def take(count, parts):
    return "".join(itertools.islice(parts, count))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("prompt", ["", "ab c", "abc " * 100])
def test_what_is_written_is_a_sample(temperature, prompt):
    model = make()
    prefix = VOCABULARY.frames(prompt) if prompt else None
    drawn = model.sample(30, 1, prefix, generator(), temperature=temperature)
    found = take(30, text.written(model, VOCABULARY, prompt, temperature, generator()))
    assert found == VOCABULARY.text(drawn[0])


def test_greedy_text_is_the_most_probable_symbol_each_time():
    model, string = make(), "ab"
    for character in take(12, text.written(model, VOCABULARY, "ab", temperature=0)):
        assert character == max(" abc", key=lambda one: log_p(model, string + one))
        string += character


def test_a_bolder_text_is_more_probable():
    model = make()
    mean = [
        float(
            text.log_probabilities(
                model, VOCABULARY, [take(400, text.written(model, VOCABULARY, "", t, generator()))]
            )
        )
        for t in (0.3, 1.0, 3.0)
    ]
    assert mean[0] > mean[1] > mean[2]


def test_bytes_are_written_as_characters():
    model = strong(seqebm.RNN(nn.GRU(256, 3, batch_first=True), "categorical:256"))
    parts = [*itertools.islice(text.written(model, Bytes(), "é", 1.0, generator()), 50)]
    drawn = model.sample(50, 1, Bytes().frames("é"), generator())[0].argmax(-1)
    whole = bytes(drawn.tolist()).decode(errors="replace")
    assert whole.startswith("".join(parts))
    assert len(whole) - len("".join(parts)) <= 1  # the last bytes may wait for others


@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("ending", ["", "ab c"])
def test_what_is_written_before_an_ending_is_a_reversed_sample(temperature, ending):
    model = make()
    prefix = VOCABULARY.frames(ending[::-1]) if ending else None
    drawn = model.sample(30, 1, prefix, generator(), temperature=temperature)
    found = text.written_before(model, VOCABULARY, 30, ending, temperature, generator())
    assert found == VOCABULARY.text(drawn[0])[::-1]


def test_bytes_before_an_ending_keep_their_order():
    """A model that is sure of the bytes of ☃, the last one first."""
    model = seqebm.RNN(nn.RNN(256, 1, batch_first=True), "categorical:256")
    snow = Bytes().encode("☃").tolist()
    stream = itertools.cycle(snow[::-1])
    model.stream = lambda: Recited(stream)
    assert text.written_before(model, Bytes(), 6, "☃") == "☃☃"


class Recited:
    """In place of a stream: says bytes as they come and checks those that it is given."""

    def __init__(self, symbols):
        self.symbols = symbols

    def filter(self, frame):
        assert int(frame.argmax()) == next(self.symbols)

    def draw(self, generator, temperature):
        return torch.eye(256)[None, next(self.symbols)]


def test_there_is_something_to_write():
    with pytest.raises(ValueError, match="symbols: expected at least 1, got 0"):
        text.written_before(make(), VOCABULARY, 0)


@pytest.mark.parametrize("temperature", [-1.0, math.nan])
def test_bad_temperatures(temperature):
    with pytest.raises(ValueError, match="temperature: expected 0 or more"):
        text.written(make(), VOCABULARY, "a", temperature)


def test_prompts_that_are_not_of_the_vocabulary():
    with pytest.raises(ValueError, match=r"'x' \(U\+0078\) in line 1, column 2"):
        text.written(make(), VOCABULARY, "ax")


# --- order of words --------------------------------------------------------------------------

WORDS = ("a", "cab", "bb", "a")


def all_orders(model, before="", after=""):
    """Every order of the words with its score, best first, by plain loops."""
    orders = set(itertools.permutations(WORDS))
    made = [(log_p(model, before + " ".join(o) + after, len(before)), o) for o in orders]
    return sorted(made, reverse=True)


@pytest.mark.parametrize("kind", ["lstm", "rtrbm"])
def test_all_orders_are_scored(kind):
    model = make(kind)
    found = text.orderings(model, VOCABULARY, WORDS, "c b ", " ca")
    expected = all_orders(model, "c b ", " ca")
    assert len(found) == 12
    assert [one.words for one in found] == [order for _, order in expected]
    np.testing.assert_allclose([one.log_prob for one in found], [p for p, _ in expected], rtol=1e-9)


def test_a_wide_beam_is_exhaustive():
    model = make()
    found = text.orderings(model, VOCABULARY, WORDS, "c ", " b", beam=24)
    assert found == text.orderings(model, VOCABULARY, WORDS, "c ", " b")


def test_a_beam_keeps_the_best_beginnings():
    """Each step by plain loops."""
    model, kept = make(), [()]
    for _ in WORDS[:-1]:
        hoped = {}
        for order in kept:
            for word in set(WORDS):
                longer = (*order, word)
                left = list(WORDS)
                try:
                    for used in longer:
                        left.remove(used)
                except ValueError:
                    continue
                start = log_p(model, "c " + " ".join(longer) + " ", 2)
                hoped[longer] = start + sum(log_p(model, "c " + one, 2) for one in left)
        kept = sorted(hoped, key=hoped.get, reverse=True)[:2]
    found = text.orderings(model, VOCABULARY, WORDS, "c ", " b", beam=2)
    assert {one.words[:3] for one in found} == set(kept)
    assert all(sorted(one.words) == sorted(WORDS) for one in found)
    for one in found:
        assert one.log_prob == pytest.approx(log_p(model, "c " + " ".join(one.words) + " b", 2))


def test_many_words_take_a_beam():
    words = ["a", "b", "c"] * 4
    with pytest.raises(ValueError, match=r"words: expected 1 to 8 \(more take a beam\), got 12"):
        text.orderings(make(), VOCABULARY, words)
    (best, *_) = text.orderings(make(), VOCABULARY, words, beam=3)
    assert sorted(best.words) == sorted(words)


@pytest.mark.parametrize(
    ("words", "beam", "named"),
    [([], None, "got 0"), (["a"], 0, "beam: expected at least 1"), (["x"], None, "'x'")],
)
def test_words_that_have_no_order(words, beam, named):
    with pytest.raises(ValueError, match=named):
        text.orderings(make(), VOCABULARY, words, beam=beam)


def test_debugging_counts_the_orders_that_are_found():
    model, string = make(), "a b cc ab ca bb c ac b a cab " * 3
    found = text.debugged(model, VOCABULARY, string, 40, 3, 1, generator=generator(5))
    words, right = string.split(), 0
    for place in torch.randint(len(words) - 4, (40,), generator=generator(5)).tolist():
        first, *truth, last = words[place : place + 5]
        orders = set(itertools.permutations(truth))
        score = {o: log_p(model, " ".join([first, *o, last]), len(first) + 1) for o in orders}
        right += max(score, key=score.get) == tuple(truth)
    assert found.bags == 40
    assert found.share == right / 40
    assert 0 < found.share < 1
    assert found.error == pytest.approx(math.sqrt(found.share * (1 - found.share) / 40))
    with pytest.raises(ValueError, match="expected at least 11 words and 1 bag, got 3 and 500"):
        text.debugged(model, VOCABULARY, "a b c")


# --- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "rtrbm"])
def test_the_best_completion_of_all(kind):
    model = make(kind)
    fillings = map("".join, itertools.product(" abc", repeat=3))
    expected = max((log_p(model, "ab" + one + "cb", 2), one) for one in fillings)
    found = text.best_completion(model, VOCABULARY, "ab", "cb", 3, beam=64)
    assert found.text == expected[1]
    assert found.log_prob == pytest.approx(expected[0])


def test_a_narrow_beam_finds_no_better_completion():
    model = make()
    wide, narrow = (text.best_completion(model, VOCABULARY, "ab", "c", 5, n) for n in (1024, 2))
    assert narrow.log_prob <= wide.log_prob
    assert narrow.log_prob == pytest.approx(log_p(model, "ab" + narrow.text + "c", 2))


def test_sampled_completions_are_sorted_by_what_follows():
    model = make()
    found = text.sampled_completions(model, VOCABULARY, "ab", "cb", 4, 6, generator=generator())
    prefix = VOCABULARY.frames("ab").expand(6, -1, -1)
    drawn = [VOCABULARY.text(one) for one in model.sample(4, 6, prefix, generator())]
    assert {one.text for one in found} == {one[:n] for one in drawn for n in (1, 2, 3, 4)}
    for one in found:
        assert one.log_prob == pytest.approx(
            log_p(model, "ab" + one.text + "cb", 2 + len(one.text))
        )
    values = [one.log_prob for one in found]
    assert values == sorted(values, reverse=True)


def test_completions_are_in_proportion_to_their_probability():
    """Draws weighted by the end are samples of the posterior: its mean by enumeration."""
    model = make()
    found = text.sampled_completions(model, VOCABULARY, "ab", "c", 2, 4000, generator=generator(3))
    weight = {one.text: math.exp(one.log_prob) for one in found}
    prefix = VOCABULARY.frames("ab").expand(4000, -1, -1)
    drawn = [VOCABULARY.text(one) for one in model.sample(2, 4000, prefix, generator(3))]
    weights = np.array([weight[one] for one in drawn])
    share = float(weights[[one[0] == "a" for one in drawn]].sum() / weights.sum())
    fillings = ["".join(pair) for pair in itertools.product(" abc", repeat=2)]
    exact = {one: math.exp(log_p(model, "ab" + one + "c", 2)) for one in fillings}
    expected = sum(p for one, p in exact.items() if one[0] == "a") / sum(exact.values())
    assert share == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("beginning", "end", "length", "named"),
    [
        ("", "a", 2, "beginning: expected at least one character"),
        ("a", "", 2, "end: expected at least one character"),
        ("a", "x", 2, "'x'"),
        ("a", "b", 0, "length"),
    ],
)
def test_gaps_that_cannot_be_filled(beginning, end, length, named):
    for fill in (text.best_completion, text.sampled_completions):
        with pytest.raises(ValueError, match=named):
            fill(make(), VOCABULARY, beginning, end, length)


# --- brackets --------------------------------------------------------------------------------


def latch(gain=1.0):
    """A tanh unit that stays at about +1 once "[" was met and at about −1 otherwise.

    The logit of "]" is `gain` times the unit, all others are 0.
    """
    vocabulary = Characters("Tah[] ")
    model = seqebm.RNN(nn.RNN(6, 1, batch_first=True), "categorical:6").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cell.network.weight_hh_l0[:] = 5.0
        model.cell.network.weight_ih_l0[0, 3] = 20.0
        model.cell.initial_hidden[:] = -1.0
        model.readout.weight[4, 0] = gain
    return model, vocabulary


def test_a_model_that_never_forgets_a_bracket():
    model, vocabulary = latch()
    found = text.bracket_memory(model, vocabulary, steps=200, trials=3, generator=generator())
    assert found.opened.shape == found.control.shape == (20,)
    fixed = 1.0
    for _ in range(100):  # where h = tanh(5 h) stays
        fixed = math.tanh(5 * fixed)
    torch.testing.assert_close(found.opened[2:], torch.full((18,), fixed / math.log(10)))
    torch.testing.assert_close(found.control[2:], torch.full((18,), -fixed / math.log(10)))
    torch.testing.assert_close(found.gain[2:], torch.full((18,), 2 * fixed / math.log(10)))


def test_brackets_by_plain_loops(monkeypatch):
    """The ratios of the texts that were drawn, and only letters in them."""
    model, vocabulary = make(), Characters(" [b]")
    drawn = []
    multinomial = torch.multinomial

    def recorded(p, *rest, **options):
        found = multinomial(p, *rest, **options)
        drawn.append((p.clone(), found[:, 0]))
        return found

    monkeypatch.setattr(torch, "multinomial", recorded)
    options = {"steps": 6, "trials": 2, "smooth": 3, "generator": generator()}
    found = text.bracket_memory(model, vocabulary, "[[", "b ", **options)
    for begun, half, curve in (("aa", drawn[:6], found.opened), ("b ", drawn[6:], found.control)):
        strings, ratios = [begun, begun], []  # "[" is to `log_p` what "a" is, "]" what "c" is
        for p, symbols in half:
            total = 0.0
            for row, string in enumerate(strings):
                log_ps = [log_p(model, string + one, len(string)) for one in " abc"]
                total += (log_ps[3] - log_ps[1]) / math.log(10)
                letters = np.exp(log_ps) * [1, 0, 1, 0]
                np.testing.assert_allclose(p[row], letters / letters.sum(), rtol=1e-6)
            ratios.append(total / 2)
            strings = [s + " abc"[k] for s, k in zip(strings, symbols.tolist(), strict=True)]
        expected = [np.mean(ratios[:3]), np.mean(ratios[3:])]
        np.testing.assert_allclose(curve, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"steps": 15}, "steps a multiple of smooth"),
        ({"trials": 0}, "expected positive numbers"),
        ({"brackets": "["}, "brackets: expected an opening and a closing one"),
        ({"brackets": "{}"}, r"'{' \(U\+007B\)"),
        ({"allowed": "xyz"}, "allowed: the vocabulary has none of 'xyz'"),
        ({"control": ""}, "text: expected at least one character"),
    ],
)
def test_bracket_experiments_that_cannot_be_done(options, named):
    model, vocabulary = latch()
    with pytest.raises(ValueError, match=named):
        text.bracket_memory(model, vocabulary, **options)


# --- pictures --------------------------------------------------------------------------------


def cells(picture):
    """The background of each character of a picture, [lines, columns, 3]."""
    return picture[0, ::18, ::9].astype(int)


def test_colours_say_how_surprising_characters_are():
    picture = text.heat_map("abc", torch.tensor([0.0, 5.0, 10.0]), columns=3)
    assert picture.shape == (1, 18, 27, 3)
    assert cells(picture).tolist() == [[[28, 32, 48], [125, 58, 40], [222, 84, 32]]]
    inked = [
        (abs(picture[0, :, 9 * k : 9 * k + 9].astype(int) - cells(picture)[0, k])).max()
        for k in range(3)
    ]
    assert min(inked) > 100


def test_lines_end_where_they_do_in_the_text_or_where_they_are_full():
    picture = text.heat_map("ab\nabcd", torch.full((7,), 99.0), columns=3)
    hot = (cells(picture) == [222, 84, 32]).all(2)
    assert hot.tolist() == [[True] * 3, [True] * 3, [True, False, False]]


def test_labels_of_symbols_can_be_drawn():
    labels = [Bytes().label(symbol) for symbol in range(256)]
    assert text.heat_map(labels, np.zeros(256)).shape == (1, 18 * 5, 720, 3)


@pytest.mark.parametrize(
    ("string", "bits", "columns"),
    [
        ("", [], 80),
        ("ab", [1.0], 80),
        ("a", [math.nan], 80),
        ("a", [1.0], 0),
        ("a" * 20_001, 0, 80),
    ],
)
def test_texts_that_cannot_be_drawn(string, bits, columns):
    bits = np.zeros(len(string)) if bits == 0 else np.array(bits)
    with pytest.raises(ValueError, match="expected"):
        text.heat_map(string, bits, columns)
