"""Margins by linear programs: their order, their soundness, and solvers that cannot be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.network import Network
from models.operators import Linear, Tanh
from solvers.balls import Norm
from solvers.budget import Budget
from solvers.convex.margins import CutOptions, ProgramBounds, ProgramOptions, program_margins
from solvers.convex.programs import LinearAnswer, LinearStatus, SessionMaker
from solvers.errors import UnsupportedMethodError
from solvers.exact import EncodingOptions, ExactMode, ExactOptions, SolverName, exact_margin
from solvers.exact.encode import EncodingStoppedError
from solvers.exact.model import ModelTooLargeError
from solvers.methods import Method
from solvers.problem import Case, Clause, Specification, norm_ball
from tests.helpers.graphs import GraphBuilder
from tests.helpers.intervals import interval_bounds
from tests.solvers.convex.support import (
    bounded,
    case_of,
    convolutional,
    dense,
    least_sample,
    lying,
    residual,
)

TOLERANCE = 1e-6
CUTS = ProgramOptions(cuts=CutOptions())


def _bound(network: Network, case: Case, options: ProgramOptions = CUTS) -> ProgramBounds:
    bounds = bounded(network, case).node_bounds(0)
    return program_margins(network, case, bounds, options=options, budget=Budget())


@pytest.mark.parametrize("seed", range(6))
def test_crown_fast_lin_lp_and_cuts_come_in_that_order_below_the_exact_margin(seed: int) -> None:
    network = dense(seed)
    case = case_of(network, seed)
    start = bounded(network, case)
    bounds = start.node_bounds(0)
    budget = Budget.of_seconds(60)
    lp = program_margins(network, case, bounds, options=ProgramOptions(), budget=budget)
    cut = program_margins(network, case, bounds, options=CUTS, budget=budget)
    lowers = bounded(network, case, Method.FAST_LIN)
    exact = exact_margin(
        network, case, bounds, options=ExactOptions(mode=ExactMode.OPTIMIZE), budget=budget
    )
    least = lp.clause_lower.min()
    assert start.lower(0) <= least + TOLERANCE
    assert lowers.lower(0) <= least + TOLERANCE
    assert least <= cut.clause_lower.min() + TOLERANCE
    assert cut.clause_lower.min() <= exact.upper + TOLERANCE
    assert cut.trouble is None
    assert cut.stopped is None


def test_cuts_close_part_of_the_gap() -> None:
    gained = []
    for seed in range(6):
        network = dense(seed)
        case = case_of(network, seed)
        plain = _bound(network, case, ProgramOptions()).clause_lower.min()
        gained.append(_bound(network, case).clause_lower.min() - plain)
    assert max(gained) > 0.05


@pytest.mark.parametrize("options", [ProgramOptions(), CUTS])
@pytest.mark.parametrize("maker", [dense, convolutional, residual])
def test_no_sample_lies_below(maker: Callable[[int], Network], options: ProgramOptions) -> None:
    for seed in range(3):
        network = maker(seed)
        case = case_of(network, seed, 0.2)
        found = _bound(network, case, options)
        assert (found.clause_lower <= least_sample(network, case) + TOLERANCE).all()
        assert np.isfinite(found.clause_lower).any()


@pytest.mark.parametrize("maker", [convolutional, residual])
def test_crown_is_below_lp_on_every_graph(maker: Callable[[int], Network]) -> None:
    for seed in range(3):
        network = maker(seed)
        case = case_of(network, seed, 0.2)
        start = bounded(network, case)
        found = _bound(network, case, ProgramOptions())
        assert start.lower(0) <= found.clause_lower.min() + TOLERANCE


def test_clauses_of_several_rows_are_bounded_together() -> None:
    """The program minimises the maximum of the rows, which is more than the best row's minimum."""
    network = dense(1)
    case = case_of(network, 1)
    rows = np.concatenate([clause.matrix for clause in case.specification.clauses])
    both = Case(
        case.region, Specification((Clause(rows, np.zeros(len(rows))), *case.specification.clauses))
    )
    for options in (ProgramOptions(), CUTS):
        found = _bound(network, both, options)
        single = _bound(network, case, options).clause_lower
        assert found.clause_lower[0] >= single.max() - TOLERANCE or found.solved < 3
        assert (found.clause_lower <= least_sample(network, both) + TOLERANCE).all()


def test_clauses_that_cannot_set_the_margin_are_not_solved() -> None:
    network = dense(2)
    case = case_of(network, 2)
    bounds = bounded(network, case).node_bounds(0)
    known = np.array([-np.inf, 1e3])
    found = program_margins(
        network, case, bounds, options=ProgramOptions(), budget=Budget(), clause_lower=known
    )
    assert found.solved == 1
    assert found.clause_lower[1] == 1e3


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
def test_balls_are_bounded_soundly(norm: Norm) -> None:
    network = dense(3)
    case = case_of(network, 3)
    region = norm_ball(case.region.center, 0.5, norm, valid_range=None)
    ball = Case(region, case.specification)
    found = _bound(network, ball)
    rng = np.random.default_rng(0)
    inside = [region.pulled_in(x) for x in region.center + rng.normal(size=(500, 4)) * 0.3]
    values = np.array([_margins(network, ball, x) for x in inside])
    assert (found.clause_lower <= values.min(axis=0) + TOLERANCE).all()


def _margins(network: Network, case: Case, x: np.ndarray) -> np.ndarray:
    point = replace(case, region=type(case.region)(x, x))
    return least_sample(network, point, count=1)


def test_gurobi_finds_the_same() -> None:
    pytest.importorskip("gurobipy")
    network = dense(4)
    case = case_of(network, 4)
    one, other = (
        _bound(network, case, replace(CUTS, solver=solver))
        for solver in (SolverName.HIGHS, SolverName.GUROBI)
    )
    assert one.clause_lower.min() == pytest.approx(other.clause_lower.min(), abs=1e-2)
    plain = [
        _bound(network, case, ProgramOptions(solver=solver)).clause_lower.min()
        for solver in (SolverName.HIGHS, SolverName.GUROBI)
    ]
    assert plain[0] == pytest.approx(plain[1], abs=TOLERANCE)


def _noisy(answer: LinearAnswer) -> LinearAnswer:
    rng = np.random.default_rng(0)
    return replace(answer, duals=answer.duals + rng.normal(size=answer.duals.size))


LIES: dict[str, Callable[[LinearAnswer], LinearAnswer]] = {
    "huge duals": lambda a: replace(a, duals=a.duals * 1e9),
    "flipped duals": lambda a: replace(a, duals=-a.duals),
    "noise": _noisy,
    "not a number": lambda a: replace(a, duals=np.full_like(a.duals, np.nan)),
    "infinite": lambda a: replace(a, duals=np.full_like(a.duals, np.inf)),
    "too few": lambda a: replace(a, duals=a.duals[:1]),
    "no point": lambda a: replace(a, values=np.full_like(a.values, np.nan)),
    "far point": lambda a: replace(a, values=a.values + 1e6),
    "no optimum": lambda a: replace(a, status=LinearStatus.FAILED),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("options", [ProgramOptions(), CUTS])
def test_a_lying_solver_never_gives_an_unsound_bound(lie: str, options: ProgramOptions) -> None:
    network = dense(5)
    case = case_of(network, 5)
    maker: SessionMaker = lying(LIES[lie])
    found = _bound(network, case, replace(options, maker=maker))
    truth = _bound(network, case, ProgramOptions()).clause_lower
    assert (found.clause_lower <= least_sample(network, case) + TOLERANCE).all()
    if options.cuts is None:
        assert (found.clause_lower <= truth + TOLERANCE).all()
        # a far point may claim too little, which contradicts nothing
        assert found.trouble is not None or lie == "far point"


def test_claims_of_optimality_with_a_better_value_are_not_believed() -> None:
    """A point outside the relaxation and perfect manners: only the multipliers count."""

    def shifted(answer: LinearAnswer) -> LinearAnswer:
        return LinearAnswer(LinearStatus.OPTIMAL, answer.values * 0 + 7.0, answer.duals * 0)

    network = dense(6)
    case = case_of(network, 6)
    found = _bound(network, case, ProgramOptions(maker=lying(shifted)))
    honest = _bound(network, case, ProgramOptions())
    assert (found.clause_lower <= honest.clause_lower + TOLERANCE).all()


def test_limits_of_time_and_size_are_errors_of_their_own() -> None:
    network = dense(7)
    case = case_of(network, 7)
    bounds = bounded(network, case).node_bounds(0)
    with pytest.raises(EncodingStoppedError):
        program_margins(
            network, case, bounds, options=ProgramOptions(), budget=Budget.of_seconds(0.0)
        )
    small = ProgramOptions(encoding=EncodingOptions(relaxed=True, max_nonzeros=5))
    with pytest.raises(ModelTooLargeError):
        program_margins(network, case, bounds, options=small, budget=Budget())


def test_a_deadline_leaves_what_is_known() -> None:
    network = dense(8)
    case = case_of(network, 8)
    start = bounded(network, case)
    asked = iter([False] * 8)

    def soon() -> bool:
        return next(asked, True)

    found = program_margins(
        network,
        case,
        start.node_bounds(0),
        options=ProgramOptions(),
        budget=Budget(cancelled=soon),
        clause_lower=start.clause_lower[0],
    )
    assert found.stopped == "cancelled"
    assert (found.clause_lower >= start.clause_lower[0]).all()


def test_operators_that_are_not_piecewise_linear_are_refused() -> None:
    b = GraphBuilder((2,))
    b.add(Linear(b.parameter(np.eye(2))))
    b.add(Tanh())
    network = b.network().to(torch.float64)
    case = case_of(network, 0)
    bounds = interval_bounds(network, case.region)
    with pytest.raises(UnsupportedMethodError, match="Tanh"):
        program_margins(network, case, bounds, options=ProgramOptions(), budget=Budget())
