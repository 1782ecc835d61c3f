"""Ascent along eigenvectors, for programs whose matrices no other method can hold while it works.

It maximises γ − ω · max(0, −λmin(D^(−1/2) S D^(−1/2))), which bounds the margin for every κ, y ≥ 0
and every positive diagonal D with trace ω, by Adam; S is applied to vectors through the sparse
forms alone, on the device. It begins with CROWN's multipliers, and D is how much each column
counted there, so that an eigenvalue costs in proportion to what its columns are worth.

Lanczos gives λmin from above only, so nothing on the way is a bound. At the end the multipliers of
the best iterate are certified: S is assembled once and factorised, with rounding errors bounded, by
`safe_bound`. The program is refused where even that one matrix does not fit.

Source: Dathathri et al. 2020, *Enabling certification of verification-agnostic networks via
memory-efficient semidefinite programming*.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.budget import Budget
from solvers.convex.sdp.crown_start import CrownStart, crown_start
from solvers.convex.sdp.lanczos import least_eigenpair
from solvers.convex.sdp.program import Program
from solvers.convex.sdp.safe import Multipliers

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["DualOperator", "FirstOrder", "FirstOrderSettings"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FirstOrderSettings:
    """How to ascend.

    Attributes:
        steps: At most.
        rate: Of Adam, in units of each multiplier's own scale, at the start.
        final_rate: At the last step.
        lanczos: Steps of each eigenvalue.
        every: How often one is computed with care, which is when an iterate may count as the best.
        careful: Steps of those.
        goal: Stop when the estimate is above it, in the units of the specification.
    """

    steps: int = 5000
    rate: float = 0.3
    final_rate: float = 1e-3
    lanczos: int = 8
    every: int = 25
    careful: int = 60
    goal: float = np.inf


class DualOperator:
    """S applied to vectors, and the derivatives of vᵀSv, without forming a matrix.

    Args:
        program: With its objective.
        device: Where to compute; in float64.
    """

    def __init__(self, program: Program, device: str) -> None:
        products = program.products
        both = np.concatenate([products.left, products.right])
        used, place = np.unique(both, return_inverse=True)
        rows = program.forms.matrix[used]
        self.device = torch.device(device)
        # Every form is evaluated once, however many products it is part of.
        self._rows = _on_device(rows, self.device)
        self._back = _on_device(rows.T.tocsr(), self.device)
        places = torch.from_numpy(place.astype(np.int64)).to(self.device)
        self._left, self._right = places[: products.count], places[products.count :]
        self._cost = torch.from_numpy(program.objective.coefficients).to(self.device)

    def apply(self, corner: Tensor, diagonal: Tensor, product: Tensor, vector: Tensor) -> Tensor:
        """Return S v for multipliers γ, κ and y."""
        values = self._rows @ vector
        weights = torch.zeros_like(values)
        weights.index_add_(0, self._left, product * values[self._right])
        weights.index_add_(0, self._right, product * values[self._left])
        result = (self._back @ weights) / -2
        first = vector[0]
        result += self._cost * (first / 2)
        result[0] += self._cost @ vector / 2 - (corner + diagonal.sum()) * first
        result[1:] += diagonal * vector[1:]
        return result

    def derivatives(self, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the derivatives of vᵀSv by γ, κ and y."""
        squares = vector**2
        values = self._rows @ vector
        product = -values[self._left] * values[self._right]
        return -squares[0], squares[1:] - squares[0], product


def _on_device(matrix: SparseMatrix, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # torch calls these tensors a beta feature; all that is used here are products of them
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.copy()),
            size=matrix.shape,
            check_invariants=False,
        ).to(device)


class FirstOrder:
    """One ascent.

    Args:
        program: With its objective.
        settings: How to ascend.
        device: `cpu` or `cuda`.
        seed: Of the first vector.
    """

    def __init__(
        self, program: Program, settings: FirstOrderSettings, device: str, seed: int
    ) -> None:
        self._program, self._settings = program, settings
        self._operator = DualOperator(program, device)
        self.start = crown_start(program)
        generator = torch.Generator().manual_seed(seed)
        vector = torch.randn(program.size, generator=generator, dtype=torch.float64)
        self._vector = vector.to(self._operator.device)
        self._scale = torch.from_numpy(_column_scale(self.start)).to(self._operator.device)
        self._bounded = torch.from_numpy(~program.products.equality).to(self._operator.device)
        self.steps = 0

    def run(
        self, budget: Budget, *, on_step: Callable[[float], None] = lambda _: None
    ) -> Multipliers:
        """Ascend until the budget ends; return the multipliers of the best iterate.

        Args:
            budget: Asked at each step; what certifies the result comes on top.
            on_step: Told the best estimate so far, in the units of the specification.
        """
        device = self._operator.device
        start = self.start.multipliers
        units = self._units()
        # In units of their own, so that one rate fits all.
        values = torch.cat(
            [
                torch.tensor([self.start.bound], dtype=torch.float64),
                torch.from_numpy(np.concatenate([start.diagonal, start.product])),
            ]
        ).to(device)
        point = (values / units).requires_grad_()
        optimiser = torch.optim.Adam([point], lr=self._settings.rate, betas=(0.9, 0.99))
        fall = self._settings.final_rate / self._settings.rate
        whole = budget.remaining_seconds
        best, kept = -np.inf, values
        while self.steps < self._settings.steps and not budget.exhausted:
            values = (point.detach() * units).clone()
            counts = self.steps % self._settings.every == 0
            lanczos = self._settings.careful if counts else self._settings.lanczos
            estimate, gradient, shift = self._estimate(values, lanczos)
            if counts and estimate > best:
                best, kept = estimate, values.clone()
                kept[1 : self._program.size] += shift * self._scale[1:]
            on_step(best * self._program.objective.scale)
            self.steps += 1
            if best * self._program.objective.scale > self._settings.goal:
                break
            point.grad = -gradient * units
            optimiser.step()
            # The rate falls over the steps or the time there is, whichever ends first.
            done = max(self.steps / self._settings.steps, _spent(budget, whole))
            optimiser.param_groups[0]["lr"] = self._settings.rate * fall ** min(done, 1.0)
            self._project(point)
        size = self._program.size
        values = (point.detach() * units).clone()
        estimate, _, shift = self._estimate(values, self._settings.careful)
        if estimate > best:
            kept = values.clone()
            kept[1:size] += shift * self._scale[1:]
        final = kept.cpu().numpy()
        return Multipliers(self._program.products, final[1:size], final[size:])

    def _units(self) -> Tensor:
        """Return the scale of every multiplier: what its columns are worth."""
        scale = self._scale.cpu().numpy()
        forms = self._program.forms
        worth = scale[forms.height]
        product = np.concatenate([worth, worth, worth])
        return torch.from_numpy(
            np.concatenate([[scale[1:].sum()], scale[1:], np.maximum(product, 1e-12)])
        ).to(self._operator.device)

    def _estimate(self, values: Tensor, lanczos: int) -> tuple[float, Tensor, float]:
        """Return the objective, its supergradient, and the shift along D that it charges for."""
        size = self._program.size
        corner, diagonal, product = values[0], values[1:size], values[size:]
        root = self._scale.rsqrt()

        def apply(vector: Tensor) -> Tensor:
            return root * self._operator.apply(corner, diagonal, product, root * vector)

        least, vector = least_eigenpair(apply, self._vector, steps=lanczos)
        self._vector = vector
        gradient = torch.zeros_like(values)
        gradient[0] = 1.0
        charge = max(0.0, -least)
        if charge > 0.0:
            worth = float(self._scale.sum())
            parts = self._operator.derivatives(root * vector)
            gradient += worth * torch.cat([parts[0][None], parts[1], parts[2]])
            return float(corner) - worth * charge, gradient, charge
        return float(corner), gradient, 0.0

    def _project(self, point: Tensor) -> None:
        """Keep κ and the multipliers of inequalities at least 0."""
        size = self._program.size
        with torch.no_grad():
            point[1:size].clamp_(min=0.0)
            product = point[size:]
            product.copy_(torch.where(self._bounded, product.clamp(min=0.0), product))


def _column_scale(start: CrownStart) -> FloatArray:
    """Return the diagonal D: how much each column counted, and all of them for the constant."""
    worth = start.importance
    mean = float(worth.mean()) if worth.size else 1.0
    columns = np.maximum(worth, 1e-2 * max(mean, 1e-12))
    return np.concatenate([[columns.sum()], columns])


def _spent(budget: Budget, whole: float) -> float:
    """Return the share of the time that is gone; 0 where there is no limit."""
    return 1.0 - budget.remaining_seconds / whole if 0.0 < whole < np.inf else 0.0
