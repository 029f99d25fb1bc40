import math
from contextlib import contextmanager
from itertools import combinations

import pytest
import torch

from seqebm.cells import StandardRNN, make_cell
from seqebm.data.problems import SOLVED, Memorization5, make_problem
from seqebm.learning import load, load_training
from seqebm.learning.problems import ProblemNetwork, measure
from seqebm.learning.schedules import constant, linear
from seqebm.learning.solving import solve
from seqebm.optim import HessianFree
from seqebm.optim.nesterov import NAG, Momentum

MEMORY = make_problem("memorization-5", 2)
OPTIMIZERS = {
    "hf": lambda p: HessianFree(p, structural=1 / 30, iterations=8),
    "nag": lambda p: NAG(p, lr=0.05),
    "momentum": lambda p: Momentum(p, lr=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
}


def network(problem, hidden=8, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ProblemNetwork(StandardRNN(problem.n_inputs, hidden), problem.n_outputs)


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def untimed(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


def drawn_from(problem, monkeypatch):
    """Every batch that the problem will have drawn, in order."""
    batches, draw = [], type(problem).draw

    def kept(self, n, generator=None):
        batches.append(draw(self, n, generator))
        return batches[-1]

    monkeypatch.setattr(type(problem), "draw", kept)
    return batches


# ---------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("problem", [MEMORY, make_problem("xor", 10)], ids=lambda p: p.name)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(name, problem, tmp_path):
    schedules = {} if name == "hf" else {"lr": linear(0.05, 0.0, 6)}

    def run(net, steps, file, **options):
        optimizer = OPTIMIZERS[name](net.parameters())
        options |= {"batch": 30, "schedules": schedules, "checkpoint": tmp_path / file}
        return solve(net, problem, optimizer, steps=steps, **options), optimizer

    whole, first, second = (network(problem) for _ in range(3))
    expected, whole_optimizer = run(whole, 6, "whole.h5")
    run(first, 4, "parts.h5")
    found, optimizer = run(second, 6, "parts.h5", resume=True)
    assert [record["step"] for record in found] == [1, 2, 3, 4, 5, 6]
    assert untimed(found) == untimed(expected)
    assert same(copied(second), copied(whole))
    for mine, other in zip(
        optimizer.state_dict()["state"].values(),
        whole_optimizer.state_dict()["state"].values(),
        strict=True,
    ):
        assert all(torch.equal(torch.as_tensor(mine[k]), torch.as_tensor(other[k])) for k in other)
    seconds = [record["seconds"] for record in found]
    assert seconds == sorted(seconds)


def test_a_finished_run_is_not_gone_on_with(tmp_path):
    def run(steps, **options):
        net = network(MEMORY)
        optimizer = NAG(net.parameters(), lr=0.05)
        file = tmp_path / "a.h5"
        return solve(net, MEMORY, optimizer, steps=steps, checkpoint=file, **options), net

    (history, net), (again, other) = run(5), run(5, resume=True)
    assert again == history
    assert same(copied(other), copied(net))


def test_sequences_depend_on_the_seed_and_the_step_alone(monkeypatch):
    problem = make_problem("addition", 10)
    batches = drawn_from(problem, monkeypatch)

    def inputs(seed, steps):
        batches.clear()
        net = network(problem)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        solve(net, problem, optimizer, steps=steps, batch=7, seed=seed)
        return [one.inputs for one in batches if len(one.inputs) == 7]

    four, two, other = inputs(1, 4), inputs(1, 2), inputs(2, 2)
    assert len(four) == 4
    assert all(torch.equal(a, b) for a, b in zip(four, two, strict=False))
    assert not any(a.equal(b) for a, b in combinations([*four, *other], 2))


# ------------------------------------------------------------------------- what a step does


def written_out(net, examples, kind):
    """The loss of each sequence, by its equation, in float64."""
    outputs, targets = net(examples.inputs)[examples.mask].double(), examples.targets[examples.mask]
    if kind == "squared":
        losses = (outputs - targets) ** 2 / 2
    elif kind == "bernoulli":
        p = 1 / (1 + (-outputs).exp())
        losses = -(targets * p.log() + (1 - targets) * (1 - p).log())
    else:
        losses = -targets * (outputs.exp() / outputs.exp().sum(1, keepdim=True)).log()
    return losses.sum()


def mean_loss(net, examples, kind):
    """The mean over the sequences, as a number."""
    return written_out(net, examples, kind).item() / len(examples.inputs)


@pytest.mark.parametrize("name", ["addition", "xor", "temporal-order"])
def test_the_loss_of_every_kind_of_problem(name, monkeypatch):
    problem = make_problem(name, 10)
    batches = drawn_from(problem, monkeypatch)
    net = network(problem)
    before = network(problem)
    (record,) = solve(net, problem, HessianFree(net.parameters()), steps=1, batch=2500)
    pieces = batches[:3]
    assert [len(one.inputs) for one in pieces] == [1000, 1000, 500]
    total = sum(written_out(before, piece, problem.kind).item() for piece in pieces)
    assert record["loss"] == pytest.approx(total / 2500, rel=1e-5)
    first = mean_loss(before, pieces[0], problem.kind)
    assert record["step_before"] == pytest.approx(first, rel=1e-5)
    after = mean_loss(net, pieces[0], problem.kind)
    assert record["step_after"] == pytest.approx(after, rel=1e-4)
    assert after < first


@pytest.mark.parametrize("name", ["addition", "xor", "temporal-order"])
def test_a_gradient_is_averaged_over_targets_by_other_methods(name, monkeypatch):
    problem = make_problem(name, 10)
    batches = drawn_from(problem, monkeypatch)
    net, other = network(problem), network(problem)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    (record,) = solve(net, problem, optimizer, steps=1, batch=50)
    loss = written_out(other, batches[0], problem.kind) / 50
    loss.backward()
    assert record["loss"] == pytest.approx(loss.item(), rel=1e-6)
    for mine, its in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its - 0.1 * its.grad)


def test_five_bits_are_learned_from_all_sequences(monkeypatch):
    batches = drawn_from(MEMORY, monkeypatch)
    net, other = network(MEMORY), network(MEMORY)
    (record,) = solve(net, MEMORY, HessianFree(net.parameters()), steps=1)
    expected = mean_loss(other, MEMORY.all_examples(), "categorical")
    assert record["loss"] == pytest.approx(expected, rel=1e-5)
    assert [len(one.inputs) for one in batches] == [1000]  # of the test


def test_momentum_of_nesterov_is_tested_and_kept_at_theta(tmp_path):
    net, theta = network(MEMORY).double(), network(MEMORY).double()
    everything = MEMORY.all_examples()
    examples = type(everything)(everything.inputs.double(), *everything[1:])
    rate, momentum, velocity = 0.05, 0.9, [torch.zeros_like(p) for p in theta.parameters()]
    for _ in range(4):
        ahead = network(MEMORY).double()
        ahead.load_state_dict(theta.state_dict())
        with torch.no_grad():
            for p, v in zip(ahead.parameters(), velocity, strict=True):
                p += momentum * v
        (written_out(ahead, examples, "categorical") / examples.mask.sum()).backward()
        with torch.no_grad():
            for p, v, its in zip(theta.parameters(), velocity, ahead.parameters(), strict=True):
                v.mul_(momentum).sub_(rate * its.grad)
                p += v

    told = []

    def tell(record):
        told.append((record, copied(net)))

    with default(torch.float64):
        optimizer = NAG(net.parameters(), rate, momentum)
        history = solve(net, MEMORY, optimizer, steps=4, checkpoint=tmp_path / "a.h5", tell=tell)
    for name, value in theta.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-9, atol=1e-12)
    kept = load(tmp_path / "a.h5")
    assert same(copied(kept), copied(net))
    assert same(told[-1][1], copied(net))
    assert [record for record, _ in told] == history
    assert not same(load_training(tmp_path / "a.h5")[1]["ahead"], copied(net))


@contextmanager
def default(dtype):
    """A default type of numbers for a while."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def test_schedules_are_followed_step_by_step():
    net, seen = network(MEMORY), []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            seen.append((self.param_groups[0]["lr"], self.param_groups[0]["momentum"]))

    schedules = {"lr": linear(1.0, 0.0, 4), "momentum": constant(0.5)}
    optimizer = Watching(net.parameters(), lr=9.0)
    solve(net, MEMORY, optimizer, steps=4, schedules=schedules, test_every=3)
    assert seen == [(1.0, 0.5), (0.75, 0.5), (0.5, 0.5), (0.25, 0.5)]


# --------------------------------------------------------------------- how much, and until when


def test_minibatches_are_those_of_gradients_and_of_products():
    problem = make_problem("xor", 10)
    net = network(problem)
    history = solve(net, problem, HessianFree(net.parameters()), steps=3, batch=2500)
    used = [record["minibatches"] for record in history]
    products = [record["step_products"] for record in history]
    assert used == [sum(products[: n + 1]) + 3 * (n + 1) for n in range(3)]
    assert min(products) > 0
    net = network(MEMORY)  # all of its sequences are one minibatch
    (record,) = solve(net, MEMORY, HessianFree(net.parameters()), steps=1, batch=2500)
    assert record["minibatches"] == record["step_products"] + 1
    net = network(problem)
    optimizer = Momentum(net.parameters(), lr=1e-3)
    history = solve(net, problem, optimizer, steps=3, batch=250)
    assert [record["minibatches"] for record in history] == [0.25, 0.5, 0.75]


def test_a_run_fails_at_the_limit_of_minibatches():
    problem = make_problem("xor", 10)
    net = network(problem)
    optimizer = Momentum(net.parameters(), lr=1e-3)
    history = solve(net, problem, optimizer, steps=50, batch=500, limit=2.2, test_every=4)
    assert [(r["step"], r["minibatches"]) for r in history] == [(4, 2.0), (5, 2.5)]


def test_tests_are_made_now_and_then_and_in_the_end():
    net = network(MEMORY)
    optimizer = Momentum(net.parameters(), lr=1e-3)
    history = solve(net, MEMORY, optimizer, steps=7, test_every=3)
    assert [record["step"] for record in history] == [3, 6, 7]


def test_training_ends_when_the_problem_is_solved(monkeypatch):
    problem = make_problem("memorization-5", 1)
    batches = drawn_from(problem, monkeypatch)

    def run(steps, stop):
        net = network(problem, hidden=20)
        return solve(net, problem, HessianFree(net.parameters()), steps=steps, stop=stop)

    history = run(60, stop=True)
    assert len(history) < 60
    assert history[-1]["sequences"] < SOLVED
    assert all(record["sequences"] >= SOLVED for record in history[:-1])
    # a thousand sequences at each test, and another ten thousand where few of them are wrong
    assert [len(one.inputs) for one in batches] == [1000] * (len(history) + 10)
    assert len(run(len(history) + 1, stop=False)) == len(history) + 1


def test_a_test_is_what_measure_gives():
    problem = make_problem("addition", 10)
    net = network(problem)
    (record,) = solve(net, problem, torch.optim.SGD(net.parameters(), lr=0.0), steps=1, batch=2)
    error = measure(net, problem, 10_000, torch.Generator().manual_seed(5)).sequences
    assert record["sequences"] == pytest.approx(error, abs=4 * math.sqrt(0.25 / 1000))
    assert record["predictions"] == record["recalled"] == record["sequences"]


# -------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("name", ["steps", "batch", "test_every"])
def test_numbers_begin_at_one(name):
    net = network(MEMORY)
    settings = {"steps": 1, name: 0}
    with pytest.raises(ValueError, match=rf"^{name}: expected at least 1, got 0$"):
        solve(net, MEMORY, Momentum(net.parameters()), **settings)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    net, path = network(MEMORY), tmp_path / "a.h5"
    solve(net, MEMORY, Momentum(net.parameters()), steps=1, checkpoint=path)
    options = {"steps": 2, "checkpoint": path, "resume": True}
    with pytest.raises(ValueError, match=r"a\.h5 was not written with NAG$"):
        solve(net, MEMORY, NAG(net.parameters()), **options)
    for other in (network(MEMORY, hidden=9), ProblemNetwork(make_cell("gru", 4, 8), 3)):
        with pytest.raises(ValueError, match=r"a\.h5 holds another network$"):
            solve(other, MEMORY, Momentum(other.parameters()), **options)


@pytest.mark.parametrize("name", ["hf", "nag"])
def test_a_loss_that_is_not_finite_names_its_step(name, tmp_path, monkeypatch):
    net, path, calls = network(MEMORY), tmp_path / "a.h5", []
    examples = MEMORY.all_examples()

    def spoilt_from_the_third_on(self):
        calls.append(1)
        return examples if len(calls) < 3 else examples._replace(inputs=examples.inputs + math.nan)

    monkeypatch.setattr(Memorization5, "all_examples", spoilt_from_the_third_on)
    with pytest.raises(FloatingPointError, match=r"^learning stopped at step 2: "):
        solve(net, MEMORY, OPTIMIZERS[name](net.parameters()), steps=9, checkpoint=path)
    kept, training = load_training(path)
    assert [record["step"] for record in training["history"]] == [1, 2]
    assert all(bool(value.isfinite().all()) for value in kept.state_dict().values())
