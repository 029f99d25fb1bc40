"""Music in other keys."""

import pytest
import torch
from made import chords, random_roll, roll_of

from seqebm.data import Sequence, Sequences
from seqebm.data.music import PianoRoll, transposed, transpositions

TEXT = PianoRoll().to_json()


def test_every_note_moves_as_far():
    music = Sequences([roll_of([60, 64], [], [67])], TEXT)
    assert chords(transposed(music, 3)[0]) == [[63, 67], [], [70]]
    assert chords(transposed(music, -12)[0]) == [[48, 52], [], [55]]
    assert transposed(music, 3).preparation == TEXT


def test_there_and_back_is_the_same_music():
    frames = random_roll(1)
    frames[:, :7] = frames[:, -5:] = 0
    music = Sequences([Sequence(frames)])
    for semitones in range(-7, 6):
        again = transposed(transposed(music, semitones), -semitones)
        assert torch.equal(again[0].frames, frames)


@pytest.mark.parametrize(("pitch", "semitones"), [(21, -1), (108, 1), (60, 49), (60, 200)])
def test_notes_that_leave_the_range_are_refused(pitch, semitones):
    music = Sequences([roll_of([pitch], name="edge")])
    with pytest.raises(ValueError, match=rf"edge: a note leaves the range .* {semitones} semitone"):
        transposed(music, semitones)


def test_silence_fits_everywhere():
    assert chords(transposed(Sequences([roll_of([], [])]), 500)[0]) == [[], []]


def test_only_training_sequences_come_in_all_keys_that_fit():
    music = Sequences(
        [
            roll_of([22], [60], name="low", split="train"),
            roll_of([60], name="held out", split="test"),
        ],
        TEXT,
    )
    made = transpositions(music, range(-5, 3))
    assert [one.name for one in made] == ["low -1", "low", "low +1", "low +2", "held out"]
    assert [chords(one)[0] for one in made] == [[21], [22], [23], [24], [60]]
    assert made.preparation == TEXT
    with pytest.raises(ValueError, match="none by which 'low' stays in the range"):
        transpositions(music, range(-9, -1))
