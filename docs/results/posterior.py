"""What mean-field filtering loses, and what a second layer brings to the bound, on small models.

    python docs/results/posterior.py

TRBMs of order 1 with 10 hidden units learn one ball in 8 x 8 pixels; so few that the
forward-backward algorithm gives their likelihood and posterior exactly. Nats a frame on 20 new
videos of 20 frames, whose grey levels are drawn as binary pixels first, as the likelihood is one of
binary units. A second layer begins as the first with its layers of units exchanged and then learns,
as a copy, from the filtered means and from hidden units drawn with these means, which are what the
bound is about. The error is that of frames reconstructed from hidden means.
"""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from seqebm.learning.recipes import Data, Recipe, ball_videos, held_out_videos, make_recipe
from seqebm.learning.training import hiddens, train_layer
from seqebm.models import TRBM, Stack
from seqebm.models.base import BEFORE, at
from seqebm.posterior import exact_posterior, lower_bound, particle_posterior

NAMES = {
    "hh,vh,vv": "TRBM",
    "vh,vv": "TRBM-HH",
    "hh,vv": "TRBM-VH",
    "hh,vh": "TRBM-VV",
    "hh": "hh only",
}
PARTICLES = (10, 100, 1000)
SETTINGS = {
    "hidden": "10",
    "order": "1",
    "balls": "1",
    "resolution": "8",
    "length": "20",
    "batch": "8",
    "lr": "0.01",
    "gibbs_steps": "5",
    "steps": "4000",
}


def generator(seed: int) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


def binary(frames: Tensor, seed: int) -> Tensor:
    """Pixels that are on with the probability of their grey level."""
    return frames.bernoulli(generator=generator(seed))


def reconstructed(model: TRBM, frames: Tensor, hidden: Tensor) -> Tensor:
    """E[v_t | hidden means of frame t, frames before it]."""
    contexts, _ = model.scan(model.initial_state(len(frames)), frames)
    return model.rbm(at(contexts, BEFORE)).visible_mean(hidden).detach()


def one(connections: str) -> dict[str, object]:
    """The figures of one kind of TRBM and of its second layer."""
    recipe = make_recipe("trbm", None, {**SETTINGS, "connections": connections})
    balls = ball_videos(recipe, recipe.batch)

    def data(step: int) -> Tensor:
        return binary(balls(step), step)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = TRBM(64, 10, connections=connections.split(","))
    train_layer(model, recipe, data, generator(1), progress=False)
    clean = held_out_videos(recipe, 20)
    test = binary(clean, 1)
    return {**posteriors(model, test, clean), "bounds": bounds(model, recipe, data, test)}


def posteriors(model: TRBM, test: Tensor, clean: Tensor) -> dict[str, object]:
    """Likelihoods and hidden units: exact, by mean field, by particles."""
    exact = exact_posterior(model, test)
    nats = {
        "exact": _per_frame(exact.log_prob.sum(1)),
        "given filtered means": _per_frame(model.log_prob(test).sum(1).detach()),
    }
    hidden = {
        "exact filter": exact.filtered,
        "mean-field filter": model.filter(test),
        "exact smoother": exact.smoothed,
    }
    for count in PARTICLES:
        found = particle_posterior(model, test, None, count, generator=generator(1))
        nats[f"{count} particles"] = _per_frame(found.log_prob.sum(1))
        hidden[f"{count} particles, smoothed"] = found.smoothed
    return {
        "nats": nats,
        "distance": {
            name: float((values - exact.smoothed).abs().mean()) for name, values in hidden.items()
        },
        "error": {
            name: float((reconstructed(model, test, values) - clean).square().sum(-1).mean())
            for name, values in hidden.items()
        },
    }


def bounds(model: TRBM, recipe: Recipe, data: Data, test: Tensor) -> dict[str, object]:
    """Of one layer, and of two before and after the second has learned."""
    upper, means = model.transposed(), hiddens(model, data)

    def samples(step: int) -> Tensor:
        values = means(step)
        assert isinstance(values, Tensor)  # for these videos are all of one length
        return binary(values, 10**6 + step)  # other random numbers than those of the pixels

    found = {"eq. 3.13": lower_bound(model, test, generator=generator(1)).value}
    found["eq. 3.12, before"] = before = bound(model, upper, test)
    for name, source in {"means": means, "samples": samples}.items():
        learned = copy.deepcopy(upper)
        second = replace(recipe, start_at_mean=False)
        train_layer(learned, second, source, generator(2), progress=False)
        found[f"eq. 3.12, after learning {name}"] = after = bound(model, learned, test)
        found[f"gain by learning {name}"] = after - before
    return {name: _per_frame(nats) for name, nats in found.items()}


def bound(lower: TRBM, upper: TRBM, frames: Tensor) -> Tensor:
    """Eq. 3.12 of two layers, in nats a video."""
    return lower_bound(Stack([lower, upper]), frames, generator=generator(1)).value


def _per_frame(nats: Tensor) -> dict[str, float]:
    """The mean over videos of 20 frames, and its standard error."""
    each = nats / 20
    return {"value": float(each.mean()), "se": float(each.std() / len(each) ** 0.5)}


def main() -> None:
    """Train, print and keep the figures."""
    torch.set_num_threads(1)
    figures = {name: one(connections) for connections, name in NAMES.items()}
    print(json.dumps(figures, indent=1))
    report = {
        "command": "python docs/results/posterior.py",
        "recipe": asdict(make_recipe("trbm", None, SETTINGS)),
        "torch": torch.__version__,
        "figures": figures,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
