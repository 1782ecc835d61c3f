"""What flows between ONNX nodes during an import: constants and activations."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.parameters import ParameterRef, ParameterStep

__all__ = ["Activation", "Known", "Value"]


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor whose value does not depend on the network's input.

    Attributes:
        name: Its name in the ONNX graph.
        array: The value.
        reference: The stored tensor it is a view of, when it can still be traced to one.
        origins: Names of all stored floating-point tensors it was computed from.
    """

    name: str
    array: NDArray[Any]
    reference: ParameterRef | None = None
    origins: frozenset[str] = frozenset()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.array.shape)

    def view(self, name: str, array: NDArray[Any], *steps: ParameterStep) -> Known:
        """Return a constant that still refers to the stored tensor, if this one does."""
        reference = self.reference
        for step in steps:
            reference = None if reference is None else reference.then(step)
        return Known(name, array, reference, self.origins)


@dataclass(frozen=True)
class Activation:
    """A tensor that depends on the network's input: the value of a node of the new graph.

    Attributes:
        node: Name of the node.
        shape: For one input, without the leading batch axis.
        dtype: What the ONNX graph computes in.
    """

    node: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


Value = Known | Activation
