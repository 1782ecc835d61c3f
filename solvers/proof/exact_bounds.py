"""Bounds of a network in exact arithmetic, by intervals and backward passes.

Lines take slopes that float64 holds, and the exact intercepts that belong to them, or for curves
some that series enclose. Coefficients that are no dyadic fractions, such as 1/3, lie within the
share of what is held that the file's reader states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import RELU, Ends, Function
from solvers.proof.container import Ball, ProofError
from solvers.proof.dyadic import Dyadic
from solvers.proof.exact_planes import Plane, Written
from solvers.proof.exact_rules import Rule, rule_of
from solvers.proof.network import Affine, CheckedNetwork, Nonlinear, dense
from solvers.proof.onnx_file import UnsupportedProofError
from solvers.proof.parts.relaxed import Relaxed

__all__ = ["Corners", "Domain", "Exact", "Extra", "Indices", "Meter"]

BITS = 256
"""Behind the point, of numbers that are no dyadic fractions."""
PRODUCTS_OF_A_RULE = 1000
"""What the rule of one value costs, about."""

Corners = tuple[Dyadic, Dyadic]
Indices = NDArray[np.intp]
Domain = dict[int, Corners]


class Meter:
    """Counts products, and ends what takes too many."""

    def __init__(self, most: int) -> None:
        self._most, self._spent = most, 0

    def spend(self, products: int) -> None:
        """Count products, or raise where they are too many."""
        self._spent += products
        if self._spent > self._most:
            raise UnsupportedProofError(
                f"the proof takes more than {self._most} products of exact numbers; "
                "check it without exact arithmetic"
            )


@dataclass(frozen=True, eq=False)
class _Layer:
    """An affine operation in exact numbers.

    Attributes:
        terms: Source and matrix.
        bias: Added to their products.
        slack: Source and by how much coefficients may be off; only where any are.
        off: By how much the bias may be off, or None.
    """

    terms: tuple[tuple[int, Dyadic], ...]
    bias: Dyadic
    slack: tuple[tuple[int, Dyadic], ...]
    off: Dyadic | None


@dataclass(frozen=True, eq=False)
class _Lines:
    """Σ lower·z + below ≤ f(z) ≤ Σ upper·z + above, with slopes of every source."""

    lower: Sequence[Dyadic]
    upper: Sequence[Dyadic]
    below: Dyadic
    above: Dyadic


@dataclass(frozen=True, eq=False)
class Extra:
    """What a leaf or a group says of the values of one vector.

    Attributes:
        index: Positions in the vector.
        slope: Lower slopes there, or None for adaptive ones.
        lines: Whether these are also fractions of what the derivatives of curves may be.
        factor: Multipliers of bounds there, or None.
        planes: That are taken above ReLUs in place of lines.
    """

    index: Indices
    slope: Dyadic | None = None
    factor: Dyadic | None = None
    planes: tuple[Plane, ...] = ()
    lines: bool = False


class Exact:
    """A network in exact numbers.

    Attributes:
        network: As it was read.
        ball: That inputs lie in beside a box, or None.
    """

    def __init__(self, network: CheckedNetwork, meter: Meter) -> None:
        self.network, self._meter = network, meter
        self.layers: dict[int, _Layer] = {}
        self._rules: dict[int, Rule] = {}
        self._held: dict[int, tuple[Sequence[Corners], _Lines]] = {}
        self.ball: Ball | None = None
        for operation in network.operations:
            if isinstance(operation, Affine):
                self._meter.spend(sum(prod(term.matrix.shape) for term in operation.terms))
                self.layers[operation.output] = _layer_of(operation)
            elif operation.function is not RELU:
                called = getattr(operation.function, "called", ("",))
                self._rules[operation.output] = rule_of(called, operation.name)

    def spend(self, products: int) -> None:
        """Count products that are computed elsewhere."""
        self._meter.spend(products)

    def exact_layers(self) -> Mapping[int, tuple[Sequence[tuple[int, Dyadic]], Dyadic]]:
        """Return matrices and bias of every affine step, of a network of ReLUs.

        Raises:
            UnsupportedProofError: It has other functions, or coefficients that are not exact.
        """
        if self._rules or any(layer.slack or layer.off for layer in self.layers.values()):
            raise UnsupportedProofError(
                "exact arithmetic covers dual matrices of networks of ReLUs whose coefficients "
                "float64 holds, no others"
            )
        return {out: (layer.terms, layer.bias) for out, layer in self.layers.items()}

    def enclose(self, lower: Dyadic, upper: Dyadic) -> Domain:
        """Bound all vectors over a box: intervals, and adaptive passes for undecided values."""
        known: Domain = {0: (lower, upper)}
        for operation in self.network.operations:
            vector = operation.output
            known[vector] = self._interval(operation, known)
            if vector not in self.network.read_vectors:
                continue
            open_ = np.flatnonzero(self._undecided(vector, *known[vector]))
            for side in (0, 1):
                found = self.values(known, vector, open_, np.full(len(open_), side))
                self.improve(known, vector, open_, np.full(len(open_), side), found)
        return known

    def renew(self, known: Domain) -> None:
        """Draw conclusions from bounds that were improved: intervals of later vectors."""
        for operation in self.network.operations:
            low, high = self._interval(operation, known)
            before = known[operation.output]
            known[operation.output] = low.greatest(before[0]), high.least(before[1])

    def values(
        self,
        known: Domain,
        vector: int,
        index: Indices,
        side: Indices,
        extra: Mapping[int, Extra] | None = None,
    ) -> Dyadic:
        """Return lower bounds of values, or of their negatives (side 1)."""
        rows = np.zeros((len(index), self.network.sizes[vector]))
        rows[np.arange(len(index)), index] = 1.0 - 2.0 * side
        return self.backward(known, vector, Dyadic.of(rows), extra or {})

    def improve(
        self, known: Domain, vector: int, index: Indices, side: Indices, found: Dyadic
    ) -> None:
        """Take bounds of values where they are closer; an index may occur more than once."""
        low, high = known[vector]
        for place, (value, upper) in enumerate(zip(index, side, strict=True)):
            one = found[place]
            if upper:
                high = high.put(value, high[value].least(-one))
            else:
                low = low.put(value, low[value].greatest(one))
        known[vector] = low, high

    def backward(
        self, known: Domain, vector: int, rows: Dyadic, extra: Mapping[int, Extra]
    ) -> Dyadic:
        """Return lower bounds of linear functions of a vector over a domain, shape `(rows,)`."""
        waiting = {vector: rows}
        constant = Dyadic(np.zeros(rows.shape[0], object), 0)
        for operation in reversed(self.network.operations):
            if operation.output not in waiting:
                continue
            out = operation.output
            own, added = _multiplied(waiting.pop(out), known[out], extra.get(out))
            constant = constant + added
            if isinstance(operation, Nonlinear):
                more = extra.get(operation.sources[0]) if operation.function is RELU else None
                for plane in () if more is None else more.planes:
                    own, added = self._through_plane(own, plane, known, waiting)
                    constant = constant + added
                lines = self._lines(operation, known, extra)
                positive, negative = own.clamped()
                constant = constant + self._product(positive, lines.below)
                constant = constant + self._product(negative, lines.above)
                for source, low, high in zip(
                    operation.sources, lines.lower, lines.upper, strict=True
                ):
                    _wait(waiting, source, positive * low + negative * high)
                continue
            layer = self.layers[out]
            constant = constant + self._product(own, layer.bias) - self._lost(layer, own, known)
            for source, matrix in layer.terms:
                _wait(waiting, source, self._product(own, matrix))
        if 0 not in waiting:
            return constant
        own, added = _multiplied(waiting.pop(0), known[0], extra.get(0))
        positive, negative = own.clamped()
        low, high = known[0]
        least = self._product(positive, low) + self._product(negative, high)
        if self.ball is not None:
            from_center = self._product(own, Dyadic.of(self.ball.center)) - self._dual(own)
            least = least.greatest(from_center)
        return constant + added + least

    def _through_plane(
        self, rows: Dyadic, plane: Plane, known: Domain, waiting: dict[int, Dyadic]
    ) -> tuple[Dyadic, Dyadic]:
        """Let a plane take on negative coefficients of its ReLU; return the rest and a number."""
        column = (slice(None), slice(plane.index, plane.index + 1))
        negative = rows[column].clamped()[1] * plane.part
        if not (-negative).above_zero().any():
            return rows, Dyadic.of(np.zeros(rows.shape[0]))
        unit = np.zeros((1, self.network.sizes[plane.vector]))
        unit[0, plane.index] = 1.0
        written = self._written(plane.vector, Dyadic.of(unit), known)
        slopes, above = plane.derived(written, known)
        for vector, slope in slopes.items():
            _wait(waiting, vector, self._product(negative, slope[None]))
        return rows.put(column, rows[column] - negative), self._product(negative, above)

    def _written(self, vector: int, row: Dyadic, known: Domain) -> Written:
        """Bound a value from above by what no affine step computes."""
        waiting, constant = {vector: (row, row.sizes())}, Dyadic.of(np.zeros(1))
        for out, layer in sorted(self.layers.items(), reverse=True):
            if out not in waiting:
                continue
            own, sizes = waiting.pop(out)
            constant = constant + self._product(own, layer.bias) + self._lost(layer, own, known)
            for source, matrix in layer.terms:
                passed = self._product(own, matrix), self._product(sizes, matrix.sizes())
                if source in waiting:
                    before = waiting[source]
                    passed = before[0] + passed[0], before[1] + passed[1]
                waiting[source] = passed
        weights, reached = ({v: pair[k][0] for v, pair in waiting.items()} for k in (0, 1))
        return Written(weights, reached, constant)

    def _dual(self, rows: Dyadic) -> Dyadic:
        """Return how far rows can fall from the centre of the ball, in the dual norm."""
        assert self.ball is not None  # noqa: S101  asked for only where there is one
        moved = rows * Dyadic.of(self.ball.radius)
        if self.ball.norm == 1:
            return Dyadic(moved.sizes().mantissa.max(axis=1), moved.scale)
        # One more than the whole root is above the root.
        squares = (moved * moved).mantissa.sum(axis=1)
        roots = [math.isqrt(int(square) << 2 * BITS) + 1 for square in squares]
        return Dyadic(np.array(roots, object), moved.scale + BITS)

    def _undecided(self, vector: int, low: Dyadic, high: Dyadic) -> NDArray[np.bool_]:
        """Return where closer bounds would help those that read a vector."""
        readers = [o for o in self.network.operations if isinstance(o, Nonlinear)]
        if all(o.function.corner for o in readers if o.read == vector):
            return (-low).above_zero() & high.above_zero()
        return (high - low).above_zero()

    def _lost(self, layer: _Layer, rows: Dyadic, known: Domain) -> Dyadic:
        """Return by how much rows of a layer's result may be off what its coefficients say."""
        lost, sizes = Dyadic.of(np.zeros(rows.shape[0])), rows.sizes()
        for source, slack in layer.slack:
            lost = lost + self._product(self._product(sizes, slack), _size(known[source]))
        return lost if layer.off is None else lost + self._product(sizes, layer.off)

    def _lines(self, operation: Nonlinear, known: Domain, extra: Mapping[int, Extra]) -> _Lines:
        """Return lines of a function in a domain."""
        if operation.function is RELU:
            (source,) = operation.sources
            return self._relu_lines(known[source], extra.get(source))
        corners = [known[source] for source in operation.sources]
        stated = extra.get(operation.sources[0])
        if stated is not None and stated.lines and _chooses(operation.function):
            return self._rule_lines(operation, corners, stated)
        before, lines = self._held.get(operation.output, ((), None))
        if lines is None or not all(a is b for a, b in zip(before, corners, strict=True)):
            lines = self._rule_lines(operation, corners)
            self._held[operation.output] = corners, lines
        return lines

    def _rule_lines(
        self, operation: Nonlinear, corners: Sequence[Corners], stated: Extra | None = None
    ) -> _Lines:
        """Return lines of slopes that are stated or tried, with the intercepts that these need."""
        count = len(corners[0][0].mantissa)
        floats = [(low.floats()[None], high.floats()[None]) for low, high in corners]
        with np.errstate(all="ignore"):
            tried = operation.function.lines(floats)
        sides = []
        for sign, slopes in ((1, tried.lower), (-1, tried.upper)):
            held = [Dyadic.of(_finite(slope, count)) for slope in slopes]
            if stated is not None and stated.slope is not None:
                own = _chosen(operation.function, floats, stated.index, stated.slope)
                held = [held[0].put(stated.index, own)]
            sides.append((held, self._least(operation, corners, held, sign)))
        (lower, below), (upper, above) = sides
        return _Lines(lower, upper, below, -above)

    def _least(
        self, operation: Nonlinear, corners: Sequence[Corners], slopes: Sequence[Dyadic], sign: int
    ) -> Dyadic:
        """Return how large sign · (f − slopes · z) is at least, value by value."""
        rule, found = self._rules[operation.output], []
        ends = [list(zip(low.fractions(), high.fractions(), strict=True)) for low, high in corners]
        for own, factors in zip(
            zip(*ends, strict=True),
            zip(*(slope.fractions() for slope in slopes), strict=True),
            strict=True,
        ):
            self._meter.spend(PRODUCTS_OF_A_RULE)
            empty = any(low > high for low, high in own)
            try:
                found.append(Fraction(0) if empty else rule(own, factors, sign))
            except ArithmeticError as error:
                raise ProofError(f"a bound of {operation.name}: {error}") from error
        return Dyadic.at_most(found, BITS)

    def _relu_lines(self, ends: Corners, extra: Extra | None) -> _Lines:
        """Return lines of ReLU, with the lower slopes that are asked for."""
        low, high = ends
        zero, one = Dyadic.of(np.zeros(low.shape)), Dyadic.of(np.ones(low.shape))
        unstable = (-low).above_zero() & high.above_zero()
        active = one.where(~(-low).above_zero(), zero)
        with np.errstate(all="ignore"):
            share = high.floats() / (high - low).floats()
        chord = Dyadic.of(np.where(unstable & np.isfinite(share), share, 0.0))
        intercept = (-(chord * low)).greatest(high * (one - chord))
        upper = chord.where(unstable, active)
        lower = one.where(unstable & (high > -low), active)
        if extra is not None and extra.slope is not None:
            chosen = lower.put(extra.index, extra.slope)
            lower = chosen.where(unstable, lower)
        return _Lines([lower], [upper], zero, intercept.where(unstable, zero))

    def _interval(self, operation: Affine | Nonlinear, known: Domain) -> Corners:
        if isinstance(operation, Nonlinear):
            corners = [known[source] for source in operation.sources]
            if operation.function is RELU:
                ((low, high),) = corners
                return low.clamped()[0], high.clamped()[0]
            flat = [Dyadic.of(np.zeros(low.shape)) for low, _ in corners]
            return (
                self._least(operation, corners, flat, 1),
                -self._least(operation, corners, flat, -1),
            )
        layer = self.layers[operation.output]
        low = high = layer.bias
        for source, matrix in layer.terms:
            positive, negative = matrix.clamped()
            before = known[source]
            low = low + self._image(positive, before[0]) + self._image(negative, before[1])
            high = high + self._image(positive, before[1]) + self._image(negative, before[0])
        for source, slack in layer.slack:
            moved = self._image(slack, _size(known[source]))
            low, high = low - moved, high + moved
        return (low, high) if layer.off is None else (low - layer.off, high + layer.off)

    def _image(self, matrix: Dyadic, values: Dyadic) -> Dyadic:
        self._meter.spend(matrix.mantissa.size)
        return matrix @ values

    def _product(self, rows: Dyadic, factor: Dyadic) -> Dyadic:
        """Return rows times a matrix of shape `(outputs, inputs)`, or times a vector."""
        self._meter.spend(rows.shape[0] * factor.mantissa.size)
        return rows @ factor


def _layer_of(operation: Affine) -> _Layer:
    """Return an operation in exact numbers."""
    terms = [(term, Dyadic.of(dense(term.matrix))) for term in operation.terms]
    slack = [
        (term.source, matrix.sizes() * Dyadic.of(np.array(term.share)))
        for term, matrix in terms
        if term.share
    ]
    off = Dyadic.of(operation.bias_error) if np.any(operation.bias_error) else None
    held = tuple((term.source, matrix) for term, matrix in terms)
    return _Layer(held, Dyadic.of(operation.bias), tuple(slack), off)


def _size(ends: Corners) -> Dyadic:
    """Return the largest magnitudes between two corners."""
    low, high = ends
    return high.sizes().greatest(low.sizes())


def _finite(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return slopes of as many values, 0 where there is none."""
    spread = np.broadcast_to(values, (1, count))[0]
    return np.where(np.isfinite(spread), spread, 0.0)


def _chooses(function: Function) -> bool:
    """Return whether slopes of lines of a function can be stated."""
    return isinstance(function, Relaxed) and function.intercepts is not None


def _chosen(function: Function, ends: Ends, index: Indices, shares: Dyadic) -> Dyadic:
    """Return about the slopes that fractions of the way between two derivatives stand for."""
    assert isinstance(function, Relaxed)  # noqa: S101  asked before
    least, most = (side[0, index] for side in function.slopes(ends))
    slopes = least + shares.floats() * (most - least)
    return Dyadic.of(_finite(slopes, len(index)))


def _multiplied(rows: Dyadic, ends: Corners, extra: Extra | None) -> tuple[Dyadic, Dyadic]:
    """Return rows with multipliers of bounds added, and what that adds."""
    if extra is None or extra.factor is None:
        return rows, Dyadic.of(np.zeros(rows.shape[0]))
    low, high = (end[extra.index] for end in ends)
    above, below = extra.factor.clamped()
    added = -(above @ high) - (below @ low)
    place = (slice(None), extra.index)
    return rows.put(place, rows[place] + extra.factor), added


def _wait(waiting: dict[int, Dyadic], source: int, rows: Dyadic) -> None:
    waiting[source] = waiting[source] + rows if source in waiting else rows
