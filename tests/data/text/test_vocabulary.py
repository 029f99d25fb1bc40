import pytest
import torch

from seqebm.data.preparations import read_preparation
from seqebm.data.text import Bytes, Characters, read_vocabulary
from seqebm.data.text import vocabulary as module

ODD = "naïve ☃ 𝄞\n\t\x00"  # characters of one to four bytes

VOCABULARIES = [Characters.of([ODD]), Bytes()]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_what_is_encoded_is_decoded(vocabulary):
    symbols = vocabulary.encode(ODD)
    assert symbols.dtype == torch.int64
    assert int(symbols.max()) < vocabulary.size
    assert vocabulary.decode(symbols) == ODD
    assert vocabulary.text(vocabulary.frames(ODD)[0]) == ODD


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_texts_are_decoded_as_they_come(vocabulary):
    decode = vocabulary.decoder()
    parts = [decode(symbol) for symbol in vocabulary.encode(ODD).tolist()]
    assert "".join(parts) == ODD
    assert len(parts) == len(vocabulary.encode(ODD))


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_vocabularies_travel_as_text(vocabulary):
    assert read_vocabulary(vocabulary.to_json()) == vocabulary
    assert read_preparation(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_frames_are_one_hot_codes(vocabulary):
    frames = vocabulary.frames("nave")
    expected = torch.zeros(1, 4, vocabulary.size)
    for place, symbol in enumerate(vocabulary.encode("nave")):
        expected[0, place, symbol] = 1
    assert torch.equal(frames, expected)


def test_symbols_are_numbered_by_code_point():
    assert Characters.of(["ba", "ca"]).characters == "abc"
    assert Bytes().encode("é").tolist() == [0xC3, 0xA9]


def test_long_texts_are_encoded_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3)
    assert Characters("abc").encode("abcabca").tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ab\nbx", r"'x' \(U\+0078\) in line 2, column 2 is none of the 3 known ones"),
        ("é", r"'é' \(U\+00E9\) in line 1, column 1"),
        ("\U0010ffff", r".*\(U\+10FFFF\) in line 1, column 1"),
        ("a\udc80", r"'\\udc80' \(U\+DC80\) in line 1, column 2"),
        ("", "expected at least one character"),
    ],
)
def test_texts_that_are_not_of_the_vocabulary(text, named):
    with pytest.raises(ValueError, match=f"^text: {named}"):
        Characters("ab\n").encode(text)


def test_no_text_at_all():
    with pytest.raises(ValueError, match="text: expected at least one byte"):
        Bytes().encode("")


def test_bytes_that_are_no_text_are_shown_as_such():
    assert Bytes().decode(torch.tensor([97, 255, 98])) == "a�b"


@pytest.mark.parametrize(
    ("characters", "named"),
    [
        ("", "expected 2 to 65536 different ones, got 0"),
        ("a", "expected 2 to 65536 different ones, got 1"),
        ("aba", "expected each once"),
        ("a\ud800", "surrogates not allowed"),
        ("".join(map(chr, range(0x10000, 0x10000 + 65537))), "got 65537"),
    ],
)
def test_characters_that_are_no_vocabulary(characters, named):
    with pytest.raises(ValueError, match=named):
        Characters(characters)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "not JSON",
        '{"format": "seqebm-piano-roll"}',
        '{"format": "seqebm-characters"}',
        '{"format": "seqebm-characters", "characters": ["a", "b"]}',
        '{"format": "seqebm-characters", "characters": "aa"}',
        '{"format": "seqebm-characters", "characters": "a\\ud800"}',
    ],
)
def test_text_that_is_no_vocabulary(text):
    with pytest.raises(ValueError, match=r"expected|surrogates"):
        read_vocabulary(text)
