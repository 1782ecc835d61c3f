"""What people want to know about a network: its layers, or everything in it that is in the way."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from models.errors import ModelImportError, TightropeError, UnsupportedOperatorError
from models.network import Network
from models.onnx_file.limits import ImportLimits
from models.onnx_file.reader import read_source
from models.onnx_import.support import unsupported_nodes
from solvers.bounds.rules import NonlinearRule, rule_for

__all__ = ["MOST_LAYERS", "layers_of", "neurons_of", "refusal"]

MOST_LAYERS = 2000
"""So many are described; a graph may have any number."""
_MOST_PARTS = 100


def layers_of(network: Network) -> list[dict[str, Any]]:
    """Return the operators of a network in the order in which they are computed.

    Each has `name`, `operator`, `shape`, `neurons` (values that it computes, where it is not
    linear) and `parameters`; a tensor that several operators share is counted with the first.
    """
    seen: set[str] = set()
    layers = []
    for node in network.graph.nodes[:MOST_LAYERS]:
        fresh = {reference.name for reference in node.operator.references()} - seen
        seen |= fresh
        layers.append(
            {
                "name": node.name,
                "operator": type(node.operator).__name__,
                "shape": list(node.shape),
                "neurons": neurons_of(network, node.name),
                "parameters": sum(network.parameters[name].numel() for name in fresh),
            }
        )
    return layers


def neurons_of(network: Network, name: str) -> int:
    """Return how many values a node computes by something that is not linear."""
    node = network.graph.node(name)
    if node is network.graph.input or not isinstance(rule_for(node.operator), NonlinearRule):
        return 0
    return prod(node.shape)


def refusal(error: TightropeError, path: Path) -> dict[str, Any]:
    """Return why a file is refused: `type`, `message`, and `parts` where single nodes are why.

    Each part has the `node`, its `operator`, and a `reason` where there is more to say.
    """
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if not isinstance(error, UnsupportedOperatorError):
        return told
    try:
        others = unsupported_nodes(read_source(path, ImportLimits()))
    except ModelImportError:
        others = ()
    first = {"node": error.node, "operator": error.operator, "reason": error.detail}
    rest = [
        {"node": one.node, "operator": one.operator, "reason": ""}
        for one in others
        if one.node != error.node
    ]
    told["parts"] = [first, *rest][:_MOST_PARTS]
    return told
