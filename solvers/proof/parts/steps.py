"""What parts whose operators take several steps are made of."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from solvers.proof.network import MAX_VALUES, Array, CheckedNetwork, Nonlinear, Shape, Term
from solvers.proof.onnx_file import Node
from solvers.proof.parts.relaxed import Relaxed
from solvers.proof.parts.selections import selection

__all__ = ["apply", "chosen", "side_by_side"]


def apply(
    network: CheckedNetwork,
    node: Node,
    function: Relaxed,
    sources: Sequence[int],
    shape: Shape,
    *,
    read: int,
    output: int | None = None,
) -> int:
    """Append a function of vectors and return the number of its result.

    Args:
        network: To append to.
        node: That it is a step of.
        function: Of the sources, value by value.
        sources: As long as the shape says.
        shape: Of the result.
        read: The vector whose bounds matter.
        output: Which output of the node gets the result; None for none.
    """
    node.require(0 < prod(shape) <= MAX_VALUES, f"it takes {prod(shape)} values")
    network.sizes.append(prod(shape))
    result = len(network.sizes) - 1
    if output is not None:
        network.vectors[node.outputs[output]] = result, tuple(map(int, shape))
    network.operations.append(Nonlinear(result, tuple(sources), read, function, node.name))
    return result


def chosen(network: CheckedNetwork, node: Node, source: int, index: Array) -> int:
    """Return a vector of values of another one, appended unless it is that vector."""
    if np.array_equal(index.ravel(), np.arange(network.sizes[source])):
        return source
    term = Term(source, selection(index, network.sizes[source]))
    return network.affine(node, index.shape, [term], output=None)


def side_by_side(
    network: CheckedNetwork, node: Node, left: int, right: int
) -> tuple[int, int, int]:
    """Return one vector that holds two, and where each of them begins in it.

    Functions of values of both read that one, so that bounds of all of them are close.
    """
    if left == right:
        return left, 0, 0
    first, second = network.sizes[left], network.sizes[right]
    none = np.full(max(first, second), -1)
    terms = [
        Term(left, selection(np.concatenate([np.arange(first), none[:second]]), first)),
        Term(right, selection(np.concatenate([none[:first], np.arange(second)]), second)),
    ]
    return network.affine(node, (first + second,), terms, output=None), 0, first
