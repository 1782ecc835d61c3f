"""Functions of straight pieces: LeakyRelu, Abs and Clip.

Extreme values of f(z) − s·z are at the ends of an interval or at the corners of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.onnx_file import Node
from solvers.proof.parts.relaxed import (
    ROUNDING,
    TINY,
    Lines,
    Relaxed,
    highest,
)

__all__ = ["PIECES", "absolute", "clip", "leaky"]


@dataclass(frozen=True)
class _Pieces:
    """A continuous function that is linear between its corners, with the slopes of its pieces."""

    value: Callable[[Array], Array]
    corners: Sequence[float]
    pieces: Sequence[float]

    def function(
        self, *called: float, name: str, corner: bool = False, rounded: bool = False
    ) -> Relaxed:
        """Return what bounds need of it, called by its name and numbers."""
        return Relaxed(
            self._values, self._lines, corner,
            slopes=self._slopes, rounded=rounded, called=(name, *called),
        )  # fmt: skip

    def _points(self, low: Array, high: Array) -> list[Array]:
        inner = [np.minimum(np.maximum(c, low), high) for c in self.corners]
        return [low, *inner, high]

    def _values(self, ends: Ends) -> tuple[Array, Array]:
        ((low, high),) = ends
        values = np.stack([self.value(point) for point in self._points(low, high)])
        least, most = values.min(axis=0), values.max(axis=0)
        return least - np.abs(least) * ROUNDING - TINY, most + np.abs(most) * ROUNDING + TINY

    def _lines(self, ends: Ends) -> Lines:
        ((low, high),) = ends
        points = self._points(low, high)
        values = [self.value(point) for point in points]
        width = np.where(high > low, high - low, 1.0)
        chord = np.where(high > low, (values[-1] - values[0]) / width, 0.0)
        slopes = [chord, *(np.full_like(low, slope) for slope in self.pieces)]

        def floors(sign: float) -> Callable[[Array], Array]:
            def floor(slope: Array) -> Array:
                pairs = [(sign * v, slope * p) for v, p in zip(values, points, strict=True)]
                least = np.min([v - m for v, m in pairs], axis=0)
                size = np.max([np.abs(v) + np.abs(m) for v, m in pairs], axis=0)
                return np.asarray(least - ROUNDING * size - TINY)

            return floor

        middle = low / 2 + high / 2
        lower, below = highest(slopes, floors(1.0), middle)
        upper, above = highest([-slope for slope in slopes], floors(-1.0), middle)
        return Lines([lower], [-upper], below, -above)

    def _slopes(self, ends: Ends) -> tuple[Array, Array]:
        shape = ends[0][0].shape
        return np.full(shape, min(self.pieces)), np.full(shape, max(self.pieces))


def leaky(slope: float) -> Relaxed:
    """Return the function max(z, slope·z), for a slope in [0, 1]."""
    pieces = _Pieces(lambda z: np.maximum(z, slope * z), (0.0,), (slope, 1.0))
    return pieces.function(slope, name="LeakyRelu", corner=True, rounded=True)


def absolute() -> Relaxed:
    """Return the function |z|."""
    return _Pieces(np.abs, (0.0,), (-1.0, 1.0)).function(name="Abs", corner=True)


def clip(least: float, most: float) -> Relaxed:
    """Return the function that is z inside of an interval, and constant outside."""
    pieces = _Pieces(lambda z: np.clip(z, least, most), (least, most), (0.0, 1.0))
    return pieces.function(least, most, name="Clip")


def _leaky(network: CheckedNetwork, node: Node) -> None:
    slope = float(node.take("alpha", np.float32(0.01)))
    node.require(0 <= slope <= 1, f"its slope {slope} is not in [0, 1]")
    network.nonlinear(node, leaky(slope))


def _clip(network: CheckedNetwork, node: Node) -> None:
    # What is left out stood for the largest number of float32 once, in float64 too.
    most = np.inf if network.graph.opset >= 11 else float(np.finfo(np.float32).max)
    ends = []
    for position, key, default in ((1, "min", -most), (2, "max", most)):
        given = network.constant(node, position)
        ends.append(float(node.take(key, default) if given is None else given.item()))
    node.require(ends[0] < ends[1] and np.isfinite(ends[0]), f"it clips to {ends}")
    network.nonlinear(node, clip(*ends))


PIECES = Part(
    "the rules of LeakyRelu, Abs and Clip",
    {
        "LeakyRelu": _leaky,
        "Abs": lambda network, node: network.nonlinear(node, absolute()),
        "Clip": _clip,
    },
)
