import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import make_cell
from seqebm.data import Sequence, Sequences
from seqebm.learning import (
    constant,
    fit,
    linear,
    load_training,
    minibatches,
    piecewise,
    save,
    windows,
)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames(n=7, time=5, visible=4, seed=2):
    return torch.rand(n, time, visible, generator=generator(seed)).round()


def ragged():
    return Sequences(Sequence(one[: 2 + i % 4]) for i, one in enumerate(frames()))


MODELS = {
    "rbm": lambda: seqebm.RBM(4, 3),
    "trbm": lambda: seqebm.TRBM(4, 3, order=2, visible="gaussian:learned"),
    "rtrbm": lambda: seqebm.RTRBM(4, 3),
    "lstm": lambda: seqebm.RNN(make_cell("lstm", 4, 3)),
}
OPTIMIZERS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
}


def build(kind):
    """The same model each time."""
    model = MODELS[kind]()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator())
    return model


class Killed(Exception):
    """What stops a run from within."""


def until(data, stop):
    """The data, and an end of the run at step `stop`."""

    def wrapped(step):
        if step == stop:
            raise Killed
        return data(step)

    return wrapped


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


# --- resumption ------------------------------------------------------------------------------


class Setting:
    """A training run that can be repeated, cut short and resumed."""

    def __init__(self, kind="rtrbm", optimizer="sgd", average=None, data=ragged, prepare=None):
        self.kind, self.optimizer, self.average, self.data = kind, optimizer, average, data
        self.prepare = prepare or (lambda model: None)

    def run(self, path, steps, *, stop=None, **options):
        model = build(self.kind)
        self.prepare(model)
        optimizer, source = OPTIMIZERS[self.optimizer](model), generator()
        schedules = {"lr": linear(0.05, 0.0, 20)}
        if hasattr(model, "gibbs_steps"):
            schedules["gibbs_steps"] = piecewise({0: 1, 8: 3})
        history = fit(
            model,
            until(minibatches(self.data(), 3, seed=5), stop),
            steps=steps,
            optimizer=optimizer,
            schedules=schedules,
            average=self.average,
            evaluate=lambda model: {"bias": next(model.parameters()).sum().item()},
            checkpoint=path,
            generator=source,
            **{"evaluate_every": 5, "checkpoint_every": 5, **options},
        )
        return model.state_dict(), optimizer.state_dict(), source.get_state(), timeless(history)


def assert_same(one, other):
    assert equal(one[0], other[0])
    (_, first, source, history), (_, second, other_source, other_history) = one, other
    for a, b in zip(first["param_groups"], second["param_groups"], strict=True):
        assert {**a, "betas": None} == {**b, "betas": None}  # a tuple or a list
    assert first["state"].keys() == second["state"].keys()
    for key in first["state"]:
        assert equal(first["state"][key], second["state"][key])
    assert torch.equal(source, other_source)
    assert history == other_history


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["trbm", "rtrbm", "lstm"])
def test_ten_steps_and_ten_more_are_twenty(kind, optimizer, average, tmp_path):
    setting = Setting(kind, optimizer, average)
    whole = setting.run(tmp_path / "whole.h5", 20)
    setting.run(tmp_path / "parts.h5", 10)
    assert_same(setting.run(tmp_path / "parts.h5", 20, resume=True), whole)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("kind", ["rtrbm", "lstm"])
@pytest.mark.parametrize("stop", [1, 13])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(kind, average, stop, tmp_path):
    """The steps since the last checkpoint are done again, with the same result."""
    setting, path = Setting(kind, "adam", average), tmp_path / "run.h5"
    whole = setting.run(tmp_path / "whole.h5", 20)
    with pytest.raises(Killed):
        setting.run(path, 20, stop=stop)
    assert path.exists() == (stop >= 5)
    assert_same(setting.run(path, 20, resume=True), whole)


def test_records_between_checkpoints_are_resumed_too(tmp_path):
    """A record's loss is the mean since the last record, also of steps before a checkpoint."""
    setting, path = Setting(), tmp_path / "run.h5"
    intervals = {"evaluate_every": 5, "checkpoint_every": 3}
    whole = setting.run(tmp_path / "whole.h5", 12, **intervals)
    with pytest.raises(Killed):
        setting.run(path, 12, stop=4, **intervals)
    assert_same(setting.run(path, 12, resume=True, **intervals), whole)


def test_frames_of_one_length_are_resumed_too(tmp_path):
    setting, path = Setting(data=frames), tmp_path / "run.h5"
    whole = setting.run(tmp_path / "whole.h5", 12)
    with pytest.raises(Killed):
        setting.run(path, 12, stop=7)
    assert_same(setting.run(path, 12, resume=True), whole)


@pytest.mark.parametrize("average", [None, 0.9])
def test_persistent_chains_are_resumed_too(average, tmp_path):
    def prepare(model):
        model.start_chains(6, generator(3))

    setting, path = Setting("rbm", average=average, prepare=prepare), tmp_path / "run.h5"
    whole = setting.run(tmp_path / "whole.h5", 12)
    assert "chains" in whole[0]
    with pytest.raises(Killed):
        setting.run(path, 12, stop=7)
    assert_same(setting.run(path, 12, resume=True), whole)


def test_chains_need_not_be_started_again_before_resuming(tmp_path):
    setting = Setting("rbm", prepare=lambda model: model.start_chains(6, generator(3)))
    whole = setting.run(tmp_path / "whole.h5", 12)
    setting.run(tmp_path / "run.h5", 5)
    assert_same(Setting("rbm").run(tmp_path / "run.h5", 12, resume=True), whole)


def killable(path, steps, pause, resume):
    """A run in a process of its own; `pause` gives the other process the time to kill it."""
    model, batches = build("rtrbm"), minibatches(ragged(), 3, seed=5)

    def data(step):
        time.sleep(pause)
        return batches(step)

    fit(
        model,
        data,
        steps=steps,
        checkpoint=path,
        checkpoint_every=3,
        resume=resume,
        generator=generator(),
    )
    return model.state_dict()


@pytest.mark.slow
def test_a_killed_process_is_resumed_bit_for_bit(tmp_path):
    path = tmp_path / "run.h5"
    script = f"import test_fit; test_fit.killable({str(path)!r}, 40, 0.1, False)"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(seqebm.__file__).parents[1])},
    )
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.15)  # somewhere between two checkpoints
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 3 <= load_training(path)[1]["step"] < 40
    resumed = killable(path, 40, 0, True)
    assert equal(resumed, killable(tmp_path / "whole.h5", 40, 0, False))


def test_without_a_checkpoint_a_resumed_run_begins_anew(tmp_path):
    setting = Setting()
    whole = setting.run(tmp_path / "whole.h5", 6)
    assert_same(setting.run(tmp_path / "none.h5", 6, resume=True), whole)


def test_a_run_that_is_not_resumed_begins_anew(tmp_path):
    setting, path = Setting(), tmp_path / "run.h5"
    whole = setting.run(path, 6)
    assert_same(setting.run(path, 6), whole)
    assert load_training(path)[1]["step"] == 6


def test_a_finished_run_is_not_trained_again(tmp_path):
    for average in (None, 0.9):
        setting, path = Setting(average=average), tmp_path / "run.h5"
        whole = setting.run(path, 6)
        assert_same(setting.run(path, 6, resume=True, stop=6), whole)


def test_seconds_go_on_where_the_run_ended(tmp_path):
    model, path = build("lstm"), tmp_path / "run.h5"
    fit(model, frames(), steps=2, checkpoint=path, evaluate_every=1)
    history = fit(model, frames(), steps=4, checkpoint=path, evaluate_every=1, resume=True)
    seconds = [record["seconds"] for record in history]
    assert [record["step"] for record in history] == [1, 2, 3, 4]
    assert seconds[0] > 0
    assert seconds == sorted(seconds)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: seqebm.RTRBM(4, 2), "holds a RTRBM .*'n_hidden': 3.* not a RTRBM .*: 2"),
        (lambda: seqebm.RTRBM(4, 3, order=1), "holds a RTRBM with .*'order': 0.* not a RTRBM"),
        (lambda: seqebm.RTRBM(4, 3, visible="gaussian"), "holds a RTRBM with .*bernoulli"),
        (lambda: seqebm.RBM(4, 3), "holds a RTRBM .* not a RBM"),
        (lambda: seqebm.RNN(make_cell("gru", 4, 3)), "holds a RTRBM .* not a RNN"),
    ],
)
def test_the_checkpoint_of_another_model_is_refused(model, message, tmp_path):
    path = tmp_path / "run.h5"
    fit(build("rtrbm"), frames(), steps=1, checkpoint=path)
    model = model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        fit(model, frames(), steps=2, checkpoint=path, resume=True)
    assert equal(model.state_dict(), before)


@pytest.mark.parametrize(("saved", "resumed"), [(None, 0.9), (0.9, None)])
def test_a_checkpoint_with_another_setting_of_average_is_refused(saved, resumed, tmp_path):
    path = tmp_path / "run.h5"
    fit(build("rtrbm"), frames(), steps=1, checkpoint=path, average=saved)
    with pytest.raises(ValueError, match=f"{path}: .*`average`"):
        fit(build("rtrbm"), frames(), steps=2, checkpoint=path, average=resumed, resume=True)


@pytest.mark.parametrize(("saved", "resumed"), [("sgd", "adam"), ("adam", "sgd")])
def test_the_checkpoint_of_another_optimiser_is_refused(saved, resumed, tmp_path):
    setting, path = Setting(optimizer=saved), tmp_path / "run.h5"
    setting.run(path, 3)
    with pytest.raises(ValueError, match=f"{path}: .*optimi"):
        Setting(optimizer=resumed).run(path, 6, resume=True)


def test_files_that_hold_no_run_are_refused(tmp_path):
    path = tmp_path / "model.h5"
    save(build("rtrbm"), path)
    with pytest.raises(ValueError, match=f"{path}: .*no training run"):
        fit(build("rtrbm"), frames(), steps=2, checkpoint=path, resume=True)
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match=f"{path}: "):
        fit(build("rtrbm"), frames(), steps=2, checkpoint=path, resume=True)


# --- numbers that are not finite -------------------------------------------------------------


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_gradient_that_is_not_finite_stops_the_training(average, tmp_path):
    path, model, before = tmp_path / "run.h5", build("rtrbm"), {}

    def data(step):
        if step == 7:
            before.update(copy.deepcopy(model.state_dict()))
            model.hidden_to_hidden.register_hook(lambda gradient: gradient * float("nan"))
        return frames()

    options = {"checkpoint": path, "checkpoint_every": 5, "average": average}
    with pytest.raises(FloatingPointError, match=r"step 7: .*gradient of hidden_to_hidden is not"):
        fit(model, data, steps=20, generator=generator(), **options)
    assert equal(model.state_dict(), before)
    assert load_training(path)[1]["step"] == 5
    resumed, whole = build("rtrbm"), build("rtrbm")
    fit(resumed, lambda _: frames(), steps=12, resume=True, generator=generator(), **options)
    options["checkpoint"] = None
    fit(whole, lambda _: frames(), steps=12, generator=generator(), **options)
    assert equal(resumed.state_dict(), whole.state_dict())


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    path, model = tmp_path / "run.h5", seqebm.RNN(make_cell("gru", 4, 3), "gaussian")
    before = {}

    def data(step):
        before.update(copy.deepcopy(model.state_dict()))
        return frames() * (1e30 if step == 3 else 1.0)  # its square overflows

    with pytest.raises(FloatingPointError, match=r"step 3: loss inf"):
        fit(model, data, steps=20, checkpoint=path, checkpoint_every=2)
    assert equal(model.state_dict(), before)
    assert load_training(path)[1]["step"] == 2


def test_a_loss_that_is_not_finite_is_noticed_where_its_gradient_is():
    model = build("lstm")
    before, loss = copy.deepcopy(model.state_dict()), model.loss
    model.loss = lambda *arguments: loss(*arguments) + float("inf")
    with pytest.raises(FloatingPointError, match=r"step 0: loss inf, no gradient is at fault"):
        fit(model, frames(), steps=1)
    assert equal(model.state_dict(), before)


def test_the_first_of_several_parameters_is_named():
    model = build("rtrbm")
    for name in ("hidden_bias", "hidden_to_hidden"):
        getattr(model, name).register_hook(lambda gradient: gradient / 0)
    with pytest.raises(
        FloatingPointError, match=r"step 0: .*gradient of hidden_bias is not finite"
    ):
        fit(model, frames(), steps=1)


# --- schedules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "optimizer", "name"),
    [("rtrbm", "sgd", "speed"), ("rtrbm", "adam", "momentum"), ("lstm", "sgd", "gibbs_steps")],
)
def test_unknown_schedules_are_refused_before_any_work(kind, optimizer, name):
    model = build(kind)
    with pytest.raises(ValueError, match=f"schedules: neither optimiser nor model has '{name}'"):
        fit(
            model,
            until(lambda _: frames(), 0),
            steps=1,
            optimizer=OPTIMIZERS[optimizer](model),
            schedules={"lr": constant(0.1), name: constant(1.0)},
        )


def test_schedules_are_followed_at_every_step():
    model, seen = build("rtrbm"), []
    optimizer = OPTIMIZERS["sgd"](model)
    loss = model.loss

    def spy(*arguments):
        group = optimizer.param_groups[0]
        seen.append((model.gibbs_steps, group["lr"], group["momentum"]))
        return loss(*arguments)

    model.loss = spy
    schedules = {
        "gibbs_steps": piecewise({0: 1, 2: 4}),
        "lr": linear(0.4, 0.0, 4),
        "momentum": piecewise({0: 0.5, 3: 0.9}),
    }
    fit(model, frames(), steps=4, optimizer=optimizer, schedules=schedules)
    rates = [rate for _, rate, _ in seen]
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert [k for k, _, _ in seen] == [1, 1, 4, 4]
    assert [momentum for _, _, momentum in seen] == [0.5, 0.5, 0.5, 0.9]


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_checkpoint_knows_the_scheduled_gibbs_steps(average, tmp_path):
    model = build("rtrbm")
    schedules = {"gibbs_steps": piecewise({0: 1, 2: 4})}
    options = {"checkpoint": tmp_path / "run.h5", "average": average}
    fit(model, frames(), steps=3, schedules=schedules, **options)
    assert model.gibbs_steps == 4
    assert seqebm.load(tmp_path / "run.h5").gibbs_steps == 4


# --- updates ---------------------------------------------------------------------------------


def update_norm(clip):
    """The norm of the first step of plain gradient descent with learning rate 1."""
    model = build("lstm")
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(model, frames(), steps=1, optimizer=optimizer, clip=clip)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    return (after - before).norm().item()


def test_clip_limits_the_norm_of_the_gradient():
    norm = update_norm(None)
    assert update_norm(norm / 3) == pytest.approx(norm / 3, rel=1e-3)
    assert update_norm(norm * 3) == pytest.approx(norm, rel=1e-6)


def test_gradients_whose_squares_overflow_are_clipped_all_the_same():
    class Steep(seqebm.RNN):
        def loss(self, frames, *rest, **options):
            return super().loss(frames, *rest, **options) + 1e30 * self.readout.bias.sum()

    model = Steep(torch.nn.RNN(4, 3, batch_first=True))
    start = model.readout.bias.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    seqebm.fit(model, frames(), steps=1, optimizer=optimizer, clip=2.0)
    torch.testing.assert_close(model.readout.bias.detach(), start - 1.0)  # four of 1: norm 2


def test_one_step_of_gradient_descent_by_hand():
    model, batch = build("rtrbm"), frames()
    expected = build("rtrbm")
    gradients = torch.autograd.grad(
        expected.loss(batch, generator=generator()), list(expected.parameters())
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    fit(model, lambda _: batch, steps=1, optimizer=optimizer, generator=generator())
    for a, b, gradient in zip(model.parameters(), expected.parameters(), gradients, strict=True):
        torch.testing.assert_close(a, b - 0.5 * gradient)


def test_the_default_optimiser_is_adam():
    a, b = build("lstm"), build("lstm")
    fit(a, frames(), steps=3)
    fit(b, frames(), steps=3, optimizer=torch.optim.Adam(b.parameters(), lr=1e-3))
    assert equal(a.state_dict(), b.state_dict())


def test_training_lowers_an_exact_loss():
    model = build("lstm")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    data = frames(1).expand(8, -1, -1)
    before = model.loss(data).item()
    history = fit(model, data, steps=60, optimizer=optimizer, evaluate_every=20)
    losses = [record["loss"] for record in history]
    assert before > losses[0] > losses[1] > losses[2] > model.loss(data).item()


def parameters_after(steps, **options):
    model = build("lstm")
    fit(model, frames(), steps=steps, optimizer=OPTIMIZERS["sgd"](model), **options)
    return copy.deepcopy(model.state_dict())


def test_the_average_is_an_exponential_moving_one(tmp_path):
    expected = parameters_after(1)
    for step in (2, 3, 4):
        raw = parameters_after(step)
        expected = {name: 0.7 * expected[name] + 0.3 * raw[name] for name in raw}
    seen = []

    def evaluate(model):
        seen.append(copy.deepcopy(model.state_dict()))
        return {}

    path = tmp_path / "run.h5"
    got = parameters_after(4, average=0.7, evaluate=evaluate, checkpoint=path)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])
    assert equal(seen[-1], got)
    assert equal(seqebm.load(path).state_dict(), got)


def test_corrupted_frames_are_remembered_and_clean_ones_expected():
    """Two steps by hand, with noise from the same generator as the chains."""

    def flip(frames, generator):
        return torch.where(torch.rand(frames.shape, generator=generator) < 0.3, 1 - frames, frames)

    fitted, model, source = build("rtrbm"), build("rtrbm"), generator()
    optimizer = OPTIMIZERS["sgd"](model)
    for _ in range(2):
        optimizer.zero_grad()
        past = flip(frames(), source)
        model.loss(frames(), None, source, past).backward()
        optimizer.step()
    optimizer = OPTIMIZERS["sgd"](fitted)
    options = {"optimizer": optimizer, "corrupt": flip, "generator": generator()}
    fit(fitted, lambda step: frames(), steps=2, **options)
    assert equal(fitted.state_dict(), model.state_dict())


def test_all_kinds_of_data_give_the_same_run():
    data = frames()
    batches = minibatches(data, 3, seed=4)
    lengths = torch.full((3,), 5)
    found = []
    for given in (
        data,
        Sequences.from_frames(data),
        batches,
        lambda step: (batches(step), lengths),
    ):
        model = build("rtrbm")
        fit(model, given, steps=5, batch=3, seed=4, generator=generator())
        found.append(copy.deepcopy(model.state_dict()))
    assert all(equal(found[0], other) for other in found[1:])


def test_the_generator_is_the_only_source_of_randomness():
    models = [build(kind) for kind in MODELS]
    state = torch.get_rng_state()
    for model in models:
        fit(model, ragged(), steps=2, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


# --- history and progress --------------------------------------------------------------------


def test_the_history_holds_the_mean_loss_since_the_last_record():
    each = fit(build("lstm"), frames(), steps=7, evaluate_every=1)
    history = fit(build("lstm"), frames(), steps=7, evaluate_every=3)
    losses = [record["loss"] for record in each]
    assert [record["step"] for record in history] == [3, 6, 7]
    means = [sum(losses[:3]) / 3, sum(losses[3:6]) / 3, losses[6]]
    assert [record["loss"] for record in history] == pytest.approx(means)
    assert set(history[0]) == {"step", "seconds", "loss"}
    seconds = [record["seconds"] for record in history]
    assert 0 < seconds[0] < seconds[1] < seconds[2]


def test_the_history_holds_what_evaluate_gives(tmp_path):
    model, calls = build("lstm"), []

    def evaluate(given):
        assert given is model
        calls.append(given)
        return {"error": float(len(calls)), "other": -1.0}

    path = tmp_path / "run.h5"
    history = fit(model, frames(), steps=4, evaluate=evaluate, evaluate_every=3, checkpoint=path)
    assert [record["error"] for record in history] == [1.0, 2.0]
    assert [record["other"] for record in history] == [-1.0, -1.0]
    assert load_training(path)[1]["history"] == history


@pytest.mark.parametrize(("progress", "shown"), [(None, False), (False, False), (True, True)])
def test_a_progress_bar_is_shown_on_a_terminal_or_on_demand(progress, shown, capsys):
    fit(build("lstm"), frames(), steps=2, progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err and "loss=" in err) == shown


# --- minibatches -----------------------------------------------------------------------------


def numbered(n):
    """Sequences of one frame that holds their number."""
    return torch.arange(float(n)).view(n, 1, 1)


@pytest.mark.parametrize(("n", "batch"), [(6, 2), (7, 3), (5, 5), (3, 8), (1, 1)])
def test_every_sequence_comes_once_an_epoch(n, batch):
    data = minibatches(numbered(n), batch, seed=1)
    order = [int(x) for step in range(4 * n) for x in data(step).flatten()]
    assert len(data(0)) == batch
    for epoch in range(4):
        assert sorted(order[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_minibatches_depend_on_the_step_and_the_seed_only():
    data, other = minibatches(numbered(20), 3, seed=1), minibatches(numbered(20), 3, seed=1)
    ahead = {step: other(step) for step in (50, 3, 0, 7)}
    for step in range(51):
        batch = data(step)
        assert step not in ahead or torch.equal(batch, ahead[step])
    assert torch.equal(data(3), ahead[3])


def test_epochs_and_seeds_differ():
    data, other = minibatches(numbered(20), 20, seed=1), minibatches(numbered(20), 20, seed=2)
    orders = [tuple(batch.flatten().tolist()) for batch in (data(0), data(1), other(0))]
    assert len(set(orders)) == 3
    assert orders[0] != tuple(range(20))


def test_ragged_minibatches_carry_their_lengths():
    sequences = ragged()
    data = minibatches(sequences, 2, seed=1)
    seen = []
    for step in range(7):
        batch, lengths = data(step)
        assert batch.shape == (2, int(lengths.max()), 4)
        for one, length in zip(batch, lengths, strict=True):
            assert not one[length:].any()
            matches = [i for i, s in enumerate(sequences) if torch.equal(s.frames, one[:length])]
            seen += matches
    assert sorted(set(seen)) == list(range(7))


def test_sequences_of_one_length_come_as_frames():
    data = minibatches(Sequences.from_frames(frames()), 2, seed=1)
    assert isinstance(data(0), torch.Tensor)
    assert torch.equal(data(4), minibatches(frames(), 2, seed=1)(4))


@pytest.mark.parametrize("batch", [0, -1])
def test_minibatches_hold_at_least_one_sequence(batch):
    with pytest.raises(ValueError, match=f"batch: expected at least 1, got {batch}"):
        minibatches(frames(), batch, seed=1)
    with pytest.raises(ValueError, match=f"batch: expected at least 1, got {batch}"):
        fit(build("lstm"), frames(), steps=1, batch=batch)


def counted(lengths):
    """Sequences whose frames hold (sequence, time)."""
    return Sequences(
        Sequence(torch.stack([torch.full((n,), float(i)), torch.arange(float(n))], 1))
        for i, n in enumerate(lengths)
    )


@pytest.mark.parametrize(
    ("lengths", "window", "batch"),
    [([10, 3, 7], 4, 2), ([50, 49], 7, 3), ([5], 9, 1), ([9] * 5, 1, 4)],
)
def test_windows_hold_every_frame_once_an_epoch(lengths, window, batch):
    sequences = counted(lengths)
    data = windows(sequences, window, batch, seed=1)
    steps = max(1, round(sum(lengths) / (window * batch)))
    cuts = []
    for epoch in range(3):
        seen = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            frames, sizes = data(step)
            assert frames.shape[1] == int(sizes.max()) <= window
            for piece, size in zip(frames, sizes, strict=True):
                assert (piece[:size, 1].diff() == 1).all()
                seen += [(int(i), int(t)) for i, t in piece[:size]]
        assert sorted(seen) == [(i, t) for i, n in enumerate(lengths) for t in range(n)]
        cuts.append(seen)
    assert len(lengths) == 1 or cuts[0] != cuts[1]


def test_windows_depend_on_the_step_and_the_seed_only():
    data, other = (windows(counted([30, 20]), 6, 2, seed=1) for _ in range(2))
    ahead = {step: other(step) for step in (9, 0, 3)}
    for step, expected in ahead.items():
        assert all(torch.equal(a, b) for a, b in zip(data(step), expected, strict=True))
    assert not torch.equal(data(0)[0], windows(counted([30, 20]), 6, 2, seed=2)(0)[0])


def test_windows_need_a_length_and_a_batch():
    for window, batch in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"at least 1, got {window} and {batch}"):
            windows(counted([5]), window, batch, seed=1)


@pytest.mark.parametrize("nothing", [torch.empty(0, 5, 4), Sequences([])])
def test_there_must_be_sequences(nothing):
    with pytest.raises(ValueError, match="sequences"):
        minibatches(nothing, 2, seed=1)
    with pytest.raises(ValueError, match="sequences"):
        windows(Sequences([]), 2, 2, seed=1)


def test_ruined_data_are_refused_by_name():
    ruined = frames()
    ruined[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="frames: "):
        fit(build("rtrbm"), ruined, steps=10)
