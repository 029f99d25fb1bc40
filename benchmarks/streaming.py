"""What `seqebm denoise` takes for videos of any length: the peak of its memory and its speed.

    python benchmarks/streaming.py RUN [--frames 1000 100000] [--json FILE]

RUN has learned bouncing balls; the video is 1000 of them, with flickering balls, again and
again. Memory is that of the largest process, frames are those per second of the whole command.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from seqebm import video
from seqebm.data.noise import flickering_balls
from seqebm.learning.recipes import held_out_videos
from seqebm.learning.runs import Run, open_run

PIECE = 1000  # frames that are made once and written again and again


def write_video(run: Run, frames: int, path: Path) -> None:
    """A noisy video of any length."""
    clean = held_out_videos(replace(run.recipe, length=PIECE), 1)
    noisy = flickering_balls(clean, 0.3, torch.Generator().manual_seed(1))[0]
    side = run.recipe.resolution
    pictures = video.pictures(noisy, (side, side), zoom=1)
    with video.Writer(path) as writer:
        for start in range(0, frames, PIECE):
            writer.write(pictures[: frames - start])


def measure(folder: str, frames: int) -> dict[str, float]:
    """The peak of memory, and the speed, of the command on a video of so many frames."""
    with tempfile.TemporaryDirectory() as scratch:
        noisy, clean = Path(scratch) / "noisy.mp4", Path(scratch) / "clean.mp4"
        write_video(open_run(folder), frames, noisy)
        command = ["denoise", folder, "--data", str(noisy), "--out", str(clean)]
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "seqebm", *command])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    if status:
        raise SystemExit("seqebm denoise failed")
    return {"MiB": round(usage.ru_maxrss / 1024, 1), "frames a second": round(frames / seconds)}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report = {str(frames): measure(given.run, frames) for frames in given.frames}
    print(json.dumps(report, indent=1))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
