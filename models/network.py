"""A network: a graph, its parameters, and the ONNX file both came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import InvalidInputError, ShapeError
from models.graph import Graph, Node
from models.operators import Input, Scale
from models.parameters import ParameterRef

__all__ = ["Network", "Normalization"]


@dataclass(frozen=True)
class Normalization:
    """(x − mean) / std per channel, applied to raw inputs before the ONNX network runs.

    Attributes:
        mean: One number, or one per channel.
        std: As many, all positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise InvalidInputError(
                f"mean has {len(self.mean)} and std {len(self.std)} numbers; give as many of each"
            )
        if not all(np.isfinite(value) for value in self.mean):
            raise InvalidInputError("every mean must be a finite number")
        if not all(np.isfinite(value) and value > 0 for value in self.std):
            raise InvalidInputError("every std must be a finite number above 0")

    def broadcast(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and std in float32, shaped to broadcast against one input of `shape`.

        Several numbers belong to the channel axis: the axis of that size, looked for first at
        axis −3 (channels first), then at the last axis.

        Raises:
            ShapeError: No such axis has as many entries as there are numbers.
        """
        count = len(self.mean)
        spread: tuple[int, ...] = (1,) * len(shape)
        if count > 1:
            axes = [axis for axis in (-3, -1) if len(shape) >= -axis and shape[axis] == count]
            if not axes:
                raise ShapeError(
                    f"{count} means and stds do not fit an input of shape {shape}: "
                    "give one number, or one for each channel"
                )
            spread = tuple(
                count if axis == len(shape) + axes[0] else 1 for axis in range(len(shape))
            )
        return (
            np.asarray(self.mean, dtype=np.float32).reshape(spread),
            np.asarray(self.std, dtype=np.float32).reshape(spread),
        )


@dataclass(frozen=True)
class Network:
    """A graph with its parameters.

    Attributes:
        graph: Canonical operators.
        parameters: The tensors that operators refer to.
        trainable: Names of the parameters that are tensors of the ONNX file.
        name: For people; usually the file's name.
        sha256: Of the ONNX file, in hexadecimal; empty for a network built in memory.
        source: The ONNX file, for running and writing it back; empty for one built in memory.
        notes: What the import changed that a reader of results should know.
        dropped: Type of the last operator that import dropped at the end, such as `Softmax`.
        normalization: Applied in front of the ONNX network; already part of `graph`.
        precision: What to compute in where no parameter says so.
    """

    graph: Graph
    parameters: Mapping[str, Tensor]
    trainable: frozenset[str] = frozenset()
    name: str = "network"
    sha256: str = ""
    source: bytes = field(default=b"", repr=False)
    notes: tuple[str, ...] = ()
    dropped: str | None = None
    normalization: Normalization | None = None
    precision: torch.dtype = torch.float32

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input as the ONNX graph declares it, symbolic batch axes as 1."""
        return self.graph.input.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output."""
        return self.graph.node(self.graph.output).shape

    @property
    def output_size(self) -> int:
        """Number of outputs in row-major order."""
        return self.graph.node(self.graph.output).size

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters, or `precision` where there are none."""
        for value in self.parameters.values():
            if value.is_floating_point():
                return value.dtype
        return self.precision

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        for value in self.parameters.values():
            return value.device
        return torch.device("cpu")

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network in torch.

        Args:
            x: Raw inputs, shape `(batch, *input_shape)`.

        Returns:
            Shape `(batch, *output_shape)`.

        Raises:
            ShapeError: `x` has another shape.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ShapeError(
                f"inputs have shape {tuple(x.shape[1:])}, the network takes {self.input_shape}"
            )
        y = self.graph.evaluate(x, self.parameters)[self.graph.output]
        return y.expand(x.shape[0], *y.shape[1:])

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Network:
        """Return the network with its parameters cast and moved."""
        moved = {
            key: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            for key, value in self.parameters.items()
        }
        return replace(self, parameters=moved, precision=dtype)

    def with_parameters(self, parameters: Mapping[str, Tensor]) -> Network:
        """Return the network with some parameters replaced.

        Raises:
            InvalidInputError: A name is unknown.
            ShapeError: A tensor has another shape than the one it replaces.
        """
        for key, value in parameters.items():
            if key not in self.parameters:
                raise InvalidInputError(f"the network has no parameter {key!r}")
            if value.shape != self.parameters[key].shape:
                raise ShapeError(
                    f"parameter {key!r} has shape {tuple(self.parameters[key].shape)}, "
                    f"the replacement {tuple(value.shape)}"
                )
        return replace(self, parameters={**self.parameters, **parameters})

    def with_normalization(self, normalization: Normalization) -> Network:
        """Return the network that takes raw inputs and normalises them first.

        Raises:
            InvalidInputError: The network already has a normalisation.
            ShapeError: The numbers do not fit the input's channels.
        """
        if self.normalization is not None:
            raise InvalidInputError("the network already normalises its input")
        mean, std = normalization.broadcast(self.input_shape)
        factor = 1.0 / torch.from_numpy(std.astype(np.float64))
        offset = -torch.from_numpy(mean.astype(np.float64)) * factor
        names = ("normalization/factor", "normalization/offset")
        added = {
            names[0]: factor.to(self.dtype).to(self.device),
            names[1]: offset.to(self.dtype).to(self.device),
        }
        old = self.graph.input
        raw = Node("normalization/input", Input(), (), old.shape)
        scale = Scale(ParameterRef(names[0]), ParameterRef(names[1]))
        normalised = Node(old.name, scale, (raw.name,), old.shape)
        graph = Graph((raw, normalised, *self.graph.nodes[1:]), self.graph.output)
        return replace(
            self,
            graph=graph,
            parameters={**self.parameters, **added},
            normalization=normalization,
        )
