"""`seqebm denoise`: a video of any length, frame by frame, or the sequences of a data file."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqebm.cli.common import (
    COUNT,
    DATA_FILES,
    PATH,
    generator,
    sequences_for,
    write_sequences,
)
from seqebm.cli.media import (
    MIDI_FILES,
    MOTION_FILES,
    SOUND_FILES,
    Motions,
    Texts,
    medium,
    picture_shape,
    write_pictures,
)

if TYPE_CHECKING:
    from torch import Tensor

    from seqebm.data import Sequences
    from seqebm.data.streams import FrameStream
    from seqebm.evaluate import MotionQuality, Quality
    from seqebm.learning.runs import Run

Qualities = dict[str, "Quality | MotionQuality"]  #: of noisy and denoised frames, if asked for

VIDEO_TEXT = "squared error {mse:.4g} per pixel, PSNR {psnr:.2f} dB, SSIM {ssim:.4f}"
MOTION_TEXT = "squared error {mse:.4g} per value, joints {distance:.4g} {unit} away"


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--data", "source", required=True, type=PATH, help="A video, folder of images or data file."
)
@click.option(
    "--out",
    required=True,
    type=PATH,
    help=".mp4 (a video of any length), .h5 (all sequences), .bvh or .amc (the only motion), or "
    ".gif or .png, which show the first sequence before and after and need the memory for all of "
    "it.",
)
@click.option(
    "--mask", type=PATH, help="As many frames as the data; pixels above one half are observed."
)
@click.option(
    "--sweeps",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="With a mask: passes back and forth that let later frames say what is missing. They need "
    "the memory for a whole sequence.",
)
@click.option("--keep", is_flag=True, help="With a mask: leave what is observed as it is.")
@click.option("--layers", type=COUNT, help="Of a stack: use that many, from the bottom.")
@click.option(
    "--clean", type=PATH, help="What the data should be: prints squared error, PSNR and SSIM."
)
@click.option(
    "--side-by-side",
    "beside",
    type=PATH,
    help="Beside an .mp4, another one: the noisy, the denoised and, if given, the clean video.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def denoise(
    run: Path,
    source: Path,
    out: Path,
    mask: Path | None,
    sweeps: int,
    keep: bool,
    layers: int | None,
    clean: Path | None,
    beside: Path | None,
    as_json: bool,
) -> None:
    """Clean each frame from what the model knows of it and of the frames before it.

    An .mp4 is written while the data are read, a frame at a time. Whenever and however that ends,
    the frames done so far can be played. Of a data file it shows the first sequence. A run that
    learned backwards knows of the frames after each, and needs the memory for a whole sequence.
    """
    from seqebm.learning.runs import open_run

    opened = _with_layers(open_run(run), layers)
    if isinstance(medium(opened.format.preparation), Texts):
        raise ValueError(f"{run}: text is not denoised; seqebm.text fills gaps in it")
    if (sweeps or keep) and mask is None:
        raise ValueError("--sweeps, --keep: go with --mask")
    inputs = {"noisy": source, "mask": mask, "clean": clean}
    given = {name: path for name, path in inputs.items() if path is not None}
    qualities = {} if clean is None else _qualities(opened)
    prepared = bool(opened.format.preparation)
    whole = sweeps or prepared or opened.recipe.backwards
    if out.suffix.lower() == ".mp4" and not whole:
        _check_targets(given.values(), out, beside)
        with _ended_in_order():
            frames = _denoise_video(opened, given, out, beside, qualities, keep)
    elif beside is None or prepared or opened.recipe.backwards:
        frames = _denoise_sequences(opened, given, out, beside, qualities, sweeps, keep)
    else:
        raise ValueError(
            f"--side-by-side: goes with an .mp4 as --out and no --sweeps, got {str(out)!r}"
        )
    scores = {name: quality.result()._asdict() for name, quality in qualities.items()}
    if as_json:
        click.echo(json.dumps({"out": str(out), "frames": frames, **_finite(scores)}))
        return
    click.echo(str(out))
    for name, score in scores.items():
        numbers = MOTION_TEXT if "distance" in score else VIDEO_TEXT
        click.echo(f"{name + ':':9} {numbers.format(**score)}")


def _with_layers(run: Run, layers: int | None) -> Run:
    """The run with the lower layers of its stack only."""
    from seqebm.models import Stack

    if layers is None:
        return run
    if not isinstance(run.model, Stack) or layers > len(run.model):
        what = f"{len(run.model)} layers" if isinstance(run.model, Stack) else "no stack"
        raise ValueError(f"--layers: the run has {what}, got {layers}")
    return replace(run, model=run.model[:layers])


def _denoise_video(
    run: Run,
    inputs: dict[str, Path],
    out: Path,
    beside: Path | None,
    qualities: Qualities,
    keep: bool,
) -> int:
    """Read, denoise and write a frame after the other; how many there were."""
    from tqdm import tqdm

    from seqebm import scenes, video
    from seqebm.data import open_frames

    shape, stream, count = picture_shape(run.format.shape), run.model.stream(), 0
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context(open_frames(path, shape)) for name, path in inputs.items()
        }
        rate = streams["noisy"].frame_rate
        writer = stack.enter_context(video.Writer(out, rate))
        panels = None if beside is None else stack.enter_context(video.Writer(beside, rate))
        steps = _together(inputs, streams)
        for frames in tqdm(steps, disable=None, unit="frame", dynamic_ncols=True):
            noisy, clean = frames["noisy"], frames.get("clean")
            seen = _observed(frames.get("mask"))
            denoised = stream.denoise(noisy, seen)
            if keep:
                denoised = _with_observed(denoised, noisy, seen)
            _compare(qualities, noisy, denoised, clean)
            writer.write(video.pictures(denoised, shape))
            if panels is not None:
                panels.write(scenes.comparison(noisy, denoised, shape, clean))
            count += 1
    return count


def _denoise_sequences(
    run: Run,
    inputs: dict[str, Path],
    out: Path,
    beside: Path | None,
    qualities: Qualities,
    sweeps: int,
    keep: bool,
) -> int:
    """Read, denoise and write sequences as a whole; how many frames they have."""
    from seqebm.data import Sequences
    from seqebm.learning.recipes import in_order

    many = out.suffix.lower() in DATA_FILES
    read = {name: sequences_for(run, path) for name, path in inputs.items()}
    if not many:
        read = {name: sequences[:1] for name, sequences in read.items()}
    _check_alike(inputs, read)
    made = []
    for number, one in enumerate(read["noisy"]):
        frames = {name: sequences[number].frames for name, sequences in read.items()}
        seen = _observed(frames.get("mask"))
        denoised = run.model.denoise(
            one.frames[None],
            None if seen is None else seen[None],
            sweeps=sweeps,
            generator=generator(1),
        )[0]
        if keep:
            denoised = _with_observed(denoised, one.frames, seen)
        _compare(qualities, one.frames, denoised, frames.get("clean"))
        made.append(replace(one, frames=denoised))
    new = Sequences(made, run.format.preparation)
    panels = {"noisy": read["noisy"], "denoised": new}
    if "clean" in read:
        panels["clean"] = read["clean"]
    panels = {name: in_order(run.recipe, sequences) for name, sequences in panels.items()}
    if many or out.suffix.lower() in (".mp4", *MOTION_FILES, *MIDI_FILES, *SOUND_FILES):
        write_sequences(out, panels["denoised"])
    else:
        _write_side_by_side(out, panels)
    if beside is not None:
        _write_side_by_side(beside, panels)
    return int(new.lengths.sum())


def _write_side_by_side(out: Path, panels: dict[str, Sequences]) -> None:
    """The first sequence of each."""
    from seqebm import video

    rate = panels["noisy"][0].frame_rate
    shows = medium(panels["denoised"].preparation)
    shown = {name: shows.show(sequences[:1]) for name, sequences in panels.items()}
    write_pictures(out, video.side_by_side(shown), rate)


def _observed(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask > 0.5


def _with_observed(denoised: Tensor, given: Tensor, seen: Tensor | None) -> Tensor:
    """The denoised frames with the given values where they are observed."""
    return denoised if seen is None else given.where(seen, denoised)


# --- frames that belong together -------------------------------------------------------------


def _together(
    paths: dict[str, Path], streams: dict[str, FrameStream]
) -> Iterator[dict[str, Tensor]]:
    """A frame of every stream at a time, `[1, visible]` each."""
    widths = {name: math.prod(stream.shape) for name, stream in streams.items()}
    for name, width in widths.items():
        if width != widths["noisy"]:
            raise ValueError(
                f"{paths[name]}: frames of {width} values, those of {paths['noisy']} "
                f"have {widths['noisy']}"
            )
    for count, frames in enumerate(zip_longest(*streams.values())):
        there = {
            name: frame[None]
            for name, frame in zip(streams, frames, strict=True)
            if frame is not None
        }
        for name in streams.keys() - there.keys():
            other = paths[next(iter(there))]
            raise ValueError(f"{paths[name]}: ends after {count} frames, {other} does not")
        yield there


def _check_alike(paths: dict[str, Path], read: dict[str, Sequences]) -> None:
    """Raise where there are not as many sequences, frames and values in all files."""
    noisy = read["noisy"]
    for name, sequences in read.items():
        if len(sequences) != len(noisy):
            raise ValueError(f"{paths[name]}: {sequences}, {paths['noisy']} has {noisy}")
        for number, (one, other) in enumerate(zip(sequences, noisy, strict=True)):
            if one.frames.shape != other.frames.shape:
                raise ValueError(
                    f"{paths[name]}: sequence {number} has [frames, values] "
                    f"{[*one.frames.shape]}, that of {paths['noisy']} {[*other.frames.shape]}"
                )


def _check_targets(sources: Collection[Path], out: Path, beside: Path | None) -> None:
    """Raise where a file that is to be written is read or written a second time."""
    if beside is not None and beside.resolve() == out.resolve():
        raise ValueError(f"--side-by-side: {beside} is --out already")
    for target in (out, beside):
        if target is None or not target.exists():
            continue
        if any(source.exists() and target.samefile(source) for source in sources):
            raise ValueError(f"{target}: cannot be written while it is read")


# --- quality ---------------------------------------------------------------------------------


def _qualities(run: Run) -> Qualities:
    from seqebm.evaluate import MotionQuality, Quality

    if isinstance(medium(run.format.preparation), Motions):
        from seqebm.data.mocap import read_preparation

        preparation = read_preparation(run.format.preparation)
        return {name: MotionQuality(preparation) for name in ("noisy", "denoised")}
    shape = picture_shape(run.format.shape)
    try:
        return {"noisy": Quality(shape), "denoised": Quality(shape)}
    except ImportError as error:  # an extra that is not installed
        raise click.ClickException(f"--clean: {error}") from error


def _compare(qualities: Qualities, noisy: Tensor, denoised: Tensor, clean: Tensor | None) -> None:
    if clean is not None:
        qualities["noisy"].add(clean, noisy)
        qualities["denoised"].add(clean, denoised)


def _finite(scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The scores for JSON, which knows no infinity: the PSNR of equal videos is null."""
    return {
        name: {
            key: value if isinstance(value, str) or math.isfinite(value) else None
            for key, value in score.items()
        }
        for name, score in scores.items()
    }


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the block like an error, so that files are completed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
