"""Probabilistic sequence models centred on energy-based models.

A sequence model is a memory and a conditional: `TRBM`, `RTRBM`, `RNNRBM`, `RNN`, `RBM`, `Stack` and
`Innovations` share one interface (`seqebm.models.SequenceModel`), are trained by `fit` and kept by
`save` and `load`.
"""

from seqebm import cells, data
from seqebm.learning import fit, load, save
from seqebm.models import NADE, RBM, RNN, RNNRBM, RTRBM, TRBM, Innovations, OrderlessNADE, Stack

__version__ = "0.1.0"
__all__ = [
    "NADE",
    "RBM",
    "RNN",
    "RNNRBM",
    "RTRBM",
    "TRBM",
    "Innovations",
    "OrderlessNADE",
    "Stack",
    "cells",
    "data",
    "fit",
    "load",
    "save",
]
