"""MaxPool: the maximum of as many selections as the kernel has places."""

from __future__ import annotations

from math import prod

import numpy as np

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import CheckedNetwork, Part, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.products import windows
from solvers.proof.parts.relaxed import ROUNDING, TINY, Lines, Relaxed
from solvers.proof.parts.selections import selection

__all__ = ["MAXIMA", "MAXIMUM"]


def _max_image(ends: Ends) -> tuple[Array, Array]:
    return np.max([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)


def _max_lines(ends: Ends) -> Lines:
    """Below, one of the sources. Above, that source if none can exceed it, or the better of two.

    With L the largest lower bound, max z ≤ L + Σ max(z − L, 0), and each of these is below a
    chord; or max z ≤ the largest upper bound.
    """
    lows, highs = (np.stack([end[side] for end in ends]) for side in (0, 1))
    best = lows.argmax(axis=0)
    chosen = np.arange(len(ends)).reshape(-1, *[1] * best.ndim) == best
    floor = lows.max(axis=0)
    others = np.where(chosen, -np.inf, highs).max(axis=0)
    decided = floor >= others
    width = np.where(highs > lows, highs - lows, 1.0)
    chords = np.maximum(highs - floor, 0.0) / width * (1 + ROUNDING)
    moves = chords * lows
    summed = floor - moves.sum(axis=0)
    size = np.abs(floor) + np.abs(moves).sum(axis=0)
    summed = summed + (ROUNDING + len(ends) * 2.0**-52) * size + TINY
    most = highs.max(axis=0)
    level = (chords * (lows / 2 + highs / 2)).sum(axis=0) + summed >= most
    slopes = np.where(decided, chosen, np.where(level, 0.0, chords))
    above = np.where(decided, 0.0, np.where(level, most, summed))
    return Lines([*chosen.astype(np.float64)], [*slopes], np.zeros_like(floor), above)


def _unit_slopes(ends: Ends) -> tuple[Array, Array]:
    return np.zeros_like(ends[0][0]), np.ones_like(ends[0][0])


MAXIMUM = Relaxed(_max_image, _max_lines, slopes=_unit_slopes, called=("Max",))


def _max_pool(network: CheckedNetwork, node: Node) -> None:
    source, (batch, channels, *spatial) = network.vector(node)
    node.take("storage_order")
    node.require(len(node.outputs) == 1, "it gives indices")
    node.require(node.take("ceil_mode", 0) == 0 and batch == 1, "ceil_mode is set")
    met, result = windows(network, node, spatial, tuple(node.take("kernel_shape")))
    some = met.max(axis=0)
    node.require((some >= 0).all(), "a window lies in the padding")
    shape, channel = (1, channels, *result), np.arange(channels)[:, None] * prod(spatial)
    sources = []
    for place in np.where(met >= 0, met, some):
        matrix = selection(channel + place, channels * prod(spatial))
        sources.append(network.affine(node, shape, [Term(source, matrix)], output=None))
    network.nonlinear(node, MAXIMUM, sources, shape)


MAXIMA = Part("the rule of MaxPool", {"MaxPool": _max_pool})
