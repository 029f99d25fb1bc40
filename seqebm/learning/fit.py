"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from seqebm import gibbs
from seqebm.checks import check_generator
from seqebm.data import Sequences
from seqebm.learning import parallel
from seqebm.learning.batches import Batch, Data, PersistentChains, minibatches
from seqebm.learning.checkpoint import StrPath, load_training, save
from seqebm.learning.graphs import Graphs, gradient
from seqebm.learning.schedules import Schedule, set_entry
from seqebm.learning.streams import Streams, Stretch
from seqebm.models import SequenceModel
from seqebm.models.base import Memory, State, at, leaves, with_leaves
from seqebm.optim import Report
from seqebm.optim.second_order import SecondOrder, shown

Corruption = Callable[[Tensor, torch.Generator], Tensor]  #: frames to what is remembered of them
History = list[dict[str, float]]

PIECES = 10  #: that a batch is cut into for optimisers of second order
LOOK_EVERY = 50  #: steps after which a run on a GPU waits for its losses


def fit(
    model: SequenceModel,
    data: Data | Tensor | Sequences,
    *,
    steps: int,
    batch: int = 16,
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    clip: float | None = None,
    average: float | None = None,
    corrupt: Corruption | None = None,
    chains: PersistentChains | None = None,
    context: int = 0,
    evaluate: Callable[[SequenceModel], Mapping[str, float]] | None = None,
    evaluate_every: int = 1000,
    checkpoint: StrPath | None = None,
    checkpoint_every: int = 1000,
    resume: bool = False,
    generator: torch.Generator | None = None,
    progress: bool | None = None,
) -> History:
    """Train a model on `loss`, with checkpoints from which a run goes on bit for bit (on a CPU).

    Inside a process group of `torch.distributed` every process takes its share of the sequences of
    each batch and draws chains of its own; gradients are averaged over all frames. Process 0
    evaluates and writes the checkpoints, which any number of processes can resume.

    Args:
        model: trained in place.
        data: frames [n, time, visible] or `Sequences`, from which minibatches are drawn; or a
            function from the step to frames or to (frames, lengths). They are moved to the
            model's device.
        steps: number of updates in all, those before a resumption counted in.
        batch: sequences in a minibatch (where `data` is no function).
        seed: decides the order of the minibatches (where `data` is no function).
        optimizer: any optimiser of torch over the model's parameters; Adam(1e-3) if None. One of
            second order (`seqebm.optim.HessianFree` …) takes each batch in ten pieces, one after
            the other; curvature, and whether a step lowers the loss, are those of the first. What
            its steps report is recorded.
        schedules: functions of the step: "lr" and any other entry of the optimiser's groups
            ("momentum"), "gibbs_steps" for the model.
        clip: largest norm of the gradient.
        average: decay of an exponential moving average of the parameters, which is what
            `evaluate` sees, what checkpoints hold as the model, and what `model` is at the end.
        corrupt: function of (frames, generator) that gives the frames the model is to remember in
            training, such as noisy ones; it still learns to expect clean frames (`loss`, `past`).
        chains: where the chains of each frame of the data go on from its last visit
            (`batches.PersistentChains`); None lets them begin at the data. For one process only.
        context: first frames of each sequence of a batch that are remembered and not learned from
            (`SequenceModel.loss`).
        evaluate: called every `evaluate_every` steps and at the end; what it gives is recorded.
        evaluate_every: steps between records of the history.
        checkpoint: file to write every `checkpoint_every` steps and at the end.
        checkpoint_every: steps between checkpoints.
        resume: go on from `checkpoint` where it exists.
        generator: source of randomness of the chains; None is torch's default.
        progress: whether to show a progress bar; None shows it on a terminal only.

    Returns:
        The history: one dictionary a record with step, seconds, the mean loss since the last
        record, and what `evaluate` gave.

    Raises:
        FloatingPointError: the loss or a gradient is not finite. Step and parameter are named, and
            the model and the last checkpoint stay as they were before the step. On a GPU it may
            be raised some steps later, which change nothing.
        ValueError: an unknown schedule, a checkpoint of another model or optimiser, or processes
            that train different models.

    Example:
        >>> import seqebm
        >>> model = seqebm.RTRBM(9, 5)
        >>> history = seqebm.fit(model, torch.rand(20, 7, 9), steps=3)
        >>> history[-1]["step"]
        3
    """
    parallel.check_agreement(model)
    parallel.spread_parameters(model)
    batches = data if callable(data) else minibatches(data, batch, seed)
    streams = batches if isinstance(batches, Streams) else None
    run = _Run(
        model,
        optimizer,
        schedules or {},
        clip,
        average,
        corrupt,
        chains,
        generator,
        context,
        streams,
    )
    if resume and checkpoint is not None and Path(checkpoint).exists():
        run.restore(checkpoint)
    bar = progress_bar(run.step, steps, progress)
    started = time.monotonic() - run.seconds
    while run.step < steps:
        with gibbs.repeated(steps):
            run.update(batches(run.step))
        run.seconds = time.monotonic() - started
        done = run.step == steps
        if done or run.step % evaluate_every == 0:
            run.record(evaluate)
        if checkpoint is not None and (done or run.step % checkpoint_every == 0):
            run.save(checkpoint)
        bar.update()
        bar.set_postfix(run.shown(), refresh=False)
    bar.close()
    run.use_average()
    return run.history


class _Run:
    """A training run between two steps: everything that a checkpoint must hold."""

    def __init__(
        self,
        model: SequenceModel,
        optimizer: torch.optim.Optimizer | None,
        schedules: Mapping[str, Schedule],
        clip: float | None,
        average: float | None,
        corrupt: Corruption | None,
        chains: PersistentChains | None,
        generator: torch.Generator | None,
        context: int = 0,
        streams: Streams | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
        self.schedules = schedules
        self.clip = clip
        self.corrupt = corrupt
        self.chains = chains
        self.context = context
        if chains is not None and parallel.ranks() > 1:
            raise ValueError("chains: persistent chains of frames are kept by one process only")
        if isinstance(self.optimizer, SecondOrder) and (
            corrupt or chains or context or clip or streams
        ):
            raise ValueError(
                "optimizer: one of second order goes with no corruption, persistent chains, "
                "context, streams or clipping"
            )
        self.streams = streams
        self.state: State | None = None  # after the last piece, where data are streams
        if streams is not None and (parallel.ranks() > 1 or chains is not None or context):
            raise ValueError("data: streams go with one process, no persistent chains, no context")
        self.average = None
        if average is not None:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(average))
        self.device = next(model.parameters()).device
        check_generator(generator, self.device)
        self.generator = parallel.own_generator(generator or _default_generator(self.device))
        self.graphs = Graphs(model, self.generator, context) if self.device.type == "cuda" else None
        # an optimiser that can skip a step by itself, as automatic mixed precision has it do, need
        # not wait on the host until it is known that the gradient is finite
        skips = getattr(self.optimizer, "_step_supports_amp_scaling", False)
        self.waits = not (skips and self.graphs is not None)
        self.failed = torch.zeros((), device=self.device)  # 1 after a step that was not finite
        self.step, self.seconds = 0, 0.0
        self.history: History = []
        self.losses: list[float] = []  # since the last record
        self.report: Report | None = None  # of the last step, where optimisers give one
        self.unseen: list[tuple[int, Tensor, Tensor]] = []  # step, loss and norm of the gradient
        self._set_schedules()  # names them before any work is done

    def update(self, batch: Batch) -> None:
        """One step."""
        self._set_schedules()
        frames, lengths = batch if isinstance(batch, tuple) else (batch, None)
        if isinstance(self.optimizer, SecondOrder):
            self._update_by_curvature(self.optimizer, frames, lengths)
        else:
            self._update_by_gradient(frames, lengths)
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1

    def _update_by_curvature(
        self, optimizer: SecondOrder, frames: Tensor, lengths: Tensor | None
    ) -> None:
        """A step of an optimiser that runs the model itself."""
        whole = torch.full((len(frames),), frames.shape[1]) if lengths is None else lengths
        few = math.ceil(len(frames) / PIECES)
        pair = frames.to(self.device), whole.to(self.device)
        first = [tuple(parallel.share(part[:few]) for part in pair)]
        own = [parallel.share(part).split(few) for part in pair]
        pieces = list(zip(*own, strict=True))
        run = self.model.prediction
        try:
            self.report = optimizer.step(lambda piece: run(*piece), pieces, first)
        except FloatingPointError as error:
            raise FloatingPointError(f"training stopped at step {self.step}: {error}") from None
        self.losses.append(self.report.loss)

    def _update_by_gradient(self, frames: Tensor, lengths: Tensor | None) -> None:
        """A step of any other optimiser."""
        frames = parallel.share(frames)
        lengths = None if lengths is None else parallel.share(lengths)
        whole = torch.full((len(frames),), frames.shape[1]) if lengths is None else lengths
        context = self.context if self.streams is None else self.streams.at(self.step).context
        count = int((whole - context).clamp(min=0).sum())
        loss = parallel.combine(self.model, self._gradient(frames, lengths), count)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = gradient_norm(gradients)
        self.unseen.append((self.step, loss.clone(), norm))
        if self.waits or len(self.unseen) == LOOK_EVERY:
            self.look()
        if self.clip is not None:
            clip_grads_with_norm_(self.model.parameters(), self.clip, norm)
        self._step(loss + norm)

    def _gradient(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Give the parameters the gradient of this process' share; its loss."""
        if self.graphs is not None and frames.device.type == "cpu":
            self.model.visible.check(frames)  # here, where looking at them waits for nothing
            frames = frames.pin_memory()
        frames = frames.to(self.device, non_blocking=True)
        past = None if self.corrupt is None else self.corrupt(frames, self.generator)
        if self.graphs is not None and lengths is None and self.chains is None:
            return self.graphs(frames, past)
        lengths = None if lengths is None else lengths.to(self.device)
        if self.streams is not None:
            return self._go_on(self.streams.at(self.step), frames, lengths, past)
        if self.chains is None:
            return gradient(self.model, frames, lengths, past, self.generator, None, self.context)
        ends = self.chains.take(self.step).to(frames)
        loss = gradient(self.model, frames, lengths, past, self.generator, ends, self.context)
        self.chains.put(self.step, ends)
        return loss

    def _go_on(
        self, here: Stretch, frames: Tensor, lengths: Tensor | None, past: Tensor | None
    ) -> Tensor:
        """The gradient of pieces of streams, and the state that the next ones begin with."""
        state = None if here.fresh else at(self.state, slice(len(here.pieces)))
        memory = Memory(state, here.ahead)
        rest = self.generator, None, here.context, memory
        loss = gradient(self.model, frames, lengths, past, *rest)
        self.state = memory.state
        return loss

    def _step(self, signal: Tensor) -> None:
        """A step of the optimiser, which does nothing once a signal was not finite."""
        if self.waits:
            self.optimizer.step()
            return
        self.failed = torch.maximum(self.failed, (~signal.isfinite()).float())
        self.optimizer.found_inf = self.failed  # type: ignore[attr-defined]
        self.optimizer.step()
        del self.optimizer.found_inf  # type: ignore[attr-defined]

    def look(self) -> None:
        """Wait for the losses that were not looked at yet; stop where one is not finite."""
        if not self.unseen:
            return
        values = torch.stack([value for _, *pair in self.unseen for value in pair]).tolist()
        for (step, *_), loss, norm in zip(self.unseen, values[::2], values[1::2], strict=True):
            if not math.isfinite(loss + norm):
                raise FloatingPointError(self._diagnosis(step, loss))
            self.losses.append(loss)
        self.unseen = []

    def _set_schedules(self) -> None:
        """Set what the schedules say for this step."""
        for name, schedule in self.schedules.items():
            value = schedule(self.step)
            if name == "gibbs_steps" and hasattr(self.model, name):
                for model in {self.model, self.result}:
                    setattr(model, name, int(value))
            else:
                set_entry(self.optimizer, name, value)

    def _diagnosis(self, step: int, loss: float) -> str:
        """What went wrong at a step, with the first parameter whose gradient is not finite."""
        wrong = [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        ]
        where = f"the gradient of {wrong[0]} is not finite" if wrong else "no gradient is at fault"
        return f"training stopped at step {step}: loss {loss}, {where}"

    @property
    def result(self) -> SequenceModel:
        """The model as it should be used: the average where one is kept."""
        return self.model if self.average is None else cast(SequenceModel, self.average.module)

    def record(self, evaluate: Callable[[SequenceModel], Mapping[str, float]] | None) -> None:
        """Add a record to the history."""
        self.look()
        loss = sum(self.losses) / len(self.losses)
        entry = {"step": self.step, "seconds": self.seconds, "loss": loss}
        if self.report is not None:
            entry |= self.report.record()
        if evaluate and parallel.rank() == 0:
            entry.update(evaluate(self.result))
        self.history.append(entry)
        self.losses = []

    def shown(self) -> dict[str, str]:
        """What a progress bar tells of the last step."""
        told = {"loss": f"{self.last_loss:.3f}"}
        if self.report is not None:
            told |= shown(self.report.record())
        return told

    @property
    def last_loss(self) -> float:
        """The last loss that is known, or the mean of the last record right after it was made."""
        known = self.losses or [record["loss"] for record in self.history[-1:]]
        return known[-1] if known else math.nan

    def save(self, path: StrPath) -> None:
        """Write a checkpoint."""
        self.look()
        training: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "losses": self.losses,
            "optimizer_kind": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict(),
            "generators": parallel.gather_states(self.generator, self.model),
        }
        if self.chains is not None:
            training["chains"] = self.chains.states
        if self.streams is not None:
            training["state"] = leaves(self.state)
        if self.average is not None:
            training["raw"] = dict(self.model.state_dict())
            training["averaged"] = int(self.average.n_averaged)
        if parallel.rank() == 0:
            save(self.result, path, training)

    def restore(self, path: StrPath) -> None:
        """Go back to where a checkpoint was written."""
        saved, training = load_training(path)
        if saved.settings != self.model.settings or type(saved) is not type(self.model):
            raise ValueError(
                f"{path}: holds a {type(saved).__name__} with {saved.settings}, "
                f"not a {type(self.model).__name__} with {self.model.settings}"
            )
        kind = type(self.optimizer).__name__
        if training["optimizer_kind"] != kind:
            raise ValueError(f"{path}: its optimiser is {training['optimizer_kind']}, not {kind}")
        for key, name, part in (
            ("raw", "average", self.average),
            ("chains", "chains", self.chains),
            ("state", "data", self.streams),
        ):
            if (key in training) != (part is not None):
                raise ValueError(f"{path}: saved with another setting of `{name}`")
        if self.chains is not None:
            self.chains.restore(training["chains"])
        if self.streams is not None:
            kept = (leaf.to(self.device) for leaf in training["state"])
            self.state = with_leaves(self.model.initial_state(1), kept)
        for model in {self.model, self.result}:  # persistent chains exist only once begun
            model._buffers.update(saved.to(self.device)._buffers)
        self.model.load_state_dict(training.get("raw", saved.state_dict()))
        if self.average is not None:
            self.average.module.load_state_dict(saved.state_dict())
            self.average.n_averaged.fill_(training["averaged"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.step, self.seconds = int(training["step"]), float(training["seconds"])
        parallel.restore_state(self.generator, training["generators"], self.step)
        self.history, self.losses = training["history"], training["losses"]

    def use_average(self) -> None:
        """Give the model its averaged parameters."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The norm of all gradients together, in float64.

    Errors that explode on their way back through time may have squares that float32 has no number
    for; clipped, they are of use.

    Example:
        >>> f"{float(gradient_norm([torch.full((2, 2), 1e30)])):.3g}"
        '2e+30'
    """
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


def _default_generator(device: torch.device) -> torch.Generator:
    """Torch's default source of randomness on a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def progress_bar(start: int, steps: int, progress: bool | None) -> Any:
    """A bar over the steps; with None it is silent unless stderr is a terminal."""
    from tqdm import tqdm

    hidden = None if progress is None else not progress
    if parallel.rank() > 0:
        hidden = True
    return tqdm(total=steps, initial=start, disable=hidden, unit="step", dynamic_ncols=True)
