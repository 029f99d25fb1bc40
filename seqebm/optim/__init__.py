"""Where learning begins and how it goes on: initial values, and optimisers beside torch's own."""

from seqebm.optim.augmented import AugmentedHessianFree
from seqebm.optim.curvature import GaussNewton, Hessian
from seqebm.optim.hessian_free import HessianFree
from seqebm.optim.krylov import KrylovDescent
from seqebm.optim.losses import Bernoulli, Categorical, MatchingLoss, Squared
from seqebm.optim.nesterov import NAG, Momentum
from seqebm.optim.newton_cg import NewtonCG
from seqebm.optim.objective import Held, Objective, Prediction
from seqebm.optim.second_order import Report

__all__ = [
    "NAG",
    "AugmentedHessianFree",
    "Bernoulli",
    "Categorical",
    "GaussNewton",
    "Held",
    "Hessian",
    "HessianFree",
    "KrylovDescent",
    "MatchingLoss",
    "Momentum",
    "NewtonCG",
    "Objective",
    "Prediction",
    "Report",
    "Squared",
]
