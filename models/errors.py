"""Errors shared by every layer.

::

    TightropeError
    ├── InvalidInputError          what the caller supplied cannot be used
    │   ├── ShapeError             an array has the wrong shape
    │   ├── BoundsError            an interval is empty or not finite
    │   ├── SpecificationError     a specification cannot be read or does not fit the network
    │   └── DataError              a data set cannot be read
    └── ModelImportError           a network file cannot be read
        └── UnsupportedOperatorError

Each message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "BoundsError",
    "DataError",
    "InvalidInputError",
    "ModelImportError",
    "ShapeError",
    "SpecificationError",
    "TightropeError",
    "UnsupportedOperatorError",
]


class TightropeError(Exception):
    """Base of every error that Tightrope raises on purpose."""


class InvalidInputError(TightropeError):
    """What the caller supplied cannot be used."""


class ShapeError(InvalidInputError):
    """An array has a shape that does not fit."""


class BoundsError(InvalidInputError):
    """An interval is empty, reversed or not finite."""


class SpecificationError(InvalidInputError):
    """A specification cannot be read, or does not fit the network.

    Attributes:
        line: Line of the source file, counted from 1, where one is known.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class DataError(InvalidInputError):
    """A data set cannot be read, or does not fit the network."""


class ModelImportError(TightropeError):
    """A network file cannot be read or imported."""


class UnsupportedOperatorError(ModelImportError):
    """The network uses an operator, or an attribute of one, that is not supported.

    Attributes:
        node: Name of the ONNX node.
        operator: ONNX operator type.
        opset: Version of the operator set the network declares.
    """

    def __init__(self, *, node: str, operator: str, opset: int, detail: str = "") -> None:
        because = f": {detail}" if detail else ""
        super().__init__(
            f"node {node!r} uses operator {operator} (opset {opset}), "
            f"which is not supported here{because}; "
            "see the list of supported operators in the documentation (networks)"
        )
        self.node = node
        self.operator = operator
        self.opset = opset
        self.detail = detail
