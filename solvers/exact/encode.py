"""From a network, a region and bounds to a mixed-integer linear program, once for all clauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NoReturn

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from models.errors import ShapeError
from models.graph import Graph, Node
from models.network import Network
from models.operators import (
    Add,
    AveragePool,
    BatchNormalization,
    Clip,
    Concat,
    Constant,
    Convolution,
    ConvolutionTranspose,
    Expand,
    LeakyRelu,
    Linear,
    MaxPool,
    Operator,
    Pad,
    PRelu,
    ReduceSum,
    Relu,
    Reshape,
    Scale,
    Take,
    Transpose,
)
from solvers.budget import Budget
from solvers.errors import UnsupportedMethodError
from solvers.exact import linear_encoders as linear
from solvers.exact import piecewise_encoders as piecewise
from solvers.exact.affine import Affine, IndexArray
from solvers.exact.ball_encoder import encode_ball
from solvers.exact.builder import ModelBuilder
from solvers.exact.context import (
    Bounds,
    EncodingContext,
    EncodingOptions,
    Hinge,
    Splits,
    checked_interval,
)
from solvers.exact.model import MilpModel
from solvers.problem import Box, Clause

__all__ = [
    "AFFINE_ENCODERS",
    "ENCODERS",
    "EncodedNetwork",
    "EncodingStoppedError",
    "encode_network",
    "has_encoding",
]

FloatArray = NDArray[np.float64]
Encoder = Callable[[EncodingContext, Node, Sequence[Node], Sequence[Affine]], Affine]


def _unsupported(
    context: EncodingContext,  # noqa: ARG001
    node: Node,
    sources: Sequence[Node],  # noqa: ARG001
    values: Sequence[Affine],  # noqa: ARG001
) -> NoReturn:
    raise UnsupportedMethodError(
        f"node {node.name!r} uses {type(node.operator).__name__}, which is not piecewise linear "
        "and has no exact mixed-integer encoding; use bounds or branch and bound"
    )


AFFINE_ENCODERS: Mapping[type[Operator], Encoder] = MappingProxyType(
    {
        Add: linear.encode_add,
        AveragePool: linear.encode_average_pool,
        BatchNormalization: linear.encode_batch_normalization,
        Concat: linear.encode_structural,
        Constant: linear.encode_constant,
        Convolution: linear.encode_convolution,
        ConvolutionTranspose: linear.encode_convolution_transpose,
        Expand: linear.encode_structural,
        Linear: linear.encode_linear,
        Pad: linear.encode_pad,
        ReduceSum: linear.encode_reduce_sum,
        Reshape: linear.encode_structural,
        Scale: linear.encode_scale,
        Take: linear.encode_structural,
        Transpose: linear.encode_structural,
    }
)
"""Operators that are affine: their encodings add no binary and no row of their own."""

ENCODERS: Mapping[type[Operator], Encoder] = MappingProxyType(
    {
        **AFFINE_ENCODERS,
        Clip: piecewise.encode_clip,
        LeakyRelu: piecewise.encode_leaky_relu,
        MaxPool: piecewise.encode_max_pool,
        PRelu: piecewise.encode_prelu,
        Relu: piecewise.encode_relu,
    }
)
"""Every operator with an encoding; all others are refused by name."""


_BENT_AT_ZERO: frozenset[type[Operator]] = frozenset({Relu, LeakyRelu, PRelu})


class EncodingStoppedError(UnsupportedMethodError):
    """The budget ran out while the network was encoded."""


@dataclass(frozen=True, eq=False)
class EncodedNetwork:
    """A network over a region as a program, before any specification.

    Attributes:
        model: Its columns and rows; objective 0.
        output: The output as a function of the columns, in row-major order.
        center: Midpoint of the region, flat.
        free: Positions of the inputs that vary; the others are fixed by the region.
        columns: The column of each free input.
        values: Every encoded node as a function of the columns, by name.
        hinges: Where undecided hinges have their columns and rows.
        sources: Name of the node whose value is bent at 0, by name of the hinge's node.
    """

    model: MilpModel
    output: Affine
    center: FloatArray
    free: IndexArray
    columns: IndexArray
    values: Mapping[str, Affine] = field(default_factory=dict)
    hinges: tuple[Hinge, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> IndexArray:
        """The two columns of every hinge, of which one is 0, shape `(hinges, 2)`."""
        pairs = [np.stack([h.positive, h.negative], axis=1) for h in self.hinges]
        return np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])

    def clause_model(self, clause: Clause) -> MilpModel:
        """Return the program whose minimum is the worst-case margin of a clause.

        What rounding may have added to margins is taken off.
        """
        rows = self.margins(clause)
        return self.model.minimising_maximum(rows.matrix, rows.offset)

    def margins(self, clause: Clause) -> Affine:
        """Return the rows C y − d of a clause, less what rounding may have added to them."""
        rows = self.output.mapped(sp.csr_array(clause.matrix), -clause.offset)
        return rows.shifted(-rows.rounding)

    def input_of(self, columns: FloatArray) -> FloatArray:
        """Return the network input, flat, that values of `self.columns` stand for."""
        x = self.center.copy()
        x[self.free] = columns
        return x


def has_encoding(network: Network) -> bool:
    """Return whether every operator on the way to the output has an encoding."""
    graph = network.graph
    nodes = [node for node in graph.ancestors(graph.output) if node is not graph.input]
    return all(type(node.operator) in ENCODERS for node in nodes)


def encode_network(
    network: Network,
    region: Box,
    bounds: Bounds,
    *,
    options: EncodingOptions,
    budget: Budget | None = None,
    target: str | None = None,
    splits: Splits | None = None,
) -> EncodedNetwork:
    """Encode a network exactly: its graph, given sound bounds, and nothing else, is feasible.

    Only an L2 ball, which is not linear, is enclosed: see `encode_ball`; and undecided hinges are
    where the options want them relaxed.

    Args:
        network: Parameters are read in float64.
        region: Of the network's input shape.
        bounds: Lower and upper bounds of the input of every nonlinear node, of its shape.
        options: How to encode.
        budget: Asked after each node; None for no limit.
        target: Encode up to this node instead of the output.
        splits: By node name, 1 where the node's value is to be at least 0, −1 where at most 0 and
            0 where it is free, flat or of the node's shape. The program is then of that part of
            the region, and can be infeasible.

    Raises:
        UnsupportedMethodError: An operator has no encoding.
        ModelTooLargeError: The program would pass the limit.
        EncodingStoppedError: The budget ran out.
        ShapeError: Region or bounds do not fit the network.
        BoundsError: Bounds are missing, empty or not finite.

    Source: Tjeng et al. 2019.
    """
    region.require_shape(network.input_shape)
    builder = ModelBuilder(options.max_nonzeros, outward=options.relaxed)
    parameters = network.to(torch.float64).parameters
    graph = network.graph
    goal = graph.output if target is None else target
    needed = _needed(graph, bounds, goal, splits or {})
    context = EncodingContext(
        builder, parameters, bounds, options.stable, needed, relaxed=options.relaxed
    )
    lower, upper, center = (part.ravel() for part in (region.lower, region.upper, region.center))
    free = np.flatnonzero(lower < upper)
    columns = builder.add_columns(lower[free], upper[free])
    reach = np.maximum(np.abs(lower), np.abs(upper))
    moving = Affine.of_columns(columns, reach[free])
    if region.ball is not None:
        encode_ball(builder, region.ball, free, moving)
    values = {graph.input.name: Affine.constant(center).replaced(free, moving)}
    for node in graph.ancestors(goal):
        if node is graph.input:
            continue
        if budget is not None and budget.exhausted:
            raise EncodingStoppedError(f"no time was left to encode node {node.name!r}")
        encoder = ENCODERS.get(type(node.operator), _unsupported)
        sources = [graph.node(name) for name in node.inputs]
        values[node.name] = encoder(context, node, sources, [values[s.name] for s in sources])
        if splits is not None and node.name in splits:
            _hold_split(builder, values[node.name], splits[node.name])
    return EncodedNetwork(
        builder.build(),
        values[goal],
        center,
        free,
        columns,
        values,
        tuple(context.hinges),
        {
            hinge.node: graph.node(hinge.node).inputs[0]
            for hinge in context.hinges
            if type(graph.node(hinge.node).operator) in _BENT_AT_ZERO
        },
    )


def _hold_split(builder: ModelBuilder, value: Affine, split: NDArray[np.int8]) -> None:
    """Add the rows of a split."""
    sides = np.asarray(split).ravel()
    if sides.size != value.size:
        raise ShapeError(f"a split of {sides.size} values for a node of {value.size}")
    for way in (1, -1):
        at = np.flatnonzero(sides == way)
        if at.size:
            builder.add_rows(value.taken(at).scaled(float(way)), 0.0, np.inf)


def _needed(
    graph: Graph, bounds: Bounds, goal: str, splits: Splits
) -> dict[str, NDArray[np.bool_]]:
    """Return, for nodes that only Relu reads, which values can pass it or are held to a side."""
    readers: dict[str, set[type[Operator]]] = {}
    for node in graph.ancestors(goal):
        for name in node.inputs:
            readers.setdefault(name, set()).add(type(node.operator))
    needed = {
        name: np.asarray(checked_interval(graph.node(name), bounds)[1] > 0).ravel()
        for name, kinds in readers.items()
        if kinds == {Relu} and name in bounds and name != goal
    }
    # the row of a split needs the value itself, also where nothing of it passes
    return {
        name: used | (np.asarray(splits[name]).ravel() != 0) if name in splits else used
        for name, used in needed.items()
    }
