"""Where learning begins and how it goes on: initial values, and optimisers beside torch's own."""

from seqebm.optim.curvature import GaussNewton, Hessian
from seqebm.optim.hessian_free import HessianFree
from seqebm.optim.losses import Bernoulli, Categorical, MatchingLoss, Squared
from seqebm.optim.objective import Held, Objective, Prediction
from seqebm.optim.second_order import Report

__all__ = [
    "Bernoulli",
    "Categorical",
    "GaussNewton",
    "Held",
    "Hessian",
    "HessianFree",
    "MatchingLoss",
    "Objective",
    "Prediction",
    "Report",
    "Squared",
]
