"""Kinds of unit. A kind is one small object; the rest of the library asks it these questions only.

A layer of units has a bias b and receives a drive d from the other layer (d = Wᵀh for the visible
layer). Its part of the joint probability is exp(−energy(v, b) + scaled(v)·d); everything below
follows from that. The total input is x = b + d.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqebm.optim import losses
from seqebm.optim.losses import MatchingLoss


class Units(nn.Module, ABC):
    """A layer of `size` units of one kind."""

    spec: str  #: the name under which `make_units` builds this kind again
    bits: float = math.inf  #: log₂ of the number of states the layer has; ∞ where they are real

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def check(self, frames: Tensor, name: str = "frames") -> None:
        """Raise ValueError naming `name` where it holds values that such units cannot take."""

    @abstractmethod
    def energy(self, v: Tensor, bias: Tensor) -> Tensor:
        """The part of the energy that does not depend on the other layer, [...]."""

    def scaled(self, v: Tensor) -> Tensor:
        """What the other layer sees of the state `v`, [..., size]."""
        return v

    @abstractmethod
    def log_partition(self, bias: Tensor, drive: Tensor) -> Tensor:
        """log Σ_v exp(−energy(v, bias) + scaled(v)·drive), an integral for real units, [...]."""

    @abstractmethod
    def mean_(self, x: Tensor) -> Tensor:
        """Turn the total input x into the mean of the units, in place."""

    def mean(self, x: Tensor) -> Tensor:
        """The mean of the units whose total input is x, [..., size]."""
        return self.mean_(x.clone())

    @abstractmethod
    def input_for(self, mean: Tensor) -> Tensor:
        """The total input of units with the given mean, [..., size]."""

    @abstractmethod
    def mean_by_gradient(self, v: Tensor, gradient: Tensor) -> Tensor:
        """The mean of each unit given all else, from the gradient of log p at v, [..., size].

        In log p a unit must appear as exp(−energy(v, b) + scaled(v)·d) does, with any b + d.
        """

    @abstractmethod
    def variance(self, mean: Tensor) -> Tensor:
        """The variance of `scaled(v)` for units with the given mean, [..., size]."""

    @abstractmethod
    def half_slope(self, mean: Tensor) -> Tensor:
        """Half the derivative of the variance of v by its mean, [..., size]."""

    @abstractmethod
    def sample_into(self, out: Tensor, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        """Fill `out` with samples of units that have the given mean, and return it."""

    def sample(self, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        """Samples of units that have the given mean, [..., size]."""
        return self.sample_into(torch.empty_like(mean), mean, generator)

    @abstractmethod
    def pick(self, mean: Tensor, place: Tensor) -> Tensor:
        """The states at `place` in (−½, ½) of the distributions with the given mean.

        Places that are uniform give samples; it is `sample_into` for compiled code.
        """

    def tempered(self, temperature: float) -> tuple[Units, float]:
        """Energies divided by a temperature τ > 0.

        Returns:
            Units, and what biases and drives are to be multiplied by for them; both layers of an
            RBM are at τ when its weights are multiplied too, and hidden biases divided by τ.
        """
        return self, 1 / temperature

    def states(self, start: int, stop: int, like: Tensor) -> Tensor:
        """Rows `start` to `stop` of the list of all states, [stop − start, size], as `like` is.

        Raises:
            ValueError: there are infinitely many.
        """
        raise ValueError(f"units: the states of {self.spec} units cannot be listed")

    @abstractmethod
    def mode(self, x: Tensor) -> Tensor:
        """The most probable state of units whose total input is x, [..., size]."""

    def matching(self, v: Tensor, x: Tensor) -> tuple[Tensor, MatchingLoss]:
        """−log p(v) up to a constant, as a loss of outputs that is convex in them.

        Args:
            v: states, [rows, size].
            x: the total inputs, [rows, size].

        Returns:
            Outputs, which are x in some form, and their loss, divided by the number of rows.

        Raises:
            ValueError: units for which there is no such loss.
        """
        raise ValueError(f"units: no loss of {self.spec} units is convex in what drives them")

    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        """log p(v) in nats of independent units whose total input is x, [...]."""
        return -self.energy(v, x) - self.log_partition(x, torch.zeros_like(x))


class Bernoulli(Units):
    """Binary units: E = −vᵀb, so p(v = 1) = σ(x) (Sutskever 2013, eqs. 2.24–2.27).

    Values between 0 and 1 are accepted as data and stand for probabilities, as is customary for
    grey pixels; log-probabilities of such values are those of the continuous formula.

    Example:
        >>> Bernoulli(2).mean(torch.tensor([0.0, 100.0]))
        tensor([0.5000, 1.0000])
    """

    spec = "bernoulli"

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.bits = float(size)

    def states(self, start: int, stop: int, like: Tensor) -> Tensor:
        numbers = torch.arange(start, stop, device=like.device)
        return (numbers[:, None] >> torch.arange(self.size, device=like.device) & 1).to(like.dtype)

    def check(self, frames: Tensor, name: str = "frames") -> None:
        low, high = (float(x) for x in frames.detach().aminmax()) if frames.numel() else (0.0, 0.0)
        if not (low >= 0.0 and high <= 1.0):  # false for NaN too
            raise ValueError(
                f"{name}: Bernoulli units take values in [0, 1], got values from {low} to {high}"
            )

    def energy(self, v: Tensor, bias: Tensor) -> Tensor:
        return -(v * bias).sum(-1)

    def log_partition(self, bias: Tensor, drive: Tensor) -> Tensor:
        return F.softplus(bias + drive).sum(-1)

    def mean_(self, x: Tensor) -> Tensor:
        return x.sigmoid_()

    def mean(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def input_for(self, mean: Tensor) -> Tensor:
        return mean.logit(eps=1e-3)  # pixels that are never on must be able to learn otherwise

    def mean_by_gradient(self, v: Tensor, gradient: Tensor) -> Tensor:
        return gradient.sigmoid()  # log p is linear in v, with the total input as its slope

    def variance(self, mean: Tensor) -> Tensor:
        return mean * (1 - mean)

    def half_slope(self, mean: Tensor) -> Tensor:
        return 0.5 - mean

    def sample_into(self, out: Tensor, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        # u < p written over u: an order of magnitude cheaper than torch.bernoulli
        return out.uniform_(generator=generator).lt_(mean)

    def pick(self, mean: Tensor, place: Tensor) -> Tensor:
        return (place < mean - 0.5).to(mean.dtype)

    def mode(self, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    def matching(self, v: Tensor, x: Tensor) -> tuple[Tensor, MatchingLoss]:
        return x, losses.Bernoulli(v)


class Gaussian(Units):
    """Real units with standard deviation σ, one for each unit, fixed or learned.

    The energy is E = Σ_i (v_i − b_i)²/2σ_i² − hᵀb_h − Σ_i (v_i/σ_i²)(Wᵀh)_i, so E[v|h] = b + Wᵀh
    in the units of the data and the hidden layer sees v/σ². Sutskever 2013, eq. 2.33 writes the
    same family with σ²-times smaller biases and weights: its b_v is b/σ² and its W is W/σ².

    Args:
        size: number of units.
        sigma: the (initial) standard deviation, one number or one for each unit.
        learned: whether log σ is a parameter (`log_sigma`) or stays as it is.

    Example:
        >>> units = Gaussian(2, sigma=0.5)
        >>> units.scaled(torch.ones(2))
        tensor([4., 4.])
    """

    def __init__(self, size: int, sigma: float | Tensor = 1.0, learned: bool = False) -> None:
        super().__init__(size)
        sigma = torch.as_tensor(sigma, dtype=torch.get_default_dtype())
        if not sigma.is_meta and not bool((sigma > 0).all()):
            raise ValueError(f"sigma: expected positive standard deviations, got {sigma.tolist()}")
        if sigma.ndim > 1 or (sigma.ndim == 1 and sigma.numel() != size):
            raise ValueError(f"sigma: expected one number or {size}, got shape {[*sigma.shape]}")
        log_sigma = sigma.log().expand(size).clone()
        if learned:
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        self.spec = "gaussian:learned" if learned else "gaussian"

    @property
    def sigma_squared(self) -> Tensor:
        """σ², [size]."""
        return (2 * self.log_sigma).exp()

    def check(self, frames: Tensor, name: str = "frames") -> None:
        if not bool(frames.isfinite().all()):
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")

    def energy(self, v: Tensor, bias: Tensor) -> Tensor:
        return ((v - bias) ** 2 / (2 * self.sigma_squared)).sum(-1)

    def scaled(self, v: Tensor) -> Tensor:
        return v / self.sigma_squared

    def log_partition(self, bias: Tensor, drive: Tensor) -> Tensor:
        # ∫ exp(−(v−b)²/2σ² + vd/σ²) dv = √(2πσ²) exp((2b + d)d/2σ²)
        gain = (2 * bias + drive) * drive / (2 * self.sigma_squared)
        return (gain + self.log_sigma + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean_(self, x: Tensor) -> Tensor:
        return x

    def input_for(self, mean: Tensor) -> Tensor:
        return mean

    def mean_by_gradient(self, v: Tensor, gradient: Tensor) -> Tensor:
        return v + self.sigma_squared * gradient  # log p has the slope (x − v)/σ²

    def variance(self, mean: Tensor) -> Tensor:
        return (1 / self.sigma_squared).expand_as(mean)

    def half_slope(self, mean: Tensor) -> Tensor:
        return torch.zeros_like(mean)

    def sample_into(self, out: Tensor, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        return out.normal_(generator=generator).mul_(self.log_sigma.exp()).add_(mean)

    def pick(self, mean: Tensor, place: Tensor) -> Tensor:
        return mean + self.log_sigma.exp() * math.sqrt(2) * torch.erfinv(2 * place)

    def tempered(self, temperature: float) -> tuple[Units, float]:
        """σ² becomes τσ², and with it the weight of Wᵀh, which is in units of the data."""
        units = Gaussian(self.size)
        units.register_buffer("log_sigma", self.log_sigma.detach() + math.log(temperature) / 2)
        return units, 1.0

    def mode(self, x: Tensor) -> Tensor:
        return x

    def matching(self, v: Tensor, x: Tensor) -> tuple[Tensor, MatchingLoss]:
        if self.log_sigma.requires_grad:  # log σ + (v − x)²/2σ² is not convex in x and σ
            return super().matching(v, x)
        sigma = self.log_sigma.exp()
        return x / sigma, losses.Squared(v / sigma)


class Categorical(Units):
    """Groups of units of which one is on in each, as one-hot codes: E = −vᵀb.

    The units of a group compete, p(v_i = 1) = exp(x_i) / Σ_j exp(x_j) over the group. Values
    between 0 and 1 that sum to one stand for probabilities. Mean field of second order takes the
    units of a group for independent in its correction.

    Args:
        size: number of units.
        categories: of a group; a divisor of `size`, at least 2.

    Raises:
        ValueError: units that do not make whole groups.

    Example:
        >>> Categorical(4, categories=2).mean(torch.tensor([0.0, 0.0, 1.0, 3.0]))
        tensor([0.5000, 0.5000, 0.1192, 0.8808])
    """

    def __init__(self, size: int, categories: int) -> None:
        super().__init__(size)
        if categories < 2 or size % categories:
            raise ValueError(
                f"units: expected groups of at least 2 categories, got {size} units in groups of "
                f"{categories}"
            )
        self.categories = categories
        self.spec = f"categorical:{categories}"
        self.bits = size // categories * math.log2(categories)

    def states(self, start: int, stop: int, like: Tensor) -> Tensor:
        numbers = torch.arange(start, stop, device=like.device)
        places = self.categories ** torch.arange(self.size // self.categories, device=like.device)
        digits = numbers[:, None] // places % self.categories
        return F.one_hot(digits, self.categories).flatten(1).to(like.dtype)

    def _groups(self, x: Tensor) -> Tensor:
        """[..., size] as [..., groups, categories]."""
        return x.unflatten(-1, (self.size // self.categories, self.categories))

    def check(self, frames: Tensor, name: str = "frames") -> None:
        if not frames.numel():
            return
        low, high = (float(x) for x in frames.detach().aminmax())
        total = float(self._groups(frames.detach()).sum(-1).max())
        if not (low >= 0.0 and total <= 1.001):  # false for NaN too
            raise ValueError(
                f"{name}: categorical units are one-hot or probabilities in groups of "
                f"{self.categories}, got values from {low} to {high} with sums up to {total:.6g}"
            )

    def energy(self, v: Tensor, bias: Tensor) -> Tensor:
        return -(v * bias).sum(-1)

    def log_partition(self, bias: Tensor, drive: Tensor) -> Tensor:
        return self._groups(bias + drive).logsumexp(-1).sum(-1)

    def mean_(self, x: Tensor) -> Tensor:
        return x.copy_(self.mean(x))

    def mean(self, x: Tensor) -> Tensor:
        return self._groups(x).softmax(-1).flatten(-2)

    def input_for(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=1e-3).log()

    def mean_by_gradient(self, v: Tensor, gradient: Tensor) -> Tensor:
        return self.mean(gradient)

    def variance(self, mean: Tensor) -> Tensor:
        return mean * (1 - mean)

    def half_slope(self, mean: Tensor) -> Tensor:
        return 0.5 - mean

    def sample_into(self, out: Tensor, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        place = torch.empty_like(self._groups(mean)[..., :1])
        return out.copy_(self._chosen(mean, place.uniform_(-0.5, 0.5, generator=generator)))

    def pick(self, mean: Tensor, place: Tensor) -> Tensor:
        return self._chosen(mean, self._groups(place)[..., :1])

    def mode(self, x: Tensor) -> Tensor:
        best = self._groups(x).argmax(-1, keepdim=True)
        return torch.zeros_like(self._groups(x)).scatter(-1, best, 1.0).flatten(-2)

    def matching(self, v: Tensor, x: Tensor) -> tuple[Tensor, MatchingLoss]:
        return self._groups(x), losses.Categorical(self._groups(v), count=len(x))

    def _chosen(self, mean: Tensor, place: Tensor) -> Tensor:
        """States at a place in (−½, ½) for each group, [..., groups, 1]."""
        reached = self._groups(mean).cumsum(-1)[..., :-1]  # the last takes what rounding leaves
        chosen = (reached - 0.5 <= place).sum(-1, keepdim=True)
        categories = torch.arange(self.categories, device=mean.device)
        return (chosen == categories).to(mean.dtype).flatten(-2)


def make_units(spec: str | Units, size: int) -> Units:
    """Build the units that `spec` names, or check that a given object has the right size.

    Args:
        spec: "bernoulli", "gaussian" (σ = 1), "gaussian:0.5" (any fixed σ), "gaussian:learned",
            "categorical:5" (groups of 5 units), or a `Units` object.
        size: number of units.

    Raises:
        ValueError: an unknown name, or an object of another size.
        TypeError: neither a name nor a `Units` object.

    Example:
        >>> make_units("gaussian", 3).spec
        'gaussian'
    """
    if isinstance(spec, Units):
        if spec.size != size:
            raise ValueError(f"units: expected a layer of {size} units, got one of {spec.size}")
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"units: expected a name or a Units object, got {type(spec).__name__}")
    kinds = {
        "bernoulli": lambda: Bernoulli(size),
        "gaussian": lambda: Gaussian(size),
        "gaussian:learned": lambda: Gaussian(size, learned=True),
    }
    if spec in kinds:
        return kinds[spec]()
    kind, _, number = spec.partition(":")
    if kind == "categorical" and number.isdecimal():
        return Categorical(size, int(number))
    sigma = _positive(number)
    if kind != "gaussian" or sigma is None:
        expected = f"{', '.join(kinds)}, gaussian:SIGMA, categorical:NUMBER"
        raise ValueError(f"units: expected one of {expected}, got {spec!r}")
    units = Gaussian(size, sigma)
    units.spec = spec
    return units


def _positive(text: str) -> float | None:
    """The positive number in a text; None if there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
