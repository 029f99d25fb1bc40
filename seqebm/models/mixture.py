"""Mixture densities: real-valued frames that may be one thing or another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from seqebm import gibbs
from seqebm.checks import check_generator
from seqebm.models.conditionals import Conditional, check_method
from seqebm.units import Units, make_units

FLOOR = 1e-3  #: the least σ, so that no component can shrink onto a single frame


class MixtureDensity(nn.Module):
    """p(v) = Σ_k π_k Π_i N(v_i; μ_ki, σ_ki²), all of it made from the network's state.

    Bishop 1994, eqs. 22 to 28, here with a σ for every value; Graves 2013, sec. 4, draws pen
    strokes with it. With one component it is a Gaussian whose spread depends on the past.

    A state gives x = (a, o_1 … o_K, s_1 … s_K, l), and μ_k = a + o_k, σ_k = exp s_k + 0.001,
    π = softmax l. What all means share, a, stands first, as the input of units does elsewhere.

    Args:
        n_visible: number of values in a frame.
        components: K.

    Attributes:
        visible: the kind of the units, Gaussian.
        n_inputs: width of x.
        spec: "mixture:K".

    Raises:
        ValueError: fewer than one component.

    Example:
        >>> import torch, seqebm
        >>> model = seqebm.RNN(torch.nn.LSTM(2, 5, batch_first=True), "mixture:3")
        >>> model.log_prob(torch.randn(1, 4, 2)).shape
        torch.Size([1, 4])
    """

    def __init__(self, n_visible: int, components: int) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components: expected at least 1, got {components}")
        self.visible: Units = make_units("gaussian", n_visible)
        self.components = components
        self.n_inputs = n_visible * (1 + 2 * components) + components
        self.spec = f"mixture:{components}"

    def forward(self, x: Tensor) -> Mixture:
        """The distributions that x, [*rows, n_inputs], stands for."""
        size, k = self.visible.size, self.components
        shared, offsets, scales, logits = x.split([size, k * size, k * size, k], dim=-1)
        means = shared.unsqueeze(-2) + offsets.unflatten(-1, (k, size))
        return Mixture(means, scales.unflatten(-1, (k, size)).exp() + FLOOR, logits)


def make_mixture(spec: str, n_visible: int) -> MixtureDensity:
    """The mixture that "mixture:3" stands for.

    Raises:
        ValueError: another name.
    """
    kind, _, components = spec.partition(":")
    if kind != "mixture" or not components.isdecimal():
        raise ValueError(f"conditional: expected mixture:COMPONENTS, got {spec!r}")
    return MixtureDensity(n_visible, int(components))


@dataclass(frozen=True)
class Mixture(Conditional):
    """A mixture of Gaussians with independent values, its own in every row.

    Args:
        means: μ, [*rows, components, visible].
        sigmas: σ, likewise.
        logits: log π but for a constant, [*rows, components].
    """

    means: Tensor
    sigmas: Tensor
    logits: Tensor

    def loss(
        self,
        frames: Tensor,
        generator: torch.Generator | None,
        chains: Tensor | None = None,
    ) -> Tensor:
        return -self.log_prob(frames, "exact")

    def log_prob(
        self, frames: Tensor, method: str, generator: torch.Generator | None = None
    ) -> Tensor:
        check_method(method, ("auto", "exact"))
        return self._joint(frames).logsumexp(-1)

    def _joint(self, frames: Tensor) -> Tensor:
        """log π_k p(v | k), [*rows, components]; values that are NaN are summed out."""
        z = (frames.unsqueeze(-2) - self.means) / self.sigmas
        each = -0.5 * z**2 - self.sigmas.log() - 0.5 * math.log(2 * math.pi)
        return self.logits.log_softmax(-1) + each.nan_to_num(0.0).sum(-1)

    def mean(self, method: str, generator: torch.Generator | None) -> Tensor:
        check_method(method, ("auto", "exact"))
        return self._mixed(self.logits.softmax(-1))

    def _mixed(self, weights: Tensor) -> Tensor:
        """Σ_k w_k μ_k, [*rows, visible], for weights [*rows, components]."""
        return (weights.unsqueeze(-1) * self.means).sum(-2)

    def sample(
        self, generator: torch.Generator | None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A component given what is known, then the values that are free."""
        check_generator(generator, self.means.device)
        logits = self.logits if known is None else self._joint(known)
        weights = logits.softmax(-1)
        drawn = weights.flatten(0, -2).multinomial(1, generator=generator)
        chosen = drawn.view(*weights.shape[:-1], 1, 1).expand(*self.means[..., :1, :].shape)
        mean, sigma = (x.gather(-2, chosen).squeeze(-2) for x in (self.means, self.sigmas))
        noise = torch.empty_like(mean).normal_(generator=generator)
        return gibbs.overlaid(mean + sigma * noise, known), gibbs.overlaid(mean, known)

    _untempered = "a power of a mixture is no mixture"

    def with_state_axis(self) -> Mixture:
        return replace(
            self,
            means=self.means.unsqueeze(-3),
            sigmas=self.sigmas.unsqueeze(-3),
            logits=self.logits.unsqueeze(-2),
        )

    def fill(self, known: Tensor) -> Tensor:
        """The mean given what is known."""
        return gibbs.overlaid(self._mixed(self._joint(known).softmax(-1)), known)

    def reconstruct(self, frames: Tensor) -> Tensor:
        # the state says how spread frames are, not how wrong this one is
        return frames
