"""How surprising a text is to a model: bits per character over one continuous stream."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqebm.data import Sequence
from seqebm.evaluate.inputs import check_count
from seqebm.models import SequenceModel
from seqebm.models.base import BEFORE, State, at
from seqebm.models.conditionals import Conditional

CHUNK = 250  #: symbols that are worked on at once
BLOCK = 1000  #: symbols of a block, whose means are taken for independent of each other

Optimizer = Callable[[Iterable[Any]], torch.optim.Optimizer]  #: what makes one for parameters


class Bits(NamedTuple):
    """The mean surprise of a stream, in bits per symbol.

    Attributes:
        bits: −log₂ p of a symbol given all before it, averaged over all, the first one too.
        error: standard error, by the spread of the means of blocks of 1000 symbols; NaN where
            there are not two blocks.
        symbols: how many there are.
    """

    bits: float
    error: float
    symbols: int


@torch.no_grad()
def surprises(
    model: SequenceModel,
    sequence: Sequence,
    chunk: int = CHUNK,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """−log₂ p(v_t | v_<t) along a whole sequence, in memory that does not grow with its length.

    The state of the model goes on from chunk to chunk, so that the results do not depend on where
    the sequence is cut.

    Args:
        model: a sequence model.
        sequence: as a rule symbols (`seqebm.data.SymbolSequence`).
        chunk: frames that are worked on at once.
        generator: source of randomness, for models whose likelihood is annealed.

    Yields:
        Bits ``[chunk]``, of the last chunk what is left.

    Raises:
        ValueError: frames that the model does not know, or a chunk below 1.

    Example:
        >>> import seqebm
        >>> from seqebm.data import SymbolSequence
        >>> model = seqebm.RNN(torch.nn.GRU(4, 3, batch_first=True), "categorical:4")
        >>> word = SymbolSequence(symbols=torch.tensor([3, 1, 2, 0, 1]), categories=4)
        >>> [len(bits) for bits in surprises(model, word, chunk=2)]
        [2, 2, 1]
    """
    check_count("chunk", chunk)
    state = model.initial_state(1)
    for first in range(0, len(sequence), chunk):
        conditional, frames, state = _next(model, state, sequence[first : first + chunk])
        yield _bits(conditional, frames, generator)


@torch.enable_grad()
def adaptive_surprises(
    model: SequenceModel,
    sequence: Sequence,
    optimizer: Optimizer,
    chunk: int = CHUNK,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """`surprises` of a model that goes on learning: dynamic evaluation (Mikolov et al. 2010).

    After each chunk a copy of the model is given one update by it. The bits of a chunk are those
    before its update, so that nothing is learned from what is still to be foretold.

    Args:
        model: a sequence model, which stays as it is.
        sequence: as for `surprises`.
        optimizer: makes the optimiser, such as ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        chunk: frames between updates.
        generator: source of randomness.

    Yields:
        Bits ``[chunk]``.

    Raises:
        ValueError: as for `surprises`.
    """
    check_count("chunk", chunk)
    learner = copy.deepcopy(model)
    updates = optimizer(learner.parameters())
    state = learner.initial_state(1)
    for first in range(0, len(sequence), chunk):
        conditional, frames, state = _next(learner, state, sequence[first : first + chunk])
        yield _bits(conditional, frames, generator).detach()
        updates.zero_grad()
        conditional.loss(frames, generator).mean().backward()
        updates.step()
        state = _detached(state)


def bits_per_symbol(chunks: Iterable[Tensor], block: int = BLOCK) -> Bits:
    """The mean of surprises, and how sure it is.

    Args:
        chunks: bits, as `surprises` yields them.
        block: symbols of a block. What is left at the end counts for the mean, not for the error.

    Raises:
        ValueError: there is no symbol, or a block below 1.

    Example:
        >>> bits_per_symbol([torch.tensor([1.0, 2.0]), torch.tensor([3.0])], block=1)
        Bits(bits=2.0, error=0.5773502691896258, symbols=3)
    """
    check_count("block", block)
    total, count, rest, means = 0.0, 0, torch.zeros(0, dtype=torch.float64), []
    for chunk in chunks:
        total, count = total + float(chunk.double().sum()), count + len(chunk)
        *whole, rest = torch.cat([rest, chunk.double().cpu()]).split(block)
        if len(rest) == block:
            whole, rest = [*whole, rest], rest[:0]
        means += [float(one.mean()) for one in whole]
    if not count:
        raise ValueError("chunks: expected at least one symbol, got none")
    error = float(torch.tensor(means).double().std()) / math.sqrt(len(means)) if means[1:] else None
    return Bits(total / count, math.nan if error is None else error, count)


def _next(model: SequenceModel, state: State, frames: Tensor) -> tuple[Conditional, Tensor, State]:
    """The distributions of frames [time, visible] that go on from a state, and what comes after."""
    device = next(model.parameters()).device
    checked, _ = model._checked(frames[None].to(device), None)
    contexts, after = model.scan(state, checked)
    return model.conditional(at(contexts, BEFORE)), checked, after


def _bits(conditional: Conditional, frames: Tensor, generator: torch.Generator | None) -> Tensor:
    return -conditional.log_prob(frames, "auto", generator)[0] / math.log(2)


def _detached(state: State) -> State:
    """The same state without its history."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state.detach()
    parts = [_detached(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
