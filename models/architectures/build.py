"""From an architecture to an ONNX network."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.architectures.layers import Architecture, Convolve, Dense
from models.architectures.table import architecture
from models.architectures.weights import Initialisation, draw
from models.errors import InvalidInputError, ShapeError
from models.network import Network, Normalization
from models.onnx_import import load_network

__all__ = ["build_architecture"]

_OPSET = 17
_IR_VERSION = 8
_BATCH_NORM_EPSILON = 1e-5


def build_architecture(
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    *,
    seed: int = 0,
    initialisation: Initialisation = Initialisation.STANDARD,
    normalization: Normalization | None = None,
) -> Network:
    """Build a named architecture for inputs of some shape.

    Args:
        name: One of `ARCHITECTURES`, or `mlp:100,100`.
        input_shape: Of one raw input: `(channels, height, width)`, `(height, width)` for one
            channel, or any shape for dense layers.
        classes: Number of outputs, at least 2.
        seed: Of the weights.
        initialisation: How they are drawn.
        normalization: Written into the network in front of its layers, so that it takes raw
            inputs.

    Returns:
        The network as imported from its ONNX file: input shape `(1, *input_shape)`, weights
        `weight1`, `bias1`, ….

    Raises:
        InvalidInputError: There is no such architecture, or there are fewer than two classes.
        ShapeError: Inputs of that shape are too small for it, or have no channels.
    """
    if classes < 2:
        raise InvalidInputError(f"a classifier tells at least 2 classes apart, not {classes}")
    plan = architecture(name)
    shape = _image_shape(plan, input_shape)
    writer = _Writer(shape, initialisation, np.random.default_rng(seed))
    if normalization is not None:
        writer.normalize(normalization)
    for layer in plan.layers:
        writer.add(layer, normalised=plan.normalised)
    writer.dense(classes)
    return load_network(writer.file(shape), name=name)


def _image_shape(plan: Architecture, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with a channel axis where convolutions need one."""
    if not shape or min(shape) < 1:
        raise ShapeError(f"inputs of shape {shape} hold nothing")
    if not any(isinstance(layer, Convolve) for layer in plan.layers):
        return shape
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) != 3:
        raise ShapeError(
            f"{plan.name} takes images of shape (channels, height, width); these inputs have "
            f"shape {shape}: reshape them, or choose mlp:…"
        )
    return shape


@dataclass
class _Writer:
    """An ONNX graph under construction.

    Attributes:
        shape: Of the value that the next layer reads, without the batch axis.
        initialisation, generator: Where weights come from.
    """

    shape: tuple[int, ...]
    initialisation: Initialisation
    generator: np.random.Generator
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    value: str = "input"
    count: int = 0

    def add(self, layer: Convolve | Dense, *, normalised: bool) -> None:
        """Add a hidden layer with what follows it."""
        if isinstance(layer, Convolve):
            self.convolve(layer)
        else:
            self.dense(layer.units)
        if normalised:
            self.batch_normalization()
        self.emit("Relu", [self.value], f"relu{self.count}")

    def normalize(self, normalization: Normalization) -> None:
        """Subtract the mean and divide by the deviation."""
        mean, std = normalization.broadcast(self.shape)
        self.emit("Sub", [self.value, self.tensor("mean", mean)], "centered")
        self.emit("Div", [self.value, self.tensor("std", std)], "normalized")

    def convolve(self, layer: Convolve) -> None:
        """Add a convolution."""
        channels, *sides = self.shape
        size = [(n + 2 * layer.padding - layer.kernel) // layer.stride + 1 for n in sides]
        if min(size) < 1:
            raise ShapeError(
                f"images of {sides[0]} × {sides[1]} at layer {self.count + 1} are too small for a "
                f"kernel of {layer.kernel}; choose a smaller architecture"
            )
        inputs = self.weights((layer.filters, channels, layer.kernel, layer.kernel))
        self.emit(
            "Conv",
            inputs,
            f"conv{self.count}",
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )
        self.shape = (layer.filters, *size)

    def dense(self, units: int) -> None:
        """Add a dense layer on flat values."""
        if len(self.shape) > 1:
            self.emit("Flatten", [self.value], f"flat{self.count}", axis=1)
            self.shape = (prod(self.shape),)
        inputs = self.weights((units, *self.shape))
        self.emit("Gemm", inputs, f"dense{self.count}", transB=1)
        self.shape = (units,)

    def batch_normalization(self) -> None:
        """Add a normalisation by the statistics of each channel."""
        ones = np.ones(self.shape[0], dtype=np.float32)
        start = {"scale": ones, "shift": 0 * ones, "running_mean": 0 * ones, "running_var": ones}
        names = [self.tensor(f"{key}{self.count}", value) for key, value in start.items()]
        inputs = [self.value, *names]
        self.emit("BatchNormalization", inputs, f"norm{self.count}", epsilon=_BATCH_NORM_EPSILON)

    def weights(self, shape: tuple[int, ...]) -> list[str]:
        """Draw weight and bias of the next layer; return the inputs of its node."""
        self.count += 1
        weight, bias = draw(shape, self.initialisation, self.generator)
        names = [
            self.tensor(f"weight{self.count}", weight),
            self.tensor(f"bias{self.count}", bias),
        ]
        return [self.value, *names]

    def tensor(self, name: str, values: NDArray[np.float32]) -> str:
        """Store a tensor and return its name."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def emit(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:  # noqa: ANN401
        """Add a node; the next one reads its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self.value = output

    def file(self, input_shape: tuple[int, ...]) -> bytes:
        """Return the finished ONNX file, with an open batch axis."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *input_shape])],
            [helper.make_tensor_value_info(self.value, TensorProto.FLOAT, ["batch", *self.shape])],
            self.tensors,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
