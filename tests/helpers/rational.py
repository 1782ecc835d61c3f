"""Exact worst-case margins of small ReLU networks of two inputs, in rational arithmetic.

The box is cut along every ReLU's zero line into convex polygons on which the network is affine.
All numbers are fractions, so that nothing is rounded anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from solvers.problem import Box, Specification

__all__ = ["Layer", "exact_margin_of", "margin_there"]

Layer = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Weight, shape `(outputs, inputs)`, and bias of a dense layer; ReLUs stand between layers."""

Vector = tuple[Fraction, ...]
Polygon = list[Vector]
"""Vertices in order, each with the values of the present layer there."""


def exact_margin_of(layers: Sequence[Layer], box: Box, specification: Specification) -> Fraction:
    """Return the least margin of a specification over a box with two inputs."""
    low, high = ([Fraction(float(v)) for v in ends.ravel()] for ends in (box.lower, box.upper))
    corners: Polygon = [
        (low[0], low[1]),
        (high[0], low[1]),
        (high[0], high[1]),
        (low[0], high[1]),
    ]
    polygons = [corners]
    for number, (weight, bias) in enumerate(layers):
        polygons = [[_affine(weight, bias, vertex) for vertex in p] for p in polygons]
        if number < len(layers) - 1:
            polygons = [_rectified(p) for p in _cut_at_zero(polygons, len(bias))]
    clauses = [(clause.matrix, -clause.offset) for clause in specification.clauses]
    return min(
        _least_maximum([_affine(matrix, shift, vertex) for vertex in p])
        for p in polygons
        for matrix, shift in clauses
    )


def margin_there(
    layers: Sequence[Layer], x: NDArray[np.floating], specification: Specification
) -> Fraction:
    """Return the margin at one input."""
    values: Vector = tuple(Fraction(float(v)) for v in x.ravel())
    for number, (weight, bias) in enumerate(layers):
        values = _affine(weight, bias, values)
        if number < len(layers) - 1:
            values = tuple(max(v, Fraction(0)) for v in values)
    return min(max(_affine(c.matrix, -c.offset, values)) for c in specification.clauses)


def _affine(weight: NDArray[np.floating], bias: NDArray[np.floating], x: Vector) -> Vector:
    return tuple(
        sum((Fraction(float(w)) * v for w, v in zip(row, x, strict=True)), Fraction(float(b)))
        for row, b in zip(weight, bias, strict=True)
    )


def _cut_at_zero(polygons: list[Polygon], values: int) -> list[Polygon]:
    """Cut polygons so that no value changes its sign inside any of them."""
    for index in range(values):
        unit = tuple(Fraction(int(i == index)) for i in range(values))
        cut = []
        for polygon in polygons:
            for sign in (1, -1):
                part = _half(polygon, tuple(sign * u for u in unit))
                if part:
                    cut.append(part)
        polygons = cut
    return polygons


def _rectified(polygon: Polygon) -> Polygon:
    return [tuple(max(v, Fraction(0)) for v in vertex) for vertex in polygon]


def _half(polygon: Polygon, normal: Vector) -> Polygon:
    """Return the part of a polygon where normal · values ≥ 0."""
    heights = [sum((n * v for n, v in zip(normal, p, strict=True)), Fraction(0)) for p in polygon]
    if min(heights) >= 0:
        return polygon
    part: Polygon = []
    for here in range(len(polygon)):
        before = here - 1
        if (heights[before] >= 0) != (heights[here] >= 0):
            share = heights[before] / (heights[before] - heights[here])
            ends = zip(polygon[before], polygon[here], strict=True)
            part.append(tuple(a + share * (b - a) for a, b in ends))
        if heights[here] >= 0:
            part.append(polygon[here])
    return part


def _least_maximum(polygon: Polygon) -> Fraction:
    """Return the minimum over a polygon of the largest of its values."""
    rows = len(polygon[0])
    leading = []
    for first in range(rows):
        part = polygon
        for other in range(rows):
            if other != first and part:
                normal = tuple(Fraction((i == first) - (i == other)) for i in range(rows))
                part = _half(part, normal)
        leading.extend(vertex[first] for vertex in part)
    return min(leading)
