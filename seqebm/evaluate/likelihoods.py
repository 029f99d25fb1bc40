"""Log-likelihoods of held-out sequences in nats per frame, and how sure they are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqebm import likelihood
from seqebm.evaluate.inputs import blocks, check_sequences, real
from seqebm.likelihood import Bracket
from seqebm.models import SequenceModel

RESAMPLES = 2000  #: of the sequences, for standard errors
MOST_UNTRUSTED = 0.01  #: share of the frames without a good estimate, in a good mean
BLOCK_FRAMES = 2000  #: that are annealed together


class Nats(NamedTuple):
    """A mean log-likelihood in nats per frame; every frame counts as much, the first ones too.

    Attributes:
        lower: three standard errors of annealing below what runs from the model say.
        estimate: from both ends.
        upper: three standard errors of annealing above what runs from the base say.
        error: standard error of `estimate` over sequences, by bootstrap; NaN for one sequence.
        effective: the smallest share of annealing runs that count, over the frames.
        untrusted: number of frames whose estimates are not good.
        frames: how many there are.
        sequences: how many there are.
    """

    lower: float
    estimate: float
    upper: float
    error: float
    effective: float
    untrusted: int
    frames: int
    sequences: int

    @property
    def good(self) -> bool:
        """Whether so few frames have bad estimates that the mean can be trusted."""
        return self.untrusted <= MOST_UNTRUSTED * self.frames


def brackets(
    model: SequenceModel,
    frames: Tensor,
    lengths: Tensor | None = None,
    generator: torch.Generator | None = None,
    progress: bool | None = False,
    chosen: Tensor | None = None,
    **annealing: int,
) -> Bracket:
    """`likelihood.bracket` of many sequences, some at a time, each entry [batch, time].

    Args:
        model: a sequence model.
        frames: [batch, time, visible].
        lengths: [batch] or None.
        generator: source of randomness.
        progress: whether to show a progress bar; None shows it on a terminal only.
        chosen: bool, [batch, time], True for the frames that are wanted; None is all.
        annealing: runs, temperatures and sweeps of `likelihood.bracket`.

    Raises:
        TypeError, ValueError: arguments are malformed; as `likelihood.bracket`.
    """
    from tqdm import tqdm

    lengths = check_sequences(frames, lengths)
    there = real(lengths, frames.shape[1])
    wanted = there if chosen is None else there & chosen
    size = max(1, int(BLOCK_FRAMES * len(frames) / max(1, int(wanted.sum()))))
    hidden = None if progress is None else not progress
    found: list[list[Tensor]] = []
    with tqdm(total=int(wanted.sum()), disable=hidden, unit="frame", dynamic_ncols=True) as bar:
        cut = zip(blocks(frames, lengths, size), wanted.split(size), strict=True)
        for (some, their), whole in cut:
            of_these = whole[:, : some.shape[1]]
            part = likelihood.bracket(model, some, their, generator, chosen=of_these, **annealing)
            late = frames.shape[1] - some.shape[1]
            found.append([torch.nn.functional.pad(x, (0, late)) for x in part])
            bar.update(int(of_these.sum()))
    return Bracket(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def nats_per_frame(found: Bracket, lengths: Tensor | None = None, seed: int = 1) -> Nats:
    """The mean over all frames of all sequences, as Boulanger-Lewandowski et al. (2012) report it.

    Bounds of single frames are wide by the errors of their annealing, which average out here;
    where one machine was annealed for all frames, as that of a static RBM is, its error stays.

    Args:
        found: as `brackets` or `likelihood.bracket` gives it.
        lengths: [batch], or None if no sequence is padded.
        seed: of the bootstrap.

    Example:
        >>> exact = likelihood.known(torch.tensor([[-1.0, -3.0], [-2.0, 0.0]]))
        >>> nats_per_frame(exact, torch.tensor([2, 1])).estimate
        -2.0
    """
    there = _there(found, lengths)
    low_error = _mean_error(found.lower_error[there])
    high_error = _mean_error(found.upper_error[there])
    return Nats(
        float(found.from_model[there].mean()) - likelihood.ERRORS * low_error,
        float(found.estimate[there].mean()),
        float(found.from_base[there].mean()) + likelihood.ERRORS * high_error,
        _bootstrap(found.estimate, there, seed),
        float(found.effective[there].min()),
        int((~found.good[there]).sum()),
        int(there.sum()),
        len(there),
    )


def refined_nats(
    rough: Bracket, fine: Bracket, chosen: Tensor, lengths: Tensor | None = None, seed: int = 1
) -> Nats:
    """As `nats_per_frame`, where all frames were annealed a little and a random few of them long.

    The mean of rough estimates is corrected by the mean of what long annealing says of the chosen
    frames beyond them: these differences vary far less than frames do, so that few are enough for
    narrow bounds. The standard error of that mean is a part of the annealing's.

    Args:
        rough: of all frames, see `brackets`; its errors need not be small.
        fine: of the chosen frames.
        chosen: bool, [batch, time], drawn at random without looking at the frames (`some_frames`).
        lengths: [batch], or None if no sequence is padded.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than two chosen frames.

    Example:
        >>> exact = likelihood.known(torch.tensor([[-1.0, -3.0, -2.0]]))
        >>> rough = exact.moved(torch.full((1, 3), 0.5))
        >>> refined_nats(rough, exact, torch.tensor([[True, False, True]])).upper
        -2.0
    """
    there = _there(rough, lengths)
    picked = there & chosen
    count, total = int(picked.sum()), int(there.sum())
    if count < 2:
        raise ValueError(f"chosen: expected at least 2 frames, got {count}")
    mean = float(rough.estimate[there].mean())

    def beyond(values: Tensor, errors: Tensor) -> tuple[float, float]:
        """The mean of what is said beyond the rough estimates, and its standard error."""
        more = (values - rough.estimate)[picked]
        drawn = float(more.var()) / count * (1 - count / total)
        return float(more.mean()), math.hypot(_mean_error(errors[picked]), math.sqrt(drawn))

    low, low_error = beyond(fine.from_model, fine.lower_error)
    high, high_error = beyond(fine.from_base, fine.upper_error)
    return Nats(
        mean + low - likelihood.ERRORS * low_error,
        mean + float((fine.estimate - rough.estimate)[picked].mean()),
        mean + high + likelihood.ERRORS * high_error,
        _bootstrap(rough.estimate, there, seed),
        float(fine.effective[picked].min()),
        math.ceil(int((~fine.good[picked]).sum()) * total / count),
        total,
        len(there),
    )


def some_frames(lengths: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """A random choice of the frames of all sequences, bool [batch, max length].

    Args:
        lengths: [batch].
        count: of the chosen frames; all of them if there are no more.
        generator: source of randomness.

    Example:
        >>> some_frames(torch.tensor([5, 3]), 4).sum()
        tensor(4)
    """
    there = real(lengths, int(lengths.max()))
    places = there.nonzero()
    order = torch.randperm(len(places), generator=generator, device=places.device)[:count]
    chosen = torch.zeros_like(there)
    chosen[tuple(places[order].t())] = True
    return chosen


class Difference(NamedTuple):
    """How much better one model does than another on the same frames, in nats per frame.

    Attributes:
        mean: of log p of the first less log p of the second.
        error: its standard error over sequences, by bootstrap; NaN for one sequence.
    """

    mean: float
    error: float


def difference(
    found: Bracket, other: Bracket, lengths: Tensor | None = None, seed: int = 1
) -> Difference:
    """Compare two models frame by frame: what is hard for both does not blur the comparison.

    Args:
        found: of the first model.
        other: of the second model, on the same frames.
        lengths: [batch], or None if no sequence is padded.
        seed: of the bootstrap.

    Raises:
        ValueError: brackets of different shapes.

    Example:
        >>> a = likelihood.known(torch.tensor([[-1.0, -3.0], [-2.0, -4.0]]))
        >>> difference(a, a.moved(torch.full((2, 2), -0.5)))
        Difference(mean=0.5, error=0.0)
    """
    if found.estimate.shape != other.estimate.shape:
        shapes = [*found.estimate.shape], [*other.estimate.shape]
        raise ValueError(f"other: expected the shape {shapes[0]} of the first, got {shapes[1]}")
    there = _there(found, lengths)
    gain = found.estimate - other.estimate
    return Difference(float(gain[there].mean()), _bootstrap(gain, there, seed))


def _there(found: Bracket, lengths: Tensor | None) -> Tensor:
    """Where frames are not padding, [batch, time]."""
    if lengths is None:
        return torch.ones_like(found.estimate, dtype=torch.bool)
    return real(lengths, found.estimate.shape[1])


def _mean_error(errors: Tensor) -> float:
    """The standard error of a mean over frames [n] from their errors.

    Frames whose errors are the same number have the same machine and were annealed together: what
    is wrong with one is wrong with all, and does not average out among them.
    """
    values, counts = errors.unique(return_counts=True)
    return float((values * counts).square().sum().sqrt()) / max(1, len(errors))


def _bootstrap(values: Tensor, there: Tensor, seed: int) -> float:
    """The standard error over sequences of the mean of all frames' values [batch, time]."""
    if len(values) < 2:
        return math.nan
    source = torch.Generator(values.device).manual_seed(seed)
    sums, counts = (values * there).sum(1).double(), there.sum(1).double()
    drawn = torch.randint(len(sums), (RESAMPLES, len(sums)), generator=source, device=values.device)
    return float((sums[drawn].sum(1) / counts[drawn].sum(1)).std())


def next_frames(
    model: SequenceModel,
    frames: Tensor,
    lengths: Tensor | None = None,
    generator: torch.Generator | None = None,
    chosen: Tensor | None = None,
) -> Tensor:
    """A sample of every frame given the true frames before it, [batch, time, visible].

    Args:
        model: a sequence model.
        frames: [batch, time, visible].
        lengths: [batch] or None; results in the padding are zero.
        generator: source of randomness.
        chosen: bool, [batch, time], True for the frames that are wanted, samples of all others are
            zero; None is all.

    Raises:
        ValueError: bad frames, lengths or choice.

    Example:
        >>> import seqebm
        >>> next_frames(seqebm.RTRBM(9, 5), torch.rand(2, 7, 9)).unique()
        tensor([0., 1.])
    """
    with torch.no_grad():
        conditional, some, mask = model.conditionals(frames, lengths, chosen)
        drawn, _ = conditional.sample(generator)
    return drawn.new_zeros(frames.shape).masked_scatter(mask.unsqueeze(-1), drawn.expand_as(some))
