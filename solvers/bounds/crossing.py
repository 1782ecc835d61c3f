"""How coefficients cross an affine node, as windows or whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from models.graph import Node
from models.parameters import Parameters
from solvers.bounds.patches import Patches
from solvers.bounds.rules.base import AffineRule

__all__ = ["Coefficients", "Shapes", "cross_affine", "whole"]

Coefficients = Tensor | Patches
"""Of one node: whole, shape `(batch, rows, *node_shape)`, or windows of a convolutional map."""
Shapes = Sequence[tuple[int, ...]]


def whole(coefficients: Coefficients) -> Tensor:
    """Return coefficients of every value."""
    return coefficients.dense() if isinstance(coefficients, Patches) else coefficients


def cross_affine(
    node: Node,
    rule: AffineRule[Any],
    coefficients: Coefficients,
    *,
    shapes: Shapes,
    parameters: Parameters,
) -> tuple[list[Coefficients], Tensor | None]:
    """Move coefficients from an affine node to its inputs.

    Args:
        node: The node.
        rule: Of its operator.
        coefficients: Of its output.
        shapes: Of its inputs.
        parameters: The network's.

    Returns:
        Coefficients of each input, and what its offset adds, shape `(batch, rows)`, or None.
    """
    if isinstance(coefficients, Patches):
        moved = rule.adjoint_patches(node.operator, coefficients.inside(), shapes, parameters)
        if moved is not None:
            windows, added = moved
            return [patches.dense() if patches.is_wide else patches for patches in windows], added
    maps = whole(coefficients)
    leading, flat = maps.shape[:2], maps.flatten(0, 1)
    constant = rule.constant(node.operator, flat, parameters)
    added = None if constant is None else constant.reshape(leading)
    few = rule.adjoint_of_few(node.operator, maps, parameters)
    if few is not None:
        return [few], added
    passed = rule.adjoint(node.operator, flat, shapes, parameters)
    return [value.reshape(*leading, *value.shape[1:]) for value in passed], added
