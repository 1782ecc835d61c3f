"""Piecewise linear operators as sums of affine functions and max(0, ·)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.graph import Node
from models.network import Network
from models.operators import Clip, LeakyRelu, MaxPool, PRelu, Relu
from solvers.budget import Budget
from solvers.convex.sdp.lift import HingeRules, Lift, LiftedNetwork, Value
from solvers.exact.context import Bounds
from solvers.exact.linear_maps import window_indices
from solvers.problem import Box

__all__ = ["lift_network"]

FloatArray = NDArray[np.float64]
Nodes = Sequence[Node]
Values = Sequence[Value]


def lift_network(
    network: Network, region: Box, bounds: Bounds, *, max_nonzeros: int, budget: Budget
) -> LiftedNetwork:
    """Write a network of the ReLU family as columns and hinges.

    Args:
        network: Of Relu, LeakyRelu, PRelu, Clip, MaxPool and operators that are affine.
        region: Of its input shape; of a ball, the box around it is used.
        bounds: By node name, sound bounds of the input of every kinked node, of its shape.
        max_nonzeros: Limit on the coefficients of one layer.
        budget: Asked after each node.

    Raises:
        UnsupportedMethodError: Another operator occurs, or the budget ran out.
        ModelTooLargeError: A layer has too many coefficients.
        ShapeError: Region or bounds do not fit the network.
        BoundsError: Bounds are missing, empty or not finite.
    """
    return Lift(network, region, bounds, max_nonzeros).run(_RULES, budget)


def _relu(lift: Lift, _: Node, sources: Nodes, values: Values) -> Value:
    """max(0, ẑ)."""
    return lift.rectified(values[0], *lift.interval(sources[0]))


def _leaky_relu(lift: Lift, node: Node, sources: Nodes, values: Values) -> Value:
    slope = cast(LeakyRelu, node.operator).slope
    return _sloped(lift, values[0], lift.interval(sources[0]), np.full(node.size, slope))


def _prelu(lift: Lift, node: Node, sources: Nodes, values: Values) -> Value:
    slope = lift.spread(cast(PRelu, node.operator).slope, node.shape)
    return _sloped(lift, values[0], lift.interval(sources[0]), slope)


def _sloped(
    lift: Lift, value: Value, interval: tuple[FloatArray, FloatArray], slope: FloatArray
) -> Value:
    """Return slope · ẑ + (1 − slope) · max(0, ẑ)."""
    positive = lift.rectified(value, *interval)
    return lift.total(lift.scaled(value, slope), lift.scaled(positive, 1.0 - slope))


def _clip(lift: Lift, node: Node, sources: Nodes, values: Values) -> Value:
    """Two hinges: max(low, ẑ) = low + max(0, ẑ − low), and the same from above."""
    operator = cast(Clip, node.operator)
    value, (lower, upper) = values[0], lift.interval(sources[0])
    low, high = operator.lower, operator.upper
    if np.isfinite(low):
        value = _raised(lift, value, (lower, upper), low)
        lower, upper = np.maximum(lower, low), np.maximum(upper, low)
    if np.isfinite(high):
        mirrored = _raised(lift, lift.scaled(value, -1.0), (-upper, -lower), -high)
        value = lift.scaled(mirrored, -1.0)
    return value


def _raised(lift: Lift, value: Value, interval: tuple[FloatArray, FloatArray], low: float) -> Value:
    """Return max(low, ẑ)."""
    lower, upper = _outwards(interval[0] - low, -1.0), _outwards(interval[1] - low, 1.0)
    return lift.shifted(lift.rectified(lift.shifted(value, -low), lower, upper), low)


def _outwards(difference: FloatArray, side: float) -> FloatArray:
    """Return the next number on a side, lest rounding lose a kink; a difference of 0 is exact."""
    return np.where(difference == 0.0, 0.0, np.nextafter(difference, side * np.inf))


def _max_pool(lift: Lift, node: Node, sources: Nodes, values: Values) -> Value:
    """Candidates one after the other: max(a, b) = a + max(0, b − a); padding never wins."""
    operator = cast(MaxPool, node.operator)
    lower, upper = lift.interval(sources[0])
    windows = window_indices(operator, sources[0].shape).reshape(node.size, -1)
    # The likeliest first, so that the others are often beaten everywhere and need no column.
    rank = np.where(windows >= 0, lower[windows], -np.inf)
    windows = np.take_along_axis(windows, np.argsort(-rank, axis=1, kind="stable"), axis=1)
    best = values[0].taken(windows[:, 0])
    low, high = lower[windows[:, 0]], upper[windows[:, 0]]
    for place in range(1, windows.shape[1]):
        at = windows[:, place]
        inside = at >= 0
        # Where a window ends at padding, the candidate is the best itself, never above it.
        other_low = np.where(inside, lower[at], low)
        other_high = np.where(inside, upper[at], low)
        least = _outwards(other_low - high, -1.0)
        most = np.where(inside, _outwards(other_high - low, 1.0), 0.0)
        kept = sp.diags_array(inside.astype(np.float64), format="csr")
        difference = lift.total(values[0].taken(np.maximum(at, 0)), best, -1.0)
        raised = lift.rectified(lift.mapped(kept, difference), np.minimum(least, 0.0), most)
        best = lift.total(best, raised)
        low, high = np.maximum(low, other_low), np.maximum(high, other_high)
    return best


_RULES: HingeRules = MappingProxyType(
    {Clip: _clip, LeakyRelu: _leaky_relu, MaxPool: _max_pool, PRelu: _prelu, Relu: _relu}
)
