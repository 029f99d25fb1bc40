"""How long a whole Hessian-free step takes, beside two public ways to make one.

    python benchmarks/hessian_free.py [--json FILE]

takes about ten minutes: the memorization of ten symbols over T = 180 steps, whose outputs count at
all 200 times, 500 sequences for everything, 100 tanh units, ten iterations of conjugate gradients,
one thread. A step is gradient, curvature, iterations,
backtracking over iterates and a line search. Contestants take turns in one process; figures are
medians of CPU time and ratios to ours. PyTorchHessianFree (Tatzel) and curvlinops, whose products
go through the conjugate gradients of scipy and which neither backtracks nor searches, are left out
where they are not installed.
"""

import copy
import importlib.util
from collections.abc import Callable

import torch
from timing import compare
from torch import Tensor, nn

from seqebm.cells import FusedCell
from seqebm.data.problems import make_problem
from seqebm.learning.problems import ProblemNetwork
from seqebm.optim import HessianFree

LENGTH, SEQUENCES, UNITS, ITERATIONS, DAMPING = 180, 500, 100, 10, 0.1


class Plain(nn.Module):
    """The network by torch's means alone, its classes on the second axis as torch's loss has it."""

    def __init__(self, network: ProblemNetwork) -> None:
        super().__init__()
        self.rnn, self.readout = network.cell.network, network.readout

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.rnn(inputs)[0]).transpose(1, 2)


def contestants() -> dict[str, Callable[[], object]]:
    """Steps from the same parameters, over and over."""
    torch.manual_seed(1)
    problem = make_problem("memorization-20", LENGTH)
    examples = problem.draw(SEQUENCES, torch.Generator().manual_seed(1))
    inputs, targets = examples.inputs, examples.targets.argmax(-1)
    cell = FusedCell(nn.RNN(problem.n_inputs, UNITS, batch_first=True))
    network = ProblemNetwork(cell, problem.n_outputs)
    start = copy.deepcopy(network.state_dict())

    def ours() -> object:
        network.load_state_dict(start)
        optimizer = HessianFree(network.parameters(), DAMPING, 1 / 30, iterations=ITERATIONS)
        return optimizer.step(lambda batch: network.prediction(batch, problem.kind), [examples])

    found: dict[str, Callable[[], object]] = {"seqebm, structural damping": ours}
    peer = Plain(copy.deepcopy(network))
    peer_start = copy.deepcopy(peer.state_dict())
    if importlib.util.find_spec("hessianfree"):
        from hessianfree.optimizer import HessianFree as Theirs

        def theirs() -> None:
            peer.load_state_dict(peer_start)
            step = Theirs(peer.parameters(), damping=DAMPING, cg_max_iter=ITERATIONS)

            def forward() -> tuple[Tensor, Tensor]:
                outputs = peer(inputs)
                return nn.functional.cross_entropy(outputs, targets), outputs

            step.step(forward)

        found["PyTorchHessianFree"] = theirs
    if importlib.util.find_spec("curvlinops"):
        import numpy as np
        from curvlinops import GGNLinearOperator
        from scipy.sparse.linalg import LinearOperator, cg

        def operators() -> None:
            peer.load_state_dict(peer_start)
            parameters = list(peer.parameters())
            loss = nn.functional.cross_entropy(peer(inputs), targets)
            slope = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
            data = [(inputs, targets)]
            matrix = GGNLinearOperator(
                peer, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False
            ).to_scipy()
            damped = LinearOperator(
                matrix.shape, lambda v: matrix @ v + DAMPING * v, dtype=np.float32
            )
            step, _ = cg(damped, -slope.numpy(), maxiter=ITERATIONS, rtol=0)
            with torch.no_grad():
                nn.utils.vector_to_parameters(
                    nn.utils.parameters_to_vector(parameters) + torch.from_numpy(step).float(),
                    parameters,
                )
                nn.functional.cross_entropy(peer(inputs), targets)

        found["curvlinops and scipy's CG"] = operators
    return found


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    compare(__doc__, {"step": contestants})
