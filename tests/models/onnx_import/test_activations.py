"""Elementwise nonlinearities."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.operators import Clip, LeakyRelu, Operator, Relu
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("opset", [7, 13, 21])
@pytest.mark.parametrize("operator", ["Relu", "Sigmoid", "Tanh", "LeakyRelu"])
def test_without_attributes(operator: str, opset: int) -> None:
    network = assert_agrees(model([node(operator, ["x"], ["y"])], shape=(2, 3), opset=opset))
    assert type(network.graph.node("y").operator).__name__ == operator


@pytest.mark.parametrize("alpha", [0.2, 0.0, -0.5, 1.5])
def test_leaky_relu(alpha: float) -> None:
    assert_agrees(model([node("LeakyRelu", ["x"], ["y"], alpha=alpha)], shape=(2, 3)))


def test_a_slope_that_is_left_out_is_the_float32_number_of_the_standard() -> None:
    network = load_network(model([node("LeakyRelu", ["x"], ["y"])], shape=(1, 2)))
    operator = network.graph.node("y").operator
    assert isinstance(operator, LeakyRelu)
    assert operator.slope == float(np.float32(0.01)) != 0.01


@pytest.mark.parametrize("slope", [(), (1,), (4,), (3, 1, 1), (2, 3, 1, 4)])
def test_prelu(slope: tuple[int, ...]) -> None:
    weights = {"s": np.random.default_rng(0).uniform(-1, 1, slope).astype(np.float32)}
    network = assert_agrees(
        model([node("PRelu", ["x", "s"], ["y"])], shape=(2, 3, 2, 4), weights=weights)
    )
    assert network.trainable == {"s"}


def test_a_slope_that_would_enlarge_is_malformed() -> None:
    data = model(
        [node("PRelu", ["x", "s"], ["y"])], shape=(1, 3), weights={"s": np.ones((2, 3), np.float32)}
    )
    with pytest.raises(ModelImportError, match="does not fit"):
        load_network(data)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"min": -LARGEST, "max": LARGEST}, None),
        ({"min": 0.0}, Relu()),
        ({"min": 0.0, "max": 6.0}, Clip(0.0, 6.0)),
        ({"max": 0.25}, Clip(-inf, 0.25)),
        ({"min": -1.0, "max": LARGEST}, Clip(-1.0, inf)),
    ],
)
@pytest.mark.parametrize("opset", [7, 13])
def test_clip(opset: int, limits: dict[str, float], expected: Operator | None) -> None:
    if opset < 11:
        clip, weights = node("Clip", ["z"], ["c"], **limits), {}
    else:
        weights = {key: np.asarray(value, np.float32) for key, value in limits.items()}
        names = [key if key in weights else "" for key in ("min", "max")]
        clip = node("Clip", ["z", *names], ["c"])
    nodes = [node("Neg", ["x"], ["z"]), clip, node("Sigmoid", ["c"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3), opset=opset, weights=weights))
    names_left = [entry.name for entry in network.graph.nodes]
    assert (network.graph.node("c").operator if "c" in names_left else None) == expected
    assert network.trainable == set()


def test_a_limit_that_is_nan_is_malformed() -> None:
    data = model([node("Clip", ["x"], ["y"], min=float("nan"))], shape=(2, 3), opset=7)
    with pytest.raises(ModelImportError, match="a limit is NaN"):
        load_network(data)


def test_limits_that_are_tensors_are_refused() -> None:
    weights = {"low": np.zeros((1, 3), np.float32)}
    data = model([node("Clip", ["x", "low"], ["y"])], shape=(2, 3), weights=weights)
    with pytest.raises(UnsupportedOperatorError, match="3 numbers"):
        load_network(data)


@pytest.mark.parametrize("inputs", [["x", "c"], ["c", "x"]])
@pytest.mark.parametrize(
    ("operator", "expected"), [("Max", Clip(0.5, inf)), ("Min", Clip(-inf, 0.5))]
)
def test_max_and_min_with_a_number(operator: str, expected: Operator, inputs: list[str]) -> None:
    weights: dict[str, Array] = {"c": np.asarray([0.5], np.float32)}
    network = assert_agrees(model([node(operator, inputs, ["y"])], shape=(2, 3), weights=weights))
    assert network.graph.node("y").operator == expected


@pytest.mark.parametrize("operator", ["Det", "Hardmax", "EyeLike", "CumSum"])
def test_operators_without_a_handler(operator: str) -> None:
    attributes: dict[str, Any] = {}
    data = model([node(operator, ["x"], ["y"], **attributes)], shape=(2, 3), opset=14)
    with pytest.raises(UnsupportedOperatorError) as caught:
        load_network(data)
    error = caught.value
    assert (error.node, error.operator, error.opset) == ("n_y", operator, 14)
    assert all(word in str(error) for word in ("n_y", operator, "14", "documentation"))
