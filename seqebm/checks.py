"""Checks of what people hand over, with messages that name the argument."""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_float(values: Tensor, name: str) -> None:
    """Raise TypeError where `values` is no floating-point tensor."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        got = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"{name}: expected a floating-point tensor, got {got}")


def usable_device(name: str | torch.device) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: there is none, or it cannot be used here.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device: {str(name)!r} cannot be used here: {reason}") from None


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Raise ValueError where a source of randomness is not on `device`."""
    if generator is not None and generator.device.type != device.type:
        raise ValueError(f"generator: expected one on {device}, got one on {generator.device}")


def check_integers(values: Tensor, name: str) -> None:
    """Raise TypeError where `values` is no tensor of integers."""
    if not isinstance(values, Tensor) or values.dtype not in _INTEGERS:
        got = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"{name}: expected an integer tensor, got {got}")


def check_lengths(
    lengths: Tensor, batch: int, time: int, name: str = "lengths", least: int = 1
) -> None:
    """Raise where `lengths` are not `batch` whole numbers from `least` to `time`.

    Raises:
        TypeError: no tensor of integers.
        ValueError: another shape, or numbers out of range.
    """
    check_integers(lengths, name)
    if lengths.shape != (batch,):
        raise ValueError(f"{name}: expected shape [{batch}], got {[*lengths.shape]}")
    if not bool(((lengths >= least) & (lengths <= time)).all()):
        found = f"{int(lengths.min())} to {int(lengths.max())}"
        raise ValueError(f"{name}: expected numbers from {least} to {time}, got {found}")
