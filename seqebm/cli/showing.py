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
from seqebm.cli.media import MOTION_FILES, Texts, medium, write_pictures
from seqebm.cli.texts import sample_text

if TYPE_CHECKING:
    from seqebm.data.mocap import Motion

VIDEO_RATE = 30.0  #: frames a second of the video of a recording that has more


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--frames", default=200, show_default=True, type=COUNT, help="Frames, or characters, to draw."
)
@click.option("--count", default=1, show_default=True, type=COUNT, help="Number of samples.")
@click.option("--prompt", help="File whose first sequence is continued; of text the text itself.")
@click.option("--prompt-frames", type=int, help="Frames of it that are given (default: 10).")
@click.option(
    "--binary/--means",
    default=None,
    help="Draw pixels (real values with their noise), or show means (default: means; of music, "
    "notes that are drawn).",
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="Below 1 samples are more probable ones; 0 takes the most probable, where it is known.",
)
@click.option("--seed", default=1, show_default=True, type=SEED)
@click.option(
    "--out",
    type=PATH,
    help=".mp4, .gif, .png or .h5; of motions also .bvh, .amc; of music also .mid, .wav; of text "
    ".txt or .h5 (default: text is printed as it is drawn).",
)
def sample(
    run: Path,
    frames: int,
    count: int,
    prompt: str | None,
    prompt_frames: int | None,
    binary: bool | None,
    temperature: float,
    seed: int,
    out: Path | None,
) -> None:
    """Draw sequences from the run's model, or continue a given one.

    A run that learned backwards draws what comes before a given end: before the last frames of the
    prompt, or before a text.
    """
    import torch

    from seqebm.data import Sequences
    from seqebm.learning.recipes import in_order
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    form = opened.format
    if isinstance(medium(form.preparation), Texts):
        if prompt_frames is not None or binary is False:
            raise ValueError("--prompt-frames, --means: not for text")
        sample_text(opened, frames, count, prompt, temperature, seed, out)
        return
    if out is None:
        raise ValueError("--out: expected a file")
    drawn = medium(form.preparation).drawn if binary is None else binary
    if temperature != 1 and not drawn:
        raise ValueError("--temperature: goes with --binary, for means have none")
    prefix, given, frame_rate = None, 0, form.frame_rate
    if prompt is not None:
        first = sequences_for(opened, Path(prompt))[0]
        given, frame_rate = 10 if prompt_frames is None else prompt_frames, first.frame_rate
        if not 1 <= given <= len(first):
            raise ValueError(
                f"--prompt-frames: expected 1 to {len(first)}, as {prompt} has, got {given}"
            )
        prefix = first[:given][None]
    if drawn:
        source = generator(seed)
        made = opened.model.sample(frames, count, prefix, source, temperature=temperature)
    else:
        made = opened.model.sample_means(frames, count, prefix, generator(seed))
    if prefix is not None:
        made = torch.cat([prefix.expand(count, -1, -1), made], dim=1)
    new = Sequences.from_frames(
        made, shape=form.shape, frame_rate=frame_rate, unit=form.unit, name="sample"
    )
    new = in_order(opened.recipe, Sequences(new, form.preparation))
    write_sequences(out, new, 0 if opened.recipe.backwards else given)
    click.echo(str(out))


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--count", default=1, show_default=True, type=COUNT, help="Sequences to show, in a grid."
)
@click.option("--ghost", type=PATH, help="Of motions: another one, drawn faint behind the first.")
@click.option(
    "--out",
    required=True,
    type=PATH,
    help=".mp4, .gif or .png (a strip); of music also .wav; of text .txt.",
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
