"""Training in two processes and in one. Every test starts processes that print what they found."""

import json
import os
import subprocess
import sys

import pytest
import torch

import seqebm
from seqebm.learning import load_training, parallel

SETUP = """
import json, sys, torch
from torch import distributed as dist, nn
import seqebm
from seqebm import gibbs
from seqebm.learning import parallel, fit

def generator(seed=1):
    return torch.Generator().manual_seed(seed)

def build(kind, **options):
    model = {
        "rnn": lambda: seqebm.RNN(nn.GRU(4, 3, batch_first=True)),
        "rtrbm": lambda: seqebm.RTRBM(4, 3, **options),
    }[kind]()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator())
    return model

def ragged(step):
    frames = torch.rand(5, 6, 4, generator=generator(step + 1)).round()
    return frames, torch.tensor([6, 2, 4, 1, 3])

def train(kind="rtrbm", steps=6, **options):
    model = build(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    settings = {"steps": steps, "optimizer": optimizer, "generator": generator(), **options}
    return model, fit(model, ragged, evaluate_every=2, **settings)

def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()

def tell(value):
    print(json.dumps([parallel.rank(), value]), flush=True)

with parallel.process_group():
"""


def processes(count, code, tmp_path):
    """What each of `count` processes tells, by its rank."""
    script = tmp_path / "script.py"
    script.write_text(SETUP + "".join(f"    {line}\n" for line in code.strip().splitlines()))
    start = [sys.executable, str(script)]
    if count > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start += [f"--nproc-per-node={count}", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(start, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    # lines of two processes may come without a break between them
    decoder, found, rest = json.JSONDecoder(), {}, done.stdout.strip()
    while rest:
        (rank, value), end = decoder.raw_decode(rest)
        found[rank], rest = value, rest[end:].lstrip()
    assert sorted(found) == list(range(count))
    return found


def close(a, b, tolerance=1e-6):
    torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-5, atol=tolerance)


def refused_by_both(code, tmp_path):
    """The message of the ValueError that the code raises in both of two processes."""
    attempt = "".join(f"    {line}\n" for line in code.strip().splitlines())
    code = f"try:\n{attempt}except ValueError as error:\n    tell(str(error))"
    found = processes(2, code, tmp_path)
    assert found[0] == found[1]
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_processes_together_train_as_one_alone(count, tmp_path):
    """With an exact loss. The shares differ in their numbers of frames."""
    code = """
model, history = train("rnn", clip=0.5, average=0.9)
tell([flat(model), [entry["loss"] for entry in history]])
"""
    (alone,) = processes(1, code, tmp_path).values()
    for values, losses in processes(count, code, tmp_path).values():
        close(values, alone[0])
        close(losses, alone[1])


@pytest.mark.slow
def test_chains_are_independent_and_parameters_stay_together(tmp_path):
    code = """
draws = []
chain = gibbs.chain
def watched(rbm, start, steps, *rest):
    v, mean = chain(rbm, start, steps, *rest)
    draws.append(rest[0].get_state()[:64].tolist())
    return v, mean
gibbs.chain = watched
model, history = train(evaluate=lambda model: {"seen": 1.0})
tell([flat(model), draws, [entry.get("seen") for entry in history]])
"""
    found = processes(2, code, tmp_path)
    assert found[0][0] == found[1][0]
    assert all(a != b for a, b in zip(found[0][1], found[1][1], strict=True))
    assert found[0][2] == [1.0] * 3
    assert found[1][2] == [None] * 3


@pytest.mark.slow
def test_runs_are_resumed_by_any_number_of_processes(tmp_path):
    whole = """
model, history = train(checkpoint="whole.h5")
tell(flat(model))
"""
    half = """
model, history = train(steps=4, checkpoint="run.h5")
tell(None)
"""
    rest = """
model, history = train(checkpoint="run.h5", resume=True)
tell([flat(model), [entry["step"] for entry in history]])
"""
    expected = processes(2, whole, tmp_path)
    processes(2, half, tmp_path)
    training = load_training(tmp_path / "run.h5")[1]
    assert training["step"] == 4
    assert len(training["generators"]) == 2
    kept = (tmp_path / "run.h5").read_bytes()
    for count in (2, 1, 3):
        (tmp_path / "run.h5").write_bytes(kept)
        found = processes(count, rest, tmp_path)
        for values, steps in found.values():
            assert steps == [2, 4, 6]
            assert values == found[0][0]
            assert (values == expected[0]) == (count == 2)
        loaded = seqebm.load(tmp_path / "run.h5")
        close(torch.cat([p.detach().flatten() for p in loaded.parameters()]).tolist(), values)


def test_the_generator_of_another_device_is_begun_anew():
    """States of other devices have other sizes."""
    numbers = []
    for step in (3, 3, 4):
        generator = torch.Generator().manual_seed(1)
        parallel.restore_state(generator, [torch.zeros(16, dtype=torch.uint8)], step)
        numbers.append(float(torch.rand(1, generator=generator)))
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[0] != float(torch.rand(1, generator=torch.Generator().manual_seed(1)))


@pytest.mark.slow
def test_processes_that_disagree_are_told(tmp_path):
    code = 'fit(build("rtrbm", order=parallel.rank()), ragged, steps=1)'
    message = "model: the processes disagree; 1 train another than process 0"
    assert refused_by_both(code, tmp_path) == message


@pytest.mark.slow
def test_different_initial_values_become_those_of_the_first_process(tmp_path):
    code = """
model = build("rnn")
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(parallel.rank())
fit(model, ragged, steps=1)
tell(flat(model))
"""
    found = processes(2, code, tmp_path)
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="lists threads as Linux does")
def test_the_threads_of_the_group_end_with_it(tmp_path):
    code = """
import atexit
from pathlib import Path
train("rnn", steps=1)
def threads():
    return sorted((one / "comm").read_text().strip() for one in Path("/proc/self/task").iterdir())
during, rank = threads(), parallel.rank()
atexit.register(lambda: print(json.dumps([rank, [during, threads()]]), flush=True))
"""
    for during, after in processes(2, code, tmp_path).values():
        assert any("gloo" in name for name in during)
        assert not any("gloo" in name for name in after)


@pytest.mark.slow
def test_a_batch_smaller_than_the_number_of_processes(tmp_path):
    code = 'fit(build("rnn"), lambda step: torch.rand(1, 3, 4), steps=1)'
    message = "batch: expected at least 2 sequences, one for every process"
    assert refused_by_both(code, tmp_path) == message


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_all_processes(tmp_path):
    code = """
model = build("rnn")
def data(step):
    if parallel.rank() == 1:
        with torch.no_grad():
            model.readout.bias.fill_(float("nan")) if step == 1 else None
    return torch.rand(2, 3, 4).round()
try:
    fit(model, data, steps=3)
except FloatingPointError as error:
    tell(str(error)[:26])
"""
    message = "training stopped at step 1"
    assert processes(2, code, tmp_path) == {0: message, 1: message}


@pytest.mark.slow
def test_the_command_trains_in_two_processes(tmp_path):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    settings = "hidden=3 steps=3 batch=2 gibbs_steps=1 balls=1 resolution=5 length=6 pretrain=2"
    line = ["-m", "seqebm", "train", "rtrbm", "--data", "balls", "--out", "run"]
    for setting in settings.split():
        line += ["--set", setting]
    done = subprocess.run([*start, *line], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("RTRBM with") == 1
    assert load_training(tmp_path / "run" / "model.h5")[1]["step"] == 3
    again = subprocess.run([*start, *line], capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode != 0
    assert "run: already holds a training run" in again.stderr
