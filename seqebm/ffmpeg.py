"""The ffmpeg program that imageio-ffmpeg carries, as a child that never outlives its use."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from threading import Thread
from typing import IO, cast

_LAST_LINES = 20  # of what it says; the rest would grow with a damaged file


@dataclass(frozen=True)
class Ffmpeg:
    """A running ffmpeg, made by `running`."""

    _process: subprocess.Popen[bytes]
    _said: deque[bytes]
    _listener: Thread

    @property
    def stdin(self) -> IO[bytes]:
        """Its input, if `running` was given a pipe for it."""
        return cast(IO[bytes], self._process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """Its output, if `running` was given a pipe for it."""
        return cast(IO[bytes], self._process.stdout)

    def end(self) -> tuple[bool, str]:
        """Waits until it ends; whether it did its work, and the last lines that it said."""
        status = self._process.wait()
        self._listener.join()
        return status == 0, b"".join(self._said).decode(errors="replace").strip()


@contextmanager
def running(*options: str, stdin: int = DEVNULL, stdout: int = DEVNULL) -> Iterator[Ffmpeg]:
    """Runs ffmpeg for as long as the block lasts; what still runs at its end is killed.

    Its messages are read as they come, so that it never waits for a reader of them.

    Args:
        *options: The arguments of the program; it says errors only.
        stdin: `subprocess.PIPE` for a pipe to write to.
        stdout: `subprocess.PIPE` for a pipe to read from.

    Yields:
        The running program.

    Example:
        >>> with running("-f", "lavfi", "-i", "nullsrc=d=1", "-f", "null", "-") as ffmpeg:
        ...     ffmpeg.end()
        (True, '')
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-v", "error", *options]
    # in a session of its own: Ctrl-C is for this program, which ends its children in order, and
    # if this program is killed, a child still finishes what it was given
    with subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=PIPE, start_new_session=True
    ) as process:
        said: deque[bytes] = deque(maxlen=_LAST_LINES)
        listener = Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            yield Ffmpeg(process, said, listener)
        finally:
            process.kill()
            listener.join()
            if process.stdin is not None:
                with suppress(OSError):  # what was not yet written is lost with the child
                    process.stdin.close()
