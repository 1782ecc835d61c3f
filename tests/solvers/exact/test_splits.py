"""Leaves of a tree over activations: their exact margins, and that together they are the whole."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BoundsError, ShapeError
from models.network import Network
from solvers.budget import Budget
from solvers.errors import SolverFailedError
from solvers.exact import (
    BoundTightening,
    ExactHints,
    ExactMode,
    ExactOptions,
    ExactResult,
    ExactStatus,
    MilpModel,
    SolveRequest,
    SolverName,
    Splits,
    exact_margin,
)
from solvers.exact.bracket import Bracket
from solvers.exact.scip import ScipSolver
from solvers.exact.seam import MilpOutcome, Monitor, SolveStatus
from solvers.problem import Box, Case, Clause, Specification
from solvers.results import SolverReport
from tests.helpers.graphs import mlp
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import brute_force_margin

REGION = Box(np.full(3, -0.7), np.full(3, 0.7))
CLAUSE = Clause(np.array([[1.0, -1.0, 0.0]]), np.zeros(1))
CASE = Case(REGION, Specification((CLAUSE,)))
LAYERS = ("n1", "n3")
"""Pre-activations of the helper's networks."""


def leaf(
    network: Network,
    splits: Splits,
    *,
    solver: SolverName = SolverName.AUTO,
    mode: ExactMode = ExactMode.OPTIMIZE,
    incumbent: float = math.inf,
) -> ExactResult:
    return exact_margin(
        network,
        CASE,
        interval_bounds(network, REGION),
        options=ExactOptions(mode=mode, solver=solver),
        budget=Budget.of_seconds(60),
        incumbent=incumbent,
        hints=ExactHints(splits=splits),
    )


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), layer=st.sampled_from(LAYERS))
def test_leaves_together_have_the_margin_of_the_region(seed: int, layer: str) -> None:
    network = mlp((3, 3, 3, 3), seed=seed)
    exact = brute_force_margin(network, REGION, CLAUSE)
    lowers = []
    for sides in itertools.product((-1, 1), repeat=3):
        result = leaf(network, {layer: np.array(sides, dtype=np.int8)})
        assert result.status in {ExactStatus.OPTIMAL, ExactStatus.EMPTY}
        lowers.append(result.clause_lower[0])
        inside = samples_inside(network, layer, sides)
        assert not (result.status is ExactStatus.EMPTY and len(inside))
        if len(inside):
            assert result.clause_lower[0] <= inside.min() + 1e-7
    assert min(lowers) <= exact + 1e-7
    assert min(lowers) == pytest.approx(exact, abs=3e-4)


def samples_inside(network: Network, layer: str, sides: tuple[int, ...]) -> np.ndarray:
    """Return the margins of sampled inputs that are on the sides of a split."""
    x = torch.from_numpy(np.random.default_rng(1).uniform(-0.7, 0.7, (3000, 3)))
    wide = network.to(torch.float64)
    values = wide.graph.evaluate(x, wide.parameters)
    held = (values[layer].numpy().reshape(3000, -1) * np.array(sides) >= 0).all(axis=1)
    return CLAUSE.margin(values[wide.graph.output].numpy().reshape(3000, -1))[held]


def test_splits_that_leave_no_input_are_empty() -> None:
    # the second layer's value cannot be positive where every value of the first is 0
    network = mlp((3, 3, 3, 3), seed=0)
    bias = {k: v.clone() for k, v in network.parameters.items()}
    last = [name for name in bias if bias[name].dim() == 1][1]
    bias[last] = torch.full_like(bias[last], -1.0)
    network = network.with_parameters(bias)
    splits = {"n1": -np.ones(3, dtype=np.int8), "n3": np.array([1, 0, 0], dtype=np.int8)}
    result = leaf(network, splits)
    assert result.status is ExactStatus.EMPTY
    assert result.lower == math.inf
    assert result.proved
    assert not result.refuted


def test_sides_that_bounds_exclude_need_no_solver() -> None:
    network = mlp((3, 3, 3, 3), seed=2)
    bounds = interval_bounds(network, REGION)
    bounds["n1"] = (bounds["n1"][0], np.minimum(bounds["n1"][1], -0.5))
    result = exact_margin(
        network,
        CASE,
        bounds,
        options=ExactOptions(),
        budget=Budget.of_seconds(60),
        hints=ExactHints(splits={"n1": np.array([1, 0, 0], dtype=np.int8)}),
    )
    assert result.status is ExactStatus.EMPTY
    assert result.reports == ()


def test_a_better_input_elsewhere_is_no_contradiction() -> None:
    network = mlp((3, 3, 3, 3), seed=4)
    results = {
        sides: leaf(network, {"n1": np.array(sides, dtype=np.int8)}, incumbent=-50.0)
        for sides in itertools.product((-1, 1), repeat=3)
    }
    # nothing below what is known elsewhere is left to look for
    assert all(result.status is not ExactStatus.TIMEOUT for result in results.values())


class _Claims(ScipSolver):
    """Calls every program infeasible, without a proof."""

    def solve(
        self,
        model: MilpModel,  # noqa: ARG002
        request: SolveRequest,  # noqa: ARG002
        budget: Budget,  # noqa: ARG002
        monitor: Monitor,  # noqa: ARG002
    ) -> MilpOutcome:
        report = SolverReport("scip", "1", "open", "infeasible")
        return MilpOutcome(SolveStatus.INFEASIBLE, math.inf, math.inf, None, 0, report)


def test_an_unproved_claim_of_infeasibility_proves_nothing() -> None:
    from solvers.exact import SolverSuite  # noqa: PLC0415

    network = mlp((3, 3, 3, 3), seed=4)
    result = exact_margin(
        network,
        CASE,
        interval_bounds(network, REGION),
        options=ExactOptions(
            solver=SolverName.SCIP, suite=SolverSuite(factories={SolverName.SCIP: _Claims})
        ),
        budget=Budget.of_seconds(5),
        hints=ExactHints(splits={"n1": np.ones(3, dtype=np.int8)}),
    )
    assert not result.proved
    assert result.clause_lower[0] == -math.inf


def test_a_point_that_is_known_is_replayed_first() -> None:
    network = mlp((3, 3, 3, 3), seed=4)
    x = np.full(3, 0.5)
    wide = network.to(torch.float64)
    margin = float(CLAUSE.margin(wide(torch.from_numpy(x[None]))[0].numpy().ravel()))
    result = exact_margin(
        network,
        CASE,
        interval_bounds(network, REGION),
        options=ExactOptions(),
        budget=Budget.of_seconds(0.0),
        hints=ExactHints(point=x),
    )
    assert result.upper <= margin + 1e-12


@pytest.mark.parametrize(
    ("splits", "error"),
    [
        ({"n1": np.ones(2, dtype=np.int8)}, ShapeError),
        ({"nowhere": np.ones(3, dtype=np.int8)}, BoundsError),
    ],
)
def test_splits_that_do_not_fit_are_refused(splits: Splits, error: type[Exception]) -> None:
    with pytest.raises(error):
        leaf(mlp((3, 3, 3, 3), seed=0), splits)


def test_an_input_inside_contradicts_emptiness() -> None:
    bracket = Bracket(1, None, math.inf, mode=ExactMode.DECIDE, gap=0.0, partial=True)
    bracket.replayed(np.zeros(3), np.array([0.5]))
    with pytest.raises(SolverFailedError, match="disagree"):
        bracket.close()


@pytest.mark.parametrize("solver", [s for s in SolverName if s is not SolverName.AUTO])
@pytest.mark.parametrize("x", [np.zeros(3), np.array([0.7, -0.7, 0.1])])
def test_starting_from_a_point_changes_no_answer(solver: SolverName, x: np.ndarray) -> None:
    network = mlp((3, 3, 3, 3), seed=6)
    result = exact_margin(
        network,
        CASE,
        interval_bounds(network, REGION),
        options=ExactOptions(
            mode=ExactMode.OPTIMIZE, solver=solver, tightening=BoundTightening.NONE
        ),
        budget=Budget.of_seconds(60),
        hints=ExactHints(point=x),
    )
    exact = brute_force_margin(network, REGION, CLAUSE)
    assert result.status is ExactStatus.OPTIMAL
    assert result.lower <= exact + 1e-7
    assert result.upper - result.lower <= 3e-4
