"""Folders of music, and which of it is to train on."""

import pytest
from made import chords, roll_of

from seqebm.data import load_sequences
from seqebm.data.music import PianoRoll, read_music, with_splits, write_midi


@pytest.fixture
def folder(tmp_path):
    for name, pitch in (("b.mid", 62), ("a.MIDI", 60), ("c.mid", 64)):
        write_midi(tmp_path / name, roll_of([pitch], [pitch]))
    (tmp_path / "notes.txt").write_text("ignored")
    return tmp_path


def test_all_files_of_a_folder_are_read_in_the_order_of_names(folder):
    for music in (load_sequences(folder), read_music([folder / "a.MIDI", folder])[1:]):
        assert [one.name for one in music] == ["a", "b", "c"]
        assert [chords(one)[0] for one in music] == [[60], [62], [64]]
        assert music.preparation == PianoRoll().to_json()


def test_a_beat_may_have_more_frames(folder):
    music = read_music([folder], frames_per_beat=4)
    assert music.lengths.tolist() == [4, 4, 4]
    assert music[0].frame_rate == 8
    assert music.preparation == PianoRoll(4).to_json()


def test_splits_go_by_name(folder):
    music = with_splits(read_music([folder]), {"b": "test", "c": "valid"})
    assert [one.split for one in music] == ["train", "test", "valid"]
    with pytest.raises(ValueError, match="there is no 'd', there are a, b, c"):
        with_splits(music, {"d": "test"})


def test_what_is_no_music_is_named(folder):
    with pytest.raises(ValueError, match=r"notes\.txt: expected a file of type \.mid, \.midi"):
        read_music([folder / "notes.txt"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: holds no \.mid or \.midi"):
        read_music([folder / "empty"])
    with pytest.raises(FileNotFoundError, match=r"z\.mid: no such file"):
        load_sequences(folder / "z.mid")
