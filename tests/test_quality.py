"""Squared error, PSNR and SSIM of videos against loops over pixels and windows."""

import math
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from seqebm.evaluate import Quality, QualityScore, VideoQuality, quality, quality_table


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(*size, seed=0, noise=0.2):
    clean = torch.rand(size, generator=generator(seed), dtype=torch.float64)
    return clean, clean + noise * torch.randn(size, generator=generator(seed + 1)).double()


def compared(clean, estimate, shape=None):
    measured = Quality(shape)
    measured.add(clean, estimate)
    return measured.result()


def reference_ssim(a, b, window, sigma):
    """Wang et al. 2004, eqs. 14 to 17, window by window."""
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    values = []
    for i in range(len(a) - window + 1):
        for j in range(len(a[0]) - window + 1):
            x, y = (image[i : i + window, j : j + window] for image in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            values.append(luminance * (2 * cov + 0.03**2) / (vx + vy + 0.03**2))
    return np.mean(values)


@pytest.mark.parametrize(
    ("shape", "window"),
    [((14, 17), 11), ((11, 11), 11), ((10, 13), 9), ((20, 9), 9), ((8, 8), 7), ((4, 3), 3)],
)
def test_ssim_is_that_of_wang_and_its_window_fits_the_frame(shape, window):
    clean, estimate = pair(3, shape[0] * shape[1])
    images = (
        (a.view(shape).numpy(), b.view(shape).numpy()) for a, b in zip(clean, estimate, strict=True)
    )
    expected = np.mean([reference_ssim(a, b, window, 1.5 * window / 11) for a, b in images])
    assert compared(clean, estimate, shape).ssim == pytest.approx(expected, abs=1e-12)


def test_squared_error_and_psnr_by_hand():
    clean = torch.zeros(2, 9)
    estimate = clean.clone()
    estimate[0, 4], estimate[1, 8] = 0.3, -0.9
    result = compared(clean, estimate)
    assert result.mse == pytest.approx((0.09 + 0.81) / 18)
    assert result.psnr == pytest.approx(10 * math.log10(20))
    assert result.frames == 2


def test_a_perfect_video():
    clean, _ = pair(3, 400)
    assert compared(clean, clean) == (0.0, math.inf, pytest.approx(1, abs=1e-12), 3)


def test_ssim_of_opposite_pictures_is_negative():
    clean, _ = pair(3, 400)
    assert compared(clean, 1 - clean).ssim < -0.5


@pytest.mark.parametrize("block_pixels", [1, 1000, 10**6])
@pytest.mark.parametrize("sizes", [[7], [1] * 7, [3, 4]])
def test_blocks_do_not_matter(monkeypatch, block_pixels, sizes):
    clean, estimate = pair(7, 12 * 15)
    expected = compared(clean, estimate, (12, 15))
    monkeypatch.setattr(quality, "_BLOCK_PIXELS", block_pixels)
    measured = Quality((12, 15))
    for a, b in zip(clean.split(sizes), estimate.split(sizes), strict=True):
        measured.add(a, b)
    assert measured.result() == pytest.approx(expected, abs=1e-12)


def test_results_may_be_asked_for_on_the_way():
    clean, estimate = pair(5, 400)
    measured = Quality()
    for t in range(5):
        measured.add(clean[t : t + 1], estimate[t : t + 1])
        so_far = compared(clean[: t + 1], estimate[: t + 1])
        assert measured.result() == pytest.approx(so_far, abs=1e-12)


def test_memory_does_not_grow():
    clean, estimate = pair(1, 400)
    measured = Quality()
    measured.add(clean, estimate)
    tracemalloc.start()
    for _ in range(100):
        measured.add(clean, estimate)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000  # 100 frames have 320 000 bytes
    assert not any(isinstance(v, torch.Tensor | np.ndarray | list) for v in vars(measured).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_precision_is_computed_in_float64(dtype):
    clean, estimate = (frames.to(dtype) for frames in pair(3, 400))
    assert compared(clean, estimate) == compared(clean.double(), estimate.double())


def test_frames_may_need_gradients():
    clean, estimate = pair(2, 400)
    assert compared(clean, estimate.requires_grad_()).frames == 2


# ----------------------------------------------------------------------------------------- tables


def test_a_table_has_means_and_standard_errors_over_videos():
    clean, poor = pair(6, 4, 400)
    _, good = pair(6, 4, 400, noise=0.05)
    table = quality_table({"poor": poor, "good": good}, clean)
    assert list(table) == ["poor", "good"]
    for name, estimates in (("poor", poor), ("good", good)):
        each = [compared(a, b) for a, b in zip(clean, estimates, strict=True)]
        score = table[name]
        assert score.sequences == 6
        for field in ("mse", "psnr", "ssim"):
            values = np.array([getattr(one, field) for one in each])
            assert getattr(score, field) == pytest.approx(values.mean())
            assert getattr(score, f"{field}_se") == pytest.approx(values.std(ddof=1) / 6**0.5)


def test_padding_does_not_count():
    clean, estimate = pair(3, 5, 8 * 9)
    lengths = torch.tensor([5, 2, 4])
    expected = QualityScore.of(
        [compared(a[:n], b[:n], (8, 9)) for a, b, n in zip(clean, estimate, lengths, strict=True)]
    )
    for row, length in enumerate(lengths):
        clean[row, length:] = estimate[row, length:] = math.nan
    assert quality_table({"mine": estimate}, clean, lengths, (8, 9))["mine"] == expected


def test_one_video_has_no_standard_error():
    score = QualityScore.of([VideoQuality(0.01, 20.0, 0.8, 9)])
    assert score[::2] == (0.01, 20.0, 0.8, 1)
    assert all(math.isnan(value) for value in score[1::2])


# -------------------------------------------------------------------------------------- refusals

GOOD = torch.full((2, 16), 0.5)
NAN = torch.full((2, 16), math.nan)


@pytest.mark.parametrize(
    ("clean", "estimate", "error", "message"),
    [
        ([[0.5]], GOOD, TypeError, "clean: expected a floating-point tensor, got list"),
        (GOOD, GOOD.long(), TypeError, "estimate: .* got torch.int64"),
        (NAN, GOOD, ValueError, "clean: expected finite"),
        (GOOD, NAN, ValueError, "estimate: expected finite"),
        (GOOD[0], GOOD[0], ValueError, r"clean: expected \[time, visible\] .* got shape \[16\]"),
        (GOOD[:0], GOOD[:0], ValueError, r"clean: .* one frame or more, got shape \[0, 16\]"),
        (GOOD, GOOD[:1], ValueError, r"estimate: expected the shape \[2, 16\] .* got \[1, 16\]"),
        (GOOD + 0.6, GOOD, ValueError, "clean: expected grey levels .* got 1.1 to 1.1"),
        (GOOD - 0.6, GOOD, ValueError, "clean: expected grey levels .* got -0.1 to -0.1"),
        (GOOD[:, :15], GOOD[:, :15], ValueError, "shape: .* 15 pixels, which are no square"),
        (GOOD[:, :4], GOOD[:, :4], ValueError, r"shape: .* 3 x 3 pixels for SSIM, got \(2, 2\)"),
    ],
)
def test_malformed_frames_are_refused(clean, estimate, error, message):
    measured = Quality()
    with pytest.raises(error, match=f"^{message}"):
        measured.add(clean, estimate)
    with pytest.raises(ValueError, match=r"^frames: expected at least one"):
        measured.result()


def test_the_width_stays():
    measured = Quality()
    measured.add(GOOD, GOOD)
    with pytest.raises(ValueError, match=r"^clean: expected width 16 as before, got 9$"):
        measured.add(GOOD[:, :9], GOOD[:, :9])
    assert measured.result().frames == 2


def test_the_shape_is_that_of_the_frames():
    with pytest.raises(ValueError, match=r"^shape: .* 16 pixels, got \(3, 5\)"):
        Quality((3, 5)).add(GOOD, GOOD)


def test_a_table_names_the_estimate_at_fault():
    clean = GOOD[None]
    with pytest.raises(ValueError, match=r"^mine: expected the shape \[1, 2, 16\] of clean, got"):
        quality_table({"good": clean, "mine": clean[:, :1]}, clean)
    with pytest.raises(ValueError, match=r"^mine: estimate: expected finite"):
        quality_table({"good": clean, "mine": NAN[None]}, clean)
    with pytest.raises(TypeError, match=r"^mine: expected a floating-point tensor, got list"):
        quality_table({"mine": clean.tolist()}, clean)
    with pytest.raises(ValueError, match=r"^frames: expected \[batch, time, visible\]"):
        quality_table({}, GOOD)


def test_without_scikit_image_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(ImportError, match=r"scikit-image: pip install 'seqebm\[quality\]'"):
        Quality()
