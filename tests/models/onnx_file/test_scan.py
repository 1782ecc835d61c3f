"""Files are counted before they are parsed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models import ModelImportError, load_network
from models.onnx_file.limits import ImportLimits
from models.onnx_file.scan import check_parts
from tests.helpers.networks import cnn, mlp, model, node, parse


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_a_network_passes_and_its_nodes_are_counted() -> None:
    data = cnn()
    nodes = len(parse(data).graph.node)
    check_parts(data, ImportLimits(nodes=nodes))
    with pytest.raises(ModelImportError, match="more nodes than the limit"):
        check_parts(data, ImportLimits(nodes=nodes - 1))


def test_a_network_of_many_empty_nodes_is_never_parsed() -> None:
    """Two bytes each; protobuf would make hundreds of each."""
    graph = field(1, b"") * 200_000
    with pytest.raises(ModelImportError, match="more nodes than the limit of 50000"):
        load_network(field(7, graph))


@pytest.mark.parametrize(
    "part",
    [
        field(7, field(1, field(1, b"") * 3000)),  # names of inputs
        field(7, field(1, field(5, field(7, b"") * 3000))),  # numbers in an attribute
        field(7, field(5, b"\x08\x01" * 3000)),  # axes of a tensor
        field(7, field(11, field(1, b"") * 3000)),  # what describes an input
        field(14, b"") * 3000,  # metadata
    ],
)
def test_every_kind_of_part_is_counted(part: bytes) -> None:
    with pytest.raises(ModelImportError, match="more than 2000 parts"):
        check_parts(part, ImportLimits(parts=2000))


@given(st.binary(max_size=100))
def test_bytes_that_are_no_model_are_refused_or_pass(data: bytes) -> None:
    try:
        check_parts(data, ImportLimits())
    except ModelImportError as error:
        assert "cannot be parsed" in str(error)


@pytest.mark.parametrize("data", [b"\x3a\x05\x0a", b"\xff" * 11, b"\x0b", b"\x0d\x01", b"\x3a\x80"])
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelImportError, match="cannot be parsed as protobuf"):
        check_parts(data, ImportLimits())


def test_products_of_constants_take_little_time() -> None:
    """A kilobyte of nodes could ask for hours of multiplications."""
    weights = {"sizes": np.asarray([64, 64]), "one": np.ones(1, np.float32)}
    nodes = [
        node("Expand", ["one", "sizes"], ["a"]),
        node("MatMul", ["a", "a"], ["b"]),
        node("MatMul", ["x", "b"], ["y"]),
    ]
    data = model(nodes, shape=[1, 64], weights=weights)
    enough = 64**2 + 64**3
    assert load_network(data, limits=ImportLimits(elements=enough)).output_size == 64
    with pytest.raises(ModelImportError, match=r"'n_b' computes a constant"):
        load_network(data, limits=ImportLimits(elements=enough - 1))


def test_what_the_result_does_not_need_is_not_run() -> None:
    """A second output of a million million numbers costs nothing."""
    proto = parse(mlp())
    huge = numpy_helper.from_array(np.asarray([10**6, 10**6]), "huge")
    proto.graph.initializer.append(huge)
    proto.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["filled"]))
    proto.graph.output.append(helper.make_tensor_value_info("filled", TensorProto.FLOAT, None))
    network = load_network(proto.SerializeToString())
    assert any("several outputs" in note for note in network.notes)
