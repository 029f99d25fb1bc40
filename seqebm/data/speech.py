"""Recorded speech: .wav files, and the mel-frequency cepstra in which it is recognised."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqebm.files import blame, existing_file

Samples = npt.NDArray[np.float32]

CEPSTRA = 13  # coefficients of a frame, the first of which is the logarithm of its energy
FRAME_RATE = 100.0  #: frames a second
WINDOW = 0.025  # seconds of a frame; they overlap
SLOWEST = 4000  # samples a second
FULL_SCALE = 2.0**15  # of 16 bits, and of Kaldi, by which the smallest energy is meant


def read_wav(path: str | os.PathLike[str]) -> tuple[Samples, int]:
    """Reads a .wav file of one channel of 16 bits, such as `seqebm.sound.write_wav` writes.

    Returns:
        Samples from -1 to 1, `[n]`, at least one, and how many of them are a second.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, has no samples, or is of another kind; the message names it.

    Example:
        >>> import tempfile
        >>> from seqebm.sound import write_wav
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_wav(f"{folder}/tone.wav", np.sin(np.arange(8000) / 5), rate=8000)
        ...     samples, rate = read_wav(f"{folder}/tone.wav")
        >>> samples.shape, rate
        ((8000,), 8000)
    """
    path = existing_file(path)
    with blame(path, wave.Error):
        try:
            content, rate = _sound(path)
        except (EOFError, RuntimeError) as error:  # which say nothing
            raise ValueError("it ends too soon, or one of its parts does") from error
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(FULL_SCALE), rate


def _sound(path: Path) -> tuple[bytes, int]:
    """The bytes of all samples, and how many samples are a second."""
    with wave.open(os.fspath(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            found = f"{file.getnchannels()} of {8 * file.getsampwidth()}"
            raise ValueError(f"expected one channel of 16 bits, got {found}")
        if file.getframerate() < 1:
            raise ValueError(f"its header claims {file.getframerate()} samples a second")
        claimed, size = 2 * file.getnframes(), path.stat().st_size
        content = file.readframes(min(file.getnframes(), size))
        if len(content) != claimed or not content:
            raise ValueError(f"its header claims {claimed} bytes of sound, got {len(content)}")
        return content, file.getframerate()


def mfcc(samples: Samples, rate: int) -> Tensor:
    """Mel-frequency cepstral coefficients (Davis and Mermelstein 1980) as Kaldi has them.

    A frame is 25 ms of sound, the next one begins 10 ms later. Its mean is taken away, x_t − 0.97
    x_{t−1} is seen through a window (a Hann window to the power of 0.85), and the logarithms of its
    power in 23 triangular bands, equally wide in mels from 20 Hz to half the rate, have a discrete
    cosine transform, of which 13 coefficients c_n are kept, each times 1 + 11 sin(πn/22). The
    logarithm of the energy takes the place of c_0. No noise is added.

    Args:
        samples: `[n]`, from -1 to 1.
        rate: samples a second, at least 4000.

    Returns:
        `[time, 13]`, float32, 100 frames a second; what is left of the sound after the last whole
        frame is not in it.

    Raises:
        ImportError: kaldi_native_fbank is not installed.
        ValueError: samples that are not one row of finite numbers, or too few for a frame; another
            rate.

    Example:
        >>> mfcc(np.sin(np.arange(8000, dtype=np.float32) / 5), rate=8000).shape
        torch.Size([98, 13])
    """
    kaldi = _kaldi()
    if rate < SLOWEST:
        raise ValueError(f"rate: expected at least {SLOWEST} samples a second, got {rate}")
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"samples: expected one row of finite numbers, got {samples.shape}")
    if len(samples) < WINDOW * rate:
        raise ValueError(f"samples: {len(samples)} are less than a frame, {1000 * WINDOW:g} ms")
    options = kaldi.MfccOptions()
    options.num_ceps = CEPSTRA
    options.frame_opts.samp_freq = rate
    options.frame_opts.frame_length_ms = 1000 * WINDOW
    options.frame_opts.frame_shift_ms = 1000 / FRAME_RATE
    options.frame_opts.dither = 0  # which is random
    computer = kaldi.OnlineMfcc(options)
    computer.accept_waveform(rate, samples * FULL_SCALE)
    computer.input_finished()
    frames = [computer.get_frame(n) for n in range(computer.num_frames_ready)]
    return torch.from_numpy(np.array(frames))


def _kaldi() -> Any:
    try:
        import kaldi_native_fbank
    except ImportError as error:
        reason = "MFCC need kaldi_native_fbank: pip install seqebm[speech]"
        raise ImportError(reason) from error
    return kaldi_native_fbank
