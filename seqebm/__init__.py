"""Probabilistic sequence models centred on energy-based models.

A sequence model is a memory and a conditional: `TRBM`, `RTRBM`, `RNN`, `RBM`, `Stack` and
`Innovations` share one interface (`seqebm.models.SequenceModel`), are trained by `fit` and kept by
`save` and `load`.
"""

from seqebm import data
from seqebm.learning import fit, load, save
from seqebm.models import RBM, RNN, RTRBM, TRBM, Innovations, Stack

__version__ = "0.1.0"
__all__ = ["RBM", "RNN", "RTRBM", "TRBM", "Innovations", "Stack", "data", "fit", "load", "save"]
