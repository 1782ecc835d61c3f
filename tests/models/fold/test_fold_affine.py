"""Folding: the same function in float64, with fewer operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto

from models import Network, fold_affine, load_network
from models.network import Normalization
from models.operators import (
    BatchNormalization,
    Convolution,
    ConvolutionTranspose,
    Input,
    Linear,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from tests.helpers.networks import Array, cnn, mlp, model, node, resnet


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def statistics(channels: int) -> dict[str, Array]:
    return {
        "s": normal(channels, seed=1),
        "b": normal(channels, seed=2),
        "m": normal(channels, seed=3),
        "v": np.random.default_rng(4).uniform(0.2, 2.0, channels).astype(np.float32),
    }


def assert_folds(network: Network, *expected: type[Operator]) -> Network:
    """Fold in float64, compare outputs to 1e-9, and check which operators are left."""
    exact = network.to(torch.float64)
    folded = fold_affine(exact)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, *network.input_shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        folded(x).reshape(4, -1), exact(x).reshape(4, -1), rtol=1e-9, atol=1e-9
    )
    left = [type(entry.operator) for entry in folded.graph.nodes]
    if expected:
        assert left == [Input, *expected]
    used = {ref.name for entry in folded.graph.nodes for ref in entry.operator.references()}
    assert set(folded.parameters) == used
    assert folded.trainable <= used
    return folded


def network(nodes: Sequence[NodeProto], shape: Sequence[int], weights: dict[str, Array]) -> Network:
    return load_network(model(nodes, shape=shape, weights=weights))


BN = node("BatchNormalization", ["z", "s", "b", "m", "v"], ["y"])
BN_FIRST = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["z"])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalization_behind_a_convolution(bias: bool, groups: int) -> None:
    weights = {"w": normal(4, 2 // groups, 3, 3), "c": normal(4), **statistics(4)}
    inputs = ["x", "w", "c"] if bias else ["x", "w"]
    nodes = [node("Conv", inputs, ["z"], pads=[1, 1, 1, 1], group=groups), BN]
    assert_folds(network(nodes, (1, 2, 5, 5), weights), Convolution)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalization_behind_a_transposed_convolution(bias: bool, groups: int) -> None:
    weights = {"w": normal(2, 4 // groups, 3, 3), "c": normal(4), **statistics(4)}
    inputs = ["x", "w", "c"] if bias else ["x", "w"]
    nodes = [node("ConvTranspose", inputs, ["z"], strides=[2, 2], group=groups), BN]
    assert_folds(network(nodes, (1, 2, 3, 3), weights), ConvolutionTranspose)


def test_batch_normalization_behind_a_linear_layer() -> None:
    weights = {"w": normal(3, 4), **statistics(4)}
    assert_folds(network([node("Gemm", ["x", "w"], ["z"]), BN], (1, 3), weights), Linear)


def test_batch_normalization_over_an_axis_that_the_linear_layer_does_not_map() -> None:
    weights = {"w": normal(3, 5), **statistics(4)}
    nodes = [node("MatMul", ["x", "w"], ["z"]), BN]
    assert_folds(network(nodes, (1, 4, 3), weights), Linear, BatchNormalization)


def test_batch_normalization_before_a_linear_layer() -> None:
    weights = {"w": normal(4, 3), "c": normal(3), **statistics(4)}
    nodes = [BN_FIRST, node("Gemm", ["z", "w", "c"], ["y"])]
    assert_folds(network(nodes, (1, 4), weights), Linear)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalization_before_an_unpadded_convolution(bias: bool, groups: int) -> None:
    weights = {"w": normal(6, 4 // groups, 2, 2), "c": normal(6), **statistics(4)}
    inputs = ["z", "w", "c"] if bias else ["z", "w"]
    nodes = [BN_FIRST, node("Conv", inputs, ["y"], group=groups)]
    assert_folds(network(nodes, (1, 4, 4, 4), weights), Convolution)


def test_batch_normalization_before_a_padded_convolution_stays() -> None:
    weights = {"w": normal(6, 4, 2, 2), **statistics(4)}
    nodes = [BN_FIRST, node("Conv", ["z", "w"], ["y"], pads=[1, 1, 1, 1])]
    assert_folds(network(nodes, (1, 4, 4, 4), weights), BatchNormalization, Convolution)


@pytest.mark.parametrize(
    ("operator", "kernel", "expected"),
    [
        ("Conv", (6, 4, 2, 2), Convolution),
        ("ConvTranspose", (4, 6, 2, 2), ConvolutionTranspose),
    ],
)
def test_a_factor_alone_goes_into_what_follows(
    operator: str, kernel: tuple[int, ...], expected: type[Operator]
) -> None:
    weights = {"w": normal(*kernel), "f": normal(4, 1, 1)}
    nodes = [
        node("Mul", ["x", "f"], ["z"]),
        node(operator, ["z", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    assert_folds(network(nodes, (1, 4, 4, 4), weights), expected)


def test_an_offset_before_a_transposed_convolution_stays() -> None:
    weights = {"w": normal(4, 6, 2, 2), "f": normal(4, 1, 1)}
    nodes = [node("Add", ["x", "f"], ["z"]), node("ConvTranspose", ["z", "w"], ["y"])]
    assert_folds(network(nodes, (1, 4, 4, 4), weights), Scale, ConvolutionTranspose)


def test_a_scale_per_pixel_stays() -> None:
    weights = {"w": normal(2, 1, 1, 1), "f": normal(1, 3, 3)}
    nodes = [node("Conv", ["x", "w"], ["z"]), node("Mul", ["z", "f"], ["y"])]
    assert_folds(network(nodes, (1, 1, 3, 3), weights), Convolution, Scale)


def test_a_bias_in_a_node_of_its_own_leaves_the_weight_trainable() -> None:
    weights = {"w": normal(3, 4), "c": normal(4), "d": normal(4, seed=1)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "c"], ["z"]),
        node("Sub", ["z", "d"], ["y"]),
    ]
    folded = assert_folds(network(nodes, (1, 3), weights), Linear)
    assert folded.trainable == {"w"}


def test_a_chain_of_scales_becomes_one() -> None:
    weights = {"a": normal(3), "f": normal(1, 3), "g": normal(1)}
    nodes = [
        node("Sub", ["x", "a"], ["p"]),
        node("Mul", ["p", "f"], ["q"]),
        node("Mul", ["q", "g"], ["r"]),
        node("Add", ["r", "a"], ["y"]),
    ]
    assert_folds(network(nodes, (1, 3), weights), Scale)


def test_a_normalisation_goes_through_the_flattening() -> None:
    weights = {"w": normal(18, 3), "m": normal(2, 1, 1), "d": np.full((1,), 0.25, np.float32)}
    nodes = [
        node("Sub", ["x", "m"], ["p"]),
        node("Div", ["p", "d"], ["q"]),
        node("Flatten", ["q"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    original = network(nodes, (1, 2, 3, 3), weights)
    folded = assert_folds(original, Reshape, Linear)
    # a name that is left stands for the value it stood for
    assert [entry.name for entry in folded.graph.nodes] == ["x", "f/unscaled", "y"]


def test_a_normalisation_given_by_the_user_is_folded_as_well() -> None:
    normalised = load_network(mlp()).with_normalization(Normalization((0.5,), (0.25,)))
    folded = assert_folds(normalised, Linear, Relu, Linear, Relu, Linear)
    assert folded.normalization == normalised.normalization


def test_a_batch_normalization_goes_through_the_flattening() -> None:
    weights = {"w": normal(12, 3), **statistics(3)}
    nodes = [BN_FIRST, node("Flatten", ["z"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    assert_folds(network(nodes, (1, 3, 2, 2), weights), Reshape, Linear)


def test_two_linear_maps_become_one() -> None:
    weights = {"w": normal(3, 4), "u": normal(4, 2), "c": normal(4)}
    nodes = [
        node("Gemm", ["x", "w", "c"], ["z"]),
        node("MatMul", ["z", "u"], ["y"]),
    ]
    assert_folds(network(nodes, (1, 3), weights), Linear)


def test_a_narrow_middle_stays() -> None:
    weights = {"w": normal(8, 1), "u": normal(1, 8)}
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("MatMul", ["z", "u"], ["y"])]
    assert_folds(network(nodes, (1, 8), weights), Linear, Linear)


def test_zero_padding_goes_into_the_convolution() -> None:
    weights = {"w": normal(2, 1, 3, 3), "p": np.asarray([0, 0, 1, 2, 0, 0, 1, 2])}
    nodes = [
        node("Pad", ["x", "p"], ["z"]),
        node("Conv", ["z", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    folded = assert_folds(network(nodes, (1, 1, 4, 4), weights), Convolution)
    operator = folded.graph.node("y").operator
    assert isinstance(operator, Convolution)
    assert operator.padding == (2, 3)


@pytest.mark.parametrize(
    ("pads", "value"), [([0, 0, 1, 0, 0, 0, 0, 0], 0.0), ([0, 0, 1, 1, 0, 0, 1, 1], 0.5)]
)
def test_other_padding_stays(pads: list[int], value: float) -> None:
    weights = {
        "w": normal(2, 1, 3, 3),
        "p": np.asarray(pads),
        "value": np.asarray(value, np.float32),
    }
    nodes = [node("Pad", ["x", "p", "value"], ["z"]), node("Conv", ["z", "w"], ["y"])]
    assert_folds(network(nodes, (1, 1, 4, 4), weights), Pad, Convolution)


def test_chains_of_reshapes_and_transposes() -> None:
    weights = {"a": np.asarray([6, 2]), "b": np.asarray([3, 4])}
    nodes = [
        node("Reshape", ["x", "a"], ["p"]),
        node("Reshape", ["p", "b"], ["q"]),
        node("Transpose", ["q"], ["r"]),
        node("Relu", ["r"], ["s"]),
        node("Unsqueeze", ["s", "axis"], ["t"]),
        node("Transpose", ["t"], ["u"], perm=[1, 2, 0]),
        node("Transpose", ["u"], ["y"], perm=[1, 0, 2]),
    ]
    weights["axis"] = np.asarray([0])
    assert_folds(network(nodes, (1, 12), weights), Reshape, Transpose, Relu, Reshape, Transpose)


def test_reshapes_that_undo_each_other_are_dropped() -> None:
    weights = {"a": np.asarray([6, 2]), "b": np.asarray([1, 12])}
    nodes = [
        node("Reshape", ["x", "a"], ["p"]),
        node("Reshape", ["p", "b"], ["q"]),
        node("Relu", ["q"], ["y"]),
    ]
    assert_folds(network(nodes, (1, 12), weights), Relu)


def test_what_something_else_reads_is_not_merged() -> None:
    weights = {"w": normal(3, 3), "f": normal(3)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "f"], ["g"]),
        node("Add", ["g", "h"], ["y"]),
    ]
    folded = assert_folds(network(nodes, (1, 3), weights))
    assert [entry.name for entry in folded.graph.nodes] == ["x", "h", "g", "y"]


def test_the_input_is_never_merged() -> None:
    assert_folds(network([node("Neg", ["x"], ["y"])], (1, 3), {}), Scale)


def test_a_residual_network() -> None:
    folded = assert_folds(load_network(resnet()))
    assert not any(isinstance(entry.operator, BatchNormalization) for entry in folded.graph.nodes)
    assert folded.trainable == {"k2", "c2"}


@pytest.mark.parametrize("build", [mlp, cnn, resnet])
def test_folding_twice_changes_nothing_more(build: Any) -> None:  # noqa: ANN401
    once = fold_affine(load_network(build()))
    twice = fold_affine(once)
    assert twice.graph == once.graph
    for name, value in once.parameters.items():
        torch.testing.assert_close(twice.parameters[name], value, rtol=0, atol=0)


def test_the_type_of_the_network_is_kept() -> None:
    for dtype in (torch.float32, torch.float64):
        folded = fold_affine(load_network(resnet()).to(dtype))
        assert {value.dtype for value in folded.parameters.values()} == {dtype}


def test_new_parameters_are_rounded_only_once() -> None:
    """1/3 in float32 would be off by 1e-8; in float64 the product with 3 is exact again."""
    weights = {"w": np.eye(2, dtype=np.float32), "d": np.full(2, 3.0, np.float32)}
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("Div", ["p", "d"], ["q"]),
        node("Mul", ["q", "d"], ["y"]),
    ]
    folded = fold_affine(network(nodes, (1, 2), weights))
    linear = folded.graph.node("y").operator
    assert isinstance(linear, Linear)
    torch.testing.assert_close(
        linear.weight.resolve(folded.parameters), torch.eye(2), rtol=0, atol=0
    )


STEPS = ["Relu", "Add", "Mul", "Gemm", "BN", "Neg", "Flatten", "Identity"]


@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), seed=st.integers(0, 9))
def test_random_chains(steps: list[str], seed: int) -> None:
    weights = {"w": normal(4, 4, seed=seed), "c": normal(4, seed=seed), **statistics(4)}
    inputs = {"Add": ["c"], "Mul": ["c"], "Gemm": ["w", "c"], "BN": ["s", "b", "m", "v"]}
    names = {"BN": "BatchNormalization"}
    value, nodes = "x", []
    for position, step in enumerate(steps):
        result = "y" if position == len(steps) - 1 else f"t{position}"
        nodes.append(node(names.get(step, step), [value, *inputs.get(step, [])], [result]))
        value = result
    assert_folds(network(nodes, (2, 4), weights))
