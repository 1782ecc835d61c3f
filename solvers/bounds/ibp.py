"""Interval bound propagation through the whole graph (Gowal et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from models.graph import Graph, Node
from models.operators import Concat, Constant, Expand, Input, Reshape, Scale, Take, Transpose
from solvers.bounds.backward import Scene, lower_bounds, unit_rows
from solvers.bounds.interval import Interval
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.rules import NonlinearRule, rule_for

__all__ = [
    "interval_of",
    "mixing_depth",
    "nonlinear_depth",
    "nonlinear_nodes",
    "propagate",
    "refinable_nodes",
]

_BALL_BYTES = 1 << 28
"""What coefficients of a first layer over balls may take at once."""


def interval_of(scene: Scene, node: Node, bounds: Mapping[str, Interval]) -> Interval:
    """Bound one node by interval arithmetic from the bounds of its inputs."""
    if isinstance(node.operator, Input):
        return scene.region
    inputs = [bounds[name] for name in node.inputs]
    rule = rule_for(node.operator)
    result = rule.interval(node.operator, inputs, scene.network.parameters)
    if node.name in scene.drifts:
        drift = scene.drifts[node.name].of(inputs[0])
        result = Interval(result.lower - drift, result.upper + drift)
    result = result.finite_or_open()
    if isinstance(node.operator, Constant):
        shape = (scene.batch, *node.shape)
        return Interval(result.lower.expand(shape), result.upper.expand(shape))
    if scene.balls is not None and _is_first_layer(scene.network.graph, node):
        result = result.intersect(_over_balls(scene, node, bounds))
    return result


def _is_first_layer(graph: Graph, node: Node) -> bool:
    """Return whether a node mixes the inputs themselves, or copies of them."""
    if not rule_for(node.operator).mixes:
        return False
    return mixing_depth(graph)[node.name] == 1 and nonlinear_depth(graph)[node.name] == 0


def _over_balls(scene: Scene, node: Node, bounds: Mapping[str, Interval]) -> Interval:
    """Bound every value of a first layer by the dual norm, which the box around a ball misses."""
    like = scene.region.lower
    indices = torch.arange(node.size, device=like.device).expand(scene.batch, -1)
    size = MemoryBudget(_BALL_BYTES).rows(scene, two_sided=True)
    lower, upper = [], []
    for first in range(0, node.size, size):
        part = indices[:, first : first + size]
        rows = unit_rows(scene, node, part)
        both = lower_bounds(
            scene, rows, lambda layer: scene.perturbed(layer, bounds), two_sided=True
        )
        lower.append(both[:, : part.shape[1]])
        upper.append(-both[:, part.shape[1] :])
    shape = (scene.batch, *node.shape)
    return Interval(torch.cat(lower, 1).reshape(shape), torch.cat(upper, 1).reshape(shape))


def propagate(scene: Scene, known: Mapping[str, Interval] | None = None) -> dict[str, Interval]:
    """Bound every node by interval arithmetic, intersected with what is known already.

    Args:
        scene: Network and regions.
        known: Sound bounds of some nodes over the same regions.

    Returns:
        Bounds of every node, shape `(batch, *node_shape)`.
    """
    bounds: dict[str, Interval] = {}
    for node in scene.network.graph.nodes:
        bounds[node.name] = interval_of(scene, node, bounds)
        if known is not None and node.name in known:
            bounds[node.name] = bounds[node.name].intersect(known[node.name])
    return bounds


def nonlinear_nodes(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that a backward pass relaxes, in topological order."""
    return tuple(
        node
        for node in graph.nodes
        if node is not graph.input and isinstance(rule_for(node.operator), NonlinearRule)
    )


def mixing_depth(graph: Graph) -> dict[str, int]:
    """Count, per node, the mixing operators on the longest path from the input.

    Interval arithmetic is exact up to depth 1: until then no two terms of a sum share an input.
    An operator that mixes several nodes counts twice, since these may share an input themselves.
    """
    depth: dict[str, int] = {graph.input.name: 0}
    for node in graph.nodes[1:]:
        mixes = rule_for(node.operator).mixes
        step = min(len(node.inputs), 2) if mixes else 0
        depth[node.name] = max((depth[name] for name in node.inputs), default=0) + step
    return depth


def nonlinear_depth(graph: Graph) -> dict[str, int]:
    """Count, per node, the nonlinear nodes on the longest path from the input, itself included."""
    names = {node.name for node in nonlinear_nodes(graph)}
    depth: dict[str, int] = {}
    for node in graph.nodes:
        before = max((depth[name] for name in node.inputs), default=0)
        depth[node.name] = before + int(node.name in names)
    return depth


def refinable_nodes(scene: Scene) -> tuple[Node, ...]:
    """Return the inputs of nonlinear nodes whose interval bounds a backward pass may tighten.

    Over balls, interval arithmetic is only as good where no nonlinear node lies before the first
    mixing one. What copies values, or maps them one by one, has tight bounds from its inputs.
    """
    graph = scene.network.graph
    tight = _tight_from_inputs(graph)
    depth, bends = mixing_depth(graph), nonlinear_depth(graph)
    feeding = {name for node in nonlinear_nodes(graph) for name in node.inputs}

    def loose(name: str) -> bool:
        return depth[name] > 1 or (scene.balls is not None and depth[name] == 1 and bends[name] > 0)

    names = {name for name in feeding - tight if loose(name)}
    return tuple(node for node in graph.nodes if node.name in names)


_COPIES = (Concat, Constant, Expand, Reshape, Scale, Take, Transpose)
"""Operators whose every output depends on one value, if any, in a straight line."""


def _tight_from_inputs(graph: Graph) -> set[str]:
    """Return the nodes whose bounds are as tight as those that refinement gives their inputs."""
    found: set[str] = set()
    for node in graph.nodes[1:]:
        rule = rule_for(node.operator)
        if isinstance(rule, NonlinearRule):
            follows = rule.passes_on(node.operator)
        else:
            follows = isinstance(node.operator, _COPIES) and found.issuperset(node.inputs)
        if follows:
            found.add(node.name)
    return found
