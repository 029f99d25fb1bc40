import math

import pytest
import torch

from seqebm.likelihood import (
    annealed_log_partition,
    annealing,
    bennett,
    exact_samples,
    log_partition,
    spaced,
)
from seqebm.rbm import RBMEnergy
from seqebm.tempering import anneal, mean_field_paths
from seqebm.units import Bernoulli, Gaussian


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def machines(scale, rows=(20,), n_visible=9, n_hidden=8, seed=1, visible=None):
    """RBMs with weights of standard deviation scale/√n, whose units are not all on or all off."""
    source = generator(seed)
    size = math.sqrt(max(n_visible, n_hidden))

    def normal(*shape):
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    weight = scale * normal(n_hidden, n_visible) / size
    return RBMEnergy(
        visible or Bernoulli(n_visible),
        weight,
        normal(*rows, n_visible) - weight.sum(0) / 2,
        normal(*rows, n_hidden) - weight.sum(1) / 2,
    )


def annealed(rbm, runs=50, temperatures=100, **options):
    n_visible = rbm.weight.shape[1]
    start = torch.zeros(*rbm.rows, runs, n_visible, dtype=rbm.weight.dtype)
    return annealed_log_partition(rbm, start, temperatures, generator=generator(), **options)


@pytest.fixture
def chains_only(monkeypatch):
    """Runs from the target begin with parallel tempering, as those of large machines do."""
    monkeypatch.setattr(annealing, "ENUMERATED_SAMPLES", 0)


SCALES = [0.5, 2.0, 5.0, 10.0, 20.0]


@pytest.mark.parametrize("scale", SCALES)
def test_bounds_are_bounds_in_expectation(scale):
    """Over many short annealings, where the two sides are far from each other."""
    rbm = machines(scale, rows=(200,))
    found, exact = annealed(rbm, runs=4, temperatures=3), log_partition(rbm)
    for surplus in (exact - found.lower, found.upper - exact):
        assert surplus.mean() > -3 * surplus.std() / math.sqrt(200)
    if scale > 1:
        assert (found.upper - found.lower).mean() > 0


@pytest.mark.parametrize("scale", SCALES)
def test_estimates_come_close_to_the_exact_value(scale):
    rbm = machines(scale)
    found = annealed(rbm, temperatures=300)
    error = (found.estimate - log_partition(rbm)).abs()
    assert error.median() < 0.005 * scale
    assert found.estimate.dtype == torch.float64


def test_estimates_from_tempered_chains_come_close_too(chains_only):
    rbm = machines(5.0)
    found = annealed(rbm, temperatures=300, sweeps=50)
    assert (found.estimate - log_partition(rbm)).abs().median() < 0.02


@pytest.mark.parametrize("scale", [2.0, 5.0])
def test_standard_errors_are_those_of_repeated_annealings(scale):
    rbm = machines(scale, rows=(1,))
    many = RBMEnergy(
        rbm.visible,
        rbm.weight,
        rbm.visible_bias.expand(400, -1),
        rbm.hidden_bias.expand(400, -1),
    )
    found = annealed(many, runs=30, temperatures=20)
    for side, error in ((found.lower, found.lower_error), (found.upper, found.upper_error)):
        assert side.std() == pytest.approx(error.square().mean().sqrt(), rel=0.25)
    assert found.estimate.std() < 1.05 * torch.minimum(found.lower.std(), found.upper.std())


def test_few_runs_count_where_annealing_is_too_short():
    rbm = machines(20.0)
    short, long = annealed(rbm, temperatures=3), annealed(rbm, temperatures=500)
    assert short.effective.median() < 0.1
    assert long.effective.median() > 0.3
    assert bool((long.effective <= 1 + 1e-9).all())
    assert bool((short.effective >= 1 / 50 - 1e-9).all())


def test_real_units():
    visible = Gaussian(5, torch.linspace(0.5, 1.5, 5)).double()
    rbm = machines(2.0, n_visible=5, visible=visible)
    found = annealed(rbm, temperatures=200)
    error = (found.estimate - log_partition(rbm)).abs()
    assert error.median() < 0.01


def test_one_machine_and_many_rows():
    for rows in ((), (2, 3)):
        rbm = machines(2.0, rows=rows)
        found = annealed(rbm)
        assert all(part.shape == rows for part in found)
        torch.testing.assert_close(found.estimate, log_partition(rbm), rtol=0, atol=0.05)


def test_blocks_of_machines_are_annealed_one_after_the_other(monkeypatch):
    rbm = machines(2.0, rows=(7,))
    monkeypatch.setattr(annealing, "BLOCK", 50 * 9 * 2)
    found = annealed(rbm)
    torch.testing.assert_close(found.estimate, log_partition(rbm), rtol=0, atol=0.05)


def test_single_precision_is_enough():
    rbm = machines(3.0)
    single = RBMEnergy(
        rbm.visible, rbm.weight.float(), rbm.visible_bias.float(), rbm.hidden_bias.float()
    )
    found = annealed(single, temperatures=300)
    torch.testing.assert_close(found.estimate, log_partition(rbm), rtol=0, atol=0.03)


def test_where_the_base_cannot_reach_a_mode_the_two_ends_disagree(chains_only, monkeypatch):
    """One unit of every machine is on together with all others, which no short annealing finds."""
    monkeypatch.setattr(annealing, "SHARES", (0.0, 0.0, 0.0))
    n = 24
    weight = torch.full((n, n), 1.0).double()
    bias = torch.full((n,), -n / 2 + 0.6).double()  # all on is much more probable than all off
    rbm = RBMEnergy(Bernoulli(n), weight, bias, bias)
    on = torch.ones(50, n).double()
    found = annealed_log_partition(rbm, on, temperatures=10, sweeps=5, generator=generator())
    assert found.upper - found.lower > 1.0


def test_bennett_is_the_exact_answer_of_normal_works():
    """Works N(Δ − s²/2, s²) forwards go with N(Δ + s²/2, s²) backwards (Crooks 1999)."""
    source, s, delta = generator(), 1.5, 3.0
    noise = torch.randn(2, 200_000, generator=source, dtype=torch.float64)
    forward, reverse = delta - s**2 / 2 + s * noise[0], delta + s**2 / 2 + s * noise[1]
    assert float(bennett(forward, reverse)) == pytest.approx(delta, abs=0.01)


def test_bennett_of_works_without_spread():
    for value in (-1e4, 0.0, 3.5):
        works = torch.full((4, 8), value).double()
        torch.testing.assert_close(bennett(works, works), works[:, 0])


def test_a_schedule_has_as_much_change_between_any_two_neighbours():
    rbm = machines(8.0, rows=(30,))
    path = mean_field_paths(rbm, [0.0])[0]
    betas = spaced(path, 41, generator())
    assert (float(betas[0]), float(betas[-1])) == (0.0, 1.0)
    assert spaced(path, 2, generator()).tolist() == [0.0, 1.0]
    steps = betas.diff()
    assert bool((steps > 0).all())
    assert steps.max() > 1.5 * steps.min()
    even = torch.linspace(0, 1, 41).double()
    spread = {}
    for name, schedule in (("spaced", betas), ("even", even)):
        v = path.base_samples(2000, generator())
        spread[name] = anneal(path, v, schedule, generator(2))[1].var(-1).mean()
    assert spread["spaced"] < spread["even"]


def test_the_base_is_chosen_by_measuring():
    """Mean field where units are weakly coupled; where it finds one of two modes, not that."""
    weak = machines(0.5, rows=(8,))
    start = exact_samples(weak, 16, generator())
    chosen = annealing.narrowest_path(weak, start, 65, 5, generator())
    torch.testing.assert_close(chosen.visible_bias, mean_field_paths(weak, [1.0])[0].visible_bias)
    n = 6
    weight = torch.full((n, n), 3.0).double()
    bias = torch.full((8, n), -9.0).double()
    bias[:, 0] += 1.0  # a little more of all on
    modes = RBMEnergy(Bernoulli(n), weight, bias, bias)
    start = exact_samples(modes, 16, generator())
    chosen = annealing.narrowest_path(modes, start, 65, 5, generator())
    mean_field = mean_field_paths(modes, [1.0])[0]
    assert chosen.visible_bias.abs().max() < 0.6 * mean_field.visible_bias.abs().max()


def test_base_rates_of_data_are_a_base_too(monkeypatch):
    monkeypatch.setattr(annealing, "SHARES", (0.0, 0.0))
    rbm = machines(0.5, rows=(1,))
    samples = exact_samples(rbm, 400, generator())
    rates = samples.mean(1)
    chosen = annealing.narrowest_path(rbm, samples, 20, 5, generator(), rates)
    torch.testing.assert_close(chosen.visible_bias.sigmoid(), rates)
    assert not chosen.hidden_bias.any()
    found = annealed_log_partition(rbm, samples, 20, 5, generator(), rates)
    without = annealed_log_partition(rbm, samples, 20, 5, generator())
    assert found.effective > without.effective
    torch.testing.assert_close(found.estimate, log_partition(rbm), atol=0.02, rtol=0)


@pytest.mark.parametrize(("temperatures", "share"), [(5, 0.5), (300, 0.0)])
def test_the_base_is_chosen_for_as_many_temperatures_as_there_will_be(temperatures, share):
    """Two machines of sixteen have two modes: what is left by long annealing is theirs."""
    n = 6
    bias = torch.full((16, n), -4.0).double()
    bias[:2] = -9.0
    bias[:2, 0] += 1.0
    rbm = RBMEnergy(Bernoulli(n), torch.full((n, n), 3.0).double(), bias, bias)
    start = exact_samples(rbm, 16, generator())
    chosen = annealing.narrowest_path(rbm, start, temperatures, 5, generator())
    expected = mean_field_paths(rbm, [share])[0]
    torch.testing.assert_close(chosen.visible_bias, expected.visible_bias)


@pytest.mark.parametrize(("runs", "temperatures"), [(1, 10), (10, 1)])
def test_too_little_to_anneal_with_is_refused(runs, temperatures):
    with pytest.raises(ValueError, match=f"at least 2, got {temperatures} and {runs}"):
        annealed(machines(1.0), runs, temperatures)
