"""The commands on texts: made-up ones, from files to what a model writes."""

import json
import math
import shutil
import sys

import numpy as np
import pytest
import torch

import seqebm
from seqebm import evaluate, text
from seqebm.cli import main
from seqebm.cli import texts as module
from seqebm.data import load_sequences
from seqebm.data.text import Bytes, Characters
from seqebm.learning import runs

BOOK = "the cat sat on the mat, and the rat ate it.\nso it goes: " * 30
VOCABULARY = Characters.of([BOOK])
TRAIN = "train lstm --data data.h5 TINY --set window=20 --set context=5 --out run"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text, its data file and a trained run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "book.txt").write_text(BOOK)
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """The current folder of a test: a copy of the home, which it may change."""
    shutil.copytree(trained, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def run(place, done):
    """A folder with data.h5 and a trained run."""
    done("data text book.txt --shares 80:10:10 --out data.h5")
    done(TRAIN)
    return seqebm.load("run")


# --- data ------------------------------------------------------------------------------------


def test_texts_become_symbols(place, done):
    assert done("data text book.txt --out data.h5") == (
        f"data.h5: 3 texts, {len(BOOK)} characters of {VOCABULARY.size} kinds\n"
    )
    data = load_sequences("data.h5")
    assert data.preparation == VOCABULARY.to_json()
    assert [one.split for one in data] == ["train", "valid", "test"]
    assert len(data[0]) == round(0.9 * len(BOOK))
    assert "".join(VOCABULARY.decode(one.symbols) for one in data) == BOOK


def test_texts_become_bytes(place, done):
    (place / "raw").write_bytes(b"\xff\x00" * 50)
    assert done("data text raw --bytes --shares 1:0:1 --out data.h5") == (
        "data.h5: 2 texts, 100 bytes of 256 kinds\n"
    )
    assert load_sequences("data.h5").preparation == Bytes().to_json()


def test_texts_are_held_out_by_file(place, done):
    (place / "other.txt").write_text("zebra")
    done("data text book.txt book.txt --test other.txt --out data.h5")
    data = load_sequences("data.h5")
    assert [one.split for one in data] == ["train", "train", "test"]
    assert "z" in json.loads(data.preparation)["characters"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("data text nowhere.txt --out x.h5", "nowhere.txt: no such file"),
        ("data text empty.txt --out x.h5", "empty.txt: the text is empty"),
        ("data text latin.txt --out x.h5", "latin.txt: expected text in UTF-8, byte 2 is 0xef"),
        ("data text one.txt --out x.h5", "one.txt: characters: expected 2 to 65536"),
        ("data text book.txt --shares 90:10 --out x.h5", "shares: expected three numbers"),
        ("data text book.txt --shares a:b:c --out x.h5", "--shares: expected TRAIN:VALID:TEST"),
        ("data text book.txt --shares 1:0:0.00001 --out x.h5", "book.txt: too short"),
        ("data text book.txt --shares 1:1:1 --test book.txt --out x.h5", "not beside other files"),
        ("data noise book.txt --kind white --out x.h5", "book.txt: text has no noise"),
        ("render book.txt --out x.mp4", "x.mp4: text is written to .txt or .h5"),
        ("train lstm --data empty.txt --out x", "empty.txt: the text is empty"),
        ("train lstm --data book.txt --visible gaussian --out x", "visible: expected categorical"),
        ("train lstm-nade --data book.txt --out x", "visible: expected bernoulli for a lstm-nade"),
        ("train lstm --data book.txt --set context=9999 TINY --out x", "context: expected less"),
    ],
)
def test_texts_that_cannot_be_used(place, line, named, refused):
    (place / "empty.txt").write_bytes(b"")
    (place / "latin.txt").write_bytes(b"na\xefve")
    (place / "one.txt").write_bytes(b"aaa")
    assert named in refused(line)
    assert not (place / "x.h5").exists()


def test_data_files_are_read_as_texts_again(place, done):
    done("data text book.txt --shares 1:0:1 --out data.h5")
    done("render data.h5 --out first.txt")
    assert (place / "first.txt").read_text() == BOOK[: len(BOOK) // 2] + "\n"


# --- training --------------------------------------------------------------------------------


def test_a_text_can_be_learned_as_it_is(place, done):
    out = done("train lstm --data book.txt TINY --preset text --out run")
    assert out.startswith("run: RNN with")
    opened = runs.open_run("run")
    assert opened.model.visible.spec == f"categorical:{VOCABULARY.size}"
    assert opened.format.preparation == VOCABULARY.to_json()
    assert (opened.recipe.window, opened.recipe.context) == (250, 50)


def test_held_out_text_watches_over_a_training(place, done):
    done("data text book.txt --out data.h5")
    out = done(TRAIN)
    valid = load_sequences("data.h5").split("valid")[0]
    bits = evaluate.bits_per_symbol(evaluate.surprises(seqebm.load("run"), valid)).bits
    assert f"bits per symbol of held-out text: {bits:.3f}\n" in out


@pytest.mark.parametrize("kind", ["rtrbm", "trbm", "gru-rbm"])
def test_models_with_chains_learn_text(place, done, kind):
    done("data text book.txt --out data.h5")
    done(f"train {kind} --data data.h5 TINY --set window=20 --out run")
    assert "Bits per character" in done("evaluate run --data data.h5")
    assert len(done("sample run --frames 9")) == 10


def test_a_stopped_run_goes_on(place, done):
    done("data text book.txt --out data.h5")
    done(TRAIN)
    assert "3 steps" in done(f"{TRAIN} --resume")


# --- evaluation ------------------------------------------------------------------------------


def test_bits_per_character(run, done):
    report = json.loads(done("evaluate run --data data.h5 --learning 0.1 --json"))
    assert report["unit"] == "character"
    found = report["bits_per_symbol"]
    test = load_sequences("data.h5").split("test")[0]
    assert [*found] == ["RNN", "RNN, learning", "frequencies", "6-grams"]
    frames = test.frames[None]
    assert found["RNN"]["bits"] == pytest.approx(
        -float(run.log_prob(frames).detach().mean()) / math.log(2), rel=1e-5
    )
    assert found["RNN"]["symbols"] == len(test)
    assert found["RNN"]["error"] is None  # one block
    learning = evaluate.adaptive_surprises(run, test, lambda p: torch.optim.SGD(p, lr=0.1))
    expected = evaluate.bits_per_symbol(learning).bits
    assert found["RNN, learning"]["bits"] == pytest.approx(expected)
    known = load_sequences("data.h5").split("train")[0]
    for name, order in (("frequencies", 0), ("6-grams", 5)):
        gram = evaluate.NGram(known, order)
        expected = evaluate.bits_per_symbol(gram.surprises(test)).bits
        assert found[name]["bits"] == pytest.approx(expected)


def test_bits_in_words(run, done):
    lines = done("evaluate run --data book.txt").splitlines()
    assert lines[0] == f"Bits per character, {len(BOOK)} of them"
    bits = evaluate.bits_per_symbol(evaluate.surprises(run, load_sequences("book.txt")[0]))
    assert lines[1].startswith(f"RNN          {bits.bits:.4f}")


def test_the_surprise_is_drawn(run, done, pictures_written, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 70)
    shown = pictures_written()
    assert done("evaluate run --data data.h5 --picture a.png").endswith("\na.png\n")
    test = load_sequences("data.h5").split("test")[0]
    bits = torch.cat([*evaluate.surprises(run, test)])[:70]
    expected = text.heat_map(VOCABULARY.decode(test.symbols[:70]), bits)
    assert np.array_equal(shown["a.png"][0], expected)


def test_a_picture_is_a_file(run, done, place):
    done("evaluate run --data data.h5 --picture a.png")
    assert (place / "a.png").stat().st_size > 1000


def test_text_of_other_characters_is_refused(run, place, refused):
    (place / "other.txt").write_text("the cat\nsat on zebras")
    assert "other.txt: text: 'z' (U+007A) in line 2, column 8" in refused(
        "evaluate run --data other.txt"
    )


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("evaluate run --data data.h5 --samples 5", "not for text"),
        ("evaluate run --data data.h5 --likelihood", "not for text"),
        ("denoise run --data data.h5 --out x.h5", "text is not denoised"),
        ("sample run --prompt ~ --frames 3", "'~' (U+007E) in line 1, column 1"),
        ("sample run --temperature -1", "temperature: expected 0 or more"),
        ("sample run --temperature nan", "temperature: expected 0 or more"),
        ("sample run --prompt-frames 4", "not for text"),
        ("sample run --means", "not for text"),
        ("sample run --out x.mp4", "x.mp4: text is written to .txt or .h5"),
    ],
)
def test_what_is_not_for_text(run, line, named, refused):
    assert named in refused(line)


# --- samples ---------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch, capfd):
    """Runs `seqebm sample` with a prompt that has spaces in it; what it said."""

    def sample(prompt, line=""):
        monkeypatch.setattr(
            sys, "argv", ["seqebm", "sample", "run", "--prompt", prompt, *line.split()]
        )
        main()
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return sample


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_text_is_printed(run, said, temperature):
    prompt = "the cat  sat "
    drawn = run.sample(
        50,
        1,
        VOCABULARY.frames(prompt),
        torch.Generator().manual_seed(1),
        temperature=temperature,
    )
    expected = prompt + VOCABULARY.text(drawn[0]) + "\n"
    assert said(prompt, f"--frames 50 --temperature {temperature}") == expected


def test_prompts_may_be_longer_than_what_was_learned_from(run, said):
    assert said("the cat sat " * 40, "--frames 5").startswith("the cat sat " * 40)


def test_an_empty_prompt_is_refused(run, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["seqebm", "sample", "run", "--prompt", ""])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--prompt: expected at least one character" in capfd.readouterr().err


def test_several_texts(run, done, said, place):
    both = said("so ", "--frames 20 --count 2")
    assert done("sample run --frames 20 --out a.txt") == "a.txt\n"
    assert len(both) == 2 * (3 + 20 + 1) + 1
    said("so ", "--frames 20 --count 2 --out b.txt")
    assert (place / "b.txt").read_text() == both
    said("so ", "--frames 20 --count 2 --out b.h5")
    kept = [VOCABULARY.decode(one.symbols) for one in load_sequences("b.h5")]
    assert f"{kept[0]}\n\n{kept[1]}\n" == both


def test_bytes_are_written(place, done):
    (place / "raw").write_bytes("naïve ☃ ".encode() * 20)
    done("data text raw --bytes --out raw.h5")
    done("train gru --data raw.h5 TINY --set window=20 --out run")
    done("sample run --frames 30 --out a.txt")
    assert (place / "a.txt").read_text().endswith("\n")
    assert "Bits per byte" in done("evaluate run --data raw.h5")


def test_videos_have_temperatures_too(place, done, refused):
    done("data balls --n 3 --length 6 --resolution 4 --balls 1 --out balls.h5")
    done("train gru --data balls.h5 TINY --out run")
    model = seqebm.load("run")
    done("sample run --frames 5 --binary --temperature 0.5 --out a.h5")
    drawn = model.sample(5, 1, None, torch.Generator().manual_seed(1), temperature=0.5)
    assert torch.equal(load_sequences("a.h5")[0].frames, drawn[0])
    assert "--temperature: goes with --binary" in refused("sample run --temperature 2 --out a.h5")
    assert "--out: expected a file" in refused("sample run --frames 5")
    assert "--learning, --picture: are for text" in refused(
        "evaluate run --data balls.h5 --picture a.png"
    )
    done("train rtrbm --data balls.h5 TINY --out rtrbm")
    assert "temperature: expected more than 0" in refused(
        "sample rtrbm --frames 5 --binary --temperature 0 --out a.h5"
    )


def test_hidden_units_of_text_can_be_kept(place, done):
    done("data text book.txt --shares 1:0:1 --out data.h5")
    done(TRAIN)
    done("data hiddens run --data data.h5 --out hiddens.h5")
    model, data = seqebm.load("run"), load_sequences("data.h5")
    made = load_sequences("hiddens.h5")
    torch.testing.assert_close(made[1].frames, model.filter(data[1].frames[None])[0])
    assert [one.split for one in made] == ["train", "test"]
