"""Long sequences, read piece after piece with the state carried over: truncated BPTT."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seqebm.data import Sequences
from seqebm.learning.batches import Minibatches, Piece, frames_of, source


class Stretch(NamedTuple):
    """Where all rows of a batch are at a step.

    Attributes:
        pieces: one for each row, the row with the most frames to come first.
        context: so many frames at the beginning have been learned from before.
        ahead: so many frames after these pieces the next ones begin.
        fresh: whether sequences begin here.
    """

    pieces: list[Piece]
    context: int
    ahead: int
    fresh: bool


class Streams(Minibatches):
    """Training data for truncated BPTT(k1, k2), see `streams`."""

    def __init__(
        self, frames: list, rounds: list[list[Piece]], k1: int, k2: int, seed: int
    ) -> None:
        super().__init__(frames, lambda step: self.at(step).pieces)
        self._rounds, self._k1, self._k2, self._seed = rounds, k1, k2, seed
        self._steps = [-(-(rows[0].last - rows[0].first) // k1) for rows in rounds]
        self.epoch = sum(self._steps)  #: updates in which every frame is learned from once
        self._epochs = lru_cache(maxsize=2)(self._ordered)  # asked several times at every step

    def at(self, step: int) -> Stretch:
        """The pieces of a step."""
        epoch, place = divmod(step, self.epoch)
        order, ends = self._epochs(epoch)
        which = int(np.searchsorted(ends, place, side="right"))
        number = order[which]
        window = place - (int(ends[which]) - self._steps[number])
        begin, following = (
            max(0, w * self._k1 - (self._k2 - self._k1)) for w in (window, window + 1)
        )
        end = (window + 1) * self._k1
        pieces = [
            Piece(row.sequence, row.first + begin, min(row.last, row.first + end))
            for row in self._rounds[number]
            if row.last - row.first > window * self._k1
        ]
        return Stretch(pieces, window * self._k1 - begin, following - begin, window == 0)

    def _ordered(self, epoch: int) -> tuple[list[int], npt.NDArray[np.int64]]:
        """The order of the groups in an epoch, and the step at which each of them ends."""
        order: list[int] = source(self._seed, epoch).permutation(len(self._rounds)).tolist()
        return order, np.cumsum([self._steps[number] for number in order])


def streams(sequences: Tensor | Sequences, k1: int, k2: int, batch: int, seed: int) -> Streams:
    """Data for truncated backpropagation through time (Sutskever 2013, sec. 2.8.6).

    An update comes after every k1 frames, and its gradient goes back k2 frames; what happened
    before is known from the state only, which is carried on. `fit` carries it where its data are
    these. Sequences longer than an even share of all frames are cut into such shares, so that one
    long text fills a batch; each part begins as a sequence does. Rows end with their sequences,
    so that a batch becomes smaller towards the end of a group of sequences of nearly one length.

    Args:
        sequences: frames [n, time, visible] or `Sequences`.
        k1: frames from one update to the next.
        k2: frames that the gradient goes back through, at least k1.
        batch: rows.
        seed: decides the order of the groups.

    Raises:
        ValueError: k1 or batch below 1, k2 below k1, no sequences, or sequences of different
            widths.

    Example:
        >>> import torch
        >>> data = streams(torch.rand(1, 100, 9), k1=10, k2=15, batch=2, seed=1)
        >>> [data(step)[0].shape for step in (0, 1)]
        [torch.Size([2, 10, 9]), torch.Size([2, 15, 9])]
    """
    if k1 < 1 or batch < 1 or k2 < k1:
        raise ValueError(
            f"k1, k2, batch: expected 1 ≤ k1 ≤ k2 and 1 ≤ batch, got {k1}, {k2}, {batch}"
        )
    frames = frames_of(sequences)
    share = -(-sum(len(one) for one in frames) // batch)
    parts = [
        Piece(number, first, min(first + share, len(one)))
        for number, one in enumerate(frames)
        for first in range(0, len(one), share)
    ]
    parts.sort(key=lambda part: part.first - part.last)  # the longest first
    rounds = [parts[first : first + batch] for first in range(0, len(parts), batch)]
    return Streams(frames, rounds, k1, k2, seed)
