"""Music: piano rolls from MIDI files and from the benchmark of polyphonic music, and back."""

from seqebm.data.music.benchmark import BENCHMARK_FILES, ROLL_VARIABLES, read_benchmark
from seqebm.data.music.files import read_music, with_splits
from seqebm.data.music.midi import MIDI_FILES, read_midi, write_midi
from seqebm.data.music.roll import LOWEST, NOTES, PianoRoll, binary_roll
from seqebm.data.music.transpose import transposed, transpositions

__all__ = [
    "BENCHMARK_FILES",
    "LOWEST",
    "MIDI_FILES",
    "NOTES",
    "ROLL_VARIABLES",
    "PianoRoll",
    "binary_roll",
    "read_benchmark",
    "read_midi",
    "read_music",
    "transposed",
    "transpositions",
    "with_splits",
    "write_midi",
]
