"""N-grams of symbols: what a table of counts knows of a text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqebm.data import SymbolSequence

CHUNK = 2**16  # symbols that are looked up at once
LARGEST_KEY = 2**62  # so many different symbols with their contexts


class NGram:
    """Interpolated n-grams with the smoothing of Witten and Bell (1991), as a yardstick.

    The distribution after a context leans on that after the context without its first symbol, the
    more, the more different symbols have followed so far:

        p_n(s | c) = (count(c s) + d(c) p_{n−1}(s | c′)) / (count(c) + d(c))

    with d(c) different symbols after c, and c′ the context without its first symbol. After contexts
    that are new, p_n = p_{n−1}; p_{−1} = 1/K. The first symbols of a text have shorter contexts.

    Args:
        text: Symbols to count.
        order: The most symbols of a context; 0 counts symbols only.

    Raises:
        ValueError: an order below 0, or contexts of more kinds than can be numbered.

    Example:
        >>> text = SymbolSequence(symbols=torch.tensor([0, 1] * 50), categories=2)
        >>> [round(2 ** -float(next(NGram(text, n).surprises(text))[1:].mean()), 2) for n in (0, 1)]
        [0.5, 0.99]
    """

    def __init__(self, text: SymbolSequence, order: int) -> None:
        self.order, self.categories = order, text.categories
        if order < 0 or text.categories ** (order + 1) > LARGEST_KEY:
            raise ValueError(
                f"order: expected 0 to {largest_order(text.categories)} with {text.categories} "
                f"symbols, got {order}"
            )
        symbols = text.symbols.cpu().numpy().astype(np.int64)
        self._tables = [_Table(symbols, n, self.categories) for n in range(order + 1)]

    def surprises(self, text: SymbolSequence) -> Iterator[Tensor]:
        """−log₂ p of each symbol of a text, in chunks.

        Raises:
            ValueError: a text of another number of symbols.
        """
        if text.categories != self.categories:
            raise ValueError(f"text: expected {self.categories} symbols, got {text.categories}")
        symbols = text.symbols.cpu().numpy().astype(np.int64)
        for first in range(0, len(symbols), CHUNK):
            before = min(first, self.order)
            some = symbols[first - before : first + CHUNK]
            p = np.full(len(some), 1 / self.categories)
            for table in self._tables:
                p = table.refined(some, p)
            yield torch.from_numpy(-np.log2(p[before:]))


def largest_order(categories: int) -> int:
    """The most symbols of a context that n-grams of so many symbols can have.

    Example:
        >>> largest_order(256)
        6
    """
    return int(math.log(LARGEST_KEY) / math.log(categories) + 1e-9) - 1


class _Table:
    """How often symbols have followed contexts of one length."""

    def __init__(self, symbols: npt.NDArray[np.int64], length: int, categories: int) -> None:
        self.length, self.categories = length, categories
        self.grams, self.counts = np.unique(self._keys(symbols), return_counts=True)
        starts = self.grams // categories  # of which those with one context are neighbours
        self.contexts, first, self.kinds = np.unique(starts, return_index=True, return_counts=True)
        self.totals = np.add.reduceat(self.counts, first) if len(first) else self.counts

    def _keys(self, symbols: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of each symbol with its context; the first ones have none."""
        count = max(0, len(symbols) - self.length)
        keys = np.zeros(count, dtype=np.int64)
        for place in range(self.length + 1):
            keys = keys * self.categories + symbols[place : place + count]
        return keys

    def refined(
        self, symbols: npt.NDArray[np.int64], p: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Probabilities of symbols, from those that shorter contexts give."""
        keys = self._keys(symbols)
        counts = _looked_up(self.grams, self.counts, keys)
        totals = _looked_up(self.contexts, self.totals, keys // self.categories)
        kinds = _looked_up(self.contexts, self.kinds, keys // self.categories)
        shorter = p[self.length :]
        known = totals > 0
        better = (counts + kinds * shorter) / np.where(known, totals + kinds, 1)
        return np.concatenate([p[: self.length], np.where(known, better, shorter)])


def _looked_up(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The value of each wanted key, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64)
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
