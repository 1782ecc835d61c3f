"""Import and CROWN on a convolutional network of ten million parameters: time and memory."""

from __future__ import annotations

import itertools
import resource
import time

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


def large_onnx(seed: int = 0) -> bytes:
    """Return two strided convolutions and two dense layers, He-initialised, about 10⁷ weights."""
    generator = np.random.default_rng(seed)
    nodes, initializers, last = [], [], "x"

    def weight(name: str, *shape: int) -> str:
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        value = (generator.standard_normal(shape) * scale).astype(np.float32)
        initializers.append(numpy_helper.from_array(value, name))
        return name

    for layer, (inputs, outputs) in enumerate(itertools.pairwise(_CHANNELS)):
        kernel = weight(f"conv{layer}", outputs, inputs, 4, 4)
        attributes = {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [4, 4]}
        nodes.append(helper.make_node("Conv", [last, kernel], [f"c{layer}"], **attributes))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last = f"r{layer}"
    nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    dense = weight("dense", _HIDDEN, _CHANNELS[-1] * 8 * 8)
    nodes.append(helper.make_node("Gemm", ["flat", dense], ["d"], transB=1))
    nodes.append(helper.make_node("Relu", ["d"], ["e"]))
    nodes.append(helper.make_node("Gemm", ["e", weight("head", 10, _HIDDEN)], ["y"], transB=1))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(epsilon: float = 1 / 255) -> None:
    """Print time and peak memory of import and of CROWN for one input and nine targets."""
    data = large_onnx()
    before = _peak_megabytes()
    began = time.perf_counter()
    network = load_network(data, name="large")
    imported = time.perf_counter() - began
    after_import = _peak_megabytes()
    parameters = sum(value.numel() for value in network.parameters.values())
    folded = fold_affine(network.to(torch.float32))
    center = np.random.default_rng(1).uniform(size=network.input_shape)
    region = boxes_to_interval([linf_ball(center, epsilon)], torch.float32)
    matrix = np.concatenate([clause.matrix for clause in robustness(0, 10).clauses])[np.newaxis]
    margins = Margins(torch.from_numpy(matrix).float(), torch.zeros(1, 9))
    began = time.perf_counter()
    with torch.no_grad():
        result = bound_margins(Scene(folded, region), margins, Method.CROWN)
    seconds = time.perf_counter() - began
    rows = [
        ["process before", "-", before],
        ["import, with the comparison in onnxruntime", imported, after_import],
        [f"crown, mean bound {float(result.lower.mean()):.4g}", seconds, _peak_megabytes()],
    ]
    print_table(
        f"{parameters / 1e6:.1f} M parameters, one input, 9 targets, epsilon {epsilon:.4f}",
        ["step", "seconds", "peak MB"],
        rows,
    )
