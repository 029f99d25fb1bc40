"""What the TRBM and the RTRBM have in common: direct taps from earlier visible frames."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.memories import delay, taps, taps_of_data
from seqebm.models.base import LAST, at
from seqebm.models.energy import EnergyModel
from seqebm.optim.initialisations import small_parameter
from seqebm.units import Units


class Past(NamedTuple):
    """What an RBM with temporal connections carries from frame to frame.

    Attributes:
        hidden: TRBM: the last hidden means p, newest first, [batch, order, hidden], or None
            without hidden-to-hidden connections. RTRBM: r, [batch, hidden].
        visible: the last frames, newest first, [batch, order, visible]; None without taps.
    """

    hidden: Any
    visible: Tensor | None


class Context(NamedTuple):
    """The past before each frame and after the last, with a time axis after the batch.

    Attributes:
        hidden: as in `Past`.
        visible: as in `Past`.
        visible_bias: b_v + Σ_n A_n v_{t−n}, [batch, time + 1, visible]; None without such taps.
        hidden_bias: b_h + Σ_n W_n v_{t−n}, [batch, time + 1, hidden].
    """

    hidden: Any
    visible: Tensor | None
    visible_bias: Tensor | None
    hidden_bias: Tensor


class TemporalModel(EnergyModel):
    """An RBM whose biases see the last `order` frames (Sutskever 2013, eq. 3.2).

        B_v = b_v + Σ_n A_n v_{t−n}        B_h = b_h + Σ_n W_n v_{t−n} + (hidden memory)

    A connection that is left out has the parameter None, as has `initial_visible` without taps.
    With a `rank`, A_n = U V_n: all taps between visible units go through that many factors.

    Attributes:
        order: m, the number of frames seen directly.
        visible_to_visible: A_n, [order, visible, visible]; None with a rank.
        visible_to_factors: V_n, [order, rank, visible]; None without a rank.
        factors_to_visible: U, [visible, rank]; None without a rank.
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
        rank: int | None,
        **settings: Any,
    ) -> None:
        if rank is not None and (rank < 1 or not vv):
            raise ValueError(f"rank: expected at least 1, of visible-to-visible taps, got {rank}")
        if rank is not None:
            settings["rank"] = rank
        super().__init__(n_visible, n_hidden, visible, order=order, **settings)
        self.order = order
        self.initial_hidden: nn.Parameter | None = None  # a model that remembers hiddens sets it
        full = vv and rank is None
        self.visible_to_visible = small_parameter(order, n_visible, n_visible) if full else None
        self.visible_to_factors = self.factors_to_visible = None
        if rank is not None:  # the factors of frames are of the size of these from the start
            spread = (order * n_visible) ** -0.5
            self.visible_to_factors = small_parameter(order, rank, n_visible, std=spread)
            self.factors_to_visible = small_parameter(n_visible, rank)
        self.visible_to_hidden = small_parameter(order, n_hidden, n_visible) if vh else None
        self.initial_visible = small_parameter(order, n_visible) if vv or vh else None

    def initial_state(self, batch: int) -> Past:
        """The learned hidden memory and the learned frames before the first."""
        return Past(_repeated(self.initial_hidden, batch), _repeated(self.initial_visible, batch))

    @abstractmethod
    def remember(self, hidden: Any, drive: Tensor) -> Any:
        """The hidden memory before each frame and after the last.

        Args:
            hidden: the hidden memory before the first frame.
            drive: W v_t + b_h + Σ_n W_n v_{t−n}, all that enters the hidden units but for their
                own past, [batch, time, hidden].
        """

    @abstractmethod
    def recurrent_bias(self, bias: Tensor, hidden: Any) -> Tensor:
        """A hidden bias [..., hidden] plus what the hidden memory contributes."""

    def scan(self, state: Past, frames: Tensor) -> tuple[Context, Past]:
        """Put the frames into the delay line and the hidden memory."""
        windows = None if state.visible is None else delay(state.visible, frames)
        tap = taps if frames.requires_grad else taps_of_data
        visible_bias = None
        hidden_bias = self.hidden_bias.expand(len(frames), frames.shape[1] + 1, -1)
        if windows is not None and self.visible_to_visible is not None:
            visible_bias = self.visible_bias + tap(windows, self.visible_to_visible)
        up, down = self.visible_to_factors, self.factors_to_visible
        if windows is not None and up is not None and down is not None:
            visible_bias = self.visible_bias + F.linear(tap(windows, up), down)
        if windows is not None and self.visible_to_hidden is not None:
            hidden_bias = hidden_bias + tap(windows, self.visible_to_hidden)
        drive = F.linear(self.visible.scaled(frames), self.weight) + hidden_bias[:, :-1]
        hidden = self.remember(state.hidden, drive)
        contexts = Context(hidden, windows, visible_bias, hidden_bias)
        return contexts, at(Past(hidden, windows), LAST)

    def biases(self, context: Context) -> tuple[Tensor, Tensor]:
        """B_v and B_h."""
        visible_bias = self.visible_bias if context.visible_bias is None else context.visible_bias
        return visible_bias, self.recurrent_bias(context.hidden_bias, context.hidden)


def _repeated(initial: Tensor | None, batch: int) -> Tensor | None:
    """A learned initial value for each of `batch` sequences."""
    return None if initial is None else initial.expand(batch, *initial.shape)
