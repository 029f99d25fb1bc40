import json
import os
import pickle
import re
import resource

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm.learning import load, load_training, save
from seqebm.units import Bernoulli, Gaussian


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames():
    return torch.rand(2, 5, 4, generator=generator())


def outputs(model):
    """Everything that a model computes, with fixed seeds."""
    v, lengths = frames(), torch.tensor([5, 3])
    return {
        "loss": model.loss(v, lengths, generator()).detach(),
        "log_prob": model.log_prob(v, lengths).detach(),
        "filter": model.filter(v),
        "predict": model.predict(v),
        "denoise": model.denoise(v, v > 0.5),
        "sample": model.sample(3, batch=2, generator=generator()),
    }


def assert_same(model, other):
    assert type(other) is type(model)
    assert other.settings == model.settings
    state, found = model.state_dict(), other.state_dict()
    assert list(state) == list(found)
    for name in state:
        assert found[name].dtype == state[name].dtype
        assert torch.equal(found[name], state[name]), name
    expected, got = outputs(model), outputs(other)
    for name in expected:
        assert torch.equal(got[name], expected[name]), name


@pytest.fixture
def path(tmp_path):
    """A checkpoint of an RTRBM with what a training run needs, the same bytes each time."""
    path, model = tmp_path / "model.h5", seqebm.RTRBM(4, 3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator())
    training = {"step": 3, "history": [{"loss": 1.5}], "state": torch.arange(3)}
    save(model, path, training)
    return path


def attempt(call, *arguments):
    """The result of a call and "", or None and what its ValueError says."""
    try:
        return call(*arguments), ""
    except ValueError as error:
        return None, str(error)


def refuses(path, message=""):
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{message}"):
        load(path)


# --- what is saved is what is loaded ---------------------------------------------------------


def test_every_model_is_the_same_after_loading(any_model, tmp_path):
    if hasattr(any_model, "gibbs_steps"):
        any_model.gibbs_steps, any_model.sampling_steps = 3, 7
    if hasattr(any_model, "sampling_rungs"):
        any_model.sampling_rungs = 5
    save(any_model, tmp_path / "model.h5")
    loaded = load(tmp_path / "model.h5")
    assert_same(any_model, loaded)
    for name in ("gibbs_steps", "sampling_steps", "sampling_rungs"):
        assert getattr(loaded, name, None) == getattr(any_model, name, None)
    trained = {name for name, _ in any_model.named_parameters()}
    assert {name for name, p in loaded.named_parameters() if p.requires_grad} == trained


def test_double_precision_is_kept(any_model, tmp_path):
    save(any_model.double(), tmp_path / "model.h5")
    assert_same(any_model, load(tmp_path / "model.h5"))


def test_persistent_chains_are_kept(tmp_path):
    rbm = seqebm.RBM(4, 3)
    rbm.start_chains(6, generator())
    save(rbm, tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    assert torch.equal(again.chains, rbm.chains)
    assert_same(rbm, again)


@pytest.mark.parametrize(
    "cell",
    [
        lambda: nn.RNN(4, 3, batch_first=True, nonlinearity="relu"),
        lambda: nn.GRU(4, 3, batch_first=True, bias=False),
        lambda: nn.LSTM(4, 3, 2, batch_first=True, dropout=0.5),
    ],
    ids=["relu", "no bias", "dropout"],
)
def test_unusual_cells_are_the_same_after_loading_or_are_refused(cell, tmp_path):
    path = tmp_path / "model.h5"
    model, refusal = attempt(lambda: seqebm.RNN(cell()))
    if model is not None:
        _, refusal = attempt(save, model, path)
    if refusal:
        assert "cell" in refusal
    else:
        loaded = load(path)
        assert loaded.cell.network.dropout == model.cell.network.dropout
        assert_same(model.eval(), loaded.eval())


def test_a_loaded_model_can_be_trained_and_saved_again(any_model, tmp_path):
    save(any_model, tmp_path / "one.h5")
    loaded = load(tmp_path / "one.h5")
    seqebm.fit(loaded, frames(), steps=1)
    save(loaded, tmp_path / "two.h5")
    assert_same(loaded, load(tmp_path / "two.h5"))


def test_a_folder_stands_for_the_checkpoint_in_it(path):
    assert_same(load(path), load(path.parent))
    assert_same(load(path), load(str(path.parent)))
    assert load_training(path.parent)[1]["step"] == 3


def test_the_layout_of_the_file(tmp_path):
    model = seqebm.TRBM(4, 3, order=2, connections=("hh", "vv"))
    save(model, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        assert (file.attrs["format"], file.attrs["version"]) == (b"seqebm-model", 1)
        assert file.attrs["kind"] == b"TRBM"
        assert json.loads(file.attrs["settings"]) == {
            "n_visible": 4,
            "n_hidden": 3,
            "visible": "bernoulli",
            "order": 2,
            "connections": ["hh", "vv"],
        }
        assert set(file["parameters"]) == {name for name, _ in model.named_parameters()}
        stored = file["parameters/hidden_to_hidden"][()]
    assert np.array_equal(stored, model.hidden_to_hidden.detach().numpy())


def test_training_comes_back_as_it_was(tmp_path):
    training = {
        "step": 17,
        "seconds": 1.1e-17,
        "nothing": None,
        "flag": True,
        "name": "Ω",
        "infinite": float("inf"),
        "history": [{"loss": 0.1 + 0.2}, {}],
        "empty": [],
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 12: {}}, "lr": [0.1, (1, 2)]},
        "generator": generator().get_state(),
        "numbers": torch.tensor([[1, 2**53 + 1]]),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }
    save(seqebm.RBM(4, 3), tmp_path / "model.h5", training)
    model, found = load_training(tmp_path / "model.h5")
    assert isinstance(model, seqebm.RBM)
    assert found.keys() == training.keys()
    for name, value in training.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value), name
        elif name != "optimizer":
            assert found[name] == value, name
    assert found["optimizer"]["lr"] == [0.1, [1, 2]]
    assert found["optimizer"]["state"][0]["step"].item() == 3.0
    assert found["optimizer"]["state"][0]["step"].shape == ()
    assert found["optimizer"]["state"][12] == {}


def test_long_histories_fit_into_a_file(tmp_path):
    history = [{"step": step, "loss": step / 3, "seconds": step / 7} for step in range(5000)]
    save(seqebm.RBM(4, 3), tmp_path / "model.h5", {"history": history})
    assert load_training(tmp_path / "model.h5")[1]["history"] == history


def test_a_model_alone_holds_no_training(tmp_path):
    save(seqebm.RBM(4, 3), tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"model\.h5: holds a model but no training run"):
        load_training(tmp_path / "model.h5")


def test_a_new_checkpoint_replaces_the_old_one(path):
    model = seqebm.RBM(4, 2)
    save(model, path)
    assert_same(model, load(path))
    assert os.listdir(path.parent) == ["model.h5"]


# --- what cannot be saved --------------------------------------------------------------------


class Poisson(Bernoulli):
    spec = "poisson"


def test_units_that_a_file_cannot_name_are_refused(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"units: .*'poisson'"):
        save(seqebm.RBM(4, 3, Poisson(4)), path)
    assert path.read_bytes() == before


def test_models_of_other_libraries_are_refused(path):
    class Mine(seqebm.RBM):
        pass

    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"model: expected one of .*RTRBM.* got Mine"):
        save(Mine(4, 3), path)
    assert path.read_bytes() == before


def test_paths_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "a.h5", tmp_path / "file" / "a.h5", tmp_path / "folder"):
        with pytest.raises(OSError, match=re.escape(str(path))):
            save(seqebm.RBM(4, 3), path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


# --- files that are no checkpoints -----------------------------------------------------------


def test_missing_files(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path, str(tmp_path / "none.h5")):
        for read in (load, load_training):
            with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
                read(path)


@pytest.mark.parametrize("content", [b"", b"weights", pickle.dumps({"weight": 1})])
def test_other_files(path, content):
    path.write_bytes(content)
    refuses(path)
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_training(path)


def test_sequences_are_no_model(tmp_path):
    path = tmp_path / "data.h5"
    seqebm.data.save_sequences(path, seqebm.data.Sequences.from_frames(frames()))
    refuses(path, "format")


def test_newer_versions(path):
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 2
    refuses(path, "version")


def test_truncated_files(path):
    content = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(content[: len(content) * part // 20])
        refuses(path)


def test_damaged_files_raise_nothing_else(path):
    content, random = path.read_bytes(), np.random.default_rng(1)
    used = [i for i, byte in enumerate(content) if byte]  # most of a small file is empty space
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in random.choice(used, 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        _, refusal = attempt(load_training, path)
        assert not refusal or refusal.startswith(str(path))
        refused += bool(refusal)
    assert refused > 30


@pytest.mark.parametrize("name", ["format", "version", "kind", "settings", "steps"])
def test_missing_attributes(path, name):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    refuses(path)


def set_attributes(path, **attributes):
    with h5py.File(path, "r+") as file:
        file.attrs.update(attributes)


@pytest.mark.parametrize("kind", ["GAN", "", "SequenceModel", "EnergyModel", "TemporalModel", 3])
def test_unknown_kinds(path, kind):
    set_attributes(path, kind=kind)
    refuses(path)


SETTINGS = {"n_visible": 4, "n_hidden": 3, "visible": "bernoulli", "order": 0}


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "no JSON",
        "[]",
        "3",
        "null",
        "{}",
        "[" * 100_000,
        json.dumps({**SETTINGS, "n_hidden": "3"}),
        json.dumps({**SETTINGS, "n_hidden": 3.0}),
        json.dumps({**SETTINGS, "n_hidden": None}),
        json.dumps({**SETTINGS, "n_hidden": -3}),
        json.dumps({**SETTINGS, "n_hidden": 2**80}),
        json.dumps({**SETTINGS, "order": -1}),
        json.dumps({**SETTINGS, "visible": "poisson"}),
        json.dumps({**SETTINGS, "visible": ["bernoulli"]}),
        json.dumps({**SETTINGS, "more": 1}),
        json.dumps({"n_visible": 4}),
    ],
)
def test_bad_settings(path, settings):
    set_attributes(path, settings=json.dumps(SETTINGS))
    assert load(path).settings == SETTINGS  # so it is the settings that are refused
    set_attributes(path, settings=settings)
    refuses(path)


@pytest.mark.parametrize(
    "steps",
    [
        "no JSON",
        "[1]",
        "5",
        '{"gibbs_steps": "many"}',
        '{"gibbs_steps": null}',
        '{"gibbs_steps": Infinity}',
        '{"gibbs_steps": 0}',
        '{"sampling_steps": -1}',
        '{"loss": 1}',
        '{"settings": 1}',
    ],
)
def test_bad_steps(path, steps):
    """Names and numbers: a file must not set whatever attribute it likes."""
    set_attributes(path, steps='{"gibbs_steps": 7}')
    assert load(path).gibbs_steps == 7
    set_attributes(path, steps=steps)
    refuses(path)


@pytest.mark.parametrize("training", ["no JSON", '{"x": 1}', '{"tensor": "9"}', '{"tensor": 0}'])
def test_bad_training(path, training):
    set_attributes(path, training=training)
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_training(path)


def test_training_without_its_tensors(path):
    with h5py.File(path, "r+") as file:
        del file["training"]
    with pytest.raises(ValueError, match=f"^{path}: "):
        load_training(path)


# --- parameters that do not fit --------------------------------------------------------------


def replace_parameter(path, name, data):
    with h5py.File(path, "r+") as file:
        if name in file["parameters"]:
            del file[f"parameters/{name}"]
        if data is not None:
            file[f"parameters/{name}"] = data


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("weight", None, r"weight is None, expected \(3, 4\)"),
        ("weight", np.zeros((4, 3), "f4"), r"weight is \(4, 3\), expected \(3, 4\)"),
        ("hidden_bias", np.float32(1), r"hidden_bias is \(\), expected \(3,\)"),
        ("extra", np.zeros(7, "f4"), r"extra is \(7,\), expected None"),
        ("chains", np.zeros((2, 4), "f4"), "chains"),
        ("weight", np.full((3, 4), b"ab"), "weight must hold numbers"),
        ("weight", np.zeros((3, 4), "complex64"), "weight must hold numbers"),
    ],
)
def test_parameters_that_do_not_fit_are_named(path, name, data, message):
    replace_parameter(path, name, data)
    refuses(path, message)


def test_parameters_of_whole_numbers_are_refused_or_converted(path):
    replace_parameter(path, "weight", np.ones((3, 4), "i4"))
    model, refusal = attempt(load, path)
    assert refusal.startswith(str(path)) if model is None else model.weight.is_floating_point()


def test_groups_and_empty_datasets_are_no_parameters(path):
    replace_parameter(path, "weight", h5py.Empty("f4"))
    refuses(path)
    replace_parameter(path, "weight", None)
    with h5py.File(path, "r+") as file:
        file.create_group("parameters/weight")
    refuses(path, "weight")


def test_parameters_are_needed(path):
    with h5py.File(path, "r+") as file:
        del file["parameters"]
    refuses(path)
    with h5py.File(path, "r+") as file:
        file["parameters"] = [1.0, 2.0]
    refuses(path)


def test_chains_of_another_width_are_refused(tmp_path):
    path, rbm = tmp_path / "model.h5", seqebm.RBM(4, 3)
    rbm.start_chains(2, generator())
    save(rbm, path)
    replace_parameter(path, "chains", np.zeros((2, 5), "f4"))
    refuses(path, "chains")


# --- files that claim too much ---------------------------------------------------------------


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def claim(path, name, shape):
    """A dataset of which nothing is stored but its shape."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(
            name, shape, "f4", chunks=(1,) * (len(shape) - 1) + (min(4096, shape[-1]),)
        )


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "gaussian:learned"])
@pytest.mark.parametrize("n_visible", [2**28, 2**50])
def test_a_giant_shape_is_refused_without_allocating_it(path, visible, n_visible):
    """A gigabyte, which would be noticed here, and a petabyte."""
    set_attributes(
        path, settings=json.dumps({**SETTINGS, "n_visible": n_visible, "visible": visible})
    )
    before = peak_memory()
    refuses(path, "parameters do not fit")
    claim(path, "parameters/weight", (3, n_visible))
    claim(path, "parameters/visible_bias", (n_visible,))
    if visible != "bernoulli":
        with h5py.File(path, "r+") as file:
            file.create_dataset("parameters/visible.log_sigma", (n_visible,), "f4", chunks=(4096,))
    refuses(path, "claims")
    assert peak_memory() - before < 2**28


def test_giant_chains_and_training_states_are_refused(tmp_path):
    path, rbm = tmp_path / "model.h5", seqebm.RBM(4, 3)
    rbm.start_chains(2, generator())
    save(rbm, path, {"state": torch.arange(4.0)})
    before = peak_memory()
    claim(path, "training/0", (2**28,))
    with pytest.raises(ValueError, match=f"^{path}: .*claims"):
        load_training(path)
    claim(path, "parameters/chains", (2**26, 4))
    refuses(path, "claims")
    assert peak_memory() - before < 2**28


def test_a_giant_number_of_layers_is_refused_before_they_are_built(tmp_path, monkeypatch):
    path, build = tmp_path / "model.h5", nn.RNNBase.__init__
    save(seqebm.RNN(nn.GRU(4, 3, batch_first=True)), path)

    def modest(self, mode, input_size, hidden_size, num_layers=1, *args, **kwargs):
        assert num_layers < 100, "built before it was checked"
        build(self, mode, input_size, hidden_size, num_layers, *args, **kwargs)

    monkeypatch.setattr(nn.RNNBase, "__init__", modest)
    cell = {"kind": "gru", "input_size": 4, "hidden_size": 3}
    giant = {**cell, "layers": 10**9}
    set_attributes(path, settings=json.dumps({"cell": giant, "conditional": "bernoulli"}))
    refuses(path, "claims")
    stacked = {"kind": "stacked", "cells": [cell, {**giant, "input_size": 7}]}
    set_attributes(path, settings=json.dumps({"cell": stacked, "conditional": "bernoulli"}))
    refuses(path, "claims")
    set_attributes(path, settings=json.dumps({"cell": cell, "conditional": "bernoulli"}))
    load(path)
    save(seqebm.RNNRBM(4, 3, "gru"), path)
    settings = {"n_visible": 4, "n_hidden": 3, "visible": "bernoulli", "cell": giant}
    set_attributes(path, settings=json.dumps(settings))
    refuses(path, "claims")


def test_a_giant_nade_is_refused_before_anything_is_made_for_it(tmp_path):
    path = tmp_path / "model.h5"
    save(seqebm.RNN(nn.GRU(4, 3, batch_first=True), "orderless-nade:5"), path)
    before = peak_memory()
    cell = {"kind": "gru", "input_size": 10**9, "hidden_size": 3}
    set_attributes(path, settings=json.dumps({"cell": cell, "conditional": "orderless-nade:5"}))
    refuses(path, "parameters do not fit")
    assert peak_memory() - before < 2**28


# --- no code in files ------------------------------------------------------------------------


def test_nothing_is_ever_unpickled(path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("unpickled")

    for module, names in ((pickle, ("load", "loads", "Unpickler")), (torch, ("load",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    load_training(path)
    model = seqebm.RNN(nn.LSTM(4, 3, batch_first=True), Gaussian(4, 0.5))
    save(model, path)
    assert_same(model, load(path))


def test_pickled_objects_in_a_file_are_refused(path):
    replace_parameter(path, "weight", np.void(pickle.dumps([1.0])))
    refuses(path, "weight")
