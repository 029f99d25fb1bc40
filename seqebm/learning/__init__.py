"""Training: the fit loop, schedules, checkpoints."""

from seqebm.learning.batches import PersistentChains, minibatches, windows
from seqebm.learning.checkpoint import load, load_training, save
from seqebm.learning.fit import fit
from seqebm.learning.readout import fit_readout
from seqebm.learning.schedules import constant, linear, piecewise

__all__ = [
    "PersistentChains",
    "constant",
    "fit",
    "fit_readout",
    "linear",
    "load",
    "load_training",
    "minibatches",
    "piecewise",
    "save",
    "windows",
]
