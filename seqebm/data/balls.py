"""Bouncing balls: the synthetic videos on which recurrent energy-based models are compared."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_MAX_REDRAWS = 10_000  # a placement that succeeds once in 500 draws fails once in 10^8 sequences
_BLOCK_PIXELS = 2**17  # of float32: what is worked on at a time stays in a core's cache


def bouncing_balls_positions(
    n: int,
    length: int = 100,
    balls: int = 3,
    radius: float | Sequence[float] = 1.2,
    mass: float | Sequence[float] = 1.0,
    box: float = 10.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Centres of balls that bounce off each other and off the walls of a square box.

    The dynamics are those of the videos used since 2008. The centres start uniform in
    ``[0.2 * box, box]²``, redrawn together until all balls are inside the walls and apart; the
    velocities start normal, scaled so that the norm over all balls of a sequence is 0.5 per
    frame. Each frame is two half steps; after each, a wall turns the velocity inwards and, pair
    after pair, balls that touch exchange their velocities along the line of centres as in an
    elastic collision.

    Args:
        n: Number of sequences.
        length: Frames per sequence.
        balls: Number of balls.
        radius: Of all balls, or one per ball, in the unit of `box`.
        mass: Of all balls, or one per ball.
        box: Side of the box.
        generator: Source of randomness; its device is the device of the result.

    Returns:
        Centres ``[n, length, balls, 2]`` (column axis, row axis) in float64.

    Raises:
        ValueError: If a setting is out of range, or if the balls do not fit in the box.

    Example:
        >>> bouncing_balls_positions(2, length=5, balls=3).shape
        torch.Size([2, 5, 3, 2])
    """
    _check_integers(1, n=n, length=length, balls=balls)
    device = torch.device("cpu") if generator is None else generator.device
    radii = _per_ball("radius", radius, balls).to(device)
    masses = _per_ball("mass", mass, balls).to(device)
    (side,) = _per_ball("box", box, 1).tolist()
    x = _initial_centres(n, radii, side, generator)
    v = torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator)
    v *= 0.5 / v.norm(dim=(1, 2), keepdim=True)
    return _simulate(x, v, length, radii, masses, side)


def render_balls(
    positions: Tensor,
    resolution: int = 30,
    radius: float | Sequence[float] = 1.2,
    box: float = 10.0,
) -> Tensor:
    """Grey images of balls at the given centres.

    Pixel (I, J) is ``min(1, Σ_i exp(-(((I - x_i0)² + (J - x_i1)²) / r_i²)⁴))`` with the column
    coordinate I and the row coordinate J at the cell centres ``(k + 0.5) / resolution * box``.

    Args:
        positions: Centres ``[..., balls, 2]`` (column axis, row axis), in the unit of `box`.
        resolution: Pixels per side.
        radius: Of all balls, or one per ball.
        box: Side of the box.

    Returns:
        Pixels ``[..., resolution²]`` in [0, 1], float32, row after row (the pixel in column i of
        row j has index ``j * resolution + i``).

    Raises:
        ValueError: If `positions` has another shape, or if a setting is out of range.

    Example:
        >>> centre = torch.tensor([[2.5, 7.5]])
        >>> (render_balls(centre, resolution=2, radius=2.0) > 0.5).int().view(2, 2)
        tensor([[0, 0],
                [1, 0]], dtype=torch.int32)
    """
    if positions.ndim < 2 or positions.shape[-1] != 2 or positions.shape[-2] == 0:
        raise ValueError(f"positions must be [..., balls, 2], got {list(positions.shape)}")
    _check_integers(1, resolution=resolution)
    balls = positions.shape[-2]
    centres = positions.detach().reshape(-1, balls, 2).to(torch.float32)
    radii = _per_ball("radius", radius, balls).to(centres)
    (side,) = _per_ball("box", box, 1).tolist()
    cells = (torch.arange(resolution, device=centres.device) + 0.5) * (side / resolution)
    pixels = centres.new_zeros(len(centres), resolution, resolution)
    block = max(1, _BLOCK_PIXELS // resolution**2)
    for images, some in zip(pixels.split(block), centres.split(block), strict=True):
        _draw(images, ((cells - some[..., None]) / radii[:, None, None]).square_())
    return pixels.view(*positions.shape[:-2], resolution**2)


def bouncing_balls(
    n: int,
    length: int = 100,
    resolution: int = 30,
    balls: int = 3,
    radius: float | Sequence[float] = 1.2,
    mass: float | Sequence[float] = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Videos of bouncing balls in a 10 × 10 box; ``(videos > 0.5).float()`` makes them binary.

    See `bouncing_balls_positions` for the dynamics and `render_balls` for the pixels.

    Args:
        n: Number of sequences.
        length: Frames per sequence.
        resolution: Pixels per side.
        balls: Number of balls.
        radius: Of all balls, or one per ball; the box has side 10.
        mass: Of all balls, or one per ball.
        generator: Source of randomness; its device is the device of the result.

    Returns:
        Grey frames ``[n, length, resolution²]`` in [0, 1], float32.

    Raises:
        ValueError: If a setting is out of range, or if the balls do not fit in the box.

    Example:
        >>> videos = bouncing_balls(2, length=5, generator=torch.Generator().manual_seed(1))
        >>> videos.shape
        torch.Size([2, 5, 900])
    """
    positions = bouncing_balls_positions(n, length, balls, radius, mass, generator=generator)
    return render_balls(positions, resolution, radius)


class BallVideos:
    """An endless training set of bouncing balls: a pure function of the step.

    Step s gets the videos ``s * batch … s * batch + batch - 1`` of an endless seeded list, so a
    resumed run sees exactly the videos that it would have seen, and there is no state to save.
    The list does not depend on `batch`.

    Args:
        batch: Videos per step.
        seed: Which endless list (at least 0).
        length: Frames per video.
        resolution: Pixels per side.
        balls: Number of balls.
        radius: Of all balls, or one per ball; the box has side 10.
        chunk: Videos simulated at a time; another value gives another list.

    Raises:
        ValueError: If a setting is out of range (from the call, if it concerns the balls).

    Example:
        >>> videos = BallVideos(2, seed=1, length=5)
        >>> videos(1000).shape
        torch.Size([2, 5, 900])
        >>> torch.equal(videos(3), BallVideos(2, seed=1, length=5)(3))
        True
    """

    def __init__(
        self,
        batch: int,
        *,
        seed: int,
        length: int = 100,
        resolution: int = 30,
        balls: int = 3,
        radius: float | Sequence[float] = 1.2,
        chunk: int = 256,
    ) -> None:
        _check_integers(1, batch=batch, chunk=chunk, resolution=resolution)
        _check_integers(0, seed=seed)
        self.batch, self.seed, self.length, self.resolution = batch, seed, length, resolution
        self.balls, self.radius, self.chunk = balls, radius, chunk
        self._newest: tuple[int, Tensor] | None = None

    def __call__(self, step: int) -> Tensor:
        """Returns the videos ``[batch, length, resolution²]`` of a step (0, 1, …)."""
        _check_integers(0, step=step)
        number, end = step * self.batch, (step + 1) * self.batch
        parts = []
        while number < end:
            chunk, start = divmod(number, self.chunk)
            parts.append(self._positions(chunk)[start : start + end - number])
            number += len(parts[-1])
        return render_balls(torch.cat(parts), self.resolution, self.radius)

    def _positions(self, chunk: int) -> Tensor:
        """The centres of one chunk, from a generator of its own; the newest chunk is kept."""
        if self._newest is None or self._newest[0] != chunk:
            seeds = np.random.SeedSequence(self.seed, spawn_key=(chunk,))
            generator = torch.Generator().manual_seed(int(seeds.generate_state(1)[0]))
            centres = bouncing_balls_positions(
                self.chunk, self.length, self.balls, self.radius, generator=generator
            )
            self._newest = chunk, centres
        return self._newest[1]


def _check_integers(least: int, **values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _per_ball(name: str, value: float | Sequence[float], balls: int) -> Tensor:
    """`value` as float64 ``[balls]``, positive and finite."""
    values = torch.as_tensor(value, dtype=torch.float64)
    if values.shape not in [(), (balls,)] or not ((values > 0) & values.isfinite()).all():
        raise ValueError(f"{name} must be positive, one number or {balls}, got {value!r}")
    return values.expand(balls)


def _initial_centres(
    n: int, radius: Tensor, box: float, generator: torch.Generator | None
) -> Tensor:
    """Centres ``[n, balls, 2]`` inside the walls and apart, by rejection of whole sequences."""
    x = radius.new_empty(n, len(radius), 2)
    todo = torch.arange(n, device=x.device)
    for _ in range(_MAX_REDRAWS):
        draws = (len(todo), *x.shape[1:])
        uniform = torch.rand(draws, dtype=x.dtype, device=x.device, generator=generator)
        x[todo] = box * (0.2 + 0.8 * uniform)
        todo = todo[~_fits(x[todo], radius, box)]
        if len(todo) == 0:
            return x
    raise ValueError(
        f"no room for {len(radius)} balls of radius {radius.tolist()} in a box of side {box}: "
        "use fewer or smaller balls"
    )


def _fits(x: Tensor, radius: Tensor, box: float) -> Tensor:
    """Whether all balls of a sequence are inside the walls and apart: bool ``[n]``."""
    inside = (x >= radius[:, None]) & (x + radius[:, None] <= box)
    return inside.flatten(1).all(1) & ~_contacts(x, radius)[2].any(1)


def _contacts(x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs ``[pairs, 2]``, first ball after the second; their offsets; whether they overlap."""
    pairs = torch.tril_indices(len(radius), len(radius), -1, device=x.device).T
    offsets = x[:, pairs[:, 0]] - x[:, pairs[:, 1]]
    return pairs, offsets, offsets.norm(dim=-1) < radius[pairs].sum(1)


def _simulate(
    x: Tensor, v: Tensor, length: int, radius: Tensor, mass: Tensor, box: float
) -> Tensor:
    """Centres ``[n, length, balls, 2]`` from the initial centres and velocities."""
    positions = x.new_empty(len(x), length, *x.shape[1:])
    for t in range(length):
        positions[:, t] = x
        for _ in range(2):
            x = x + 0.5 * v
            v = _collide(x, _bounce(x, v, radius, box), radius, mass)
    return positions


def _bounce(x: Tensor, v: Tensor, radius: Tensor, box: float) -> Tensor:
    """Velocities after the walls have turned them inwards."""
    speed = v.abs()
    v = torch.where(x - radius[:, None] < 0, speed, v)
    return torch.where(x + radius[:, None] > box, -speed, v)


def _collide(x: Tensor, v: Tensor, radius: Tensor, mass: Tensor) -> Tensor:
    """Velocities after the collisions, one pair after another (a ball may be in several)."""
    pairs, offsets, touching = _contacts(x, radius)
    lines = F.normalize(offsets, dim=-1) * touching[..., None]  # 0: the pair exchanges nothing
    masses = mass.tolist()
    v = v.clone()
    for (i, j), line in zip(pairs.tolist(), lines.unbind(1), strict=True):
        old_i = (v[:, i] * line).sum(-1, keepdim=True)
        old_j = (v[:, j] * line).sum(-1, keepdim=True)
        new_i, new_j = _elastic(old_i, old_j, masses[i], masses[j])
        v[:, i] += line * (new_i - old_i)
        v[:, j] += line * (new_j - old_j)
    return v


def _elastic(
    speed_i: Tensor, speed_j: Tensor, mass_i: float, mass_j: float
) -> tuple[Tensor, Tensor]:
    """Speeds after an elastic collision on a line."""
    new_j = (2 * mass_i * speed_i + speed_j * (mass_j - mass_i)) / (mass_i + mass_j)
    return new_j + (speed_j - speed_i), new_j


def _draw(images: Tensor, squares: Tensor) -> None:
    """Adds the balls to images ``[n, row, column]``, given (distance / radius)² per axis."""
    for ball in squares.unbind(1):
        s = ball[:, 0, None, :] + ball[:, 1, :, None]
        # exp is ten times slower where it underflows; exp(-2.2⁴) < 1e-10 becomes 0 below
        images += s.clamp_(max=2.2).square_().square_().neg_().exp_()
    F.threshold(images.clamp_(max=1), 1e-9, 0.0, inplace=True)
