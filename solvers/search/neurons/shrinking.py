"""A network without the neurons that are off over the whole region.

Behind a ReLU whose input is never positive stands a zero, whatever the input. In dense layers such
neurons, often most of them, can be left out: every pass of the search then costs that much less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from models.graph import Graph, Node
from models.network import Network
from models.operators import Linear, Relu
from models.parameters import ParameterRef
from solvers.bounds import Interval
from solvers.bounds.wanted import wanted_values

__all__ = ["Shrunk", "shrink"]


@dataclass(frozen=True, eq=False)
class Shrunk:
    """A network that equals another one over a region.

    Attributes:
        network: With fewer neurons.
        bounds: Of its nodes, batch 1.
        kept: Which values of a node are left, flat indices into the whole node, by name; nodes
            that are whole are missing.
        wanted: Which values of a node the margins depend on, masks of shape `(1, *node_shape)` by
            name; nodes of which they need all are missing.
    """

    network: Network
    bounds: Mapping[str, Interval]
    kept: Mapping[str, Tensor]
    wanted: Mapping[str, Tensor]


def shrink(network: Network, bounds: Mapping[str, Interval], matrix: Tensor) -> Shrunk:
    """Leave out neurons of dense layers that are off over the whole region.

    Args:
        network: Folded.
        bounds: Sound bounds of every node over the region, batch 1.
        matrix: Rows of the margins, shape `(rows, outputs)`.
    """
    graph = network.graph
    kept: dict[str, Tensor] = {}
    for relu in graph.nodes:
        before = _dense_before(graph, relu)
        if before is None:
            continue
        on = (bounds[before.name].upper.flatten() > 0).nonzero().squeeze(1)
        if len(on) < before.size:
            # A layer without any neuron would have no shape: one that is off does no harm.
            kept[before.name] = kept[relu.name] = on if len(on) else on.new_zeros(1)
    if not kept:
        return Shrunk(network, bounds, {}, wanted_values(network, matrix))
    parameters, nodes = dict(network.parameters), []
    for node in graph.nodes:
        operator = node.operator
        if isinstance(operator, Linear) and (node.name in kept or node.inputs[0] in kept):
            operator = _cut(node, operator, kept, parameters)
        shape = node.shape
        if node.name in kept:
            shape = (*shape[:-1], len(kept[node.name]))
        nodes.append(replace(node, operator=operator, shape=shape))
    smaller = replace(network, graph=Graph(tuple(nodes), graph.output), parameters=parameters)
    return Shrunk(
        smaller,
        {
            name: Interval(*(end[..., kept[name]] for end in (interval.lower, interval.upper)))
            if name in kept
            else interval
            for name, interval in bounds.items()
        },
        kept,
        wanted_values(smaller, matrix),
    )


def _dense_before(graph: Graph, relu: Node) -> Node | None:
    """Return the dense layer in front of a ReLU, if nothing but dense layers reads the two."""
    if not isinstance(relu.operator, Relu) or relu.name == graph.output:
        return None
    before = graph.node(relu.inputs[0])
    if not isinstance(before.operator, Linear) or before.size != before.shape[-1]:
        return None
    readers = [node for node in graph.nodes if before.name in node.inputs]
    behind = [node for node in graph.nodes if relu.name in node.inputs]
    alone = len(readers) == 1 and all(isinstance(node.operator, Linear) for node in behind)
    return before if alone and before.name != graph.output else None


def _cut(
    node: Node, operator: Linear, kept: Mapping[str, Tensor], parameters: dict[str, Tensor]
) -> Linear:
    """Return a dense layer with the rows and columns that are left, and add its parameters."""
    weight = operator.weight.resolve(parameters)
    bias = None if operator.bias is None else operator.bias.resolve(parameters)
    if node.inputs[0] in kept:
        weight = weight[:, kept[node.inputs[0]]]
    if node.name in kept:
        weight = weight[kept[node.name]]
        bias = None if bias is None else bias[kept[node.name]]
    names = (f"{node.name}/kept/weight", f"{node.name}/kept/bias")
    parameters[names[0]] = weight.contiguous()
    if bias is None:
        return Linear(ParameterRef(names[0]))
    parameters[names[1]] = bias.contiguous()
    return Linear(ParameterRef(names[0]), ParameterRef(names[1]))
