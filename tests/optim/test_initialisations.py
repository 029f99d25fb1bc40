import numpy as np
import pytest
import torch
from torch import nn

from seqebm.optim.initialisations import (
    forget_bias_,
    glorot_,
    identity_,
    orthogonal_,
    scale_to_radius_,
    sparse_,
    spectral_radius,
)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_sparse_rows_have_as_many_connections_as_were_asked_for():
    matrix = sparse_(normal(400, 50), 7, std=2.0, generator=generator())
    assert (matrix != 0).sum(1).tolist() == [7] * 400
    used = (matrix != 0).sum(0)  # every input alike: binomial with p = 7/50
    assert ((used - 56) / (400 * 0.14 * 0.86) ** 0.5).abs().max() < 4
    values = matrix[matrix != 0]
    assert abs(values.mean()) < 4 * 2 / len(values) ** 0.5
    assert abs(values.std() - 2) < 4 * 2 / (2 * len(values)) ** 0.5


def test_sparse_rows_that_are_short_are_full():
    assert (sparse_(torch.zeros(3, 4), generator=generator()) != 0).all()


def test_the_same_generator_gives_the_same_matrix():
    one, other = (sparse_(torch.empty(5, 40), generator=generator()) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("size", [1, 5, 300])
def test_the_spectral_radius_is_the_largest_eigenvalue(size):
    matrix = normal(size, size)
    expected = np.abs(np.linalg.eigvals(matrix.numpy())).max()
    assert spectral_radius(matrix) == pytest.approx(expected, rel=1e-9)
    scaled = scale_to_radius_(matrix, 1.1)
    assert np.abs(np.linalg.eigvals(scaled.numpy())).max() == pytest.approx(1.1, rel=1e-9)


@pytest.mark.parametrize("sparse", [True, False])
def test_the_spectral_radius_of_a_large_matrix(sparse):
    """A known one: blocks that turn by an angle and stretch, hidden by a permutation."""
    angles, stretch = torch.linspace(0, 3, 510).double(), torch.linspace(0.5, 1.3, 510).double()
    blocks = [
        s * torch.tensor([[a.cos(), -a.sin()], [a.sin(), a.cos()]])
        for a, s in zip(angles, stretch, strict=True)
    ]
    matrix = torch.block_diag(*blocks).double()
    order = torch.randperm(len(matrix), generator=generator())
    matrix = matrix[order][:, order]
    if not sparse:
        turn = torch.linalg.qr(normal(len(matrix), len(matrix)))[0]
        matrix = turn @ matrix @ turn.T
    assert spectral_radius(matrix) == pytest.approx(1.3, rel=1e-6)


def test_orthogonal_identity_and_glorot():
    q = orthogonal_(normal(5, 5), gain=2.0, generator=generator())
    torch.testing.assert_close(q @ q.T, 4 * torch.eye(5).double())
    assert torch.equal(identity_(normal(3, 3), 0.5), 0.5 * torch.eye(3).double())
    values = glorot_(normal(200, 100), generator=generator())
    assert values.abs().max() <= 0.02**0.5 + 1e-12
    assert values.var().item() == pytest.approx(2 / 300, rel=0.05)


def test_forget_gates_of_every_layer():
    lstm = forget_bias_(nn.LSTM(3, 4, 2), 5.0)
    for layer in range(2):
        total = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        assert total[4:8].tolist() == [5.0] * 4
        assert (total[:4] != 5).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scale_to_radius_(torch.zeros(3, 3), 1.1), "eigenvalues are all 0"),
        (lambda: scale_to_radius_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 1.1), "are all 0"),
        (lambda: scale_to_radius_(torch.eye(3), -1.0), "radius: expected a number from 0 up"),
        (lambda: spectral_radius(torch.zeros(3, 2)), "expected a square one, got .3, 2."),
        (lambda: spectral_radius(torch.full((2, 2), torch.nan)), "expected finite numbers"),
        (lambda: sparse_(torch.zeros(3)), r"matrix: expected \[outputs, inputs\], got \[3\]"),
        (lambda: sparse_(torch.zeros(3, 4), 0), "connections: expected at least 1, got 0"),
        (lambda: identity_(torch.zeros(3)), "matrix: expected"),
        (lambda: forget_bias_(nn.LSTM(3, 4, bias=False)), "an LSTM with biases"),
    ],
)
def test_what_cannot_be_begun_with(call, message):
    with pytest.raises(ValueError, match=message):
        call()
