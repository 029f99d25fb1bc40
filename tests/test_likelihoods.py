import math

import pytest
import torch
from torch import nn

import seqebm
from seqebm import likelihood
from seqebm.evaluate import brackets, difference, likelihoods, nats_per_frame, next_frames
from seqebm.likelihood import Bracket, known


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def model(scale=0.5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = seqebm.RTRBM(5, 4).double()
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=scale)
    return made


LENGTHS = torch.tensor([7, 1, 4, 7])


def frames():
    return (torch.rand(4, 7, 5, generator=generator()) > 0.5).double()


def test_every_frame_counts_as_much():
    log_p = model().log_prob(frames(), LENGTHS).detach()
    found = nats_per_frame(known(log_p), LENGTHS)
    assert found.estimate == pytest.approx(float(log_p.sum()) / 19)
    assert found.lower == found.upper == found.estimate
    assert (found.frames, found.sequences, found.untrusted, found.effective) == (19, 4, 0, 1.0)
    assert found.good


def test_what_is_in_the_padding_does_not_count():
    log_p = model().log_prob(frames(), LENGTHS).detach()
    inside = torch.arange(7) < LENGTHS.unsqueeze(1)
    dirty = known(log_p.masked_fill(~inside, 99.0))._replace(effective=inside.double())
    assert nats_per_frame(dirty, LENGTHS) == nats_per_frame(known(log_p), LENGTHS)


def test_the_errors_of_frames_average_out():
    one = torch.ones(10, 40)
    found = Bracket(-5.1 * one, -5 * one, -4.9 * one, 0.2 * one, 0.4 * one, one)
    mean = nats_per_frame(found)
    assert mean.lower == pytest.approx(-5.1 - 3 * 0.2 / 20)
    assert mean.upper == pytest.approx(-4.9 + 3 * 0.4 / 20)


def test_the_bootstrap_finds_the_standard_error_of_a_mean():
    values = torch.randn(400, 3, generator=generator()).double()
    found = nats_per_frame(known(values))
    expected = values.mean(1).std() / math.sqrt(400)
    assert found.error == pytest.approx(float(expected), rel=0.08)
    assert math.isnan(nats_per_frame(known(values[:1])).error)


def test_a_mean_is_good_where_hardly_any_frame_is_bad():
    one = torch.ones(10, 40)
    effective = one.clone()
    effective.view(-1)[:4] = 0.05
    assert nats_per_frame(known(one)._replace(effective=effective)).good
    effective.view(-1)[:5] = 0.05
    found = nats_per_frame(known(one)._replace(effective=effective))
    assert (found.good, found.untrusted) == (False, 5)
    assert found.effective == pytest.approx(0.05)


def test_models_are_compared_frame_by_frame():
    """Sequences differ by far more than the models do."""
    base = 10 * torch.randn(50, 1, generator=generator()).expand(50, 6)
    gain = 0.3 + 0.01 * torch.randn(50, 6, generator=generator(2))
    found = difference(known(base + gain), known(base))
    assert found.mean == pytest.approx(float(gain.mean()), abs=1e-5)
    assert 0.0003 < found.error < 0.001
    assert nats_per_frame(known(base)).error > 1


def test_brackets_of_other_frames_are_not_compared():
    with pytest.raises(ValueError, match=r"other: expected the shape \[2, 3\] .* got \[2, 4\]"):
        difference(known(torch.zeros(2, 3)), known(torch.zeros(2, 4)))


def test_brackets_some_sequences_at_a_time(monkeypatch):
    made, exact = model(), model().log_prob(frames(), LENGTHS).detach()
    monkeypatch.setattr(likelihoods, "BLOCK_FRAMES", 5)
    calls = []
    original = likelihood.bracket

    def counting(*arguments, **options):
        calls.append(arguments[1].shape)
        return original(*arguments, **options)

    monkeypatch.setattr(likelihood, "bracket", counting)
    found = brackets(made, frames(), LENGTHS, generator(), runs=30, temperatures=50)
    assert len(calls) == 4
    assert found.estimate.shape == (4, 7)
    assert bool((found.lower <= exact).all() & (exact <= found.upper).all())


def test_samples_of_the_next_frame_know_the_true_past():
    made = model(1.5)
    one = frames()[:1]
    drawn = next_frames(made, one.expand(20_000, -1, -1), None, generator())
    expected = made.predict(one)[0]
    z = (drawn.mean(0) - expected) / (expected * (1 - expected) / 20_000).sqrt()
    assert z.abs().max() < 4.5


def test_samples_in_the_padding_are_zero():
    drawn = next_frames(model(), frames(), LENGTHS, generator())
    assert not drawn[1, 1:].any()
    static = next_frames(seqebm.RBM(5, 4), frames().float(), LENGTHS, generator())
    assert static.shape == (4, 7, 5)


def test_malformed_arguments_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        brackets(model(), frames(), torch.tensor([8, 1, 1, 1]))
