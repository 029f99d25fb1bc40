"""One training step of an RTRBM: ours, plain and compiled, and its matrix products."""

import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from seqebm import RTRBM, gibbs
from seqebm.data import BallVideos

VISIBLE, HIDDEN = 900, 400


class Products:
    """The matrix products of a step, into kept buffers, and nothing else."""

    def __init__(self, batch: int, length: int, k: int) -> None:
        rows = batch * length
        self.length, self.k = length, k
        self.w, self.u = torch.randn(HIDDEN, VISIBLE) / 30, torch.randn(HIDDEN, HIDDEN) / 20
        self.v, self.h = torch.rand(rows, VISIBLE), torch.rand(rows, HIDDEN)
        self.v_out, self.h_out = torch.empty_like(self.v), torch.empty_like(self.h)
        self.r = torch.rand(batch, HIDDEN)
        self.r_out = torch.empty_like(self.r)
        self.dw, self.du = torch.empty_like(self.w), torch.empty_like(self.u)

    def __call__(self) -> None:
        for _ in range(self.k):
            torch.mm(self.v, self.w.t(), out=self.h_out)
            torch.mm(self.h, self.w, out=self.v_out)
        for _ in range(self.length):  # the recurrence, forwards and backwards
            torch.mm(self.r, self.u.t(), out=self.r_out)
            torch.mm(self.r, self.u, out=self.r_out)
        for _ in range(3):  # W v for r, for F(v) and for F(v_k), each with its gradient
            torch.mm(self.v, self.w.t(), out=self.h_out)
            torch.mm(self.h.t(), self.v, out=self.dw)
        torch.mm(self.h, self.u.t(), out=self.h_out)  # W′ r for the biases, with its gradients
        torch.mm(self.h, self.u, out=self.h_out)
        for _ in range(2):
            torch.mm(self.h.t(), self.h, out=self.du)


class Step:
    """What `fit` does in a step: loss, gradient, update."""

    def __init__(self, batch: int, length: int, k: int) -> None:
        self.frames = torch.rand(batch, length, VISIBLE)
        self.model = RTRBM(VISIBLE, HIDDEN)
        self.model.gibbs_steps = k
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        self.model.loss(self.frames).backward()
        self.optimizer.step()


class CompiledStep(Step):
    """The same inside a long training, where chains are compiled."""

    def __call__(self) -> None:
        with gibbs.repeated(10**9):
            super().__call__()


class TextbookStep(Step):
    """The step as people write it: bernoulli, a new tensor for everything, a loop over time."""

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        m, r = self.model, self.model.initial_hidden.expand(len(self.frames), -1)
        biases = []
        for v in self.frames.unbind(1):
            biases.append(m.hidden_bias + r @ m.hidden_to_hidden.t())
            r = torch.sigmoid(v @ m.weight.t() + biases[-1])
        bias = torch.stack(biases, 1)
        with torch.no_grad():
            v = self.frames
            for _ in range(m.gibbs_steps):
                h = torch.bernoulli(torch.sigmoid(v @ m.weight.t() + bias))
                v = torch.bernoulli(torch.sigmoid(h @ m.weight + m.visible_bias))
        (self._free_energy(self.frames, bias) - self._free_energy(v, bias)).mean().backward()
        self.optimizer.step()

    def _free_energy(self, v: Tensor, bias: Tensor) -> Tensor:
        inputs = v @ self.model.weight.t() + bias
        return -(v @ self.model.visible_bias) - torch.nn.functional.softplus(inputs).sum(-1)


KINDS = {
    "products": Products,
    "seqebm, compiled": CompiledStep,
    "seqebm, plain": Step,
    "textbook": TextbookStep,
}


def contestants(batch: int = 1, length: int = 100, k: int = 25) -> dict:
    """One of each kind."""
    return {name: kind(batch, length, k) for name, kind in KINDS.items()}


def peak_memory(kind: str, k: int, batch: int = 16, length: int = 100) -> float:
    """Peak resident MB of a process that does three steps (Linux)."""
    code = (
        "import rtrbm_step as b\n"
        f"step = b.KINDS[{kind!r}]({batch}, {length}, {k})\n"
        "for _ in range(3): step()\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
    return float(done.stdout) / 1024


def data_share(step_ms: float) -> float:
    """The time of one generated video over that of a training step on it."""
    videos = BallVideos(1, seed=1)
    start = time.process_time()
    for step in range(1024):
        videos(step)
    return 1000 * (time.process_time() - start) / 1024 / step_ms
