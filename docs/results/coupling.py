"""How many Gibbs sweeps two coupled chains need to meet, the price of an unbiased gradient.

    python docs/results/coupling.py RUN DATA

Qiu, Zhang and Wang (2020) make the gradient of contrastive divergence unbiased with a second chain,
one sweep behind the first, that shares its random numbers; both are run until they meet. Here both
begin at each frame of the first 20 training sequences. For binary units the same uniform number for
a unit of both chains is a maximal coupling. Prints quantiles of the number of sweeps.
"""

import sys

import torch

from seqebm.data import load_sequences
from seqebm.learning.runs import open_run
from seqebm.rbm import RBMEnergy

MOST = 1000  # sweeps


def sweep(
    rbm: RBMEnergy, v: torch.Tensor, h_place: torch.Tensor, v_place: torch.Tensor
) -> torch.Tensor:
    """A sweep whose random numbers are given."""
    h = (h_place < rbm.hidden_mean(v)).to(v)
    return (v_place < rbm.visible_mean(h)).to(v)


@torch.no_grad()
def meetings(rbm: RBMEnergy, v: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Sweeps until the chains of each row meet, at most `MOST`, [rows]."""

    def places() -> tuple[torch.Tensor, torch.Tensor]:
        sizes = reversed(rbm.weight.shape)
        v_place, h_place = (torch.rand(len(v), size, generator=generator) for size in sizes)
        return h_place, v_place

    ahead, behind = sweep(rbm, v, *places()), v
    met = torch.full((len(v),), MOST)
    for number in range(1, MOST):
        shared = places()
        ahead, behind = sweep(rbm, ahead, *shared), sweep(rbm, behind, *shared)
        met[(ahead == behind).all(1) & (met == MOST)] = number
    return met


def main() -> None:
    """Print the quantiles."""
    run, data = sys.argv[1:]
    model, sequences = open_run(run).model, load_sequences(data).split("train")[:20]
    conditional, frames, _ = model.conditionals(*sequences.padded())
    met = meetings(conditional.rbm, frames, torch.Generator().manual_seed(1)).double()
    points = (0.5, 0.9, 0.99)
    found = ", ".join(f"{100 * q:g}%: {met.quantile(q):.0f}" for q in points)
    print(f"{len(met)} frames: mean {met.mean():.1f}, {found}, not met: {int((met == MOST).sum())}")


if __name__ == "__main__":
    main()
