"""Products that are one function of one value, in the forms that exporters write."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto

from models import Network
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

SHAPE = (2, 3)
ROOT = float(np.float32(math.sqrt(2)))


def numbers(**values: float) -> dict[str, Array]:
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def imported(nodes: Sequence[NodeProto], weights: dict[str, Array]) -> Network:
    return assert_agrees(model(nodes, shape=SHAPE, weights=weights))


def kinds(network: Network) -> list[str]:
    """Return the operators but for scaling and the input."""
    names = [type(entry.operator).__name__ for entry in network.graph.nodes]
    return [name for name in names if name not in ("Scale", "Input")]


def gelu(order: tuple[str, str]) -> list[NodeProto]:
    """Return x · (1 + erf(x / √2)) / 2 with the half on one factor or behind."""
    before = "h" in order
    return [
        node("Div", ["x", "root"], ["z"]),
        node("Erf", ["z"], ["e"]),
        node("Add", ["one", "e"], ["g"]),
        node("Mul", ["x", "half"], ["h"]),
        node("Mul", list(order), ["y" if before else "p"]),
        *([] if before else [node("Mul", ["p", "half"], ["y"])]),
    ]


@pytest.mark.parametrize("order", [("x", "g"), ("g", "x"), ("h", "g"), ("g", "h")])
def test_gelu(order: tuple[str, str]) -> None:
    network = imported(gelu(order), numbers(root=ROOT, one=1, half=0.5))
    assert kinds(network) == ["Gelu"]
    # Numbers that the import used up are no parameters any more.
    assert network.trainable == ({"half"} if "h" not in order else set())
    # Both √2 are roundings of the same number, so that half a unit of float32 lies between them.
    x = torch.linspace(-3, 3, 6, dtype=torch.float64).reshape(1, 2, 3)
    expected = x * 0.5 * (1 + torch.erf(x / ROOT))
    torch.testing.assert_close(network.to(torch.float64)(x), expected, rtol=1e-6, atol=1e-8)


@given(
    factor=st.floats(-3, 3).filter(lambda k: abs(k) > 0.05),
    gain=st.floats(-2, 2).filter(lambda k: abs(k) > 0.05),
)
def test_any_scaling_of_a_gate(factor: float, gain: float) -> None:
    for gate, expected in (("Sigmoid", "Silu"), ("Erf", "Gelu")):
        nodes = [
            node("Mul", ["x", "k"], ["z"]),
            node(gate, ["z"], ["g"]),
            *([node("Add", ["g", "one"], ["a"])] if gate == "Erf" else []),
            node("Mul", ["x", "c"], ["s"]),
            node("Mul", ["s", "a" if gate == "Erf" else "g"], ["y"]),
        ]
        network = imported(nodes, numbers(k=factor, c=gain, one=1))
        assert kinds(network) == [expected]


def test_silu_of_a_scaled_value() -> None:
    """The gate may read the value before or behind a scaling, also a shifted one."""
    nodes = [
        node("Add", ["x", "c"], ["s"]),
        node("Sigmoid", ["s"], ["g"]),
        node("Mul", ["g", "s"], ["y"]),
    ]
    assert kinds(imported(nodes, numbers(c=0.7))) == ["Silu"]


def test_mish_hard_swish_and_softsign() -> None:
    mish = [
        node("Softplus", ["x"], ["s"]),
        node("Tanh", ["s"], ["t"]),
        node("Mul", ["x", "t"], ["y"]),
    ]
    assert kinds(imported(mish, {})) == ["Mish"]
    hard_swish = [
        node("Add", ["x", "three"], ["s"]),
        node("Clip", ["s", "zero", "six"], ["c"]),
        node("Mul", ["x", "c"], ["p"]),
        node("Div", ["p", "six"], ["y"]),
    ]
    assert kinds(imported(hard_swish, numbers(three=3, six=6, zero=0))) == ["HardSwish"]
    softsign = [
        node("Abs", ["x"], ["a"]),
        node("Add", ["a", "two"], ["b"]),
        node("Div", ["x", "b"], ["y"]),
    ]
    assert kinds(imported(softsign, numbers(two=2))) == ["Softsign"]


@pytest.mark.parametrize("cubic", [0.044715, 0.05])
def test_gelu_by_tanh(cubic: float) -> None:
    nodes = [
        node("Pow", ["x", "three"], ["q"]),
        node("Mul", ["q", "cubic"], ["c"]),
        node("Add", ["x", "c"], ["s"]),
        node("Mul", ["s", "scale"], ["z"]),
        node("Tanh", ["z"], ["t"]),
        node("Add", ["t", "one"], ["g"]),
        node("Mul", ["x", "half"], ["h"]),
        node("Mul", ["h", "g"], ["y"]),
    ]
    weights = numbers(three=3, cubic=cubic, scale=math.sqrt(2 / math.pi), one=1, half=0.5)
    found = kinds(imported(nodes, weights))
    # Bends and turns are known for the usual constant only; another stays a product.
    assert found == (["TanhGelu"] if cubic == 0.044715 else found)
    assert ("Multiply" in found) == (cubic != 0.044715)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Add", ["x", "c"], ["s"]), node("Sigmoid", ["s"], ["g"])], numbers(c=0.5)),
        ([node("Sigmoid", ["x"], ["s"]), node("Add", ["s", "c"], ["g"])], numbers(c=0.5)),
        ([node("Erf", ["x"], ["s"]), node("Add", ["s", "c"], ["g"])], numbers(c=0.5)),
        ([node("Tanh", ["x"], ["g"])], {}),
        ([node("Clip", ["x", "c", "d"], ["g"])], numbers(c=0, d=1)),
        ([node("Mul", ["x", "c"], ["s"]), node("Sigmoid", ["s"], ["g"])], {"c": np.ones(3) / 2}),
        (
            [node("Neg", ["x"], ["s"]), node("Softplus", ["s"], ["t"]), node("Tanh", ["t"], ["g"])],
            {},
        ),
    ],
)
def test_other_products_stay_products(nodes: list[NodeProto], weights: dict[str, Array]) -> None:
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    assert "Multiply" in kinds(imported([*nodes, node("Mul", ["x", "g"], ["y"])], weights))
