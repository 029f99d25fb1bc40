"""Training data: minibatches as functions of the step, which a resumed run meets again."""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqebm.data import Sequence, Sequences

PART = 2**12  #: frames that are made at once, of sequences that do not keep them
Batch = Tensor | tuple[Tensor, Tensor]  #: frames, or frames and their lengths
Frames: TypeAlias = "Tensor | Sequence"  #: of one sequence, of which pieces can be taken
Data = Callable[[int], Batch]  #: training data as a function of the step


@dataclass(frozen=True)
class Piece:
    """Some frames of a sequence.

    Attributes:
        sequence: its number.
        first: number of the first frame.
        last: number of the frame after the last one.
    """

    sequence: int
    first: int
    last: int


class Minibatches:
    """Training data that are pieces of sequences.

    Args:
        frames: of each sequence, [time, visible]: a tensor, or a `seqebm.data.Sequence`, of which
            pieces are taken only.
        pieces: those that are met at a step.
        alike: whether all pieces have one length.
    """

    def __init__(
        self,
        frames: collections.abc.Sequence[Frames],
        pieces: Callable[[int], collections.abc.Sequence[Piece]],
        alike: bool = False,
    ) -> None:
        self.frames, self.pieces, self._alike = frames, pieces, alike

    def __call__(self, step: int) -> Batch:
        """The frames [batch, time, visible], with their lengths unless all are alike."""
        chosen = [self.frames[p.sequence][p.first : p.last] for p in self.pieces(step)]
        frames = pad_sequence(chosen, batch_first=True)
        return frames if self._alike else (frames, torch.tensor([len(one) for one in chosen]))


def minibatches(sequences: Tensor | Sequences, batch: int, seed: int) -> Minibatches:
    """Random minibatches of whole sequences: every sequence once an epoch.

    Being a function of the step and the seed only, they are the same in a resumed run.

    Args:
        sequences: frames [n, time, visible] or `Sequences`.
        batch: sequences in a minibatch.
        seed: decides the order.

    Raises:
        ValueError: a batch below 1, no sequences, or sequences of different widths.

    Example:
        >>> data = minibatches(torch.rand(5, 7, 9), batch=2, seed=1)
        >>> data(0).shape
        torch.Size([2, 7, 9])
    """
    if batch < 1:
        raise ValueError(f"batch: expected at least 1, got {batch}")
    frames = frames_of(sequences)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        return source(seed, epoch).permutation(len(frames)).tolist()

    def pieces(step: int) -> list[Piece]:
        places = (divmod(step * batch + i, len(frames)) for i in range(batch))
        chosen = (order(epoch)[place] for epoch, place in places)
        return [Piece(number, 0, len(frames[number])) for number in chosen]

    return Minibatches(frames, pieces, alike=len({len(one) for one in frames}) == 1)


def windows(
    sequences: Tensor | Sequences, window: int, batch: int, seed: int, context: int = 0
) -> Minibatches:
    """Minibatches of pieces of sequences: every frame once an epoch.

    In each epoch each sequence is cut at other places. All its pieces have `window` frames but for
    the first and the last, which may have fewer, so that a model also learns how sequences begin.

    Args:
        sequences: frames [n, time, visible] or `Sequences`.
        window: frames of a piece.
        batch: pieces in a minibatch, on average.
        seed: decides places and order.
        context: pieces of at most so many frames are left out: there is nothing to learn in them
            where the first `context` frames are only remembered (`SequenceModel.loss`).

    Raises:
        ValueError: a window or batch below 1, a window or sequences no longer than the context, no
            sequences, or sequences of different widths.

    Example:
        >>> data = windows(torch.rand(5, 70, 9), window=20, batch=4, seed=1)
        >>> frames, lengths = data(0)
        >>> frames.shape[2], int(lengths.max()) <= 20
        (9, True)
    """
    if window < 1 or batch < 1:
        raise ValueError(f"window, batch: expected at least 1, got {window} and {batch}")
    frames = frames_of(sequences)
    whole = [Piece(number, 0, min(len(one), window)) for number, one in enumerate(frames)]
    longest = max(piece.last for piece in whole)
    if not 0 <= context < longest:
        raise ValueError(
            f"context: expected less than the {longest} frames of the longest piece, got {context}"
        )
    total = sum(len(one) for one in frames)
    steps = max(1, round(total / (window * batch)))  # of an epoch

    @lru_cache(maxsize=2)
    def epoch_of(number: int) -> list[list[Piece]]:
        random, cut = source(seed, number), []
        for sequence, one in enumerate(frames):
            first = int(random.integers(1, window + 1))
            ends = [0, *range(first, len(one), window), len(one)]
            cut += [Piece(sequence, a, b) for a, b in pairwise(ends)]
        cut = _longer(cut, context) or _longer(whole, context)
        order = random.permutation(len(cut))
        order = np.resize(order, max(len(order), steps))  # some again where there are too few
        return [[cut[place] for place in places] for places in np.array_split(order, steps)]

    def pieces(step: int) -> list[Piece]:
        number, place = divmod(step, steps)
        return epoch_of(number)[place]

    return Minibatches(frames, pieces)


def frames_of(sequences: Tensor | Sequences) -> list[Frames]:
    """The frames of each sequence, of which there must be some."""
    if len(sequences) == 0:
        raise ValueError("sequences: expected at least one, got none")
    if isinstance(sequences, Sequences):
        _ = sequences.n_visible  # the same for all
    return [*sequences]


def _longer(pieces: list[Piece], context: int) -> list[Piece]:
    """The pieces that are longer than the context."""
    return [piece for piece in pieces if piece.last - piece.first > context]


def _parts(sequences: collections.abc.Sequence[Frames]) -> Iterator[Tensor]:
    """All frames of all sequences, some at a time."""
    for one in sequences:
        for first in range(0, len(one), PART):
            yield one[first : first + PART]


def source(seed: int, epoch: int) -> np.random.Generator:
    """The randomness of an epoch."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))


class PersistentChains:
    """A chain for every frame of the training data, which goes on when the frame is met again.

    Contrastive divergence begins its chains at the data and learns little of what lies far from
    there. Chains that go on come away from the data (Tieleman 2008), and are samples of the model
    as far as it changes little between two visits of a frame. At first they begin at the data.

    Args:
        data: the training data.

    Attributes:
        states: [all frames, visible]; as bytes where all frames are zeros and ones.

    Example:
        >>> chains = PersistentChains(minibatches(torch.rand(5, 7, 9), batch=2, seed=1))
        >>> chains.take(0).shape
        torch.Size([2, 7, 9])
    """

    def __init__(self, data: Minibatches) -> None:
        self._pieces = data.pieces
        lengths = torch.tensor([0, *(len(one) for one in data.frames)])
        self._starts = lengths.cumsum(0).tolist()
        binary = all(bool(((part == 0) | (part == 1)).all()) for part in _parts(data.frames))
        kept = (part.to(torch.uint8) if binary else part for part in _parts(data.frames))
        self.states = torch.cat([*kept])

    def take(self, step: int) -> Tensor:
        """The chains of the frames that are met at a step, [batch, time, visible]."""
        parts = [self.states[place].float() for place in self._places(step)]
        return pad_sequence(parts, batch_first=True)

    def put(self, step: int, ends: Tensor) -> None:
        """Keep where these chains have come to."""
        for place, end in zip(self._places(step), ends.cpu(), strict=True):
            self.states[place] = end[: place.stop - place.start].to(self.states.dtype)

    def restore(self, states: Tensor) -> None:
        """Go on from states that were saved.

        Raises:
            ValueError: states of other data.
        """
        if states.shape != self.states.shape:
            raise ValueError(
                f"chains: expected shape {[*self.states.shape]}, got {[*states.shape]}"
            )
        self.states.copy_(states)

    def _places(self, step: int) -> list[slice]:
        pieces = self._pieces(step)
        starts = (self._starts[piece.sequence] for piece in pieces)
        return [slice(s + p.first, s + p.last) for s, p in zip(starts, pieces, strict=True)]
