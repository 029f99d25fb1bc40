"""Scores of samples, of motions, and the Gaussian autoregression beside them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqebm.data.mocap import Joint, Motion, Preparation, Skeleton
from seqebm.evaluate import (
    GaussianAutoregression,
    MotionQuality,
    energy_score,
    energy_scores,
    foot_skate,
    joint_distance,
)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


# --- energy score ----------------------------------------------------------------------------


def test_the_energy_score_by_its_definition():
    samples = torch.randn(7, 3, 4, generator=generator())
    truth = torch.randn(3, 4, generator=generator(2))
    for row in range(3):
        far = np.mean([float((x[row] - truth[row]).norm()) for x in samples])
        pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
        apart = np.mean([float((samples[i, row] - samples[j, row]).norm()) for i, j in pairs])
        score = energy_score(samples, truth)[row].item()
        assert score == pytest.approx(far - apart / 2, rel=1e-5)


def test_the_score_of_a_normal_distribution():
    """CRPS of N(0, 1) at y in closed form (Gneiting and Raftery 2007, eq. 21)."""
    samples = torch.randn(20_000, 1, generator=generator(), dtype=torch.float64)
    for y in (0.0, 1.5):
        density = math.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)
        exact = y * math.erf(y / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)
        # blocks: pairs of all samples would be too many
        blocks = samples.view(20, 1000, 1)
        scores = [energy_score(block, torch.tensor([y]).double()).item() for block in blocks]
        assert np.mean(scores) == pytest.approx(exact, abs=4 * np.std(scores) / math.sqrt(20))


def test_the_true_distribution_scores_best():
    truth = torch.randn(4000, 2, generator=generator())
    means = {}
    for spread in (0.5, 1.0, 2.0):
        samples = spread * torch.randn(20, 4000, 2, generator=generator(2))
        means[spread] = energy_score(samples, truth).mean().item()
    assert means[1.0] < min(means[0.5], means[2.0])


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 4), (5, 3, 5), (4,)])
def test_samples_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="samples: expected"):
        energy_score(torch.zeros(shape), torch.zeros(3, 4))


def test_scores_of_continuations_at_their_horizons():
    frames = torch.randn(3, 12, 2, generator=generator())

    def noisy(prefix, length, rng):
        assert prefix.shape == (15, 4, 2)
        return prefix[:, -1:] + torch.randn(len(prefix), length, 2, generator=rng)

    scores = energy_scores({"noisy": noisy}, frames, 4, [1, 8], samples=5, generator=generator())
    drawn = noisy(frames[:, :4].repeat_interleave(5, 0), 8, generator())
    for horizon in (1, 8):
        samples = drawn[:, horizon - 1].view(3, 5, 2).transpose(0, 1)
        whole = energy_score(samples, frames[:, 3 + horizon])
        single = energy_score(samples[..., None], frames[:, 3 + horizon][..., None])
        score = scores[horizon]["noisy"]
        assert score.per_frame == pytest.approx(whole.mean().item(), rel=1e-5)
        assert score.per_frame_se == pytest.approx(whole.std().item() / 3**0.5, rel=1e-5)
        assert score.per_dim == pytest.approx(single.mean().item(), rel=1e-5)
        assert score.sequences == 3


@pytest.mark.parametrize(
    ("horizons", "samples", "match"),
    [([9], 5, "horizons: expected at most 8, got 9"), ([], 5, "horizons"), ([1], 1, "samples")],
)
def test_horizons_that_there_are_not(horizons, samples, match):
    with pytest.raises(ValueError, match=match):
        energy_scores({}, torch.zeros(3, 12, 2), 4, horizons, samples)


# --- the autoregression ----------------------------------------------------------------------


def test_the_autoregression_has_taps_and_noise_of_its_data():
    source = generator()
    first, mixing = torch.tensor([[0.9, 0.2], [-0.2, 0.7]]), torch.tensor([[1.0, 0.0], [0.5, 0.3]])
    past = [torch.zeros(300, 2)]
    for _ in range(60):
        past.append(past[-1] @ first.T + torch.randn(300, 2, generator=source) @ mixing.T)
    frames = torch.stack(past[10:], 1)
    walk = GaussianAutoregression.learn(frames, order=1)
    torch.testing.assert_close(walk.fit.taps[0].float(), first, atol=0.02, rtol=0)
    covariance = (walk.factor @ walk.factor.T).float()
    torch.testing.assert_close(covariance, mixing @ mixing.T, atol=0.03, rtol=0)
    one = walk(frames[:, :20], 1, generator())[:, 0] - frames[:, 19] @ first.T
    torch.testing.assert_close(torch.cov(one.T), mixing @ mixing.T, atol=0.3, rtol=0)


def test_a_prompt_that_is_too_short_for_the_taps():
    walk = GaussianAutoregression.learn(torch.randn(20, 30, 2, generator=generator()), order=3)
    assert walk(torch.zeros(4, 3, 2), 5).shape == (4, 5, 2)
    with pytest.raises(ValueError, match="prefix: expected 3 frames or more, got 2"):
        walk(torch.zeros(4, 2, 2), 5)


# --- motions ---------------------------------------------------------------------------------


def walker(time=40, seed=1):
    hip = Joint("hip", -1, channels=("tx", "ty", "tz", "ry", "rx"))
    skeleton = Skeleton([hip, Joint("foot", 0, (0, -8, 0), ("rx",)), Joint("toes", 1, (0, 0, 2))])
    values = np.random.default_rng(seed).normal(size=(time, 6))
    return Motion(skeleton, values, frame_rate=30)


def test_distances_are_seen_from_the_root():
    motion = walker()
    moved = Motion(motion.skeleton, motion.values + np.array([5, 6, 7, 0, 0, 0]), 30)
    assert joint_distance(motion, moved) == pytest.approx(0, abs=1e-9)
    other = walker(seed=2)
    first, second = (one.positions() - one.positions()[:, :1] for one in (motion, other))
    expected = np.sqrt(((first - second) ** 2).sum(2)).mean()
    assert joint_distance(motion, other) == pytest.approx(expected)
    with pytest.raises(ValueError, match="as many frames"):
        joint_distance(motion, walker(time=41))


def test_the_quality_of_motions_is_a_mean_over_frames():
    motions = [walker(40), walker(20, seed=2)]
    preparation = Preparation.fit(motions)
    quality, errors, distances = MotionQuality(preparation), [], []
    for motion in motions:
        clean = preparation.frames(motion)
        noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator())
        quality.add(clean, noisy)
        errors.append((clean - noisy).square().mean().item())
        distances.append(joint_distance(preparation.motion(clean), preparation.motion(noisy)))
    result = quality.result()
    assert result.frames == 60
    assert result.mse == pytest.approx((2 * errors[0] + errors[1]) / 3, rel=1e-5)
    assert result.distance == pytest.approx((2 * distances[0] + distances[1]) / 3, rel=1e-5)
    assert result.unit == "units"
    known = replace(preparation, skeleton=replace(preparation.skeleton, metres=0.01))
    metres = MotionQuality(known)
    metres.add(clean, noisy)
    assert metres.result().unit == "m"
    assert metres.result().distance == pytest.approx(0.01 * distances[1], rel=1e-5)
    with pytest.raises(ValueError, match="estimate: expected shape"):
        quality.add(clean, noisy[1:])
    with pytest.raises(ValueError, match="at least one"):
        MotionQuality(preparation).result()


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_only_feet_that_stand_can_slide(up):
    """A foot slides at 3 a second for ten frames, then is lifted and swings at 300."""
    rise, along = f"t{up}", f"t{'xyz'[('xyz'.index(up) + 1) % 3]}"
    foot = Joint("foot", -1, channels=(rise, along))
    height = np.where(np.arange(20) < 10, 0.0, 5.0)
    place = np.cumsum(np.where(np.arange(20) < 10, 0.1, 10.0))
    motion = Motion(Skeleton([foot], up=up), np.stack([height, place], 1), frame_rate=30)
    assert foot_skate(motion, ["foot"], height=1.0) == pytest.approx(3.0)
    assert foot_skate(motion, ["foot"], height=9.0) > 100


def test_feet_that_are_not_there():
    motion = walker()
    with pytest.raises(ValueError, match=r"feet: expected some of hip, foot, toes, got \['paw'\]"):
        foot_skate(motion, ["paw"], 1.0)
    with pytest.raises(ValueError, match="never near the ground"):
        foot_skate(motion, ["toes"], 1e-9)
    with pytest.raises(ValueError, match="two frames"):
        foot_skate(walker(time=1), ["toes"], 1.0)
