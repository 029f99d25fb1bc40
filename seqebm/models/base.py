"""The one interface of all sequence models: a memory and a conditional.

p(v_1 … v_T) = Π_t p(v_t | context_{t−1}),   context_t = memory(context_{t−1}, v_t)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqebm import gibbs, likelihood
from seqebm.checks import check_float, check_lengths
from seqebm.models.conditionals import Conditional
from seqebm.optim import Prediction
from seqebm.units import Units

State = Any  #: what a memory carries from frame to frame: a tensor or a (named) tuple of tensors
Context = Any  #: what a conditional is made from, likewise; every tensor is [batch, time, ...]


def at(context: Context, index: Any) -> Context:
    """Index every tensor of a context alike; entries that are None stay None.

    Example:
        >>> at((torch.arange(3), None), slice(1, None))
        (tensor([1, 2]), None)
    """
    if context is None or isinstance(context, Tensor):
        return None if context is None else context[index]
    parts = [at(part, index) for part in context]
    return type(context)(*parts) if hasattr(context, "_fields") else tuple(parts)


def leaves(state: State) -> list[Tensor]:
    """The tensors of a state or context, in order.

    Example:
        >>> leaves((torch.zeros(1), (None, torch.ones(1))))
        [tensor([0.]), tensor([1.])]
    """
    if state is None or isinstance(state, Tensor):
        return [] if state is None else [state]
    return [leaf for part in state for leaf in leaves(part)]


def with_leaves(state: State, new: Iterable[Tensor]) -> State:
    """The state with other tensors in the places of its own.

    Example:
        >>> with_leaves((None, torch.zeros(2)), [torch.ones(1)])
        (None, tensor([1.]))
    """
    tensors = iter(new)

    def filled(part: State) -> State:
        if part is None or isinstance(part, Tensor):
            return None if part is None else next(tensors)
        parts = [filled(one) for one in part]
        return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)

    return filled(state)


def joined(contexts: Sequence[Context]) -> Context:
    """Contexts of pieces of sequences, one after the other."""
    parts = zip(*map(leaves, contexts), strict=True)
    return with_leaves(contexts[0], [torch.cat(part, dim=1) for part in parts])


@dataclass
class Memory:
    """What goes on from one piece of long sequences to the next, in truncated BPTT.

    Attributes:
        state: before the first frame of a piece, without a gradient; None is where sequences begin.
            `SequenceModel.loss` puts the state in its place that the next piece begins with.
        ahead: so many frames after this piece the next one begins.
    """

    state: State | None
    ahead: int


BEFORE = (slice(None), slice(None, -1))  #: the contexts before each frame
LAST = (slice(None), -1)  #: the context after the last frame


class SequenceModel(nn.Module, ABC):
    """A distribution over sequences of frames, v_1 … v_T in [batch, time, visible].

    A model supplies a memory (`initial_state`, `scan`) and a `conditional`; everything that people
    do with it is written here once. Frames must have the model's width; they are converted to the
    precision of its parameters. With `lengths` [batch], frames beyond a sequence's length are
    padding: they never touch a result, whatever they hold, and results there are zero.

    Attributes:
        visible: the kind of the visible units.
        settings: the arguments that build a model of the same shape again.
        keep_every: in training only the states after so many frames are kept, and all between them
            computed again for the gradient; 0 keeps all. About √T needs the least memory, 2√T
            states in the place of T (Krause 2015, sec. 3.3.5; Chen et al. 2016).
    """

    visible: Units
    settings: dict[str, Any]
    keep_every: int = 0

    # --- the memory and the conditional, which a model supplies -----------------------------

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """What the memory holds before the first frame of `batch` sequences."""

    @abstractmethod
    def scan(self, state: State, frames: Tensor) -> tuple[Context, State]:
        """Remember frames [batch, time, visible].

        Returns:
            The contexts before the first frame, between the frames and after the last one, each
            tensor [batch, time + 1, ...], and the state after the last frame.
        """

    @abstractmethod
    def conditional(self, context: Context) -> Conditional:
        """The distribution over the next frame, one for each row of the context."""

    @abstractmethod
    def hidden(self, contexts: Context, frames: Tensor) -> Tensor:
        """The hidden state after each of the frames that `scan` turned into `contexts`."""

    def scan_given(self, state: State, frames: Tensor, hidden: Tensor) -> tuple[Context, State]:
        """`scan` where the hidden units [batch, time, hidden] of the frames are known.

        Only a memory that would have to guess them makes use of it.
        """
        return self.scan(state, frames)

    def imagine(
        self,
        state: State,
        frame: Tensor,
        generator: torch.Generator | None,
        hidden: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Context, State]:
        """Remember a frame [batch, visible] that the model itself has drawn; returns as `scan`.

        Args:
            state: before the frame.
            frame: [batch, visible].
            generator: source of randomness.
            hidden: the hidden units [batch, hidden] that the frame was drawn with, if any were.
            temperature: that the frame was drawn at, and hidden units that are drawn are drawn at.
        """
        return self.scan(state, frame.unsqueeze(1))

    @property
    @abstractmethod
    def output_bias(self) -> Tensor:
        """The part of the visible units' total input that depends on nothing, [visible]."""

    # --- what people do with a model --------------------------------------------------------

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let an untrained model expect `mean` [visible], that of the data (Hinton 2010, sec. 8).

        Otherwise the first updates teach the mean to all parameters at once, after which many
        hidden units may never be on again.

        Raises:
            ValueError: another shape than [visible], or values that the units cannot take.
        """
        if mean.shape != (self.visible.size,):
            raise ValueError(f"mean: expected shape [{self.visible.size}], got {[*mean.shape]}")
        self.visible.check(mean, "mean")
        self.output_bias.copy_(self.visible.input_for(mean))

    def loss(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        past: Tensor | None = None,
        chains: Tensor | None = None,
        context: int = 0,
        memory: Memory | None = None,
    ) -> Tensor:
        """The learning signal per frame, averaged over all frames: a scalar to call backward on.

        Its gradient is that of the exact negative log-likelihood in nats, or, for models whose
        conditional is an RBM, the gradient of contrastive divergence with `gibbs_steps` sweeps.

        Args:
            frames: [batch, time, visible].
            lengths: [batch], or None where all sequences fill the batch.
            generator: source of randomness; None is torch's default.
            past: what the memory is given in place of the frames, [batch, time, visible]. Noisy
                frames teach a model to go on from imperfect ones, its own among them.
            chains: where the chains of contrastive divergence begin in the place of the frames, as
                persistent ones do, [batch, time, visible]. It is overwritten with their ends.
            context: so many frames at the beginning are remembered and not learned from, as the
                pieces that a long text is cut into want it (Sutskever 2013, sec. 5.4.2).
            memory: where the frames go on from others, and what goes on from them; None is where
                sequences begin.

        Raises:
            ValueError: frames or lengths of a wrong shape, values the units cannot take, or a
                context that leaves nothing to learn from.
            TypeError: frames that are no floating-point tensor, or lengths that are no integers.
        """
        frames, mask = self._checked(frames, lengths)
        past = frames if past is None else self._checked(past, lengths, "past")[0]
        for name, other in (("past", past), ("chains", chains)):
            if other is not None and other.shape != frames.shape:
                raise ValueError(f"{name}: expected shape {[*frames.shape]}, got {[*other.shape]}")
        contexts = self._remembered(past, memory)
        learned = check_context(context, mask)
        contexts, frames, mask = at(at(contexts, BEFORE), learned), frames[learned], mask[learned]
        chains = None if chains is None else chains[learned]
        if lengths is None:
            return self.conditional(contexts).loss(frames, generator, chains).mean()
        # drop the padding, so that no chain runs for it
        ends = None if chains is None else chains[mask]
        loss = self.conditional(at(contexts, mask)).loss(frames[mask], generator, ends)
        if chains is not None and ends is not None:
            chains[mask] = ends
        return loss.mean()

    def prediction(self, frames: Tensor, lengths: Tensor | None = None) -> Prediction:
        """What methods of second order ask for, such as `seqebm.optim.HessianFree`.

        Raises:
            ValueError: the loss of the model is not convex in any outputs; that of an `RNN` is.
        """
        raise ValueError(
            f"model: the loss of a {type(self).__name__} is not convex in any outputs, so that it "
            "has no Gauss–Newton matrix; methods of second order learn an RNN"
        )

    def _remembered(self, past: Tensor, memory: Memory | None) -> Context:
        """The contexts of `scan`, with what is said in `keep_every` and `memory`."""
        if memory is None:
            return self._scan_kept(self.initial_state(len(past)), past)[0]
        state = self.initial_state(len(past)) if memory.state is None else memory.state
        first, state = self._scan_kept(state, past[:, : memory.ahead])
        memory.state = with_leaves(state, [leaf.detach() for leaf in leaves(state)])
        rest, _ = self._scan_kept(state, past[:, memory.ahead :])
        return joined([at(first, BEFORE), rest])

    def _scan_kept(self, state: State, frames: Tensor) -> tuple[Context, State]:
        """`scan`, of which only some states are kept for the gradient."""
        if not 0 < self.keep_every < frames.shape[1] or not torch.is_grad_enabled():
            return self.scan(state, frames)
        contexts: list[Context] = []
        for piece in frames.split(self.keep_every, dim=1):
            if contexts:
                contexts[-1] = at(contexts[-1], BEFORE)
            context, state = checkpoint(
                self.scan, state, piece, use_reentrant=False, preserve_rng_state=False
            )
            contexts.append(context)
        return joined(contexts), state

    def conditionals(
        self, frames: Tensor, lengths: Tensor | None = None, chosen: Tensor | None = None
    ) -> tuple[Conditional, Tensor, Tensor]:
        """The distribution of every frame given those before it, without the padding.

        Args:
            frames: [batch, time, visible].
            lengths: [batch] or None.
            chosen: bool, [batch, time], True for the frames that are wanted; None is all.

        Returns:
            Distributions with rows [n], the n real frames of the batch [n, visible], and their
            places [batch, time].

        Raises:
            ValueError: bad frames or lengths, or a choice of another shape.
        """
        frames, mask = self._checked(frames, lengths)
        if chosen is not None:
            if chosen.shape != mask.shape or chosen.dtype != torch.bool:
                got = f"{chosen.dtype} {[*chosen.shape]}"
                raise ValueError(f"chosen: expected torch.bool {[*mask.shape]}, got {got}")
            mask = mask & chosen
        contexts, _ = self.scan(self.initial_state(len(frames)), frames)
        return self.conditional(at(at(contexts, BEFORE), mask)), frames[mask], mask

    def log_prob(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        method: str = "auto",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """log p(v_t | v_<t) in nats, [batch, time].

        Args:
            frames: [batch, time, visible].
            lengths: [batch] or None.
            method: for an RBM conditional "exact" enumerates its smaller layer, of at most 24
                units, and "ais" anneals (`likelihood.bracket`); "auto" enumerates up to 20 units.
                Other models have exact values only. Exact values can be differentiated.
            generator: source of randomness of "ais"; None is torch's default.

        Raises:
            ValueError: bad frames or lengths, an unknown method, or a model too large for it.

        Warns:
            UserWarning: annealed estimates that are not to be trusted.
        """
        conditional, real, mask = self.conditionals(frames, lengths)
        return likelihood.spread(conditional.log_prob(real, method, generator), mask)

    @torch.no_grad()
    def filter(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The hidden state after each frame, given the frames up to it, [batch, time, hidden].

        Raises:
            ValueError: bad frames or lengths.
        """
        frames, mask = self._checked(frames, lengths)
        contexts, _ = self.scan(self.initial_state(len(frames)), frames)
        return self.hidden(contexts, frames) * mask.unsqueeze(-1)

    @torch.no_grad()
    def predict(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        method: str = "auto",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """E[v_t | v_<t], [batch, time, visible]; entry t never sees frame t or a later one.

        Args:
            frames: [batch, time, visible].
            lengths: [batch] or None.
            method: for an RBM conditional "exact" (enumeration), "mean_field" (of second order) or
                "gibbs" (an average along a chain); "auto" enumerates up to 10 units and else takes
                mean field, the more accurate of the two by measurement (docs/architecture.md),
                but "gibbs" where frames are drawn by parallel tempering (`sampling_rungs`), for
                machines of many modes, of which mean field finds one.
            generator: source of randomness of "gibbs".

        Raises:
            ValueError: bad frames or lengths, or an unknown method.
        """
        frames, mask = self._checked(frames, lengths)
        contexts, _ = self.scan(self.initial_state(len(frames)), frames)
        mean = self.conditional(at(contexts, BEFORE)).mean(method, generator)
        return mean.expand_as(frames) * mask.unsqueeze(-1)

    @torch.no_grad()
    def sample(
        self,
        length: int,
        batch: int = 1,
        prefix: Tensor | None = None,
        generator: torch.Generator | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw sequences from the model, [batch, length, visible], frame after frame.

        Args:
            length: number of frames to draw.
            batch: number of sequences; with a prefix of one sequence, that many continuations.
            prefix: frames [batch, time, visible] to continue; they are not part of the result.
            generator: source of randomness; None is torch's default.
            known: frames [batch, length, visible] to be drawn in part only. Each frame is drawn
                given the frames before it and what is known of it, and not what comes later.
            mask: bool, [batch, length, visible], True where `known` holds; goes with `known`.
            temperature: τ. Each frame is drawn from p^(1/τ), made to sum to one; of an RBM all
                energies are divided by τ, of a NADE each of its conditionals is raised to 1/τ. Less
                than 1 is bolder, 0 takes what is most probable, frame by frame.

        Raises:
            ValueError: a length or batch below 1, a bad prefix, bad known frames, or a temperature
                that is negative, not finite, or not to be had exactly from this model.
            TypeError: a mask that is not bool, or one of `known` and `mask` without the other.
            FloatingPointError: frames of real units grow without end.
        """
        count = batch if prefix is None or len(prefix) == 1 else len(prefix)
        held = self._held(known, mask, (count, length))
        check_temperature(temperature)

        def step(context: Context, state: State, t: int) -> tuple[Tensor, Context, State]:
            some = None if held is None else held[:, t]
            return self._draw(context, state, generator, some, temperature)

        return self._generate(length, batch, prefix, step)

    def _held(
        self, known: Tensor | None, mask: Tensor | None, rows: tuple[int, int]
    ) -> Tensor | None:
        """The known values with NaN where the mask is False, [batch, length, visible]."""
        if known is None and mask is None:
            return None
        if known is None or mask is None:
            raise TypeError("known, mask: expected both or neither")
        frames, _ = self._checked(_observed(known, mask), None, "known")
        if frames.shape[:2] != rows:
            raise ValueError(
                f"known: expected [{rows[0]}, {rows[1]}, visible], got {[*frames.shape]}"
            )
        return frames.masked_fill(~mask, torch.nan)

    def _draw(
        self,
        context: Context,
        state: State,
        generator: torch.Generator | None,
        known: Tensor | None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Context, State]:
        """A frame [batch, visible] and what `imagine` says of it."""
        conditional = self.conditional(context)
        if temperature == 0:
            frame = conditional.greedy(known)
        else:
            tempered = conditional if temperature == 1 else conditional.tempered(temperature)
            frame, _ = tempered.sample(generator, known)
        return frame, *self.imagine(state, frame, generator, None, temperature)

    @torch.no_grad()
    def sample_means(
        self,
        length: int,
        batch: int = 1,
        prefix: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Like `sample`, with the noise of the visible units removed from every frame.

        Each frame is the mean of the last distribution that its sample came from, for an RBM
        E[v|h] with h drawn by the chain, and it is the mean that the memory is given. These are
        the conditional probabilities of the pixels that Sutskever 2013, sec. 3.11.1, shows.
        """

        def step(context: Context, state: State, t: int) -> tuple[Tensor, Context, State]:
            _, mean = self.conditional(context).sample(generator)
            return mean, *self.scan(state, mean.unsqueeze(1))

        return self._generate(length, batch, prefix, step)

    def _generate(
        self,
        length: int,
        batch: int,
        prefix: Tensor | None,
        step: Callable[[Context, State, int], tuple[Tensor, Context, State]],
    ) -> Tensor:
        """Draw frames by `step`, which gives frame t and what `scan` says of it."""
        if length < 1 or batch < 1:
            raise ValueError(f"expected length ≥ 1 and batch ≥ 1, got {length} and {batch}")
        context, state = self._begin(batch, prefix)
        frames = []
        with gibbs.repeated(length):
            for t in range(length):
                frame, contexts, state = step(context, state, t)
                context = at(contexts, LAST)
                frames.append(frame)
        drawn = torch.stack(frames, dim=1)
        _check_convergence(drawn)
        return drawn

    def _begin(self, batch: int, prefix: Tensor | None = None) -> tuple[Context, State]:
        """Context and state of `batch` sequences before their first frame, or after a prefix."""
        if prefix is None:
            prefix = self._like.new_empty(batch, 0, self.visible.size)
        else:
            prefix, _ = self._checked(prefix, None, "prefix")
        if len(prefix) == 1:
            prefix = prefix.expand(batch, -1, -1)
        elif batch not in (1, len(prefix)):
            raise ValueError(f"prefix: expected 1 or {batch} sequences, got {len(prefix)}")
        contexts, state = self.scan(self.initial_state(len(prefix)), prefix)
        return at(contexts, LAST), state

    @torch.no_grad()
    def denoise(
        self,
        frames: Tensor,
        mask: Tensor | None = None,
        lengths: Tensor | None = None,
        sweeps: int = 0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Reconstruct each frame from the frames up to it, [batch, time, visible].

        The memory filters the frames as they come; each is then reconstructed through the hidden
        units, which know both the context and the frame itself. A model without hidden units in
        its conditional (an RNN) has nothing to correct an observed value by and returns it as it
        is. Missing values are filled in from the context and the observed values of their frame,
        and the memory is given the filled-in frame.

        With `sweeps` the filled-in values are then moved to agree with what comes after them as
        well: each sweep runs forwards and backwards through time and takes a mean-field step on
        log p(v_1 … v_T), v ← ½(v + E[v | all else]), whose gradient the loss gives. The result is
        no longer causal. What a TRBM's filtered hiddens mean for later frames is not seen: they
        are constants to the gradient.

        Args:
            frames: [batch, time, visible]; unobserved entries may hold anything, NaN too.
            mask: bool, [batch, time, visible], True = observed; None where all are.
            lengths: [batch] or None.
            sweeps: how often missing values are moved; goes with a mask.
            generator: source of randomness of the sweeps, for models whose loss draws chains.

        Raises:
            ValueError: bad frames or lengths, a mask of another shape or under which nothing of a
                sequence is observed, or sweeps without a mask.
            TypeError: a mask that is not bool.
        """
        if sweeps < 0 or (sweeps and mask is None):
            raise ValueError(f"sweeps: expected 0, or with a mask at least 0, got {sweeps}")
        if mask is not None:
            frames = _observed(frames, mask)
        frames, inside = self._checked(frames, lengths)
        if mask is not None:
            seen = mask & inside.unsqueeze(-1)
            _check_anything_seen(seen)
            frames = self._filled(frames, mask)
            for _ in range(sweeps):
                frames = torch.where(mask, frames, self._settled(frames, lengths, generator))
        contexts, _ = self.scan(self.initial_state(len(frames)), frames)
        clean = self.conditional(at(contexts, BEFORE)).reconstruct(frames)
        clean = clean if mask is None else torch.where(mask, clean, frames)
        return clean * inside.unsqueeze(-1)

    def _filled(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Frames with estimates, from what came before them, where the mask is False."""
        context, state = self._begin(len(frames))
        filled = []
        for known in frames.masked_fill(~mask, torch.nan).split(1, dim=1):
            filled.append(self.conditional(at(context, (slice(None), None))).fill(known))
            contexts, state = self.scan(state, filled[-1])
            context = at(contexts, LAST)
        return torch.cat(filled, dim=1)

    @torch.enable_grad()
    def _settled(
        self, frames: Tensor, lengths: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Half of the way from the frames to each value's mean given all other values."""
        frames = frames.detach().requires_grad_()
        count = frames[..., 0].numel() if lengths is None else int(lengths.sum())
        # this loss, for one with persistent chains would move them on
        log_prob = -count * SequenceModel.loss(self, frames, lengths, generator)
        (gradient,) = torch.autograd.grad(log_prob, frames)
        return (frames + self.visible.mean_by_gradient(frames, gradient)).detach() / 2

    def stream(self) -> Stream:
        """Filter, predict and denoise a frame at a time, in memory that does not grow."""
        return Stream(self)

    # --- checks -----------------------------------------------------------------------------

    @property
    def _like(self) -> Tensor:
        """A parameter, for dtype and device."""
        return next(self.parameters())

    def _checked(
        self, frames: Tensor, lengths: Tensor | None, name: str = "frames"
    ) -> tuple[Tensor, Tensor]:
        """The frames in the model's precision, padding zeroed, and a [batch, time] mask of them."""
        check_float(frames, name)
        if frames.ndim != 3 or frames.shape[-1] != self.visible.size or 0 in frames.shape:
            raise ValueError(
                f"{name}: expected shape [batch, time, {self.visible.size}] with at least one "
                f"frame, got {[*frames.shape]}"
            )
        if frames.device != self._like.device:
            raise ValueError(
                f"{name}: expected a tensor on {self._like.device}, got one on {frames.device}"
            )
        frames = frames.to(self._like.dtype)
        batch, time = frames.shape[:2]
        if lengths is None:
            mask = torch.ones(batch, time, dtype=torch.bool, device=frames.device)
        else:
            check_lengths(lengths, batch, time)
            mask = torch.arange(time, device=frames.device) < lengths.unsqueeze(1)
            frames = torch.where(mask.unsqueeze(-1), frames, 0.0)
        if not _captured(frames):
            self.visible.check(frames, name)
        return frames, mask


class Stream:
    """One pass over sequences that arrive a frame at a time; made by `SequenceModel.stream`.

    `predict` and `log_prob` may be asked at any time, and `draw` lets the model make the next frame
    itself. Each frame [batch, visible] is handed over once, to `filter`
    or to `denoise`; the first one sets the batch. The results equal those of the model's methods
    of the same names on whole sequences.

    Example:
        >>> import seqebm
        >>> stream = seqebm.RTRBM(4, 3).stream()
        >>> [tuple(stream.predict().shape), tuple(stream.filter(torch.ones(1, 4)).shape)]
        [(1, 4), (1, 3)]
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._started = False
        with torch.no_grad():
            self._context, self._state = model._begin(1)

    @torch.no_grad()
    def predict(self, method: str = "auto", generator: torch.Generator | None = None) -> Tensor:
        """E[v | all frames so far], the next frame, [batch, visible]."""
        return self._model.conditional(self._context).mean(method, generator)

    @torch.no_grad()
    def log_prob(self, frames: Tensor, method: str = "auto") -> Tensor:
        """log p of each of some frames [n, visible] being the next one, in nats, [batch, n]."""
        rows = self._model.conditional(self._context).with_state_axis()
        return rows.log_prob(frames, method)

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw the next frame [batch, visible] and take it in, as `SequenceModel.sample` does."""
        check_temperature(temperature)
        frame, contexts, self._state = self._model._draw(
            self._context, self._state, generator, None, temperature
        )
        self._context = at(contexts, LAST)
        self._batch, self._started = len(frame), True
        _check_convergence(frame.unsqueeze(1))
        return frame

    @torch.no_grad()
    def filter(self, frame: Tensor) -> Tensor:
        """Take in a frame [batch, visible]; the hidden state after it, [batch, hidden]."""
        frames = self._accept(frame)
        contexts = self._advance(frames)
        return self._model.hidden(contexts, frames)[:, 0]

    @torch.no_grad()
    def denoise(self, frame: Tensor, mask: Tensor | None = None) -> Tensor:
        """Take in a frame [batch, visible] with its mask; its reconstruction, [batch, visible]."""
        if mask is not None:
            frame = _observed(frame, mask)
        frames = self._accept(frame)
        conditional = self._model.conditional(at(self._context, (slice(None), None)))
        if mask is not None:
            frames = conditional.fill(frames.masked_fill(~mask.unsqueeze(1), torch.nan))
        self._advance(frames)
        clean = conditional.reconstruct(frames)[:, 0]
        return clean if mask is None else torch.where(mask, clean, frames[:, 0])

    def _accept(self, frame: Tensor) -> Tensor:
        """The checked frame as [batch, 1, visible]; the first frame sets the batch."""
        if not isinstance(frame, Tensor) or frame.ndim != 2:
            got = [*frame.shape] if isinstance(frame, Tensor) else type(frame).__name__
            raise ValueError(f"frame: expected a tensor [batch, visible], got {got}")
        frames, _ = self._model._checked(frame.unsqueeze(1), None, "frame")
        if not self._started:
            self._context, self._state = self._model._begin(len(frame))
            self._batch, self._started = len(frame), True
        if len(frame) != self._batch:
            raise ValueError(f"frame: expected a batch of {self._batch}, got {len(frame)}")
        return frames

    def _advance(self, frames: Tensor) -> Context:
        """Remember one frame [batch, 1, visible]; the contexts before and after it."""
        contexts, self._state = self._model.scan(self._state, frames)
        self._context = at(contexts, LAST)
        return contexts


def check_context(context: int, mask: Tensor) -> tuple[slice, slice]:
    """The place in a batch of the frames after the context; some must be in the mask.

    Raises:
        ValueError: there is nothing after the context, or it is negative.
    """
    learned = slice(None), slice(context, None)
    if context and not (0 < context < mask.shape[1] and _any(mask[learned])):
        raise ValueError(
            f"context: expected less than the frames of the longest sequence, got {context}"
        )
    return learned


def _any(mask: Tensor) -> bool:
    """Whether anything is true; yes where nobody can look, while a CUDA graph is captured."""
    return _captured(mask) or bool(mask.any())


def _captured(values: Tensor) -> bool:
    """Whether a CUDA graph is captured, so that nobody can look at values (`learning.graphs`)."""
    return values.is_cuda and torch.cuda.is_current_stream_capturing()


def check_temperature(temperature: float) -> None:
    """Raise ValueError where a temperature is negative or not finite."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected 0 or more, got {temperature}")


def _check_convergence(drawn: Tensor) -> None:
    """Raise where frames [batch, length, visible] that a model has drawn are not finite."""
    wrong = (~drawn.isfinite()).any(2).any(0).nonzero()
    if len(wrong):
        raise FloatingPointError(
            f"frame {int(wrong[0])} of a sample is not finite: the model's free run diverges"
        )


def _check_anything_seen(seen: Tensor) -> None:
    """Raise where nothing of a sequence [batch, time, visible] is observed."""
    empty = (~seen.flatten(1).any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"mask: nothing of sequence {empty[0]} is observed; sequences that begin from nothing "
            "are drawn by sample"
        )


def _observed(frames: Tensor, mask: Tensor) -> Tensor:
    """The frames with zeros where the mask is False, after checking the mask."""
    check_float(frames, "frames")
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask: expected a bool tensor, got {getattr(mask, 'dtype', type(mask))}")
    if mask.shape != frames.shape:
        raise ValueError(
            f"mask: expected the shape of the frames {[*frames.shape]}, got {[*mask.shape]}"
        )
    return torch.where(mask, frames, 0.0)
