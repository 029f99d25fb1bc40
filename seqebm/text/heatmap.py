"""Texts as pictures whose colours say how surprising each character was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from seqebm.video import BACKGROUND, Pictures, Values

COLUMNS = 80  # characters of a line
MOST = 20_000  # characters of a picture
WIDTH, HEIGHT = 9, 18  # pixels of a character
FONT_SIZE = 14
MOST_BITS = 10.0  # and more have the strongest colour
COLD, HOT = (28, 32, 48), (222, 84, 32)  # colours of 0 and of 10 bits
INK = (236, 238, 242)


def heat_map(text: Sequence[str], bits: Values, columns: int = COLUMNS) -> Pictures:
    r"""A text on the colours of its surprise: from dark blue, 0 bits, to red, 10 bits and more.

    Lines are as long as in the text, at most `columns` characters. A line ends in an empty place
    with a colour of its own, for its end has to be foretold as well.

    Args:
        text: a character for each symbol (`Vocabulary.label`).
        bits: surprise of each, ``[time]``, as `seqebm.evaluate.surprises` gives it.
        columns: characters of the longest line.

    Returns:
        uint8 ``[1, height, width, 3]``.

    Raises:
        ValueError: as many numbers as characters were expected, from 1 to 20000, none of them
            NaN; or less than one column.

    Example:
        >>> heat_map("to be\nor not", torch.rand(12) * 5, columns=20).shape
        (1, 36, 180, 3)
    """
    from PIL import Image, ImageDraw, ImageFont

    levels = _levels(text, bits)
    if columns < 1:
        raise ValueError(f"columns: expected at least 1, got {columns}")
    places = [*_places(text, columns)]
    size = (columns * WIDTH, (places[-1][0] + 1) * HEIGHT)
    image = Image.new("RGB", size, (BACKGROUND,) * 3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
    for character, level, (line, column) in zip(text, levels, places, strict=True):
        x, y = column * WIDTH, line * HEIGHT
        colour = tuple(round(a + (b - a) * level) for a, b in zip(COLD, HOT, strict=True))
        draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), fill=colour)
        if character.isprintable():
            draw.text((x + WIDTH / 2, y + HEIGHT / 2), character, INK, font, anchor="mm")
    return np.asarray(image)[None]


def _levels(text: Sequence[str], bits: Values) -> npt.NDArray[np.float64]:
    """How hot each character is, from 0 to 1."""
    values = bits.detach().cpu().numpy() if isinstance(bits, torch.Tensor) else np.asarray(bits)
    if values.shape != (len(text),) or not 1 <= len(text) <= MOST or np.isnan(values).any():
        raise ValueError(
            f"text, bits: expected 1 to {MOST} characters and a number for each, got "
            f"{len(text)} and {list(values.shape)}"
        )
    return (values.astype(np.float64) / MOST_BITS).clip(0, 1)


def _places(text: Sequence[str], columns: int) -> Iterator[tuple[int, int]]:
    """Line and column of each character."""
    line, column = 0, 0
    for character in text:
        if column == columns:
            line, column = line + 1, 0
        yield line, column
        line, column = (line + 1, 0) if character == "\n" else (line, column + 1)
