import math

import pytest
import torch
from torch import nn

import seqebm
from seqebm import likelihood
from seqebm.evaluate import (
    brackets,
    difference,
    likelihoods,
    nats_per_frame,
    next_frames,
    refined_nats,
    some_frames,
)
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
    one = torch.ones(10, 40).double()
    errors = one + torch.rand(10, 40, generator=generator()) / 1e9
    found = Bracket(-5.1 * one, -5 * one, -4.9 * one, 0.2 * errors, 0.4 * errors, one)
    mean = nats_per_frame(found)
    assert mean.lower == pytest.approx(-5.1 - 3 * 0.2 / 20)
    assert mean.upper == pytest.approx(-4.9 + 3 * 0.4 / 20)


def test_the_error_of_one_machine_does_not_average_out_over_its_frames():
    """log Z of a static RBM is one number, whose annealing errs in all frames alike."""
    made = seqebm.RBM(6, 5).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=2.0, generator=generator())
    images = (torch.rand(1, 400, 6, generator=generator()) > 0.5).double()
    exact, outside = float(made.log_prob(images).detach().mean()), 0
    for seed in range(40):
        found = nats_per_frame(
            likelihood.bracket(made, images, None, generator(seed), runs=10, temperatures=5)
        )
        outside += not found.lower <= exact <= found.upper
    assert outside <= 1


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


def test_only_chosen_frames_are_drawn():
    made, chosen = model(), some_frames(LENGTHS, 5, generator())
    made.visible_bias.data.fill_(20.0)
    drawn = next_frames(made, frames(), LENGTHS, generator(), chosen)
    assert (drawn != 0).any(2).equal(chosen)


def test_malformed_arguments_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        brackets(model(), frames(), torch.tensor([8, 1, 1, 1]))


# --- a few frames annealed long --------------------------------------------------------------


def test_bounds_of_chosen_frames_are_those_of_the_whole():
    """Not the numbers, whose runs are drawn in another order, but the exact values inside."""
    made = model()
    chosen = some_frames(LENGTHS, 6, generator())
    found = brackets(made, frames(), LENGTHS, generator(), chosen=chosen, runs=50, temperatures=80)
    exact = made.log_prob(frames(), LENGTHS, method="exact").detach()
    picked = chosen & (exact != 0)
    assert int(picked.sum()) == 6
    assert bool((found.lower <= exact + 1e-6)[picked].all())
    assert bool((found.upper >= exact - 1e-6)[picked].all())
    assert all(not bool(entry[~chosen].any()) for entry in found[:5])


def test_nothing_chosen_in_some_sequences():
    chosen = torch.zeros(4, 7, dtype=torch.bool)
    chosen[0, 0] = True
    found = brackets(model(), frames(), LENGTHS, generator(), chosen=chosen, temperatures=20)
    assert found.estimate.shape == (4, 7)
    assert int((found.estimate != 0).sum()) == 1


@pytest.mark.parametrize("count", [20, 200, 1500])
def test_refined_means_hold_the_truth(count):
    """Rough values that are wrong by 2 on average and by 0.5 from frame to frame."""
    inside, width = 0, 0.0
    for seed in range(200):
        source = generator(seed)
        truth = -5 + 3 * torch.randn(40, 50, generator=source, dtype=torch.float64)
        error = 2 + 0.5 * torch.randn(truth.shape, generator=source, dtype=torch.float64)
        chosen = some_frames(torch.full((40,), 50), count, source)
        fine = known(torch.where(chosen, truth, 0.0))
        found = refined_nats(known(truth + error), fine, chosen)
        inside += found.lower <= float(truth.mean()) <= found.upper
        width += (found.upper - found.lower) / 200
    assert inside >= 196  # of a mean of 20 about one in 140 is more than three errors away
    assert width == pytest.approx(6 * 0.5 * ((1 - count / 2000) / count) ** 0.5, rel=0.05)


def test_refining_all_frames_is_measuring_them():
    values = torch.randn(3, 4, generator=generator(), dtype=torch.float64)
    fine = known(values)._replace(
        from_model=values - 0.1,
        from_base=values + 0.2,
        lower_error=torch.full((3, 4), 0.3).double(),
    )
    everything = torch.ones(3, 4, dtype=torch.bool)
    found, expected = refined_nats(known(values + 1), fine, everything), nats_per_frame(fine)
    assert found == pytest.approx(expected)


def test_some_frames_are_any_frames():
    lengths = torch.tensor([3, 1, 5])
    counts = torch.zeros(3, 5)
    for seed in range(600):
        chosen = some_frames(lengths, 3, generator(seed))
        assert int(chosen.sum()) == 3
        counts += chosen
    there = torch.arange(5) < lengths[:, None]
    assert not bool(counts[~there].any())
    assert ((counts[there] - 200) / (200 * 2 / 3) ** 0.5).abs().max() < 4
    assert torch.equal(some_frames(lengths, 99), there)


def test_bad_choices():
    with pytest.raises(ValueError, match=r"chosen: expected torch.bool \[4, 7\], got .*\[4, 8\]"):
        model().conditionals(frames(), LENGTHS, torch.ones(4, 8, dtype=torch.bool))
    one = known(torch.zeros(2, 3).double())
    few = torch.zeros(2, 3, dtype=torch.bool)
    few[0, 0] = True
    with pytest.raises(ValueError, match="chosen: expected at least 2 frames, got 1"):
        refined_nats(one, one, few)
