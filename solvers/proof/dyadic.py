"""Arrays of dyadic fractions: exact sums and products of whatever float64 can hold.

Every float64 is a whole number times a power of two, and so are sums and products of them. One
exponent serves a whole array, so that sums and products of arrays are those of Python's integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dyadic"]

_BITS = 53


@dataclass(frozen=True, eq=False)
class Dyadic:
    """The numbers `mantissa` · 2^−`scale`.

    Attributes:
        mantissa: Python integers, of any shape.
        scale: Not negative.
    """

    mantissa: NDArray[Any]
    scale: int

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Dyadic:
        """Return the numbers of an array, which have to be finite."""
        fraction, exponent = np.frexp(np.asarray(values, np.float64))
        whole = np.ldexp(fraction, _BITS).astype(np.int64).astype(object)
        used = np.where(fraction != 0, exponent - _BITS, 0)
        scale = max(0, -int(used.min(initial=0)))
        shift = np.where(fraction != 0, used + scale, 0).astype(object)
        return cls(np.asarray(whole << shift, object).reshape(np.shape(values)), scale)

    @classmethod
    def at_most(cls, values: Sequence[Fraction], scale: int) -> Dyadic:
        """Return numbers rounded down to multiples of 2^−`scale`."""
        whole = [(value.numerator << scale) // value.denominator for value in values]
        return cls(np.array(whole, object), scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.mantissa.shape

    def __getitem__(self, index: Any) -> Dyadic:  # noqa: ANN401  whatever NumPy takes
        """Return some of the numbers."""
        return Dyadic(np.asarray(self.mantissa[index], object), self.scale)

    def __neg__(self) -> Dyadic:
        return Dyadic(-self.mantissa, self.scale)

    def __add__(self, other: Dyadic) -> Dyadic:
        scale = max(self.scale, other.scale)
        return Dyadic(self._at(scale) + other._at(scale), scale)

    def __sub__(self, other: Dyadic) -> Dyadic:
        return self + -other

    def __mul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(self.mantissa * other.mantissa, self.scale + other.scale)

    def __matmul__(self, other: Dyadic) -> Dyadic:
        product = np.asarray(self.mantissa @ other.mantissa, object)
        return Dyadic(product, self.scale + other.scale)

    def __gt__(self, other: Dyadic) -> NDArray[np.bool_]:
        scale = max(self.scale, other.scale)
        return np.asarray(self._at(scale) > other._at(scale), bool)

    def above_zero(self) -> NDArray[np.bool_]:
        """Return which numbers are positive."""
        return np.asarray(self.mantissa > 0, bool)

    def clamped(self) -> tuple[Dyadic, Dyadic]:
        """Return positive and negative parts."""
        positive = self.above_zero()
        zero = np.zeros_like(self.mantissa)
        return (
            Dyadic(np.where(positive, self.mantissa, zero), self.scale),
            Dyadic(np.where(positive, zero, self.mantissa), self.scale),
        )

    def sizes(self) -> Dyadic:
        """Return absolute values."""
        return Dyadic(np.asarray(abs(self.mantissa), object), self.scale)

    def where(self, condition: NDArray[np.bool_], other: Dyadic) -> Dyadic:
        """Return own numbers where a condition holds, and those of another array elsewhere."""
        scale = max(self.scale, other.scale)
        return Dyadic(np.where(condition, self._at(scale), other._at(scale)), scale)

    def greatest(self, other: Dyadic) -> Dyadic:
        """Return the larger number at each place."""
        return self.where(self > other, other)

    def least(self, other: Dyadic) -> Dyadic:
        """Return the smaller number at each place."""
        return other.where(self > other, self)

    def put(self, index: Any, values: Dyadic) -> Dyadic:  # noqa: ANN401  whatever NumPy takes
        """Return the array with some of its numbers replaced."""
        scale = max(self.scale, values.scale)
        result = self._at(scale).copy()
        result[index] = values._at(scale)
        return Dyadic(result, scale)

    def floats(self) -> NDArray[np.float64]:
        """Return the nearest float64 numbers."""
        return np.array([float(f) for f in self.fractions()], np.float64).reshape(self.shape)

    def fractions(self) -> list[Fraction]:
        """Return the numbers one after the other."""
        return [Fraction(int(m), 1 << self.scale) for m in self.mantissa.ravel()]

    def fraction(self) -> Fraction:
        """Return the only number."""
        return Fraction(int(self.mantissa.item()), 1 << self.scale)

    def _at(self, scale: int) -> NDArray[Any]:
        """Return the integers that stand for the same numbers at a larger scale."""
        if scale == self.scale:
            return self.mantissa
        return np.asarray(self.mantissa * (1 << (scale - self.scale)), object)
