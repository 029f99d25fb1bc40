"""What every sequence model promises: names, shapes, and errors that name the argument."""

import itertools

import pytest
import torch
from torch import nn

import seqebm
from seqebm import gibbs
from seqebm.models import SequenceModel
from seqebm.models.base import BEFORE, at

NAN = float("nan")


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames(batch=2, time=5, visible=4, seed=1):
    """Values that units of every kind can take."""
    return torch.rand(batch, time, visible, generator=generator(seed))


def shapes(model):
    """The shape of every attribute of a model that may be a parameter."""
    names = (
        "weight visible_bias hidden_bias hidden_to_hidden visible_to_hidden visible_to_visible "
        "initial_hidden initial_visible hidden_to_visible"
    )
    found = {name: getattr(model, name) for name in names.split() if hasattr(model, name)}
    return {name: None if value is None else tuple(value.shape) for name, value in found.items()}


STATIC = {"weight": (3, 4), "visible_bias": (4,), "hidden_bias": (3,)}

# --- names and shapes ------------------------------------------------------------------------


def test_the_contract_names_are_there():
    assert {"RBM", "TRBM", "RTRBM", "RNN", "load", "save", "fit"} <= set(dir(seqebm))
    calls = ("loss", "log_prob", "filter", "predict", "sample", "denoise", "stream")
    for name in ("RBM", "TRBM", "RTRBM", "RNN"):
        kind = getattr(seqebm, name)
        assert issubclass(kind, SequenceModel)
        assert all(callable(getattr(kind, call)) for call in calls)


def test_rbm_parameters():
    rbm = seqebm.RBM(4, 3)
    assert {name: tuple(p.shape) for name, p in rbm.named_parameters()} == STATIC
    assert rbm.chains is None


KINDS = ("hh", "vh", "vv", "hv")
SUBSETS = [subset for n in (1, 2, 3, 4) for subset in itertools.combinations(KINDS, n)]


@pytest.mark.parametrize("connections", SUBSETS)
@pytest.mark.parametrize("order", [1, 3])
def test_trbm_parameters(order, connections):
    model = seqebm.TRBM(4, 3, order=order, connections=connections)
    hh, vh, vv, hv = (name in connections for name in KINDS)
    assert model.order == order
    assert shapes(model) == {
        **STATIC,
        "hidden_to_hidden": (order, 3, 3) if hh else None,
        "visible_to_hidden": (order, 3, 4) if vh else None,
        "visible_to_visible": (order, 4, 4) if vv else None,
        "hidden_to_visible": (order, 4, 3) if hv else None,
        "initial_hidden": (order, 3) if hh or hv else None,
        "initial_visible": (order, 4) if vh or vv else None,
    }
    known = {name for name, shape in shapes(model).items() if shape}
    assert {name for name, _ in model.named_parameters()} == known


def test_a_trbm_has_all_connections_and_order_one_if_nothing_is_said():
    assert shapes(seqebm.TRBM(4, 3)) == shapes(
        seqebm.TRBM(4, 3, 1, "bernoulli", ("vv", "hh", "vh"))
    )


@pytest.mark.parametrize("order", [0, 1, 3])
def test_rtrbm_parameters(order):
    model = seqebm.RTRBM(4, 3, order=order)
    assert model.order == order
    assert shapes(model) == {
        **STATIC,
        "hidden_to_hidden": (3, 3),
        "visible_to_hidden": (order, 3, 4) if order else None,
        "visible_to_visible": (order, 4, 4) if order else None,
        "initial_hidden": (3,),
        "initial_visible": (order, 4) if order else None,
    }


def test_an_rtrbm_has_no_taps_if_nothing_is_said():
    assert seqebm.RTRBM(4, 3).order == 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU])
def test_rnn_parameters(cell, layers):
    core = cell(4, 3, layers, batch_first=True)
    model = seqebm.RNN(core, "bernoulli")
    assert model.cell.network is core
    assert model.readout.weight.shape == (4, 3)
    assert model.cell.initial_hidden.shape == (layers, 3)
    if cell is nn.LSTM:
        assert model.cell.initial_cell.shape == (layers, 3)
    else:
        assert model.cell.initial_cell is None


def test_shapes_of_all_results(any_model):
    v, lengths = frames(), torch.tensor([5, 2])
    assert any_model.loss(v).shape == ()
    assert any_model.log_prob(v, lengths).shape == (2, 5)
    assert any_model.filter(v).shape == (2, 5, 3)
    assert any_model.predict(v).shape == (2, 5, 4)
    assert any_model.denoise(v).shape == (2, 5, 4)
    assert any_model.denoise(v, v > 0.5).shape == (2, 5, 4)
    assert any_model.sample(6).shape == (1, 6, 4)
    assert any_model.sample(6, batch=3).shape == (3, 6, 4)
    assert any_model.sample_means(6, batch=3).shape == (3, 6, 4)


def test_a_single_frame_is_a_sequence(any_model):
    v = frames(1, 1)
    assert any_model.log_prob(v).shape == (1, 1)
    assert any_model.filter(v).shape == (1, 1, 3)
    any_model.loss(v).backward()


def test_a_prefix_sets_the_batch(any_model):
    assert any_model.sample(6, prefix=frames(2)).shape == (2, 6, 4)
    assert any_model.sample(6, batch=2, prefix=frames(2)).shape == (2, 6, 4)
    assert any_model.sample(6, batch=3, prefix=frames(1)).shape == (3, 6, 4)


def test_results_follow_the_precision_of_the_parameters(any_model):
    for dtype in (torch.float32, torch.float64):
        any_model.to(dtype)
        for v in (frames(), frames().double()):
            assert any_model.predict(v).dtype == dtype
            assert any_model.log_prob(v).dtype == dtype
            assert any_model.filter(v).dtype == dtype
            assert any_model.denoise(v, v > 0.5).dtype == dtype
        assert any_model.sample(2).dtype == dtype


def test_only_loss_and_log_prob_carry_gradients(any_model):
    v = frames()
    assert any_model.loss(v).requires_grad
    assert any_model.log_prob(v).requires_grad
    for result in (any_model.filter(v), any_model.predict(v), any_model.denoise(v)):
        assert not result.requires_grad
    assert not any_model.sample(2, prefix=v).requires_grad


def test_frames_are_left_alone(any_model):
    v, lengths = frames(), torch.tensor([5, 2])
    copy = v.clone()
    any_model.loss(v, lengths)
    any_model.denoise(v, v > 0.5, lengths)
    any_model.sample(2, prefix=v)
    assert torch.equal(v, copy)


def test_a_generator_is_the_only_source_of_randomness(any_model):
    v, state = frames(), torch.get_rng_state()
    for draw in (
        lambda g: any_model.loss(v, generator=g).detach(),
        lambda g: any_model.sample(4, batch=3, generator=g),
        lambda g: any_model.sample(4, prefix=v, generator=g),
        lambda g: any_model.sample_means(4, batch=3, generator=g),
    ):
        assert torch.equal(draw(generator()), draw(generator()))
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_build_a_model_of_the_same_shape(any_model):
    if isinstance(any_model, seqebm.RNN | seqebm.Stack | seqebm.Innovations):
        return  # built from other modules; their settings are tested with their files
    again = type(any_model)(**any_model.settings)
    assert again.settings == any_model.settings
    for (name, a), (_, b) in zip(
        again.named_parameters(), any_model.named_parameters(), strict=True
    ):
        assert a.shape == b.shape, name


# --- constructors ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [seqebm.RBM, seqebm.TRBM, seqebm.RTRBM])
@pytest.mark.parametrize(("sizes", "name"), [((0, 3), "n_visible"), ((4, -1), "n_hidden")])
def test_layers_have_at_least_one_unit(kind, sizes, name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got"):
        kind(*sizes)


@pytest.mark.parametrize("kind", [seqebm.RBM, seqebm.TRBM, seqebm.RTRBM])
def test_unknown_units_are_refused(kind):
    with pytest.raises(ValueError, match=r"units: expected one of .*'poisson'"):
        kind(4, 3, visible="poisson")
    with pytest.raises(TypeError, match=r"units: .*int"):
        kind(4, 3, visible=7)


def test_orders_out_of_range_are_refused():
    with pytest.raises(ValueError, match="order: expected at least 1, got 0"):
        seqebm.TRBM(4, 3, order=0)
    with pytest.raises(ValueError, match="order: expected at least 0, got -1"):
        seqebm.RTRBM(4, 3, order=-1)


@pytest.mark.parametrize("connections", [(), ("vx",), ("hh", "xx"), "hh"])
def test_unknown_connections_are_refused(connections):
    with pytest.raises(ValueError, match="connections: expected some of"):
        seqebm.TRBM(4, 3, connections=connections)


# --- bad frames ------------------------------------------------------------------------------


def uses(model):
    """Every call that takes frames and lengths."""
    return {
        "loss": model.loss,
        "log_prob": model.log_prob,
        "filter": model.filter,
        "predict": model.predict,
        "denoise": lambda frames, lengths=None: model.denoise(frames, None, lengths),
    }


def refuses(model, error, match, *arguments):
    for call in uses(model).values():
        with pytest.raises(error, match=match):
            call(*arguments)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 5), (2, 5, 4, 1), (0, 5, 4), (2, 0, 4), (4,)])
def test_frames_of_a_wrong_shape(any_model, shape):
    match = r"frames: expected shape \[batch, time, 4\].* got \["
    refuses(any_model, ValueError, match, torch.zeros(shape))


def test_vectors_are_no_sequences():
    for kind in (seqebm.TRBM, seqebm.RTRBM):
        refuses(kind(4, 3), ValueError, r"frames: .*got \[5, 4\]", torch.zeros(5, 4))


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 5, 4).long(), torch.zeros(2, 5, 4) > 0, torch.zeros(2, 5, 4) * 1j]
)
def test_frames_of_a_wrong_type(any_model, bad):
    refuses(any_model, TypeError, f"frames: expected a floating-point tensor, got {bad.dtype}", bad)


def test_frames_that_are_no_tensor(any_model):
    refuses(any_model, TypeError, "frames: .*got list", [[[0.0] * 4]])
    refuses(any_model, TypeError, "frames: .*got float32", frames().numpy())


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_frames_that_are_not_finite(any_model, value):
    v = frames()
    v[1, 2, 3] = value
    refuses(any_model, ValueError, "frames: ", v)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_frames_out_of_range(any_model, value):
    v = frames()
    v[1, 2, 3] = value
    if any_model.visible.spec == "bernoulli":
        refuses(any_model, ValueError, r"frames: Bernoulli units take values in \[0, 1\]", v)
    else:
        assert bool(any_model.log_prob(v).isfinite().all())


# --- bad lengths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "error", "match"),
    [
        (torch.tensor([5]), ValueError, r"lengths: expected shape \[2\], got \[1\]"),
        (torch.tensor([[5, 5]]), ValueError, r"lengths: expected shape \[2\], got \[1, 2\]"),
        (torch.tensor(5), ValueError, r"lengths: expected shape \[2\], got \[\]"),
        (torch.tensor([5, 6]), ValueError, r"lengths: expected numbers from 1 to 5, got 5 to 6"),
        (torch.tensor([0, 5]), ValueError, r"lengths: .* from 1 to 5, got 0 to 5"),
        (torch.tensor([-1, 5]), ValueError, r"lengths: .* from 1 to 5, got -1 to 5"),
        (torch.tensor([5.0, 4.0]), TypeError, r"lengths: .*integer tensor, got torch\.float32"),
        (torch.tensor([True, True]), TypeError, r"lengths: .*integer tensor, got torch\.bool"),
        ([5, 4], TypeError, "lengths: .*got list"),
        (5, TypeError, "lengths: .*got int"),
    ],
)
def test_bad_lengths(any_model, lengths, error, match):
    refuses(any_model, error, match, frames(), lengths)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_lengths_may_be_any_integers(any_model, dtype):
    lengths = torch.tensor([5, 2])
    expected = any_model.log_prob(frames(), lengths)
    assert torch.equal(any_model.log_prob(frames(), lengths.to(dtype)), expected)


# --- padding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [NAN, float("inf"), 7e30, -3.0])
def test_padding_never_touches_a_result(any_model, padding):
    lengths = torch.tensor([5, 2, 1])
    clean, mask = frames(3), frames(3, seed=2) > 0.3
    for i, length in enumerate(lengths):
        clean[i, length:] = 0
    dirty = clean.clone()
    for i, length in enumerate(lengths):
        dirty[i, length:] = padding
    for name, call in uses(any_model).items():
        if name == "loss":
            continue
        expected = call(clean, lengths)
        assert bool(expected.isfinite().all()), name
        assert torch.equal(call(dirty, lengths), expected), name
        for i, length in enumerate(lengths):
            assert not expected[i, length:].any(), name
    expected = any_model.denoise(clean, mask, lengths)
    assert torch.equal(any_model.denoise(dirty, mask, lengths), expected)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("signal", ["loss", "log_prob"])
def test_padding_never_touches_a_gradient(any_model, signal):
    lengths = torch.tensor([5, 2, 1])
    dirty = frames(3)
    dirty[1, 2:], dirty[2, 1:] = NAN, 1e30
    clean = torch.where(dirty.isfinite() & (dirty < 1), dirty, 0.5)

    def learn(v):
        if signal == "loss":
            return any_model.loss(v, lengths, generator())
        return any_model.log_prob(v, lengths).sum()

    assert torch.equal(learn(clean), learn(dirty))
    for (name, a), b in zip(
        gradients(any_model, learn(clean)).items(),
        gradients(any_model, learn(dirty)).values(),
        strict=True,
    ):
        assert bool(a.isfinite().all()), name
        assert torch.equal(a, b), name


def test_the_loss_of_a_ragged_batch_averages_over_frames(any_model):
    """For models with an exact loss; a chain's loss is tested with its gradient."""
    if not isinstance(any_model, seqebm.RNN):
        return
    lengths = torch.tensor([5, 2])
    expected = -any_model.log_prob(frames(), lengths).sum() / 7
    torch.testing.assert_close(any_model.loss(frames(), lengths), expected)


# --- what the memory is given ----------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3]), torch.tensor([2, 5])])
def test_the_context_is_remembered_and_not_learned_from(lengths):
    """The gradient is that of log p of the frames after the context alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(nn.LSTM(4, 3, batch_first=True)).double()
    inside = torch.arange(5) < (torch.tensor([5, 5]) if lengths is None else lengths)[:, None]
    learned = inside & (torch.arange(5) >= 2)
    expected = -model.log_prob(frames().double(), lengths)[learned].mean()
    loss = model.loss(frames().double(), lengths, context=2)
    torch.testing.assert_close(loss, expected)
    parameters = [*model.parameters()]
    found, wanted = (torch.autograd.grad(x, parameters) for x in (loss, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_chains_run_after_the_context_only():
    model = seqebm.RTRBM(4, 3)
    lengths, chains = torch.tensor([5, 3]), frames(seed=2).round()
    for some in (None, lengths):
        ends = chains.clone()
        model.loss(frames(), some, generator(), None, ends, 3)
        assert torch.equal(ends[:, :3], chains[:, :3])
        assert not torch.equal(ends[0, 3:], chains[0, 3:])
        model.loss(frames(), some, generator(), None, chains.clone(), 0).backward()


@pytest.mark.parametrize(
    ("lengths", "context"),
    [(None, 5), (None, -1), (None, 9), (torch.tensor([3, 2]), 3)],
)
def test_contexts_that_leave_nothing_to_learn_from(any_model, lengths, context):
    with pytest.raises(ValueError, match=f"context: expected less than .* got {context}"):
        any_model.loss(frames(), lengths, context=context)


def test_the_frames_themselves_are_the_past_if_nothing_is_said(any_model):
    a, b = (any_model.loss(frames(), None, generator(), past) for past in (None, frames()))
    assert torch.equal(a, b)


def test_the_loss_expects_the_frames_given_another_past(any_model):
    """Frame by frame, for models with an exact loss."""
    if not isinstance(any_model, seqebm.RNN):
        return
    clean, noisy, total = frames(), frames(seed=2), 0.0
    for t in range(5):
        mixed = torch.cat([noisy[:, :t], clean[:, t : t + 1]], dim=1)
        total = total - any_model.log_prob(mixed)[:, -1].sum()
    torch.testing.assert_close(any_model.loss(clean, past=noisy), total / 10)


def test_the_chains_run_given_another_past(any_model, monkeypatch):
    """The difference of free energies under the machines that the other past calls for."""
    if isinstance(any_model, seqebm.RNN | seqebm.RBM | seqebm.Stack | seqebm.Innovations):
        return
    clean, noisy, ends = (frames(seed=seed) for seed in (1, 2, 3))
    monkeypatch.setattr(gibbs, "chain", lambda *_: (ends, ends))
    contexts, _ = any_model.scan(any_model.initial_state(2), noisy)
    machines = any_model.rbm(at(contexts, BEFORE))
    expected = (machines.free_energy(clean) - machines.free_energy(ends)).mean()
    torch.testing.assert_close(any_model.loss(clean, past=noisy), expected)


def test_a_past_of_another_length(any_model):
    with pytest.raises(ValueError, match=r"past: expected shape \[2, 5, 4\], got \[2, 4, 4\]"):
        any_model.loss(frames(), past=frames(time=4))


def test_a_past_that_is_not_finite(any_model):
    with pytest.raises(ValueError, match="past: "):
        any_model.loss(frames(), past=frames() * NAN)


# --- bad masks -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1), (1, 5, 4), (2, 4, 4)])
def test_masks_of_a_wrong_shape(any_model, shape):
    with pytest.raises(
        ValueError, match=r"mask: expected the shape of the frames \[2, 5, 4\], got"
    ):
        any_model.denoise(frames(), torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("mask", [torch.ones(2, 5, 4), torch.ones(2, 5, 4).long(), [True], 1])
def test_masks_of_a_wrong_type(any_model, mask):
    with pytest.raises(TypeError, match="mask: expected a bool tensor, got"):
        any_model.denoise(frames(), mask)


@pytest.mark.parametrize(
    "bad", [torch.ones(2, 5, 4).long(), torch.ones(2, 5, 4).numpy(), [[[1.0]]]]
)
def test_masked_frames_of_a_wrong_type(bad):
    with pytest.raises(TypeError, match="frames: expected a floating-point tensor"):
        seqebm.RTRBM(4, 3).denoise(bad, torch.ones(2, 5, 4, dtype=torch.bool))


def test_unobserved_values_may_be_anything(any_model):
    mask = frames(seed=2) > 0.3
    dirty = torch.where(mask, frames(), NAN)
    expected = any_model.denoise(frames(), mask)
    assert bool(expected.isfinite().all())
    assert torch.equal(any_model.denoise(dirty, mask), expected)
    with pytest.raises(ValueError, match="frames: "):
        any_model.denoise(dirty, torch.ones_like(mask))


def test_a_sequence_of_which_nothing_is_observed(any_model):
    mask = torch.ones(2, 5, 4, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(ValueError, match="mask: nothing of sequence 1 is observed"):
        any_model.denoise(frames(), mask)
    mask[1, 4] = True  # in the padding
    with pytest.raises(ValueError, match="mask: nothing of sequence 1 is observed"):
        any_model.denoise(frames(), mask, torch.tensor([5, 4]))
    assert bool(any_model.denoise(frames(), mask).isfinite().all())


@pytest.mark.parametrize(("sweeps", "masked"), [(-1, True), (1, False)])
def test_bad_numbers_of_sweeps(any_model, sweeps, masked):
    mask = torch.ones(2, 5, 4, dtype=torch.bool) if masked else None
    with pytest.raises(ValueError, match="sweeps: expected 0, or with a mask at least 0"):
        any_model.denoise(frames(), mask, sweeps=sweeps)


# --- sweeps back and forth -----------------------------------------------------------------------


def test_a_sweep_is_half_a_mean_field_step_on_the_log_likelihood():
    """An RNN's loss is exact; a missing value appears in its frame and in all later contexts."""
    model = seqebm.RNN(nn.GRU(4, 3, batch_first=True)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator())
    v, mask = frames().double(), frames(seed=2) > 0.3
    filled = model.denoise(v, mask).requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_prob(filled).sum(), filled)
    expected = torch.where(mask, v, (filled + gradient.sigmoid()) / 2)
    torch.testing.assert_close(model.denoise(v, mask, sweeps=1), expected.detach())


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_sweeps_see_the_future(visible):
    """Units that keep their value: what is missing first is known from what comes later."""
    model = seqebm.TRBM(4, 3, visible=visible, connections=("vv",))
    with torch.no_grad():
        model.visible_to_visible[0] = torch.eye(4) * (1 if visible == "gaussian" else 8)
        model.visible_bias.fill_(0 if visible == "gaussian" else -4)
        model.initial_visible.fill_(0.5)
    v = torch.tensor([1.0, 0.0, 1.0, 0.0]).expand(1, 6, 4)
    mask = torch.ones(1, 6, 4, dtype=torch.bool)
    mask[0, 0] = False
    errors = [
        (model.denoise(v, mask, sweeps=n, generator=generator()) - v)[0, 0].abs().mean()
        for n in (0, 2, 20)
    ]
    assert errors[0] > 0.4  # forwards, nothing is known yet
    assert errors[1] < 0.35
    if visible == "gaussian":  # what lies half way between 0.5 and the next frame, exactly
        assert abs(errors[2] - 0.25) < 0.01
    else:  # mean field: the exact error is 0.02
        assert errors[2] < 0.3


def test_sweeps_repeat_with_their_generator(any_model):
    if isinstance(any_model, seqebm.Innovations):
        return  # has none
    v, mask = frames(), frames(seed=2) > 0.3
    a, b = (any_model.denoise(v, mask, sweeps=2, generator=generator()) for _ in range(2))
    assert torch.equal(a, b)
    assert all(p.grad is None for p in any_model.parameters())


# --- sampling with known values --------------------------------------------------------------


def test_samples_keep_what_is_known(any_model):
    known, mask = frames(2, 6).round(), frames(2, 6, seed=2) > 0.5
    dirty = torch.where(mask, known, NAN)
    drawn = any_model.sample(6, batch=2, known=dirty, mask=mask, generator=generator())
    assert torch.equal(drawn[mask], known[mask])
    assert bool(drawn.isfinite().all())
    for prefix in (frames(2), frames(1)):
        again = any_model.sample(6, 2, prefix, generator(), known=dirty, mask=mask)
        assert torch.equal(again[mask], known[mask])


@pytest.mark.parametrize(
    ("known", "mask", "error", "match"),
    [
        (frames(2, 6), None, TypeError, "known, mask: expected both or neither"),
        (None, frames(2, 6) > 0, TypeError, "known, mask: expected both or neither"),
        (frames(2, 5), frames(2, 5) > 0, ValueError, r"known: expected \[2, 6, visible\], got"),
        (frames(1, 6), frames(1, 6) > 0, ValueError, r"known: expected \[2, 6, visible\], got"),
        (frames(2, 6), frames(2, 5) > 0, ValueError, "mask: expected the shape"),
        (frames(2, 6), frames(2, 6), TypeError, "mask: expected a bool tensor"),
        (frames(2, 6) * NAN, frames(2, 6) >= 0, ValueError, "known: "),
    ],
)
def test_bad_known_values(any_model, known, mask, error, match):
    with pytest.raises(error, match=match):
        any_model.sample(6, batch=2, known=known, mask=mask)


# --- bad sampling ----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [-0.1, NAN, float("inf")])
def test_bad_temperatures(any_model, temperature):
    for draw in (lambda **a: any_model.sample(2, **a), any_model.stream().draw):
        with pytest.raises(ValueError, match="temperature: expected 0 or more"):
            draw(temperature=temperature)


@pytest.mark.parametrize(("length", "batch"), [(0, 1), (-3, 1), (1, 0), (1, -2)])
def test_lengths_and_batches_below_one(any_model, length, batch):
    for draw in (any_model.sample, any_model.sample_means):
        with pytest.raises(ValueError, match=f"length ≥ 1 and batch ≥ 1, got {length} and {batch}"):
            draw(length, batch)


@pytest.mark.parametrize(
    ("prefix", "error", "match"),
    [
        (torch.zeros(2, 5, 3), ValueError, r"prefix: expected shape .*got \[2, 5, 3\]"),
        (torch.zeros(5, 4), ValueError, r"prefix: expected shape .*got \[5, 4\]"),
        (torch.zeros(1, 0, 4), ValueError, r"prefix: expected shape .*got \[1, 0, 4\]"),
        (torch.zeros(2, 5, 4).long(), TypeError, r"prefix: .*got torch\.int64"),
        ([[0.0] * 4], TypeError, "prefix: .*got list"),
        (torch.full((2, 5, 4), NAN), ValueError, "prefix: "),
    ],
)
def test_bad_prefixes(any_model, prefix, error, match):
    for draw in (any_model.sample, any_model.sample_means):
        with pytest.raises(error, match=match):
            draw(3, prefix=prefix)


def test_a_prefix_of_another_batch(any_model):
    with pytest.raises(ValueError, match="prefix: expected 1 or 3 sequences, got 2"):
        any_model.sample(3, batch=3, prefix=frames(2))


# --- bad methods -----------------------------------------------------------------------------


def test_unknown_methods(any_model):
    for call in (any_model.log_prob, any_model.predict):
        with pytest.raises(ValueError, match=r"method: expected one of .*got 'guess'"):
            call(frames(), method="guess")
    with pytest.raises(ValueError, match=r"method: expected one of .*got 'guess'"):
        any_model.stream().predict(method="guess")


@pytest.mark.parametrize(
    "model",
    [
        seqebm.RBM(25, 25),
        seqebm.TRBM(25, 25),
        seqebm.RTRBM(25, 25),
        seqebm.RTRBM(2, 25, visible="gaussian"),
    ],
)
def test_models_too_large_for_an_exact_likelihood(model):
    v = torch.zeros(1, 2, model.visible.size)
    with pytest.raises(ValueError, match=r"at most 24 units in the smaller layer.* has 25 "):
        model.log_prob(v, method="exact")
    with pytest.raises(ValueError, match=r"at most 24 units in the smaller layer.* has 25 "):
        model.predict(v, method="exact")
    assert bool(model.predict(v).isfinite().all())


@pytest.mark.parametrize("method", ["exact", "mean_field", "gibbs"])
def test_all_methods_of_predict_agree_where_the_coupling_is_weak(method):
    model = seqebm.RTRBM(4, 3)
    nn.init.normal_(model.visible_bias, std=1.0, generator=generator())
    nn.init.normal_(model.weight, std=0.1, generator=generator())
    v = frames()
    got = model.predict(v, method=method, generator=generator())
    # a Gibbs mean of 50 frames has a standard error of at most 0.1·√3/4/√50 = 0.006
    torch.testing.assert_close(got, model.predict(v, method="exact"), rtol=0, atol=0.03)


# --- streams ---------------------------------------------------------------------------------


def test_a_stream_predicts_before_the_first_frame(any_model):
    first = any_model.predict(frames(1))[:, 0]
    torch.testing.assert_close(any_model.stream().predict().reshape(1, 4), first)


@pytest.mark.parametrize(
    ("frame", "error", "match"),
    [
        (torch.zeros(4), ValueError, r"frame: expected a tensor \[batch, visible\], got \[4\]"),
        (torch.zeros(1, 1, 4), ValueError, r"frame: .*got \[1, 1, 4\]"),
        ([[0.0] * 4], ValueError, "frame: .*got list"),
        (torch.zeros(1, 5), ValueError, r"frame: expected .*got \[1, 1, 5\]"),
        (torch.zeros(0, 4), ValueError, "frame: expected"),
        (torch.zeros(1, 4).long(), TypeError, r"frame: .*got torch\.int64"),
        (torch.full((1, 4), NAN), ValueError, "frame"),
    ],
)
def test_bad_frames_of_a_stream(any_model, frame, error, match):
    stream, fresh = any_model.stream(), any_model.stream()
    for call in (stream.filter, stream.denoise):
        with pytest.raises(error, match=match):
            call(frame)
    good = frames(2)[:, 0]
    assert torch.equal(stream.filter(good), fresh.filter(good))  # a refused frame leaves no trace


def test_the_batch_of_a_stream_is_fixed_by_its_first_frame(any_model):
    stream = any_model.stream()
    stream.filter(frames(2)[:, 0])
    for call in (stream.filter, stream.denoise):
        with pytest.raises(ValueError, match="frame: expected a batch of 2, got 3"):
            call(frames(3)[:, 0])


def test_bad_masks_of_a_stream(any_model):
    frame = frames()[:, 0]
    with pytest.raises(TypeError, match="mask: expected a bool tensor"):
        any_model.stream().denoise(frame, torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"mask: .*\[2, 4\], got \[4\]"):
        any_model.stream().denoise(frame, torch.ones(4, dtype=torch.bool))


def test_a_stream_carries_no_gradient(any_model):
    stream, frame = any_model.stream(), frames()[:, 0]
    assert not stream.predict().requires_grad
    assert not stream.filter(frame).requires_grad
    assert not stream.denoise(frame, frame > 0.5).requires_grad


def test_frames_on_another_device(any_model):
    with pytest.raises(ValueError, match="frames: expected a tensor on cpu, got one on meta"):
        any_model.predict(torch.rand(2, 5, 4, device="meta"))


# --- where training starts -------------------------------------------------------------------


def test_a_model_that_starts_at_a_mean_expects_it(any_model):
    for name, parameter in any_model.named_parameters():
        if "log_sigma" not in name:
            torch.nn.init.zeros_(parameter)
    mean = torch.tensor([0.1, 0.5, 0.7, 0.9])
    any_model.start_at(mean)
    expected = any_model.predict(frames(), method="exact")
    torch.testing.assert_close(expected, mean.expand_as(expected))


def test_a_pixel_that_is_never_on_can_still_learn_to_be():
    model = seqebm.RBM(2, 1)
    model.start_at(torch.tensor([0.0, 1.0]))
    assert model.visible_bias.isfinite().all()


def test_means_that_no_model_can_start_at(any_model):
    with pytest.raises(ValueError, match=r"^mean: expected shape \[4\], got \[3\]"):
        any_model.start_at(torch.rand(3))
    with pytest.raises(ValueError, match=r"^mean: "):
        any_model.start_at(torch.full((4,), torch.nan))
