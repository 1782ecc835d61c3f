"""A backward pass that keeps what it saw, and the point at which its bound is attained.

A linear relaxation bounds a function of the network by minimising a linear function over the
region. Along the way each nonlinearity was replaced by the line that the sign of its coefficient
asks for. Walking forward from the minimising input through those same lines gives the point of
the relaxation at which the bound is attained: the relaxed minimum. Where that point is a run of
the network itself, the bound is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.graph import Node
from models.operators import Constant
from solvers.bounds.backward import Relaxations, Rows, Scene, concretize, pull_back
from solvers.bounds.crossing import whole
from solvers.bounds.relaxation import Relaxation
from solvers.errors import UnsupportedMethodError

__all__ = ["ObservedPass", "minimising_corner", "observe", "relaxed_minimum", "run_from_entry"]


@dataclass(frozen=True)
class ObservedPass:
    """What one backward pass proved and saw.

    Attributes:
        lower: Bounds of the linear functions, shape `(batch, rows)`.
        coefficients: At the output of every relaxed node on the way, shape
            `(batch, rows, *node_shape)`.
        relaxations: What enclosed these nodes.
        entry: Coefficients left at the scene's entry, shape `(batch, rows, *entry_shape)`; None
            where nothing reached it.
    """

    lower: Tensor
    coefficients: Mapping[str, Tensor]
    relaxations: Mapping[str, Relaxation]
    entry: Tensor | None

    def first(self, count: int) -> ObservedPass:
        """Return the pass of the first examples; relaxations stay those of all."""
        coefficients = {name: values[:count] for name, values in self.coefficients.items()}
        entry = None if self.entry is None else self.entry[:count]
        return ObservedPass(self.lower[:count], coefficients, self.relaxations, entry)

    def row(self, index: Tensor) -> ObservedPass:
        """Return the pass of one row per example.

        Args:
            index: Shape `(batch,)`.
        """
        examples = torch.arange(len(index), device=index.device)

        def pick(values: Tensor) -> Tensor:
            return values[examples, index].unsqueeze(1)

        return ObservedPass(
            pick(self.lower),
            {name: pick(values) for name, values in self.coefficients.items()},
            self.relaxations,
            None if self.entry is None else pick(self.entry),
        )


@dataclass(frozen=True)
class _Watched(Relaxation):
    """A relaxation that notes the coefficients that cross it."""

    name: str
    inner: Relaxation
    seen: dict[str, Tensor]

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Note the coefficients, and cross."""
        self.seen[self.name] = coefficients
        return self.inner.backward(coefficients)


def observe(scene: Scene, rows: Rows, relaxations: Relaxations) -> ObservedPass:
    """Bound linear functions from below, as `lower_bounds` does, and keep what the pass saw.

    Args:
        scene: Network and regions.
        rows: The functions; consumed.
        relaxations: What encloses each nonlinear node.
    """
    seen: dict[str, Tensor] = {}
    used: dict[str, Relaxation] = {}

    def watched(node: Node) -> Relaxation:
        used[node.name] = relaxations(node)
        return _Watched(node.name, used[node.name], seen)

    pull_back(scene, rows, watched)
    left = rows.coefficients.get(scene.entry.node.name)
    entry = None if left is None else whole(left)
    return ObservedPass(concretize(scene, rows), seen, used, entry)


def relaxed_minimum(scene: Scene, observed: ObservedPass) -> dict[str, Tensor]:
    """Return the point of the relaxation at which the first row's bound is attained.

    At the entry it is the corner of the box that minimises the linear function left there; behind
    it, affine nodes are evaluated, and each relaxed node takes the line that the pass took for it.

    Args:
        scene: Network and regions, which must be boxes.
        observed: Of one row per example.

    Returns:
        The value of every node behind the entry, the entry included, that the pass depends on,
        shape `(batch, *node_shape)`. Differentiable in the parameters.

    Raises:
        UnsupportedMethodError: Regions are balls, or a relaxation has no such point.
    """
    values = {scene.entry.node.name: minimising_corner(scene, observed)}

    def relaxed(node: Node, inputs: list[Tensor]) -> Tensor | None:
        if node.name not in observed.relaxations:
            return None
        coefficients = observed.coefficients[node.name][:, 0]
        return observed.relaxations[node.name].attained(coefficients, inputs)

    wanted = _needed(scene, observed)
    for node in scene.network.graph.nodes:
        if node.name in values or node.name not in wanted:
            continue
        inputs = [values[name] for name in node.inputs]
        value = relaxed(node, inputs)
        if value is None:
            value = node.operator.forward(inputs, scene.network.parameters)
        values[node.name] = value
    return values


def _needed(scene: Scene, observed: ObservedPass) -> set[str]:
    """Return the nodes that relaxed nodes depend on, themselves included, up to the entry."""
    graph, entry = scene.network.graph, scene.entry.node.name
    needed = set(observed.relaxations)
    for node in reversed(graph.nodes):
        if node.name in needed and node.name != entry:
            needed.update(node.inputs)
    return needed


def minimising_corner(scene: Scene, observed: ObservedPass) -> Tensor:
    """Return the point of the entry box that minimises what is left of the first row.

    Raises:
        UnsupportedMethodError: Regions are balls.
    """
    if scene.balls is not None:
        raise UnsupportedMethodError("the relaxed minimum is known over boxes only, not over balls")
    region = scene.entry.region
    if observed.entry is None:
        return region.lower
    return torch.where(observed.entry[:, 0] >= 0, region.lower, region.upper)


def run_from_entry(scene: Scene, x: Tensor) -> Tensor:
    """Run the network from the scene's entry on; shape `(batch, outputs)`.

    Args:
        scene: Network and regions.
        x: Values of the entry node, shape `(batch, *entry_shape)`.
    """
    graph, parameters = scene.network.graph, scene.network.parameters
    values = {scene.entry.node.name: x}
    for node in graph.nodes:
        ready = all(name in values for name in node.inputs)
        if node.name not in values and ready and (node.inputs or _is_constant(node)):
            inputs = [values[name] for name in node.inputs]
            values[node.name] = node.operator.forward(inputs, parameters)
    return values[graph.output].expand(len(x), *values[graph.output].shape[1:]).flatten(1)


def _is_constant(node: Node) -> bool:
    return isinstance(node.operator, Constant)
