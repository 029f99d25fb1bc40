"""Training on GPUs: which steps are captured, and losses that are looked at some steps later."""

import sys
import warnings

import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import make_cell
from seqebm.learning import graphs, minibatches

fit_module = sys.modules["seqebm.learning.fit"]  # whose name its function has taken

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def generator(seed=1, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def build(kind="rtrbm", device="cpu"):
    model = {
        "rtrbm": lambda: seqebm.RTRBM(4, 3),
        "rnn": lambda: seqebm.RNN(make_cell("rnn", 4, 3)),
    }[kind]()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator())
    return model.to(device)


def frames(n=5, time=6, seed=2):
    return torch.rand(n, time, 4, generator=generator(seed)).round()


def flat(model):
    return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


# --- without a GPU ---------------------------------------------------------------------------


class Recorded:
    """In place of a CUDA graph: notes what is captured, and computes at every replay."""

    made: list

    def __init__(self, model, frames, past, source, context):
        Recorded.made.append((*frames.shape, model.gibbs_steps, past is not None))
        self.model, self.source, self.context = model, source, context

    def replay(self, frames, past):
        return graphs.gradient(self.model, frames, None, past, self.source, None, self.context)


@pytest.fixture
def recorded(monkeypatch):
    Recorded.made = []
    monkeypatch.setattr(graphs, "_Graph", Recorded)
    return Recorded.made


def test_one_graph_for_each_kind_of_step(recorded):
    model = build()
    captured = graphs.Graphs(model, generator())
    for n in (2, 3, 2):
        captured(frames(n), None)
    model.gibbs_steps = 2
    captured(frames(2), None)
    captured(frames(2), frames(2))
    assert recorded == [(2, 6, 4, 10, False), (3, 6, 4, 10, False)] + [
        (2, 6, 4, 2, past) for past in (False, True)
    ]
    captured(frames(4), None)  # one too many: as it is everywhere else
    assert len(recorded) == graphs.MOST_GRAPHS


def test_a_captured_step_gives_the_gradient(recorded):
    model, other = build(), build()
    loss = graphs.Graphs(model, generator())(frames(), None)
    assert loss == graphs.gradient(other, frames(), None, None, generator())
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_what_cannot_be_captured_is_computed_after_one_warning(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(graphs, "_Graph", fail)
    captured = graphs.Graphs(build(), generator())
    with pytest.warns(UserWarning, match=r"^training steps are not captured .* is capturing$"):
        first = captured(frames(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(frames(), None)
    assert first == graphs.gradient(build(), frames(), None, None, generator())


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
}


@pytest.fixture(params=OPTIMIZERS)
def late(request):
    """A run that looks at its losses late, as on a GPU."""
    model = build("rnn")
    optimizer = OPTIMIZERS[request.param](model.parameters())
    run = fit_module._Run(model, optimizer, {}, None, None, None, None, generator())
    assert run.waits
    run.waits = False
    return run


def test_losses_that_are_looked_at_late_are_the_same(late):
    other = build("rnn")
    optimizer = type(late.optimizer)(other.parameters(), **late.optimizer.defaults)
    run = fit_module._Run(other, optimizer, {}, None, None, None, None, generator())
    for step in range(7):
        late.update(frames(seed=step))
        run.update(frames(seed=step))
    assert late.losses == []
    late.look()
    assert late.losses == run.losses
    assert torch.equal(flat(late.model), flat(other))


def test_after_a_step_that_is_not_finite_nothing_changes(late):
    for step in range(3):
        late.update(frames(seed=step))
    before = flat(late.model)
    late.model.register_buffer("factor", torch.tensor(float("inf")))
    loss = type(late.model).loss
    late.model.loss = lambda *rest: loss(late.model, *rest) * late.model.factor
    late.update(frames())
    late.model.factor.fill_(1.0)  # later ones are finite again, and still do nothing
    for _ in range(3):
        late.update(frames())
    assert torch.equal(flat(late.model), before)
    with pytest.raises(FloatingPointError, match=r"^training stopped at step 3: loss inf"):
        late.record(None)
    assert late.history == []


def test_a_run_looks_now_and_then(late, monkeypatch):
    monkeypatch.setattr(fit_module, "LOOK_EVERY", 3)
    for step in range(7):
        late.update(frames(seed=step))
    assert (len(late.losses), len(late.unseen)) == (6, 1)


def test_nothing_is_saved_unseen(late, tmp_path):
    late.update(frames())
    late.model.loss = lambda *rest: next(late.model.parameters()).sum() * torch.inf
    late.update(frames())
    with pytest.raises(FloatingPointError):
        late.save(tmp_path / "model.h5")
    assert not (tmp_path / "model.h5").exists()


# --- with one --------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("ragged", [False, True])
def test_a_gpu_trains_as_a_cpu_does(ragged):
    """With an exact loss."""
    data, lengths = minibatches(frames(20), 5, seed=1), torch.tensor([6, 2, 4, 1, 3])
    found = []
    for device in ("cpu", "cuda"):
        model = build("rnn", device)
        seqebm.fit(
            model,
            (lambda step: (data(step), lengths)) if ragged else data,
            steps=60,
            optimizer=torch.optim.Adam(model.parameters(), lr=0.01, fused=True),
        )
        found.append(flat(model))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("kind", ["rbm", "chains", "trbm", "rtrbm", "gaussian"])
def test_captured_steps_draw_new_chains_and_learn(kind):
    """The gradients of two replays on one batch differ by their chains, and nothing warns."""
    model = {
        "rbm": lambda: seqebm.RBM(4, 3),
        "chains": lambda: seqebm.RBM(4, 3),
        "trbm": lambda: seqebm.TRBM(4, 3, order=2),
        "rtrbm": lambda: seqebm.RTRBM(4, 3, order=1),
        "gaussian": lambda: seqebm.RTRBM(4, 3, visible="gaussian:learned"),
    }[kind]().cuda()
    source = generator(1, "cuda")
    if kind == "chains":
        model.start_chains(8, source)
    captured, batch = graphs.Graphs(model, source), frames().cuda()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = []
        for _ in range(4):
            loss = captured(batch, None)
            assert loss.isfinite()
            found.append(model.weight.grad.clone())
    assert not any(torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


@needs_gpu
def test_the_mean_of_captured_gradients_is_that_of_plain_ones():
    model, batch = build("rtrbm", "cuda"), frames(200).cuda()
    captured = graphs.Graphs(model, generator(1, "cuda"))
    plain = generator(2, "cuda")
    one, other = [], []
    for _ in range(200):
        captured(batch, None)
        one.append(model.weight.grad.clone())
        graphs.gradient(model, batch, None, None, plain)
        other.append(model.weight.grad.clone())
    one, other = torch.stack(one), torch.stack(other)
    spread = ((one.var(0) + other.var(0)) / 200).sqrt()
    assert (((one.mean(0) - other.mean(0)) / spread).abs() < 5).all()  # 12 entries
