"""Outputs that are large and cancel in a margin: rounding must not lift a bound above the truth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from models.network import Network
from models.operators import Add, Multiply, Take
from solvers.bounds import BoundOptions, Interval, Margins, Scene, bound_margins, rounding_allowance
from solvers.budget import Budget
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Box, Case, Clause, Specification
from solvers.search.neurons import NeuronSearchOptions
from tests.helpers.graphs import GraphBuilder, mlp
from tests.solvers.search.neurons.support import search

METHODS = [Method.IBP, Method.FORWARD, Method.CROWN, Method.ALPHA_CROWN, Method.FASTC2V]


def cancelling(seed: int) -> tuple[Network, Tensor, Fraction]:
    """Return y = w·max(0, x) + b, a row m with m·w and m·b about zero, and the margin at x = 1."""
    generator = np.random.default_rng(seed)
    network = mlp((1, 1, 4), seed=seed).to(torch.float64)
    row = generator.normal(size=4)
    names = [name for name, value in network.parameters.items() if value.shape[0] == 4]
    parameters = {name: torch.ones_like(value) for name, value in network.parameters.items()}
    exact = Fraction(0)
    for name in names:
        large = generator.normal(size=4) * 1e8
        large[3] = -(row[:3] @ large[:3]) / row[3]
        parameters[name] = torch.from_numpy(large).reshape(network.parameters[name].shape)
        # The hidden layer has weight and bias 1: its value at x = 1 is 2.
        factor = 2 if network.parameters[name].dim() == 2 else 1
        terms = zip(row.tolist(), large.tolist(), strict=True)
        exact += factor * sum((Fraction(m) * Fraction(w) for m, w in terms), Fraction(0))
    return replace(network, parameters=parameters), torch.from_numpy(row), exact


@pytest.mark.parametrize("method", METHODS)
def test_bounds_stay_below_the_exact_margin(method: Method) -> None:
    for seed in range(40):
        network, row, exact = cancelling(seed)
        point = torch.ones(1, *network.input_shape, dtype=torch.float64)
        scene = Scene(network, Interval(point, point))
        margins = Margins(row.reshape(1, 1, 4), torch.zeros(1, 1, dtype=torch.float64))
        lower = float(bound_margins(scene, margins, method).lower[0, 0])
        assert Fraction(lower) <= exact
        assert lower >= float(exact) - 1e-4


def test_the_search_over_neurons_stays_below_it_too() -> None:
    """Around a point at which the hidden neuron bends, so that there is something to split."""
    for seed in range(10):
        network, row, _ = cancelling(seed)
        value = Fraction(0)
        for parameter in network.parameters.values():
            if parameter.shape[0] == 4 and parameter.dim() == 1:
                terms = zip(row.tolist(), parameter.tolist(), strict=True)
                value += sum((Fraction(m) * Fraction(b) for m, b in terms), Fraction(0))
        clause = Clause(row.reshape(1, 4).numpy(), np.array([-1e-3]))
        region = Box(np.array([-1.5]), np.array([-0.5]))
        case = Case(region, Specification((clause,)))
        options = NeuronSearchOptions(falsify=False)
        _, bracket = search(network, case, options, budget=Budget.of_seconds(5.0))
        # At x = -1 and below, the outputs are their biases.
        assert Fraction(bracket.lower) <= value + Fraction(1e-3)


def test_outputs_that_do_not_count_may_be_infinite() -> None:
    matrix = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    outputs = torch.tensor([3.0, torch.inf], dtype=torch.float64)
    allowed = rounding_allowance(matrix, torch.ones(2, dtype=torch.float64), outputs)
    assert 0.0 < float(allowed[0]) < 1e-12
    assert torch.isinf(allowed[1])


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_parameters_is_bounded_in_float64(method: Method) -> None:
    """A product of 4097 with itself takes 25 bits: in float32, 1 is lost of x0 x1 - x2."""
    builder = GraphBuilder((3,))
    one, other, less = (builder.add(Take(0, (place,)), "x") for place in range(3))
    builder.add(Add((1.0, -1.0)), builder.add(Multiply(), one, other), less)
    network = builder.network().to(torch.float64)
    at = np.array([4097.0, 4097.0, 4097.0**2 - 1])
    beyond = Specification((Clause(np.array([[-1.0]]), np.array([-0.5])),))
    step = CaseBatch(network, [Case(Box(at, at), beyond)]).bound(method, options=BoundOptions())
    assert -0.501 < step.lower(0) <= -0.5
