"""Linear relaxations: two linear functions that enclose a nonlinearity on its interval.

A backward pass asks one thing of a relaxation: given the coefficients A of a linear function of
the nonlinearity's output, return coefficients of its inputs and a constant such that the new
linear function is never above the old one. Positive coefficients therefore take the lower line,
negative ones the upper line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.bounds.gradients import SavedContext, on_lines
from solvers.bounds.patches import Patches
from solvers.errors import UnsupportedMethodError

__all__ = [
    "ConstantRelaxation",
    "ElementwiseRelaxation",
    "Relaxation",
    "SavedContext",
    "SelectionRelaxation",
]


class Relaxation(ABC):
    """What encloses one nonlinear node for every example of a batch."""

    @property
    def beyond(self) -> tuple[str, ...]:
        """Names of further nodes, before the node's inputs, that its lines are functions of.

        `backward` returns their coefficients behind those of the inputs.
        """
        return ()

    @abstractmethod
    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Replace the node by its lines, from below.

        Args:
            coefficients: Of the node's output, shape `(batch, rows, *shape)`.

        Returns:
            Coefficients of each input of the node, shape `(batch, rows, *input_shape)`, or none at
            all where the node was replaced by constants; and what is added to the constant, shape
            `(batch, rows)`.
        """

    def backward_patches(self, patches: Patches) -> tuple[tuple[Patches, ...], Tensor] | None:  # noqa: ARG002
        """Do the same to windows; None where the node needs whole maps."""
        return None

    def attained(self, coefficients: Tensor, inputs: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Return the output that `backward` took for the node, at values of its inputs.

        Args:
            coefficients: Of the node's output, shape `(batch, *shape)`: one row per example.
            inputs: One tensor of shape `(batch, *input_shape)` per input of the node.

        Returns:
            The lower line where a coefficient is 0 or more, else the upper line, at the inputs;
            shape `(batch, *shape)`.

        Raises:
            UnsupportedMethodError: The relaxation has no such point.
        """
        raise UnsupportedMethodError(
            f"the minimum over a {type(self).__name__} is not taken at one point, so it cannot be "
            "compared with the network; train without the feasibility regularizer"
        )


@dataclass(frozen=True)
class ElementwiseRelaxation(Relaxation):
    """lower_slope · x + lower_intercept ≤ f(x) ≤ upper_slope · x + upper_intercept.

    Attributes:
        lower_slope, upper_slope: Shape `(batch, rows or 1, *shape)`.
        lower_intercept, upper_intercept: The same; a lower intercept of None is zero.
    """

    lower_slope: Tensor
    upper_slope: Tensor
    lower_intercept: Tensor | None
    upper_intercept: Tensor

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Multiply by the slope that each coefficient's sign asks for."""
        lines = (self.lower_slope, self.upper_slope, self.lower_intercept, self.upper_intercept)
        passed, constant = _apply_lines(coefficients, lines)
        return (passed,), constant

    def backward_patches(self, patches: Patches) -> tuple[tuple[Patches], Tensor] | None:
        """Read the lines through the windows; beyond the edge they are zero, as they should be."""

        def read(line: Tensor) -> Tensor:
            return patches.read(line.squeeze(2))

        lines = (
            read(self.lower_slope),
            read(self.upper_slope),
            None if self.lower_intercept is None else read(self.lower_intercept),
            read(self.upper_intercept),
        )
        passed, constant = _apply_lines(patches.values, lines)
        return (patches.with_values(passed),), constant

    def attained(self, coefficients: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """Evaluate the line that each coefficient's sign asks for; lines are shared by rows."""
        lines = (self.lower_slope, self.upper_slope, self.upper_intercept)
        value = on_lines(coefficients, inputs[0], *(line.squeeze(1) for line in lines))
        if self.lower_intercept is None:
            return value
        return value + (coefficients >= 0) * self.lower_intercept.squeeze(1)

    def gap_at_zero(self) -> Tensor:
        """Return how far the lines are apart at 0, shape `(batch, rows or 1, *shape)`."""
        if self.lower_intercept is None:
            return self.upper_intercept
        return self.upper_intercept - self.lower_intercept


_Lines = tuple[Tensor, Tensor, Tensor | None, Tensor]
"""Lower slope, upper slope, lower intercept, upper intercept."""


def _apply_lines(coefficients: Tensor, lines: _Lines) -> tuple[Tensor, Tensor]:
    """Replace a nonlinearity by its lines, shapes `(batch, rows or 1, …)`."""
    flat = coefficients.flatten(2)
    lower_slope, upper_slope, lower_intercept, upper_intercept = lines
    passed, constant = _SignedLines.apply(  # type: ignore[no-untyped-call]
        flat, lower_slope.flatten(2), upper_slope.flatten(2), upper_intercept.flatten(2)
    )
    if lower_intercept is not None:
        constant = constant + (flat.clamp(min=0) * lower_intercept.flatten(2)).sum(-1)
    return passed.reshape(coefficients.shape), constant


class _SignedLines(torch.autograd.Function):
    """A · (lower slope where A ≥ 0, else upper slope), and Σ min(A, 0) · upper intercept.

    Written by hand because this is the inner loop of every backward pass: autograd's own version
    keeps four arrays of the size of A alive, this one keeps A alone.
    """

    @staticmethod
    def forward(
        ctx: SavedContext,
        a: Tensor,
        lower_slope: Tensor,
        upper_slope: Tensor,
        upper_intercept: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a, lower_slope, upper_slope, upper_intercept)
        negative = a.clamp(max=0)
        if upper_intercept.shape[1] == 1:
            constant = torch.matmul(negative, upper_intercept.transpose(1, 2)).squeeze(-1)
        else:
            constant = (negative * upper_intercept).sum(-1)
        # A·l for positive and A·u for negative entries, as A·l + A⁻·(u − l).
        passed = torch.addcmul(a * lower_slope, negative, upper_slope - lower_slope)
        return passed, constant

    @staticmethod
    def backward(
        ctx: SavedContext, grad_passed: Tensor, grad_constant: Tensor
    ) -> tuple[Tensor | None, ...]:
        a, lower_slope, upper_slope, upper_intercept = ctx.saved_tensors
        needs = ctx.needs_input_grad
        # As numbers: arithmetic is several times faster than a choice between two arrays.
        negative = (a < 0).to(a.dtype)
        grad_a = grad_lower = grad_upper = grad_intercept = None
        if needs[0]:
            grad_a = torch.lerp(lower_slope, upper_slope, negative).mul_(grad_passed)
            grad_a.addcmul_(negative * grad_constant.unsqueeze(-1), upper_intercept)
        if needs[1] or needs[2]:
            product = grad_passed * a
            above = product * negative
            if needs[1]:
                grad_lower = _sum_to(product - above, lower_slope)
            if needs[2]:
                grad_upper = _sum_to(above, upper_slope)
        if needs[3]:
            terms = a.clamp(max=0).mul_(grad_constant.unsqueeze(-1))
            grad_intercept = _sum_to(terms, upper_intercept)
        return grad_a, grad_lower, grad_upper, grad_intercept


def _sum_to(value: Tensor, like: Tensor) -> Tensor:
    return value.sum(1, keepdim=True) if like.shape[1] == 1 < value.shape[1] else value


@dataclass(frozen=True)
class ConstantRelaxation(Relaxation):
    """lower ≤ f(x) ≤ upper without regard to x: what interval propagation knows of a node.

    Attributes:
        lower, upper: Bounds of the node's output, shape `(batch, *shape)`.
    """

    lower: Tensor
    upper: Tensor

    def backward(self, coefficients: Tensor) -> tuple[tuple[()], Tensor]:
        """Put the bound that each coefficient's sign asks for into the constant."""
        flat = coefficients.flatten(2)
        lowers = self.lower.flatten(1).unsqueeze(-1)
        uppers = self.upper.flatten(1).unsqueeze(-1)
        constant = torch.matmul(flat.clamp(min=0), lowers) + torch.matmul(flat.clamp(max=0), uppers)
        return (), constant.squeeze(-1)

    def backward_patches(self, patches: Patches) -> tuple[tuple[()], Tensor]:
        """Read the bounds through the windows; beyond the edge they are zero."""
        values = patches.values
        above = values.clamp(min=0) * patches.read(self.lower)
        below = values.clamp(max=0) * patches.read(self.upper)
        return (), (above + below).flatten(2).sum(-1)

    def attained(self, coefficients: Tensor, inputs: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Return the bound that each coefficient's sign asks for."""
        return torch.where(coefficients >= 0, self.lower, self.upper)


@dataclass(frozen=True)
class SelectionRelaxation(Relaxation):
    """x[selected] ≤ y ≤ x[selected] where exact, else y ≤ ceiling; for a maximum over windows.

    Attributes:
        selected: Flat index of an input that is never above the output, shape `(batch, outputs)`.
        exact: Whether the output equals that input, shape `(batch, outputs)`.
        ceiling: Largest value of the output, shape `(batch, outputs)`.
        input_shape: Of one example.
    """

    selected: Tensor
    exact: Tensor
    ceiling: Tensor
    input_shape: tuple[int, ...]

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor], Tensor]:
        """Send coefficients to the selected inputs, or to the constant."""
        flat = coefficients.flatten(2)
        batch, rows, _ = flat.shape
        to_ceiling = flat.clamp(max=0).masked_fill(self.exact.unsqueeze(1), 0)
        constant = torch.matmul(to_ceiling, self.ceiling.unsqueeze(-1)).squeeze(-1)
        size = 1
        for extent in self.input_shape:
            size *= extent
        index = self.selected.unsqueeze(1).expand(batch, rows, -1)
        zeros = flat.new_zeros(batch, rows, size)
        passed = zeros.scatter_add(2, index, flat - to_ceiling)
        return (passed.reshape(batch, rows, *self.input_shape),), constant

    def attained(self, coefficients: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """Return the selected inputs, or the ceiling where `backward` took that."""
        flat = coefficients.flatten(1)
        selected = inputs[0].flatten(1).gather(1, self.selected)
        taken = torch.where((flat >= 0) | self.exact, selected, self.ceiling)
        return taken.reshape(coefficients.shape)
