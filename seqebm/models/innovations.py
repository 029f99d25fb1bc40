"""An autoregression with changing volatility, whose innovations another model learns."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from seqebm.memories import delay, taps, taps_of_data
from seqebm.models.base import BEFORE, Context, SequenceModel, State, at
from seqebm.models.conditionals import Innovation
from seqebm.models.energy import small_parameter
from seqebm.units import Gaussian


class Past(NamedTuple):
    """What is carried from frame to frame.

    Attributes:
        frames: the last ones, newest first, [batch, order, visible].
        energy: q, [batch, 1].
        model: the state of the model of the innovations.
    """

    frames: Tensor
    energy: Tensor
    model: State


class Expected(NamedTuple):
    """What is expected before each frame and after the last, with a time axis after the batch.

    Attributes:
        frames: the last ones, newest first, [batch, time + 1, order, visible].
        energy: q, [batch, time + 1, 1].
        place: B, [batch, time + 1, visible].
        scale: σ s, [batch, time + 1, visible].
        model: the context of the model of the innovations.
    """

    frames: Tensor
    energy: Tensor
    place: Tensor
    scale: Tensor
    model: Context


class Innovations(SequenceModel):
    """A linear autoregression with changing volatility, and a model of what it leaves.

        v_t = B_t + σ s_t x_t,      B_t = b + Σ_n A_n v_{t−n},      n = 1 … order
        s_t² = 1 − β + β f(q_{t−1}),   q_t = λ q_{t−1} + (1 − λ) mean_i ((v_t − B_t)_i / σ_i)²

    and the innovations x_1, x_2 … are a sequence of `model`. So log p(v_t | v_<t) is
    log p(x_t | x_<t) − Σ_i log(σ_i s_t): nothing is approximated, and A, b, σ and the volatility
    learn from the same loss as the model. q is a mean of earlier squared errors, as in Bollerslev's
    GARCH(1, 1) (1986) with one volatility for all dimensions. It keeps violent movements, whose
    errors are many times as large as those of calm ones, from deciding alone what the taps learn.
    f(q) = q / (1 + q/c) has a ceiling c, so that the volatility of samples cannot run away: errors
    with heavy tails teach a β by which it would, as samples of x are of more equal size than these.

    An untrained model expects a random walk: A_1 is the identity and all else zero. Taps that were
    learned from short sequences may have a `spectral_radius` above 1: they predict, but their free
    runs diverge; noise in the past that the model is trained with makes it smaller.

    Args:
        model: any sequence model with Gaussian visible units.
        order: number of taps, at least 1.

    Attributes:
        model: that of the innovations.
        visible_to_visible: A_n, [order, visible, visible].
        visible_bias: b, [visible].
        initial_visible: what stands for the frames before the first, newest first,
            [order, visible].
        log_energy: log q_0, [1].
        log_ceiling: log c, [1].
        reaction: logit of β, [1].
        persistence: logit of λ, [1].

    Raises:
        TypeError: `model` is no sequence model.
        ValueError: `order` is below 1, or the visible units are not Gaussian.

    Example:
        >>> import seqebm
        >>> model = Innovations(seqebm.RTRBM(6, 20, visible="gaussian"), order=2)
        >>> walks = torch.randn(4, 30, 6).cumsum(1)
        >>> model.loss(walks).backward()
        >>> model.predict(walks).shape, model.sample(10, prefix=walks).shape
        (torch.Size([4, 30, 6]), torch.Size([4, 10, 6]))
    """

    def __init__(self, model: SequenceModel, order: int = 3) -> None:
        super().__init__()
        if not isinstance(model, SequenceModel):
            raise TypeError(f"model: expected a sequence model, got {type(model).__name__}")
        if not isinstance(model.visible, Gaussian):
            raise ValueError(f"model: expected Gaussian visible units, got {model.visible.spec}")
        if order < 1:
            raise ValueError(f"order: expected at least 1, got {order}")
        size = model.visible.size
        self.model = model
        self.order = order
        self.visible: Gaussian = Gaussian(size, learned=True)
        self.settings = {"model": {"kind": type(model).__name__, **model.settings}, "order": order}
        self.visible_to_visible = nn.Parameter(torch.zeros(order, size, size))
        self.visible_bias = nn.Parameter(torch.zeros(size))
        self.initial_visible = small_parameter(order, size)
        self.log_energy = nn.Parameter(torch.zeros(1))
        self.log_ceiling = nn.Parameter(torch.full((1,), 3.0))
        self.reaction = nn.Parameter(torch.full((1,), 2.0))
        self.persistence = nn.Parameter(torch.ones(1))
        with torch.no_grad():
            self.visible_to_visible[0].fill_diagonal_(1.0)

    @property
    def output_bias(self) -> nn.Parameter:
        """b."""
        return self.visible_bias

    @property
    def spectral_radius(self) -> float:
        """Of the autoregression: above 1, what it expects of its own frames grows without end."""
        taps = self.visible_to_visible.detach()
        order, size, _ = taps.shape
        companion = taps.new_zeros(order * size, order * size)
        companion[:size] = torch.cat([*taps], dim=1)
        companion[size:, :-size] = torch.eye((order - 1) * size)
        return float(torch.linalg.eigvals(companion).abs().max())

    @property
    def gibbs_steps(self) -> int:
        """k of the contrastive divergence of the model, if it has one."""
        return cast(int, self.model.gibbs_steps)

    @gibbs_steps.setter
    def gibbs_steps(self, k: int) -> None:
        cast(Any, self.model).gibbs_steps = k

    @property
    def sampling_steps(self) -> int:
        """Sweeps of the chain by which the model draws an innovation, if it has one."""
        return cast(int, self.model.sampling_steps)

    @sampling_steps.setter
    def sampling_steps(self, sweeps: int) -> None:
        cast(Any, self.model).sampling_steps = sweeps

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let the frames before the first be `mean`, and expect no other after them.

        Raises:
            ValueError: as of `SequenceModel.start_at`.
        """
        super().start_at(mean)
        self.visible_bias.sub_(self.visible_to_visible.sum(0) @ self.visible_bias)
        self.initial_visible.copy_(mean.expand_as(self.initial_visible))

    def denoise(
        self,
        frames: Tensor,
        mask: Tensor | None = None,
        lengths: Tensor | None = None,
        sweeps: int = 0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `SequenceModel.denoise`, without sweeps.

        Raises:
            ValueError: sweeps too: their steps are those of units whose neighbours in time pull at
                them less than their own frame does, and run away where taps are as strong as here.
        """
        if sweeps > 0 and mask is not None:
            raise ValueError(f"sweeps: expected 0 for innovations, got {sweeps}")
        return super().denoise(frames, mask, lengths, sweeps)

    def initial_state(self, batch: int) -> Past:
        """The learned frames before the first, q_0 and the state of the model."""
        return Past(
            self.initial_visible.expand(batch, -1, -1),
            self.log_energy.exp().expand(batch, 1),
            self.model.initial_state(batch),
        )

    def scan(self, state: Past, frames: Tensor) -> tuple[Expected, Past]:
        """Let the model remember the innovations of the frames."""
        expected, innovations = self._expected(state, frames)
        return _with_model(expected, *self.model.scan(state.model, innovations))

    def scan_given(self, state: Past, frames: Tensor, hidden: Tensor) -> tuple[Expected, Past]:
        """As the model does, with the innovations of the frames."""
        expected, innovations = self._expected(state, frames)
        return _with_model(expected, *self.model.scan_given(state.model, innovations, hidden))

    def imagine(
        self,
        state: Past,
        frame: Tensor,
        generator: torch.Generator | None,
        hidden: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Expected, Past]:
        """As the model does, with the innovation of the frame."""
        expected, innovations = self._expected(state, frame.unsqueeze(1))
        drawn = innovations[:, 0]
        imagined = self.model.imagine(state.model, drawn, generator, hidden, temperature)
        return _with_model(expected, *imagined)

    def _expected(self, state: Past, frames: Tensor) -> tuple[Expected, Tensor]:
        """What is expected but for the model's part, and the innovations of the frames."""
        windows = delay(state.frames, frames)
        tap = taps if frames.requires_grad else taps_of_data
        place = self.visible_bias + tap(windows, self.visible_to_visible)
        sigma = self.visible.log_sigma.exp()
        errors = (frames - place[:, :-1]) / sigma
        energy = self._energy(state.energy, errors.square().mean(-1, keepdim=True))
        beta = self.reaction.sigmoid()
        limited = energy / (1 + energy / self.log_ceiling.exp())
        volatility = (1 - beta + beta * limited).sqrt()
        expected = Expected(windows, energy, place, sigma * volatility, None)
        return expected, errors / volatility[:, :-1]

    def _energy(self, first: Tensor, squares: Tensor) -> Tensor:
        """q before each frame and after the last, [batch, time + 1, 1]."""
        persistence, energies = self.persistence.sigmoid(), [first]
        for square in squares.unbind(1):
            energies.append(torch.lerp(square, energies[-1], persistence))
        return torch.stack(energies, 1)

    def conditional(self, context: Expected) -> Innovation:
        """The model's distribution over the next innovation, moved and scaled."""
        return Innovation(self.model.conditional(context.model), context.place, context.scale)

    def hidden(self, contexts: Expected, frames: Tensor) -> Tensor:
        """Those of the model."""
        before = at(contexts, BEFORE)
        return self.model.hidden(contexts.model, (frames - before.place) / before.scale)


def _with_model(expected: Expected, contexts: Context, state: Any) -> tuple[Expected, Past]:
    """What is expected with the model's part, and the state after the last frame."""
    last = Past(expected.frames[:, -1], expected.energy[:, -1], state)
    return expected._replace(model=contexts), last
