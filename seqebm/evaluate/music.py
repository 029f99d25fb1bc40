"""How well notes are foretold, and what music sounds like in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from seqebm.evaluate.inputs import check_sequences, real


def frame_accuracy(
    samples: Iterable[Tensor], frames: Tensor, lengths: Tensor | None = None
) -> float:
    """Expected frame-level accuracy, as Boulanger-Lewandowski et al. (2012) report it in percent.

    The accuracy of Bay, Ehmann and Downie (2009) of one sample is TP / (TP + FP + FN): notes that
    are foretold and sound, over those that are foretold, or sound, or both, each summed over all
    frames of all sequences before they are divided, so that long sequences count for more. Notes
    that are rightly silent do not count. It is averaged over samples; 1 where nothing sounds and
    nothing is foretold.

    Args:
        samples: of zeros and ones, ``[n, batch, time, notes]``, or any number of them
            ``[batch, time, notes]`` one after another: frame t drawn from p(v_t | v_1 … v_{t−1})
            of the true past, the first one too.
        frames: what sounds, ``[batch, time, notes]``, zeros and ones.
        lengths: ``[batch]``, or None if no sequence is padded.

    Returns:
        From 0 to 1.

    Raises:
        TypeError, ValueError: arguments are malformed, not zeros and ones, or there is no sample.

    Example:
        >>> frames = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> foretold = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]])
        >>> frame_accuracy(foretold[None], frames)  # 2 right, 1 missing, 1 too many
        0.5
    """
    truth, there = _notes("frames", frames, lengths)
    accuracies = [_accuracy(sample, truth, there) for sample in samples]
    if not accuracies:
        raise ValueError("samples: expected at least one, got none")
    return sum(accuracies) / len(accuracies)


def _accuracy(sample: Tensor, truth: Tensor, there: Tensor) -> float:
    if sample.shape != truth.shape:
        raise ValueError(f"samples: expected {[*truth.shape]} each, got {[*sample.shape]}")
    foretold = _binary("samples", sample) & there[..., None]
    either = int((foretold | truth).sum())
    return int((foretold & truth).sum()) / either if either else 1.0


class RollStatistics(NamedTuple):
    """What a musician compares, as shares of all frames, notes or steps there are.

    Attributes:
        chord_sizes: of the frames, those with 0, 1, 2 … notes, ``[1 + notes]``.
        chord_intervals: of the pairs of notes that sound together, those that are 0, 1, 2 …
            semitones apart, ``[notes]``.
        melody_steps: of the steps from a highest note to that of the next frame, those of
            −(notes − 1) … notes − 1 semitones, ``[2 · notes − 1]``; steps from or to silence do
            not count.
        repeated: of the frames that have one before, those that equal it.
        held: of the notes in frames that have one before, those that sound in that one too.
        silent: of the frames, those without a note.
    """

    chord_sizes: Tensor
    chord_intervals: Tensor
    melody_steps: Tensor
    repeated: float
    held: float
    silent: float

    @property
    def mean_notes(self) -> float:
        """Notes of a frame, silent ones included."""
        return float(self.chord_sizes @ torch.arange(len(self.chord_sizes)).double())


def roll_statistics(frames: Tensor, lengths: Tensor | None = None) -> RollStatistics:
    """Counts what happens in piano rolls. Where there is nothing to count, shares are 0.

    Args:
        frames: ``[batch, time, notes]``, zeros and ones.
        lengths: ``[batch]``, or None if no sequence is padded.

    Raises:
        TypeError, ValueError: arguments are malformed, or not zeros and ones.

    Example:
        >>> chords = torch.zeros(1, 3, 12)
        >>> chords[0, :2, [0, 4, 7]] = 1  # C major, held
        >>> chords[0, 2, 9] = 1
        >>> found = roll_statistics(chords)
        >>> found.repeated, found.held, found.mean_notes
        (0.5, 0.75, 2.3333333333333335)
        >>> found.chord_intervals.nonzero().ravel(), found.melody_steps.nonzero().ravel() - 11
        (tensor([3, 4, 7]), tensor([0, 2]))
    """
    notes, there = _notes("frames", frames, lengths)
    width = notes.shape[2]
    sizes = notes.sum(2)[there]
    before, after = notes[:, :-1], notes[:, 1:]
    follows = there[:, 1:]
    pairs = [(notes[..., : width - n] & notes[..., n:]).sum() for n in range(1, width)]
    return RollStatistics(
        chord_sizes=_shares(sizes.bincount(minlength=1 + width)),
        chord_intervals=_shares(torch.tensor([0, *pairs])),
        melody_steps=_shares(_steps(before, after)),
        repeated=_share((before == after).all(2) & follows, follows),
        held=_share(before & after, after),
        silent=float((sizes == 0).double().mean()),
    )


def total_variation(shares: Tensor, other: Tensor) -> float:
    """Distance of two histograms, ½ Σ |p − q|: from 0, if equal, to 1, if they share nothing.

    Raises:
        ValueError: histograms of different sizes.

    Example:
        >>> total_variation(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.5, 0.0, 0.5]))
        0.5
    """
    if shares.shape != other.shape:
        raise ValueError(f"other: expected {[*shares.shape]}, got {[*other.shape]}")
    return float((shares - other).abs().sum() / 2)


def format_statistics(statistics: Mapping[str, RollStatistics]) -> str:
    """Lays statistics out as text, and how far their histograms are from those of the first.

    Args:
        statistics: by name, what the others are compared with first, as a rule the data.

    Returns:
        Lines of equal length, without a newline at the end. The last three columns are
        `total_variation`.

    Raises:
        ValueError: there are none.

    Example:
        >>> scale, chord = torch.eye(12)[None], torch.ones(1, 12, 12)
        >>> both = {"scale": roll_statistics(scale), "cluster": roll_statistics(chord)}
        >>> print(format_statistics(both))
                 notes  repeated   held  silent  sizes  intervals  steps
        scale     1.00     0.000  0.000   0.000  0.000      0.000  0.000
        cluster  12.00     1.000  1.000   0.000  1.000      0.500  1.000
    """
    if not statistics:
        raise ValueError("statistics: expected at least one, got none")
    first = next(iter(statistics.values()))
    rows = [["", "notes", "repeated", "held", "silent", "sizes", "intervals", "steps"]]
    for name, one in statistics.items():
        shares = [one.repeated, one.held, one.silent]
        shares += [total_variation(*pair) for pair in zip(one[:3], first[:3], strict=True)]
        rows.append([name, f"{one.mean_notes:.2f}", *(f"{share:.3f}" for share in shares)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _steps(before: Tensor, after: Tensor) -> Tensor:
    """How often the highest note moves by how much."""
    width = before.shape[2]
    sing = before.any(2) & after.any(2)
    ranks = torch.arange(1, 1 + width, device=before.device)
    first, second = ((notes * ranks).amax(2)[sing] for notes in (before, after))
    return (second - first + width - 1).bincount(minlength=2 * width - 1)


def _notes(name: str, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """What sounds, nothing in the padding, and which frames are none of it."""
    there = real(check_sequences(frames, lengths), frames.shape[1])
    return _binary(name, frames.masked_fill(~there[..., None], 0)), there


def _binary(name: str, values: Tensor) -> Tensor:
    notes = values == 1
    if not bool((notes | (values == 0)).all()):
        raise ValueError(f"{name}: expected zeros and ones")
    return notes


def _shares(counts: Tensor) -> Tensor:
    return counts.cpu().double() / max(1, int(counts.sum()))


def _share(counted: Tensor, of: Tensor) -> float:
    return int(counted.sum()) / max(1, int(of.sum()))
