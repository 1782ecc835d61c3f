"""Softmax between other operators, and normalisations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import UnsupportedOperatorError, load_network
from models.operators import Clip, Softmax
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


def weight(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, -2])
def test_softmax_in_the_middle(operator: str, opset: int, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    nodes = [node(operator, ["x"], ["p"], **attributes), node("Tanh", ["p"], ["y"])]
    network = assert_agrees(model(nodes, shape=(2, 3, 4), opset=opset))
    assert Softmax in [type(entry.operator) for entry in network.graph.nodes]
    assert not network.notes


def test_a_softmax_at_the_end_is_still_dropped() -> None:
    nodes = [
        node("Softmax", ["x"], ["p"]),
        node("MatMul", ["p", "w"], ["z"]),
        node("Softmax", ["z"], ["y"]),
    ]
    network = load_network(model(nodes, shape=(1, 3), weights={"w": weight(3, 4)}))
    assert [type(entry.operator) for entry in network.graph.nodes].count(Softmax) == 1
    assert any("dropped" in text for text in network.notes)


@pytest.mark.parametrize("axis", [None, 1, -2])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_normalization(axis: int | None, bias: bool) -> None:
    attributes: dict[str, float] = {"epsilon": 1e-3}
    if axis is not None:
        attributes["axis"] = axis
    shape = (4,) if axis is None else (3, 4)
    weights = {"s": weight(*shape), "b": weight(*shape, seed=1)}
    inputs = ["x", "s", "b"] if bias else ["x", "s"]
    data = model(
        [node("LayerNormalization", inputs, ["y"], **attributes)],
        shape=(2, 3, 4),
        weights=weights,
        opset=17,
    )
    network = assert_agrees(data)
    assert network.trainable == set(inputs[1:])


def test_the_clip_behind_a_normalisation_changes_nothing() -> None:
    weights = {"s": np.ones(5, np.float32)}
    data = model(
        [node("LayerNormalization", ["x", "s"], ["y"])], shape=(1, 5), weights=weights, opset=17
    )
    network = load_network(data)
    clips = [e for e in network.graph.nodes if isinstance(e.operator, Clip)]
    assert len(clips) == 1
    # One entry far from the others is where a normalised value is largest.
    x = torch.zeros(2, 1, 5, dtype=torch.float64)
    x[:, 0, 2] = torch.tensor([1e6, -1e6], dtype=torch.float64)
    values = network.to(torch.float64).graph.evaluate(x, network.to(torch.float64).parameters)
    before, after = values[clips[0].inputs[0]], values[clips[0].name]
    assert before.abs().max() > 0.99 * 2.0
    assert torch.equal(before, after)


def test_the_mean_that_layer_normalization_also_gives_is_refused_where_it_is_used() -> None:
    nodes = [
        node("LayerNormalization", ["x", "s"], ["n", "m"]),
        node("Add", ["n", "m"], ["y"]),
    ]
    data = model(nodes, shape=(2, 3), weights={"s": weight(3)}, opset=17)
    with pytest.raises(UnsupportedOperatorError, match="output 1"):
        load_network(data)


@pytest.mark.parametrize("shape", [(1, 2, 5), (2, 3, 2, 4)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    weights = {"s": weight(shape[1]), "b": weight(shape[1], seed=1)}
    data = model(
        [node("InstanceNormalization", ["x", "s", "b"], ["y"])], shape=shape, weights=weights
    )
    network = assert_agrees(data)
    assert network.trainable == {"s", "b"}


def test_a_normalisation_written_out_by_hand() -> None:
    """Exporters wrote it like this before there was an operator for it."""
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[-1]),
        node("Sub", ["x", "m"], ["d"]),
        node("Pow", ["d", "two"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=[-1]),
        node("Add", ["v", "e"], ["w"]),
        node("Sqrt", ["w"], ["r"]),
        node("Div", ["d", "r"], ["y"]),
    ]
    weights = {"two": np.asarray(2, np.float32), "e": np.asarray(1e-5, np.float32)}
    assert_agrees(model(nodes, shape=(2, 3, 4), weights=weights))
