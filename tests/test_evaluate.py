"""Prediction errors, yardsticks, tables and free runs against plain loops and hand-made cases."""

import json
import math

import numpy as np
import pytest
import torch

from seqebm import evaluate
from seqebm.evaluate import (
    PENALTIES,
    LinearExtrapolation,
    MeanFrame,
    RidgeAutoregression,
    Score,
    copy_last,
    format_table,
    free_run_errors,
    next_frame_table,
    prediction_errors,
    to_json,
    yardsticks,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def walks(n, time, visible, dtype=torch.float64, seed=0):
    """Correlated sequences with a mean, so that every order of autoregression has work to do."""
    noise = torch.randn(n, time, visible, generator=generator(seed), dtype=dtype)
    return 3 + noise.cumsum(1) * 0.3 + noise.roll(1, 2) * 0.2


def ragged(lengths, visible, seed=0):
    """Sequences with NaN where they are padded: using any of it would show."""
    frames = walks(len(lengths), max(lengths), visible, seed=seed)
    for row, length in zip(frames, lengths, strict=True):
        row[length:] = math.nan
    return frames, torch.tensor(lengths)


def cut(frames, lengths):
    return [row[:length].numpy() for row, length in zip(frames, lengths.tolist(), strict=True)]


def design(sequences, order):
    """Explicit predecessors [rows, order * visible] and targets [rows, visible]."""
    pairs = [
        (np.concatenate([v[t - n] for n in range(1, order + 1)]), v[t])
        for v in sequences
        for t in range(order, len(v))
    ]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def reference_ridge(sequences, order, penalty):
    """Ridge with a free intercept as one least-squares problem; returns weight and bias."""
    x, y = design(sequences, order)
    strength = penalty * (x - x.mean(0)).var(0).mean() * len(x)
    width = x.shape[1]
    rows = np.block(
        [[x, np.ones((len(x), 1))], [math.sqrt(strength) * np.eye(width), np.zeros((width, 1))]]
    )
    targets = np.concatenate([y, np.zeros((width, y.shape[1]))])
    solution = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return solution[:-1], solution[-1]


def assert_is_reference(fit, sequences, order, penalty, tolerance=1e-8):
    weight, bias = reference_ridge(sequences, order, penalty)
    taps = np.stack([part.T for part in np.split(weight, order)])
    np.testing.assert_allclose(fit.taps, taps, atol=tolerance)
    np.testing.assert_allclose(fit.bias, bias, atol=10 * tolerance)


# ------------------------------------------------------------------------------------ yardsticks


def test_copy_last_by_hand():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [4.0, 0.0]]])
    assert copy_last(frames).tolist() == [[[0, 0], [1, 2], [3, 5]]]


def test_linear_extrapolation_by_hand():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [4.0, 0.0], [9.0, 9.0]]])
    assert LinearExtrapolation()(frames).tolist() == [[[0, 0], [1, 2], [5, 8], [5, -5]]]
    assert LinearExtrapolation(0, 6)(frames).tolist() == [[[0, 0], [1, 2], [5, 6], [5, 0]]]


@pytest.mark.parametrize("time", [1, 2])
def test_extrapolation_of_short_sequences_copies(time):
    frames = torch.rand(2, time, 3, generator=generator())
    assert LinearExtrapolation()(frames).equal(copy_last(frames))


def test_mean_frame_leaves_padding_out(monkeypatch):
    monkeypatch.setattr(evaluate.inputs, "BLOCK_ELEMENTS", 10)
    frames, lengths = ragged([4, 1, 3], 2)
    mean = MeanFrame.fit(frames, lengths)
    np.testing.assert_allclose(mean.frame, np.concatenate(cut(frames, lengths)).mean(0))
    assert mean(torch.zeros(2, 5, 2)).shape == (2, 5, 2)
    assert mean(torch.zeros(2, 5, 2)).dtype == torch.float32


@pytest.mark.parametrize("penalty", [0.0, 0.03])
@pytest.mark.parametrize("block_elements", [1, 100, 10**6])
def test_ridge_equals_least_squares_on_the_explicit_design(monkeypatch, penalty, block_elements):
    monkeypatch.setattr(evaluate.inputs, "BLOCK_ELEMENTS", block_elements)
    frames, lengths = ragged([9, 1, 20, 2, 3, 30, 5, 4, 25, 6], 3)
    ridge = RidgeAutoregression.fit(frames, lengths, order=4, penalty=penalty)
    sequences = cut(frames, lengths)
    np.testing.assert_allclose(ridge.fits[0].bias, np.concatenate(sequences).mean(0))
    for order in range(1, 5):
        assert_is_reference(ridge.fits[order], sequences, order, penalty)


def test_ridge_is_exact_far_from_the_origin():
    frames, lengths = ragged([40, 30, 35], 2)
    frames += 1e5
    ridge = RidgeAutoregression.fit(frames, lengths, order=2, penalty=1e-3)
    fit = ridge.fits[2]
    weight, _ = reference_ridge([v - 1e5 for v in cut(frames, lengths)], 2, 1e-3)
    np.testing.assert_allclose(fit.taps, [part.T for part in np.split(weight, 2)], atol=1e-8)


def test_penalty_is_chosen_on_the_last_tenth_and_refitted_on_all():
    frames = walks(31, 5, 6, seed=3)
    ridge = RidgeAutoregression.fit(frames, order=3)
    chosen = set()
    for order in range(1, 4):
        x, y = design(frames[-3:].numpy(), order)
        errors = []
        for penalty in PENALTIES:
            weight, bias = reference_ridge(frames[:-3].numpy(), order, penalty)
            errors.append(((x @ weight + bias - y) ** 2).sum())
        best = PENALTIES[int(np.argmin(errors))]
        assert ridge.fits[order].penalty == best
        assert_is_reference(ridge.fits[order], frames.numpy(), order, best)
        chosen.add(best)
    assert len(chosen) == 3  # or the choices above would prove little


@pytest.mark.parametrize("seed", range(8))
def test_penalty_for_one_sequence_is_chosen_on_its_last_tenth(seed):
    frames = walks(1, 60, 4, seed=seed)
    ridge = RidgeAutoregression.fit(frames, order=2)
    x, y = design(frames.numpy(), 2)
    held = 6 - 2  # windows that lie within the last six frames
    errors = []
    for penalty in PENALTIES:
        weight, bias = reference_ridge(frames[:, :-held].numpy(), 2, penalty)
        errors.append(((x[-held:] @ weight + bias - y[-held:]) ** 2).sum())
    best = PENALTIES[int(np.argmin(errors))]
    assert ridge.fits[2].penalty == best
    assert_is_reference(ridge.fits[2], frames.numpy(), 2, best)


def test_sequences_too_short_for_the_order_do_not_decide_the_penalty():
    frames, lengths = ragged([30] * 20 + [2, 1], 3)
    with_short = RidgeAutoregression.fit(frames, lengths, order=3)
    without = RidgeAutoregression.fit(frames[:20], order=3)
    assert with_short.fits[3].penalty == without.fits[3].penalty
    torch.testing.assert_close(with_short.fits[3].taps, without.fits[3].taps)


def test_ridge_predicts_early_frames_by_lower_orders():
    frames = walks(6, 9, 2)
    fits = RidgeAutoregression.fit(frames, order=3, penalty=1e-4).fits
    expected = torch.zeros_like(frames)
    for i in range(6):
        for t in range(9):
            fit = fits[min(t, 3)]
            taps = [fit.taps[n - 1] @ frames[i, t - n] for n in range(1, min(t, 3) + 1)]
            expected[i, t] = sum(taps, fit.bias)
    torch.testing.assert_close(RidgeAutoregression(fits)(frames), expected)
    for time in (1, 2, 3, 4):
        torch.testing.assert_close(RidgeAutoregression(fits)(frames[:, :time]), expected[:, :time])


def test_a_known_second_order_process_is_recovered():
    first = torch.tensor([[1.2, 0.1], [-0.2, 0.9]], dtype=torch.float64)
    second = torch.tensor([[-0.5, 0.0], [0.1, -0.3]], dtype=torch.float64)
    bias = torch.tensor([1.0, -2.0], dtype=torch.float64)
    noise = torch.randn(200, 60, 2, generator=generator(), dtype=torch.float64)
    frames = noise.clone()
    for t in range(2, 60):
        frames[:, t] += frames[:, t - 1] @ first.T + frames[:, t - 2] @ second.T + bias
    ridge = RidgeAutoregression.fit(frames[:150], order=3, penalty=1e-8)
    torch.testing.assert_close(ridge.fits[2].taps, torch.stack([first, second]), atol=0.05, rtol=0)
    torch.testing.assert_close(ridge.fits[2].bias, bias, atol=0.1, rtol=0)
    torch.testing.assert_close(ridge.fits[3].taps[2].abs().max().item(), 0.0, atol=0.05, rtol=0)
    # the noise of two dimensions is all that is left from the third frame on
    errors = (ridge(frames[150:]) - frames[150:])[:, 3:].square().sum(-1).mean().item()
    assert errors == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("penalty", [None, 0.0, 0.1])
def test_constant_and_collinear_data_are_no_trouble(penalty):
    constant = torch.full((12, 8, 3), 0.3)
    ridge = RidgeAutoregression.fit(constant, order=2, penalty=penalty)
    torch.testing.assert_close(ridge(constant), constant)
    frames = walks(12, 8, 1).expand(-1, -1, 3)
    doubled = RidgeAutoregression.fit(frames, order=2, penalty=penalty)
    assert doubled(frames).isfinite().all()


def test_fitting_takes_no_gradient():
    frames = walks(12, 8, 2).requires_grad_()
    assert not RidgeAutoregression.fit(frames, order=1).fits[1].taps.requires_grad
    assert not MeanFrame.fit(frames).frame.requires_grad


def test_yardsticks_are_named_and_fitted():
    frames = walks(12, 8, 2)
    predictors = yardsticks(frames)
    ridges = [f"ridge AR({k})" for k in (1, 2, 3, 4)]
    assert list(predictors) == ["mean frame", "copy last", "linear extrapolation", *ridges]
    for k in (1, 2, 3, 4):
        own = RidgeAutoregression.fit(frames, order=k)
        torch.testing.assert_close(predictors[f"ridge AR({k})"](frames), own(frames))


def test_extrapolation_is_clipped_for_images_only():
    images = torch.rand(12, 8, 2, generator=generator())
    assert yardsticks(images)["linear extrapolation"] == LinearExtrapolation(0, 1)
    images[3, 2, 1] = 1.01
    assert yardsticks(images)["linear extrapolation"] == LinearExtrapolation()
    images[3, 2, 1] = -0.01
    assert yardsticks(images)["linear extrapolation"] == LinearExtrapolation()


@pytest.mark.parametrize(("time", "orders"), [(1, 0), (2, 0), (3, 1), (4, 2), (6, 4), (9, 4)])
@pytest.mark.parametrize("n", [1, 2])
def test_yardsticks_of_short_sequences_leave_orders_out(n, time, orders):
    assert len(yardsticks(walks(n, time, 2))) == 3 + orders


def test_no_yardstick_uses_the_future():
    frames = torch.rand(4, 9, 3, generator=generator())
    for name, predictor in yardsticks(torch.rand(30, 9, 3, generator=generator(1))).items():
        before = predictor(frames, None)
        for t in range(9):
            changed = frames.clone()
            changed[:, t:] += torch.randn(4, 9 - t, 3, generator=generator(t))
            assert predictor(changed, None)[:, : t + 1].equal(before[:, : t + 1]), (name, t)


def test_yardsticks_keep_the_precision_of_the_frames():
    for predictor in yardsticks(walks(12, 8, 2)).values():
        assert predictor(torch.rand(2, 8, 2), None).dtype == torch.float32
        assert predictor(torch.rand(2, 8, 2).double(), None).dtype == torch.float64


# --------------------------------------------------------------------------- next-frame errors


def test_prediction_errors_by_hand():
    frames = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 5.0]], [[0.0, 0.0], [0.0, 1.0], [7, 7]]])
    errors = prediction_errors(lambda v, _: torch.zeros_like(v), frames, torch.tensor([3, 2]))
    assert errors.tolist() == [(1 + 4 + 9 + 25) / 2, 1.0]


def test_prediction_errors_of_ragged_sequences_equal_one_by_one():
    frames, lengths = ragged([5, 2, 9, 3, 7], 3)
    train = walks(20, 9, 3, seed=5)
    for predictor in yardsticks(train).values():
        together = prediction_errors(predictor, frames, lengths)
        for i, length in enumerate(lengths.tolist()):
            alone = prediction_errors(predictor, frames[i : i + 1, :length])
            torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_batch_size_does_not_matter(batch):
    frames, lengths = ragged([5, 2, 9, 3, 7, 4, 4], 3)
    seen = []

    def predictor(block, some):
        seen.append(len(block))
        assert block.shape[1] == some.max()
        return copy_last(block)

    expected = [np.mean(((v[1:] - v[:-1]) ** 2).sum(1)) for v in cut(frames, lengths)]
    np.testing.assert_allclose(prediction_errors(predictor, frames, lengths, batch), expected)
    assert max(seen) == min(batch, 7)
    assert sum(seen) == 7


def test_predictors_see_no_lengths_where_none_are_given():
    seen = []
    prediction_errors(lambda v, lengths: seen.append(lengths) or v, torch.rand(3, 4, 2))
    prediction_errors(
        lambda v, lengths: seen.append(lengths) or v, torch.rand(2, 4, 2), torch.tensor([2, 4])
    )
    assert seen[0] is None
    assert seen[1].tolist() == [2, 4]


def test_predictors_run_without_gradients():
    weight = torch.ones(2, requires_grad=True)
    assert not prediction_errors(lambda v, _: v * weight, torch.rand(3, 4, 2)).requires_grad


def test_predictions_of_first_frames_and_padding_may_be_anything():
    frames, lengths = ragged([3, 2], 1)

    def predictor(block, some):
        predicted = torch.zeros_like(block)
        predicted[:, 0] = math.inf
        predicted[1, 2] = math.nan
        return predicted

    expected = [(frames[0, 1:].square().mean()).item(), frames[1, 1].square().item()]
    assert prediction_errors(predictor, frames, lengths).tolist() == pytest.approx(expected)


def test_score_equals_numpy():
    errors = torch.rand(17, generator=generator())
    values, score = errors.double().numpy(), Score.of(errors, 5)
    se = values.std(ddof=1) / math.sqrt(17)
    expected = (values.mean(), se, values.mean() / 5, se / 5, 17)
    assert tuple(score) == pytest.approx(expected)


def test_next_frame_table_scores_in_order():
    frames, lengths = ragged([5, 2, 9], 4)
    predictors = {"z": copy_last, "a": LinearExtrapolation()}
    table = next_frame_table(predictors, frames, lengths, batch=2)
    assert list(table) == ["z", "a"]
    for name, predictor in predictors.items():
        errors = prediction_errors(predictor, frames, lengths).numpy()
        assert table[name].per_frame == pytest.approx(errors.mean())
        assert table[name].per_dim == pytest.approx(errors.mean() / 4)
        assert table[name].per_dim_se == pytest.approx(errors.std(ddof=1) / math.sqrt(3) / 4)
        assert table[name].sequences == 3


def test_table_text_is_aligned():
    scores = {
        "copy last": Score(11.8273, 0.4362, 0.013142, 0.000485, 200),
        "large": Score(123456.7, 1234.5, 137.174, 1.3717, 200),
        "exact": Score(2.0, 0.0, 0.5, 0.0, 200),
        "one": Score(3.14159, math.nan, 0.314159, math.nan, 1),
    }
    assert format_table(scores).split("\n") == [
        "predictor      per frame      per dimension  sequences",
        "copy last   11.83 ± 0.44  0.01314 ± 0.00049        200",
        "large      123457 ± 1234        137.2 ± 1.4        200",
        "exact              2 ± 0            0.5 ± 0        200",
        "one                3.142             0.3142          1",
    ]


def test_json_has_no_nan():
    scores = {"one": Score.of(torch.tensor([3.0]), 2), "two": Score.of(torch.tensor([1.0, 3]), 2)}
    back = json.loads(json.dumps(to_json(scores), allow_nan=False))
    assert back["one"] == {
        "per_frame": 3.0,
        "per_frame_se": None,
        "per_dim": 1.5,
        "per_dim_se": None,
        "sequences": 1,
    }
    assert back["two"]["per_frame_se"] == pytest.approx(1.0)


# ------------------------------------------------------------------------------------- free run


def noisy(prefix, length, rng):
    start = prefix[:, -1:].expand(-1, length, -1)
    return start + torch.randn(start.shape, generator=rng, dtype=prefix.dtype)


def test_free_run_by_hand():
    frames = torch.tensor([[[0.0], [1.0], [3.0], [6.0]], [[0.0], [1.0], [1.0], [0.0]]])
    asked = []

    def line(prefix, length, rng):
        asked.append((prefix.tolist(), length, rng))
        step = prefix[:, -1:] - prefix[:, -2:-1]
        return prefix[:, -1:] + step * torch.arange(1.0, length + 1)[:, None]

    rng = generator()
    result = free_run_errors(line, frames, 2, [2, 1], rng)  # continues 2, 3 where 3, 6 and 1, 0 are
    assert asked == [(frames[:, :2].tolist(), 2, rng)]
    assert list(result) == [2, 1]
    assert result[1]["model"].per_frame == (1 + 1) / 2
    assert result[2]["model"].per_frame == (9 + 9) / 2
    assert result[2]["model"].per_frame_se == 0
    assert result[1]["copy last"].per_frame == (4 + 0) / 2
    assert result[2]["copy last"].per_frame == (25 + 1) / 2
    assert result[2]["copy last"].per_frame_se == pytest.approx(12.0)


def test_free_run_averages_the_errors_of_samples():
    frames = walks(5, 9, 2)
    result = free_run_errors(noisy, frames, 3, [4], generator(3), samples=3)
    rng = generator(3)
    draws = [noisy(frames[:, :3], 4, rng)[:, 3] for _ in range(3)]
    errors = np.mean([((d - frames[:, 6]) ** 2).sum(1).numpy() for d in draws], axis=0)
    assert result[4]["model"] == pytest.approx(tuple(Score.of(torch.from_numpy(errors), 2)))


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
def test_free_run_scores_a_horizon_on_the_sequences_that_reach_it(batch):
    frames, lengths = ragged([3, 9, 2, 5, 1, 7, 2, 2], 2)
    prefixes = []

    def still(prefix, length, rng):
        prefixes.append(prefix)
        return prefix[:, -1:].expand(-1, length, -1) + 1

    result = free_run_errors(still, frames, 2, [1, 3, 7], lengths=lengths, batch=batch)
    assert torch.cat(prefixes).equal(frames[[0, 1, 3, 5], :2])
    for horizon, chosen in ((1, [0, 1, 3, 5]), (3, [1, 3, 5]), (7, [1])):
        last, target = frames[chosen, 1].numpy(), frames[chosen, 1 + horizon].numpy()
        for name, guess in (("model", last + 1), ("copy last", last)):
            score = result[horizon][name]
            assert score.sequences == len(chosen)
            assert score.per_frame == pytest.approx(((guess - target) ** 2).sum(1).mean())


def test_free_run_without_lengths_uses_whole_sequences():
    frames = walks(4, 6, 2)
    whole = free_run_errors(noisy, frames, 2, [4], generator())
    assert whole == free_run_errors(noisy, frames, 2, [4], generator(), lengths=torch.full((4,), 6))


# -------------------------------------------------------------------------------------- refusals

GOOD = torch.rand(3, 5, 2, generator=generator())
NAN = GOOD.clone()
NAN[1, 2, 0] = math.nan
MALFORMED = [
    ({"frames": [[[1.0]]]}, TypeError, "frames: expected a floating-point tensor, got list"),
    ({"frames": GOOD.long()}, TypeError, "frames: .* got torch.int64"),
    ({"frames": GOOD[0]}, ValueError, r"frames: expected \[batch, time, visible\], got .*\[5, 2\]"),
    ({"frames": GOOD[:0]}, ValueError, r"frames: expected at least one number, .*\[0, 5, 2\]"),
    ({"frames": NAN}, ValueError, "frames: expected finite values, .* sequences 0 to 2"),
    ({"lengths": [5, 5, 5]}, TypeError, "lengths: expected an integer tensor, got list"),
    ({"lengths": torch.ones(3)}, TypeError, "lengths: .* got torch.float32"),
    ({"lengths": torch.tensor([5, 5])}, ValueError, r"lengths: expected shape \[3\], got \[2\]"),
    ({"lengths": torch.tensor([5, 6, 2])}, ValueError, "lengths: .* 1 to 5, got 2 to 6"),
    ({"lengths": torch.tensor([5, 0, 2])}, ValueError, "lengths: .* 1 to 5, got 0 to 5"),
]


@pytest.mark.parametrize(("change", "error", "message"), MALFORMED)
@pytest.mark.parametrize(
    "call",
    [
        MeanFrame.fit,
        RidgeAutoregression.fit,
        yardsticks,
        lambda frames, lengths: prediction_errors(copy_last, frames, lengths),
        lambda frames, lengths: next_frame_table({"copy": copy_last}, frames, lengths),
        lambda frames, lengths: free_run_errors(noisy, frames, 1, [1], lengths=lengths),
    ],
)
def test_malformed_sequences_are_refused(call, change, error, message):
    arguments = {"frames": GOOD, "lengths": None, **change}
    with pytest.raises(error, match=message):
        call(arguments["frames"], arguments["lengths"])


def test_lengths_may_be_int32():
    lengths = torch.tensor([5, 2, 3], dtype=torch.int32)
    expected = prediction_errors(copy_last, GOOD, lengths.long())
    assert prediction_errors(copy_last, GOOD, lengths).equal(expected)


def test_fitted_yardsticks_refuse_another_width():
    for predictor in (MeanFrame.fit(GOOD), RidgeAutoregression.fit(GOOD)):
        with pytest.raises(ValueError, match="frames: expected width 2 as fitted, got 3"):
            predictor(torch.rand(1, 4, 3))


@pytest.mark.parametrize("predictor", [copy_last, LinearExtrapolation()])
def test_unfitted_yardsticks_refuse_other_ranks(predictor):
    with pytest.raises(ValueError, match="frames: expected"):
        predictor(torch.rand(4, 3))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"order": 0}, ValueError, "order: expected at least 1, got 0"),
        ({"order": 1.5}, TypeError, "order: expected an integer, got float"),
        ({"order": 5}, ValueError, "order: expected less than the 5 frames .*, got 5"),
        ({"penalty": -0.1}, ValueError, "penalty: expected a finite number .* got -0.1"),
        ({"penalty": math.nan}, ValueError, "penalty: .* got nan"),
        ({"penalty": math.inf}, ValueError, "penalty: .* got inf"),
        ({"lengths": torch.tensor([4, 5, 4]), "order": 4}, ValueError, "penalty: .* got None"),
    ],
)
def test_ridge_refuses_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        RidgeAutoregression.fit(GOOD, **settings)


def test_sequences_of_one_frame_are_refused():
    with pytest.raises(ValueError, match=r"lengths: expected at least 2 .* in sequence 1"):
        prediction_errors(copy_last, GOOD, torch.tensor([5, 1, 3]))
    with pytest.raises(ValueError, match=r"lengths: expected at least 2 .* in sequence 0"):
        prediction_errors(copy_last, GOOD[:, :1])


@pytest.mark.parametrize(
    ("predictor", "error", "message"),
    [
        (lambda v, _: v[:, 1:], ValueError, r"predictor: .* \[3, 5, 2\], got \[3, 4, 2\]"),
        (lambda v, _: v.numpy(), TypeError, "predictor: expected it to return a tensor, got nd"),
        (lambda v, _: v / 0, ValueError, "predictor: expected it to return finite values"),
    ],
)
def test_bad_predictions_are_refused(predictor, error, message):
    with pytest.raises(error, match=message):
        prediction_errors(predictor, GOOD)


def test_the_table_names_the_predictor_at_fault():
    with pytest.raises(ValueError, match=r"mine: predictor: .* finite"):
        next_frame_table({"copy": copy_last, "mine": lambda v, _: v / 0}, GOOD)


@pytest.mark.parametrize("batch", [0, -3])
def test_batch_must_be_positive(batch):
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        prediction_errors(copy_last, GOOD, batch=batch)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"prompt": 0}, ValueError, "prompt: expected at least 1, got 0"),
        ({"prompt": "2"}, TypeError, "prompt: expected an integer, got str"),
        ({"samples": 0}, ValueError, "samples: expected at least 1"),
        ({"batch": 0}, ValueError, "batch: expected at least 1"),
        ({"horizons": []}, ValueError, "horizons: expected at least one, got none"),
        ({"horizons": [2, 0]}, ValueError, "horizons: expected at least 1, got 0"),
        ({"horizons": [1.0]}, TypeError, "horizons: expected an integer, got float"),
        ({"horizons": [1, 4]}, ValueError, "horizons: expected at most 3 with prompt=2 .* got 4"),
        ({"continue_": lambda p, n, g: p}, ValueError, r"continue_: .* \[3, 3, 2\], got"),
        ({"continue_": lambda p, n, g: None}, TypeError, "continue_: .* got NoneType"),
        (
            {"continue_": lambda p, n, g: torch.full((3, n, 2), math.nan)},
            ValueError,
            "continue_: expected it to return finite values",
        ),
    ],
)
def test_free_run_refuses_bad_arguments(settings, error, message):
    arguments = {"continue_": noisy, "prompt": 2, "horizons": [1, 3], **settings}
    with pytest.raises(error, match=message):
        free_run_errors(frames=GOOD, **arguments)
