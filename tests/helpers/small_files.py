"""Small files to give to the command line: networks, data sets, specifications."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def write_mlp(
    path: Path,
    layers: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    activation: str = "Relu",
) -> Path:
    """Write a network of affine layers `(matrix, offset)` with an activation between them."""
    nodes, weights, current = [], [], "x"
    for index, (matrix, offset) in enumerate(layers):
        for name, value in ((f"w{index}", matrix), (f"b{index}", offset)):
            weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        last = index == len(layers) - 1
        result = "y" if last else f"z{index}"
        nodes.append(
            helper.make_node("Gemm", [current, f"w{index}", f"b{index}"], [result], transB=1)
        )
        current = result
        if not last:
            nodes.append(helper.make_node(activation, [result], [f"a{index}"], name=f"act{index}"))
            current = f"a{index}"
    inputs, outputs = np.shape(layers[0][0])[1], np.shape(layers[-1][0])[0]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def write_two_class(path: Path) -> Path:
    """Write y = (relu(x0 + x1) + relu(x0 − x1), 2 x1 + 0.1) through one hidden layer.

    Class 0 wins by max(2 x0, …) − 2 x1 − 0.1 where both units are active: easy to work out by hand.
    """
    hidden = ([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]], [0.0, 0.0, 0.0])
    output = ([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], [0.0, 0.1])
    return write_mlp(path, [hidden, output])


def write_data(path: Path, x: ArrayLike, y: ArrayLike) -> Path:
    """Write a data set."""
    np.savez(path, x=np.asarray(x), y=np.asarray(y))
    return path


def write_three(path: Path) -> Path:
    """Write, for that network: an input safe within 0.1, one that is not, one labelled wrong."""
    return write_data(path, np.asarray([[0.9, 0.1], [0.5, 0.4], [0.9, 0.1]], np.float32), [0, 0, 1])


def write_property(path: Path, threshold: float, *, bounds: Sequence[tuple[float, float]]) -> Path:
    """Write "a counterexample has Y_0 − Y_1 at most threshold" over a box of inputs."""
    lines = [f"(declare-const X_{i} Real)" for i in range(len(bounds))]
    lines += ["(declare-const Y_0 Real)", "(declare-const Y_1 Real)"]
    for i, (low, high) in enumerate(bounds):
        lines += [f"(assert (>= X_{i} {low}))", f"(assert (<= X_{i} {high}))"]
    if threshold == 0.0:
        lines.append("(assert (<= Y_0 Y_1))")
    else:
        lines.append(f"(assert (<= Y_0 {threshold}))")
    path.write_text("\n".join(lines) + "\n")
    return path
