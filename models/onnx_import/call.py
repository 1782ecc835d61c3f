"""One ONNX node as its handler sees it: attributes, inputs, and ways to emit and to refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelImportError, UnsupportedOperatorError
from models.onnx_import.builder import Builder
from models.onnx_import.values import Activation, Known, Value
from models.operators import Expand, Operator, Reshape, Scale
from models.parameters import ParameterRef, ParameterStep

__all__ = ["Call"]


@dataclass(frozen=True)
class Call:
    """One ONNX node being imported.

    Attributes:
        name: Of the node, or of its first output.
        operator: ONNX operator type.
        opset: Version of the operator set.
        attributes: As Python values; strings decoded.
        inputs: Values it reads; None where an optional input is absent.
        outputs: Names of its outputs; empty where an output is not asked for.
        builder: The graph under construction.
    """

    name: str
    operator: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    builder: Builder = field(repr=False)

    def unsupported(self, detail: str) -> UnsupportedOperatorError:
        """Return the error for something that this node asks for and that is not supported."""
        return UnsupportedOperatorError(
            node=self.name, operator=self.operator, opset=self.opset, detail=detail
        )

    def malformed(self, detail: str) -> ModelImportError:
        """Return the error for a node that breaks ONNX's own rules."""
        return ModelImportError(f"node {self.name!r} ({self.operator}) is malformed: {detail}")

    def input(self, position: int) -> Value | None:
        """Return an input, or None where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def activation(self, position: int) -> Activation:
        """Return an input that must depend on the network's input."""
        value = self.input(position)
        if value is None:
            raise self.malformed(f"input {position} is missing")
        if isinstance(value, Known):
            raise self.unsupported(
                f"input {position} is the constant {value.name!r}, expected an activation"
            )
        return value

    def known(self, position: int) -> Known:
        """Return an input that must be a constant."""
        value = self.optional_known(position)
        if value is None:
            raise self.malformed(f"input {position} is missing")
        return value

    def optional_known(self, position: int) -> Known | None:
        """Return an input that must be a constant where it is present."""
        value = self.input(position)
        if isinstance(value, Activation):
            raise self.unsupported(
                f"input {position} depends on the network's input, expected a constant"
            )
        return value

    def integers(self, attribute: str, position: int | None = None) -> tuple[int, ...] | None:
        """Return whole numbers from an input where there is one, else from an attribute."""
        value = None if position is None else self.optional_known(position)
        if value is not None:
            if not np.issubdtype(value.array.dtype, np.integer):
                raise self.malformed(f"input {position} must hold whole numbers")
            return tuple(int(entry) for entry in value.array.reshape(-1))
        found = self.attributes.get(attribute)
        return None if found is None else tuple(int(entry) for entry in found)

    def number(self, attribute: str, position: int | None = None) -> float | None:
        """Return one number from an input where there is one, else from an attribute."""
        value = None if position is None else self.optional_known(position)
        if value is not None:
            if value.array.size != 1:
                raise self.unsupported(f"input {position} holds {value.array.size} numbers, not 1")
            self.builder.freeze(value)
            return float(value.array.reshape(()))
        found = self.attributes.get(attribute)
        return None if found is None else float(found)

    def axis(self, rank: int, default: int) -> int:
        """Return the attribute `axis`, counted from the front."""
        return self.normalise_axis(int(self.attributes.get("axis", default)), rank)

    def normalise_axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the front.

        Raises:
            ModelImportError: There is no such axis.
        """
        if not -rank <= axis < rank:
            raise self.malformed(f"axis {axis} does not exist in a tensor of {rank} axes")
        return axis % rank

    def require(self, attribute: str, allowed: Sequence[Any]) -> None:
        """Refuse an attribute whose value is not one of `allowed`; the first is its default."""
        value = self.attributes.get(attribute, allowed[0])
        if value not in allowed:
            raise self.unsupported(f"attribute {attribute} is {value!r}, supported: {allowed}")

    def emit(self, operator: Operator, *sources: Activation) -> Activation:
        """Append a canonical node that reads `sources`."""
        stem = next((name for name in self.outputs if name), self.name)
        dtype = sources[0].dtype if sources else np.dtype(np.float32)
        return self.builder.emit(
            f"{stem}/{type(operator).__name__.lower()}",
            operator,
            [source.node for source in sources],
            dtype=dtype,
        )

    def parameter(self, value: Known, *steps: ParameterStep) -> ParameterRef:
        """Register a constant as a parameter of an operator."""
        return self.builder.parameter(value, *steps)

    def constant(self, array: NDArray[Any] | float) -> ParameterRef:
        """Register a constant that the file does not hold."""
        stem = next((name for name in self.outputs if name), self.name)
        return self.builder.constant(stem, np.asarray(array, dtype=np.float64))

    def reshape(self, x: Activation, shape: tuple[int, ...]) -> Activation:
        """Reshape, unless the shape is there already."""
        return x if x.shape == shape else self.emit(Reshape(shape), x)

    def expand(self, x: Activation, shape: tuple[int, ...]) -> Activation:
        """Broadcast, unless the shape is there already."""
        return x if x.shape == shape else self.emit(Expand(shape), x)

    def scale(
        self, x: Activation, factor: ParameterRef | None, offset: ParameterRef | None
    ) -> Activation:
        """Multiply and add constants whose broadcast does not enlarge `x`."""
        y = self.emit(Scale(factor, offset), x)
        if y.shape != x.shape:
            raise self.malformed(f"a constant enlarges {x.shape} to {y.shape}")
        return y
