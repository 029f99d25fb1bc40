"""Models of this library learned by methods of second order."""

from __future__ import annotations

import json

import pytest
import torch
from learning.test_parallel import close, processes
from torch import Tensor

import seqebm
from seqebm.cells import make_cell
from seqebm.learning import load_training
from seqebm.optim import AugmentedHessianFree, HessianFree, Objective
from seqebm.units import Gaussian


def frames(kind: str) -> tuple[Tensor, Tensor]:
    """A ragged batch of four units."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(6, 5, 4, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([5, 2, 4, 1, 3, 5])
    if kind.startswith("categorical"):
        return seqebm.units.make_units(kind, 4).mode(values), lengths
    return (values.round() if kind == "bernoulli" else values), lengths


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mrnn", "mlstm"])
@pytest.mark.parametrize("kind", ["bernoulli", "gaussian:0.5", "categorical:2"])
def test_prediction_has_the_gradient_of_the_loss(kind: str, cell: str) -> None:
    """−log p(v_t | v_<t) up to a constant: values differ by it alone, gradients not at all."""
    model = seqebm.RNN(make_cell(cell, 4, 3), kind).double()
    batch, lengths = frames(kind)
    value, gradient = Objective(model.parameters(), lambda b: model.prediction(*b)).gradient(
        [(batch, lengths)]
    )
    loss = model.loss(batch, lengths)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(gradient, torch.cat([g.flatten() for g in expected]))
    constant = 4 * (torch.tensor(0.5).log() + 0.5 * torch.tensor(2 * torch.pi).log())
    offset = float(constant) if kind.startswith("gaussian") else 0.0
    assert value + offset == pytest.approx(float(loss.detach()))


def test_padded_frames_are_not_held() -> None:
    model = seqebm.RNN(make_cell("rnn", 4, 3)).double()
    batch, lengths = frames("bernoulli")
    (held,) = model.prediction(batch, lengths).held
    assert held.values.shape == held.slopes.shape == (int(lengths.sum()), 3)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: seqebm.RTRBM(4, 3), "model: the loss of a RTRBM is not convex"),
        (lambda: seqebm.RNN(make_cell("rnn", 4, 3), "nade:5"), "loss of a nade:5 is not convex"),
        (lambda: seqebm.RNN(make_cell("rnn", 4, 3), "mixture:2"), "of a mixture:2 is not convex"),
        (
            lambda: seqebm.RNN(make_cell("rnn", 4, 3), Gaussian(4, learned=True)),
            "units: no loss of gaussian:learned units is convex",
        ),
    ],
)
def test_losses_that_are_not_convex_are_refused(model, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model().prediction(torch.rand(2, 3, 4))


def small() -> seqebm.RNN:
    """A model that always begins alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return seqebm.RNN(make_cell("rnn", 9, 6))


def balls(step: int) -> Tensor:
    """Fresh small videos."""
    return seqebm.data.bouncing_balls(
        20, length=8, resolution=3, balls=1, generator=torch.Generator().manual_seed(step)
    )


def test_fit_goes_on_bit_for_bit(tmp_path) -> None:
    path = tmp_path / "model.h5"

    def run(steps: int, **options) -> tuple[seqebm.RNN, list]:
        model = small()
        optimizer = HessianFree(model.parameters(), structural=0.1, iterations=30)
        return model, seqebm.fit(
            model, balls, steps=steps, optimizer=optimizer, evaluate_every=2, **options
        )

    whole, history = run(6)
    run(3, checkpoint=path)
    half, again = run(6, checkpoint=path, resume=True)
    for ours, theirs in zip(half.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    without = [{k: v for k, v in record.items() if k != "seconds"} for record in history]
    last = {k: v for k, v in again[-1].items() if k != "seconds"}
    assert last == without[-1]
    assert {"step_ratio", "step_damping", "step_products"} <= last.keys()
    assert history[-1]["loss"] < history[0]["loss"]
    assert load_training(path)[1]["optimizer_kind"] == "HessianFree"


def test_fit_takes_its_relatives() -> None:
    model = small()
    optimizer = AugmentedHessianFree(model.parameters(), iterations=10)
    history = seqebm.fit(model, balls, steps=3, optimizer=optimizer, evaluate_every=1)
    assert history[-1]["loss"] < history[0]["loss"]


def test_fit_refuses_what_does_not_go_with_it() -> None:
    model = small()
    for extra in ({"clip": 1.0}, {"context": 2}, {"corrupt": lambda frames, generator: frames}):
        optimizer = HessianFree(model.parameters())
        with pytest.raises(ValueError, match="optimizer: one of second order goes with no"):
            seqebm.fit(model, balls, steps=1, optimizer=optimizer, **extra)


def test_fit_names_the_step_that_was_not_finite() -> None:
    model = small()
    with torch.no_grad():
        model.readout.bias[0] = float("nan")
    optimizer = HessianFree(model.parameters())
    with pytest.raises(FloatingPointError, match="training stopped at step 0: objective"):
        seqebm.fit(model, balls, steps=1, optimizer=optimizer)


@pytest.mark.slow
def test_processes_together_step_as_one_alone(tmp_path) -> None:
    """Sums of losses, gradients and products go over all processes."""
    code = """
from seqebm.optim import HessianFree
model = build("rnn").double()
optimizer = HessianFree(model.parameters(), structural=0.2)
data = lambda step: torch.rand(24, 6, 4, generator=generator(step)).double().round()
fit(model, data, steps=3, optimizer=optimizer)
tell([flat(model), optimizer.damping])
"""
    alone = processes(1, code, tmp_path)[0]
    together = processes(2, code, tmp_path)
    assert together[0] == together[1]
    close(together[0][0], alone[0])
    assert together[0][1] == alone[1]


def test_command(tmp_path, done, refused) -> None:
    """`seqebm train rnn` with optimizer=hf."""
    settings = "optimizer=hf steps=3 batch=30 hidden=8 balls=1 resolution=4 length=6 damping=1"
    settings += " structural=0.1 cg_steps=20"
    rest = " ".join(f"--set {setting}" for setting in settings.split())
    done(f"train rnn --data balls --out {tmp_path}/run {rest}")
    history = load_training(tmp_path / "run")[1]["history"]
    assert history[-1]["step_products"] <= 21
    assert json.loads((tmp_path / "run/recipe.json").read_text())["recipe"]["optimizer"] == "hf"
    said = refused(f"train rtrbm --data balls --out {tmp_path}/other {rest}")
    assert "the loss of a RTRBM is not convex" in said
