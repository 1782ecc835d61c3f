"""Files that must be refused before anything in them is evaluated."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models import ModelImportError, TightropeError, UnsupportedOperatorError, load_network
from models.onnx_file.limits import ImportLimits
from tests.helpers.networks import cnn, mlp, model, node, parse


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    with pytest.raises(ModelImportError, match="is empty"):
        load_network(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match=r"absent\.onnx.*No such file"):
        load_network(tmp_path / "absent.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match="cannot read"):
        load_network(tmp_path)


@pytest.mark.parametrize("data", [b"hello world", b"\x00" * 100, b"PK\x03\x04" + b"x" * 50, b"{}"])
def test_files_that_are_not_onnx(data: bytes) -> None:
    with pytest.raises(ModelImportError, match="not an ONNX model"):
        load_network(data)


@given(kept=st.floats(0.0, 0.999))
def test_truncated_files(kept: float) -> None:
    data = mlp()
    with pytest.raises(ModelImportError):
        load_network(data[: int(len(data) * kept)])


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(ModelImportError):
        load_network(data)


@given(position=st.floats(0.0, 0.999), value=st.integers(0, 255))
def test_damaged_files_load_or_say_why(position: float, value: int) -> None:
    data = bytearray(cnn())
    data[int(len(data) * position)] = value
    try:
        load_network(bytes(data))
    except TightropeError as error:
        assert str(error)


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx.gz"
    path.write_bytes(gzip.compress(mlp()))
    network = load_network(path)
    assert network.name == "small"
    assert network.source == mlp()


def test_gzip_that_ends_too_early() -> None:
    with pytest.raises(ModelImportError, match="ends too early"):
        load_network(gzip.compress(mlp())[:-20])


def test_gzip_that_is_damaged() -> None:
    data = bytearray(gzip.compress(mlp()))
    data[12:40] = b"\xff" * 28
    with pytest.raises(ModelImportError, match="gzip"):
        load_network(bytes(data))


def test_gzip_cannot_unpack_beyond_the_limit() -> None:
    bomb = gzip.compress(b"\x00" * 1_000_000)
    with pytest.raises(ModelImportError, match="larger than the limit of 10000 bytes"):
        load_network(bomb, limits=ImportLimits(file_bytes=10_000))


def test_the_size_of_a_file_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(mlp())
    for source in (path, mlp()):
        with pytest.raises(ModelImportError, match="limit of 100 bytes"):
            load_network(source, limits=ImportLimits(file_bytes=100))


def test_the_number_of_nodes_is_limited() -> None:
    with pytest.raises(ModelImportError, match="more nodes than the limit of 4"):
        load_network(mlp(), limits=ImportLimits(nodes=4))


def test_the_size_of_a_tensor_is_limited() -> None:
    with pytest.raises(ModelImportError, match="'w2' has 64 elements, the limit is 50"):
        load_network(mlp(), limits=ImportLimits(elements=50))


def changed(change: str) -> ModelProto:
    """Return a small network with one thing about it changed."""
    proto = parse(mlp())
    tensor = proto.graph.initializer[0]
    if change == "external":
        tensor.data_location = TensorProto.EXTERNAL
    elif change == "negative":
        tensor.dims[0] = -8
    elif change == "sparse":
        proto.graph.sparse_initializer.add().values.name = "sparse"
    elif change == "old":
        proto.opset_import[0].version = 6
    elif change == "future":
        proto.opset_import[0].version = 1000
    elif change == "none":
        del proto.opset_import[:]
    elif change == "unshaped":
        proto.graph.input[0].type.tensor_type.ClearField("shape")
    elif change == "zero":
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    elif change == "sequence":
        proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    return proto


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("external", "'w1' is stored outside the file"),
        ("negative", "'w1' declares the impossible shape"),
        ("sparse", "'sparse' is stored sparse"),
        ("old", "opset 6; opsets 7 to"),
        ("future", "opset 1000"),
        ("none", "declares no ONNX operator set"),
        ("unshaped", "'x' declares no shape"),
        ("zero", "'x' has shape \\(0, 4\\): it holds no numbers"),
        ("sequence", "'x' is not a tensor"),
    ],
)
def test_what_is_refused_by_its_declaration(change: str, message: str) -> None:
    with pytest.raises(ModelImportError, match=message):
        load_network(changed(change).SerializeToString())


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING])
def test_inputs_that_are_not_floating_point(kind: int) -> None:
    data = model([node("Identity", ["x"], ["y"])], shape=(3,), dtype=kind)
    with pytest.raises(ModelImportError, match="'x' has element type"):
        load_network(data)


def test_every_input_must_be_numbers_that_can_be_perturbed() -> None:
    proto = parse(mlp())
    proto.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.INT64, [1]))
    with pytest.raises(ModelImportError, match=r"'extra' has element type INT64"):
        load_network(proto.SerializeToString())


def test_no_input_at_all() -> None:
    proto = parse(mlp())
    del proto.graph.input[:]
    with pytest.raises(ModelImportError, match="no input besides its weights"):
        load_network(proto.SerializeToString())


def test_a_foreign_domain() -> None:
    proto = parse(mlp())
    proto.graph.node[1].domain = "com.example"
    with pytest.raises(UnsupportedOperatorError, match=r"n_a1.*Relu.*'com.example'"):
        load_network(proto.SerializeToString())


def test_a_foreign_domain_that_no_node_uses_is_no_matter() -> None:
    proto = parse(mlp())
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    assert load_network(proto.SerializeToString()).output_size == 3


def test_a_subgraph() -> None:
    branch = helper.make_graph(
        [node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)]
    with pytest.raises(UnsupportedOperatorError, match=r"n_y.*If.*subgraph"):
        load_network(model(nodes, shape=(3,), weights={"flag": np.asarray(True)}))


def test_functions() -> None:
    proto = parse(mlp())
    proto.functions.append(
        helper.make_function(
            "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], proto.opset_import
        )
    )
    with pytest.raises(UnsupportedOperatorError, match=r"Twice.*inline"):
        load_network(proto.SerializeToString())


def test_external_data_in_a_constant_node() -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    tensor.data_location = TensorProto.EXTERNAL
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        node("Add", ["x", "c"], ["y"]),
    ]
    with pytest.raises(ModelImportError, match="'hidden' is stored outside"):
        load_network(model(nodes, shape=(3,)))
