"""Random problems, and their text in VNN-LIB."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from solvers.problem import Box, Case, Clause, Problem, Specification

numbers = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)


@st.composite
def boxes(draw: st.DrawFn, inputs: int) -> Box:
    """Draw a flat box, some of its intervals of width 0."""
    lower = np.array([draw(numbers) for _ in range(inputs)])
    width = np.array([draw(st.sampled_from([0.0, 1e-9, 0.5, 1e3])) for _ in range(inputs)])
    return Box(lower, lower + width)


@st.composite
def specifications(draw: st.DrawFn, outputs: int) -> Specification:
    """Draw an OR of clauses, no row of which is all zero."""
    clauses = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(1, 3))
        matrix = np.array([[draw(numbers) for _ in range(outputs)] for _ in range(rows)])
        matrix[:, 0] = np.where(np.abs(matrix).max(axis=1) == 0, 1.0, matrix[:, 0])
        clauses.append(Clause(matrix, np.array([draw(numbers) for _ in range(rows)])))
    return Specification(tuple(clauses))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draw a problem of a few cases over different boxes."""
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    cases = [
        Case(draw(boxes(inputs)), draw(specifications(outputs)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    return Problem(tuple(cases))


def declarations(inputs: int, outputs: int) -> str:
    """Return the declarations of that many variables."""
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{i}" for i in range(outputs)]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


def print_clause(clause: Clause) -> str:
    """Return a clause as a conjunction of comparisons."""
    rows = []
    for row, offset in zip(clause.matrix, clause.offset, strict=True):
        terms = " ".join(f"(* {float(c)!r} Y_{i})" for i, c in enumerate(row))
        rows.append(f"(<= (+ {terms}) {float(offset)!r})")
    return f"(and {' '.join(rows)})"


def print_box(box: Box) -> str:
    """Return a box as a conjunction of bounds."""
    pairs = zip(box.lower.ravel(), box.upper.ravel(), strict=True)
    bounds = (
        f"(>= X_{i} {float(low)!r}) (<= X_{i} {float(up)!r})" for i, (low, up) in enumerate(pairs)
    )
    return f"(and {' '.join(bounds)})"


def print_case(case: Case) -> str:
    """Return a case as one condition."""
    clauses = " ".join(print_clause(clause) for clause in case.specification.clauses)
    return f"(and {print_box(case.region)} (or {clauses}))"


def print_problem(problem: Problem) -> str:
    """Return a problem as a VNN-LIB file."""
    first = problem.cases[0]
    head = declarations(first.region.lower.size, first.specification.outputs)
    return f"{head}(assert (or {' '.join(print_case(case) for case in problem.cases)}))\n"
