import pytest
import torch

import seqebm
from seqebm.cells import make_cell
from seqebm.models.mixture import Mixture, MixtureDensity, make_mixture


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def mixture(rows=1):
    means = torch.tensor([[-2.0, 1.0], [3.0, 0.0], [0.0, -4.0]])
    sigmas = torch.tensor([[0.5, 1.0], [0.2, 2.0], [1.0, 0.3]])
    logits = torch.tensor([0.5, 0.2, 0.3]).log()
    return Mixture(means.expand(rows, -1, -1), sigmas.expand(rows, -1, -1), logits.expand(rows, -1))


def torchs():
    own = mixture()
    parts = torch.distributions.Independent(
        torch.distributions.Normal(own.means[0], own.sigmas[0]), 1
    )
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=own.logits[0]), parts
    )


def test_log_prob_and_mean_are_those_of_torch():
    frames = torch.randn(7, 2, generator=generator())
    torch.testing.assert_close(mixture(7).log_prob(frames, "exact"), torchs().log_prob(frames))
    torch.testing.assert_close(mixture().mean("auto", None)[0], torchs().mean)


def test_samples_have_the_moments_of_the_mixture():
    n = 40_000
    samples, means = mixture(n).sample(generator())
    expected = torchs()
    z = (samples.mean(0) - expected.mean) / (expected.variance / n).sqrt()
    assert z.abs().max() < 4.5
    torch.testing.assert_close(samples.var(0), expected.variance, rtol=0.05, atol=0)
    product = float(expected.mixture_distribution.probs @ mixture().means[0].prod(1))
    assert float(samples.prod(1).mean()) == pytest.approx(product, abs=0.1)
    shares = (means[:, :1] == mixture().means[0, :, 0]).float().mean(0)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.3]), atol=0.015, rtol=0)


def test_what_is_known_tells_the_component():
    """By Bayes' rule, written out."""
    known = torch.tensor([[2.9, torch.nan]])
    p = [0.5 * normal(2.9, -2, 0.5), 0.2 * normal(2.9, 3, 0.2), 0.3 * normal(2.9, 0, 1.0)]
    weights = torch.tensor(p) / sum(p)
    filled = mixture().fill(known)
    assert filled[0, 0] == known[0, 0]
    torch.testing.assert_close(filled[0, 1], weights @ torch.tensor([1.0, 0.0, -4.0]))
    many = known.expand(20_000, -1)
    samples, _ = mixture(20_000).sample(generator(), many)
    assert (samples[:, 0] == 2.9).all()
    squares = torch.tensor([1.0, 2.0, 0.3]) ** 2 + torch.tensor([1.0, 0.0, 16.0])
    spread = float(weights @ squares - filled[0, 1] ** 2)
    assert abs(samples[:, 1].mean() - filled[0, 1]) < 4.5 * (spread / 20_000) ** 0.5


def normal(x, mean, sigma):
    return float(torch.distributions.Normal(mean, sigma).log_prob(torch.tensor(x)).exp())


def test_the_spread_depends_on_the_past_and_has_a_floor():
    density = MixtureDensity(1, 1)
    x = torch.tensor([[0.0, 2.0, -50.0, 0.0], [0.0, 2.0, 1.0, 0.0]])
    found = density(x)
    torch.testing.assert_close(found.sigmas.flatten(), torch.tensor([1e-3, 1e-3 + torch.e]))
    assert found.means.flatten().tolist() == [2.0, 2.0]


def test_training_finds_two_modes():
    """Frames are −1 or 1 as if by a coin: their mean, 0, is what never comes."""
    frames = (torch.rand(64, 10, 1, generator=generator()) > 0.5).float() * 2 - 1
    frames = frames + 0.05 * torch.randn(frames.shape, generator=generator(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = seqebm.RNN(make_cell("gru", 1, 4), "mixture:2")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    seqebm.fit(model, frames, steps=200, optimizer=optimizer, generator=generator())
    entropy = 0.6931 + float(torch.distributions.Normal(0, 0.05).entropy())
    assert model.loss(frames).item() == pytest.approx(entropy, abs=0.1)
    samples = model.sample(10, batch=100, generator=generator())
    assert ((samples.abs() - 1).abs() < 0.3).float().mean() > 0.98


def test_a_run_of_the_command_can_have_one(tmp_path):
    model = seqebm.RNN(make_cell("lstm", 3, 4), "mixture:2")
    model.start_at(torch.tensor([1.0, 2.0, 3.0]))
    assert model.readout.bias[:3].tolist() == [1.0, 2.0, 3.0]
    seqebm.save(model, tmp_path / "model.h5")
    frames = torch.randn(2, 3, 3, generator=generator())
    loaded = seqebm.load(tmp_path / "model.h5")
    torch.testing.assert_close(loaded.log_prob(frames), model.log_prob(frames))


@pytest.mark.parametrize("spec", ["mixture", "mixture:", "mixture:-1", "mixtures:2"])
def test_bad_names(spec):
    with pytest.raises(ValueError, match="conditional: expected mixture:COMPONENTS, got"):
        make_mixture(spec, 3)


def test_no_components():
    with pytest.raises(ValueError, match="components: expected at least 1, got 0"):
        make_mixture("mixture:0", 3)
