"""One CD-k update of an RBM: ours, plain and compiled, its matrix products, and other libraries.

All contestants have the same parameters and see the same data, and before they are timed it is
checked that they compute the same conditional probabilities.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from seqebm import RBM, gibbs


class Problem:
    """Parameters and a batch that every contestant begins with."""

    def __init__(
        self, visible: int = 900, hidden: int = 400, batch: int = 100, k: int = 25
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.k = k
        self.weight = torch.randn(hidden, visible, generator=generator) / visible**0.5
        self.visible_bias = torch.randn(visible, generator=generator) / 2
        self.hidden_bias = torch.randn(hidden, generator=generator) / 2
        self.frames = (torch.rand(batch, visible, generator=generator) < 0.3).float()
        self.hiddens = (torch.rand(batch, hidden, generator=generator) < 0.3).float()


class Products:
    """The matrix products of an update, into kept buffers, and nothing else."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.h, self.v = torch.empty_like(problem.hiddens), torch.empty_like(problem.frames)
        self.gradient = torch.empty_like(problem.weight)

    def __call__(self) -> None:
        p = self.problem
        for _ in range(p.k):
            torch.mm(p.frames, p.weight.t(), out=self.h)
            torch.mm(p.hiddens, p.weight, out=self.v)
        for _ in range(2):  # hidden means of the data and of the chains' ends, and W's gradients
            torch.mm(p.frames, p.weight.t(), out=self.h)
            torch.mm(p.hiddens.t(), p.frames, out=self.gradient)


class Contestant(ABC):
    """Something that does an update when it is called."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def __call__(self) -> None:
        """Do an update."""

    @abstractmethod
    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h|v], by which it is checked."""

    @abstractmethod
    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v|h], likewise."""


class Ours(Contestant):
    """`loss`, `backward` and a step of gradient descent, with plain sweeps."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        hidden, visible = problem.weight.shape
        self.model = RBM(visible, hidden)
        self.model.gibbs_steps = problem.k
        for name in ("weight", "visible_bias", "hidden_bias"):
            getattr(self.model, name).data.copy_(getattr(problem, name))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        self.model.loss(self.problem.frames).backward()
        self.optimizer.step()

    def hidden_mean(self, v: Tensor) -> Tensor:
        return self.model.hidden_mean(v).detach()

    def visible_mean(self, h: Tensor) -> Tensor:
        return self.model.visible_mean(h).detach()


class OursCompiled(Ours):
    """The same with compiled sweeps, as in a long training."""

    def __call__(self) -> None:
        with gibbs.repeated(10**9):
            super().__call__()


class OursBF16(OursCompiled):
    """Compiled, with bf16 inside the products of the chain."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.model.bf16 = True


class OursPersistent(Ours):
    """Persistent chains in place of chains that begin at the data."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.model.start_chains(len(problem.frames))


class OursPersistentCompiled(OursPersistent, OursCompiled):
    """Persistent and compiled."""


class Textbook(Ours):
    """The update as people write it: bernoulli, and a new tensor for everything."""

    def __call__(self) -> None:
        p, v = self.problem, self.problem.frames
        weight, b_v, b_h = (x.data for x in self.model.parameters())
        for _ in range(p.k):
            h = torch.bernoulli(torch.sigmoid(torch.nn.functional.linear(v, weight, b_h)))
            v = torch.bernoulli(torch.sigmoid(torch.nn.functional.linear(h, weight.t(), b_v)))
        before, after = self.hidden_mean(p.frames), self.hidden_mean(v)
        rate = 1e-6 / len(v)
        weight += rate * (before.t() @ p.frames - after.t() @ v)
        b_v += rate * (p.frames - v).sum(0)
        b_h += rate * (before - after).sum(0)


class Rbms(Contestant):
    """The library rbms: its sampler and its gradient, with chains that begin at the data."""

    def __init__(self, problem: Problem) -> None:
        from rbms.bernoulli_bernoulli.classes import BBRBM

        super().__init__(problem)
        biases = problem.visible_bias.clone(), problem.hidden_bias.clone()
        self.rbm = BBRBM(problem.weight.t().contiguous(), *biases)
        for parameter in self.rbm.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer = torch.optim.SGD(self.rbm.parameters(), lr=1e-6)

    def __call__(self) -> None:
        p = self.problem
        data = self.rbm.init_chains(len(p.frames), start_v=p.frames)
        chains = self.rbm.init_chains(len(p.frames), start_v=p.frames)
        chains = self.rbm.sample_state(chains=chains, n_steps=p.k)
        self.rbm.compute_gradient(data=data, chains=chains, centered=False)
        self.optimizer.step()

    def hidden_mean(self, v: Tensor) -> Tensor:
        return self.rbm.sample_hiddens({"visible": v})["hidden_mag"]

    def visible_mean(self, h: Tensor) -> Tensor:
        return self.rbm.sample_visibles({"hidden": h})["visible_mag"]


class Learnergy(Contestant):
    """The library learnergy: the body of its training loop."""

    def __init__(self, problem: Problem) -> None:
        from learnergy.models.bernoulli import RBM as Peer

        super().__init__(problem)
        hidden, visible = problem.weight.shape
        self.rbm = Peer(visible, hidden, steps=problem.k, learning_rate=1e-6)
        self.rbm.W.data.copy_(problem.weight.t())
        self.rbm.a.data.copy_(problem.visible_bias)
        self.rbm.b.data.copy_(problem.hidden_bias)

    def __call__(self) -> None:
        frames = self.problem.frames
        ends = self.rbm.gibbs_sampling(frames)[-1].detach()
        cost = self.rbm.energy(frames).mean() - self.rbm.energy(ends).mean()
        self.rbm.optimizer.zero_grad()
        cost.backward()
        self.rbm.optimizer.step()

    def hidden_mean(self, v: Tensor) -> Tensor:
        return self.rbm.hidden_sampling(v)[0].detach()

    def visible_mean(self, h: Tensor) -> Tensor:
        return self.rbm.visible_sampling(h)[0].detach()


class ScikitLearn(Contestant):
    """scikit-learn's BernoulliRBM: one update with persistent chains of one step."""

    def __init__(self, problem: Problem) -> None:
        from sklearn.neural_network import BernoulliRBM

        super().__init__(problem)
        self.rbm = BernoulliRBM(
            len(problem.hidden_bias), learning_rate=1e-6, batch_size=len(problem.frames)
        )
        self.frames, self.random = problem.frames.numpy(), np.random.RandomState(1)
        self.rbm.partial_fit(self.frames)
        self.rbm.components_ = np.asarray(problem.weight.numpy().copy(), order="F")
        self.rbm.intercept_visible_ = problem.visible_bias.numpy().copy()
        self.rbm.intercept_hidden_ = problem.hidden_bias.numpy().copy()

    def __call__(self) -> None:
        self.rbm._fit(self.frames, self.random)

    def hidden_mean(self, v: Tensor) -> Tensor:
        return torch.from_numpy(self.rbm._mean_hiddens(v.numpy()))

    def visible_mean(self, h: Tensor) -> Tensor:
        from scipy.special import expit

        x = h.numpy() @ self.rbm.components_ + self.rbm.intercept_visible_
        return torch.from_numpy(expit(x))


Kind = type[Products] | type[Contestant]

CD: dict[str, Kind] = {
    "products": Products,
    "seqebm, compiled": OursCompiled,
    "seqebm, bf16 inside": OursBF16,
    "seqebm, plain": Ours,
    "textbook": Textbook,
    "rbms": Rbms,
    "learnergy": Learnergy,
}
PERSISTENT: dict[str, Kind] = {
    "products": Products,
    "seqebm, compiled": OursPersistentCompiled,
    "seqebm, plain": OursPersistent,
    "scikit-learn": ScikitLearn,
}


def enter(
    kinds: dict[str, Kind], problem: Problem
) -> tuple[dict[str, Callable[[], None]], list[str]]:
    """The contestants that are installed, after a check of what they compute; and the others."""
    entered: dict[str, Callable[[], None]] = {}
    missing = []
    for name, kind in kinds.items():
        try:
            contestant = kind(problem)
        except ModuleNotFoundError:
            missing.append(name)
            continue
        if isinstance(contestant, Contestant):
            check(name, contestant, problem)
        entered[name] = contestant
    return entered, missing


def check(name: str, contestant: Contestant, problem: Problem) -> None:
    """Raise where a contestant computes other conditionals than the equations say."""
    v, h = problem.frames, problem.hiddens
    expected = {
        "hidden": (contestant.hidden_mean(v), (v @ problem.weight.t() + problem.hidden_bias)),
        "visible": (contestant.visible_mean(h), (h @ problem.weight + problem.visible_bias)),
    }
    for layer, (mean, inputs) in expected.items():
        difference = float((mean - inputs.sigmoid()).abs().max())
        if difference > 1e-5:
            raise AssertionError(f"{name}: its {layer} means differ by {difference}")
