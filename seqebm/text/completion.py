"""Gaps in texts, filled so that what comes after them is probable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqebm.data.text import Vocabulary
from seqebm.models import SequenceModel
from seqebm.text.scores import check_fits, next_symbols, one_hot, scores


class Completion(NamedTuple):
    """What fills a gap.

    Attributes:
        text: the filling.
        log_prob: what it was chosen by, in nats.
    """

    text: str
    log_prob: float


def sampled_completions(
    model: SequenceModel,
    vocabulary: Vocabulary,
    beginning: str,
    end: str,
    longest: int,
    count: int = 20,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[Completion]:
    """Fillings that the model draws, those first after which the end is most probable.

    A structured completion (Sutskever 2013, sec. 5.5.2) whose end is given as well: the model goes
    on from the beginning, and each draw is cut wherever the end might follow. By Bayes' rule a
    filling is p(filling | beginning) p(end | beginning, filling); drawing it has accounted for the
    first factor, the second is what they are sorted by.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        beginning: text before the gap.
        end: text after it.
        longest: symbols of the longest filling.
        count: how many are drawn.
        temperature: of the draws, see `SequenceModel.sample`.
        generator: source of randomness.

    Returns:
        Different fillings from 1 to `longest` symbols long, with log p(end | beginning, filling).

    Raises:
        ValueError: an empty beginning or end, a length or count below 1, a character that is not in
            the vocabulary, or a model of other symbols.
    """
    before, after = _sides(model, vocabulary, beginning, end)
    prefix = one_hot(model, before[None])
    drawn = model.sample(longest, count, prefix, generator, temperature=temperature).argmax(-1)
    fillings = sorted(
        {tuple(row[:length]) for row in drawn.tolist() for length in range(1, longest + 1)}
    )
    # p(filling, end) / p(filling): two scores, for fillings have different lengths
    both, alone = (
        scores(model, [torch.cat([before, torch.tensor(f), tail]) for f in fillings], len(before))
        for tail in (after, after[:0])
    )
    made = [
        Completion(vocabulary.decode(torch.tensor(f)), score)
        for f, score in zip(fillings, (both - alone).tolist(), strict=True)
    ]
    return sorted(made, key=lambda one: -one.log_prob)


def best_completion(
    model: SequenceModel,
    vocabulary: Vocabulary,
    beginning: str,
    end: str,
    length: int,
    beam: int = 100,
) -> Completion:
    """The most probable filling of a length, as far as a beam finds it.

    It has the largest log p(filling, end | beginning). Fillings grow symbol by symbol, and the
    `beam` most probable ones are kept; the end decides between those that are complete. With K^n
    of n symbols the search is exhaustive.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        beginning: text before the gap.
        end: text after it.
        length: symbols of the filling.
        beam: fillings that are kept.

    Returns:
        The filling, with log p(filling, end | beginning).

    Raises:
        ValueError: an empty beginning or end, a length or beam below 1, a character that is not in
            the vocabulary, or a model of other symbols.
    """
    before, after = _sides(model, vocabulary, beginning, end)
    if length < 1 or beam < 1:
        raise ValueError(f"length, beam: expected at least 1, got {length} and {beam}")
    rows, known = before[None], torch.zeros(1, dtype=torch.float64)
    for _ in range(length):
        total = (known.unsqueeze(1) + next_symbols(model, rows)).flatten()
        known, places = total.topk(min(beam, len(total)))
        symbols = places % vocabulary.size
        rows = torch.cat([rows[places // vocabulary.size], symbols.unsqueeze(1)], dim=1)
    whole = scores(model, [torch.cat([row, after]) for row in rows], len(before))
    best = int(whole.argmax())
    return Completion(vocabulary.decode(rows[best, len(before) :]), float(whole[best]))


def _sides(
    model: SequenceModel, vocabulary: Vocabulary, beginning: str, end: str
) -> tuple[Tensor, Tensor]:
    """The symbols on both sides of a gap."""
    check_fits(model, vocabulary)
    for name, text in {"beginning": beginning, "end": end}.items():
        if not text:
            raise ValueError(f"{name}: expected at least one character")
    return vocabulary.encode(beginning), vocabulary.encode(end)
