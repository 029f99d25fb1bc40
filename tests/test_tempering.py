import math
from dataclasses import replace

import pytest
import torch

from seqebm import gibbs, sweeps, tempering
from seqebm.likelihood import exact_mean, exact_samples, log_partition
from seqebm.rbm import RBMEnergy
from seqebm.tempering import (
    AnnealingPath,
    anneal,
    mean_field_paths,
    parallel_tempering,
    tempered_transitions,
)
from seqebm.units import Bernoulli, Categorical, Gaussian


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def machines(n_visible=5, n_hidden=4, rows=(3,), scale=1.0):
    weight = scale * normal(n_hidden, n_visible)
    return RBMEnergy(
        Bernoulli(n_visible),
        weight,
        normal(*rows, n_visible, seed=2) - weight.sum(0) / 2,
        normal(*rows, n_hidden, seed=3) - weight.sum(1) / 2,
    )


def two_modes(strength=12.0):
    """All units on or all off, with Gibbs chains that hardly ever go from one to the other."""
    n, third = 4, strength / 4
    return RBMEnergy(
        Bernoulli(n),
        torch.full((n, n), third).double(),
        torch.full((n,), -third * n / 2 + 0.2).double(),
        torch.full((n,), -third * n / 2).double(),
    )


def mean_error(samples, rbm):
    """How many standard errors the means of samples [*rows, runs, visible] are off, at most."""
    mean, runs = exact_mean(rbm), samples.shape[-2]
    error = (samples.mean(-2) - mean) / (mean * (1 - mean) / runs).sqrt()
    return float(error.abs().max())


PATHS = {"mean field": 1.0, "half of it": 0.5, "flat": 0.0}
shares = pytest.mark.parametrize("share", PATHS.values(), ids=PATHS)


@shares
def test_a_path_leads_from_independent_units_to_the_target(share):
    rbm = machines()
    path = mean_field_paths(rbm, [share])[0]
    base = RBMEnergy(rbm.visible, 0 * rbm.weight, path.visible_bias, path.hidden_bias)
    torch.testing.assert_close(path.base_log_partition, log_partition(base))
    samples = path.base_samples(20_000, generator())
    assert samples.shape == (3, 20_000, 5)
    assert mean_error(samples, base) < 4.5


def test_the_base_of_mean_field_has_the_means_of_weakly_coupled_units():
    rbm = machines(scale=0.05)
    path = mean_field_paths(rbm, [1.0])[0]
    torch.testing.assert_close(path.visible_bias.sigmoid(), exact_mean(rbm), rtol=1e-4, atol=1e-5)


def log_f(rbm, path, v, beta):
    """log Σ_h exp(−E_β(v, h)), from the definition of the path."""
    b = (1 - beta) * path.visible_bias + beta * rbm.visible_bias
    c = (1 - beta) * path.hidden_bias + beta * rbm.hidden_bias
    machine = RBMEnergy(rbm.visible, beta * rbm.weight, b.unsqueeze(-2), c.unsqueeze(-2))
    return -machine.free_energy(v)


@pytest.mark.parametrize(
    "visible", [Bernoulli(5), Gaussian(5, torch.linspace(0.5, 1.5, 5)).double(), Categorical(5, 5)]
)
def test_the_gain_of_one_step_is_that_of_the_definition(visible):
    rbm = replace(machines(), visible=visible)
    path = mean_field_paths(rbm, [0.5])[0]
    v = path.base_samples(7, generator())
    betas = torch.tensor([0.3, 0.7]).double()
    _, gain = anneal(path, v, betas, generator())
    torch.testing.assert_close(gain, log_f(rbm, path, v, 0.7) - log_f(rbm, path, v, 0.3))


@shares
@pytest.mark.parametrize("n", [2, 5, 12])  # fewer and more than are led along at once
def test_the_mean_weight_of_runs_from_the_base_is_the_ratio_of_partition_functions(share, n):
    rbm = machines()
    path = mean_field_paths(rbm, [share])[0]
    v = path.base_samples(40_000, generator())
    _, gain = anneal(path, v, torch.linspace(0, 1, n).double(), generator(2))
    ratio = (gain - (log_partition(rbm) - path.base_log_partition).unsqueeze(-1)).exp()
    z = (ratio.mean(-1) - 1) / (ratio.std(-1) / math.sqrt(40_000))
    assert z.abs().max() < 4.5


@shares
def test_the_mean_weight_of_runs_from_the_target_is_the_inverse_ratio(share):
    rbm = machines()
    path = mean_field_paths(rbm, [share])[0]
    v = exact_samples(rbm, 40_000, generator())
    _, gain = anneal(path, v, torch.linspace(1, 0, 5).double(), generator(2))
    ratio = (gain + (log_partition(rbm) - path.base_log_partition).unsqueeze(-1)).exp()
    z = (ratio.mean(-1) - 1) / (ratio.std(-1) / math.sqrt(40_000))
    assert z.abs().max() < 4.5


def test_weights_make_the_ends_of_runs_samples_of_the_target():
    rbm = machines(rows=())
    path = mean_field_paths(rbm, [0.5])[0]
    v = path.base_samples(100_000, generator())
    # the last sweep is the target's, and leaves what the weights have made right as it is
    end, gain = anneal(path, v, torch.linspace(0, 1, 4).double(), generator(2))
    weighted = gain.softmax(0) @ end
    torch.testing.assert_close(weighted, exact_mean(rbm), rtol=0, atol=0.01)


def test_tempered_transitions_leave_the_target_as_it_is():
    rbm = two_modes()
    path = mean_field_paths(rbm, [0.0])[0]
    v = exact_samples(rbm, 20_000, generator())
    betas = torch.linspace(1, 0, 30).double()
    moved, accepted = tempered_transitions(path, v, betas, generator(2))
    assert mean_error(moved, rbm) < 4.5
    assert 0.1 < accepted.double().mean() < 1.0


def all_on(v):
    return float((v.mean(-1) > 0.5).double().mean())


def test_samplers_that_go_down_and_up_leave_a_mode_that_gibbs_chains_stay_in():
    rbm = two_modes()
    path = mean_field_paths(rbm, [0.0])[0]
    off = torch.zeros(2000, 4).double()
    share = all_on(exact_samples(rbm, 20_000, generator()))
    assert 0.3 < share < 0.8
    assert all_on(gibbs.chain(rbm, off, 20, generator())[0]) < 0.1 * share
    v, betas = off, torch.linspace(1, 0, 30).double()
    for seed in range(10):
        v, _ = tempered_transitions(path, v, betas, generator(seed))
    assert all_on(v) == pytest.approx(share, abs=0.05)
    rungs = torch.linspace(0, 1, 8).double()
    found = parallel_tempering(path, off.expand(8, -1, -1), rungs, 100, generator())
    assert all_on(found.v[-1]) == pytest.approx(share, abs=0.05)
    assert bool((found.swapped > 0).all())


@pytest.mark.parametrize("rungs", [1, 2, 5, 6])
def test_every_rung_of_parallel_tempering_has_its_own_distribution(rungs):
    rbm = machines()
    path = mean_field_paths(rbm, [0.5])[0]
    betas = torch.linspace(1.0, 0.2, rungs).flip(0).double()
    start = path.base_samples(10_000, generator()).expand(rungs, -1, -1, -1)
    found = parallel_tempering(path, start, betas, 40, generator(2))
    assert found.v.shape == (rungs, 3, 10_000, 5)
    assert found.swapped.shape == (rungs - 1,)
    for beta, v in zip(betas, found.v, strict=True):
        b = torch.lerp(path.visible_bias, rbm.visible_bias, beta)
        c = torch.lerp(path.hidden_bias, rbm.hidden_bias, beta)
        assert mean_error(v, RBMEnergy(rbm.visible, beta * rbm.weight, b, c)) < 4.5


def test_start_is_left_as_it_was():
    path = mean_field_paths(machines(), [0.5])[0]
    start = torch.zeros(4, 3, 10, 5).double()
    parallel_tempering(path, start, torch.linspace(0, 1, 4).double(), 3, generator())
    assert not start.any()


def test_compiled_annealing_is_that_of_the_plain_path(monkeypatch):
    """Other random numbers, the same distribution of weights and ends."""
    rbm = machines(rows=(2,))
    path = mean_field_paths(rbm, [0.5])[0]
    v = path.base_samples(30_000, generator())
    betas = torch.linspace(0, 1, 5).double()
    plain_end, plain = anneal(path, v, betas, generator(2))
    monkeypatch.setattr(gibbs, "WORTH_COMPILING", 0)
    monkeypatch.setattr(tempering, "AT_ONCE", 2)  # less to compile, and called twice
    fast_end, fast = anneal(path, v, betas, generator(2))
    assert not sweeps._failed
    assert not torch.equal(plain, fast)
    for a, b in ((plain, fast), (plain.square(), fast.square())):
        z = (a.mean(-1) - b.mean(-1)) / ((a.var(-1) + b.var(-1)) / 30_000).sqrt()
        assert z.abs().max() < 4.5
    z = (plain_end.mean(-2) - fast_end.mean(-2)) / math.sqrt(0.5 / 30_000)
    assert z.abs().max() < 4.5


def test_without_a_compiler_annealing_is_plain_after_one_warning(monkeypatch):
    def fail(function):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(tempering, "compiled", fail)
    monkeypatch.setattr(sweeps, "_failed", set())
    monkeypatch.setattr(gibbs, "WORTH_COMPILING", 0)
    path = mean_field_paths(machines(), [0.5])[0]
    betas = torch.linspace(0, 1, 12).double()
    with pytest.warns(UserWarning, match="not compiled on this machine: no compiler") as caught:
        anneal(path, path.base_samples(5, generator()), betas, generator())
    assert len(caught) >= 1


def test_a_seed_decides_everything():
    path = mean_field_paths(machines(), [0.5])[0]
    v, betas = path.base_samples(5, generator()), torch.linspace(0, 1, 6).double()
    a, b, c = (anneal(path, v, betas, generator(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_no_sweeps_are_refused():
    path = mean_field_paths(machines(), [0.5])[0]
    with pytest.raises(ValueError, match="sweeps: expected at least 1, got 0"):
        parallel_tempering(path, torch.zeros(2, 3, 4, 5).double(), torch.ones(2).double(), 0)


def test_a_path_of_one_machine_for_all_runs():
    rbm = machines(rows=())
    path = AnnealingPath(rbm, torch.zeros(5).double(), torch.zeros(4).double())
    end, gain = anneal(path, path.base_samples(6, generator()), torch.linspace(0, 1, 3).double())
    assert end.shape == (6, 5)
    assert gain.shape == (6,)
