"""The base of all operators: what a node of the graph computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from models.parameters import ParameterRef, Parameters

__all__ = ["Operator"]


class Operator(ABC):
    """What one node computes. Subclasses are frozen dataclasses of attributes.

    Tensors carry one batch axis in front of the shape that the ONNX graph gives them for a single
    input; the ONNX graph's own batch axis, where it has one, stays inside that shape. Attributes
    that name axes (`axis`, `permutation`, …) therefore count *without* the leading batch axis.
    """

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor], parameters: Parameters) -> Tensor:
        """Compute the node.

        Args:
            inputs: One tensor of shape `(batch, *shape)` per input of the node.
            parameters: The network's parameters.

        Returns:
            The node's value, shape `(batch, *output_shape)`.
        """

    def references(self) -> tuple[ParameterRef, ...]:
        """Return the parameters this operator reads."""
        return ()
