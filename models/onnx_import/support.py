"""What in a file is not supported, all of it at once: an import stops at the first such node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx import GraphProto

from models.errors import ModelImportError
from models.onnx_file.limits import ImportLimits
from models.onnx_file.reader import graph_inputs, node_label, parse_model
from models.onnx_file.tail import find_tail, needed_nodes
from models.onnx_import.folding import FOLDED
from models.onnx_import.table import HANDLERS

__all__ = ["UnsupportedNode", "unsupported_nodes"]

# They read the input, and give constants all the same.
_SHAPES = frozenset({"Shape", "Size"})


@dataclass(frozen=True)
class UnsupportedNode:
    """A node that is in the way of an import.

    Attributes:
        node: Its name, or where it stands.
        operator: ONNX operator type.
    """

    node: str
    operator: str


def unsupported_nodes(
    data: bytes, *, limits: ImportLimits | None = None
) -> Sequence[UnsupportedNode]:
    """Return every node of a file whose operator is not supported, in the order of the file.

    Attributes of operators are not looked at, nor what the result does not depend on.

    Args:
        data: Of the file, unpacked.
        limits: On sizes, for files from strangers.

    Raises:
        ModelImportError: The file cannot be read.
    """
    graph = parse_model(data, limits or ImportLimits()).graph
    try:
        return list(_found(graph))
    except (IndexError, ValueError) as error:
        raise ModelImportError(f"the graph cannot be read: {error}") from error


def _found(graph: GraphProto) -> Iterator[UnsupportedNode]:
    """Yield them: what reads the input is imported, everything else is evaluated once."""
    alive = {entry.name for entry in graph_inputs(graph)}
    for node in needed_nodes(graph, find_tail(graph).output):
        active = any(name in alive for name in node.input)
        if active and node.op_type not in _SHAPES:
            alive.update(node.output)
        known = HANDLERS if active else FOLDED
        if node.op_type not in known and node.op_type != "Constant":
            yield UnsupportedNode(node_label(node), node.op_type)
