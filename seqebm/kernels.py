"""A Triton kernel for GPUs: half a Gibbs sweep in one pass over memory.

A product, the biases, the sigmoid, a random number for every unit and the comparison with it: done
one after the other they are bound by launches and by memory, not by arithmetic. Importing this
module needs Triton, which torch brings along with CUDA.
"""

from __future__ import annotations

from types import FunctionType

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.errors import TritonError

from seqebm.sweeps import hashed

# the same source, in a module where Triton's interpreter finds its language
_hashed = triton.jit(FunctionType(hashed.__code__, globals()))


def half_sweep(
    state: Tensor,
    weight: Tensor,
    bias: Tensor,
    key: Tensor,
    precision: str,
    out: Tensor,
    mean: Tensor | None = None,
) -> None:
    """Draw a layer of binary units given the other layer.

    The random numbers are those of `sweeps.centred`.

    Args:
        state: states of the other layer, [rows, inputs], contiguous.
        weight: [inputs, units], of the dtype of `state`, with any strides.
        bias: [units] or [rows, units].
        key: two int32 words, [2].
        precision: of products of float32, "ieee" or "tf32"; sums are float32.
        out: filled with the states, [rows, units], contiguous.
        mean: filled with the means they were drawn from, [rows, units], where given.
    """
    rows, units = out.shape
    large = rows >= 1024
    tile_rows, tile_units = (128, 128) if large else (32, 32)
    tile_inputs = 128 // state.element_size()  # three stages fit into 100 kB of shared memory
    grid = triton.cdiv(rows, tile_rows), triton.cdiv(units, tile_units)
    bias_strides = bias.expand(rows, units).stride()
    sizes = rows, units, state.shape[1]
    tile = precision, tile_rows, tile_units, tile_inputs
    tensors = state, weight, bias, key, out, mean
    try:
        _half_sweep[grid](
            *tensors, *sizes, *weight.stride(), *bias_strides, *tile, num_warps=8 if large else 4
        )
    except TritonError as error:  # which is no RuntimeError
        raise RuntimeError(f"Triton: {error}") from error


@triton.jit
def _half_sweep(  # type: ignore[no-untyped-def]
    state,
    weight,
    bias,
    key,
    out,
    mean,
    rows,
    units,
    inputs,
    weight_in,
    weight_out,
    bias_row,
    bias_unit,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)[None, :]
    inside = (row < rows) & (unit < units)
    drive = tl.zeros((ROWS, UNITS), dtype=tl.float32)
    for first in range(0, inputs, INPUTS):
        across = first + tl.arange(0, INPUTS)[None, :]
        down = first + tl.arange(0, INPUTS)[:, None]
        block = tl.load(
            state + row * inputs + across, mask=(row < rows) & (across < inputs), other=0.0
        )
        weights = tl.load(
            weight + down * weight_in + unit * weight_out,
            mask=(down < inputs) & (unit < units),
            other=0.0,
        )
        drive = tl.dot(block, weights, drive, input_precision=PRECISION)
    drive += tl.load(bias + row * bias_row + unit * bias_unit, mask=inside, other=0.0)
    probability = tl.sigmoid(drive)
    place = row * units + unit
    word = _hashed(place, tl.load(key), tl.load(key + 1)) >> 8
    number = (word.to(tl.float32) + 0.5) * 5.9604644775390625e-08  # 2⁻²⁴
    drawn = (number < probability - 0.5).to(tl.float32)
    tl.store(out + place, drawn.to(out.dtype.element_ty), mask=inside)
    if mean is not None:
        tl.store(mean + place, probability, mask=inside)


def precision_of_products() -> tuple[torch.dtype, str]:
    """What `torch.set_float32_matmul_precision` allows: dtype of the operands, and of Triton."""
    return {
        "highest": (torch.float32, "ieee"),
        "high": (torch.float32, "tf32"),
        "medium": (torch.bfloat16, "ieee"),
    }[torch.get_float32_matmul_precision()]
