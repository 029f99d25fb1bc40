"""Recordings in .wav files and their cepstra, which are those of the written-out equations."""

import re
import struct
import sys
import tracemalloc
import wave

import numpy as np
import pytest
import torch

from seqebm.data.speech import mfcc, read_wav
from seqebm.sound import write_wav

pytest.importorskip("kaldi_native_fbank", reason="MFCC need pip install seqebm[speech]")


def noise(count, seed=1):
    samples = np.random.default_rng(seed).normal(size=count).cumsum()
    samples -= np.linspace(samples[0], samples[-1], count)
    return (samples / np.abs(samples).max() * 0.8).astype(np.float32)


def written_out(samples, rate):
    """Kaldi's coefficients by plain loops in float64."""
    width, hop = int(0.025 * rate), int(0.01 * rate)
    size = 2 ** int(np.ceil(np.log2(width)))
    t, mel = np.arange(width), lambda f: 1127 * np.log(1 + f / 700)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * t / (width - 1))) ** 0.85
    places = np.linspace(mel(20), mel(rate / 2), 23 + 2)
    rows = []
    for start in range(0, len(samples) - width + 1, hop):
        frame = 2**15 * samples[start : start + width].astype(float)
        frame -= frame.mean()
        energy = np.log((frame**2).sum())
        before = np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft((frame - 0.97 * before) * window, size)) ** 2
        bands = []
        for low, middle, high in zip(places[:-2], places[1:-1], places[2:], strict=True):
            x = mel(np.arange(size // 2) * rate / size)
            rising, falling = (x - low) / (middle - low), (high - x) / (high - middle)
            bands.append(np.log(power[:-1] @ np.maximum(0, np.minimum(rising, falling))))
        k = np.arange(23) + 0.5
        row = [np.sqrt(2 / 23) * np.cos(np.pi * n * k / 23) @ bands for n in range(13)]
        row = [c * (1 + 11 * np.sin(np.pi * n / 22)) for n, c in enumerate(row)]
        rows.append([energy, *row[1:]])
    return np.array(rows)


@pytest.mark.parametrize("rate", [4000, 8000, 16000])
def test_the_coefficients_are_those_of_the_equations(rate):
    samples = noise(rate // 3)
    expected = written_out(samples, rate)
    found = mfcc(samples, rate)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    assert expected.std(0).min() > 0.1  # or nothing has been compared


def test_the_coefficients_are_the_same_each_time():
    samples = noise(2000)
    assert torch.equal(mfcc(samples, 8000), mfcc(samples, 8000))


@pytest.mark.parametrize(("count", "frames"), [(200, 1), (279, 1), (280, 2), (8000, 98)])
def test_whole_frames_are_counted(count, frames):
    assert mfcc(noise(count), 8000).shape == (frames, 13)


def test_silence_has_finite_coefficients():
    assert mfcc(np.zeros(400, np.float32), 8000).isfinite().all()


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (noise(199), 8000, "samples: 199 are less than a frame, 25 ms"),
        (noise(400), 3999, "rate: expected at least 4000 samples a second, got 3999"),
        (noise(400).reshape(2, 200), 8000, r"samples: expected one row of finite .* \(2, 200\)"),
        (np.full(400, np.nan, np.float32), 8000, "samples: expected one row of finite numbers"),
    ],
)
def test_no_coefficients(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        mfcc(samples, rate)


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    with pytest.raises(ImportError, match=r"pip install seqebm\[speech\]$"):
        mfcc(noise(400), 8000)


# --- files -----------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    samples = noise(500)
    write_wav(tmp_path / "a.wav", samples, rate=11025)
    found, rate = read_wav(tmp_path / "a.wav")
    assert (found.dtype, rate) == (np.float32, 11025)
    np.testing.assert_allclose(found, samples, atol=2**-14)


def test_the_lowest_sample_is_minus_one(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(struct.pack("<3h", -(2**15), 0, 2**14))
    assert read_wav(tmp_path / "a.wav")[0].tolist() == [-1, 0, 0.5]


def good():
    """A .wav file of 100 samples, as bytes; its sound begins at byte 44."""
    sound = struct.pack("<100h", *range(100))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    data = struct.pack("<4sI", b"data", len(sound)) + sound
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


def changed(place, values):
    return good()[:place] + values + good()[place + len(values) :]


def test_the_file_that_is_damaged_next(tmp_path):
    (tmp_path / "a.wav").write_bytes(good())
    assert (read_wav(tmp_path / "a.wav")[0] * 2**15).tolist() == list(range(100))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it ends too soon"),
        (b"RIFF", "it ends too soon"),
        (b"ID3" + bytes(200), "RIFF"),
        (good()[:30], "it ends too soon"),
        (good()[:43], "chunk missing"),
        (good()[:44], "its header claims 200 bytes of sound, got 0"),
        (good()[:-3], "its header claims 200 bytes of sound, got 197"),
        (changed(40, struct.pack("<I", 0)), "its header claims 0 bytes of sound, got 0"),
        (changed(40, struct.pack("<I", 2**32 - 2)), "its header claims 4294967294 bytes"),
        (changed(20, struct.pack("<H", 3)), "unknown format: 3"),
        (changed(22, struct.pack("<H", 2)), "expected one channel of 16 bits, got 2 of 16"),
        (changed(34, struct.pack("<H", 8)), "expected one channel of 16 bits, got 1 of 8"),
        (changed(24, struct.pack("<I", 0)), "0 samples a second"),
    ],
)
def test_damaged_files(content, message, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.wav: .*{message}"):
        read_wav(tmp_path / "a.wav")


def test_a_header_is_checked_before_memory_is_taken(tmp_path):
    header, sound = good()[:44], struct.pack("<I", 2**31)
    claims = header[:4] + struct.pack("<I", 2**32 - 2) + header[8:40] + sound
    (tmp_path / "a.wav").write_bytes(claims + good()[44:])
    tracemalloc.start()
    with pytest.raises(ValueError, match="its header claims"):
        read_wav(tmp_path / "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_wav(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="not a file"):
        read_wav(tmp_path)


def test_every_damaged_byte_of_a_header(tmp_path):
    """Whatever is in the header, there is sound or a ValueError."""
    said = []
    for place in range(44):
        for value in (0, 1, 255):
            (tmp_path / "a.wav").write_bytes(changed(place, bytes([value])))
            try:
                samples, rate = read_wav(tmp_path / "a.wav")
            except ValueError as error:
                said.append(str(error))
            else:
                assert 0 < len(samples) <= 100
                assert rate > 0
    named = re.compile(r".*a\.wav: \S")
    assert said
    assert [one for one in said if not named.match(one)] == []


def test_real_recordings(real_data):
    files = sorted((real_data("speech_fsdd") / "wav").glob("*.wav"))
    assert len(files) == 240
    for path in files[::20]:
        samples, rate = read_wav(path)
        assert rate == 8000
        np.testing.assert_allclose(mfcc(samples, rate), written_out(samples, rate), atol=0.02)
