"""Training data: minibatches as functions of the step, which a resumed run meets again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqebm.data import Sequences

Batch = Tensor | tuple[Tensor, Tensor]  #: frames, or frames and their lengths
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
        frames: of each sequence, [time, visible].
        pieces: those that are met at a step.
        alike: whether all pieces have one length.
    """

    def __init__(
        self,
        frames: Sequence[Tensor],
        pieces: Callable[[int], Sequence[Piece]],
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
    frames = _frames(sequences)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        return _source(seed, epoch).permutation(len(frames)).tolist()

    def pieces(step: int) -> list[Piece]:
        places = (divmod(step * batch + i, len(frames)) for i in range(batch))
        chosen = (order(epoch)[place] for epoch, place in places)
        return [Piece(number, 0, len(frames[number])) for number in chosen]

    return Minibatches(frames, pieces, alike=len({len(one) for one in frames}) == 1)


def windows(sequences: Tensor | Sequences, window: int, batch: int, seed: int) -> Minibatches:
    """Minibatches of pieces of sequences: every frame once an epoch.

    In each epoch each sequence is cut at other places. All its pieces have `window` frames but for
    the first and the last, which may have fewer, so that a model also learns how sequences begin.

    Args:
        sequences: frames [n, time, visible] or `Sequences`.
        window: frames of a piece.
        batch: pieces in a minibatch, on average.
        seed: decides places and order.

    Raises:
        ValueError: a window or batch below 1, no sequences, or sequences of different widths.

    Example:
        >>> data = windows(torch.rand(5, 70, 9), window=20, batch=4, seed=1)
        >>> frames, lengths = data(0)
        >>> frames.shape[2], int(lengths.max()) <= 20
        (9, True)
    """
    if window < 1 or batch < 1:
        raise ValueError(f"window, batch: expected at least 1, got {window} and {batch}")
    frames = _frames(sequences)
    total = sum(len(one) for one in frames)
    steps = max(1, round(total / (window * batch)))  # of an epoch

    @lru_cache(maxsize=2)
    def epoch_of(number: int) -> list[list[Piece]]:
        source, cut = _source(seed, number), []
        for sequence, one in enumerate(frames):
            first = int(source.integers(1, window + 1))
            ends = [0, *range(first, len(one), window), len(one)]
            cut += [Piece(sequence, a, b) for a, b in pairwise(ends)]
        order = source.permutation(len(cut))
        return [[cut[place] for place in places] for places in np.array_split(order, steps)]

    def pieces(step: int) -> list[Piece]:
        number, place = divmod(step, steps)
        return epoch_of(number)[place]

    return Minibatches(frames, pieces)


def _frames(sequences: Tensor | Sequences) -> list[Tensor]:
    """The frames of each sequence, of which there must be some."""
    if len(sequences) == 0:
        raise ValueError("sequences: expected at least one, got none")
    if isinstance(sequences, Tensor):
        return [*sequences]
    _ = sequences.n_visible  # the same for all
    return [one.frames for one in sequences]


def _source(seed: int, epoch: int) -> np.random.Generator:
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
        states = torch.cat([*data.frames])
        binary = bool(((states == 0) | (states == 1)).all())
        self.states = states.to(torch.uint8) if binary else states

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
