"""Training steps on GPUs without the cost of launching their thousands of kernels one by one."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from seqebm.models import SequenceModel
from seqebm.models.base import Memory

WARM_UP = 3  #: steps before a capture, in which libraries and compilers set themselves up
MOST_GRAPHS = 4  #: that are kept; batches of further shapes take the plain path


def gradient(
    model: SequenceModel,
    frames: Tensor,
    lengths: Tensor | None,
    past: Tensor | None,
    generator: torch.Generator,
    chains: Tensor | None = None,
    context: int = 0,
    memory: Memory | None = None,
) -> Tensor:
    """Set the gradients of the model's parameters to those of its loss, which is returned."""
    model.zero_grad()
    loss = model.loss(frames, lengths, generator, past, chains, context, memory)
    loss.backward()
    return loss.detach()


class Graphs:
    """`gradient` on a GPU, for batches without lengths: captured as CUDA graphs and replayed.

    A step of an RTRBM is a chain of small kernels, a few for each frame and for each Gibbs sweep,
    which take less time than launching them does. A graph launches all of them at once. There is
    one for each shape of batch and each number of Gibbs steps. Values of frames are only checked
    while there is none yet; whoever calls this checks them before they come to the GPU.
    """

    def __init__(self, model: SequenceModel, generator: torch.Generator, context: int = 0) -> None:
        self.model, self.generator, self.context = model, generator, context
        self._graphs: dict[Any, _Graph | None] = {}

    def __call__(self, frames: Tensor, past: Tensor | None) -> Tensor:
        """As `gradient` does; the gradients are overwritten by the next call."""
        kind = frames.shape, past is None, getattr(self.model, "gibbs_steps", None)
        if kind not in self._graphs and len(self._graphs) < MOST_GRAPHS:
            self._graphs[kind] = self._capture(frames, past)
        graph = self._graphs.get(kind)
        if graph is None:
            return gradient(self.model, frames, None, past, self.generator, None, self.context)
        return graph.replay(frames, past)

    def _capture(self, frames: Tensor, past: Tensor | None) -> _Graph | None:
        """The graph, or None and a warning where the model does what graphs cannot."""
        try:
            return _Graph(self.model, frames, past, self.generator, self.context)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"training steps are not captured as a graph: {reason}", stacklevel=3)
            return None


class _Graph:
    """A captured step: where it reads its input, what it launches, where it leaves its results."""

    def __init__(
        self,
        model: SequenceModel,
        frames: Tensor,
        past: Tensor | None,
        generator: torch.Generator,
        context: int,
    ) -> None:
        self.frames, self.past = frames.clone(), None if past is None else past.clone()
        step = model, self.frames, None, self.past, generator, None, context
        before = generator.get_state()
        aside = torch.cuda.Stream(frames.device)
        aside.wait_stream(torch.cuda.current_stream(frames.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                gradient(*step)
        torch.cuda.current_stream(frames.device).wait_stream(aside)
        generator.set_state(before)
        model.zero_grad()  # so that the gradients are made inside the graph's memory
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            self.loss = gradient(*step)
        self.gradients = [(p, p.grad) for p in model.parameters() if p.grad is not None]

    def replay(self, frames: Tensor, past: Tensor | None) -> Tensor:
        self.frames.copy_(frames)
        if self.past is not None and past is not None:
            self.past.copy_(past)
        self.graph.replay()
        for parameter, grad in self.gradients:
            parameter.grad = grad
        return self.loss
