"""Echo-state networks beside reservoirpy's: errors and times on the Mackey-Glass series.

    python benchmarks/reservoir.py [--units 500 1000] [--seeds 10] [--seconds 5] [--json FILE]

takes about five minutes and one thread; reservoirpy is left out where it is not installed
(`pip install reservoirpy`). The task is that of Jaeger and Haas (2004): the series with a delay of
17, tanh(x − 1); 3000 values to learn the next value from, of which the first 1000 wash out the
beginning; then the network runs on by itself from 50 places of another part of the series, and the
root of the squared error after 84 values is divided by the series' standard deviation (NRMSE84).

Errors are those of networks that each library draws for itself, with the same settings and the same
ridge. Then both are given the same weights, to see that they compute the same, and take turns at
fitting one long series and several short ones, and at going on from one place and from all:
figures are medians of processor time. On a machine that does something else at the same time those
mean nothing.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from timing import take_turns

import seqebm
from seqebm.cells import Reservoir
from seqebm.learning import fit_readout

RADIUS, LEAK, DENSITY, SCALE = 0.9, 0.5, 0.01, 1.0
PENALTY = 1e-10  # relative to the mean diagonal of the Gram matrix of the states
TRAINING, WASHOUT = 3000, 1000
SERIES, LENGTH = 16, 1000
PLACES, BEFORE, AHEAD = 50, 500, 84
SUBSTEPS = 10

torch.set_num_threads(1)


def mackey_glass(length: int, seed: int, delay: int = 17) -> torch.Tensor:
    """tanh(x − 1) of dx/dt = 0.2 x(t − 17) / (1 + x(t − 17)^10) − 0.1 x, [length].

    Euler's steps of 0.1, of which every tenth is kept; the first 1000 values are thrown away.
    """
    lag = delay * SUBSTEPS
    x = 1.2 + 0.2 * (np.random.default_rng(seed).random(lag + (1000 + length) * SUBSTEPS) - 0.5)
    for t in range(lag, len(x) - 1):
        x[t + 1] = x[t] + (0.2 * x[t - lag] / (1 + x[t - lag] ** 10) - 0.1 * x[t]) / SUBSTEPS
    return torch.from_numpy(np.tanh(x[-length * SUBSTEPS :: SUBSTEPS] - 1))


def ours(units: int, seed: int, dtype: torch.dtype = torch.float64) -> seqebm.RNN:
    """A network of this library, its readout not fitted yet."""
    torch.manual_seed(seed)
    cell = Reservoir(1, units, RADIUS, LEAK, DENSITY, SCALE)
    return seqebm.RNN(cell, "gaussian").to(dtype)


def learn(model: seqebm.RNN, series: torch.Tensor) -> seqebm.RNN:
    """Fit the readout."""
    fit_readout(model, series[:TRAINING].view(1, -1, 1), PENALTY, WASHOUT)
    return model


def absolute_ridge(model: seqebm.RNN, series: torch.Tensor) -> float:
    """The penalty as other libraries have it."""
    states = model.filter(series[: TRAINING - 1].view(1, -1, 1))[0, WASHOUT - 1 :].double()
    return PENALTY * float((states - states.mean(0)).square().sum(0).mean())


def theirs(units: int, seed: int, ridge: float, weights: Reservoir | None = None) -> object:
    """A network of reservoirpy with weights of its own, or with ours."""
    from reservoirpy.mat_gen import normal, uniform
    from reservoirpy.nodes import Reservoir as Peer
    from reservoirpy.nodes import Ridge
    from scipy.sparse import csr_array

    if weights is None:
        own = {"W": normal, "Win": uniform, "bias": uniform, "sr": RADIUS, "input_scaling": SCALE}
        own |= {"rc_connectivity": DENSITY, "input_connectivity": 1.0}
    else:
        own = {
            "W": csr_array(weights.hidden_to_hidden.numpy()),
            "Win": weights.visible_to_hidden.numpy(),
            "bias": weights.hidden_bias.numpy(),
        }
    return Peer(units, lr=LEAK, seed=seed, **own) >> Ridge(ridge=ridge)


def learn_theirs(model: object, series: torch.Tensor) -> object:
    """Fit the readout to the same pairs of states and values as `learn` does."""
    x = series[:TRAINING].numpy()[:, None]
    model.fit(x[:-1], x[1:], warmup=WASHOUT - 1)  # they have no state before the first value
    return model


def going_on(model: seqebm.RNN, before: torch.Tensor, ahead: int) -> torch.Tensor:
    """The values that follow `before`, [places, time], by itself, [places, ahead]."""
    frames = before.unsqueeze(-1).to(model.readout.weight.dtype)
    return model.sample_means(ahead, batch=len(before), prefix=frames).squeeze(-1).double()


def going_on_theirs(model: object, before: torch.Tensor, ahead: int) -> torch.Tensor:
    """The same by reservoirpy, a place after the other."""
    found = torch.empty(len(before), ahead, dtype=torch.float64)
    for place, one in enumerate(before.numpy()):
        model.reset()
        value = model.run(one[:, None])[-1]
        for t in range(ahead):
            found[place, t] = float(value[0])
            value = model.step(value)
    return found


def nrmse(runs: Callable[[torch.Tensor, int], torch.Tensor], series: torch.Tensor) -> float:
    """NRMSE84 of what goes on from the places of a series."""
    places = series[: PLACES * (BEFORE + AHEAD)].view(PLACES, -1)
    error = runs(places[:, :BEFORE], AHEAD)[:, -1] - places[:, -1]
    return float(error.square().mean().sqrt() / series.std())


def with_peer() -> bool:
    """Whether reservoirpy is installed."""
    return importlib.util.find_spec("reservoirpy") is not None


def errors(units: int, seeds: int, peer: bool) -> dict[str, list[float]]:
    """NRMSE84 of networks that are drawn anew, on series that begin anew."""
    found: dict[str, list[float]] = {}
    for seed in range(1, seeds + 1):
        series = mackey_glass(TRAINING + PLACES * (BEFORE + AHEAD), seed)
        model = learn(ours(units, seed), series)
        test = series[TRAINING:]
        found.setdefault("seqebm", []).append(nrmse(lambda *a, m=model: going_on(m, *a), test))
        if peer:
            other = learn_theirs(theirs(units, seed, absolute_ridge(model, series)), series)
            error = nrmse(lambda *a, m=other: going_on_theirs(m, *a), test)
            found.setdefault("reservoirpy", []).append(error)
    return found


def same_weights(units: int) -> dict[str, float]:
    """How far the libraries are from each other, given the same weights."""
    series = mackey_glass(TRAINING, 1)
    model = learn(ours(units, 1), series)
    other = learn_theirs(theirs(units, 1, absolute_ridge(model, series), model.cell), series)
    other.reset()
    states = torch.from_numpy(other.nodes[0].run(series.numpy()[:, None]))
    frames = series.view(1, -1, 1)
    predicted = model.predict(frames)[0, WASHOUT:]
    other.reset()
    others = torch.from_numpy(other.run(series.numpy()[:, None]))[WASHOUT - 1 : -1]
    return {
        "states, largest difference": float((states - model.filter(frames)[0]).abs().max()),
        "next values, largest difference": float((predicted - others).abs().max()),
        "next values, root mean squared error": float(
            (predicted[:, 0] - series[WASHOUT:]).square().mean().sqrt()
        ),
    }


def times(units: int, seconds: float, peer: bool) -> dict[str, dict]:
    """Milliseconds of fits and of going on by itself, with the same weights."""
    series = mackey_glass(TRAINING + PLACES * (BEFORE + AHEAD), 1)
    several = series[: SERIES * LENGTH].view(SERIES, LENGTH, 1)
    places = series[TRAINING:].view(PLACES, -1)[:, :BEFORE]
    tables: dict[str, dict[str, Callable[[], object]]] = {
        f"fit to a series of {TRAINING}": {},
        f"fit to {SERIES} series of {LENGTH}": {},
        f"{AHEAD} values after {BEFORE}, one place": {},
        f"{AHEAD} values after {BEFORE}, {PLACES} places": {},
    }
    models = [ours(units, 1, dtype) for dtype in (torch.float64, torch.float32)]
    if peer:
        other = theirs(units, 1, absolute_ridge(models[0], series), models[0].cell)
        x = several.numpy()
        rows: tuple[Callable[[], object], ...] = (
            lambda: learn_theirs(other, series),
            lambda: other.fit(x[:, :-1], x[:, 1:], warmup=WASHOUT // 10 - 1),
            lambda: going_on_theirs(other, places[:1], AHEAD),
            lambda: going_on_theirs(other, places, AHEAD),
        )
        for table, row in zip(tables.values(), rows, strict=True):
            table["reservoirpy"] = row
    for model in models:
        rows = (
            lambda m=model: learn(m, series),
            lambda m=model: fit_readout(m, several, PENALTY, WASHOUT // 10),
            lambda m=model: going_on(m, places[:1], AHEAD),
            lambda m=model: going_on(m, places, AHEAD),
        )
        for table, row in zip(tables.values(), rows, strict=True):
            table[f"seqebm, {str(model.readout.weight.dtype).removeprefix('torch.')}"] = row
    return {name: take_turns(table, seconds) for name, table in tables.items()}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each table, at least")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    peer = with_peer()
    report: dict = {"settings": settings(given)}
    for units in given.units:
        found = errors(units, given.seeds, peer)
        report[f"{units} units"] = part = {
            "NRMSE84": {
                name: {"median": statistics.median(values), "seeds": values}
                for name, values in found.items()
            },
            "with the same weights": same_weights(units) if peer else {},
            "times": times(units, given.seconds, peer),
        }
        print(json.dumps({f"{units} units": part}, indent=1), flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


def settings(given: argparse.Namespace) -> dict:
    """What was measured, and on what."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    if with_peer():
        versions["reservoirpy"] = importlib.metadata.version("reservoirpy")
    return {
        "command": f"python benchmarks/reservoir.py --units {' '.join(map(str, given.units))} "
        f"--seeds {given.seeds} --seconds {given.seconds:g}",
        "machine": f"{processor}, 1 thread",
        "versions": versions,
        "radius": RADIUS,
        "leak": LEAK,
        "density": DENSITY,
        "input scale": SCALE,
        "penalty": PENALTY,
    }


if __name__ == "__main__":
    main()
