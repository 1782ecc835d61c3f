"""Recurrent nodes unrolled, against onnxruntime's own loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from models import ModelImportError, UnsupportedOperatorError, load_network
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LENGTH, BATCH, INPUTS, HIDDEN = 3, 2, 3, 2
every_kind = pytest.mark.parametrize("kind", GATES)


def weight(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def weights_of(kind: str, directions: int) -> dict[str, Array]:
    gates = GATES[kind] * HIDDEN
    return {
        "w": weight(directions, gates, INPUTS),
        "r": weight(directions, gates, HIDDEN, seed=1),
        "b": weight(directions, 2 * gates, seed=2),
        "h": weight(directions, BATCH, HIDDEN, seed=3),
        "c": weight(directions, BATCH, HIDDEN, seed=4),
        "zero": np.zeros((directions, BATCH, HIDDEN), np.float32),
        "all": np.full(BATCH, LENGTH, np.int32),
        "short": np.asarray([LENGTH, LENGTH - 1], np.int32),
    }


def recurrent(
    kind: str,
    inputs: list[str],
    *,
    outputs: list[str] | None = None,
    attributes: Mapping[str, object] | None = None,
    shape: tuple[int, ...] = (LENGTH, BATCH, INPUTS),
) -> bytes:
    """Return a network of one recurrent node."""
    chosen = {"hidden_size": HIDDEN, **(attributes or {})}
    directions = 2 if chosen.get("direction") == "bidirectional" else 1
    nodes = [node(kind, inputs, outputs or ["y"], **chosen)]
    used = {name: a for name, a in weights_of(kind, directions).items() if name in inputs}
    return model(nodes, shape=shape, weights=used, opset=14)


@every_kind
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    "inputs",
    [
        ["x", "w", "r"],
        ["x", "w", "r", "b"],
        ["x", "w", "r", "b", "all", "h"],
        ["x", "w", "r", "", "", "zero"],
    ],
    ids=["plain", "biases", "state", "zeros"],
)
def test_every_hidden_state(kind: str, direction: str, inputs: list[str]) -> None:
    network = assert_agrees(recurrent(kind, inputs, attributes={"direction": direction}))
    assert network.output_shape == (LENGTH, 1 + (direction == "bidirectional"), BATCH, HIDDEN)


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_last_hidden_state(kind: str, direction: str) -> None:
    data = recurrent(
        kind, ["x", "w", "r", "b"], outputs=["", "y"], attributes={"direction": direction}
    )
    assert assert_agrees(data).output_shape[1:] == (BATCH, HIDDEN)


@pytest.mark.parametrize("outputs", [["", "y"], ["", "", "y"]], ids=["hidden", "cell"])
def test_the_last_states_of_an_lstm(outputs: list[str]) -> None:
    inputs = ["x", "w", "r", "b", "", "h", "c"]
    for direction in ("forward", "bidirectional"):
        data = recurrent("LSTM", inputs, outputs=outputs, attributes={"direction": direction})
        assert_agrees(data)


@pytest.mark.parametrize("inputs", [["x", "w", "r"], ["x", "w", "r", "b", "", "h"]])
def test_a_gru_that_resets_behind_the_product(inputs: list[str]) -> None:
    assert_agrees(recurrent("GRU", inputs, attributes={"linear_before_reset": 1}))


def test_other_activation_functions() -> None:
    functions = ["Sigmoid", "Relu", "Tanh", "Sigmoid", "Tanh", "Relu"]
    attributes = {"direction": "bidirectional", "activations": functions}
    assert_agrees(recurrent("LSTM", ["x", "w", "r", "b"], attributes=attributes))
    assert_agrees(recurrent("RNN", ["x", "w", "r"], attributes={"activations": ["Relu"]}))


def test_a_sequence_of_one() -> None:
    assert_agrees(recurrent("LSTM", ["x", "w", "r", "b"], shape=(1, BATCH, INPUTS)))


def test_a_state_that_depends_on_the_input() -> None:
    nodes = [
        node("Slice", ["x", "from", "to", "axis"], ["s"]),
        node("GRU", ["x", "w", "r", "b", "", "s"], ["y"], hidden_size=HIDDEN),
    ]
    weights = {
        "from": np.asarray([0, 0], np.int64),
        "to": np.asarray([1, HIDDEN], np.int64),
        "axis": np.asarray([0, 2], np.int64),
        **{name: a for name, a in weights_of("GRU", 1).items() if name in "wrb"},
    }
    assert_agrees(model(nodes, shape=(LENGTH, BATCH, INPUTS), weights=weights, opset=14))


@every_kind
def test_weights_stay_trainable_through_the_unrolling(kind: str) -> None:
    network = load_network(recurrent(kind, ["x", "w", "r", "b"])).to(torch.float64)
    assert network.trainable == {"w", "r", "b"}
    leaves = {name: network.parameters[name].clone().requires_grad_() for name in "wrb"}
    x = torch.randn(2, LENGTH, BATCH, INPUTS, dtype=torch.float64)
    network.with_parameters(leaves)(x).square().sum().backward()
    for leaf in leaves.values():
        assert leaf.grad is not None
        # The LSTM's forget gate alone has nothing to forget in the first step.
        assert (leaf.grad.abs().flatten(1).sum(0) > 0).any()


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "message"),
    [
        ("LSTM", ["x", "w", "r", "b", "short"], {}, "sequence_lens"),
        ("GRU", ["x", "w", "r"], {"clip": 1.0}, "clip"),
        ("RNN", ["x", "w", "r"], {"activations": ["ScaledTanh"]}, "ScaledTanh"),
        ("LSTM", ["x", "w", "r"], {"input_forget": 1}, "input_forget"),
        ("LSTM", ["x", "w", "r", "", "", "", "", "w"], {}, "peepholes"),
        ("LSTM", ["x", "w", "r"], {"layout": 1}, "layout"),
        ("GRU", ["x", "w", "r"], {"direction": "sideways"}, "direction"),
    ],
)
def test_what_is_not_supported_is_named(
    kind: str, inputs: list[str], attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        load_network(recurrent(kind, inputs, attributes=attributes))


@pytest.mark.parametrize(
    ("inputs", "attributes", "shape"),
    [
        (["x", "w", "r"], {}, (LENGTH, INPUTS)),
        (["x", "w", "h"], {}, (LENGTH, BATCH, INPUTS + 1)),
        (["x", "w", "r"], {"activations": ["Tanh"] * 5}, (LENGTH, BATCH, INPUTS)),
    ],
)
def test_what_breaks_the_rules_is_malformed(
    inputs: list[str], attributes: dict[str, object], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelImportError, match="malformed"):
        load_network(recurrent("LSTM", inputs, attributes=attributes, shape=shape))
