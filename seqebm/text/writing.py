"""Text that a model writes, as it goes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

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
    check_fits(model, vocabulary)
    check_temperature(temperature)
    like, stream = next(model.parameters()), model.stream()
    if prompt:
        for frame in vocabulary.frames(prompt)[0]:
            stream.filter(frame[None].to(like))

    def endless() -> Iterator[str]:
        decode = vocabulary.decoder()
        while True:
            yield decode(int(stream.draw(generator, temperature).argmax()))

    return endless()
