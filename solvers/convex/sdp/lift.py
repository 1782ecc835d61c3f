"""From a network and bounds to columns and hinges: what a semidefinite relaxation is made of.

Columns are the inputs that vary and the outputs of unstable neurons. Every other value is an affine
function of columns before it: stable neurons, like all affine operators, are substituted away. Each
function comes with an error: how far, at most, what it says of the columns of a real run of the
network lies from the value that the network has there in real arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from models.graph import Node
from models.network import Network
from models.operators import (
    Add,
    AveragePool,
    BatchNormalization,
    Concat,
    Constant,
    Convolution,
    ConvolutionTranspose,
    Expand,
    Linear,
    Operator,
    Pad,
    ReduceSum,
    Reshape,
    Scale,
    Take,
    Transpose,
)
from models.parameters import ParameterRef
from solvers.budget import Budget
from solvers.convex.sdp.rounding import gamma
from solvers.errors import UnsupportedMethodError
from solvers.exact.affine import Affine, IndexArray
from solvers.exact.builder import ModelBuilder
from solvers.exact.context import Bounds, EncodingContext, StableEncoding, checked_interval
from solvers.exact.encode import ENCODERS
from solvers.problem import Box

__all__ = ["Hinges", "Lift", "LiftedNetwork", "LiftingStoppedError", "Value"]

FloatArray = NDArray[np.float64]

_AFFINE: frozenset[type[Operator]] = frozenset(
    {
        Add,
        AveragePool,
        BatchNormalization,
        Concat,
        Constant,
        Convolution,
        ConvolutionTranspose,
        Expand,
        Linear,
        Pad,
        ReduceSum,
        Reshape,
        Scale,
        Take,
        Transpose,
    }
)
"""Operators that are linear maps with an offset; each is read off its exact encoding."""


class LiftingStoppedError(UnsupportedMethodError):
    """The budget ran out while the network was lifted."""


@dataclass(frozen=True, eq=False)
class Value:
    """A node as a function of the columns.

    Attributes:
        function: One entry per value in row-major order.
        error: Shape `(size,)`: |value − function| at the columns of any input of the region, at
            most, the function being evaluated in real arithmetic.
    """

    function: Affine
    error: FloatArray

    def taken(self, index: IndexArray) -> Value:
        """Return some of the values, by position."""
        return Value(self.function.taken(index), self.error[index])


@dataclass(frozen=True, eq=False)
class Hinges:
    """Unstable neurons z = max(0, ẑ).

    Attributes:
        column: The column of each z, shape `(hinges,)`.
        source: ẑ as a function of earlier columns.
        lower, upper: Bounds of ẑ, of both signs, shape `(hinges,)`.
    """

    column: IndexArray
    source: Value
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, eq=False)
class LiftedNetwork:
    """A network over a region, before any specification.

    Attributes:
        lower, upper: Bounds of every column, shape `(columns,)`.
        level: Of every column: 0 for inputs, else one more than the highest it depends on.
        inputs: How many columns are inputs; they come first.
        hinges: All unstable neurons, in topological order.
        output: The output as a function of the columns.
    """

    lower: FloatArray
    upper: FloatArray
    level: IndexArray
    inputs: int
    hinges: Hinges
    output: Value

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.lower.size)


class Lift:
    """Collects columns and hinges while the graph is walked.

    Args:
        network: Parameters are read in float64.
        region: Of the network's input shape. Of a ball, the box around it is used, which encloses
            it.
        bounds: Lower and upper bounds of the input of every nonlinear node, of its shape.
        max_nonzeros: More coefficients than this raise `ModelTooLargeError`.

    Raises:
        ShapeError: The region has another shape than the network's input.
    """

    def __init__(self, network: Network, region: Box, bounds: Bounds, max_nonzeros: int) -> None:
        region.require_shape(network.input_shape)
        self.graph = network.graph
        self._builder = ModelBuilder(max_nonzeros)
        self._context = EncodingContext(
            self._builder,
            network.to(torch.float64).parameters,
            bounds,
            StableEncoding.SUBSTITUTE,
            {},
        )
        self._bounds = bounds
        lower, upper = region.lower.ravel(), region.upper.ravel()
        free = np.flatnonzero(lower < upper)
        self._lower, self._upper = [lower[free]], [upper[free]]
        self._level = [np.zeros(free.size, dtype=np.int64)]
        self._inputs = free.size
        self._reach = np.maximum(np.abs(lower[free]), np.abs(upper[free]))
        self._columns: list[IndexArray] = []
        self._sources: list[Value] = []
        self._intervals: list[tuple[FloatArray, FloatArray]] = []
        moving = Affine.of_columns(np.arange(free.size))
        start = Affine.constant(lower).replaced(free, moving)
        self._values = {self.graph.input.name: Value(start, np.zeros(lower.size))}

    def run(self, rules: HingeRules, budget: Budget) -> LiftedNetwork:
        """Walk the graph.

        Args:
            rules: What to do with operators that are not affine, by type.
            budget: Asked after each node.

        Raises:
            UnsupportedMethodError: An operator has no rule.
            ModelTooLargeError: There are more coefficients than allowed.
            LiftingStoppedError: The budget ran out.
            BoundsError: Bounds are missing, empty or not finite.
        """
        for node in self.graph.ancestors(self.graph.output):
            if node is self.graph.input:
                continue
            if budget.exhausted:
                raise LiftingStoppedError(f"no time was left to lift node {node.name!r}")
            sources = [self.graph.node(name) for name in node.inputs]
            values = [self._values[source.name] for source in sources]
            if type(node.operator) in _AFFINE:
                self._values[node.name] = self._affine(node, sources, values)
            else:
                rule = rules.get(type(node.operator))
                if rule is None:
                    raise UnsupportedMethodError(
                        f"node {node.name!r} uses {type(node.operator).__name__}, which is not "
                        "piecewise linear; semidefinite bounds are for networks of the ReLU "
                        "family, so use crown or alpha-crown on this one"
                    )
                self._values[node.name] = rule(self, node, sources, values)
        return self._lifted(self._values[self.graph.output])

    def interval(self, node: Node) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of a node, flat."""
        lower, upper = checked_interval(node, self._bounds)
        return lower.astype(np.float64).ravel(), upper.astype(np.float64).ravel()

    def spread(self, reference: ParameterRef, shape: tuple[int, ...]) -> FloatArray:
        """Return a parameter broadcast to a node's shape, flat."""
        return self._context.spread(reference, shape)

    def mapped(self, matrix: sp.csr_array, value: Value, offset: FloatArray | float = 0.0) -> Value:
        """Return `matrix @ value + offset` with the error of both, rounding included.

        Raises:
            ModelTooLargeError: There are more coefficients than allowed.
        """
        function = value.function
        widest = int(np.diff(matrix.indptr).max(initial=0))
        rounding = gamma(widest + 4)
        shift = np.broadcast_to(np.asarray(offset, dtype=np.float64), matrix.shape[:1])
        loss = value.error + rounding * self.magnitude(function)
        error = np.asarray(abs(matrix) @ loss) + rounding * np.abs(shift)
        result = function.mapped(matrix, shift)
        self._builder.check_size(int(result.matrix.nnz))
        return Value(result, error)

    def magnitude(self, function: Affine) -> FloatArray:
        """Return Σ|coefficient · column| + |offset|, an upper bound of each value's size."""
        reach = self._reach[: function.matrix.shape[1]]
        return np.asarray(abs(function.matrix) @ reach) + np.abs(function.offset)

    def scaled(self, value: Value, factors: FloatArray | float) -> Value:
        """Return the values times one factor, or one factor each."""
        full = np.broadcast_to(np.asarray(factors, dtype=np.float64), value.error.shape)
        return self.mapped(sp.diags_array(full, format="csr"), value)

    def total(self, value: Value, other: Value, sign: float = 1.0) -> Value:
        """Return a value plus `sign`, 1 or −1, times another."""
        function = value.function.plus(other.function.scaled(sign))
        rounding = gamma(4) * (self.magnitude(value.function) + self.magnitude(other.function))
        return Value(function, value.error + other.error + rounding)

    def shifted(self, value: Value, by: float) -> Value:
        """Return the values plus a constant."""
        return self.mapped(sp.eye_array(value.error.size, format="csr"), value, by)

    def rectified(self, value: Value, lower: FloatArray, upper: FloatArray) -> Value:
        """Return max(0, value), adding a column and a hinge where its sign is open.

        Args:
            value: ẑ.
            lower: Its lower bounds, shape `(size,)`.
            upper: Its upper bounds.
        """
        at = np.flatnonzero((lower < 0) & (upper > 0))
        active = (lower >= 0).astype(np.float64)
        kept = sp.diags_array(active, format="csr")
        passed = Value(value.function.mapped(kept), active * value.error)
        if not at.size:
            return passed
        source = value.taken(at)
        columns = self._add_columns(source, upper[at])
        self._columns.append(columns)
        self._sources.append(source)
        self._intervals.append((lower[at], upper[at]))
        function = passed.function.replaced(at, Affine.of_columns(columns))
        # A column is the neuron's output itself: nothing is lost there.
        return Value(function, np.where(np.isin(np.arange(lower.size), at), 0.0, passed.error))

    def _add_columns(self, source: Value, upper: FloatArray) -> IndexArray:
        matrix = source.function.matrix
        levels = np.concatenate(self._level)
        row = np.repeat(np.arange(upper.size), np.diff(matrix.indptr))
        top = np.ones(upper.size, dtype=np.int64)
        np.maximum.at(top, row, levels[matrix.indices] + 1)
        first = levels.size
        self._lower.append(np.zeros(upper.size))
        self._upper.append(upper)
        self._level.append(top)
        self._reach = np.concatenate([self._reach, upper])
        return np.arange(first, first + upper.size)

    def _affine(self, node: Node, sources: Sequence[Node], values: Sequence[Value]) -> Value:
        sizes = [source.size for source in sources]
        firsts = np.cumsum([0, *sizes])
        identities = [
            Affine.of_columns(np.arange(first, first + size))
            for first, size in zip(firsts, sizes, strict=False)
        ]
        linear = ENCODERS[type(node.operator)](self._context, node, sources, identities)
        together = Value(
            Affine.stacked([Affine.constant(np.zeros(0)), *(value.function for value in values)]),
            np.concatenate([np.zeros(0), *(value.error for value in values)]),
        )
        return self.mapped(linear.widened(int(firsts[-1])), together, linear.offset)

    def _lifted(self, output: Value) -> LiftedNetwork:
        lower, upper = np.concatenate(self._lower), np.concatenate(self._upper)
        nothing = Affine.constant(np.zeros(0))
        hinges = Hinges(
            np.concatenate([np.zeros(0, dtype=np.int64), *self._columns]),
            Value(
                Affine.stacked([nothing, *(source.function for source in self._sources)]),
                np.concatenate([np.zeros(0), *(source.error for source in self._sources)]),
            ),
            np.concatenate([np.zeros(0), *(low for low, _ in self._intervals)]),
            np.concatenate([np.zeros(0), *(high for _, high in self._intervals)]),
        )
        return LiftedNetwork(
            lower, upper, np.concatenate(self._level), self._inputs, hinges, output
        )


HingeRules = Mapping[type[Operator], Callable[[Lift, Node, Sequence[Node], Sequence[Value]], Value]]
"""How operators with kinks are lifted: given the nodes they read and those nodes' values."""
