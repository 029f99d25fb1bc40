"""Training the model of a recipe, layer after layer where it is a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqebm.checks import usable_device
from seqebm.data import Sequences
from seqebm.data.noise import salt_and_pepper, white
from seqebm.learning import parallel
from seqebm.learning.batches import Batch, Data, PersistentChains
from seqebm.learning.centring import centre
from seqebm.learning.checkpoint import StrPath, save
from seqebm.learning.fit import Corruption, History, fit
from seqebm.learning.recipes import (
    Recipe,
    build_model,
    exchanged,
    gibbs_schedule,
    make_data,
    pieces,
    with_units,
)
from seqebm.learning.schedules import Schedule, linear
from seqebm.models import RBM, RNN, RNNRBM, Innovations, SequenceModel, Stack
from seqebm.models.energy import EnergyModel
from seqebm.optim import HessianFree
from seqebm.optim.nesterov import NAG, Momentum

ACCELERATED = {"nag": NAG, "momentum": Momentum}
MEAN_BATCHES = 16  # whose mean frame a model starts at
DECAYING = (  # beginnings of names; taps between visible units are not among them: shrinking these
    # says that frames forget the one before
    "weight",
    "hidden_to",
    "visible_to_hidden",
    "visible_to_gates",
    "visible_weight",
    "state_to",
    "factors_to_hidden",
    "factors_to_gates",
    "memory_weight",
    "gate_weight",
    "output_weight",
    "known_weight",
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
    recipe = recipe if sequences is None else with_units(recipe, sequences)
    n_visible = recipe.resolution**2 if sequences is None else sequences.n_visible
    with torch.random.fork_rng(devices=[]):  # initial values without touching the global state
        torch.manual_seed(recipe.seed)
        model = build_model(recipe, n_visible).to(device)
    model.keep_every = recipe.keep_every
    for part in model.modules():
        if isinstance(part, EnergyModel):
            part.sampling_rungs = recipe.rungs
    data = make_data(recipe, sequences)
    generator = torch.Generator(device).manual_seed(recipe.seed)
    if recipe.persistent:
        if sequences is None or not isinstance(model, EnergyModel | Innovations):
            raise ValueError("persistent: goes with data from a file and models that draw chains")
        options["chains"] = PersistentChains(pieces(recipe, sequences))
    learn = train_stack if isinstance(model, Stack) else train_layer
    return model, learn(cast(Any, model), recipe, data, generator, **options)


def train_layer(
    model: SequenceModel,
    recipe: Recipe,
    data: Data,
    generator: torch.Generator,
    checkpoint: StrPath | None = None,
    resume: bool = False,
    below: SequenceModel | None = None,
    **options: Any,
) -> History:
    """Train one model.

    Args:
        model: the model.
        recipe: what to do.
        data: the training data.
        generator: source of randomness.
        checkpoint: see `fit`.
        resume: see `fit`.
        below: the layer under this one, if it is to begin as that one with its units exchanged.
        options: passed to `fit`.
    """
    begun = resume and checkpoint is not None and Path(checkpoint).exists()
    if not begun and below is not None:
        model.load_state_dict(exchanged(below).state_dict())
    elif not begun and recipe.start_at_mean:
        model.start_at(mean_frame(data).to(generator.device))
    if recipe.pretrain and not begun:
        pretrain_weight(model, data, recipe.pretrain, generator)
    if recipe.pretrain_cell and not begun:
        pretrain_cell(model, data, recipe.pretrain_cell, recipe.lr)
    if recipe.chains and not begun:
        if not isinstance(model, RBM):
            raise ValueError(f"chains: a {type(model).__name__} has no persistent chains")
        model.start_chains(recipe.chains, generator)
    optimizer = make_optimizer(model, recipe)
    if recipe.centred and isinstance(model, EnergyModel):
        centre(optimizer, model, mean_frame(data).to(generator.device))
    return fit(
        model,
        data,
        steps=recipe.steps,
        optimizer=optimizer,
        schedules=make_schedules(model, recipe),
        clip=recipe.clip or None,
        average=recipe.average or None,
        corrupt=make_corruption(recipe),
        context=recipe.context,
        generator=generator,
        checkpoint=checkpoint,
        resume=resume,
        **options,
    )


def train_stack(
    stack: Stack,
    recipe: Recipe,
    data: Data,
    generator: torch.Generator,
    checkpoint: StrPath | None = None,
    evaluate: Callable[[SequenceModel], Mapping[str, float]] | None = None,
    **options: Any,
) -> History:
    """Train the layers from the bottom to the top, each on the filtered means of the one below.

    Args:
        stack: the untrained layers.
        recipe: what to do with each of them; noise is for the frames that the bottom layer sees.
        data: the training data of the bottom layer.
        generator: source of randomness.
        checkpoint: the file of the whole, written in the end; layers have files beside it.
        evaluate: is given the stack of the layers so far.
        options: passed to `train_layer`.

    Returns:
        The history, with the number of the layer in every record.
    """
    history: History = []
    for number in range(1, len(stack) + 1):
        layers = stack[:number]
        lower = layers[:-1] if number > 1 else None
        records = train_layer(
            layers.top,
            recipe if lower is None else replace(recipe, noise=0.0),
            data if lower is None else hiddens(lower, data),
            generator,
            checkpoint=None if checkpoint is None else layer_file(checkpoint, number),
            below=lower.top if lower is not None and recipe.from_below else None,
            evaluate=None if evaluate is None else _evaluated_as(layers, evaluate),
            **options,
        )
        history += [{**record, "layer": number} for record in records]
    if checkpoint is not None and parallel.rank() == 0:
        save(stack, checkpoint)
    return history


def layer_file(checkpoint: StrPath, number: int) -> Path:
    """Where the training of a layer of a stack keeps its checkpoint."""
    whole = Path(checkpoint)
    return whole.with_name(f"layer-{number}{whole.suffix}")


def _evaluated_as(
    stack: Stack, evaluate: Callable[[SequenceModel], Mapping[str, float]]
) -> Callable[[SequenceModel], Mapping[str, float]]:
    """`evaluate` of the stack whose uppermost layer is being trained."""
    return lambda layer: evaluate(Stack([*stack.layers[:-1], layer]))


def hiddens(model: SequenceModel, data: Data) -> Data:
    """The filtered means of the hidden units of a trained model, as data for the layer above.

    Args:
        model: the model below.
        data: its training data.

    Example:
        >>> import seqebm
        >>> hiddens(seqebm.RBM(4, 3), lambda step: torch.ones(2, 5, 4))(0).shape
        torch.Size([2, 5, 3])
    """
    device = next(model.parameters()).device

    def filtered(step: int) -> Batch:
        batch = data(step)
        if isinstance(batch, Tensor):
            return model.filter(batch.to(device))
        frames, lengths = (part.to(device) for part in batch)
        return model.filter(frames, lengths), lengths

    return filtered


def make_corruption(recipe: Recipe) -> Corruption | None:
    """The noise of a recipe."""
    if not recipe.noise:
        return None
    noise = salt_and_pepper if recipe.visible == "bernoulli" else white
    return lambda frames, generator: noise(frames, recipe.noise, generator)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    if recipe.optimizer == "hf":
        return HessianFree(
            model.parameters(), recipe.damping, recipe.structural, iterations=recipe.cg_steps
        )
    if recipe.optimizer in ACCELERATED:
        return ACCELERATED[recipe.optimizer](model.parameters(), recipe.lr, recipe.momentum)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for name, p in learned.items() if decays(name) == yes], "weight_decay": decay}
        for yes, decay in ((True, recipe.decay), (False, 0.0))
    ]
    if recipe.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)


def decays(name: str) -> bool:
    """Whether a parameter is made of weights from or to hidden units, which a recipe can shrink."""
    return name.rpartition(".")[2].startswith(DECAYING)


def make_schedules(model: SequenceModel, recipe: Recipe) -> dict[str, Schedule]:
    """The schedules of a recipe: the learning rate, and k for models that have it."""
    schedules: dict[str, Schedule] = {}
    if recipe.optimizer != "hf":
        schedules["lr"] = linear(recipe.lr, recipe.lr_end, recipe.steps)
    if hasattr(model, "gibbs_steps"):
        schedules["gibbs_steps"] = gibbs_schedule(recipe.gibbs_steps)
    return schedules


def mean_frame(data: Data) -> Tensor:
    """The mean of the frames of the first batches, [visible]."""
    total, count = torch.zeros(()), 0
    for step in range(MEAN_BATCHES):
        batch = data(step)
        frames, lengths = batch if isinstance(batch, tuple) else (batch, None)
        if lengths is not None:
            frames = frames[
                torch.arange(frames.shape[1], device=frames.device) < lengths.unsqueeze(1)
            ]
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


def pretrain_cell(model: SequenceModel, data: Data, steps: int, lr: float) -> None:
    """Train the recurrent network of a model as a predictor (Boulanger-Lewandowski et al. 2012).

    The units of a frame are taken to be independent of each other meanwhile. What the predictor has
    learned to tell them becomes what drives the visible biases, so that an RNN-RBM with W = 0 is
    that predictor.

    Args:
        model: an RNN-RBM, or an RNN with a NADE.
        data: the training data.
        steps: updates of Adam.
        lr: learning rate, which falls to 0.

    Raises:
        ValueError: a model of another kind.
    """
    if not isinstance(model, RNN | RNNRBM):
        raise ValueError(f"pretrain_cell: a {type(model).__name__} has no recurrent network")
    size = model.visible.size
    with torch.random.fork_rng(devices=[]):  # what is drawn here is replaced
        predictor = RNN(model.cell, model.visible)
    readout = predictor.readout.to(model.output_bias.device)
    with torch.no_grad():
        torch.nn.init.zeros_(readout.weight)
        readout.bias.copy_(model.output_bias)
    fit(
        predictor,
        data,
        steps=steps,
        optimizer=torch.optim.Adam(predictor.parameters(), lr=lr),
        schedules={"lr": linear(lr, 0.0, steps)},
        progress=False,
    )
    with torch.no_grad():
        model.output_bias.copy_(readout.bias)
        weight = model.state_to_visible if isinstance(model, RNNRBM) else model.readout.weight
        weight[:size].copy_(readout.weight)
