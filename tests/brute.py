"""Sequence models by brute force in float64, written from the equations with plain loops.

Nothing of the library's own computation is used here, only its parameters.
"""

import itertools
import math

import numpy as np
import torch

GRID = np.arange(
    -12.0, 12.0 + 1e-9, 0.15
)  # smooth integrands: the trapezoid rule is exact to 1e-10


def array(parameter):
    return parameter.detach().double().cpu().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def is_gaussian(model):
    return model.visible.spec.startswith("gaussian")


def categories(model):
    """The number of units in a group, of which one is on; 0 where units have no groups."""
    return int(model.visible.spec.partition(":")[2]) if "categorical" in model.visible.spec else 0


def is_mixture(model):
    return hasattr(model, "output") and model.output.spec.startswith("mixture")


def support(model):
    """All visible states [n, visible] and the weight of each in a sum or integral over them."""
    if categories(model):
        codes = np.eye(categories(model))
        groups = itertools.product(codes, repeat=model.visible.size // len(codes))
        return np.array([np.concatenate(group) for group in groups]), 1.0
    values, weight = (GRID, 0.15) if is_gaussian(model) else ((0.0, 1.0), 1.0)
    if is_mixture(model):  # whose spreads may be narrow or wide
        values, weight = np.arange(-45.0, 45.0, 0.12), 0.12
    states = np.array(list(itertools.product(values, repeat=model.visible.size)))
    return states, weight**model.visible.size


def lagged(sequence, initial, t, n):
    """The value n steps before time t; `initial` stands in before the sequence begins."""
    return sequence[t - n] if t >= n else initial[n - t - 1]


def visible_taps(model, frames, t):
    bv, bh = array(model.visible_bias).copy(), array(model.hidden_bias).copy()
    for n in range(1, getattr(model, "order", 0) + 1):
        if model.visible_to_visible is not None:
            v = lagged(frames, array(model.initial_visible), t, n)
            bv += array(model.visible_to_visible)[n - 1] @ v
        if model.visible_to_factors is not None:
            v = lagged(frames, array(model.initial_visible), t, n)
            factors = array(model.visible_to_factors)[n - 1] @ v
            bv += array(model.factors_to_visible) @ factors
        if model.visible_to_hidden is not None:
            v = lagged(frames, array(model.initial_visible), t, n)
            bh += array(model.visible_to_hidden)[n - 1] @ v
    return bv, bh


def biases(model, frames, hiddens, t):
    """B_v and B_h at time t (0-based) given the frames and hidden states before it."""
    bv, bh = visible_taps(model, frames, t)
    kind = type(model).__name__
    if kind == "RNNRBM":
        bv = bv + array(model.state_to_visible) @ state(model, frames, t)
        bh = bh + array(model.state_to_hidden) @ state(model, frames, t)
    if kind == "RTRBM":
        before = hiddens[t - 1] if t else array(model.initial_hidden)
        bh = bh + array(model.hidden_to_hidden) @ before
    if kind == "TRBM" and model.initial_hidden is not None:
        for n in range(1, model.order + 1):
            h = lagged(hiddens, array(model.initial_hidden), t, n)
            if model.hidden_to_hidden is not None:
                bh = bh + array(model.hidden_to_hidden)[n - 1] @ h
            if model.hidden_to_visible is not None:
                bv = bv + array(model.hidden_to_visible)[n - 1] @ h
    return bv, bh


def hidden_input(model, v, bh):
    variance = np.exp(2 * array(model.visible.log_sigma)) if is_gaussian(model) else 1.0
    return array(model.weight) @ (v / variance) + bh


def filtered(model, frames):
    """σ(W v_t + B_h) after each frame: mean field for a TRBM, r_t for an RTRBM."""
    hiddens = []
    for t, v in enumerate(frames):
        hiddens.append(sigmoid(hidden_input(model, v, biases(model, frames, hiddens, t)[1])))
    return np.array(hiddens)


def negative_energy(model, v, h, bv, bh):
    """−E(v, h) of one visible and one hidden state."""
    if is_gaussian(model):
        variance = np.exp(2 * array(model.visible.log_sigma))
        own = -np.sum((v - bv) ** 2 / (2 * variance))
        return own + h @ bh + (v / variance) @ (array(model.weight).T @ h)
    return h @ array(model.weight) @ v + v @ bv + h @ bh


def frame_weights(model, bv, bh, states, temperature=1.0):
    """Σ_h exp(−E(v, h)/τ) of every given visible state."""
    n_hidden = len(array(model.hidden_bias))
    total = np.zeros(len(states))
    for h in itertools.product((0.0, 1.0), repeat=n_hidden):
        h = np.array(h)
        if is_gaussian(model):
            variance = np.exp(2 * array(model.visible.log_sigma))
            own = -((states - bv) ** 2 / (2 * variance)).sum(1)
            drive = (states / variance) @ (array(model.weight).T @ h)
        else:
            own, drive = states @ bv, states @ (array(model.weight).T @ h)
        total += np.exp((own + drive + h @ bh) / temperature)
    return total


def state(model, frames, t):
    """What the recurrent network of a model shows before frame t."""
    return shown(model.cell, frames[:t])[-1]


def shown(cell, frames):
    """What a recurrent network shows before the first frame and after each, step by step."""
    weights = {name: array(p) for name, p in cell.state_dict().items()}
    kind = cell.settings["kind"]
    return stacked_steps(cell, frames) if kind == "stacked" else STEPS[kind](cell, weights, frames)


def stacked_steps(cell, frames):
    frames = np.reshape(frames, (len(frames), cell.input_size))
    below, outputs = frames, []
    for layer in cell.cells:
        outputs.append(shown(layer, below))
        below = np.hstack([frames, outputs[-1][1:]])
    return np.hstack(outputs)


def fused_inputs(weights, v, h):
    x = weights["network.weight_ih_l0"] @ v + weights["network.bias_ih_l0"]
    return x, weights["network.weight_hh_l0"] @ h + weights["network.bias_hh_l0"]


def rnn_steps(cell, weights, frames):
    found = [weights["initial_hidden"][0]]
    for v in frames:
        found.append(np.tanh(sum(fused_inputs(weights, v, found[-1]))))
    return np.array(found)


def lstm_steps(cell, weights, frames):
    found, c = [weights["initial_hidden"][0]], weights["initial_cell"][0]
    for v in frames:
        i, f, g, o = np.split(sum(fused_inputs(weights, v, found[-1])), 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        found.append(sigmoid(o) * np.tanh(c))
    return np.array(found)


def gru_steps(cell, weights, frames):
    found = [weights["initial_hidden"][0]]
    for v in frames:
        (xr, xz, xn), (yr, yz, yn) = (np.split(x, 3) for x in fused_inputs(weights, v, found[-1]))
        z = sigmoid(xz + yz)
        found.append((1 - z) * np.tanh(xn + sigmoid(xr + yr) * yn) + z * found[-1])
    return np.array(found)


def skip_rnn_steps(cell, weights, frames):
    """Sutskever 2013, sec. 2.5, with W_n h_{t-n} of several lags."""
    found = []
    e = {"tanh": np.tanh, "sigmoid": sigmoid}[cell.settings["nonlinearity"]]
    for t, v in enumerate(frames):
        u = weights["visible_to_hidden"] @ v + weights["hidden_bias"]
        for n in range(1, cell.settings["order"] + 1):
            u = u + weights["hidden_to_hidden"][n - 1] @ lagged(
                found, weights["initial_hidden"], t, n
            )
        found.append(e(u))
    return np.array([weights["initial_hidden"][0], *found])


def tensor_rnn_steps(cell, weights, frames):
    """Sutskever 2013, eqs. 5.1 and 5.3."""
    found = [weights["initial_hidden"]]
    for v in frames:
        matrix = sum(value * m for value, m in zip(v, weights["hidden_to_hidden"], strict=True))
        u = weights["visible_to_hidden"] @ v + matrix @ found[-1] + weights["hidden_bias"]
        found.append(np.tanh(u))
    return np.array(found)


def mrnn_steps(cell, weights, frames):
    """Sutskever 2013, eqs. 5.5 and 5.6."""
    found = [weights["initial_hidden"]]
    for v in frames:
        f = np.diag(weights["visible_to_factors"] @ v) @ weights["hidden_to_factors"] @ found[-1]
        u = weights["factors_to_hidden"] @ f + weights["visible_to_hidden"] @ v
        found.append(np.tanh(u + weights["hidden_bias"]))
    return np.array(found)


def mlstm_steps(cell, weights, frames):
    """Krause 2015, algorithm 7."""
    found, c = [weights["initial_hidden"]], weights["initial_cell"]
    for v in frames:
        m = (weights["hidden_to_factors"] @ found[-1]) * (weights["visible_to_factors"] @ v)
        inputs = weights["visible_to_gates"] @ v + weights["factors_to_gates"] @ m
        omega, phi, rho, x = np.split(inputs + weights["gate_bias"], 4)
        c = sigmoid(omega) * x + c * sigmoid(phi)
        found.append(np.tanh(c * sigmoid(rho)))
    return np.array(found)


def memory_lstm_steps(cell, weights, frames):
    """Sutskever 2013, eqs. 2.37 to 2.43."""
    h, m, shown = (weights[f"initial_{name}"] for name in ("hidden", "memory", "shown"))
    w_hv, w_igv, w_iv, w_ov, w_fv = np.split(weights["visible_weight"], 5)
    w_hm, w_igm, w_im, w_om, w_fm = np.split(weights["memory_weight"], 5)
    w_igh, w_ih, w_oh, w_fh = np.split(weights["gate_weight"], 4)
    found = [np.concatenate([h, shown])]
    for v in frames:
        h = np.tanh(weights["hidden_to_hidden"] @ h + w_hv @ v + w_hm @ shown)
        gate = sigmoid(w_igh @ h + w_igv @ v + w_igm @ shown)
        i = np.tanh(w_ih @ h + w_iv @ v + w_im @ shown)
        o = sigmoid(w_oh @ h + w_ov @ v + w_om @ shown)
        f = sigmoid(weights["forget_bias"] + w_fh @ h + w_fv @ v + w_fm @ shown)
        m = m * f + i * gate
        shown = m * o
        found.append(np.concatenate([h, shown]))
    return np.array(found)


def truncated_lstm_steps(cell, weights, frames):
    """An LSTM; its gradient is what is truncated."""
    found, c = [weights["initial_hidden"]], weights["initial_cell"]
    for v in frames:
        inputs = weights["visible_to_gates"] @ v + weights["hidden_to_gates"] @ found[-1]
        i, f, o, g = np.split(inputs + weights["gate_bias"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        found.append(sigmoid(o) * np.tanh(c))
    return np.array(found)


def esn_steps(cell, weights, frames):
    """Sutskever 2013, eq. 2.45, with biases and 1 − α = leak."""
    alpha = 1 - cell.settings["leak"]
    found = [np.zeros(cell.hidden_size)]
    for v in frames:
        u = weights["hidden_to_hidden"] @ found[-1] + weights["visible_to_hidden"] @ v
        found.append(alpha * found[-1] + (1 - alpha) * np.tanh(u + weights["hidden_bias"]))
    return np.array(found)


STEPS = {
    "truncated-lstm": truncated_lstm_steps,
    "rnn": rnn_steps,
    "lstm": lstm_steps,
    "gru": gru_steps,
    "skip-rnn": skip_rnn_steps,
    "tensor-rnn": tensor_rnn_steps,
    "mrnn": mrnn_steps,
    "mlstm": mlstm_steps,
    "memory-lstm": memory_lstm_steps,
    "esn": esn_steps,
}


def rnn_log_densities(model, frames, t, states):
    """log p(v_t = state | frames before t) of an RNN, with independent units or a NADE."""
    x = array(model.readout.weight) @ state(model, frames, t) + array(model.readout.bias)
    if is_mixture(model):
        return log_mixture(x, states, model.output.components)
    if not hasattr(model.output, "orders"):
        return log_independent(model, x, states)
    orders = model.output.orders
    p = np.mean([nade_probabilities(model.output, x, order, states) for order in orders], axis=0)
    return np.log(p)


def log_mixture(x, states, components):
    """log of a sum of Gaussians whose means share the first part of x."""
    n = states.shape[1]
    shared, rest = x[:n], x[n:]
    offsets = rest[: components * n].reshape(components, n)
    sigmas = np.exp(rest[components * n : 2 * components * n].reshape(components, n)) + 1e-3
    shares = np.exp(rest[2 * components * n :])
    parts = []
    for share, offset, sigma in zip(shares / shares.sum(), offsets, sigmas, strict=True):
        z = (states - shared - offset) / sigma
        each = -(z**2) / 2 - np.log(sigma * math.sqrt(2 * math.pi))
        parts.append(np.log(share) + each.sum(1))
    return np.logaddexp.reduce(parts)


def nade_probabilities(nade, x, order, states, temperature=1.0):
    """p(v = state) of a NADE that takes its units in this order, each drawn at a temperature."""
    w, out = array(nade.weight), array(nade.output_weight)
    known = np.zeros_like(w) if nade.known_weight is None else array(nade.known_weight)
    b, c = x[: len(order)], x[len(order) :]
    found = []
    for v in states:
        p = 1.0
        for place, i in enumerate(order):
            before = order[:place]
            hidden = sigmoid(c + sum(w[:, j] * v[j] + known[:, j] for j in before))
            on = sigmoid((b[i] + out[i] @ hidden) / temperature)
            p *= on if v[i] else 1 - on
        found.append(p)
    return np.array(found)


def hidden_states(model):
    """All states of the hidden layer, [n, hidden]."""
    n_hidden = len(array(model.hidden_bias))
    return np.array(list(itertools.product((0.0, 1.0), repeat=n_hidden)))


def log_given_hidden(model, h, bv, states):
    """log p(v = state | h) of one hidden state for every given visible state."""
    x = bv + array(model.weight).T @ h
    return log_independent(model, x, states)


def log_independent(model, x, states):
    """log p(v = state) of independent units with total input x."""
    if is_gaussian(model):
        sigma = np.exp(array(model.visible.log_sigma))
        z = (states - x) / sigma
        return (-0.5 * z**2 - np.log(sigma) - 0.5 * math.log(2 * math.pi)).sum(1)
    if categories(model):
        groups = np.exp(x).reshape(-1, categories(model))
        return states @ np.log(groups / groups.sum(1, keepdims=True)).ravel()
    p = sigmoid(x)
    return (states * np.log(p) + (1 - states) * np.log(1 - p)).sum(1)


def stacked_log_densities(layers, frames, t, states):
    """log Σ_h q(h | past) p(v_t = state | h, past), q being that of the layers above."""
    lower, *upper = layers
    if not upper:
        return log_densities(lower, frames, t, states)
    past = filtered(lower, frames[:t])
    choices = hidden_states(lower)
    log_q = stacked_log_densities(upper, past, t, choices)
    bv, _ = biases(lower, frames, past, t)
    terms = [
        q + log_given_hidden(lower, h, bv, states) for q, h in zip(log_q, choices, strict=True)
    ]
    return np.log(np.exp(terms).sum(0))


def stack_sequence_probability(model, frames):
    """M(v_1 … v_T) = Σ_h Q(h_1 … h_T) Π_t P(v_t | h_t, v_<t, h_<t) of two layers."""
    lower, upper = model.layers
    total = 0.0
    for hiddens in itertools.product(hidden_states(lower), repeat=len(frames)):
        log_p = np.log(sequence_probability(upper, np.array(hiddens)))
        for t, v in enumerate(frames):
            bv, _ = biases(lower, frames, hiddens, t)
            log_p += log_given_hidden(lower, hiddens[t], bv, v[None])[0]
        total += math.exp(log_p)
    return total


def sequence_probability(model, frames):
    """P(v_1 … v_T) of what `sample` draws; a TRBM's and a stack's hiddens are summed out."""
    if type(model).__name__ == "TRBM":
        return trbm_sequence_probability(model, frames)
    if type(model).__name__ == "Stack":
        return stack_sequence_probability(model, frames)
    return math.exp(log_prob(model, torch.from_numpy(frames)).sum())


def innovations(model, frames):
    """The innovations of the frames, and B and σ s of the frame after them."""
    b, sigma = array(model.visible_bias), np.exp(array(model.visible.log_sigma))
    beta, persistence = sigmoid(array(model.reaction)), sigmoid(array(model.persistence))
    taps, initial = array(model.visible_to_visible), array(model.initial_visible)
    q, found = np.exp(array(model.log_energy)), np.empty((0, len(b)))
    for t in range(len(frames) + 1):
        lags = range(1, model.order + 1)
        place = b + sum(taps[n - 1] @ lagged(frames, initial, t, n) for n in lags)
        limited = q / (1 + q / np.exp(array(model.log_ceiling)))
        scale = sigma * np.sqrt(1 - beta + beta * limited)
        for error in frames[t : t + 1] - place:
            found = np.vstack([found, error / scale])
            q = persistence * q + (1 - persistence) * np.mean((error / sigma) ** 2)
    return found, place, scale


def log_densities(model, frames, t, states):
    """log p(v_t = state | frames before t) for every given state."""
    if type(model).__name__ == "Innovations":
        past, place, scale = innovations(model, frames[:t])
        return log_densities(model.model, past, t, (states - place) / scale) - np.log(scale).sum()
    if type(model).__name__ == "Stack":
        return stacked_log_densities(list(model.layers), frames, t, states)
    if type(model).__name__ == "RNN":
        return rnn_log_densities(model, frames, t, states)
    bv, bh = biases(model, frames, filtered(model, frames[:t]), t)
    everything, weight = support(model)
    z = frame_weights(model, bv, bh, everything).sum() * weight
    return np.log(frame_weights(model, bv, bh, states)) - np.log(z)


def log_prob(model, frames):
    """log p(v_t | v_<t) for each frame of one sequence [time, visible]."""
    frames = array(frames)
    times = range(len(frames))
    return np.array([log_densities(model, frames, t, frames[t : t + 1])[0] for t in times])


def next_frame(model, frames):
    """States and probabilities of the frame after `frames`."""
    states, weight = support(model)
    frames = array(frames)
    return states, np.exp(log_densities(model, frames, len(frames), states)) * weight


def tempered_next_frame(model, frames, temperature):
    """States and probabilities of the frame after `frames` at a temperature.

    Energies of RBMs are divided by it, each conditional of a NADE is raised to its inverse, and so
    is the distribution of independent units.
    """
    if type(model).__name__ == "Innovations":
        past, place, scale = innovations(model, array(frames))
        states, p = tempered_next_frame(model.model, torch.from_numpy(past), temperature)
        return place + scale * states, p
    states, _ = support(model)
    frames = array(frames)
    if type(model).__name__ != "RNN":
        bv, bh = biases(model, frames, filtered(model, frames), len(frames))
        weights = frame_weights(model, bv, bh, states, temperature)
    elif hasattr(model.output, "orders"):
        x = array(model.readout.weight) @ state(model, frames, len(frames))
        x = x + array(model.readout.bias)
        orders = model.output.orders
        found = [nade_probabilities(model.output, x, o, states, temperature) for o in orders]
        weights = np.mean(found, axis=0)
    else:
        weights = np.exp(log_densities(model, frames, len(frames), states) / temperature)
    return states, weights / weights.sum()


def trbm_joint(model, frames, hiddens, temperature=1.0):
    """P(v_1 … v_T, h_1 … h_T) of a TRBM (eq. 3.3), each frame drawn at a temperature."""
    states, p = support(model)[0], 1.0
    for t, (v, h) in enumerate(zip(frames, hiddens, strict=True)):
        bv, bh = biases(model, frames, hiddens, t)
        p *= math.exp(negative_energy(model, v, h, bv, bh) / temperature)
        p /= frame_weights(model, bv, bh, states, temperature).sum()
    return p


def trbm_sequence_probability(model, frames, temperature=1.0):
    """P(v_1 … v_T) of a TRBM, summed over hidden sequences."""
    sequences = itertools.product(hidden_states(model), repeat=len(frames))
    return sum(trbm_joint(model, frames, hiddens, temperature) for hiddens in sequences)


def trbm_bound(model, frames):
    """E_Q[log P(v, h)] + H(Q) with the mean-field filter as Q (eq. 3.6)."""
    p = filtered(model, frames)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    expected = 0.0
    for hiddens in itertools.product(hidden_states(model), repeat=len(frames)):
        q = np.prod(np.where(np.array(hiddens) == 1, p, 1 - p))
        expected += q * math.log(trbm_joint(model, frames, hiddens))
    return expected + entropy
