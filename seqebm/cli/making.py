"""`seqebm data`: make or convert training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqebm.cli.common import (
    COUNT,
    DATA_FILES,
    PATH,
    SEED,
    generator,
    sequences_for,
    write_sequences,
)
from seqebm.cli.media import Motions, Texts, medium

if TYPE_CHECKING:
    from torch import Tensor

    from seqebm.data import Sequences
    from seqebm.data.noise import Noise


@click.group()
def data() -> None:
    """Make, convert or damage data: one HDF5 file of sequences."""


@data.command("balls")
@click.option("--n", default=200, show_default=True, type=COUNT, help="Number of videos.")
@click.option("--length", default=100, show_default=True, help="Frames of a video.")
@click.option("--resolution", default=30, show_default=True, help="Pixels a side.")
@click.option("--balls", default=3, show_default=True, help="Balls in a video.")
@click.option("--radius", default=1.2, show_default=True, help="Of the balls; the box is 10 wide.")
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option("--split", default="", help="Mark the videos as train or test.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_balls(out: Path, n: int, seed: int, resolution: int, split: str, **options: Any) -> None:
    """Videos of bouncing balls."""
    from seqebm.data import Sequences, bouncing_balls, save_sequences

    videos = bouncing_balls(n, resolution=resolution, generator=generator(seed), **options)
    shape = (resolution, resolution)
    save_sequences(out, Sequences.from_frames(videos, shape=shape, unit="grey level", split=split))
    click.echo(f"{out}: {n} videos of {options['length']} frames, {resolution}×{resolution} pixels")


@data.command("video")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--resolution", default=30, show_default=True, help="Pixels a side.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_video(files: tuple[Path, ...], resolution: int, out: Path) -> None:
    """Videos (mp4, avi, mov, mkv, gif) or folders of images, as grey frames."""
    from seqebm.data import Sequences, read_images, read_video, save_sequences

    read: dict[bool, Callable[..., Any]] = {True: read_images, False: read_video}
    sequences = Sequences([read[file.is_dir()](file, resolution) for file in files])
    save_sequences(out, sequences)
    click.echo(f"{out}: {len(sequences)} videos, {int(sequences.lengths.sum())} frames")


@data.command("mocap")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option(
    "--frame-rate", type=float, help="Frames a second (default: the lowest of the files)."
)
@click.option(
    "--rotations",
    default="exponential-map",
    show_default=True,
    type=click.Choice(["exponential-map", "six-numbers"]),
    help="The numbers that stand for how a joint turns.",
)
@click.option("--valid", multiple=True, help="Name of a recording to validate on, as 35_30.")
@click.option("--test", multiple=True, help="Name of a recording to test on.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_mocap(
    files: tuple[Path, ...],
    frame_rate: float | None,
    rotations: str,
    valid: tuple[str, ...],
    test: tuple[str, ...],
    out: Path,
) -> None:
    """Recordings of one skeleton (.amc with its .asf, .bvh; or folders), prepared to learn.

    Columns are scaled by the recordings that are left to train on. MIT's walks in a MATLAB file,
    which has its own splits, and the walks and runs of CMU's subject 35 can be read as well.
    """
    from seqebm.data import mocap, save_sequences

    if files[0].suffix.lower() == ".mat" and not mocap.holds_trials(files[0]):
        if len(files) > 1 or valid or test or frame_rate:
            raise ValueError(f"{files[0]}: MIT's walks stand alone, without other files or options")
        sequences = mocap.mit_walking(files[0])
    else:
        motions = [motion for path in files for motion in mocap.read_motions(path)]
        splits = {**dict.fromkeys(valid, "valid"), **dict.fromkeys(test, "test")}
        sequences = mocap.prepared(motions, splits, rotations.replace("-", " "), frame_rate)
    save_sequences(out, sequences)
    click.echo(
        f"{out}: {len(sequences)} motions, {int(sequences.lengths.sum())} frames of "
        f"{sequences.n_visible} values, {sequences[0].frame_rate:g} a second"
    )


@data.command("music")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--frames-per-beat", type=COUNT, help="Of a quarter note of MIDI files (default: 2).")
@click.option("--valid", multiple=True, help="Name of a MIDI file to validate on, as chpn-p6.")
@click.option("--test", multiple=True, help="Name of a MIDI file to test on.")
@click.option(
    "--transpose",
    help="LOW:HIGH, in semitones, as -5:6: training music in all keys that fit in the range.",
)
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_music(
    files: tuple[Path, ...],
    frames_per_beat: int | None,
    valid: tuple[str, ...],
    test: tuple[str, ...],
    transpose: str | None,
    out: Path,
) -> None:
    """Music as piano rolls: MIDI files (.mid; or folders of them).

    The benchmark of Boulanger-Lewandowski et al. (2012), one .mat or .json file, can be read as
    well; it has its own splits.
    """
    from seqebm.data import music, save_sequences

    moves = range(1) if transpose is None else _semitones(transpose)
    if files[0].suffix.lower() in music.BENCHMARK_FILES:
        if len(files) > 1 or valid or test or frames_per_beat:
            raise ValueError(f"{files[0]}: stands alone, without other files or options")
        sequences = music.read_benchmark(files[0])
    else:
        splits = {**dict.fromkeys(valid, "valid"), **dict.fromkeys(test, "test")}
        sequences = music.with_splits(music.read_music(files, frames_per_beat or 2), splits)
    sequences = music.transpositions(sequences, moves)
    save_sequences(out, sequences)
    click.echo(
        f"{out}: {len(sequences)} pieces of music, {int(sequences.lengths.sum())} frames of "
        f"{sequences.n_visible} notes"
    )


@data.command("text")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option(
    "--shares",
    help="TRAIN:VALID:TEST of each file, in this order (default: 90:5:5 where no other files are "
    "given).",
)
@click.option("--valid", multiple=True, type=PATH, help="Another file, to validate on.")
@click.option("--test", multiple=True, type=PATH, help="Another file, to test on.")
@click.option(
    "--bytes", "as_bytes", is_flag=True, help="Learn bytes, of files of any kind, not characters."
)
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_text(
    files: tuple[Path, ...],
    shares: str | None,
    valid: tuple[Path, ...],
    test: tuple[Path, ...],
    as_bytes: bool,
    out: Path,
) -> None:
    """Texts in UTF-8 as sequences of characters, or files of any kind as bytes."""
    from seqebm.data import save_sequences, text

    if shares is None and not valid and not test:
        shares = "90:5:5"
    vocabulary = text.Bytes() if as_bytes else None
    cut = None if shares is None else _shares(shares)
    sequences = text.read_texts(files, vocabulary, cut, valid, test)
    save_sequences(out, sequences)
    click.echo(
        f"{out}: {len(sequences)} texts, {int(sequences.lengths.sum())} {sequences[0].unit}s of "
        f"{sequences.n_visible} kinds"
    )


@data.command("noise")
@click.argument("source", type=PATH)
@click.option("--kind", help="salt-and-pepper, gaussian, white, balls, boxes or dropped.")
@click.option("--strength", default=0.1, show_default=True, help="Of the noise.")
@click.option("--missing", help="What is not observed: pixels, boxes, frames or stretch.")
@click.option("--share", default=0.1, show_default=True, help="Of the pixels that are missing.")
@click.option(
    "--joints", help="Of motions: only what these do is missing, such as lfemur,ltibia,lfoot."
)
@click.option("--resolution", type=COUNT, help="Pixels a side, of videos (default: their own).")
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option("--out", required=True, type=PATH, help=".h5, or .mp4 or .gif of the first sequence.")
@click.option("--mask-out", type=PATH, help="Likewise, white where a pixel is observed.")
def data_noise(
    source: Path,
    kind: str | None,
    strength: float,
    missing: str | None,
    share: float,
    joints: str | None,
    resolution: int | None,
    seed: int,
    out: Path,
    mask_out: Path | None,
) -> None:
    """Damage the sequences of a file with noise, or make some of their pixels black, or both."""
    from seqebm.data import Sequences, load_sequences
    from seqebm.data.noise import MASKS, NOISES

    if kind is None and missing is None:
        raise ValueError("--kind, --missing: expected one of them or both")
    if missing is None and not (mask_out is joints is None):
        raise ValueError("--mask-out, --joints: go with --missing")
    noise = None if kind is None else _named("--kind", NOISES, kind)
    gaps = None if missing is None else _named("--missing", MASKS, missing)
    random, noisy, masks = generator(seed), [], []
    sequences = load_sequences(source, resolution)
    if isinstance(medium(sequences.preparation), Motions) and kind not in (None, "white"):
        raise ValueError(f"--kind: expected white, for motions are no grey levels, got {kind!r}")
    if isinstance(medium(sequences.preparation), Texts):
        raise ValueError(f"{source}: text has no noise of these kinds")
    kept = None if joints is None else ~_columns_of(joints, sequences)
    for one in sequences:
        shape = (one.shape[0], one.shape[1]) if len(one.shape) == 2 else None
        frames = one.frames if noise is None else noise(one.frames, strength, random, shape)
        if gaps is not None:
            mask = gaps(one.frames, share, random, shape)
            seen = (mask if kept is None else mask | kept).to(frames)
            frames = frames * seen
            masks.append(replace(one, frames=seen, unit="observed", scale=1.0, offset=0.0))
        noisy.append(replace(one, frames=frames))
    _write_first(out, Sequences(noisy, sequences.preparation))
    if mask_out is not None:
        _write_first(mask_out, Sequences(masks))
    click.echo(f"{out}: {len(noisy)} sequences, {sum(len(one.frames) for one in noisy)} frames")


@data.command("hiddens")
@click.argument("run", type=PATH)
@click.option("--data", "source", required=True, type=PATH, help="What the run's model is given.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_hiddens(run: Path, source: Path, out: Path) -> None:
    """Filtered means of the hidden units of a trained model, for another model to learn from."""
    from seqebm.data import Sequence, save_sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    sequences = sequences_for(opened, source)

    def hiddens(one: Sequence) -> Sequence:
        means = opened.model.filter(one.frames[None])[0]
        made = Sequence(means, one.name, one.frame_rate, "probability", split=one.split)
        return made.backwards() if opened.recipe.backwards else made

    save_sequences(out, map(hiddens, sequences))
    click.echo(f"{out}: {len(sequences)} sequences, {int(sequences.lengths.sum())} frames")


def _write_first(out: Path, sequences: Sequences) -> None:
    """A data file of all sequences, or another file of the first."""
    write_sequences(out, sequences if out.suffix.lower() in DATA_FILES else sequences[:1])


def _shares(text: str) -> list[float]:
    """What TRAIN:VALID:TEST stands for."""
    try:
        return [float(part) for part in text.split(":")]
    except ValueError:
        raise ValueError(f"--shares: expected TRAIN:VALID:TEST, got {text!r}") from None


def _semitones(text: str) -> range:
    """What LOW:HIGH stands for, both included."""
    low, colon, high = text.partition(":")
    try:
        found = range(int(low), int(high) + 1)
    except ValueError:
        found = range(0)
    if not colon or not found or len(found) > 128:
        raise ValueError(f"--transpose: expected LOW:HIGH in semitones, as -5:6, got {text!r}")
    return found


def _columns_of(joints: str, sequences: Sequences) -> Tensor:
    """True for the columns of prepared motions that are those of the joints, [visible]."""
    import torch

    from seqebm.data import mocap

    names = mocap.read_preparation(sequences.preparation).names
    owners = [name.partition(".")[0] for name in names]
    unknown = [joint for joint in joints.split(",") if joint not in owners]
    if unknown:
        known = ", ".join(dict.fromkeys(owners))
        raise ValueError(f"--joints: there is no {unknown[0]!r} that moves, there are {known}")
    return torch.tensor([owner in joints.split(",") for owner in owners])


def _named(option: str, known: dict[str, Noise], name: str) -> Noise:
    if name not in known:
        raise ValueError(f"{option}: expected one of {', '.join(known)}, got {name!r}")
    return known[name]
