"""Stacks of sequence models, each of which models the hidden units of the one below."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from seqebm.models.base import Context, SequenceModel, State
from seqebm.models.conditionals import Conditional, RBMConditional, Stacked, sample_layers
from seqebm.models.energy import EnergyModel
from seqebm.models.recurrent import RecurrentModel
from seqebm.units import Bernoulli


class Stack(SequenceModel):
    """A multilayer model (Sutskever 2013, sec. 3.4; for static RBMs sec. 2.7.1).

    The layer above models the hidden units of the layer below, which it is given as their filtered
    means. Going up, every layer filters the means of the one below. Going down, a frame is drawn
    from the top: the uppermost layer draws hidden units of the one below it, given its own past,
    and so on down to p(v_t | h_t, past):

        M(v, h) = Π_t Q(h_t | h_<t) P(v_t | h_t, v_<t, h_<t)

    Where P has no connections from its visible units to later frames (only "hh", or none), this is
    M(v) = Σ_h P(v|h) Q(h) of the thesis. With such connections P(v_t | h_1 … h_T, v_<t) sees later
    hidden units too and is intractable; leaving these out is the approximation that is made here,
    in the spirit of filtering. (The thesis names connections between visible units only; those
    from visible to hidden units have the same effect by way of the partition functions.)

    Layers are learned one after the other, each on `below(frames)`; `loss` is the sum of their
    losses, for training them at once. Neither lets a layer serve another. A stack of static
    `RBM`s, which remember nothing, is a deep belief net.

    Args:
        layers: from the bottom to the top. All but the uppermost must have hidden units in their
            conditional (RBM, TRBM, RTRBM); each has as many visible units, Bernoulli ones, as the
            layer below has hidden units.

    Attributes:
        layers: as given. `stack[:n]` is the stack of the first n of them.

    Example:
        >>> from seqebm.models import RTRBM, TRBM
        >>> stack = Stack([TRBM(9, 5, order=2), RTRBM(5, 7)])
        >>> videos = torch.rand(2, 6, 9)
        >>> stack.layers[1].loss(stack.below(videos)).backward()
        >>> stack.filter(videos).shape, stack.sample(3, prefix=videos).shape
        (torch.Size([2, 6, 7]), torch.Size([2, 3, 9]))
    """

    def __init__(self, layers: Sequence[SequenceModel]) -> None:
        super().__init__()
        _check_layers(layers)
        self.layers = nn.ModuleList(layers)
        self.visible = layers[0].visible
        self.settings = {
            "layers": [{"kind": type(layer).__name__, **layer.settings} for layer in layers]
        }

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, some: slice) -> Stack:
        """The stack of some neighbouring layers, which it shares."""
        return Stack([*self._models[some]])

    @property
    def _models(self) -> list[SequenceModel]:
        return [cast(SequenceModel, layer) for layer in self.layers]

    @property
    def top(self) -> SequenceModel:
        """The uppermost layer."""
        return self._models[-1]

    def below(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the uppermost layer models: the filtered means of the layer below it.

        Args:
            frames: [batch, time, visible].
            lengths: [batch] or None.

        Raises:
            ValueError: bad frames or lengths.
        """
        for layer in self._models[:-1]:
            frames = layer.filter(frames, lengths)
        return frames

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """The states of all layers."""
        return tuple(layer.initial_state(batch) for layer in self._models)

    def scan(
        self, state: tuple[State, ...], frames: Tensor
    ) -> tuple[tuple[Context, ...], tuple[State, ...]]:
        """Go up: each layer remembers the filtered means of the layer below."""
        contexts, states = [], []
        for number, (layer, before) in enumerate(zip(self._models, state, strict=True), start=1):
            context, after = layer.scan(before, frames)
            contexts.append(context)
            states.append(after)
            if number < len(self):
                frames = layer.hidden(context, frames).detach()
        return tuple(contexts), tuple(states)

    def conditional(self, context: tuple[Context, ...]) -> Conditional:
        """Down from the top."""
        *lower, conditional = [
            layer.conditional(own) for layer, own in zip(self._models, context, strict=True)
        ]
        for below in reversed(lower):
            conditional = Stacked(cast(RBMConditional, below), conditional)
        return conditional

    def hidden(self, contexts: tuple[Context, ...], frames: Tensor) -> Tensor:
        """The hidden state of the uppermost layer after each frame."""
        for layer, own in zip(self._models, contexts, strict=True):
            frames = layer.hidden(own, frames)
        return frames

    def _draw(
        self,
        context: tuple[Context, ...],
        state: tuple[State, ...],
        generator: torch.Generator | None,
        known: Tensor | None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Context, State]:
        """A frame with the hidden units it was drawn from, which every layer remembers."""
        if known is not None or temperature != 1:
            return super()._draw(context, state, generator, known, temperature)
        drawn = [frame for frame, _ in sample_layers(self.conditional(context), generator)]
        imagined = [
            layer.imagine(before, frame, generator, hidden)
            for layer, before, frame, hidden in zip(
                self._models, state, drawn, [*drawn[1:], None], strict=True
            )
        ]
        contexts, states = zip(*imagined, strict=True)
        return drawn[0], contexts, states

    @property
    def output_bias(self) -> Tensor:
        """That of the bottom layer."""
        return self._models[0].output_bias


def _check_layers(layers: Sequence[SequenceModel]) -> None:
    """Raise where layers do not fit on top of each other."""
    if len(layers) == 0:
        raise ValueError("layers: expected at least one, got none")
    for number, layer in enumerate(layers):
        if not isinstance(layer, SequenceModel) or isinstance(layer, Stack):
            raise TypeError(
                f"layers[{number}]: expected a sequence model, no stack, got {type(layer).__name__}"
            )
    for number, (lower, upper) in enumerate(pairwise(layers), start=1):
        if not isinstance(lower, EnergyModel) or isinstance(lower, RecurrentModel):
            raise TypeError(
                f"layers[{number - 1}]: expected a model with hidden units to be drawn from above "
                f"(RBM, TRBM, RTRBM), got {type(lower).__name__}"
            )
        if upper.visible.size != len(lower.weight):
            raise ValueError(
                f"layers[{number}]: expected {len(lower.weight)} visible units, as many as the "
                f"layer below has hidden ones, got {upper.visible.size}"
            )
        if type(upper.visible) is not Bernoulli:
            raise ValueError(
                f"layers[{number}]: expected Bernoulli visible units, got {upper.visible.spec}"
            )
