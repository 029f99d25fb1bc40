"""What makes a reservoir one: its radius, its sparsity, that it forgets, that nothing learns."""

import copy

import brute
import pytest
import torch

import seqebm
from seqebm.cells import Cell, Reservoir
from seqebm.cells.reservoir import SPARSE_UNITS, fastest


def made(*sizes, seed=1, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Reservoir(*sizes, **options).double()


def frames(batch, time, size, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("radius", "density"), [(0.5, 0.1), (0.9, 1.0), (1.3, 0.02)])
def test_radius_and_density_are_what_was_asked_for(radius, density):
    cell = made(3, 200, radius=radius, density=density, input_scale=0.3)
    eigenvalues = torch.linalg.eigvals(cell.hidden_to_hidden)
    assert float(eigenvalues.abs().max()) == pytest.approx(radius, rel=1e-5)
    assert cell.hidden_to_hidden.count_nonzero(1).tolist() == [round(200 * density)] * 200
    for weight in (cell.visible_to_hidden, cell.hidden_bias):
        assert 0.28 < float(weight.abs().max()) <= 0.3
        assert abs(float(weight.mean())) < 0.05


@pytest.mark.parametrize("size", [1, 2, 3])
def test_even_the_smallest_has_a_radius(size):
    for seed in range(20):
        cell = made(1, size, seed=seed, radius=0.7)
        eigenvalues = torch.linalg.eigvals(cell.hidden_to_hidden)
        assert float(eigenvalues.abs().max()) == pytest.approx(0.7, rel=1e-5)


def test_without_recurrence_it_integrates():
    """Sutskever 2013, the footnote of sec. 2.8.4: (1 − α) Σ tanh(W_hv v_t) for α near 1."""
    cell = made(2, 6, radius=0.0, leak=1e-6)
    cell.hidden_bias.zero_()
    v = frames(1, 40, 2)
    outputs, _ = cell(v, cell.initial_state(1))
    total = 1e-6 * (v @ cell.visible_to_hidden.T).tanh().sum(1)
    torch.testing.assert_close(outputs[:, -1], total, rtol=1e-3, atol=0)


def difference_after(cell, time):
    """How far two initial states still are from each other."""
    state = torch.stack([torch.full((60,), 0.9), torch.full((60,), -0.9)]).double()
    outputs, _ = cell(0.1 * frames(1, time, 2).expand(2, -1, -1), state)
    return float((outputs[0, -1] - outputs[1, -1]).norm())


@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_echoes_die_where_the_radius_is_below_one(leak):
    small = {"leak": leak, "density": 0.3, "input_scale": 0.1}
    fading, lasting = (made(2, 60, radius=radius, **small) for radius in (0.8, 3.0))
    assert difference_after(fading, 300) < 1e-8
    assert difference_after(lasting, 300) > 0.1


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("density", [0.03, 0.5])
def test_large_ones_say_what_the_equation_says(batch, density):
    cell = made(2, SPARSE_UNITS, leak=0.6, density=density)
    assert (fastest(cell.hidden_to_hidden).layout == torch.sparse_csr) == (density < 0.1)
    outputs, state = cell(frames(batch, 7, 2), cell.initial_state(batch))
    for got, one in zip(outputs, frames(batch, 7, 2).numpy(), strict=True):
        torch.testing.assert_close(got, torch.from_numpy(brute.shown(cell, one)))
    plain, plain_state = Cell.forward(cell, frames(batch, 7, 2), cell.initial_state(batch))
    torch.testing.assert_close(outputs, plain)
    torch.testing.assert_close(state, plain_state)
    assert state.untyped_storage().nbytes() == 8 * state.numel()  # holds on to nothing else


def test_a_sparse_matrix_follows_its_dense_one():
    cell = made(2, SPARSE_UNITS, density=0.03)
    v = frames(1, 3, 2)

    def same(cell, v=v):
        plain, _ = Cell.forward(cell, v, cell.initial_state(1))
        torch.testing.assert_close(cell(v, cell.initial_state(1))[0], plain)

    same(cell)
    cell.recurrent_matrices()[0].mul_(0.5)
    same(cell)
    other = copy.deepcopy(cell)
    other.hidden_to_hidden.mul_(-1)
    same(other)
    same(cell)
    cell.load_state_dict(made(2, SPARSE_UNITS, seed=5, density=0.03).state_dict())
    same(cell)
    same(cell.float(), v.float())
    same(cell.bfloat16(), v.bfloat16())
    with torch.inference_mode():
        same(made(2, SPARSE_UNITS, density=0.03))


def test_nothing_in_it_is_learned():
    model = seqebm.RNN(made(2, 5).float(), "mixture:2")
    before = copy.deepcopy(model.cell.state_dict())
    readout = model.readout.weight.clone()
    seqebm.fit(model, frames(6, 4, 2).float(), steps=3, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in model.cell.state_dict().items())
    assert not torch.equal(model.readout.weight, readout)
    states, _ = model.cell(frames(1, 3, 2).float(), model.cell.initial_state(1))
    assert not states.requires_grad


def test_the_gradient_reaches_the_frames():
    """As sweeps back and forth need it (`SequenceModel.denoise`)."""
    cell = made(2, 4, leak=0.5, density=0.6)
    v = frames(2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: cell(v, cell.initial_state(2))[0], v)


def test_the_generator_decides_the_weights():
    first, again, other = made(3, 8), made(3, 8), made(3, 8, seed=2)
    assert torch.equal(first.hidden_to_hidden, again.hidden_to_hidden)
    assert not torch.equal(first.hidden_to_hidden, other.hidden_to_hidden)


def test_a_file_keeps_the_weights(tmp_path):
    model = seqebm.RNN(made(2, 30, radius=1.1, leak=0.2, density=0.5, input_scale=0.1), "gaussian")
    seqebm.save(model.double(), tmp_path / "model.h5")
    loaded = seqebm.load(tmp_path / "model.h5")
    assert loaded.cell.settings == model.cell.settings
    assert torch.equal(loaded.cell.hidden_to_hidden, model.cell.hidden_to_hidden)
    v = frames(2, 6, 2)
    assert torch.equal(loaded.predict(v), model.predict(v))
