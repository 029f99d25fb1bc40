"""The restricted Boltzmann machine, a sequence model without memory."""

from __future__ import annotations

import torch
from torch import Tensor

from seqebm import gibbs
from seqebm.models.base import Memory, check_context
from seqebm.models.energy import EnergyModel, check_exchangeable
from seqebm.units import Units


class RBM(EnergyModel):
    """A restricted Boltzmann machine: every frame is drawn anew (Sutskever 2013, sec. 2.7).

    Frames are [batch, time, visible] as everywhere; the vectors of a static data set [n, visible]
    are accepted as well by `loss` and `log_prob`. Without chains `loss` is contrastive divergence
    with chains that begin at the data; after `start_chains` it is persistent contrastive divergence
    (Tieleman 2008) with chains that go on from call to call.

    Args:
        n_visible: number of visible units.
        n_hidden: number of hidden units.
        visible: "bernoulli", "gaussian", "gaussian:learned", or a `Units` object.

    Attributes:
        chains: visible states of the persistent chains, [chains, visible], or None.

    Example:
        >>> rbm = RBM(4, 3)
        >>> optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
        >>> rbm.loss((torch.rand(16, 4) > 0.5).float()).backward()
        >>> optimizer.step()
        >>> rbm.log_prob(torch.ones(2, 4)).shape
        torch.Size([2])
    """

    chains: Tensor | None

    def __init__(self, n_visible: int, n_hidden: int, visible: str | Units = "bernoulli") -> None:
        super().__init__(n_visible, n_hidden, visible)
        self.register_buffer("chains", None)

    def initial_state(self, batch: int) -> None:
        """Nothing is remembered."""

    def scan(self, state: None, frames: Tensor) -> tuple[Tensor, None]:
        """Contexts that hold nothing but their shape, [batch, time + 1, 0]."""
        return frames.new_empty(len(frames), frames.shape[1] + 1, 0), None

    def biases(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """b_v and b_h for every row."""
        return self.visible_bias, self.hidden_bias.expand(*context.shape[:-1], -1)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) of states [..., visible] and [..., hidden] (eq. 2.24), [...]."""
        return self._static.energy(v, h)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = −log Σ_h exp(−E(v, h)), [...]."""
        return self._static.free_energy(v)

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h|v] (eq. 2.26), [..., hidden]."""
        return self._static.hidden_mean(v)

    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v|h] (eq. 2.27), [..., visible]."""
        return self._static.visible_mean(h)

    @property
    def _static(self):  # type: ignore[no-untyped-def]
        return self.rbm(self.weight.new_empty(0))

    def transposed(self) -> RBM:
        """The same distribution with the layers exchanged (Sutskever 2013, sec. 2.7.1).

        Raises:
            ValueError: visible units that are not Bernoulli, as hidden units are.
        """
        check_exchangeable(self.visible)
        other = RBM(len(self.weight), self.visible.size).to(self.weight)
        pairs = {
            "weight": self.weight.t(),
            "visible_bias": self.hidden_bias,
            "hidden_bias": self.visible_bias,
        }
        other.load_state_dict(pairs)
        return other

    def start_chains(self, count: int, generator: torch.Generator | None = None) -> None:
        """Let `loss` use `count` persistent chains, which begin with samples of the model."""
        with torch.no_grad():
            self.chains = self.sample(1, batch=count, generator=generator)[:, 0]

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
        """Contrastive divergence, or persistent contrastive divergence after `start_chains`.

        Raises and arguments as `SequenceModel.loss`; frames may be [n, visible] too.
        """
        frames = _as_sequences(frames)
        if self.chains is None:
            return super().loss(frames, lengths, generator, past, chains, context, memory)
        frames, mask = self._checked(frames, lengths)
        learned = check_context(context, mask)
        frames = frames[learned] if lengths is None else frames[learned][mask[learned]]
        ends = gibbs.chain(self._static, self.chains, self.gibbs_steps, generator, self.bf16)
        self.chains.copy_(ends[0])  # in place, where a captured step finds them again
        return self.free_energy(frames).mean() - self._static.sampled_free_energy(*ends).mean()

    def log_prob(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        method: str = "auto",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `SequenceModel.log_prob`; vectors [n, visible] give [n]."""
        log_prob = super().log_prob(_as_sequences(frames), lengths, method, generator)
        return log_prob[:, 0] if frames.ndim == 2 else log_prob


def _as_sequences(frames: Tensor) -> Tensor:
    """Vectors [n, visible] as n sequences of one frame."""
    return frames.unsqueeze(1) if isinstance(frames, Tensor) and frames.ndim == 2 else frames
