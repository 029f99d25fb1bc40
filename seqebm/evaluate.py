"""Prediction error on held-out sequences, beside simple yardsticks.

A *predictor* is any callable `(frames, lengths) -> predictions`, both `[batch, time, visible]`,
whose entry t never uses frame t or later: the `predict` of every model, and the yardsticks here
(mean frame, copy the last frame, linear extrapolation, ridge autoregression). Several published
errors are worse than these yardsticks, so put them beside every model.

Ragged batches come with `lengths`, an integer tensor `[batch]`. Padding never counts: it is
replaced by zeros before anybody sees it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Predictor: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]
Continuation: TypeAlias = Callable[[Tensor, int, torch.Generator | None], Tensor]

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_BLOCK_ELEMENTS = 2**22  # 32 MiB of float64 a block while fitting


# ------------------------------------------------------------------------------------ yardsticks


def copy_last(frames: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Predict that nothing moves: v_t = v_{t-1}. The first frame is predicted as zeros.

    Args:
        frames: `[batch, time, visible]`.
        lengths: not needed; there so that this is a predictor.

    Returns:
        Predictions `[batch, time, visible]`.

    Raises:
        TypeError, ValueError: frames are not a floating-point tensor of rank 3.

    Example:
        >>> copy_last(torch.tensor([[[1.0], [2.0], [4.0]]])).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    _check_frames(frames)
    return F.pad(frames, (0, 0, 1, 0))[:, :-1]


@dataclass(frozen=True)
class LinearExtrapolation:
    """Predict that every dimension keeps its velocity: v_t = 2 v_{t-1} - v_{t-2}, within bounds.

    The first frame is predicted as zeros and the second as a copy of the first.

    Attributes:
        low: predictions are not allowed below this.
        high: predictions are not allowed above this.

    Example:
        >>> frames = torch.tensor([[[0.1], [0.5], [0.8], [0.9]]])
        >>> [round(v, 3) for v in LinearExtrapolation()(frames).flatten().tolist()]
        [0.0, 0.1, 0.9, 1.1]
        >>> [round(v, 3) for v in LinearExtrapolation(0, 1)(frames).flatten().tolist()]
        [0.0, 0.1, 0.9, 1.0]
    """

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; see `copy_last` for arguments and errors."""
        last = copy_last(frames)
        velocity = last[:, 2:] - last[:, 1:-1]
        return torch.cat([last[:, :2], last[:, 2:] + velocity], 1).clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class MeanFrame:
    """Predict the mean training frame, always.

    Attributes:
        frame: the mean `[visible]`, float64.

    Example:
        >>> frames = torch.tensor([[[1.0], [2.0]], [[6.0], [9.0]]])
        >>> mean = MeanFrame.fit(frames, torch.tensor([2, 1]))
        >>> mean(torch.zeros(1, 2, 1)).flatten().tolist()
        [3.0, 3.0]
    """

    frame: Tensor

    @classmethod
    def fit(cls, frames: Tensor, lengths: Tensor | None = None) -> "MeanFrame":
        """Average all frames, padding left out.

        Args:
            frames: `[batch, time, visible]`.
            lengths: `[batch]`, or None if no sequence is padded.

        Raises:
            TypeError, ValueError: frames or lengths are malformed or not finite.
        """
        lengths = _check_sequences(frames, lengths)
        total = sum(block.sum((0, 1)) for block, _ in _training_blocks(frames, lengths))
        return cls(total / lengths.sum().cpu())

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        _check_frames(frames, width=len(self.frame))
        return self.frame.to(frames).expand_as(frames)


class LinearFit(NamedTuple):
    """An affine map from the last frames to the next one.

    Attributes:
        taps: `[order, visible, visible]`; index 0 is lag 1, rows are outputs.
        bias: `[visible]`.
        penalty: the ridge penalty of the fit, relative to the mean diagonal of its Gram matrix.

    Example:
        >>> LinearFit(torch.zeros(0, 3, 3), torch.ones(3), penalty=0.0).bias.tolist()
        [1.0, 1.0, 1.0]
    """

    taps: Tensor
    bias: Tensor
    penalty: float


@dataclass(frozen=True, eq=False)
class RidgeAutoregression:
    """Predict by a linear autoregression: v_t = b + A_1 v_{t-1} + … + A_k v_{t-k}.

    Frames with fewer than k predecessors are predicted by the fit of that lower order, the first
    one by the mean training frame.

    Attributes:
        fits: those of order 0 (the mean frame), 1, …, k.

    Example:
        >>> frames = 0.5 ** torch.arange(8.0).reshape(1, 8, 1)  # v_t = v_{t-1} / 2
        >>> ridge = RidgeAutoregression.fit(frames, order=1, penalty=1e-9)
        >>> round(ridge.fits[1].taps.item(), 4), round(ridge(frames)[0, 3].item(), 4)
        (0.5, 0.125)
    """

    fits: tuple[LinearFit, ...]

    @classmethod
    def fit(
        cls,
        frames: Tensor,
        lengths: Tensor | None = None,
        order: int = 1,
        penalty: float | None = None,
    ) -> "RidgeAutoregression":
        """Fit all orders up to `order` on every frame that has the predecessors for it.

        Order k minimises Σ|v_t - b - Σ_n A_n v_{t-n}|² + λ Σ_n |A_n|², λ being `penalty` times the
        mean diagonal of the centred Gram matrix of the predecessors; b is not penalised. The
        normal equations are accumulated in float64 on the CPU, a block of sequences at a time.

        Args:
            frames: training sequences `[batch, time, visible]`.
            lengths: `[batch]`, or None if no sequence is padded.
            order: the number of predecessors, at least 1.
            penalty: the relative penalty, at least 0. None: for each order the one of `PENALTIES`
                that predicts best the last tenth of the sequences longer than `order` (or of the
                frames of the only one), fitted on the rest; the final fit uses everything.

        Raises:
            TypeError, ValueError: frames or lengths are malformed or not finite; no sequence is
                longer than `order`; or there is nothing to choose the penalty on.
        """
        lengths = _check_sequences(frames, lengths)
        _check_order(order, int(lengths.max()))
        _check_penalty(penalty)
        mean = MeanFrame.fit(frames, lengths).frame
        totals = _window_moments(frames, lengths, order, mean)
        if penalty is None:
            held = _window_moments(*_last_tenth(frames, lengths, order), order, mean)
            penalties = [_choose_penalty(*pair) for pair in zip(totals, held, strict=True)]
        else:
            penalties = [penalty] * order
        fits = [LinearFit(mean.new_zeros(0, len(mean), len(mean)), mean, 0.0)]
        for total, chosen in zip(totals, penalties, strict=True):
            fits.append(_solve(_normal_equations(total), chosen).uncentred(mean))
        return cls(tuple(fits))

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Predict `[batch, time, visible]`; a ValueError if the width is not the fitted one."""
        _check_frames(frames, width=len(self.fits[0].bias))
        time, order = frames.shape[1], len(self.fits) - 1
        lower = self.fits[: min(order, time)]
        early = [_apply(fit, frames, k, k + 1) for k, fit in enumerate(lower)]
        late = [_apply(self.fits[-1], frames, order, time)] if time > order else []
        return torch.cat(early + late, 1)


def yardsticks(frames: Tensor, lengths: Tensor | None = None) -> dict[str, Predictor]:
    """Fit the predictors that every model should be compared with.

    Linear extrapolation is clipped to [0, 1] if all training frames lie in [0, 1]. Orders of
    autoregression for which the training sequences are too short are left out.

    Args:
        frames: training sequences `[batch, time, visible]`.
        lengths: `[batch]`, or None if no sequence is padded.

    Returns:
        "mean frame", "copy last", "linear extrapolation" and "ridge AR(1)" … "ridge AR(4)".

    Raises:
        TypeError, ValueError: frames or lengths are malformed or not finite.

    Example:
        >>> list(yardsticks(torch.rand(20, 4, 2)))
        ['mean frame', 'copy last', 'linear extrapolation', 'ridge AR(1)', 'ridge AR(2)']
    """
    lengths = _check_sequences(frames, lengths)
    predictors: dict[str, Predictor] = {
        "mean frame": MeanFrame.fit(frames, lengths),
        "copy last": copy_last,
        "linear extrapolation": _extrapolation_for(frames, lengths),
    }
    order = min(4, int(lengths.max()) - 2)  # one frame more than the fit needs: to hold out
    if order >= 1:
        fits = RidgeAutoregression.fit(frames, lengths, order).fits
        for k in range(1, order + 1):
            predictors[f"ridge AR({k})"] = RidgeAutoregression(fits[: k + 1])
    return predictors


def _extrapolation_for(frames: Tensor, lengths: Tensor) -> LinearExtrapolation:
    """Clipped to [0, 1] if all frames lie there."""
    for block, _ in _training_blocks(frames, lengths):
        if block.min() < 0 or block.max() > 1:
            return LinearExtrapolation()
    return LinearExtrapolation(0, 1)


def _apply(fit: LinearFit, frames: Tensor, start: int, stop: int) -> Tensor:
    """The fit's predictions of frames start, …, stop - 1."""
    bias = fit.bias.to(frames).expand(len(frames), stop - start, -1)
    lagged = (frames[:, start - n : stop - n] for n in range(1, len(fit.taps) + 1))
    return sum((F.linear(v, tap) for v, tap in zip(lagged, fit.taps.to(frames), strict=True)), bias)


# ------------------------------------------------- normal equations of the ridge autoregression


def _window_moments(frames: Tensor, lengths: Tensor, order: int, centre: Tensor) -> list[Tensor]:
    """Σ w wᵀ over all windows w = (x_t, …, x_{t-k}) inside a sequence, for k = 1, …, order.

    x_t is the frame less `centre`, with a one behind it that carries the intercept; a moment is
    `[1 + k, visible + 1, 1 + k, visible + 1]`. With x_t = 0 outside a sequence, the sum over the
    windows that stick out as well is block Toeplitz, its block (m, n) being Σ_t x_t x_{t-(n-m)}ᵀ:
    one pass serves all orders. The few windows that stick out are then taken away.
    """
    products = _lag_products(frames, lengths, order, centre)
    moments = [_block_toeplitz(products[: 1 + k]) for k in range(1, 1 + order)]
    for x, some in _with_ones(frames, lengths, centre):
        for k, moment in enumerate(moments, start=1):
            _subtract_edges(moment, x, some, k)
    shape = (-1, 1 + len(centre))
    return [moment.unflatten(0, shape).unflatten(2, shape) for moment in moments]


def _lag_products(frames: Tensor, lengths: Tensor, order: int, centre: Tensor) -> Tensor:
    """Σ_t x_t x_{t-n}ᵀ `[1 + order, visible + 1, visible + 1]` for n = 0, …, order."""
    width = 1 + len(centre)
    products = centre.new_zeros(1 + order, width, width)
    for x, _ in _with_ones(frames, lengths, centre):
        time = x.shape[1]
        for lag in range(min(1 + order, time)):
            products[lag].addmm_(x[:, lag:].flatten(0, 1).T, x[:, : time - lag].flatten(0, 1))
    return products


def _block_toeplitz(products: Tensor) -> Tensor:
    """The matrix with block (m, n) = products[n - m], products[-n] being products[n]ᵀ."""
    lags = range(len(products))
    rows = [[products[n - m] if n >= m else products[m - n].T for n in lags] for m in lags]
    return torch.cat([torch.cat(row, 1) for row in rows])


class _NormalEquations(NamedTuple):
    """Centred second moments of inputs x (the predecessors) and targets y."""

    windows: Tensor  # how many
    x_mean: Tensor  # [order * visible]
    y_mean: Tensor  # [visible]
    xx: Tensor
    xy: Tensor
    yy: Tensor  # summed over the targets
    rounding: Tensor  # how wrong eigenvalues of xx may be


class _Solution(NamedTuple):
    """y ≈ y_mean + (x - x_mean) weight."""

    weight: Tensor  # [order * visible, visible]
    x_mean: Tensor
    y_mean: Tensor
    penalty: float

    def uncentred(self, centre: Tensor) -> LinearFit:
        """The same map between frames from which `centre` was not taken away."""
        taps = self.weight.unflatten(0, (-1, len(centre))).transpose(1, 2)
        bias = centre + self.y_mean - self.x_mean @ self.weight - taps.sum(0) @ centre
        return LinearFit(taps, bias, self.penalty)


def _with_ones(frames: Tensor, lengths: Tensor, centre: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of x_t (see `_window_moments`), `[batch, time, visible + 1]`."""
    for block, some in _training_blocks(frames, lengths):
        x = F.pad(block - centre, (0, 1), value=1.0)
        yield x.masked_fill_(~_real(some, x.shape[1])[..., None], 0), some


def _subtract_edges(moment: Tensor, x: Tensor, lengths: Tensor, order: int) -> None:
    """Take away the windows that stick out of their sequence; only their frames inside count."""
    width = x.shape[2]
    first = F.pad(x, (0, 0, 0, order))
    for lags in range(1, 1 + order):  # windows that begin before the sequence, with `lags` in it
        head = first[:, :lags].flip(1).flatten(1)
        moment[: lags * width, : lags * width].addmm_(head.T, head, alpha=-1)
    last = _last_frames(x, lengths, order)
    for after in range(1, 1 + order):  # windows that end `after` frames after the sequence
        once = lengths - 1 + after >= order  # the others begin before it too: taken away above
        tail = last[once, : 1 + order - after].flatten(1)
        moment[after * width :, after * width :].addmm_(tail.T, tail, alpha=-1)


def _last_frames(x: Tensor, lengths: Tensor, count: int) -> Tensor:
    """The last frames `[batch, count, width]`, the very last first, the first one repeated."""
    index = (lengths[:, None] - 1 - torch.arange(count)).clamp(min=0)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def _normal_equations(moments: Tensor) -> _NormalEquations:
    count = moments[0, -1, 0, -1]
    mean = moments[:, :-1, 0, -1] / count
    second = moments[:, :-1, :, :-1]
    y_mean, x_mean = mean[0], mean[1:].flatten()
    gram = second[1:, :, 1:].flatten(2).flatten(0, 1)
    return _NormalEquations(
        count,
        x_mean,
        y_mean,
        xx=gram - count * x_mean.outer(x_mean),
        xy=second[1:, :, 0].flatten(0, 1) - count * x_mean.outer(y_mean),
        yy=(second[0, :, 0].diagonal() - count * y_mean**2).sum(),
        rounding=gram.trace() * torch.finfo(gram.dtype).eps + torch.finfo(gram.dtype).tiny,
    )


def _solve(equations: _NormalEquations, penalty: float) -> _Solution:
    """Ridge regression; rounding is added to the diagonal so that it stays positive definite."""
    from scipy.linalg import cho_factor, cho_solve

    gram = equations.xx.clone()
    diagonal = gram.diagonal()
    diagonal += penalty * diagonal.mean() + equations.rounding
    factor = cho_factor(gram.numpy(), overwrite_a=True, check_finite=False)
    weight = torch.from_numpy(cho_solve(factor, equations.xy.numpy(), check_finite=False))
    return _Solution(weight, equations.x_mean, equations.y_mean, penalty)


def _choose_penalty(total: Tensor, held: Tensor) -> float:
    """The penalty whose fit on total - held has the smallest squared error on held."""
    training, test = _normal_equations(total - held), _normal_equations(held)
    errors = [_squared_error(_solve(training, penalty), test) for penalty in PENALTIES]
    return PENALTIES[errors.index(min(errors))]


def _squared_error(fit: _Solution, data: _NormalEquations) -> float:
    """Σ|y - prediction|², from the moments of the data alone."""
    offset = data.y_mean - fit.y_mean - (data.x_mean - fit.x_mean) @ fit.weight
    explained = (fit.weight * (2 * data.xy - data.xx @ fit.weight)).sum()
    return float(data.yy - explained + data.windows * offset @ offset)


def _last_tenth(frames: Tensor, lengths: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """The last tenth of the sequences longer than order, or of the frames of the only one."""
    usable = (lengths > order).nonzero().flatten()
    if len(usable) > 1:
        chosen = usable[-max(1, len(usable) // 10) :]
        return frames[chosen], lengths[chosen]
    length = int(lengths[usable])
    kept = max(order + 1, length // 10)
    if kept == length:
        raise ValueError(
            f"penalty: expected a number, got None: with one sequence longer than order={order}, "
            f"of {length} frames, there is nothing to choose it on"
        )
    return frames[usable, length - kept : length], torch.full_like(usable, kept)


# --------------------------------------------------------------------------- next-frame errors


@torch.no_grad()
def prediction_errors(
    predictor: Predictor, frames: Tensor, lengths: Tensor | None = None, batch: int = 50
) -> Tensor:
    """Squared error of each sequence: summed over a frame, averaged over t = 2 … T.

    The first frame has no predecessor and is not scored. The mean over sequences is the usual
    figure for bouncing balls and motion capture.

    Args:
        predictor: `(frames, lengths) -> predictions`.
        frames: `[n, time, visible]`.
        lengths: `[n]`, each at least 2, or None if no sequence is padded.
        batch: the number of sequences given to the predictor at once; bounds the memory.

    Returns:
        Errors `[n]` in the squared unit of the frames.

    Raises:
        TypeError, ValueError: frames or lengths are malformed or not finite, a sequence has only
            one frame, or the predictions have another shape than the frames or are not finite.

    Example:
        >>> frames = torch.tensor([[[1.0, 0.0], [2.0, 1.0], [2.0, 3.0]]])
        >>> prediction_errors(copy_last, frames)  # (1 + 1 + 0 + 4) / 2
        tensor([3.])
    """
    full = _check_sequences(frames, lengths)
    _check_count("batch", batch)
    if int(full.min()) < 2:
        raise ValueError(
            f"lengths: expected at least 2 frames a sequence, got 1 in sequence "
            f"{int(full.argmin())}"
        )
    errors = []
    for block, some in _blocks(frames, full, batch):
        predicted = predictor(block, None if lengths is None else some)
        _check_output("predictor", predicted, block.shape)
        squared = (predicted[:, 1:] - block[:, 1:]).square().sum(-1)
        squared = squared.masked_fill(~_real(some, block.shape[1])[:, 1:], 0)
        _check_finite_output("predictor", squared)
        errors.append(squared.sum(1) / (some - 1))
    return torch.cat(errors)


class Score(NamedTuple):
    """A mean error over sequences with its standard error over sequences.

    Attributes:
        per_frame: squared error summed over the dimensions of a frame.
        per_frame_se: its standard error; NaN with one sequence.
        per_dim: squared error per dimension.
        per_dim_se: its standard error; NaN with one sequence.
        sequences: how many sequences were averaged.

    Example:
        >>> Score.of(torch.tensor([2.0, 4.0]), visible=10)
        Score(per_frame=3.0, per_frame_se=1.0, per_dim=0.3, per_dim_se=0.1, sequences=2)
    """

    per_frame: float
    per_frame_se: float
    per_dim: float
    per_dim_se: float
    sequences: int

    @classmethod
    def of(cls, errors: Tensor, visible: int) -> "Score":
        """Summarise errors `[sequences]` that are summed over frames of `visible` dimensions."""
        values = errors.cpu().double()
        mean, count = values.mean().item(), len(values)
        se = values.std().item() / math.sqrt(count) if count > 1 else math.nan
        return cls(mean, se, mean / visible, se / visible, count)


def next_frame_table(
    predictors: Mapping[str, Predictor],
    frames: Tensor,
    lengths: Tensor | None = None,
    batch: int = 50,
) -> dict[str, Score]:
    """Score every predictor on the same held-out sequences, as `prediction_errors` does.

    Args:
        predictors: by name, for example `{"RTRBM": model.predict, **yardsticks(train)}`.
        frames: `[n, time, visible]`.
        lengths: `[n]`, each at least 2, or None if no sequence is padded.
        batch: the number of sequences given to a predictor at once.

    Returns:
        A score for each name, in the same order.

    Raises:
        TypeError, ValueError: as `prediction_errors`; what a predictor did is said with its name.

    Example:
        >>> frames = torch.tensor([[[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]]])
        >>> table = next_frame_table({"copy": copy_last, "line": LinearExtrapolation()}, frames)
        >>> table["copy"].per_frame, table["line"].per_frame
        (0.75, 0.75)
    """
    _check_sequences(frames, lengths)
    table = {}
    for name, predictor in predictors.items():
        try:
            errors = prediction_errors(predictor, frames, lengths, batch)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        table[name] = Score.of(errors, frames.shape[2])
    return table


def format_table(scores: Mapping[str, Score]) -> str:
    """Lay scores out as text: error ± standard error to two digits of the latter.

    Args:
        scores: by name; rows keep this order.

    Returns:
        Lines of equal length, without a newline at the end.

    Example:
        >>> print(format_table({"copy last": Score.of(torch.tensor([11.0, 12.5, 12.0]), 900)}))
        predictor     per frame      per dimension  sequences
        copy last  11.83 ± 0.44  0.01315 ± 0.00049          3
    """
    rows = [("predictor", "per frame", "per dimension", "sequences")]
    for name, score in scores.items():
        per_frame = _with_error(score.per_frame, score.per_frame_se)
        per_dim = _with_error(score.per_dim, score.per_dim_se)
        rows.append((name, per_frame, per_dim, str(score.sequences)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def to_json(scores: Mapping[str, Score]) -> dict[str, dict[str, float | int | None]]:
    """Turn scores into plain dictionaries for `json.dump`; an unknown standard error is None.

    Args:
        scores: by name.

    Returns:
        The fields of each score, by name.

    Example:
        >>> to_json({"copy last": Score.of(torch.tensor([3.0]), visible=2)})["copy last"]["per_dim"]
        1.5
    """
    return {
        name: {key: None if math.isnan(v) else v for key, v in score._asdict().items()}
        for name, score in scores.items()
    }


def _with_error(value: float, error: float) -> str:
    if math.isnan(error):
        return f"{value:.4g}"
    if error == 0:
        return f"{value:.4g} ± 0"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


# ------------------------------------------------------------------------------------- free run


@torch.no_grad()
def free_run_errors(
    continue_: Continuation,
    frames: Tensor,
    prompt: int,
    horizons: Sequence[int],
    generator: torch.Generator | None = None,
    samples: int = 1,
    lengths: Tensor | None = None,
    batch: int = 50,
) -> dict[int, dict[str, Score]]:
    """Squared error of a model's own continuations, beside copying the last prompt frame.

    Horizon h is frame `prompt + h`, h = 1 being the first that the model was not given. It is
    scored on the sequences that have this frame, so that in ragged data the scores of different
    horizons may be means over different sequences.

    Args:
        continue_: `(prefix, length, generator) -> [batch, length, visible]` for a prefix
            `[batch, prompt, visible]`. A model's samples are
            `lambda prefix, length, rng: model.sample(length, len(prefix), prefix, rng)`.
        frames: `[n, time, visible]`.
        prompt: the number of frames given to the model.
        horizons: which of its frames to score, 1 or more each.
        generator: handed to `continue_`; None is torch's default generator.
        samples: how many continuations to draw; their squared errors (not they) are averaged.
        lengths: `[n]`, or None if no sequence is padded.
        batch: the number of sequences continued at once.

    Returns:
        For each horizon the scores of "model" and "copy last", to be laid out by `format_table`.

    Raises:
        TypeError, ValueError: arguments are malformed, no sequence reaches a horizon, or the
            continuations have the wrong shape or are not finite.

    Example:
        >>> def rise(prefix, length, generator):
        ...     return prefix[:, -1:] + torch.arange(1.0, length + 1)[:, None]
        >>> frames = torch.arange(6.0).reshape(1, 6, 1)
        >>> result = free_run_errors(rise, frames, prompt=2, horizons=[1, 4])
        >>> result[4]["model"].per_frame, result[4]["copy last"].per_frame
        (0.0, 16.0)
    """
    lengths = _check_sequences(frames, lengths)
    for name, count in (("prompt", prompt), ("samples", samples), ("batch", batch)):
        _check_count(name, count)
    _check_horizons(horizons, prompt, int(lengths.max()))
    first = prompt + min(horizons)
    errors = torch.cat(
        [
            _free_run_block(continue_, block[some >= first], prompt, horizons, generator, samples)
            for block, some in _blocks(frames, lengths, batch)
            if (some >= first).any()
        ],
        dim=1,
    )
    ends, result = lengths[lengths >= first], {}
    for i, horizon in enumerate(horizons):
        model, copied = errors[:, ends >= prompt + horizon, i]
        visible = frames.shape[2]
        result[horizon] = {
            "model": Score.of(model, visible),
            "copy last": Score.of(copied, visible),
        }
    return result


def _free_run_block(
    continue_: Continuation,
    block: Tensor,
    prompt: int,
    horizons: Sequence[int],
    generator: torch.Generator | None,
    samples: int,
) -> Tensor:
    """Errors `[2, batch, horizons]` of model and copy; arbitrary past a sequence's end."""
    prefix = block[:, :prompt]
    steps = torch.tensor(horizons, device=block.device) - 1
    target = block[:, (prompt + steps).clamp(max=block.shape[1] - 1)]
    drawn = torch.zeros_like(target[..., 0])
    for _ in range(samples):
        continued = continue_(prefix, max(horizons), generator)
        _check_output("continue_", continued, (len(block), max(horizons), block.shape[2]))
        _check_finite_output("continue_", continued)
        drawn += (continued[:, steps] - target).square().sum(-1)
    return torch.stack([drawn / samples, (prefix[:, -1:] - target).square().sum(-1)])


# ----------------------------------------------------------------------------- input and blocks


def _blocks(frames: Tensor, lengths: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut into blocks of `size` sequences, no longer than they need, with zeros for padding."""
    for start in range(0, len(frames), size):
        some = lengths[start : start + size]
        block = frames[start : start + size, : int(some.max())]
        block = block.masked_fill(~_real(some, block.shape[1])[..., None], 0)
        if not block.isfinite().all():
            raise ValueError(
                "frames: expected finite values, got NaN or infinity "
                f"in sequences {start} to {start + len(some) - 1}"
            )
        yield block, some


def _training_blocks(frames: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of a bounded size in float64 on the CPU, where scipy solves."""
    size = max(1, _BLOCK_ELEMENTS // frames[0].numel())
    for block, some in _blocks(frames.detach(), lengths, size):
        yield block.cpu().double(), some.cpu()


def _real(lengths: Tensor, time: int) -> Tensor:
    """True `[batch, time]` where a frame is not padding."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def _check_frames(frames: Tensor, width: int | None = None) -> None:
    if not isinstance(frames, Tensor) or not frames.is_floating_point():
        kind = frames.dtype if isinstance(frames, Tensor) else type(frames).__name__
        raise TypeError(f"frames: expected a floating-point tensor, got {kind}")
    if frames.dim() != 3:
        raise ValueError(f"frames: expected [batch, time, visible], got shape {list(frames.shape)}")
    if width is not None and frames.shape[2] != width:
        raise ValueError(f"frames: expected width {width} as fitted, got {frames.shape[2]}")


def _check_sequences(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """The lengths, also where None was given; frames and lengths must fit each other."""
    _check_frames(frames)
    if frames.numel() == 0:
        raise ValueError(f"frames: expected at least one number, got shape {list(frames.shape)}")
    batch, time = frames.shape[:2]
    if lengths is None:
        return torch.full((batch,), time, device=frames.device)
    if not isinstance(lengths, Tensor) or lengths.dtype not in (torch.int64, torch.int32):
        kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"lengths: expected an integer tensor, got {kind}")
    if lengths.shape != (batch,):
        raise ValueError(f"lengths: expected shape [{batch}], got {list(lengths.shape)}")
    if lengths.min() < 1 or lengths.max() > time:
        span = f"{int(lengths.min())} to {int(lengths.max())}"
        raise ValueError(f"lengths: expected values from 1 to {time}, got {span}")
    return lengths.to(frames.device, torch.int64)


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")


def _check_order(order: int, longest: int) -> None:
    _check_count("order", order)
    if order >= longest:
        raise ValueError(
            f"order: expected less than the {longest} frames of the longest sequence, got {order}"
        )


def _check_penalty(penalty: float | None) -> None:
    if penalty is not None and not 0 <= penalty < math.inf:
        raise ValueError(f"penalty: expected a finite number of at least 0, got {penalty}")


def _check_horizons(horizons: Sequence[int], prompt: int, longest: int) -> None:
    if len(horizons) == 0:
        raise ValueError("horizons: expected at least one, got none")
    for horizon in horizons:
        _check_count("horizons", horizon)
    if prompt + max(horizons) > longest:
        raise ValueError(
            f"horizons: expected at most {longest - prompt} with prompt={prompt} and "
            f"sequences of up to {longest} frames, got {max(horizons)}"
        )


def _check_output(name: str, output: Tensor, shape: Sequence[int]) -> None:
    if not isinstance(output, Tensor):
        raise TypeError(f"{name}: expected it to return a tensor, got {type(output).__name__}")
    if output.shape != tuple(shape):
        raise ValueError(
            f"{name}: expected it to return shape {list(shape)}, got {list(output.shape)}"
        )


def _check_finite_output(name: str, output: Tensor) -> None:
    if not output.isfinite().all():
        raise ValueError(f"{name}: expected it to return finite values, got NaN or infinity")
