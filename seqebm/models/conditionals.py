"""Distributions over the next frame: one for each row of a context.

A conditional plays the part that an object of `torch.distributions` plays elsewhere: a model makes
one from its context, then asks it for losses, log-probabilities, means, samples, reconstructions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqebm import gibbs, likelihood
from seqebm.checks import check_generator
from seqebm.rbm import RBMEnergy
from seqebm.units import Units


class Conditional(ABC):
    """p(v_t | context_{t−1}) for every row of a context. Frames are [*rows, visible]."""

    @abstractmethod
    def loss(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        """A number whose gradient is the learning signal of each frame, [*rows]."""

    @abstractmethod
    def log_prob(self, frames: Tensor, method: str) -> Tensor:
        """log p(frame) in nats, [*rows]."""

    @abstractmethod
    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        """E[v], [*rows, visible]."""

    @abstractmethod
    def sample(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """A sample and the mean of the last distribution it came from, [*rows, visible] each."""

    @abstractmethod
    def fill(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The frames with estimates in place of the entries that `mask` marks as unobserved."""

    @abstractmethod
    def reconstruct(self, frames: Tensor) -> Tensor:
        """What the model takes the frames to be, given the context and the frames themselves."""


def _only(method: str, known: tuple[str, ...]) -> None:
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

    def loss(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        return -self.units.log_prob(frames, self.x)

    def log_prob(self, frames: Tensor, method: str) -> Tensor:
        _only(method, ("auto", "exact"))
        return self.units.log_prob(frames, self.x)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        _only(method, ("auto", "exact"))
        return self.units.mean(self.x)

    def sample(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        check_generator(generator, self.x.device)
        mean = self.units.mean(self.x)
        return self.units.sample_into(torch.empty_like(mean), mean, generator), mean

    def fill(self, frames: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, frames, self.units.mean(self.x))

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
        bf16: whether the chain in `loss` uses bf16 inside its products; nothing else does.
    """

    rbm: RBMEnergy
    begin: Callable[[], Tensor]
    gibbs_steps: int
    sampling_steps: int
    bf16: bool = False

    def loss(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        """F(v) − F(v_k) with v_k from k sweeps started at v: its gradient is that of CD-k.

        Sutskever 2013, eqs. 3.7–3.10: the chain's end stands for the model's expectation and is a
        constant to the gradient. As a number the loss says little.
        """
        return self.rbm.free_energy(frames) - self._model_free_energy(frames, generator)

    def _model_free_energy(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        """The free energy averaged over (an approximation of) the model's own frames, [*rows]."""
        end = gibbs.chain(self.rbm, frames, self.gibbs_steps, generator, self.bf16)
        return self.rbm.sampled_free_energy(*end)

    def log_prob(self, frames: Tensor, method: str) -> Tensor:
        """By exact enumeration of the smaller layer; there is no estimate for larger models yet."""
        if method == "ais":
            raise ValueError(
                "method: the annealed estimate 'ais' is not available in this version; "
                "'exact' serves RBMs whose smaller layer has at most "
                f"{likelihood.LARGEST_ENUMERATION} units"
            )
        _only(method, ("auto", "exact"))
        return likelihood.exact_log_prob(self.rbm, frames)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        _only(method, ("auto", *self._means()))
        if method == "auto":
            small = likelihood.enumerated_units(self.rbm) <= EXACT_MEAN
            method = "exact" if small else "mean_field"
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
        v, mean = self.sample(generator)
        for _ in range(GIBBS_AVERAGE - 1):
            v, last = gibbs.chain(self.rbm, v, 1, generator)
            mean += last
        return mean / GIBBS_AVERAGE

    def sample(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        start = self.rbm.visible_mean(self.begin()).expand(*self.rbm.rows, -1)
        return gibbs.chain(self.rbm, start, self.sampling_steps, generator)

    def fill(self, frames: Tensor, mask: Tensor) -> Tensor:
        clamped = torch.where(mask, frames, torch.nan)
        return gibbs.mean_field(self.rbm, self.begin(), MEAN_FIELD_STEPS, clamped)

    def reconstruct(self, frames: Tensor) -> Tensor:
        return self.rbm.visible_mean(self.rbm.hidden_mean(frames))


EXACT_MEAN = 10  #: units of the smaller layer up to which a mean is found by enumeration
MEAN_FIELD_STEPS = 20  #: mean-field iterations of a mean
GIBBS_AVERAGE = 50  #: sweeps over which a Gibbs mean is averaged
