"""Write a small torch network as ONNX: a chain of Linear, Conv2d, Flatten and ReLU.

Such a chain maps to ONNX node by node, which keeps the example free of an exporter.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

__all__ = ["write_onnx"]

OPSET = 17


def _array(name: str, tensor: Tensor) -> onnx.TensorProto:
    """Return a tensor as an ONNX initializer."""
    return numpy_helper.from_array(tensor.detach().cpu().numpy().astype(np.float32), name)


def _linear(layer: nn.Module) -> tuple[str, dict[str, object]]:
    assert isinstance(layer, nn.Linear)
    return "Gemm", {"transB": 1}


def _convolution(layer: nn.Module) -> tuple[str, dict[str, object]]:
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(layer.padding, tuple)
    return "Conv", {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [*layer.padding, *layer.padding],
    }


# What each layer is in ONNX: operator and attributes.
_LAYERS: dict[type[nn.Module], Callable[[nn.Module], tuple[str, dict[str, object]]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.Flatten: lambda _: ("Flatten", {"axis": 1}),
    nn.ReLU: lambda _: ("Relu", {}),
}


def write_onnx(network: nn.Sequential, input_shape: tuple[int, ...], path: Path) -> None:
    """Write a network.

    Args:
        network: Layers of the four kinds above.
        input_shape: Shape of one input without the batch axis, such as `(1, 8, 8)`.
        path: Where to write.
    """
    nodes, weights, current = [], [], "input"
    for index, layer in enumerate(network):
        operator, attributes = _LAYERS[type(layer)](layer)
        names = [f"layer{index}.{name}" for name, _ in layer.named_parameters()]
        weights += [
            _array(name, value) for name, value in zip(names, layer.parameters(), strict=True)
        ]
        result = "logits" if index == len(network) - 1 else f"value{index}"
        nodes.append(
            helper.make_node(
                operator, [current, *names], [result], name=f"layer{index}", **attributes
            )
        )
        current = result
    outputs = next(m.out_features for m in reversed(network) if isinstance(m, nn.Linear))
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tightrope-examples"
    )
    # The newest file format that onnxruntime of the same age reads need not be the newest of onnx.
    model.ir_version = 8
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
