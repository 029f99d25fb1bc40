"""What the TRBM and the RTRBM have in common: direct taps from earlier visible frames."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.cells import delay, taps
from seqebm.models.energy import EnergyModel, small_parameter
from seqebm.units import Units


class TemporalModel(EnergyModel):
    """An RBM whose biases see the last `order` frames (Sutskever 2013, eq. 3.2).

        B_v = b_v + Σ_n A_n v_{t−n}        B_h = b_h + Σ_n W_n v_{t−n} + (hidden memory)

    A connection that is left out has the parameter None, as has `initial_visible` without taps.

    Attributes:
        order: m, the number of frames seen directly.
        visible_to_visible: A_n, [order, visible, visible].
        visible_to_hidden: W_n, [order, hidden, visible].
        initial_visible: what stands for the frames before the first, newest first,
            [order, visible].
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        order: int,
        visible: str | Units,
        vh: bool,
        vv: bool,
        **settings: Any,
    ) -> None:
        super().__init__(n_visible, n_hidden, visible, order=order, **settings)
        self.order = order
        self.visible_to_visible = small_parameter(order, n_visible, n_visible) if vv else None
        self.visible_to_hidden = small_parameter(order, n_hidden, n_visible) if vh else None
        self.initial_visible = small_parameter(order, n_visible) if vv or vh else None

    def tapped_biases(self, windows: Tensor | None) -> tuple[Tensor, Tensor]:
        """B_v and B_h without the hidden memory, from the last frames [..., order, visible]."""
        return (
            tapped(self.visible_bias, windows, self.visible_to_visible),
            tapped(self.hidden_bias, windows, self.visible_to_hidden),
        )

    def drive(self, frames: Tensor, windows: Tensor | None) -> Tensor:
        """W v_t + b_h + Σ_n W_n v_{t−n}: what enters the hidden units but for their own past."""
        before = None if windows is None else windows[:, :-1]
        return F.linear(self.visible.scaled(frames), self.weight) + self.tapped_biases(before)[1]


def tapped(bias: Tensor, windows: Tensor | None, weights: nn.Parameter | None) -> Tensor:
    """A bias plus what its taps contribute, where it has taps."""
    return bias if windows is None or weights is None else bias + taps(windows, weights)


def repeated(initial: Tensor | None, batch: int) -> Tensor | None:
    """A learned initial value for each of `batch` sequences."""
    return None if initial is None else initial.expand(batch, *initial.shape)


def windows_of(past: Tensor | None, sequence: Tensor) -> Tensor | None:
    """The windows of a delay line that held `past`, or None where there is no line."""
    return None if past is None else delay(past, sequence)
