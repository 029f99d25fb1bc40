"""Denoisers against explicit loops, and on data of which the best estimate is known."""

import math

import numpy as np
import pytest
import torch

from seqebm import evaluate
from seqebm.evaluate import (
    PENALTIES,
    KalmanDenoiser,
    LinearDenoiser,
    TemporalMedian,
    denoisers,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*size, seed=0):
    return torch.randn(size, generator=generator(seed), dtype=torch.float64)


def linear_gaussian(n, time, seed=0, noise=1.0):
    """Two rotating, damped coordinates seen in six dimensions, far from the origin; and noise."""
    angle = 0.3
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ).double()
    x = normal(n, time + 50, 2, seed=seed)
    for t in range(1, time + 50):
        x[:, t] += 0.95 * x[:, t - 1] @ turn.T
    clean = x[:, 50:] @ normal(2, 6, seed=99) + 10
    return clean + noise * normal(n, time, 6, seed=seed + 1), clean


def error(denoise, noisy, clean):
    return (denoise(noisy) - clean).square().mean().item()


# ------------------------------------------------------------------------------- temporal median


@pytest.mark.parametrize("window", [1, 2, 3, 5, 20])
def test_the_median_equals_numpy(window):
    frames = normal(3, 9, 4)
    expected = [
        np.median(frames[:, max(0, t - window + 1) : t + 1].numpy(), axis=1) for t in range(9)
    ]
    np.testing.assert_array_equal(TemporalMedian(window)(frames), np.stack(expected, 1))


# ------------------------------------------------------------------------------------ regression


def design(noisy, clean, order, longest):
    """Noisy frames [rows, order * visible] and clean targets, where `longest` frames are there."""
    pairs = [
        (np.concatenate([v[t - n] for n in range(order)]), c[t])
        for v, c in zip(noisy.numpy(), clean.numpy(), strict=True)
        for t in range(longest - 1, len(v))
    ]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def reference_ridge(x, y, penalty):
    """Ridge with a free intercept as one least-squares problem; returns weight and bias."""
    strength, width = penalty * (x - x.mean(0)).var(0).mean() * len(x), x.shape[1]
    rows = np.block(
        [[x, np.ones((len(x), 1))], [math.sqrt(strength) * np.eye(width), np.zeros((width, 1))]]
    )
    targets = np.concatenate([y, np.zeros((width, y.shape[1]))])
    solution = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return solution[:-1], solution[-1]


def assert_is_reference(fit, x, y, penalty):
    weight, bias = reference_ridge(x, y, penalty)
    taps = np.stack([part.T for part in np.split(weight, len(fit.taps))])
    np.testing.assert_allclose(fit.taps, taps, atol=1e-8)
    np.testing.assert_allclose(fit.bias, bias, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 0.03])
@pytest.mark.parametrize("block_elements", [1, 300, 10**6])
def test_linear_fits_equal_least_squares_on_the_explicit_design(
    monkeypatch, penalty, block_elements
):
    monkeypatch.setattr(evaluate.inputs, "BLOCK_ELEMENTS", block_elements)
    noisy, clean = linear_gaussian(8, 12)
    linear = LinearDenoiser.fit(noisy, clean, order=3, penalty=penalty)
    assert len(linear.fits) == 3
    for order, fit in enumerate(linear.fits, start=1):
        assert fit.penalty == penalty
        assert_is_reference(fit, *design(noisy, clean, order, 3), penalty)


def test_linear_estimates_begin_with_the_fits_of_lower_order():
    noisy, clean = linear_gaussian(4, 9)
    linear = LinearDenoiser.fit(noisy, clean, order=3, penalty=1e-3)
    expected = torch.zeros_like(clean)
    for i in range(4):
        for t in range(9):
            fit = linear.fits[min(t, 2)]
            taps = [tap @ noisy[i, t - n] for n, tap in enumerate(fit.taps)]
            expected[i, t] = sum(taps, fit.bias)
    for time in range(1, 10):
        torch.testing.assert_close(linear(noisy[:, :time]), expected[:, :time])


@pytest.mark.parametrize("sequences", [31, 1])
def test_the_penalty_is_chosen_on_the_last_tenth_and_refitted_on_all(sequences):
    noisy, clean = linear_gaussian(sequences, 60 // sequences + 8, seed=3, noise=4.0)
    linear = LinearDenoiser.fit(noisy, clean, order=2)
    held = 3 * (noisy.shape[1] - 1) if sequences == 31 else 6 - 1  # windows inside the last tenth
    for order, fit in enumerate(linear.fits, start=1):
        x, y = design(noisy, clean, order, 2)
        errors = []
        for penalty in PENALTIES:
            weight, bias = reference_ridge(x[:-held], y[:-held], penalty)
            errors.append(((x[-held:] @ weight + bias - y[-held:]) ** 2).sum())
        assert fit.penalty == PENALTIES[int(np.argmin(errors))]
        assert_is_reference(fit, x, y, fit.penalty)


def test_a_frame_that_is_only_paler_is_restored():
    clean = torch.rand(20, 8, 5, generator=generator())
    linear = LinearDenoiser.fit(0.5 * clean + 0.1, clean, penalty=0.0)
    torch.testing.assert_close(linear(0.5 * clean + 0.1), clean)


# ----------------------------------------------------------------------------------------- Kalman


def reference_filter(kalman, noisy, q, r, spread):
    """The recursion with a covariance and a gain of its own at every time, one video at a time."""
    width = len(r)
    basis, transition, h = (
        part.numpy() for part in (kalman.components, kalman.transition, kalman.observation)
    )
    process = np.zeros_like(transition)
    process[:width, :width] = q
    estimates = np.zeros_like(noisy.numpy())
    for i, frames in enumerate(noisy.numpy()):
        state, p = np.zeros(2 * width), spread
        for t, frame in enumerate(frames):
            if t > 0:
                state = transition @ state + kalman.drift.numpy()
                p = transition @ p @ transition.T + process
            gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
            state = state + gain @ (basis.T @ (frame - kalman.noisy_mean.numpy()) - h @ state)
            p = p - gain @ h @ p
            estimates[i, t] = kalman.clean_mean.numpy() + basis @ state[:width]
    return torch.from_numpy(estimates)


def covariances(kalman, noisy, clean):
    """Q, R and the spread of (x_t, x_{t-1}), from coordinates made here."""
    basis = kalman.components.numpy()
    width = basis.shape[1]
    x = (clean.numpy() - kalman.clean_mean.numpy()) @ basis
    y = (noisy.numpy() - kalman.noisy_mean.numpy()) @ basis
    pairs = np.concatenate([x[:, 1:], x[:, :-1]], 2)
    left = (
        x[:, 2:] - (pairs[:, :-1] @ kalman.transition.numpy().T + kalman.drift.numpy())[..., :width]
    )
    seen = y - x @ kalman.observation.numpy()[:, :width].T
    return [np.cov(v.reshape(-1, v.shape[2]).T, bias=True) for v in (left, seen, pairs)]


def test_the_gain_is_the_limit_of_the_recursion():
    noisy, clean = linear_gaussian(50, 60)
    kalman = KalmanDenoiser.fit(noisy, clean)
    assert kalman.components.shape == (6, 2)  # all in which the clean frames vary
    q, r, spread = covariances(kalman, noisy, clean)
    expected = reference_filter(kalman, noisy[:5], q, r, spread)
    estimate = kalman(noisy[:5])
    torch.testing.assert_close(estimate[:, 0], expected[:, 0], atol=1e-4, rtol=0)  # of the floor
    torch.testing.assert_close(estimate[:, 30:], expected[:, 30:], atol=1e-4, rtol=0)
    assert (estimate[:, 1:4] - expected[:, 1:4]).abs().max() > 1e-3  # before the limit


def test_the_kalman_filter_is_best_on_the_data_that_it_is_made_for():
    """400 test videos of 100 frames: the errors of two denoisers differ by ten standard errors."""
    fits = denoisers(*linear_gaussian(200, 100, noise=4.0))
    noisy, clean = linear_gaussian(400, 100, seed=10, noise=4.0)
    each = {name: (denoise(noisy) - clean).square().mean((1, 2)) for name, denoise in fits.items()}
    for name in ("noisy", "temporal median", "linear"):
        excess = each[name] - each["Kalman"]
        assert excess.mean() > 10 * excess.std() / 400**0.5, name


def test_the_kalman_filter_is_optimal_for_a_known_model():
    """x_t = 0.9 x_{t-1} + q, y = x + r: the steady variance solves a quadratic equation."""
    n, time, a = 400, 150, 0.9
    x = normal(n, time + 50, 1)
    for t in range(1, time + 50):
        x[:, t] += a * x[:, t - 1]
    clean = x[:, 50:]
    noisy = clean + normal(n, time, 1, seed=5)
    # p = a² p / (p + 1) + 1
    p = (a * a + math.sqrt(a**4 + 4)) / 2
    kalman = KalmanDenoiser.fit(noisy[:200], clean[:200])
    assert kalman.gain[0].item() == pytest.approx(p / (p + 1), abs=0.01)
    late = (kalman(noisy[200:]) - clean[200:])[:, 20:]
    each = late.square().mean((1, 2))
    assert abs(each.mean() - p / (p + 1)) < 5 * each.std() / 200**0.5


def test_two_lags_follow_a_velocity():
    """A noisy oscillator, seen as one number; its best error by iterating the covariance."""
    n, time, noise = 400, 100, 0.7
    turn = torch.tensor([[1.9, -0.95], [1.0, 0.0]]).double()
    state, clean = torch.zeros(n, 2).double(), torch.zeros(n, time + 100, 1).double()
    for t, q in enumerate(normal(time + 100, n)):
        state = state @ turn.T
        state[:, 0] += 0.1 * q
        clean[:, t] = state[:, :1]
    clean = clean[:, 100:]
    noisy = clean + noise * normal(n, time, 1, seed=5)
    p = torch.eye(2).double()
    for _ in range(1000):
        p = turn @ p @ turn.T
        p[0, 0] += 0.01
        p = p - p[:, :1] @ p[:1] / (p[0, 0] + noise**2)
    kalman = KalmanDenoiser.fit(noisy[:200], clean[:200])
    each = (kalman(noisy[200:]) - clean[200:])[:, 50:].square().mean((1, 2))
    assert abs(each.mean() - p[0, 0]) < 5 * each.std() / 200**0.5


def test_frames_that_noise_makes_paler_are_restored():
    noisy, clean = linear_gaussian(50, 40, noise=0.0)
    paler = 0.3 * noisy + 2 + 1e-4 * normal(50, 40, 6)
    kalman = KalmanDenoiser.fit(paler, clean)
    assert error(kalman, paler, clean) < 1e-4 * clean.var()


def test_components_are_those_of_the_largest_variance():
    noisy, clean = linear_gaussian(50, 40)
    one = KalmanDenoiser.fit(noisy, clean, components=1)
    rows = clean.flatten(0, 1)
    _, _, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert abs(directions[0] @ one.components[:, 0]) == pytest.approx(1)
    assert one(noisy).shape == noisy.shape


# ------------------------------------------------------------------------------ all of them


def images(n=30, time=12, seed=0):
    clean = torch.rand(n, time, 9, generator=generator(seed)).cumsum(1).frac()
    return (clean + 0.2 * normal(n, time, 9, seed=seed + 1).float()), clean


def test_denoisers_are_named():
    fits = denoisers(*images())
    assert list(fits) == ["noisy", "temporal median", "linear", "Kalman"]
    assert fits["noisy"](GOOD) is GOOD
    assert fits["temporal median"] == TemporalMedian(5)
    assert len(fits["linear"].fits) == 4


def test_no_denoiser_uses_the_future():
    noisy, _ = images(4, seed=5)
    for name, denoise in denoisers(*images()).items():
        before = denoise(noisy)
        for t in range(1, 12):
            changed = noisy.clone()
            changed[:, t:] += torch.randn(4, 12 - t, 9, generator=generator(t))
            assert denoise(changed)[:, :t].equal(before[:, :t]), (name, t)
            assert denoise(noisy[:, :t]).allclose(before[:, :t], atol=1e-6), (name, t)


def test_denoisers_keep_the_precision_of_the_frames():
    for denoise in denoisers(*images()).values():
        for dtype in (torch.float32, torch.float64):
            assert denoise(torch.rand(2, 8, 9, dtype=dtype)).dtype == dtype


def test_estimates_are_clipped_for_images_only():
    noisy, clean = images()
    for kind in (LinearDenoiser, KalmanDenoiser):
        estimate = kind.fit(noisy, clean)(10 * noisy - 5)
        assert estimate.min() == 0
        assert estimate.max() == 1
        estimate = kind.fit(noisy, clean + 0.1)(10 * noisy - 5)
        assert estimate.min() < 0
        assert estimate.max() > 1


def test_fitting_takes_no_gradient():
    noisy, clean = (frames.requires_grad_() for frames in images())
    for name, denoise in denoisers(noisy, clean).items():
        assert not denoise(noisy.detach()).requires_grad, name


@pytest.mark.parametrize(("n", "time"), [(1, 4), (1, 5), (2, 4), (1, 30), (3, 6)])
def test_few_and_short_sequences_are_enough(n, time):
    for name, denoise in denoisers(*images(n, time)).items():
        assert denoise(images(2, 7, seed=3)[0]).isfinite().all(), name


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: 0 * v, torch.zeros_like, torch.rand_like]
)
def test_videos_without_noise_and_without_signal_are_no_trouble(change):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        clean = images()[1]
        noisy = change(clean)
    for name, denoise in denoisers(noisy, clean).items():
        assert denoise(noisy).isfinite().all(), name
    if noisy.equal(clean):
        assert error(KalmanDenoiser.fit(noisy, clean), noisy, clean) < 1e-6


def test_collinear_pixels_are_no_trouble():
    noisy, clean = (frames[..., :1].expand(-1, -1, 9) for frames in images())
    kalman = KalmanDenoiser.fit(noisy, clean)
    assert kalman.components.shape == (9, 1)
    assert kalman(noisy).isfinite().all()
    assert LinearDenoiser.fit(noisy, clean)(noisy).isfinite().all()


# -------------------------------------------------------------------------------------- refusals

GOOD = torch.rand(3, 5, 9, generator=generator())
NAN = GOOD.clone()
NAN[1, 2, 0] = math.nan


@pytest.mark.parametrize("fit", [LinearDenoiser.fit, KalmanDenoiser.fit, denoisers])
@pytest.mark.parametrize(
    ("noisy", "clean", "kind", "message"),
    [
        ([[[1.0]]], GOOD, TypeError, "noisy: expected a floating-point tensor, got list"),
        (GOOD, GOOD.long(), TypeError, "clean: .* got torch.int64"),
        (GOOD[0], GOOD, ValueError, r"noisy: expected \[batch, time, visible\] .* \[5, 9\]"),
        (GOOD, GOOD[:0], ValueError, r"clean: .* got shape \[0, 5, 9\]"),
        (GOOD, GOOD[:2], ValueError, r"noisy: expected the shape \[2, 5, 9\] of clean, got"),
        (NAN, GOOD, ValueError, "noisy: expected finite"),
        (GOOD, NAN, ValueError, "clean: expected finite"),
    ],
)
def test_malformed_pairs_are_refused(fit, noisy, clean, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        fit(noisy, clean)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: TemporalMedian(0), ValueError, "window: expected at least 1, got 0"),
        (lambda: TemporalMedian(2.0), TypeError, "window: expected an integer, got float"),
        (lambda: LinearDenoiser.fit(GOOD, GOOD, 0), ValueError, "order: expected at least 1"),
        (lambda: LinearDenoiser.fit(GOOD, GOOD, 6), ValueError, "order: expected at most the 5"),
        (lambda: LinearDenoiser.fit(GOOD, GOOD, 2, -1), ValueError, "penalty: .* got -1"),
        (lambda: LinearDenoiser.fit(GOOD, GOOD, 2, math.nan), ValueError, "penalty: .* got nan"),
        (lambda: LinearDenoiser.fit(GOOD[:1], GOOD[:1], 5), ValueError, "penalty: .* got None"),
        (lambda: KalmanDenoiser.fit(GOOD, GOOD, 0), ValueError, "components: .* at least 1, got 0"),
        (lambda: KalmanDenoiser.fit(GOOD[:, :3], GOOD[:, :3]), ValueError, "noisy: .* 4 frames"),
        (lambda: denoisers(GOOD[:, :3], GOOD[:, :3]), ValueError, "noisy: .* at least 4 frames"),
        (
            lambda: KalmanDenoiser.fit(GOOD, torch.full_like(GOOD, 0.3)),
            ValueError,
            "clean: expected frames that vary",
        ),
    ],
)
def test_bad_settings_are_refused(call, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        call()


@pytest.mark.parametrize("kind", [LinearDenoiser, KalmanDenoiser])
def test_fitted_denoisers_refuse_another_width(kind):
    with pytest.raises(ValueError, match=r"^frames: expected width 9 as fitted, got 4"):
        kind.fit(GOOD, GOOD)(torch.rand(1, 4, 4))


@pytest.mark.parametrize("denoise", [TemporalMedian(), LinearDenoiser.fit(GOOD, GOOD)])
def test_a_frame_alone_is_no_sequence(denoise):
    with pytest.raises(ValueError, match=r"^frames: expected \[batch, time, visible\]"):
        denoise(torch.rand(4, 9))
