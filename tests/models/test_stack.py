"""Stacks: what their layers are to each other. The laws of all models hold for them too."""

import itertools

import brute
import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm.models.conditionals import Stacked


def strong(model, seed=1, std=0.7):
    for parameter in model.parameters():
        generator = torch.Generator().manual_seed(seed + parameter.numel())
        nn.init.normal_(parameter, std=std, generator=generator)
    return model.double()


def binary(*shape, seed=1):
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double()


def rnn(visible, hidden):
    return seqebm.RNN(nn.GRU(visible, hidden, batch_first=True))


# --- up and down -----------------------------------------------------------------------------


def test_each_layer_models_the_filtered_means_of_the_one_below():
    stack = strong(seqebm.Stack([seqebm.TRBM(4, 3), seqebm.RTRBM(3, 5), rnn(5, 2)]))
    frames, lengths = binary(2, 6, 4), torch.tensor([6, 4])
    first = stack.layers[0].filter(frames, lengths)
    second = stack.layers[1].filter(first, lengths)
    assert torch.equal(stack[:2].below(frames, lengths), first)
    assert torch.equal(stack.below(frames, lengths), second)
    torch.testing.assert_close(
        stack.filter(frames, lengths), stack.layers[2].filter(second, lengths)
    )


def test_the_loss_is_the_sum_of_the_layers_losses():
    stack = strong(seqebm.Stack([rnn_free := seqebm.RTRBM(4, 3), rnn(3, 2)]))
    frames = binary(2, 6, 4)
    alone = rnn_free.loss(frames, generator=torch.Generator().manual_seed(1))
    above = stack.layers[1].loss(stack.below(frames))
    together = stack.loss(frames, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(together, alone + above)


def test_no_layer_serves_another():
    """The gradient of a lower layer is that of its own loss: the upper one pulls at nothing."""
    lower = seqebm.RTRBM(4, 3)
    stack = strong(seqebm.Stack([lower, rnn(3, 2)]))
    frames, gradients = binary(2, 6, 4), []
    for model in (stack, lower):
        stack.zero_grad()
        model.loss(frames, generator=torch.Generator().manual_seed(1)).backward()
        gradients.append([p.grad.clone() for p in lower.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_a_stack_of_one_is_its_layer():
    layer = strong(seqebm.TRBM(4, 3, order=2))
    stack, frames = seqebm.Stack([layer]), binary(2, 6, 4)
    mask = binary(2, 6, 4, seed=2) > 0
    for name in ("predict", "filter", "denoise", "log_prob"):
        assert torch.equal(getattr(stack, name)(frames), getattr(layer, name)(frames)), name
    assert torch.equal(stack.denoise(frames, mask), layer.denoise(frames, mask))
    a, b = (m.sample(5, 3, generator=torch.Generator().manual_seed(1)) for m in (stack, layer))
    assert torch.equal(a, b)


def test_slices_share_their_layers():
    stack = seqebm.Stack([seqebm.RBM(4, 3), seqebm.TRBM(3, 5), seqebm.RTRBM(5, 2)])
    assert len(stack) == 3
    assert len(stack[:2]) == 2
    assert stack[1:].layers[1] is stack.layers[2]
    assert stack[1:].visible.size == 3


def test_denoising_goes_up_to_the_top_and_down_again():
    lower, upper = (strong(seqebm.RBM(*size)) for size in ((4, 3), (3, 2)))
    frames = binary(1, 2, 4)
    h = torch.sigmoid(frames @ lower.weight.T + lower.hidden_bias)
    u = torch.sigmoid(h @ upper.weight.T + upper.hidden_bias)
    h = torch.sigmoid(u @ upper.weight + upper.visible_bias)
    expected = torch.sigmoid(h @ lower.weight + lower.visible_bias)
    torch.testing.assert_close(seqebm.Stack([lower, upper]).denoise(frames), expected.detach())


@pytest.mark.parametrize("method", ["exact", "mean_field", "gibbs"])
def test_ways_to_predict(method):
    """Mean field passes the expected hidden units down; the others average over hidden units."""
    stack = strong(seqebm.Stack([seqebm.TRBM(3, 4), seqebm.RTRBM(4, 3)]), std=0.3)
    frames = binary(20, 5, 3)
    source = torch.Generator().manual_seed(1)
    got = stack.predict(frames, method=method, generator=source)
    tolerance = {"exact": 1e-9, "mean_field": 0.02, "gibbs": 0.1}[method]
    assert (got - stack.predict(frames)).abs().max() < tolerance
    with pytest.raises(ValueError, match="method: expected one of"):
        stack.predict(frames, method="nothing")


def test_a_layer_too_large_to_enumerate():
    stack = seqebm.Stack([seqebm.RTRBM(4, 25), seqebm.RTRBM(25, 2)])
    with pytest.raises(ValueError, match="exact enumeration takes at most 24 units"):
        stack.log_prob(binary(1, 2, 4).float())


def test_samples_of_one_sequence_have_their_layers_drawn_together():
    """What the upper layer remembers is what the frame was drawn from, not what it calls for."""
    lower, upper = strong(seqebm.TRBM(4, 3, connections=("hh",))), strong(seqebm.RTRBM(3, 2))
    stack = seqebm.Stack([lower, upper])
    context, state = stack._begin(5)
    source = torch.Generator().manual_seed(1)
    frame, contexts, (below, above) = stack._draw(context, state, source, None)
    assert frame.shape == (5, 4)
    hidden = below.hidden[:, 0]
    assert bool(((hidden == 0) | (hidden == 1)).all())
    remembered, _ = upper.scan(upper.initial_state(5), hidden.unsqueeze(1))
    torch.testing.assert_close(above.hidden, remembered.hidden[:, 1])
    assert isinstance(stack.conditional(contexts), Stacked)


# --- exchanged layers ------------------------------------------------------------------------

CONNECTIONS = [("hh",), ("vv",), ("vh",), ("hv",), ("hh", "vh", "vv"), ("hh", "vh", "vv", "hv")]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("connections", CONNECTIONS)
def test_a_transposed_trbm_is_the_same_distribution(connections, order):
    model = strong(seqebm.TRBM(2, 3, order, connections=connections))
    other = model.transposed()
    for frames in itertools.product(brute.support(model)[0], repeat=2):
        hiddens = binary(2, 3, seed=int(np.array(frames).sum()) + 1).numpy()
        p = brute.trbm_joint(model, frames, hiddens)
        assert np.isclose(brute.trbm_joint(other, hiddens, frames), p)
    frames = torch.rand(2, 4, 2).double()
    assert torch.equal(other.transposed().filter(frames), model.filter(frames))


@pytest.mark.parametrize("kind", [seqebm.RBM, seqebm.TRBM])
def test_gaussian_units_cannot_become_hidden_units(kind):
    with pytest.raises(ValueError, match="visible: expected Bernoulli units, got gaussian"):
        kind(3, 2, visible="gaussian").transposed()


def test_a_deep_belief_net_that_loses_nothing():
    """Sec. 2.7.1: with the exchanged machine on top, M(v) = Σ_h P(v|h) P(h) = P(v)."""
    rbm = strong(seqebm.RBM(4, 3))
    net = seqebm.Stack([rbm, rbm.transposed()])
    frames = torch.from_numpy(brute.support(rbm)[0]).unsqueeze(1)
    torch.testing.assert_close(net.log_prob(frames), rbm.log_prob(frames))


def test_a_stack_of_trbms_that_loses_nothing():
    """Sec. 3.4, for hidden-to-hidden connections only, where p(v_t | h) sees nothing else."""
    model = strong(seqebm.TRBM(2, 2, connections=("hh",)))
    stack = seqebm.Stack([model, model.transposed()])
    for frames in itertools.product(brute.support(model)[0], repeat=2):
        p = brute.trbm_sequence_probability(model, np.array(frames))
        assert np.isclose(brute.stack_sequence_probability(stack, np.array(frames)), p)


# --- layers that do not fit ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "error", "match"),
    [
        (list, ValueError, "layers: expected at least one, got none"),
        (lambda: [seqebm.RBM(4, 3), nn.Linear(3, 2)], TypeError, r"layers\[1\]: .*got Linear"),
        (lambda: [seqebm.RBM(4, 3), seqebm.RBM(4, 3)], ValueError, r"layers\[1\]: expected 3 vis"),
        (lambda: [rnn(4, 3), seqebm.RBM(3, 2)], TypeError, r"layers\[0\]: .*got RNN"),
        (
            lambda: [seqebm.RBM(4, 3), seqebm.RBM(3, 2, "gaussian")],
            ValueError,
            r"layers\[1\]: expected Bernoulli visible units, got gaussian",
        ),
        (lambda: [seqebm.Stack([seqebm.RBM(4, 3)])], TypeError, r"layers\[0\]: .*got Stack"),
    ],
)
def test_layers_that_do_not_fit(layers, error, match):
    with pytest.raises(error, match=match):
        seqebm.Stack(layers())
