"""Networks of canonical operators, built in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.graph import Graph, Node
from models.network import Network
from models.operators import Input, Linear, Operator, Relu
from models.parameters import ParameterRef


@dataclass
class GraphBuilder:
    """Adds operators one by one; shapes follow from running them."""

    shape: tuple[int, ...]
    parameters: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes.append(Node("x", Input(), (), self.shape))

    def parameter(self, values: np.ndarray) -> ParameterRef:
        """Store a parameter in float32, as an import would."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = torch.tensor(values, dtype=torch.float32)
        return ParameterRef(name)

    def add(self, operator: Operator, *inputs: str) -> str:
        """Add a node behind `inputs`, or behind the last node; return its name."""
        names = inputs if inputs or not operator_reads(operator) else (self.nodes[-1].name,)
        shapes = {node.name: node.shape for node in self.nodes}
        tensors = [torch.zeros(1, *shapes[name]) for name in names]
        shape = tuple(operator.forward(tensors, self.parameters).shape[1:])
        self.nodes.append(Node(f"n{len(self.nodes)}", operator, tuple(names), shape))
        return self.nodes[-1].name

    def network(self) -> Network:
        """Return the network that ends at the last node."""
        return Network(Graph(tuple(self.nodes), self.nodes[-1].name), dict(self.parameters))


def operator_reads(operator: Operator) -> bool:
    """Return whether an operator has inputs."""
    return type(operator).__name__ != "Constant"


def mlp(
    sizes: Sequence[int], *, seed: int = 0, activation: Operator | None = None, scale: float = 1.0
) -> Network:
    """Return Linear layers with an activation in between; normal weights, scaled by the fan-in."""
    generator = np.random.default_rng(seed)
    builder = GraphBuilder((sizes[0],))
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        if layer:
            builder.add(activation or Relu())
        weight = generator.normal(size=(outputs, inputs)) * scale * np.sqrt(2.0 / inputs)
        bias = generator.normal(size=outputs) * 0.3
        builder.add(Linear(builder.parameter(weight), builder.parameter(bias)))
    return builder.network()
