"""Log-likelihoods with a bracket around them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from seqebm.likelihood.annealing import Annealing, annealed_log_partition
from seqebm.rbm import RBMEnergy

if TYPE_CHECKING:
    from seqebm.models import SequenceModel

LEAST_EFFECTIVE = 0.1  #: share of the runs that must count for an estimate to be called good
ERRORS = 3.0  #: standard errors by which the ends of a bracket are moved outwards


class Bracket(NamedTuple):
    """log p of frames with bounds, in nats; every entry has the shape of the frames, [...].

    `lower` and `upper` are meant for one frame: they are three standard errors outside of what
    annealing says, so that the true value is hardly ever outside of them. A mean over many frames
    should be made of `from_model` and `from_base`, whose errors average out
    (`evaluate.nats_per_frame`).

    Attributes:
        from_model: by annealing from the model to independent units: in expectation at most
            log p, as far as the runs begin with samples of the model.
        estimate: by annealing from both ends (Bennett 1976).
        from_base: by annealing from independent units: at least log p in expectation. This is the
            number that is usually published as log p.
        lower_error: standard error of `from_model`, and 1/runs for what no run has met: three
            times that is the rule of three.
        upper_error: likewise, of `from_base`.
        effective: share of the runs that count, the smaller one of both ends.
    """

    from_model: Tensor
    estimate: Tensor
    from_base: Tensor
    lower_error: Tensor
    upper_error: Tensor
    effective: Tensor

    @property
    def lower(self) -> Tensor:
        """What log p is hardly ever below."""
        return self.from_model - ERRORS * self.lower_error

    @property
    def upper(self) -> Tensor:
        """What log p is hardly ever above."""
        return self.from_base + ERRORS * self.upper_error

    @property
    def good(self) -> Tensor:
        """Whether enough runs count, at both ends, for the errors to mean what they say."""
        return self.effective >= LEAST_EFFECTIVE

    def moved(self, log_p: Tensor) -> Bracket:
        """The bracket of log p + `log_p`."""
        return self._replace(
            from_model=self.from_model + log_p,
            estimate=self.estimate + log_p,
            from_base=self.from_base + log_p,
        )


def known(log_p: Tensor) -> Bracket:
    """The bracket of log-probabilities that are exact."""
    zero = torch.zeros_like(log_p)
    return Bracket(log_p, log_p, log_p, zero, zero, torch.ones_like(log_p))


def bracket(
    model: SequenceModel,
    frames: Tensor,
    lengths: Tensor | None = None,
    generator: torch.Generator | None = None,
    runs: int = Annealing().runs,
    temperatures: int = Annealing().temperatures,
    sweeps: int = Annealing().sweeps,
    chosen: Tensor | None = None,
) -> Bracket:
    """log p(v_t | v_<t) of every frame from below and from above, each entry [batch, time].

    Models whose conditional is an RBM are annealed, small ones too (`annealed_log_partition`);
    those whose log-probabilities are exact have a bracket without width.

    Args:
        model: a sequence model.
        frames: [batch, time, visible].
        lengths: [batch] or None; entries in the padding are zero.
        generator: source of randomness; None is torch's default.
        runs: annealing runs from each end, for each frame.
        temperatures: steps of a run.
        sweeps: of the parallel tempering whose states runs from the model begin with.
        chosen: bool, [batch, time], True for the frames that are wanted, entries of all others are
            zero; None is all.

    Raises:
        ValueError: bad frames, lengths or choice, too few runs or temperatures, or a stack whose
            hidden units cannot be enumerated.

    Example:
        >>> import seqebm
        >>> found = bracket(seqebm.RTRBM(9, 5), torch.rand(2, 7, 9).round(), temperatures=20)
        >>> found.estimate.shape, bool((found.lower <= found.upper).all()), bool(found.good.all())
        (torch.Size([2, 7]), True, True)
    """
    with torch.no_grad():
        conditional, real, mask = model.conditionals(frames, lengths, chosen)
        if len(real):
            found = conditional.bracket(real, generator, Annealing(runs, temperatures, sweeps))
        else:  # none was chosen
            found = known(real.new_zeros(0).double())
    return Bracket(*(spread(x, mask) for x in found))


def rbm_bracket(
    rbm: RBMEnergy,
    v: Tensor,
    generator: torch.Generator | None,
    annealing: Annealing,
) -> Bracket:
    """log p(v) of a frame [*rows, visible] in every row's RBM, each entry [*rows], float64.

    Machines that are the same in all rows are annealed once, with frames of any row to begin with.
    """
    runs, temperatures, sweeps = annealing
    free, rates = rbm.free_energy(v).double(), None
    if all(_is_shared(bias) for bias in (rbm.visible_bias, rbm.hidden_bias)):
        visible_bias, hidden_bias = _one(rbm.visible_bias), _one(rbm.hidden_bias)
        rbm = replace(rbm, visible_bias=visible_bias, hidden_bias=hidden_bias)
        every = v.reshape(-1, v.shape[-1])
        rates = every.mean(0) if len(every) >= runs else None  # fewer may be all of one kind
        start = every[torch.randint(len(every), (runs,), generator=generator, device=v.device)]
    else:
        start = v.unsqueeze(-2).expand(*v.shape[:-1], runs, -1)
    log_z = annealed_log_partition(rbm, start, temperatures, sweeps, generator, rates)
    unseen = torch.full_like(log_z.estimate, 1 / runs)
    return Bracket(
        -free - log_z.upper,
        -free - log_z.estimate,
        -free - log_z.lower,
        torch.hypot(log_z.upper_error, unseen).expand_as(free),
        torch.hypot(log_z.lower_error, unseen).expand_as(free),
        log_z.effective.expand_as(free),
    )


def _is_shared(bias: Tensor) -> bool:
    """Whether a bias is the same in all rows because it is one bias that was expanded."""
    return not any(bias.stride()[:-1])


def _one(bias: Tensor) -> Tensor:
    """The bias that all rows share."""
    return bias[(0,) * (bias.ndim - 1)]


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values of real frames in their places, zero in the padding, [batch, time]."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
