import pytest
import torch
from torch import nn

import seqebm
from seqebm.cells import make_cell
from seqebm.data import Sequence, Sequences
from seqebm.learning import fit
from seqebm.learning.streams import streams
from seqebm.models.base import Memory

MODELS = {
    "RTRBM": lambda: seqebm.RTRBM(3, 4, order=2),
    "TRBM": lambda: seqebm.TRBM(3, 4, order=3),
    "LSTM": lambda: seqebm.RNN(make_cell("lstm", 3, 4, layers=2)),
    "mLSTM": lambda: seqebm.RNN(make_cell("mlstm", 3, 4)),
    "GRU-RBM": lambda: seqebm.RNNRBM(3, 4, "gru"),
    "stack": lambda: seqebm.Stack([seqebm.RTRBM(3, 4), seqebm.TRBM(4, 2)]),
    "innovations": lambda: seqebm.Innovations(seqebm.TRBM(3, 2, visible="gaussian"), 2),
    "RBM": lambda: seqebm.RBM(3, 4),
}


@pytest.fixture(params=MODELS)
def model(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = MODELS[request.param]().double()
        for name, parameter in made.named_parameters():
            nn.init.normal_(parameter, std=0.2 if "log_" in name else 0.5)
    return made


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames(batch=2, time=12, seed=2):
    return torch.rand(batch, time, 3, generator=generator(seed)).round().double()


def ragged(*lengths):
    """Sequences whose frames tell which they are and where they stand."""
    made = []
    for number, length in enumerate(lengths):
        place = torch.arange(float(length))
        made.append(Sequence(torch.stack([torch.full((length,), float(number)), place], 1)))
    return Sequences(made)


def gradient(model, **options):
    model.zero_grad()
    model.loss(frames(), generator=generator(), **options).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# --- the loss --------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 5, 11])
def test_states_that_are_not_kept_change_nothing(model, every):
    expected = gradient(model)
    model.keep_every = every
    found = gradient(model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_fewer_states_are_kept():
    model = seqebm.RNN(make_cell("mlstm", 3, 16))
    v, kept = torch.rand(4, 64, 3, generator=generator()).round(), {}
    for every in (0, 8):
        sizes = []
        model.keep_every = every

        def count(x, sizes=sizes):
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            model._remembered(v, None)
        kept[every] = sum(sizes)
    assert kept[8] < kept[0] / 5


def test_pieces_with_the_state_carried_have_the_losses_of_the_whole(model):
    v = frames()
    memory, losses = Memory(None, 5), []
    for piece in (v[:, :5], v[:, 5:10]):
        losses.append(model.loss(piece, generator=generator(), memory=memory))
    if isinstance(model, seqebm.RNN):
        expected = -model.log_prob(v)
        torch.testing.assert_close(losses[0], expected[:, :5].mean())
        torch.testing.assert_close(losses[1], expected[:, 5:10].mean())
    whole, _ = model.scan(model.initial_state(2), v)
    state, _ = (model.scan(memory.state, v[:, 10:]), None)
    first = whole if isinstance(whole, torch.Tensor) else None
    if first is not None:
        torch.testing.assert_close(state[0], whole[:, 10:])


def test_the_gradient_goes_back_to_the_beginning_of_a_piece(model):
    """As where the state before it is a constant; by autograd on the whole."""
    v = frames()
    with torch.no_grad():
        _, state = model.scan(model.initial_state(2), v[:, :5])
    memory = Memory(state, 3)
    model.zero_grad()
    model.loss(v[:, 5:11], generator=generator(), context=2, memory=memory).backward()
    found = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    if isinstance(model, seqebm.RNN):
        contexts, _ = model.scan(state, v[:, 5:11])
        log_p = model.conditional(contexts[:, 2:-1]).log_prob(v[:, 7:11], "exact")
        expected = torch.autograd.grad(
            -log_p.mean(), list(model.parameters()), allow_unused=True, materialize_grads=False
        )
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)
    _, after = model.scan(state, v[:, 5:8])
    torch.testing.assert_close(memory.state, after)
    assert not any(leaf.requires_grad for leaf in seqebm.models.base.leaves(memory.state))


# --- the data --------------------------------------------------------------------------------


def test_every_frame_is_learned_from_once_an_epoch():
    sequences = ragged(7, 30, 1, 12)
    data = streams(sequences, k1=4, k2=10, batch=3, seed=1)
    for epoch in range(2):
        seen = []
        for step in range(epoch * data.epoch, (epoch + 1) * data.epoch):
            v, lengths = data(step)
            here = data.at(step)
            for row, length in zip(v, lengths, strict=True):
                seen += [tuple(frame) for frame in row[here.context : length].tolist()]
        assert sorted(seen) == sorted(tuple(f) for s in sequences for f in s.frames.tolist())


@pytest.mark.parametrize(("k1", "k2"), [(4, 4), (4, 10), (3, 4), (10, 40), (1, 3)])
def test_rows_go_on_where_the_state_is(k1, k2):
    data = streams(ragged(25, 9, 40), k1, k2, batch=2, seed=3)
    place = {}
    for step in range(3 * data.epoch):
        here = data.at(step)
        for row, piece in enumerate(here.pieces):
            if here.fresh:
                assert (here.context, piece.last - piece.first <= k1) == (0, True)
            else:
                assert place[row] == (piece.sequence, piece.first)
                assert piece.last - piece.first > here.context
                assert here.context <= k2 - k1
            place[row] = (piece.sequence, piece.first + here.ahead)


def test_one_long_sequence_fills_a_batch():
    data = streams(torch.rand(1, 103, 2), k1=5, k2=5, batch=4, seed=1)
    assert [len(data.at(step).pieces) for step in (0, 1, 4)] == [4, 4, 4]
    assert data.epoch == 6


@pytest.mark.parametrize(("k1", "k2", "batch"), [(0, 4, 2), (4, 3, 2), (4, 4, 0)])
def test_bad_sizes(k1, k2, batch):
    with pytest.raises(ValueError, match="k1, k2, batch: expected"):
        streams(torch.rand(1, 9, 2), k1, k2, batch, 1)


# --- training --------------------------------------------------------------------------------


def trained(data, steps, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(make_cell("gru", 3, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    fit(model, data, steps=steps, optimizer=optimizer, generator=generator(), **options)
    return model


def test_a_stopped_run_goes_on_with_its_state(tmp_path):
    data = streams(frames(3, 50).float(), k1=4, k2=7, batch=2, seed=1)
    whole = trained(data, 23)
    trained(data, 11, checkpoint=tmp_path / "run.h5")
    parts = trained(data, 23, checkpoint=tmp_path / "run.h5", resume=True)
    assert all(map(torch.equal, whole.parameters(), parts.parameters()))
    with pytest.raises(ValueError, match="saved with another setting of `data`"):
        trained(frames().float(), 30, checkpoint=tmp_path / "run.h5", resume=True)


def test_what_was_long_ago_is_known_by_the_state():
    """The first frame of 24 tells all others; an update sees four, a state that goes on all."""
    first = torch.rand(40, 1, 3, generator=generator()).round()
    others = torch.zeros(40, 23, 3)
    others[:, ::4] = first  # every fourth frame is the first one again, the others are zero
    v = torch.cat([first, others[:, 1:], first], dim=1)
    model = trained(streams(v, k1=4, k2=8, batch=20, seed=1), 600)
    last = model.log_prob(v).detach()[:, [8, 12, 16]].mean()
    assert last > -0.7  # 2.08 nats where the first frame is forgotten


def test_streams_go_alone():
    data = streams(frames().float(), 4, 4, 2, 1)
    with pytest.raises(ValueError, match="data: streams go with"):
        trained(data, 1, context=2)
