"""Pools, with all their ways of padding and rounding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.operators import AveragePool, Pad
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import model, node

GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]},
    {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 2], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("attributes", GEOMETRIES)
def test_max_pool(attributes: dict[str, Any]) -> None:
    assert_agrees(model([node("MaxPool", ["x"], ["y"], **attributes)], shape=(1, 2, 7, 5)))


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("attributes", GEOMETRIES)
def test_average_pool(attributes: dict[str, Any], include: int) -> None:
    nodes = [node("AveragePool", ["x"], ["y"], count_include_pad=include, **attributes)]
    assert_agrees(model(nodes, shape=(1, 2, 7, 5), opset=19))


@pytest.mark.parametrize("shape", [(1, 2, 6), (1, 2, 4, 5, 4)])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_other_ranks(operator: str, shape: tuple[int, ...]) -> None:
    attributes = {"kernel_shape": [2] * (len(shape) - 2), "strides": [2] * (len(shape) - 2)}
    assert_agrees(model([node(operator, ["x"], ["y"], **attributes)], shape=shape))


def test_dilated_max_pool() -> None:
    attributes = {"kernel_shape": [2, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}
    assert_agrees(model([node("MaxPool", ["x"], ["y"], **attributes)], shape=(1, 2, 7, 6)))


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(1, 2, 5), (2, 3, 4, 5), (1, 2, 2, 3, 2)])
def test_global_pools(operator: str, shape: tuple[int, ...]) -> None:
    network = assert_agrees(model([node(operator, ["x"], ["y"])], shape=shape))
    assert network.output_shape == (*shape[:2], *(1,) * (len(shape) - 2))


@given(
    operator=st.sampled_from(["MaxPool", "AveragePool"]),
    size=st.integers(1, 8),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ceil_mode=st.integers(0, 1),
    include=st.integers(0, 1),
)
def test_pool_geometry_in_one_dimension(
    operator: str,
    size: int,
    kernel: int,
    stride: int,
    pads: tuple[int, int],
    ceil_mode: int,
    include: int,
) -> None:
    assume(max(pads) < kernel <= size + sum(pads))  # onnxruntime refuses wider padding
    attributes: dict[str, Any] = {
        "kernel_shape": [kernel],
        "strides": [stride],
        "pads": list(pads),
        "ceil_mode": ceil_mode,
    }
    if operator == "AveragePool":
        attributes["count_include_pad"] = include
    nodes = [node(operator, ["x"], ["y"], **attributes)]
    assert_agrees(model(nodes, shape=(1, 1, size), opset=19))


def test_counted_symmetric_padding_stays_in_the_operator() -> None:
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    network = assert_agrees(
        model([node("AveragePool", ["x"], ["y"], **attributes)], shape=(1, 1, 4, 4))
    )
    assert isinstance(network.graph.node("y").operator, AveragePool)
    assert not any(isinstance(entry.operator, Pad) for entry in network.graph.nodes)


def test_dilated_average_pool_is_refused() -> None:
    nodes = [node("AveragePool", ["x"], ["y"], kernel_shape=[2], dilations=[2])]
    with pytest.raises(UnsupportedOperatorError, match="dilations"):
        load_network(model(nodes, shape=(1, 1, 6), opset=19))


def test_the_indices_of_max_pool_are_refused() -> None:
    nodes = [node("MaxPool", ["x"], ["m", "y"], kernel_shape=[2])]
    with pytest.raises(UnsupportedOperatorError, match="output 1"):
        load_network(model(nodes, shape=(1, 1, 4)))


def test_a_pool_without_a_kernel_is_malformed() -> None:
    with pytest.raises(ModelImportError, match="kernel_shape is missing"):
        load_network(model([node("MaxPool", ["x"], ["y"])], shape=(1, 1, 4)))
