import itertools
import math

import pytest
import torch

from seqebm.units import Bernoulli, Categorical, Gaussian, make_units

SIGMA = (0.5, 1.0, 2.0)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def gaussian():
    return Gaussian(3, torch.tensor(SIGMA)).double()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# --- Bernoulli -------------------------------------------------------------------------------


def test_a_bernoulli_unit_is_on_with_the_sigmoid_of_its_input():
    x = torch.tensor([-2.0, 0.0, 3.0])
    expected = [1 / (1 + math.exp(-value)) for value in (-2.0, 0.0, 3.0)]
    torch.testing.assert_close(Bernoulli(3).mean(x), torch.tensor(expected))
    assert x.tolist() == [-2.0, 0.0, 3.0]


def test_mean_in_place_writes_over_its_input():
    for units in (Bernoulli(3), Gaussian(3)):
        x = torch.tensor([-2.0, 0.0, 3.0])
        expected = units.mean(x)
        assert units.mean_(x) is x
        torch.testing.assert_close(x, expected)


def test_bernoulli_energy_and_partition_by_enumeration():
    bias, drive = normal(2, 3), normal(2, 3, seed=2)
    for row in range(2):
        total = 0.0
        for state in itertools.product((0.0, 1.0), repeat=3):
            energy = -sum(v * float(b) for v, b in zip(state, bias[row], strict=True))
            got = Bernoulli(3).energy(torch.tensor(state).double(), bias)[row]
            assert got.item() == pytest.approx(energy, abs=1e-12)
            gain = sum(v * float(d) for v, d in zip(state, drive[row], strict=True))
            total += math.exp(gain - energy)
        got = Bernoulli(3).log_partition(bias, drive)[row]
        assert got.item() == pytest.approx(math.log(total))


def test_bernoulli_log_prob_is_that_of_torch():
    x, v = normal(5, 3), (normal(5, 3, seed=2) > 0).double()
    expected = torch.distributions.Bernoulli(logits=x).log_prob(v).sum(-1)
    torch.testing.assert_close(Bernoulli(3).log_prob(v, x), expected)


def test_bernoulli_log_prob_of_grey_values_is_the_cross_entropy():
    x, v = torch.tensor([0.3]), torch.tensor([0.25])
    p = 1 / (1 + math.exp(-0.3))
    expected = 0.25 * math.log(p) + 0.75 * math.log(1 - p)
    assert Bernoulli(1).log_prob(v, x).item() == pytest.approx(expected)


def test_bernoulli_samples_have_their_mean():
    mean = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).expand(40_000, 5)
    samples = Bernoulli(5).sample_into(torch.empty(40_000, 5), mean, generator())
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    assert not samples[:, 0].any()
    assert samples[:, 4].all()
    error = (samples.mean(0) - mean[0])[1:4] / (mean[0] * (1 - mean[0]) / 40_000).sqrt()[1:4]
    assert error.abs().max() < 4.5  # a right sampler fails with probability 2e-5; the seed is fixed


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_bernoulli_units_refuse_values_outside_zero_to_one(value):
    frames = torch.tensor([0.0, 1.0, value])
    with pytest.raises(ValueError, match=r"frames: .*\[0, 1\]"):
        Bernoulli(3).check(frames)


def test_bernoulli_units_accept_grey_values_and_nothing():
    Bernoulli(3).check(torch.tensor([0.0, 0.5, 1.0]))
    Bernoulli(3).check(torch.empty(0, 3))


# --- Gaussian --------------------------------------------------------------------------------


def test_gaussian_mean_is_the_input():
    x = torch.tensor([-2.0, 0.0, 3.0])
    assert torch.equal(Gaussian(3, 0.1).mean(x), x)
    assert Gaussian(3, 0.1).mean(x) is not x


def test_gaussian_energy_and_scale_by_hand():
    v, bias = normal(3), normal(3, seed=2)
    terms = [(float(v[i] - bias[i])) ** 2 / (2 * SIGMA[i] ** 2) for i in range(3)]
    assert gaussian().energy(v, bias).item() == pytest.approx(sum(terms))
    expected = torch.tensor([float(v[i]) / SIGMA[i] ** 2 for i in range(3)]).double()
    torch.testing.assert_close(gaussian().scaled(v), expected)
    torch.testing.assert_close(gaussian().sigma_squared, torch.tensor(SIGMA).double() ** 2)


def test_gaussian_partition_by_numerical_integration():
    bias, drive = normal(3), normal(3, seed=2)
    grid = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    expected = 0.0
    for i in range(3):
        exponent = -((grid - bias[i]) ** 2) / (2 * SIGMA[i] ** 2) + grid * drive[i] / SIGMA[i] ** 2
        expected += math.log(torch.trapezoid(exponent.exp(), grid).item())
    assert gaussian().log_partition(bias, drive).item() == pytest.approx(
        expected, rel=1e-6
    )  # σ is kept in float32


def test_gaussian_log_prob_is_that_of_torch():
    x, v = normal(5, 3), normal(5, 3, seed=2)
    expected = torch.distributions.Normal(x, torch.tensor(SIGMA).double()).log_prob(v).sum(-1)
    torch.testing.assert_close(gaussian().log_prob(v, x), expected)


def test_gaussian_samples_have_their_moments():
    mean = torch.tensor([-1.0, 0.0, 5.0], dtype=torch.float64).expand(40_000, 3)
    samples = gaussian().sample_into(torch.empty_like(mean), mean, generator())
    sigma = torch.tensor(SIGMA).double()
    error = (samples.mean(0) - mean[0]) / (sigma / 200)
    spread = (samples.std(0) / sigma - 1) * math.sqrt(2 * 40_000)
    assert torch.cat([error, spread]).abs().max() < 4.5  # probability 4e-5 for a right sampler


@pytest.mark.parametrize("units", [Bernoulli(4), Gaussian(4)])
def test_samples_come_from_the_generator_and_fill_the_buffer(units):
    mean, out = torch.full((3, 4), 0.4), torch.empty(3, 4)
    first = units.sample_into(out, mean, generator())
    assert first is out
    again = units.sample_into(torch.empty(3, 4), mean, generator())
    assert torch.equal(first, again)
    torch.manual_seed(3)
    by_default = units.sample_into(torch.empty(3, 4), mean, None)
    assert torch.equal(by_default, units.sample_into(torch.empty(3, 4), mean, generator(3)))


def test_a_learned_sigma_is_a_parameter_and_a_fixed_one_a_buffer():
    learned, fixed = Gaussian(3, 0.5, learned=True), Gaussian(3, 0.5)
    assert [name for name, _ in learned.named_parameters()] == ["log_sigma"]
    assert [name for name, _ in fixed.named_buffers()] == ["log_sigma"]
    assert not list(fixed.parameters())
    for units in (learned, fixed):
        torch.testing.assert_close(units.log_sigma.detach(), torch.full((3,), math.log(0.5)))
    learned.log_prob(torch.ones(3), torch.zeros(3)).backward()
    # d/dlogσ of −v²/2σ² − log σ is v²/σ² − 1
    torch.testing.assert_close(learned.log_sigma.grad, torch.full((3,), 3.0))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, torch.tensor([1.0, 0.0, 1.0])])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(ValueError, match="sigma: expected positive"):
        Gaussian(3, sigma)


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3)])
def test_sigma_must_be_one_number_or_one_for_each_unit(shape):
    with pytest.raises(ValueError, match=r"sigma: expected one number or 3, got shape \["):
        Gaussian(3, torch.ones(shape))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_gaussian_units_refuse_values_that_are_not_finite(value):
    with pytest.raises(ValueError, match="frames: expected finite"):
        Gaussian(2).check(torch.tensor([1e30, value]))
    Gaussian(2).check(torch.tensor([1e30, -5.0]))


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["bernoulli", "gaussian", "gaussian:0.5", "gaussian:learned"])
def test_units_are_built_from_their_own_name(spec):
    units = make_units(spec, 3)
    assert units.spec == spec
    assert units.size == 3
    assert bool(list(units.parameters())) == (spec == "gaussian:learned")
    assert units.bits == (3 if spec == "bernoulli" else math.inf)


def test_every_state_is_listed_once():
    for units, count in ((Categorical(6, 3), 9), (Categorical(5, 5), 5), (Bernoulli(4), 16)):
        found = units.states(0, count, torch.zeros(1).double())
        assert round(2**units.bits) == count == len({tuple(state) for state in found.tolist()})
        units.check(found)
        assert bool(((found == 0) | (found == 1)).all())
        parts = [units.states(k, min(k + 3, count), found) for k in range(0, count, 3)]
        assert torch.equal(torch.cat(parts), found)
    assert bool((Categorical(6, 3).states(0, 9, torch.zeros(1)).sum(1) == 2).all())
    with pytest.raises(ValueError, match="the states of gaussian units cannot be listed"):
        Gaussian(2).states(0, 1, torch.zeros(1))


def test_gaussian_units_by_name_have_unit_variance():
    for spec in ("gaussian", "gaussian:learned"):
        assert torch.equal(make_units(spec, 2).sigma_squared.detach(), torch.ones(2))


def test_a_standard_deviation_can_be_part_of_the_name():
    units = make_units("gaussian:0.5", 2)
    torch.testing.assert_close(units.sigma_squared, torch.full((2,), 0.25))
    for spec in ("gaussian:", "gaussian:-1", "gaussian:0", "gaussian:nan", "gaussian:inf", "0.5"):
        for device in ("cpu", "meta"):
            with torch.device(device), pytest.raises(ValueError, match="units: expected one of"):
                make_units(spec, 2)


def test_objects_of_the_right_size_are_taken_as_they_are():
    units = Gaussian(3, 0.1)
    assert make_units(units, 3) is units
    with pytest.raises(ValueError, match="units: expected a layer of 4 units, got one of 3"):
        make_units(units, 4)


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match=r"units: expected one of bernoulli.*got 'poisson'"):
        make_units("poisson", 3)
    with pytest.raises(TypeError, match="units: expected a name or a Units object, got int"):
        make_units(3, 3)


def test_mean_and_log_prob_follow_the_precision():
    for units in (Bernoulli(3), gaussian()):
        x = normal(2, 3)
        assert units.mean(x).dtype == torch.float64
        assert units.log_prob(units.mean(x), x).dtype == torch.float64


def test_the_input_for_a_mean_has_that_mean():
    mean = torch.tensor([0.001, 0.3, 0.999])
    for units in (Bernoulli(3), Gaussian(3)):
        torch.testing.assert_close(units.mean(units.input_for(mean)), mean)


# --- categorical -----------------------------------------------------------------------------


def codes(categories, groups):
    """All one-hot states [n, groups · categories]."""
    eye = torch.eye(categories).double()
    return torch.stack([torch.cat(state) for state in itertools.product(eye, repeat=groups)])


def test_categorical_means_are_softmaxes_of_their_groups():
    x = normal(5, 6)
    expected = torch.cat([x[:, :3].softmax(-1), x[:, 3:].softmax(-1)], dim=1)
    units = Categorical(6, 3)
    torch.testing.assert_close(units.mean(x), expected)
    again = x.clone()
    assert units.mean_(again) is again
    torch.testing.assert_close(again, expected)


def test_categorical_energy_and_partition_by_enumeration():
    bias, drive, units = normal(2, 6), normal(2, 6, seed=2), Categorical(6, 3)
    for b, d in zip(bias, drive, strict=True):
        weights = [math.exp(float(v @ b + v @ d)) for v in codes(3, 2)]
        assert float(units.log_partition(b, d)) == pytest.approx(math.log(sum(weights)))
        for v in codes(3, 2):
            assert float(units.energy(v, b)) == pytest.approx(-float(v @ b))


def test_categorical_log_prob_is_that_of_torch():
    x, units = normal(7, 5), Categorical(5, 5)
    chosen = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    expected = torch.distributions.Categorical(logits=x).log_prob(chosen)
    got = units.log_prob(torch.eye(5).double()[chosen], x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("how", ["sample", "pick"])
def test_categorical_samples_are_codes_with_their_means(how):
    units = Categorical(6, 3)
    mean = units.mean(normal(6)).expand(40_000, -1)
    if how == "sample":
        drawn = units.sample(mean, generator())
    else:
        drawn = units.pick(mean, torch.rand(mean.shape, generator=generator()).double() - 0.5)
    assert bool((drawn.view(-1, 2, 3).sum(-1) == 1).all())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    z = (drawn.mean(0) - mean[0]) / (mean[0] * (1 - mean[0]) / 40_000).sqrt()
    assert z.abs().max() < 4


def test_a_sure_category_is_always_drawn():
    units = Categorical(4, 4)
    for sure in torch.eye(4):
        places = torch.tensor([-0.5 + 2**-25, 0.0, 0.5 - 2**-25]).unsqueeze(1).expand(-1, 4)
        assert torch.equal(units.pick(sure.expand(3, -1), places), sure.expand(3, -1))


def test_the_input_for_a_mean_gives_it_back():
    units = Categorical(4, 4)
    mean = torch.tensor([0.1, 0.2, 0.3, 0.4])
    torch.testing.assert_close(units.mean(units.input_for(mean)), mean)
    assert bool(units.input_for(torch.tensor([0.0, 0.0, 0.0, 1.0])).isfinite().all())


@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0, 0.0, 0.0], [-0.1, 1.0, 0.0, 0.0], [math.nan, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]],
)
def test_categorical_units_take_codes_or_probabilities(values):
    units = Categorical(4, 2)
    units.check(torch.tensor([[0.0, 1.0, 0.3, 0.7], [0.0, 0.0, 0.0, 0.0]]))  # padding is zero
    units.check(torch.empty(0, 4))
    with pytest.raises(ValueError, match="frames: categorical units are one-hot or probabilities"):
        units.check(torch.tensor([values]))


def test_categorical_units_by_name():
    assert make_units("categorical:3", 6).spec == "categorical:3"
    for spec, size in (("categorical:4", 6), ("categorical:1", 6), ("categorical:0", 6)):
        with pytest.raises(ValueError, match="expected groups of at least 2 categories, got 6"):
            make_units(spec, size)
    for spec in ("categorical", "categorical:", "categorical:x", "categorical:2.0"):
        with pytest.raises(ValueError, match=r"units: expected one of .*categorical:NUMBER"):
            make_units(spec, 6)
