import dataclasses
import itertools

import pytest
import torch

from seqebm.data.problems import PROBLEMS, SOLVED, TOLERANCE, Examples, make_problem

PAIRS = {
    "addition": lambda x, y: (x + y) / 2,
    "multiplication": lambda x, y: x * y,
    "xor": lambda x, y: float(x != y),
}
ORDERS = {  # a and b of the positions i[aT/10, bT/10]
    "temporal-order": [(1, 2), (5, 6)],
    "temporal-order-3": [(1, 2), (3, 4), (6, 7)],
}
MEMORIES = {"memorization-5": (5, 2), "memorization-20": (10, 5)}  # symbols, and of how many


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def drawn(name, length, n, seed=1):
    problem = make_problem(name, length)
    return problem, problem.draw(n, generator(seed))


def symbols(rows):
    """The symbols, from 1, of one-hot rows, which must be one-hot."""
    assert set(rows.flatten().tolist()) == {0.0, 1.0}
    assert (rows.sum(-1) == 1).all()
    return rows.argmax(-1) + 1


def integers(a, b, length):
    """All integers from aT/10 to bT/10."""
    return [k for k in range(length + 1) if a * length <= 10 * k <= b * length]


def alike(counts, total):
    """Counts of events that are equally likely, to four standard deviations."""
    share = 1 / len(counts)
    spread = (total * share * (1 - share)) ** 0.5
    return all(abs(count - total * share) < 4 * spread for count in counts)


# ----------------------------------------------------------------------------- two marked numbers


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("length", [10, 27, 80])
def test_targets_of_marked_numbers_follow_from_the_inputs(name, length):
    _, (inputs, targets, mask) = drawn(name, length, 300)
    longest = length + length // 10
    assert inputs.shape == (300, longest, 2)
    assert targets.shape == (300, longest, 1)
    for row, target, counted in zip(inputs.tolist(), targets.tolist(), mask.tolist(), strict=True):
        (end,) = [t for t in range(longest) if counted[t]]
        marked = [u for u, mark in row if mark]
        assert {mark for _, mark in row} == {0.0, 1.0}
        assert target[end][0] == pytest.approx(PAIRS[name](*marked), abs=1e-7)
        assert not any(target[t][0] for t in range(longest) if t != end)
        assert row[end + 1 :] == [[0.0, 0.0]] * (longest - end - 1)


@pytest.mark.parametrize("length", [10, 19, 57, 80])
def test_marks_and_ends_are_in_their_ranges_and_reach_both_ends_of_them(length):
    _, (inputs, _, mask) = drawn("addition", length, 20_000)
    ends = mask.float().argmax(1) + 1
    assert ends.unique().tolist() == list(range(length, 11 * length // 10 + 1))
    marks = inputs[..., 1].nonzero()[:, 1].view(-1, 2) + 1
    for end in ends.unique().tolist():
        first, second = marks[ends == end].T
        assert first.unique().tolist() == list(range(1, end // 10 + 1))
        expected = [j for j in range(1, end) if end <= 10 * j <= 5 * end and j > end // 10]
        assert second.unique().tolist() == expected


def test_lengths_marks_and_numbers_are_uniform():
    n = 40_000
    _, (inputs, _, mask) = drawn("addition", 30, n)
    ends = mask.float().argmax(1) + 1
    assert alike([int((ends == t).sum()) for t in range(30, 34)], n)
    marks = inputs[..., 1].nonzero()[:, 1].view(-1, 2) + 1
    assert alike([int((marks[:, 0] == k).sum()) for k in (1, 2, 3)], n)
    longest = ends >= 32  # for which J is from 4 to 16
    counts = [int((marks[longest, 1] == k).sum()) for k in range(4, 17)]
    assert alike(counts, int(longest.sum()))
    correlation = torch.corrcoef(marks.T.double())[0, 1]
    assert abs(correlation) < 4 / n**0.5
    numbers = inputs[:, :30, 0].flatten()
    histogram = numbers.histc(10, 0, 1)
    assert alike(histogram.tolist(), numbers.numel())


def test_bits_of_xor_are_fair():
    _, (inputs, targets, mask) = drawn("xor", 50, 4000)
    bits = inputs[:, :50, 0]
    assert set(bits.flatten().tolist()) == {0.0, 1.0}
    assert alike([int(bits.sum()), int((1 - bits).sum())], bits.numel())
    assert alike([int(targets.sum()), 4000 - int(targets.sum())], 4000)
    assert int(mask.sum()) == 4000


# -------------------------------------------------------------------------------- temporal order


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("length", [10, 23, 50])
def test_order_targets_follow_from_the_inputs_and_positions_fill_their_ranges(name, length):
    problem, (inputs, targets, mask) = drawn(name, length, 3000)
    assert inputs.shape == (3000, length, 6)
    assert targets.shape == (3000, length, problem.n_outputs)
    assert mask.nonzero()[:, 1].tolist() == [length - 1] * 3000
    combinations = list(itertools.product((1, 2), repeat=len(ORDERS[name])))
    classes = symbols(targets[:, -1]) - 1
    assert not targets[:, :-1].any()
    positions = []
    for row, number in zip(symbols(inputs).tolist(), classes.tolist(), strict=True):
        special = [(t, s) for t, s in enumerate(row, 1) if s <= 2]
        assert tuple(s for _, s in special) == combinations[number]
        positions.append([t for t, _ in special])
    for (a, b), found in zip(ORDERS[name], zip(*positions, strict=True), strict=True):
        assert sorted(set(found)) == integers(a, b, length)


@pytest.mark.parametrize("name", ORDERS)
def test_classes_positions_and_symbols_are_uniform(name):
    n = 20_000
    _, (inputs, targets, _) = drawn(name, 40, n)
    assert alike(targets.sum((0, 1)).tolist(), n)
    counts = inputs.sum((0, 1)).tolist()
    assert alike(counts[2:], sum(counts[2:]))
    assert sum(counts[:2]) == n * len(ORDERS[name])
    special = inputs[..., :2].sum(2).sum(0)
    for a, b in ORDERS[name]:
        assert alike([special[t - 1].item() for t in integers(a, b, 40)], n)


# ---------------------------------------------------------------------------- random permutation


@pytest.mark.parametrize("length", [2, 3, 20])
def test_every_next_symbol_is_to_be_predicted_and_the_last_is_the_first(length):
    _, (inputs, targets, mask) = drawn("random-permutation", length, 2000)
    assert inputs.shape == targets.shape == (2000, length - 1, 100)
    read, predicted = symbols(inputs), symbols(targets)
    assert torch.equal(read[:, 1:], predicted[:, :-1])
    assert torch.equal(read[:, 0], predicted[:, -1])
    assert read[:, 0].unique().tolist() == [1, 2]
    assert mask.all()


def test_symbols_between_are_uniform():
    _, (inputs, _, _) = drawn("random-permutation", 40, 3000)
    counts = symbols(inputs[:, 1:]).flatten().bincount(minlength=101).tolist()
    assert counts[:3] == [0, 0, 0]
    assert alike(counts[3:], 3000 * 38)
    assert alike(symbols(inputs[:, 0]).bincount()[1:].tolist(), 3000)


def test_only_the_last_of_a_permutation_decides():
    problem, examples = drawn("random-permutation", 12, 50)
    outputs = torch.zeros_like(examples.targets)
    outputs[:, -1] = examples.targets[:, -1]
    assert problem.errors(outputs, examples)[:, :-1].all()
    assert not problem.wrong(outputs, examples).any()
    outputs = examples.targets.clone()
    outputs[7, -1, 50] = 2.0
    assert problem.wrong(outputs, examples).nonzero().tolist() == [[7]]
    assert problem.recalled(examples).nonzero()[:, 1].tolist() == [10] * 50


# ------------------------------------------------------------------------- noiseless memorization


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("length", [1, 2, 30])
def test_what_is_to_be_memorized_as_the_thesis_writes_it(name, length):
    _, (inputs, targets, mask) = drawn(name, length, 200)
    count, alphabet = MEMORIES[name]
    time = length + 2 * count
    assert inputs.shape == (200, time, alphabet + 2)
    assert targets.shape == (200, time, alphabet + 1)
    assert mask.all()
    for v, y in zip(symbols(inputs).tolist(), symbols(targets).tolist(), strict=True):
        assert all(symbol <= alphabet for symbol in v[:count])
        for t in range(count + 1, time + 1):
            assert v[t - 1] == (alphabet + 2 if t == length + count else alphabet + 1)
        assert y[: length + count] == [alphabet + 1] * (length + count)
        assert y[length + count :] == v[:count]


@pytest.mark.parametrize("name", MEMORIES)
def test_memorized_symbols_are_uniform_and_independent(name):
    count, alphabet = MEMORIES[name]
    _, (inputs, _, _) = drawn(name, 5, 5000)
    items = symbols(inputs[:, :count])
    for place in items.T:
        assert alike(place.bincount(minlength=alphabet + 1)[1:].tolist(), 5000)
    correlations = torch.corrcoef(items.T.double()) - torch.eye(count)
    assert correlations.abs().max() < 4.5 / 5000**0.5


def test_all_examples_are_each_of_the_sequences_once():
    problem = make_problem("memorization-5", 7)
    everything = problem.all_examples()
    found = [tuple(row) for row in symbols(everything.inputs[:, :5]).tolist()]
    assert sorted(found) == sorted(itertools.product((1, 2), repeat=5))
    some = problem.draw(500, generator())
    rows = {tuple(row.flatten().tolist()): i for i, row in enumerate(everything.inputs)}
    same = torch.tensor([rows[tuple(row.flatten().tolist())] for row in some.inputs])
    assert torch.equal(everything.targets[same], some.targets)
    assert everything.mask.all()


def test_wrong_memories_are_counted_by_sequence_by_time_step_and_where_they_are_recalled():
    problem, examples = drawn("memorization-20", 30, 4)
    outputs = 3 * examples.targets - 1
    outputs[0, -1] = outputs[0, -1].roll(1)
    outputs[0, -4] = outputs[0, -4].roll(1)
    outputs[2, 3] = outputs[2, 3].roll(1)
    errors = problem.errors(outputs, examples)
    assert errors.nonzero().tolist() == [[0, 46], [0, 49], [2, 3]]
    assert problem.wrong(outputs, examples).tolist() == [True, False, True, False]
    recalled = problem.recalled(examples)
    assert recalled.nonzero()[:, 1].view(4, 10).tolist() == [list(range(40, 50))] * 4
    assert int((errors & recalled).sum()) == 2


# ------------------------------------------------------------------------------- right and wrong


def test_a_real_prediction_may_be_off_by_the_tolerance():
    problem, examples = drawn("addition", 20, 6)
    end = examples.mask.float().argmax(1)
    shift = torch.tensor([0.0, 0.0399, -0.0399, 0.0401, -0.0401, 1.0])
    outputs = torch.full_like(examples.targets, 9.0)  # nothing counts but at the end
    outputs[range(6), end, 0] = examples.targets[range(6), end, 0] + shift
    assert problem.wrong(outputs, examples).tolist() == [False] * 3 + [True] * 3
    assert problem.errors(outputs, examples).nonzero().tolist() == [
        [row, end[row].item()] for row in (3, 4, 5)
    ]
    assert (TOLERANCE, SOLVED) == (0.04, 0.01)


def test_a_bit_is_predicted_by_the_sign():
    problem, examples = drawn("xor", 20, 100)
    signs = 2 * examples.targets - 1
    assert not problem.wrong(0.01 * signs, examples).any()
    assert problem.wrong(-0.01 * signs, examples).all()


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_outputs_that_are_not_finite_are_wrong(name, value):
    problem, examples = drawn(name, 12, 3)
    outputs = 2 * examples.targets - 1 if problem.kind != "squared" else examples.targets.clone()
    assert not problem.wrong(outputs, examples).any()
    outputs[1, :, 0] = value
    assert problem.wrong(outputs, examples).tolist() == [False, True, False]


# ------------------------------------------------------------------------ what all have in common


def test_the_problems_of_the_thesis_and_their_losses():
    assert {name: problem.kind for name, problem in PROBLEMS.items()} == {
        "addition": "squared",
        "multiplication": "squared",
        "xor": "bernoulli",
        "temporal-order": "categorical",
        "temporal-order-3": "categorical",
        "random-permutation": "categorical",
        "memorization-5": "categorical",
        "memorization-20": "categorical",
    }


@pytest.mark.parametrize("name", PROBLEMS)
def test_shapes_and_types(name):
    problem, examples = drawn(name, 20, 7)
    assert isinstance(examples, Examples)
    assert (problem.name, problem.length) == (name, 20)
    n, time, width = examples.inputs.shape
    assert (n, width) == (7, problem.n_inputs)
    assert examples.targets.shape == (7, time, problem.n_outputs)
    assert examples.mask.shape == (7, time)
    assert [part.dtype for part in examples] == [torch.float32, torch.float32, torch.bool]
    assert examples.mask.any(1).all()
    assert not (problem.recalled(examples) & ~examples.mask).any()
    assert not examples.targets[~examples.mask].any()


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_generator_is_the_only_source_of_randomness(name):
    state = torch.get_rng_state()
    problem, first = drawn(name, 30, 5)
    assert all(torch.equal(*pair) for pair in zip(first, problem.draw(5, generator()), strict=True))
    assert not torch.equal(first.inputs, problem.draw(5, generator(2)).inputs)
    assert torch.equal(torch.get_rng_state(), state)
    problem.draw(5)
    assert not torch.equal(torch.get_rng_state(), state)


def test_the_default_type_of_torch_is_that_of_the_examples():
    torch.set_default_dtype(torch.float64)
    try:
        for name in PROBLEMS:
            _, examples = drawn(name, 12, 3)
            assert examples.inputs.dtype == examples.targets.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_problem_is_a_value_that_stays_as_it_is():
    problem = make_problem("xor", 30)
    assert problem == make_problem("xor", 30) != make_problem("addition", 30)
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.length = 31


# -------------------------------------------------------------------------------------- bad input


def test_an_unknown_problem_is_refused():
    with pytest.raises(ValueError, match=r"^name: expected one of addition, .*, got 'parity'$"):
        make_problem("parity", 30)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_smallest_length_works_and_a_smaller_one_is_refused(name):
    kind = PROBLEMS[name]
    least = 1 if name in MEMORIES else 2 if name == "random-permutation" else 10
    assert kind(least).draw(3, generator()).mask.any(1).all()
    message = rf"^length: expected an integer of at least {least}, got "
    for length in (least - 1, -3, 30.0):
        with pytest.raises(ValueError, match=message + str(length)):
            make_problem(name, length)


@pytest.mark.parametrize("n", [0, -1, 2.0])
def test_at_least_one_sequence_is_drawn(n):
    with pytest.raises(ValueError, match=f"^n: expected an integer of at least 1, got {n}$"):
        make_problem("addition", 20).draw(n)


def test_outputs_of_another_shape_are_refused():
    problem, examples = drawn("memorization-5", 10, 3)
    for call in (problem.errors, problem.wrong):
        with pytest.raises(ValueError, match=r"^outputs: expected shape \[3, 20, 3\], got \[3, 20"):
            call(torch.zeros(3, 20, 4), examples)
