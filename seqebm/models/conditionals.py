"""Distributions over the next frame: one for each row of a context.

A conditional plays the part that an object of `torch.distributions` plays elsewhere: a model makes
one from its context, then asks it for losses, log-probabilities, means, samples, reconstructions.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqebm import gibbs, likelihood
from seqebm.checks import check_generator
from seqebm.likelihood import Annealing, Bracket
from seqebm.rbm import RBMEnergy
from seqebm.tempering import AnnealingPath, parallel_tempering
from seqebm.units import Units


class Conditional(ABC):
    """p(v_t | context_{t−1}) for every row of a context. Frames are [*rows, visible]."""

    _untempered = "this distribution has no other"  #: why temperatures that it has not are not

    @abstractmethod
    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        """A number whose gradient is the learning signal of each frame, [*rows].

        Args:
            frames: [*rows, visible].
            generator: source of randomness.
            chains: where a loss that runs chains begins them in the place of the frames, and, when
                it is done, where they have ended, [*rows, visible].
        """

    @abstractmethod
    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        """log p(frame) in nats, [*rows]."""

    def bracket(
        self, frames: Tensor, generator: torch.Generator | None, annealing: Annealing
    ) -> Bracket:
        """log p(frame) with bounds, see `likelihood.bracket`."""
        return likelihood.known(self.log_prob(frames, "exact"))

    @abstractmethod
    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        """E[v], [*rows, visible]."""

    @abstractmethod
    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sample and the mean of the last distribution it came from, [*rows, visible] each.

        Args:
            generator: source of randomness.
            known: values that units are held at, NaN where they are free, [*rows, visible].
        """

    def tempered(self, temperature: float) -> Conditional:
        """The distributions at a temperature τ > 0: p(v)^(1/τ), made to sum to one.

        Raises:
            ValueError: they cannot be drawn from exactly.
        """
        raise ValueError(f"temperature: expected 1, for {self._untempered}, got {temperature:g}")

    def greedy(self, known: Tensor | None = None) -> Tensor:
        """Samples as the temperature goes to 0, [*rows, visible]; known values as for `sample`.

        Raises:
            ValueError: they cannot be found exactly.
        """
        raise ValueError(f"temperature: expected more than 0, for {self._untempered}")

    @abstractmethod
    def with_state_axis(self) -> Conditional:
        """The same distributions with rows [*rows, 1], ready to meet a list of frames."""

    @abstractmethod
    def fill(self, known: Tensor) -> Tensor:
        """The known values with estimates where they are NaN, [*rows, visible]."""

    @abstractmethod
    def reconstruct(self, frames: Tensor) -> Tensor:
        """What the model takes the frames to be, given the context and the frames themselves."""


def _warn_of_bad_estimates(found: Bracket) -> None:
    """Say so where an annealed estimate is not to be trusted."""
    bad = int((~found.good).sum())
    if bad:
        warnings.warn(
            f"log_prob: the annealed estimates of {bad} of {found.good.numel()} frames are not to "
            "be trusted, too few of their runs count; seqebm.likelihood.bracket anneals longer",
            stacklevel=5,
        )


def check_method(method: str, known: tuple[str, ...]) -> None:
    """Raise ValueError where `method` is not among the known ones."""
    if method not in known:
        raise ValueError(f"method: expected one of {', '.join(known)}, got {method!r}")


@dataclass(frozen=True)
class Factorial(Conditional):
    """Independent units: p(v) = Π_i p(v_i; x_i) (Sutskever 2013, eq. 2.14).

    Args:
        units: the kind of the units.
        x: their total input, [*rows, visible].
    """

    units: Units
    x: Tensor

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        return -self.units.log_prob(frames, self.x)

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        check_method(method, ("auto", "exact"))
        return self.units.log_prob(frames, self.x)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        check_method(method, ("auto", "exact"))
        return self.units.mean(self.x)

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        check_generator(generator, self.x.device)
        mean = self.units.mean(self.x)
        drawn = self.units.sample(mean, generator)
        return gibbs.overlaid(drawn, known), gibbs.overlaid(mean, known)

    def tempered(self, temperature: float) -> Factorial:
        units, scale = self.units.tempered(temperature)
        return Factorial(units, self.x * scale)

    def greedy(self, known: Tensor | None = None) -> Tensor:
        return gibbs.overlaid(self.units.mode(self.x), known)

    def with_state_axis(self) -> Factorial:
        return Factorial(self.units, self.x.unsqueeze(-2))

    def fill(self, known: Tensor) -> Tensor:
        return gibbs.overlaid(self.units.mean(self.x), known)

    def reconstruct(self, frames: Tensor) -> Tensor:
        # no hidden units through which the entries of one frame could correct each other
        return frames


@dataclass(frozen=True)
class RBMConditional(Conditional):
    """An RBM with its own biases in every row, hidden units summed out.

    Args:
        rbm: the machines.
        begin: gives hidden means [*rows, hidden], for chains and iterations that have no frame to
            begin with. Machines that have learned sharp modes mix slowly, so it matters.
        gibbs_steps: k of the contrastive divergence that `loss` does.
        sampling_steps: sweeps of the chain that draws a sample.
        rungs: of parallel tempering, by which that chain goes on if there are more than one.
        bf16: whether the chain in `loss` uses bf16 inside its products; nothing else does.
    """

    rbm: RBMEnergy
    begin: Callable[[], Tensor]
    gibbs_steps: int
    sampling_steps: int
    rungs: int = 1
    bf16: bool = False
    _untempered = "the most probable frame of an RBM takes a search through all frames"

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        """F(v) − F(v_k) with v_k from k sweeps started at v: its gradient is that of CD-k.

        Sutskever 2013, eqs. 3.7–3.10: the chain's end stands for the model's expectation and is a
        constant to the gradient. As a number the loss says little.
        """
        return self.rbm.free_energy(frames) - self._model_free_energy(frames, generator, chains)

    def _model_free_energy(
        self, frames: Tensor, generator: torch.Generator | None, chains: Tensor | None
    ) -> Tensor:
        """The free energy averaged over (an approximation of) the model's own frames, [*rows]."""
        start = frames if chains is None else chains
        end = gibbs.chain(self.rbm, start, self.gibbs_steps, generator, self.bf16)
        if chains is not None:
            chains.copy_(end[0])
        return self.rbm.sampled_free_energy(*end)

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        """By exact enumeration of the smaller layer where it is small, else by annealing."""
        check_method(method, ("auto", "exact", "ais"))
        if method == "auto":
            small = likelihood.enumerated_units(self.rbm) <= EXACT_LOG_PROB
            method = "exact" if small else "ais"
        if method == "exact":
            return likelihood.exact_log_prob(self.rbm, frames)
        with torch.no_grad():
            found = self.bracket(frames, generator, Annealing())
        _warn_of_bad_estimates(found)
        return found.estimate.to(frames.dtype)

    def bracket(
        self, frames: Tensor, generator: torch.Generator | None, annealing: Annealing
    ) -> Bracket:
        return likelihood.rbm_bracket(self.rbm, frames, generator, annealing)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        check_method(method, ("auto", *self._means()))
        if method == "auto":
            small = likelihood.enumerated_units(self.rbm) <= EXACT_MEAN
            # mean field stays in one mode, where there are several that need tempering
            method = "exact" if small else "mean_field" if self.rungs == 1 else "gibbs"
        return self._means()[method](generator)

    def _means(self) -> dict[str, Callable[[torch.Generator | None], Tensor]]:
        """The ways to find E[v], by name."""
        return {
            "exact": lambda _: likelihood.exact_mean(self.rbm),
            "mean_field": lambda _: gibbs.mean_field(self.rbm, self.begin(), MEAN_FIELD_STEPS),
            "gibbs": self._gibbs_mean,
        }

    def _gibbs_mean(self, generator: torch.Generator | None) -> Tensor:
        """The average of E[v|h] along a chain, after a burn-in of `sampling_steps` sweeps."""
        if self.rungs > 1:
            return self._tempered_mean(generator)
        v, mean = self.sample(generator)
        for _ in range(AVERAGED - 1):
            v, last = gibbs.chain(self.rbm, v, 1, generator)
            mean += last
        return mean / AVERAGED

    def _tempered_mean(self, generator: torch.Generator | None) -> Tensor:
        """The same along parallel tempering, which leads from mode to mode."""
        states, means = self._burnt_in(generator), []
        for _ in range(AVERAGED):
            states = self._tempering(states, 2, generator)  # all neighbours may exchange
            means.append(gibbs.chain(self.rbm, states[-1].squeeze(-2), 1, generator)[1])
        return torch.stack(means).mean(0)

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.rungs == 1 or known is not None:
            return gibbs.chain(self.rbm, self._start(), self.sampling_steps, generator, known=known)
        states = self._burnt_in(generator)
        return gibbs.chain(self.rbm, states[-1].squeeze(-2), 1, generator)

    def _start(self) -> Tensor:
        """What chains that have no frame begin with, [*rows, visible]."""
        return self.rbm.visible_mean(self.begin()).expand(*self.rbm.rows, -1)

    def _burnt_in(self, generator: torch.Generator | None) -> Tensor:
        """All rungs of parallel tempering after its burn-in, [rungs, *rows, 1, visible]."""
        start = self._start().unsqueeze(-2)
        states = start.expand(self.rungs, *start.shape)
        return self._tempering(states, self.sampling_steps, generator)

    def _tempering(self, states: Tensor, sweeps: int, generator: torch.Generator | None) -> Tensor:
        """Where parallel tempering leads from there, the machine itself last."""
        rbm = self.rbm  # all states are alike at β = 0, so that no mode is favoured on the way
        path = AnnealingPath(
            rbm, torch.zeros_like(rbm.visible_bias), torch.zeros_like(rbm.hidden_bias)
        )
        betas = torch.linspace(0, 1, self.rungs).to(states)
        return parallel_tempering(path, states, betas, sweeps, generator).v

    def tempered(self, temperature: float) -> RBMConditional:
        """All energies divided by τ: p(v, h)^(1/τ), made to sum to one, with h summed out."""
        visible, scale = self.rbm.visible.tempered(temperature)
        rbm = RBMEnergy(
            visible,
            self.rbm.weight * scale,
            self.rbm.visible_bias * scale,
            self.rbm.hidden_bias / temperature,
        )
        return replace(self, rbm=rbm)

    def with_state_axis(self) -> RBMConditional:
        return replace(
            self,
            rbm=likelihood.with_state_axis(self.rbm),
            begin=lambda: self.begin().unsqueeze(-2),
        )

    def fill(self, known: Tensor) -> Tensor:
        return gibbs.mean_field(self.rbm, self.begin(), MEAN_FIELD_STEPS, known)

    def reconstruct(self, frames: Tensor) -> Tensor:
        return self.rbm.visible_mean(self.rbm.hidden_mean(frames))


@dataclass(frozen=True)
class Stacked(Conditional):
    """p(v) = Σ_h p(v|h) q(h): `upper` draws the hidden units of `lower` (Sutskever 2013, 2.7.1).

    Args:
        lower: gives p(v|h), and p(h|v) to come up from v by.
        upper: q, over as many units as `lower` has hidden ones.
    """

    lower: RBMConditional
    upper: Conditional
    _untempered = "a stack draws its layers one after the other"

    def given(self, h: Tensor) -> Factorial:
        """p(v|h) for hidden states [*rows, hidden]."""
        rbm = self.lower.rbm
        return Factorial(rbm.visible, rbm.visible_drive(h) + rbm.visible_bias)

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        """The sum of the layers' own losses: greedy learning, in which no layer serves another."""
        hidden = self.lower.rbm.hidden_mean(frames).detach()
        return self.lower.loss(frames, generator, chains) + self.upper.loss(hidden, generator)

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        """By exact enumeration of h."""
        check_method(method, ("auto", "exact"))
        q = self.upper.with_state_axis()
        below = self.with_state_axis()
        frames = frames.unsqueeze(-2)
        blocks = [
            (q.log_prob(h, method) + below.given(h).log_prob(frames, "exact")).logsumexp(-1)
            for h in self._hidden_states()
        ]
        return torch.stack(blocks).logsumexp(0)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        check_method(method, ("auto", *self._means()))
        if method == "auto":
            small = len(self.lower.rbm.weight) <= EXACT_MEAN
            method = "exact" if small else "mean_field"
        return self._means()[method](generator)

    def _means(self) -> dict[str, Callable[[torch.Generator | None], Tensor]]:
        """The ways to find E[v], by name."""
        return {
            "exact": lambda _: self._exact_mean(),
            "mean_field": lambda _: self.given(self.upper.mean("auto", None)).mean("exact", None),
            "gibbs": self._average_of_samples,
        }

    def _exact_mean(self) -> Tensor:
        q, below = self.upper.with_state_axis(), self.with_state_axis()
        parts = [
            q.log_prob(h, "exact").exp().unsqueeze(-2) @ below.given(h).mean("exact", None)
            for h in self._hidden_states()
        ]
        return torch.stack(parts).sum(0).squeeze(-2)

    def _average_of_samples(self, generator: torch.Generator | None) -> Tensor:
        means = [self.sample(generator)[1] for _ in range(AVERAGED)]
        return torch.stack(means).mean(0)

    def _hidden_states(self) -> Iterator[Tensor]:
        """Blocks of all states of h, [states, hidden]."""
        rbm = self.lower.rbm
        numbers = rbm.rows.numel() * max(rbm.weight.shape)
        return likelihood.state_blocks(len(rbm.weight), numbers, rbm.weight)

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """From the top down. With known values the hidden units are those of the filled frame.

        Then the free units alone are drawn, from p(v | ĥ): an approximation, for p(h | known) of a
        stack is intractable.
        """
        if known is None:
            return sample_layers(self, generator)[0]
        hidden = self.upper.reconstruct(self.lower.rbm.hidden_mean(self.fill(known)))
        return self.given(hidden).sample(generator, known)

    def with_state_axis(self) -> Stacked:
        return Stacked(self.lower.with_state_axis(), self.upper.with_state_axis())

    def fill(self, known: Tensor) -> Tensor:
        """Up and down through all layers, again and again, beginning with what they expect."""
        frames = gibbs.overlaid(self.mean("mean_field", None), known)
        for _ in range(MEAN_FIELD_STEPS):
            frames = gibbs.overlaid(self.reconstruct(frames), known)
        return frames

    def reconstruct(self, frames: Tensor) -> Tensor:
        """Up to the top layer and down again (Sutskever 2013, sec. 3.3)."""
        hidden = self.upper.reconstruct(self.lower.rbm.hidden_mean(frames))
        return self.given(hidden).mean("exact", None)


@dataclass(frozen=True)
class Innovation(Conditional):
    """place + scale · x, where x has a distribution of its own.

    Args:
        of: the distribution of x.
        place: [*rows, visible].
        scale: [*rows, visible], positive.
    """

    of: Conditional
    place: Tensor
    scale: Tensor

    def _standard(self, frames: Tensor) -> Tensor:
        return (frames - self.place) / self.scale

    def _frame(self, x: Tensor) -> Tensor:
        return self.place + self.scale * x

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        held = None if chains is None else self._standard(chains).detach()
        loss = self.of.loss(self._standard(frames), generator, held)
        if chains is not None and held is not None:
            chains.copy_(self._frame(held).detach())
        return loss + self.scale.log().sum(-1)

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        log_p = self.of.log_prob(self._standard(frames), method, generator)
        return log_p - self.scale.log().sum(-1)

    def bracket(
        self, frames: Tensor, generator: torch.Generator | None, annealing: Annealing
    ) -> Bracket:
        found = self.of.bracket(self._standard(frames), generator, annealing)
        return found.moved(-self.scale.log().sum(-1))

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        return self._frame(self.of.mean(method, generator))

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        held = None if known is None else self._standard(known)  # what is NaN stays so
        drawn, mean = (self._frame(x) for x in self.of.sample(generator, held))
        return gibbs.overlaid(drawn, known), gibbs.overlaid(mean, known)

    def tempered(self, temperature: float) -> Innovation:
        return replace(self, of=self.of.tempered(temperature))

    def greedy(self, known: Tensor | None = None) -> Tensor:
        held = None if known is None else self._standard(known)
        return gibbs.overlaid(self._frame(self.of.greedy(held)), known)

    def with_state_axis(self) -> Innovation:
        return replace(
            self,
            of=self.of.with_state_axis(),
            place=self.place.unsqueeze(-2),
            scale=self.scale.unsqueeze(-2),
        )

    def fill(self, known: Tensor) -> Tensor:
        return gibbs.overlaid(self._frame(self.of.fill(self._standard(known))), known)

    def reconstruct(self, frames: Tensor) -> Tensor:
        return self._frame(self.of.reconstruct(self._standard(frames)))


def sample_layers(
    conditional: Conditional, generator: torch.Generator | None
) -> list[tuple[Tensor, Tensor]]:
    """What `sample` gives for every layer, drawn from the top down; the frame comes first."""
    if not isinstance(conditional, Stacked):
        return [conditional.sample(generator)]
    above = sample_layers(conditional.upper, generator)
    return [conditional.given(above[0][0]).sample(generator), *above]


EXACT_LOG_PROB = 20  #: units of the smaller layer up to which log p is found by enumeration
EXACT_MEAN = 10  #: units of the smaller layer up to which a mean is found by enumeration
MEAN_FIELD_STEPS = 20  #: mean-field iterations of a mean
AVERAGED = 50  #: samples, or sweeps of a chain, over which a mean is averaged
