"""What a file means."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.errors import ShapeError, SpecificationError
from solvers.problem import Case, Problem
from solvers.vnnlib import fit_problem, read_vnnlib
from tests.helpers.problems import declarations, print_box, print_case, print_problem, problems

BENCHMARKS = Path(__file__).parents[3].parent / "shared" / "benchmarks"
UNIT = "(assert (and (>= X_0 0) (<= X_0 1)))\n"


def read(conditions: str, *, inputs: int = 1, outputs: int = 2) -> Problem:
    return read_vnnlib((declarations(inputs, outputs) + conditions).encode())


def rows_of(problem: Problem) -> list[tuple[list[list[float]], list[float]]]:
    """Return matrix and offset of every clause of the only case."""
    (case,) = problem.cases
    return [(c.matrix.tolist(), c.offset.tolist()) for c in case.specification.clauses]


@given(problems(), st.integers(0, 2**32 - 1))
def test_printed_problems_come_back_with_the_same_margins(problem: Problem, seed: int) -> None:
    again = read_vnnlib(print_problem(problem).encode())
    y = np.random.default_rng(seed).normal(scale=1e3, size=(5, 10))
    y = y[:, : problem.cases[0].specification.outputs]
    regions = [tuple(map(tuple, (c.region.lower, c.region.upper))) for c in problem.cases]
    assume(len(set(regions)) == len(regions))  # cases over one box are merged, see below
    assert len(again.cases) == len(problem.cases)
    for before, after in zip(problem.cases, again.cases, strict=True):
        np.testing.assert_array_equal(after.region.lower, before.region.lower)
        np.testing.assert_array_equal(after.region.upper, before.region.upper)
        np.testing.assert_array_equal(after.specification.margin(y), before.specification.margin(y))


@given(problems(), problems(), st.integers(0, 2**32 - 1))
def test_a_conjunction_of_disjunctions_is_multiplied_out(
    left: Problem, right: Problem, seed: int
) -> None:
    outputs = max(p.cases[0].specification.outputs for p in (left, right))
    left_spec, right_spec = (p.cases[0].specification for p in (left, right))
    box = left.cases[0].region
    text = declarations(box.lower.size, outputs) + f"(assert {print_box(box)})\n"
    for spec in (left_spec, right_spec):
        whole = print_case(Case(box, spec))
        text += f"(assert {whole})\n"
    (case,) = read_vnnlib(text.encode()).cases
    y = np.random.default_rng(seed).normal(scale=1e3, size=(5, outputs))
    expected = np.maximum(
        left_spec.margin(y[:, : left_spec.outputs]), right_spec.margin(y[:, : right_spec.outputs])
    )
    # The matrices are padded with zeros, so that sums may run in another order.
    np.testing.assert_allclose(case.specification.margin(y), expected, rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize(
    ("condition", "row", "offset"),
    [
        ("(<= Y_0 Y_1)", [1.0, -1.0], 0.0),
        ("(>= Y_0 Y_1)", [-1.0, 1.0], 0.0),
        ("(<= Y_0 3.5)", [1.0, 0.0], 3.5),
        ("(>= Y_0 -1e-3)", [-1.0, 0.0], 1e-3),
        ("(<= -2 Y_1)", [0.0, -1.0], 2.0),
        ("(< Y_0 3)", [1.0, 0.0], 3.0),
        ("(> Y_0 3)", [-1.0, 0.0], -3.0),
        ("(<= (+ Y_0 (* 2 Y_1) 1) 4)", [1.0, 2.0], 3.0),
        ("(<= (* Y_0 2 3) (- 5))", [6.0, 0.0], -5.0),
        ("(<= (- Y_0 Y_1 1) (- Y_1))", [1.0, 0.0], 1.0),
        ("(<= (* 2 (+ Y_0 1)) (/ 1 4))", [2.0, 0.0], -1.75),
        ("(<= (/ Y_0 4) 1)", [0.25, 0.0], 1.0),
        ("(<= |Y_0| .5)", [1.0, 0.0], 0.5),
        ("(<= Y_0 +5.)", [1.0, 0.0], 5.0),
    ],
)
def test_comparisons_of_outputs(condition: str, row: list[float], offset: float) -> None:
    assert rows_of(read(f"{UNIT}(assert {condition})")) == [([row], [offset])]


@pytest.mark.parametrize(
    ("conditions", "lower", "upper"),
    [
        ("(<= X_0 1) (>= X_0 -1)", -1.0, 1.0),
        ("(>= 1 X_0) (<= -1 X_0)", -1.0, 1.0),
        ("(<= -1 X_0 1)", -1.0, 1.0),
        ("(= X_0 0.25)", 0.25, 0.25),
        ("(<= X_0 1) (<= X_0 2) (>= X_0 0) (>= X_0 -1)", 0.0, 1.0),
        ("(<= (- X_0) 1) (<= (* 2 X_0) 1)", -1.0, 0.5),
        ("(<= (+ X_0 1) 3) (>= (- X_0 1) 0)", 1.0, 2.0),
        ("(<= (* -2 X_0) 1) (<= (- X_0 X_0) (- 1 X_0))", -0.5, 1.0),
    ],
)
def test_bounds_on_inputs(conditions: str, lower: float, upper: float) -> None:
    (case,) = read(f"(assert (and {conditions}))(assert (<= Y_0 Y_1))").cases
    assert (case.region.lower.tolist(), case.region.upper.tolist()) == ([lower], [upper])


def test_a_bound_that_has_to_be_rounded_never_shrinks_the_region() -> None:
    (case,) = read("(assert (<= 1 (* 3 X_0) 2))(assert (<= Y_0 0))").cases
    assert Fraction(case.region.lower[0]) <= Fraction(1, 3)
    assert Fraction(case.region.upper[0]) >= Fraction(2, 3)
    np.testing.assert_allclose(case.region.lower, 1 / 3, rtol=1e-15)


def test_boxes_in_a_disjunction_become_cases_that_share_the_output_condition() -> None:
    problem = read(
        "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))"
        "(assert (or (<= Y_0 0) (<= Y_1 0)))"
    )
    assert [case.region.lower.tolist() for case in problem.cases] == [[0.0], [2.0]]
    assert [len(case.specification.clauses) for case in problem.cases] == [2, 2]


def test_alternatives_over_one_box_become_clauses_of_one_case() -> None:
    problem = read(
        "(assert (or (and (>= X_0 0) (<= X_0 1) (<= Y_0 0))"
        " (and (<= X_0 1) (>= X_0 0) (>= Y_0 5)) (and (>= X_0 2) (<= X_0 3) (<= Y_1 0))))"
    )
    assert [len(case.specification.clauses) for case in problem.cases] == [2, 1]


def test_an_alternative_without_inputs_is_left_out() -> None:
    problem = read(f"{UNIT}(assert (or (>= X_0 2) (<= X_0 0.5)))(assert (<= Y_0 0))")
    assert [case.region.upper.tolist() for case in problem.cases] == [[0.5]]


def test_rows_of_the_whole_file_join_every_clause() -> None:
    problem = read(f"{UNIT}(assert (<= Y_0 1))(assert (or (<= Y_1 2) (>= Y_1 3)))")
    assert rows_of(problem) == [
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0]),
        ([[1.0, 0.0], [0.0, -1.0]], [1.0, -3.0]),
    ]


def test_comments_other_declarations_and_logic_commands_are_understood() -> None:
    text = (
        '; a (comment\n(set-logic QF_LRA)\n(set-info :source "some (one")\r\n'
        "(declare-fun X_0 () Real) ; )\n(declare-const Y_0 Real)\n"
        "(assert (<= 0 X_0 1))(assert (<= Y_0 0))"
    )
    assert read_vnnlib(text.encode()).cases[0].specification.outputs == 1


def test_sources_and_names(tmp_path: Path) -> None:
    text = declarations(1, 1) + UNIT + "(assert (<= Y_0 0))"
    plain, packed = tmp_path / "some.spec.vnnlib", tmp_path / "some.spec.vnnlib.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_vnnlib(plain).name == read_vnnlib(str(packed)).name == "some.spec"
    assert read_vnnlib(text.encode()).name == "problem"
    assert read_vnnlib(b"\xef\xbb\xbf" + text.encode(), name="mine").name == "mine"
    assert read_vnnlib(gzip.compress(text.encode())).cases[0].region.upper.tolist() == [1.0]


def test_fitting_gives_regions_the_shape_of_the_network() -> None:
    problem = read("(assert (and (<= 0 X_0 1) (<= 2 X_1 3)))(assert (<= Y_0 0))", inputs=2)
    fitted = fit_problem(problem, (1, 2, 1), 2)
    assert fitted.cases[0].region.lower.tolist() == [[[0.0], [2.0]]]
    with pytest.raises(ShapeError, match="2 inputs, the network 3"):
        fit_problem(problem, (3,), 2)
    with pytest.raises(SpecificationError, match="declares 2 outputs, the network has 10"):
        fit_problem(problem, (2,), 10)


def test_benchmark_files_are_read() -> None:
    folders = sorted(BENCHMARKS.glob("*/vnnlib"))
    if not folders:
        pytest.skip("the benchmark files are not beside the repository")
    for folder in folders:
        files = sorted(folder.iterdir(), key=lambda file: (file.stat().st_size, file.name))
        # Image files of one category differ in their numbers only, and take long.
        small = [file for file in files if file.stat().st_size < 20_000]
        for file in {*small, *files[-2:]}:
            problem = read_vnnlib(file)
            text = file.read_text()
            for case in problem.cases:
                assert case.region.shape == (text.count("(declare-const X_"),), file
                assert case.specification.outputs == text.count("(declare-const Y_"), file
