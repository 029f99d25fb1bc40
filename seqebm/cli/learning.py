"""`seqebm train` and `seqebm evaluate`."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqebm.cli.common import COUNT, PATH, generator, sequences_for
from seqebm.cli.tasks import evaluate_task, train_task
from seqebm.cli.texts import evaluate_text, is_text, vocabulary_of, watched_bits

if TYPE_CHECKING:
    from seqebm.data import Sequences
    from seqebm.learning.recipes import Recipe
    from seqebm.learning.runs import Run
    from seqebm.likelihood import Bracket
    from seqebm.models import SequenceModel

ACCURACY_SAMPLES = 10  #: of every frame, over which the accuracy of music is averaged
WATCHED = (20, 300)  #: held-out sequences, and first frames of each, that watch over a training


@click.command()
@click.argument("model")
@click.option("--data", "source", help="A data file, or 'balls' to generate videos.")
@click.option("--task", help="Instead of data: a problem of long memory, such as addition.")
@click.option("--length", type=COUNT, help="T of the task.  [default: 100]")
@click.option("--out", required=True, type=PATH, help="Folder of the run.")
@click.option("--preset", help="A named recipe, such as thesis-balls or task-hf-plain.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of the recipe.")
@click.option("--visible", help="Kind of the visible units; short for --set visible=KIND.")
@click.option("--optimizer", help="Short for --set optimizer=NAME.")
@click.option(
    "--device", default="cpu", show_default=True, help="Where to train: cpu, cuda, cuda:1."
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
def train(
    model: str,
    source: str | None,
    task: str | None,
    length: int | None,
    out: Path,
    preset: str | None,
    settings: tuple[str, ...],
    visible: str | None,
    optimizer: str | None,
    device: str,
    resume: bool,
) -> None:
    """Train a model and keep it in a folder.

    MODEL is rbm, trbm, rtrbm, stack or a recurrent network: one of the cells rnn, lstm, gru,
    skip-rnn, tensor-rnn, mrnn, mlstm, memory-lstm, truncated-lstm, esn, or stacked, which stacks
    those that the key layers lists. Or it is a network and what it drives, CELL-rbm, CELL-nade or
    CELL-orderless-nade, such as lstm-rbm.

    With --task MODEL is a cell; rnn is then the standard network that begins as Sutskever (2013)
    has it. The optimiser is hf, nag, momentum, adam or sgd, and the preset is task-OPTIMIZER unless
    another one is named: without either it is task-hf, Hessian-free with structural damping.
    Training ends when less than 1% of test sequences are wrong.

    On the CPU numbers below 1e-38, which gradients that vanish are full of, are taken for zero:
    many processors are several times slower at them.
    """
    import torch

    torch.set_flush_denormal(True)  # of this thread and those it starts, so before it starts any
    from seqebm.checks import usable_device
    from seqebm.learning import parallel, runs
    from seqebm.learning.recipes import make_recipe

    usable_device(device)  # before anything is made
    short = {"visible": visible, "optimizer": optimizer}
    keys = _pairs(settings) | {key: name for key, name in short.items() if name is not None}
    if task is not None:
        from seqebm.learning.tasks import task_recipe

        if source is not None:
            raise ValueError("--data, --task: expected one of them, got both")
        train_task(out, task_recipe(model, task, length or 100, preset, keys), device, resume)
        return
    if source is None:
        raise ValueError("--data, --task: expected one of them, got neither")
    if length is not None:
        raise ValueError("--length: goes with --task; of videos use --set length=FRAMES")
    recipe = make_recipe(model, preset, keys)
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
        quick = " by mean field" if recipe.rungs > 1 else ""
        said = f"next-frame error on held-out sequences{quick}, summed over a frame"
        click.echo(f"{said}: {error:.3f}")
    if "bits" in history[-1]:
        click.echo(f"bits per symbol of held-out text: {history[-1]['bits']:.3f}")


@click.command()
@click.argument("run", type=PATH)
@click.option("--data", "source", help="A data file, or 'balls' for fresh videos; none of a task.")
@click.option("--length", type=COUNT, help="Of a task: T of the sequences (default: the run's).")
@click.option("--train", "training", help="Training data of the yardsticks (default: the run's).")
@click.option(
    "--prompt", default=10, show_default=True, type=COUNT, help="Frames given before a free run."
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    help="Score that many free runs as a forecast of the whole distribution, too.",
)
@click.option(
    "--likelihood", is_flag=True, help="Also nats per frame between bounds; accuracy of music."
)
@click.option("--against", type=PATH, help="With --likelihood: another run, compared by frames.")
@click.option(
    "--runs", default=100, show_default=True, type=click.IntRange(min=2), help="Of annealing."
)
@click.option(
    "--temperatures",
    default=500,
    show_default=True,
    type=click.IntRange(min=2),
    help="Steps of an annealing run.",
)
@click.option(
    "--learning",
    type=float,
    help="Of text: also with parameters that go on learning, by SGD at this rate.",
)
@click.option("--picture", type=PATH, help="Of text: draw it on the colours of its surprise, .png.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def evaluate(
    run: Path,
    source: str | None,
    length: int | None,
    training: str | None,
    prompt: int,
    samples: int | None,
    likelihood: bool,
    against: Path | None,
    runs: int,
    temperatures: int,
    learning: float | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure the run's model on held-out sequences, beside simple yardsticks.

    Of text that is bits per character, over one continuous stream; of a task it is how many of
    10 000 sequences are wrong, which can be longer than those of the training. A run that learned
    backwards is measured on sequences reversed in time, and so are its yardsticks.
    """
    from seqebm import evaluate as measure
    from seqebm.learning.runs import open_run, read_description

    if read_description(run).recipe.task:
        evaluate_task(run, length, as_json)
        return
    if length is not None:
        raise ValueError("--length: goes with the run of a task")
    if source is None:
        raise ValueError("--data: expected a data file or 'balls'")
    if against is not None and not likelihood:
        raise ValueError("--against: goes with --likelihood")
    opened = open_run(run)
    other = None if against is None else open_run(against)
    if other is not None and other.recipe.backwards != opened.recipe.backwards:
        raise ValueError("--against: expected a run in the same order of time; one reads backwards")
    test = _test_data(opened, source)
    if is_text(test):
        if samples is not None or likelihood:
            raise ValueError("--samples, --likelihood: not for text, whose bits say it all")
        seen = _yardstick_data(opened, training)
        evaluate_text(opened, test, seen, learning, picture, as_json)
        return
    if learning is not None or picture is not None:
        raise ValueError("--learning, --picture: are for text")
    frames, lengths = test.padded()
    if prompt >= int(lengths.max()):
        raise ValueError(f"--prompt: expected less than {int(lengths.max())} frames, got {prompt}")
    name = type(opened.model).__name__
    known = _yardstick_data(opened, training).padded()
    yardsticks = measure.yardsticks(*known)
    predictors = {name: opened.model.predict, **yardsticks}
    scores = measure.next_frame_table(predictors, frames, lengths)
    horizons = [h for h in (1, 2, 5, 10, 20, 50) if prompt + h <= int(lengths.max())]
    free = measure.free_run_errors(
        lambda prefix, length, rng: opened.model.sample_means(length, len(prefix), prefix, rng),
        frames,
        prompt,
        horizons,
        generator(1),
        lengths=lengths,
    )
    report: dict[str, Any] = {
        "next_frame": measure.to_json(scores),
        "free_run": {str(h): measure.to_json(score) for h, score in free.items()},
    }
    energy = {}
    if samples is not None:
        long = lengths >= prompt + max(horizons)
        energy = measure.energy_scores(
            {
                name: lambda prefix, length, rng: opened.model.sample(
                    length, len(prefix), prefix, rng
                ),
                "AR(3), Gaussian noise": measure.GaussianAutoregression.learn(*known, order=3),
            },
            frames[long],
            prompt,
            horizons,
            samples,
            generator(1),
        )
        report["energy"] = {str(h): measure.to_json(score) for h, score in energy.items()}
    if likelihood:
        report |= _likelihood(opened, other, test, runs, temperatures)
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo("Squared error of the next frame, t = 2 … T\n" + measure.format_table(scores))
    for horizon, score in free.items():
        click.echo(f"\nFree run from {prompt} frames, horizon {horizon}")
        click.echo(measure.format_table(score))
    for horizon, score in energy.items():
        click.echo(f"\nEnergy score of {samples} samples from {prompt} frames, horizon {horizon}")
        click.echo(measure.format_table(score))
    if likelihood:
        click.echo("\n" + _in_words(report))


def _likelihood(
    run: Run, other: Run | None, test: Sequences, runs: int, temperatures: int
) -> dict[str, Any]:
    """Nats per frame of a run, its difference to another run's, and the accuracy of music."""
    from seqebm import evaluate as measure
    from seqebm.data.music import PianoRoll
    from seqebm.data.preparations import read_preparation

    frames, lengths = test.padded()

    def annealed(model: SequenceModel) -> Bracket:
        options: dict[str, Any] = {"runs": runs, "temperatures": temperatures}
        return measure.brackets(model, frames, lengths, generator(1), None, **options)

    found = annealed(run.model)
    nats = measure.nats_per_frame(found, lengths)
    details: dict[str, Any] = {**nats._asdict(), "good": nats.good}
    if not nats.good:  # bounds remain; a number in between would flatter
        details["estimate"] = None
    if math.isnan(nats.error):
        details["error"] = None
    report: dict[str, Any] = {"nats_per_frame": details}
    if other is not None:
        gain = measure.difference(found, annealed(other.model), lengths)
        report["gain"] = {"mean": gain.mean, "error": details["error"] and gain.error}
    if isinstance(read_preparation(run.format.preparation), PianoRoll):
        source = generator(1)
        samples = (
            measure.next_frames(run.model, frames, lengths, source) for _ in range(ACCURACY_SAMPLES)
        )
        report["accuracy"] = measure.frame_accuracy(samples, frames, lengths)
    return report


def _in_words(report: dict[str, Any]) -> str:
    """What `_likelihood` found, for people."""
    nats = report["nats_per_frame"]
    bounds = f"between {nats['lower']:.4f} and {nats['upper']:.4f}"
    if nats["good"]:
        lines = [f"log-likelihood: {nats['estimate']:.4f} nats per frame, {bounds}"]
        if nats["error"] is not None:
            lines[0] += f"; ± {nats['error']:.2g} over {nats['sequences']} sequences"
    else:
        lines = [
            f"log-likelihood: annealed too little to say, {bounds} nats per frame at best: for "
            f"{nats['untrusted']} of {nats['frames']} frames too few runs count; try more "
            "--temperatures"
        ]
    if "gain" in report:
        gain = report["gain"]
        error = "" if gain["error"] is None else f" ± {gain['error']:.2g}"
        lines.append(f"more than the other run, frame by frame: {gain['mean']:.4f}{error}")
    if "accuracy" in report:
        lines.append(f"accuracy of sampled notes: {100 * report['accuracy']:.1f}%")
    return "\n".join(lines)


# --- what the two share ----------------------------------------------------------------------


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dictionary."""
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set: expected KEY=VALUE, got {setting!r}")
    return dict(setting.split("=", 1) for setting in settings)


def part(sequences: Sequences, *splits: str) -> Sequences | None:
    """The first of the named splits that the sequences have."""
    present = {sequence.split for sequence in sequences}
    return next((sequences.split(name) for name in splits if name in present), None)


def _training_data(source: str, recipe: Recipe) -> tuple[Sequences | None, Sequences | None]:
    """What to train on (None: generated videos), and what to watch the training by, if anything."""
    from seqebm.data import load_sequences
    from seqebm.learning.recipes import in_order

    if source == "balls":
        return None, _fresh_videos(recipe, WATCHED[0])
    sequences = load_sequences(source)
    held_out = part(sequences, "valid", "test")
    watched = None if held_out is None else in_order(recipe, held_out)
    return _training_part(sequences, source), watched


def _training_part(sequences: Sequences, source: str) -> Sequences:
    """The sequences marked as training data, or else those not marked as held out."""
    from seqebm.data import Sequences

    marked = part(sequences, "train")
    if marked is not None:
        return marked
    free = [sequence for sequence in sequences if sequence.split not in ("valid", "test")]
    if not free:
        raise ValueError(f"{source}: holds no training data, all sequences are marked as held out")
    return Sequences(free, sequences.preparation)


def _fresh_videos(recipe: Recipe, count: int) -> Sequences:
    """Bouncing balls that no training run sees."""
    from seqebm.data import Sequences
    from seqebm.learning.recipes import held_out_videos, in_order

    return in_order(recipe, Sequences.from_frames(held_out_videos(recipe, count)))


def _test_data(run: Run, source: str) -> Sequences:
    """What a run is measured on: the test split of a file, all of it, or fresh videos."""
    if source == "balls":
        return _fresh_videos(run.recipe, 200)
    sequences = sequences_for(run, Path(source))
    return part(sequences, "test") or sequences


def _yardstick_data(run: Run, training: str | None) -> Sequences:
    """What the yardsticks are fitted on: 200 sequences that the run was trained on."""
    from seqebm.data import Sequences, load_sequences
    from seqebm.learning.recipes import ball_videos, in_order

    source = training or run.data
    if source == "balls":
        return in_order(run.recipe, Sequences.from_frames(ball_videos(run.recipe, 200)(0)))
    if vocabulary_of(run.format.preparation) is not None:  # text is read with the run's vocabulary
        sequences = sequences_for(run, Path(source))
    else:
        sequences = in_order(run.recipe, load_sequences(source))
    return _training_part(sequences, source)[:200]


def _next_frame_error(model: SequenceModel, held_out: Sequences | None) -> dict[str, float]:
    """The error of a few held-out sequences for the history; nothing where there are none."""
    from seqebm.evaluate import prediction_errors

    if held_out is None:
        return {}
    if is_text(held_out):
        return watched_bits(model, held_out)
    device = next(model.parameters()).device
    count, longest = WATCHED
    frames, lengths = (part.to(device) for part in held_out[:count].padded())
    frames, lengths = frames[:, :longest], lengths.clamp(max=longest)
    # tempered means of so many frames, a hundred times in a training, would take too long
    tempered = getattr(model, "sampling_rungs", 1) > 1
    predict = partial(model.predict, method="mean_field" if tempered else "auto")
    try:
        return {"error": float(prediction_errors(predict, frames, lengths).mean())}
    except ValueError:  # predictions that are not finite; the next step will say what is wrong
        return {"error": math.nan}
