"""Import and CROWN on large networks: ten million parameters, and a hundred thousand neurons."""

from __future__ import annotations

import resource
import time
from itertools import pairwise

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.shared import print_table
from models import fold_affine, load_network
from solvers.bounds import Margins, Scene, bound_margins, boxes_to_interval
from solvers.methods import Method
from solvers.problem import linf_ball, robustness

_CHANNELS = (3, 32, 64)
_HIDDEN = 2400


_WIDE = 16
"""Channels of the residual network: each of its seven layers has 16 · 32 · 32 neurons."""


class _Builder:
    """Collects nodes and He-initialised weights of one graph on 3 x 32 x 32 images."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int) -> str:
        """Add a weight and return its name."""
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        value = (self._generator.standard_normal(shape) * scale).astype(np.float32)
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Add a node and return its output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def conv(self, value: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        """Add a convolution with padding 1."""
        return self.add(
            "Conv",
            value,
            self.weight(outputs, inputs, kernel, kernel),
            strides=[stride, stride],
            pads=[1, 1, 1, 1],
        )

    def finish(self, output: str) -> bytes:
        """Return the model."""
        graph = helper.make_graph(
            self._nodes,
            "large",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 10])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def residual_onnx(seed: int = 0) -> bytes:
    """Return a convolution and three residual blocks at full resolution: 114 788 ReLUs."""
    build = _Builder(seed)
    value = build.add("Relu", build.conv("x", 3, _WIDE, 3, 1))
    for _ in range(3):
        inner = build.add("Relu", build.conv(value, _WIDE, _WIDE, 3, 1))
        value = build.add("Relu", build.add("Add", build.conv(inner, _WIDE, _WIDE, 3, 1), value))
    flat = build.add(
        "Flatten", build.add("AveragePool", value, kernel_shape=[4, 4], strides=[4, 4])
    )
    hidden = build.add("Relu", build.add("Gemm", flat, build.weight(100, _WIDE * 64), transB=1))
    return build.finish(build.add("Gemm", hidden, build.weight(10, 100), transB=1))


def large_onnx(seed: int = 0) -> bytes:
    """Return two strided convolutions and two dense layers, He-initialised, about 10⁷ weights."""
    build = _Builder(seed)
    value = "x"
    for inputs, outputs in pairwise(_CHANNELS):
        value = build.add("Relu", build.conv(value, inputs, outputs, 4, 2))
    flat = build.add("Flatten", value)
    dense = build.weight(_HIDDEN, _CHANNELS[-1] * 8 * 8)
    hidden = build.add("Relu", build.add("Gemm", flat, dense, transB=1))
    return build.finish(build.add("Gemm", hidden, build.weight(10, _HIDDEN), transB=1))


def _peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _measure(data: bytes, title: str, epsilon: float) -> None:
    """Print time and peak memory of import and of CROWN for one input and nine targets."""
    before = _peak_megabytes()
    began = time.perf_counter()
    network = load_network(data, name="large")
    imported = time.perf_counter() - began
    after_import = _peak_megabytes()
    folded = fold_affine(network.to(torch.float32))
    center = np.random.default_rng(1).uniform(size=network.input_shape)
    region = boxes_to_interval([linf_ball(center, epsilon)], torch.float32)
    matrix = np.concatenate([clause.matrix for clause in robustness(0, 10).clauses])[np.newaxis]
    margins = Margins(torch.from_numpy(matrix).float(), torch.zeros(1, 9))
    began = time.perf_counter()
    with torch.no_grad():
        result = bound_margins(Scene(folded, region), margins, Method.CROWN)
    seconds = time.perf_counter() - began
    parameters = sum(value.numel() for value in network.parameters.values())
    rows = [
        ["process before", "-", before],
        ["import, with the comparison in onnxruntime", imported, after_import],
        [f"crown, mean bound {float(result.lower.mean()):.4g}", seconds, _peak_megabytes()],
    ]
    heading = f"{title}: {parameters / 1e6:.2f} M parameters, one input, 9 targets, "
    print_table(heading + f"epsilon {epsilon:.4f}", ["step", "seconds", "peak MB"], rows)


def run() -> None:
    """Measure the network of many parameters."""
    _measure(large_onnx(), "Large network", 1 / 255)


def run_neurons() -> None:
    """Measure the network of many neurons."""
    _measure(residual_onnx(), "Residual network of 114 788 ReLUs", 0.5 / 255)
