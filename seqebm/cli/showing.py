"""`seqebm sample`, `seqebm render` and `seqebm demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqebm.cli.common import (
    COUNT,
    MOTION_FILES,
    PATH,
    SEED,
    generator,
    sequences_for,
    show,
    write_pictures,
    write_sequences,
)

if TYPE_CHECKING:
    from seqebm.data.mocap import Motion

VIDEO_RATE = 30.0  #: frames a second of the video of a recording that has more


@click.command()
@click.argument("run", type=PATH)
@click.option("--frames", default=200, show_default=True, type=COUNT, help="Frames to draw.")
@click.option("--count", default=1, show_default=True, type=COUNT, help="Number of samples.")
@click.option("--prompt", type=PATH, help="File whose first sequence is continued.")
@click.option("--prompt-frames", default=10, show_default=True, help="Frames of it that are given.")
@click.option(
    "--binary", is_flag=True, help="Draw pixels (real values with their noise), do not show means."
)
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option(
    "--out", required=True, type=PATH, help=".mp4, .gif, .png or .h5; of motions also .bvh, .amc."
)
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

    from seqebm.data import Sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    draw = opened.model.sample if binary else opened.model.sample_means
    prefix = None
    if prompt is not None:
        given = sequences_for(opened, prompt)[0].frames
        if not 1 <= prompt_frames <= len(given):
            raise ValueError(
                f"--prompt-frames: expected 1 to {len(given)}, as {prompt} has, got {prompt_frames}"
            )
        prefix = given[None, :prompt_frames]
    drawn = draw(frames, count, prefix, generator(seed))
    if prefix is not None:
        drawn = torch.cat([prefix.expand(count, -1, -1), drawn], dim=1)
    form = opened.format
    made = Sequences.from_frames(
        drawn, shape=form.shape, frame_rate=form.frame_rate, unit=form.unit, name="sample"
    )
    write_sequences(out, Sequences(made, form.preparation))
    click.echo(str(out))


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--count", default=1, show_default=True, type=COUNT, help="Sequences to show, in a grid."
)
@click.option("--ghost", type=PATH, help="Of motions: another one, drawn faint behind the first.")
@click.option("--out", required=True, type=PATH, help=".mp4, .gif or .png (a strip).")
def render(source: Path, count: int, ghost: Path | None, out: Path) -> None:
    """Show the sequences of a data file, or a motion, as a video."""
    from seqebm.data import load_sequences

    if ghost is None and source.suffix.lower() not in MOTION_FILES:
        sequences = load_sequences(source)[:count]
        write_pictures(out, show(sequences), sequences[0].frame_rate)
    else:
        from seqebm import figures

        motion, behind = _motion(source), None if ghost is None else _motion(ghost)
        write_pictures(out, figures.figure(motion, ghost=behind), motion.frame_rate)
    click.echo(str(out))


def _motion(path: Path) -> Motion:
    """The first motion of a file, at no more frames a second than a video needs."""
    from seqebm import figures
    from seqebm.data import load_sequences, mocap

    if path.suffix.lower() in MOTION_FILES:
        motion = mocap.read_motion(path)
    else:
        motion = mocap.motions(load_sequences(path)[:1])[0]
    return figures.resampled(motion, min(motion.frame_rate, VIDEO_RATE))


@click.command()
@click.option("--out", default="demo", show_default=True, type=PATH, help="Folder to write to.")
def demo(out: Path) -> None:
    """Train a small RTRBM on bouncing balls, measure it, make videos: minutes on a laptop."""
    from seqebm.demo import run_demo

    click.echo(run_demo(out))
