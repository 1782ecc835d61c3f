"""Relaxations whose lines can be adjusted by gradient, per row.

Between its slopes for α = 0 and α = 1 an activation's lower line moves linearly, so a pass needs
only the two ends and α. Coefficients may be windows; α then has the shape of the windows, since a
row's slopes elsewhere never matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from solvers.bounds.gradients import SavedContext
from solvers.bounds.patches import Patches
from solvers.bounds.relaxation import ElementwiseRelaxation, Relaxation

__all__ = ["AdjustableLines", "AdjustedWhole"]

_Field = Callable[[Tensor], Tensor]
"""Brings a line of shape `(batch, 1, *shape)` into the layout of the coefficients, flattened."""


@dataclass(frozen=True)
class _Ends:
    """The lines at both ends of α, laid out like the coefficients, `(batch, rows or 1, values)`."""

    lower_slope: Tensor
    lower_slope_span: Tensor
    upper_slope: Tensor
    upper_slope_span: Tensor | None
    upper_intercept: Tensor
    upper_intercept_span: Tensor | None
    lower_intercept: Tensor | None
    lower_intercept_span: Tensor | None


@dataclass
class AdjustableLines(Relaxation):
    """An elementwise nonlinearity with a lower line per row that α chooses.

    Attributes:
        at_zero, at_one: The relaxation at either end of α, with shared rows.
        start: Where α begins, shape `(batch, 1, *shape)`.
        shared: Whether all rows have the same α, which takes a fraction of the memory.
        alpha: Made by the first pass: in the layout of its coefficients, or of `start` if shared.
    """

    at_zero: ElementwiseRelaxation
    at_one: ElementwiseRelaxation
    start: Tensor
    shared: bool = False
    alpha: Tensor | None = None
    _ends: _Ends | None = field(default=None, repr=False)

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Multiply by the slope that each coefficient's sign asks for."""
        flat = coefficients.flatten(2)
        passed, constant = self._apply(flat, lambda line: line.flatten(2))
        return (passed.reshape(coefficients.shape),), constant

    def backward_patches(self, patches: Patches) -> tuple[tuple[Patches], Tensor] | None:
        """Do the same to windows; lines are read through them once and kept."""
        flat = patches.values.flatten(2)
        passed, constant = self._apply(flat, lambda line: patches.read(line.squeeze(2)).flatten(2))
        return (patches.with_values(passed.reshape(patches.values.shape)),), constant

    def _apply(self, flat: Tensor, laid_out: _Field) -> tuple[Tensor, Tensor]:
        if self._ends is None or self.alpha is None:
            self._ends = _ends(self.at_zero, self.at_one, laid_out)
            start = self.start if self.shared else laid_out(self.start).expand(flat.shape)
            self.alpha = start.clone(memory_format=torch.contiguous_format).requires_grad_()
        ends, alpha = self._ends, self.alpha
        if self.shared:
            return _general(flat, laid_out(alpha), ends)
        if ends.upper_slope_span is None and ends.lower_intercept is None:
            passed, constant = _AdjustedLines.apply(  # type: ignore[no-untyped-call]
                flat,
                alpha,
                (ends.lower_slope, ends.lower_slope_span, ends.upper_slope, ends.upper_intercept),
            )
            return passed, constant
        return _general(flat, alpha, ends)


def _ends(low: ElementwiseRelaxation, high: ElementwiseRelaxation, laid_out: _Field) -> _Ends:
    """Lay the ends out; spans that vanish everywhere are left out."""
    slope, intercept = laid_out(low.upper_slope), laid_out(low.upper_intercept)
    slope_span = laid_out(high.upper_slope) - slope
    intercept_span = laid_out(high.upper_intercept) - intercept
    fixed_upper = not bool(slope_span.any() | intercept_span.any())
    below = None if low.lower_intercept is None else laid_out(low.lower_intercept)
    below_span = None
    if below is not None and high.lower_intercept is not None:
        below_span = laid_out(high.lower_intercept) - below
        if not bool(below.any() | below_span.any()):
            below = below_span = None
    lower_slope = laid_out(low.lower_slope)
    return _Ends(
        lower_slope,
        laid_out(high.lower_slope) - lower_slope,
        slope,
        None if fixed_upper else slope_span,
        intercept,
        None if fixed_upper else intercept_span,
        below,
        below_span,
    )


def _general(flat: Tensor, alpha: Tensor, ends: _Ends) -> tuple[Tensor, Tensor]:
    """Apply lines of which more than the lower slope moves, such as those of concave pieces."""
    positive, negative = flat.clamp(min=0), flat.clamp(max=0)
    lower_slope = ends.lower_slope + alpha * ends.lower_slope_span
    upper_slope, upper_intercept = ends.upper_slope, ends.upper_intercept
    if ends.upper_slope_span is not None and ends.upper_intercept_span is not None:
        upper_slope = upper_slope + alpha * ends.upper_slope_span
        upper_intercept = upper_intercept + alpha * ends.upper_intercept_span
    constant = (negative * upper_intercept).sum(-1)
    if ends.lower_intercept is not None and ends.lower_intercept_span is not None:
        below = ends.lower_intercept + alpha * ends.lower_intercept_span
        constant = constant + (positive * below).sum(-1)
    return positive * lower_slope + negative * upper_slope, constant


@dataclass
class AdjustedWhole(Relaxation):
    """A nonlinearity that is rebuilt from α on every pass.

    Attributes:
        build: Returns the relaxation for an α of shape `(batch, rows or 1, …)`.
        start: Where α begins, shape `(batch, 1, …)`.
        shared: Whether all rows have the same α.
        alpha: Made by the first pass.
    """

    build: Callable[[Tensor], Relaxation]
    start: Tensor
    shared: bool = True
    alpha: Tensor | None = None

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Cross the node with the present α."""
        if self.alpha is None:
            rows = 1 if self.shared else coefficients.shape[1]
            wide = self.start.expand(-1, rows, *self.start.shape[2:])
            self.alpha = wide.clone(memory_format=torch.contiguous_format).requires_grad_()
        return self.build(self.alpha).backward(coefficients)


class _AdjustedLines(torch.autograd.Function):
    """A⁺ · (l + α · span) + A⁻ · u, and Σ A⁻ · intercept, differentiated in A and α alone."""

    @staticmethod
    def forward(
        ctx: SavedContext, a: Tensor, alpha: Tensor, lines: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        slope, span, upper_slope, intercept = lines
        ctx.save_for_backward(a, alpha, slope, span, upper_slope, intercept)
        negative = a.clamp(max=0)
        if intercept.shape[1] == 1:
            constant = torch.matmul(negative, intercept.transpose(1, 2)).squeeze(-1)
        else:
            constant = torch.einsum("brn,brn->br", negative, intercept)
        chosen = torch.addcmul(slope, alpha, span)
        passed = chosen.mul_(a - negative).addcmul_(negative, upper_slope)
        return passed, constant

    @staticmethod
    def backward(
        ctx: SavedContext, grad_passed: Tensor, grad_constant: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        a, alpha, slope, span, upper_slope, intercept = ctx.saved_tensors
        positive = a > 0
        grad_a = None
        if ctx.needs_input_grad[0]:
            below = torch.addcmul(slope, alpha, span).mul_(grad_passed)
            above = torch.addcmul(grad_passed * upper_slope, grad_constant.unsqueeze(-1), intercept)
            grad_a = torch.where(positive, below, above)
        grad_alpha = (grad_passed * a).mul_(span).masked_fill_(~positive, 0)
        return grad_a, grad_alpha, None
