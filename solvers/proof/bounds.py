"""Rigorous bounds of every vector of a network over boxes, in float64.

Every number that is claimed holds for the network of real numbers. An error of a sum of n products
in any order, with fused operations or not, is at most γₙ Σ|aᵢbᵢ| with γₙ = nu / (1 − nu), u = 2⁻⁵³
(Higham 2002, section 3.1), plus n times the smallest number for what underflows. Errors themselves
are sums of numbers of one sign, computed with a share to spare. See docs/proofs.md.

A backward pass holds f(x) ≥ Σ Λ·v + constant − error for all x of a domain, with Λ exactly the
numbers in memory: whatever rounding changes in Λ is paid for by magnitudes of v known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import ProofError
from solvers.proof.functions import FUNCTIONS, Lines
from solvers.proof.network import MOST, UNIT, Affine, CheckedNetwork, Nonlinear

__all__ = ["Ball", "Enclosure", "Multipliers", "Region", "gamma"]

Array = NDArray[np.float64]
Integers = NDArray[np.intp]
TINY = 2.0**-700
"""More than underflows lose: 2²⁶ in a coefficient, of each of 2²² values of at most 2³⁰⁰."""
SPARE = 1.0 + 2.0**-20
"""More than rounding takes off a sum of up to 2²⁶ errors."""
UNIT32, LEAST32, FLOAT32_MOST = 2.0**-24, 2.0**-126, 2.0**127
"""Of float32; the least is the normal one, because processors may flush what is below it to 0."""
FUSED, FOLDED = 16, 2.0**40
"""Roundings that runtimes may add where they fold factors and constants into weights, and largest
weights of which three can be multiplied without overflow."""
CHUNK_VALUES = 1 << 17
"""Coefficients of one vector that are handled at once, so that they stay in fast memory."""


def gamma(terms: float) -> float:
    """Return γₙ for a sum of that many products, rounded up."""
    return SPARE * terms * UNIT / (1.0 - terms * UNIT)


@dataclass(frozen=True, eq=False)
class Ball:
    """All x with ‖(x − center) / radius‖ ≤ 1 in norm 1 or 2; shapes `(inputs,)`."""

    norm: int
    center: Array
    radius: Array


@dataclass(frozen=True, eq=False)
class Region:
    """Boxes, shape `(domains, inputs)`, inside a ball where there is one."""

    lower: Array
    upper: Array
    ball: Ball | None = None

    def least(self, rows: Array, domain: Integers | None) -> tuple[Array, Array]:
        """Return a lower bound of rows over their domain, and the sizes of what was added up.

        Args:
            rows: Coefficients, shape `(rows, inputs)`.
            domain: Of every row; None for one domain, or one per row.
        """
        center, radius = _middle(self.lower, self.upper)
        spare = gamma(rows.shape[1] + 8)
        center, reach = (_pick(part, domain) for part in (center, radius))
        size = np.abs(rows)
        slack = _dot(size, reach + spare * (np.abs(center) + reach)) * (1 + 2 * spare)
        middle = _dot(rows, center)
        if self.ball is not None:
            slack_ball = self._ball_reach(size, spare)
            middle_ball = rows @ self.ball.center
            better = middle_ball - slack_ball > middle - slack
            middle = np.where(better, middle_ball, middle)
            slack = np.where(better, slack_ball, slack)
        return middle - slack, np.abs(middle) + slack

    def _ball_reach(self, size: Array, spare: float) -> Array:
        """Return the largest change of rows from the centre of the ball, by the dual norm."""
        assert self.ball is not None  # noqa: S101  the only caller asks
        scaled = size * self.ball.radius
        dual = scaled.max(axis=1) if self.ball.norm == 1 else np.sqrt((scaled**2).sum(axis=1))
        error = size @ (spare * np.abs(self.ball.center)) + len(self.ball.radius) * 2.0**-500
        return np.asarray((dual + error) * (1 + 2 * spare))


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Numbers γ of some values of a vector: f becomes f + γ·z − γ⁺·upper + γ⁻·lower, or lower.

    Attributes:
        index: Positions in the vector, all different.
        factor, lower, upper: γ and bounds that hold in each row's domain, `(rows, values)`.
    """

    index: Integers
    factor: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Slopes:
    """Lower slopes of ReLUs at some values of a vector, shape `(rows or 1, values)`, in [0, 1]."""

    index: Integers
    slope: Array


@dataclass(frozen=True, eq=False)
class _Float32:
    """How far float32 inference is off, all of shape `(domains or 1, values)`.

    Attributes:
        spread: Per vector, how far in all.
        fresh: Per vector, what is not handed on linearly from vectors before it.
        slopes: Per nonlinear operation's output, by what it hands on errors of its sources.
    """

    spread: list[Array]
    fresh: list[Array]
    slopes: dict[int, Array]


@dataclass(eq=False)
class Enclosure:
    """Bounds of all vectors over every domain, and what backward passes need of them.

    Attributes:
        network, region: What is bounded, and where.
        lower, upper: One array per vector, shape `(domains, values)` or `(1, values)`.
        size: Per vector, the largest magnitude over all domains, shape `(values,)`.
        loss: Per affine operation's output: what a unit of a coefficient loses to rounding.
        lines: Per nonlinear operation's output, as far as they are needed.
    """

    network: CheckedNetwork
    region: Region
    lower: list[Array] = field(default_factory=list)
    upper: list[Array] = field(default_factory=list)
    size: list[Array] = field(default_factory=list)
    loss: dict[int, Array] = field(default_factory=dict)
    lines: dict[int, Lines] = field(default_factory=dict)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # what overflows is refused
    def of(cls, network: CheckedNetwork, region: Region) -> Enclosure:
        """Bound all vectors: intervals, and a backward pass for each undecided pre-activation.

        Raises:
            ProofError: A bound overflows.
        """
        self = cls(network, region)
        self._append(0, region.lower.copy(), region.upper.copy())
        direct, read = {0}, network.read_vectors
        for operation in network.operations:
            out = operation.output
            self._append(out, *self._interval(operation))
            if isinstance(operation, Affine):
                self._note_loss(operation)
                if len(operation.terms) == 1 and operation.terms[0].source in direct:
                    if operation.terms[0].is_selection:
                        direct.add(out)
                    if region.ball is None:
                        continue  # an interval through one matrix is as good as a pass
            if out in read:
                self.refine(out, *np.nonzero(self._undecided(out)))
        return self

    def within(self, bounds: Mapping[int, tuple[Array, Array]]) -> Enclosure:
        """Return the same for parts of a single domain in which some vectors have closer bounds.

        Args:
            bounds: Per vector, arrays of shape `(parts, values)`.
        """
        lower, upper = list(self.lower), list(self.upper)
        for vector, (low, high) in bounds.items():
            lower[vector], upper[vector] = low, high
        changed = {
            operation.output
            for operation in self.network.operations
            if isinstance(operation, Nonlinear) and not bounds.keys().isdisjoint(operation.sources)
        }
        lines = {out: found for out, found in self.lines.items() if out not in changed}
        return Enclosure(self.network, self.region, lower, upper, self.size, self.loss, lines)

    def renew(self) -> None:
        """Draw conclusions from bounds that were improved: intervals of later vectors."""
        self.lines.clear()
        for operation in self.network.operations:
            out = operation.output
            low, high = self._interval(operation)
            np.maximum(self.lower[out], low, out=self.lower[out])
            np.minimum(self.upper[out], high, out=self.upper[out])
            self.size[out] = _size(self.lower[out], self.upper[out])
            if isinstance(operation, Affine):
                self._note_loss(operation)

    def refine(self, vector: int, domain: Integers, index: Integers) -> None:
        """Improve both bounds of values by backward passes with adaptive slopes.

        Args:
            vector: Whose.
            domain: Of every value, shape `(values,)`.
            index: Which values, the same shape.
        """
        spread = len(self.lower[vector]) > 1
        for part in self.chunks(vector, len(index)):
            where = domain[part] if spread else None
            for side in (0, 1):
                sides = np.full(len(index[part]), side)
                found = self.backward(vector, (index[part], 1.0 - 2.0 * sides), domain=where)
                self.improve(vector, domain[part], index[part], sides, found)
        self.size[vector] = _size(self.lower[vector], self.upper[vector])

    def improve(
        self, vector: int, domain: Integers, index: Integers, side: Integers, found: Array
    ) -> None:
        """Take lower bounds of values, or of their negatives (side 1), where they are closer."""
        upper, lower = side == 1, side != 1
        np.minimum.at(self.upper[vector], (domain[upper], index[upper]), -found[upper])
        np.maximum.at(self.lower[vector], (domain[lower], index[lower]), found[lower])

    def chunks(self, vector: int, rows: int) -> Iterator[slice]:
        """Return rows in pieces whose coefficients fit into memory."""
        step = max(CHUNK_VALUES // max(self.network.sizes[: vector + 1]), 16)
        return (slice(start, start + step) for start in range(0, rows, step))

    @np.errstate(over="ignore", invalid="ignore")  # what overflows becomes −∞
    def backward(
        self,
        vector: int,
        rows: Array | tuple[Integers, Array],
        *,
        domain: Integers | None = None,
        slopes: Mapping[int, Slopes] | None = None,
        multipliers: Mapping[int, Multipliers] | None = None,
    ) -> Array:
        """Return rigorous lower bounds of linear functions of a vector, −∞ where they overflow.

        Args:
            vector: Which.
            rows: Coefficients, shape `(rows, values)`; or for multiples of single values, their
                positions and factors ±1, both of shape `(rows,)`.
            domain: Of every row; None where there is one domain, or one for each row.
            slopes: Of ReLUs that read a vector, in place of adaptive ones.
            multipliers: Per vector that a nonlinear operation reads.
        """
        sweep = _Sweep(self, domain, slopes or {}, multipliers or {})
        sweep.start(vector, rows)
        for operation in reversed(self.network.operations):
            if operation.output in sweep.waiting:
                sweep.cross(operation)
        return sweep.finish()

    def lines_of(self, operation: Nonlinear) -> Lines:
        """Return what encloses a nonlinear operation in every domain."""
        if operation.output not in self.lines:
            ends = [(self.lower[s], self.upper[s]) for s in operation.sources]
            found = FUNCTIONS[operation.kind].lines(ends, operation.numbers)
            self.lines[operation.output] = found
        return self.lines[operation.output]

    @np.errstate(over="ignore", invalid="ignore")  # what overflows becomes ∞
    def float32_error(self, matrix: Array) -> Array:
        """Return how far float32 inference may move C y in every domain, `(domains, rows)`.

        See docs/proofs.md; infinite where float32 may overflow.
        """
        float32, domains = self._float32(), len(self.region.lower)
        if self.network.largest > FOLDED or not all(
            np.all(size + off <= FLOAT32_MOST)
            for size, off in zip(self.size, float32.spread, strict=True)
        ):
            return np.full((domains, len(matrix)), np.inf)
        moved = self._moved(self.network.output, np.tile(matrix, (domains, 1)), float32)
        return np.where(np.isnan(moved), np.inf, moved).reshape(domains, len(matrix))

    def _moved(self, vector: int, matrix: Array, float32: _Float32) -> Array:
        """Return how far float32 may move rows of a vector, as many for every domain."""
        rows = len(matrix) // len(self.region.lower)
        total, waiting = np.zeros(len(matrix)), {vector: matrix}
        for place in range(vector, -1, -1):
            if place not in waiting:
                continue
            held = waiting.pop(place)
            total += _dot(np.abs(held), _repeated(float32.fresh[place], rows))
            operation = self._maker.get(place)
            parts: list[tuple[int, Array]] = []
            if isinstance(operation, Affine):
                parts = [(term.source, term.back(held)) for term in operation.terms]
            elif operation is not None:
                passed = held * _repeated(float32.slopes[place], rows)
                parts = [(source, passed) for source in operation.sources]
            for source, part in parts:
                if source in waiting:
                    off = _repeated(float32.spread[source], rows) * (4 * UNIT)
                    total += _dot(np.abs(waiting[source]) + np.abs(part), off)
                    part = waiting[source] + part  # noqa: PLW2901
                waiting[source] = part
        return total * SPARE + TINY

    @cached_property
    def _maker(self) -> dict[int, Affine | Nonlinear]:
        return {operation.output: operation for operation in self.network.operations}

    def _float32(self) -> _Float32:
        """Follow errors forward.

        A nonlinear operation answers a change δ of its source by slope·δ, and at most swing·|δ|
        more; that rest counts as an error of its own, so that what is left is linear.
        """
        low, high = self.region.lower, self.region.upper
        held = (low == high) & (low.astype(np.float32) == low)
        entry = np.where(held, 0.0, UNIT32 * np.maximum(np.abs(low), np.abs(high)) + LEAST32)
        float32 = _Float32([entry], [entry * SPARE], {})
        spread, total = float32.spread, 0.0
        for operation in self.network.operations:
            out = operation.output
            total += float(self.size[len(spread) - 1].sum() + spread[-1].max(axis=0).sum())
            if isinstance(operation, Affine):
                moved, own = self._affine_error(operation, spread)
                # A weight that something was folded into may itself have become 0.
                own = own + LEAST32 * total * SPARE if np.any(own) else own
                spread.append((moved + own) * SPARE)
                share = gamma(operation.summed(forward=False)) + max(
                    t.share for t in operation.terms
                )
                own = own + share * SPARE * moved + 8 * UNIT * spread[-1]
            else:
                float32.slopes[out], steep, swing, own = self._bend(operation, spread)
                off = np.sum([spread[source] for source in operation.sources], axis=0)
                spread.append((steep * off + own) * SPARE)
                own = own + (swing + 8 * UNIT * steep) * off
            float32.fresh.append(np.asarray(own) * SPARE)
            if out in self.network.read_vectors and len(spread[out]) == 1:
                self._settle(out, float32)
        return float32

    def _affine_error(self, operation: Affine, spread: Sequence[Array]) -> tuple[Array, Array]:
        """Return what is handed on of errors of the sources, and what float32 adds."""
        count = operation.summed(forward=True) + FUSED
        share = count * UNIT32 / (1 - count * UNIT32)
        # The second is what a bias that consists of larger numbers was computed from.
        held = np.maximum(np.abs(operation.bias), operation.bias_error / (8 * UNIT))
        moved, summed = np.zeros((1, len(operation.bias))), held[None]
        for term in operation.terms:
            grown, source = 1 + term.share * SPARE, term.source
            size = np.maximum(np.abs(self.lower[source]), np.abs(self.upper[source]))
            moved = moved + term.absolute.forward(spread[source]) * grown
            summed = summed + term.absolute.forward(size + spread[source]) * grown
        copied = len(operation.terms) == 1 and operation.terms[0].is_copy
        if copied and not held.any():
            return moved, np.zeros_like(moved)
        return moved, np.where(summed > FLOAT32_MOST, np.inf, share * summed + count * LEAST32)

    def _bend(
        self, operation: Nonlinear, spread: Sequence[Array]
    ) -> tuple[Array, Array, Array, Array]:
        """Return slopes in the middle, largest slopes, half their range, and what float32 adds."""
        ends = [
            (self.lower[s] - spread[s] * SPARE, self.upper[s] + spread[s] * SPARE)
            for s in operation.sources
        ]
        function = FUNCTIONS[operation.kind]
        least, most = function.slopes(ends, operation.numbers)
        steep = np.maximum(np.abs(least), np.abs(most))
        own = np.full_like(steep, function.float32 + LEAST32)
        if operation.kind == "leaky":
            own = own + 4 * UNIT32 * np.maximum(*map(np.abs, ends[0])) + LEAST32
        return least / 2 + most / 2, steep, (most - least) / 2 * SPARE, own

    def _settle(self, vector: int, float32: _Float32) -> None:
        """Bound more closely how far values are off whose sign is open, or in doubt thereby.

        What goes forward grows with every layer; a pass back from each value does not.
        """
        low, high, off = self.lower[vector][0], self.upper[vector][0], float32.spread[vector][0]
        if not np.isfinite(off).all():
            return
        doubtful = ((low >= 0) & (low < off)) | ((high <= 0) & (-high < off))
        index = np.flatnonzero(doubtful | self._undecided(vector)[0])
        if 10 * np.count_nonzero(doubtful) > len(off):
            index = np.arange(len(off))
        for part in self.chunks(vector, len(index)):
            rows = np.zeros((len(index[part]), len(off)))
            rows[np.arange(len(rows)), index[part]] = 1.0
            closer = self._moved(vector, rows, float32)
            off[index[part]] = np.minimum(off[index[part]], closer)

    def _undecided(self, vector: int) -> NDArray[np.bool_]:
        low, high = self.lower[vector], self.upper[vector]
        kinds = {
            FUNCTIONS[o.kind].corner
            for o in self.network.operations
            if isinstance(o, Nonlinear) and o.read == vector
        }
        return (low < 0) & (high > 0) if kinds == {True} else low < high

    def _append(self, vector: int, low: Array, high: Array) -> None:
        while len(self.lower) <= vector:
            for held in (self.lower, self.upper, self.size):
                held.append(np.zeros(0))
        if not ((np.abs(low) <= MOST).all() and (np.abs(high) <= MOST).all()):
            raise ProofError(f"bounds of vector {vector} of the network overflow")
        self.lower[vector], self.upper[vector] = low, high
        self.size[vector] = _size(low, high)

    def _interval(self, operation: Affine | Nonlinear) -> tuple[Array, Array]:
        if isinstance(operation, Nonlinear):
            ends = [(self.lower[s], self.upper[s]) for s in operation.sources]
            return FUNCTIONS[operation.kind].image(ends, operation.numbers)
        spare = gamma(operation.summed(forward=True))
        middle = operation.bias[None]
        reach = (spare * np.abs(operation.bias) + operation.bias_error)[None]
        for term in operation.terms:
            center, radius = _middle(self.lower[term.source], self.upper[term.source])
            share = (spare + term.share) * SPARE
            middle = middle + term.forward(center)
            wide = radius + share * (np.abs(center) + radius)
            reach = reach + term.absolute.forward(wide)
        reach = reach * (1 + 4 * spare) + TINY
        return np.nextafter(middle - reach, -np.inf), np.nextafter(middle + reach, np.inf)

    def _note_loss(self, operation: Affine) -> None:
        """Note what a unit of a coefficient of the output loses on the way to the sources.

        Products with matrices lose γ |Λ| (|A| size), coefficients that are not held exactly as
        much as their share, Λ·bias loses γ |Λ||bias|; 4u for how Λ itself was rounded before.
        """
        out, spare = operation.output, gamma(operation.summed(forward=False))
        total = (4 * UNIT) * self.size[out] + operation.bias_error
        total = total + gamma(len(operation.bias) + 4) * np.abs(operation.bias)
        for term in operation.terms:
            product = term.absolute.forward(self.size[term.source][None])[0]
            total = total + (spare + term.share) * product
        self.loss[out] = total * SPARE + TINY


class _Sweep:
    """One backward pass on its way."""

    def __init__(
        self,
        enclosure: Enclosure,
        domain: Integers | None,
        slopes: Mapping[int, Slopes],
        multipliers: Mapping[int, Multipliers],
    ) -> None:
        self.waiting: dict[int, Array | tuple[Integers, Array]] = {}
        self._enclosure, self._domain = enclosure, domain
        self._slopes, self._multipliers = slopes, multipliers
        self._constant, self._error, self._added = np.zeros(1), np.full(1, TINY), np.zeros(1)
        self._steps = 8

    def start(self, vector: int, rows: Array | tuple[Integers, Array]) -> None:
        self.waiting[vector] = rows

    def cross(self, operation: Affine | Nonlinear) -> None:
        """Replace an operation's output by its sources."""
        rows = self.waiting.pop(operation.output)
        if isinstance(operation, Affine):
            self._affine(operation, rows)
            return
        dense = self._dense(operation.output, rows)
        self._nonlinear(operation, self._multiplied(operation.output, dense))

    def finish(self) -> Array:
        """Return the bounds over the region."""
        region = self._enclosure.region
        rows = self._dense(0, self.waiting.pop(0, np.zeros((1, region.lower.shape[1]))))
        least, added = region.least(self._multiplied(0, rows), self._domain)
        self._add(least, added)
        error = (self._error + gamma(self._steps) * self._added) * SPARE
        bound = np.nextafter(self._constant - error, -np.inf)
        return np.where(np.isfinite(bound), bound, -np.inf)

    def _affine(self, operation: Affine, rows: Array | tuple[Integers, Array]) -> None:
        loss = self._enclosure.loss[operation.output]
        if isinstance(rows, tuple) and operation.output not in self._multipliers:
            index, signs = rows
            self._error = self._error + loss[index] + TINY
            self._add(signs * operation.bias[index])
            for term in operation.terms:
                self._pass(term.source, term.chosen(index, signs))
            return
        full = self._multiplied(operation.output, self._dense(operation.output, rows))
        self._error = self._error + np.abs(full) @ loss + TINY
        self._add(full @ operation.bias)
        for term in operation.terms:
            self._pass(term.source, term.back(full))

    def _nonlinear(self, operation: Nonlinear, rows: Array) -> None:
        lines = self._enclosure.lines_of(operation)
        own = self._slopes.get(operation.sources[0]) if operation.kind == "relu" else None
        negative = np.minimum(rows, 0.0)
        constant = _dot(negative, _pick(lines.above, self._domain))
        if lines.below is None:
            size = -_dot(negative, np.abs(_pick(lines.above, self._domain)))
        else:
            positive = np.maximum(rows, 0.0)
            below = _pick(lines.below, self._domain)
            size = _dot(positive, np.abs(below))
            size = size - _dot(negative, np.abs(_pick(lines.above, self._domain)))
            constant = constant + _dot(positive, below)
        self._error = self._error + gamma(rows.shape[1] + 4) * size + TINY
        self._add(constant, size)
        rising = rows > 0
        for place, source in enumerate(operation.sources):
            lower = _pick(lines.lower[place], self._domain)
            if own is not None:
                lower = _with_slopes(lower, own, lines.open_, self._domain)
            chosen = np.where(rising, lower, _pick(lines.upper[place], self._domain))
            self._pass(source, np.multiply(rows, chosen, out=chosen), rounded=True)

    def _multiplied(self, vector: int, rows: Array) -> Array:
        """Add multipliers of a vector's bounds to its coefficients."""
        own = self._multipliers.get(vector)
        if own is None:
            return rows
        result = rows.copy()
        result[:, own.index] += own.factor
        self._error = self._error + np.abs(result) @ (4 * UNIT * self._enclosure.size[vector])
        above, below = np.maximum(own.factor, 0.0), np.minimum(own.factor, 0.0)
        upper, lower = (above * own.upper).sum(axis=1), (below * own.lower).sum(axis=1)
        size = (above * np.abs(own.upper)).sum(axis=1) - (below * np.abs(own.lower)).sum(axis=1)
        self._error = self._error + gamma(own.factor.shape[1] + 4) * size + TINY
        self._add(-upper - lower, size)
        return result

    def _pass(self, source: int, rows: Array, *, rounded: bool = False) -> None:
        """Let coefficients wait at a vector, added to those that wait there already."""
        before = self.waiting.get(source)
        unit = 4 * UNIT * self._enclosure.size[source]
        if before is not None:
            before = self._dense(source, before)
            self._error = self._error + (np.abs(before) + np.abs(rows)) @ unit + TINY
            rows = before + rows
        elif rounded:
            self._error = self._error + np.abs(rows) @ unit + TINY
        self.waiting[source] = rows

    def _dense(self, vector: int, rows: Array | tuple[Integers, Array]) -> Array:
        if not isinstance(rows, tuple):
            return rows
        index, signs = rows
        result = np.zeros((len(index), self._enclosure.network.sizes[vector]))
        result[np.arange(len(index)), index] = signs
        return result

    def _add(self, term: Array, size: Array | None = None) -> None:
        self._constant = self._constant + term
        self._added = self._added + (np.abs(term) if size is None else size)
        self._steps += 2


def _with_slopes(
    lower: Array, own: Slopes, open_: NDArray[np.bool_], domain: Integers | None
) -> Array:
    rows = max(len(lower), len(own.slope))
    result = np.broadcast_to(lower, (rows, lower.shape[1])).copy()
    undecided = _pick(open_, domain)[:, own.index]
    result[:, own.index] = np.where(undecided, own.slope, result[:, own.index])
    return result


def _middle(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return centres and radii with lower ≥ centre − radius and upper ≤ centre + radius."""
    center = lower / 2 + upper / 2
    return center, np.maximum(upper - center, center - lower) * (1 + 4 * UNIT)


def _size(lower: Array, upper: Array) -> Array:
    return np.asarray(np.maximum(np.abs(lower), np.abs(upper)).max(axis=0))


def _pick(values: NDArray, domain: Integers | None) -> NDArray:  # type: ignore[type-arg]
    return values if domain is None or len(values) == 1 else values[domain]


def _dot(rows: Array, values: Array) -> Array:
    """Return the product of each row with a vector of its own, or one of all."""
    if len(values) == 1:
        return np.asarray(rows @ values[0])
    return np.asarray(np.einsum("ij,ij->i", rows, values))


def _repeated(values: Array, rows: int) -> Array:
    """Return numbers of each domain as often as it has rows."""
    return np.repeat(values, rows, axis=0) if len(values) > 1 else values
