"""What a Gauss–Newton product of a recurrent network takes, in gradients.

    python benchmarks/gauss_newton.py [--json FILE]

takes some minutes and 8 GB: T = 200, batch 1000, 100 units, 10 inputs and outputs, squared
error, float32, one thread. The yardstick is one gradient by autograd through torch's network, loss
included; contestants take turns in one process, figures are medians of CPU time. "damped" is with
structural damping. The outer iteration of a Hessian-free optimiser makes its graphs once, as is
done here before the measurement; "fresh" makes them for each product. Other cells have no loops of
their own for products: for these the yardstick is their own gradient, with a batch of 100 and
growing T. Libraries that are not installed are left out: `pip install curvlinops-for-pytorch`.
"""

from collections.abc import Callable
from functools import partial

import torch
from timing import compare
from torch import Tensor, nn

from seqebm.cells import Cell, make_cell, pieces

try:
    import curvlinops
except ImportError:
    curvlinops = None

TIME, BATCH, UNITS, WIDTH = 200, 1000, 100, 10
STRENGTH = 0.1  # λμ
OTHERS, LENGTHS = ("mrnn", "mlstm", "gru"), (50, 100, 200)

Outputs = Callable[[Tensor], tuple[Tensor, ...]]


class Problem:
    """A cell with a readout, data, and a direction of the parameters."""

    def __init__(self, kind: str, time: int, batch: int) -> None:
        torch.manual_seed(1)
        self.cell, self.readout = make_cell(kind, WIDTH, UNITS), nn.Linear(UNITS, WIDTH)
        self.parameters = [*self.cell.parameters(), *self.readout.parameters()]
        self.direction = [torch.randn_like(parameter) for parameter in self.parameters]
        self.frames, self.targets = torch.randn(2, batch, time, WIDTH).unbind()

    def state(self) -> Tensor | tuple[Tensor, Tensor]:
        return self.cell.initial_state(len(self.frames))

    def predictions(self, outputs: Tensor) -> Tensor:
        return self.readout(outputs)[:, 1:]

    def loss(self, outputs: Tensor) -> Tensor:
        return 0.5 * (self.predictions(outputs) - self.targets).square().sum() / len(self.frames)

    def forward(self) -> Tensor:
        return self.cell(self.frames, self.state())[0]

    def gradient(self, outputs: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(self.loss(outputs()), self.parameters)

    def product(self, made: list[Tensor], curvatures: list) -> Callable[[], list[Tensor]]:
        """Of the Gauss–Newton matrix by both graphs, of what is made and of its gradient."""
        errors = [torch.zeros_like(one, requires_grad=True) for one in made]
        gradient = torch.autograd.grad(made, self.parameters, errors, create_graph=True)

        def multiply() -> list[Tensor]:
            ahead = torch.autograd.grad(gradient, errors, self.direction, retain_graph=True)
            back = [one.mul_(factor) for factor, one in zip(curvatures, ahead, strict=True)]
            return list(torch.autograd.grad(made, self.parameters, back, retain_graph=True))

        return multiply

    def undamped(self, outputs: Tensor) -> Callable[[], list[Tensor]]:
        return self.product([self.predictions(outputs)], [1 / len(self.frames)])

    def damped(self) -> Callable[[], list[Tensor]]:
        trace = self.cell.trace(self.frames, self.state())
        curvatures = [1 / len(self.frames), STRENGTH / len(self.frames) * trace.slopes]
        return self.product([self.predictions(trace.outputs), trace.inputs], curvatures)


def loop(problem: Problem) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Torch's network in a plain loop, a function of its parameters: what people write."""
    cell = problem.cell
    names = [name for name, _ in (*cell.named_parameters(), *problem.readout.named_parameters())]
    gated = isinstance(cell.network, nn.LSTM)

    def outputs(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        h = given["initial_hidden"].expand(len(problem.frames), -1)
        c = given["initial_cell"].expand(len(problem.frames), -1) if gated else h
        bias = given["network.bias_ih_l0"] + given["network.bias_hh_l0"]
        drives = problem.frames.transpose(0, 1) @ given["network.weight_ih_l0"].t() + bias
        weight, shown = given["network.weight_hh_l0"].t(), [h]
        for drive in pieces.unbind(drives):
            u = torch.addmm(drive, h, weight)
            if gated:
                i, f, g, o = u.chunk(4, dim=1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            else:
                h = u.tanh()
            shown.append(h)
        states = pieces.stack(shown)
        return (states @ given["weight"].t() + given["bias"])[1:].transpose(0, 1)

    return outputs, problem.parameters


def fresh(problem: Problem) -> Callable[[], list[Tensor]]:
    """By torch.func, from the beginning for each product."""
    outputs, parameters = loop(problem)
    values = tuple(parameter.detach() for parameter in parameters)

    def multiply() -> list[Tensor]:
        _, ahead = torch.func.jvp(outputs, values, tuple(problem.direction))
        _, back = torch.func.vjp(outputs, *values)
        return list(back(ahead / len(problem.frames)))

    return multiply


def by_curvlinops(problem: Problem) -> Callable[[], object]:
    """The operator of curvlinops for the plain loop."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.outputs, parameters = loop(problem)
            self.all = nn.ParameterList(parameters)

        def forward(self, _: Tensor) -> Tensor:
            return self.outputs(*self.all)

    network = Network()
    loss = nn.MSELoss(reduction="sum")
    operator = curvlinops.GGNLinearOperator(
        network, loss, list(network.parameters()), [(problem.frames, problem.targets)],
        check_deterministic=False,
    )  # fmt: skip
    return lambda: operator @ problem.direction


def contestants(kind: str) -> dict[str, Callable[[], object]]:
    """Gradients and products of torch's RNN or LSTM."""
    problem = Problem(kind, TIME, BATCH)
    outputs, parameters = loop(problem)

    def trace() -> Tensor:
        return problem.cell.trace(problem.frames, problem.state()).outputs

    entered = {
        f"gradient, torch.nn.{kind.upper()}": problem.gradient(problem.forward),
        "gradient, trace": problem.gradient(trace),
        "product": problem.undamped(trace()),
        "product, damped": problem.damped(),
        "product, plain loop": problem.product([outputs(*parameters)], [1 / BATCH]),
        "product, fresh": fresh(problem),
    }
    if curvlinops:
        entered["product, curvlinops"] = by_curvlinops(problem)
    expected = entered["product, fresh"]()
    for name in ("product", "product, plain loop"):
        for got, one in zip(entered[name](), expected, strict=True):
            torch.testing.assert_close(got, one, rtol=1e-3, atol=1e-3 * float(one.abs().max()))
    return entered


def others(kind: str, time: int) -> dict[str, Callable[[], object]]:
    """Gradient and product of a cell without loops of its own."""
    problem = Problem(kind, time, 100)
    cell: Cell = problem.cell

    def trace() -> Tensor:
        return cell.trace(problem.frames, problem.state()).outputs

    return {
        f"gradient, {kind}, T = {time}": problem.gradient(problem.forward),
        f"product, {kind}, T = {time}": problem.undamped(trace()),
    }


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    rounds: dict = {kind: partial(contestants, kind) for kind in ("rnn", "lstm")}
    rounds |= {f"{kind}, T = {t}": partial(others, kind, t) for kind in OTHERS for t in LENGTHS}
    compare(__doc__, rounds)
