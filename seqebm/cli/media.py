"""What sequences show, which their preparation tells: videos, moving figures, music or text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqebm.data import Sequence, Sequences
    from seqebm.data.music import PianoRoll
    from seqebm.video import Pictures

MOTION_FILES = (".amc", ".bvh")  # as in seqebm.data.mocap, which takes a while to import
MIDI_FILES = (".mid", ".midi")
SOUND_FILES = (".wav",)
TEXT_FILES = (".txt",)
MOST_SHOWN = 1024  # frames of music in a video that is made in memory, which takes 2 GB


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The frame shape as (height, width); frames that are no pictures show as one row."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, math.prod(shape))


def write_pictures(out: Path, pictures: Any, frame_rate: float) -> None:
    """A video; or a png strip of about ten frames."""
    from seqebm import video

    if out.suffix == ".png":
        pictures = video.strip(pictures, every=max(1, len(pictures) // 10))
    video.save(out, pictures, frame_rate)


class Videos:
    """Frames that are pictures, or nothing in particular."""

    drawn = False  #: whether a sample is drawn from what is probable, or is how probable it is

    def read(self, path: Path, shape: tuple[int, ...], preparation: str) -> Sequences:
        """The sequences of a file as frames of this shape, and of this preparation if need be."""
        from seqebm.data import load_sequences

        return load_sequences(path, picture_shape(shape))

    def show(self, sequences: Sequences) -> Pictures:
        """A picture for each frame, of several sequences in a grid."""
        from seqebm import scenes

        return scenes.many(sequences.padded()[0], picture_shape(sequences[0].shape))

    def write(self, out: Path, sequences: Sequences, given: int) -> None:
        """What can be seen; `given` frames at the beginning were not made by a model."""
        write_pictures(out, self.show(sequences), sequences[0].frame_rate)


class Motions(Videos):
    """Prepared motions, which show as figures; those that are done stand still."""

    def read(self, path: Path, shape: tuple[int, ...], preparation: str) -> Sequences:
        """A recording is prepared as the preparation says."""
        if path.suffix.lower() not in MOTION_FILES:
            return super().read(path, shape, preparation)
        from seqebm.data import Sequences, mocap

        prepared = mocap.read_preparation(preparation)
        return Sequences([prepared.sequence(mocap.read_motion(path))], preparation)

    def show(self, sequences: Sequences) -> Pictures:
        """A figure for each frame."""
        from seqebm import figures
        from seqebm.data import mocap

        return _grid([figures.figure(motion) for motion in mocap.motions(sequences)])


class Music(Videos):
    """Piano rolls, which can be listened to."""

    drawn = True

    def read(self, path: Path, shape: tuple[int, ...], preparation: str) -> Sequences:
        """MIDI files are read with as many frames a beat as the preparation says."""
        from seqebm.data.music import PianoRoll, read_music

        if path.suffix.lower() not in MIDI_FILES:
            return super().read(path, shape, preparation)
        return read_music([path], PianoRoll.from_json(preparation).frames_per_beat)

    def show(self, sequences: Sequences) -> Pictures:
        """A play-head that is at each frame."""
        import numpy as np

        from seqebm import pianoroll

        lowest, longest = piano_roll(sequences).lowest, int(sequences.lengths.max())
        if longest > MOST_SHOWN:
            raise ValueError(
                f"music of {longest} frames is too long to be shown without sound, expected at "
                f"most {MOST_SHOWN}: write an .mp4"
            )
        pages = (
            pianoroll.playing(one.frames, frame_rate=1, lowest=lowest, video_rate=1)
            for one in sequences
        )
        return _grid([np.concatenate([*pictures]) for pictures in pages])

    def write(self, out: Path, sequences: Sequences, given: int) -> None:
        """A still, or a film with sound of the only sequence."""
        from seqebm import pianoroll, video

        lowest = piano_roll(sequences).lowest
        if out.suffix.lower() == ".png":
            stills = [pianoroll.still(one.frames, lowest, given) for one in sequences]
            video.save(out, stills[0] if len(stills) == 1 else video.grid(stills))
        elif out.suffix.lower() == ".mp4":
            from seqebm.sound import write_film

            one = only(out, sequences)
            pictures = pianoroll.playing(one.frames, one.frame_rate, lowest, given)
            write_film(out, pictures, pianoroll.VIDEO_RATE, sound_of(sequences))
        else:
            super().write(out, sequences, given)


class Texts(Videos):
    """Symbols, which can be read."""

    drawn = True

    def read(self, path: Path, shape: tuple[int, ...], preparation: str) -> Sequences:
        """Text files are read with the vocabulary that the preparation is."""
        from seqebm.data.text import read_texts, read_vocabulary

        if path.suffix.lower() not in TEXT_FILES:
            return super().read(path, shape, preparation)
        return read_texts([path], read_vocabulary(preparation))

    def show(self, sequences: Sequences) -> Pictures:
        """No pictures.

        Raises:
            ValueError: always.
        """
        raise ValueError("text: has no pictures; a .txt can be written (evaluate has --picture)")

    def write(self, out: Path, sequences: Sequences, given: int) -> None:
        """The texts, with an empty line between them."""
        from seqebm.data.text import read_vocabulary
        from seqebm.files import atomic_path

        if out.suffix.lower() not in TEXT_FILES:
            raise ValueError(f"{out}: text is written to .txt or .h5")
        vocabulary = read_vocabulary(sequences.preparation)
        texts = [vocabulary.text(one.frames) for one in sequences]
        with atomic_path(out) as temporary:
            temporary.write_text("\n\n".join(texts) + "\n", encoding="utf-8", newline="\n")


def medium(preparation: str) -> Videos:
    """What sequences of this preparation show."""
    from seqebm.data.music import PianoRoll
    from seqebm.data.preparations import read_preparation
    from seqebm.data.text import Vocabulary

    prepared = read_preparation(preparation)
    if prepared is None:
        return Videos()
    if isinstance(prepared, Vocabulary):
        return Texts()
    return Music() if isinstance(prepared, PianoRoll) else Motions()


def piano_roll(sequences: Sequences) -> PianoRoll:
    """What the frames of music are.

    Raises:
        ValueError: they are not music.
    """
    from seqebm.data.music import PianoRoll

    if not sequences.preparation:
        raise ValueError("preparation: the frames are not music")
    return PianoRoll.from_json(sequences.preparation)


def sound_of(sequences: Sequences) -> Any:
    """The samples of the first sequence."""
    from seqebm.data.music import binary_roll
    from seqebm.sound import synthesised

    lowest = piano_roll(sequences).lowest
    return synthesised(binary_roll(sequences[0]), sequences[0].frame_rate, lowest)


def only(out: Path, sequences: Sequences) -> Sequence:
    """The sequence, where there is one; a ValueError where `out` would have to hold several."""
    if len(sequences) > 1:
        raise ValueError(f"{out}: has room for one sequence, got {len(sequences)}")
    return sequences[0]


def _grid(panels: list[Pictures]) -> Pictures:
    """Videos of any lengths in a grid; those that are done stand still."""
    import numpy as np

    from seqebm import video

    longest = max(map(len, panels))
    still = [np.repeat(panel[-1:], longest - len(panel), axis=0) for panel in panels]
    return video.grid([np.concatenate(pair) for pair in zip(panels, still, strict=True)])
