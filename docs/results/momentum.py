"""Momentum and Nesterov's accelerated gradient on problems that need a long memory (table 7.3).

    python docs/results/momentum.py [--seeds N] [--updates N] [--out FILE] [NAME …]

A run is called PROBLEM-METHOD-SEED, such as memorization-20-nag-1; all of a problem or of a method
on it are meant by `addition` or `addition-nag`. Each is 50 000 updates of a network of 100 tanh
units, 20 minutes on one thread, then a test on 10 000 sequences, whose errors are shares as
`seqebm.learning.problems.Errors` explains; table 7.3 has those called `recalled`. A run is written
to FILE, momentum.json beside the program, as soon as it is measured, and not done again: the
program can be stopped at any time. Runs of another number of updates are done again.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from record import machine, printed

from seqebm.cells import StandardRNN
from seqebm.data.problems import Memorization5, make_problem
from seqebm.learning.problems import ProblemNetwork, learn, measure, momentum_initialisation
from seqebm.learning.schedules import addition_schedules, memorization_schedules
from seqebm.optim.nesterov import NAG, Momentum

METHODS = {"nag": NAG, "momentum": Momentum}
PROBLEMS = {"addition": 80, "multiplication": 80, "memorization-5": 200, "memorization-20": 50}
SCHEDULES = {
    "addition": addition_schedules(),
    "multiplication": addition_schedules(),
    "memorization-5": memorization_schedules(1e-3),
    "memorization-20": memorization_schedules(3e-4),
}
INPUT_SCALES = {  # sec. 7.4.1
    "addition": 0.02,
    "multiplication": 0.02,
    "memorization-5": 0.3,
    "memorization-20": 0.3,
}
UNITS, BATCH = 100, 100  # Sutskever 2013, sec. 7.4
OUT = Path(__file__).with_suffix(".json")


def run(name: str, method: str, seed: int, updates: int) -> dict:
    """Learn and test once."""
    problem = make_problem(name, PROBLEMS[name])
    generator = torch.Generator().manual_seed(seed)
    network = ProblemNetwork(StandardRNN(problem.n_inputs, UNITS), problem.n_outputs)
    momentum_initialisation(network, INPUT_SCALES[name], generator=generator)
    optimizer = METHODS[method](network.parameters())

    def data(step: int):
        if isinstance(problem, Memorization5):  # whose minibatches of 32 are all there is
            return problem.all_examples()
        return problem.draw(BATCH, generator)

    started = time.process_time()
    losses = learn(network, data, problem.kind, optimizer, steps=updates, schedules=SCHEDULES[name])
    seconds = time.process_time() - started
    optimizer.restart()  # to θ itself
    return {
        "updates": updates,
        "seconds": seconds,
        "losses": [sum(part) / len(part) for part in parts(losses, 20)],
        **measure(network, problem, generator=generator)._asdict(),
    }


def parts(losses: list[float], count: int) -> list[list[float]]:
    """A list in so many pieces, or as many as it has entries."""
    size = -(-len(losses) // count)
    return [losses[start : start + size] for start in range(0, len(losses), size)]


def chosen(names: list[str], seeds: int) -> list[tuple[str, str, int]]:
    """The runs that names stand for, one seed after another."""
    every = [(p, m, seed) for seed in range(1, seeds + 1) for p in PROBLEMS for m in METHODS]
    if not names:
        return every
    called = {run: (run[0], f"{run[0]}-{run[1]}", f"{run[0]}-{run[1]}-{run[2]}") for run in every}
    return [run for run in every if set(names) & {*called[run]}]


def main() -> None:
    """Do the runs that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # gradients that vanish are slow numbers before they are zero
    for name, method, seed in chosen(options.names, options.seeds):
        kept = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}
        key = f"{name}-{method}-{seed}"
        if kept["runs"].get(key, {}).get("updates") == options.updates:
            continue
        try:
            found = run(name, method, seed, options.updates)
        except FloatingPointError as error:
            found = {"updates": options.updates, "failed": str(error)}
        found["commit"] = printed("git", "rev-parse", "--short", "HEAD")
        kept["runs"][key] = found
        kept |= {"torch": torch.__version__, "machine": machine()}
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
        print(key, {k: v for k, v in found.items() if k != "losses"}, flush=True)


if __name__ == "__main__":
    main()
