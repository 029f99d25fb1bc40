"""Prediction error and quality of denoising on held-out sequences, beside simple yardsticks.

A *predictor* is any callable `(frames, lengths) -> predictions`, both `[batch, time, visible]`,
whose entry t never uses frame t or later: the `predict` of every model, and the yardsticks here
(mean frame, copy the last frame, linear extrapolation, ridge autoregression). Several published
errors are worse than these yardsticks, so put them beside every model.

A *denoiser* is any callable `noisy -> estimates`, both `[batch, time, visible]`, whose entry t uses
frame t and earlier ones: the `denoise` of every model, and temporal medians, linear regressions and
Kalman filters here.

Ragged batches come with `lengths`, an integer tensor `[batch]`. Padding never counts: it is
replaced by zeros before anybody sees it.
"""

from seqebm.evaluate.denoisers import (
    Denoiser,
    KalmanDenoiser,
    LinearDenoiser,
    TemporalMedian,
    denoisers,
)
from seqebm.evaluate.errors import (
    Continuation,
    Score,
    format_table,
    free_run_errors,
    next_frame_table,
    prediction_errors,
    to_json,
)
from seqebm.evaluate.likelihoods import (
    Difference,
    Nats,
    brackets,
    difference,
    nats_per_frame,
    next_frames,
    refined_nats,
    some_frames,
)
from seqebm.evaluate.motion import (
    MotionQuality,
    MotionScore,
    foot_skate,
    joint_distance,
)
from seqebm.evaluate.music import (
    RollStatistics,
    format_statistics,
    frame_accuracy,
    roll_statistics,
    total_variation,
)
from seqebm.evaluate.ngrams import NGram
from seqebm.evaluate.quality import Quality, QualityScore, VideoQuality, quality_table
from seqebm.evaluate.ridge import PENALTIES, LinearFit
from seqebm.evaluate.samples import GaussianAutoregression, energy_score, energy_scores
from seqebm.evaluate.text import Bits, adaptive_surprises, bits_per_symbol, surprises
from seqebm.evaluate.yardsticks import (
    LinearExtrapolation,
    MeanFrame,
    Predictor,
    RidgeAutoregression,
    copy_last,
    yardsticks,
)

__all__ = [
    "PENALTIES",
    "Bits",
    "Continuation",
    "Denoiser",
    "Difference",
    "GaussianAutoregression",
    "KalmanDenoiser",
    "LinearDenoiser",
    "LinearExtrapolation",
    "LinearFit",
    "MeanFrame",
    "MotionQuality",
    "MotionScore",
    "NGram",
    "Nats",
    "Predictor",
    "Quality",
    "QualityScore",
    "RidgeAutoregression",
    "RollStatistics",
    "Score",
    "TemporalMedian",
    "VideoQuality",
    "adaptive_surprises",
    "bits_per_symbol",
    "brackets",
    "copy_last",
    "denoisers",
    "difference",
    "energy_score",
    "energy_scores",
    "foot_skate",
    "format_statistics",
    "format_table",
    "frame_accuracy",
    "free_run_errors",
    "joint_distance",
    "nats_per_frame",
    "next_frame_table",
    "next_frames",
    "prediction_errors",
    "quality_table",
    "refined_nats",
    "roll_statistics",
    "some_frames",
    "surprises",
    "to_json",
    "total_variation",
    "yardsticks",
]
