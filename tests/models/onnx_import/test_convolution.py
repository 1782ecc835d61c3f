"""Conv, ConvTranspose and BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import ModelImportError, UnsupportedOperatorError, load_network
from models.operators import BatchNormalization, Pad, Take
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


def weight(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((1, 2, 7), (3, 2, 3), {}),
        ((1, 2, 7), (3, 2, 3), {"strides": [2], "pads": [1, 0], "dilations": [2]}),
        ((1, 2, 6, 5), (3, 2, 3, 2), {"strides": [2, 1], "pads": [1, 0, 1, 0]}),
        ((1, 2, 6, 5), (3, 2, 3, 2), {"pads": [0, 1, 2, 0]}),
        ((1, 4, 6, 5), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
        ((1, 4, 6, 5), (4, 1, 3, 3), {"group": 4, "strides": [2, 2]}),
        ((1, 2, 9, 9), (3, 2, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        ((2, 2, 6, 5), (3, 2, 1, 1), {"kernel_shape": [1, 1]}),
        ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"strides": [1, 2, 1], "pads": [0, 1, 0, 1, 1, 0]}),
        ((1, 2, 6, 5), (3, 2, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 2, 6, 5), (3, 2, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ((1, 2, 6, 5), (3, 2, 2, 2), {"auto_pad": "SAME_LOWER"}),
        ((1, 2, 6, 5), (3, 2, 3, 2), {"auto_pad": "VALID"}),
    ],
)
def test_conv(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]) -> None:
    weights = {"w": weight(*kernel), "b": weight(kernel[0], seed=1)}
    data = model([node("Conv", ["x", "w", "b"], ["y"], **attributes)], shape=shape, weights=weights)
    network = assert_agrees(data)
    assert network.trainable == {"w", "b"}


def test_symmetric_padding_needs_no_pad_node() -> None:
    data = model(
        [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        shape=(1, 1, 4, 4),
        weights={"w": weight(2, 1, 3, 3)},
    )
    assert not any(isinstance(entry.operator, Pad) for entry in assert_agrees(data).graph.nodes)


@pytest.mark.parametrize(
    ("kernel", "attributes", "message"),
    [
        ((2, 1, 3, 3), {"kernel_shape": [2, 2]}, "does not fit"),
        ((2, 1, 3, 3), {"strides": [1]}, "strides"),
        ((2, 1, 3, 3), {"pads": [1, 1]}, "pads"),
        ((2, 1, 9, 9), {}, "do not fit"),
        ((2, 1, 3, 3), {"pads": [-1, 0, 0, 0]}, "negative padding"),
        ((2, 1, 3, 3), {"auto_pad": "SOMEHOW"}, "auto_pad"),
        ((2, 3, 3, 3), {}, "malformed"),
    ],
)
def test_contradictions_in_conv(
    kernel: tuple[int, ...], attributes: dict[str, Any], message: str
) -> None:
    data = model(
        [node("Conv", ["x", "w"], ["y"], **attributes)],
        shape=(1, 1, 4, 4),
        weights={"w": weight(*kernel)},
    )
    with pytest.raises(ModelImportError, match=message):
        load_network(data)


def test_a_kernel_that_is_computed_is_refused() -> None:
    data = model([node("Conv", ["x", "x"], ["y"])], shape=(1, 1, 4, 4))
    with pytest.raises(UnsupportedOperatorError, match="expected a constant"):
        load_network(data)


def test_four_spatial_axes_are_refused() -> None:
    data = model(
        [node("Conv", ["x", "w"], ["y"])],
        shape=(1, 1, 2, 2, 2, 2),
        weights={"w": weight(1, 1, 1, 1, 1, 1)},
    )
    with pytest.raises(UnsupportedOperatorError, match="6 axes"):
        load_network(data)


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((1, 2, 5), (2, 3, 3), {}),
        ((1, 2, 5), (2, 3, 4), {"strides": [3], "pads": [1, 2], "output_padding": [1]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 0, 0]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "pads": [0, 0, 1, 2]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
        ((1, 2, 4, 3), (2, 3, 2, 2), {"dilations": [2, 1], "strides": [1, 2]}),
        ((1, 4, 4, 3), (4, 3, 2, 2), {"group": 2}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "output_shape": [8, 6]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "output_shape": [7, 7]}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [3, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [3, 2], "auto_pad": "SAME_LOWER"}),
        ((1, 2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "auto_pad": "VALID"}),
        ((1, 2, 3, 3, 2), (2, 2, 2, 2, 2), {"strides": [2, 1, 2]}),
    ],
)
def test_conv_transpose(
    shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    outputs = kernel[1] * attributes.get("group", 1)
    weights = {"w": weight(*kernel), "b": weight(outputs, seed=1)}
    nodes = [node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)]
    network = assert_agrees(model(nodes, shape=shape, weights=weights, opset=11))
    assert network.trainable == {"w", "b"}


def test_asymmetric_cropping_of_a_transposed_convolution_selects() -> None:
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], pads=[0, 0, 2, 2], strides=[1, 1])]
    network = assert_agrees(model(nodes, shape=(1, 1, 4, 4), weights={"w": weight(1, 1, 3, 3)}))
    assert any(isinstance(entry.operator, Take) for entry in network.graph.nodes)


@given(
    size=st.integers(1, 6),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
)
def test_conv_geometry_in_one_dimension(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> None:
    if size + before + after < dilation * (kernel - 1) + 1:
        return
    attributes = {"strides": [stride], "dilations": [dilation], "pads": [before, after]}
    nodes = [node("Conv", ["x", "w"], ["y"], **attributes)]
    assert_agrees(model(nodes, shape=(1, 1, size), weights={"w": weight(1, 1, kernel)}))


@given(
    size=st.integers(1, 5),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    extra=st.integers(0, 2),
)
def test_conv_transpose_geometry_in_one_dimension(
    size: int, kernel: int, stride: int, before: int, after: int, extra: int
) -> None:
    length = stride * (size - 1) + kernel + extra - before - after
    if length < 1 or extra >= stride or before >= stride * (size - 1) + kernel:
        return
    attributes = {"strides": [stride], "pads": [before, after], "output_padding": [extra]}
    nodes = [node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)]
    weights = {"w": weight(1, 1, kernel), "b": weight(1, seed=1)}
    assert_agrees(model(nodes, shape=(1, 1, size), weights=weights))


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("shape", [(1, 3), (2, 3, 4), (1, 3, 2, 2), (1, 3, 2, 1, 2)])
def test_batch_normalization(shape: tuple[int, ...], opset: int) -> None:
    generator = np.random.default_rng(0)
    weights = {
        "s": weight(3),
        "b": weight(3, seed=1),
        "m": weight(3, seed=2),
        "v": generator.uniform(0.1, 2.0, 3).astype(np.float32),
    }
    nodes = [node("BatchNormalization", ["x", *weights], ["y"], epsilon=0.01)]
    network = assert_agrees(model(nodes, shape=shape, weights=weights, opset=opset))
    assert isinstance(network.graph.node("y").operator, BatchNormalization)
    assert network.trainable == set(weights)


def test_batch_normalization_in_training_mode_is_refused() -> None:
    weights = {key: np.ones(3, np.float32) for key in "sbmv"}
    nodes = [node("BatchNormalization", ["x", *weights], ["y"], training_mode=1)]
    with pytest.raises(UnsupportedOperatorError, match="training_mode"):
        load_network(model(nodes, shape=(1, 3), weights=weights, opset=14))
