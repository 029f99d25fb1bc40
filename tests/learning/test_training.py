"""Stacks are trained layer after layer; other models are in test_recipes.py."""

from dataclasses import replace

import pytest
import torch

import seqebm
from seqebm.data import Sequences
from seqebm.learning import load_training, runs, training
from seqebm.learning.recipes import Recipe, build_model, make_data, make_recipe
from seqebm.learning.training import hiddens, layer_file, train

TINY = Recipe(
    "stack",
    layers="trbm:5,rtrbm:3,gru:4",
    steps=4,
    batch=2,
    gibbs_steps="2",
    balls=1,
    resolution=4,
    length=5,
)


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_layers_are_built_on_top_of_each_other():
    stack = build_model(replace(TINY, order=2, visible="gaussian"), 16)
    assert [type(layer).__name__ for layer in stack.layers] == ["TRBM", "RTRBM", "RNN"]
    assert [layer.visible.size for layer in stack.layers] == [16, 5, 3]
    assert [layer.visible.spec for layer in stack.layers] == ["gaussian", "bernoulli", "bernoulli"]
    assert [layer.order for layer in list(stack.layers)[:2]] == [2, 2]


def test_each_layer_learns_from_the_trained_one_below():
    stack, history = train(TINY)
    assert [record["layer"] for record in history] == [1, 2, 3]
    alone, _ = train(replace(TINY, model="trbm", hidden=5))
    assert equal(stack.layers[0], alone)
    frames = make_data(TINY, None)(0)
    seen = hiddens(stack[:2], make_data(TINY, None))(0)
    assert torch.equal(seen, stack.below(frames))


def test_hiddens_of_ragged_batches_keep_their_lengths():
    frames, lengths = torch.rand(2, 5, 4), torch.tensor([5, 2])
    model = seqebm.RTRBM(4, 3)
    got, kept = hiddens(model, lambda step: (frames, lengths))(0)
    assert torch.equal(kept, lengths)
    assert torch.equal(got, model.filter(frames, lengths))


def test_upper_layers_can_begin_as_exchanged_lower_ones():
    recipe = replace(TINY, layers="trbm:5,trbm:16", from_below=True, connections="hh,vv", steps=1)
    stack, _ = train(replace(recipe, lr=0.0))
    lower, upper = stack.layers
    assert upper.settings["connections"] == ["hh", "vv"]
    assert torch.equal(upper.hidden_to_hidden, lower.visible_to_visible)
    assert torch.equal(upper.weight, lower.weight.t())
    assert not torch.equal(train(recipe)[0].layers[1].weight, upper.weight)


@pytest.mark.parametrize(
    ("layers", "from_below", "message"),
    [
        ("trbm", False, "layers: expected KIND:HIDDEN"),
        ("trbm:many", False, "layers: expected KIND:HIDDEN"),
        ("", False, "layers: expected KIND:HIDDEN"),
        ("trbm:3,gan:4", False, "layers: expected some of rbm, .*got 'gan'"),
        ("trbm:3,stack:4", False, "layers: expected some of rbm, .*got 'stack'"),
        ("gru:3,trbm:4", False, r"layers\[0\]: expected a model with hidden units"),
        ("trbm:5,trbm:7", True, "from_below: layer 2 must have 16 hidden units"),
        ("rtrbm:5,rtrbm:16", True, "from_below: no layer begins as an exchanged RTRBM"),
        ("trbm:0,trbm:3", False, "n_hidden: expected at least 1, got 0"),
    ],
)
def test_layers_that_no_stack_can_have(layers, from_below, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build_model(replace(TINY, layers=layers, from_below=from_below), 16)


def test_the_bottom_layer_alone_sees_noise(monkeypatch):
    seen = []
    fit = training.fit
    monkeypatch.setattr(
        training, "fit", lambda *a, **k: seen.append(k["corrupt"] is not None) or fit(*a, **k)
    )
    train(replace(TINY, noise=0.1))
    assert seen == [True, False, False]


# --- runs ------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize(("layer", "step"), [(1, 2), (2, 1), (3, 3)])
def test_a_stack_that_was_stopped_goes_on(layer, step, tmp_path, monkeypatch):
    """Bit for bit as if nothing had happened, in whichever layer it was stopped."""
    recipe = replace(TINY, average=0.5)
    whole, history = runs.start(tmp_path / "whole", recipe, "balls", None)
    calls = {"left": (layer - 1) * TINY.steps + step}

    def stop(model):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise Killed
        return {}

    folder = tmp_path / "stopped"
    with pytest.raises(Killed):
        runs.start(folder, recipe, "balls", None, evaluate=stop)
    assert (layer_file(folder / "model.h5", layer)).exists() == (step > 0)
    with pytest.raises(FileNotFoundError, match="its layers are not all trained yet"):
        runs.open_run(folder)
    with pytest.raises(ValueError, match="already holds a training run"):
        runs.start(folder, recipe, "balls", None)
    again, history_again = runs.start(folder, recipe, "balls", None, resume=True)
    assert equal(again, whole)
    assert [r["step"] for r in history_again] == [r["step"] for r in history]
    opened = runs.open_run(folder).model
    assert equal(opened, whole)
    assert len(opened) == 3


def test_each_layer_is_measured_as_a_stack_with_those_below(tmp_path):
    sizes = []
    runs.start(
        tmp_path / "run",
        TINY,
        "balls",
        None,
        evaluate=lambda model: sizes.append(len(model)) or {"error": 0.0},
    )
    assert sizes == [1] * 4 + [2] * 4 + [3] * 4


def test_files_of_a_stack(tmp_path):
    stack, _ = runs.start(tmp_path, TINY, "balls", None)
    assert {p.name for p in tmp_path.iterdir()} == {
        "recipe.json", "layer-1.h5", "layer-2.h5", "layer-3.h5", "model.h5",
    }  # fmt: skip
    second, _ = load_training(tmp_path / "layer-2.h5")
    assert equal(second, stack.layers[1])
    assert equal(seqebm.load(tmp_path), stack)


def test_a_stack_from_the_command_line_keys():
    recipe = make_recipe("stack", None, {"layers": "trbm:20,trbm:400", "from_below": "true"})
    assert (recipe.layers, recipe.from_below) == ("trbm:20,trbm:400", True)


def test_recipes_leave_the_context_out_of_what_is_learned():
    """One update of SGD is a step along the gradient of the frames after the context."""
    frames = (torch.rand(1, 9, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    recipe = Recipe("gru", hidden=3, steps=1, batch=1, optimizer="sgd", lr=0.5, context=5)
    recipe = replace(recipe, start_at_mean=False)
    trained, _ = train(recipe, Sequences.from_frames(frames), progress=False)
    still, _ = train(replace(recipe, lr=0.0), Sequences.from_frames(frames), progress=False)
    still.zero_grad()
    (-still.log_prob(frames)[:, 5:].mean()).backward()
    for new, old in zip(trained.parameters(), still.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.5 * old.grad)
