"""What sequence models whose conditional is an RBM have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from seqebm.models.base import BEFORE, Context, SequenceModel, at
from seqebm.models.conditionals import RBMConditional
from seqebm.optim.initialisations import small_parameter
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Units, make_units


class EnergyModel(SequenceModel):
    """A sequence model whose conditional is an RBM with dynamic biases.

    A model says in `biases` how its context moves the biases; W is the same at all times.

    Attributes:
        weight: W, [hidden, visible].
        visible_bias: b_v, [visible].
        hidden_bias: b_h, [hidden].
        gibbs_steps: k of the contrastive divergence in `loss`.
        sampling_steps: sweeps of the chain that draws a frame.
        sampling_rungs: of the parallel tempering that draws a frame if there are more than one, for
            machines in whose modes Gibbs chains stay (`seqebm.tempering`).
        bf16: whether the chains in `loss` use bf16 inside their products (`gibbs.chain`). Nothing
            else ever does: no prediction, no sample, no likelihood.
    """

    def __init__(
        self, n_visible: int, n_hidden: int, visible: str | Units, **settings: Any
    ) -> None:
        super().__init__()
        for name, size in {"n_visible": n_visible, "n_hidden": n_hidden}.items():
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
        self.visible = make_units(visible, n_visible)
        self.settings = {
            "n_visible": n_visible,
            "n_hidden": n_hidden,
            "visible": self.visible.spec,
            **settings,
        }
        self.gibbs_steps = 10
        self.sampling_steps = 50
        self.sampling_rungs = 1
        self.bf16 = False
        self.weight = small_parameter(n_hidden, n_visible)
        self.visible_bias = small_parameter(n_visible)
        self.hidden_bias = small_parameter(n_hidden)

    @abstractmethod
    def biases(self, context: Context) -> tuple[Tensor, Tensor]:
        """The biases B_v [..., visible] and B_h [..., hidden] that a context calls for."""

    @property
    def output_bias(self) -> nn.Parameter:
        """b_v."""
        return self.visible_bias

    def rbm(self, context: Context) -> RBMEnergy:
        """The RBMs over (v_t, h_t) given the contexts before t."""
        return RBMEnergy(self.visible, self.weight, *self.biases(context))

    def begin(self, context: Context, rbm: RBMEnergy) -> Tensor:
        """Hidden means to begin with where there is no frame yet: here by their biases alone."""
        return rbm.hidden_bias.sigmoid()

    def conditional(self, context: Context) -> RBMConditional:
        """The RBMs with the hidden units summed out."""
        rbm = self.rbm(context)
        return RBMConditional(
            rbm,
            lambda: self.begin(context, rbm),
            self.gibbs_steps,
            self.sampling_steps,
            self.sampling_rungs,
            self.bf16,
        )

    def hidden(self, contexts: Context, frames: Tensor) -> Tensor:
        """E[h_t | v_t, context_{t−1}]: eq. 3.5 for a TRBM, eq. 3.20 for an RTRBM."""
        return self.rbm(at(contexts, BEFORE)).hidden_mean(frames)


def check_exchangeable(visible: Units) -> None:
    """Raise where visible units are not of the kind that hidden units are."""
    if type(visible) is not Bernoulli:
        raise ValueError(f"visible: expected Bernoulli units, got {visible.spec}")
