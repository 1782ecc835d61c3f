"""How large a network file may be before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImportLimits"]


@dataclass(frozen=True)
class ImportLimits:
    """Static limits, checked before anything of that size is allocated.

    Attributes:
        file_bytes: Of the ONNX file; protobuf itself ends at 2 GiB.
        nodes: Nodes of the ONNX graph.
        parts: Fields of the file's messages: names, attributes, shapes, tensors.
        elements: Values in any one stored tensor, and in all folded constants together.
        activations: Values that one input gives rise to, over all nodes together.
        rank: Axes of any one tensor.
    """

    file_bytes: int = 2**31 - 1
    nodes: int = 50_000
    parts: int = 2_000_000
    elements: int = 2**28
    activations: int = 2**27
    rank: int = 16
