"""What is in the way of an import is named, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from onnx import NodeProto, TensorProto, helper

from models.errors import ModelImportError
from models.onnx_import.support import unsupported_nodes


def file_of(nodes: Sequence[NodeProto]) -> bytes:
    value = helper.make_tensor_value_info
    ends = [value(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


def found(*nodes: NodeProto) -> list[tuple[str, str]]:
    return [(one.node, one.operator) for one in unsupported_nodes(file_of(nodes))]


def test_everything_is_named_in_the_order_of_the_file() -> None:
    node = helper.make_node
    assert found(
        node("Det", ["x"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("NonZero", ["b"], ["y"]),
    ) == [("first", "Det"), ("y", "NonZero")]


def test_what_the_result_does_not_need_is_left_out() -> None:
    unread = helper.make_node("Det", ["x"], ["a"])
    assert found(unread, helper.make_node("Relu", ["x"], ["y"])) == []


def test_constants_are_judged_by_what_is_evaluated() -> None:
    """A shape is constant although it is one of the input; so is what is made from it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    assert found(*nodes) == []
    nodes[1] = helper.make_node("RandomNormalLike", ["s"], ["c"], name="odd")
    assert found(*nodes) == [("odd", "RandomNormalLike")]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ModelImportError):
        unsupported_nodes(b"nothing of the kind")
