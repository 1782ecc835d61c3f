"""Rational numbers on both sides of exp, sin, cos and what is made of them.

Arguments are rounded to whole multiples of 2⁻²⁵⁶; series are summed in whole numbers, and what is
left of them is bounded by the first term that is left out. Nothing here is a floating-point number.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["Ends", "cos_ends", "exp_ends", "sigmoid_ends", "sin_ends", "tanh_ends"]

Ends = tuple[Fraction, Fraction]
"""A number at most, and one at least, as large as a value."""

BITS = 256
ONE = 1 << BITS
SMALL = 12
"""Series are summed for arguments up to 2⁻¹², which doubling then leads back from."""
TERMS = 18
"""Of each series: (2⁻¹²)¹⁸ / 18! is below 2⁻²⁶⁸."""
MOST_EXPONENT = 4096
"""Where exp is not computed any more."""


def exp_ends(x: Fraction) -> Ends:
    """Enclose exp(x).

    Raises:
        ArithmeticError: x is too large.
    """
    if abs(x) > MOST_EXPONENT:
        raise ArithmeticError(f"exp is not enclosed at {float(x)}")
    halvings, whole = _reduced(abs(x))
    low = term = ONE
    for k in range(1, TERMS):
        term = term * whole // (k << BITS)
        low += term
    # Each term lost less than one unit, and twice that to those before it; the argument, one.
    high = low + 4 * TERMS
    for _ in range(halvings):
        low, high = low * low >> BITS, -(-(high * high) >> BITS)
    high += (high >> (BITS - halvings - 1)) + 1  # the argument was rounded down
    if x < 0:
        low, high = (ONE << BITS) // high, -(-(ONE << BITS) // low)
    return Fraction(low, ONE), Fraction(high, ONE)


def sin_ends(x: Fraction) -> Ends:
    """Enclose sin(x)."""
    return _wave_ends(x)[0]


def cos_ends(x: Fraction) -> Ends:
    """Enclose cos(x)."""
    return _wave_ends(x)[1]


def sigmoid_ends(x: Fraction) -> Ends:
    """Enclose 1 / (1 + exp(−x))."""
    low, high = exp_ends(-x)
    return _divided(Fraction(1), 1 + high)[0], _divided(Fraction(1), 1 + low)[1]


def tanh_ends(x: Fraction) -> Ends:
    """Enclose tanh(x) = 1 − 2 / (exp(2x) + 1)."""
    low, high = exp_ends(2 * x)
    two = Fraction(2)
    return 1 - _divided(two, low + 1)[1], 1 - _divided(two, high + 1)[0]


def _reduced(x: Fraction) -> tuple[int, int]:
    """Return how often x has to be halved to be small, and what then is left, rounded down."""
    halvings = max(int(x).bit_length() + SMALL, 0)
    return halvings, (x.numerator << BITS) // (x.denominator << halvings)


def _divided(top: Fraction, bottom: Fraction) -> Ends:
    """Enclose a quotient by multiples of 2⁻²⁵⁶, so that numbers do not grow."""
    scaled = top * ONE / bottom
    return Fraction(scaled.__floor__(), ONE), Fraction(scaled.__ceil__(), ONE)


def _wave_ends(x: Fraction) -> tuple[Ends, Ends]:
    """Enclose sine and cosine of x: those of a small part, then by angles doubled."""
    halvings, whole = _reduced(abs(x))
    term, sums = ONE, [ONE, 0]
    for k in range(1, TERMS):
        term = term * whole // (k << BITS)
        sums[k % 2] += -term if k % 4 in (2, 3) else term
    # Terms lost less than 2 units each; the rounded argument and all further terms, one each.
    cosine, sine = (_Between(total - 4 * TERMS, total + 4 * TERMS) for total in sums)
    for _ in range(halvings):
        sine, cosine = sine.times(cosine).doubled(), cosine.times(cosine).doubled().less(ONE)
    return (sine if x >= 0 else sine.negative()).ends(), cosine.ends()


class _Between:
    """An interval of multiples of 2⁻²⁵⁶."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def times(self, other: _Between) -> _Between:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return _Between(min(corners) >> BITS, -(-max(corners) >> BITS))

    def doubled(self) -> _Between:
        return _Between(2 * self.low, 2 * self.high)

    def less(self, number: int) -> _Between:
        return _Between(self.low - number, self.high - number)

    def negative(self) -> _Between:
        return _Between(-self.high, -self.low)

    def ends(self) -> Ends:
        return Fraction(max(self.low, -ONE), ONE), Fraction(min(self.high, ONE), ONE)
