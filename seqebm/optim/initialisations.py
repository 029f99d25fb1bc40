"""Values that parameters begin with, each by its source.

As in `torch.nn.init` a function ending in _ changes the tensor it is given, without a gradient, and
gives it back; matrices are [outputs, inputs].
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

INITIAL_STD = 0.005  # Sutskever 2013, sec. 3.11.3
DENSE = 1000  # rows up to which all eigenvalues are found


def small_parameter(*shape: int, std: float = INITIAL_STD) -> nn.Parameter:
    """A parameter drawn from N(0, std²)."""
    parameter = nn.Parameter(torch.empty(*shape))
    if not parameter.is_meta:  # where there is nothing to draw, torch would import for seconds
        nn.init.normal_(parameter, std=std)
    return parameter


@torch.no_grad()
def sparse_(
    matrix: Tensor,
    connections: int = 15,
    std: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Every unit gets that many incoming connections from N(0, std²), the others are zero.

    Martens 2010, sec. 5; Sutskever 2013, sec. 4.4 and 5.4.2. A unit's total input then does not
    grow with the number of units, and units differ from the start. (`torch.nn.init.sparse_` counts
    the outgoing connections.)

    Args:
        matrix: [outputs, inputs]; outputs with fewer inputs than `connections` see all of them.
        connections: non-zero entries of a row.
        std: of these.
        generator: source of randomness.

    Raises:
        ValueError: no matrix, or no connections.

    Example:
        >>> sparse_(torch.empty(3, 100)).count_nonzero(1)
        tensor([15, 15, 15])
    """
    _check_matrix(matrix)
    if connections < 1:
        raise ValueError(f"connections: expected at least 1, got {connections}")
    keys = torch.rand(matrix.shape, generator=generator, device=matrix.device)
    chosen = keys.topk(min(connections, matrix.shape[1]), dim=1).indices
    values = torch.randn(
        chosen.shape, generator=generator, device=matrix.device, dtype=matrix.dtype
    )
    return matrix.zero_().scatter_(1, chosen, values * std)


@torch.no_grad()
def scale_to_radius_(matrix: Tensor, radius: float) -> Tensor:
    """Scale a square matrix to a spectral radius, as echo-state networks need it (Jaeger 2001).

    Below 1 the state forgets where it began; a little above, without input, it lives on (Sutskever
    2013, sec. 2.8.4 and 7.4.1: 1.1).

    Raises:
        ValueError: a matrix that is not square, or has no eigenvalue but 0; a negative radius.

    Example:
        >>> scale_to_radius_(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), 0.5)
        tensor([[0.0000, 0.5000],
                [0.5000, 0.0000]])
    """
    if not 0 <= radius < float("inf"):
        raise ValueError(f"radius: expected a number from 0 up, got {radius}")
    present = spectral_radius(matrix)
    if present < torch.finfo(matrix.dtype).tiny:
        raise ValueError("matrix: its eigenvalues are all 0, no scaling gives them a radius")
    return matrix.mul_(radius / present)


def spectral_radius(matrix: Tensor) -> float:
    """The largest absolute value of an eigenvalue.

    Up to 1000 rows from all of them; beyond by Arnoldi's iteration for the six largest, since one
    alone is found badly where several are of nearly one size.

    Raises:
        ValueError: a matrix that is not square, or not finite.
    """
    _check_matrix(matrix)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix: expected a square one, got {[*matrix.shape]}")
    if not matrix.isfinite().all():
        raise ValueError("matrix: expected finite numbers")
    values = matrix.detach().double().cpu()
    if len(values) <= DENSE:
        return float(torch.linalg.eigvals(values).abs().max())
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import eigs

    array = values.numpy()
    whole = csr_array(array) if np.count_nonzero(array) < 0.2 * array.size else array
    start = np.random.default_rng(0).standard_normal(len(array))
    return float(np.abs(eigs(whole, k=6, v0=start, return_eigenvectors=False)).max())


@torch.no_grad()
def identity_(matrix: Tensor, scale: float = 1.0) -> Tensor:
    """scale · I: a network of rectifiers that begins by remembering (Le, Jaitly and Hinton 2015).

    Raises:
        ValueError: no matrix.

    Example:
        >>> identity_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    _check_matrix(matrix)
    return nn.init.eye_(matrix).mul_(scale)


@torch.no_grad()
def orthogonal_(
    matrix: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """A random orthogonal matrix times `gain` (Saxe, McClelland and Ganguli 2014): torch's.

    Neither states nor gradients grow or shrink by it.

    Raises:
        ValueError: no matrix.
    """
    _check_matrix(matrix)
    return nn.init.orthogonal_(matrix, gain, generator=generator)


@torch.no_grad()
def glorot_(matrix: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Uniform numbers of variance 2 gain² / (inputs + outputs) (Glorot and Bengio 2010): torch's.

    Raises:
        ValueError: no matrix.
    """
    _check_matrix(matrix)
    return nn.init.xavier_uniform_(matrix, gain, generator=generator)


@torch.no_grad()
def forget_bias_(network: nn.LSTM, value: float = 1.0) -> nn.LSTM:
    """The total bias of the forget gates of torch's LSTM (Gers, Schmidhuber and Cummins 2000).

    Torch adds two biases; here one of them is `value`, the other 0. Gates that begin open let
    gradients through (Sutskever 2013, sec. 2.8.3; Jozefowicz, Zaremba and Sutskever 2015).

    Raises:
        ValueError: an LSTM without biases.

    Example:
        >>> lstm = forget_bias_(nn.LSTM(3, 2))
        >>> (lstm.bias_ih_l0 + lstm.bias_hh_l0)[2:4]
        tensor([1., 1.], grad_fn=<SliceBackward0>)
    """
    if not network.bias:
        raise ValueError("network: expected an LSTM with biases")
    size = network.hidden_size
    for layer in range(network.num_layers):
        for name, number in ((f"bias_ih_l{layer}", value), (f"bias_hh_l{layer}", 0.0)):
            getattr(network, name)[size : 2 * size] = number
    return network


def _check_matrix(matrix: Tensor) -> None:
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise ValueError(f"matrix: expected [outputs, inputs], got {[*matrix.shape]}")
