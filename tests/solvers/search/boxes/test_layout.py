"""Cases of different shapes in one set of tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from solvers.problem import Box, Case, Clause, Specification
from solvers.search.boxes.layout import Layout
from tests.helpers.graphs import mlp
from tests.solvers.search.boxes.support import cube, random_specification


def _cases(count: int, seed: int = 0) -> list[Case]:
    generator = np.random.default_rng(seed)
    return [
        Case(
            cube(3, 1.0 + i), random_specification(generator, 2, clauses=1 + i % 3, rows=1 + i % 2)
        )
        for i in range(count)
    ]


def test_margins_are_those_of_the_specifications() -> None:
    cases = _cases(5)
    layout = Layout.of(mlp((3, 4, 2)).to(torch.float64), cases)
    y = np.random.default_rng(1).normal(size=(20, 2))
    case = torch.arange(20) % 5
    margins = layout.margins(case, torch.from_numpy(y)).numpy()
    expected = [cases[int(c)].specification.margin(point) for c, point in zip(case, y, strict=True)]
    np.testing.assert_allclose(margins, expected)


def test_not_a_number_has_no_margin() -> None:
    layout = Layout.of(mlp((3, 4, 2)).to(torch.float64), _cases(1))
    y = torch.full((1, 2), torch.nan, dtype=torch.float64)
    assert layout.margins(torch.zeros(1, dtype=torch.long), y).item() == torch.inf


def test_shares_the_matrix_where_cases_agree() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(1, 2))
    cases = [
        Case(cube(3), Specification((Clause(matrix, np.array([float(i)])),))) for i in range(4)
    ]
    layout = Layout.of(mlp((3, 4, 2)).to(torch.float64), cases)
    assert layout.matrix.shape[0] == 1
    assert not layout.has_sums
    rows, offset = layout.single_rows(torch.tensor([3, 1]), torch.tensor([0, 0]))
    assert offset.tolist() == [3.0, 1.0]
    np.testing.assert_array_equal(rows.numpy(), np.concatenate([matrix, matrix]))
    whole, _ = layout.rows_of(torch.tensor([2]))
    np.testing.assert_array_equal(whole[0].numpy(), matrix)


def test_keeps_only_inputs_that_vary_and_fills_in_the_others_by_case() -> None:
    one = Box(np.array([0.0, 5.0, 1.0]), np.array([1.0, 5.0, 1.0]))
    two = Box(np.array([0.0, 7.0, 2.0]), np.array([0.0, 7.0, 3.0]))
    specification = random_specification(np.random.default_rng(0), 2)
    layout = Layout.of(
        mlp((3, 4, 2)).to(torch.float64), [Case(one, specification), Case(two, specification)]
    )
    assert layout.active.tolist() == [0, 2]
    inputs = layout.inputs(torch.tensor([1, 0]), torch.tensor([[0.0, 2.5], [0.5, 1.0]]).double())
    assert inputs.tolist() == [[0.0, 7.0, 2.5], [0.5, 5.0, 1.0]]


def test_a_region_that_is_a_point_still_has_an_input() -> None:
    layout = Layout.of(
        mlp((3, 4, 2)).to(torch.float64),
        [Case(cube(3, 0.0), random_specification(np.random.default_rng(0), 2))],
    )
    assert layout.active.tolist() == [0]


@pytest.mark.parametrize(("rows", "sums"), [(1, False), (3, True)])
def test_knows_whether_clauses_have_sums(rows: int, sums: bool) -> None:
    specification = random_specification(np.random.default_rng(0), 2, clauses=2, rows=rows)
    layout = Layout.of(mlp((3, 4, 2)).to(torch.float64), [Case(cube(3), specification)])
    assert layout.has_sums is sums


def test_absent_clauses_never_hold() -> None:
    layout = Layout.of(mlp((3, 4, 2)).to(torch.float64), _cases(3))
    rows = torch.zeros(3, layout.rows, dtype=torch.float64)
    values = layout.clause_values(torch.arange(3), rows)
    assert torch.equal(values.isinf(), ~layout.present)
