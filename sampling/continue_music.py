"""Let a trained model go on with a piece of music.

    python sampling/continue_music.py run/ song.mid continued.mp4

The run has learned piano rolls (`seqebm data music`). The first quarter of the piece is continued
to its length and at its speed; beside the film of the roll a .mid and a .wav of what is heard in it
are written. Grey notes are those that were given.
"""

import sys
from pathlib import Path

import torch

from seqebm import pianoroll, sound
from seqebm.data import Sequence
from seqebm.data.music import PianoRoll, binary_roll, read_midi, write_midi
from seqebm.learning.runs import open_run

folder, song, out = sys.argv[1:]
run = open_run(folder)
preparation = PianoRoll.from_json(run.format.preparation)
piece = read_midi(song, preparation.frames_per_beat)
prompt = piece.frames[: max(1, len(piece.frames) // 4)]
made = run.model.sample(
    len(piece.frames) - len(prompt),
    prefix=prompt[None],
    generator=torch.Generator().manual_seed(1),
)[0]
whole = Sequence(torch.cat([prompt, made]), "continued", piece.frame_rate)
write_midi(Path(out).with_suffix(".mid"), whole, preparation)
samples = sound.synthesised(binary_roll(whole), whole.frame_rate, preparation.lowest)
sound.write_wav(Path(out).with_suffix(".wav"), samples)
pictures = pianoroll.playing(whole.frames, whole.frame_rate, preparation.lowest, len(prompt))
sound.write_film(out, pictures, pianoroll.VIDEO_RATE, samples)
