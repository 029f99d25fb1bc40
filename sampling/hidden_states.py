"""Film the hidden states of a network as it learns to remember five bits (Sutskever 2013, 4.3.3).

    python sampling/hidden_states.py 30 hidden.mp4

The number is T, for how many steps the bits are remembered. A frame is a step of Hessian-free
learning; each panel shows the hidden units, one below the other, over the time that it takes to
read one of six inputs. Black is −1 and white is 1. As they learn, the states come to change by
themselves at the end, when the bits are said again. The film ends when the problem is solved.
"""

import sys

import torch

from seqebm import video
from seqebm.cells import StandardRNN
from seqebm.data.problems import make_problem
from seqebm.learning.problems import ProblemNetwork, thesis_initialisation
from seqebm.learning.solving import solve
from seqebm.optim import HessianFree

UNITS, SHOWN, ZOOM, RATE = 30, 6, 3, 5.0

length, out = int(sys.argv[1]), sys.argv[2]
problem = make_problem("memorization-5", length)
network = ProblemNetwork(StandardRNN(problem.n_inputs, UNITS), problem.n_outputs)
thesis_initialisation(network, 0.1, torch.Generator().manual_seed(1))
optimizer = HessianFree(network.parameters(), damping=0.1, structural=1 / 30)
everything = problem.all_examples().inputs
inputs = everything[torch.linspace(0, len(everything) - 1, SHOWN).long()]
bits = ["".join(map(str, one.tolist())) for one in inputs[:, :5].argmax(2)]


@torch.no_grad()
def picture(caption: str) -> video.Pictures:
    """The hidden states of now, under a caption."""
    states, _ = network.cell(inputs, network.cell.initial_state(SHOWN))
    levels = (states.transpose(1, 2).flatten(1) + 1) / 2
    panels = (video.pictures(one[None], (UNITS, states.shape[1]), ZOOM) for one in levels)
    return video.side_by_side({caption: video.side_by_side(dict(zip(bits, panels, strict=True)))})


with video.Writer(out, RATE) as film:
    film.write(picture("before the first step"))

    def tell(record):
        """Write a frame."""
        share = record["sequences"]
        film.write(picture(f"step {record['step']}: loss {record['loss']:.3f}, {share:.0%} wrong"))

    solve(network, problem, optimizer, steps=5000, seed=1, tell=tell)
