"""Series enclose what they are series of, closely."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.proof.enclosing import (
    Ends,
    cos_ends,
    exp_ends,
    sigmoid_ends,
    sin_ends,
    tanh_ends,
)

DIGITS = 120
CLOSE = Fraction(1, 2**150)
arguments = st.floats(-700, 700).map(Fraction) | st.fractions(-50, 50)


def decimal_exp(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return numbers around exp(x): Python's is right to the last of its digits."""
    with localcontext() as context:
        context.prec = DIGITS
        argument = Decimal(x.numerator) / Decimal(x.denominator)
        value = Fraction(argument.exp())
    off = value * Fraction(1, 10 ** (DIGITS - 6)) * (1 + abs(x))
    return value - off, value + off


def require_around(ends: Ends, low: Fraction, high: Fraction) -> None:
    """Require that an enclosure meets a narrower one, and is close for its size."""
    assert ends[0] <= high
    assert low <= ends[1]
    assert 0 <= ends[1] - ends[0] <= CLOSE * (1 + abs(ends[1]))


@given(arguments)
def test_exp_is_that_of_another_library(x: Fraction) -> None:
    require_around(exp_ends(x), *decimal_exp(x))


@given(arguments)
def test_sigmoid_and_tanh_are_made_of_exp(x: Fraction) -> None:
    low, high = decimal_exp(-x)
    require_around(sigmoid_ends(x), 1 / (1 + high), 1 / (1 + low))
    low, high = decimal_exp(2 * x)
    require_around(tanh_ends(x), 1 - 2 / (low + 1), 1 - 2 / (high + 1))


@given(st.floats(-(2.0**16), 2.0**16).map(Fraction) | st.fractions(-10, 10))
def test_waves_agree_with_floats_and_with_each_other(x: Fraction) -> None:
    """cos² + sin² is 1, and sin 2x is 2 sin x cos x, up to the width of the enclosures."""
    sine, cosine, twice = sin_ends(x), cos_ends(x), sin_ends(2 * x)
    for ends, value in ((sine, math.sin(float(x))), (cosine, math.cos(float(x)))):
        assert 0 <= ends[1] - ends[0] <= CLOSE
        # The float is the wave of a number that may be half a unit away.
        assert float(ends[0]) == pytest.approx(value, abs=1e-15 + 2**-53 * abs(float(x)))
    squares = [end**2 for end in (sine[0], cosine[0])]
    assert abs(sum(squares, Fraction(0)) - 1) <= 8 * CLOSE
    assert abs(2 * sine[0] * cosine[0] - twice[0]) <= 8 * CLOSE


def test_special_values() -> None:
    zero = Fraction(0)
    assert exp_ends(zero)[0] == 1 == cos_ends(zero)[1]
    assert sin_ends(zero)[0] <= 0 <= sin_ends(zero)[1]
    assert tanh_ends(zero)[0] <= 0 <= tanh_ends(zero)[1]
    assert sigmoid_ends(zero)[0] <= Fraction(1, 2) <= sigmoid_ends(zero)[1]
    assert exp_ends(Fraction(-4000))[0] == 0
    with pytest.raises(ArithmeticError, match="not enclosed"):
        exp_ends(Fraction(5000))
