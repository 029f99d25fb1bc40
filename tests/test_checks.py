import pytest
import torch

from seqebm import gibbs
from seqebm.checks import usable_device
from seqebm.models.conditionals import Factorial
from seqebm.rbm import RBMEnergy
from seqebm.units import Bernoulli


def test_a_device_that_is_there():
    assert usable_device("cpu") == torch.device("cpu")
    assert usable_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(ValueError, match=rf"^device: '{name}' cannot be used here: \S"):
        usable_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_here():
    with pytest.raises(ValueError, match=r"^device: 'cuda' cannot be used here: "):
        usable_device("cuda")


@pytest.mark.parametrize("draw", ["chain", "units"])
def test_a_generator_of_another_device(draw):
    """No other device is needed for it: tensors without data are on one of their own."""
    with torch.device("meta"):
        rbm = RBMEnergy(Bernoulli(2), torch.zeros(3, 2), torch.zeros(2), torch.zeros(3))
        start = torch.zeros(4, 2)
    here = torch.Generator("cpu")
    attempt = {
        "chain": lambda: gibbs.chain(rbm, start, 1, here),
        "units": lambda: Factorial(rbm.visible, start).sample(here),
    }[draw]
    with pytest.raises(ValueError, match=r"^generator: expected one on meta, got one on cpu$"):
        attempt()
