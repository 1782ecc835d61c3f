"""What rules in rational numbers say is below every point, and not far below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.proof import UnsupportedProofError
from solvers.proof.enclosing import (
    Ends,
    cos_ends,
    exp_ends,
    sigmoid_ends,
    sin_ends,
    tanh_ends,
)
from solvers.proof.exact_rules import rule_of

Value = Callable[..., Ends]
SHARES = [Fraction(k, 16) for k in range(17)]


def exactly(value: Callable[..., Fraction | int]) -> Value:
    return lambda *z: (Fraction(value(*z)), Fraction(value(*z)))


CASES: dict[tuple[str | float, ...], tuple[Value, tuple[float, float]]] = {
    ("LeakyRelu", 0.25): (exactly(lambda z: max(z, z / 4)), (-3, 3)),
    ("Abs",): (exactly(abs), (-3, 3)),
    ("Clip", -1.0, 0.5): (
        exactly(lambda z: min(max(z, Fraction(-1)), Fraction(1, 2))), (-3, 3),
    ),
    ("Clip", -1.0, np.inf): (exactly(lambda z: max(z, Fraction(-1))), (-3, 3)),
    ("Sign",): (exactly(lambda z: (z > 0) - (z < 0)), (-3, 3)),
    ("Square",): (exactly(lambda z: z * z), (-3, 3)),
    ("Cube",): (exactly(lambda z: z**3), (-3, 3)),
    ("Inverse",): (exactly(lambda z: 1 / z), (0.1, 3)),
    ("Exp",): (exp_ends, (-3, 3)),
    ("Sigmoid",): (sigmoid_ends, (-6, 6)),
    ("Tanh",): (tanh_ends, (-3, 3)),
    ("Sin",): (sin_ends, (-7, 7)),
    ("Cos",): (cos_ends, (-7, 7)),
    ("Product",): (exactly(lambda x, y: x * y), (-3, 3)),
    ("Max",): (exactly(max), (-3, 3)),
}  # fmt: skip


def points(name: str | float, ends: Sequence[Ends]) -> list[tuple[Fraction, ...]]:
    """Return points of a box, corners and 0 among them."""
    axes = []
    for low, high in ends:
        zero = min(max(Fraction(0), low), high)
        axes.append([*(low + share * (high - low) for share in SHARES), zero])
    if name not in ("Product", "Max"):
        return [(z,) for z in axes[0]]
    return [(x, y) for x in axes[0] for y in axes[1]]


@pytest.mark.parametrize("called", CASES, ids=str)
@given(seed=st.integers(0, 2**32 - 1), sign=st.sampled_from([1, -1]))
def test_no_point_is_below(called: tuple[str | float, ...], seed: int, sign: int) -> None:
    value, (least, most) = CASES[called]
    generator = np.random.default_rng(seed)
    sources = 2 if called[0] in ("Product", "Max") else 1
    ends: list[Ends] = []
    for low, width in zip(generator.uniform(least, most, sources), (1e-9, 1.0), strict=False):
        high = min(low + generator.choice([0.0, width, most - low]), most)
        ends.append((Fraction(float(low)), Fraction(float(high))))
    slopes = [Fraction(float(s)) for s in generator.normal(size=sources) * generator.integers(0, 3)]
    bound = rule_of(called, "it")(ends, slopes, sign)
    found = []
    for z in points(called[0], ends):
        moved = sum((s * x for s, x in zip(slopes, z, strict=True)), Fraction(0))
        found.append(sign * (value(*z)[0 if sign < 0 else 1] - moved))
    assert bound <= min(found)
    # A sixteenth of an interval cannot hide more than this where f'' is at most 2000 (1/z).
    spread = max(float(high - low) for low, high in ends)
    assert float(min(found) - bound) <= max(spread**2 * 10, spread * 2) + 1e-9


def test_maxima_are_not_below_any_source() -> None:
    """With the slope of one source, that one is never above the maximum."""
    ends = [(Fraction(0), Fraction(2)), (Fraction(-1), Fraction(3))]
    rule = rule_of(("Max",), "it")
    assert rule(ends, [Fraction(1), Fraction(0)], 1) == 0
    assert rule(ends, [Fraction(0), Fraction(0)], -1) == -3


def test_what_has_no_rule_is_refused() -> None:
    with pytest.raises(UnsupportedProofError, match="does not cover node 7"):
        rule_of(("Mystery",), "node 7")
    with pytest.raises(ArithmeticError, match="inverse"):
        rule_of(("Inverse",), "it")([(Fraction(-1), Fraction(1))], [Fraction(0)], 1)
