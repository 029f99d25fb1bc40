"""Music in other keys, to hear it there and to learn from all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from seqebm.data.sequences import Sequence, Sequences


def transposed(sequences: Sequences, semitones: int) -> Sequences:
    """Piano rolls with every note so much higher.

    Args:
        sequences: rolls, or probabilities of notes.
        semitones: 12 are an octave; negative ones go down.

    Raises:
        ValueError: a note would leave the range of the roll. It is not moved by an octave, which
            would make another voicing: that is for a musician to decide.

    Example:
        >>> scale = Sequences([Sequence(torch.eye(5)[:3], name="scale")])
        >>> transposed(scale, 2)[0].frames.argmax(1)
        tensor([2, 3, 4])
        >>> transposed(scale, 3)
        Traceback (most recent call last):
        ValueError: scale: a note leaves the range when it is moved by 3 semitones
    """
    return Sequences((_moved(one, semitones) for one in sequences), sequences.preparation)


def transpositions(sequences: Sequences, semitones: Iterable[int]) -> Sequences:
    """Training sequences in all keys in which they stay in the range; others as they are.

    Args:
        sequences: rolls whose split is "train", and any others.
        semitones: how far to move, such as ``range(-5, 7)`` for all twelve keys; 0 leaves a
            sequence as it is.

    Returns:
        In the place of each training sequence those made from it, whose names say how far they are
        moved, such as "prelude +3".

    Raises:
        ValueError: a training sequence fits nowhere.

    Example:
        >>> scale = Sequence(torch.eye(5)[:3], name="scale", split="train")
        >>> [one.name for one in transpositions(Sequences([scale]), range(-1, 4))]
        ['scale', 'scale +1', 'scale +2']
    """
    moves = list(semitones)
    made = (new for one in sequences for new in _in_all_keys(one, moves))
    return Sequences(made, sequences.preparation)


def _in_all_keys(one: Sequence, moves: list[int]) -> Iterator[Sequence]:
    if one.split != "train":
        yield one
        return
    fitting = [semitones for semitones in moves if _fits(one, semitones)]
    if not fitting:
        raise ValueError(f"semitones: there is none by which {one.name!r} stays in the range")
    for semitones in fitting:
        name = f"{one.name} {semitones:+d}" if semitones else one.name
        yield replace(_moved(one, semitones), name=name)


def _fits(one: Sequence, semitones: int) -> bool:
    played = one.frames.any(0).nonzero()
    places = played + semitones
    return bool(((places >= 0) & (places < one.frames.shape[1])).all())


def _moved(one: Sequence, semitones: int) -> Sequence:
    if not _fits(one, semitones):
        raise ValueError(
            f"{one.name or 'sequence'}: a note leaves the range when it is moved by {semitones} "
            f"semitone{'' if abs(semitones) == 1 else 's'}"
        )
    return replace(one, frames=torch.roll(one.frames, semitones, dims=1))
