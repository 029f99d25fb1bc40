"""Prediction error on held-out sequences: of the next frame, and in a free run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from seqebm.evaluate.inputs import blocks, check_count, check_sequences, real
from seqebm.evaluate.yardsticks import Predictor

Continuation: TypeAlias = Callable[[Tensor, int, torch.Generator | None], Tensor]


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
        >>> from seqebm.evaluate import copy_last
        >>> frames = torch.tensor([[[1.0, 0.0], [2.0, 1.0], [2.0, 3.0]]])
        >>> prediction_errors(copy_last, frames)  # (1 + 1 + 0 + 4) / 2
        tensor([3.])
    """
    full = check_sequences(frames, lengths)
    check_count("batch", batch)
    if int(full.min()) < 2:
        raise ValueError(
            f"lengths: expected at least 2 frames a sequence, got 1 in sequence "
            f"{int(full.argmin())}"
        )
    errors = []
    for block, some in blocks(frames, full, batch):
        predicted = predictor(block, None if lengths is None else some)
        _check_output("predictor", predicted, block.shape)
        squared = (predicted[:, 1:] - block[:, 1:]).square().sum(-1)
        squared = squared.masked_fill(~real(some, block.shape[1])[:, 1:], 0)
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
    def of(cls, errors: Tensor, visible: int) -> Score:
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
        >>> from seqebm.evaluate import LinearExtrapolation, copy_last
        >>> frames = torch.tensor([[[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]]])
        >>> table = next_frame_table({"copy": copy_last, "line": LinearExtrapolation()}, frames)
        >>> table["copy"].per_frame, table["line"].per_frame
        (0.75, 0.75)
    """
    check_sequences(frames, lengths)
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
    lengths = check_sequences(frames, lengths)
    for name, count in (("prompt", prompt), ("samples", samples), ("batch", batch)):
        check_count(name, count)
    _check_horizons(horizons, prompt, int(lengths.max()))
    first = prompt + min(horizons)
    errors = torch.cat(
        [
            _free_run_block(continue_, block[some >= first], prompt, horizons, generator, samples)
            for block, some in blocks(frames, lengths, batch)
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


def _check_horizons(horizons: Sequence[int], prompt: int, longest: int) -> None:
    if len(horizons) == 0:
        raise ValueError("horizons: expected at least one, got none")
    for horizon in horizons:
        check_count("horizons", horizon)
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
