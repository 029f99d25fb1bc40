"""The true likelihood of tiny TRBMs, by summing over all hidden sequences, beside mean field."""

import brute
import numpy as np
import pytest
import torch

import seqebm


def tiny(connections, order=1, seed=1, scale=0.8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = seqebm.TRBM(3, 2, order, connections=connections).double()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=scale)
    frames = torch.randint(2, (3, 3), generator=torch.Generator().manual_seed(seed)).double()
    return model, frames


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("connections", [("hh",), ("hh", "vh", "vv")])
def test_the_mean_field_bound_is_below_the_log_likelihood(connections, seed):
    """Eq. 3.6 with the filter that the model computes; the gap is what mean field loses."""
    model, frames = tiny(connections, order=1 + seed % 2, seed=seed)
    np.testing.assert_allclose(model.filter(frames[None])[0], brute.filtered(model, frames.numpy()))
    exact = np.log(brute.trbm_sequence_probability(model, frames.numpy()))
    bound = brute.trbm_bound(model, frames.numpy())
    assert bound < exact - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_without_hidden_to_hidden_connections_everything_is_exact(seed):
    """TRBM-HH: the bound, the likelihood and the library's log_prob are one number."""
    model, frames = tiny(("vh", "vv"), order=2, seed=seed)
    exact = np.log(brute.trbm_sequence_probability(model, frames.numpy()))
    np.testing.assert_allclose(brute.trbm_bound(model, frames.numpy()), exact)
    np.testing.assert_allclose(model.log_prob(frames[None]).sum().item(), exact)


def test_log_prob_on_filtered_means_is_no_bound():
    """It is another number than the likelihood, on either side of it, and says so in the docs."""
    sides = set()
    for seed in range(8):
        model, frames = tiny(("hh",), seed=seed, scale=1.5)
        exact = np.log(brute.trbm_sequence_probability(model, frames.numpy()))
        sides.add(bool(model.log_prob(frames[None]).sum().item() > exact))
    assert sides == {True, False}
