"""Sums and means, and resizing by nearest neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import ModelImportError, UnsupportedOperatorError, load_network
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import model, node


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [1], [0, 2], [-1], [0, 1, 2]])
@pytest.mark.parametrize(
    ("operator", "opset"),
    [("ReduceSum", 11), ("ReduceSum", 13), ("ReduceMean", 13), ("ReduceMean", 18)],
)
def test_reductions(operator: str, opset: int, axes: list[int] | None, keepdims: int) -> None:
    as_input = opset >= (13 if operator == "ReduceSum" else 18)
    attributes: dict[str, Any] = {"keepdims": keepdims}
    weights = {}
    if axes is not None and as_input:
        weights["axes"] = np.asarray(axes, dtype=np.int64)
    elif axes is not None:
        attributes["axes"] = axes
    nodes = [node(operator, ["x", *weights], ["y"], **attributes)]
    assert_agrees(model(nodes, shape=(2, 3, 4), weights=weights, opset=opset))


@pytest.mark.parametrize("noop", [0, 1])
@pytest.mark.parametrize("operator", ["ReduceSum", "ReduceMean"])
def test_empty_axes(operator: str, noop: int) -> None:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node(operator, ["r", "axes"], ["y"], noop_with_empty_axes=noop),
    ]
    weights = {"axes": np.zeros(0, dtype=np.int64)}
    network = assert_agrees(model(nodes, shape=(2, 3), weights=weights, opset=18))
    assert network.output_shape == ((2, 3) if noop else (1, 1))


def test_other_reductions_are_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="ReduceProd"):
        load_network(model([node("ReduceProd", ["x"], ["y"])], shape=(2, 3)))


@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(opset: int) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        nodes, weights = [node("Upsample", ["x"], ["y"], scales=scales)], {}
    else:
        nodes = [node("Upsample", ["x", "s"], ["y"])]
        weights = {"s": np.asarray(scales, np.float32)}
    network = assert_agrees(model(nodes, shape=(1, 2, 2, 3), weights=weights, opset=opset))
    assert network.output_shape == (1, 2, 4, 9)
    assert network.trainable == set()


def test_resize_of_opset_10() -> None:
    weights = {"s": np.asarray([1, 1, 1.5], np.float32)}
    assert_agrees(
        model([node("Resize", ["x", "s"], ["y"])], shape=(1, 2, 4), weights=weights, opset=10)
    )


@given(
    coordinates=st.sampled_from(
        ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
    ),
    rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    old=st.integers(1, 5),
    new=st.integers(1, 9),
)
def test_resize_to_a_size(coordinates: str, rounding: str, old: int, new: int) -> None:
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    weights = {"s": np.asarray([1, 1, 2, new], dtype=np.int64)}
    nodes = [node("Resize", ["x", "", "", "s"], ["y"], mode="nearest", **attributes)]
    assert_agrees(model(nodes, shape=(1, 1, 2, old), weights=weights))


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_resize_by_a_scale(scale: float) -> None:
    weights = {"s": np.asarray([1, 1, scale, 1], np.float32)}
    nodes = [node("Resize", ["x", "", "s"], ["y"], mode="nearest")]
    assert_agrees(model(nodes, shape=(1, 1, 4, 3), weights=weights))


@given(
    coordinates=st.sampled_from(
        ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
    ),
    old=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    new=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_linear_resize_to_a_size(
    coordinates: str, old: tuple[int, int], new: tuple[int, int]
) -> None:
    weights = {"s": np.asarray([1, 2, *new], dtype=np.int64)}
    attributes = {"coordinate_transformation_mode": coordinates}
    nodes = [node("Resize", ["x", "", "", "s"], ["y"], mode="linear", **attributes)]
    network = assert_agrees(model(nodes, shape=(1, 2, *old), weights=weights))
    assert network.trainable == set()
    assert (len(network.graph.nodes) == 1) == (old == new)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_linear_resize_by_a_scale(scale: float, rank: int) -> None:
    weights = {"s": np.asarray([1, 1, *(scale,) * (rank - 2)], np.float32)}
    nodes = [node("Resize", ["x", "", "s"], ["y"], mode="linear")]
    assert_agrees(model(nodes, shape=(1, 1, *(4, 2, 6)[: rank - 2]), weights=weights))


@pytest.mark.parametrize("opset", [7, 9, 10])
def test_linear_upsampling_of_older_opsets(opset: int) -> None:
    scales = np.asarray([1, 1, 2, 3], np.float32)
    if opset < 9:
        nodes = [node("Upsample", ["x"], ["y"], mode="linear", scales=scales.tolist())]
        data = model(nodes, shape=(1, 2, 3, 2), opset=opset)
    else:
        operator = "Upsample" if opset == 9 else "Resize"
        nodes = [node(operator, ["x", "s"], ["y"], mode="linear")]
        data = model(nodes, shape=(1, 2, 3, 2), opset=opset, weights={"s": scales})
    assert_agrees(data)


def test_cubic_interpolation_is_refused() -> None:
    weights = {"s": np.asarray([1, 1, 2, 2], np.float32)}
    nodes = [node("Resize", ["x", "", "s"], ["y"], mode="cubic")]
    with pytest.raises(UnsupportedOperatorError, match="cubic"):
        load_network(model(nodes, shape=(1, 1, 2, 2), weights=weights))


def test_a_resize_to_nothing_is_malformed() -> None:
    weights = {"s": np.asarray([1, 1, 0.1], np.float32)}
    nodes = [node("Resize", ["x", "", "s"], ["y"], mode="nearest")]
    with pytest.raises(ModelImportError, match="cannot be resized"):
        load_network(model(nodes, shape=(1, 1, 4), weights=weights))
