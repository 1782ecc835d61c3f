"""Cone solvers: against a formulation written independently, stopped early, and lying."""

from __future__ import annotations

import math
import time
from functools import cache
from types import MappingProxyType

import numpy as np
import pytest

from solvers.budget import Budget
from solvers.convex.sdp import SdpOptions, SdpResult, SdpSolver, SdpStatus, sdp_margin
from solvers.convex.sdp.cone import ConeProgram, ConeRequest, build_cone_program, layer_groups
from solvers.convex.sdp.scs_adapter import solve_with_scs
from tests.helpers.graphs import mlp
from tests.helpers.lifted import LiftedCase, columns_at, inputs_of, lifted_case
from tests.helpers.programs import brute_force_margin

CONES = [SdpSolver.SCS, SdpSolver.CLARABEL]
DEEP = lifted_case(mlp((3, 3, 2, 3, 2), seed=24), 0.9)
SHALLOW = lifted_case(mlp((3, 6, 2), seed=2), 0.7)


def bound(case: LiftedCase, *, seconds: float = 60.0, **settings: object) -> SdpResult:
    options = SdpOptions(rounds=0, **settings)  # type: ignore[arg-type]
    budget = Budget.of_seconds(seconds)
    return sdp_margin(case.network, case.case, case.bounds, options=options, budget=budget)


@cache
def truth(case: LiftedCase) -> float:
    region, clauses = case.case.region, case.case.specification.clauses
    return min(brute_force_margin(case.network, region, clause) for clause in clauses)


def independent_value(case: LiftedCase) -> float:
    """Solve the relaxation of Raghunathan et al. 2018 with triangle rows, layer by layer.

    Written from the paper for networks of linear layers and Relu, in raw units, over all neurons
    whether stable or not, with the modelling layer; it shares no code with the package.
    """
    cvxpy = pytest.importorskip("cvxpy")
    weights = {k: v.double().numpy() for k, v in case.network.parameters.items()}
    layers = [(weights[f"p{2 * i}"], weights[f"p{2 * i + 1}"]) for i in range(len(weights) // 2)]
    pre = [case.bounds[f"n{2 * i + 1}"] for i in range(len(layers) - 1)]
    region = case.case.region
    boxes = [(region.lower, region.upper)]
    boxes += [(np.maximum(low, 0.0), np.maximum(high, 0.0)) for low, high in pre]
    sizes = [box[0].size for box in boxes]
    first = np.cumsum([1, *sizes])
    whole = cvxpy.Variable((first[-1], first[-1]), PSD=True)
    constraints = [whole[0, 0] == 1]
    for layer, (low, high) in enumerate(boxes):
        part = slice(first[layer], first[layer + 1])
        x, square = whole[0, part], cvxpy.diag(whole[part, part])
        constraints.append(square <= cvxpy.multiply(low + high, x) - low * high)
    for layer, ((weight, bias), (low, high)) in enumerate(zip(layers, pre, strict=False)):
        x = slice(first[layer], first[layer + 1])
        z = slice(first[layer + 1], first[layer + 2])
        affine = weight @ whole[0, x] + bias
        constraints += [whole[0, z] >= 0, whole[0, z] >= affine]
        both = cvxpy.diag(weight @ whole[x, z]) + cvxpy.multiply(bias, whole[0, z])
        constraints.append(cvxpy.diag(whole[z, z]) == both)
        open_ = (low < 0) & (high > 0)
        slope = np.where(open_, high / np.where(open_, high - low, 1.0), (low >= 0) * 1.0)
        shift = np.where(open_, -slope * low, 0.0)
        constraints.append(whole[0, z] <= cvxpy.multiply(slope, affine) + shift)
    clause = case.case.specification.clauses[0]
    weight, bias = layers[-1]
    last = slice(first[-2], first[-1])
    output = weight @ whole[0, last] + bias
    problem = cvxpy.Problem(
        cvxpy.Minimize(clause.matrix[0] @ output - clause.offset[0]), constraints
    )
    problem.solve(solver=cvxpy.CLARABEL)
    return float(problem.value)


@pytest.mark.parametrize(("sizes", "seed"), [((2, 4, 2), 1), ((2, 3, 3, 2), 2), ((3, 4, 3, 2), 7)])
def test_the_relaxation_is_at_least_as_tight_as_an_independent_formulation(
    sizes: tuple[int, ...], seed: int
) -> None:
    case = lifted_case(mlp(sizes, seed=seed), 0.6)
    assert case.lifted.hinges.column.size >= 3
    reference = independent_value(case)
    result = bound(case, tolerance=1e-6)
    # stable neurons are substituted here, which can only help
    assert result.lower >= reference - 1e-4 * (1.0 + abs(reference))
    if case.lifted.hinges.column.size == sum(sizes[1:-1]):
        assert result.lower == pytest.approx(reference, abs=1e-3)


@pytest.mark.parametrize("solver", CONES)
@pytest.mark.parametrize("decompose", [False, True])
def test_cone_solvers_agree_with_the_interior_point_method(
    solver: SdpSolver, decompose: bool
) -> None:
    wanted = bound(DEEP, tolerance=1e-5).lower
    found = bound(DEEP, solver=solver, decompose=decompose, polish=False, tolerance=1e-5)
    assert found.solver is solver
    assert found.lower == pytest.approx(wanted, rel=5e-3, abs=5e-3)
    assert found.lower <= truth(DEEP) + 1e-7


def test_layers_get_cones_of_their_own_and_together_hold_every_constraint() -> None:
    groups = layer_groups(DEEP.program())
    sizes = [np.count_nonzero(DEEP.lifted.level == level) for level in range(4)]
    assert [group.size for group in groups] == [
        1 + sizes[0] + sizes[1],
        1 + sizes[1] + sizes[2],
        1 + sizes[2] + sizes[3],
    ]
    program = DEEP.program()
    reads = program.forms.matrix.toarray() != 0
    for left, right in zip(program.products.left, program.products.right, strict=True):
        touched = set(np.flatnonzero(reads[left] | reads[right]))
        assert any(touched <= set(group) for group in groups)
    assert len(layer_groups(SHALLOW.program())) == 1


def test_runs_of_the_network_are_feasible_points_of_the_arrays() -> None:
    program = DEEP.program()
    for decompose in (False, True):
        arrays = build_cone_program(program, decompose=decompose)
        groups = layer_groups(program) if decompose else [np.arange(program.size)]
        keys = sorted(
            {(int(min(i, j)), int(max(i, j))) for group in groups for i in group for j in group}
        )
        for x in inputs_of(DEEP.case, 5):
            w = columns_at(DEEP, x)
            entries = np.array([w[i] * w[j] for i, j in keys])
            left = arrays.right - arrays.matrix @ entries
            assert left[: arrays.zero] == pytest.approx(0.0, abs=1e-10)
            assert (left[arrays.zero : arrays.zero + arrays.nonnegative] >= -1e-10).all()
            objective = program.objective.coefficients @ w
            assert arrays.cost @ entries == pytest.approx(objective, abs=1e-10)
            last = left[arrays.zero + arrays.nonnegative :][
                : arrays.cones[0] * (arrays.cones[0] + 1) // 2
            ]
            part = w[groups[0]]
            expected = [
                part[i] * part[j] * (1.0 if i == j else np.sqrt(2.0))
                for i in range(part.size)
                for j in range(i, part.size)
            ]
            assert last == pytest.approx(np.array(expected), abs=1e-10)


@pytest.mark.parametrize("polish", [False, True])
@pytest.mark.parametrize("iterations", [1, 10])
def test_scs_stopped_after_a_few_iterations_still_proves_a_bound(
    iterations: int, polish: bool
) -> None:
    result = bound(DEEP, solver=SdpSolver.SCS, iterations=iterations, polish=polish)
    assert -np.inf < result.lower <= truth(DEEP) + 1e-7
    assert polish or result.status is SdpStatus.STOPPED


def test_the_polish_improves_on_what_scs_left() -> None:
    rough = bound(DEEP, solver=SdpSolver.SCS, iterations=10, polish=False).lower
    polished = bound(DEEP, solver=SdpSolver.SCS, iterations=10, polish=True).lower
    assert polished > rough


def honest(program: ConeProgram, request: ConeRequest) -> np.ndarray:
    return solve_with_scs(program, request)[0]


LIES = {
    "nothing": lambda y: y[:0],
    "not a number": lambda y: np.full_like(y, np.nan),
    "infinite": lambda y: np.full_like(y, np.inf),
    "too good": lambda y: 10.0 * y,
    "reversed": lambda y: -y,
    "noisy": lambda y: y + np.random.default_rng(0).normal(size=y.size),
    "slightly off": lambda y: y * (1 + 1e-3 * np.random.default_rng(0).normal(size=y.size)),
    "another problem's": lambda y: y[::-1].copy(),
    "too long": lambda y: np.concatenate([y, y]),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("polish", [False, True])
def test_a_lying_solver_never_yields_an_unsound_bound(lie: str, polish: bool) -> None:
    calls = []

    def liar(program: ConeProgram, request: ConeRequest) -> tuple[np.ndarray, bool, int]:
        calls.append(program)
        return LIES[lie](honest(program, request)), True, -7

    solvers = MappingProxyType({SdpSolver.SCS: liar})
    result = bound(
        SHALLOW, solver=SdpSolver.SCS, polish=polish, cone_solvers=solvers, tolerance=1e-3
    )
    assert calls
    assert not math.isnan(result.lower)
    assert result.lower <= truth(SHALLOW) + 1e-7


@pytest.mark.parametrize("solver", CONES)
def test_cone_solvers_keep_a_deadline(solver: SdpSolver) -> None:
    case = lifted_case(mlp((4, 14, 14, 2), seed=3), 0.5)
    budget = Budget.of_seconds(0.5)
    asked = []

    def watched(program: ConeProgram, request: ConeRequest) -> tuple[np.ndarray, bool, int]:
        asked.append(request.budget.deadline)
        return SdpOptions().cone_solvers[solver](program, request)

    result = sdp_margin(
        case.network,
        case.case,
        case.bounds,
        options=SdpOptions(
            solver=solver, tolerance=1e-9, cone_solvers=MappingProxyType({solver: watched})
        ),
        budget=budget,
    )
    assert all(deadline <= budget.deadline for deadline in asked)
    assert math.isfinite(budget.deadline - time.monotonic())
    assert result.lower <= min(case.margin_at(x) for x in inputs_of(case.case, 200))
