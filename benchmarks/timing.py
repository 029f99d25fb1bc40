"""Contestants that take turns, so that what disturbs a machine disturbs all of them."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def clock() -> float:
    """Seconds: of this process' CPU on one thread, of the wall on more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def take_turns(contestants: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, dict]:
    """Run all contestants in turn for about `seconds`, after two rounds of warming up.

    Returns:
        For each the median in milliseconds, the quartiles, and the ratio to the first contestant's
        median.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in (*contestants.values(), *contestants.values()):
        run()
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times[next(iter(times))]) < 5:
        for name, run in contestants.items():
            start = clock()
            run()
            times[name].append(1000 * (clock() - start))
    floor = statistics.median(next(iter(times.values())))
    return {name: summary(values, floor) for name, values in times.items()}


def compare(about: str, rounds: Mapping[str, Callable[[], Mapping[str, Callable]]]) -> None:
    """The whole of a program: contestants of each round take turns on one thread.

    Figures are printed and, with `--json FILE` on the command line, kept.

    Args:
        about: what `--help` says.
        rounds: functions that make the contestants of a round, by its name.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", type=Path)
    file = parser.parse_args().json
    torch.set_num_threads(1)
    report: dict = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for name, enter in rounds.items():
        report[name] = times = take_turns(enter(), 4.0)
        print(f"\n{name}")
        for contestant, row in times.items():
            print(f"{contestant:28} {row['ms']:8.1f} ms {row['ratio']:7.2f}", flush=True)
    if file:
        file.write_text(json.dumps(report, indent=1) + "\n")


def summary(values: list[float], floor: float) -> dict:
    """Median, quartiles and ratio of times in milliseconds."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"ms": middle, "quartiles": [low, high], "ratio": middle / floor, "runs": len(values)}
