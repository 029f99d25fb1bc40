"""Texts in files, and their splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from torch import Tensor

from seqebm.data.sequences import Sequences
from seqebm.data.text.vocabulary import Bytes, Characters, Vocabulary
from seqebm.files import blame, existing_file

TEXT_FILES = (".txt",)
LARGEST_FILE = 2**30  # bytes
SPLITS = ("train", "valid", "test")

StrPath = str | os.PathLike[str]


def read_text(path: StrPath) -> str:
    r"""Reads a text file in UTF-8.

    A byte order mark at the beginning is left out, and lines end in "\n" however the file ends
    them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is empty, not in UTF-8, or larger than 1 GiB; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "note.txt"
        ...     _ = path.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
        ...     read_text(path)
        'one\ntwo'
    """
    path = existing_file(path)
    with blame(path):
        try:
            text = _content(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            raise ValueError(
                f"expected text in UTF-8, byte {error.start} is {wrong:#04x}: convert it, or read "
                "it as bytes"
            ) from error
        if not text:
            raise ValueError("the text is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_texts(
    paths: Iterable[StrPath],
    vocabulary: Vocabulary | None = None,
    shares: Sequence[float] | None = None,
    valid: Iterable[StrPath] = (),
    test: Iterable[StrPath] = (),
) -> Sequences:
    """Reads texts, each as a sequence of symbols.

    Args:
        paths: Text files; with `Bytes` files of any kind.
        vocabulary: The symbols; None takes all characters of all of the files.
        shares: Of each file, what is to train, to validate and to test on, in this order; they are
            divided by their sum. None leaves the files whole.
        valid: Files to validate on. With these or those to test on, the others are to train on.
        test: Files to test on.

    Returns:
        The sequences, whose preparation is the vocabulary. Files have no split where nothing was
        said about any.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is empty, or not in UTF-8, or has characters that the vocabulary has not;
            shares that are not three numbers, or leave a part of a text empty, or come beside other
            files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "book.txt"
        ...     _ = path.write_text("abcdefghij")
        ...     book = read_texts([path], shares=(8, 1, 1))
        >>> [(one.split, len(one)) for one in book], book.n_visible
        ([('train', 8), ('valid', 1), ('test', 1)], 10)
    """
    paths, valid, test = (list(map(Path, some)) for some in (paths, valid, test))
    if shares is not None and (valid or test):
        raise ValueError("shares: go with texts that are all to be cut, not beside other files")
    split = "train" if valid or test else ""
    files = [(path, split) for path in paths]
    files += [(path, "valid") for path in valid] + [(path, "test") for path in test]
    if not files:
        raise ValueError("paths: expected at least one text, got none")
    if isinstance(vocabulary, Bytes):
        symbols = [vocabulary.of(_bytes(path)) for path, _ in files]
        known: Vocabulary = vocabulary
    else:
        texts = [read_text(path) for path, _ in files]
        known = vocabulary or _characters(files[0][0], texts)
        symbols = [
            _encoded(known, text, path) for text, (path, _) in zip(texts, files, strict=True)
        ]
    made = []
    for one, (path, split) in zip(symbols, files, strict=True):
        for part, name in _cut(one, shares, path) if shares is not None else [(one, split)]:
            made.append(known.sequence(part, path.stem, name))
    return Sequences(made, known.to_json())


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"expected at most {LARGEST_FILE} bytes, got {path.stat().st_size}")
    return path.read_bytes()


def _bytes(path: Path) -> bytes:
    path = existing_file(path)
    with blame(path):
        content = _content(path)
        if not content:
            raise ValueError("the file is empty")
    return content


def _characters(path: Path, texts: list[str]) -> Characters:
    with blame(path):
        return Characters.of(texts)


def _encoded(vocabulary: Vocabulary, text: str, path: Path) -> Tensor:
    with blame(path):
        return vocabulary.encode(text)


def _cut(symbols: Tensor, shares: Sequence[float], path: Path) -> Iterator[tuple[Tensor, str]]:
    """The parts of a text and their splits; those of share 0 are left out."""
    if len(shares) != len(SPLITS) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise ValueError(f"shares: expected three numbers, none negative, got {list(shares)}")
    ends = [round(len(symbols) * share / sum(shares)) for share in accumulate(shares)]
    for (first, last), share, split in zip(pairwise([0, *ends]), shares, SPLITS, strict=True):
        if share and first == last:
            raise ValueError(f"{path}: too short to have a part with the share {share:g}")
        if share:
            yield symbols[first:last], split
