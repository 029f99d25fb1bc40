"""The Penn Treebank as Mikolov et al. (2012) prepared it, as one stream of characters."""

from __future__ import annotations

import os
from itertools import chain

from seqebm.data.text.files import read_text


def read_treebank(path: str | os.PathLike[str]) -> str:
    """Reads a file of words (ptb.train.txt) or of characters (ptb.char.train.txt), to one text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is empty, or not in UTF-8.

    Example:
        See `treebank_text`.
    """
    return treebank_text(read_text(path))


def treebank_text(content: str) -> str:
    r"""The text of a file of words, or of characters, which is the same for both.

    In files of words there are spaces around all of them. In files of characters all characters
    have spaces around them, and "_" stands for the space between words; a file in which nothing is
    longer than a character is one of these. In the text words are a space apart and "\n" is behind
    the last word of each line: 50 symbols, of which the usual bits per character are an average.

    Args:
        content: Of the file.

    Example:
        >>> treebank_text(" no it was n't \n") == treebank_text("n o _ i t _ w a s _ n ' t \n")
        True
        >>> treebank_text(" no it was n't \n")
        "no it was n't\n"
    """
    *lines, rest = (line.split() for line in content.split("\n"))
    lines += [rest] if rest else []  # which nothing but a space is, behind the last newline
    if max(map(len, chain(*lines)), default=0) > 1:
        return "".join(" ".join(words) + "\n" for words in lines)
    return "".join("".join(line).replace("_", " ") + "\n" for line in lines)
