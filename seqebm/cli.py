"""The `seqebm` command. It only parses arguments and calls the library."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from seqebm.data import Sequences
    from seqebm.learning.recipes import Recipe
    from seqebm.learning.runs import Run
    from seqebm.models import SequenceModel

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seqebm")
def cli() -> None:
    """Probabilistic sequence models centred on energy-based models."""


@cli.group()
def data() -> None:
    """Make or convert training data: one HDF5 file of sequences."""


@data.command("balls")
@click.option("--n", default=200, show_default=True, type=COUNT, help="Number of videos.")
@click.option("--length", default=100, show_default=True, help="Frames of a video.")
@click.option("--resolution", default=30, show_default=True, help="Pixels a side.")
@click.option("--balls", default=3, show_default=True, help="Balls in a video.")
@click.option("--radius", default=1.2, show_default=True, help="Of the balls; the box is 10 wide.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**63 - 1))
@click.option("--split", default="", help="Mark the videos as train or test.")
@click.option("--out", required=True, type=PATH, help="The .h5 file to write.")
def data_balls(out: Path, n: int, seed: int, resolution: int, split: str, **options: Any) -> None:
    """Videos of bouncing balls."""
    from seqebm.data import Sequences, bouncing_balls, save_sequences

    videos = bouncing_balls(n, resolution=resolution, generator=_generator(seed), **options)
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


@cli.command()
@click.argument("model")
@click.option("--data", "source", required=True, help="A data file, or 'balls' to generate videos.")
@click.option("--out", required=True, type=PATH, help="Folder of the run.")
@click.option("--preset", help="A named recipe, such as thesis-balls.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of the recipe.")
@click.option("--visible", help="Kind of the visible units; short for --set visible=KIND.")
@click.option(
    "--device", default="cpu", show_default=True, help="Where to train: cpu, cuda, cuda:1."
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
def train(
    model: str,
    source: str,
    out: Path,
    preset: str | None,
    settings: tuple[str, ...],
    visible: str | None,
    device: str,
    resume: bool,
) -> None:
    """Train MODEL (rbm, trbm, rtrbm, rnn, lstm, gru) and keep it in a folder."""
    from seqebm.checks import usable_device
    from seqebm.learning import parallel, runs
    from seqebm.learning.recipes import make_recipe

    usable_device(device)  # before anything is made
    keys = _pairs(settings)
    recipe = make_recipe(model, preset, keys if visible is None else {**keys, "visible": visible})
    sequences, held_out = _training_data(source, recipe)
    with parallel.process_group():
        trained, history = runs.start(
            out,
            recipe,
            source if sequences is None else str(Path(source).resolve()),
            sequences,
            resume=resume,
            device=device,
            evaluate=lambda model: _next_frame_error(model, held_out),
        )
        if parallel.rank() > 0:
            return
    parameters = sum(p.numel() for p in trained.parameters())
    click.echo(
        f"{out}: {type(trained).__name__} with {parameters} parameters, {recipe.steps} steps"
    )
    if "error" in history[-1]:
        error = history[-1]["error"]
        click.echo(f"next-frame error on held-out sequences, summed over a frame: {error:.3f}")


@cli.command()
@click.argument("run", type=PATH)
@click.option("--data", "source", required=True, help="A data file, or 'balls' for fresh videos.")
@click.option("--train", "training", help="Training data of the yardsticks (default: the run's).")
@click.option(
    "--prompt", default=10, show_default=True, type=COUNT, help="Frames given before a free run."
)
@click.option("--likelihood", is_flag=True, help="Also nats per frame (small models only).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def evaluate(
    run: Path, source: str, training: str | None, prompt: int, likelihood: bool, as_json: bool
) -> None:
    """Measure the run's model on held-out sequences, beside simple yardsticks."""
    from seqebm import evaluate as measure
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    frames, lengths = _test_data(opened, source).padded()
    if prompt >= int(lengths.max()):
        raise ValueError(f"--prompt: expected less than {int(lengths.max())} frames, got {prompt}")
    name = type(opened.model).__name__
    yardsticks = measure.yardsticks(*_yardstick_data(opened, training).padded())
    predictors = {name: opened.model.predict, **yardsticks}
    scores = measure.next_frame_table(predictors, frames, lengths)
    horizons = [h for h in (1, 2, 5, 10, 20, 50) if prompt + h <= int(lengths.max())]
    free = measure.free_run_errors(
        lambda prefix, length, rng: opened.model.sample_means(length, len(prefix), prefix, rng),
        frames,
        prompt,
        horizons,
        _generator(1),
        lengths=lengths,
    )
    report: dict[str, Any] = {
        "next_frame": measure.to_json(scores),
        "free_run": {str(h): measure.to_json(score) for h, score in free.items()},
    }
    if likelihood:
        log_prob = opened.model.log_prob(frames, lengths).detach()
        report["nats_per_frame"] = float(log_prob.sum() / lengths.sum())
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo("Squared error of the next frame, t = 2 … T\n" + measure.format_table(scores))
    for horizon, score in free.items():
        click.echo(f"\nFree run from {prompt} frames, horizon {horizon}")
        click.echo(measure.format_table(score))
    if likelihood:
        click.echo(f"\nlog-likelihood: {report['nats_per_frame']:.4f} nats per frame")


@cli.command()
@click.argument("run", type=PATH)
@click.option("--frames", default=200, show_default=True, type=COUNT, help="Frames to draw.")
@click.option("--count", default=1, show_default=True, type=COUNT, help="Number of samples.")
@click.option("--prompt", type=PATH, help="Data file whose first sequence is continued.")
@click.option("--prompt-frames", default=10, show_default=True, help="Frames of it that are given.")
@click.option("--binary", is_flag=True, help="Draw pixels instead of showing their probabilities.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**63 - 1))
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
        given = load_sequences(prompt, _picture_shape(opened.format.shape))[0].frames
        if not 1 <= prompt_frames <= len(given):
            raise ValueError(
                f"--prompt-frames: expected 1 to {len(given)}, as {prompt} has, got {prompt_frames}"
            )
        prefix = given[None, :prompt_frames]
    drawn = draw(frames, count, prefix, _generator(seed))
    if prefix is not None:
        drawn = torch.cat([prefix.expand(count, -1, -1), drawn], dim=1)
    _write(out, drawn, opened)


@cli.command()
@click.argument("run", type=PATH)
@click.option("--data", "source", required=True, type=PATH, help="Noisy sequences.")
@click.option("--out", required=True, type=PATH, help=".mp4, .gif, .png (a strip) or .h5.")
def denoise(run: Path, source: Path, out: Path) -> None:
    """Clean each frame from what the model knows of it and of the frames before it.

    A video shows the first sequence, noisy and denoised side by side; .h5 keeps all of them.
    """
    from seqebm import scenes
    from seqebm.data import load_sequences
    from seqebm.learning.runs import open_run

    opened = open_run(run)
    shape = _picture_shape(opened.format.shape)
    noisy = load_sequences(source, shape)
    if out.suffix == ".h5":
        _save_like(out, noisy, lambda frames: opened.model.denoise(frames[None])[0])
    else:
        pictures = scenes.denoising(opened.model, noisy[0].frames, shape)
        _write_pictures(out, pictures, noisy[0].frame_rate)
    click.echo(str(out))


@cli.command()
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
    pictures = scenes.many(videos, _picture_shape(sequences[0].shape))
    _write_pictures(out, pictures, sequences[0].frame_rate)
    click.echo(str(out))


@cli.command()
@click.option("--out", default="demo", show_default=True, type=PATH, help="Folder to write to.")
def demo(out: Path) -> None:
    """Train a small RTRBM on bouncing balls, measure it, make videos: minutes on a laptop."""
    from seqebm.demo import run_demo

    click.echo(run_demo(out))


# --- what the commands share ------------------------------------------------------------------


def _generator(seed: int) -> Generator:
    import torch

    return torch.Generator().manual_seed(seed)


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dictionary."""
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set: expected KEY=VALUE, got {setting!r}")
    return dict(setting.split("=", 1) for setting in settings)


def _part(sequences: Sequences, *splits: str) -> Sequences | None:
    """The first of the named splits that the sequences have."""
    present = {sequence.split for sequence in sequences}
    return next((sequences.split(name) for name in splits if name in present), None)


def _training_data(source: str, recipe: Recipe) -> tuple[Sequences | None, Sequences | None]:
    """What to train on (None: generated videos), and what to watch the training by, if anything."""
    from seqebm.data import load_sequences

    if source == "balls":
        return None, _fresh_videos(recipe, 20)
    sequences = load_sequences(source)
    held_out = _part(sequences, "valid", "test")
    return _training_part(sequences, source), None if held_out is None else held_out[:20]


def _training_part(sequences: Sequences, source: str) -> Sequences:
    """The sequences marked as training data, or else those not marked as held out."""
    from seqebm.data import Sequences

    marked = _part(sequences, "train")
    if marked is not None:
        return marked
    free = [sequence for sequence in sequences if sequence.split not in ("valid", "test")]
    if not free:
        raise ValueError(f"{source}: holds no training data, all sequences are marked as held out")
    return Sequences(free)


def _fresh_videos(recipe: Recipe, count: int) -> Sequences:
    """Bouncing balls that no training run sees."""
    from seqebm.data import Sequences
    from seqebm.learning.recipes import held_out_videos

    return Sequences.from_frames(held_out_videos(recipe, count))


def _test_data(run: Run, source: str) -> Sequences:
    """What a run is measured on: the test split of a file, all of it, or fresh videos."""
    from seqebm.data import load_sequences

    if source == "balls":
        return _fresh_videos(run.recipe, 200)
    sequences = load_sequences(source, _picture_shape(run.format.shape))
    return _part(sequences, "test") or sequences


def _yardstick_data(run: Run, training: str | None) -> Sequences:
    """What the yardsticks are fitted on: 200 sequences that the run was trained on."""
    from seqebm.data import Sequences, load_sequences
    from seqebm.learning.recipes import ball_videos

    source = training or run.data
    if source == "balls":
        return Sequences.from_frames(ball_videos(run.recipe, 200)(0))
    return _training_part(load_sequences(source), source)[:200]


def _next_frame_error(model: SequenceModel, held_out: Sequences | None) -> dict[str, float]:
    """The error of held-out sequences for the history; nothing where there are none."""
    from seqebm.evaluate import prediction_errors

    if held_out is None:
        return {}
    device = next(model.parameters()).device
    frames, lengths = (part.to(device) for part in held_out.padded())
    try:
        return {"error": float(prediction_errors(model.predict, frames, lengths).mean())}
    except ValueError:  # predictions that are not finite; the next step will say what is wrong
        return {"error": math.nan}


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The frame shape as (height, width); frames that are no pictures show as one row."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, math.prod(shape))


def _write(out: Path, frames: Tensor, run: Run) -> None:
    """Sequences [n, time, visible] as a data file or as pictures in a grid."""
    from seqebm import scenes
    from seqebm.data import Sequences, save_sequences

    form = run.format
    if out.suffix == ".h5":
        made = Sequences.from_frames(
            frames, shape=form.shape, frame_rate=form.frame_rate, unit=form.unit
        )
        save_sequences(out, made)
    else:
        _write_pictures(out, scenes.many(frames, _picture_shape(form.shape)), form.frame_rate)
    click.echo(str(out))


def _write_pictures(out: Path, pictures: Any, frame_rate: float) -> None:
    """A video; or a png strip of about ten frames."""
    from seqebm import video

    if out.suffix == ".png":
        pictures = video.strip(pictures, every=max(1, len(pictures) // 10))
    video.save(out, pictures, frame_rate)


def _save_like(out: Path, sequences: Sequences, change: Callable[[Tensor], Tensor]) -> None:
    """Keep the sequences with changed frames and everything else as it was."""
    from dataclasses import replace

    from seqebm.data import Sequences, save_sequences

    changed = Sequences([replace(one, frames=change(one.frames)) for one in sequences])
    save_sequences(out, changed)


def main() -> None:
    """Run the command: exit code 0, or 2 with one line on stderr for what the user got wrong."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message())
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        _fail(" ".join(str(error).split()))
    except (click.Abort, KeyboardInterrupt):
        print("seqebm: interrupted", file=sys.stderr)
        sys.exit(130)
    except RuntimeError as error:
        if not any(word in str(error) for word in ("allocate", "overflow", "too big")):
            raise
        _fail(f"not enough memory: {str(error).splitlines()[0]}")


def _fail(message: str) -> None:
    print(f"seqebm: {message}", file=sys.stderr)
    sys.exit(2)
