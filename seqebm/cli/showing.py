"""`seqebm sample`, `seqebm render` and `seqebm demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seqebm.cli.common import (
    COUNT,
    PATH,
    SEED,
    generator,
    sequences_for,
    write_sequences,
)
from seqebm.cli.media import MOTION_FILES, medium, write_pictures

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
    "--binary/--means",
    default=None,
    help="Draw pixels (real values with their noise), or show means (default: means; of music, "
    "notes that are drawn).",
)
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option(
    "--out",
    required=True,
    type=PATH,
    help=".mp4, .gif, .png or .h5; of motions also .bvh, .amc; of music also .mid, .wav.",
)
def sample(
    run: Path,
    frames: int,
    count: int,
    prompt: Path | None,
    prompt_frames: int,
    binary: bool | None,
    seed: int,
    out: Path,
) -> None:
    """Draw sequences from the run's model, or continue a given one."""
    import torch

    from seqebm.data import Sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    form = opened.format
    drawn = medium(form.preparation).drawn if binary is None else binary
    draw = opened.model.sample if drawn else opened.model.sample_means
    prefix, given, frame_rate = None, 0, form.frame_rate
    if prompt is not None:
        first = sequences_for(opened, prompt)[0]
        given, frame_rate = prompt_frames, first.frame_rate
        if not 1 <= given <= len(first.frames):
            raise ValueError(
                f"--prompt-frames: expected 1 to {len(first.frames)}, as {prompt} has, got {given}"
            )
        prefix = first.frames[None, :given]
    made = draw(frames, count, prefix, generator(seed))
    if prefix is not None:
        made = torch.cat([prefix.expand(count, -1, -1), made], dim=1)
    new = Sequences.from_frames(
        made, shape=form.shape, frame_rate=frame_rate, unit=form.unit, name="sample"
    )
    write_sequences(out, Sequences(new, form.preparation), given)
    click.echo(str(out))


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--count", default=1, show_default=True, type=COUNT, help="Sequences to show, in a grid."
)
@click.option("--ghost", type=PATH, help="Of motions: another one, drawn faint behind the first.")
@click.option(
    "--out", required=True, type=PATH, help=".mp4, .gif or .png (a strip); of music also .wav."
)
def render(source: Path, count: int, ghost: Path | None, out: Path) -> None:
    """Show the sequences of a data file, a motion or music as a video.

    Music in an .mp4 can be heard as well, and as a .png it is all of a piano roll.
    """
    from seqebm.data import load_sequences

    if ghost is None and source.suffix.lower() not in MOTION_FILES:
        write_sequences(out, load_sequences(source)[:count])
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
