"""The graph: an immutable DAG of canonical operators with static shapes for one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

from torch import Tensor

from models.errors import InvalidInputError
from models.operators import Constant, Input, Operator
from models.parameters import Parameters

__all__ = ["Graph", "Node"]


@dataclass(frozen=True)
class Node:
    """One value of the graph and the operator that computes it.

    Attributes:
        name: Unique within the graph.
        operator: What is computed.
        inputs: Names of the nodes it reads; all of them stand earlier in the graph.
        shape: Of one example, without the leading batch axis.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values of one example."""
        return prod(self.shape)


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; the first is the input, `output` names the result.

    Raises:
        InvalidInputError: Names repeat, a node reads a later one, or the output is missing.
    """

    nodes: tuple[Node, ...]
    output: str

    def __post_init__(self) -> None:
        if not self.nodes or not isinstance(self.nodes[0].operator, Input):
            raise InvalidInputError("a graph starts with its input node")
        seen: set[str] = set()
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in seen]
            if missing:
                raise InvalidInputError(f"node {node.name!r} reads {missing} before they exist")
            if node.name in seen:
                raise InvalidInputError(f"two nodes are named {node.name!r}")
            seen.add(node.name)
        if self.output not in seen:
            raise InvalidInputError(f"the graph has no node {self.output!r} to output")

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Node:
        """The input node."""
        return self.nodes[0]

    def node(self, name: str) -> Node:
        """Return the node of that name."""
        return self.by_name[name]

    def evaluate(self, x: Tensor, parameters: Parameters) -> dict[str, Tensor]:
        """Compute every node.

        Args:
            x: Shape `(batch, *input_shape)`.
            parameters: The network's parameters, of the dtype and on the device of `x`.

        Returns:
            The value of each node, shape `(batch, *shape)`; constants have a batch axis of 1.
        """
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            inputs = [x] if node is self.input else [values[name] for name in node.inputs]
            values[node.name] = node.operator.forward(inputs, parameters)
        return values

    def ancestors(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that `name` depends on, itself included, in topological order."""
        needed = {name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return tuple(node for node in self.nodes if node.name in needed)

    @cached_property
    def activation_nodes(self) -> tuple[Node, ...]:
        """The nodes that depend on the input, the input itself included."""
        alive = {self.input.name}
        for node in self.nodes:
            if any(name in alive for name in node.inputs):
                alive.add(node.name)
        return tuple(node for node in self.nodes if node.name in alive)

    @cached_property
    def constant_nodes(self) -> tuple[Node, ...]:
        """The nodes that hold constants."""
        return tuple(node for node in self.nodes if isinstance(node.operator, Constant))
