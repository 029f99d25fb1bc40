"""Recipes: everything that decides a training run, in one flat table of keys, and presets of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqebm.cells import CELLS, Cell, StackedCells, make_cell
from seqebm.data import BallVideos, Sequences, SymbolSequence, bouncing_balls
from seqebm.learning.batches import Batch, Data, Minibatches, minibatches, windows
from seqebm.learning.schedules import Schedule, constant, piecewise
from seqebm.learning.streams import streams
from seqebm.models import RBM, RNN, RNNRBM, RTRBM, TRBM, Innovations, SequenceModel, Stack
from seqebm.models.energy import EnergyModel
from seqebm.optim.initialisations import (
    glorot_,
    identity_,
    orthogonal_,
    scale_to_radius_,
    sparse_,
)

TEST_SEED = 20_000  # of generated test videos; those for training come from seed sequences
OPTIMIZERS = ("adam", "sgd", "hf")
TASK_OPTIMIZERS = ("hf", "nag", "momentum", "adam", "sgd")
RANGES = {
    "steps": (1, 10**12),
    "batch": (1, 10**6),
    "seed": (0, 2**63 - 1),
    "lr": (0, math.inf),
    "lr_end": (0, math.inf),
    "momentum": (0, 1),
    "damping": (1e-10, 1e10),
    "structural": (0, math.inf),
    "cg_steps": (1, 10**6),
    "limit": (1, 10**12),
    "pretrain": (0, 10**12),
    "pretrain_cell": (0, 10**12),
    "window": (0, 10**9),
    "context": (0, 10**9),
    "stride": (0, 10**9),
    "keep_every": (0, 10**9),
    "clip": (0, math.inf),
    "decay": (0, math.inf),
    "average": (0, 1),
    "rungs": (1, 10**3),
    "chains": (0, 10**6),
    "noise": (0, 1),
    "innovations": (0, 10**3),
    "balls": (1, 10**3),
    "resolution": (1, 10**4),
    "length": (2, 10**6),
}
OUTPUTS = ("rbm", "nade", "orderless-nade")  # of a recurrent network, beside independent units
RECURRENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "orthogonal": orthogonal_,
    "identity": identity_,
    "glorot": glorot_,
    "sparse": sparse_,
    # of that spectral radius, as an echo-state network (Sutskever 2013, sec. 7.4.1)
    "echo": lambda matrix: scale_to_radius_(sparse_(matrix), 1.1),
}
LAYERS = ("rbm", "trbm", "rtrbm", *CELLS)
RECURRENT = {cell: (cell, "") for cell in (*CELLS, "stacked")} | {
    f"{cell}-{output}": (cell, output) for cell in (*CELLS, "stacked") for output in OUTPUTS
}
MODELS = ("rbm", "trbm", "rtrbm", *RECURRENT, "stack")


@dataclass(frozen=True)
class Recipe:
    """The keys of `seqebm train --set`, with their defaults.

    Attributes:
        model: one of `MODELS`.
        hidden: number of hidden units.
        state: number of units of the recurrent network that drives an RBM or NADE; None is as many
            as there are hidden ones.
        order: taps of a TRBM or RTRBM, or earlier states that a skip-rnn sees; None is the model's
            own default.
        connections: taps that a TRBM has, of hh, vh, vv.
        rank: of the taps between visible units of a TRBM or RTRBM; None leaves it free.
        visible: kind of the visible units, see `seqebm.units.make_units`; of a recurrent network
            also "mixture:3" (`seqebm.models.mixture`). Where data are symbols, as texts are,
            "bernoulli" stands for "categorical:K" with all K of them.
        innovations: taps of an autoregression with changing volatility whose innovations the model
            learns (`seqebm.Innovations`); 0: it learns the frames themselves.
        held_at_zero: names of parameters that stay zero, separated by commas.
        layers: of a stack, from the bottom to the top: kinds of model with their numbers of hidden
            units, all trained alike, one after the other. Or of a stacked network: kinds of cell
            with theirs, as "mrnn:150,mrnn:130,mrnn:110".
        from_below: whether each upper layer of a stack begins as the layer below it with the layers
            of units exchanged (`TRBM.transposed`), so that at first it changes nothing.
        radius: spectral radius of an esn, a network of fixed random connections.
        leak: the share of a state of an esn that is new.
        density: share of the connections between states that an esn has.
        input_scale: largest weight of an esn from the frame; of the rnn of a task the standard
            deviation of those connections from the inputs that it begins with.
        task: the problem that is learned in the place of data, one of `seqebm.data.problems`; empty
            where there are data. `seqebm.learning.tasks` says which keys count for it.
        limit: minibatches of 1000 sequences after which a task counts as failed, see `solve`. A run
            can be resumed with another one.
        steps: updates.
        batch: sequences an update.
        seed: decides initial values, data order and chains.
        optimizer: "adam", "sgd", or "hf", Hessian-free (`seqebm.optim.HessianFree`), which a
            network with independent units can be learned by, in batches of hundreds of sequences.
            Of a task also "nag" and "momentum" (`seqebm.optim.nesterov`).
        damping: λ that hf begins with.
        structural: μ of hf, the weight of structural damping.
        cg_steps: products with the curvature matrix in a step of hf, at most.
        lr: learning rate of the first step.
        lr_end: learning rate after the last one, approached in a straight line.
        momentum: of sgd, nag and momentum.
        thesis_schedules: whether rate and momentum of a task follow Sutskever 2013, sec. 7.4.2, in
            the place of lr, lr_end and momentum; in the memorization problems lr is the first rate.
        gibbs_steps: k of CD-k: a number, or step:number pairs as "0:10,1000:25".
        bf16: whether chains use bf16 inside their products (`gibbs.chain`).
        start_at_mean: whether the visible bias begins at the mean frame of some training data
            (`SequenceModel.start_at`), and not near zero.
        centred: whether the gradient of an RBM is that of the centred machine
            (`learning.centring`).
        recurrence: what the matrices between the states of a recurrent network begin as, one of
            `RECURRENCES`; empty leaves them as the cell draws them.
        pretrain: updates of static CD-5 that W is given beforehand (lr 0.01, momentum 0.9).
        pretrain_cell: updates that the recurrent network is given beforehand as a predictor with
            independent units (Adam with the recipe's lr).
        window: training sequences are cut into pieces of at most this many frames, at other places
            in every epoch; 0 leaves them whole.
        stride: frames from one update to the next in truncated BPTT, whose gradient goes back
            through `window` frames, or through the stride where that is more; the state is carried
            on (`streams.streams`). 0: pieces are learned from by themselves.
        keep_every: in training states are kept after so many frames only, to need less memory
            (`SequenceModel.keep_every`); 0 keeps all.
        context: first frames of each piece or sequence that are remembered and not learned from,
            for without a past they are harder than all others.
        clip: largest norm of the gradient; 0 leaves it as it is.
        decay: of the weights from and to hidden units, by a step of the optimiser the share
            `decay` times the learning rate (AdamW; in sgd as a gradient).
        average: decay of the moving average of the parameters; 0 keeps none.
        rungs: of the parallel tempering by which a model with an RBM draws and predicts frames once
            it is trained (`EnergyModel.sampling_rungs`); 1 is a plain chain.
        binarise: whether grey levels of the data are drawn as zeros and ones, anew at every step.
        chains: number of persistent chains of an RBM, which go on from step to step
            (`RBM.start_chains`); 0: chains begin at the data.
        persistent: whether every frame of the data has a chain of its own, which goes on when the
            frame is met again (`batches.PersistentChains`).
        backwards: whether the model learns sequences reversed in time, from their last frames to
            their first, which can bring what belongs together nearer to each other. It is then a
            model of reversed sequences: what it is measured on and goes on from is to be reversed
            for it, and what it draws back again (`in_order`), as the commands do. Its likelihood of
            a whole sequence can be compared with that of a model that reads forwards; what it says
            of a single frame cannot, for it is given the frames after it and not those before.
        noise: in what the memory sees in training: the share of the pixels that are salt and
            pepper, or the standard deviation where units are Gaussian. The model is better at
            denoising for it, and at going on from its own frames.
        balls: number of balls in generated videos.
        resolution: their height and width in pixels.
        length: their number of frames; of a task its length T.
    """

    model: str = "rtrbm"
    hidden: int = 200
    state: int | None = None
    order: int | None = None
    connections: str = "hh,vh,vv"
    rank: int | None = None
    visible: str = "bernoulli"
    innovations: int = 0
    held_at_zero: str = ""
    layers: str = "trbm:200,trbm:200"
    from_below: bool = False
    radius: float = 0.9
    leak: float = 1.0
    density: float = 0.1
    input_scale: float = 1.0
    task: str = ""
    limit: int = 50_000
    steps: int = 10_000
    batch: int = 4
    seed: int = 1
    optimizer: str = "adam"
    damping: float = 0.1
    structural: float = 0.0
    cg_steps: int = 300
    lr: float = 1e-3
    lr_end: float = 0.0
    momentum: float = 0.9
    thesis_schedules: bool = False
    gibbs_steps: str = "10"
    bf16: bool = False
    start_at_mean: bool = True
    centred: bool = False
    recurrence: str = ""
    pretrain: int = 0
    pretrain_cell: int = 0
    window: int = 0
    stride: int = 0
    keep_every: int = 0
    context: int = 0
    clip: float = 0.0
    decay: float = 0.0
    average: float = 0.0
    rungs: int = 1
    binarise: bool = False
    chains: int = 0
    persistent: bool = False
    backwards: bool = False
    noise: float = 0.0
    balls: int = 3
    resolution: int = 30
    length: int = 100

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")
        optimizers = TASK_OPTIMIZERS if self.task else OPTIMIZERS
        if self.optimizer not in optimizers:
            raise ValueError(
                f"optimizer: expected one of {', '.join(optimizers)}, got {self.optimizer!r}"
            )
        if self.recurrence and self.recurrence not in RECURRENCES:
            names = ", ".join(RECURRENCES)
            raise ValueError(f"recurrence: expected one of {names}, got {self.recurrence!r}")
        gibbs_schedule(self.gibbs_steps)
        _listed_layers(self.layers, LAYERS)


TWO_LAYERS: dict[str, Any] = {
    "hidden": 200,
    "layers": "trbm:200,trbm:400",
    "order": 4,
    "steps": 10_000,
    "batch": 1,
    "balls": 2,
    "resolution": 20,
}
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
    # Sutskever 2013, sec. 3.3-3.4: four taps, 10 000 sequences a layer, CD-1 and the learning rate
    # that the thesis' doublings come to after 1000 of them (there of gradients summed over frames)
    "thesis-layers": {
        **TWO_LAYERS,
        "start_at_mean": False,
        "optimizer": "sgd",
        "lr": 0.08,
        "lr_end": 0.08,
        "gibbs_steps": "1",
    },
    # the same number of sequences, used better: a TRBM-VV with a fifth of the error, and second
    # layers that begin as the first ones do and so know as much from the start
    "balls-layers": {**TWO_LAYERS, "lr": 0.003, "gibbs_steps": "5", "from_below": True},
    # prepared motion capture, to walk on and on: taps, and noise of a fixed size as Taylor, Hinton
    # and Roweis (2007) had it, which `sample_means` removes; with half of theirs walks last longer
    "motion": {
        "visible": "gaussian:0.5",
        "order": 6,
        "steps": 3000,
        "batch": 8,
        "lr": 0.001,
        "gibbs_steps": "1",
        "decay": 1.0,
        "noise": 0.1,
    },
    # the same, to predict; chosen on the last four training blocks of MIT's walks
    "motion-prediction": {
        "visible": "gaussian",
        "innovations": 3,
        "order": 2,
        "steps": 2000,
        "batch": 8,
        "lr": 0.003,
        "gibbs_steps": "5",
        "decay": 3.0,
        "noise": 0.02,
    },
    # handwritten digits (datasets/mnist.py): a hundred images a batch
    "mnist": {
        "hidden": 500,
        "batch": 1,
        "steps": 60_000,
        "lr": 0.002,
        "gibbs_steps": "5",
        "chains": 200,
        "binarise": True,
        "centred": True,
        "average": 0.999,
    },
    # polyphonic music (datasets/polyphonic_music.py); chosen on validation data
    "music": {
        "order": 4,
        "batch": 8,
        "window": 100,
        "lr": 0.01,
        "gibbs_steps": "5",
        "recurrence": "orthogonal",
        "centred": True,
        "clip": 5.0,
        "decay": 0.02,
        "noise": 0.05,
        "rungs": 10,
    },
    # characters of a text, in the pieces of Sutskever 2013, sec. 5.4.2
    "text": {
        "hidden": 300,
        "batch": 32,
        "window": 250,
        "context": 50,
        "lr": 0.003,
        "clip": 1.0,
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
    values = {**(PRESETS[preset] if preset else {}), **parsed(settings), "model": model}
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


def parsed(settings: Mapping[str, str]) -> dict[str, Any]:
    """The settings with their texts turned into the types of the recipe's keys.

    Raises:
        ValueError: an unknown key, or a value of the wrong type.

    Example:
        >>> parsed({"steps": "10", "lr": "0.1"})
        {'steps': 10, 'lr': 0.1}
    """
    types = {f.name: str(f.type) for f in fields(Recipe) if f.name not in ("model", "task")}
    values: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in types:
            raise ValueError(f"unknown key {key!r}; the keys are {', '.join(types)}")
        convert = _CONVERSIONS[types[key]]
        try:
            values[key] = convert(text)
        except (ValueError, KeyError):
            raise ValueError(f"{key}: expected {types[key]}, got {text!r}") from None
    return values


def build_model(recipe: Recipe, n_visible: int) -> SequenceModel:
    """The untrained model of a recipe.

    Raises:
        ValueError: settings that the model cannot have.
    """
    if recipe.innovations:
        inside = build_model(replace(recipe, innovations=0, held_at_zero=""), n_visible)
        return _hold_at_zero(Innovations(inside, recipe.innovations), recipe.held_at_zero)
    if recipe.model == "stack":
        return _build_stack(recipe, n_visible)
    hidden, visible = recipe.hidden, recipe.visible
    order = {} if recipe.order is None else {"order": recipe.order}
    if recipe.model == "rbm":
        model: SequenceModel = RBM(n_visible, hidden, visible)
    elif recipe.model == "trbm":
        connections = recipe.connections.split(",")
        model = TRBM(
            n_visible, hidden, visible=visible, connections=connections, rank=recipe.rank, **order
        )
    elif recipe.model == "rtrbm":
        model = RTRBM(n_visible, hidden, visible=visible, rank=recipe.rank, **order)
    else:
        model = _build_recurrent(recipe, n_visible)
    if isinstance(model, EnergyModel):
        model.bf16 = recipe.bf16
    return _hold_at_zero(model, recipe.held_at_zero)


def _build_recurrent(recipe: Recipe, n_visible: int) -> SequenceModel:
    """The untrained recurrent network of a recipe, with what it drives."""
    _, output = RECURRENT[recipe.model]
    cell = build_cell(recipe, n_visible)
    if recipe.recurrence:
        for matrix in cell.recurrent_matrices():
            RECURRENCES[recipe.recurrence](matrix)
    if not output:
        return RNN(cell, recipe.visible)
    if output == "rbm":
        return RNNRBM(n_visible, recipe.hidden, cell, recipe.visible)
    if recipe.visible != "bernoulli":
        raise ValueError(f"visible: expected bernoulli for a {recipe.model}, got {recipe.visible}")
    return RNN(cell, f"{output}:{recipe.hidden}")


def build_cell(recipe: Recipe, n_visible: int) -> Cell:
    """The recurrent network of a recipe."""
    kind, output = RECURRENT[recipe.model]
    if kind == "stacked":
        cells: list[Cell] = []
        for layer, hidden in _listed_layers(recipe.layers, CELLS):
            below = cells[-1].hidden_size if cells else 0
            cells.append(
                make_cell(layer, n_visible + below, hidden, **_cell_options(recipe, layer))
            )
        return StackedCells(cells)
    size = recipe.state if output and recipe.state is not None else recipe.hidden
    return make_cell(kind, n_visible, size, **_cell_options(recipe, kind))


def _cell_options(recipe: Recipe, kind: str) -> dict[str, Any]:
    """What a recipe says of a cell beside its size."""
    if kind == "esn":
        return {key: getattr(recipe, key) for key in ("radius", "leak", "density", "input_scale")}
    return {"order": recipe.order} if kind == "skip-rnn" and recipe.order is not None else {}


def _build_stack(recipe: Recipe, n_visible: int) -> Stack:
    """The untrained layers that a recipe lists, on top of each other."""
    layers: list[SequenceModel] = []
    below = n_visible
    for kind, hidden in _listed_layers(recipe.layers, LAYERS):
        own = replace(recipe, model=kind, hidden=hidden)
        if not layers or not recipe.from_below:
            units = "bernoulli" if layers else recipe.visible
            layers.append(build_model(replace(own, visible=units), below))
        elif hidden == layers[-1].visible.size:
            layers.append(exchanged(layers[-1]))
        else:
            raise ValueError(
                f"from_below: layer {len(layers) + 1} must have {layers[-1].visible.size} "
                f"hidden units, as many as the layer below has visible ones, got {hidden}"
            )
        below = hidden
    return Stack(layers)


def exchanged(layer: SequenceModel) -> TRBM | RBM:
    """The layer with its units exchanged, as the layer above it begins.

    Raises:
        ValueError: a layer of a kind that has no such form.
    """
    if not isinstance(layer, TRBM | RBM):
        raise ValueError(f"from_below: no layer begins as an exchanged {type(layer).__name__}")
    return layer.transposed()


def _listed_layers(text: str, kinds: Collection[str]) -> list[tuple[str, int]]:
    """Kinds, some of those given, and numbers of hidden units that "trbm:200,rtrbm:400" names."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        listed = [(kind, int(hidden)) for kind, hidden in pairs]
    except ValueError:
        raise ValueError(f"layers: expected KIND:HIDDEN,KIND:HIDDEN …, got {text!r}") from None
    unknown = [kind for kind, _ in listed if kind not in kinds]
    if unknown:
        raise ValueError(f"layers: expected some of {', '.join(kinds)}, got {unknown[0]!r}")
    return listed


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
        if recipe.backwards:
            raise ValueError("backwards: goes with data from a file")
        return ball_videos(recipe, recipe.batch)
    data = pieces(recipe, sequences)
    if recipe.binarise and recipe.stride:
        raise ValueError("binarise: does not go with a stride")
    return binarised(data, recipe.seed) if recipe.binarise else data


def with_units(recipe: Recipe, sequences: Sequences) -> Recipe:
    """The recipe with visible units that are of the kind of the data.

    Raises:
        ValueError: the recipe says other units than symbols have.
    """
    if not sequences or not isinstance(sequences[0], SymbolSequence):
        return recipe
    needed = f"categorical:{sequences.n_visible}"
    if recipe.visible not in ("bernoulli", needed):
        raise ValueError(f"visible: expected {needed} for these data, got {recipe.visible}")
    return replace(recipe, visible=needed)


def in_order(recipe: Recipe, sequences: Sequences) -> Sequences:
    """The sequences in the order of time in which the model of a recipe reads them.

    The same brings what the model has made, such as samples, back into the order of the data.

    Example:
        >>> data = Sequences.from_frames(torch.tensor([[[1.0], [2.0]]]))
        >>> in_order(Recipe(backwards=True), data)[0].frames.squeeze(1)
        tensor([2., 1.])
    """
    return sequences.backwards() if recipe.backwards else sequences


def pieces(recipe: Recipe, sequences: Sequences) -> Minibatches:
    """Minibatches of the sequences, or of windows of them, in the order of the recipe."""
    sequences = in_order(recipe, sequences)
    if recipe.stride:
        reach = max(recipe.stride, recipe.window)
        return streams(sequences, recipe.stride, reach, recipe.batch, recipe.seed)
    if recipe.window:
        return windows(sequences, recipe.window, recipe.batch, recipe.seed, recipe.context)
    return minibatches(sequences, recipe.batch, recipe.seed)


def binarised(data: Data, seed: int) -> Data:
    """The data with grey levels drawn as zeros and ones, as a function of the step and the seed."""

    def drawn(step: int) -> Batch:
        source = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, step, 1])))

        def draw(frames: Tensor) -> Tensor:
            numbers = source.random(frames.shape, dtype=np.float32)
            return (torch.from_numpy(numbers) < frames).to(frames)

        batch = data(step)
        return draw(batch) if isinstance(batch, Tensor) else (draw(batch[0]), batch[1])

    return drawn


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


def gibbs_schedule(text: str) -> Schedule:
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
