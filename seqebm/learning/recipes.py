"""Recipes: everything that decides a training run, in one flat table of keys, and presets of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqebm.checks import usable_device
from seqebm.data import BallVideos, Sequences, bouncing_balls
from seqebm.data.noise import salt_and_pepper
from seqebm.learning.fit import Corruption, Data, History, fit, minibatches
from seqebm.learning.schedules import Schedule, constant, linear, piecewise
from seqebm.models import RBM, RTRBM, TRBM, SequenceModel
from seqebm.models.energy import EnergyModel
from seqebm.models.rnn import rnn

TEST_SEED = 20_000  # of generated test videos; those for training come from seed sequences
MEAN_BATCHES = 16  # whose mean frame a model starts at
OPTIMIZERS = ("adam", "sgd")
RANGES = {
    "steps": (1, 10**12),
    "batch": (1, 10**6),
    "seed": (0, 2**63 - 1),
    "lr": (0, math.inf),
    "lr_end": (0, math.inf),
    "momentum": (0, 1),
    "pretrain": (0, 10**12),
    "clip": (0, math.inf),
    "average": (0, 1),
    "noise": (0, 1),
    "balls": (1, 10**3),
    "resolution": (1, 10**4),
    "length": (2, 10**6),
}
MODELS = ("rbm", "trbm", "rtrbm", "rnn", "lstm", "gru")


@dataclass(frozen=True)
class Recipe:
    """The keys of `seqebm train --set`, with their defaults.

    Attributes:
        model: one of `MODELS`.
        hidden: number of hidden units.
        order: taps of a TRBM or RTRBM; None is the model's own default.
        connections: taps that a TRBM has, of hh, vh, vv.
        visible: kind of the visible units.
        held_at_zero: names of parameters that stay zero, separated by commas.
        steps: updates.
        batch: sequences an update.
        seed: decides initial values, data order and chains.
        optimizer: "adam" or "sgd".
        lr: learning rate of the first step.
        lr_end: learning rate after the last one, approached in a straight line.
        momentum: of sgd.
        gibbs_steps: k of CD-k: a number, or step:number pairs as "0:10,1000:25".
        bf16: whether chains use bf16 inside their products (`gibbs.chain`).
        start_at_mean: whether the visible bias begins at the mean frame of some training data
            (`SequenceModel.start_at`), and not near zero.
        pretrain: updates of static CD-5 that W is given beforehand (lr 0.01, momentum 0.9).
        clip: largest norm of the gradient; 0 leaves it as it is.
        average: decay of the moving average of the parameters; 0 keeps none.
        noise: share of the pixels that are salt and pepper in what the memory sees in training;
            the model is better at denoising for it.
        balls: number of balls in generated videos.
        resolution: their height and width in pixels.
        length: their number of frames.
    """

    model: str = "rtrbm"
    hidden: int = 200
    order: int | None = None
    connections: str = "hh,vh,vv"
    visible: str = "bernoulli"
    held_at_zero: str = ""
    steps: int = 10_000
    batch: int = 4
    seed: int = 1
    optimizer: str = "adam"
    lr: float = 1e-3
    lr_end: float = 0.0
    momentum: float = 0.9
    gibbs_steps: str = "10"
    bf16: bool = False
    start_at_mean: bool = True
    pretrain: int = 0
    clip: float = 0.0
    average: float = 0.0
    noise: float = 0.0
    balls: int = 3
    resolution: int = 30
    length: int = 100

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )
        _gibbs_schedule(self.gibbs_steps)


PRESETS: dict[str, dict[str, Any]] = {
    # Sutskever 2013, sec. 3.11: no taps from visible frames in either model
    "thesis-balls": {
        "start_at_mean": False,
        "hidden": 400,
        "connections": "hh",
        "steps": 100_000,
        "batch": 1,
        "optimizer": "sgd",
        "lr": 0.01,
        "gibbs_steps": "0:10,1000:25",
        "pretrain": 30,
    },
    # taps, Adam and more videos an update; the error of models with taps hardly depends on k
    "balls-taps": {
        "hidden": 400,
        "order": 2,
        "steps": 24_000,
        "batch": 8,
        "length": 40,
        "lr": 0.003,
        "gibbs_steps": "1",
    },
    # the strongest model that a laptop trains in about three minutes; the noise makes its next
    # frame a little worse and nearly halves its error of denoising
    "demo": {
        "order": 2,
        "steps": 6000,
        "batch": 8,
        "lr": 0.01,
        "gibbs_steps": "2",
        "noise": 0.012,
        "balls": 2,
        "resolution": 20,
        "length": 50,
    },
}


def make_recipe(model: str, preset: str | None, settings: Mapping[str, str]) -> Recipe:
    """A recipe from a model's name, a preset and settings given as text.

    Raises:
        ValueError: an unknown model, preset or key, or a value of the wrong type.

    Example:
        >>> make_recipe("trbm", "thesis-balls", {"steps": "10"}).steps
        10
    """
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    values = {**(PRESETS[preset] if preset else {}), **_parsed(settings), "model": model}
    return replace(Recipe(), **values)


def _truth(text: str) -> bool:
    """What "true", "false", 1 and 0 stand for."""
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


_CONVERSIONS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "int | None": int,
    "float": float,
    "str": str,
    "bool": _truth,
}


def _parsed(settings: Mapping[str, str]) -> dict[str, Any]:
    """The settings with their texts turned into the types of the recipe's keys."""
    types = {field.name: str(field.type) for field in fields(Recipe) if field.name != "model"}
    parsed: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in types:
            raise ValueError(f"unknown key {key!r}; the keys are {', '.join(types)}")
        convert = _CONVERSIONS[types[key]]
        try:
            parsed[key] = convert(text)
        except (ValueError, KeyError):
            raise ValueError(f"{key}: expected {types[key]}, got {text!r}") from None
    return parsed


def build_model(recipe: Recipe, n_visible: int) -> SequenceModel:
    """The untrained model of a recipe.

    Raises:
        ValueError: settings that the model cannot have.
    """
    hidden, visible = recipe.hidden, recipe.visible
    order = {} if recipe.order is None else {"order": recipe.order}
    if recipe.model == "rbm":
        model: SequenceModel = RBM(n_visible, hidden, visible)
    elif recipe.model == "trbm":
        connections = recipe.connections.split(",")
        model = TRBM(n_visible, hidden, visible=visible, connections=connections, **order)
    elif recipe.model == "rtrbm":
        model = RTRBM(n_visible, hidden, visible=visible, **order)
    else:
        model = rnn(recipe.model, n_visible, hidden, visible=visible)
    if isinstance(model, EnergyModel):
        model.bf16 = recipe.bf16
    return _hold_at_zero(model, recipe.held_at_zero)


def _hold_at_zero(model: SequenceModel, names: str) -> SequenceModel:
    """Zero the named parameters and leave them out of the training."""
    parameters = dict(model.named_parameters())
    for name in filter(None, names.split(",")):
        if name not in parameters:
            raise ValueError(
                f"held_at_zero: expected some of {', '.join(parameters)}, got {name!r}"
            )
        parameters[name].requires_grad_(False).zero_()
    return model


def make_data(recipe: Recipe, sequences: Sequences | None) -> Data:
    """Minibatches of the sequences, or of an endless list of bouncing-ball videos where None."""
    if sequences is None:
        return ball_videos(recipe, recipe.batch)
    return minibatches(sequences, recipe.batch, recipe.seed)


def ball_videos(recipe: Recipe, batch: int) -> BallVideos:
    """The training videos of a recipe, `batch` at each step."""
    return BallVideos(
        batch,
        seed=recipe.seed,
        length=recipe.length,
        resolution=recipe.resolution,
        balls=recipe.balls,
    )


def held_out_videos(recipe: Recipe, count: int) -> Tensor:
    """Videos of the recipe's form that no training run sees, [count, length, pixels]."""
    generator = torch.Generator().manual_seed(TEST_SEED)
    return bouncing_balls(
        count, recipe.length, recipe.resolution, recipe.balls, generator=generator
    )


def train(
    recipe: Recipe,
    sequences: Sequences | None = None,
    device: str | torch.device = "cpu",
    **options: Any,
) -> tuple[SequenceModel, History]:
    """Build and train the model of a recipe.

    Args:
        recipe: what to train.
        sequences: the training data; None generates bouncing balls as the recipe says.
        device: where the model is trained.
        options: passed to `fit`: checkpoint, resume, evaluate, evaluate_every, progress.

    Returns:
        The model and its history.

    Raises:
        ValueError: settings that do not go together, or a device that cannot be used.
    """
    device = usable_device(device)
    n_visible = recipe.resolution**2 if sequences is None else sequences.n_visible
    with torch.random.fork_rng(devices=[]):  # initial values without touching the global state
        torch.manual_seed(recipe.seed)
        model = build_model(recipe, n_visible).to(device)
    data = make_data(recipe, sequences)
    generator = torch.Generator(device).manual_seed(recipe.seed)
    checkpoint = options.get("checkpoint")
    begun = options.get("resume") and checkpoint is not None and Path(checkpoint).exists()
    if recipe.start_at_mean and not begun:
        model.start_at(mean_frame(data).to(device))
    if recipe.pretrain and not begun:
        pretrain_weight(model, data, recipe.pretrain, generator)
    history = fit(
        model,
        data,
        steps=recipe.steps,
        optimizer=make_optimizer(model, recipe),
        schedules=make_schedules(model, recipe),
        clip=recipe.clip or None,
        average=recipe.average or None,
        corrupt=make_corruption(recipe),
        generator=generator,
        **options,
    )
    return model, history


def make_corruption(recipe: Recipe) -> Corruption | None:
    """The noise of a recipe."""
    if not recipe.noise:
        return None
    if recipe.visible != "bernoulli":
        raise ValueError(f"noise: expected 0, for {recipe.visible} units have no salt and pepper")
    return lambda frames, generator: salt_and_pepper(frames, recipe.noise, generator)


def make_optimizer(model: SequenceModel, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, fused=True)


def make_schedules(model: SequenceModel, recipe: Recipe) -> dict[str, Schedule]:
    """The schedules of a recipe: the learning rate, and k for models that have it."""
    schedules = {"lr": linear(recipe.lr, recipe.lr_end, recipe.steps)}
    if hasattr(model, "gibbs_steps"):
        schedules["gibbs_steps"] = _gibbs_schedule(recipe.gibbs_steps)
    return schedules


def _gibbs_schedule(text: str) -> Schedule:
    """The schedule that "25" or "0:10,1000:25" stands for."""
    try:
        if ":" not in text:
            return constant(int(text))
        pairs = [part.split(":") for part in text.split(",")]
        return piecewise({int(step): int(k) for step, k in pairs})
    except ValueError:
        raise ValueError(
            f"gibbs_steps: expected a number or pairs such as 0:10,1000:25, got {text!r}"
        ) from None


def mean_frame(data: Data) -> Tensor:
    """The mean of the frames of the first batches, [visible]."""
    total, count = torch.zeros(()), 0
    for step in range(MEAN_BATCHES):
        batch = data(step)
        frames, lengths = batch if isinstance(batch, tuple) else (batch, None)
        if lengths is not None:
            frames = frames[torch.arange(frames.shape[1]) < lengths.unsqueeze(1)]
        total = total + frames.reshape(-1, frames.shape[-1]).sum(0)
        count += frames.numel() // frames.shape[-1]
    return total / count


def pretrain_weight(
    model: SequenceModel, data: Data, steps: int, generator: torch.Generator
) -> None:
    """Give W some updates of static CD-5, as if frames were drawn anew (Sutskever 2013, 3.11.3).

    Learning rate 0.01 and momentum 0.9; the other parameters of the model are left as they were.

    Raises:
        ValueError: the model has no RBM to train.
    """
    if not isinstance(model, EnergyModel):
        raise ValueError(f"pretrain: a {type(model).__name__} has no RBM weights to pre-train")
    with torch.random.fork_rng(devices=[]):  # what is drawn here is replaced
        rbm = RBM(model.visible.size, len(model.weight), model.visible)
    rbm.to(model.weight.device)
    rbm.weight = model.weight
    torch.nn.init.zeros_(rbm.visible_bias)
    torch.nn.init.zeros_(rbm.hidden_bias)
    rbm.gibbs_steps = 5
    static = [rbm.weight, rbm.visible_bias, rbm.hidden_bias]
    optimizer = torch.optim.SGD(static, lr=0.01, momentum=0.9)
    fit(rbm, data, steps=steps, optimizer=optimizer, generator=generator, progress=False)
