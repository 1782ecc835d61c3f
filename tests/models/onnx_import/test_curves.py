"""Functions of one value against onnxruntime, in every operator set where they exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import defs

from models import ModelImportError, UnsupportedOperatorError, load_network
from models import operators as ops
from models.operators import Operator
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

NEWEST = 21
PLAIN: dict[str, Operator] = {
    "Atan": ops.Atan(),
    "Ceil": ops.Ceil(),
    "Cos": ops.Cos(),
    "Elu": ops.Elu(1.0),
    "Erf": ops.Erf(),
    "Exp": ops.Exp(),
    "Floor": ops.Floor(),
    "Gelu": ops.Gelu(),
    "HardSwish": ops.HardSwish(),
    "Mish": ops.Mish(),
    "Round": ops.Round(),
    "Sign": ops.Sign(),
    "Sin": ops.Sin(),
    "Softplus": ops.Softplus(),
    "Softsign": ops.Softsign(),
    "Abs": ops.LeakyRelu(-1.0),
}
POSITIVE: dict[str, Operator] = {
    "Log": ops.Log(),
    "Sqrt": ops.Power(0.5),
    "Reciprocal": ops.Power(-1.0),
}
SHAPE = (2, 3)


def opsets_of(*operators: str) -> list[tuple[str, int]]:
    """Return each operator with the oldest and the newest operator set that it exists in."""
    found = []
    for operator in operators:
        since = min(
            s.since_version for s in defs.get_all_schemas_with_history() if s.name == operator
        )
        found += [
            (operator, opset) for opset in sorted({max(7, since), 13, NEWEST}) if opset >= since
        ]
    return found


def last_operators(data: bytes) -> list[Operator]:
    return [entry.operator for entry in assert_agrees(data).graph.nodes[1:]]


@pytest.mark.parametrize(("operator", "opset"), opsets_of(*PLAIN))
def test_plain_functions(operator: str, opset: int) -> None:
    data = model([node(operator, ["x"], ["y"])], shape=SHAPE, opset=opset)
    assert last_operators(data) == [PLAIN[operator]]


@pytest.mark.parametrize(("operator", "opset"), opsets_of(*POSITIVE))
def test_functions_of_positive_numbers(operator: str, opset: int) -> None:
    nodes = [node("Softplus", ["x"], ["p"]), node(operator, ["p"], ["y"])]
    assert last_operators(model(nodes, shape=SHAPE, opset=opset))[1:] == [POSITIVE[operator]]


@pytest.mark.parametrize(
    ("operator", "attributes", "opset"),
    [
        ("Gelu", {"approximate": "tanh"}, 20),
        ("Swish", {}, 24),
        ("Swish", {"alpha": 1.7}, 24),
        ("Swish", {"alpha": 0.0}, 24),
        ("Elu", {"alpha": 0.3}, 13),
        ("Elu", {"alpha": 2.5}, 13),
        ("Elu", {"alpha": 0.0}, 13),
        ("Selu", {}, 13),
        ("Selu", {"alpha": 0.8, "gamma": 1.5}, 13),
        ("Celu", {}, 13),
        ("Celu", {"alpha": 0.4}, 13),
        ("HardSigmoid", {}, 13),
        ("HardSigmoid", {"alpha": 0.7, "beta": 0.2}, 13),
    ],
)
def test_functions_with_attributes(operator: str, attributes: dict[str, Any], opset: int) -> None:
    if opset > defs.onnx_opset_version():
        pytest.skip(f"the installed onnx does not know operator set {opset}")
    data = model([node(operator, ["x"], ["y"], **attributes)], shape=SHAPE, opset=opset)
    assert assert_agrees(data).trainable == set()


@pytest.mark.parametrize(
    ("operator", "attributes", "word"),
    [
        ("Elu", {"alpha": -1.0}, "alpha is -1"),
        ("Selu", {"alpha": -1.0}, "alpha is -1"),
        ("Celu", {"alpha": -2.0}, "alpha is -2"),
        ("Gelu", {"approximate": "sin"}, "approximate is 'sin'"),
    ],
)
def test_attributes_out_of_range_are_refused(
    operator: str, attributes: dict[str, Any], word: str
) -> None:
    data = model([node(operator, ["x"], ["y"], **attributes)], shape=SHAPE, opset=20)
    with pytest.raises(UnsupportedOperatorError, match=word):
        load_network(data)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.5, 1.5, -0.5])
@pytest.mark.parametrize(("opset", "kind"), [(7, np.float32), (13, np.float32), (15, np.int64)])
def test_powers(exponent: float, opset: int, kind: type) -> None:
    if kind is np.int64 and not exponent.is_integer():
        kind = np.float64
    weights: dict[str, Array] = {"p": np.asarray(exponent, kind)}
    nodes = [node("Softplus", ["x"], ["s"]), node("Pow", ["s", "p"], ["y"])]
    found = last_operators(model(nodes, shape=SHAPE, opset=opset, weights=weights))
    kinds = {0.0: [ops.Scale], 1.0: []}.get(exponent, [ops.Power])
    assert [type(operator) for operator in found[1:]] == kinds


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_whole_powers_take_negative_numbers(exponent: float) -> None:
    weights = {"p": np.full((1, 1, 1), exponent, np.float32)}
    network = assert_agrees(model([node("Pow", ["x", "p"], ["y"])], shape=SHAPE, weights=weights))
    assert network.output_shape == (1, *SHAPE)


@pytest.mark.parametrize(
    ("exponents", "error", "word"),
    [
        ([2.0, 3.0, 2.0], UnsupportedOperatorError, "not all the same"),
        ([np.inf] * 3, ModelImportError, "exponent is inf"),
    ],
)
def test_other_exponents_are_refused(
    exponents: list[float], error: type[Exception], word: str
) -> None:
    weights = {"p": np.asarray(exponents, np.float32)}
    with pytest.raises(error, match=word):
        load_network(model([node("Pow", ["x", "p"], ["y"])], shape=SHAPE, weights=weights))


def test_powers_of_a_constant_are_exponentials() -> None:
    weights = {"b": np.asarray([0.5, 2.0, 10.0], np.float32)}
    network = assert_agrees(model([node("Pow", ["b", "x"], ["y"])], shape=SHAPE, weights=weights))
    assert [type(entry.operator) for entry in network.graph.nodes[1:]] == [ops.Scale, ops.Exp]
    assert network.trainable == set()


def test_powers_of_a_negative_constant_are_refused() -> None:
    weights = {"b": np.asarray(-2.0, np.float32)}
    with pytest.raises(UnsupportedOperatorError, match="not above 0"):
        load_network(model([node("Pow", ["b", "x"], ["y"])], shape=SHAPE, weights=weights))
