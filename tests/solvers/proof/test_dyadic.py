"""Exact arithmetic against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solvers.proof.dyadic import Dyadic

numbers = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)


def exact(values: list[float]) -> list[Fraction]:
    return [Fraction(value) for value in values]


def fractions(values: Dyadic) -> list[Fraction]:
    return [values[place].fraction() for place in range(len(values.mantissa))]


@given(vectors)
def test_every_operation_is_exact(pairs: list[tuple[float, float]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    x, y = Dyadic.of(np.array(left)), Dyadic.of(np.array(right))
    a, b = exact(left), exact(right)
    assert fractions(x) == a
    assert fractions(x + y) == [p + q for p, q in zip(a, b, strict=True)]
    assert fractions(x - y) == [p - q for p, q in zip(a, b, strict=True)]
    assert fractions(x * y) == [p * q for p, q in zip(a, b, strict=True)]
    assert fractions(x.greatest(y)) == [max(p, q) for p, q in zip(a, b, strict=True)]
    assert fractions(x.least(y)) == [min(p, q) for p, q in zip(a, b, strict=True)]
    assert (x > y).tolist() == [p > q for p, q in zip(a, b, strict=True)]
    positive, negative = x.clamped()
    assert fractions(positive) == [max(p, Fraction(0)) for p in a]
    assert fractions(positive + negative) == a
    dot = sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))
    assert (x[np.newaxis, :] @ y).fraction() == dot
    assert fractions(x.put(0, y[0]))[0] == b[0]


@given(st.lists(numbers, min_size=1, max_size=5))
def test_floats_come_back(values: list[float]) -> None:
    assert Dyadic.of(np.array(values)).floats().tolist() == [value + 0.0 for value in values]


def test_a_matrix_product() -> None:
    generator = np.random.default_rng(0)
    matrix, vector = generator.normal(size=(4, 3)), generator.normal(size=3)
    found = Dyadic.of(matrix) @ Dyadic.of(vector)
    for row, value in zip(matrix, fractions(found), strict=True):
        terms = [Fraction(float(p)) * Fraction(float(q)) for p, q in zip(row, vector, strict=True)]
        assert value == sum(terms, Fraction(0))
