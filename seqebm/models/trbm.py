"""The temporal restricted Boltzmann machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqebm.models.base import LAST, at
from seqebm.models.energy import small_parameter
from seqebm.models.temporal import TemporalModel, repeated, tapped, windows_of
from seqebm.units import Bernoulli, Units

CONNECTIONS = ("hh", "vh", "vv")


class Delays(NamedTuple):
    """What a TRBM remembers, newest first; as a context with a time axis after the batch.

    Attributes:
        hidden: the last hidden means p, [batch, order, hidden]; None without "hh".
        visible: the last frames, [batch, order, visible]; None without "vh" and "vv".
    """

    hidden: Tensor | None
    visible: Tensor | None


class TRBM(TemporalModel):
    """The temporal RBM (Sutskever 2013, sec. 3.2): an RBM at each time, biased by the last frames.

        B_v = b_v + Σ_n A_n v_{t−n}
        B_h = b_h + Σ_n W′_n h_{t−n} + Σ_n W_n v_{t−n}        n = 1 … order        (eq. 3.2)

    The hidden units are not known; mean-field filtering puts p_t = σ(W v_t + B_h) in their place
    (eq. 3.5), and learning takes these as constants (eqs. 3.7–3.10). `log_prob` conditions on the
    filtered hiddens. Without hidden-to-hidden connections all of this is exact.

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units.
        order: number of taps m.
        visible: "bernoulli", "gaussian", "gaussian:learned", or a `Units` object.
        connections: which taps there are: "hh" W′, "vh" W_n, "vv" A_n. Sutskever's TRBM-HH has no
            "hh", his TRBM-VH no "vh", his TRBM-VV no "vv". A tap left out has the parameter None.

    Attributes:
        hidden_to_hidden: W′_n, [order, hidden, hidden].
        initial_hidden: what stands for the hiddens before the first frame, newest first,
            [order, hidden].

    Example:
        >>> model = TRBM(9, 5, order=3, connections=("vh", "vv"))
        >>> videos = torch.rand(2, 7, 9)
        >>> model.loss(videos).backward()
        >>> model.filter(videos).shape
        torch.Size([2, 7, 5])
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        order: int = 1,
        visible: str | Units = "bernoulli",
        connections: Sequence[str] = CONNECTIONS,
    ) -> None:
        if order < 1:
            raise ValueError(f"order: expected at least 1, got {order}")
        unknown = sorted(set(connections) - set(CONNECTIONS))
        if unknown or isinstance(connections, str) or not connections:
            raise ValueError(f"connections: expected some of {CONNECTIONS}, got {connections!r}")
        kept = [name for name in CONNECTIONS if name in connections]
        super().__init__(
            n_visible, n_hidden, order, visible, "vh" in kept, "vv" in kept, connections=kept
        )
        hh = "hh" in kept
        self.hidden_to_hidden = small_parameter(order, n_hidden, n_hidden) if hh else None
        self.initial_hidden = small_parameter(order, n_hidden) if hh else None

    def initial_state(self, batch: int) -> Delays:
        """The learned hiddens and frames before the first."""
        return Delays(repeated(self.initial_hidden, batch), repeated(self.initial_visible, batch))

    def scan(self, state: Delays, frames: Tensor) -> tuple[Delays, Delays]:
        """Filter by mean field and put means and frames into the delay lines."""
        windows = windows_of(state.visible, frames)
        hidden = None
        if state.hidden is not None:
            hidden = windows_of(state.hidden, self._filtered(frames, windows, state.hidden))
        contexts = Delays(hidden, windows)
        return contexts, at(contexts, LAST)

    @torch.no_grad()
    def _filtered(self, frames: Tensor, windows: Tensor | None, hidden: Tensor) -> Tensor:
        """p_1 … p_T, [batch, time, hidden], from the hidden window before the first frame."""
        drive = self.drive(frames, windows)
        means = torch.empty_like(drive)
        for t in range(drive.shape[1]):
            means[:, t] = tapped(drive[:, t], hidden, self.hidden_to_hidden).sigmoid()
            hidden = torch.cat([means[:, t : t + 1], hidden[:, :-1]], dim=1)
        return means

    def biases(self, context: Delays) -> tuple[Tensor, Tensor]:
        """B_v and B_h of eq. 3.2, with filtered means for the hidden units."""
        visible_bias, hidden_bias = self.tapped_biases(context.visible)
        return visible_bias, tapped(hidden_bias, context.hidden, self.hidden_to_hidden)

    def begin(self, context: Delays) -> Tensor:
        """The last hidden means, or those that the last frame calls for: begin where it was."""
        if context.hidden is not None:
            return context.hidden[..., 0, :]
        assert context.visible is not None  # there is at least one kind of connection
        return self.rbm(context).hidden_mean(context.visible[..., 0, :])

    def imagine(
        self, state: Delays, frame: Tensor, generator: torch.Generator | None
    ) -> tuple[Delays, Delays]:
        """Remember a drawn frame with hiddens drawn from P(h_t | v_t, …) (Alg. 1, line 3)."""
        contexts, after = self.scan(state, frame.unsqueeze(1))
        if after.hidden is not None:
            mean = after.hidden[:, 0]
            h = Bernoulli(mean.shape[-1]).sample_into(torch.empty_like(mean), mean, generator)
            hidden = torch.cat([h.unsqueeze(1), after.hidden[:, 1:]], dim=1)
            after = after._replace(hidden=hidden)
            contexts = at(after, (slice(None), None))
        return contexts, after

    @torch.no_grad()
    def sample_like_rtrbm(
        self,
        length: int,
        batch: int = 1,
        prefix: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Like `sample`, with hidden means where Alg. 1 draws hidden units (Alg. 3).

        It leaves out the noise of the hidden units, as Sutskever 2013, sec. 3.11, does to compare
        the TRBM with the RTRBM; what it draws is not a sample of the TRBM.
        """

        def step(context: Delays, state: Delays) -> tuple[Tensor, Delays, Delays]:
            frame, _ = self.conditional(context).sample(generator)
            return frame, *self.scan(state, frame.unsqueeze(1))

        return self._generate(length, batch, prefix, step)
