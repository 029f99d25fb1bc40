"""Compiled sweeps against plain ones, and the quality of the numbers that they compute."""

import math
import os
import shutil
import subprocess
import sys

import pytest
import torch
from scipy import stats

from seqebm import sweeps
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Gaussian

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def machines(rows, visible, hidden=7, dtype=torch.float32):
    """RBMs with biases of their own."""
    shapes = (hidden, visible.size), (rows, visible.size), (rows, hidden)
    return RBMEnergy(
        visible, *(torch.randn(*s, generator=generator(), dtype=dtype) for s in shapes)
    )


# --- compiled and not ------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "dtype", "steps"),
    [
        (Bernoulli, torch.float32, 3),
        (Bernoulli, torch.float64, 1),
        (Gaussian, torch.float32, 1),
        (Gaussian, torch.float64, 1),
    ],
)
def test_compilation_changes_nothing(kind, dtype, steps, monkeypatch):
    """Some entry may round to another side of its random number; here and there one, not many."""
    monkeypatch.setattr(sweeps, "AT_ONCE", 2)  # less to compile, of two sweeps and of one
    rbm = machines(50, kind(9).to(dtype), dtype=dtype)
    start = torch.rand(50, 9, generator=generator(), dtype=dtype)
    got = sweeps.compiled_sweeps(rbm, start, steps, generator(3))
    keys = sweeps.draw_keys(steps, start.device, generator(3))
    parts = rbm.visible, rbm.weight, rbm.visible_bias, rbm.hidden_bias
    expected = sweeps.hashed_sweeps(start, keys, *parts)
    for a, b in zip(got, expected, strict=True):
        same = torch.isclose(a, b, rtol=1e-4, atol=1e-5).all(-1)
        assert same.double().mean() >= 0.96
    assert not sweeps._failed


@pytest.fixture
def broken(monkeypatch):
    """A machine on which nothing compiles."""

    def fail(function):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(sweeps, "compiled", fail)
    monkeypatch.setattr(sweeps, "_failed", set())


def test_without_a_compiler_chains_are_plain_after_one_warning(broken):
    rbm, start = machines(4, Bernoulli(5)), torch.zeros(4, 5)
    assert sweeps.fast_sweeps(rbm, start) is not None
    source = generator()
    with pytest.warns(
        UserWarning, match=r"Gibbs chains are not compiled on this machine: no compiler$"
    ):
        got = sweeps.compiled_sweeps(rbm, start, 3, source)
    for a, b in zip(got, sweeps.plain_sweeps(rbm, start, 3, generator()), strict=True):
        assert torch.equal(a, b)
    assert sweeps.fast_sweeps(rbm, start) is None


@pytest.mark.slow
def test_a_compiler_that_fails_in_earnest(tmp_path):
    code = (
        "import torch; from seqebm import RBM, gibbs\n"
        "gibbs.WORTH_COMPILING = 0\n"
        "print(RBM(5, 4).sample(1, batch=3).shape)"
    )
    environment = {"CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "torch.Size([3, 1, 5])\n"
    assert done.stderr.count("Gibbs chains are not compiled on this machine") == 1


# --- the numbers -----------------------------------------------------------------------------
#
# A battery over fixed seeds. Each p-value of a good generator is uniform; together the tests below
# look at fewer than 2000, so a good generator fails with a probability below 1e-3 in all.

SMALLEST_P = 5e-7
N = 1 << 18


def numbers(seed=1, shape=(N,)):
    key = sweeps.draw_keys(1, torch.device("cpu"), generator(seed))[0, 0]
    return sweeps.centred(key, torch.empty(shape, dtype=torch.float64))


def p_uniform(x, bins=256):
    """The p-value of a χ² test of numbers in (−½, ½) for uniformity."""
    counts = torch.histc(x, bins, -0.5, 0.5)
    return stats.chisquare(counts.numpy()).pvalue


def p_independent(x, y, bins=16):
    """The p-value of a χ² test of pairs for uniformity on the square."""
    cells = [((z + 0.5) * bins).long().clamp(max=bins - 1) for z in (x, y)]
    counts = torch.bincount(cells[0].flatten() * bins + cells[1].flatten(), minlength=bins**2)
    return stats.chisquare(counts.numpy()).pvalue


def p_uncorrelated(x, y):
    """The p-value of a z-test of the correlation of two sets of uniform numbers."""
    return 2 * stats.norm.sf(abs(float((x * y).mean()) * 12 * math.sqrt(x.numel())))


def assert_random(values):
    assert min(values) > SMALLEST_P, min(values)


def test_the_hash_is_the_one_it_says():
    """Word by word in Python's integers."""
    mask = 0xFFFFFFFF
    words = torch.randint(-(2**31), 2**31, (500, 3), generator=generator()).int()
    for counter, first, second in words:
        x = (int(counter) + int(first)) & mask
        x = ((x ^ (x >> 17)) * 0xED5AD4BB) & mask ^ (int(second) & mask)
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & mask
        x = ((x ^ (x >> 15)) * 0x846CA68B) & mask
        x ^= x >> 16
        got = sweeps.hashed(counter, first, second)
        assert int(got) & mask == x


def test_the_hash_gives_no_word_twice():
    key = sweeps.draw_keys(1, torch.device("cpu"), generator())[0, 0]
    words = sweeps.hashed(torch.arange(-(2**20), 2**20).int(), key[0], key[1])
    assert len(words.unique()) == 2**21


def test_numbers_lie_on_the_grid_inside_the_interval():
    x = numbers(shape=(1 << 20,))
    places = x * 2**24 - 0.5
    assert torch.equal(places, places.round())
    assert -0.5 < x.min() < -0.4999
    assert 0.4999 < x.max() < 0.5
    key = torch.tensor([1, 2]).int()
    single = sweeps.centred(key, torch.empty(999))
    assert torch.equal(single.double(), sweeps.centred(key, torch.empty(999).double()))


def test_certain_units_are_certain():
    x = numbers(shape=(1 << 20,)).float()
    units = Bernoulli(1)
    assert not units.pick(torch.zeros_like(x), x).any()
    assert units.pick(torch.ones_like(x), x).all()


@pytest.mark.parametrize("p", [1e-6, 1e-3, 0.3, 0.5, 0.999])
def test_frequencies_are_the_probabilities(p):
    n, units = 1 << 22, Bernoulli(1)
    for seed in range(5):
        x = numbers(seed, (n,)).float()
        count = int(units.pick(torch.full_like(x, p), x).sum())
        assert stats.binomtest(count, n, p).pvalue > SMALLEST_P


def test_gaussian_units_are_normal():
    units = Gaussian(1, 2.0).double()
    for seed in range(10):
        x = units.pick(torch.ones(N, dtype=torch.float64), numbers(seed))
        assert stats.kstest(((x - 1) / 2).numpy(), "norm").pvalue > SMALLEST_P


def test_numbers_are_uniform():
    assert_random(
        [p_uniform(numbers(seed), bins) for seed in range(50) for bins in (16, 256, 4096)]
    )


def test_every_bit_is_fair_and_none_follows_another():
    key = sweeps.draw_keys(1, torch.device("cpu"), generator())[0, 0]
    words = sweeps.hashed(torch.arange(N).int(), key[0], key[1])
    signs = torch.stack([((words >> k) & 1) * 2 - 1 for k in range(32)]).double()
    together = signs @ signs.T / math.sqrt(N)
    z = torch.cat([signs.sum(1) / math.sqrt(N), together[torch.triu(torch.ones(32, 32), 1) == 1]])
    assert_random(2 * stats.norm.sf(z.abs().numpy()))


def test_units_and_rows_are_independent():
    values = []
    for seed in range(10):
        x = numbers(seed, (512, 512))
        for lag in (1, 2, 3, 16, 64, 100):
            values += [p_independent(x[:, lag:], x[:, :-lag]), p_independent(x[lag:], x[:-lag])]
            values += [p_uncorrelated(x[:, lag:], x[:, :-lag]), p_uncorrelated(x[lag:], x[:-lag])]
    assert_random(values)


def test_sweeps_and_layers_are_independent():
    keys = sweeps.draw_keys(10, torch.device("cpu"), generator()).flatten(0, 1)
    x = [sweeps.centred(key, torch.empty(N, dtype=torch.float64)) for key in keys]
    pairs = [(a, b) for i, a in enumerate(x) for b in x[:i]]
    assert_random([test(a, b) for a, b in pairs for test in (p_independent, p_uncorrelated)])


def test_seeds_are_independent():
    x = [numbers(seed) for seed in range(12)]
    pairs = [(a, b) for i, a in enumerate(x) for b in x[:i]]
    assert_random([test(a, b) for a, b in pairs for test in (p_independent, p_uncorrelated)])


@pytest.mark.parametrize("word", [0, 1])
def test_keys_that_differ_in_one_bit_are_independent(word):
    key = sweeps.draw_keys(1, torch.device("cpu"), generator())[0, 0]
    like, values = torch.empty(N, dtype=torch.float64), []
    for bit in range(32):
        other = key.clone()
        other[word] ^= torch.tensor(1).int() << bit
        a, b = sweeps.centred(key, like), sweeps.centred(other, like)
        values += [p_independent(a, b), p_uncorrelated(a, b)]
    assert_random(values)


def test_runs_up_and_down_have_the_right_number():
    """The numbers as a time series: Wald and Wolfowitz' runs above and below the median."""
    for seed in range(20):
        above = numbers(seed) > 0
        ones, n = int(above.sum()), N
        runs = 1 + int((above[1:] != above[:-1]).sum())
        mean = 1 + 2 * ones * (n - ones) / n
        spread = math.sqrt((mean - 1) * (mean - 2) / (n - 1))
        assert 2 * stats.norm.sf(abs(runs - mean) / spread) > SMALLEST_P


def test_keys_come_from_the_generator():
    keys = [sweeps.draw_keys(3, torch.device("cpu"), generator(seed)) for seed in (1, 1, 2)]
    assert keys[0].dtype == torch.int32
    assert torch.equal(keys[0], keys[1])
    assert not (keys[0] == keys[2]).any()
    assert len(sweeps.draw_keys(500, torch.device("cpu"), generator()).unique()) == 2000
