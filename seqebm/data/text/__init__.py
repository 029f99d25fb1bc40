"""Texts as sequences of characters or bytes, and back."""

from seqebm.data.text.files import TEXT_FILES, read_text, read_texts
from seqebm.data.text.treebank import read_treebank, treebank_text
from seqebm.data.text.vocabulary import (
    BYTES,
    CHARACTERS,
    Bytes,
    Characters,
    Vocabulary,
    read_vocabulary,
)

__all__ = [
    "BYTES",
    "CHARACTERS",
    "TEXT_FILES",
    "Bytes",
    "Characters",
    "Vocabulary",
    "read_text",
    "read_texts",
    "read_treebank",
    "read_vocabulary",
    "treebank_text",
]
