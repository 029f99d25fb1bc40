"""`seqebm sample`, `seqebm render` and `seqebm demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqebm.cli.common import (
    COUNT,
    DATA_FILES,
    PATH,
    SEED,
    generator,
    picture_shape,
    write_pictures,
)

if TYPE_CHECKING:
    from torch import Tensor

    from seqebm.learning.runs import Run


@click.command()
@click.argument("run", type=PATH)
@click.option("--frames", default=200, show_default=True, type=COUNT, help="Frames to draw.")
@click.option("--count", default=1, show_default=True, type=COUNT, help="Number of samples.")
@click.option("--prompt", type=PATH, help="Data file whose first sequence is continued.")
@click.option("--prompt-frames", default=10, show_default=True, help="Frames of it that are given.")
@click.option("--binary", is_flag=True, help="Draw pixels instead of showing their probabilities.")
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option("--out", required=True, type=PATH, help=".mp4, .gif, .png (a strip) or .h5.")
def sample(
    run: Path,
    frames: int,
    count: int,
    prompt: Path | None,
    prompt_frames: int,
    binary: bool,
    seed: int,
    out: Path,
) -> None:
    """Draw sequences from the run's model, or continue a given one."""
    import torch

    from seqebm.data import load_sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    draw = opened.model.sample if binary else opened.model.sample_means
    prefix = None
    if prompt is not None:
        given = load_sequences(prompt, picture_shape(opened.format.shape))[0].frames
        if not 1 <= prompt_frames <= len(given):
            raise ValueError(
                f"--prompt-frames: expected 1 to {len(given)}, as {prompt} has, got {prompt_frames}"
            )
        prefix = given[None, :prompt_frames]
    drawn = draw(frames, count, prefix, generator(seed))
    if prefix is not None:
        drawn = torch.cat([prefix.expand(count, -1, -1), drawn], dim=1)
    _write(out, drawn, opened)


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--count", default=1, show_default=True, type=COUNT, help="Sequences to show, in a grid."
)
@click.option("--out", required=True, type=PATH, help=".mp4, .gif or .png (a strip).")
def render(source: Path, count: int, out: Path) -> None:
    """Show the sequences of a data file as a video."""
    from seqebm import scenes
    from seqebm.data import load_sequences

    sequences = load_sequences(source)[:count]
    videos, _ = sequences.padded()
    pictures = scenes.many(videos, picture_shape(sequences[0].shape))
    write_pictures(out, pictures, sequences[0].frame_rate)
    click.echo(str(out))


@click.command()
@click.option("--out", default="demo", show_default=True, type=PATH, help="Folder to write to.")
def demo(out: Path) -> None:
    """Train a small RTRBM on bouncing balls, measure it, make videos: minutes on a laptop."""
    from seqebm.demo import run_demo

    click.echo(run_demo(out))


def _write(out: Path, frames: Tensor, run: Run) -> None:
    """Sequences [n, time, visible] as a data file or as pictures in a grid."""
    from seqebm import scenes
    from seqebm.data import Sequences, save_sequences

    form = run.format
    if out.suffix.lower() in DATA_FILES:
        made = Sequences.from_frames(
            frames, shape=form.shape, frame_rate=form.frame_rate, unit=form.unit
        )
        save_sequences(out, made)
    else:
        write_pictures(out, scenes.many(frames, picture_shape(form.shape)), form.frame_rate)
    click.echo(str(out))
