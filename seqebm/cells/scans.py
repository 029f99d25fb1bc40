"""Recurrent networks whose Gauss–Newton products take no longer than a gradient.

A Gauss–Newton product JᵀHJv (Schraudolph 2002; Sutskever 2013, sec. 4.2.2) needs the derivative of
what a network makes in a direction of its parameters, Jv, and the gradient, Jᵀw. Autograd gives
both of a function whose gradient g(u) = Jᵀu, linear in u, can itself be differentiated: Jv is the
gradient of vᵀg(u) with respect to u. In `scan` the loop over time is one such function, the way
back through time another, and the derivative of that one is the R-forward pass (Pearlmutter 1994;
Sutskever 2013, algorithm 6, lines 1 to 6), written by hand. What the loops need of the first pass
is kept, so that a product takes 4/3 of the matrix products of a gradient; those products that
are not links of the chain through time are done for all times at once.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Memory = tuple[Tensor, ...]  #: what a recurrence keeps of its first pass


class Scanned(NamedTuple):
    """What a recurrent network makes of a sequence, times first.

    Attributes:
        states: h_0 … h_T, [time + 1, batch, units].
        inputs: u_1 … u_T, the total inputs of the units or of their gates, [time, batch, gates].
        slopes: e'(u_1) … e'(u_T), [time, batch, gates]; no gradient comes from them.
    """

    states: Tensor
    inputs: Tensor
    slopes: Tensor


def scan(
    recurrence: Recurrence,
    frames: Tensor,
    initial: Tensor,
    input_weight: Tensor,
    bias: Tensor,
    weight: Tensor,
) -> Scanned:
    """Run a recurrence over frames, with total inputs u_t = W_v v_t + b + W h_{t−1}.

    First derivatives are those of the function. Of the second derivatives there is one, that of a
    gradient with respect to the errors it is made of, in which parameters and states are held
    fixed: all that Gauss–Newton products need. What would need the others too, a Hessian or the
    gradient of a penalty on gradients, is refused.

    Args:
        recurrence: `Standard` or `LSTM`.
        frames: v_t, [time, batch, input].
        initial: the state before the first frame, [parts, batch, units]: h_0, of an LSTM and c_0.
        input_weight: W_v, [gates, input].
        bias: b, [gates].
        weight: W, [gates, units].

    Raises:
        RuntimeError: in the backward pass, where such a second derivative is asked for.

    Example:
        Jv by two gradients, for h_t = tanh(W h_{t−1}) and h_0 = 1:

        >>> weight, v = torch.full((1, 1), 0.5, requires_grad=True), torch.ones(1, 1)
        >>> rest = torch.zeros(2, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1), torch.zeros(1)
        >>> states = scan(Standard("tanh"), *rest, weight).states
        >>> errors = torch.zeros_like(states, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(states, weight, errors, create_graph=True)
        >>> torch.autograd.grad(gradient, errors, v)[0].flatten()
        tensor([0.0000, 0.7864, 0.8113])
    """
    frames = F.pad(frames, (0, 1), value=1.0)  # b weighs an input of one
    weights = torch.cat([weight, input_weight, bias.unsqueeze(1)], dim=1)
    states, inputs, slopes = _Scan.apply(recurrence, frames, initial, weights)
    return Scanned(states, inputs, slopes)


class Recurrence(ABC):
    """How states follow from total inputs; and how errors go back and directions forward."""

    @abstractmethod
    def run(self, inputs: Tensor, initial: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Memory]:
        """States, slopes, and what the other two need; W h_{t−1} is added to the inputs."""

    @abstractmethod
    def errors(
        self,
        memory: Memory,
        weight: Tensor,
        of_states: Tensor,
        of_inputs: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Backpropagation through time, except for the parameters.

        Writes the whole errors of the inputs into `out`, [time, batch, gates]; gives those of the
        initial state.
        """

    @abstractmethod
    def directions(
        self, memory: Memory, weight: Tensor, of_inputs: Tensor, of_initial: Tensor, out: Tensor
    ) -> None:
        """The R-forward pass.

        Writes Rh_0 … Rh_T into `out`; adds W Rh_{t−1} to the directions of the inputs.
        """


class Standard(Recurrence):
    """h_t = e(u_t) (Sutskever 2013, sec. 2.5).

    Args:
        nonlinearity: e, "tanh", "sigmoid" or "relu".

    Raises:
        ValueError: another nonlinearity.
    """

    def __init__(self, nonlinearity: str) -> None:
        if nonlinearity not in NONLINEARITIES:
            names = ", ".join(NONLINEARITIES)
            raise ValueError(f"nonlinearity: expected one of {names}, got {nonlinearity!r}")
        self._e, self._slope = NONLINEARITIES[nonlinearity]

    def run(self, inputs: Tensor, initial: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Memory]:
        """Adds one product and e a step."""
        states = inputs.new_empty(len(inputs) + 1, *initial.shape[1:])
        states[0] = initial[0]
        transposed = weight.t()
        before, *rest = states.unbind()
        for u, h in zip(inputs.unbind(), rest, strict=True):
            self._e(u.addmm_(before, transposed), out=h)
            before = h
        slopes = self._slope(states[1:], torch.empty_like(inputs))
        return states, slopes, (slopes,)

    def errors(
        self,
        memory: Memory,
        weight: Tensor,
        of_states: Tensor,
        of_inputs: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """δ_t = e'(u_t) ⊙ (∂/∂h_t + Wᵀδ_{t+1}) + ∂/∂u_t."""
        (slopes,) = memory
        *at_states, error = of_states.unbind()
        carried = torch.empty_like(error)
        for t in reversed(range(len(out))):
            delta = torch.mul(error, slopes[t], out=out[t])
            if of_inputs is not None:
                delta += of_inputs[t]
            error = torch.addmm(at_states[t], delta, weight, out=carried)
        return error.unsqueeze(0)

    def directions(
        self, memory: Memory, weight: Tensor, of_inputs: Tensor, of_initial: Tensor, out: Tensor
    ) -> None:
        """Ru_t has W Rh_{t−1}; Rh_t = e'(u_t) ⊙ Ru_t."""
        (slopes,) = memory
        out[0] = of_initial[0]
        transposed = weight.t()
        before, *rest = out.unbind()
        for u, slope, h in zip(of_inputs.unbind(), slopes.unbind(), rest, strict=True):
            torch.mul(u.addmm_(before, transposed), slope, out=h)
            before = h


class LSTM(Recurrence):
    """That of `torch.nn.LSTM`, with gates i, f, g and o in this order.

        i, f, o = σ, g = tanh of u_t        c_t = f ⊙ c_{t−1} + i ⊙ g        h_t = o ⊙ tanh c_t

    Its memory are the factors in

        Rc_t = f ⊙ Rc_{t−1} + k_i ⊙ Ru_i + k_f ⊙ Ru_f + k_g ⊙ Ru_g
        Rh_t = s ⊙ Rc_t + k_o ⊙ Ru_o

    by which errors go back as well: k [time, batch, 4, units], f and s [time, batch, units].
    """

    def run(self, inputs: Tensor, initial: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Memory]:
        """Adds one product and the gates a step."""
        h, c = initial
        states, keeps, shows = (
            inputs.new_empty(time, *h.shape) for time in (len(inputs) + 1, len(inputs), len(inputs))
        )
        slopes, factors = (inputs.new_empty(*inputs.shape[:2], 4, h.shape[1]) for _ in range(2))
        states[0] = h
        transposed = weight.t()
        gates, squashed, one = inputs.new_empty(factors.shape[1:]), c.clone(), inputs.new_ones(())
        i, f, g, o = gates.unbind(1)
        for t, u in enumerate(inputs.unbind()):
            u.addmm_(states[t], transposed)
            torch.sigmoid(u, out=gates.flatten(1))
            torch.tanh(u.view_as(gates)[:, 2], out=g)
            torch.addcmul(gates, gates, gates, value=-1, out=slopes[t])
            torch.addcmul(one, g, g, value=-1, out=slopes[t, :, 2])
            torch.mul(slopes[t, :, 1], c, out=factors[t, :, 1])
            c = (f * c).addcmul_(i, g)
            torch.tanh(c, out=squashed)
            for gate, other in ((0, g), (2, i), (3, squashed)):
                torch.mul(slopes[t, :, gate], other, out=factors[t, :, gate])
            torch.mul(o, squashed, out=states[t + 1])
            torch.addcmul(o, states[t + 1], squashed, value=-1, out=shows[t])  # o ⊙ (1 − tanh²)
            keeps[t] = f
        return states, slopes.flatten(2), (factors, keeps, shows)

    def errors(
        self,
        memory: Memory,
        weight: Tensor,
        of_states: Tensor,
        of_inputs: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Through h_t into c_t, from there into the gates and c_{t−1}."""
        factors, keeps, shows = memory
        totals = out.view_as(factors)
        *at_states, error = of_states.unbind()
        carried, of_cell = torch.empty_like(error), torch.zeros_like(error)
        for t in reversed(range(len(totals))):
            of_cell.addcmul_(shows[t], error)
            torch.mul(factors[t, :, :3], of_cell.unsqueeze(1), out=totals[t, :, :3])
            torch.mul(factors[t, :, 3], error, out=totals[t, :, 3])
            delta = out[t]
            if of_inputs is not None:
                delta += of_inputs[t]
            of_cell *= keeps[t]
            error = torch.addmm(at_states[t], delta, weight, out=carried)
        return torch.stack([error, of_cell])

    def directions(
        self, memory: Memory, weight: Tensor, of_inputs: Tensor, of_initial: Tensor, out: Tensor
    ) -> None:
        """The equations of the class."""
        factors, keeps, shows = memory
        h, c = of_initial[0], of_initial[1].clone()
        out[0] = h
        transposed = weight.t()
        parts = factors.new_empty(factors.shape[1:])
        i, f, g, o = parts.unbind(1)
        for t, u in enumerate(of_inputs.unbind()):
            u.addmm_(out[t], transposed)
            torch.mul(factors[t], u.view_as(parts), out=parts)
            c.mul_(keeps[t]).add_(i).add_(f).add_(g)
            torch.addcmul(o, shows[t], c, out=out[t + 1])


def _tanh_slope(h: Tensor, out: Tensor) -> Tensor:
    """1 − h²."""
    return torch.addcmul(h.new_ones(()), h, h, value=-1, out=out)


def _sigmoid_slope(h: Tensor, out: Tensor) -> Tensor:
    """h (1 − h)."""
    return torch.addcmul(h, h, h, value=-1, out=out)


def _relu(u: Tensor, out: Tensor) -> Tensor:
    """The positive part."""
    return torch.clamp_min(u, 0, out=out)


def _relu_slope(h: Tensor, out: Tensor) -> Tensor:
    """1 where h is not 0."""
    return torch.gt(h, 0, out=out)


#: e, and its slopes by the states
NONLINEARITIES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh, _tanh_slope),
    "sigmoid": (torch.sigmoid, _sigmoid_slope),
    "relu": (_relu, _relu_slope),
}


class _Scan(torch.autograd.Function):
    """The way forward, whose gradient is `_Transpose`.

    What units see, the states before and the frames, is kept beside each other, as their weights
    are, so that there is one product for the gradient of all weights and one for a direction of
    all of them.
    """

    @staticmethod
    def forward(
        ctx: Any, recurrence: Recurrence, frames: Tensor, initial: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight, input_weight = weights.tensor_split([initial.shape[-1]], dim=1)
        inputs = frames @ input_weight.t()
        states, slopes, memory = recurrence.run(inputs, initial, weight)
        seen = torch.cat([states[:-1], frames], dim=-1)
        ctx.save_for_backward(states, weights, seen, *memory)
        ctx.how = recurrence, Workspace(), initial.shape, ctx.needs_input_grad[1]
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)
        return states, inputs, slopes

    @staticmethod
    def backward(
        ctx: Any, of_states: Tensor | None, of_inputs: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        states, weights, *rest = ctx.saved_tensors
        if of_states is None:
            of_states = states.new_zeros(()).expand_as(states)
        # through the states autograd finds everything that they are made of
        fixed = _Fixed.apply(states)
        return None, *_Transpose.apply(
            ctx.how, of_states, of_inputs, fixed, weights.detach(), *rest
        )


class _Transpose(torch.autograd.Function):
    """The way back, linear in the errors that enter it; its gradient is the R-forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        how: tuple[Recurrence, Workspace, torch.Size, bool],
        of_states: Tensor,
        of_inputs: Tensor | None,
        states: Tensor,
        weights: Tensor,
        seen: Tensor,
        *memory: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(states, weights, seen, *memory)
        ctx.how, ctx.damped = how, of_inputs is not None
        ctx.set_materialize_grads(False)
        recurrence, workspace, initial, through_frames = how
        weight, input_weight = weights.tensor_split([initial[-1]], dim=1)
        errors = workspace.empty(seen, *seen.shape[:2], len(weights))
        of_initial = recurrence.errors(memory, weight, of_states, of_inputs, errors)
        of_weights = (rows(seen).t() @ rows(errors)).t()
        return errors @ input_weight if through_frames else None, of_initial, of_weights

    @staticmethod
    def backward(
        ctx: Any, r_frames: Tensor | None, r_initial: Tensor | None, r_weights: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        states, weights, seen, *memory = ctx.saved_tensors
        recurrence, workspace, initial, _ = ctx.how
        weight, input_weight = weights.tensor_split([initial[-1]], dim=1)
        r_inputs = workspace.empty(seen, *seen.shape[:2], len(weights))
        if r_weights is None:
            r_inputs.zero_()
        else:
            torch.mm(rows(seen), r_weights.t(), out=rows(r_inputs))
        if r_frames is not None:
            rows(r_inputs).addmm_(rows(r_frames), input_weight.t())
        if r_initial is None:
            r_initial = states.new_zeros(()).expand(initial)
        r_states = workspace.empty(states, *states.shape)
        recurrence.directions(memory, weight, r_inputs, r_initial, r_states)
        rest = [None] * (3 + len(memory))
        return None, r_states, r_inputs if ctx.damped else None, *rest


class _Fixed(torch.autograd.Function):
    """What a gradient is made of besides errors. Autograd comes here only where it may not."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, _: None) -> None:
        raise RuntimeError(
            "scan: its gradients can be differentiated with respect to the errors that enter them "
            "only, as Gauss–Newton products need it; for other second derivatives use Cell.forward"
        )


def rows(sequence: Tensor) -> Tensor:
    """[time · batch, values] of [time, batch, values]."""
    return sequence.flatten(0, 1)


class Workspace:
    """Memory for what products make one after the other, so that none of them must ask for new.

    To be given memory page by page takes about half as long as a matrix product that fills it. A
    piece is given again as soon as no tensor on it is left, and not before.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[memoryview]] = {}

    def empty(self, like: Tensor, *shape: int) -> Tensor:
        """`like.new_empty(shape)`."""
        size = math.prod(shape) * like.itemsize
        if not like.is_cpu or not size:  # torch itself keeps the memory of other devices
            return like.new_empty(shape)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else torch.empty(size, dtype=torch.uint8).numpy().data
        lent = memory[:]  # lives as long as the storage of a tensor made of it
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.frombuffer(lent, dtype=like.dtype).view(shape)
