"""Merge affine operators into their neighbours, for certification.

Each merge is exact over the reals. New parameters are computed in float64, rounded once to the
network's own type, and cannot be trained; a network to be trained is left as it is.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from torch import Tensor

from models.export import current_source
from models.fold.identities import without_identities
from models.fold.pair import Pair
from models.fold.rules import RULES
from models.graph import Graph, Node
from models.network import Network
from models.operators import BatchNormalization, Linear, Reshape, Scale

__all__ = ["fold_affine"]


def fold_affine(network: Network) -> Network:
    """Return an equivalent network with fewer operators.

    BatchNormalization and Scale are merged into an adjacent Linear, Convolution or
    ConvolutionTranspose where that is exact, chains of reshapes, transposes, scales and linear
    maps into one, zero padding into the convolution behind it; operators that change nothing and
    nodes that the output does not depend on are dropped. Nodes that remain keep their names.

    Args:
        network: Any network.

    Returns:
        A network in the same floating-point type. Parameters that no operator reads are gone, and
        those that were merged are no longer trainable.
    """
    folder = _Folder(network.parameters)
    graph = folder.merge(without_identities(network.graph))
    graph = without_identities(folder.merge(folder.sink_scales(graph)))
    used = {reference.name for node in graph.nodes for reference in node.operator.references()}
    parameters = {name: value for name, value in network.parameters.items() if name in used}
    for name, value in folder.added.items():
        if name in used:
            parameters[name] = value.to(network.dtype)
    source = current_source(network) if network.source else b""
    return replace(
        network,
        graph=graph,
        parameters=parameters,
        trainable=network.trainable & used,
        source=source,
        sha256=network.sha256 if source == network.source else sha256(source).hexdigest(),
    )


@dataclass
class _Folder:
    """Parameters of the network, and those that merges added, in float64."""

    parameters: Mapping[str, Tensor]
    added: dict[str, Tensor] = field(default_factory=dict)

    def merge(self, graph: Graph) -> Graph:
        """Let each node in turn absorb its producer, as long as a rule allows."""
        readers = _readers(graph)
        done: dict[str, Node] = {}
        for node in graph.nodes:
            current = node
            while (merged := self._absorb(current, done, readers)) is not None:
                current = merged
            done[current.name] = current
        return Graph(tuple(done.values()), graph.output)

    def _absorb(self, node: Node, done: dict[str, Node], readers: Counter[str]) -> Node | None:
        """Return `node` with its producer merged into it, or None."""
        if len(node.inputs) != 1 or readers[node.inputs[0]] != 1:
            return None
        producer = done[node.inputs[0]]
        rule = RULES.get((type(producer.operator), type(node.operator)))
        if rule is None:
            return None
        pair = self._pair(producer, node)
        operator = rule(pair)
        if operator is None:
            return None
        del done[producer.name]
        self.added.update(pair.added)
        return replace(node, operator=operator, inputs=producer.inputs)

    def _pair(self, producer: Node, node: Node) -> Pair:
        everything = ChainMap(self.added, dict(self.parameters))
        return Pair(producer, node, everything, everything.keys())

    def sink_scales(self, graph: Graph) -> Graph:
        """Move elementwise maps behind the flattening in front of a linear layer.

        There they can be merged into it; a normalisation in front of `Flatten` is the usual case.
        """
        readers = _readers(graph)
        nodes = {node.name: node for node in graph.nodes}
        for linear in graph.nodes:
            if not isinstance(linear.operator, Linear):
                continue
            flat = nodes[linear.inputs[0]]
            if not isinstance(flat.operator, Reshape) or flat.shape[-1] != flat.size:
                continue
            scale = nodes[flat.inputs[0]]
            movable = isinstance(scale.operator, Scale | BatchNormalization)
            if movable and readers[flat.name] == 1 == readers[scale.name]:
                nodes = self._swap(nodes, scale, flat)
        return Graph(tuple(nodes.values()), graph.output)

    def _swap(self, nodes: dict[str, Node], scale: Node, flat: Node) -> dict[str, Node]:
        """Put the reshape before the elementwise map.

        The map takes the reshape's name, because it now computes that value; the reshape gets a
        new one.
        """
        pair = self._pair(scale, flat)
        references = [
            None
            if tensor is None
            else pair.keep(role, tensor.expand(scale.shape).reshape(flat.shape))
            for role, tensor in zip(
                ("factor", "offset"), pair.factor_and_offset(scale), strict=True
            )
        ]
        self.added.update(pair.added)
        name = f"{flat.name}/unscaled"
        while name in nodes:
            name += "/again"
        moved = Node(name, flat.operator, scale.inputs, flat.shape)
        scaled = Node(flat.name, Scale(*references), (name,), flat.shape)
        changed = {scale.name: moved, flat.name: scaled}
        kept = [changed.get(node.name, node) for node in nodes.values()]
        return {node.name: node for node in kept}


def _readers(graph: Graph) -> Counter[str]:
    """Count how often each node is read; the output is read once more, by the caller."""
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers[graph.output] += 1
    return readers
