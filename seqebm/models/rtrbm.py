"""The recurrent temporal restricted Boltzmann machine."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seqebm.memories import recurrence
from seqebm.models.temporal import Context, TemporalModel
from seqebm.optim.initialisations import small_parameter
from seqebm.rbm import RBMEnergy
from seqebm.units import Units


class RTRBM(TemporalModel):
    """The recurrent TRBM (Sutskever 2013, sec. 3.5–3.10).

    The hidden memory is deterministic, r_t = σ(W v_t + W′ r_{t−1} + b_h) (eq. 3.20), so inference
    is exact and the likelihood is Π_t p(v_t | r_{t−1}), each factor an RBM with hidden bias
    b_h + W′ r_{t−1} (eq. 3.22). The gradient runs back through time; each frame's own term is had
    by contrastive divergence, for all frames in one batch of chains.

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units.
        order: how many earlier frames both layers see directly, as in the TRBM; they then also
            enter r_t.
        visible: "bernoulli", "gaussian", "gaussian:learned", or a `Units` object.
        rank: of the visible-to-visible taps A_n = U V_n; None leaves it free.

    Attributes:
        hidden_to_hidden: W′, [hidden, hidden].
        initial_hidden: r_0, [hidden].

    Example:
        >>> import torch
        >>> model = RTRBM(9, 5)
        >>> videos = torch.rand(2, 7, 9)
        >>> model.loss(videos).backward()
        >>> model.sample(3, prefix=videos).shape
        torch.Size([2, 3, 9])
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        order: int = 0,
        visible: str | Units = "bernoulli",
        rank: int | None = None,
    ) -> None:
        if order < 0:
            raise ValueError(f"order: expected at least 0, got {order}")
        super().__init__(n_visible, n_hidden, order, visible, order > 0, order > 0, rank)
        self.hidden_to_hidden = small_parameter(n_hidden, n_hidden)
        self.initial_hidden = small_parameter(n_hidden)

    def remember(self, hidden: Tensor, drive: Tensor) -> Tensor:
        """r_0 … r_T, [batch, time + 1, hidden]: the only loop over time."""
        return recurrence(drive, self.hidden_to_hidden, hidden)

    def recurrent_bias(self, bias: Tensor, hidden: Tensor) -> Tensor:
        """The bias plus W′ r_{t−1}."""
        return bias + F.linear(hidden, self.hidden_to_hidden)

    def begin(self, context: Context, rbm: RBMEnergy) -> Tensor:
        """r_{t−1}: begin where the last frame was."""
        return context.hidden
