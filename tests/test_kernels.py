"""The kernel for GPUs: line by line in Triton's interpreter, on a GPU where there is one."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from seqebm import gibbs, sweeps
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli, Gaussian

kernels = pytest.importorskip("seqebm.kernels")  # whose import needs Triton
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def generator(seed=1):
    return torch.Generator(DEVICE).manual_seed(seed)


def normal(*shape):
    return torch.randn(*shape, generator=generator(sum(shape)), device=DEVICE)


def machines(rows, visible, hidden, shared):
    biases = [normal(n) if n in shared else normal(rows, n) for n in (visible, hidden)]
    return RBMEnergy(Bernoulli(visible), normal(hidden, visible), *biases)


def hashed(rbm, start, steps, seed):
    keys = sweeps.draw_keys(steps, start.device, generator(seed))
    parts = rbm.visible, rbm.weight, rbm.visible_bias, rbm.hidden_bias
    return sweeps.hashed_sweeps(start, keys, *parts)


@pytest.mark.parametrize(
    ("rows", "visible", "hidden", "shared"),
    [(1, 1, 1, ()), (50, 37, 21, ()), (33, 70, 130, (70,)), (5, 9, 64, (9, 64))],
)
@pytest.mark.parametrize("narrow", [None, torch.float16, torch.bfloat16])
def test_the_kernel_draws_what_the_equations_say(
    rows, visible, hidden, shared, narrow, monkeypatch
):
    """As `hashed_sweeps` does, whose numbers are tested, with W rounded where operands are narrow.

    The interpreter takes bf16 for integers in products, so there float16 stands in for it.
    """
    if narrow is torch.bfloat16 and DEVICE == "cpu":
        pytest.skip("Triton's interpreter cannot multiply bf16")
    rbm = machines(rows, visible, hidden, shared)
    start = torch.rand(rows, visible, generator=generator(), device=DEVICE).round()
    if narrow is not None:
        rbm.weight.copy_(rbm.weight.to(narrow))
        monkeypatch.setattr(kernels, "precision_of_products", lambda: (narrow, "ieee"))
    got = sweeps.fused_sweeps(rbm, start, 4, generator(3))
    for a, b in zip(got, hashed(rbm, start, 4, 3), strict=True):
        assert a.dtype == torch.float32
        same = torch.isclose(a, b, rtol=1e-4, atol=1e-5).all(-1)
        assert same.double().mean() >= 0.96  # here and there rounding decides
    assert torch.equal(start, start.round())
    assert not sweeps._failed


def test_grey_pixels_and_many_rows():
    rbm = machines(1100, 9, 7, (9,))
    start = torch.rand(1100, 9, generator=generator(), device=DEVICE)
    for a, b in zip(
        sweeps.fused_sweeps(rbm, start, 1, generator(3)), hashed(rbm, start, 1, 3), strict=True
    ):
        assert torch.isclose(a, b, rtol=1e-4, atol=1e-5).all(-1).double().mean() >= 0.999


def test_the_precision_of_products_is_that_of_torch():
    assert kernels.precision_of_products() == (torch.float32, "ieee")
    with gibbs._bf16_products():
        assert kernels.precision_of_products() == (torch.bfloat16, "ieee")


class States(SimpleNamespace):
    """Five states, of which nothing but this is asked."""

    def __len__(self):
        return 5


def chosen(units, dtype, is_cuda):
    rbm = RBMEnergy(units, torch.zeros(3, 4), torch.zeros(4), torch.zeros(3))
    return sweeps.fast_sweeps(rbm, States(dtype=dtype, is_cuda=is_cuda))


def test_which_states_are_drawn_by_the_kernel():
    """Binary ones in float32 on a GPU."""
    assert chosen(Bernoulli(4), torch.float32, True) is sweeps.fused_sweeps
    assert chosen(Bernoulli(4), torch.float32, False) is sweeps.compiled_sweeps
    assert chosen(Bernoulli(4), torch.float64, True) is sweeps.compiled_sweeps
    assert chosen(Gaussian(4), torch.float32, True) is sweeps.compiled_sweeps
    assert chosen(Bernoulli(4), torch.bfloat16, True) is None


def test_a_kernel_that_does_not_run_gives_plain_chains(monkeypatch):
    class Broken:
        def __getitem__(self, grid):
            raise kernels.TritonError("out of resources")

    monkeypatch.setattr(kernels, "_half_sweep", Broken())
    monkeypatch.setattr(sweeps, "_failed", set())
    rbm, start = machines(4, 5, 3, ()), torch.zeros(4, 5, device=DEVICE)
    with pytest.warns(UserWarning, match=r"not compiled on this machine: Triton: out of resources"):
        v, _ = sweeps.fused_sweeps(rbm, start, 2, generator())
    assert v.shape == (4, 5)
    # what a compiler makes is another matter
    assert chosen(Bernoulli(4), torch.float32, True) is sweeps.compiled_sweeps


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from seqebm.kernels import _half_sweep as kernel

for dtype in ("fp32", "bf16"):
    for mean in ("*fp32", "constexpr"):
        for tile in (32, 128):
            inputs = 128 // (4 if dtype == "fp32" else 2)
            kinds = {name: "i32" for name in kernel.arg_names}
            kinds.update(state=f"*{dtype}", weight=f"*{dtype}", out=f"*{dtype}", bias="*fp32")
            kinds.update(key="*i32", mean=mean)
            fixed = {"PRECISION": "ieee", "ROWS": tile, "UNITS": tile, "INPUTS": inputs}
            if mean == "constexpr":
                fixed["mean"] = None
            kinds.update(dict.fromkeys(fixed, "constexpr"))
            target, options = GPUTarget("cuda", 90, 32), {"num_warps": 8 if tile == 128 else 4}
            done = triton.compile(ASTSource(kernel, kinds, fixed), target=target, options=options)
            assert len(done.asm["cubin"]) > 1000
            assert done.metadata.shared <= 100_000
            print(dtype, mean, tile)
"""


@pytest.mark.slow
def test_the_kernel_compiles_to_machine_code_of_a_gpu():
    """Without a GPU, for one of the generation of the H100 and H200."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 8
