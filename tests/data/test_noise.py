import pytest
import torch

from seqebm.data.noise import salt_and_pepper


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def grey(*size, level=0.5):
    return torch.full(size, level)


def test_pixels_are_black_white_or_as_they_were():
    frames = torch.rand(3, 20, 100, generator=generator(2)) * 0.8 + 0.1
    noisy = salt_and_pepper(frames, 0.3, generator())
    assert noisy.shape == frames.shape
    for old, new in zip(frames.flatten().tolist(), noisy.flatten().tolist(), strict=True):
        assert new in (0.0, 1.0, old)


@pytest.mark.parametrize("strength", [0.02, 0.15, 0.5, 0.9])
def test_the_share_of_pixels_and_of_either_value(strength):
    """Counts of 10⁵ independent pixels: five standard deviations are crossed once in 10⁶ times."""
    n = 100_000
    noisy = salt_and_pepper(grey(n), strength, generator())
    white, black = int((noisy == 1).sum()), int((noisy == 0).sum())
    for count, share in (
        (white + black, strength),
        (white, strength / 2),
        (black, strength / 2),
    ):
        assert abs(count - n * share) < 5 * (n * share * (1 - share)) ** 0.5


def test_neighbouring_pixels_are_hit_independently():
    hit = salt_and_pepper(grey(100_000), 0.5, generator()) != 0.5
    both = int((hit[1:] & hit[:-1]).sum())
    assert abs(both - 25_000) < 5 * (100_000 * 5 / 16) ** 0.5  # neighbouring pairs share a pixel


def test_strength_zero_changes_nothing_and_strength_one_everything():
    frames = torch.rand(4, 5, 6, generator=generator(2)) * 0.8 + 0.1
    assert torch.equal(salt_and_pepper(frames, 0.0, generator()), frames)
    assert salt_and_pepper(frames, 1.0, generator()).unique().tolist() == [0.0, 1.0]
    assert salt_and_pepper(frames, 1, generator()).unique().tolist() == [0.0, 1.0]


def test_the_given_frames_are_left_as_they_are():
    frames = grey(5, 100)
    noisy = salt_and_pepper(frames, 0.5, generator())
    assert torch.equal(frames, grey(5, 100))
    noisy.zero_()
    assert torch.equal(frames, grey(5, 100))


def test_the_generator_is_the_only_source_of_randomness():
    state = torch.get_rng_state()
    first, second = (salt_and_pepper(grey(3, 50), 0.5, generator()) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, salt_and_pepper(grey(3, 50), 0.5, generator(2)))
    assert torch.equal(torch.get_rng_state(), state)
    salt_and_pepper(grey(3, 50), 0.5)
    assert not torch.equal(torch.get_rng_state(), state)


def test_frames_differ_from_each_other():
    noisy = salt_and_pepper(grey(4, 50), 0.5, generator())
    assert len({tuple(frame.tolist()) for frame in noisy}) == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_any_precision_is_kept_and_hit_alike(dtype):
    plain = salt_and_pepper(grey(20_000), 0.25, generator())
    noisy = salt_and_pepper(grey(20_000).to(dtype), 0.25, generator())
    assert noisy.dtype == dtype
    assert torch.equal(noisy.float(), plain)


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf")])
def test_the_strength_is_a_share(strength):
    with pytest.raises(ValueError, match=f"^strength: expected .* 0 to 1, got {strength}$"):
        salt_and_pepper(grey(3), strength)
