"""Pictures of music."""

import numpy as np
import pytest
import torch

from seqebm import pianoroll
from seqebm.pianoroll import FRAME_SIDE, GIVEN, HEAD, KEY_SIDE, LINE, MOST_LINES, NEW, still


def played(*notes, time=4, width=88):
    roll = torch.zeros(time, width)
    for frame, note in notes:
        roll[frame, note] = 1
    return roll


def cell(picture, frame, row):
    """The colour in the middle of a note, rows counted from the bottom."""
    height = picture.shape[1]
    return tuple(picture[0, height - KEY_SIDE * row - 3, FRAME_SIDE * frame + 3].tolist())


def test_time_goes_right_and_pitch_goes_up():
    picture = still(played((0, 60 - 21), (3, 71 - 21)))  # middle C, and B above it
    assert picture.shape == (1, 12 * KEY_SIDE, 4 * FRAME_SIDE, 3)
    assert picture.dtype == np.uint8
    lit = {(f, r) for f in range(4) for r in range(12) if cell(picture, f, r) == NEW}
    assert lit == {(0, 0), (3, 11)}


def test_the_octaves_of_what_is_played_are_shown():
    assert still(played((0, 59 - 21), (1, 60 - 21))).shape[1] == 24 * KEY_SIDE
    assert still(played((0, 0), (1, 87))).shape[1] == 9 * 12 * KEY_SIDE
    assert still(played()).shape[1] == 12 * KEY_SIDE
    assert still(played((0, 127), (1, 0), width=128), lowest=0).shape[1] == 11 * 12 * KEY_SIDE


def test_every_octave_has_a_line():
    picture = still(played((0, 30), (1, 60)))[0].astype(int)
    rows = np.flatnonzero((picture == pianoroll.OCTAVE_LINE).all(axis=(1, 2)))
    assert np.diff(rows).tolist() == [12 * KEY_SIDE] * (len(rows) - 1)
    assert rows[-1] == len(picture) - 1


def test_the_more_probable_the_brighter():
    roll = torch.zeros(5, 88)
    roll[:, 60 - 21] = torch.tensor([0.2, 0.5, 0.8, 1.0, 7.0])
    levels = [sum(cell(still(roll), frame, 0)) for frame in range(5)]
    assert levels[:4] == sorted(set(levels[:4]))
    assert levels[4] == levels[3]


def test_what_was_given_is_grey_and_ends_at_a_line():
    roll = played((0, 39), (1, 39), (2, 39), (3, 39))
    picture = still(roll, given=2)
    assert [cell(picture, frame, 0) for frame in range(4)] == [GIVEN, GIVEN, NEW, NEW]
    assert (picture[0, :, 2 * FRAME_SIDE - 1] == pianoroll.BORDER).all()
    for none in (0, 4):
        assert not (still(roll, given=none) == pianoroll.BORDER).all(axis=(0, 1, 3)).any()


def test_long_rolls_have_lines():
    roll = played((0, 39), (LINE, 39), (LINE + 1, 39), time=LINE + 2)
    picture = still(roll)
    height = 12 * KEY_SIDE
    assert picture.shape == (1, 2 * height + pianoroll.GAP, LINE * FRAME_SIDE, 3)
    second = picture[:, height + pianoroll.GAP :]
    assert [cell(second, frame, 0) == NEW for frame in range(3)] == [True, True, False]
    assert cell(second, 2, 0) == (pianoroll.BACKGROUND,) * 3
    longest = torch.zeros(MOST_LINES * LINE + 1, 88)
    assert still(longest[1:]).shape[1] == MOST_LINES * (height + pianoroll.GAP) - pianoroll.GAP
    with pytest.raises(ValueError, match="at most 8192 frames for a still, got 8193"):
        still(longest)


def heads(pictures):
    """The columns of the play-head."""
    return [int((one[0] == HEAD).all(axis=(0, 2)).argmax()) for one in pictures]


def test_the_head_moves_as_the_music_does():
    roll = played((0, 39), time=8)
    pictures = list(pianoroll.playing(roll, frame_rate=4, video_rate=8))
    assert heads(pictures) == [k * FRAME_SIDE // 2 for k in range(16)]
    expected = still(roll)
    for column, one in zip(heads(pictures), pictures, strict=True):
        aside = [k for k in range(expected.shape[2]) if k not in (column, column + 1)]
        assert np.array_equal(one[:, :, aside], expected[:, :, aside])


def test_the_head_turns_pages():
    roll = torch.ones(LINE + 3, 12)
    pictures = list(pianoroll.playing(roll, frame_rate=1, lowest=60, video_rate=1))
    assert heads(pictures) == [FRAME_SIDE * k for k in [*range(LINE), 0, 1, 2]]
    assert {one.shape for one in pictures} == {(1, 12 * KEY_SIDE, LINE * FRAME_SIDE, 3)}


def test_pictures_of_long_music_come_one_at_a_time():
    first = next(pianoroll.playing(torch.ones(2**17, 12), frame_rate=4, lowest=60))
    assert first.shape == (1, 12 * KEY_SIDE, LINE * FRAME_SIDE, 3)


@pytest.mark.parametrize(
    ("roll", "options", "message"),
    [
        (torch.zeros(0, 88), {}, r"roll: expected finite \[time, notes\]"),
        (torch.zeros(3), {}, r"got \(3,\)"),
        (torch.full((2, 88), torch.nan), {}, "finite"),
        (torch.zeros(2, 88), {"lowest": 41}, "88 notes from 41 on"),
        (torch.zeros(2, 88), {"lowest": -1}, "88 notes from -1 on"),
        (torch.zeros(2, 88), {"given": 3}, "given: expected 0 to 2 frames, got 3"),
    ],
)
def test_what_cannot_be_drawn(roll, options, message):
    for draw in (still, lambda roll, **options: pianoroll.playing(roll, 4, **options)):
        with pytest.raises(ValueError, match=message):
            draw(roll, **options)


@pytest.mark.parametrize("rates", [(0, 25), (4, 0), (float("nan"), 25), (4, float("inf"))])
def test_rates_are_positive(rates):
    with pytest.raises(ValueError, match="not positive"):
        pianoroll.playing(torch.ones(2, 88), rates[0], video_rate=rates[1])
