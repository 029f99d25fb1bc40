"""What the hidden units of whole sequences are: exactly, by particles, and bounds that follow.

A TRBM filters its hidden units by mean field, which forgets what is uncertain about them and never
looks ahead. Here the future counts too, and the likelihood with the hidden units summed out.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqebm import likelihood
from seqebm.checks import check_generator
from seqebm.models import TRBM, SequenceModel, Stack
from seqebm.models.base import BEFORE, at
from seqebm.models.conditionals import EXACT_LOG_PROB
from seqebm.models.temporal import Context
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli

MOST_UNITS = 12  #: in the last `order` hidden layers, whose states are enumerated
TINY = 1e-7  #: what probabilities are kept away from 0 and 1 by


class Posterior(NamedTuple):
    """What is known of the hidden units of sequences; zero in the padding.

    Attributes:
        log_prob: log p(v_t | v_<t) in nats with the hidden units summed out, [batch, time].
        filtered: E[h_t | v_1 … v_t], [batch, time, hidden].
        smoothed: E[h_t | v_1 … v_T], or as far ahead as was looked, [batch, time, hidden].
        effective: how many particles still count before each frame, [batch, time].
    """

    log_prob: Tensor
    filtered: Tensor
    smoothed: Tensor
    effective: Tensor


@torch.no_grad()
def particle_posterior(
    model: TRBM,
    frames: Tensor,
    lengths: Tensor | None = None,
    particles: int = 100,
    lag: int = 20,
    generator: torch.Generator | None = None,
) -> Posterior:
    """Sequential Monte Carlo over the hidden units of a TRBM.

    A particle is a history of hidden units. It is weighed by p(v_t | v_<t, its history) and then
    extended by a draw from P(h_t | v_t, v_<t, its history) (eq. 3.4), the proposal that knows the
    frame: weights do not depend on what is drawn, so particles are chosen (systematically, when
    fewer than half of them count) before they are extended. The product of the mean weights is an
    unbiased estimate of the likelihood, and so the sum of `log_prob` is below the log-likelihood in
    expectation. E[h_t | …] is smoothed over the histories of the particles `lag` frames later.

    The weights need log Z of each particle's RBM: exact where its smaller layer has at most 20
    units, else by mean field (`likelihood.mean_field_log_partition`), without the promise above.

    Args:
        model: a TRBM.
        frames: [batch, time, visible].
        lengths: [batch] or None.
        particles: how many for each sequence.
        lag: how many frames ahead are looked at in smoothing. Longer histories have fewer
            different beginnings.
        generator: source of randomness.

    Raises:
        TypeError: another model than a TRBM.
        ValueError: bad frames or lengths, or less than 1 particle or a lag below 1.

    Example:
        >>> from seqebm.models import TRBM
        >>> posterior = particle_posterior(TRBM(9, 5), torch.rand(2, 7, 9), particles=10)
        >>> posterior.smoothed.shape
        torch.Size([2, 7, 5])
    """
    _check_trbm(model)
    check_generator(generator, frames.device)
    for name, value in (("particles", particles), ("lag", lag)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    frames, mask = model._checked(frames, lengths)
    batch = len(frames)
    contexts, _ = model.scan(model.initial_state(batch), frames)
    windows = _first_windows(model, batch, particles)
    log_weights = frames.new_zeros(batch, particles).log_softmax(1)
    log_probs: list[Tensor] = []
    filtered: list[Tensor] = []
    smoothed: list[Tensor] = []
    effective: list[Tensor] = []
    recent: deque[Tensor] = deque()  # draws of the last frames, [batch, particles, hidden]
    for t, frame in enumerate(frames.split(1, dim=1)):
        rbm = _machines(model, contexts, t, windows)
        gain = _log_prob(rbm, frame, windows).expand(batch, particles)
        log_weights = (log_weights + gain).where(mask[:, t : t + 1], log_weights)
        log_probs.append(log_weights.logsumexp(1))
        log_weights = log_weights.log_softmax(1)
        weights = log_weights.exp()
        effective.append(1 / weights.square().sum(1))
        mean = rbm.hidden_mean(frame).expand(batch, particles, -1)
        filtered.append(_average(weights, mean))
        if len(recent) == lag:
            smoothed.append(_average(weights, recent.popleft()))
        places, log_weights = _chosen(log_weights, effective[-1], generator)
        mean = _picked(mean, places)
        recent = deque(_picked(past, places) for past in recent)
        drawn = Bernoulli(mean.shape[-1]).sample(mean, generator)
        recent.append(drawn)
        if windows is not None:
            windows = torch.cat([drawn.unsqueeze(2), _picked(windows, places)[:, :, :-1]], 2)
    smoothed += [_average(log_weights.exp(), past) for past in recent]
    columns = [torch.stack(c, 1) for c in (log_probs, filtered, smoothed, effective)]
    return Posterior(*(_within(column, mask) for column in columns))


@torch.no_grad()
def exact_posterior(model: TRBM, frames: Tensor, lengths: Tensor | None = None) -> Posterior:
    """The forward-backward algorithm over all states of a TRBM's last hidden layers.

    For models so small that these are few; what the other ways are measured by.

    Args:
        model: a TRBM with at most 12 hidden units in all of its `order` last layers.
        frames: [batch, time, visible].
        lengths: [batch] or None.

    Returns:
        The posterior, smoothed over whole sequences; `effective` is infinite.

    Raises:
        TypeError: another model than a TRBM.
        ValueError: bad frames or lengths, or a model too large.

    Example:
        >>> from seqebm.models import TRBM
        >>> model = TRBM(9, 3, order=2)
        >>> exact_posterior(model, torch.rand(2, 7, 9)).log_prob.shape
        torch.Size([2, 7])
    """
    _check_trbm(model)
    frames, mask = model._checked(frames, lengths)
    units = len(model.weight) * (model.order if model.initial_hidden is not None else 1)
    if units > MOST_UNITS:
        raise ValueError(
            f"model: expected at most {MOST_UNITS} hidden units in its last {model.order} layers, "
            f"got {units}"
        )
    ends = mask.sum(1).tolist()
    each = [_forward_backward(model, one[:end]) for one, end in zip(frames, ends, strict=True)]
    columns = [pad_sequence(list(column), batch_first=True) for column in zip(*each, strict=True)]
    time = mask.shape[1]
    padded = [F.pad(c, (0, 0) * (c.ndim - 2) + (0, time - c.shape[1])) for c in columns]
    return Posterior(*padded)


def _forward_backward(model: TRBM, frames: Tensor) -> Posterior:
    """The posterior of one sequence [time, visible], without the axis of the batch.

    A state s is what the binary layers in the window before a frame are, the newest in its lowest
    digits; a layer h that follows makes it h + 2ᴴ s, without the oldest layer.
    """
    hidden = len(model.weight)
    most = 1 if model.initial_hidden is None else 2 ** (hidden * model.order)  # states at a time
    layers = likelihood.binary_states(hidden, 0, 2**hidden, model.weight)
    contexts, _ = model.scan(model.initial_state(1), frames.unsqueeze(0))
    forward, log_probs, steps = frames.new_zeros(1), [], []
    for t, frame in enumerate(frames):
        windows = _all_windows(model, t)
        rbm = _machines(model, contexts, t, windows)
        x = (rbm.hidden_drive(frame) + rbm.hidden_bias)[0]
        given_frame = x @ layers.t() - F.softplus(x).sum(-1, keepdim=True)
        step = _log_prob(rbm, frame, windows).view(-1, 1) + given_frame  # [states, layers]
        joint = forward.unsqueeze(-1) + step
        log_probs.append(joint.logsumexp((0, 1)))
        steps.append((step, joint - log_probs[-1]))
        forward = steps[-1][1].reshape(-1, min(joint.numel(), most)).logsumexp(0)
    filtered = [joint.exp().sum(0) @ layers for _, joint in steps]
    smoothed, backward = [], torch.zeros_like(forward)
    for step, joint in reversed(steps):
        ahead = backward.repeat(step.numel() // len(backward)).view_as(step)
        smoothed.append((joint + ahead).flatten().softmax(0).view_as(step).sum(0) @ layers)
        backward = (step + ahead).logsumexp(1)
    return Posterior(
        torch.stack(log_probs),
        torch.stack(filtered),
        torch.stack(smoothed[::-1]),
        frames.new_full((len(frames),), torch.inf),
    )


class Bound(NamedTuple):
    """A lower bound of log p(v_1 … v_T) in nats, estimated by sampling.

    Attributes:
        value: the estimate for each sequence, [batch].
        standard_error: of the estimate, [batch]; zero where nothing had to be sampled.
    """

    value: Tensor
    standard_error: Tensor


@torch.no_grad()
def lower_bound(
    model: SequenceModel,
    frames: Tensor,
    lengths: Tensor | None = None,
    samples: int = 20,
    generator: torch.Generator | None = None,
) -> Bound:
    """The bound that training raises, with the filter as approximate posterior.

    - a TRBM (Sutskever 2013, eqs. 3.6 and 3.13): E[log P(v, h) − log P_approx(h | v)];
    - a stack (eqs. 2.35 and 3.12): E[log P(v | h) − log P_approx(h | v) + bound of log Q(h)], with
      P(v | h) = Π_t P(v_t | h_t, v_<t, h_<t) as `Stack` samples it;
    - other models, and a TRBM without memory of hidden units: log p(v) itself.

    Args:
        model: any model whose conditional can be enumerated, see `SequenceModel.log_prob`.
        frames: [batch, time, visible].
        lengths: [batch] or None.
        samples: draws of the hidden units, at least 2.
        generator: source of randomness.

    Raises:
        ValueError: bad frames or lengths, less than 2 samples, or a model too large.

    Example:
        >>> from seqebm.models import TRBM
        >>> lower_bound(TRBM(9, 5), torch.rand(2, 7, 9)).value.shape
        torch.Size([2])
    """
    check_generator(generator, frames.device)
    if samples < 2:
        raise ValueError(f"samples: expected at least 2, got {samples}")
    frames, mask = model._checked(frames, lengths)
    layers = [*model.layers] if isinstance(model, Stack) else [model]
    if len(layers) == 1 and _is_exact(layers[0]):
        exact = model.log_prob(frames, mask.sum(1)).sum(1)
        return Bound(exact, torch.zeros_like(exact))
    drawn = torch.stack([_drawn_bound(layers, frames, mask, generator) for _ in range(samples)])
    return Bound(drawn.mean(0), drawn.std(0) / samples**0.5)


def _drawn_bound(
    layers: list[Any], frames: Tensor, mask: Tensor, generator: torch.Generator | None
) -> Tensor:
    """What `lower_bound` averages, from one draw of all hidden units, [batch]."""
    layer, *above = layers
    lengths = mask.sum(1)
    if not above and _is_exact(layer):
        return layer.log_prob(frames, lengths).sum(1)
    mean = layer.filter(frames, lengths)
    h = Bernoulli(mean.shape[-1]).sample(mean, generator)
    contexts, _ = layer.scan_given(layer.initial_state(len(frames)), frames, h)
    rbm = layer.rbm(at(contexts, BEFORE))
    log_q = Bernoulli(mean.shape[-1]).log_prob(h, mean.logit(eps=TINY))
    if above:
        log_p = rbm.visible.log_prob(frames, rbm.visible_drive(h) + rbm.visible_bias)
    else:
        log_p = -rbm.energy(frames, h) - likelihood.log_partition(rbm)
    own = ((log_p - log_q) * mask).sum(1)
    return own + _drawn_bound(above, h, mask, generator) if above else own


def _is_exact(model: SequenceModel) -> bool:
    """Whether `log_prob` of a model is that of its frames, without a guess at hidden units."""
    return not (isinstance(model, TRBM) and model.initial_hidden is not None)


# --- particles and states ---------------------------------------------------------------------


def _check_trbm(model: SequenceModel) -> None:
    if not isinstance(model, TRBM):
        raise TypeError(
            f"model: expected a TRBM, whose hidden units are uncertain, got {type(model).__name__}"
        )


def _first_windows(model: TRBM, batch: int, particles: int) -> Tensor | None:
    """The learned hiddens before the first frame, [batch, particles, order, hidden]."""
    initial = model.initial_hidden
    return None if initial is None else initial.expand(batch, particles, *initial.shape)


def _machines(model: TRBM, contexts: Context, t: int, windows: Tensor | None) -> RBMEnergy:
    """The RBMs of frame t for each window of hidden units, rows [batch, windows]."""
    here = at(contexts, (slice(None), slice(t, t + 1)))
    return model.rbm(here._replace(hidden=windows))


def _log_prob(rbm: RBMEnergy, frame: Tensor, windows: Tensor | None) -> Tensor:
    """log p(v_t) under each of the RBMs."""
    if likelihood.enumerated_units(rbm) <= EXACT_LOG_PROB:
        return likelihood.exact_log_prob(rbm, frame)
    start = rbm.hidden_bias.sigmoid() if windows is None else windows[..., 0, :]
    return -rbm.free_energy(frame) - likelihood.mean_field_log_partition(rbm, start)


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted means over particles, [batch, hidden]."""
    return (weights.unsqueeze(-1) * values).sum(1)


def _picked(values: Tensor, places: Tensor) -> Tensor:
    """The particles [batch, particles, ...] at places [batch, particles]."""
    rows = torch.arange(len(values), device=values.device).unsqueeze(1)
    return values[rows, places]


def _chosen(
    log_weights: Tensor, effective: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Which particles go on, and their log weights: all alike where fewer than half count."""
    batch, n = log_weights.shape
    steps = torch.arange(n, device=log_weights.device)
    offset = torch.rand(batch, 1, generator=generator, device=log_weights.device)
    marks = (steps + offset).to(log_weights) / n
    drawn = torch.searchsorted(log_weights.exp().cumsum(1), marks).clamp(max=n - 1)
    few = (effective < n / 2).unsqueeze(1)
    places = torch.where(few, drawn, steps)
    return places, torch.where(few, torch.zeros_like(log_weights).log_softmax(1), log_weights)


def _within(values: Tensor, mask: Tensor) -> Tensor:
    """The values with zeros in the padding."""
    return values.masked_fill(~mask.view(*mask.shape, *[1] * (values.ndim - 2)), 0)


def _all_windows(model: TRBM, t: int) -> Tensor | None:
    """All windows of hidden units that there can be before frame t, [1, states, order, hidden]."""
    if model.initial_hidden is None:
        return None
    known, hidden = min(t, model.order), len(model.weight)
    states = likelihood.binary_states(known * hidden, 0, 2 ** (known * hidden), model.weight)
    before = model.initial_hidden[: model.order - known].expand(len(states), -1, -1)
    return torch.cat([states.view(len(states), known, hidden), before], dim=1).unsqueeze(0)
