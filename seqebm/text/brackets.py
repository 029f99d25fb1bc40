"""How long a model of text remembers that a bracket is open."""

from __future__ import annotations

import math
import string
from typing import NamedTuple

import torch
from torch import Tensor

from seqebm.data.text import Vocabulary
from seqebm.models import SequenceModel
from seqebm.text.scores import check_fits

LETTERS = string.ascii_letters + " "


class BracketMemory(NamedTuple):
    """log₁₀ p(closing) / p(opening) along texts that have neither, averaged over trials.

    Attributes:
        opened: after a bracket was opened, ``[points]``, each the mean of some steps.
        control: after a text without one, ``[points]``.
    """

    opened: Tensor
    control: Tensor

    @property
    def gain(self) -> Tensor:
        """How much the open bracket adds, ``[points]``; 0 once it is forgotten."""
        return self.opened - self.control


@torch.no_grad()
def bracket_memory(
    model: SequenceModel,
    vocabulary: Vocabulary,
    opened: str = "[[",
    control: str = "Th",
    brackets: str = "[]",
    steps: int = 1000,
    trials: int = 10,
    smooth: int = 10,
    allowed: str = LETTERS,
    generator: torch.Generator | None = None,
) -> BracketMemory:
    """The time-lag experiment of Krause 2015, sec. 5.2.4.

    The model is given `opened` and then writes, but only letters and spaces: what it draws is drawn
    from its own probabilities of these. What it expects are still all symbols, and while it
    remembers the open bracket the ratio p("]") / p("[") should be higher than after `control`.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        opened: what opens a bracket.
        control: what does not.
        brackets: the opening and the closing one.
        steps: symbols that are written, a multiple of `smooth`.
        trials: texts that are written after each of the two.
        smooth: steps that are averaged to one point.
        allowed: characters that may be written; those that the vocabulary has not are left out.
        generator: source of randomness.

    Returns:
        ``steps / smooth`` points of both.

    Raises:
        ValueError: brackets or texts that are not in the vocabulary, none of the allowed characters
            in it, steps that are no multiple of `smooth`, or a model of other symbols.
    """
    check_fits(model, vocabulary)
    if smooth < 1 or steps < 1 or trials < 1 or steps % smooth:
        raise ValueError(
            f"steps, trials, smooth: expected positive numbers, steps a multiple of smooth, got "
            f"{steps}, {trials}, {smooth}"
        )
    pair = vocabulary.encode(brackets)
    if len(pair) != 2:
        raise ValueError(f"brackets: expected an opening and a closing one, got {brackets!r}")
    mask = _allowed(vocabulary, allowed)
    curves = []
    for text in (opened, control):
        stream = model.stream()
        for frame in vocabulary.frames(text)[0]:
            stream.filter(frame.to(next(model.parameters())).expand(trials, -1))
        ratios = []
        codes = torch.eye(vocabulary.size).to(next(model.parameters()))
        for _ in range(steps):
            log_p = stream.log_prob(codes).double().cpu()  # [trials, K]
            ratios.append(float((log_p[:, pair[1]] - log_p[:, pair[0]]).mean()) / math.log(10))
            p = log_p.masked_fill(~mask, -math.inf).softmax(-1)
            drawn = torch.multinomial(p, 1, generator=generator)[:, 0]
            stream.filter(codes[drawn.to(codes.device)])
        curves.append(torch.tensor(ratios).view(-1, smooth).mean(1))
    return BracketMemory(*curves)


def _allowed(vocabulary: Vocabulary, characters: str) -> Tensor:
    """True for the symbols that are one of these characters, [K]."""
    labels = [vocabulary.label(symbol) for symbol in range(vocabulary.size)]
    mask = torch.tensor([label in characters for label in labels])
    if not mask.any():
        raise ValueError(f"allowed: the vocabulary has none of {characters!r}")
    return mask
