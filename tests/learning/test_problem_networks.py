import math

import pytest
import torch
from torch import nn

from seqebm.cells import CELLS, StandardRNN, make_cell
from seqebm.data.problems import PROBLEMS, Examples, make_problem
from seqebm.learning import constant, problems
from seqebm.learning.problems import (
    ProblemNetwork,
    learn,
    momentum_initialisation,
    problem_loss,
    thesis_initialisation,
)
from seqebm.optim.initialisations import spectral_radius
from seqebm.optim.nesterov import NAG, Momentum


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def network(inputs=2, hidden=100, outputs=1, **settings):
    return ProblemNetwork(StandardRNN(inputs, hidden, **settings), outputs)


# ------------------------------------------------------------------------------------ the network


def test_an_output_follows_from_the_inputs_up_to_its_own():
    net = thesis_initialisation(network(3, 20, 2), generator=generator()).double()
    inputs = torch.randn(2, 6, 3, generator=generator(), dtype=torch.float64)
    cell = net.cell
    h = cell.initial_hidden[0].expand(2, -1)
    for t in range(6):
        drive = inputs[:, t] @ cell.visible_to_hidden.T + h @ cell.hidden_to_hidden[0].T
        h = (drive + cell.hidden_bias).tanh()
        expected = h @ net.readout.weight.T + net.readout.bias
        torch.testing.assert_close(net(inputs)[:, t], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in CELLS if kind != "stacked"])
def test_any_cell_can_read_a_problem(kind):
    problem = make_problem("temporal-order", 12)
    net = ProblemNetwork(make_cell(kind, 6, 8), 4)
    assert net(problem.draw(3, generator()).inputs).shape == (3, 12, 4)


def test_a_network_has_outputs():
    with pytest.raises(ValueError, match=r"^n_outputs: expected at least 1, got 0$"):
        network(outputs=0)


# ------------------------------------------------------------------------------- initialisations


def incoming(matrix):
    return (matrix != 0).sum(1).unique().tolist()


def has_std(values, std):
    values = values[values != 0]
    return abs(values.std() / std - 1) < 4 / (2 * len(values)) ** 0.5


def test_the_thesis_begins_sparse():
    net = network(40, 300, 50)
    assert thesis_initialisation(net, 0.1, generator()) is net
    cell, small = net.cell, 15**-0.5
    for matrix, std in (
        (cell.visible_to_hidden, 0.1),
        (cell.hidden_to_hidden[0], small),
        (net.readout.weight, small),
    ):
        assert incoming(matrix) == [15]
        assert has_std(matrix.detach(), std)
    assert has_std(torch.cat([cell.hidden_bias, net.readout.bias]).detach(), small)
    assert not cell.initial_hidden.any()


def test_inputs_have_unit_scale_unless_another_one_is_given():
    net = thesis_initialisation(network(2, 500), generator=generator())
    assert incoming(net.cell.visible_to_hidden) == [2]
    assert has_std(net.cell.visible_to_hidden.detach(), 1.0)


def test_momentum_begins_as_an_echo_state_network():
    net = network(40, 300, 50)
    assert momentum_initialisation(net, 0.02, generator=generator()) is net
    cell = net.cell
    for matrix in (cell.visible_to_hidden, cell.hidden_to_hidden[0], net.readout.weight):
        assert incoming(matrix) == [15]
    assert spectral_radius(cell.hidden_to_hidden[0]) == pytest.approx(1.2, rel=1e-4)
    assert has_std(cell.visible_to_hidden.detach(), 0.02)
    for rest in (cell.hidden_bias, cell.initial_hidden, net.readout.bias):
        assert not rest.any()
    other = momentum_initialisation(network(), 0.3, radius=0.9, generator=generator())
    assert spectral_radius(other.cell.hidden_to_hidden[0]) == pytest.approx(0.9, rel=1e-4)


@pytest.mark.parametrize("begin", [thesis_initialisation, momentum_initialisation])
def test_a_beginning_is_drawn_by_the_generator_alone(begin):
    state = torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        one, other = (network(3, 20, 2) for _ in range(2))
    for net in (one, other):
        begin(net, 0.3, generator=generator())
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.requires_grad


@pytest.mark.parametrize("begin", [thesis_initialisation, momentum_initialisation])
def test_beginnings_are_of_standard_networks_with_a_scale(begin):
    with pytest.raises(TypeError, match=r"^network: expected a StandardRNN in it, got MRNN$"):
        begin(ProblemNetwork(make_cell("mrnn", 2, 5), 1), 0.3)
    for scale in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^input_scale: expected a number from 0 up, got "):
            begin(network(), scale)


def test_only_a_network_without_skips_has_one_spectral_radius():
    with pytest.raises(ValueError, match=r"^network: expected a cell of order 1, got order 2$"):
        momentum_initialisation(network(order=2), 0.3)


# ------------------------------------------------------------------------------------------ loss


def by_hand(kind, output, target):
    if kind == "squared":
        return sum((o - y) ** 2 / 2 for o, y in zip(output, target, strict=True))
    if kind == "bernoulli":
        p = [1 / (1 + math.exp(-o)) for o in output]
        pairs = zip(p, target, strict=True)
        return -sum(math.log(q) if y else math.log(1 - q) for q, y in pairs)
    total = sum(math.exp(o) for o in output)
    return -math.log(math.exp(output[target.index(1.0)]) / total)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_loss_is_the_mean_over_counted_targets(name):
    problem = make_problem(name, 12)
    examples = problem.draw(4, generator())
    size = examples.targets.shape
    outputs = torch.randn(size, generator=generator(), dtype=torch.float64)
    found = problem_loss(
        outputs, examples._replace(targets=examples.targets.double()), problem.kind
    )
    losses = [
        by_hand(problem.kind, output, target)
        for output, target, counted in zip(
            outputs.flatten(0, 1).tolist(),
            examples.targets.flatten(0, 1).tolist(),
            examples.mask.flatten().tolist(),
            strict=True,
        )
        if counted
    ]
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("kind", ["squared", "bernoulli", "categorical"])
def test_the_gradient_of_a_matching_loss_is_prediction_less_target(kind):
    outputs = torch.randn(3, 5, 4, generator=generator(), dtype=torch.float64).requires_grad_()
    targets = torch.eye(4, dtype=torch.float64)[torch.arange(15).view(3, 5) % 4]
    mask = torch.arange(15).view(3, 5) % 2 == 0
    problem_loss(outputs, Examples(outputs, targets, mask), kind).backward()
    softmax = nn.Softmax(-1)
    link = {"squared": nn.Identity(), "bernoulli": torch.sigmoid, "categorical": softmax}
    expected = (link[kind](outputs.detach()) - targets) * mask[..., None] / 8
    torch.testing.assert_close(outputs.grad, expected, rtol=1e-12, atol=1e-12)


def test_losses_of_single_precision_are_summed_in_double():
    outputs = torch.tensor([[[8192.0], [2.0]]])  # losses of 2²⁵, to which float32 adds no 2
    examples = Examples(outputs, torch.zeros_like(outputs), torch.ones(1, 2, dtype=torch.bool))
    loss = problem_loss(outputs, examples, "squared")
    assert loss.dtype == torch.float64
    assert loss.item() == 2**24 + 1


def test_an_unknown_kind_is_refused():
    examples = make_problem("xor", 10).draw(2)
    with pytest.raises(ValueError, match=r"^kind: expected one of squared, .*, got 'absolute'$"):
        problem_loss(examples.targets, examples, "absolute")


# ----------------------------------------------------------------------------------- test errors


class Fixed(nn.Module):
    """Outputs that are what the problem asks for, but for some sequences."""

    def __init__(self, problem, spoil):
        super().__init__()
        self.problem, self.spoil, self.seen = problem, spoil, []

    def forward(self, inputs):
        items = inputs[:, : self.problem.items, : self.problem.alphabet].argmax(-1)
        outputs = self.problem._examples(items).targets.clone()
        self.seen.append(inputs)
        self.spoil(outputs)
        return outputs


def spoil_some(outputs):
    outputs[::10, -1] = outputs[::10, -1].roll(1, -1)  # a recalled symbol of a tenth
    outputs[::5, 0] = outputs[::5, 0].roll(1, -1)  # the first blank of a fifth


@pytest.mark.parametrize("n", [10, 1000, 2500])
def test_errors_are_shares_of_sequences_predictions_and_symbols(n):
    problem = make_problem("memorization-20", 5)
    net = Fixed(problem, spoil_some)
    found = problems.measure(net, problem, n, generator())
    assert found.sequences == pytest.approx(0.2)
    assert found.predictions == pytest.approx((0.1 + 0.2) / 25)
    assert found.recalled == pytest.approx(0.1 / 10)
    assert sum(map(len, net.seen)) == n
    again = Fixed(problem, spoil_some)
    problems.measure(again, problem, n, generator())
    assert all(torch.equal(*pair) for pair in zip(net.seen, again.seen, strict=True))


def test_errors_are_of_some_sequences():
    with pytest.raises(ValueError, match=r"^n: expected at least 1, got 0$"):
        problems.measure(network(), make_problem("addition", 10), 0)


# -------------------------------------------------------------------------------------- learning


def begun(seed=1, hidden=30):
    with torch.random.fork_rng(devices=[]):
        return momentum_initialisation(network(4, hidden, 3), 0.3, generator=generator(seed))


def test_updates_are_those_of_a_plain_loop():
    problem = make_problem("memorization-5", 4)
    one, other = begun(), begun()
    schedules = {"lr": lambda step: 0.1 / (1 + step), "momentum": constant(0.5)}
    source = generator()
    losses = learn(
        one,
        lambda step: problem.draw(6, source),
        problem.kind,
        Momentum(one.parameters()),
        steps=5,
        schedules=schedules,
    )
    source, optimizer = generator(), Momentum(other.parameters())
    for step in range(5):
        optimizer.param_groups[0].update(lr=0.1 / (1 + step), momentum=0.5)
        examples = problem.draw(6, source)
        optimizer.zero_grad()
        loss = problem_loss(other(examples.inputs), examples, "categorical")
        assert loss.item() == losses[step]
        loss.backward()
        optimizer.step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", [Momentum, NAG])
def test_a_short_memory_is_learned(method):
    problem = make_problem("memorization-5", 2)
    net = begun()
    everything = problem.all_examples()
    optimizer = method(net.parameters(), lr=0.2)
    learn(net, lambda step: everything, problem.kind, optimizer, steps=250)
    optimizer.restart()
    assert not problem.wrong(net(everything.inputs), everything).any()


def test_learning_stops_where_the_loss_is_not_finite():
    examples = make_problem("memorization-5", 4).all_examples()
    wrong = examples._replace(inputs=examples.inputs * math.nan)
    net = begun()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = Momentum(net.parameters(), lr=0.0)
    with pytest.raises(FloatingPointError, match=r"^learning stopped at step 3: loss nan$"):
        learn(net, lambda s: wrong if s == 3 else examples, "categorical", optimizer, steps=9)
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))


def test_a_schedule_of_nothing_that_the_optimiser_has_is_refused():
    net, examples = begun(), make_problem("memorization-5", 4).all_examples()
    with pytest.raises(ValueError, match=r"^schedules: neither optimiser nor model has 'beta'$"):
        learn(
            net,
            lambda step: examples,
            "categorical",
            NAG(net.parameters()),
            steps=1,
            schedules={"beta": constant(1.0)},
        )
