"""The end of the graph: which tensor is the result, and which nodes it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import GraphProto, NodeProto

__all__ = ["Tail", "find_tail", "needed_nodes"]

_PASSIVE = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_SOFTMAX = frozenset({"LogSoftmax", "Softmax"})


@dataclass(frozen=True)
class Tail:
    """The result of the network.

    Attributes:
        output: The ONNX tensor that is taken as the result.
        softmax: The node that was dropped behind it, where there was one.
        declared: The output that the file declares.
        ignored: Further outputs of the file.
    """

    output: str
    softmax: NodeProto | None
    declared: str
    ignored: tuple[str, ...]


def find_tail(graph: GraphProto) -> Tail:
    """Return the result of the network, before a final Softmax or LogSoftmax.

    Both keep the order of the outputs, so that a classification is decided without them; so does
    a reshape behind them.
    """
    declared = graph.output[0].name
    ignored = tuple(entry.name for entry in list(graph.output)[1:])
    producers = _producers(graph)
    name = declared
    for _ in range(len(graph.node)):  # and no further: a damaged graph may run in circles
        last = producers.get(name)
        if last is None or last.op_type not in _PASSIVE or not last.input:
            break
        name = last.input[0]
    last = producers.get(name)
    if last is not None and last.op_type in _SOFTMAX and last.input:
        return Tail(last.input[0], last, declared, ignored)
    return Tail(declared, None, declared, ignored)


def needed_nodes(graph: GraphProto, output: str) -> list[NodeProto]:
    """Return the nodes that `output` depends on, in the order of the file."""
    producers = _producers(graph)
    needed: set[str] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in producers:
            pending.extend(source for source in producers[name].input if source)
    return [node for node in graph.node if any(name in needed for name in node.output)]


def _producers(graph: GraphProto) -> Mapping[str, NodeProto]:
    return {name: node for node in graph.node for name in node.output if name}
