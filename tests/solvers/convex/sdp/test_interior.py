"""The interior-point method: its linear algebra entry by entry, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.budget import Budget
from solvers.convex.sdp.assembly import WorkingForms
from solvers.convex.sdp.elimination import Elimination
from solvers.convex.sdp.interior import InteriorPoint, InteriorSettings
from solvers.convex.sdp.newton import newton_matrix, values_of
from solvers.convex.sdp.program import Products, Program
from solvers.convex.sdp.safe import safe_bound
from solvers.convex.sdp.separation import violated_products
from tests.helpers.graphs import mlp
from tests.helpers.lifted import columns_at, inputs_of, lifted_case

CASE = lifted_case(mlp((4, 6, 5, 3), seed=9), 0.6)
PROGRAM = CASE.program()


def positive_definite(size: int, seed: int) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(size, size))
    return half @ half.T + 0.1 * np.eye(size)


def constraint_matrices(program: Program) -> list[np.ndarray]:
    """Write every constraint out: the corner, the bounds of columns, the products."""
    size = program.size
    unit = np.eye(size)
    corner = np.outer(unit[0], unit[0])
    dense = program.forms.matrix.toarray()
    matrices = [corner, *(corner - np.outer(unit[i], unit[i]) for i in range(1, size))]
    for left, right in zip(program.products.left, program.products.right, strict=True):
        outer = np.outer(dense[left], dense[right])
        matrices.append((outer + outer.T) / 2)
    return matrices


def test_the_newton_matrix_equals_its_definition() -> None:
    forms = WorkingForms(PROGRAM.forms, PROGRAM.products)
    primal, inverse = positive_definite(PROGRAM.size, 0), positive_definite(PROGRAM.size, 1)
    found = newton_matrix(forms, primal, inverse)
    written = constraint_matrices(PROGRAM)
    for row, one in enumerate(written):
        for column, other in enumerate(written[: row + 1]):
            expected = np.trace(one @ primal @ other @ inverse)
            expected = (expected + np.trace(one @ inverse @ other @ primal)) / 2
            assert found[row, column] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    values = [np.trace(one @ primal) for one in written]
    assert values_of(forms, primal) == pytest.approx(np.array(values))
    weights = np.random.default_rng(2).normal(size=PROGRAM.products.count)
    total = sum(w * one for w, one in zip(weights, written[PROGRAM.size :], strict=True))
    assert forms.weighted(weights) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_elimination_inverts_and_tests_like_the_whole_matrix(count: int) -> None:
    matrix = positive_definite(9, 3)
    block = matrix[1 : 1 + count, 1 : 1 + count]
    matrix[1 : 1 + count, 1 : 1 + count] = np.diag(np.diag(block)) + 20.0 * np.eye(count)
    algebra = Elimination(9, count)
    assert algebra.positive(matrix)
    inverse = algebra.inverse(matrix)
    assert inverse is not None
    assert inverse == pytest.approx(np.linalg.inv(matrix), abs=1e-10)
    for at in (0, 1, 8):
        broken = matrix.copy()
        broken[at, at] = -1.0
        assert not algebra.positive(broken)
        assert algebra.inverse(broken) is None


@pytest.mark.parametrize("seed", range(4))
def test_eliminating_inputs_gives_the_bound_of_the_full_lift(seed: int) -> None:
    program = lifted_case(mlp((5, 6, 4, 2), seed=seed), 0.5).program()
    tight = InteriorSettings(rounds=0, tolerance=1e-6)
    full = safe_bound(program, InteriorPoint(program, tight, 0).run(Budget()))
    reduced = InteriorPoint(program, tight, program.inputs).run(Budget())
    assert safe_bound(program, reduced) == pytest.approx(full, rel=1e-4, abs=1e-4)


def test_eliminated_inputs_are_never_coupled() -> None:
    method = InteriorPoint(PROGRAM, InteriorSettings(rounds=2), PROGRAM.inputs)
    multipliers = method.run(Budget())
    assert multipliers.products.count > PROGRAM.products.count
    reads = np.abs(PROGRAM.forms.matrix[:, 1 : 1 + PROGRAM.inputs].toarray()).sum(axis=1) > 0
    added = multipliers.products.taken(
        np.arange(PROGRAM.products.count, multipliers.products.count)
    )
    assert not (reads[added.left] & reads[added.right]).any()
    assert safe_bound(PROGRAM, multipliers) <= min(
        CASE.margin_at(x) for x in inputs_of(CASE.case, 300)
    )


def test_bounds_rise_and_each_is_proved_as_told() -> None:
    for stop in (1, 2, 5, 9):
        seen: list[float] = []
        method = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, iterations=stop), 0)
        multipliers = method.run(Budget(), on_step=seen.append)
        assert method.iterations == stop == len(seen)
        assert seen == sorted(seen)
        # the corner is chosen anew when the bound is proved, never for the worse
        assert safe_bound(PROGRAM, multipliers) >= seen[-1] - 1e-8


def test_more_products_only_tighten_and_the_first_round_already_does() -> None:
    bounds = []
    for rounds in (0, 1, 4):
        method = InteriorPoint(PROGRAM, InteriorSettings(rounds=rounds, tolerance=1e-5), 0)
        bounds.append(safe_bound(PROGRAM, method.run(Budget())))
        assert method.finished
    slack = 1e-4 * (1.0 + abs(bounds[0]))
    assert bounds[0] + slack < bounds[1]
    assert bounds[1] < bounds[2] + slack
    assert bounds[2] <= min(CASE.margin_at(x) for x in inputs_of(CASE.case, 2000))


def test_another_method_s_multipliers_are_gone_on_from() -> None:
    loose = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, iterations=6), 0).run(Budget())
    method = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, tolerance=1e-5), 0)
    polished = safe_bound(PROGRAM, method.run(Budget(), start=loose))
    cold = InteriorPoint(PROGRAM, InteriorSettings(rounds=0, tolerance=1e-5), 0).run(Budget())
    assert polished > safe_bound(PROGRAM, loose)
    assert polished == pytest.approx(safe_bound(PROGRAM, cold), rel=1e-3)


def test_products_violated_by_a_point_are_found_and_runs_violate_none() -> None:
    generator = np.random.default_rng(0)
    w = np.concatenate([[1.0], generator.uniform(-1, 1, PROGRAM.size - 1)])
    found, values = violated_products(
        PROGRAM, PROGRAM.products, np.outer(w, w), count=20, eliminated=0
    )
    forms = PROGRAM.forms.matrix @ w / PROGRAM.forms.reach
    assert found.count > 0
    assert forms[found.left] * forms[found.right] == pytest.approx(values)
    assert (values < 0).all()
    assert (np.diff(values) >= 0).all()
    known = {(int(a), int(b)) for a, b in zip(found.left, found.right, strict=True)}
    again, _ = violated_products(
        PROGRAM, PROGRAM.products.plus(found), np.outer(w, w), count=20, eliminated=0
    )
    assert known.isdisjoint(
        {(int(a), int(b)) for a, b in zip(again.left, again.right, strict=True)}
    )
    run = columns_at(CASE, inputs_of(CASE.case, 1)[0])
    none, _ = violated_products(
        PROGRAM, PROGRAM.products, np.outer(run, run), count=9, eliminated=0
    )
    assert none.count == 0


def test_products_keep_their_order_when_joined() -> None:
    one = Products(np.array([1, 2]), np.array([3, 4]), np.array([True, False]))
    both = one.plus(one.taken(np.array([1])))
    assert both.count == 3
    assert both.left.tolist() == [1, 2, 2]
    assert both.equality.tolist() == [True, False, False]
