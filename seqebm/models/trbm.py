"""The temporal restricted Boltzmann machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqebm.memories import delay, stacked, taps
from seqebm.models.base import LAST, at
from seqebm.models.energy import check_exchangeable
from seqebm.models.temporal import Context, Past, TemporalModel
from seqebm.optim.initialisations import small_parameter
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Units

CONNECTIONS = ("hh", "vh", "vv")
KINDS = (*CONNECTIONS, "hv")  #: of connection there can be
EXCHANGED = {"hh": "vv", "vv": "hh", "vh": "hv", "hv": "vh"}  #: what each is to the other layer


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
            There can also be "hv", by which earlier hidden units drive B_v, as he suggests below
            eq. 3.2.
        rank: of the visible-to-visible taps A_n = U V_n; None leaves it free. With `connections`
            "vh" and "vv" only this is the conditional RBM of Taylor, Hinton and Roweis (2007),
            with a low-rank autoregression.

    Attributes:
        hidden_to_hidden: W′_n, [order, hidden, hidden].
        hidden_to_visible: the taps "hv", [order, visible, hidden].
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
        rank: int | None = None,
    ) -> None:
        if order < 1:
            raise ValueError(f"order: expected at least 1, got {order}")
        unknown = sorted(set(connections) - set(KINDS))
        if unknown or isinstance(connections, str) or not connections:
            raise ValueError(f"connections: expected some of {KINDS}, got {connections!r}")
        kept = [name for name in KINDS if name in connections]
        super().__init__(
            n_visible, n_hidden, order, visible, "vh" in kept, "vv" in kept, rank, connections=kept
        )
        hh, hv = "hh" in kept, "hv" in kept
        self.hidden_to_hidden = small_parameter(order, n_hidden, n_hidden) if hh else None
        self.initial_hidden = small_parameter(order, n_hidden) if hh or hv else None
        self.hidden_to_visible = small_parameter(order, n_visible, n_hidden) if hv else None

    def transposed(self) -> TRBM:
        """The same distribution with the layers exchanged: Q(h, u) = P(v = u, h).

        What the hidden units of this model do is what the visible units of the other one do, so it
        is where a second layer begins that is to lose nothing (Sutskever 2013, sec. 3.4). Taps
        from visible to hidden units become taps "hv".

        Raises:
            ValueError: visible units that are not Bernoulli, as hidden units are, or a rank.

        Example:
            >>> TRBM(9, 5, connections=("hh", "vh")).transposed().settings["connections"]
            ['vv', 'hv']
        """
        check_exchangeable(self.visible)
        if self.factors_to_visible is not None:
            raise ValueError("rank: hidden units have no taps of low rank")
        n_hidden, n_visible = self.weight.shape
        kept = [EXCHANGED[name] for name in self.settings["connections"]]
        other = TRBM(n_hidden, n_visible, self.order, connections=kept).to(self.weight)
        pairs = {
            "weight": self.weight.t(),
            "visible_bias": self.hidden_bias,
            "hidden_bias": self.visible_bias,
            "hidden_to_hidden": self.visible_to_visible,
            "visible_to_visible": self.hidden_to_hidden,
            "hidden_to_visible": self.visible_to_hidden,
            "visible_to_hidden": self.hidden_to_visible,
            "initial_hidden": self.initial_visible,
            "initial_visible": self.initial_hidden,
        }
        other.load_state_dict({name: value for name, value in pairs.items() if value is not None})
        return other

    @torch.no_grad()
    def _filtered(self, hidden: Tensor, drive: Tensor) -> Tensor:
        """p_1 … p_T, [batch, time, hidden], from the hidden window before the first frame."""
        if self.hidden_to_hidden is None:
            return drive.sigmoid()
        weight = stacked(self.hidden_to_hidden).t()  # once, and not for every frame
        means = []
        for frame in drive.unbind(1):
            means.append(torch.addmm(frame, hidden.flatten(1), weight).sigmoid_())
            hidden = torch.cat([means[-1].unsqueeze(1), hidden[:, :-1]], dim=1)
        return torch.stack(means, dim=1) if means else drive

    def remember(self, hidden: Tensor | None, drive: Tensor) -> Tensor | None:
        """Filter by mean field; the last means before each frame and after the last."""
        return None if hidden is None else delay(hidden, self._filtered(hidden, drive))

    def recurrent_bias(self, bias: Tensor, hidden: Tensor | None) -> Tensor:
        """The bias plus Σ_n W′_n p_{t−n}."""
        if hidden is None or self.hidden_to_hidden is None:
            return bias
        return bias + taps(hidden, self.hidden_to_hidden)

    def biases(self, context: Context) -> tuple[Tensor, Tensor]:
        """B_v and B_h."""
        visible_bias, hidden_bias = super().biases(context)
        if self.hidden_to_visible is not None:
            visible_bias = visible_bias + taps(context.hidden, self.hidden_to_visible)
        return visible_bias, hidden_bias

    def begin(self, context: Context, rbm: RBMEnergy) -> Tensor:
        """The last hidden means, or those that the last frame calls for: begin where it was."""
        if context.hidden is not None:
            return context.hidden[..., 0, :]
        assert context.visible is not None  # there is at least one kind of connection
        return rbm.hidden_mean(context.visible[..., 0, :])

    def scan_given(self, state: Past, frames: Tensor, hidden: Tensor) -> tuple[Context, Past]:
        """Remember these hidden units [batch, time, hidden] in the place of the filtered means."""
        return _remembering(state, *self.scan(state, frames), hidden)

    def imagine(
        self,
        state: Past,
        frame: Tensor,
        generator: torch.Generator | None,
        hidden: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Context, Past]:
        """Remember a drawn frame with hiddens drawn from P(h_t | v_t, …) (Alg. 1, line 3)."""
        contexts, after = self.scan(state, frame.unsqueeze(1))
        if hidden is None and contexts.hidden is not None:
            mean = contexts.hidden[:, -1, 0]
            if temperature != 1:
                mean = (mean.logit() / temperature).sigmoid()
            hidden = Bernoulli(mean.shape[-1]).sample(mean, generator)
        if hidden is None:
            return contexts, after
        return _remembering(state, contexts, after, hidden.unsqueeze(1))

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

        def step(context: Context, state: Past, t: int) -> tuple[Tensor, Context, Past]:
            frame, _ = self.conditional(context).sample(generator)
            return frame, *self.scan(state, frame.unsqueeze(1))

        return self._generate(length, batch, prefix, step)


def _remembering(
    state: Past, contexts: Context, after: Past, hidden: Tensor
) -> tuple[Context, Past]:
    """What a scan from `state` gave, with these hidden units in the place of the filtered means."""
    if contexts.hidden is None:
        return contexts, after
    windows = delay(state.hidden, hidden)
    return contexts._replace(hidden=windows), after._replace(hidden=at(windows, LAST))
