"""Two operators in a row, and the float64 arithmetic for merging them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.graph import Node
from models.operators import BatchNormalization, Scale
from models.parameters import ParameterRef

__all__ = ["Pair", "per_axis"]


@dataclass
class Pair:
    """A node and the producer of its only input, which nothing else reads.

    Attributes:
        producer: Computes the input of `node`.
        node: Follows it.
        parameters: Of the network, with those of earlier merges.
        taken: Names that a new parameter must not have.
        added: New parameters, in float64.
    """

    producer: Node
    node: Node
    parameters: Mapping[str, Tensor]
    taken: Collection[str]
    added: dict[str, Tensor] = field(default_factory=dict)

    def exact(self, reference: ParameterRef) -> Tensor:
        """Return the tensor of a reference, widened to float64 before its steps are applied."""
        stored = self.parameters[reference.name].detach().to(torch.float64)
        return reference.resolve({reference.name: stored})

    def optional(self, reference: ParameterRef | None) -> Tensor | None:
        """Return the tensor of a reference, or None where there is none."""
        return None if reference is None else self.exact(reference)

    def keep(self, role: str, tensor: Tensor) -> ParameterRef:
        """Store a new parameter of the merged node and return a reference to it."""
        stem = f"{self.node.name}/{role}"
        name, count = stem, 1
        while name in self.taken:
            count += 1
            name = f"{stem}/{count}"
        self.added[name] = tensor
        return ParameterRef(name)

    def factor_and_offset(self, node: Node) -> tuple[Tensor | None, Tensor | None]:
        """Return the elementwise map of a Scale or BatchNormalization node.

        Both tensors have as many axes as the node and broadcast to its shape.
        """
        return _ELEMENTWISE[type(node.operator)](self, node)


def _of_scale(pair: Pair, node: Node) -> tuple[Tensor | None, Tensor | None]:
    operator = node.operator
    assert isinstance(operator, Scale)  # noqa: S101 (the table's key says so)
    rank = len(node.shape)
    factor, offset = pair.optional(operator.factor), pair.optional(operator.offset)
    return (
        None if factor is None else _with_rank(factor, rank),
        None if offset is None else _with_rank(offset, rank),
    )


def _of_batch_normalization(pair: Pair, node: Node) -> tuple[Tensor | None, Tensor | None]:
    operator = node.operator
    assert isinstance(operator, BatchNormalization)  # noqa: S101 (the table's key says so)
    wide = {
        reference.name: pair.parameters[reference.name].detach().to(torch.float64)
        for reference in operator.references()
    }
    factor, offset = operator.factor_and_offset(wide)
    spread = (1, -1) + (1,) * (len(node.shape) - 2)
    return factor.reshape(spread), offset.reshape(spread)


_ELEMENTWISE = {Scale: _of_scale, BatchNormalization: _of_batch_normalization}


def _with_rank(tensor: Tensor, rank: int) -> Tensor:
    return tensor.reshape((1,) * (rank - tensor.dim()) + tuple(tensor.shape))


def per_axis(tensor: Tensor, axis: int, size: int) -> Tensor | None:
    """Return a tensor that varies along one axis only as a vector, else None.

    Args:
        tensor: With as many axes as the node it belongs to.
        axis: Along which it may vary.
        size: Of that axis.

    Returns:
        Shape `(size,)`.
    """
    others = [length for position, length in enumerate(tensor.shape) if position != axis]
    if any(length != 1 for length in others):
        return None
    return tensor.reshape(-1).expand(size)
