"""Where, and the comparisons that it reads."""

from __future__ import annotations

import numpy as np
import pytest

from models import ModelImportError, UnsupportedOperatorError, load_network
from models import operators as ops
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

SHAPE = (2, 3)
CONDITION = np.asarray([True, False, True])
NUMBERS = np.asarray([[0.5, -np.inf, 2.0]], np.float32)


@pytest.mark.parametrize("opset", [9, 16])
@pytest.mark.parametrize("sides", [("x", "r"), ("x", "n"), ("m", "r"), ("x", "x")])
def test_a_constant_condition(sides: tuple[str, str], opset: int) -> None:
    # What the condition passes over may be infinite.
    weights: dict[str, Array] = {
        "c": CONDITION,
        "n": np.asarray([[np.inf, 3.0, np.inf]], np.float32),
        "m": np.asarray([[3.0, np.inf, 1.0]], np.float32),
    }
    nodes = [node("Relu", ["x"], ["r"]), node("Where", ["c", *sides], ["y"])]
    network = assert_agrees(model(nodes, shape=SHAPE, opset=opset, weights=weights))
    assert not any(isinstance(entry.operator, ops.Multiply) for entry in network.graph.nodes)
    assert network.trainable == set()


@pytest.mark.parametrize("condition", [np.ones(3, bool), np.ones((4, 1, 1), bool)])
def test_a_condition_that_always_holds(condition: Array) -> None:
    nodes = [node("Where", ["c", "x", "n"], ["y"])]
    weights = {"c": condition, "n": np.zeros(3, np.float32)}
    network = assert_agrees(model(nodes, shape=SHAPE, weights=weights))
    assert not any(isinstance(entry.operator, ops.Scale) for entry in network.graph.nodes)


def test_infinite_numbers_in_the_result_are_refused() -> None:
    weights = {"c": CONDITION, "n": NUMBERS}
    with pytest.raises(UnsupportedOperatorError, match="infinite"):
        load_network(model([node("Where", ["c", "x", "n"], ["y"])], shape=SHAPE, weights=weights))


COMPARISONS = ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]


@pytest.mark.parametrize("operator", COMPARISONS)
@pytest.mark.parametrize("right", ["n", "r"])
def test_a_condition_that_depends_on_the_input(operator: str, right: str) -> None:
    nodes = [
        node("Sigmoid", ["x"], ["r"]),
        node(operator, ["x", right], ["c"]),
        node("Where", ["c", "x", "n"], ["y"]),
    ]
    weights = {"n": np.asarray([0.1, -0.2, 0.3], np.float32)}
    network = assert_agrees(model(nodes, shape=SHAPE, opset=16, weights=weights))
    assert any(isinstance(entry.operator, ops.Positive) for entry in network.graph.nodes)


@pytest.mark.parametrize("operator", COMPARISONS)
def test_ties(operator: str) -> None:
    """Equal numbers count for the inclusive comparisons alone."""
    nodes = [
        node("Mul", ["x", "n"], ["z"]),
        node(operator, ["z", "n"], ["c"]),
        node("Where", ["c", "x", "n"], ["y"]),
    ]
    weights = {"n": np.zeros(3, np.float32)}
    assert_agrees(model(nodes, shape=SHAPE, opset=16, weights=weights))


def guarded(threshold: float, beta: float, gain: float) -> bytes:
    nodes = [
        node("Mul", ["x", "beta"], ["z"]),
        node("Softplus", ["z"], ["p"]),
        node("Mul", ["p", "gain"], ["q"]),
        node("Greater", ["z", "threshold"], ["c"]),
        node("Where", ["c", "x", "q"], ["y"]),
    ]
    values = {"beta": beta, "gain": gain, "threshold": threshold}
    weights = {name: np.asarray(value, np.float32) for name, value in values.items()}
    return model(nodes, shape=SHAPE, opset=16, weights=weights)


@pytest.mark.parametrize("beta", [1.0, 2.0, 0.5])
def test_softplus_with_a_threshold(beta: float) -> None:
    network = assert_agrees(guarded(20.0, beta, 1 / beta))
    kinds = {type(entry.operator) for entry in network.graph.nodes}
    assert kinds == {ops.Input, ops.Scale, ops.Softplus}
    assert len(network.notes) == 1
    assert "less than 2e-09" in network.notes[0] or beta != 1.0


@pytest.mark.parametrize(("threshold", "beta", "gain"), [(1.0, 1.0, 1.0), (20.0, 2.0, 1.0)])
def test_what_is_not_softplus_beyond_its_threshold(
    threshold: float, beta: float, gain: float
) -> None:
    network = assert_agrees(guarded(threshold, beta, gain))
    assert any(isinstance(entry.operator, ops.Multiply) for entry in network.graph.nodes)
    assert network.notes == ()


def test_a_missing_side_is_malformed() -> None:
    with pytest.raises(ModelImportError, match="n_y"):
        load_network(
            model([node("Where", ["c", "x"], ["y"])], shape=SHAPE, weights={"c": CONDITION})
        )
