"""Problems that need a long memory: the eight of Martens and Sutskever (2011).

What decides a target was seen up to T steps before, and nothing nearer hints at it (Hochreiter and
Schmidhuber 1997; Sutskever 2013, sec. 4.4). `PROBLEMS` holds them by name; `make_problem` makes one
of any length.

The thesis draws integers i[a, b] also where a and b are none, as in i[T/10, 2T/10]. Here these are
the integers of that interval, from a rounded up to b rounded down. Positions count from 1 as there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 0.04  #: absolute error beyond which a real prediction is wrong (sec. 4.4)
SOLVED = 0.01  #: a problem is solved when a smaller share of the sequences is wrong (sec. 4.4)


class Examples(NamedTuple):
    """Sequences with their targets, of torch's default floating-point type.

    Attributes:
        inputs: [n, time, inputs]; sequences that end earlier go on with zeros.
        targets: [n, time, outputs], what the outputs are to be: symbols are one-hot. Zeros where
            nothing counts.
        mask: [n, time], True where a target counts.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Problem(ABC):
    """A source of examples, and who has solved them.

    Args:
        length: T, the length of the sequences, or of the gap in the memorization problems.

    Attributes:
        name: by which `make_problem` makes it.
        n_inputs: width of the inputs.
        n_outputs: width of the targets.
        kind: which loss of the output pre-activations matches: "squared", "bernoulli" (cross
            entropy after a logistic function) or "categorical" (after a softmax).
        least_length: the smallest T.

    Raises:
        ValueError: a length below the smallest.

    Example:
        >>> problem = make_problem("temporal-order", 30)
        >>> examples = problem.draw(5, torch.Generator().manual_seed(1))
        >>> examples.inputs.shape, examples.targets.shape, examples.mask.sum().item()
        (torch.Size([5, 30, 6]), torch.Size([5, 30, 4]), 5)
        >>> problem.wrong(examples.targets, examples).any().item()
        False
    """

    length: int

    name: ClassVar[str]
    n_inputs: ClassVar[int]
    n_outputs: ClassVar[int]
    kind: ClassVar[str]
    least_length: ClassVar[int]

    def __post_init__(self) -> None:
        _check_integer("length", self.length, self.least_length)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Examples:
        """Independent sequences.

        Args:
            n: how many.
            generator: source of randomness, whose device is that of the examples; None is torch's
                default.

        Raises:
            ValueError: `n` below 1.
        """
        _check_integer("n", n, 1)
        return self._draw(n, generator)

    @abstractmethod
    def _draw(self, n: int, generator: torch.Generator | None) -> Examples:
        """`draw`, of a number that was checked."""

    def errors(self, outputs: Tensor, examples: Examples) -> Tensor:
        """Which counted predictions are wrong, [n, time]; False where nothing counts.

        A real number is wrong by more than `TOLERANCE`, a bit by its sign, a symbol where another
        one gets the largest output; an output that is not finite is wrong.

        Args:
            outputs: pre-activations of a network, [n, time, outputs].
            examples: that it read.

        Raises:
            ValueError: outputs of another shape.
        """
        if outputs.shape != examples.targets.shape:
            expected, got = [*examples.targets.shape], [*outputs.shape]
            raise ValueError(f"outputs: expected shape {expected}, got {got}")
        right = _right(self.kind, outputs, examples.targets) & outputs.isfinite().all(-1)
        return ~right & examples.mask

    def recalled(self, examples: Examples) -> Tensor:
        """Which counted predictions need what was seen long ago, [n, time]."""
        return examples.mask

    def wrong(self, outputs: Tensor, examples: Examples) -> Tensor:
        """Which sequences are misclassified, [n]: any counted prediction is wrong.

        The arguments are those of `errors`. The problem is solved when the share of 10 000 test
        sequences is below `SOLVED`.
        """
        return self.errors(outputs, examples).any(1)


def make_problem(name: str, length: int) -> Problem:
    """A problem of a length T.

    Args:
        name: one of `PROBLEMS`.
        length: T, at least 10 where it decides positions, else 2 (random permutation) or 1.

    Raises:
        ValueError: an unknown name, or a length below the smallest.

    Example:
        >>> make_problem("xor", 100)
        Xor(length=100)
    """
    if name not in PROBLEMS:
        raise ValueError(f"name: expected one of {', '.join(PROBLEMS)}, got {name!r}")
    return PROBLEMS[name](length)


# ----------------------------------------------------------------- two marked numbers (sec. 4.4.1)


class _MarkedPair(Problem):
    """Numbers u_1, u_2 … and beside them marks, 1 at two positions I < J; the target is at the end.

    The length T′ of a sequence is from i[T, 11T/10], I from i[1, T′/10] and J from i[T′/10, T′/2].
    Where T′/10 is an integer both could be there; then J is beyond it, so that two are marked.
    """

    n_inputs, n_outputs, least_length = 2, 1, 10

    def _draw(self, n: int, generator: torch.Generator | None) -> Examples:
        longest = 11 * self.length // 10
        numbers = self._numbers(n, longest, generator)
        ends = _integers(_full(n, self.length, numbers), longest, generator)
        first = _integers(torch.ones_like(ends), ends // 10, generator)
        second = _integers(ends // 10 + 1, ends // 2, generator)
        marks = _at(first, longest) | _at(second, longest)
        times = torch.arange(1, longest + 1, device=numbers.device)
        numbers = numbers * (times <= ends[:, None])
        mask = _at(ends, longest)
        x, y = (numbers.gather(1, place[:, None] - 1) for place in (first, second))
        targets = self._combined(x, y) * mask
        return Examples(torch.stack([numbers, marks.to(numbers)], 2), targets[..., None], mask)

    def _numbers(self, n: int, time: int, generator: torch.Generator | None) -> Tensor:
        """u, [n, time]."""
        return torch.rand(n, time, generator=generator, device=_device(generator))

    @staticmethod
    @abstractmethod
    def _combined(x: Tensor, y: Tensor) -> Tensor:
        """The target for marked numbers."""


class Addition(_MarkedPair):
    """(u_I + u_J) / 2 of numbers from U[0, 1] (sec. 4.4.1).

    Lengths T′ and positions are as `Problem` and this module say: T′ from i[T, 11T/10], I from
    i[1, T′/10], J from i[T′/10, T′/2], and J > I.
    """

    name, kind = "addition", "squared"

    @staticmethod
    def _combined(x: Tensor, y: Tensor) -> Tensor:
        return (x + y) / 2


class Multiplication(_MarkedPair):
    """u_I · u_J, otherwise as `Addition`; the thesis says no more than that it is analogous."""

    name, kind = "multiplication", "squared"

    @staticmethod
    def _combined(x: Tensor, y: Tensor) -> Tensor:
        return x * y


class Xor(_MarkedPair):
    """Whether u_I and u_J differ, for fair bits u; otherwise as `Addition` (sec. 4.3, 4.4.1)."""

    name, kind = "xor", "bernoulli"

    def _numbers(self, n: int, time: int, generator: torch.Generator | None) -> Tensor:
        return super()._numbers(n, time, generator).round()

    @staticmethod
    def _combined(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs()


# --------------------------------------------------------------- temporal order (sec. 4.4.2, 4.4.3)


class _TemporalOrder(Problem):
    """Symbols from i[3, 6] but for a few from i[1, 2]; at time T the target says which these were.

    Attributes:
        tenths: a and b of the position i[aT/10, bT/10] of each special symbol, in order.
    """

    n_inputs, kind, least_length = 6, "categorical", 10
    tenths: ClassVar[tuple[tuple[int, int], ...]]

    def _draw(self, n: int, generator: torch.Generator | None) -> Examples:
        time = self.length
        symbols = torch.randint(2, 6, (n, time), generator=generator, device=_device(generator))
        number = torch.zeros_like(symbols[:, 0])
        for least, most in self.tenths:
            low = _full(n, -(-least * time // 10), symbols)
            position = _integers(low, most * time // 10, generator)
            special = _integers(torch.zeros_like(low), 1, generator)
            symbols = torch.where(_at(position, time), special[:, None], symbols)
            number = 2 * number + special
        mask = _at(_full(n, time, symbols), time)
        targets = _one_hot(number, self.n_outputs)[:, None] * mask[..., None]
        return Examples(_one_hot(symbols, self.n_inputs), targets, mask)


class TemporalOrder(_TemporalOrder):
    """Two special symbols a, b at i[T/10, 2T/10] and i[5T/10, 6T/10]; class 2(a − 1) + b − 1.

    Sec. 4.4.2; Hochreiter and Schmidhuber 1997, task 6a. Classes are numbered from 0.
    """

    name, n_outputs = "temporal-order", 4
    tenths = (1, 2), (5, 6)


class TemporalOrder3(_TemporalOrder):
    """Three special symbols, at i[T/10, 2T/10], i[3T/10, 4T/10] and i[6T/10, 7T/10].

    Sec. 4.4.3; Hochreiter and Schmidhuber 1997, task 6b. The class of (a, b, c), from 0, is
    4(a − 1) + 2(b − 1) + c − 1.
    """

    name, n_outputs = "temporal-order-3", 8
    tenths = (1, 2), (3, 4), (6, 7)


# ------------------------------------------------------------------ random permutation (sec. 4.4.4)


class RandomPermutation(Problem):
    """Predict each next symbol of T; the last one is the first again, from i[1, 2].

    Those between are from i[3, 100] (sec. 4.4.4; Hochreiter and Schmidhuber 1997, task 2b). T − 1
    symbols are read, for nothing follows the last. Every prediction counts in the loss, only the
    last one for success.
    """

    name, kind, n_inputs, n_outputs, least_length = "random-permutation", "categorical", 100, 100, 2

    def _draw(self, n: int, generator: torch.Generator | None) -> Examples:
        device = _device(generator)
        ends = torch.randint(2, (n, 1), generator=generator, device=device)
        between = torch.randint(
            2, self.n_inputs, (n, self.length - 2), generator=generator, device=device
        )
        one_hot = _one_hot(torch.cat([ends, between, ends], 1), self.n_inputs)
        mask = torch.ones(n, self.length - 1, dtype=torch.bool, device=device)
        return Examples(one_hot[:, :-1], one_hot[:, 1:], mask)

    def recalled(self, examples: Examples) -> Tensor:
        """The last prediction, [n, time]."""
        return _at(_full(len(examples.mask), self.length - 1, examples.mask), self.length - 1)

    def wrong(self, outputs: Tensor, examples: Examples) -> Tensor:
        """Which sequences are misclassified, [n]: the last prediction is wrong."""
        return (self.errors(outputs, examples) & self.recalled(examples)).any(1)


# -------------------------------------------------------------- noiseless memorization (sec. 4.4.5)


class _Memorization(Problem):
    """K symbols, a gap, a sign to begin, and then the symbols again, in order.

    Of A symbols the inputs are v_1 … v_K from i[1, A], then A + 1 but for the sign A + 2 at time
    T + K. The targets are y_j = A + 1 for j ≤ T + K and then y_{T+K+j} = v_j, so 2K + T in all.
    Every prediction counts, in the loss and for success. (The text once has the sign in the K-th
    time step before the last, where recall begins; as in the formula it is one step before.)

    Attributes:
        items: K.
        alphabet: A.
    """

    kind, least_length = "categorical", 1
    items: ClassVar[int]
    alphabet: ClassVar[int]

    def _draw(self, n: int, generator: torch.Generator | None) -> Examples:
        size = n, self.items
        items = torch.randint(self.alphabet, size, generator=generator, device=_device(generator))
        return self._examples(items)

    def recalled(self, examples: Examples) -> Tensor:
        """The last K predictions, [n, time]."""
        mask = torch.zeros_like(examples.mask)
        mask[:, -self.items :] = True
        return mask

    def _examples(self, items: Tensor) -> Examples:
        """The sequences that begin with given symbols [n, K], counted from 0."""
        blank = items.new_full((len(items), self.length + self.items), self.alphabet)
        inputs = torch.cat([items, blank], 1)
        inputs[:, self.length + self.items - 1] = self.alphabet + 1
        targets = torch.cat([blank, items], 1)
        mask = torch.ones_like(targets, dtype=torch.bool)
        return Examples(_one_hot(inputs, self.n_inputs), _one_hot(targets, self.n_outputs), mask)


class Memorization5(_Memorization):
    """5 bits to be remembered for T steps (sec. 4.4.5)."""

    name, items, alphabet, n_inputs, n_outputs = "memorization-5", 5, 2, 4, 3

    def all_examples(self) -> Examples:
        """Each of the 32 sequences once: the thesis learns from all of them in every update.

        Example:
            >>> len(Memorization5(100).all_examples().inputs)
            32
        """
        return self._examples(torch.cartesian_prod(*[torch.arange(self.alphabet)] * self.items))


class Memorization20(_Memorization):
    """10 symbols from {1 … 5} to be remembered for T steps, over 20 bits (sec. 4.4.5)."""

    name, items, alphabet, n_inputs, n_outputs = "memorization-20", 10, 5, 7, 6


PROBLEMS: dict[str, type[Problem]] = {
    problem.name: problem
    for problem in (
        Addition,
        Multiplication,
        Xor,
        TemporalOrder,
        TemporalOrder3,
        RandomPermutation,
        Memorization5,
        Memorization20,
    )
}


def _right(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Which predictions are right, [n, time], for outputs that are finite."""
    if kind == "squared":
        return ((outputs - targets).abs() <= TOLERANCE).all(-1)
    if kind == "bernoulli":
        return ((outputs > 0) == (targets > 0.5)).all(-1)
    return outputs.argmax(-1) == targets.argmax(-1)


def _integers(low: Tensor, high: Tensor | int, generator: torch.Generator | None) -> Tensor:
    """i[low, high] for each number of `low`, [n]."""
    draws = torch.rand(low.shape, generator=generator, device=low.device, dtype=torch.float64)
    return low + (draws * (high - low + 1)).long()


def _at(positions: Tensor, time: int) -> Tensor:
    """True at a position, counted from 1, of each of n sequences, [n, time]."""
    return torch.arange(1, time + 1, device=positions.device) == positions[:, None]


def _full(n: int, value: int, like: Tensor) -> Tensor:
    """An integer n times, on the device of `like`."""
    return torch.full((n,), value, device=like.device)


def _one_hot(symbols: Tensor, size: int) -> Tensor:
    """Symbols counted from 0 as rows with a single 1."""
    return F.one_hot(symbols, size).to(torch.get_default_dtype())


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _check_integer(name: str, value: int, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
