import math

import pytest
import torch

from seqebm.data import BallVideos, bouncing_balls, bouncing_balls_positions, render_balls
from seqebm.data.balls import _simulate


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def loop_simulation(x, v, length, radius, mass, box):
    """One sequence, plain Python lists, as the 2008 generator is described."""
    frames = []
    balls = range(len(x))
    for _ in range(length):
        frames.append([list(centre) for centre in x])
        for _ in range(2):
            for i in balls:
                x[i] = [x[i][0] + 0.5 * v[i][0], x[i][1] + 0.5 * v[i][1]]
            for i in balls:
                for axis in (0, 1):
                    if x[i][axis] - radius[i] < 0:
                        v[i][axis] = abs(v[i][axis])
                    if x[i][axis] + radius[i] > box:
                        v[i][axis] = -abs(v[i][axis])
            for i in balls:
                for j in range(i):
                    dx, dy = x[i][0] - x[j][0], x[i][1] - x[j][1]
                    distance = math.hypot(dx, dy)
                    if distance < radius[i] + radius[j]:
                        w = (dx / distance, dy / distance)
                        v_i = w[0] * v[i][0] + w[1] * v[i][1]
                        v_j = w[0] * v[j][0] + w[1] * v[j][1]
                        total = mass[i] + mass[j]
                        new_j = (2 * mass[i] * v_i + v_j * (mass[j] - mass[i])) / total
                        new_i = new_j + (v_j - v_i)
                        for axis in (0, 1):
                            v[i][axis] += w[axis] * (new_i - v_i)
                            v[j][axis] += w[axis] * (new_j - v_j)
    return torch.tensor(frames, dtype=torch.float64)


def loop_render(centres, resolution, radius, box):
    image = []
    for row in range(resolution):
        for column in range(resolution):
            i, j = (column + 0.5) / resolution * box, (row + 0.5) / resolution * box
            value = 0.0
            for (x, y), r in zip(centres.tolist(), radius, strict=True):
                value += math.exp(-((((i - x) ** 2 + (j - y) ** 2) / r**2) ** 4))
            image.append(min(1.0, value))
    return torch.tensor(image)


@pytest.mark.parametrize(
    ("radius", "mass"), [([1.2, 1.2, 1.2], [1.0, 1.0, 1.0]), ([0.7, 1.2, 1.9], [0.5, 1.0, 4.0])]
)
def test_the_dynamics_equal_a_plain_loop(radius, mass):
    generator = seeded(1)
    x = bouncing_balls_positions(4, 1, radius=radius, mass=mass, generator=generator)[:, 0]
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64) * 0.3
    length = 40
    found = _simulate(x, v, length, torch.tensor(radius), torch.tensor(mass), 10.0)
    for one, x_0, v_0 in zip(found, x.tolist(), v.tolist(), strict=True):
        # one rounding error grows at every collision, so no exact equality
        expected = loop_simulation(x_0, v_0, length, radius, mass, 10.0)
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)


def test_collisions_conserve_energy_and_momentum():
    mass = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    radius = torch.full((3,), 1.2, dtype=torch.float64)
    x = 500 + bouncing_balls_positions(50, 1, generator=seeded(2))[:, 0]
    v = torch.randn(x.shape, generator=seeded(3), dtype=torch.float64) * 0.2
    frames = _simulate(x, v, 20, radius, mass, 1000.0)  # the walls are far away
    steps = frames.diff(dim=1)
    bounced = (steps[:, 1:] - steps[:, :-1]).norm(dim=-1) > 1e-9
    free = ~bounced.any(-1)[:, -1]  # both half steps of the last frame had the same velocities
    assert bounced.any(-1).any(1).float().mean() > 0.5
    assert free.sum() > 20
    last = steps[free, -1]
    torch.testing.assert_close(
        (mass[:, None] * last).sum(1), (mass[:, None] * v[free]).sum(1), rtol=0, atol=1e-12
    )
    energy = (mass * last.square().sum(-1)).sum(1)
    torch.testing.assert_close(energy, (mass * v[free].square().sum(-1)).sum(1))


def test_first_frames_fit_and_speeds_have_norm_a_half():
    positions = bouncing_balls_positions(300, 2, generator=seeded(4))
    first = positions[:, 0]
    assert first.min() >= 2.0  # the literal range, not the wall at 1.2
    assert first.max() <= 10 - 1.2
    gaps = torch.stack(
        [(first[:, i] - first[:, j]).norm(dim=-1) for i, j in [(1, 0), (2, 0), (2, 1)]]
    )
    assert gaps.min() >= 2.4
    speed = (positions[:, 1] - first).norm(dim=(1, 2))
    assert (speed - 0.5).abs().median() < 1e-12  # most sequences meet nothing in the first frame


def test_balls_stay_inside_up_to_half_a_step():
    radius = [0.5, 1.0, 1.5]
    positions = bouncing_balls_positions(100, 100, radius=radius, generator=seeded(5))
    steps = positions.diff(dim=1).abs().amax()
    r = torch.tensor(radius)[:, None]
    assert (positions - r).min() > -steps
    assert (positions + r).max() < 10 + steps


def test_walls_let_a_ball_come_back():
    x = torch.tensor([[[9.9, 0.3]]], dtype=torch.float64)  # beyond two walls, on the way inwards
    v = torch.tensor([[[-0.1, 0.1]]], dtype=torch.float64)
    radius = mass = torch.ones(1, dtype=torch.float64)
    frames = _simulate(x, v, 12, radius, mass, 10.0)
    expected = x[:, None] + v[:, None] * torch.arange(12.0).view(1, 12, 1, 1)
    torch.testing.assert_close(frames, expected)


def test_one_ball_moves_on_a_line():
    frames = bouncing_balls_positions(1, 5, balls=1, radius=0.001, generator=seeded(6))
    torch.testing.assert_close(frames[:, 2] - frames[:, 1], frames[:, 1] - frames[:, 0])


def test_another_box_scales_the_start():
    positions = bouncing_balls_positions(200, 1, radius=0.1, box=1.0, generator=seeded(7))
    assert positions.dtype == torch.float64
    assert 0.2 <= positions.min() < 0.25
    assert 0.85 < positions.max() <= 0.9


def test_seeds_are_reproducible():
    first, again, other = (bouncing_balls(2, 5, generator=seeded(s)) for s in (8, 8, 9))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(2, 3, 3, 2), (3, 2)])
def test_pixels_equal_a_plain_loop(shape):
    positions = torch.rand(shape, generator=seeded(10), dtype=torch.float64) * 7 - 0.5
    radius = [0.5, 1.0, 1.5]
    images = render_balls(positions, resolution=11, radius=radius, box=6.0)
    assert images.shape == (*shape[:-2], 121)
    assert images.dtype == torch.float32
    for image, centres in zip(images.reshape(-1, 121), positions.reshape(-1, 3, 2), strict=True):
        expected = loop_render(centres, 11, radius, 6.0)
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-6)


def test_overlapping_balls_are_clipped_to_white():
    centres = torch.tensor([[5.0, 5.0], [5.5, 5.0]])
    assert render_balls(centres).max() == 1.0


def test_columns_are_the_first_axis():
    image = render_balls(torch.tensor([[8.0, 2.0]])).view(30, 30)
    assert image[6, 24] > 0.99
    assert image[24, 6] == 0


def test_rendering_does_not_depend_on_the_blocks():
    positions = bouncing_balls_positions(3, 100, generator=seeded(11))
    together = render_balls(positions)
    assert torch.equal(together[1], render_balls(positions[1]))
    assert render_balls(positions[:0]).shape == (0, 100, 900)


@pytest.fixture(scope="module")
def test_set():
    return bouncing_balls(200, 100, generator=seeded(12))


def summed_error(prediction, videos):
    return (prediction - videos)[:, 1:].square().sum(-1).mean().item()


def test_yardsticks_of_the_published_protocol(test_set):
    copied = torch.cat([test_set[:, :1], test_set[:, :-1]], dim=1)
    linear = copied.clone()
    linear[:, 2:] = (2 * test_set[:, 1:-1] - test_set[:, :-2]).clamp(0, 1)
    assert summed_error(copied, test_set) == pytest.approx(11.82, abs=0.15)
    assert summed_error(linear, test_set) == pytest.approx(6.82, abs=0.15)
    assert summed_error(test_set.mean((0, 1)), test_set) == pytest.approx(74.9, abs=0.6)
    assert summed_error(torch.zeros(900), test_set) == pytest.approx(93.16, abs=0.6)


def test_training_set_is_a_function_of_the_step():
    def make():
        return BallVideos(3, seed=1, length=4, resolution=5, chunk=4)

    in_order = make()
    frames = [in_order(step) for step in range(6)]
    assert frames[0].shape == (3, 4, 25)
    other = make()
    for step in (5, 0, 3, 3, 1, 4, 2):
        assert torch.equal(other(step), frames[step])
    videos = torch.cat(frames)
    assert len({tuple(video.flatten().tolist()) for video in videos}) == len(videos)


def test_training_set_does_not_depend_on_the_batch():
    def videos(batch, steps):
        data = BallVideos(batch, seed=2, length=3, resolution=5, chunk=3)
        return torch.cat([data(step) for step in range(steps)])

    assert torch.equal(videos(1, 8), videos(4, 2))
    assert torch.equal(videos(8, 1), videos(4, 2))


def test_seeds_and_chunks_give_other_videos():
    one, two = (BallVideos(2, seed=seed, length=3, chunk=2) for seed in (0, 1))
    assert not torch.equal(one(0), two(0))
    assert not torch.equal(one(0), one(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"length": 2.5}, "length must be"),
        ({"balls": -1}, "balls must be"),
        ({"radius": -1.0}, "radius must be positive"),
        ({"radius": [1.0, 1.0]}, "one number or 3"),
        ({"mass": 0.0}, "mass must be positive"),
        ({"mass": [1.0, math.inf, 1.0]}, "mass must be positive"),
        ({"box": math.nan}, "box must be positive"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        bouncing_balls_positions(**{"n": 1, **settings})


def test_balls_that_cannot_fit_are_refused():
    with pytest.raises(ValueError, match="use fewer or smaller balls"):
        bouncing_balls_positions(2, balls=2, radius=4.0)


@pytest.mark.parametrize("shape", [(2,), (3, 3), (1, 0, 2)])
def test_bad_positions_are_refused(shape):
    with pytest.raises(ValueError, match="positions must be"):
        render_balls(torch.zeros(shape))


def test_bad_resolutions_are_refused():
    with pytest.raises(ValueError, match="resolution must be"):
        render_balls(torch.zeros(1, 2), resolution=0)


@pytest.mark.parametrize("settings", [{"batch": 0}, {"seed": -1}, {"chunk": 0}, {"resolution": 0}])
def test_bad_training_sets_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        BallVideos(**{"batch": 1, "seed": 0, **settings})


def test_negative_steps_are_refused():
    with pytest.raises(ValueError, match="step must be"):
        BallVideos(1, seed=0)(-1)
