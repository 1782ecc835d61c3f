"""Lines of smooth functions stay on their side everywhere on the interval, and close to it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.proof.parts.smooth import COS, CUBE, EXP, INVERSE, SIN, SQUARE, WIDEST, Smooth

getcontext().prec = 60
TINY = Fraction(10) ** -40
"""What 60 digits leave in doubt, and more."""


def exponential(z: Fraction) -> Fraction:
    return Fraction((Decimal(z.numerator) / Decimal(z.denominator)).exp())


def sine(z: Fraction, turned: int = 0) -> Fraction:
    """Return sin or, turned by 1, cos by their series: arguments are small."""
    term, total, place = (z if not turned else Fraction(1)), Fraction(0), 1 - turned
    while abs(term) > TINY / 10 or place < abs(z):
        total += term
        term = -term * z * z / ((place + 1) * (place + 2))
        # as many digits as the sum has
        term = Fraction(round(term * 10**60), 10**60)
        place += 2
    return total


CURVES: dict[str, Smooth] = {
    "square": SQUARE,
    "cube": CUBE,
    "inverse": INVERSE,
    "exp": EXP,
    "sin": SIN,
    "cos": COS,
}
EXACT: dict[str, tuple[tuple[float, float], Callable[[Fraction], Fraction]]] = {
    "square": ((-50, 50), lambda z: z * z),
    "cube": ((-50, 50), lambda z: z**3),
    "inverse": ((1e-3, 50), lambda z: 1 / z),
    "exp": ((-40, 20), exponential),
    "sin": ((-12, 12), sine),
    "cos": ((-12, 12), lambda z: sine(z, 1)),
}


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=40, deadline=None)
@given(
    place=st.floats(0, 1),
    width=st.floats(0, 1) | st.floats(0, 1e-6) | st.just(0.0),
    shares=st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_no_point_crosses_a_line_or_an_image(
    kind: str, place: float, width: float, shares: list[float]
) -> None:
    (first, last), function = EXACT[kind]
    low = first + place * (last - first)
    high = min(last, low + width * (last - low))
    ends = [(np.array([[low]]), np.array([[high]]))]
    lines = CURVES[kind].lines(ends)
    image = [Fraction(end.item()) for end in CURVES[kind].image(ends)]
    slopes = [Fraction(end.item()) for end in CURVES[kind].slopes(ends)]
    lower, upper = Fraction(lines.lower[0].item()), Fraction(lines.upper[0].item())
    below, above = Fraction(lines.below.item()), Fraction(lines.above.item())
    points = [Fraction(low) + Fraction(s) * (Fraction(high) - Fraction(low)) for s in shares]
    points = sorted([Fraction(low), *points, Fraction(high)])
    values = [function(z) for z in points]
    for z, value in zip(points, values, strict=True):
        assert lower * z + below <= value + TINY
        assert value <= upper * z + above + TINY
        assert image[0] <= value + TINY
        assert value <= image[1] + TINY
    for z, value in zip(points[1:], values[1:], strict=True):
        step, rise = z - points[0], value - values[0]
        assert slopes[0] * step - TINY <= rise <= slopes[1] * step + TINY


CLOSE = [("square", -1, 2), ("cube", -1, 1.5), ("cube", 1, 2), ("inverse", 0.5, 1.5),
         ("inverse", -3, -2), ("exp", -1, 1), ("sin", 0, 1.5), ("cos", -0.5, 0.5),
         ("sin", -1, 1)]  # fmt: skip


@pytest.mark.parametrize(("kind", "low", "high"), CLOSE)
def test_lines_leave_little_room(kind: str, low: float, high: float) -> None:
    lines = CURVES[kind].lines([(np.array([[float(low)]]), np.array([[float(high)]]))])
    z = np.linspace(low, high, 2001)
    value = CURVES[kind].value(z)
    rooms = (
        np.min(value - lines.lower[0].item() * z - lines.below.item()),
        np.min(lines.upper[0].item() * z + lines.above.item() - value),
    )
    bend = np.abs(np.array(CURVES[kind].bend(z[:1], z[-1:]))).max()
    assert max(rooms) <= bend * (high - low) ** 2 / 1000


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (-1.0, -0.0)])
def test_there_is_no_inverse_around_zero(ends: tuple[float, float]) -> None:
    low, high = CURVES["inverse"].image([(np.array([[ends[0]]]), np.array([[ends[1]]]))])
    assert not (np.isfinite(low) & np.isfinite(high)).all()


def test_nothing_is_said_of_waves_far_away() -> None:
    far = np.array([[2 * WIDEST]])
    low, high = CURVES["sin"].image([(far, far + 1.0)])
    assert not (low <= 1.0).all()
    assert not (high >= -1.0).all() or np.isnan(low).all()


@pytest.mark.parametrize("kind", ["exp", "square"])
def test_ranges_are_not_left(kind: str) -> None:
    low, _ = CURVES[kind].image([(np.array([[-30.0]]), np.array([[4.0]]))])
    assert (low >= 0.0).all()
