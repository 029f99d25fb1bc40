"""Text that a model writes, as it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

import torch
from torch import Tensor

from seqebm.data.text import Vocabulary
from seqebm.models import SequenceModel
from seqebm.models.base import check_temperature
from seqebm.text.scores import check_fits


def written(
    model: SequenceModel,
    vocabulary: Vocabulary,
    prompt: str = "",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """What a model writes after a prompt, a symbol at a time and without an end.

    A symbol takes the same time however long the text is. A prompt may have any length; how much of
    it counts is for the model's memory to say.

    Args:
        model: of texts in this vocabulary.
        vocabulary: the symbols.
        prompt: what the text begins with, which is not given again; empty for none.
        temperature: of `SequenceModel.sample`; 0 takes the most probable symbol each time.
        generator: source of randomness; None is torch's default.

    Returns:
        An iterator over the text that each further symbol adds, which for bytes may be nothing yet.

    Raises:
        ValueError: before anything is asked for: a character that is not in the vocabulary, a model
            of other symbols, or a negative temperature.

    Example:
        >>> import itertools, seqebm
        >>> from seqebm.data.text import Characters
        >>> model = seqebm.RNN(torch.nn.GRU(3, 4, batch_first=True), "categorical:3")
        >>> text = "".join(itertools.islice(written(model, Characters("abc"), "cab"), 20))
        >>> len(text), set(text) <= set("abc")
        (20, True)
    """
    given = vocabulary.frames(prompt)[0] if prompt else ()
    return map(vocabulary.decoder(), _drawn(model, vocabulary, given, temperature, generator))


def written_before(
    model: SequenceModel,
    vocabulary: Vocabulary,
    symbols: int,
    ending: str = "",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> str:
    """What a model that learned backwards (`Recipe.backwards`) writes before an ending.

    It is drawn from its end to its beginning, so that it cannot be read as it goes.

    Args:
        model: of texts in this vocabulary, reversed in time.
        vocabulary: the symbols.
        symbols: how many there are in the text.
        ending: what comes after the text and is not given again; empty for the end of a text.
        temperature: as for `written`.
        generator: source of randomness; None is torch's default.

    Raises:
        ValueError: as for `written`; no symbols.

    Example:
        >>> import seqebm
        >>> from seqebm.data.text import Characters
        >>> model = seqebm.RNN(torch.nn.GRU(3, 4, batch_first=True), "categorical:3")
        >>> len(written_before(model, Characters("abc"), 20, "cab"))
        20
    """
    if symbols < 1:
        raise ValueError(f"symbols: expected at least 1, got {symbols}")
    given = vocabulary.frames(ending)[0].flip(0) if ending else ()
    drawn = _drawn(model, vocabulary, given, temperature, generator)
    return vocabulary.decode(torch.tensor([*islice(drawn, symbols)]).flip(0))


def _drawn(
    model: SequenceModel,
    vocabulary: Vocabulary,
    given: Iterable[Tensor],
    temperature: float,
    generator: torch.Generator | None,
) -> Iterator[int]:
    """The symbols that follow frames [K] which are given, without an end."""
    check_fits(model, vocabulary)
    check_temperature(temperature)
    like, stream = next(model.parameters()), model.stream()
    for frame in given:
        stream.filter(frame[None].to(like))
    return (int(stream.draw(generator, temperature).argmax()) for _ in count())
