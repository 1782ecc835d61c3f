"""Which values inside a network functions of its outputs depend on.

A specification may read a few of many outputs: of a power grid's network, say, the flow on one
line. Values that only the others depend on need no rows of their own and are not worth a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds.rules import AffineRule, NonlinearRule, rule_for

__all__ = ["wanted_values"]


def wanted_values(network: Network, matrix: Tensor) -> Mapping[str, Tensor]:
    """Return the values that linear functions of the outputs depend on.

    A value that is left out by mistake costs tightness, and nothing else: its bounds are those of
    interval arithmetic.

    Args:
        network: Whose values.
        matrix: Coefficients of the functions, shape `(..., outputs)`.

    Returns:
        Masks of shape `(1, *node_shape)` by name of the node; a node that is missing is wanted
        whole.
    """
    graph = network.graph
    read = (matrix != 0).reshape(-1, matrix.shape[-1]).any(0)
    waiting = {graph.output: read.reshape(1, *network.output_shape)}
    found: dict[str, Tensor] = {}
    for node in reversed(graph.nodes[1:]):
        mask = waiting.pop(node.name, None)
        if mask is None:
            mask = torch.zeros((1, *node.shape), dtype=torch.bool, device=network.device)
        elif not waiting and _is_whole(node, mask):
            break  # all of it is read, and nothing beside it: it reads nearly all before it
        else:
            for name, part in zip(node.inputs, _before(network, node, mask), strict=True):
                waiting[name] = waiting[name] | part if name in waiting else part
        if not bool(mask.all()):
            found[node.name] = mask
    return found


def _is_whole(node: Node, mask: Tensor) -> bool:
    return isinstance(rule_for(node.operator), NonlinearRule) and bool(mask.all())


def _before(network: Network, node: Node, mask: Tensor) -> Sequence[Tensor]:
    """Return the values of each input that some values of a node depend on."""
    shapes = [network.graph.node(name).shape for name in node.inputs]
    rule = rule_for(node.operator)
    if isinstance(rule, NonlinearRule):
        return rule.reads(mask, shapes)
    assert isinstance(rule, AffineRule)  # noqa: S101  there is no third kind
    # Coefficients without any relation to each other, so that none of their sums cancel.
    generator = torch.Generator().manual_seed(0)
    drawn = 0.5 + torch.rand(mask.shape, generator=generator, dtype=torch.float64)
    passed = rule.adjoint(
        node.operator, mask * drawn.to(network.device, network.dtype), shapes, network.parameters
    )
    return [value != 0 for value in passed]
