"""Sweeps of block Gibbs chains: plain ones, and fast ones whose random numbers are computed.

Beside its matrix products a plain sweep spends most of its time in torch's generator, which gives
one number after the other. In a fast sweep the number of a unit is a hash of its place and of a
key: torch's compiler fuses it with the sigmoid and the comparison into one pass over memory, and on
GPUs a kernel of our own (`seqebm.kernels`) fuses all of these with the product.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Units

AT_ONCE = 5  #: sweeps in one compiled function: more take longer to compile and gain little
DTYPES = (torch.float32, torch.float64)  #: that the compiled sweeps work in
COUNTERS = 2**31  #: that a sweep may use for the states of a layer

Sweeps = Callable[
    [RBMEnergy, Tensor, int, "torch.Generator | None"], tuple[Tensor, Tensor]
]  #: machines, states to begin with, their number and a source of randomness: see `plain_sweeps`

Run = Callable[..., Any]

_failed: set[str] = set()  # kinds of sweep that could not be compiled on this machine


def plain_sweeps(
    rbm: RBMEnergy, v: Tensor, steps: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Sweeps h ~ P(h|v), v ~ P(v|h) in buffers that are allocated once.

    Args:
        rbm: machines whose biases are [units] or [rows, units].
        v: the states to begin with, [rows, visible].
        steps: number of sweeps.
        generator: source of randomness.

    Returns:
        The last states and the means they were drawn from, [rows, visible] each.
    """
    v, v_mean, h = v.clone(), torch.empty_like(v), v.new_empty(len(v), rbm.weight.shape[0])
    h_mean = torch.empty_like(h)
    for _ in range(steps):
        torch.addmm(rbm.hidden_bias, rbm.visible.scaled(v), rbm.weight.t(), out=h_mean)
        rbm.hidden.sample_into(h, rbm.hidden.mean_(h_mean), generator)
        torch.addmm(rbm.visible_bias, h, rbm.weight, out=v_mean)
        rbm.visible.sample_into(v, rbm.visible.mean_(v_mean), generator)
    return v, v_mean


def fast_sweeps(rbm: RBMEnergy, v: Tensor) -> Sweeps | None:
    """What is fastest for these states once it is compiled; None where nothing compiles."""
    entries = len(v) * max(rbm.weight.shape)
    if entries > COUNTERS or v.dtype not in DTYPES:
        return None
    binary = type(rbm.visible) is Bernoulli and v.dtype == torch.float32
    fastest = [fused_sweeps, compiled_sweeps] if v.is_cuda and binary else [compiled_sweeps]
    return next((sweeps for sweeps in fastest if usable(sweeps)), None)


def or_plain(plain: Run) -> Callable[[Run], Run]:
    """Decorates what needs a compiler: after a warning, the plain way where nothing compiles."""

    def decorate(fast: Run) -> Run:
        @functools.wraps(fast)
        def run(*arguments: Any) -> Any:
            try:
                return fast(*arguments)
            except (RuntimeError, OSError, ImportError) as error:
                reason = str(error).strip().partition("\n")[0]
                message = f"Gibbs chains are not compiled on this machine: {reason}"
                warnings.warn(message, stacklevel=4)
                _failed.add(fast.__name__)
                return plain(*arguments)

        return run

    return decorate


def usable(fast: Run) -> bool:
    """Whether what needs a compiler has not failed on this machine."""
    return fast.__name__ not in _failed


@or_plain(plain_sweeps)
def compiled_sweeps(
    rbm: RBMEnergy, v: Tensor, steps: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Like `plain_sweeps`, compiled for this machine; plain, with a warning, where that fails."""
    run, state = compiled(hashed_sweeps), (v, v)
    machines = rbm.visible, rbm.weight, rbm.visible_bias, rbm.hidden_bias
    for keys in draw_keys(steps, v.device, generator).split(AT_ONCE):
        state = run(state[0], keys, *machines)
    return state


@or_plain(plain_sweeps)
def fused_sweeps(
    rbm: RBMEnergy, v: Tensor, steps: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Like `compiled_sweeps`, for binary units on a GPU: one kernel for each half of a sweep.

    Operands of the products have the precision that `torch.set_float32_matmul_precision` allows;
    binary states are exact in any of them.
    """
    from seqebm.kernels import half_sweep, precision_of_products

    dtype, precision = precision_of_products()
    weight, state = rbm.weight.to(dtype), v.to(dtype).contiguous()
    hidden = state.new_empty(len(v), len(weight))
    drawn, v_mean = torch.empty_like(state), torch.empty_like(v)
    keys = draw_keys(steps, v.device, generator).unbind()
    for number, (h_key, v_key) in enumerate(keys, start=1):
        mean = v_mean if number == steps else None
        half_sweep(state, weight.t(), rbm.hidden_bias, h_key, precision, hidden)
        half_sweep(hidden, weight, rbm.visible_bias, v_key, precision, drawn, mean)
        state = drawn
    return drawn.to(v.dtype), v_mean


@functools.cache
def compiled(function: Run) -> Run:
    """The function, compiled at its first call with every kind of units, biases and dtype."""
    import torch._dynamo  # not before it is needed: a second of imports

    limit = torch._dynamo.config.patch(recompile_limit=100)  # of these kinds
    return limit(torch.compile(function, dynamic=True))


def hashed_sweeps(
    v: Tensor,
    keys: Tensor,
    visible: Units,
    weight: Tensor,
    visible_bias: Tensor,
    hidden_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """A sweep for each pair of keys [sweeps, 2, 2], for the hidden and for the visible layer."""
    hidden, v_mean = Bernoulli(weight.shape[0]), v
    for h_key, v_key in keys.unbind():
        h_mean = hidden.mean(torch.addmm(hidden_bias, visible.scaled(v), weight.t()))
        h = hidden.pick(h_mean, centred(h_key, h_mean))
        v_mean = visible.mean(torch.addmm(visible_bias, h, weight))
        v = visible.pick(v_mean, centred(v_key, v_mean))
    return v, v_mean


def draw_keys(steps: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Independent keys for the two layers in each of `steps` sweeps, int32 [steps, 2, 2]."""
    size = (steps, 2, 2)
    return torch.randint(-(2**31), 2**31, size, generator=generator, device=device).int()


def centred(key: Tensor, like: Tensor) -> Tensor:
    """Numbers for every entry of `like`, uniform on the grid (k + ½)/2²⁴ in (−½, ½).

    Args:
        key: two int32 words, [2].
        like: gives shape, dtype and device.
    """
    counters = torch.arange(like.numel(), dtype=torch.int32, device=like.device).view(like.shape)
    return ((hashed(counters, key[0], key[1]) >> 8).to(like.dtype) + 0.5) * 2.0**-24


def hashed(counters, first, second):  # type: ignore[no-untyped-def]
    """32 random bits for each counter under a key of two words; everything is int32.

    The first word is added to the counter; after one round of mixing the second enters, so that
    streams of different keys are not shifted copies of each other, and Wellons' lowbias32 (2018),
    a permutation of the words of 32 bits that he found by search, does the rest.

    Nothing but operators, and no types, so that torch's compiler and Triton both read this one
    source. A shift and a mask make the shift to the right with zeros coming in that int32 lacks,
    and the factors are 0xED5AD4BB, 0x7FEB352D and 0x846CA68B as int32 has them.
    """
    x = counters + first
    x = ((x ^ ((x >> 17) & 0x7FFF)) * -312814405) ^ second
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -2073254261
    return x ^ ((x >> 16) & 0xFFFF)
