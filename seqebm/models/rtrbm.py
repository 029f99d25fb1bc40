"""The recurrent temporal restricted Boltzmann machine."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from seqebm.cells import recurrence
from seqebm.models.base import LAST, at
from seqebm.models.energy import small_parameter
from seqebm.models.temporal import TemporalModel, repeated, windows_of
from seqebm.units import Units


class Recurrent(NamedTuple):
    """What an RTRBM remembers; as a context with a time axis after the batch.

    Attributes:
        hidden: r, [batch, hidden].
        visible: the last frames, newest first, [batch, order, visible]; None without taps.
    """

    hidden: Tensor
    visible: Tensor | None


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
        self, n_visible: int, n_hidden: int, order: int = 0, visible: str | Units = "bernoulli"
    ) -> None:
        if order < 0:
            raise ValueError(f"order: expected at least 0, got {order}")
        super().__init__(n_visible, n_hidden, order, visible, vh=order > 0, vv=order > 0)
        self.hidden_to_hidden = small_parameter(n_hidden, n_hidden)
        self.initial_hidden = small_parameter(n_hidden)

    def initial_state(self, batch: int) -> Recurrent:
        """r_0 and the learned frames before the first."""
        return Recurrent(
            self.initial_hidden.expand(batch, -1), repeated(self.initial_visible, batch)
        )

    def scan(self, state: Recurrent, frames: Tensor) -> tuple[Recurrent, Recurrent]:
        """Run the recurrence, the only loop over time."""
        windows = windows_of(state.visible, frames)
        drive = self.drive(frames, windows)
        contexts = Recurrent(recurrence(drive, self.hidden_to_hidden, state.hidden), windows)
        return contexts, at(contexts, LAST)

    def biases(self, context: Recurrent) -> tuple[Tensor, Tensor]:
        """B_v = b_v + Σ_n A_n v_{t−n}, B_h = b_h + W′ r_{t−1} + Σ_n W_n v_{t−n}."""
        visible_bias, hidden_bias = self.tapped_biases(context.visible)
        return visible_bias, hidden_bias + F.linear(context.hidden, self.hidden_to_hidden)

    def begin(self, context: Recurrent) -> Tensor:
        """r_{t−1}: begin where the last frame was."""
        return context.hidden
