"""Prediction error on held-out sequences, beside simple yardsticks.

A *predictor* is any callable `(frames, lengths) -> predictions`, both `[batch, time, visible]`,
whose entry t never uses frame t or later: the `predict` of every model, and the yardsticks here
(mean frame, copy the last frame, linear extrapolation, ridge autoregression). Several published
errors are worse than these yardsticks, so put them beside every model.

Ragged batches come with `lengths`, an integer tensor `[batch]`. Padding never counts: it is
replaced by zeros before anybody sees it.
"""

from seqebm.evaluate.errors import (
    Continuation,
    Score,
    format_table,
    free_run_errors,
    next_frame_table,
    prediction_errors,
    to_json,
)
from seqebm.evaluate.yardsticks import (
    PENALTIES,
    LinearExtrapolation,
    LinearFit,
    MeanFrame,
    Predictor,
    RidgeAutoregression,
    copy_last,
    yardsticks,
)

__all__ = [
    "PENALTIES",
    "Continuation",
    "LinearExtrapolation",
    "LinearFit",
    "MeanFrame",
    "Predictor",
    "RidgeAutoregression",
    "Score",
    "copy_last",
    "format_table",
    "free_run_errors",
    "next_frame_table",
    "prediction_errors",
    "to_json",
    "yardsticks",
]
