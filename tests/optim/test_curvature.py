"""Tests of products with curvature matrices, against dense ones in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from seqebm.optim import (
    Bernoulli,
    Categorical,
    GaussNewton,
    Held,
    Hessian,
    MatchingLoss,
    Objective,
    Prediction,
    Squared,
)

CLOSE = {"rtol": 0.0, "atol": 1e-10}


class Elman(nn.Module):
    """A small recurrent network that shows its total inputs."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        for name, shape in {"v": (4, 2), "h": (4, 4), "o": (outputs, 4), "b": (4,)}.items():
            values = torch.randn(shape, generator=generator, dtype=torch.float64)
            setattr(self, name, nn.Parameter(values))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden, totals = torch.zeros(len(inputs), 4, dtype=torch.float64), []
        for frame in inputs.unbind(1):
            totals.append(frame @ self.v.t() + hidden @ self.h.t() + self.b)
            hidden = totals[-1].tanh()
        return hidden @ self.o.t(), torch.stack(totals)


LOSSES = {
    "squared": lambda n: Squared(torch.full((n, 3), 0.2, dtype=torch.float64)),
    "bernoulli": lambda n: Bernoulli(torch.full((n, 3), 0.7, dtype=torch.float64)),
    "categorical": lambda n: Categorical(torch.eye(3, dtype=torch.float64)[torch.arange(n) % 3]),
}


def batch(cases: int, seed: int = 0) -> Tensor:
    """Inputs of a few steps."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(cases, 5, 2, generator=generator, dtype=torch.float64)


def objective(network: Elman, loss) -> Objective:
    """The objective of a network, which holds its hidden units."""

    def forward(inputs: Tensor) -> Prediction:
        outputs, totals = network(inputs)
        return Prediction(outputs, loss(len(inputs)), (Held(totals, 1 - totals.tanh().square()),))

    return Objective(network.parameters(), forward)


def jacobians(network: Elman, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Of the outputs and of the total inputs, [rows, parameters]."""
    names = [name for name, _ in network.named_parameters()]

    def run(*values: Tensor) -> tuple[Tensor, Tensor]:
        return functional_call(network, dict(zip(names, values, strict=True)), (inputs,))

    parameters = tuple(network.parameters())
    of_outputs, of_totals = (
        torch.cat([part.flatten(-p.dim()) for part, p in zip(one, parameters, strict=True)], -1)
        for one in torch.autograd.functional.jacobian(run, parameters)
    )
    return of_outputs.flatten(0, -2), of_totals.flatten(0, -2)


def dense(network: Elman, loss: MatchingLoss, inputs: Tensor, structural: float) -> Tensor:
    """The structurally damped Gauss–Newton matrix, all of it, as a sum over cases."""
    outputs, totals = (part.detach() for part in network(inputs))
    of_outputs, of_totals = jacobians(network, inputs)
    size = outputs.numel()
    inner = torch.autograd.functional.hessian(loss.sum, outputs).reshape(size, size)
    slopes = torch.diag(1 - totals.tanh().square().flatten())
    return of_outputs.t() @ inner @ of_outputs + structural * of_totals.t() @ slopes @ of_totals


def matrix(product, size: int) -> Tensor:
    """All columns of a linear map."""
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize("structural", [0.0, 0.3])
@pytest.mark.parametrize("kind", LOSSES)
def test_products_are_those_of_the_dense_matrix(kind: str, structural: float) -> None:
    network, inputs = Elman(3), batch(6)
    f = objective(network, LOSSES[kind])
    size = len(f.position)
    gauss_newton = GaussNewton(f, [inputs])
    found = matrix(lambda v: gauss_newton.product(v, structural), size)
    expected = dense(network, LOSSES[kind](6), inputs, structural) / 6
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found, found.t(), **CLOSE)
    assert float(torch.linalg.eigvalsh(found).min()) > -1e-12


def test_batches_are_averaged_over_cases() -> None:
    inputs = batch(6)
    f = objective(Elman(3), LOSSES["bernoulli"])
    vector = torch.randn(len(f.position), dtype=torch.float64)
    whole = GaussNewton(f, [inputs]).product(vector, 0.2)
    parts = GaussNewton(f, [inputs[:1], inputs[1:]]).product(vector, 0.2)
    torch.testing.assert_close(parts, whole, **CLOSE)
    assert f.value([inputs[:2], inputs[2:]]) == pytest.approx(f.value([inputs]))
    together, apart = f.gradient([inputs]), f.gradient([inputs[:2], inputs[2:]])
    assert apart[0] == pytest.approx(together[0])
    torch.testing.assert_close(apart[1], together[1], **CLOSE)


@pytest.mark.parametrize("kind", LOSSES)
def test_hessian(kind: str) -> None:
    network, inputs = Elman(3), batch(4)
    loss = LOSSES[kind](4)
    names = [name for name, _ in network.named_parameters()]
    f = objective(network, LOSSES[kind])

    def value(vector: Tensor) -> Tensor:
        values = dict(zip(names, f.parts(vector), strict=True))
        return loss.sum(functional_call(network, values, (inputs,))[0]) / 4

    expected = torch.autograd.functional.hessian(value, f.position)
    for batches in ([inputs], [inputs[:1], inputs[1:]]):
        if kind == "categorical" and len(batches) > 1:
            continue  # its targets depend on the number of cases
        found = matrix(Hessian(f, batches).product, len(f.position))
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("kind", LOSSES)
def test_diagonal_is_unbiased(kind: str) -> None:
    """The mean of 1000 estimates; over all coordinates and kinds an error rate below 1e-3."""
    network, inputs = Elman(3), batch(3)
    gauss_newton = GaussNewton(objective(network, LOSSES[kind]), [inputs])
    generator = torch.Generator().manual_seed(5)
    drawn = torch.stack([gauss_newton.diagonal(generator) for _ in range(1000)])
    expected = dense(network, LOSSES[kind](3), inputs, 0.0).diagonal() / 3
    error = drawn.std(0) / len(drawn) ** 0.5
    assert float(((drawn.mean(0) - expected).abs() / error.clamp(min=1e-12)).max()) < 4.5


def test_equal_to_curvlinops() -> None:
    """On a feed-forward network, whose products a well-known library makes as well."""
    curvlinops = pytest.importorskip("curvlinops")
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    x = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (20,), generator=generator)
    theirs = curvlinops.GGNLinearOperator(
        network, nn.CrossEntropyLoss(), list(network.parameters()), [(x, y)]
    )
    f = Objective(
        network.parameters(),
        lambda x: Prediction(network(x), Categorical(nn.functional.one_hot(y).double())),
    )
    vector = torch.randn(len(f.position), generator=generator, dtype=torch.float64)
    torch.testing.assert_close(GaussNewton(f, [x]).product(vector), theirs @ vector, **CLOSE)


def test_parameters_that_outputs_do_not_depend_on() -> None:
    """A parameter without influence, and one whose influence is linear alone, are rows of zeros."""
    network = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)}).double()
    x = torch.ones(3, 2, dtype=torch.float64)
    y = torch.zeros(3, 1, dtype=torch.float64)
    f = Objective(network.parameters(), lambda x: Prediction(network["used"](x), Squared(y)))
    found = matrix(GaussNewton(f, [x]).product, 6)
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[:3, :3] = 1
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(matrix(Hessian(f, [x]).product, 6), expected, **CLOSE)


def test_bad_input() -> None:
    network = nn.Linear(2, 1)
    y = torch.zeros(3, 1)
    f = Objective(network.parameters(), lambda x: Prediction(network(x), Squared(y)))
    for kind in (GaussNewton, Hessian):
        with pytest.raises(ValueError, match="batches: expected at least one, got none"):
            kind(f, [])
    with pytest.raises(ValueError, match="structural: expected 0, for the forward pass holds"):
        GaussNewton(f, [torch.ones(3, 2)]).product(torch.ones(3), 0.1)
    away = Objective(network.parameters(), lambda x: Prediction(x, Squared(torch.zeros(3, 2))))
    with pytest.raises(ValueError, match="forward: expected outputs that depend on the parameters"):
        GaussNewton(away, [torch.ones(3, 2)])


@pytest.mark.parametrize(
    "module",
    [nn.Dropout(0.5), nn.BatchNorm1d(2), nn.RNN(2, 2, 2, dropout=0.1)],
    ids=lambda module: type(module).__name__,
)
def test_modules_that_change_are_refused_by_name(module: nn.Module) -> None:
    linear = nn.Linear(2, 2)

    def forward(x: Tensor) -> Prediction:
        outputs = module(linear(x))
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        return Prediction(outputs, Squared(torch.zeros(3, 2)))

    f = Objective(linear.parameters(), forward)
    name = type(module).__name__
    for use in (lambda: f.gradient([torch.ones(3, 2)]), lambda: GaussNewton(f, [torch.ones(3, 2)])):
        with pytest.raises(ValueError, match=f"forward: {name}.*switch it off with eval"):
            use()
    module.eval()
    f.gradient([torch.ones(3, 2)])
