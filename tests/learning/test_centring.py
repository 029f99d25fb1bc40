import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import seqebm
from seqebm.learning.centring import centre
from seqebm.learning.recipes import make_recipe
from seqebm.learning.training import train

MODELS = {
    "RBM": lambda: seqebm.RBM(4, 3),
    "RTRBM gaussian": lambda: seqebm.RTRBM(4, 3, visible="gaussian:0.5"),
    "TRBM": lambda: seqebm.TRBM(4, 3),
    "RNN-RBM": lambda: seqebm.RNNRBM(4, 3),
}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def build(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = MODELS[name]().double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    return model


MEAN = torch.tensor([0.1, 0.5, 0.8, 0.2]).double()
FRAMES = torch.rand(3, 5, 4, generator=generator(2)).double().round()


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_one_of_the_centred_parameters(name):
    """The centred machine written out: b = b̃ − Wᵀλ and c = c̃ − W μ, differentiated by W, b̃, c̃."""
    model = build(name)
    plain = copy.deepcopy(model)
    seen = model.visible.scaled(MEAN)
    hidden = (model.weight @ seen + model.hidden_bias).sigmoid().detach()
    own = {key: value.detach().clone().requires_grad_() for key, value in model.named_parameters()}
    own["visible_bias"] = (model.visible_bias + model.weight.t() @ hidden).detach().requires_grad_()
    own["hidden_bias"] = (model.hidden_bias + model.weight @ seen).detach().requires_grad_()

    def uncentred(own):
        b = own["visible_bias"] - own["weight"].t() @ hidden
        c = own["hidden_bias"] - own["weight"] @ seen
        return {**own, "visible_bias": b, "hidden_bias": c}

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = plain

        def forward(self):
            return self.model.loss(FRAMES, None, generator())

    values = {f"model.{key}": value for key, value in uncentred(own).items()}
    loss = functional_call(Loss(), values)
    gradients = torch.autograd.grad(loss, list(own.values()))
    stepped = {key: v - 0.1 * g for (key, v), g in zip(own.items(), gradients, strict=True)}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    centre(optimizer, model, MEAN)
    model.loss(FRAMES, None, generator()).backward()
    optimizer.step()
    for key, expected in uncentred(stepped).items():
        torch.testing.assert_close(dict(model.named_parameters())[key], expected, msg=key)


def test_a_parameter_that_is_held_stays():
    model = build("RBM")
    model.visible_bias.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    centre(optimizer, model, MEAN)
    plain = copy.deepcopy(model)
    model.loss(FRAMES, None, generator()).backward()
    optimizer.step()
    assert torch.equal(plain.visible_bias, model.visible_bias)
    plain.loss(FRAMES, None, generator()).backward()
    assert torch.equal(plain.weight - 0.1 * plain.weight.grad, model.weight)


def test_recipes_can_be_centred():
    keys = {"hidden": "4", "steps": "3", "batch": "2", "resolution": "10", "length": "9"}
    plain, _ = train(make_recipe("rtrbm", None, keys), progress=False)
    centred, _ = train(make_recipe("rtrbm", None, {**keys, "centred": "1"}), progress=False)
    assert not torch.equal(plain.weight, centred.weight)


def test_a_mean_of_another_width_is_refused():
    model = build("RBM")
    with pytest.raises(ValueError, match=r"mean: expected shape \[4\], got \[3\]"):
        centre(torch.optim.SGD(model.parameters(), lr=0.1), model, MEAN[:3])
