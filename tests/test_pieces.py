"""Sequences in pieces against torch's own functions, and their second derivatives' time."""

import pytest
import torch

from seqebm.cells import make_cell, pieces


def together(whole, dim=0, to=1):
    return pieces.stack([piece * piece.sum() for piece in pieces.unbind(whole, dim)], to)


def values(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_they_are_torchs(dim):
    whole = values(2, 3, 4)
    assert torch.equal(pieces.stack(pieces.unbind(whole, dim), dim), whole)
    assert torch.equal(pieces.stack(whole.unbind(), dim), torch.stack(whole.unbind(), dim))
    for got, expected in zip(pieces.unbind(whole, dim), whole.unbind(dim), strict=True):
        assert torch.equal(got, expected)


def test_derivatives_of_any_kind_and_order():
    whole = values(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(together, whole, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(together, whole)
    jacobian = torch.autograd.functional.jacobian(together, whole)
    torch.testing.assert_close(torch.func.jacrev(together)(whole), jacobian)
    torch.testing.assert_close(torch.func.jacfwd(together)(whole), jacobian)


def test_pieces_that_nothing_comes_of_have_no_gradient():
    whole = values(3, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(pieces.unbind(whole)[1].sum(), whole)
    assert gradient.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_no_pieces():
    assert pieces.unbind(torch.zeros(0, 2)) == ()
    assert pieces.unbind(torch.zeros(2, 0), 1) == ()


def test_a_single_part_is_not_copied():
    part = torch.zeros(2, 1)
    assert pieces.beside([part]) is part
    assert pieces.beside([part, part]).shape == (2, 2)


def apart(whole):
    return pieces.stack([piece.tanh() for piece in pieces.unbind(whole)])


def traced(kind):
    cell = make_cell(kind, 5, 3)
    return lambda frames: cell.trace(frames.unsqueeze(0), cell.initial_state(1)).outputs


@pytest.mark.parametrize(
    "function", [apart, *(traced(kind) for kind in ("skip-rnn", "mrnn", "mlstm", "gru"))]
)
def test_second_derivatives_have_no_work_that_grows_with_the_square_of_the_length(function):
    """For a length of 80 ten times as many numbers are written as for 8, and not a hundred."""

    def written(length):
        whole = torch.zeros(length, 5, requires_grad=True)
        outputs = function(whole)
        errors = torch.zeros_like(outputs, requires_grad=True)
        (gradient,) = torch.autograd.grad(outputs, whole, errors, create_graph=True)
        with torch.profiler.profile(profile_memory=True) as profile:
            torch.autograd.grad(gradient, errors, torch.ones_like(whole))
        return sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())

    assert written(80) <= 10.5 * written(8)
