"""Whole networks of several kinds: the encoding agrees with torch, and brackets hold samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.network import Network
from models.operators import (
    Add,
    AveragePool,
    BatchNormalization,
    Clip,
    Convolution,
    Linear,
    MaxPool,
    Relu,
    Reshape,
)
from solvers.budget import Budget
from solvers.exact import (
    EncodingOptions,
    ExactMode,
    ExactOptions,
    ExactStatus,
    SolverName,
    StableEncoding,
    encode_network,
    exact_margin,
)
from solvers.problem import Box, Case, robustness
from tests.helpers.graphs import GraphBuilder
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import extreme_outputs

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) * 0.5


def convolutional() -> Network:
    b = GraphBuilder((1, 1, 6, 6))
    b.add(
        Convolution(b.parameter(normal(2, 1, 3, 3)), b.parameter(normal(2)), (1, 1), (1, 1), (1, 1))
    )
    b.add(Relu())
    b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)))
    b.add(Reshape((1, 18)))
    b.add(Linear(b.parameter(normal(3, 18)), b.parameter(normal(3))))
    return b.network()


def residual() -> Network:
    b = GraphBuilder((1, 1, 4, 4))
    b.add(Convolution(b.parameter(normal(2, 1, 3, 3)), None, (1, 1), (1, 1), (1, 1)))
    ones = b.parameter(np.ones(2))
    b.add(BatchNormalization(ones, b.parameter(normal(2)), b.parameter(normal(2)), ones, 1e-5))
    first = b.add(Relu())
    b.add(Convolution(b.parameter(normal(2, 2, 3, 3)), None, (1, 1), (1, 1), (1, 1)))
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, first)
    b.add(Clip(0.0, 1.0))
    b.add(AveragePool((2, 2), (2, 2), (0, 0)))
    b.add(Reshape((1, 8)))
    b.add(Linear(b.parameter(normal(3, 8)), None))
    return b.network()


def with_linear_layers_in_between() -> Network:
    """Two maps in a row and a wide one: where substitution would fill in."""
    b = GraphBuilder((1, 12))
    b.add(Linear(b.parameter(normal(2, 12))))
    b.add(Linear(b.parameter(normal(40, 2)), b.parameter(normal(40))))
    b.add(Relu())
    b.add(Linear(b.parameter(normal(3, 40))))
    return b.network()


NETWORKS: list[Callable[[], Network]] = [convolutional, residual, with_linear_layers_in_between]


def region_of(network: Network, radius: float) -> Box:
    center = np.random.default_rng(3).uniform(0.2, 0.8, network.input_shape)
    return Box(center - radius, center + radius)


@pytest.mark.parametrize("stable", StableEncoding)
@pytest.mark.parametrize("make", NETWORKS)
def test_encoded_network_equals_torch(make: Callable[[], Network], stable: StableEncoding) -> None:
    network = make()
    region = region_of(network, 0.1)
    options = EncodingOptions(stable=stable)
    encoded = encode_network(network, region, interval_bounds(network, region), options=options)
    x = np.random.default_rng(4).uniform(region.lower, region.upper)
    y = network.to(torch.float64)(torch.from_numpy(x[None]))[0].numpy().ravel()
    lower, upper = extreme_outputs(encoded, x)
    np.testing.assert_allclose(lower, y, atol=1e-5)
    np.testing.assert_allclose(upper, y, atol=1e-5)


@pytest.mark.parametrize("solver", [SolverName.HIGHS, SolverName.SCIP])
@pytest.mark.parametrize("make", NETWORKS)
def test_bracket_is_closed_and_below_every_sample(
    make: Callable[[], Network], solver: SolverName
) -> None:
    network = make()
    region = region_of(network, 0.05)
    case = Case(region, robustness(0, 3))
    result = exact_margin(
        network,
        case,
        interval_bounds(network, region),
        options=ExactOptions(mode=ExactMode.OPTIMIZE, solver=solver),
        budget=Budget.of_seconds(120),
    )
    assert result.status is ExactStatus.OPTIMAL
    assert result.upper - result.lower <= 3e-4 * (1 + abs(result.upper))
    samples = np.random.default_rng(5).uniform(
        region.lower, region.upper, (500, *network.input_shape)
    )
    y = network.to(torch.float64)(torch.from_numpy(samples)).numpy().reshape(500, -1)
    assert case.specification.margin(y).min() >= result.lower


def test_substitution_that_would_fill_in_gets_columns() -> None:
    network = with_linear_layers_in_between()
    region = region_of(network, 0.5)
    encoded = encode_network(
        network, region, interval_bounds(network, region), options=EncodingOptions()
    )
    # 40 rows over two columns in between, not over all twelve inputs
    assert encoded.model.nonzeros < 40 * 12


def test_values_that_no_relu_passes_cost_no_coefficients() -> None:
    b = GraphBuilder((6,))
    b.add(Linear(b.parameter(normal(4, 6)), b.parameter(np.array([0.0, -50.0, -50.0, -50.0]))))
    b.add(Relu())
    b.add(Linear(b.parameter(np.ones((1, 4)))))
    network = b.network()
    region = Box(np.full(6, -1.0), np.full(6, 1.0))
    encoded = encode_network(
        network, region, interval_bounds(network, region), options=EncodingOptions()
    )
    # one unstable neuron: its row over six inputs and two parts, and two rows with its binary
    assert encoded.model.integers == 1
    assert encoded.model.nonzeros == 6 + 2 + 2 + 2
    assert encoded.output.matrix.nnz == 1


def test_values_read_by_more_than_relu_are_kept() -> None:
    b = GraphBuilder((2,))
    first = b.add(Linear(b.parameter(np.eye(2)), b.parameter(np.array([-9.0, 0.0]))))
    b.add(Relu())
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, first)
    network = b.network()
    region = Box(np.full(2, -1.0), np.full(2, 1.0))
    encoded = encode_network(
        network, region, interval_bounds(network, region), options=EncodingOptions()
    )
    lower, upper = extreme_outputs(encoded, np.array([0.5, 0.5]))
    np.testing.assert_allclose(lower, [-8.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(upper, [-8.5, 1.0], atol=1e-6)
