"""Accuracy of foretold notes and statistics of music, against loops written by hand."""

import itertools
from collections import Counter

import pytest
import torch

from seqebm.data.music import read_benchmark
from seqebm.evaluate.music import (
    format_statistics,
    frame_accuracy,
    roll_statistics,
    total_variation,
)

LENGTHS = torch.tensor([9, 1, 6, 4])


def rolls(seed, *shape, share=0.2):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < share).float()


def real_frames(frames, lengths):
    """The frames of each sequence as sets of notes."""
    return [
        [set(frame.nonzero().ravel().tolist()) for frame in one[:length]]
        for one, length in zip(frames, lengths, strict=True)
    ]


def test_accuracy_is_that_of_a_loop():
    frames, samples = rolls(1, 4, 9, 10), rolls(2, 5, 4, 9, 10)
    expected = []
    for sample in samples:
        right = wrong = missing = 0
        foretold = real_frames(sample, LENGTHS)
        for truth, guess in zip(real_frames(frames, LENGTHS), foretold, strict=True):
            for sounds, said in zip(truth, guess, strict=True):
                right += len(sounds & said)
                wrong += len(said - sounds)
                missing += len(sounds - said)
        expected.append(right / (right + wrong + missing))
    mean = sum(expected) / len(expected)
    assert frame_accuracy(samples, frames, LENGTHS) == pytest.approx(mean)
    assert frame_accuracy(iter(samples), frames, LENGTHS) == pytest.approx(mean)


def test_perfect_and_useless_samples():
    frames = rolls(1, 3, 5, 8)
    assert frame_accuracy(frames[None], frames) == 1
    assert frame_accuracy(1 - frames[None], frames) == 0
    silence = torch.zeros(1, 3, 5, 8)
    assert frame_accuracy(silence, frames) == 0
    assert frame_accuracy(silence, silence[0]) == 1


def test_padding_does_not_count():
    frames, samples = rolls(1, 4, 9, 10), rolls(2, 5, 4, 9, 10)
    padding = torch.arange(9) >= LENGTHS[:, None]
    other = frames.masked_fill(padding[..., None], torch.nan)
    assert frame_accuracy(samples, other, LENGTHS) == frame_accuracy(samples, frames, LENGTHS)
    other = samples.masked_fill(padding[..., None], 1.0)
    assert frame_accuracy(other, frames, LENGTHS) == frame_accuracy(samples, frames, LENGTHS)
    one, same = roll_statistics(frames, LENGTHS), roll_statistics(frames * ~padding[..., None])
    assert torch.equal(one.melody_steps, same.melody_steps)


@pytest.mark.parametrize(
    ("samples", "frames", "message"),
    [
        (torch.ones(2, 1, 3, 4), torch.full((1, 3, 4), 0.5), "frames: expected zeros and ones"),
        (torch.rand(2, 1, 3, 4), torch.ones(1, 3, 4), "samples: expected zeros and ones"),
        (torch.ones(1, 3, 4), torch.ones(1, 3, 4), r"samples: expected \[1, 3, 4\] each"),
        ([], torch.ones(1, 3, 4), "samples: expected at least one"),
    ],
)
def test_what_is_no_prediction_of_notes(samples, frames, message):
    with pytest.raises(ValueError, match=message):
        frame_accuracy(samples, frames)


def shares(counts, keys):
    total = max(1, sum(counts.values()))
    return [counts[key] / total for key in keys]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_statistics_are_those_of_loops(share):
    frames = rolls(3, 4, 9, 10, share=share)
    frames[:, 3] = frames[:, 2]
    sizes, intervals, steps = Counter(), Counter(), Counter()
    pairs = repeated = held = later = 0
    for piece in real_frames(frames, LENGTHS):
        for chord in piece:
            sizes[len(chord)] += 1
            intervals.update(high - low for low in chord for high in chord if low < high)
        for before, after in itertools.pairwise(piece):
            pairs += 1
            repeated += before == after
            held += len(before & after)
            later += len(after)
            if before and after:
                steps[max(after) - max(before)] += 1
    found = roll_statistics(frames, LENGTHS)
    assert found.chord_sizes.tolist() == pytest.approx(shares(sizes, range(11)))
    assert found.chord_intervals.tolist() == pytest.approx(shares(intervals, range(10)))
    assert found.melody_steps.tolist() == pytest.approx(shares(steps, range(-9, 10)))
    assert found.repeated == pytest.approx(repeated / pairs)
    assert found.held == pytest.approx(held / max(1, later))
    assert found.silent == pytest.approx(sizes[0] / 20)
    assert found.mean_notes == pytest.approx(sum(n * k for n, k in sizes.items()) / 20)


def test_single_frames_have_nothing_before_them():
    found = roll_statistics(torch.ones(2, 1, 3))
    assert (found.repeated, found.held, found.silent) == (0, 0, 0)
    assert not found.melody_steps.any()


def test_total_variation_is_from_none_to_all():
    first, second = torch.rand(2, 9).softmax(1)
    assert total_variation(first, first) == 0
    assert total_variation(first, second) == pytest.approx(
        max(float((first - second)[rows].sum()) for rows in [first > second])
    )
    assert total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])) == 1
    with pytest.raises(ValueError, match="other: expected"):
        total_variation(first, second[1:])


def test_the_table_has_a_row_for_each():
    table = {name: roll_statistics(rolls(k, 4, 9, 10)) for k, name in enumerate("abc")}
    lines = format_statistics(table).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["a", "b", "c"]
    assert lines[1].split()[-3:] == ["0.000"] * 3
    with pytest.raises(ValueError, match="at least one"):
        format_statistics({})


def test_chorales_have_four_voices_that_move_by_steps(real_data):
    chorales = read_benchmark(real_data("music_polyphonic") / "JSB_Chorales.mat").split("test")
    found = roll_statistics(*chorales.padded())
    assert found.chord_sizes.argmax() == 4
    assert found.melody_steps[87 - 2 : 87 + 3].sum() > 0.8
    assert found.silent < 0.01
