"""What a model of characters does with text: writes it, puts words in order, fills gaps.

Everything here takes a sequence model and the `seqebm.data.text.Vocabulary` of its data. Scores are
log-probabilities in nats.
"""

from seqebm.text.brackets import BracketMemory, bracket_memory
from seqebm.text.completion import Completion, best_completion, sampled_completions
from seqebm.text.heatmap import heat_map
from seqebm.text.ordering import Debugging, Ordering, debugged, orderings
from seqebm.text.scores import log_probabilities
from seqebm.text.writing import written, written_before

__all__ = [
    "BracketMemory",
    "Completion",
    "Debugging",
    "Ordering",
    "best_completion",
    "bracket_memory",
    "debugged",
    "heat_map",
    "log_probabilities",
    "orderings",
    "sampled_completions",
    "written",
    "written_before",
]
