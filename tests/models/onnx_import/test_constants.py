"""Constants: what stays a trainable view of the file, what is folded, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.onnx_file.limits import ImportLimits
from tests.helpers.agreement import assert_agrees, ort_outputs, random_inputs, torch_outputs
from tests.helpers.networks import Array, mlp, model, node


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def constant(name: str, array: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


VIEWS: list[tuple[str, NodeProto, Array]] = [
    ("transpose", node("Transpose", ["w"], ["v"]), normal(4, 3)),
    ("reshape", node("Reshape", ["w", "shape"], ["v"]), normal(12)),
    ("flatten", node("Flatten", ["w"], ["v"], axis=1), normal(3, 2, 2)),
    ("squeeze", node("Squeeze", ["w"], ["v"]), normal(1, 3, 4)),
    ("identity", node("Identity", ["w"], ["v"]), normal(3, 4)),
    ("negated", node("Neg", ["w"], ["v"]), normal(3, 4)),
    ("multiplied", node("Mul", ["w", "two"], ["v"]), normal(3, 4)),
    ("multiplied by", node("Mul", ["two", "w"], ["v"]), normal(3, 4)),
    ("divided", node("Div", ["w", "two"], ["v"]), normal(3, 4)),
    ("cast up", node("Cast", ["w"], ["v"], to=TensorProto.FLOAT), normal(3, 4).astype(np.float16)),
]


@pytest.mark.parametrize(
    ("view", "stored"), [entry[1:] for entry in VIEWS], ids=[entry[0] for entry in VIEWS]
)
def test_a_view_of_a_weight_stays_trainable(view: NodeProto, stored: Array) -> None:
    weights = {
        "w": stored,
        "shape": np.asarray([3, 4], dtype=np.int64),
        "two": np.asarray(2.0, np.float32),
    }
    network = assert_agrees(
        model([view, node("MatMul", ["x", "v"], ["y"])], shape=(1, 3), weights=weights)
    )
    assert network.trainable == {"w"}
    np.testing.assert_array_equal(network.parameters["w"].numpy(), stored)


def test_a_chain_of_views_is_differentiable() -> None:
    nodes = [
        node("Transpose", ["w"], ["t"]),
        node("Neg", ["t"], ["v"]),
        node("MatMul", ["x", "v"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(1, 3), weights={"w": normal(4, 3)}))
    weight = network.parameters["w"].clone().requires_grad_()
    x = torch.ones(1, 1, 3)
    network.with_parameters({"w": weight})(x).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, -torch.ones(4, 3))


def test_anything_else_is_folded_and_not_trainable() -> None:
    nodes = [
        node("Sqrt", ["w"], ["root"]),
        node("Sub", ["root", "mean"], ["v"]),
        node("MatMul", ["x", "v"], ["y"]),
    ]
    weights = {"w": np.abs(normal(3, 4)), "mean": normal(4, seed=1)}
    network = assert_agrees(model(nodes, shape=(1, 3), weights=weights))
    assert network.trainable == set()
    assert set(network.parameters) == {"v"}


def test_a_weight_that_is_also_folded_is_not_trainable() -> None:
    """Were it trained, the folded copy would no longer match the file."""
    nodes = [
        node("Abs", ["w"], ["v"]),
        node("MatMul", ["x", "v"], ["h"]),
        node("MatMul", ["h", "w"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(1, 3), weights={"w": normal(3, 3)}))
    assert network.trainable == set()
    assert set(network.parameters) == {"v", "w"}


def test_a_narrowing_cast_of_a_weight_is_folded() -> None:
    nodes = [
        node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        node("MatMul", ["x", "v"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(0).normal(size=(3, 4))}
    assert assert_agrees(model(nodes, shape=(1, 3), weights=weights)).trainable == set()


def test_constant_nodes_are_weights() -> None:
    nodes = [
        constant("w", normal(3, 4)),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Constant", [], ["f"], value_float=0.5),
        node("Gemm", ["x", "w", "b"], ["z"]),
        node("Mul", ["z", "f"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(1, 3)))
    assert network.trainable == {"w", "b", "f"}


def test_constant_nodes_give_shapes() -> None:
    nodes = [
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
        node("Unsqueeze", ["one", "zero"], ["first"]),
        node("Concat", ["first", "rest"], ["s"], axis=0),
        node("Reshape", ["x", "s"], ["y"]),
    ]
    assert assert_agrees(model(nodes, shape=(2, 3))).output_shape == (1, 6)


def test_other_constant_nodes_are_refused() -> None:
    nodes = [
        helper.make_node("Constant", [], ["s"], value_string="text", name="words"),
        node("Concat", ["x", "s"], ["y"], axis=0),
    ]
    with pytest.raises(UnsupportedOperatorError, match="words"):
        load_network(model(nodes, shape=(2,)))


@pytest.mark.parametrize("batch", [1, "N", None])
def test_shape_chains_fold(batch: int | str | None) -> None:
    """The flattening that torch exports for `x.view(x.size(0), -1)`."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        constant("zero", np.asarray(0, np.int64)),
        node("Gather", ["shape", "zero"], ["count"], axis=0),
        node("Unsqueeze", ["count"], ["first"], axes=[0]),
        constant("rest", np.asarray([-1], np.int64)),
        node("Concat", ["first", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(batch, 2, 3), opset=11))
    assert network.output_shape == (1, 6)
    assert network.parameters == {}


def test_shape_with_ends_and_size() -> None:
    nodes = [
        node("Shape", ["x"], ["tail"], start=-2),
        node("Size", ["x"], ["count"]),
        constant("zeros", np.asarray([0], np.int64)),
        node("Unsqueeze", ["count", "zeros"], ["flat"]),
        node("Reshape", ["x", "flat"], ["line"]),
        node("Reshape", ["line", "tail"], ["y"]),
    ]
    assert assert_agrees(model(nodes, shape=(1, 2, 3), opset=15)).output_shape == (2, 3)


def test_constant_of_shape_and_range() -> None:
    value = numpy_helper.from_array(np.asarray([2.0], np.float32))
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["twos"], value=value),
        node("Range", ["low", "high", "step"], ["r"]),
        node("Add", ["twos", "r"], ["c"]),
        node("Mul", ["x", "c"], ["y"]),
    ]
    weights = {
        "low": np.asarray(0.0, np.float32),
        "high": np.asarray(3.0, np.float32),
        "step": np.asarray(1.0, np.float32),
    }
    assert_agrees(model(nodes, shape=(2, 3), weights=weights))


FOLDED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("Expand", ["v", "two"], {}),
    ("Tile", ["v", "two"], {}),
    ("Gather", ["v", "two"], {}),
    ("MatMul", ["v", "v"], {}),
    ("Concat", ["v", "v"], {"axis": 0}),
    ("ReduceSum", ["v"], {}),
    ("Where", ["flag", "v", "v"], {}),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"), FOLDED, ids=[entry[0] for entry in FOLDED]
)
def test_folded_operators(operator: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    nodes = [node(operator, inputs, ["c"], **attributes), node("Add", ["x", "c"], ["y"])]
    shape = {"Concat": (1, 4), "Tile": (1, 4)}.get(operator, (1, 1))
    weights = {
        "v": normal(2),
        "two": np.asarray([1] if operator == "Gather" else [2], np.int64),
        "flag": np.asarray([True, False]),
    }
    assert_agrees(model(nodes, shape=shape, weights=weights))


@pytest.mark.parametrize("operator", ["RandomNormal", "Erf", "NonZero"])
def test_operators_that_are_not_folded_are_refused(operator: str) -> None:
    inputs, attributes = (["v"], {}) if operator != "RandomNormal" else ([], {"shape": [3]})
    nodes = [node(operator, inputs, ["c"], **attributes), node("Add", ["x", "c"], ["y"])]
    with pytest.raises(UnsupportedOperatorError, match="not evaluated on constants"):
        load_network(model(nodes, shape=(3,), weights={"v": normal(3)}))


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("ConstantOfShape", ["huge"]),
        ("Expand", ["v", "huge"]),
        ("Tile", ["v", "huge"]),
        ("Range", ["zero", "many", "one"]),
    ],
)
def test_a_small_file_cannot_ask_for_a_huge_constant(operator: str, inputs: list[str]) -> None:
    nodes = [node(operator, inputs, ["c"]), node("Add", ["x", "c"], ["y"])]
    weights = {
        "v": normal(1),
        "huge": np.asarray([10**12], np.int64),
        "zero": np.asarray(0, np.int64),
        "one": np.asarray(1, np.int64),
        "many": np.asarray(10**12, np.int64),
    }
    with pytest.raises(ModelImportError, match="constant of 1000000000000 elements"):
        load_network(model(nodes, shape=(3,), weights=weights))


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [("Expand", ["x", "huge"]), ("Pad", ["x", "pads"]), ("Resize", ["x", "", "", "sizes"])],
)
def test_a_small_file_cannot_ask_for_a_huge_activation(operator: str, inputs: list[str]) -> None:
    weights = {
        "huge": np.asarray([10**12, 1], np.int64),
        "pads": np.asarray([0, 10**12], np.int64),
        "sizes": np.asarray([10**12], np.int64),
    }
    with pytest.raises(ModelImportError, match="n_y"):
        load_network(model([node(operator, inputs, ["y"])], shape=(1,), weights=weights))


def test_limits_hold_for_computed_tensors() -> None:
    data = model([node("Concat", ["x", "x"], ["y"], axis=0)], shape=(3,))
    assert load_network(data, limits=ImportLimits(activations=9)).output_size == 6
    with pytest.raises(ModelImportError, match="beyond the limit of 8 activations"):
        load_network(data, limits=ImportLimits(activations=8))


def test_many_folded_constants_count_together() -> None:
    nodes = [
        node("Expand", ["v", "ten"], ["a"]),
        node("Expand", ["v", "ten"], ["b"]),
        node("Sum", ["a", "b", "x"], ["y"]),
    ]
    weights = {"v": normal(1), "ten": np.asarray([10], np.int64)}
    data = model(nodes, shape=(10,), weights=weights)
    assert load_network(data, limits=ImportLimits(elements=20)).output_size == 10
    with pytest.raises(ModelImportError, match="all such constants together may have 19"):
        load_network(data, limits=ImportLimits(elements=19))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    weights = {"good": normal(3, 3), "bad": normal(3, 3)}
    weights["bad"][1, 2] = value
    nodes = [node("MatMul", ["x", "good"], ["h"]), node("MatMul", ["h", "bad"], ["y"])]
    with pytest.raises(ModelImportError, match="'bad' holds NaN or infinite"):
        load_network(model(nodes, shape=(1, 3), weights=weights))


def test_whole_numbers_are_no_weights() -> None:
    data = model([node("Add", ["x", "c"], ["y"])], shape=(3,), weights={"c": np.ones(3, np.int64)})
    with pytest.raises(ModelImportError, match="'c' has type int64"):
        load_network(data)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_precisions(dtype: type[np.floating[Any]]) -> None:
    network = load_network(mlp((3, 5, 2), dtype=dtype))
    wide = dtype == np.float64
    assert any("float16" in note for note in network.notes) == (dtype == np.float16)
    assert network.dtype == (torch.float64 if wide else torch.float32)
    x = random_inputs((1, 3)).astype(dtype).astype(np.float32)
    # float16 has 11 significant bits, and onnxruntime rounds to it between layers
    tolerance = 1e-12 if wide else 2e-2
    np.testing.assert_allclose(
        torch_outputs(network, x), ort_outputs(network.source, x), atol=tolerance
    )
