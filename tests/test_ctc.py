"""Both kinds of CTC against sums over all paths, written out in float64."""

import itertools
import math

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from seqebm import ctc

K, T = 3, 4  # labels and frames: 256 paths


def dropped(path, blank):
    """What a path says by the thesis."""
    return tuple(symbol for symbol in path if symbol != blank)


def collapsed(path, blank):
    """What it says by Graves."""
    return dropped([symbol for symbol, _ in itertools.groupby(path)], blank)


KINDS = {
    "thesis": (ctc.log_prob, dropped, ctc.best_path, ctc.beam_search),
    "Graves": (
        ctc.collapsed_log_prob,
        collapsed,
        ctc.collapsed_best_path,
        ctc.collapsed_beam_search,
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def predictions(*shape, seed=1, dtype=torch.float64, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return logits.log_softmax(-1).to(dtype)


def enumerated(log_p, says):
    """P(l) of all label sequences that [time, K + 1] predictions can say."""
    rows, blank = log_p.double().exp().tolist(), log_p.shape[1] - 1
    found = {}
    for path in itertools.product(range(blank + 1), repeat=len(rows)):
        labels = says(path, blank)
        p = math.prod(row[symbol] for row, symbol in zip(rows, path, strict=True))
        found[labels] = found.get(labels, 0.0) + p
    return found


def every_sequence(most, k=K):
    """All label sequences of 0 … most labels."""
    return [labels for m in range(most + 1) for labels in itertools.product(range(k), repeat=m)]


def batch_of(sequences):
    """Labels [batch, M], padded with what would be refused, and their lengths."""
    rows = [torch.tensor(labels, dtype=torch.int64) for labels in sequences]
    padded = pad_sequence(rows, batch_first=True, padding_value=-7)
    return padded, torch.tensor([len(labels) for labels in sequences])


# --- what they are ---------------------------------------------------------------------------


def test_the_probability_of_every_label_sequence(kind):
    log_prob, says, *_ = kind
    log_p = predictions(T, K + 1)
    expected = enumerated(log_p, says)
    sequences = every_sequence(T)
    labels, label_lengths = batch_of(sequences)
    everywhere = log_p.expand(len(sequences), -1, -1)
    found = log_prob(everywhere, labels, None, label_lengths).exp()
    wanted = torch.tensor([expected.get(one, 0.0) for one in sequences], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)


def test_ragged_predictions_and_labels(kind):
    log_prob, says, *_ = kind
    log_p = predictions(5, T, K + 1)
    lengths = torch.tensor([4, 1, 3, 2, 4])
    sequences = [(0, 0), (2,), (1, 1, 2), (), (2, 0, 1, 0)]
    labels, label_lengths = batch_of(sequences)
    after = torch.arange(T) >= lengths[:, None]
    spoilt = log_p.masked_fill(after[..., None], math.nan).requires_grad_()
    found = log_prob(spoilt, labels, lengths, label_lengths)
    rows = zip(log_p, lengths, sequences, strict=True)
    wanted = [
        math.log(enumerated(one[:end], says).get(said, 0) or 1e-300) for one, end, said in rows
    ]
    possible = torch.tensor(wanted, dtype=torch.float64)
    possible[possible < -600] = -math.inf  # "1 1 2" of three frames, by Graves
    torch.testing.assert_close(found, possible, rtol=1e-12, atol=0)
    found[possible > -math.inf].sum().backward()
    assert (spoilt.grad[after] == 0).all()


def test_the_difference():
    """ "a a" says aa without a blank between by the thesis, and a by Graves."""
    certain = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).log()
    a, aa = torch.tensor([[0]]), torch.tensor([[0, 0]])
    assert ctc.log_prob(certain, aa) == ctc.collapsed_log_prob(certain, a) == 0
    assert ctc.log_prob(certain, a) == ctc.collapsed_log_prob(certain, aa) == -math.inf
    log_p = predictions(T, K + 1)
    with_repeats = enumerated(log_p, dropped)
    without = enumerated(log_p, collapsed)
    assert with_repeats[()] == without[()]
    assert sum(abs(with_repeats[said] - without.get(said, 0)) for said in with_repeats) > 0.3
    assert {said for said in with_repeats if said not in without} >= {(0, 0, 0), (1, 1, 0, 0)}


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient(kind, seed):
    log_prob, *_ = kind
    logits = predictions(3, T, K + 1, seed=seed).requires_grad_()
    labels, label_lengths = batch_of([(0, 0), (2, 1, 0), ()])
    lengths = torch.tensor([4, 3, 2])

    def loss(logits):
        return log_prob(logits.log_softmax(2), labels, lengths, label_lengths)

    assert torch.autograd.gradcheck(loss, logits)


def test_the_second_derivative():
    logits = predictions(1, 3, 3).requires_grad_()

    def loss(logits):
        return ctc.log_prob(logits.log_softmax(2), torch.tensor([[1, 1]]))

    assert torch.autograd.gradgradcheck(loss, logits)


def test_the_gradient_is_the_posterior_of_the_symbols():
    log_p = predictions(1, T, K + 1).requires_grad_()
    said = (1, 1)
    ctc.log_prob(log_p, torch.tensor([said])).sum().backward()
    p, expected, total = log_p[0].exp().tolist(), torch.zeros(T, K + 1).double(), 0.0
    for path in itertools.product(range(K + 1), repeat=T):
        if dropped(path, K) == said:
            weight = math.prod(p[t][symbol] for t, symbol in enumerate(path))
            expected[range(T), path] += weight
            total += weight
    torch.testing.assert_close(log_p.grad[0], expected / total, rtol=1e-12, atol=1e-15)


def test_the_gradient_where_predictions_are_certain():
    """Zero probabilities: a path that cannot be leaves no NaN behind."""
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64)
    log_p = p.log()[None].repeat(2, 1, 1).requires_grad_()
    found = ctc.log_prob(log_p, torch.tensor([[0, 1, 1], [1, 1, 1]]))
    assert found.tolist() == [math.log(0.5), -math.inf]
    found[0].backward()
    assert log_p.grad.tolist() == [[[1, 0, 0], [0, 1, 0], [0, 1, 0]], [[0, 0, 0]] * 3]
    log_p.grad = None
    ctc.log_prob(log_p, torch.tensor([[0, 1, 1], [1, 1, 1]]))[1].backward()
    assert (log_p.grad == 0).all()


# --- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_long_sequences_in_float32(kind, scale):
    log_prob, *_ = kind
    log_p = predictions(2, 1500, 11, scale=scale)
    labels = torch.randint(10, (2, 60), generator=torch.Generator().manual_seed(2))
    ends = torch.tensor([1500, 700])
    exact, single = (log_prob(values, labels, ends) for values in (log_p, log_p.float()))
    assert (exact > -math.inf).all()
    assert single.dtype == torch.float32
    rounding = 2**-24 * 1500**0.5  # of as many sums, whose errors add like a random walk
    torch.testing.assert_close(single.double(), exact, rtol=2 * rounding, atol=0)


def test_half_precision_is_summed_in_single():
    log_p = predictions(1, 300, 4)
    labels = torch.tensor([[0, 1, 2, 2]])
    half = log_p.to(torch.bfloat16)
    found = ctc.log_prob(half, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, ctc.log_prob(half.float(), labels), rtol=0, atol=0)


# --- decoding --------------------------------------------------------------------------------


def test_what_the_most_probable_path_says(kind):
    _, says, best_path, _ = kind
    log_p = predictions(20, T, K + 1)
    lengths = torch.arange(20) % T + 1
    for one, end, said in zip(log_p, lengths, best_path(log_p, lengths), strict=True):
        assert tuple(said.tolist()) == says(one[:end].argmax(1).tolist(), K)


def test_a_wide_beam_finds_the_most_probable_labels(kind):
    _, says, best_path, beam_search = kind
    log_p = predictions(40, T, K + 1, scale=0.7)
    lengths = torch.arange(40) % T + 1
    found = [
        tuple(said.tolist()) for said in beam_search(log_p, lengths, width=len(every_sequence(T)))
    ]
    tables = [enumerated(one[:end], says) for one, end in zip(log_p, lengths, strict=True)]
    assert found == [max(table, key=table.__getitem__) for table in tables]
    greedy = [tuple(said.tolist()) for said in best_path(log_p, lengths)]
    assert greedy != found  # or there is nothing to search for


def test_a_narrow_beam_is_nearly_as_good(kind):
    _, says, best_path, beam_search = kind
    log_p = predictions(40, T, K + 1, scale=0.7)
    tables = [enumerated(one, says) for one in log_p]

    def mean(found):
        return sum(table[tuple(said.tolist())] for table, said in zip(tables, found, strict=True))

    best = sum(max(table.values()) for table in tables)
    assert mean(best_path(log_p)) < 0.95 * best
    assert mean(beam_search(log_p, width=4)) > 0.98 * best


def test_decoding_where_predictions_are_certain(kind):
    _, says, best_path, beam_search = kind
    path = [0, 0, K, 0, 1, 2, 2]
    certain = torch.eye(K + 1)[path].log()[None]
    for decode in (best_path, beam_search):
        assert tuple(decode(certain)[0].tolist()) == says(path, K)


# --- bad input -------------------------------------------------------------------------------

GOOD = {
    "log_p": predictions(2, T, K + 1),
    "labels": torch.tensor([[0, 1], [2, 2]]),
    "lengths": torch.tensor([4, 3]),
    "label_lengths": torch.tensor([2, 1]),
}
NAN = GOOD["log_p"].clone()
NAN[1, 2, 0] = math.nan


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"log_p": [[0.0]]}, TypeError, "log_p: expected a floating-point tensor, got list"),
        ({"log_p": GOOD["log_p"][0]}, ValueError, r"log_p: expected \[batch, time, labels \+ bl"),
        ({"log_p": GOOD["log_p"][:, :0]}, ValueError, r"log_p: expected .*, got \[2, 0, 4\]"),
        ({"log_p": torch.zeros(2, 4, 1)}, ValueError, r"log_p: expected .*, got \[2, 4, 1\]"),
        ({"log_p": NAN}, ValueError, "log_p: .* frame 2 of sequence 1 sum to nan"),
        ({"log_p": GOOD["log_p"].exp()}, ValueError, "log_p: .* frame 0 of sequence 0 sum to 5"),
        ({"log_p": GOOD["log_p"] - math.inf}, ValueError, "log_p: .* sum to 0"),
        ({"lengths": torch.tensor([4, 0])}, ValueError, "^lengths: expected numbers from 1 to 4"),
        ({"lengths": torch.tensor([4, 5])}, ValueError, "^lengths: expected numbers from 1 to 4"),
        ({"lengths": torch.tensor([4.0, 3])}, TypeError, "^lengths: expected an integer tensor"),
        ({"labels": torch.rand(2, 2)}, TypeError, "labels: expected an integer tensor, got"),
        (
            {"labels": torch.tensor([0, 1])},
            ValueError,
            r"labels: expected \[2, labels\], got \[2\]",
        ),
        ({"labels": torch.zeros(3, 2).long()}, ValueError, r"labels: .* got \[3, 2\]"),
        (
            {"labels": torch.tensor([[0, 3], [2, 2]])},
            ValueError,
            "from 0 to 2, got 3, which is the",
        ),
        ({"labels": torch.tensor([[0, 4], [2, 2]])}, ValueError, "from 0 to 2, got 4$"),
        ({"labels": torch.tensor([[0, -1], [2, 2]])}, ValueError, "from 0 to 2, got -1$"),
        ({"label_lengths": torch.tensor([2])}, ValueError, r"label_lengths: expected shape \[2\]"),
        ({"label_lengths": torch.tensor([2, 3])}, ValueError, "label_lengths: .* from 0 to 2"),
        ({"label_lengths": torch.tensor([-1, 2])}, ValueError, "label_lengths: .* from 0 to 2"),
        ({"lengths": torch.tensor([4, 1]), "label_lengths": None}, ValueError, "labels: 2 of sequ"),
    ],
)
def test_bad_input(kind, change, error, message):
    log_prob, *_ = kind
    with pytest.raises(error, match=message):
        log_prob(**{**GOOD, **change})


def test_bad_input_of_a_search(kind):
    *_, best_path, beam_search = kind
    with pytest.raises(ValueError, match="width: expected a whole number from 1 on, got 0"):
        beam_search(GOOD["log_p"], width=0)
    for decode in (best_path, beam_search):
        with pytest.raises(ValueError, match="frame 2 of sequence 1 sum to nan"):
            decode(NAN)
