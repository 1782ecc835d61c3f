"""Operators that change nothing, and nodes that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import cast

from models.graph import Graph, Node
from models.operators import (
    Add,
    Clip,
    Concat,
    Expand,
    LeakyRelu,
    Operator,
    Pad,
    ReduceSum,
    Reshape,
    Scale,
    Take,
    Transpose,
)

__all__ = ["without_identities"]

_Test = Callable[[Operator, tuple[int, ...]], bool]


def without_identities(graph: Graph) -> Graph:
    """Return the graph without operators that give their input back, and without dead nodes.

    The input node stays, whatever reads it.
    """
    alias: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.ancestors(graph.output):
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if len(inputs) == 1 and _is_identity(node.operator, graph.node(inputs[0]).shape):
            alias[node.name] = inputs[0]
        else:
            kept.append(replace(node, inputs=inputs))
    return Graph(tuple(kept), alias.get(graph.output, graph.output))


def _is_identity(operator: Operator, shape: tuple[int, ...]) -> bool:
    test = _TESTS.get(type(operator))
    return test is not None and test(operator, shape)


def _take(operator: Operator, shape: tuple[int, ...]) -> bool:
    take = cast("Take", operator)
    return take.indices == tuple(range(shape[take.axis]))


def _transpose(operator: Operator, shape: tuple[int, ...]) -> bool:
    return cast("Transpose", operator).permutation == tuple(range(len(shape)))


_TESTS: Mapping[type[Operator], _Test] = {
    Add: lambda operator, _: cast("Add", operator).coefficients == (1.0,),
    Clip: lambda operator, _: operator == Clip(-inf, inf),
    Concat: lambda *_: True,  # of a single input, which is all that is asked about
    Expand: lambda operator, shape: cast("Expand", operator).shape == shape,
    LeakyRelu: lambda operator, _: operator == LeakyRelu(1.0),
    Pad: lambda operator, _: not any(map(any, cast("Pad", operator).padding)),
    ReduceSum: lambda operator, _: not cast("ReduceSum", operator).axes,
    Reshape: lambda operator, shape: cast("Reshape", operator).shape == shape,
    Scale: lambda operator, _: operator == Scale(None, None),
    Take: _take,
    Transpose: _transpose,
}
"""When an operator of one input gives that input back, by its attributes and the input's shape."""
