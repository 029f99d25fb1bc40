"""Short sequences of labels from long sequences of predictions that are not aligned with them.

At each of T frames a network predicts one of K labels or a blank B: log p `[batch, time, K + 1]`,
the blank last. A path has one symbol a frame, each drawn for itself, and says a sequence of labels.
P(l | p) of labels l_1 … l_M is the sum of the probabilities of all paths that say them.

- `log_prob`: a path says what is left when its blanks are dropped (Sutskever 2013, sec. 2.8.5, eq.
  2.46). Each label takes one frame, all others are blank; "a a" says aa.
- `collapsed_log_prob`: equal neighbours become one symbol before that (Graves et al. 2006, eq. 3,
  `torch.nn.functional.ctc_loss`). A label may last: "a a" says a, and only "a B a" says aa.

Both are distributions over label sequences, and different ones, so that a network has to be decoded
in the way it was trained. ∂ log P(l | p) / ∂ log p_t of the first is the posterior of the symbol of
frame t given l: the target that the alignment gives the network there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from seqebm.checks import check_float, check_integers, check_lengths

IMPOSSIBLE = -1e30  # stands in for log 0, whose differences and derivatives would be NaN
TOLERANCE = 0.01  # of log Σ p of a frame, 0 but for rounding, which in bfloat16 is coarse

Prefix = tuple[int, ...]
Ends = tuple[float, float]  # log-probability of the paths that end in a blank, and in a label
Growth = Callable[[Prefix, Ends, list[float]], Iterator[tuple[Prefix, Ends]]]


def log_prob(
    log_p: Tensor,
    labels: Tensor,
    lengths: Tensor | None = None,
    label_lengths: Tensor | None = None,
) -> Tensor:
    """log P(l | p) where a path says what is left without its blanks (Sutskever 2013, eq. 2.46).

    P(l | p) = Σ_{i_1 < … < i_M} Π_j p_{i_j}(l_j) Π_{t ∉ i} p_t(B), by eqs. 2.48 … 2.51,

        S_{m,t} = p_t(B) S_{m,t−1} + p_t(l_m) S_{m−1,t−1},    P(l | p) = S_{M,T},

    in log space, for all m and all sequences of the batch at once; derivatives of any order are
    autograd's.

    Args:
        log_p: `[batch, time, K + 1]`, logarithms of probabilities that sum to 1 (`log_softmax`),
            the blank last. Zero probabilities may be among them.
        labels: `[batch, M]`, whole numbers from 0 to K − 1.
        lengths: `[batch]`, frames of each sequence, by default all; what is after them is not read.
        label_lengths: `[batch]`, labels of each sequence, 0 among them; by default all.

    Returns:
        `[batch]` in nats; −∞, with zero gradient, where no path is possible. Predictions in half
        precision are summed in float32.

    Raises:
        TypeError: predictions that are not floating-point; labels or lengths that are no integers.
        ValueError: other shapes, predictions that do not sum to 1 (NaN among them), labels out of
            range or blank, lengths out of range, more labels than frames.

    Example:
        >>> log_p = torch.full((1, 2, 2), 0.5).log()  # two frames, of "a" or the blank
        >>> a, aa = torch.tensor([[0]]), torch.tensor([[0, 0]])
        >>> log_prob(log_p, a).exp(), log_prob(log_p, aa).exp()  # "a B", "B a"; "a a"
        (tensor([0.5000]), tensor([0.2500]))
        >>> collapsed_log_prob(log_p, a).exp(), collapsed_log_prob(log_p, aa).exp()
        (tensor([0.7500]), tensor([0.]))
    """
    log_p, labels, _, label_lengths = _checked(log_p, labels, lengths, label_lengths)
    wanted = labels[:, None].expand(-1, log_p.shape[1], -1)
    blank, label = log_p[..., -1:].clamp(IMPOSSIBLE), log_p.gather(2, wanted).clamp(IMPOSSIBLE)
    s = F.pad(log_p.new_zeros(len(log_p), 1), (0, labels.shape[1]), value=IMPOSSIBLE)
    for stay, move in zip(blank.unbind(1), label.unbind(1), strict=True):
        moved = F.pad(s[:, :-1] + move, (1, 0), value=IMPOSSIBLE)
        s = torch.stack([s + stay, moved]).logsumexp(0)  # logaddexp has no second derivative here
    found = s.gather(1, label_lengths[:, None]).squeeze(1)
    return torch.where(found > IMPOSSIBLE / 2, found, -math.inf)


def collapsed_log_prob(
    log_p: Tensor,
    labels: Tensor,
    lengths: Tensor | None = None,
    label_lengths: Tensor | None = None,
) -> Tensor:
    """log P(l | p) where equal neighbours of a path are one label (Graves et al. 2006, eq. 3).

    This is `torch.nn.functional.ctc_loss` in the conventions of this library: batch before time,
    where torch wants `[time, batch, K + 1]`; the blank last, where torch has it first; the
    log-probability of each sequence, where torch has a loss. The gradient is torch's, which is only
    right for predictions that come out of `log_softmax`: torch has p − posterior where −posterior
    is the derivative of the loss, and `log_softmax` makes the same of both.

    Args:
        log_p: As for `log_prob`.
        labels: As for `log_prob`.
        lengths: As for `log_prob`.
        label_lengths: As for `log_prob`.

    Returns:
        `[batch]` in nats. −∞ where no path is possible, as where frames are too few for the blanks
        between equal labels; there the gradient means nothing.

    Raises:
        TypeError: As for `log_prob`.
        ValueError: As for `log_prob`.

    Example:
        >>> log_p = torch.full((1, 3, 2), 0.5).log()
        >>> collapsed_log_prob(log_p, torch.tensor([[0, 0]])).exp()  # "a B a" of eight paths
        tensor([0.1250])
    """
    log_p, labels, lengths, label_lengths = _checked(log_p, labels, lengths, label_lengths)
    blank = log_p.shape[2] - 1
    time_first = log_p.transpose(0, 1)
    return -F.ctc_loss(time_first, labels, lengths, label_lengths, blank, reduction="none")


def best_path(log_p: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    """What the most probable path says without its blanks.

    It need not be the most probable sequence of labels, which `beam_search` looks for.

    Args:
        log_p: As for `log_prob`.
        lengths: As for `log_prob`.

    Returns:
        The labels of each sequence, int64 (`torch.nn.utils.rnn.pad_sequence` makes one tensor).

    Raises:
        TypeError: As for `log_prob`.
        ValueError: As for `log_prob`.

    Example:
        >>> path = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]).log()[None]  # a a B
        >>> best_path(path), collapsed_best_path(path)
        ([tensor([0, 0])], [tensor([0])])
    """
    log_p, _ = _checked_predictions(log_p, lengths)
    return [path[path < log_p.shape[2] - 1] for path in log_p.argmax(2)]


def collapsed_best_path(log_p: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    """What the most probable path says when equal neighbours are one label; see `best_path`."""
    log_p, _ = _checked_predictions(log_p, lengths)
    paths = [path.unique_consecutive() for path in log_p.argmax(2)]
    return [path[path < log_p.shape[2] - 1] for path in paths]


def beam_search(log_p: Tensor, lengths: Tensor | None = None, width: int = 16) -> list[Tensor]:
    """Labels that are probable by `log_prob`: arg max_l P(l | p) (eq. 2.52) or nearly.

    From frame to frame the `width` most probable label sequences are kept, each with the sum over
    all paths to it by way of others that were kept. It is exact where these are all that there are.

    Args:
        log_p: As for `log_prob`.
        lengths: As for `log_prob`.
        width: Label sequences that are kept from one frame to the next. With 1, unlike `best_path`,
            the paths to the one that is kept are summed.

    Returns:
        As `best_path`.

    Raises:
        TypeError: As for `log_prob`.
        ValueError: As for `log_prob`, or a width below 1.

    Example:
        >>> path = torch.tensor([[0.4, 0.6], [0.4, 0.6]]).log()[None]  # B B: 0.36; a B or B a: 0.48
        >>> best_path(path), beam_search(path)
        ([tensor([], dtype=torch.int64)], [tensor([0])])
    """
    return _searched(log_p, lengths, width, _grown)


def collapsed_beam_search(
    log_p: Tensor, lengths: Tensor | None = None, width: int = 16
) -> list[Tensor]:
    """Labels that are probable by `collapsed_log_prob`; else as `beam_search`."""
    return _searched(log_p, lengths, width, _grown_collapsed)


def _searched(log_p: Tensor, lengths: Tensor | None, width: int, grown: Growth) -> list[Tensor]:
    """The search for each sequence of the batch."""
    if width < 1:
        raise ValueError(f"width: expected a whole number from 1 on, got {width}")
    log_p, ends = _checked_predictions(log_p, lengths)
    rows = log_p.detach().double().tolist()
    found = (_best(one[:end], width, grown) for one, end in zip(rows, ends.tolist(), strict=True))
    return [torch.tensor(labels, dtype=torch.int64, device=log_p.device) for labels in found]


def _best(rows: list[list[float]], width: int, grown: Growth) -> Prefix:
    """The most probable of the label sequences that are kept until the last frame."""
    kept: dict[Prefix, Ends] = {(): (0.0, -math.inf)}
    for row in rows:
        found: dict[Prefix, Ends] = defaultdict(lambda: (-math.inf, -math.inf))
        for prefix, ends in kept.items():
            for longer, (blank, label) in grown(prefix, ends, row):
                before = found[longer]
                found[longer] = _log_sum(before[0], blank), _log_sum(before[1], label)
        ranked = sorted(found.items(), key=lambda item: -_log_sum(*item[1]))
        kept = dict(ranked[:width])
    return next(iter(kept))


def _grown(prefix: Prefix, ends: Ends, row: list[float]) -> Iterator[tuple[Prefix, Ends]]:
    """What one more symbol makes of the paths that say `prefix`."""
    here = _log_sum(*ends)
    yield prefix, (here + row[-1], -math.inf)
    for label, log_p in enumerate(row[:-1]):
        yield (*prefix, label), (-math.inf, here + log_p)


def _grown_collapsed(prefix: Prefix, ends: Ends, row: list[float]) -> Iterator[tuple[Prefix, Ends]]:
    """The same where the last label may last: it is new only after a blank."""
    here, last = _log_sum(*ends), prefix[-1] if prefix else None
    yield prefix, (here + row[-1], -math.inf if last is None else ends[1] + row[last])
    for label, log_p in enumerate(row[:-1]):
        yield (*prefix, label), (-math.inf, log_p + (ends[0] if label == last else here))


def _log_sum(a: float, b: float) -> float:
    """log(eᵃ + eᵇ)."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _checked(
    log_p: Tensor, labels: Tensor, lengths: Tensor | None, label_lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions and lengths as of `_checked_predictions`; labels, 0 after their ends."""
    log_p, lengths = _checked_predictions(log_p, lengths)
    check_integers(labels, "labels")
    batch, _, symbols = log_p.shape
    if labels.ndim != 2 or len(labels) != batch:
        raise ValueError(f"labels: expected [{batch}, labels], got {[*labels.shape]}")
    if label_lengths is None:
        label_lengths = torch.full((batch,), labels.shape[1], device=log_p.device)
    check_lengths(label_lengths, batch, labels.shape[1], "label_lengths", least=0)
    if (label_lengths > lengths).any():
        row = int((label_lengths > lengths).nonzero()[0])
        more, fewer = int(label_lengths[row]), int(lengths[row])
        raise ValueError(f"labels: {more} of sequence {row} do not fit into its {fewer} frames")
    inside = torch.arange(labels.shape[1], device=log_p.device) < label_lengths[:, None]
    labels = torch.where(inside, labels, 0).long()
    wrong = labels[(labels < 0) | (labels >= symbols - 1)]
    if len(wrong):
        blank = ", which is the blank" if int(wrong[0]) == symbols - 1 else ""
        expected = f"expected numbers from 0 to {symbols - 2}"
        raise ValueError(f"labels: {expected}, got {int(wrong[0])}{blank}")
    return log_p, labels, lengths, label_lengths.long()


def _checked_predictions(log_p: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Predictions, at least in float32, that after their ends are certainly blank; lengths."""
    check_float(log_p, "log_p")
    if log_p.ndim != 3 or 0 in log_p.shape or log_p.shape[2] < 2:
        raise ValueError(f"log_p: expected [batch, time, labels + blank], got {[*log_p.shape]}")
    batch, time, symbols = log_p.shape
    if lengths is None:
        lengths = torch.full((batch,), time, device=log_p.device)
    check_lengths(lengths, batch, time)
    inside = torch.arange(time, device=log_p.device) < lengths[:, None]
    nothing = log_p.new_full((symbols,), -math.inf)
    nothing[-1] = 0.0
    log_p = torch.where(inside[..., None], log_p, nothing)
    log_p = log_p.to(torch.promote_types(log_p.dtype, torch.float32))
    total = log_p.detach().logsumexp(2)
    if not bool((total.abs() < TOLERANCE).all()):  # NaN is not below either
        row, frame = (int(i) for i in (~(total.abs() < TOLERANCE)).nonzero()[0])
        found = float(total[row, frame].exp())
        raise ValueError(
            f"log_p: expected logarithms of probabilities that sum to 1 in every frame; "
            f"those of frame {frame} of sequence {row} sum to {found:g}"
        )
    return log_p, lengths.long()
