"""Solving the long-memory problems of `seqebm.data.problems`: training until they are solved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seqebm.data.problems import SOLVED, Examples, Memorization5, Problem
from seqebm.learning.checkpoint import StrPath, load_training, save
from seqebm.learning.fit import History
from seqebm.learning.problems import ProblemNetwork, learn, measure
from seqebm.learning.schedules import Schedule
from seqebm.optim.second_order import SecondOrder

MINIBATCH = 1000  #: sequences in which work is counted (Sutskever 2013, fig. 4.1)
LIMIT = 50_000  #: minibatches after which a problem counts as failed (same)
GLANCE, TEST = 1000, 10_000  #: test sequences: while it is far from solved, and to say that it is


def solve(
    network: ProblemNetwork,
    problem: Problem,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch: int = 10_000,
    seed: int = 0,
    schedules: Mapping[str, Schedule] | None = None,
    test_every: int = 1,
    limit: float = LIMIT,
    stop: bool = True,
    checkpoint: StrPath | None = None,
    resume: bool = False,
    tell: Callable[[Mapping[str, float]], object] = lambda record: None,
) -> History:
    """Train a network on fresh sequences until it has solved a problem.

    An optimiser of second order takes the gradient of the batch in minibatches of 1000 sequences,
    curvature and checks of the first of them (Sutskever 2013, sec. 4.4); any other takes the batch
    at once. Of the memorization of five bits all 32 sequences are taken every time. The sequences
    of a step depend on the seed and the step only, so that a run that is resumed goes on bit for
    bit.

    Args:
        network: changed in place.
        problem: to be solved.
        optimizer: over the network's parameters.
        steps: at most so many in all, those before a resumption counted in.
        batch: sequences of a gradient.
        seed: of all sequences.
        schedules: functions of the step for entries of the optimiser's groups, as in `fit`.
        test_every: steps between tests.
        limit: of minibatches, each used for a gradient or a product with the curvature matrix.
        stop: whether to stop when less than 1% of 10 000 test sequences are wrong.
        checkpoint: file to write at every test. Its network, as the one that training ends with,
            has the parameters θ that were tested, also where the optimiser looks ahead of them.
        resume: go on from `checkpoint` where it exists.
        tell: is given every record, while the network is what the record tells of.

    Returns:
        A record for every test: step, minibatches so far, seconds, the loss of the last step, the
        `Errors` by name, and what the last step of a method of second order reported, as step_….

    Raises:
        ValueError: a number of steps, sequences or steps between tests below 1.
        FloatingPointError: a loss that is not finite; the last checkpoint stays as it was.

    Example:
        >>> from seqebm.cells import StandardRNN
        >>> from seqebm.data.problems import make_problem
        >>> from seqebm.learning.problems import thesis_initialisation
        >>> from seqebm.optim import HessianFree
        >>> problem = make_problem("memorization-5", 5)
        >>> network = thesis_initialisation(ProblemNetwork(StandardRNN(4, 20), 3), 0.1)
        >>> optimizer = HessianFree(network.parameters(), structural=1 / 30)
        >>> solve(network, problem, optimizer, steps=200)[-1]["sequences"]
        0.0
    """
    for name, value in (("steps", steps), ("batch", batch), ("test_every", test_every)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    history: History = []
    if resume and checkpoint is not None and Path(checkpoint).exists():
        history = _restore(network, optimizer, checkpoint)
    last: Mapping[str, float] = history[-1] if history else {"step": 0, "minibatches": 0.0}
    step, minibatches = int(last["step"]), float(last["minibatches"])
    started = time.monotonic() - last.get("seconds", 0.0)
    source = _Source(problem, batch, seed)
    while step < steps and minibatches < limit and not (stop and _solved(history)):
        loss, used, report = _step(network, source, optimizer, step, schedules or {})
        step, minibatches = step + 1, minibatches + used
        if step % test_every and step < steps and minibatches < limit:
            continue
        record = {"step": step, "minibatches": minibatches, "seconds": time.monotonic() - started}
        ahead = {name: value.clone() for name, value in network.state_dict().items()}
        with getattr(optimizer, "at_theta", nullcontext)():  # NAG otherwise looks ahead
            record |= {"loss": loss, **_tested(network, source, step), **report}
            history.append(record)
            tell(record)
            if checkpoint is not None:
                training = {
                    "history": history,
                    "ahead": ahead,
                    "optimizer_kind": type(optimizer).__name__,
                    "optimizer": optimizer.state_dict(),
                }
                save(network, checkpoint, training)
    getattr(optimizer, "restart", lambda: None)()  # at θ for good
    return history


class _Source:
    """The sequences of every step, as functions of the seed."""

    def __init__(self, problem: Problem, batch: int, seed: int) -> None:
        self.problem, self.batch, self.seed = problem, batch, seed

    def generator(self, *numbers: int) -> torch.Generator:
        """A source of randomness for a step and a piece of it."""
        state = np.random.SeedSequence([self.seed, *numbers]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))

    def pieces(self) -> list[int]:
        """The numbers of the minibatches of a step."""
        if isinstance(self.problem, Memorization5):
            return [0]
        return list(range(math.ceil(self.batch / MINIBATCH)))

    def draw(self, step: int, piece: int) -> Examples:
        """A minibatch of a step."""
        return self._draw(min(MINIBATCH, self.batch - piece * MINIBATCH), step, piece)

    def whole(self, step: int) -> Examples:
        """The batch of a step at once."""
        return self._draw(self.batch, step, 0)

    def _draw(self, count: int, step: int, piece: int) -> Examples:
        if isinstance(self.problem, Memorization5):
            return self.problem.all_examples()
        return self.problem.draw(count, self.generator(step, piece))


def _step(
    network: ProblemNetwork,
    source: _Source,
    optimizer: torch.optim.Optimizer,
    step: int,
    schedules: Mapping[str, Schedule],
) -> tuple[float, float, dict[str, float]]:
    """One update: the loss before it, minibatches used, what the optimiser reports."""
    kind = source.problem.kind
    if not isinstance(optimizer, SecondOrder):
        losses = learn(
            network, source.whole, kind, optimizer, steps=1, first=step, schedules=schedules
        )
        return losses[0], source.batch / MINIBATCH, {}
    first = source.draw(step, 0)  # met again and again; the others once

    def forward(piece: int) -> Any:
        return network.prediction(first if piece == 0 else source.draw(step, piece), kind)

    pieces = source.pieces()
    try:
        report = optimizer.step(forward, pieces, pieces[:1])
    except FloatingPointError as error:
        raise FloatingPointError(f"learning stopped at step {step}: {error}") from None
    return report.loss, len(pieces) + report.products, report.record()


def _tested(network: nn.Module, source: _Source, step: int) -> dict[str, float]:
    """The errors on fresh sequences, on more of them where few enough are wrong."""
    errors = measure(network, source.problem, GLANCE, source.generator(step, 0, 1))
    if errors.sequences < SOLVED:
        errors = measure(network, source.problem, TEST, source.generator(step, 0, 2))
    return errors._asdict()


def _solved(history: History) -> bool:
    """Whether the last test says so."""
    return bool(history) and history[-1]["sequences"] < SOLVED


def _restore(
    network: ProblemNetwork, optimizer: torch.optim.Optimizer, checkpoint: StrPath
) -> History:
    """Take over a network and an optimiser from a checkpoint; the history until then."""
    stored, training = load_training(checkpoint)
    kind = type(optimizer).__name__
    if type(stored) is not type(network) or stored.settings != network.settings:
        raise ValueError(f"checkpoint: {checkpoint} holds another network")
    if training.get("optimizer_kind") != kind:
        raise ValueError(f"checkpoint: {checkpoint} was not written with {kind}")
    network.load_state_dict(training["ahead"])
    optimizer.load_state_dict(training["optimizer"])
    history: History = training["history"]
    return history
