"""Sequences to learn from: generators, and readers of files."""

from seqebm.data.balls import BallVideos, bouncing_balls, bouncing_balls_positions, render_balls
from seqebm.data.readers import load_sequences, open_frames, read_images, read_video
from seqebm.data.sequences import Sequence, Sequences, SymbolSequence, save_sequences

__all__ = [
    "BallVideos",
    "Sequence",
    "Sequences",
    "SymbolSequence",
    "bouncing_balls",
    "bouncing_balls_positions",
    "load_sequences",
    "open_frames",
    "read_images",
    "read_video",
    "render_balls",
    "save_sequences",
]
