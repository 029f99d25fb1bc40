"""Which symbols a text is made of, and how it travels with the data."""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqebm.data.checked_json import field, read_format, read_object
from seqebm.data.sequences import MOST_CATEGORIES, SymbolSequence

CHARACTERS, BYTES = "seqebm-characters", "seqebm-bytes"  #: formats of the JSON
BLOCK = 2**20  # characters that are turned into numbers at once


class Vocabulary(ABC):
    """The symbols that a text is made of, numbered from 0.

    It is kept as text in the `preparation` of `seqebm.data.Sequences`, and so goes with data files
    and with the runs of models that learned from them.

    Attributes:
        size: How many symbols there are, K.
        unit: What a symbol is.
    """

    size: int
    unit: str

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """The symbols of a text, ``[time]``.

        Raises:
            ValueError: The text is empty, or has a character that is no symbol; where it stands is
                said.
        """

    @abstractmethod
    def decode(self, symbols: Tensor) -> str:
        """The text of symbols ``[time]``."""

    @abstractmethod
    def decoder(self) -> Callable[[int], str]:
        """What gives the text that each further symbol adds, for texts that are still written."""

    @abstractmethod
    def label(self, symbol: int) -> str:
        """A character that stands for a symbol in a picture."""

    @abstractmethod
    def to_json(self) -> str:
        """As text."""

    def sequence(self, symbols: Tensor, name: str = "", split: str = "") -> SymbolSequence:
        """Symbols ``[time]`` with all that a data set says of them."""
        return SymbolSequence(
            symbols=symbols,
            categories=self.size,
            name=name,
            split=split,
            frame_rate=1.0,
            unit=self.unit,
        )

    def frames(self, text: str) -> Tensor:
        """A text as one-hot frames ``[1, time, K]``, such as a prompt.

        Example:
            >>> Characters("abc").frames("cab").argmax(-1)
            tensor([[2, 0, 1]])
        """
        return self.sequence(self.encode(text)).frames[None]

    def text(self, frames: Tensor) -> str:
        """The text of frames ``[time, K]`` that are one-hot; of others the most probable symbols.

        Example:
            >>> Characters("abc").text(torch.eye(3))
            'abc'
        """
        return self.decode(frames.argmax(-1))


@dataclass(frozen=True)
class Characters(Vocabulary):
    """Characters as symbols, numbered in the order in which they are listed.

    Attributes:
        characters: All of them, each once, from 2 to 65536.

    Raises:
        ValueError: There are too few or too many, one comes twice, or one is no character.

    Example:
        >>> vocabulary = Characters.of(["to be", "or not"])
        >>> vocabulary.characters, vocabulary.encode("rob")
        (' benort', tensor([5, 4, 1]))
        >>> vocabulary.encode("tea")
        Traceback (most recent call last):
        ValueError: text: 'a' (U+0061) in line 1, column 3 is none of the 7 known ones
    """

    characters: str

    unit = "character"

    def __post_init__(self) -> None:
        if not 2 <= len(self.characters) <= MOST_CATEGORIES:
            raise ValueError(
                f"characters: expected 2 to {MOST_CATEGORIES} different ones, "
                f"got {len(self.characters)}"
            )
        if len(set(self.characters)) < len(self.characters):
            raise ValueError("characters: expected each once")
        self.characters.encode()  # a UnicodeEncodeError, which is a ValueError, for surrogates

    @classmethod
    def of(cls, texts: Iterable[str]) -> Characters:
        """All characters of some texts, in the order of their code points.

        Raises:
            ValueError: There are fewer than two, or too many.
        """
        return cls("".join(sorted(set().union(*texts))))

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many there are, K."""
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters."""
        if not text:
            raise ValueError("text: expected at least one character")
        numbers = np.empty(len(text), dtype=np.int32)
        for start in range(0, len(text), BLOCK):
            block = text[start : start + BLOCK].encode("utf-32-le", "surrogatepass")
            codes = np.frombuffer(block, dtype=np.uint32)
            numbers[start : start + BLOCK] = self._numbers[codes.clip(max=len(self._numbers) - 1)]
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            raise ValueError(f"text: {self._foreign(text, int(unknown[0]))}")
        return torch.from_numpy(numbers).long()

    def decode(self, symbols: Tensor) -> str:
        """The characters with these numbers."""
        return "".join(map(self.characters.__getitem__, symbols.tolist()))

    def decoder(self) -> Callable[[int], str]:
        """Each character as it is."""
        return self.characters.__getitem__

    def label(self, symbol: int) -> str:
        """The character."""
        return self.characters[symbol]

    def to_json(self) -> str:
        """As text.

        Example:
            >>> Characters("ab").to_json()
            '{"format": "seqebm-characters", "characters": "ab"}'
        """
        return json.dumps({"format": CHARACTERS, "characters": self.characters})

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int32]:
        """The number of each code point, −1 where there is none, for the last one and all above."""
        codes = [ord(character) for character in self.characters]
        table = np.full(max(codes) + 2, -1, dtype=np.int32)
        table[codes] = np.arange(len(codes))
        return table

    def _foreign(self, text: str, place: int) -> str:
        """What is wrong with the character at a place."""
        line, start = text.count("\n", 0, place) + 1, text.rfind("\n", 0, place)
        return (
            f"{text[place]!r} (U+{ord(text[place]):04X}) in line {line}, column {place - start} is "
            f"none of the {self.size} known ones"
        )


@dataclass(frozen=True)
class Bytes(Vocabulary):
    """Bytes as symbols, in UTF-8: every text can be written in them, and every file.

    Example:
        >>> Bytes().encode("né"), Bytes().decode(torch.tensor([110, 195, 169]))
        (tensor([110, 195, 169]), 'né')
    """

    size = 256
    unit = "byte"

    def encode(self, text: str) -> Tensor:
        """The bytes of a text."""
        return self.of(text.encode())

    def of(self, content: bytes) -> Tensor:
        """Bytes as symbols.

        Raises:
            ValueError: There are none.
        """
        if not content:
            raise ValueError("text: expected at least one byte")
        return torch.frombuffer(bytearray(content), dtype=torch.uint8).long()

    def decode(self, symbols: Tensor) -> str:
        """The text of these bytes, with � where they are not in UTF-8."""
        return bytes(symbols.tolist()).decode(errors="replace")

    def decoder(self) -> Callable[[int], str]:
        """A character where its last byte has come."""
        made = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda symbol: made.decode(bytes([symbol]))

    def label(self, symbol: int) -> str:
        """The character in ASCII; � for other bytes."""
        return bytes([symbol]).decode("ascii", "replace")

    def to_json(self) -> str:
        """As text.

        Example:
            >>> Bytes().to_json()
            '{"format": "seqebm-bytes"}'
        """
        return json.dumps({"format": BYTES})


def read_vocabulary(text: str) -> Vocabulary:
    """What `Vocabulary.to_json` has written; the text may be a stranger's.

    Raises:
        ValueError: It is anything else; the message says what was expected where.

    Example:
        >>> read_vocabulary('{"format": "seqebm-characters", "characters": "ab"}')
        Characters(characters='ab')
    """
    if field(read_object(text, "preparation"), "format", str) == BYTES:
        return Bytes()
    return Characters(field(read_format(text, CHARACTERS), "characters", str))
