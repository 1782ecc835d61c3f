"""Networks whose steps have a slope to follow: the same values, other gradients.

Sign, rounding and the like are flat between their jumps, so that descents see no way down. Here
their values stay what they are, and only the gradient is that of a smooth function in their place:
of the value itself for rounding (Bengio et al. 2013, the straight-through estimator), and of tanh
for signs, with inputs measured by their root mean square over the node, so that some of them lie on
its slope whatever the scale of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.graph import Graph, Node
from models.network import Network
from models.operators import Ceil, Floor, Operator, Positive, Round, Sign
from models.parameters import ParameterRef, Parameters

__all__ = ["with_slopes"]

_SMALLEST = 1e-12
"""Scale of a node whose inputs are all zero."""

_LIKE_SIGN = (Sign, Positive)
_LIKE_IDENTITY = (Floor, Ceil, Round)


@dataclass(frozen=True)
class _Sloped(Operator):
    """A step with the gradient of something smooth.

    Attributes:
        step: Gives the values.
        bounded: Whether the gradient is that of tanh, not of the identity.
    """

    step: Operator
    bounded: bool

    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Apply."""
        (x,) = inputs
        value = self.step.forward(inputs, parameters).detach()
        if not (torch.is_grad_enabled() and x.requires_grad):
            return value
        smooth = torch.tanh(x / _scale(x)) if self.bounded else x
        # Zero, exactly, with a gradient: the values stay those of the step.
        return value + (smooth - smooth.detach())

    def references(self) -> tuple[ParameterRef, ...]:
        """Return the parameters this operator reads."""
        return self.step.references()


def with_slopes(network: Network) -> Network:
    """Return the network for descents: the same values, with gradients across steps."""
    graph = network.graph
    if not any(isinstance(node.operator, _LIKE_SIGN + _LIKE_IDENTITY) for node in graph.nodes):
        return network
    return replace(network, graph=Graph(tuple(map(_sloped, graph.nodes)), graph.output))


def _sloped(node: Node) -> Node:
    if isinstance(node.operator, _LIKE_SIGN):
        return replace(node, operator=_Sloped(node.operator, bounded=True))
    if isinstance(node.operator, _LIKE_IDENTITY):
        return replace(node, operator=_Sloped(node.operator, bounded=False))
    return node


def _scale(x: Tensor) -> Tensor:
    """Return the root mean square of each example, shape `(batch, 1, …)`."""
    square = x.detach().flatten(1).square().mean(1)
    return square.sqrt().clamp(min=_SMALLEST).reshape(-1, *[1] * (x.dim() - 1))
