"""Lines of nonlinear functions stay on their side everywhere on the interval."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.proof.bounds import RELU, Function, relu_lines
from solvers.proof.parts.curves import SIGMOID, TANH
from solvers.proof.parts.maxima import MAXIMUM
from solvers.proof.parts.pieces import absolute, clip, leaky
from solvers.proof.parts.relaxed import Relaxed

Array = NDArray[np.float64]
getcontext().prec = 60


def sigmoid(z: Fraction) -> Fraction:
    return 1 / (1 + exponential(-z))


def tanh(z: Fraction) -> Fraction:
    return 1 - 2 / (1 + exponential(2 * z))


def exponential(z: Fraction) -> Fraction:
    return Fraction((Decimal(z.numerator) / Decimal(z.denominator)).exp())


EXACT: dict[str, tuple[Function, Callable[[Fraction], Fraction]]] = {
    "relu": (RELU, lambda z: max(z, Fraction(0))),
    "leaky": (leaky(0.1), lambda z: max(z, Fraction(0.1) * z)),
    "abs": (absolute(), abs),
    "clip": (clip(-1.0, 2.5), lambda z: min(max(z, Fraction(-1)), Fraction(2.5))),
    "sigmoid": (SIGMOID, sigmoid),
    "tanh": (TANH, tanh),
}


ENDS = st.floats(-40, 40) | st.floats(-1e-6, 1e-6) | st.sampled_from([0.0, -1.0, 2.5, 5e-324])


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=60, deadline=None)
@given(first=ENDS, second=ENDS, shares=st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_no_point_crosses_a_line_or_an_image(
    kind: str, first: float, second: float, shares: list[float]
) -> None:
    relaxed, function = EXACT[kind]
    low, high = min(first, second), max(first, second)
    ends = [(np.array([[low]]), np.array([[high]]))]
    lines = relaxed.lines(ends)
    lower, upper = Fraction(lines.lower[0].item()), Fraction(lines.upper[0].item())
    below, above = Fraction(lines.below.item()), Fraction(lines.above.item())
    tiny = Fraction(10) ** -40  # what 60 digits of exp leave in doubt, and more
    points = [Fraction(low) + Fraction(s) * (Fraction(high) - Fraction(low)) for s in shares]
    points = sorted([Fraction(low), *points, Fraction(high)])
    values = [function(z) for z in points]
    for z, value in zip(points, values, strict=True):
        assert lower * z + below <= value + tiny
        assert value <= upper * z + above + tiny
        image = [Fraction(end.item()) for end in relaxed.image(ends)]
        assert image[0] <= value + tiny
        assert value <= image[1] + tiny
    if not isinstance(relaxed, Relaxed):
        return
    slopes = [Fraction(end.item()) for end in relaxed.slopes(ends)]
    for z, value in zip(points[1:], values[1:], strict=True):
        step, rise = z - points[0], value - values[0]
        assert slopes[0] * step - tiny <= rise <= slopes[1] * step + tiny


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 5)), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_no_point_crosses_a_plane_of_the_maximum(
    intervals: list[tuple[float, float]], shares: list[float]
) -> None:
    ends = [(np.array([[low]]), np.array([[low + width]])) for low, width in intervals]
    lines = MAXIMUM.lines(ends)
    z = [
        Fraction(low.item()) + Fraction(s) * (Fraction(high.item()) - Fraction(low.item()))
        for (low, high), s in zip(ends, shares, strict=False)
    ]
    sums = [
        sum((Fraction(s.item()) * v for s, v in zip(slopes, z, strict=True)), Fraction(0))
        for slopes in (lines.lower, lines.upper)
    ]
    assert lines.below.item() == 0
    assert sums[0] <= max(z) <= sums[1] + Fraction(lines.above.item())


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
@pytest.mark.parametrize("ends", [(-8, -6), (-3, 0.5), (-0.5, 3), (-1, 1), (1, 2), (-30, 30)])
def test_lines_of_curves_leave_little_room(kind: str, ends: tuple[float, float]) -> None:
    """Lines must touch the curve somewhere, or bounds would be sound and of no use."""
    low, high = (np.array([[float(end)]]) for end in ends)
    lines = (TANH if kind == "tanh" else SIGMOID).lines([(low, high)])
    z = np.linspace(low.item(), high.item(), 2001)
    value = np.tanh(z) if kind == "tanh" else 1 / (1 + np.exp(-z))
    rooms = (
        np.min(value - lines.lower[0].item() * z - lines.below.item()),
        np.min(lines.upper[0].item() * z + lines.above.item() - value),
    )
    assert max(rooms) < 1e-4


def test_the_adaptive_slope_of_an_unstable_relu_is_that_of_the_larger_side() -> None:
    ends = [(np.array([[-1.0, -2.0, 1.0, -3.0]]), np.array([[2.0, 1.0, 2.0, -1.0]]))]
    lines = relu_lines(ends)
    assert lines.lower[0].tolist() == [[1.0, 0.0, 1.0, 0.0]]
    assert lines.free is not None
    assert lines.free.tolist() == [[True, True, False, False]]
