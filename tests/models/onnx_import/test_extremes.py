"""Largest and smallest values, between tensors and along axes."""

from __future__ import annotations

import numpy as np
import pytest

from models.operators import MaxPool, Relu
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


@pytest.mark.parametrize("operator", ["Max", "Min"])
@pytest.mark.parametrize(
    ("inputs", "constant"),
    [
        (["x"], (1,)),
        (["x", "x"], (1,)),
        (["x", "t"], (1,)),
        (["t", "x", "r"], (1,)),
        (["x", "c"], (3,)),
        (["c", "x", "t"], (2, 1)),
        (["x", "c"], (4, 1, 1)),
        (["x", "c", "c"], (1,)),
    ],
)
def test_between_tensors(operator: str, inputs: list[str], constant: tuple[int, ...]) -> None:
    nodes = [
        node("Tanh", ["x"], ["t"]),
        node("Neg", ["x"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node(operator, inputs, ["y"]),
    ]
    weights: dict[str, Array] = {
        "c": np.random.default_rng(0).normal(size=constant).astype(np.float32)
    }
    assert_agrees(model(nodes, shape=(2, 3), weights=weights))


def test_a_maximum_of_two_is_one_relu() -> None:
    nodes = [node("Tanh", ["x"], ["t"]), node("Max", ["x", "t"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3)))
    assert [type(entry.operator) for entry in network.graph.nodes].count(Relu) == 1


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [0], [1], [-1, 0], [0, 1, 2]])
@pytest.mark.parametrize("opset", [13, 18])
def test_along_axes(operator: str, keepdims: int, axes: list[int] | None, opset: int) -> None:
    weights: dict[str, Array] = {}
    attributes: dict[str, object] = {"keepdims": keepdims}
    inputs = ["x"]
    if axes is not None and opset < 18:
        attributes["axes"] = axes
    elif axes is not None:
        weights["axes"] = np.asarray(axes, np.int64)
        inputs.append("axes")
    data = model(
        [node(operator, inputs, ["y"], **attributes)],
        shape=(2, 3, 4),
        weights=weights,
        opset=opset,
    )
    network = assert_agrees(data)
    assert MaxPool in [type(entry.operator) for entry in network.graph.nodes]


def test_along_an_axis_of_one_value() -> None:
    network = assert_agrees(
        model([node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=0)], shape=(1, 3))
    )
    assert network.output_shape == (3,)
