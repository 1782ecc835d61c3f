"""The exact margin against brute force over activation patterns, with every solver."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BoundsError, InvalidInputError, ShapeError
from models.network import Network
from models.operators import LeakyRelu, Sigmoid
from solvers.budget import Budget
from solvers.exact import (
    BoundTightening,
    EncodingOptions,
    ExactMode,
    ExactOptions,
    ExactProgress,
    ExactResult,
    ExactStatus,
    SolverName,
    StableEncoding,
    Tolerances,
    exact_margin,
)
from solvers.exact.context import Bounds
from solvers.problem import Box, Case, Clause, Specification, robustness
from tests.helpers.graphs import GraphBuilder, mlp
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import brute_force_margin, margin_at

SOLVERS = [SolverName.TREE, SolverName.HIGHS, SolverName.SCIP, SolverName.GUROBI]
SIZES = (3, 3, 3, 3)
REGION = Box(np.full(3, -0.7), np.full(3, 0.7))
# gap of the options, plus the safety for a solver's tolerances
ATOL = 3e-4


def case_of(seed: int, *, rows: int = 1) -> Case:
    """Two clauses over three outputs, of one or several rows."""
    generator = np.random.default_rng(seed)
    clauses = tuple(
        Clause(generator.normal(size=(rows, 3)), generator.normal(size=rows)) for _ in range(2)
    )
    return Case(REGION, Specification(clauses))


def shifted(case: Case, by: float) -> Case:
    """Return the case whose margin is `by` larger."""
    clauses = tuple(Clause(c.matrix, c.offset - by) for c in case.specification.clauses)
    return Case(case.region, Specification(clauses))


def truth(network: Network, case: Case) -> float:
    return min(brute_force_margin(network, case.region, c) for c in case.specification.clauses)


def solve(
    network: Network,
    case: Case,
    *,
    seconds: float = 60.0,
    **settings_: Any,  # noqa: ANN401
) -> ExactResult:
    options = ExactOptions(**settings_)
    bounds = interval_bounds(network, case.region)
    return exact_margin(network, case, bounds, options=options, budget=Budget.of_seconds(seconds))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("seed", "rows"), [(0, 1), (1, 2), (2, 3)])
def test_optimum_equals_brute_force(solver: SolverName, seed: int, rows: int) -> None:
    network, case = mlp(SIZES, seed=seed), case_of(seed, rows=rows)
    result = solve(network, case, mode=ExactMode.OPTIMIZE, solver=solver)
    expected = truth(network, case)
    assert result.status is ExactStatus.OPTIMAL
    assert result.lower <= expected + 1e-9
    assert expected - 1e-9 <= result.upper <= expected + ATOL
    assert result.lower >= expected - ATOL
    assert {report.solver for report in result.reports} == {solver.value}
    assert result.candidate is not None
    assert case.region.contains(result.candidate)
    margins = [margin_at(network, c, result.candidate) for c in case.specification.clauses]
    assert min(margins) == pytest.approx(result.upper, abs=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("by", [-0.05, 0.05])
def test_sign_is_decided_on_both_sides_of_zero(solver: SolverName, by: float) -> None:
    network, case = mlp(SIZES, seed=5), case_of(5)
    near = shifted(case, by - truth(network, case))
    result = solve(network, near, mode=ExactMode.DECIDE, solver=solver)
    assert result.status is ExactStatus.DECIDED
    assert (result.proved, result.refuted) == (by > 0, by < 0)
    assert result.lower <= by + 1e-9
    assert result.upper >= by - 1e-9


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 2),
    stable=st.sampled_from(StableEncoding),
    tightening=st.sampled_from(BoundTightening),
)
def test_bracket_holds_the_truth(
    seed: int, rows: int, stable: StableEncoding, tightening: BoundTightening
) -> None:
    network, case = mlp((2, 3, 3, 3), seed=seed), case_of(seed, rows=rows)
    case = Case(Box(np.full(2, -0.5), np.array([0.5, -0.5])), case.specification)
    result = solve(
        network,
        case,
        mode=ExactMode.OPTIMIZE,
        solver=SolverName.HIGHS,
        tightening=tightening,
        encoding=EncodingOptions(stable=stable),
    )
    expected = truth(network, case)
    assert result.lower <= expected + 1e-9
    assert result.upper >= expected - 1e-9
    assert result.upper - result.lower <= ATOL * (1.0 + abs(expected))


@pytest.mark.parametrize("mode", ExactMode)
def test_auto_names_the_solver_it_took(mode: ExactMode) -> None:
    network, case = mlp(SIZES, seed=3), case_of(3)
    case = shifted(case, 0.01 - truth(network, case))
    result = solve(network, case, mode=mode, tightening=BoundTightening.NONE)
    report = result.reports[0]
    assert report.solver in {"scip", "tree", "gurobi"}
    assert report.licence in {"open", "full"}
    # what the tree proves needs no allowance for a solver's tolerances
    least = 0.0 if report.solver == "tree" else report.tolerances["feasibility"]
    assert report.tolerances["safety"] >= least


def test_margin_within_tolerances_of_zero_is_not_decided() -> None:
    network, case = mlp(SIZES, seed=6), case_of(6)
    exact = truth(network, case)
    near = shifted(case, 3e-7 - exact)
    result = solve(network, near, mode=ExactMode.DECIDE, solver=SolverName.HIGHS)
    assert result.status is ExactStatus.WITHIN_TOLERANCE
    assert result.lower <= 0 < result.upper
    assert result.reason is not None


def test_clauses_already_proved_are_not_solved() -> None:
    network, case = mlp(SIZES, seed=7), case_of(7)
    margins = [brute_force_margin(network, REGION, c) for c in case.specification.clauses]
    case = shifted(case, 0.1 - min(margins))
    known = np.array(margins) - min(margins) + 0.1 - 0.05
    result = exact_margin(
        network,
        case,
        interval_bounds(network, REGION),
        options=ExactOptions(),
        budget=Budget.of_seconds(60),
        clause_lower=known,
    )
    assert result.status is ExactStatus.DECIDED
    assert result.reports == ()
    np.testing.assert_array_equal(result.clause_lower, known)


def test_clause_that_cannot_be_the_least_is_not_optimised() -> None:
    network = mlp(SIZES, seed=8)
    row = np.array([[1.0, -1.0, 0.0]])
    case = Case(REGION, Specification((Clause(row, np.zeros(1)), Clause(row, -np.full(1, 9.0)))))
    exact = brute_force_margin(network, REGION, case.specification.clauses[0])
    result = exact_margin(
        network,
        case,
        interval_bounds(network, REGION),
        options=ExactOptions(mode=ExactMode.OPTIMIZE),
        budget=Budget.of_seconds(60),
        clause_lower=np.array([-math.inf, exact + 8.0]),
    )
    assert result.status is ExactStatus.OPTIMAL
    assert len(result.reports) == 1
    assert result.lower == pytest.approx(exact, abs=ATOL)


def test_incumbent_known_elsewhere_cuts_work_short_but_is_not_the_upper_bound() -> None:
    network, case = mlp(SIZES, seed=9), case_of(9)
    exact = truth(network, case)
    result = exact_margin(
        network,
        case,
        interval_bounds(network, REGION),
        options=ExactOptions(mode=ExactMode.OPTIMIZE),
        budget=Budget.of_seconds(60),
        clause_lower=np.full(2, exact - 1e-6),
        incumbent=exact,
    )
    center = min(margin_at(network, c, REGION.center) for c in case.specification.clauses)
    assert result.reports == ()
    assert result.upper == pytest.approx(center)
    assert result.lower == pytest.approx(exact - 1e-6)


@pytest.mark.parametrize("mode", ExactMode)
def test_network_without_unstable_neurons_needs_no_solver(mode: ExactMode) -> None:
    builder = GraphBuilder((2,))
    builder.add(LeakyRelu(0.5))
    network = builder.network()
    region = Box(np.array([0.5, -2.0]), np.array([1.0, -1.0]))
    case = Case(region, Specification((Clause(np.array([[1.0, 1.0]]), np.array([-0.25])),)))
    result = solve(network, case, mode=mode)
    assert result.reports == ()
    assert result.upper == pytest.approx(-0.25)
    assert result.lower == pytest.approx(-0.25, abs=1e-6)


def test_tightening_only_tightens_and_keeps_the_answer() -> None:
    network, case = mlp((3, 5, 5, 3), seed=11), case_of(11)
    plain = solve(network, case, mode=ExactMode.OPTIMIZE, solver=SolverName.HIGHS)
    tight = solve(
        network,
        case,
        mode=ExactMode.OPTIMIZE,
        solver=SolverName.HIGHS,
        tightening=BoundTightening.LP,
    )
    assert tight.lower == pytest.approx(plain.lower, abs=ATOL)


def test_progress_narrows() -> None:
    network, case = mlp((3, 10, 10, 3), seed=12), case_of(12)
    seen: list[ExactProgress] = []
    result = exact_margin(
        network,
        case,
        interval_bounds(network, REGION),
        options=ExactOptions(mode=ExactMode.OPTIMIZE, solver=SolverName.HIGHS),
        budget=Budget.of_seconds(60),
        progress=seen.append,
    )
    assert seen
    assert all(one.lower <= one.upper and one.clauses == 2 for one in seen)
    assert all(one.lower <= result.upper + ATOL for one in seen)
    assert [one.seconds for one in seen] == sorted(one.seconds for one in seen)


def test_curved_operator_is_a_status_that_names_it() -> None:
    builder = GraphBuilder((3,))
    builder.add(Sigmoid())
    result = solve(builder.network(), case_of(0), mode=ExactMode.OPTIMIZE)
    assert result.status is ExactStatus.UNSUPPORTED
    assert result.reason is not None
    assert "n1" in result.reason
    assert "Sigmoid" in result.reason
    assert math.isfinite(result.upper)


def test_program_over_the_limit_is_a_status() -> None:
    network = mlp((3, 40, 40, 3), seed=0)
    result = solve(
        network,
        case_of(0),
        mode=ExactMode.OPTIMIZE,
        encoding=EncodingOptions(max_nonzeros=100),
    )
    assert result.status is ExactStatus.TOO_LARGE
    assert result.reason is not None
    assert "100 coefficients" in result.reason


class TestBadInput:
    network = mlp(SIZES, seed=0)
    case = case_of(0)
    bounds = interval_bounds(network, REGION)

    def run(
        self,
        case: Case | None = None,
        bounds: Bounds | None = None,
        **keywords: Any,  # noqa: ANN401
    ) -> ExactResult:
        return exact_margin(
            self.network,
            case or self.case,
            self.bounds if bounds is None else bounds,
            options=ExactOptions(mode=ExactMode.OPTIMIZE, solver=SolverName.HIGHS),
            budget=Budget.of_seconds(60),
            **keywords,
        )

    def test_missing_bounds(self) -> None:
        with pytest.raises(BoundsError, match="needs bounds for node 'n1'"):
            self.run(bounds={})

    def test_bounds_of_another_shape(self) -> None:
        with pytest.raises(ShapeError, match="bounds of node 'n1'"):
            self.run(bounds={"n1": (np.zeros(1), np.ones(1))})

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_bounds_that_are_not_finite(self, bad: float) -> None:
        upper = self.bounds["n1"][1].copy()
        upper[0] = bad
        with pytest.raises(BoundsError, match="'n1' are empty or not finite"):
            self.run(bounds={**self.bounds, "n1": (self.bounds["n1"][0], upper)})

    def test_region_of_another_shape(self) -> None:
        case = Case(REGION.reshape((1, 3)), self.case.specification)
        with pytest.raises(ShapeError, match="region has shape"):
            self.run(case)

    def test_specification_of_other_outputs(self) -> None:
        with pytest.raises(ShapeError, match="speaks of 5 outputs, the network has 3"):
            self.run(Case(REGION, robustness(0, 5)))

    def test_clause_bounds_of_another_shape(self) -> None:
        with pytest.raises(ShapeError, match="for 2 clauses"):
            self.run(clause_lower=np.zeros(3))

    @pytest.mark.parametrize(
        ("settings_", "words"),
        [
            ({"threads": 0}, "threads"),
            ({"tightening_share": 1.5}, "tightening_share"),
            ({"encoding": EncodingOptions(max_nonzeros=0)}, "max_nonzeros"),
        ],
    )
    def test_options_out_of_range(self, settings_: dict[str, object], words: str) -> None:
        with pytest.raises(InvalidInputError, match=words):
            ExactOptions(**settings_)

    @pytest.mark.parametrize(
        "numbers", [{"dual": math.nan}, {"feasibility": -1.0}, {"gap": math.inf}]
    )
    def test_tolerances_out_of_range(self, numbers: dict[str, float]) -> None:
        with pytest.raises(InvalidInputError, match=next(iter(numbers))):
            Tolerances(**numbers)

    def test_nan_weights(self) -> None:
        parameters = {"p0": self.network.parameters["p0"].clone()}
        parameters["p0"][0, 0] = math.nan
        network = self.network.with_parameters(parameters)
        with pytest.raises(InvalidInputError, match="not finite"):
            exact_margin(
                network,
                self.case,
                self.bounds,
                options=ExactOptions(),
                budget=Budget.of_seconds(60),
            )
