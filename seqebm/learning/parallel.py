"""Training in several processes, each with its share of every batch, as torchrun starts them.

Without a process group of `torch.distributed` there is one process, and nothing here does anything.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from seqebm.models import SequenceModel


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if _together() else 0


def ranks() -> int:
    """The number of processes."""
    return dist.get_world_size() if _together() else 1


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun has started, if it has: nccl on GPUs, gloo elsewhere."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or _together():
        yield
        return
    # Torch's optimisers load this module late; its default arguments would then hold the new group
    # for good, and the group's threads, which abort a process that ends while they let go a tensor.
    importlib.import_module("torch.distributed.nn")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # which "cuda" then means
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Go on when all processes have come here."""
    if _together():
        dist.barrier()


def share(rows: Tensor) -> Tensor:
    """This process' rows of a batch.

    Raises:
        ValueError: fewer sequences than processes.
    """
    if len(rows) < ranks():
        raise ValueError(f"batch: expected at least {ranks()} sequences, one for every process")
    return rows[rank() :: ranks()]


def check_agreement(model: SequenceModel) -> None:
    """Raise ValueError in every process where the processes train different models."""
    if not _together():
        return
    shapes = {name: [*p.shape, str(p.dtype)] for name, p in model.named_parameters()}
    text = json.dumps([type(model).__name__, model.settings, shapes], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    found = _gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8), model)
    different = [str(i) for i, other in enumerate(found) if not torch.equal(other, found[0])]
    if different:
        raise ValueError(
            f"model: the processes disagree; {', '.join(different)} train another than process 0"
        )


def spread_parameters(model: SequenceModel) -> None:
    """Give every process the parameters and buffers of process 0."""
    if _together():
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


def combine(model: SequenceModel, loss: Tensor, frames: int) -> Tensor:
    """Average loss and gradients over all frames of all processes.

    Args:
        model: its gradients are replaced.
        loss: of this process, averaged over its frames.
        frames: their number.

    Returns:
        The loss, averaged likewise.
    """
    if not _together():
        return loss.detach()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    parts = [*gradients, loss.detach(), torch.ones_like(loss)]
    total = torch.cat([part.detach().flatten() for part in parts]) * frames
    dist.all_reduce(total)
    sums = total[:-1].split([part.numel() for part in parts[:-1]])
    for gradient, summed in zip(gradients, sums, strict=False):
        gradient.copy_((summed / total[-1]).view_as(gradient))
    return total[-2] / total[-1]


def own_generator(generator: torch.Generator) -> torch.Generator:
    """A generator for this process: the given one in process 0, in others one that it decides."""
    return generator if rank() == 0 else _derived(generator, [rank()])


def gather_states(generator: torch.Generator, model: SequenceModel) -> list[Tensor]:
    """The states of the generators of all processes."""
    return _gather(generator.get_state(), model) if _together() else [generator.get_state()]


def restore_state(generator: torch.Generator, states: list[Tensor], step: int) -> None:
    """Set this process' generator as it was; on another device, or in a new process, anew."""
    if rank() < len(states) and len(states[rank()]) == len(generator.get_state()):
        generator.set_state(states[rank()])
    else:
        generator.set_state(_derived(generator, [rank(), step]).get_state())


def _derived(generator: torch.Generator, words: list[int]) -> torch.Generator:
    """A generator whose seed is a hash of another's seed and some numbers."""
    entropy = [generator.initial_seed() % 2**64, *words]
    seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(generator.device).manual_seed(seed)


def _gather(value: Tensor, model: SequenceModel) -> list[Tensor]:
    """A tensor of one size from every process, on the CPU."""
    device = next(model.parameters()).device
    found = [torch.empty_like(value, device=device) for _ in range(ranks())]
    dist.all_gather(found, value.to(device))
    return [one.cpu() for one in found]
