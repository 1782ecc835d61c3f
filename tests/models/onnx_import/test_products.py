"""Products, quotients and matrix products of activations."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto

from models import ModelImportError, load_network
from models.operators import Add, Constant, Expand, MatrixProduct, Multiply, Power
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


def weight(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def positive(source: str, result: str) -> list[NodeProto]:
    """Return nodes that make 1 + x² of x."""
    return [
        node("Mul", [source, source], [f"{result}_square"]),
        node("Add", [f"{result}_square", "one"], [result]),
    ]


ONE: dict[str, Array] = {"one": np.ones((), np.float32)}


def kinds(network_nodes: object) -> list[type]:
    return [type(entry.operator) for entry in network_nodes]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), (3,)), ((1, 3), (2, 1)), ((3,), (2, 1, 3)), ((2, 3), (2, 3))]
)
def test_products_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    sizes = (int(np.prod(left)), int(np.prod(right)))
    nodes = [
        node("Split", ["x", "sizes"], ["a", "b"], axis=0),
        node("Reshape", ["a", "left"], ["c"]),
        node("Reshape", ["b", "right"], ["d"]),
        node("Mul", ["c", "d"], ["y"]),
    ]
    weights = {
        "sizes": np.asarray(sizes, np.int64),
        "left": np.asarray(left, np.int64),
        "right": np.asarray(right, np.int64),
    }
    network = assert_agrees(model(nodes, shape=(sum(sizes),), weights=weights))
    assert isinstance(network.graph.node("y").operator, Multiply)
    assert network.output_shape == np.broadcast_shapes(left, right)


def test_a_value_times_itself_is_a_square() -> None:
    network = assert_agrees(model([node("Mul", ["x", "x"], ["y"])], shape=(2, 3)))
    assert network.graph.node("y").operator == Power(2.0)


def test_quotients_are_products_with_a_reciprocal() -> None:
    nodes = [*positive("x", "p"), node("Div", ["x", "p"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3), weights=ONE))
    assert Power(-1.0) in [entry.operator for entry in network.graph.nodes]


@pytest.mark.parametrize("shape", [(), (3,), (4, 1, 3)])
def test_a_constant_over_an_activation(shape: tuple[int, ...]) -> None:
    nodes = [*positive("x", "p"), node("Div", ["c", "p"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3), weights={**ONE, "c": weight(*shape)}))
    assert "c" in network.trainable
    assert Multiply not in kinds(network.graph.nodes)


def test_one_over_a_root_is_one_function() -> None:
    nodes = [
        *positive("x", "p"),
        node("Sqrt", ["p"], ["r"]),
        node("Div", ["x", "r"], ["y"]),
    ]
    network = assert_agrees(model(nodes, shape=(2, 3), weights=ONE))
    powers = [e.operator for e in network.graph.nodes if isinstance(e.operator, Power)]
    assert Power(-0.5) in powers
    assert Power(0.5) not in powers


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2, 3), (3, 4)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((2, 1, 2, 3), (3, 3, 2)),
        ((1, 2, 3), (4, 3, 1)),
    ],
)
def test_matrix_products_follow_numpy(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    sizes = (int(np.prod(left)), int(np.prod(right)))
    nodes = [
        node("Split", ["x", "sizes"], ["a", "b"], axis=0),
        node("Reshape", ["a", "left"], ["c"]),
        node("Reshape", ["b", "right"], ["d"]),
        node("MatMul", ["c", "d"], ["y"]),
    ]
    weights = {
        "sizes": np.asarray(sizes, np.int64),
        "left": np.asarray(left, np.int64),
        "right": np.asarray(right, np.int64),
    }
    network = assert_agrees(model(nodes, shape=(sum(sizes),), weights=weights))
    expected = np.matmul(np.zeros(left), np.zeros(right)).shape
    # A single output without an axis gets one.
    assert network.output_shape == (expected or (1,))


@pytest.mark.parametrize("inputs", [["x", "w"], ["w", "x"]])
def test_a_stack_of_constant_matrices(inputs: list[str]) -> None:
    data = model([node("MatMul", inputs, ["y"])], shape=(1, 3, 3), weights={"w": weight(2, 3, 3)})
    network = assert_agrees(data)
    assert network.trainable == {"w"}
    assert {Constant, MatrixProduct, Expand} <= set(kinds(network.graph.nodes))


@pytest.mark.parametrize("alpha", [1.0, -0.5])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_gemm_of_two_activations(alpha: float, transposed: tuple[int, int]) -> None:
    nodes = [
        node("Tanh", ["x"], ["t"]),
        node(
            "Gemm",
            ["x", "t", "c"],
            ["y"],
            alpha=alpha,
            beta=2.0,
            transA=transposed[0],
            transB=transposed[1],
        ),
    ]
    assert_agrees(model(nodes, shape=(3, 3), weights={"c": weight(3)}))


def test_gemm_of_two_activations_and_a_third() -> None:
    nodes = [node("Tanh", ["x"], ["t"]), node("Gemm", ["x", "t", "t"], ["y"])]
    network = assert_agrees(model(nodes, shape=(3, 3)))
    assert isinstance(network.graph.node("y").operator, Add)


def test_matrices_that_do_not_fit_are_malformed() -> None:
    nodes = [node("Tanh", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    with pytest.raises(ModelImportError, match=r"n_y.*MatMul.*malformed"):
        load_network(model(nodes, shape=(2, 3)))
