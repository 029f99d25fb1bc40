"""Words put in order by how probable the text is that they make."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from seqebm.data.text import Vocabulary
from seqebm.models import SequenceModel
from seqebm.text.scores import log_probabilities

MOST_WORDS = 8  #: of which all orders are tried


class Ordering(NamedTuple):
    """Words in an order.

    Attributes:
        words: in this order.
        log_prob: of them, and of what comes after them, given what comes before them, in nats.
    """

    words: tuple[str, ...]
    log_prob: float


def orderings(
    model: SequenceModel,
    vocabulary: Vocabulary,
    words: Sequence[str],
    before: str = "",
    after: str = "",
    beam: int | None = None,
) -> list[Ordering]:
    """Orders of a bag of words, the most probable first (Sutskever 2013, sec. 5.4.4).

    The text is ``before + " ".join(words) + after``; its log-probability after `before` decides.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        words: at least one.
        before: text before the words, as a rule with a space at its end.
        after: text after them, as a rule with a space at its beginning.
        beam: None tries all orders of at most 8 words. A number keeps that many beginnings while
            words are added one by one; beginnings are compared by their log-probability and that of
            each word that is still to come if it stood right after `before`.

    Returns:
        Different orders: all of them, or as many as `beam` says.

    Raises:
        ValueError: no words, too many for all orders, a beam below 1, a character that is not in
            the vocabulary, or a model of other symbols.

    Example:
        >>> import seqebm
        >>> from seqebm.data.text import Characters
        >>> model = seqebm.RNN(torch.nn.GRU(4, 3, batch_first=True), "categorical:4")
        >>> len(orderings(model, Characters(" abc"), ["a", "b", "cab"]))
        6
    """
    if not words or (beam is None and len(words) > MOST_WORDS):
        raise ValueError(f"words: expected 1 to {MOST_WORDS} (more take a beam), got {len(words)}")
    if beam is not None and beam < 1:
        raise ValueError(f"beam: expected at least 1, got {beam}")
    if beam is None:
        orders: Iterable[tuple[str, ...]] = set(itertools.permutations(words))
    else:
        orders = _beamed(model, vocabulary, words, before, beam)
    ordered = sorted(orders)
    texts = [" ".join(order) + after for order in ordered]
    scores = log_probabilities(model, vocabulary, texts, before).tolist()
    found = [Ordering(order, score) for order, score in zip(ordered, scores, strict=True)]
    return sorted(found, key=lambda one: -one.log_prob)


def _beamed(
    model: SequenceModel, vocabulary: Vocabulary, words: Sequence[str], before: str, beam: int
) -> list[tuple[str, ...]]:
    """Orders of all words whose beginnings were always among the best."""
    kinds = sorted(set(words))
    own = log_probabilities(model, vocabulary, kinds, before).tolist()
    alone = dict(zip(kinds, own, strict=True))
    kept: list[tuple[str, ...]] = [()]
    for _ in words[:-1]:
        longer = sorted({(*order, word) for order in kept for word in _left(words, order)})
        texts = [" ".join(order) + " " for order in longer]
        scores = log_probabilities(model, vocabulary, texts, before).tolist()
        hoped = [
            score + sum(alone[word] for word in _left(words, order))
            for order, score in zip(longer, scores, strict=True)
        ]
        best = sorted(range(len(longer)), key=lambda place: -hoped[place])
        kept = [longer[place] for place in best[:beam]]
    return [(*order, *_left(words, order)) for order in kept]


def _left(words: Sequence[str], used: tuple[str, ...]) -> list[str]:
    """The words that are not used yet, each as often as it is left."""
    left = list(words)
    for word in used:
        left.remove(word)
    return left


class Debugging(NamedTuple):
    """How often the true order of words was found.

    Attributes:
        share: of the bags, those whose true order was the most probable.
        error: its standard error.
        bags: how many there were.
    """

    share: float
    error: float
    bags: int


def debugged(
    model: SequenceModel,
    vocabulary: Vocabulary,
    text: str,
    bags: int = 500,
    words: int = 7,
    around: int = 2,
    beam: int | None = None,
    generator: torch.Generator | None = None,
) -> Debugging:
    """The debugging problem of Sutskever 2013, sec. 5.4.4: bags of words of a text put in order.

    Places in the text are drawn. Words in the middle of a passage become a bag; those around them
    are given. His models of Wikipedia found the order of 34% of 500 bags of 7 words from Anna
    Karenina with 2 words on either side, a sequence memoizer that of 27%.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        text: words with white space between them.
        bags: how many.
        words: of a bag.
        around: given before and after them.
        beam: as for `orderings`.
        generator: decides the places.

    Raises:
        ValueError: as for `orderings`, or a text of too few words.
    """
    every = text.split()
    length = words + 2 * around
    if len(every) < length or bags < 1:
        raise ValueError(
            f"text, bags: expected at least {length} words and 1 bag, got {len(every)} and {bags}"
        )
    places = torch.randint(len(every) - length + 1, (bags,), generator=generator).tolist()
    right = 0
    for place in places:
        passage = every[place : place + length]
        truth = tuple(passage[around : around + words])
        before, after = passage[:around], passage[around + words :]
        found = orderings(
            model,
            vocabulary,
            truth,
            "".join(f"{word} " for word in before),
            "".join(f" {word}" for word in after),
            beam,
        )
        right += found[0].words == truth
    share = right / bags
    return Debugging(share, math.sqrt(share * (1 - share) / bags), bags)
