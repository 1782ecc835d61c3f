"""Planes of products stay on their side of them, and touch them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solvers.proof.parts.bilinear import PRODUCT

ends = st.tuples(st.floats(-1e3, 1e3) | st.floats(-1e-3, 1e-3), st.floats(0, 10) | st.just(0.0))
shares = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=4)


@given(ends, ends, shares)
def test_no_point_crosses_a_plane(
    x: tuple[float, float], y: tuple[float, float], shares: list[tuple[float, float]]
) -> None:
    box = [(np.array([[low]]), np.array([[low + width]])) for low, width in (x, y)]
    lines = PRODUCT.lines(box)
    image = [Fraction(end.item()) for end in PRODUCT.image(box)]
    slopes = [Fraction(end.item()) for end in PRODUCT.slopes(box)]
    for share in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), *shares]:
        at = [
            Fraction(low.item()) + Fraction(s) * (Fraction(high.item()) - Fraction(low.item()))
            for s, (low, high) in zip(share, box, strict=True)
        ]
        value = at[0] * at[1]
        low, high = (
            sum((Fraction(s.item()) * z for s, z in zip(part, at, strict=True)), Fraction(0))
            for part in (lines.lower, lines.upper)
        )
        assert low + Fraction(lines.below.item()) <= value <= high + Fraction(lines.above.item())
        assert image[0] <= value <= image[1]
        assert slopes[0] <= min(at)
        assert max(at) <= slopes[1]


@given(ends, ends)
def test_planes_touch_two_corners(x: tuple[float, float], y: tuple[float, float]) -> None:
    box = [(np.array([[low]]), np.array([[low + width]])) for low, width in (x, y)]
    lines = PRODUCT.lines(box)
    (s,), (t,) = (part[0] for part in lines.lower)
    (a, b), (c, d) = ((low.item(), high.item()) for low, high in box)
    rooms = [p * q - s * p - t * q - lines.below.item() for p in (a, b) for q in (c, d)]
    size = 1.0 + max(abs(a), abs(b)) * max(abs(c), abs(d))
    assert sorted(rooms)[1] <= 1e-9 * size
