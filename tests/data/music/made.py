"""MIDI files and rolls that tests make up."""

import struct

import torch

from seqebm.data import Sequence

NOTE_ON, NOTE_OFF, END = 0x90, 0x80, b"\xff\x2f\x00"


def number(value):
    """A number as MIDI writes it, seven bits a byte."""
    content = [value & 0x7F]
    while value := value >> 7:
        content.insert(0, value & 0x7F | 0x80)
    return bytes(content)


def event(delta, *content):
    return number(delta) + bytes(content)


def tempo(delta, microseconds):
    return number(delta) + b"\xff\x51\x03" + microseconds.to_bytes(3, "big")


def midi(*tracks, division=480, format=1, end=b"\x00" + END):
    """A file of tracks, each a list of events."""
    chunks = [b"".join(track) + end for track in tracks]
    header = b"MThd" + struct.pack(">IHHH", 6, format, len(tracks), division & 0xFFFF)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(one)) + one for one in chunks)


def held(pitch, ticks, channel=0):
    """A note from the beginning."""
    return [event(0, NOTE_ON | channel, pitch, 64), event(ticks, NOTE_OFF | channel, pitch, 0)]


def random_roll(seed, time=20, share=0.1, notes=88):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(time, notes, generator=generator) < share).float()


def roll_of(*chords, **attributes):
    """A sequence of chords, each a list of pitches."""
    frames = torch.zeros(len(chords), 88)
    for frame, chord in zip(frames, chords, strict=True):
        frame[[pitch - 21 for pitch in chord]] = 1
    return Sequence(frames, **{"frame_rate": 4.0, **attributes})


def chords(sequence):
    """The pitches of each frame."""
    return [(frame.nonzero().ravel() + 21).tolist() for frame in sequence.frames]
