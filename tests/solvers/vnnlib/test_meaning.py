"""A problem holds at a point exactly where the formula it was read from does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SpecificationError
from solvers.problem import Problem
from solvers.vnnlib import read_vnnlib
from tests.helpers.formulas import Formula, Term, Values, formulas, terms
from tests.helpers.problems import declarations

OUTPUTS = ["Y_0", "Y_1"]
BOUNDED = "(assert (<= (- 1) X_0 1))(assert (<= (- 1) X_1 1))"
# Multiples of 1/1024 near the offsets that formulas have, so that both truths come up.
coordinates = st.integers(-40, 40).map(lambda n: Fraction(n, 2048))


def points() -> st.SearchStrategy[Values]:
    names = ["X_0", "X_1", *OUTPUTS]
    return st.tuples(*[coordinates] * 4).map(lambda c: dict(zip(names, c, strict=True)))


def holds(problem: Problem, values: Values) -> bool:
    x, y = (np.array([float(values[f"{kind}_{i}"]) for i in range(2)]) for kind in "XY")
    return any(case.region.contains(x) and case.specification.holds_at(y) for case in problem.cases)


@given(st.lists(formulas(OUTPUTS), min_size=1, max_size=3), st.lists(points(), min_size=5))
def test_conditions_on_outputs(conditions: list[Formula], where: list[Values]) -> None:
    asserted = "".join(f"(assert {condition.text})\n" for condition in conditions)
    problem = read_vnnlib((declarations(2, 2) + BOUNDED + asserted).encode())
    assert len(problem.cases) == 1
    for values in where:
        assert holds(problem, values) == all(c.truth(values) for c in conditions)


@given(st.lists(formulas(["X_0"], ["X_1"], OUTPUTS), max_size=3), st.lists(points(), min_size=5))
def test_conditions_on_inputs_and_outputs(conditions: list[Formula], where: list[Values]) -> None:
    asserted = "".join(f"(assert {condition.text})\n" for condition in conditions)
    # Every alternative then has a condition on outputs; this one holds at all of the points.
    always = "(assert (<= Y_0 99))"
    try:
        problem = read_vnnlib((declarations(2, 2) + BOUNDED + always + asserted).encode())
    except SpecificationError as error:
        assert "has no value" in str(error)
        assert not any(all(c.truth(values) for c in conditions) for values in where)
        return
    for values in where:
        expected = all(c.truth(values) for c in conditions)
        # Bounds may be rounded outwards, by far less than the distance between these points.
        assert holds(problem, values) == expected


@given(formulas(["X_0"], ["X_1"], OUTPUTS), points())
def test_joining_a_condition_with_itself_changes_nothing(
    condition: Formula, values: Values
) -> None:
    head = declarations(2, 2) + BOUNDED + "(assert (<= Y_0 99))"
    once = f"{head}(assert {condition.text})"
    twice = f"{head}(assert (and {condition.text} (or {condition.text} {condition.text})))"
    try:
        problem = read_vnnlib(once.encode())
    except SpecificationError:
        return
    assert holds(read_vnnlib(twice.encode()), values) == holds(problem, values)


@given(terms(OUTPUTS), points())
def test_terms_have_their_value(term: Term, values: Values) -> None:
    text = declarations(2, 2) + BOUNDED + f"(assert (<= (+ (* 4096 Y_0) {term.text}) 0))"
    (case,) = read_vnnlib(text.encode()).cases
    (clause,) = case.specification.clauses
    y = np.array([float(values[name]) for name in OUTPUTS])
    assert Fraction(float(clause.margin(y))) == 4096 * values["Y_0"] + term.value(values)
