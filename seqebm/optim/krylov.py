"""Krylov subspace descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from seqebm.optim.curvature import GaussNewton
from seqebm.optim.hessian_free import check_range
from seqebm.optim.second_order import Direction, SecondOrder, Situation

FLOOR = 1e-4  # of the eigenvalues of the curvature inside the subspace, of the largest


class KrylovDescent(SecondOrder):
    """f is minimised inside a small subspace that its curvature spans (Vinyals and Povey 2012).

    The subspace holds f', G f' … G^{m−1} f' and the last step, made orthonormal: K. Inside it,
    f(θ + K C⁻ᵀz) is minimised over z by L-BFGS with gradients of the checking batches, where C Cᵀ
    is the curvature KᵀG K with its eigenvalues raised to a floor: in z all directions curve alike.
    It has no λ. The whole basis is kept, m + 1 vectors.

    Args:
        params: the parameters, in one group.
        dimensions: m.
        iterations: of L-BFGS at most.

    Raises:
        ValueError: a setting out of its range, or several groups.

    Example:
        >>> import torch
        >>> from seqebm.optim import KrylovDescent, Prediction, Squared
        >>> net, x, y = torch.nn.Linear(2, 1), torch.eye(2), torch.tensor([[1.0], [2.0]])
        >>> optimizer = KrylovDescent(net.parameters())
        >>> optimizer.step(lambda x: Prediction(net(x), Squared(y)), [x]).after < 1e-4
        True
    """

    def __init__(self, params: Iterable[Any], dimensions: int = 20, iterations: int = 30) -> None:
        check_range("dimensions", dimensions, 1, math.inf)
        check_range("iterations", iterations, 1, math.inf)
        defaults = {"damping": 0.0, "dimensions": dimensions, "iterations": iterations}
        super().__init__(params, defaults)

    def direction(self, here: Situation) -> Direction | None:
        """The best place of the subspace."""
        matrix = GaussNewton(here.objective, here.curvature)
        known = [] if here.remembered is None else [here.remembered]
        basis, images = krylov_basis(
            matrix.product, here.gradient, self.settings["dimensions"], known
        )
        if not bool(images.isfinite().all()):
            return None
        values, vectors = torch.linalg.eigh(basis @ images.t())
        values = values.clamp(min=FLOOR * float(values.max()))
        spread = (vectors / values.sqrt()).t() @ basis  # rows: directions that all curve alike
        step = self._minimised(here, spread)
        return Direction(step, here.value(step), math.nan, len(basis), len(basis), step)

    def _minimised(self, here: Situation, basis: Tensor) -> Tensor:
        """Where f is lowest among combinations of the rows of a basis."""
        f, start = here.objective, here.objective.position
        z = torch.zeros(len(basis), dtype=basis.dtype, device=basis.device, requires_grad=True)
        search = torch.optim.LBFGS(
            [z], max_iter=self.settings["iterations"], line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            z.grad = torch.zeros_like(z)
            try:
                with f.moved_to(start + z.detach() @ basis):
                    value, slope = f.gradient(here.check)
            except FloatingPointError:  # too far: its line search comes back
                return math.inf
            z.grad += basis @ slope
            return value

        search.step(closure)
        return z.detach() @ basis


def krylov_basis(
    product: Callable[[Tensor], Tensor], vector: Tensor, dimensions: int, known: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of known vectors and of b, Bb … B^{m−1}b, and its images under B.

    Each new vector is the image of the last one, made orthogonal to all before (Arnoldi); those
    that add nothing are left out.

    Returns:
        The basis and its images, [at most m + known, N].

    Example:
        >>> basis, images = krylov_basis(lambda v: 2 * v, torch.tensor([3.0, 4.0]), 5, [])
        >>> basis, images
        (tensor([[0.6000, 0.8000]]), tensor([[1.2000, 1.6000]]))
    """
    basis = vector.new_empty(0, len(vector))
    images = basis
    tiny = 100 * torch.finfo(vector.dtype).eps
    for _ in range(dimensions):
        norm = float(vector.norm())
        for _ in range(2):  # once is not enough where little is left
            vector = vector - basis.t() @ (basis @ vector)
        if not float(vector.norm()) > tiny * norm:
            break
        vector = vector / vector.norm()
        image = product(vector)
        basis, images = torch.cat([basis, vector[None]]), torch.cat([images, image[None]])
        vector = image
    for vector in known:
        rest = vector - basis.t() @ (basis @ vector)
        if float(rest.norm()) > tiny * float(vector.norm()):
            rest = rest / rest.norm()
            basis = torch.cat([basis, rest[None]])
            images = torch.cat([images, product(rest)[None]])
    return basis, images
