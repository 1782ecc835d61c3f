"""Elementwise arithmetic, with all the broadcasting that ONNX allows."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.operators import Add, Expand, Scale
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

SHAPES = [(), (1,), (3,), (2, 1), (2, 3), (4, 1, 3), (1, 1, 1, 3)]


def constant(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return numbers away from zero, so that they can be divided by."""
    generator = np.random.default_rng(seed)
    sign = np.where(generator.uniform(size=shape) < 0.5, -1.0, 1.0)
    return np.asarray(generator.uniform(0.5, 2.0, shape) * sign, dtype=np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_a_constant_on_the_right(operator: str, shape: tuple[int, ...]) -> None:
    data = model([node(operator, ["x", "c"], ["y"])], shape=(2, 3), weights={"c": constant(shape)})
    network = assert_agrees(data)
    assert network.trainable == {"c"}
    enlarges = len(shape) > 2
    assert any(isinstance(entry.operator, Expand) for entry in network.graph.nodes) == enlarges


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
def test_a_constant_on_the_left(operator: str, shape: tuple[int, ...]) -> None:
    data = model([node(operator, ["c", "x"], ["y"])], shape=(2, 3), weights={"c": constant(shape)})
    assert_agrees(data)


def test_a_constant_may_enlarge_the_activation_within_its_rank() -> None:
    data = model([node("Mul", ["x", "c"], ["y"])], shape=(1, 3), weights={"c": constant((4, 3))})
    assert assert_agrees(data).output_shape == (4, 3)


def test_dividing_by_zero_is_refused() -> None:
    data = model(
        [node("Div", ["x", "c"], ["y"])], shape=(2,), weights={"c": np.zeros(2, np.float32)}
    )
    with pytest.raises(ModelImportError, match="divides by zero: 'c'"):
        load_network(data)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Sum", "Mean"])
def test_two_activations(operator: str) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node(operator, ["r", "x"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3)))
    assert isinstance(network.graph.node("y").operator, Add)


@pytest.mark.parametrize("operator", ["Add", "Sub"])
def test_two_activations_that_broadcast_each_other(operator: str) -> None:
    nodes = [
        node("ReduceMean", ["x"], ["rows"], axes=[0]),
        node("ReduceMean", ["x"], ["columns"], axes=[1]),
        node(operator, ["rows", "columns"], ["y"]),
    ]
    assert assert_agrees(model(nodes, shape=(2, 3))).output_shape == (2, 3)


@pytest.mark.parametrize("operator", ["Sum", "Mean"])
def test_many_terms_with_constants_among_them(operator: str) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node(operator, ["a", "x", "b", "r"], ["y"])]
    weights = {"a": constant((3,)), "b": constant((4, 1, 1), seed=1)}
    assert_agrees(model(nodes, shape=(2, 3), weights=weights))


def test_sum_of_one_term() -> None:
    assert_agrees(model([node("Sum", ["x"], ["s"]), node("Relu", ["s"], ["y"])], shape=(2, 3)))


def test_the_same_activation_twice() -> None:
    assert_agrees(model([node("Add", ["x", "x"], ["y"])], shape=(2, 3)))


def test_neg() -> None:
    network = assert_agrees(model([node("Neg", ["x"], ["y"])], shape=(2, 3)))
    assert isinstance(network.graph.node("y").operator, Scale)
    assert network.trainable == set()


def test_expand() -> None:
    weights = {"shape": np.asarray([4, 1, 3], dtype=np.int64)}
    data = model([node("Expand", ["x", "shape"], ["y"])], shape=(2, 1), weights=weights)
    assert assert_agrees(data).output_shape == (4, 2, 3)


@pytest.mark.parametrize("opset", [7, 13])
def test_dropout_and_identity_leave_no_node(opset: int) -> None:
    nodes = [
        node("Dropout", ["x"], ["d"]),
        node("Identity", ["d"], ["i"]),
        node("Relu", ["i"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(2, 3), opset=opset))
    assert [entry.name for entry in network.graph.nodes] == ["x", "y"]


def test_dropout_in_training_mode_is_refused() -> None:
    weights = {"ratio": np.asarray(0.5, np.float32), "training": np.asarray(True)}
    data = model(
        [node("Dropout", ["x", "ratio", "training"], ["y"])], shape=(2, 3), weights=weights
    )
    with pytest.raises(UnsupportedOperatorError, match="training mode"):
        load_network(data)


def test_a_used_second_output_is_refused() -> None:
    nodes = [
        node("Dropout", ["x"], ["d", "mask"]),
        node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        node("Add", ["d", "m"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperatorError, match="output 1 \\('mask'\\) is used"):
        load_network(model(nodes, shape=(2, 3)))


def test_a_narrowing_cast_is_noted() -> None:
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["f"], to=TensorProto.FLOAT),
        node("Relu", ["f"], ["y"]),
    ]
    network = load_network(model(nodes, shape=(2, 3)), check=False)
    assert len(network.notes) == 1
    assert "n_h" in network.notes[0]


def test_a_widening_cast_is_not_noted() -> None:
    nodes = [node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), node("Relu", ["d"], ["y"])]
    assert assert_agrees(model(nodes, shape=(2, 3), untyped=True)).notes == ()


def test_a_cast_of_an_activation_to_integers_is_refused() -> None:
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(UnsupportedOperatorError, match="int64"):
        load_network(model(nodes, shape=(2, 3)))
