"""How fast recordings of motion are read, beside other packages, and what memory that takes.

    python benchmarks/mocap.py WALK.amc WALK.bvh [--json FILE]

The recordings are written again and again to files of about 5 MB and 100 MB. Speeds are megabytes
per second of processor time, medians of interleaved runs on the small files; bvh and bvhio are
measured where they are installed, and read numbers only: no rotations, no places. (No package on
the index reads .amc.) Memory is what reading a large file adds to the peak of a process of its own,
as a multiple of the array of its values.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from seqebm.data.mocap import read_amc, read_bvh

ROUNDS = 5
MEMORY = """
import resource, sys
from seqebm.data.mocap import read_motion
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
read_motion(sys.argv[2])
before = peak()
motion = read_motion(sys.argv[1])
print((peak() - before) / motion.values.nbytes)
"""


def repeated_amc(source: Path, out: Path, size: int) -> None:
    """The frames of an .amc again and again, with numbers that go on."""
    lines = source.read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.strip().isdigit())
    head, frames, number, written = lines[:first], lines[first:], 0, 0
    with out.open("w") as file:
        file.writelines(head)
        while written < size:
            for line in frames:
                number += line.strip().isdigit()
                written += file.write(f"{number}\n" if line.strip().isdigit() else line)


def repeated_bvh(source: Path, out: Path, size: int) -> None:
    """The frames of a .bvh again and again, with their number."""
    head, _, rest = source.read_text().partition("Frames:")
    _, rate, *frames = rest.splitlines(keepends=True)
    times = max(1, round(size / sum(map(len, frames))))
    with out.open("w") as file:
        file.write(f"{head}Frames: {times * len(frames)}\n{rate}")
        for _ in range(times):
            file.writelines(frames)


def readers(amc: Path, bvh: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """What reads the files, by name."""
    found: dict[str, tuple[Path, Callable[[], object]]] = {
        "seqebm .amc": (amc, lambda: read_amc(amc)),
        "seqebm .bvh": (bvh, lambda: read_bvh(bvh)),
    }
    try:
        from bvh import Bvh

        found["bvh .bvh"] = (bvh, lambda: Bvh(bvh.read_text()).frames)
    except ImportError:
        pass
    try:
        import bvhio

        found["bvhio .bvh"] = (bvh, lambda: bvhio.readAsBvh(str(bvh)))
    except ImportError:
        pass
    return found


def speeds(amc: Path, bvh: Path) -> dict[str, float]:
    """Megabytes per second of processor time."""
    seconds: dict[str, list[float]] = {}
    contestants = readers(amc, bvh)
    for _ in range(ROUNDS):
        for name, (_, read) in contestants.items():
            start = time.process_time()
            read()
            seconds.setdefault(name, []).append(time.process_time() - start)
    return {
        name: round(path.stat().st_size / 1e6 / statistics.median(seconds[name]), 2)
        for name, (path, _) in contestants.items()
    }


def memory(large: Path, small: Path) -> float:
    """What reading the large file adds to the peak, as a multiple of its values."""
    command = [sys.executable, "-c", MEMORY, str(large), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(done.stdout), 2)


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("amc", type=Path)
    parser.add_argument("bvh", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        skeletons = list(arguments.amc.parent.glob("*.asf"))
        (folder / "walk.asf").write_bytes(skeletons[0].read_bytes())
        small = {kind: folder / f"small.{kind}" for kind in ("amc", "bvh")}
        large = {kind: folder / f"large.{kind}" for kind in ("amc", "bvh")}
        for files, size in ((small, 5 * 10**6), (large, 10**8)):
            repeated_amc(arguments.amc, files["amc"], size)
            repeated_bvh(arguments.bvh, files["bvh"], size)
        report = {
            "megabytes a second": speeds(small["amc"], small["bvh"]),
            "peak memory, arrays": {
                kind: memory(large[kind], small[kind]) for kind in ("amc", "bvh")
            },
            "large files, bytes": {kind: large[kind].stat().st_size for kind in large},
        }
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
