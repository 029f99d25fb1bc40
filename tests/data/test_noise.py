import math

import pytest
import torch

from seqebm.data import noise
from seqebm.data.noise import (
    MASKS,
    NOISES,
    dropped_frames,
    flickering_balls,
    frame_shape,
    gaussian,
    missing_boxes,
    missing_frames,
    missing_pixels,
    missing_stretch,
    occlusion_boxes,
    salt_and_pepper,
    white,
)

ALL = [*NOISES.values(), *MASKS.values()]


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def grey(*size, level=0.5):
    return torch.full(size, level)


def within_chance(count, n, share):
    """Counts of independent events: five standard deviations are crossed once in 10⁶ times."""
    return abs(count - n * share) <= 5 * (n * share * (1 - share)) ** 0.5


# ------------------------------------------------------------------------------- salt and pepper


def test_pixels_are_black_white_or_as_they_were():
    frames = torch.rand(3, 20, 100, generator=generator(2)) * 0.8 + 0.1
    noisy = salt_and_pepper(frames, 0.3, generator())
    assert noisy.shape == frames.shape
    for old, new in zip(frames.flatten().tolist(), noisy.flatten().tolist(), strict=True):
        assert new in (0.0, 1.0, old)


@pytest.mark.parametrize("strength", [0.02, 0.15, 0.5, 0.9])
def test_the_share_of_pixels_and_of_either_value(strength):
    n = 100_000
    noisy = salt_and_pepper(grey(n), strength, generator())
    white, black = int((noisy == 1).sum()), int((noisy == 0).sum())
    for count, share in (
        (white + black, strength),
        (white, strength / 2),
        (black, strength / 2),
    ):
        assert within_chance(count, n, share)


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


# -------------------------------------------------------------------------- what all have in common


@pytest.mark.parametrize("call", ALL)
@pytest.mark.parametrize("size", [(7, 25), (3, 7, 25), (2, 3, 7, 25), (0, 7, 25), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_shapes_and_types_are_kept_and_the_given_frames_too(call, size, dtype):
    frames = torch.rand(size, generator=generator(2)).to(dtype)
    before = frames.clone()
    made = call(frames, 0.5, generator())
    assert made.shape == frames.shape
    assert made.dtype == (torch.bool if call in MASKS.values() else dtype)
    if made.dtype != torch.bool and call is not white:
        assert (made >= 0).all()
        assert (made <= 1).all()
    made.zero_()
    assert torch.equal(frames, before)


@pytest.mark.parametrize("call", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_precision_gets_the_same_noise(call, dtype):
    frames = torch.rand(3, 5, 36, generator=generator(2)).bfloat16().float()
    made = call(frames.to(dtype), 0.3, generator())
    expected = call(frames, 0.3, generator())
    torch.testing.assert_close(made.float(), expected.float(), atol=0.01, rtol=0)


@pytest.mark.parametrize("call", ALL)
def test_strength_zero_leaves_everything(call):
    frames = torch.rand(3, 20, 36, generator=generator(2))
    made = call(frames, 0, generator())
    assert made.all() if made.dtype == torch.bool else torch.equal(made, frames)


@pytest.mark.parametrize("call", ALL)
def test_a_seed_decides_everything(call):
    frames = torch.rand(3, 20, 36, generator=generator(2))
    state = torch.get_rng_state()
    first, again, other = (call(frames, 0.5, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    call(frames, 0.5)
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("call", ALL)
def test_every_sequence_has_noise_of_its_own(call):
    made = call(grey(4, 400, 36), 0.5, generator())
    assert len({tuple(sequence.flatten().tolist()) for sequence in made}) == 4


def test_noises_and_masks_are_named_for_the_command_line():
    assert list(NOISES) == ["salt-and-pepper", "gaussian", "white", "balls", "boxes", "dropped"]
    assert list(MASKS) == ["pixels", "boxes", "frames", "stretch"]


# ------------------------------------------------------------------------------------- each alone


@pytest.mark.parametrize("call", [gaussian, white])
@pytest.mark.parametrize("strength", [0.01, 0.08])
def test_gaussian_noise_has_its_deviation(call, strength):
    """The variance of n numbers errs by √(2/n) of itself; five times that once in 10⁶ times."""
    n = 200_000
    added = (call(grey(n).double(), strength, generator()) - 0.5).numpy()
    assert abs(added.mean()) < 5 * strength / n**0.5
    assert abs(added.var() / strength**2 - 1) < 5 * (2 / n) ** 0.5
    assert abs((added[1:] * added[:-1]).mean()) < 5 * strength**2 / n**0.5


def test_gaussian_noise_is_clipped():
    noisy = gaussian(grey(10_000, level=1.0), 0.5, generator())
    assert within_chance(int((noisy == 1).sum()), 10_000, 0.5)
    assert noisy.min() == 0


def test_white_noise_is_not_clipped():
    noisy = white(grey(10_000, level=1.0), 0.5, generator())
    assert within_chance(int((noisy > 1).sum()), 10_000, 0.5)
    assert noisy.min() < -0.5


def one_ball(strength, n=400, time=200, seed=1):
    """Frames with a single ball each, and whether it is there."""
    noisy = flickering_balls(torch.zeros(n, time, 100), strength, generator(seed))
    return noisy, noisy.amax(-1) > 0.3  # the cell nearest to the centre of a ball has 0.42 or more


@pytest.mark.parametrize(
    ("strength", "duration"), [(0.1, 10), (0.5, 10), (0.9, 10), (0.95, 20), (1.0, math.inf)]
)
def test_balls_are_there_for_their_share_of_the_time_and_for_ten_frames(
    monkeypatch, strength, duration
):
    """Sequences are independent: five standard errors are crossed once in 10⁶ times."""
    monkeypatch.setattr(noise, "_BALLS", 1)
    _, there = one_ball(strength)
    shares = there.double().mean(1)
    assert abs(shares.mean() - strength) <= 5 * shares.std() / len(shares) ** 0.5
    assert within_chance(int(there[:, 0].sum()), 400, strength)
    could_leave = there[:, :-1]
    left = int((could_leave & ~there[:, 1:]).sum())
    assert within_chance(left, int(could_leave.sum()), 1 / duration)


def test_a_ball_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(noise, "_BALLS", 1)
    noisy, there = one_ball(0.3, n=30)
    places = set()
    for frames, some in zip(noisy, there, strict=True):
        assert (frames[~some] == 0).all()
        assert (frames[some] == frames[some][0]).all()
        places.add(tuple(frames[some][0].tolist()))
    assert len(places) == 30


def test_the_ten_balls_of_a_sequence_come_and_go_one_by_one():
    """One ball alone is 25 times as frequent as a pair of balls: ten pictures stand out."""
    noisy = flickering_balls(torch.zeros(50_000, 400), 0.01, generator())
    _, counts = noisy.unique(dim=0, return_counts=True)
    counts = counts.sort(descending=True).values
    assert counts[10] > 3 * counts[11]


def test_the_noise_of_balls_is_correlated_in_space_and_time():
    """2000 sequences: a correlation errs by less than 5 / √2000 = 0.11."""
    noisy = flickering_balls(torch.zeros(2000, 4, 900), 0.3, generator()).view(-1, 4, 30, 30)

    def correlation(a, b):
        return torch.corrcoef(torch.stack([a, b]))[0, 1].item()

    middle = noisy[:, 0, 15, 15]
    assert correlation(middle, noisy[:, 0, 15, 16]) > 0.7  # two neighbours
    assert abs(correlation(middle, noisy[:, 0, 15, 25])) < 0.11  # two balls away
    assert correlation(middle, noisy[:, 1, 15, 15]) > 0.7  # a frame later
    assert correlation(middle, noisy[:, 1, 15, 15]) > correlation(middle, noisy[:, 3, 15, 15])


def test_balls_are_added_to_what_is_there_and_clipped():
    frames = torch.rand(2, 10, 100, generator=generator(2)) * 0.9
    alone = flickering_balls(torch.zeros(2, 10, 100), 0.5, generator())
    torch.testing.assert_close(
        flickering_balls(frames, 0.5, generator()), (frames + alone).clamp(max=1)
    )


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_balls_in_long_frames_are_round_and_everywhere(monkeypatch, shape):
    """The mean of n uniform places errs by side / √(12 n); five times that once in 10⁶ times."""
    monkeypatch.setattr(noise, "_BALLS", 1)
    noisy = flickering_balls(torch.zeros(2000, 1, 800), 1.0, generator(), shape)
    images = (noisy > 0.5).view(-1, *shape)
    ends = []
    for axis in (1, 2):
        lit = images.any(3 - axis).int()
        first, last = lit.argmax(1), shape[axis - 1] - 1 - lit.flip(1).argmax(1)
        ends.append((first, last))
        centre = ((first + last) / 2).mean()
        assert abs(centre - (shape[axis - 1] - 1) / 2) < 5 * shape[axis - 1] / (12 * 2000) ** 0.5
    inside = [
        (first > 0) & (last < size - 1) for (first, last), size in zip(ends, shape, strict=True)
    ]
    heights, widths = (last - first + 1 for first, last in ends)
    whole = inside[0] & inside[1]
    assert whole.sum() > 500
    assert (heights - widths)[whole].abs().max() <= 1
    assert (heights[whole] - 2 * 0.072 * 40 * math.log(2) ** 0.125).abs().max() < 1.2


@pytest.mark.parametrize("strength", [0.01, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(20, 20), (10, 40), (1, 400)])
def test_a_box_is_one_rectangle_of_its_area(strength, shape):
    observed = missing_boxes(grey(5, 30, 400), strength, generator(), shape)
    hidden = ~observed.view(-1, *shape)
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert (hidden.sum((1, 2)) == rows * columns).all()
    for lit in (hidden.any(2), hidden.any(1)):  # without gaps
        assert (lit.int().diff(dim=1) == 1).sum(1).max() <= 1
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == 1
    assert abs(int(rows[0] * columns[0]) - strength * 400) <= rows[0] / 2


def test_a_box_jumps_once_in_ten_frames_to_any_place():
    """36 places of a 5 x 5 box in 10 x 10: five standard deviations of each count."""
    observed = missing_boxes(grey(2000, 50, 100), 0.25, generator())
    hidden = ~observed
    changes = int((hidden[:, 1:] != hidden[:, :-1]).any(-1).sum())
    assert within_chance(changes, 2000 * 49, 0.1 * 35 / 36)
    _, counts = hidden[:, 0].unique(dim=0, return_counts=True)
    assert len(counts) == 36
    assert all(within_chance(count, 2000, 1 / 36) for count in counts.tolist())


@pytest.mark.parametrize("strength", [0.05, 0.6])
def test_pixels_and_frames_are_missing_with_their_probability(strength):
    pixels = missing_pixels(grey(100, 100, 9), strength, generator())
    assert within_chance(int((~pixels).sum()), 90_000, strength)
    frames = missing_frames(grey(100, 100, 9), strength, generator())
    assert (frames.all(-1) == frames.any(-1)).all()
    assert within_chance(int((~frames[..., 0]).sum()), 10_000, strength)


@pytest.mark.parametrize("strength", [0.1, 0.34, 0.9])
def test_a_stretch_is_missing_once_and_begins_anywhere(strength):
    observed = missing_stretch(grey(2000, 10, 3), strength, generator())
    assert (observed.all(-1) == observed.any(-1)).all()
    length = round(10 * strength)
    assert ((~observed[..., 0]).sum(1) == length).all()
    starts = (~observed[..., 0]).int().argmax(1)
    one_run = torch.arange(10) - starts[:, None]
    assert torch.equal(~observed[..., 0], (one_run >= 0) & (one_run < length))
    counts = starts.bincount(minlength=11 - length).tolist()
    assert len(counts) == 11 - length
    assert all(within_chance(count, 2000, 1 / len(counts)) for count in counts)


@pytest.mark.parametrize("call", [missing_pixels, missing_boxes, missing_frames, missing_stretch])
def test_at_full_strength_nothing_is_observed(call):
    assert not call(grey(3, 20, 25), 1, generator()).any()


@pytest.mark.parametrize(
    ("spoil", "mask"), [(occlusion_boxes, missing_boxes), (dropped_frames, missing_frames)]
)
def test_what_is_missing_is_black(spoil, mask):
    frames = torch.rand(3, 40, 24, generator=generator(2)) + 0.1
    noisy = spoil(frames, 0.4, generator(), (4, 6))
    observed = mask(frames, 0.4, generator(), (4, 6))
    assert torch.equal(noisy != 0, observed)
    assert torch.equal(noisy[observed], frames[observed])


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("call", [c for c in ALL if c not in (gaussian, white)])
@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_strength_is_a_share(call, strength):
    with pytest.raises(ValueError, match=f"^strength: expected .* 0 to 1, got {strength}$"):
        call(grey(3, 4), strength)


@pytest.mark.parametrize("strength", [-0.01, float("nan"), float("inf")])
@pytest.mark.parametrize("call", [gaussian, white])
def test_a_deviation_is_finite(call, strength):
    with pytest.raises(ValueError, match=f"^strength: expected .* at least 0, got {strength}$"):
        call(grey(3, 4), strength)


@pytest.mark.parametrize("call", [c for c in ALL if c not in (gaussian, white, salt_and_pepper)])
def test_a_frame_alone_is_no_sequence(call):
    with pytest.raises(ValueError, match=r"^frames: expected \[..., time, visible\], .* \[4\]$"):
        call(grey(4), 0.5)


@pytest.mark.parametrize("call", [c for c in ALL if c is not salt_and_pepper])
def test_whole_numbers_are_refused(call):
    with pytest.raises(TypeError, match=r"^frames: .* got torch.int64$"):
        call(grey(3, 4).long(), 0.5)


@pytest.mark.parametrize("call", [flickering_balls, occlusion_boxes, missing_boxes])
@pytest.mark.parametrize(
    ("visible", "shape"), [(5, None), (0, None), (4, (2, 3)), (4, (-2, -2)), (4, (4,)), (0, (0, 3))]
)
def test_frames_have_the_shape_that_is_said(call, visible, shape):
    with pytest.raises(ValueError, match=rf"^shape: expected .* {visible} pixels.*, got "):
        call(grey(3, visible), 0.5, None, shape)


def test_the_shape_of_frames():
    assert frame_shape(900, None) == (30, 30)
    assert frame_shape(900, (9, 100)) == (9, 100)
