"""Rows of margins become clause bounds, whatever the clauses look like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import load_network
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.ladder import CaseBatch
from solvers.methods import BOUND_METHODS, Method
from solvers.problem import Box, Case, Clause, Specification
from tests.helpers.networks import mlp

OUTPUTS = 3


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(mlp((4, 10, 10, OUTPUTS), seed=3)).to(torch.float64)


def _random_case(network: Network, generator: np.random.Generator, clauses: list[int]) -> Case:
    center = generator.uniform(-1, 1, network.input_shape)
    width = generator.uniform(0, 0.5, network.input_shape)
    parts = tuple(
        Clause(generator.normal(size=(rows, OUTPUTS)), generator.normal(size=rows))
        for rows in clauses
    )
    return Case(Box(center - width, center + width), Specification(parts))


def _sampled(network: Network, case: Case, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the least margin of every clause over samples, shape `(clauses,)`."""
    box = case.region
    x = generator.uniform(box.lower, box.upper, (2000, *box.shape))
    with torch.no_grad():
        y = network(torch.from_numpy(x)).flatten(1).numpy()
    return np.array([clause.margin(y).min() for clause in case.specification.clauses])


@pytest.mark.parametrize("method", BOUND_METHODS)
def test_clause_bounds_hold_for_mixed_clauses(network: Network, method: Method) -> None:
    generator = np.random.default_rng(5)
    shapes = [[1], [1, 1, 1], [2, 3], [4], [1, 5, 1]]
    cases = [_random_case(network, generator, rows) for rows in shapes]
    step = CaseBatch(network, cases).bound(method, options=BoundOptions(iterations=5))
    for position, case in enumerate(cases):
        lowers = step.clause_lower[position]
        assert lowers.shape == (len(case.specification.clauses),)
        assert (lowers <= _sampled(network, case, generator)).all()
        assert step.lower(position) == lowers.min()


def test_a_case_is_bounded_the_same_alone_and_in_company(network: Network) -> None:
    generator = np.random.default_rng(8)
    cases = [_random_case(network, generator, rows) for rows in ([1, 1], [3], [2, 1, 4])]
    together = CaseBatch(network, cases).bound(Method.CROWN, options=BoundOptions())
    for position, case in enumerate(cases):
        alone = CaseBatch(network, [case]).bound(Method.CROWN, options=BoundOptions())
        np.testing.assert_allclose(
            together.clause_lower[position], alone.clause_lower[0], rtol=0, atol=1e-9
        )


def test_a_clause_takes_its_best_row(network: Network) -> None:
    generator = np.random.default_rng(2)
    case = _random_case(network, generator, [1])
    (clause,) = case.specification.clauses
    hopeless = Clause(
        np.concatenate([clause.matrix, np.zeros((1, OUTPUTS))]),
        np.concatenate([clause.offset, [1e6]]),
    )
    wide = Case(case.region, Specification((hopeless,)))
    one = CaseBatch(network, [case]).bound(Method.CROWN, options=BoundOptions()).lower(0)
    two = CaseBatch(network, [wide]).bound(Method.CROWN, options=BoundOptions()).lower(0)
    assert two == pytest.approx(one, abs=1e-12)


def test_node_bounds_are_those_of_the_case(network: Network) -> None:
    generator = np.random.default_rng(4)
    cases = [_random_case(network, generator, [1]) for _ in range(3)]
    step = CaseBatch(network, cases).bound(Method.CROWN, options=BoundOptions())
    for position, case in enumerate(cases):
        x = torch.from_numpy(case.region.center).unsqueeze(0)
        values = network.graph.evaluate(x, network.parameters)
        bounds = step.node_bounds(position)
        assert set(bounds) == set(values)
        for name, (lower, upper) in bounds.items():
            value = values[name][0].numpy()
            assert lower.shape == value.shape
            assert (lower <= value + 1e-9).all()
            assert (value <= upper + 1e-9).all()


def test_known_bounds_are_used(network: Network) -> None:
    generator = np.random.default_rng(6)
    case = _random_case(network, generator, [1])
    batch = CaseBatch(network, [case])
    crown = batch.bound(Method.CROWN, options=BoundOptions())
    alone = batch.bound(Method.CROWN_IBP, options=BoundOptions())
    helped = batch.bound(Method.CROWN_IBP, options=BoundOptions(), known=crown.intermediate)
    assert helped.lower(0) == pytest.approx(crown.lower(0), abs=1e-9)
    assert helped.lower(0) >= alone.lower(0)
