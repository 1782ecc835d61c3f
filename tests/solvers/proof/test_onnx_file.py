"""Files that could be read in two ways, or not at all, are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from solvers.proof import UnsupportedProofError, read_network
from solvers.proof.network import Nonlinear
from solvers.proof.onnx_file import OLDEST
from tests.helpers.networks import mlp, model, node, parse


def unnamed_output(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].output[0] = ""


def unnamed_constant(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), ""))


def no_shape(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def old(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = OLDEST - 1


def segmented(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].segment.begin = 0


def cut_short(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]


def of_a_function(proto: onnx.ModelProto) -> None:
    node_ = proto.graph.node[0]
    node_.attribute.append(helper.make_attribute("alpha", 1.0))
    node_.attribute[-1].ref_attr_name = "mystery"


REFUSED: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "unnamed output": (unnamed_output, "first output has no name"),
    "unnamed constant": (unnamed_constant, "has no name"),
    "no shape": (no_shape, "no shape"),
    "old": (old, "version 6 of operators is none of those from 7"),
    "segmented": (segmented, "no ONNX file"),
    "cut short": (cut_short, "no ONNX file"),
    "of a function": (of_a_function, "no ONNX file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_unclear_is_refused(name: str) -> None:
    change, reason = REFUSED[name]
    proto = parse(mlp())
    change(proto)
    with pytest.raises(UnsupportedProofError, match=reason):
        read_network(proto.SerializeToString())


def test_an_unnamed_part_of_a_split_is_refused() -> None:
    """Its name would be that of every input that a node leaves out."""
    nodes = [
        node("Split", ["x"], ["", "b"], axis=1),
        node("Pad", ["b", "p", ""], ["y"]),
    ]
    content = model(nodes, shape=(1, 2), weights={"p": np.array([0, 1, 0, 0])})
    with pytest.raises(UnsupportedProofError, match="no name"):
        read_network(content)


@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool", "Conv"])
def test_windows_with_gaps_are_not_padded_to_the_same_size(operator: str) -> None:
    """ONNX's formula asks for less than nothing there; runtimes and its reference differ."""
    inputs = ["x", "w"] if operator == "Conv" else ["x"]
    weights = {"w": np.ones((1, 1, 1), np.float32)} if operator == "Conv" else {}

    def content(stride: int) -> bytes:
        pool = node(
            operator, inputs, ["y"], kernel_shape=[1], strides=[stride], auto_pad="SAME_UPPER"
        )
        return model([pool], shape=(1, 1, 6), weights=weights)

    assert read_network(content(1)).sizes[-1] == 6
    with pytest.raises(UnsupportedProofError, match="strides are longer"):
        read_network(content(3))


@pytest.mark.parametrize("operator", ["Squeeze", "Unsqueeze"])
def test_old_versions_do_not_count_axes_from_the_end(operator: str) -> None:
    def content(opset: int) -> bytes:
        change = node(operator, ["x"], ["s"], axes=[-1, 1])
        nodes = [change, node("Relu", ["s"], ["y"])]
        return model(nodes, shape=(3, 1, 1), opset=opset)

    assert read_network(content(11)).vectors["y"]
    with pytest.raises(UnsupportedProofError, match="counted from the end"):
        read_network(content(10))


def test_axes_are_named_once() -> None:
    twice = model([node("Squeeze", ["x"], ["y"], axes=[0, -3])], shape=(1, 1, 1), opset=11)
    with pytest.raises(UnsupportedProofError, match="named twice"):
        read_network(twice)


@pytest.mark.parametrize("opset", [7, 10])
def test_bounds_that_are_left_out_are_those_of_float32(opset: int) -> None:
    """In float64, too: `Clip` had attributes with such defaults once."""
    clip = node("Clip", ["x"], ["y"])
    content = model([clip], shape=(1, 1), opset=opset, dtype=TensorProto.DOUBLE)
    network = read_network(content)
    (operation,) = network.operations
    assert isinstance(operation, Nonlinear)
    image = operation.function.image([(np.array([[-1e50]]), np.array([[1e50]]))])
    assert image[1] == pytest.approx(np.finfo(np.float32).max)
    with pytest.raises(UnsupportedProofError, match="clips to"):
        read_network(model([clip], shape=(1, 1), opset=11))
