import pytest
import torch

from seqebm.checks import usable_device


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
