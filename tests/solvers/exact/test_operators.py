"""The encoding is the network: each operator, with the input fixed, gives torch's output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import models.operators
from models.network import Network
from models.operators import (
    Add,
    AveragePool,
    BatchNormalization,
    Clip,
    Concat,
    Constant,
    Convolution,
    ConvolutionTranspose,
    Expand,
    LeakyRelu,
    Linear,
    MaxPool,
    Operator,
    Pad,
    PRelu,
    ReduceSum,
    Relu,
    Reshape,
    Scale,
    Sigmoid,
    Take,
    Tanh,
    Transpose,
)
from solvers.errors import UnsupportedMethodError
from solvers.exact import EncodingOptions, StableEncoding, encode_network
from solvers.exact.encode import ENCODERS
from solvers.problem import Box
from tests.helpers.graphs import GraphBuilder
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import extreme_outputs

GENERATOR_SEED = 3


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(GENERATOR_SEED).normal(size=shape)


def single(shape: tuple[int, ...], make: Callable[[GraphBuilder], Operator]) -> Network:
    builder = GraphBuilder(shape)
    builder.add(make(builder))
    return builder.network()


def linear() -> Network:
    return single((2, 3), lambda b: Linear(b.parameter(normal(4, 3)), b.parameter(normal(4))))


def linear_without_bias() -> Network:
    return single((3,), lambda b: Linear(b.parameter(normal(4, 3))))


def convolution() -> Network:
    return single(
        (1, 2, 5, 4),
        lambda b: Convolution(
            b.parameter(normal(3, 2, 3, 2)), b.parameter(normal(3)), (2, 1), (1, 0), (1, 2)
        ),
    )


def convolution_in_groups() -> Network:
    return single(
        (2, 4, 6),
        lambda b: Convolution(b.parameter(normal(6, 2, 3)), None, (1,), (1,), (1,), groups=2),
    )


def convolution_of_volumes() -> Network:
    return single(
        (1, 1, 3, 3, 3),
        lambda b: Convolution(
            b.parameter(normal(2, 1, 2, 2, 2)), None, (1, 1, 1), (0, 1, 0), (1, 1, 1)
        ),
    )


def transposed() -> Network:
    return single(
        (1, 2, 3, 3),
        lambda b: ConvolutionTranspose(
            b.parameter(normal(2, 3, 3, 3)),
            b.parameter(normal(3)),
            (2, 2),
            (1, 1),
            (1, 0),
            (1, 1),
        ),
    )


def transposed_in_groups() -> Network:
    return single(
        (1, 4, 3),
        lambda b: ConvolutionTranspose(
            b.parameter(normal(4, 1, 2)), None, (1,), (0,), (1,), (2,), groups=2
        ),
    )


def batch_normalization() -> Network:
    return single(
        (1, 3, 2, 2),
        lambda b: BatchNormalization(
            b.parameter(normal(3)),
            b.parameter(normal(3)),
            b.parameter(normal(3)),
            b.parameter(np.array([0.5, 1.0, 2.0])),
            1e-5,
        ),
    )


def scale() -> Network:
    return single((2, 3), lambda b: Scale(b.parameter(normal(3)), b.parameter(normal(2, 1))))


def add() -> Network:
    builder = GraphBuilder((4,))
    builder.add(Relu())
    builder.add(Add((1.0, -2.0)), "x", "n1")
    return builder.network()


def concat_with_constant() -> Network:
    builder = GraphBuilder((2, 3))
    constant = builder.add(Constant(builder.parameter(normal(1, 3))))
    builder.add(Concat(0), constant, "x")
    return builder.network()


def pieces(operator: Operator, shape: tuple[int, ...] = (6,)) -> Network:
    return single(shape, lambda _: operator)


def parametric() -> Network:
    return single((2, 3), lambda b: PRelu(b.parameter(np.array([0.3, -0.5, 2.0]))))


CASES: dict[str, tuple[type[Operator], Callable[[], Network]]] = {
    "linear": (Linear, linear),
    "linear without bias": (Linear, linear_without_bias),
    "convolution": (Convolution, convolution),
    "convolution in groups": (Convolution, convolution_in_groups),
    "convolution of volumes": (Convolution, convolution_of_volumes),
    "transposed convolution": (ConvolutionTranspose, transposed),
    "transposed convolution in groups": (ConvolutionTranspose, transposed_in_groups),
    "batch normalization": (BatchNormalization, batch_normalization),
    "scale": (Scale, scale),
    "scale without offset": (
        Scale,
        lambda: single((3,), lambda b: Scale(b.parameter(normal(3)))),
    ),
    "add": (Add, add),
    "concat": (Concat, concat_with_constant),
    "constant": (Constant, concat_with_constant),
    "reshape": (Reshape, lambda: pieces(Reshape((3, 2)))),
    "transpose": (Transpose, lambda: pieces(Transpose((1, 0)), (2, 3))),
    "take": (Take, lambda: pieces(Take(1, (2, 0, 2)), (2, 3))),
    "pad": (Pad, lambda: pieces(Pad(((0, 1), (2, 0)), 0.25), (2, 3))),
    "expand": (Expand, lambda: pieces(Expand((2, 4, 3)), (4, 1))),
    "reduce sum": (ReduceSum, lambda: pieces(ReduceSum((0, 2), keepdims=True), (2, 3, 2))),
    "reduce sum, axes dropped": (
        ReduceSum,
        lambda: pieces(ReduceSum((1,), keepdims=False), (2, 3)),
    ),
    "reduce sum of nothing": (ReduceSum, lambda: pieces(ReduceSum((), keepdims=False), (3,))),
    "average pool": (
        AveragePool,
        lambda: pieces(AveragePool((2, 2), (2, 1), (1, 0)), (1, 2, 4, 4)),
    ),
    "relu": (Relu, lambda: pieces(Relu())),
    "leaky relu": (LeakyRelu, lambda: pieces(LeakyRelu(0.1))),
    "leaky relu that bends back": (LeakyRelu, lambda: pieces(LeakyRelu(-0.7))),
    "prelu": (PRelu, parametric),
    "clip": (Clip, lambda: pieces(Clip(-0.4, 0.5))),
    "clip from below": (Clip, lambda: pieces(Clip(-0.4, float("inf")))),
    "clip from above": (Clip, lambda: pieces(Clip(float("-inf"), 0.5))),
    "clip to nothing": (Clip, lambda: pieces(Clip(0.2, 0.2))),
    "max pool": (MaxPool, lambda: pieces(MaxPool((2,), (1,), ((1, 0),), (2,)), (1, 2, 5))),
    "max pool, two axes": (
        MaxPool,
        lambda: pieces(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), (1, 1, 4, 4)),
    ),
}
NAMES = sorted(CASES)


@pytest.mark.parametrize("stable", StableEncoding)
@pytest.mark.parametrize("name", NAMES)
def test_encoded_operator_equals_torch_at_fixed_inputs(name: str, stable: StableEncoding) -> None:
    network = CASES[name][1]()
    generator = np.random.default_rng(0)
    shape = network.input_shape
    region = Box(np.full(shape, -1.0), np.full(shape, 1.0))
    bounds = interval_bounds(network, region)
    encoded = encode_network(network, region, bounds, options=EncodingOptions(stable=stable))
    for _ in range(3):
        x = generator.uniform(-1.0, 1.0, shape)
        lower, upper = extreme_outputs(encoded, x)
        y = network.to(torch.float64)(torch.from_numpy(x[None]))[0].numpy().ravel()
        # the solver's feasibility tolerance, 1e-7, times the operators' gains
        np.testing.assert_allclose(lower, y, atol=1e-5)
        np.testing.assert_allclose(upper, y, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_the_region_fixes_need_no_column(name: str) -> None:
    network = CASES[name][1]()
    shape = network.input_shape
    x = np.random.default_rng(1).uniform(-1.0, 1.0, shape)
    bounds = interval_bounds(network, Box(x, x))
    encoded = encode_network(network, Box(x, x), bounds, options=EncodingOptions())
    y = network.to(torch.float64)(torch.from_numpy(x[None]))[0].numpy().ravel()
    assert encoded.free.size == 0
    lower, upper = extreme_outputs(encoded, x)
    np.testing.assert_allclose(lower, y, atol=1e-6)
    np.testing.assert_allclose(upper, y, atol=1e-6)


def test_every_encoder_has_a_test() -> None:
    assert {operator for operator, _ in CASES.values()} == set(ENCODERS)
    assert all(operator.__name__ in models.operators.__all__ for operator in ENCODERS)


@pytest.mark.parametrize("operator", [Sigmoid(), Tanh()])
def test_curved_operators_are_refused_by_name(operator: Operator) -> None:
    network = pieces(operator)
    region = Box(np.zeros(6), np.ones(6))
    with pytest.raises(UnsupportedMethodError, match=f"'n1' uses {type(operator).__name__}"):
        encode_network(network, region, interval_bounds(network, region), options=EncodingOptions())


def test_only_unstable_neurons_get_binaries() -> None:
    network = pieces(Relu(), (3,))
    region = Box(np.array([-1.0, 0.5, -2.0]), np.array([1.0, 1.0, -1.0]))
    bounds = {"x": (region.lower, region.upper)}
    encoded = encode_network(network, region, bounds, options=EncodingOptions())
    assert encoded.model.integers == 1
    # three inputs, and for the one unstable neuron its two parts and its binary
    assert encoded.model.column_count == 6


def test_max_pool_leaves_out_candidates_that_always_lose() -> None:
    network = pieces(MaxPool((3,), (3,), ((0, 0),), (1,)), (1, 1, 6))
    lower = np.array([0.0, 0.5, -1.0, 2.0, 0.0, 0.0]).reshape(1, 1, 6)
    upper = np.array([1.0, 1.5, 0.2, 3.0, 1.0, 2.0]).reshape(1, 1, 6)
    region = Box(lower, upper)
    encoded = encode_network(network, region, {"x": (lower, upper)}, options=EncodingOptions())
    assert encoded.model.integers == 2
