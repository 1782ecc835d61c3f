"""The backward pass: lower bounds of linear functions of one node, pulled back to the input.

Only lower bounds are computed; an upper bound is the negated lower bound of the negated function.

Shapes: `batch` examples, `rows` linear functions per example. Coefficients of a node have shape
`(batch, rows, *node_shape)`, constants `(batch, rows)`.

Source: Zhang et al. 2018 (CROWN), section 3; Xu et al. 2020, algorithm 1 for general graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds.interval import Interval
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import AffineRule, rule_for

__all__ = ["Rows", "Scene", "lower_bounds", "node_rows", "unit_rows"]

Relaxations = Callable[[Node], Relaxation]
"""Returns what encloses a nonlinear node."""

_ROUNDING_UNITS = 64.0
"""Float64 bounds give up this many units of rounding of everything that was added up."""


@dataclass(frozen=True)
class Scene:
    """A network over a batch of regions.

    Attributes:
        network: Of the dtype and on the device of the region.
        region: Input bounds, shape `(batch, *input_shape)`.
    """

    network: Network
    region: Interval

    @property
    def batch(self) -> int:
        """Number of regions."""
        return self.region.batch

    def __getitem__(self, index: slice) -> Scene:
        """Return the scene of some regions."""
        return Scene(self.network, self.region[index])


@dataclass
class Rows:
    """Linear functions on their way back: Σ over nodes of coefficients · value, plus a constant.

    Attributes:
        coefficients: By node name, shape `(batch, rows, *node_shape)`.
        constant: Shape `(batch, rows)`, or `(1, rows)` while nothing depends on the example.
    """

    coefficients: dict[str, Tensor] = field(default_factory=dict)
    constant: Tensor | float = 0.0

    def add(self, name: str, coefficients: Tensor) -> None:
        """Add coefficients to those a node already has."""
        there = self.coefficients.get(name)
        self.coefficients[name] = coefficients if there is None else there + coefficients

    def mirror(self) -> None:
        """Append every row negated."""
        self.coefficients = {
            name: torch.cat([value, -value], dim=1) for name, value in self.coefficients.items()
        }
        if not isinstance(self.constant, Tensor):
            like = next(iter(self.coefficients.values()))
            self.constant = like.new_full((1, like.shape[1] // 2), self.constant)
        self.constant = torch.cat([self.constant, -self.constant], dim=1)


def node_rows(node: str, coefficients: Tensor, constant: Tensor | float = 0.0) -> Rows:
    """Return linear functions of one node.

    Args:
        node: Its name.
        coefficients: Shape `(batch, rows, *node_shape)`.
        constant: Shape `(batch, rows)`.
    """
    return Rows({node: coefficients}, constant)


def unit_rows(scene: Scene, node: Node, indices: Tensor) -> Rows:
    """Return the functions that read single values of a node.

    Args:
        scene: Network and region.
        node: Whose values are read.
        indices: Flat indices into the node, shape `(batch, rows)`.
    """
    network = scene.network
    rule = rule_for(node.operator)
    if isinstance(rule, AffineRule) and len(node.inputs) == 1 and node.size == node.shape[-1]:
        direct = rule.rows(node.operator, indices, network.parameters)
        if direct is not None:
            coefficients, constant = direct
            shape = network.graph.node(node.inputs[0]).shape
            return Rows(
                {node.inputs[0]: coefficients.reshape(*indices.shape, *shape)},
                0.0 if constant is None else constant,
            )
    like = scene.region.lower
    unit = like.new_zeros(*indices.shape, node.size)
    unit.scatter_(2, indices.unsqueeze(-1), 1.0)
    return node_rows(node.name, unit.reshape(*indices.shape, *node.shape))


def lower_bounds(
    scene: Scene, rows: Rows, relaxations: Relaxations, *, two_sided: bool = False
) -> Tensor:
    """Bound linear functions from below over the regions.

    Args:
        scene: Network and regions.
        rows: The functions; consumed.
        relaxations: What encloses each nonlinear node.
        two_sided: Bound the negated functions too. The two share the way back to the first
            nonlinear node.

    Returns:
        Shape `(batch, rows)`, or `(batch, 2 · rows)` with the negated functions behind.
    """
    graph = scene.network.graph
    mirror_pending = two_sided
    for node in reversed(graph.nodes):
        if node is graph.input:
            break
        coefficients = rows.coefficients.get(node.name)
        if coefficients is None:
            continue
        rule = rule_for(node.operator)
        if isinstance(rule, AffineRule):
            del rows.coefficients[node.name]
            _cross_affine(scene, node, rule, rows, coefficients)
            continue
        if mirror_pending:
            rows.mirror()
            mirror_pending = False
            coefficients = rows.coefficients[node.name]
        del rows.coefficients[node.name]
        passed, constant = relaxations(node).backward(coefficients)
        rows.constant = rows.constant + constant
        if passed is not None:
            rows.add(node.inputs[0], passed)
    if mirror_pending:
        rows.mirror()
    return _concretize(scene, rows)


def _cross_affine(
    scene: Scene, node: Node, rule: AffineRule[Any], rows: Rows, coefficients: Tensor
) -> None:
    """Move coefficients from an affine node to its inputs."""
    graph, parameters = scene.network.graph, scene.network.parameters
    leading = coefficients.shape[:2]
    flat = coefficients.flatten(0, 1)
    shapes: Sequence[tuple[int, ...]] = [graph.node(name).shape for name in node.inputs]
    constant = rule.constant(node.operator, flat, parameters)
    if constant is not None:
        rows.constant = rows.constant + constant.reshape(leading)
    passed = rule.adjoint(node.operator, flat, shapes, parameters)
    for name, value in zip(node.inputs, passed, strict=True):
        rows.add(name, value.reshape(*leading, *value.shape[1:]))


def _concretize(scene: Scene, rows: Rows) -> Tensor:
    """Minimise what is left over the box: A·centre − |A|·radius (+ constant).

    In float64 the result is lowered by a multiple of the unit roundoff times everything that was
    added up, which exceeds the rounding error of the pass by orders of magnitude.
    """
    region = scene.region
    left = rows.coefficients.get(scene.network.graph.input.name)
    constant = rows.constant
    if left is None:
        if not isinstance(constant, Tensor):
            constant = region.lower.new_full((scene.batch, 1), constant)
        return constant.expand(scene.batch, -1)
    flat = left.flatten(2)
    center = region.center.flatten(1).unsqueeze(-1)
    radius = region.radius.flatten(1).unsqueeze(-1)
    if flat.dtype != torch.float64:
        spread = torch.matmul(flat.abs(), radius)
        return (torch.matmul(flat, center) - spread).squeeze(-1) + constant
    unit = _ROUNDING_UNITS * torch.finfo(torch.float64).eps
    # One product gives both the spread and the magnitude: |A| times radius and |centre| + radius.
    pair = torch.cat([radius, center.abs() + radius], dim=-1)
    spread, magnitude = torch.matmul(flat.abs(), pair).unbind(-1)
    lowest = torch.matmul(flat, center).squeeze(-1) - spread + constant
    size = constant.abs() if isinstance(constant, Tensor) else abs(constant)
    return lowest - unit * (magnitude + size)
