"""Log-likelihoods of RBMs: by enumeration, by mean field, and between bounds by annealing."""

from seqebm.likelihood.annealing import (
    Annealed,
    Annealing,
    annealed_log_partition,
    bennett,
    spaced,
)
from seqebm.likelihood.brackets import ERRORS, Bracket, bracket, known, rbm_bracket, spread
from seqebm.likelihood.exact import (
    LARGEST_ENUMERATION,
    binary_states,
    enumerated_units,
    exact_log_prob,
    exact_mean,
    exact_samples,
    log_partition,
    mean_field_log_partition,
    state_blocks,
    with_state_axis,
)

__all__ = [
    "ERRORS",
    "LARGEST_ENUMERATION",
    "Annealed",
    "Annealing",
    "Bracket",
    "annealed_log_partition",
    "bennett",
    "binary_states",
    "bracket",
    "enumerated_units",
    "exact_log_prob",
    "exact_mean",
    "exact_samples",
    "known",
    "log_partition",
    "mean_field_log_partition",
    "rbm_bracket",
    "spaced",
    "spread",
    "state_blocks",
    "with_state_axis",
]
