"""Gradients while a sequence goes on: real-time recurrent learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqebm.models import RNN
from seqebm.models.base import State, leaves, with_leaves


class OnlineStep(NamedTuple):
    """What is known after a frame.

    Attributes:
        loss: −log p(v_t | v_<t) in nats, a scalar.
        gradients: of that loss, one for each of `model.parameters()`.
    """

    loss: Tensor
    gradients: list[Tensor]


def real_time_gradients(model: RNN, frames: Tensor) -> Iterator[OnlineStep]:
    """The exact gradient of every frame's loss, without going back in time.

    Real-time recurrent learning (Williams and Zipser 1989; Sutskever 2013, sec. 2.8.1) carries the
    derivative of the state along, J_t = ∂s_t/∂θ:

        J_t = ∂f/∂s_{t−1} J_{t−1} + ∂f/∂θ,  s_t = f(s_{t−1}, v_t; θ)
        ∂L_t/∂θ = ∂L_t/∂s_{t−1} J_{t−1} + the part of θ in L_t itself

    Nothing is stored of the past, and parameters may be changed between two frames, after which
    the gradient is exact no longer but as good as they changed little. J has as many numbers as
    state and parameters multiplied, so this is for small networks.

    Args:
        model: with a conditional whose loss is exact, such as independent units.
        frames: one sequence, [time, visible].

    Yields:
        A step for each frame.

    Raises:
        ValueError: frames that are no sequence of the model's width, or values its units cannot
            take.

    Example:
        >>> import seqebm
        >>> model = seqebm.RNN(seqebm.cells.MRNN(3, 4))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> for step in real_time_gradients(model, torch.rand(5, 3)):
        ...     for parameter, gradient in zip(model.parameters(), step.gradients):
        ...         parameter.grad = gradient
        ...     optimizer.step()
    """
    if frames.ndim != 2 or frames.shape[1] != model.visible.size:
        raise ValueError(f"frames: expected [time, {model.visible.size}], got {[*frames.shape]}")
    model.visible.check(frames)
    frames = frames.to(next(model.parameters()).dtype)
    step = _Step(model)
    state, derivative = _jacobian(step, ())
    for frame in frames:
        loss, direct, along = _loss(step, state, frame)
        carried = _split(along @ derivative, direct)
        yield OnlineStep(loss, [a + b for a, b in zip(direct, carried, strict=True)])
        state, derivative = _jacobian(step, (state, frame), derivative)


class _Step(nn.Module):
    """A model as functions of its parameters: where it begins, a loss, a step."""

    def __init__(self, model: RNN) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            self.shape = model.initial_state(1)

    def forward(self, state: Tensor | None = None, frame: Tensor | None = None) -> Any:
        """The first state, flat; or the loss of a frame, and the state after it."""
        if state is None or frame is None:
            return _flat(self.model.initial_state(1))
        before = _shaped(state, self.shape)
        row = frame.view(1, -1)
        loss = self.model.conditional(self.model.cell.output(before)).loss(row, None)
        return loss.squeeze(0), _flat(self.model.cell.step(before, row))


def _loss(step: _Step, state: Tensor, frame: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """A frame's loss, its gradient with the state held, and that of the state."""
    state = state.detach().requires_grad_()
    parameters = list(step.parameters())
    loss, _ = step(state, frame)
    *direct, along = torch.autograd.grad(loss, [*parameters, state], materialize_grads=True)
    return loss.detach(), direct, along


def _jacobian(
    step: _Step, given: tuple[Tensor, ...], before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The state that follows, flat, and its derivative [state, parameters]."""
    parameters = list(step.parameters())
    state = given[0].detach().requires_grad_() if given else None
    after = step(state, given[1])[1] if given else step()
    inputs = parameters if state is None else [*parameters, state]
    if not after.requires_grad:  # a state that begins at nothing that is learned
        return after, after.new_zeros(len(after), sum(p.numel() for p in parameters))
    rows = []
    for value in after:
        gradients = torch.autograd.grad(value, inputs, retain_graph=True, materialize_grads=True)
        row = torch.cat([g.flatten() for g in gradients[: len(parameters)]])
        rows.append(row if before is None else row + gradients[-1] @ before)
    return after.detach(), torch.stack(rows)


def _flat(state: State) -> Tensor:
    """All numbers of a state, one after the other."""
    return torch.cat([leaf.flatten() for leaf in leaves(state)])


def _shaped(flat: Tensor, like: State) -> State:
    """The inverse of `_flat`."""
    return with_leaves(like, _split(flat, leaves(like)))


def _split(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Numbers of all parameters, in their shapes."""
    parts = flat.split([one.numel() for one in like])
    return [part.view_as(one) for part, one in zip(parts, like, strict=True)]
