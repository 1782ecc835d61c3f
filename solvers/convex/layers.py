"""The layers that single-neuron cuts are about: a ReLU and the affine map in front of it.

Between a ReLU and the values that are not affine functions of others (the input, and outputs of
nonlinear operators: its origins) lies an affine map, through any number of nodes. It is read off by
running the encoders of affine operators on the origins as columns of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from models.graph import Graph, Node
from models.network import Network
from models.operators import Relu
from solvers.convex.cuts import Neurons
from solvers.exact.affine import Affine
from solvers.exact.builder import ModelBuilder
from solvers.exact.context import Bounds, EncodingContext, StableEncoding
from solvers.exact.encode import AFFINE_ENCODERS
from solvers.exact.model import ModelTooLargeError

if TYPE_CHECKING:
    from solvers.exact.model import SparseMatrix

__all__ = ["ReluLayer", "relu_layers"]

_LOG = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReluLayer:
    """A ReLU node as neurons y = max(0, weight @ x + bias) of its origins' values x.

    Attributes:
        node: Name of the ReLU.
        source: Name of the node it reads.
        origins: Names of the nodes whose values, one after the other and flat, are x.
        weight: Sparse, shape `(neurons, inputs)`.
        bias: Shape `(neurons,)`.
    """

    node: str
    source: str
    origins: tuple[str, ...]
    weight: SparseMatrix
    bias: FloatArray

    def neurons(self, bounds: Bounds) -> Neurons:
        """Return the neurons over the box that bounds give their inputs.

        Raises:
            BoundsError: Bounds of an origin are missing, empty or not finite.
        """
        ends = [bounds[name] for name in self.origins]
        lower = np.concatenate([low.ravel() for low, _ in ends])
        upper = np.concatenate([high.ravel() for _, high in ends])
        return Neurons(self.weight, self.bias, lower, upper)

    def inputs(self, values: Mapping[str, Affine]) -> Affine:
        """Return x as a function of a program's columns, given every node's."""
        return Affine.stacked([values[name] for name in self.origins])

    def unstable(self, bounds: Bounds) -> IndexArray:
        """Return the neurons that bounds of the pre-activation leave undecided."""
        lower, upper = bounds[self.source]
        return np.flatnonzero((lower.ravel() < 0) & (upper.ravel() > 0))


def relu_layers(network: Network, *, max_nonzeros: int = 10_000_000) -> tuple[ReluLayer, ...]:
    """Return every ReLU layer of a network in topological order.

    Args:
        network: Parameters are read in float64.
        max_nonzeros: A layer whose map has more coefficients is left out, as no cut is worth that.
    """
    parameters = network.to(torch.float64).parameters
    layers = []
    for node in network.graph.ancestors(network.graph.output):
        if type(node.operator) is not Relu:
            continue
        source = network.graph.node(node.inputs[0])
        origins = _origins(network.graph, source)
        context = _Composition(
            ModelBuilder(max_nonzeros), parameters, {}, StableEncoding.SUBSTITUTE, {}
        )
        try:
            value = _composed(context, network.graph, source, origins)
        except ModelTooLargeError:
            _LOG.info("layer %r is too large for cuts", node.name)
            continue
        names = tuple(origin.name for origin in origins)
        width = sum(origin.size for origin in origins)
        layers.append(ReluLayer(node.name, source.name, names, value.widened(width), value.offset))
    return tuple(layers)


class _Composition(EncodingContext):
    """A context in which maps are multiplied out, however long they get up to the limit."""

    def with_columns(
        self,
        value: Affine,
        chosen: NDArray[np.bool_],  # noqa: ARG002
        interval: tuple[FloatArray, FloatArray] | None = None,  # noqa: ARG002
    ) -> Affine:
        """Return the value as it is."""
        return value


def _origins(graph: Graph, node: Node) -> list[Node]:
    """Return where the affine map in front of a node starts, in topological order."""
    found: set[str] = set()
    waiting = [node.name]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        at = graph.node(name)
        if at is not graph.input and type(at.operator) in AFFINE_ENCODERS:
            waiting.extend(at.inputs)
        else:
            found.add(name)
    return [node for node in graph.nodes if node.name in found]


def _composed(
    context: EncodingContext, graph: Graph, goal: Node, origins: Sequence[Node]
) -> Affine:
    """Return the value of a node as a function of its origins' values."""
    values: dict[str, Affine] = {}
    for origin in origins:
        columns = context.builder.add_columns(np.zeros(origin.size), np.zeros(origin.size))
        values[origin.name] = Affine.of_columns(columns)

    for node in graph.ancestors(goal.name):
        ready = node.name not in values and all(name in values for name in node.inputs)
        if ready and type(node.operator) in AFFINE_ENCODERS:
            sources = [graph.node(name) for name in node.inputs]
            encoder = AFFINE_ENCODERS[type(node.operator)]
            values[node.name] = encoder(context, node, sources, [values[s.name] for s in sources])
    return values[goal.name]
