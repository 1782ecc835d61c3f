"""Encoders of piecewise linear operators: binaries where a piece is undecided, nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.graph import Node
from models.operators import Clip, LeakyRelu, MaxPool, PRelu
from solvers.exact.affine import Affine, IndexArray, from_triplets
from solvers.exact.context import EncodingContext, Hinge, StableEncoding
from solvers.exact.linear_maps import window_indices

__all__ = [
    "encode_clip",
    "encode_leaky_relu",
    "encode_max_pool",
    "encode_prelu",
    "encode_relu",
]

FloatArray = NDArray[np.float64]
Interval = tuple[FloatArray, FloatArray]
Nodes = Sequence[Node]
Values = Sequence[Affine]


def encode_relu(context: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """max(0, z)."""
    interval = context.interval(sources[0])
    return two_pieces(context, values[0], interval, slopes=(0.0, 1.0), node=node.name)


def encode_leaky_relu(
    context: EncodingContext, node: Node, sources: Nodes, values: Values
) -> Affine:
    """Return z where positive, slope · z where negative."""
    slope = cast(LeakyRelu, node.operator).slope
    interval = context.interval(sources[0])
    return two_pieces(context, values[0], interval, slopes=(slope, 1.0), node=node.name)


def encode_prelu(context: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """LeakyRelu with a slope per value."""
    slope = context.spread(cast(PRelu, node.operator).slope, node.shape)
    interval = context.interval(sources[0])
    return two_pieces(context, values[0], interval, slopes=(slope, 1.0), node=node.name)


def encode_clip(context: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """min(max(z, lower), upper): two hinges, the second on the result of the first."""
    operator = cast(Clip, node.operator)
    value, (lower, upper) = values[0], context.interval(sources[0])
    low, high = operator.lower, operator.upper
    if np.isfinite(low):
        shifted = (lower - low, upper - low)
        value = two_pieces(
            context, value.shifted(-low), shifted, slopes=(0.0, 1.0), node=node.name
        ).shifted(low)
        lower, upper = np.maximum(lower, low), np.maximum(upper, low)
    if np.isfinite(high):
        shifted = (lower - high, upper - high)
        value = two_pieces(
            context, value.shifted(-high), shifted, slopes=(1.0, 0.0), node=node.name
        ).shifted(high)
    return value


def two_pieces(
    context: EncodingContext,
    value: Affine,
    interval: Interval,
    *,
    slopes: tuple[FloatArray | float, FloatArray | float],
    node: str,
) -> Affine:
    """Encode a function with a kink at 0.

    An unstable z becomes z = p − n with p ∈ [0, upper], n ∈ [0, −lower] and a binary a with
    p ≤ upper·a and n ≤ −lower·(1 − a). That is the big-M formulation with z itself substituted
    away, so that its long row appears once, in the equality. Relaxed, p / upper + n / −lower ≤ 1
    takes the place of a.

    Args:
        context: Of the encoding.
        value: z, a function of earlier columns.
        interval: Bounds of z, each of shape `(size,)`.
        slopes: Left and right of 0, a number or shape `(size,)`.
        node: Name of the node that bends.

    Returns:
        slopes[0] · min(z, 0) + slopes[1] · max(z, 0).

    Source: Tjeng et al. 2019, the formulation of ReLU, in the variables p and n.
    """
    lower, upper = interval
    left, right = (np.broadcast_to(np.asarray(slope, float), lower.shape) for slope in slopes)
    unstable = (lower < 0) & (upper > 0)
    slope = np.where(unstable, 0.0, np.where(upper <= 0, left, right))
    passed = value.scaled(slope)
    if context.stable is StableEncoding.COLUMN:
        wide = np.diff(passed.matrix.indptr) > 1
        ends = (np.minimum(slope * lower, slope * upper), np.maximum(slope * lower, slope * upper))
        passed = context.with_columns(passed, wide, ends)
    at = np.flatnonzero(unstable)
    if not at.size:
        return passed
    positive, negative = _split(context, value.taken(at), (lower[at], upper[at]), (node, at))
    kinked = positive.scaled(right[at]).plus(negative.scaled(-left[at]))
    return passed.replaced(at, kinked)


def _split(
    context: EncodingContext, value: Affine, interval: Interval, place: tuple[str, IndexArray]
) -> tuple[Affine, Affine]:
    """Add the columns and rows of z = p − n for unstable entries; return p and n."""
    builder, zeros = context.builder, np.zeros(value.size)
    lower, upper = interval
    above, below = builder.add_columns(zeros, upper), builder.add_columns(zeros, -lower)
    positive, negative = Affine.of_columns(above, upper), Affine.of_columns(below, -lower)
    active = None
    if not context.relaxed:
        ones = np.ones(value.size)
        active = Affine.of_columns(builder.add_columns(zeros, ones, integral=True), 1.0)
    tied = positive.plus(negative.scaled(-1.0)).plus(value.scaled(-1.0))
    ties = builder.add_rows(tied, 0.0, 0.0)
    context.hinges.append(Hinge(*place, above, below, ties))
    if active is None:
        # the chord, over upper − lower so that its coefficients are at most 1
        width = upper - lower
        chord = positive.scaled(-lower / width).plus(negative.scaled(upper / width))
        builder.add_rows(chord.shifted(lower * upper / width), -np.inf, 0.0)
        return positive, negative
    builder.add_rows(positive.plus(active.scaled(-upper)), -np.inf, 0.0)
    builder.add_rows(negative.plus(active.scaled(-lower)).shifted(lower), -np.inf, 0.0)
    return positive, negative


def encode_max_pool(context: EncodingContext, node: Node, sources: Nodes, values: Values) -> Affine:
    """The largest of each window; padding is never chosen.

    Candidates that another one always beats are left out. With one left, the output is that
    candidate; otherwise a column m with m ≥ zᵢ and m ≤ zᵢ + Mᵢ(1 − aᵢ), exactly one aᵢ being 1.

    Source: Tjeng et al. 2019, the formulation of the maximum.
    """
    operator = cast(MaxPool, node.operator)
    lower, upper = context.interval(sources[0])
    windows = window_indices(operator, sources[0].shape).reshape(node.size, -1)
    inside = windows >= 0
    low = np.where(inside, lower[windows], -np.inf)
    high = np.where(inside, upper[windows], -np.inf)
    best = low.argmax(axis=1)
    candidate = inside & (high > low.max(axis=1, keepdims=True))
    candidate[np.arange(node.size), best] = True
    open_ = np.flatnonzero(candidate.sum(axis=1) > 1)
    used = np.zeros(lower.size, dtype=np.bool_)
    used[windows[open_][candidate[open_]]] = True
    long = np.diff(values[0].matrix.indptr) > 2
    value = context.with_columns(values[0], used & long, (lower, upper))
    passed = value.taken(windows[np.arange(node.size), best])
    if not open_.size:
        return passed
    chosen = np.where(candidate[open_], windows[open_], -1)
    maximum = _maximum(context, value, chosen, (low[open_], high[open_]))
    return passed.replaced(open_, maximum)


def _maximum(
    context: EncodingContext, value: Affine, windows: IndexArray, interval: Interval
) -> Affine:
    """Add the columns and rows of the maximum of each window of at least two candidates.

    Args:
        context: Of the encoding.
        value: The inputs.
        windows: Shape `(outputs, window)`, −1 where there is no candidate.
        interval: Bounds of the inputs laid out as `windows`.
    """
    builder = context.builder
    lower, upper = interval
    inside = windows >= 0
    high = np.where(inside, upper, -np.inf)
    ends = lower.max(axis=1), high.max(axis=1)
    largest = Affine.of_columns(builder.add_columns(*ends), np.abs(ends).max(axis=0))
    row, place = np.nonzero(inside)
    # the largest of the others: what m can exceed candidate i by is that minus its lower bound
    order = np.sort(high, axis=1)
    is_top = place == high.argmax(axis=1)[row]
    others = np.where(is_top, order[row, -2], order[row, -1])
    reach = np.maximum(others - lower[row, place], 0.0)
    ones, zeros = np.ones(row.size), np.zeros(row.size)
    active = Affine.of_columns(builder.add_columns(zeros, ones, integral=True), 1.0)
    excess = largest.taken(row).plus(value.taken(windows[row, place]).scaled(-1.0))
    builder.add_rows(excess, 0.0, np.inf)
    builder.add_rows(excess.plus(active.scaled(reach)).shifted(-reach), -np.inf, 0.0)
    index = np.arange(row.size)
    builder.add_rows(
        active.mapped(from_triplets(ones, row, index, (windows.shape[0], row.size))), 1.0, 1.0
    )
    return largest
