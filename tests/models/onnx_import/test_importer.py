"""The whole of an import: inputs, outputs, names, notes, and the check against onnxruntime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from models import (
    ModelImportError,
    Network,
    OnnxRuntime,
    UnsupportedOperatorError,
    load_network,
)
from models.onnx_import import comparison
from models.operators import Relu
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import cnn, mlp, model, node, parse, resnet


@pytest.mark.parametrize("batch", [1, 2, "batch", None])
@pytest.mark.parametrize("build", [mlp, cnn, resnet])
def test_whole_networks(build: object, batch: int | str | None) -> None:
    assert callable(build)
    network = assert_agrees(build(batch=batch))
    assert network.input_shape[0] == (2 if batch == 2 else 1)
    assert network.notes == ()


def test_a_network_without_a_batch_axis() -> None:
    weights = {"w": np.eye(3, 2, dtype=np.float32)}
    network = assert_agrees(model([node("MatMul", ["x", "w"], ["y"])], shape=(3,), weights=weights))
    assert (network.input_shape, network.output_shape) == ((3,), (2,))


def test_other_open_axes_count_as_one_and_are_noted() -> None:
    network = assert_agrees(model([node("Relu", ["x"], ["y"])], shape=("N", 3, "width")))
    assert network.input_shape == (1, 3, 1)
    assert any("open axes" in note for note in network.notes)


def test_initializers_may_be_listed_as_inputs() -> None:
    proto = parse(mlp())
    for tensor in proto.graph.initializer:
        entry = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        proto.graph.input.insert(0, entry)
    network = assert_agrees(proto.SerializeToString())
    assert network.trainable == {"w1", "b1", "w2", "b2", "w3", "b3"}


def test_identity_of_the_file(tmp_path: Path) -> None:
    data = mlp()
    path = tmp_path / "small.net.onnx"
    path.write_bytes(data)
    network = load_network(path)
    assert network.name == "small.net"
    assert network.source == data
    assert network.sha256 == hashlib.sha256(data).hexdigest()
    assert load_network(str(path), name="mine").name == "mine"
    assert load_network(data).name == "network"


def test_nodes_keep_the_names_of_onnx_tensors() -> None:
    network = load_network(resnet())
    names = {entry.name for entry in network.graph.nodes}
    assert {"x", "z1", "n1", "a1", "z2", "s1", "a2", "g1", "y"} <= names
    assert network.graph.output == "y"


def test_made_up_names_never_meet_those_of_the_file() -> None:
    """A file may use the very names that helper nodes would get."""
    nodes = [
        node("GlobalAveragePool", ["x"], ["y/reducesum"]),
        node("GlobalAveragePool", ["y/reducesum"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(1, 2, 3, 3)))
    names = [entry.name for entry in network.graph.nodes]
    assert len(set(names)) == len(names)


def test_the_first_of_several_outputs_is_used() -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Erf", ["x"], ["other"])]
    network = load_network(model(nodes, shape=(1, 3), outputs=("y", "other")))
    assert network.graph.output == "y"
    assert "'other'" in network.notes[0]


def test_nodes_that_the_output_does_not_need_are_not_looked_at() -> None:
    nodes = [node("Erf", ["x"], ["unused"]), node("Relu", ["x"], ["y"])]
    assert len(assert_agrees(model(nodes, shape=(1, 3))).graph.nodes) == 2


def test_an_output_that_is_the_input() -> None:
    network = load_network(model([node("Identity", ["x"], ["y"])], shape=(1, 3)))
    assert network.output_shape == (1, 3)


def test_an_output_that_is_constant_is_refused() -> None:
    data = model([node("Neg", ["c"], ["y"])], shape=(1, 3), weights={"c": np.ones(3, np.float32)})
    with pytest.raises(ModelImportError, match="'y' does not depend on its input"):
        load_network(data)


@pytest.mark.parametrize(
    ("operator", "attributes", "opset"),
    [
        ("Softmax", {}, 9),
        ("Softmax", {"axis": 1}, 13),
        ("Softmax", {"axis": -1}, 13),
        ("Softmax", {}, 13),
        ("LogSoftmax", {"axis": 1}, 11),
    ],
)
def test_a_final_softmax_is_dropped(operator: str, attributes: dict[str, int], opset: int) -> None:
    nodes = [node("Relu", ["x"], ["z"]), node(operator, ["z"], ["y"], **attributes)]
    network = load_network(model(nodes, shape=(1, 3), opset=opset))
    assert isinstance(network.graph.node(network.graph.output).operator, Relu)
    assert any(operator in note and "dropped" in note for note in network.notes)


def test_reshapes_behind_a_final_softmax_are_dropped_with_it() -> None:
    nodes = [
        node("Softmax", ["x"], ["p"], axis=-1),
        node("Identity", ["p"], ["i"]),
        node("Reshape", ["i", "flat"], ["y"]),
    ]
    data = model(nodes, shape=(1, 3), weights={"flat": np.asarray([-1], np.int64)})
    network = load_network(data)
    assert network.graph.output == "x"
    x = torch.tensor([[[1.0, -2.0, 3.0]]])
    torch.testing.assert_close(network(x), x)


def test_a_softmax_over_several_groups_is_refused() -> None:
    data = model([node("Softmax", ["x"], ["y"], axis=-1)], shape=(2, 3))
    with pytest.raises(UnsupportedOperatorError, match="several groups"):
        load_network(data)


@pytest.mark.parametrize("attributes", [{"axis": 1}, {"axis": -1, "keepdims": 0}])
def test_a_final_argmax_leaves_the_scores_in_front(attributes: dict[str, int]) -> None:
    nodes = [node("Relu", ["x"], ["z"]), node("ArgMax", ["z"], ["y"], **attributes)]
    network = load_network(model(nodes, shape=(1, 3), outputs=("y",), untyped=True))
    assert network.output_size == 3
    assert any("ArgMax" in note and "dropped" in note for note in network.notes)
    x = np.asarray([[[1.0, -2.0, 3.0]]], np.float32)
    np.testing.assert_array_equal(OnnxRuntime(network).run(x), [[1.0, 0.0, 3.0]])


def test_an_argmax_over_several_groups_is_refused() -> None:
    data = model([node("ArgMax", ["x"], ["y"], axis=-1)], shape=(2, 3), untyped=True)
    with pytest.raises(UnsupportedOperatorError, match="several groups"):
        load_network(data)


def test_a_missing_tensor_is_named() -> None:
    data = model([node("Add", ["x", "nowhere"], ["y"])], shape=(3,))
    with pytest.raises(ModelImportError, match="'n_y' \\(Add\\) reads 'nowhere'"):
        load_network(data)


def test_nodes_out_of_order_are_refused() -> None:
    nodes = [node("Relu", ["z"], ["y"]), node("Neg", ["x"], ["z"])]
    with pytest.raises(ModelImportError, match="reads 'z'"):
        load_network(model(nodes, shape=(3,)))


def test_two_nodes_that_compute_one_tensor_are_refused() -> None:
    nodes = [
        node("Neg", ["x"], ["z"]),
        node("Relu", ["x"], ["z"]),
        node("Add", ["z", "x"], ["y"]),
    ]
    with pytest.raises(ModelImportError, match="two nodes compute 'z'"):
        load_network(model(nodes, shape=(3,)))


@pytest.mark.parametrize("operator", ["Identity", "Softmax", "Relu"])
def test_a_graph_that_runs_in_circles_is_refused(operator: str) -> None:
    nodes = [node(operator, ["y"], ["y"]), node("Relu", ["x"], ["z"])]
    with pytest.raises(ModelImportError, match=r"reads 'y'|does not depend"):
        load_network(model(nodes, shape=(3,)))


def test_two_initializers_of_one_name_are_refused() -> None:
    proto = parse(mlp())
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(ModelImportError, match="two initializers are named 'w1'"):
        load_network(proto.SerializeToString())


def test_a_tensor_with_too_few_data_is_named() -> None:
    proto = parse(mlp())
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelImportError, match="'w1' is damaged"):
        load_network(proto.SerializeToString())


def test_a_wrong_import_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a handler wrong, the comparison with onnxruntime would say so."""
    data = mlp()
    network = load_network(data, check=False)
    off = network.with_parameters({"b3": network.parameters["b3"] + 0.01})
    right = comparison.OnnxRuntime(network)
    monkeypatch.setattr(comparison, "OnnxRuntime", lambda _: right)
    with pytest.raises(ModelImportError, match=r"differ by 0\.01"):
        comparison.compare_with_onnxruntime(off)


def test_a_wrong_number_of_outputs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_network(mlp((4, 3)), check=False)
    other = comparison.OnnxRuntime(load_network(mlp((4, 2)), check=False))
    monkeypatch.setattr(comparison, "OnnxRuntime", lambda _: other)
    with pytest.raises(ModelImportError, match="gives 3 outputs, onnxruntime gives 2"):
        comparison.compare_with_onnxruntime(network)


def test_outputs_that_overflow_are_refused() -> None:
    weights = {"c": np.full(3, 3e38, np.float32)}
    nodes = [node("Mul", ["x", "c"], ["z"]), node("Mul", ["z", "c"], ["y"])]
    with pytest.raises(ModelImportError, match="NaN or infinite on ordinary inputs"):
        load_network(model(nodes, shape=(3,), weights=weights))


def test_what_onnxruntime_refuses_is_refused() -> None:
    """An attribute that does not exist is no matter to the import, but it is to onnxruntime."""
    data = model([node("Relu", ["x"], ["y"], invented=1)], shape=(3,))
    with pytest.raises(ModelImportError, match="onnxruntime cannot run this network"):
        load_network(data)
    assert isinstance(load_network(data, check=False), Network)


def test_weights_in_typed_fields_are_read() -> None:
    """Old exporters store numbers in `float_data` instead of raw bytes."""
    proto = parse(mlp())
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.float_data.extend(array.reshape(-1).tolist())
    assert_agrees(proto.SerializeToString())
