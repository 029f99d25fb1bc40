"""How probable texts are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqebm.data.text import Vocabulary
from seqebm.models import SequenceModel
from seqebm.models.base import LAST, at

BLOCK = 2**22  #: numbers in the frames that are worked on at once


def log_probabilities(
    model: SequenceModel, vocabulary: Vocabulary, texts: Sequence[str], before: str = ""
) -> Tensor:
    """log p(text | before) of each text, ``[n]``, float64.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        texts: at least one, of any lengths.
        before: what stands before each of them and is not scored.

    Raises:
        ValueError: there is no text; one is empty and so is `before`; a character that is not in
            the vocabulary; a model of other symbols.

    Example:
        >>> import seqebm
        >>> from seqebm.data.text import Characters
        >>> model = seqebm.RNN(torch.nn.GRU(3, 4, batch_first=True), "categorical:3")
        >>> two = log_probabilities(model, Characters("abc"), ["ab", "ba"], before="c")
        >>> len(two), bool((two < 0).all())
        (2, True)
    """
    check_fits(model, vocabulary)
    if not texts:
        raise ValueError("texts: expected at least one, got none")
    given = len(vocabulary.encode(before)) if before else 0
    return scores(model, [vocabulary.encode(before + text) for text in texts], given)


@torch.no_grad()
def scores(model: SequenceModel, rows: Sequence[Tensor], given: int) -> Tensor:
    """The log-probability of each row of symbols [time] after its first `given` ones, [n]."""
    size = max(1, BLOCK // (max(map(len, rows)) * model.visible.size))
    found = []
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        lengths = torch.tensor([len(row) for row in some])
        frames = one_hot(model, pad_sequence([*some], batch_first=True))
        log_p = model.log_prob(frames, lengths.to(frames.device)).double()
        found.append(log_p[:, given:].sum(1).cpu())  # zero in the padding
    return torch.cat(found)


@torch.no_grad()
def next_symbols(model: SequenceModel, rows: Tensor) -> Tensor:
    """log p of each symbol being the next one after rows of symbols [n, time], [n, K]."""
    frames = one_hot(model, rows)
    contexts, _ = model.scan(model.initial_state(len(rows)), frames)
    conditional = model.conditional(at(contexts, LAST)).with_state_axis()
    codes = torch.eye(model.visible.size).to(frames)
    return conditional.log_prob(codes, "auto").double().cpu()


def one_hot(model: SequenceModel, symbols: Tensor) -> Tensor:
    """Symbols [..., time] as frames on the model's device, in its precision."""
    like = next(model.parameters())
    return F.one_hot(symbols.to(like.device), model.visible.size).to(like.dtype)


def check_fits(model: SequenceModel, vocabulary: Vocabulary) -> None:
    """Raise ValueError where a model is not one of texts in this vocabulary."""
    expected = f"categorical:{vocabulary.size}"
    if model.visible.size != vocabulary.size or model.visible.spec != expected:
        raise ValueError(
            f"model: expected one of the {vocabulary.size} symbols of the vocabulary ({expected}), "
            f"got {model.visible.size} units, {model.visible.spec}"
        )
