"""The programs of the repository, which are the documentation that runs."""

import gzip
import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import seqebm
from seqebm import cli, scenes
from seqebm.cells import StandardRNN
from seqebm.data import (
    Sequence,
    Sequences,
    bouncing_balls,
    load_sequences,
    read_video,
    save_sequences,
)
from seqebm.data.mocap import (
    Joint,
    Motion,
    Skeleton,
    motions,
    prepared,
    read_bvh,
    read_preparation,
)
from seqebm.data.music import PianoRoll, read_midi, write_midi
from seqebm.data.problems import make_problem
from seqebm.data.speech import mfcc, read_wav
from seqebm.data.text import read_vocabulary
from seqebm.learning import runs
from seqebm.learning.problems import ProblemNetwork, thesis_initialisation
from seqebm.learning.recipes import Recipe
from seqebm.learning.solving import solve
from seqebm.learning.tasks import open_task
from seqebm.optim import HessianFree
from seqebm.sound import write_wav

ROOT = Path(__file__).parents[1]
SAMPLING = sorted((ROOT / "sampling").glob("*.py"))
DATASETS = sorted((ROOT / "datasets").glob("*.py"))
PROGRAMS = SAMPLING + DATASETS
SIDE, LENGTH = 10, 14


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with videos and a tiny run, whose parameters are large enough to matter."""
    folder = tmp_path_factory.mktemp("home")
    generator = torch.Generator().manual_seed(1)
    videos = bouncing_balls(3, LENGTH, SIDE, 1, generator=generator)
    sequences = Sequences.from_frames(videos, shape=(SIDE, SIDE), frame_rate=20.0)
    save_sequences(folder / "data.h5", sequences)
    recipe = Recipe(hidden=4, steps=2, batch=2, gibbs_steps="1")
    path = folder / "data.h5"
    model, _ = runs.start(folder / "run", recipe, str(path), sequences, progress=False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    seqebm.save(model, folder / "run" / "model.h5")
    return folder


def run(name, *arguments):
    """What a sampling program says, run as a person would."""
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "sampling" / name, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def panels(count):
    """Height and width of captioned pictures of 18 × 10 pixels a side, beside each other."""
    return 232, count * 192 + 10


# --- what they make --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("continue_video.py", panels(2)),
        ("denoise.py", panels(3)),
        ("predict.py", panels(3)),
    ],
)
def test_programs_that_show_a_video_beside_what_the_model_makes_of_it(name, shape, home, tmp_path):
    assert run(name, home / "run", home / "data.h5", tmp_path / "new.mp4") == ""
    shown = read_video(tmp_path / "new.mp4")
    assert shown.shape == shape
    assert shown.frame_rate == 20
    assert len(shown.frames) == LENGTH
    truth = load_sequences(home / "data.h5")[0].frames.reshape(-1, SIDE, SIDE)
    where = shape[1] - 191 if name == "denoise.py" else 11
    pixels = shown.frames.reshape(-1, *shape)[:, 41 + 9 : 221 : 18, where + 9 :: 18][..., :SIDE]
    assert float((pixels - truth).abs().mean()) < 0.05


@pytest.mark.slow
def test_samples(home, tmp_path):
    assert run("sample.py", home / "run", tmp_path / "new.mp4") == ""
    shown = read_video(tmp_path / "new.mp4")
    assert shown.shape == (3 * 122, 3 * 122)
    assert len(shown.frames) == 200


def test_weights(home, tmp_path):
    assert run("weights.py", home / "run", tmp_path / "new.png") == ""
    expected = scenes.weights(seqebm.load(home / "run"), (SIDE, SIDE))
    with Image.open(tmp_path / "new.png") as image:
        assert np.array_equal(np.asarray(image), expected[0])


def test_a_stream_says_what_the_whole_video_gives(home):
    lines = run("stream.py", home / "run", home / "data.h5").splitlines()
    model, frames = seqebm.load(home / "run"), load_sequences(home / "data.h5")[0].frames
    errors = (model.predict(frames[None])[0] - frames).square().sum(1)
    hidden = model.filter(frames[None])[0].mean(1)
    assert len(lines) == LENGTH
    for t, line in enumerate(lines):
        found = re.fullmatch(r"frame +(\d+): error +([\d.]+), mean hidden activity ([\d.]+)", line)
        assert int(found[1]) == t
        assert float(found[2]) == pytest.approx(float(errors[t]), abs=2e-3)
        assert float(found[3]) == pytest.approx(float(hidden[t]), abs=2e-3)


def imported(path):
    """A program as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bouncing(monkeypatch):
    """The recipe of the bouncing balls with a few small videos in place of thousands."""
    module = imported(ROOT / "datasets" / "bouncing_balls.py")

    def make(n, seed, split):
        generator = torch.Generator().manual_seed(seed)
        videos = bouncing_balls(n // 40, 12, SIDE, 1, generator=generator)
        return Sequences.from_frames(videos, shape=(SIDE, SIDE), split=split)

    monkeypatch.setattr(module, "make", make)
    return module


def assert_balls(folder):
    for name, count in (("train", 100), ("test", 5)):
        made = load_sequences(folder / f"{name}.h5")
        assert len(made) == count
        assert {one.split for one in made} == {name}


def test_the_bouncing_balls_are_written_and_measured(bouncing, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bouncing_balls.py", str(tmp_path / "a" / "b")])
    bouncing.main()
    assert_balls(tmp_path / "a" / "b")
    said = capsys.readouterr().out
    for name in ("train.h5", "test.h5", "mean frame", "copy last", "ridge AR(4)"):
        assert name in said


def test_the_bouncing_balls_go_to_the_folder_of_the_data(bouncing, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bouncing_balls.py"])
    monkeypatch.setenv("SEQEBM_DATA", str(tmp_path / "here"))
    bouncing.main()
    assert_balls(tmp_path / "here" / "bouncing_balls")
    monkeypatch.delenv("SEQEBM_DATA")
    monkeypatch.chdir(tmp_path)
    bouncing.main()
    assert_balls(tmp_path / "data" / "bouncing_balls")


def test_the_bouncing_balls_are_those_of_the_seeds():
    made = imported(ROOT / "datasets" / "bouncing_balls.py").make(3, 2, "test")
    expected = bouncing_balls(3, 100, 30, 3, 1.2, generator=torch.Generator().manual_seed(2))
    assert len(made) == 3
    for one, frames in zip(made, expected, strict=True):
        assert torch.equal(one.frames, frames)
        assert (one.shape, one.unit, one.split) == ((30, 30), "grey level", "test")


def test_a_walk_is_continued_beside_the_truth(tmp_path):
    hip = Joint("hip", -1, channels=("tx", "ty", "tz", "ry"))
    body = Skeleton([hip, Joint("knee", 0, (0, -4, 0), ("rx",)), Joint("foot", 1, (0, -4, 0))])
    values = np.random.default_rng(1).normal(size=(2, 45, 5)).cumsum(1) * 0.1
    walks = prepared([Motion(body, one, 30.0, str(n)) for n, one in enumerate(values)])
    save_sequences(tmp_path / "walks.h5", walks)
    recipe = Recipe(hidden=4, steps=2, batch=2, gibbs_steps="1", visible="gaussian")
    data = str(tmp_path / "walks.h5")
    model, _ = runs.start(tmp_path / "run", recipe, data, walks, progress=False)
    assert run("continue_motion.py", tmp_path / "run", data, tmp_path / "new.mp4") == ""
    assert read_video(tmp_path / "new.mp4").frames.shape[0] == 45
    prompt = walks[0].frames[None, :30]
    drawn = model.sample_means(15, prefix=prompt, generator=torch.Generator().manual_seed(1))
    whole = read_preparation(walks.preparation).motion(torch.cat([prompt, drawn], 1)[0])
    written = read_bvh(tmp_path / "new.bvh").positions()
    np.testing.assert_allclose(written, whole.positions(), atol=1e-5)


def write_music(folder):
    """Rolls of each split, in the four files of the benchmark."""
    rolls = (np.random.default_rng(1).random((9, 12, 88)) < 0.1).astype(np.uint8)
    cells = {}
    for name, part in (("train", rolls[:5]), ("valid", rolls[5:7]), ("test", rolls[7:])):
        cells[f"{name}data"] = np.empty((1, len(part)), dtype=object)
        for n, roll in enumerate(part):
            cells[f"{name}data"][0, n] = roll
    for name in ("JSB_Chorales", "MuseData", "Nottingham", "Piano_midi"):
        savemat(folder / f"{name}.mat", cells)
    return rolls


def test_polyphonic_music_is_written_and_measured(tmp_path, monkeypatch, capsys):
    rolls = write_music(tmp_path)
    module = imported(ROOT / "datasets" / "polyphonic_music.py")
    monkeypatch.setattr(sys, "argv", ["polyphonic_music.py", str(tmp_path), str(tmp_path / "a")])
    module.main()
    share = (rolls[:5].sum((0, 1)) + 0.5) / 61
    chances = np.where(rolls[7:] == 1, share, 1 - share)
    nats = np.log(chances).sum() / 24
    assert capsys.readouterr().out.count(f"9 pieces, independent notes {nats:.3f} nats") == 4
    for name, frames_per_beat in (("JSB_Chorales", 1), ("Nottingham", 2)):
        made = load_sequences(tmp_path / "a" / f"{name}.h5")
        assert PianoRoll.from_json(made.preparation) == PianoRoll(frames_per_beat)
        assert np.array_equal(made.split("test")[1].frames, rolls[8])


def test_the_yardsticks_of_polyphonic_music(real_data, tmp_path, monkeypatch, capsys):
    arguments = ["polyphonic_music.py", str(real_data("music_polyphonic")), str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    imported(ROOT / "datasets" / "polyphonic_music.py").main()
    said = re.findall(r"independent notes (\S+) nats", capsys.readouterr().out)
    assert said == ["-11.060", "-11.510", "-10.252", "-11.046"]


def write_digits(folder):
    """Noise in the files of MNIST, as many images as the tests need."""
    images = np.random.default_rng(1).integers(0, 256, (600, 28, 28), dtype=np.uint8)
    for name, part in (("train", images[:400]), ("t10k", images[400:])):
        content = struct.pack(">HBB3I", 0, 8, 3, *part.shape) + part.tobytes()
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    return images.reshape(-1, 784) / 255


def test_digits_are_written_and_measured(tmp_path, monkeypatch, capsys):
    levels = write_digits(tmp_path)
    module = imported(ROOT / "datasets" / "mnist.py")
    monkeypatch.setattr(module, "VALID", 100)
    monkeypatch.setattr(sys, "argv", ["mnist.py", str(tmp_path), str(tmp_path / "a")])
    module.main()
    variance = levels[:300].var(axis=0, ddof=1).sum()
    assert f"6 sequences, variance {variance:.3f}" in capsys.readouterr().out
    made = load_sequences(tmp_path / "a" / "mnist.h5")
    assert {(one.shape, one.unit, len(one.frames)) for one in made} == {
        ((28, 28), "grey level", 100)
    }
    shuffled = torch.cat([one.frames for one in made.split("train")]).double().numpy()
    assert not np.allclose(shuffled, levels[:300])
    np.testing.assert_allclose(np.sort(shuffled, axis=0), np.sort(levels[:300], axis=0), atol=1e-7)
    for held_out, expected in (("valid", levels[300:400]), ("test", levels[400:])):
        drawn = torch.cat([one.frames for one in made.split(held_out)]).double().numpy()
        assert set(np.unique(drawn)) == {0.0, 1.0}
        error = np.sqrt((expected * (1 - expected)).sum())  # of the number of pixels that are on
        assert abs(drawn.sum() - expected.sum()) < 5 * error
        assert (drawn[expected == 1] == 1).all()
        assert (drawn[expected == 0] == 0).all()


def test_other_images_are_no_digits(tmp_path):
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 4, 4) + bytes(32)
    (tmp_path / "small.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"small\.gz: expected images of 28 × 28, got \[2, 4, 4\]"):
        imported(ROOT / "datasets" / "mnist.py").images(tmp_path / "small.gz")


def test_all_digits(real_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mnist.py", str(real_data("images_mnist")), str(tmp_path)])
    imported(ROOT / "datasets" / "mnist.py").main()
    assert "700 sequences" in capsys.readouterr().out
    made = load_sequences(tmp_path / "mnist.h5")
    assert [len(made.split(split)) for split in ("train", "valid", "test")] == [500, 100, 100]
    assert made[0].frames.max() == 1


def write_speech(folder):
    """Noise of two speakers who say two digits, and a file that is none of them."""
    (folder / "wav").mkdir()
    rng = np.random.default_rng(1)
    names = [f"{d}_{who}_{n}" for d in (3, 7) for who in ("ada", "bo") for n in (0, 4, 5, 49)]
    for count, name in enumerate([*names, "noise"]):
        samples = rng.uniform(-0.5, 0.5, 400 + 80 * count)
        write_wav(folder / "wav" / f"{name}.wav", samples.astype(np.float32), rate=8000)
    return names


def spoken_digits(folder, out, monkeypatch):
    pytest.importorskip("kaldi_native_fbank", reason="MFCC need pip install seqebm[speech]")
    monkeypatch.setattr(sys, "argv", ["spoken_digits.py", str(folder), str(out)])
    imported(ROOT / "datasets" / "spoken_digits.py").main()
    return load_sequences(out / "spoken_digits.h5")


def test_spoken_digits_are_written_and_measured(tmp_path, monkeypatch, capsys):
    names = write_speech(tmp_path)
    made = spoken_digits(tmp_path, tmp_path / "a", monkeypatch)
    assert [one.name for one in made] == sorted(names)
    assert [one.name for one in made.split("test")] == sorted(n for n in names if n[-1] in "04")
    assert [one.name for one in made.split("train")] == sorted(n for n in names if n[-1] in "59")
    for count, name in enumerate(names):
        (one,) = (one for one in made if one.name == name)
        assert (one.frame_rate, len(one.frames)) == (100, 3 + count)
        samples, rate = read_wav(tmp_path / "wav" / f"{name}.wav")
        torch.testing.assert_close(one.original(), mfcc(samples, rate), rtol=1e-5, atol=1e-4)
    frames = torch.cat([one.frames for one in made.split("train")])
    torch.testing.assert_close(frames.mean(0), torch.zeros(13), rtol=0, atol=1e-5)
    torch.testing.assert_close(frames.std(0), torch.ones(13))
    seen = {one.name: one.frames.mean(0) for one in made.split("train")}
    wrong = 0
    for one in made.split("test"):
        away = {name: float((one.frames.mean(0) - mean).norm()) for name, mean in seen.items()}
        wrong += min(away, key=away.__getitem__)[0] != one.name[0]
    assert f"16 digits, nearest mean frame {wrong / 8:.1%} wrong" in capsys.readouterr().out


def test_a_damaged_recording_is_named(tmp_path, monkeypatch):
    write_speech(tmp_path)
    whole = (tmp_path / "wav" / "3_bo_4.wav").read_bytes()
    (tmp_path / "wav" / "3_bo_4.wav").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"3_bo_4\.wav: its header claims"):
        spoken_digits(tmp_path, tmp_path / "a", monkeypatch)
    assert not (tmp_path / "a" / "spoken_digits.h5").exists()


def test_all_spoken_digits(real_data, tmp_path, monkeypatch, capsys):
    made = spoken_digits(real_data("speech_fsdd"), tmp_path, monkeypatch)
    assert "240 digits, nearest mean frame 16.7% wrong" in capsys.readouterr().out
    assert {len(made.split(split)) for split in ("train", "test")} == {120}
    assert {int(one.name[0]) for one in made.split("test")} == set(range(10))


def test_strings_of_digits_are_written_down(tmp_path, monkeypatch, capsys):
    """The program of docs/ctc.md, with trainings that take no time."""
    write_speech(tmp_path)
    spoken_digits(tmp_path, tmp_path, monkeypatch)
    monkeypatch.syspath_prepend(ROOT / "docs" / "results")
    module = imported(ROOT / "docs" / "results" / "ctc.py")
    for name, value in {"STEPS": 2, "SEEDS": (1, 2), "TEST_STRINGS": 20, "HIDDEN": 4}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "ctc.py"))
    monkeypatch.setattr(sys, "argv", ["ctc.py", str(tmp_path / "spoken_digits.h5"), "abc"])
    module.main()
    report = json.loads((tmp_path / "ctc.json").read_text())
    assert report["commit"] == "abc"
    assert {kind: len(rows) for kind, rows in report["figures"].items()} == {
        "thesis": 2,
        "Graves": 2,
    }
    for found, said, expected in [([], [1, 2], 2), ([1, 3, 2], [1, 2], 1), ([2, 1], [1, 2], 2)]:
        assert module.edits(torch.tensor(found), torch.tensor(said)) == expected
    strings = module.Strings(load_sequences(tmp_path / "spoken_digits.h5").split("test"))
    frames, digits = strings.draw(200, torch.Generator().manual_seed(1))
    assert {len(one) for one in digits} == {1, 2, 3, 4}
    assert {int(digit) for one in digits for digit in one} == {3, 7}
    assert all(one.shape[1] == 39 for one in frames)
    same = torch.cat([one[1:] == one[:-1] for one in digits]).double()
    chance = 0.25 + 0.75 / 2  # of two digits
    assert abs(same.mean() - chance) < 4 * (chance * (1 - chance) / len(same)) ** 0.5


def entropy(known, new):
    """Bits per character of a text by the frequencies of another, those that are new being rare."""
    kinds = sorted(set(known + new))
    share = {one: (known.count(one) + len(set(known)) / len(kinds)) for one in kinds}
    return -np.mean([np.log2(share[one] / (len(known) + len(set(known)))) for one in new])


def test_the_treebank_is_written_and_measured(tmp_path, monkeypatch, capsys):
    lines = {"train": " the cat sat \n <unk> N \n" * 9, "valid": " a hat \n", "test": " that \n"}
    for split, text in lines.items():
        (tmp_path / f"ptb.{split}.txt").write_text(text)
    monkeypatch.setattr(sys, "argv", ["penn_treebank.py", str(tmp_path), str(tmp_path / "a")])
    imported(ROOT / "datasets" / "penn_treebank.py").main()
    expected = entropy("the cat sat\n<unk> N\n" * 9, "that\n")
    said = capsys.readouterr().out
    assert "180 + 6 + 5 characters of 14 kinds\n" in said
    assert f"bits per character: frequencies {expected:.3f}," in said
    made = load_sequences(tmp_path / "a" / "ptb.h5")
    vocabulary = read_vocabulary(made.preparation)
    assert vocabulary.decode(made.split("valid")[0].symbols) == "a hat\n"


def test_books_are_written_and_measured(tmp_path, monkeypatch, capsys):
    module = imported(ROOT / "datasets" / "books.py")
    book = "so it goes on and on. " * 20
    for name in module.NAMES:
        (tmp_path / f"{name}.txt").write_text(book)
    monkeypatch.setattr(sys, "argv", ["books.py", str(tmp_path), str(tmp_path / "a")])
    module.main()
    expected = entropy(book[:396], book[418:])
    assert f"440 characters of 11 kinds; bits by frequencies {expected:.3f}" in (
        capsys.readouterr().out
    )
    assert load_sequences(tmp_path / "a" / "anna.h5").lengths.tolist() == [396, 22, 22]


def test_the_yardsticks_of_the_treebank_and_the_books(real_data, tmp_path, monkeypatch, capsys):
    for name, folder in (("penn_treebank", "text_ptb"), ("books", "text_books")):
        monkeypatch.setattr(sys, "argv", [name, str(real_data(folder)), str(tmp_path)])
        imported(ROOT / "datasets" / f"{name}.py").main()
    said = capsys.readouterr().out
    assert "5017482 + 393042 + 442423 characters of 50 kinds" in said
    assert "6-grams 1.567" in said
    sizes = {"anna": (1966144, 77), "bible": (4047392, 63), "tinyshakespeare_input": (1115394, 65)}
    for name, (size, kinds) in sizes.items():
        assert f"{name}.h5: {size} characters of {kinds} kinds" in said


@pytest.mark.slow
def test_hidden_states_are_filmed_while_a_problem_is_solved(tmp_path):
    assert run("hidden_states.py", "6", tmp_path / "new.mp4") == ""
    problem = make_problem("memorization-5", 6)
    net = ProblemNetwork(StandardRNN(4, 30), 3)
    thesis_initialisation(net, 0.1, torch.Generator().manual_seed(1))
    inputs, shown = problem.all_examples().inputs[[0, 6, 12, 18, 24, 31]], []

    def look(record=None):
        with torch.no_grad():
            shown.append(net.cell(inputs, net.cell.initial_state(6))[0])

    look()
    optimizer = HessianFree(net.parameters(), 0.1, 1 / 30)
    history = solve(net, problem, optimizer, steps=5000, seed=1, tell=look)
    assert history[-1]["sequences"] < 0.01
    film = read_video(tmp_path / "new.mp4")
    height, width = 10 + 31 + 41 + 3 * 30 + 22, 32 + 6 * (3 * 17 + 12)
    assert film.shape == (height, width)
    assert len(film.frames) == len(history) + 1
    for frame, states in zip(film.frames.reshape(-1, height, width), shown, strict=True):
        for place, one in enumerate(states):
            left = 22 + place * (3 * 17 + 12) + 1
            seen = frame[83 : 83 + 90 : 3, left : left + 51 : 3]
            assert float((seen - (one.T + 1) / 2).abs().mean()) < 0.06


@pytest.mark.slow
def test_figure_4_1_is_measured_run_by_run(tmp_path, monkeypatch, capfd):
    """The program of docs/results/problems.json, with trainings that take no time."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "results")
    module = imported(ROOT / "docs" / "results" / "problems.py")

    def run_here(line, check):
        assert line[:3] == [sys.executable, "-m", "seqebm"]
        assert check
        monkeypatch.setattr(sys, "argv", line[2:])
        cli.main()

    small = {"TASKS": ("memorization-5", "xor"), "LENGTHS": (2, 10)}
    for name, value in {**small, "OUT": tmp_path / "problems.json"}.items():
        monkeypatch.setattr(module, name, value)

    def program(line):
        monkeypatch.setattr(sys, "argv", ["problems.py", *line.split()])
        with monkeypatch.context() as patch:
            patch.setattr(module, "subprocess", SimpleNamespace(run=run_here))
            patch.setattr(module, "printed", lambda *command: "abc")
            patch.setattr(module, "machine", lambda: "any")
            module.main()
        return [line for line in capfd.readouterr().out.splitlines() if "--out" in line]

    line = f"train {tmp_path / 'runs'} memorization-5-2 --seeds 1 --limit"
    (first, second) = program(f"{line} 3")
    assert first.startswith(
        "seqebm train rnn --task memorization-5 --length 2 --preset task-hf --set seed=1 "
    )
    assert " --preset task-hf-plain " in second
    assert program(f"{line} 3") == []
    kept = json.loads(module.OUT.read_text())["runs"]
    assert set(kept) == {"memorization-5-2-structural-1", "memorization-5-2-plain-1"}
    for name, found in kept.items():
        last = open_task(tmp_path / "runs" / name).history[-1]
        assert found["minibatches"] == last["minibatches"] >= 3
        assert (found["steps"], found["seconds"]) == (last["step"], last["seconds"])
        assert (found["error"], found["solved"]) == (last["sequences"], False)
        assert f"--out RUNS/{name}" in found["command"]
        assert (found["commit"], found["machine"]) == ("abc", "any")
    (longer,) = program(f"train {tmp_path / 'runs'} memorization-5-2-plain-1 --limit 40")
    assert "limit=40" in longer
    again = json.loads(module.OUT.read_text())["runs"]
    assert again["memorization-5-2-plain-1"]["minibatches"] >= 40
    assert again["memorization-5-2-structural-1"] == kept["memorization-5-2-structural-1"]
    assert program("plot") == []
    with Image.open(tmp_path / "problems.png") as image:
        assert image.size == (336, 368)


def test_the_runs_of_figure_4_1_have_names(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "results")
    module = imported(ROOT / "docs" / "results" / "problems.py")
    assert len(module.chosen([], 2)) == 8 * 4 * 2 * 2
    assert module.chosen(["xor-50-plain-2"], 2) == [("xor", 50, "plain", 2)]
    assert {run[0] for run in module.chosen(["temporal-order"], 1)} == {"temporal-order"}
    both = module.chosen(["memorization-5-100", "addition-100"], 1)
    assert [module.called_so(run) for run in both] == [
        "addition-100-structural-1",
        "addition-100-plain-1",
        "memorization-5-100-structural-1",
        "memorization-5-100-plain-1",
    ]


def test_text_is_written_as_it_goes(tmp_path):
    (tmp_path / "book.txt").write_text("so it goes on and on. " * 20)
    book = load_sequences(tmp_path / "book.txt")
    recipe = Recipe("gru", hidden=4, steps=2, batch=1, window=30)
    model, _ = runs.start(tmp_path / "run", recipe, "book", book, progress=False)
    vocabulary = read_vocabulary(book.preparation)
    said = run("write_text.py", tmp_path / "run", "so it ", "0.7")
    source = torch.Generator().manual_seed(1)
    drawn = model.sample(1000, 1, vocabulary.frames("so it "), source, temperature=0.7)
    assert said == "so it " + vocabulary.text(drawn[0]) + "\n"


def test_music_is_continued_to_be_seen_and_heard(tmp_path):
    generator = torch.Generator().manual_seed(1)
    frames = (torch.rand(40, 88, generator=generator) < 0.1).float()
    frames[0, 40] = 1
    preparation = PianoRoll(4)
    music = Sequences([Sequence(frames, frame_rate=8.0)], preparation.to_json())
    write_midi(tmp_path / "song.mid", music[0], preparation)
    recipe = Recipe(hidden=4, steps=2, batch=1, gibbs_steps="1")
    model, _ = runs.start(tmp_path / "run", recipe, "song", music, progress=False)
    arguments = (tmp_path / "run", tmp_path / "song.mid", tmp_path / "new.mp4")
    assert run("continue_music.py", *arguments) == ""
    rng = torch.Generator().manual_seed(1)
    drawn = model.sample(30, prefix=frames[None, :10], generator=rng)[0]
    written = read_midi(tmp_path / "new.mid", 4)
    assert torch.equal(written.frames, torch.cat([frames[:10], drawn]))
    assert written.frame_rate == 8
    assert len(read_video(tmp_path / "new.mp4").frames) == 125
    with wave.open(str(tmp_path / "new.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(5.06, abs=0.01)


@pytest.mark.parametrize(
    ("name", "folder", "files", "said"),
    [
        ("mit_walking", "mocap_mit_taylor", ["mit_walking", "mit_walking_all"], "5.33 ± 0.71"),
        ("cmu_mocap", "mocap_cmu35", ["cmu35"], "6.426"),
    ],
)
def test_motion_capture_is_prepared_and_measured(
    name, folder, files, said, real_data, tmp_path, monkeypatch, capsys
):
    arguments = [f"{name}.py", str(real_data(folder)), str(tmp_path / "a")]
    monkeypatch.setattr(sys, "argv", arguments)
    imported(ROOT / "datasets" / f"{name}.py").main()
    assert said in capsys.readouterr().out
    assert sorted(path.stem for path in (tmp_path / "a").iterdir()) == files
    for file in files:
        made = load_sequences(tmp_path / "a" / f"{file}.h5")
        assert {one.split for one in made} >= {"train", "test"}
        assert len(motions(made[:1])[0]) == len(made[0].frames)


# --- what they are ---------------------------------------------------------------------------


def test_there_is_a_test_for_every_program():
    assert {path.name for path in SAMPLING} == {
        "continue_motion.py",
        "continue_music.py",
        "continue_video.py",
        "denoise.py",
        "hidden_states.py",
        "predict.py",
        "sample.py",
        "stream.py",
        "weights.py",
        "write_text.py",
    }
    assert {path.name for path in DATASETS} == {
        "books.py",
        "bouncing_balls.py",
        "cmu_mocap.py",
        "mit_walking.py",
        "mnist.py",
        "penn_treebank.py",
        "polyphonic_music.py",
        "spoken_digits.py",
    }


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_is_at_most_a_page(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_says_how_to_run_it(path):
    source = path.read_text()
    assert source.startswith('"""')
    assert f"python {path.parent.name}/{path.name} " in source.split('"""')[1]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_uses_public_names_only(path):
    assert not re.search(r"(import|\.) ?_[a-z]", path.read_text())
