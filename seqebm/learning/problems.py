"""Recurrent networks that learn the problems of `seqebm.data.problems` by gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from seqebm.cells import Cell, StandardRNN
from seqebm.cells.named import cell_from
from seqebm.data.problems import Examples, Problem
from seqebm.learning.schedules import Schedule, set_entry
from seqebm.optim import Bernoulli, Categorical, Held, MatchingLoss, Prediction, Squared
from seqebm.optim.initialisations import scale_to_radius_, sparse_

CONNECTIONS = 15  # of a unit (Sutskever 2013, sec. 4.4 and 7.4.1)
BLOCK = 1000  # sequences of a test that are read at a time


class ProblemNetwork(nn.Module):
    """o_t = W_ho h_t + b_o for every t, where h_t is what a cell shows after reading input t.

    Args:
        cell: any cell whose `input_size` is the `n_inputs` of the problem.
        n_outputs: width of the outputs.

    Attributes:
        cell: see above.
        readout: W_ho [outputs, hidden] and b_o.

    Raises:
        ValueError: no outputs.

    Example:
        >>> from seqebm.data.problems import make_problem
        >>> problem = make_problem("addition", 20)
        >>> network = ProblemNetwork(StandardRNN(2, 30), problem.n_outputs)
        >>> network(problem.draw(5).inputs).shape
        torch.Size([5, 22, 1])
    """

    def __init__(self, cell: Cell, n_outputs: int) -> None:
        super().__init__()
        if n_outputs < 1:
            raise ValueError(f"n_outputs: expected at least 1, got {n_outputs}")
        self.cell = cell
        self.readout = nn.Linear(cell.hidden_size, n_outputs)
        self.settings = {"cell": cell.settings, "n_outputs": n_outputs}

    def forward(self, inputs: Tensor) -> Tensor:
        """Output pre-activations [n, time, outputs] for inputs [n, time, inputs]."""
        shown, _ = self.cell(inputs, self.cell.initial_state(len(inputs)))
        return self.readout(shown[:, 1:])

    def prediction(self, examples: Examples, kind: str) -> Prediction:
        """What methods of second order ask for: outputs that count, what they cost, hidden units.

        The cost is divided by the number of sequences, as the thesis has it, and not of targets as
        `problem_loss` is: the constants of sec. 4.4 are then those of the damping. What the cell
        tells of itself (`Cell.trace`) is held at all times.

        Args:
            examples: to be read.
            kind: of the problem: "squared", "bernoulli" or "categorical".

        Raises:
            ValueError: an unknown kind.
        """
        loss = _loss_of(kind)(examples.targets[examples.mask], count=len(examples.inputs))
        trace = self.cell.trace(examples.inputs, self.cell.initial_state(len(examples.inputs)))
        outputs = self.readout(trace.outputs[:, 1:][examples.mask])
        return Prediction(outputs, loss, (Held(trace.inputs, trace.slopes),))


def problem_network(cell: dict[str, Any], n_outputs: int) -> ProblemNetwork:
    """A `ProblemNetwork` from its settings, as checkpoints give them."""
    return ProblemNetwork(cell_from(cell), n_outputs)


# ------------------------------------------------------------------------------ where they begin


@torch.no_grad()
def thesis_initialisation(
    network: ProblemNetwork, input_scale: float = 1.0, generator: torch.Generator | None = None
) -> ProblemNetwork:
    """The sparse start of Hessian-free learning (Sutskever 2013, sec. 4.4).

    Each unit has 15 incoming connections, or one from everything where there is less. Those of W_hh
    and W_ho, and all biases, are from N(0, 1/15), those of W_hv from N(0, input_scale²). The state
    h_0, of which the section says nothing, begins at zero.

    The section has an `input_scale` of 1; the program that was released with it used a quarter of
    draws from N(0, 1/15), a scale of 0.065. Small inputs leave the initial dynamics alone.

    Args:
        network: whose cell is a `StandardRNN`; changed in place.
        input_scale: standard deviation of the connections from the inputs.
        generator: source of randomness.

    Returns:
        The network.

    Raises:
        TypeError: another cell.
        ValueError: a scale that is negative or not finite.
    """
    cell = _begin(network, input_scale, generator)
    spread = CONNECTIONS**-0.5
    for matrix in cell.hidden_to_hidden:
        sparse_(matrix, CONNECTIONS, spread, generator)
    for bias in (cell.hidden_bias, network.readout.bias):
        bias.normal_(0.0, spread, generator=generator)
    return network


@torch.no_grad()
def momentum_initialisation(
    network: ProblemNetwork,
    input_scale: float,
    radius: float = 1.2,
    generator: torch.Generator | None = None,
) -> ProblemNetwork:
    """The start of learning by momentum, as of an echo-state network (Sutskever 2013, sec. 7.4.1).

    Each unit has 15 incoming connections from N(0, 1); W_hh is then scaled to a spectral radius,
    W_hv by a number. Of the rest the section says nothing: W_ho is sparse from N(0, 1/15) as in
    sec. 4.4, biases and h_0 are zero.

    Args:
        network: whose cell is a `StandardRNN` of order 1; changed in place.
        input_scale: 0.02 for addition and multiplication, 0.3 for memorization.
        radius: of W_hh.
        generator: source of randomness.

    Returns:
        The network.

    Raises:
        TypeError: another cell.
        ValueError: a scale or radius that is negative or not finite, or a cell of another order.
    """
    cell = _begin(network, input_scale, generator)
    if len(cell.hidden_to_hidden) > 1:
        order = len(cell.hidden_to_hidden)
        raise ValueError(f"network: expected a cell of order 1, got order {order}")
    scale_to_radius_(sparse_(cell.hidden_to_hidden[0], CONNECTIONS, 1.0, generator), radius)
    return network


def _begin(
    network: ProblemNetwork, input_scale: float, generator: torch.Generator | None
) -> StandardRNN:
    """What both have in common: W_hv, W_ho, and zeros for biases and h_0."""
    cell = network.cell
    if not isinstance(cell, StandardRNN):
        raise TypeError(f"network: expected a StandardRNN in it, got {type(cell).__name__}")
    if not 0 <= input_scale < float("inf"):
        raise ValueError(f"input_scale: expected a number from 0 up, got {input_scale}")
    sparse_(cell.visible_to_hidden, CONNECTIONS, input_scale, generator)
    sparse_(network.readout.weight, CONNECTIONS, CONNECTIONS**-0.5, generator)
    for rest in (cell.hidden_bias, cell.initial_hidden, network.readout.bias):
        rest.zero_()
    return cell


# --------------------------------------------------------------------------- loss, test, learning


def problem_loss(outputs: Tensor, examples: Examples, kind: str) -> Tensor:
    """The matching loss, averaged over all counted targets, a scalar in float64.

    Half the squared error, or the cross entropy in nats, each summed over the outputs of a target.
    The derivative by an output pre-activation is then always the prediction less the target.

    Args:
        outputs: pre-activations, [n, time, outputs].
        examples: that were read.
        kind: of the problem: "squared", "bernoulli" or "categorical".

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> outputs, targets = torch.tensor([[[0.0], [3.0]]]), torch.tensor([[[0.0], [1.0]]])
        >>> examples = Examples(torch.zeros(1, 2, 2), targets, torch.tensor([[False, True]]))
        >>> problem_loss(outputs, examples, "squared").item()
        2.0
    """
    loss = _loss_of(kind)(examples.targets[examples.mask])
    return loss.sum(outputs[examples.mask]) / loss.count


def _loss_of(kind: str) -> type[MatchingLoss]:
    """The loss of a kind of problem."""
    if kind not in _LOSSES:
        raise ValueError(f"kind: expected one of {', '.join(_LOSSES)}, got {kind!r}")
    return _LOSSES[kind]


_LOSSES = {"squared": Squared, "bernoulli": Bernoulli, "categorical": Categorical}


class Errors(NamedTuple):
    """Shares of examples that a network gets wrong, from 0 to 1.

    Attributes:
        sequences: misclassified sequences (`Problem.wrong`); below `SOLVED` it is solved.
        predictions: wrong ones of all counted predictions, that is of the time steps.
        recalled: wrong ones of the predictions that need what was seen long ago
            (`Problem.recalled`): of the memorized symbols.
    """

    sequences: float
    predictions: float
    recalled: float


@torch.no_grad()
def measure(
    network: nn.Module, problem: Problem, n: int = 10_000, generator: torch.Generator | None = None
) -> Errors:
    """What a network gets wrong of fresh sequences.

    Args:
        network: inputs to output pre-activations.
        problem: that it is to have solved.
        n: test sequences; the thesis takes 10 000.
        generator: source of randomness.

    Raises:
        ValueError: `n` below 1.

    Example:
        >>> from seqebm.data.problems import make_problem
        >>> problem = make_problem("memorization-5", 15)
        >>> network = ProblemNetwork(StandardRNN(4, 10), 3)
        >>> _ = torch.nn.init.zeros_(network.readout.weight)
        >>> _ = network.readout.bias.data.copy_(torch.tensor([0.0, 0.0, 1.0]))
        >>> measure(network, problem, 100)  # it never recalls anything
        Errors(sequences=1.0, predictions=0.2, recalled=1.0)
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    counts = torch.zeros(2, 3, dtype=torch.float64)
    for start in range(0, n, BLOCK):
        examples = problem.draw(min(BLOCK, n - start), generator)
        outputs = network(examples.inputs)
        errors, recalled = problem.errors(outputs, examples), problem.recalled(examples)
        wrong = problem.wrong(outputs, examples)
        counts[0] += torch.tensor([part.sum() for part in (wrong, errors, errors & recalled)])
        counts[1] += torch.tensor([len(wrong), examples.mask.sum(), recalled.sum()])
    return Errors(*(counts[0] / counts[1]).tolist())


def learn(
    network: nn.Module,
    data: Callable[[int], Examples],
    kind: str,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    first: int = 0,
    schedules: Mapping[str, Schedule] | None = None,
) -> list[float]:
    """Updates of a network by any of torch's optimisers.

    Args:
        network: inputs to output pre-activations; changed in place.
        data: the examples of a step, `first`, `first` + 1 …
        kind: of the problem (`problem_loss`).
        optimizer: over the network's parameters.
        steps: number of updates.
        first: number of the first one.
        schedules: functions of the step for entries of the optimiser's groups, as in `fit`.

    Returns:
        The loss before each update.

    Raises:
        FloatingPointError: a loss or gradient that is not finite; the step is named, and not taken.
        ValueError: a schedule of something that the optimiser does not have.

    Example:
        >>> from seqebm.data.problems import make_problem
        >>> from seqebm.optim.nesterov import NAG
        >>> problem = make_problem("memorization-5", 3)
        >>> network = momentum_initialisation(ProblemNetwork(StandardRNN(4, 20), 3), 0.3)
        >>> everything = problem.all_examples()
        >>> optimizer = NAG(network.parameters(), lr=0.05)
        >>> losses = learn(network, lambda step: everything, problem.kind, optimizer, steps=200)
        >>> losses[-1] < losses[0] / 2
        True
    """
    losses = []
    for step in range(first, first + steps):
        for name, schedule in (schedules or {}).items():
            set_entry(optimizer, name, schedule(step))
        examples = data(step)
        optimizer.zero_grad()
        loss = problem_loss(network(examples.inputs), examples, kind)
        loss.backward()
        losses.append(loss.item())
        norm = get_total_norm(p.grad for p in network.parameters() if p.grad is not None)
        if not math.isfinite(losses[-1] + norm.item()):
            raise FloatingPointError(f"learning stopped at step {step}: loss {losses[-1]}")
        optimizer.step()
    return losses
