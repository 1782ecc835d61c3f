"""The end of the graph: which tensor is the result, and which nodes it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import GraphProto, NodeProto

__all__ = ["Tail", "find_tail", "needed_nodes"]

_PASSIVE = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_SOFTMAX = frozenset({"LogSoftmax", "Softmax"})
_ARGMAX = frozenset({"ArgMax"})


@dataclass(frozen=True)
class Tail:
    """The result of the network.

    Attributes:
        output: The ONNX tensor that is taken as the result.
        dropped: The Softmax, LogSoftmax and ArgMax nodes that were dropped behind it, first to
            last; at most one of each kind in a row.
        declared: The output that the file declares.
        ignored: Further outputs of the file.
    """

    output: str
    dropped: tuple[NodeProto, ...]
    declared: str
    ignored: tuple[str, ...]


def find_tail(graph: GraphProto) -> Tail:
    """Return the result of the network, before a final Softmax, LogSoftmax or ArgMax.

    The first two keep the order of the outputs and the last reads nothing else, so that a
    classification is decided without them; so does a reshape behind them.
    """
    declared = graph.output[0].name
    ignored = tuple(entry.name for entry in list(graph.output)[1:])
    producers = _producers(graph)
    name = declared
    dropped: list[NodeProto] = []
    for kinds in (_ARGMAX, _SOFTMAX):
        last = _last_active(producers, name, len(graph.node))
        if last is not None and last.op_type in kinds and last.input:
            dropped.insert(0, last)
            name = last.input[0]
    return Tail(name if dropped else declared, tuple(dropped), declared, ignored)


def _last_active(producers: Mapping[str, NodeProto], name: str, limit: int) -> NodeProto | None:
    """Return the node behind a tensor, looking through those that keep all values.

    No further than `limit` nodes: a damaged graph may run in circles.
    """
    last = producers.get(name)
    for _ in range(limit):
        if last is None or last.op_type not in _PASSIVE or not last.input:
            break
        last = producers.get(last.input[0])
    return last


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
