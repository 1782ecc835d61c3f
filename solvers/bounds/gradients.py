"""Hand-written gradients of the elementwise steps that every bound goes through.

Autograd keeps and passes over several arrays for each of them; here a step reads its arguments
once, works in place, and so costs training a fraction. Tests hold them to finite differences.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["SavedContext", "chord", "halves", "on_lines"]


class SavedContext(Protocol):
    """What a hand-written autograd function keeps between its two directions."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the way back."""
        ...


def halves(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return (upper + lower) / 2 and (upper − lower) / 2."""
    center, radius = _Halves.apply(lower, upper)  # type: ignore[no-untyped-call]
    return center, radius


class _Halves(torch.autograd.Function):
    """Midpoint and half the width; its own adjoint, up to order."""

    @staticmethod
    def forward(_ctx: SavedContext, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return (lower + upper).mul_(0.5), (upper - lower).mul_(0.5)

    @staticmethod
    def backward(
        _ctx: SavedContext, grad_center: Tensor, grad_radius: Tensor
    ) -> tuple[Tensor, Tensor]:
        return (grad_center - grad_radius).mul_(0.5), (grad_center + grad_radius).mul_(0.5)


def chord(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of the chord of max(0, x) over finite intervals.

    The slope is max(0, u) / (max(0, u) − min(0, l)): exactly 0 or 1 where the interval is on one
    side of zero, where the intercept is 0 and gradients are too.

    Args:
        lower: Lower ends.
        upper: Upper ends, of the same shape.
    """
    slope, intercept = _Chord.apply(lower, upper)  # type: ignore[no-untyped-call]
    return slope, intercept


class _Chord(torch.autograd.Function):
    """s = p / (p − n) and i = −s·n with p = max(0, u), n = min(0, l)."""

    @staticmethod
    def forward(ctx: SavedContext, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        positive, negative = upper.clamp(min=0), lower.clamp(max=0)
        width = (positive - negative).clamp_(min=torch.finfo(lower.dtype).tiny)
        slope = positive / width
        ctx.save_for_backward(positive, negative, width, slope)
        return slope, (slope * negative).neg_()

    @staticmethod
    def backward(
        ctx: SavedContext, grad_slope: Tensor, grad_intercept: Tensor
    ) -> tuple[Tensor, Tensor]:
        positive, negative, width, slope = ctx.saved_tensors
        # ∂s/∂p = −n/w², ∂s/∂n = p/w², ∂i/∂p = n²/w², ∂i/∂n = −p²/w². Both products vanish unless
        # p > 0 > n, except that s / w does not where n = 0: there the clamp has no gradient.
        rest = slope / width
        grad_lower = torch.addcmul(grad_slope, positive, grad_intercept, value=-1)
        grad_lower.mul_(rest).mul_(negative.sign().neg_())
        grad_upper = torch.addcmul(grad_slope, negative, grad_intercept, value=-1)
        grad_upper.mul_((1 - slope).div_(width)).mul_(positive.sign())
        return grad_lower, grad_upper


def on_lines(
    coefficients: Tensor, x: Tensor, lower_slope: Tensor, upper_slope: Tensor, intercept: Tensor
) -> Tensor:
    """Evaluate the lower line through the origin, or the upper line where a coefficient is < 0.

    Args:
        coefficients: Whose sign decides, of the shape of `x`; no gradient goes there.
        x: Where to evaluate.
        lower_slope: Of the lower line, of the shape of `x`.
        upper_slope: Of the upper line.
        intercept: Of the upper line.
    """
    value: Tensor = _OnLines.apply(  # type: ignore[no-untyped-call]
        coefficients.detach(), x, lower_slope, upper_slope, intercept
    )
    return value


class _OnLines(torch.autograd.Function):
    """s·x + m·i, where m is 1 under a negative coefficient and s the slope asked for."""

    @staticmethod
    def forward(
        ctx: SavedContext,
        coefficients: Tensor,
        x: Tensor,
        lower_slope: Tensor,
        upper_slope: Tensor,
        intercept: Tensor,
    ) -> Tensor:
        above = (coefficients < 0).to(x.dtype)
        slope = torch.lerp(lower_slope, upper_slope, above)
        ctx.save_for_backward(above, x, slope)
        return torch.addcmul(above * intercept, slope, x)

    @staticmethod
    def backward(ctx: SavedContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        above, x, slope = ctx.saved_tensors
        needs = ctx.needs_input_grad
        grad_intercept = grad * above
        grad_upper = grad_intercept * x if needs[3] else None
        grad_lower = (grad - grad_intercept).mul_(x) if needs[2] else None
        return None, grad * slope, grad_lower, grad_upper, grad_intercept
