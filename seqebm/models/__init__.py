"""Sequence models: a memory and a conditional each."""

from seqebm.models.base import SequenceModel, Stream
from seqebm.models.innovations import Innovations
from seqebm.models.nade import NADE, OrderlessNADE
from seqebm.models.rbm import RBM
from seqebm.models.rnn import RNN
from seqebm.models.rnnrbm import RNNRBM
from seqebm.models.rtrbm import RTRBM
from seqebm.models.stack import Stack
from seqebm.models.trbm import TRBM

__all__ = [
    "NADE",
    "RBM",
    "RNN",
    "RNNRBM",
    "RTRBM",
    "TRBM",
    "Innovations",
    "OrderlessNADE",
    "SequenceModel",
    "Stack",
    "Stream",
]
