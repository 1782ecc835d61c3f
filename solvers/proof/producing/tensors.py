"""Which tensor of an ONNX file the values of a node inside a folded network are.

Folding merges affine operators, and import may put several nodes for one operator of the file. What
a nonlinear operator reads is the same numbers in both, in the same order.
"""

from __future__ import annotations

import onnx

from models.network import Network
from solvers.bounds.ibp import nonlinear_nodes

__all__ = ["tensors_of"]


def tensors_of(network: Network, folded: Network) -> dict[str, str]:
    """Return the ONNX tensor of every node that a nonlinear operator of the file reads.

    Args:
        network: As it was imported, with its file.
        folded: The same with affine operators merged.

    Returns:
        Tensor names by the name of the folded network's node; a node is missing where import took
        an operator of the file apart.
    """
    graph = onnx.load_model_from_string(network.source).graph
    inputs = {output: node.input for node in graph.node for output in node.output if output}
    stored = {*inputs, *(entry.name for entry in graph.input)}
    found: dict[str, str] = {}
    for node in nonlinear_nodes(folded.graph):
        named = inputs.get(node.name, ())
        imported = network.graph.node(node.name).inputs
        for position, tensor in enumerate(named[: len(node.inputs)]):
            # A node that no operator of the file computes is a step inside one.
            if imported[position] in stored:
                found.setdefault(node.inputs[position], tensor)
    return found
