import pytest
import torch

from seqebm.data import SymbolSequence, load_sequences
from seqebm.data.text import (
    Bytes,
    Characters,
    files,
    read_text,
    read_texts,
    read_treebank,
    read_vocabulary,
    treebank_text,
)


@pytest.fixture
def write(tmp_path):
    """Writes bytes, or text in UTF-8, and gives the path."""

    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


def texts(sequences):
    vocabulary = read_vocabulary(sequences.preparation)
    return [(one.split, vocabulary.decode(one.symbols)) for one in sequences]


@pytest.mark.parametrize(
    "content",
    ["one\ntwo\n", b"one\r\ntwo\r\n", b"one\rtwo\r", b"\xef\xbb\xbfone\ntwo\n"],
)
def test_lines_end_in_one_way(write, content):
    assert read_text(write("a.txt", content)) == "one\ntwo\n"


def test_a_text_is_a_sequence_of_symbols(write):
    book = load_sequences(write("book.txt", "banana ☃"))
    assert book.preparation == Characters(" abn☃").to_json()
    (one,) = book
    assert isinstance(one, SymbolSequence)
    assert (one.name, one.split, one.unit, one.categories) == ("book", "", "character", 5)
    assert one.symbols.tolist() == [2, 1, 3, 1, 3, 1, 0, 4]


def test_texts_are_cut_by_shares(write):
    path = write("book.txt", "0123456789" * 10)
    assert texts(read_texts([path], shares=(90, 5, 5))) == [
        ("train", "0123456789" * 9),
        ("valid", "01234"),
        ("test", "56789"),
    ]
    assert [split for split, _ in texts(read_texts([path], shares=(0.9, 0, 0.1)))] == [
        "train",
        "test",
    ]


def test_each_of_several_texts_is_cut(write):
    both = [write("a.txt", "aaabbb"), write("b.txt", "cccddd")]
    assert texts(read_texts(both, shares=(1, 0, 1))) == [
        ("train", "aaa"),
        ("test", "bbb"),
        ("train", "ccc"),
        ("test", "ddd"),
    ]


def test_other_files_are_held_out(write):
    a, b, c = write("a.txt", "aab"), write("b.txt", "bd"), write("c.txt", "cd")
    assert texts(read_texts([a], valid=[b], test=[c])) == [
        ("train", "aab"),
        ("valid", "bd"),
        ("test", "cd"),
    ]


def test_files_of_any_kind_are_bytes(write):
    path = write("a.bin", bytes(range(256)) + b"\r\n")
    (one,) = read_texts([path], Bytes())
    assert one.symbols.tolist() == [*range(256), 13, 10]
    assert (one.unit, one.categories) == ("byte", 256)


def test_a_text_of_a_known_vocabulary(write):
    known = Characters("abcdef")
    assert read_texts([write("a.txt", "fab")], known)[0].symbols.tolist() == [5, 0, 1]
    with pytest.raises(ValueError, match=r"b\.txt: text: 'g' .* line 1, column 2"):
        read_texts([write("b.txt", "ag")], known)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "the text is empty"),
        (b"\xef\xbb\xbf", "the text is empty"),
        (b"na\xefve", "expected text in UTF-8, byte 2 is 0xef: convert it, or read it as bytes"),
        ("as UTF-16".encode("utf-16"), "expected text in UTF-8, byte 0 is 0xff"),
        (b"\xed\xa0\x80", "expected text in UTF-8, byte 0 is 0xed"),
        (b"aaaa", "characters: expected 2 to 65536 different ones, got 1"),
    ],
)
def test_files_that_are_no_texts(write, content, named):
    path = write("a.txt", content)
    with pytest.raises(ValueError, match=rf"a\.txt: {named}"):
        load_sequences(path)


def test_files_that_are_not_there_or_too_large(write, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no\.txt: no such file"):
        read_text(tmp_path / "no.txt")
    with pytest.raises(FileNotFoundError, match=r"no\.txt: no such file"):
        read_texts([tmp_path / "no.txt"], Bytes())
    with pytest.raises(ValueError, match=r"a\.txt: the file is empty"):
        read_texts([write("a.txt", "")], Bytes())
    monkeypatch.setattr(files, "LARGEST_FILE", 5)
    for vocabulary in (None, Bytes()):
        with pytest.raises(ValueError, match=r"b\.txt: expected at most 5 bytes, got 6"):
            read_texts([write("b.txt", "abcdef")], vocabulary)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"shares": (1, 1)}, "expected three numbers"),
        ({"shares": (1, -1, 1)}, "none negative"),
        ({"shares": (0, 0, 0)}, "expected three numbers"),
        ({"shares": (99, 0.1, 1)}, "too short to have a part with the share 0.1"),
        ({"shares": (1, 1, 1), "test": ["x.txt"]}, "not beside other files"),
    ],
)
def test_bad_splits(write, options, named):
    with pytest.raises(ValueError, match=named):
        read_texts([write("a.txt", "abcdef")], **options)


def test_no_texts():
    with pytest.raises(ValueError, match="paths: expected at least one text"):
        read_texts([])


# --- the Penn Treebank -----------------------------------------------------------------------


def test_words_and_characters_are_one_stream(write):
    words = write("ptb.test.txt", " no <unk> \n a b \n")
    spelt = write("ptb.char.test.txt", "n o _ < u n k > \n a _ b \n ")  # as the files end
    assert read_treebank(words) == read_treebank(spelt) == "no <unk>\na b\n"


def test_the_treebank_has_the_published_number_of_characters(real_data):
    folder = real_data("text_ptb")
    lengths = {"valid": 393042, "test": 442423}
    for split, length in lengths.items():
        words = read_treebank(folder / f"ptb.{split}.txt")
        assert words == read_treebank(folder / f"ptb.char.{split}.txt")
        assert len(words) == length
        # symbol by symbol as the file of characters has them, its spaces left out
        spelt = (folder / f"ptb.char.{split}.txt").read_text()
        assert words.replace(" ", "_") == spelt.replace(" ", "")
    train = read_treebank(folder / "ptb.train.txt")
    assert len(train) == 5017482
    assert Characters.of([train]).size == 50
    assert torch.equal(
        Characters.of([train]).encode(words[:9]), Characters.of([train, words]).encode(words[:9])
    )


def test_the_last_line_may_have_no_end():
    assert treebank_text(" a cat \n sat") == "a cat\nsat\n"


def test_a_line_without_words_stays_a_line():
    assert treebank_text(" a cat \n\n sat \n") == "a cat\n\nsat\n"
