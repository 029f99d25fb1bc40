"""Models and training runs in HDF5 files. No pickle: opening a file runs no code of its author."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqebm.files import check_dataset, get_text, read_hdf5, set_text, write_hdf5
from seqebm.learning.problems import ProblemNetwork, problem_network
from seqebm.models import RBM, RTRBM, TRBM, Innovations, SequenceModel, Stack
from seqebm.models.rnn import rnn
from seqebm.models.rnnrbm import rnnrbm

FORMAT = "seqebm-model"
RUN_FILE = "model.h5"  #: the checkpoint's name in the folder of a training run

StrPath = str | os.PathLike[str]


def save(
    model: SequenceModel | ProblemNetwork, path: StrPath, training: dict[str, Any] | None = None
) -> None:
    """Write a model, and what a training run needs to go on, to one HDF5 file.

    The write is atomic: a run that is killed meanwhile leaves the previous file or the new one.
    Kind and settings are attributes, each parameter is a dataset under `/parameters`.

    Args:
        model: a model of this library.
        path: the file.
        training: nested dictionaries and lists of numbers, strings and tensors.

    Raises:
        ValueError: units that a file cannot name.
        OSError: the file cannot be written.

    Example:
        >>> import seqebm, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> seqebm.save(seqebm.RTRBM(4, 3), folder.name + "/model.h5")
        >>> type(seqebm.load(folder.name + "/model.h5")).__name__
        'RTRBM'
        >>> folder.cleanup()
    """
    kind = type(model).__name__
    if kind not in _BUILDERS:
        raise ValueError(f"model: expected one of {', '.join(_BUILDERS)}, got {kind}")
    with torch.device("meta"):  # settings that cannot be read back must not be written
        _BUILDERS[kind](**model.settings)
    with write_hdf5(path, FORMAT) as file:
        set_text(file, "kind", kind)
        set_text(file, "settings", json.dumps(model.settings))
        set_text(file, "steps", json.dumps(_steps(model)))
        for name, value in model.state_dict().items():
            file[f"parameters/{name}"] = value.detach().cpu().numpy()
        if training is not None:
            set_text(file, "training", json.dumps(_pack(training, file.create_group("training"))))


def load(path: StrPath) -> SequenceModel:
    """Read the model in a checkpoint, or in the folder of a training run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, a damaged one, or one of an unknown kind of model.
    """
    return _read(path)[0]


def load_training(path: StrPath) -> tuple[SequenceModel, dict[str, Any]]:
    """Read a model and the `training` that was saved with it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `load`, or a file that holds a model only.
    """
    model, training = _read(path)
    if training is None:
        raise ValueError(f"{path}: holds a model but no training run that could be resumed")
    return model, training


def _read(path: StrPath) -> tuple[SequenceModel, dict[str, Any] | None]:
    path = Path(path)
    path = path / RUN_FILE if path.is_dir() else path
    with read_hdf5(path, FORMAT) as file:
        kind = get_text(file, "kind")
        if kind not in _BUILDERS:
            raise ValueError(f"{path}: unknown kind of model {kind!r}")
        parameters = file["parameters"]
        stored = {name: parameters[name] for name in parameters}
        model = _empty_model(kind, json.loads(get_text(file, "settings")), stored, path)
        _set_steps(model, json.loads(get_text(file, "steps")))
        training = None
        if "training" in file.attrs:
            training = _unpack(json.loads(get_text(file, "training")), file["training"], path)
    return model, training


def _empty_model(
    kind: str, settings: dict[str, Any], stored: dict[str, Any], path: Path
) -> SequenceModel:
    """Build the model without memory, compare its shapes with the file's, then fill it."""
    for dataset in stored.values():
        check_dataset(dataset, path)
    if _claimed_layers(settings) > len(stored):  # each would be built before shapes are compared
        raise ValueError(f"{path}: claims {_claimed_layers(settings)} layers")
    with torch.device("meta"):
        model = _BUILDERS[kind](**settings)
        for name, part in model.named_modules():
            chains = stored.get(f"{name}.chains".lstrip("."))
            if isinstance(part, RBM) and chains is not None:
                part.chains = torch.empty(chains.shape[0], part.visible.size)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(dataset.shape) for name, dataset in stored.items()}
    if expected != found:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        raise ValueError(
            f"{path}: parameters do not fit a {kind}: "
            + ", ".join(f"{n} is {found.get(n)}, expected {expected.get(n)}" for n in wrong[:3])
        )
    state = {name: _tensor(dataset, path) for name, dataset in stored.items()}
    model.load_state_dict(state, assign=True)
    return model


def _tensor(dataset: Any, path: Path) -> Tensor:
    """A dataset as a tensor, after checking that the file holds as much as it claims."""
    check_dataset(dataset, path)
    return torch.from_numpy(np.asarray(dataset[()]).copy())


def _claimed_layers(settings: dict[str, Any]) -> int:
    """How many layers a model of these settings has: a number, or a list of models or cells."""
    if not isinstance(settings, dict):
        raise ValueError(f"settings: expected names and values, got {settings}")
    for part in ("model", "cell"):
        if isinstance(settings.get(part), dict):
            return _claimed_layers(settings[part])
    layers: Any = settings.get("cells", settings.get("layers", 1))
    return layers if isinstance(layers, int) else sum(map(_claimed_layers, layers))


def _steps(model: nn.Module) -> dict[str, int]:
    """The numbers of Gibbs steps that are set on a model, or on its layers, after it is built."""
    return {
        f"{name}.{steps}".lstrip("."): getattr(part, steps)
        for name, part in model.named_modules()
        for steps in ("gibbs_steps", "sampling_steps", "sampling_rungs")
        if steps in vars(part)
    }


def _set_steps(model: nn.Module, steps: dict[str, int]) -> None:
    """The inverse of `_steps`, for what a file says."""
    if not isinstance(steps, dict) or not steps.keys() <= _steps(model).keys():
        raise ValueError(f"expected some of {', '.join(_steps(model))}, got {steps}")
    for name, value in steps.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
        part, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(part), attribute, value)


def _stack(layers: list[dict[str, Any]]) -> Stack:
    """A stack from what its settings say of its layers."""
    return Stack(
        [_part(layer, without=("Stack", "Innovations", "ProblemNetwork")) for layer in layers]
    )


def _innovations(model: dict[str, Any], order: int) -> Innovations:
    """A model of innovations from what its settings say of the model inside."""
    return Innovations(_part(model, without=("Innovations", "ProblemNetwork")), order)


def _part(settings: dict[str, Any], without: tuple[str, ...]) -> SequenceModel:
    """A model inside another one, of a kind that can be there."""
    kind, own = settings["kind"], {k: v for k, v in settings.items() if k != "kind"}
    if kind not in _BUILDERS or kind in without:
        raise ValueError(f"unknown kind of layer {kind!r}")
    return _BUILDERS[kind](**own)


_BUILDERS: dict[str, Callable[..., Any]] = {
    "Innovations": _innovations,
    "ProblemNetwork": problem_network,
    "RBM": RBM,
    "RNN": rnn,
    "RNNRBM": rnnrbm,
    "RTRBM": RTRBM,
    "Stack": _stack,
    "TRBM": TRBM,
}


def _pack(tree: Any, group: Any) -> Any:
    """The tree as JSON, with every tensor replaced by the name of a dataset in `group`."""
    if isinstance(tree, Tensor):
        name = str(len(group))
        group[name] = tree.detach().cpu().numpy()
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"items": [[key, _pack(value, group)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_pack(value, group) for value in tree]
    return tree


def _unpack(tree: Any, group: Any, path: Path) -> Any:
    """The inverse of `_pack`."""
    if isinstance(tree, list):
        return [_unpack(value, group, path) for value in tree]
    if isinstance(tree, dict) and "tensor" in tree:
        return _tensor(group[tree["tensor"]], path)
    if isinstance(tree, dict):
        return {key: _unpack(value, group, path) for key, value in tree["items"]}
    return tree
