"""Programs as arrays: what small coefficients become, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BoundsError, InvalidInputError, ShapeError
from models.operators import Linear, Relu
from solvers.exact import EncodingOptions, MilpModel, encode_network
from solvers.exact.affine import Affine, from_triplets
from solvers.exact.builder import ModelBuilder
from solvers.exact.model import (
    SMALLEST_COEFFICIENT,
    ModelTooLargeError,
    Rows,
    relax_small_coefficients,
)
from solvers.problem import Box, Clause
from tests.helpers.graphs import GraphBuilder
from tests.helpers.intervals import interval_bounds
from tests.helpers.programs import minimum

sizes = st.sampled_from([0.0, 1e-13, 3e-10, -1e-9, 1.9e-9, 1e-3, -2.0])


@st.composite
def small_rows(draw: st.DrawFn) -> tuple[Rows, np.ndarray, np.ndarray]:
    columns = draw(st.integers(1, 4))
    data = np.array([[draw(sizes) for _ in range(columns)] for _ in range(2)])
    lower = np.array([draw(st.floats(-1e3, 1e3)) for _ in range(columns)])
    upper = lower + np.array([draw(st.floats(0.0, 1e3)) for _ in range(columns)])
    rows = Rows(sp.csr_array(data), np.array([-math.inf, 0.0]), np.array([0.5, 0.0]))
    return rows, lower, upper


@given(problem=small_rows(), share=st.floats(0.0, 1.0))
def test_absorbing_keeps_every_feasible_point(
    problem: tuple[Rows, np.ndarray, np.ndarray], share: float
) -> None:
    rows, lower, upper = problem
    x = lower + share * (upper - lower)
    value = rows.matrix @ x
    # make the point feasible, then ask whether it still is
    rows = Rows(rows.matrix, np.minimum(rows.lower, value), np.maximum(rows.upper, value))
    relaxed = relax_small_coefficients(rows, lower, upper)
    kept = relaxed.matrix @ x
    rounding = 1e-12 * (1.0 + np.abs(value))
    assert (kept >= relaxed.lower - rounding).all()
    assert (kept <= relaxed.upper + rounding).all()
    assert (np.abs(relaxed.matrix.data) >= SMALLEST_COEFFICIENT).all()


def test_large_coefficients_are_left_alone() -> None:
    rows = Rows(sp.csr_array(np.array([[1.0, 3e-9]])), np.zeros(1), np.ones(1))
    assert relax_small_coefficients(rows, np.zeros(2), np.ones(2)) is rows


def test_small_objective_coefficients_count_at_their_worst() -> None:
    model = box_model(2).minimising(np.array([1.0, -1e-9]), 0.0)
    np.testing.assert_array_equal(model.objective, [1.0, 0.0])
    assert model.offset == pytest.approx(-1e-9)
    assert model.minimum_over_boxes() == pytest.approx(-1e-9)


def test_network_with_tiny_weights_keeps_a_sound_bound() -> None:
    builder = GraphBuilder((2,))
    weight = np.array([[1e-10, 1.0], [1.0, -3e-10]])
    builder.add(Linear(builder.parameter(weight), builder.parameter(np.array([1e-11, 0.0]))))
    builder.add(Relu())
    builder.add(Linear(builder.parameter(np.array([[1.0, -1.0]]))))
    network = builder.network()
    region = Box(np.full(2, -1.0), np.full(2, 1.0))
    encoded = encode_network(
        network, region, interval_bounds(network, region), options=EncodingOptions()
    )
    model = encoded.clause_model(Clause(np.ones((1, 1)), np.zeros(1)))
    assert (np.abs(model.rows.matrix.data) >= SMALLEST_COEFFICIENT).all()
    # the least value is -1 up to 1e-9; the program may only be below the truth
    assert minimum(model) <= -1.0 + 1e-12
    assert minimum(model) == pytest.approx(-1.0, abs=1e-8)


def box_model(columns: int) -> MilpModel:
    builder = ModelBuilder(1000)
    builder.add_columns(np.zeros(columns), np.ones(columns))
    return builder.build()


def test_largest_of_several_functions_is_minimised() -> None:
    model = box_model(1).minimising_maximum(
        sp.csr_array(np.array([[1.0], [-1.0]])), np.array([0.0, 1.0])
    )
    # max(x, 1 - x) over [0, 1]
    assert minimum(model) == pytest.approx(0.5)
    assert model.column_count == 2


def test_widths_and_corner() -> None:
    model = box_model(3).minimising(np.array([1.0, -2.0, 0.0]), 0.25)
    assert model.total_width == pytest.approx(3.0)
    corner = model.best_corner()
    assert model.objective @ corner + model.offset == -1.75
    assert -1.75 - 1e-12 < model.minimum_over_boxes() < -1.75


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_coefficients_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InvalidInputError, match="not finite"):
        box_model(1).minimising(np.array([bad]), 0.0)
    with pytest.raises(InvalidInputError, match="not finite"):
        box_model(1).minimising(np.array([1.0]), bad)


def test_nan_in_a_row_is_refused() -> None:
    model = box_model(1)
    for rows in (
        Rows(sp.csr_array(np.array([[math.nan]])), np.zeros(1), np.ones(1)),
        Rows(sp.csr_array(np.ones((1, 1))), np.array([math.nan]), np.ones(1)),
    ):
        with pytest.raises(InvalidInputError, match="not finite"):
            replace(model, rows=rows)


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 0.0), (-math.inf, 0.0), (0.0, math.nan)])
def test_column_without_a_finite_box_is_refused(lower: float, upper: float) -> None:
    with pytest.raises(BoundsError, match="empty or infinite"):
        replace(box_model(1), column_lower=np.array([lower]), column_upper=np.array([upper]))


def test_arrays_of_different_lengths_are_refused() -> None:
    model = box_model(2)
    with pytest.raises(ShapeError, match="differ in length"):
        replace(model, objective=np.zeros(3))
    with pytest.raises(ShapeError, match="rows speak of 1 columns"):
        replace(model, rows=Rows(sp.csr_array(np.ones((1, 1))), np.zeros(1), np.ones(1)))


def test_builder_stops_at_its_limit() -> None:
    builder = ModelBuilder(3)
    columns = Affine.of_columns(builder.add_columns(np.zeros(2), np.ones(2)))
    builder.add_rows(columns, 0.0, 1.0)
    with pytest.raises(ModelTooLargeError, match="more than 3 coefficients"):
        builder.add_rows(columns, 0.0, 1.0)


@given(
    rows=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    fill=st.floats(-1.0, 1.0),
)
def test_affine_operations_agree_with_numpy(rows: list[int], fill: float) -> None:
    matrix = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 3.0, 0.5]])
    index = np.nonzero(matrix)
    sparse = from_triplets(matrix[index], index[0], index[1], (3, 3))
    value = Affine(sparse, np.array([0.5, -1.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    x = np.array([0.3, -0.7, 0.2])
    plain = matrix @ x + value.offset

    def at(function: Affine) -> np.ndarray:
        return function.widened(3) @ x + function.offset

    chosen = np.array(rows)
    np.testing.assert_allclose(at(value.taken(chosen)), plain[chosen])
    np.testing.assert_allclose(
        at(value.taken(np.append(chosen, -1), fill)), np.append(plain[chosen], fill)
    )
    np.testing.assert_allclose(at(value.plus(value.scaled(-2.0))), -plain)
    np.testing.assert_allclose(at(value.shifted(fill)), plain + fill)
    expected = plain.copy()
    expected[chosen] = fill
    constant = Affine.constant(np.full(chosen.size, fill))
    if len(set(rows)) == len(rows):
        np.testing.assert_allclose(at(value.replaced(chosen, constant)), expected)


@given(st.integers(0, 2**32 - 1))
def test_rounding_covers_what_layers_lose(seed: int) -> None:
    """Layers whose numbers cancel, against rational arithmetic."""
    generator = np.random.default_rng(seed)

    def number(*shape: int) -> np.ndarray:
        return generator.normal(size=shape) * 10.0 ** generator.uniform(-8, 8, size=shape)

    x = number(3)
    value = Affine.of_columns(np.arange(3), np.abs(x))
    exact = [Fraction(float(v)) for v in x]
    for _ in range(3):
        weight, bias = number(3, 3), number(3)
        weight[2], bias[2] = -weight[0], -bias[0] * (1.0 + 1e-9)
        value = value.mapped(sp.csr_array(weight), bias)
        exact = [_dot(row, exact) + Fraction(float(b)) for row, b in zip(weight, bias, strict=True)]
        weight = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        value, exact = value.mapped(sp.csr_array(weight)), [_dot(row, exact) for row in weight]
    for row, truth in enumerate(exact):
        columns = value.widened(3).toarray()[row]
        found = _dot(columns, [Fraction(float(v)) for v in x]) + Fraction(float(value.offset[row]))
        assert abs(found - truth) <= Fraction(float(value.rounding[row]))


def _dot(row: np.ndarray, values: Sequence[Fraction]) -> Fraction:
    return sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(0))


def test_only_programs_for_multipliers_give_way_by_rounding() -> None:
    """Elsewhere equations stay equations, which presolve knows how to use."""
    for outward in (False, True):
        builder = ModelBuilder(100, outward=outward)
        column = Affine.of_columns(builder.add_columns(np.zeros(1), np.ones(1)), 1.0)
        builder.add_rows(column.scaled(3.0).shifted(-1.0), 0.0, 0.0)
        rows = builder.build().rows
        assert bool((rows.lower < 1.0 < rows.upper).all()) == outward
        np.testing.assert_allclose([rows.lower, rows.upper], 1.0, rtol=1e-12)
