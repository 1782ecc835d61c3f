"""Products and quotients of values: planes below and above x·y on a box (McCormick 1976).

x·y − s·x − t·y is linear in x for every y and the other way round, so that it is least and greatest
at corners of the box, whatever s and t are. With the middle of y for s and that of x for t, the two
planes are as close to the product as any in the middle of the box. A quotient is a product with an
inverse; a product of matrices is a sum of products.
"""

from __future__ import annotations

from math import prod

import numpy as np
from scipy import sparse

from solvers.proof.bounds import Array, Ends
from solvers.proof.network import CheckedNetwork, Part, Shape, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.products import PRODUCTS
from solvers.proof.parts.relaxed import ROUNDING, TINY, Lines, Relaxed
from solvers.proof.parts.selections import scaled
from solvers.proof.parts.smooth import INVERSE, SQUARE
from solvers.proof.parts.steps import apply, chosen, side_by_side
from solvers.proof.parts.sums import SUMS

__all__ = ["BILINEAR", "PRODUCT"]


def _corners(ends: Ends, s: Array, t: Array) -> tuple[Array, Array]:
    """Return bounds of x·y − s·x − t·y."""
    lows, highs = [], []
    for x in ends[0]:
        for y in ends[1]:
            parts = x * y, s * x, t * y
            value = parts[0] - parts[1] - parts[2]
            off = ROUNDING * np.sum([np.abs(part) for part in parts], axis=0) + TINY
            lows.append(value - off)
            highs.append(value + off)
    return np.min(lows, axis=0), np.max(highs, axis=0)


def _values(ends: Ends) -> tuple[Array, Array]:
    return _corners(ends, np.zeros_like(ends[1][0]), np.zeros_like(ends[0][0]))


def _lines(ends: Ends) -> Lines:
    t, s = (low / 2 + high / 2 for low, high in ends)
    below, above = _corners(ends, s, t)
    return Lines([s, t], [s, t], below, above)


def _slopes(ends: Ends) -> tuple[Array, Array]:
    """Return bounds of both derivatives, which are the other value."""
    (x_low, x_high), (y_low, y_high) = ends
    return np.minimum(x_low, y_low), np.maximum(x_high, y_high)


PRODUCT = Relaxed(_values, _lines, slopes=_slopes, float32=np.inf, called=("Product",))


def _multiplied(
    network: CheckedNetwork,
    node: Node,
    factors: tuple[tuple[int, Array], tuple[int, Array]],
    *,
    output: int | None,
) -> int:
    """Append products of values of two vectors, picked by indices of one shape."""
    (left, index), (right, other) = factors
    both, first, second = side_by_side(network, node, left, right)
    sources = [chosen(network, node, both, at) for at in (first + index, second + other)]
    return apply(network, node, PRODUCT, sources, index.shape, read=both, output=output)


def _places(shape: Shape, result: Shape) -> Array:
    """Return which value of a shape meets each value of one that it is spread to."""
    return np.broadcast_to(np.arange(prod(shape)).reshape(shape), result)


def _multiply(network: CheckedNetwork, node: Node) -> None:
    known = [name in network.constants for name in node.inputs]
    if all(known):
        one, two = (network.constants[name] for name in node.inputs)
        node.require(one.dtype == two.dtype == np.int64, "it computes a constant with rounding")
        small = all((np.abs(part.astype(np.float64)) < 2**31).all() for part in (one, two))
        node.require(small, "it multiplies whole numbers that may overflow")
        network.constants[node.outputs[0]] = one * two
        return
    if any(known):
        SUMS.operators["Mul"](network, node)
        return
    (left, shape), (right, other) = network.vector(node), network.vector(node, 1)
    result = np.broadcast_shapes(shape, other)
    if left == right and shape == other:
        apply(network, node, SQUARE.function(), [left], shape, read=left, output=0)
        return
    factors = (left, _places(shape, result)), (right, _places(other, result))
    _multiplied(network, node, factors, output=0)


def _divide(network: CheckedNetwork, node: Node) -> None:
    if node.inputs[1] in network.constants:
        SUMS.operators["Div"](network, node)
        return
    bottom, other = network.vector(node, 1)
    inverse = apply(network, node, INVERSE.function(), [bottom], other, read=bottom)
    if node.inputs[0] in network.constants:
        factor = network.constants[node.inputs[0]]
        result = np.broadcast_shapes(factor.shape, other)
        network.affine(node, result, [scaled((inverse, other), result, factor)])
        return
    top, shape = network.vector(node)
    result = np.broadcast_shapes(shape, other)
    factors = (top, _places(shape, result)), (inverse, _places(other, result))
    _multiplied(network, node, factors, output=0)


def _matrix_product(network: CheckedNetwork, node: Node) -> None:
    if any(name in network.constants for name in node.inputs):
        PRODUCTS.operators["MatMul"](network, node)
        return
    (left, shape), (right, other) = network.vector(node), network.vector(node, 1)
    node.require(min(len(shape), len(other)) >= 2, "a factor has one axis")
    node.require(shape[-1] == other[-2], "shapes do not fit")
    rows = np.arange(prod(shape)).reshape(shape)[..., :, np.newaxis, :]
    columns = np.arange(prod(other)).reshape(other).swapaxes(-1, -2)[..., np.newaxis, :, :]
    places = np.broadcast_arrays(rows, columns)
    result = places[0].shape[:-1]
    factors = (left, places[0]), (right, places[1])
    products = _multiplied(network, node, factors, output=None)
    ones = sparse.csr_array(np.ones((1, shape[-1])))
    sums = sparse.csr_array(sparse.kron(sparse.eye_array(prod(result)), ones))
    network.affine(node, result, [Term(products, sums)])


BILINEAR = Part(
    "products and quotients of values",
    {"Mul": _multiply, "Div": _divide, "MatMul": _matrix_product},
)
