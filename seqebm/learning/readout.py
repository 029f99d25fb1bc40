"""Readouts that are solved for at once: ridge regression of frames on the states before them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seqebm.data import Sequences
from seqebm.models import RNN
from seqebm.models.rnn import Independent
from seqebm.ridge import (
    NormalEquations,
    Solution,
    best_penalty,
    centred,
    check_penalty,
    solve,
    squared_errors,
)
from seqebm.units import Gaussian

PENALTIES = tuple(10.0**-n for n in range(11, 0, -1))
SEQUENCES = 16  #: that run beside each other
ROWS = 4096  #: states that are held at a time


@torch.no_grad()
def fit_readout(
    model: RNN, data: Tensor | Sequences, penalty: float | None = None, washout: int = 0
) -> float:
    """Give a network with Gaussian units the readout of least squared error, in one pass.

    W_o and b_o minimise Σ|v_t − W_o h_{t−1} − b_o|² + λ |W_o|² over all frames but the first
    `washout` of each sequence, λ being `penalty` times the mean diagonal of the centred Gram matrix
    of the states (Jaeger 2001; Sutskever 2013, sec. 2.8.4). For λ = 0 it is the readout of the
    largest likelihood, as is σ where it is learned: the root of each unit's mean squared error. The
    network itself stays as it is, so this is all the training of an echo-state network. Sums are
    accumulated in float64 on the CPU; states are never held all at once.

    Independent units of other kinds have no such solution, nor has a mixture, a NADE or an RBM:
    `fit` trains them on top of the same network.

    Args:
        model: an `RNN` with "gaussian" units of any σ; changed in place.
        data: frames [n, time, visible] or `Sequences`.
        penalty: at least 0. None: the one of `PENALTIES` that predicts best the last tenth of the
            sequences longer than `washout` (or of the frames of the only one), fitted on the rest;
            the readout then uses everything.
        washout: frames at the beginning of each sequence that nothing is fitted to, because the
            state still remembers that it began at zero.

    Returns:
        The penalty.

    Raises:
        TypeError: another kind of model, or frames that are no floating-point tensor.
        ValueError: units that are not Gaussian, a bad penalty, no sequences, none longer than
            `washout`, bad frames, or nothing to choose the penalty on.

    Example:
        >>> import seqebm
        >>> frames = torch.sin(torch.arange(400) / 5).view(1, -1, 1)
        >>> model = seqebm.RNN(seqebm.cells.Reservoir(1, 30), "gaussian:learned")
        >>> penalty = fit_readout(model, frames, washout=50)
        >>> bool((model.predict(frames) - frames)[:, 50:].abs().max() < 0.01)
        True
    """
    _check_units(model)
    check_penalty(penalty)
    sequences = _frames(data)
    _check_washout(washout, max(map(len, sequences)))
    firsts = [len(one) for one in sequences]  # frames from which on a sequence is held out
    if penalty is None:
        firsts = _last_tenth(firsts, washout)
    training, held, origin = _moments(model, sequences, firsts, washout)
    inputs = model.readout.in_features
    if penalty is None:
        pair = _normal_equations(training, inputs), _normal_equations(held, inputs)
        penalty = best_penalty(*pair, PENALTIES)
    equations = _normal_equations(training + held, inputs)
    solution = solve(equations, penalty)
    x_mean, y_mean = solution.x_mean + origin[:inputs], solution.y_mean + origin[inputs:]
    model.readout.weight.copy_(solution.weight.T)
    model.readout.bias.copy_(y_mean - x_mean @ solution.weight)
    if isinstance(model.visible.log_sigma, nn.Parameter):
        _fit_sigma(model.visible.log_sigma, solution, equations)
    return penalty


def _check_units(model: RNN) -> None:
    """Raise where least squares are not the likelihood of a model's readout."""
    if not isinstance(model, RNN):
        raise TypeError(f"model: expected an RNN, got {type(model).__name__}")
    if not isinstance(model.output, Independent) or not isinstance(model.visible, Gaussian):
        raise ValueError(
            f"model: expected independent Gaussian units, got {model.output.spec!r}; "
            "other readouts are trained by fit"
        )


def _frames(data: Tensor | Sequences) -> list[Tensor]:
    """The frames of each sequence, of which there must be some."""
    if len(data) == 0:
        raise ValueError("data: expected at least one sequence, got none")
    if isinstance(data, Sequences):
        _ = data.n_visible  # the same for all
        return [one.frames for one in data]
    if data.ndim != 3:
        raise ValueError(f"data: expected [sequences, time, visible], got {[*data.shape]}")
    return [*data]


def _check_washout(washout: int, longest: int) -> None:
    if not 0 <= washout < longest:
        raise ValueError(
            "washout: expected at least 0 and less than the frames of the longest sequence, "
            f"{longest}, got {washout}"
        )


def _last_tenth(lengths: list[int], washout: int) -> list[int]:
    """The first frame that is held out of each sequence; where there is none, its length."""
    usable = [number for number, length in enumerate(lengths) if length > washout]
    firsts = list(lengths)
    if len(usable) > 1:
        for number in usable[-max(1, len(usable) // 10) :]:
            firsts[number] = 0
        return firsts
    (only,) = usable
    frames = lengths[only] - washout
    if frames < 2:
        raise ValueError(
            "penalty: expected a number, got None: with one frame after the washout there is "
            "nothing to choose it on"
        )
    firsts[only] -= max(1, frames // 10)
    return firsts


def _moments(
    model: RNN, sequences: list[Tensor], firsts: list[int], washout: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Σ w wᵀ of w = (state, frame, 1) of training and held-out frames, and what w has less.

    That is about the mean of states and frames, so that little is lost to rounding.
    """
    width = model.readout.in_features + model.visible.size + 1
    sums = torch.zeros(2, width, width, dtype=torch.float64)
    origin = None
    for w, is_held in _rows(model, sequences, firsts, washout):
        if origin is None:
            origin = w.mean(0)
            origin[-1] = 0
        w -= origin
        for total, part in zip(sums, (~is_held, is_held), strict=True):
            if part.any():
                some = (w if part.all() else w[part]).numpy()
                total += torch.from_numpy(some.T @ some)  # numpy computes one half and mirrors it
    assert origin is not None  # some sequence is longer than the washout
    return sums[0], sums[1], origin[:-1]


def _rows(
    model: RNN, sequences: list[Tensor], firsts: list[int], washout: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """w = (state, frame, 1) of the frames after the washout, and which of them are held out.

    Some of them at a time: [n, hidden + visible + 1] in float64 on the CPU, and [n].
    """
    inputs = model.readout.in_features
    width = inputs + model.visible.size + 1
    device = model.readout.weight.device
    for start in range(0, len(sequences), SEQUENCES):
        some = sequences[start : start + SEQUENCES]
        lengths = torch.tensor([len(one) for one in some], device=device)
        block, real = model._checked(pad_sequence(some, batch_first=True).to(device), lengths)
        first_held = torch.tensor(firsts[start : start + SEQUENCES], device=device)
        times = torch.arange(block.shape[1], device=device)
        used, held = real & (times >= washout), times >= first_held.unsqueeze(1)
        state = model.initial_state(len(some))
        pieces = (part.split(max(1, ROWS // len(some)), dim=1) for part in (block, used, held))
        for frames, chosen, is_held in zip(*pieces, strict=True):
            states, state = model.scan(state, frames)
            if chosen.any():
                w = torch.ones(int(chosen.sum()), width, dtype=torch.float64)
                w[:, :inputs] = states[:, :-1][chosen]
                w[:, inputs:-1] = frames[chosen]
                yield w, is_held[chosen].cpu()


def _normal_equations(moments: Tensor, inputs: int) -> NormalEquations:
    """Those of the moments of w = (x, y, 1)."""
    return centred(
        pairs=moments[-1, -1],
        x_sum=moments[:inputs, -1],
        y_sum=moments[inputs:-1, -1],
        xx=moments[:inputs, :inputs],
        xy=moments[:inputs, inputs:-1],
        yy=moments[inputs:-1, inputs:-1].diagonal(),
    )


def _fit_sigma(log_sigma: Tensor, solution: Solution, data: NormalEquations) -> None:
    """Set σ to the root of the mean squared error, or of what rounding leaves of it."""
    limits = torch.finfo(torch.float32)
    floor = limits.tiny + torch.finfo(data.yy.dtype).eps * data.yy
    log_sigma.copy_((squared_errors(solution, data).maximum(floor) / data.pairs).log() / 2)
