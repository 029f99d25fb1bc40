"""`seqebm data`: make or convert training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqebm.cli.common import COUNT, PATH, SEED, generator, picture_shape, write_sequences

if TYPE_CHECKING:
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


@data.command("noise")
@click.argument("source", type=PATH)
@click.option("--kind", help="salt-and-pepper, gaussian, balls, boxes or dropped.")
@click.option("--strength", default=0.1, show_default=True, help="Of the noise.")
@click.option("--missing", help="Pixels that are not observed: pixels, boxes or frames.")
@click.option("--share", default=0.1, show_default=True, help="Of the pixels that are missing.")
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
    if mask_out is not None and missing is None:
        raise ValueError("--mask-out: goes with --missing")
    noise = None if kind is None else _named("--kind", NOISES, kind)
    gaps = None if missing is None else _named("--missing", MASKS, missing)
    random, noisy, masks = generator(seed), [], []
    for one in load_sequences(source, resolution):
        shape = (one.shape[0], one.shape[1]) if len(one.shape) == 2 else None
        frames = one.frames if noise is None else noise(one.frames, strength, random, shape)
        if gaps is not None:
            seen = gaps(one.frames, share, random, shape).to(frames)
            frames = frames * seen
            masks.append(replace(one, frames=seen, unit="observed", scale=1.0, offset=0.0))
        noisy.append(replace(one, frames=frames))
    write_sequences(out, Sequences(noisy))
    if mask_out is not None:
        write_sequences(mask_out, Sequences(masks))
    click.echo(f"{out}: {len(noisy)} videos, {sum(len(one.frames) for one in noisy)} frames")


@data.command("hiddens")
@click.argument("run", type=PATH)
@click.option("--data", "source", required=True, type=PATH, help="What the run's model is given.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_hiddens(run: Path, source: Path, out: Path) -> None:
    """Filtered means of the hidden units of a trained model, for another model to learn from."""
    from seqebm.data import load_sequences, save_sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    sequences = load_sequences(source, picture_shape(opened.format.shape))
    plain: dict[str, Any] = {"unit": "probability", "shape": (), "scale": 1.0, "offset": 0.0}
    save_sequences(
        out,
        (replace(s, frames=opened.model.filter(s.frames[None])[0], **plain) for s in sequences),
    )
    click.echo(f"{out}: {len(sequences)} sequences, {int(sequences.lengths.sum())} frames")


def _named(option: str, known: dict[str, Noise], name: str) -> Noise:
    if name not in known:
        raise ValueError(f"{option}: expected one of {', '.join(known)}, got {name!r}")
    return known[name]
