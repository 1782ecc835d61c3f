"""Rows that dual matrices prove once more, in exact arithmetic.

The matrix is formed from dyadic fractions, and that it is positive definite follows from its
leading minors, which fraction-free elimination gives as whole numbers (Bareiss 1968; Sylvester).
Bounds that columns are scaled by may be any that hold, so that they are rounded outward first:
short numbers keep minors short. Nothing is shared with the part that computes in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import Duals, ProofError
from solvers.proof.dyadic import Dyadic
from solvers.proof.network import Affine, CheckedNetwork

__all__ = ["exact_dual", "leading_minors"]

Bounds = Mapping[int, tuple[Dyadic, Dyadic]]
Listed = Mapping[int, tuple[slice, NDArray[np.intp]]]
Layers = Mapping[int, tuple[Sequence[tuple[int, Dyadic]], Dyadic]]
_RAISES = (1, 1 << 10, 1 << 20)
_TINY = 2.0**-200
_HALF = Dyadic(np.array(1, object), 1)


def exact_dual(
    network: CheckedNetwork, layers: Layers, known: Bounds, listed: Listed, dual: _Given
) -> Fraction:
    """Return a lower bound of a row of the outputs in one domain.

    Args:
        network: Of ReLUs and affine steps.
        layers: Matrices by source, and bias, of every affine step, by the vector that it gives.
        known: Bounds of all vectors in the domain.
        listed: By vector, where its values stand among the columns behind inputs, and which.
        dual: Number of the dual among those of a tree, and the row.

    Raises:
        ProofError: Nothing is proved, or multipliers do not fit.
    """
    return _Dual(network, layers, known, listed).bound(*dual)


_Given = tuple[Duals, int, Dyadic]


class _Dual:
    """A domain as affine functions of columns w, each with |w| ≤ 1, and w₀ = 1."""

    def __init__(
        self, network: CheckedNetwork, layers: Layers, known: Bounds, listed: Listed
    ) -> None:
        self._network, self._layers, self._listed = network, layers, listed
        self._ends = {vector: _outward(*known[vector]) for vector in {0, *listed}}
        self._signs = known
        low, high = self._ends[0]
        self._moving = np.flatnonzero(np.asarray(low.floats() < high.floats()))
        self._count = sum(len(index) for _, index in listed.values())
        self.columns = len(self._moving) + self._count
        middle, radius = _middle(low, high)
        start = self._functions(middle.where(low.floats() < high.floats(), low))
        order = np.arange(len(self._moving))
        self._values = {0: start.put((self._moving, 1 + order), radius[self._moving])}
        for step in network.operations:
            given = self._affine if isinstance(step, Affine) else self._rectified
            self._values[step.output] = given(step)

    def _functions(self, constant: Dyadic) -> Dyadic:
        """Return functions that are constant."""
        shape = (constant.shape[0], 1 + self.columns)
        return Dyadic.of(np.zeros(shape)).put((slice(None), 0), constant)

    def _affine(self, step: Any) -> Dyadic:  # noqa: ANN401
        terms, bias = self._layers[step.output]
        total = self._functions(bias)
        for source, matrix in terms:
            total = total + matrix @ self._values[source]
        return total

    def _rectified(self, step: Any) -> Dyadic:  # noqa: ANN401
        (vector,) = step.sources
        low, high = self._signs[vector]
        kept = ~(-low).above_zero()
        _, index = self._listed.get(vector, (slice(0, 0), np.zeros(0, np.intp)))
        open_ = ~kept & high.above_zero()
        kept[index] = open_[index] = False
        if open_.any():
            raise ProofError(f"a ReLU of vector {vector} has no sign, and is not listed")
        before = self._values[vector]
        zero = Dyadic.of(np.zeros(before.shape))
        return before.where(kept[:, np.newaxis], zero).put(index, self._heights(vector))

    def _heights(self, vector: int) -> Dyadic:
        """Return the outputs of ReLUs that are listed."""
        part, index = self._listed[vector]
        low, high = (end[index].clamped()[0] for end in self._ends[vector])
        middle, radius = _middle(low, high)
        place = np.arange(len(index)), 1 + len(self._moving) + np.arange(part.start, part.stop)
        return self._functions(middle).put(place, radius)

    def _forms(self) -> Dyadic:
        """Return all forms, in the order that files number them."""
        order = np.arange(self.columns)
        one, ones = (Dyadic.of(np.ones(count)) for count in (1, self.columns))
        bounds = [self._functions(ones).put((order, 1 + order), b) for b in (ones, -ones)]
        kinds: list[list[Dyadic]] = [[] for _ in range(5)]
        for vector, (_, index) in sorted(self._listed.items(), key=lambda item: item[1][0].start):
            height, source = self._heights(vector), self._values[vector][index]
            low, high = (end[index] for end in self._ends[vector])
            slope = _chord(low, high)
            at_ends = [end.clamped()[0] - slope * end for end in (low, high)]
            line = self._functions(at_ends[0].greatest(at_ends[1]))
            steep = slope[:, np.newaxis] * source
            found = [height, height - source, steep + line - height]
            found += [source - self._functions(low), self._functions(high) - source]
            for kind, rows in zip(kinds, found, strict=True):
                kind.append(rows)
        return _stacked([self._functions(one), *bounds, *(r for kind in kinds for r in kind)])

    def bound(self, duals: Duals, number: int, row: Dyadic) -> Fraction:
        """Return the bound γ of a dual, less what S is short of by the number of its rows."""
        part = slice(int(duals.start[number]), int(duals.start[number + 1]))
        left, right = duals.left[part].astype(np.intp), duals.right[part].astype(np.intp)
        weight, diagonal = Dyadic.of(duals.product[part]), Dyadic.of(duals.diagonal[number])
        forms, first = self._forms(), 1 + 2 * self.columns
        if not all(((s >= 0) & (s < forms.shape[0])).all() for s in (left, right)):
            raise ProofError(f"dual {number} multiplies a form that there is not")
        zero = (left >= first) & (left < first + self._count) & (right == left + self._count)
        negative = (-weight).above_zero() & ~zero
        if diagonal.shape != (self.columns,) or negative.any() or (-diagonal).above_zero().any():
            raise ProofError(f"dual {number} does not fit its columns, or is negative")
        half = _turned(forms[left] * weight[:, np.newaxis]) @ forms[right]
        gamma, order = Dyadic.of(duals.bound[number : number + 1]), np.arange(1, 1 + self.columns)
        wanted = (row @ self._values[self._network.output])[0]
        twice = Dyadic.of(np.full(1, 2.0))
        linear = Dyadic.of(np.zeros(half.shape))
        linear = linear.put((0, order), wanted[order]).put((order, 0), wanted[order])
        linear = linear.put((order, order), twice * diagonal)
        spread = Dyadic(np.asarray(diagonal.mantissa.sum(), object), diagonal.scale)
        linear = linear.put((0, 0), (twice * (wanted[:1] - gamma - spread))[0])
        short = _shortage(linear - half - _turned(half))
        return gamma[0].fraction() - short * (1 + self.columns) / 2


def _shortage(matrix: Dyadic) -> Fraction:
    """Return some number which, on the diagonal, makes a symmetric matrix positive definite.

    Raises:
        ProofError: None was found, or numbers overflow that it is guessed from.
    """
    try:
        floats = matrix.floats()
    except OverflowError as error:
        raise ProofError(f"a dual matrix overflows: {error}") from error
    values, size = np.linalg.eigvalsh(floats), len(floats)
    least = 2.0 * max(0.0, -float(values[0])) + 2.0**-46 * float(np.abs(values).max()) + _TINY
    places = np.diag_indices(size)
    for raised in _RAISES:
        shift = Dyadic.of(np.full(size, raised * least))
        trial = matrix.put(places, matrix[places] + shift)
        if all(minor > 0 for minor in leading_minors(trial.mantissa)):
            return Fraction(raised * least)
    raise ProofError("a dual matrix is not positive semidefinite, nor nearly so")


def leading_minors(matrix: NDArray[Any]) -> list[int]:
    """Return leading principal minors of a matrix of whole numbers, up to one that is 0."""
    rest, before, found = matrix.copy(), 1, []
    while len(rest):
        pivot = rest[0, 0]
        found.append(int(pivot))
        if pivot == 0:
            break
        rest = (pivot * rest[1:, 1:] - np.outer(rest[1:, 0], rest[0, 1:])) // before
        before = pivot
    return found


def _outward(low: Dyadic, high: Dyadic) -> tuple[Dyadic, Dyadic]:
    """Return bounds that float64 holds, none closer; exact ones stay."""
    ends = []
    for end, side in ((low, -np.inf), (high, np.inf)):
        near = end.floats()
        held = Dyadic.of(near)
        closer = (held > end) if side < 0 else (end > held)
        ends.append(Dyadic.of(np.where(closer, np.nextafter(near, side), near)))
    return ends[0], ends[1]


def _middle(low: Dyadic, high: Dyadic) -> tuple[Dyadic, Dyadic]:
    return (low + high) * _HALF, (high - low) * _HALF


def _chord(low: Dyadic, high: Dyadic) -> Dyadic:
    """Return slopes from 0 to 1 of about the lines above ReLUs."""
    first, last = low.floats(), high.floats()
    open_ = (first < 0) & (last > 0)
    share = np.where(open_, last / np.where(open_, last - first, 1.0), first >= 0)
    return Dyadic.of(np.clip(share, 0.0, 1.0))


def _turned(matrix: Dyadic) -> Dyadic:
    return Dyadic(matrix.mantissa.T, matrix.scale)


def _stacked(parts: Sequence[Dyadic]) -> Dyadic:
    scale = max(part.scale for part in parts)
    return Dyadic(np.concatenate([p.mantissa * (1 << (scale - p.scale)) for p in parts]), scale)
