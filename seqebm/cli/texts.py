"""Texts in `seqebm train`, `evaluate` and `sample`."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Tensor

    from seqebm.data import Sequences, SymbolSequence
    from seqebm.data.text import Vocabulary
    from seqebm.evaluate import Bits
    from seqebm.learning.runs import Run
    from seqebm.models import SequenceModel

WATCHED = 5000  #: symbols of held-out text that watch over a training
SHOWN = 4000  #: symbols in a picture of the surprise
LONGEST_GRAM = 5  #: symbols of a context of the n-grams beside a model


def is_text(sequences: Sequences | None) -> bool:
    """Whether there are sequences, and they are symbols."""
    from seqebm.data import SymbolSequence

    return sequences is not None and isinstance(sequences[0], SymbolSequence)


def vocabulary_of(preparation: str) -> Vocabulary | None:
    """The vocabulary of data or of a run; None where they are no texts."""
    from seqebm.data.preparations import read_preparation
    from seqebm.data.text import Vocabulary

    found = read_preparation(preparation)
    return found if isinstance(found, Vocabulary) else None


# --- how good a model is ---------------------------------------------------------------------


def watched_bits(model: SequenceModel, held_out: Sequences) -> dict[str, float]:
    """Bits per symbol at the beginning of the held-out text, for the history of a training."""
    from seqebm.evaluate import bits_per_symbol, surprises

    first = _texts(held_out)[0]
    some = replace(first, symbols=first.symbols[:WATCHED])
    return {"bits": bits_per_symbol(surprises(model, some)).bits}


def evaluate_text(
    run: Run,
    test: Sequences,
    known: Sequences,
    learning_rate: float | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Print bits per symbol of a run and of n-grams, and draw how surprising the text is."""
    import torch

    from seqebm import evaluate as measure

    vocabulary = vocabulary_of(run.format.preparation)
    assert vocabulary is not None
    name, texts = type(run.model).__name__, _texts(test)
    bits = {name: measure.bits_per_symbol(_all_surprises(run, texts))}
    if learning_rate is not None:
        rate = learning_rate

        def learning(text: SymbolSequence) -> Iterator[Tensor]:
            return measure.adaptive_surprises(
                run.model, text, lambda parameters: torch.optim.SGD(parameters, lr=rate)
            )

        chunks = itertools.chain.from_iterable(map(learning, texts))
        bits[f"{name}, learning"] = measure.bits_per_symbol(chunks)
    bits |= _ngrams(_joined(_texts(known)), texts)
    if picture is not None:
        _draw(run, vocabulary, texts[0], picture)
    if as_json:
        report = {"unit": vocabulary.unit, "bits_per_symbol": _json(bits)}
        click.echo(json.dumps(report))
        return
    count = sum(len(text) for text in texts)
    order = ", from the last to the first" if run.recipe.backwards else ""
    click.echo(f"Bits per {vocabulary.unit}, {count} of them{order}")
    width = max(map(len, bits))
    for row, found in bits.items():
        error = "" if math.isnan(found.error) else f" ± {found.error:.4f}"
        click.echo(f"{row:{width}}  {found.bits:.4f}{error}")
    if picture is not None:
        click.echo(str(picture))


def _all_surprises(run: Run, texts: list[SymbolSequence]) -> Iterator[Tensor]:
    """The surprises of all texts, with a progress bar on a terminal."""
    from tqdm import tqdm

    from seqebm.evaluate import surprises

    total = sum(len(text) for text in texts)
    with tqdm(total=total, disable=None, unit="symbol", dynamic_ncols=True) as bar:
        for text in texts:
            for bits in surprises(run.model, text):
                bar.update(len(bits))
                yield bits


def _ngrams(known: SymbolSequence, texts: list[SymbolSequence]) -> dict[str, Bits]:
    """What tables of counts have: symbols alone, and with as much context as they can number."""
    from seqebm.evaluate import NGram, bits_per_symbol
    from seqebm.evaluate.ngrams import largest_order

    found = {}
    for order in (0, min(LONGEST_GRAM, largest_order(known.categories))):
        gram = NGram(known, order)
        name = f"{order + 1}-grams" if order else "frequencies"
        found[name] = bits_per_symbol(itertools.chain.from_iterable(map(gram.surprises, texts)))
    return found


def _json(bits: dict[str, Bits]) -> dict[str, Any]:
    """Bits as JSON has them: without NaN."""
    return {
        name: {**found._asdict(), "error": None if math.isnan(found.error) else found.error}
        for name, found in bits.items()
    }


def _draw(run: Run, vocabulary: Vocabulary, text: SymbolSequence, picture: Path) -> None:
    """The beginning of a text on the colours of its surprise."""
    import torch

    from seqebm import video
    from seqebm.evaluate import surprises
    from seqebm.text import heat_map

    some = replace(text, symbols=text.symbols[:SHOWN])
    bits = torch.cat([*surprises(run.model, some)])
    if run.recipe.backwards:  # it can be read again
        some, bits = some.backwards(), bits.flip(0)
    labels = [vocabulary.label(symbol) for symbol in some.symbols.tolist()]
    video.save(picture, heat_map(labels, bits))


def _texts(sequences: Sequences) -> list[SymbolSequence]:
    """The sequences, which must be symbols."""
    from seqebm.data import SymbolSequence

    found = [one for one in sequences if isinstance(one, SymbolSequence)]
    if len(found) < len(sequences):
        raise ValueError("data: expected text, got frames")
    return found


def _joined(texts: list[SymbolSequence]) -> SymbolSequence:
    """All texts in a row."""
    import torch

    return replace(texts[0], symbols=torch.cat([text.symbols for text in texts]))


# --- what a model writes ---------------------------------------------------------------------


def sample_text(
    run: Run,
    symbols: int,
    count: int,
    prompt: str | None,
    temperature: float,
    seed: int,
    out: Path | None,
) -> None:
    """Write texts as they are drawn: to a terminal, or to a file; each begins with the prompt.

    Those of a run that learned backwards end with it, and are written when they are drawn.
    """
    from seqebm.cli.common import generator, write_sequences
    from seqebm.data import Sequences
    from seqebm.text import written, written_before

    vocabulary = vocabulary_of(run.format.preparation)
    assert vocabulary is not None
    if prompt == "":
        raise ValueError("--prompt: expected at least one character")
    source, texts = generator(seed), []
    text: Iterable[str]
    for number in range(count):
        settings = prompt or "", temperature, source
        if run.recipe.backwards:
            text = [written_before(run.model, vocabulary, symbols, *settings), prompt or ""]
        else:
            parts = written(run.model, vocabulary, *settings)
            text = itertools.chain([prompt or ""], itertools.islice(parts, symbols))
        if out is not None:
            texts.append("".join(text))
            continue
        if number:
            click.echo()
        for part in text:
            click.echo(part, nl=False)
        click.echo()
    if out is not None:
        made = (vocabulary.sequence(vocabulary.encode(text), "sample") for text in texts)
        write_sequences(out, Sequences(made, run.format.preparation))
        click.echo(str(out))
