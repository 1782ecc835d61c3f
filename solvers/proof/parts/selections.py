"""Operators that only move values about: Reshape, Slice, Concat, … become selections.

They are applied to positions of values by the reference implementation of ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import onnx
from scipy import sparse

from solvers.proof.network import Array, CheckedNetwork, Part, Shape, Term
from solvers.proof.onnx_file import Node, evaluate, values_of

__all__ = ["SELECTIONS", "scaled", "selection", "sparse_matrix"]


def sparse_matrix(
    rows: Array, columns: Array, data: Array, shape: tuple[int, int]
) -> sparse.csr_array:
    """Return a matrix by its entries, which are spread to one shape; none at negative columns."""
    rows, columns, data = np.broadcast_arrays(rows, columns, data)
    met = (columns >= 0) & (data != 0)
    return sparse.csr_array((data[met], (rows[met], columns[met])), shape=shape)


def selection(index: Array, size: int) -> sparse.csr_array:
    """Return the matrix that picks values of a vector, and gives 0 where an index is outside."""
    inside = np.where(index.ravel() < size, index.ravel(), -1)
    return sparse_matrix(np.arange(index.size), inside, np.ones(1), (index.size, size))


def scaled(vector: tuple[int, Shape], shape: Shape, factor: Array | float) -> Term:
    """Return a vector, spread to another shape, times numbers of that shape."""
    factors = np.array(np.broadcast_to(factor, shape), dtype=np.float64).ravel()
    source, size = vector[0], prod(vector[1])
    index = np.broadcast_to(np.arange(size).reshape(vector[1]), shape).ravel()
    matrix = sparse_matrix(np.arange(len(index)), index, factors, (len(index), size))
    return Term(source, matrix, 0.0, (lambda rows: rows * factors) if len(index) == size else None)


def _move(network: CheckedNetwork, node: Node) -> None:
    """Select values as an operator moves them, and add the constants that it moves along.

    It is applied to positions, which count from 1, with 0 for constants; and to the constants,
    with 0 for values.
    """
    node.require(all(node.outputs), "an output has no name")
    moved = MOVES[node.operator] or range(len(node.inputs))
    sources, start = list[tuple[int, int]](), 1
    places, constants = list[Array | None](), list[Array | None]()
    for i, name in enumerate(node.inputs):
        if i in moved and name in network.vectors:
            source, shape = network.vectors[name]
            sources.append((start, source))
            places.append(np.arange(start, start + prod(shape)).reshape(shape))
            constants.append(np.zeros(shape))
            start += prod(shape)
            continue
        held = network.constant(node, i)
        held = None if held is not None and held.size == 0 else held  # no axes: as if not given
        places.append(np.zeros_like(held, np.intp) if i in moved and held is not None else held)
        constants.append(held)
    padded = node.attributes.get("mode", b"constant"), node.attributes.get("value", 0)
    node.require(node.operator != "Pad" or padded == (b"constant", 0), "only constant padding by "
                 "an input is known")  # fmt: skip
    if node.operator in {"Squeeze", "Unsqueeze"}:
        _settle_axes(node, np.asarray(places[0]).ndim, network.graph.opset)
    results = [evaluate(node, inputs, network.graph.opset) for inputs in (places, constants)]
    kept = node.operator != "Split" or not sources or sum(r.size for r in results[0]) == start - 1
    node.require(kept and len(results[0]) == len(node.outputs), "it is malformed: parts are lost")
    node.attributes.clear()  # the reference implementation knows all that ONNX does
    for output, (place, constant) in enumerate(zip(*results, strict=True)):
        if not sources:
            network.constants[node.outputs[output]] = constant
        elif np.array_equal(place.ravel(), np.arange(1, network.sizes[sources[0][1]] + 1)):
            network.vectors[node.outputs[output]] = sources[0][1], place.shape
        else:
            terms = [Term(v, selection(place - first, network.sizes[v])) for first, v in sources]
            network.affine(node, place.shape, terms, constant, output=output)


def _settle_axes(node: Node, rank: int, opset: int) -> None:
    """Refuse axes in an attribute that runtimes read differently, and sort those of a result."""
    axes = node.attributes.get("axes", [])
    rank += len(axes) if node.operator == "Unsqueeze" else 0
    node.require(opset >= 11 or min(axes, default=0) >= 0, "axes are counted from the end, which "
                 "this version does not know")  # fmt: skip
    node.require(len({axis % rank for axis in axes}) == len(axes), "an axis is named twice")
    if node.operator == "Unsqueeze" and axes:
        # In the order of the result: one after the other they would come out elsewhere.
        node.attributes["axes"] = sorted(axis % rank for axis in axes)


def _constant(network: CheckedNetwork, node: Node) -> None:
    tensor = node.take("value")
    node.require(isinstance(tensor, onnx.TensorProto), "it holds no tensor")
    network.constants[node.outputs[0]] = values_of(tensor)


MOVES: Mapping[str, tuple[int, ...]] = {
    "Concat": (), "Flatten": (0,), "Gather": (0,), "Identity": (0,), "Pad": (0, 2),
    "Reshape": (0,), "Slice": (0,), "Split": (0,), "Squeeze": (0,), "Transpose": (0,),
    "Unsqueeze": (0,),
}  # fmt: skip
"""Which inputs of an operator it moves, all if none is named; others say where to."""
SELECTIONS = Part(
    "operators that move values",
    {**dict.fromkeys(MOVES, _move), "Constant": _constant},
)
