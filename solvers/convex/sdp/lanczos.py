"""The least eigenvalue of a symmetric operator, from below never proved: a guide, not a bound.

Lanczos returns Ritz values, which lie above the least eigenvalue. Whoever needs a bound has to get
it elsewhere: see `safe`.

Source: Golub and Van Loan 2013, chapter 10, with full orthogonalisation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["least_eigenpair"]


def least_eigenpair(
    apply: Callable[[Tensor], Tensor], start: Tensor, *, steps: int
) -> tuple[float, Tensor]:
    """Return the least Ritz value and its vector.

    Args:
        apply: The operator on vectors of shape `(n,)`.
        start: Where to begin, not 0; a former eigenvector is best.
        steps: Of Lanczos; at most n.

    Returns:
        The value, and a vector of length 1.
    """
    steps = min(steps, start.numel())
    basis = start.new_zeros(steps, start.numel())
    diagonal, beside = start.new_zeros(steps), start.new_zeros(max(steps - 1, 0))
    basis[0] = start / start.norm()
    used = steps
    for step in range(steps):
        image = apply(basis[step])
        diagonal[step] = basis[step] @ image
        # Twice is enough (Kahan and Parlett): the basis stays orthogonal to rounding.
        for _ in range(2):
            image = image - basis[: step + 1].T @ (basis[: step + 1] @ image)
        length = image.norm()
        if step + 1 == steps:
            break
        if length <= 1e-12 * (1.0 + diagonal[: step + 1].abs().max()):
            used = step + 1
            break
        beside[step] = length
        basis[step + 1] = image / length
    small = torch.diag(diagonal[:used])
    if used > 1:
        side = beside[: used - 1]
        small = small + torch.diag(side, 1) + torch.diag(side, -1)
    values, vectors = torch.linalg.eigh(small)
    vector = vectors[:, 0] @ basis[:used]
    return float(values[0]), vector / vector.norm()
