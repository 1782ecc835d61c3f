"""How far float32 inference may be off the network of real numbers, see docs/proofs.md.

Any order of summation is covered, with fused operations or without. No proof relies on this: it is
said of proofs that are accepted.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from solvers.proof.bounds import RELU, SPARE, TINY, Array, Enclosure, Ends, dot, gamma
from solvers.proof.network import UNIT, Affine, CheckedNetwork, Nonlinear, Part, Term, entries
from solvers.proof.parts.relaxed import Relaxed
from solvers.proof.stated import Deployment

__all__ = ["Float32Watch", "float32_error"]

UNIT32, LEAST32, FLOAT32_MOST = 2.0**-24, 2.0**-126, 2.0**127
"""Of float32; the least is the normal one, because processors may flush what is below it to 0."""
LONGEST = 1 << 23
"""Numbers in a sum of float32, from which on nothing is said of it."""
FUSED, FOLDED = 16, 2.0**40
"""Roundings that runtimes may add where they fold factors and constants into weights, and largest
weights of which three can be multiplied without overflow."""


class Float32Watch:
    """Compares margins of leaves with the error of float32."""

    def __init__(self) -> None:
        self._known: bool | None = None
        self._error, self._left = 0.0, np.inf
        self._last: _Analysis | None = None

    @property
    def part(self) -> Part:
        """What the core is given."""
        return Part("float32", watch=self._note)

    @property
    def deployment(self) -> Deployment | None:
        """What was found; None where nothing is known."""
        return Deployment(self._left > 0, self._error, self._left) if self._known else None

    def _note(self, enclosure: Enclosure, rows: Array, margins: Array) -> None:
        network = enclosure.network
        if self._known is None:
            self._known = network.graph.single and network.dropped is None
        if not self._known or not len(margins):
            return
        if self._last is None or self._last.enclosure is not enclosure:
            self._last = _Analysis(enclosure)
        if len(enclosure.region.lower) == 1:
            rows, place = np.unique(rows, axis=0, return_inverse=True)
            errors = self._last.errors(rows)[place]
        else:
            errors = self._last.errors(rows)
        self._error = max(self._error, float(errors.max()))
        self._left = min(self._left, float((margins - errors).min()))


def float32_error(enclosure: Enclosure, matrix: Array) -> Array:
    """Return how far float32 inference may move C y in every domain, `(domains, rows)`.

    Infinite where float32 may overflow.
    """
    domains = len(enclosure.region.lower)
    return _Analysis(enclosure).errors(np.tile(matrix, (domains, 1))).reshape(domains, len(matrix))


def largest(network: CheckedNetwork) -> float:
    """Return the largest magnitude of a coefficient or constant."""
    found = 0.0
    for operation in network.operations:
        if isinstance(operation, Affine):
            parts = [operation.bias, *(entries(term.matrix) for term in operation.terms)]
            found = max(found, *(float(np.abs(part).max(initial=0.0)) for part in parts))
    return found


class _Analysis:
    """Errors of all vectors, followed forward.

    A nonlinear operation answers a change δ of its source by slope·δ, and at most swing·|δ|
    more; that rest counts as an error of its own, so that what is left is linear.

    Attributes:
        spread: Per vector, how far float32 is off in all, of shape `(domains or 1, values)`.
        fresh: Per vector, what is not handed on linearly from vectors before it.
        slopes: Per nonlinear operation's output, by what it hands on errors of its sources.
    """

    @np.errstate(over="ignore", invalid="ignore")  # what overflows becomes ∞
    def __init__(self, enclosure: Enclosure) -> None:
        self.enclosure, network = enclosure, enclosure.network
        low, high = enclosure.region.lower, enclosure.region.upper
        held = (low == high) & (low.astype(np.float32) == low)
        entry = np.where(held, 0.0, UNIT32 * np.maximum(np.abs(low), np.abs(high)) + LEAST32)
        self.spread, self.fresh = [entry], [entry * SPARE]
        self.slopes: dict[int, Array] = {}
        total = 0.0
        for operation in network.operations:
            out = operation.output
            total += float(enclosure.size[out - 1].sum() + self.spread[-1].max(axis=0).sum())
            if isinstance(operation, Affine):
                own = self._cross(operation, total)
            else:
                own = self._bend(operation)
            self.fresh.append(np.asarray(own) * SPARE)
            if out in network.read_vectors and len(self.spread[out]) == 1:
                self._settle(out)

    @np.errstate(over="ignore", invalid="ignore")
    def errors(self, rows: Array) -> Array:
        """Return how far float32 may move rows of the output, as many for every domain."""
        inside = all(
            np.all(size + off <= FLOAT32_MOST)
            for size, off in zip(self.enclosure.size, self.spread, strict=True)
        )
        if not inside or largest(self.enclosure.network) > FOLDED:
            return np.full(len(rows), np.inf)
        moved = self._moved(self.enclosure.network.output, rows)
        return np.asarray(np.where(np.isnan(moved), np.inf, moved), dtype=np.float64)

    def _moved(self, vector: int, matrix: Array) -> Array:
        """Return how far float32 may move rows of a vector, as many for every domain."""
        rows = len(matrix) // len(self.enclosure.region.lower)
        total, waiting = np.zeros(len(matrix)), {vector: matrix}
        for place in range(vector, -1, -1):
            if place not in waiting:
                continue
            held = waiting.pop(place)
            total += dot(np.abs(held), _repeated(self.fresh[place], rows))
            operation = self.enclosure.network.operations[place - 1] if place else None
            parts: list[tuple[int, Array]] = []
            if isinstance(operation, Affine):
                parts = [(term.source, term.back(held)) for term in operation.terms]
            elif operation is not None:
                passed = held * _repeated(self.slopes[place], rows)
                parts = [(source, passed) for source in operation.sources]
            for source, part in parts:
                if source in waiting:
                    off = _repeated(self.spread[source], rows) * (4 * UNIT)
                    total += dot(np.abs(waiting[source]) + np.abs(part), off)
                waiting[source] = waiting[source] + part if source in waiting else part
        return total * SPARE + TINY

    def _cross(self, operation: Affine, total: float) -> Array:
        """Hand on errors through an affine step, and return those that are made there."""
        moved, own = self._affine_error(operation)
        # A weight that something was folded into may itself have become 0.
        own = own + LEAST32 * total * SPARE if np.any(own) else own
        self.spread.append((moved + own) * SPARE)
        share = gamma(operation.summed[1]) + max(term.share for term in operation.terms)
        return own + share * SPARE * moved + 8 * UNIT * self.spread[-1]

    def _affine_error(self, operation: Affine) -> tuple[Array, Array]:
        """Return what is handed on of errors of the sources, and what float32 adds."""
        count = operation.summed[0] + FUSED
        share = count * UNIT32 / (1 - count * UNIT32) if count < LONGEST else np.inf
        # The second is what a bias that consists of larger numbers was computed from.
        held = np.maximum(np.abs(operation.bias), operation.bias_error / (8 * UNIT))
        moved, summed = np.zeros((1, len(operation.bias))), held[None]
        lower, upper = self.enclosure.lower, self.enclosure.upper
        for term in operation.terms:
            grown, source = 1 + term.share * SPARE, term.source
            size, off = (
                np.maximum(np.abs(lower[source]), np.abs(upper[source])),
                self.spread[source],
            )
            moved = moved + (term.absolute @ off.T).T * grown
            summed = summed + (term.absolute @ (size + off).T).T * grown
        if len(operation.terms) == 1 and _is_copy(operation.terms[0]) and not held.any():
            return moved, np.zeros_like(moved)
        return moved, np.where(summed > FLOAT32_MOST, np.inf, share * summed + count * LEAST32)

    def _bend(self, operation: Nonlinear) -> Array:
        """Hand on errors through a function, and return those that are made there."""
        enclosure = self.enclosure
        ends = [
            (
                enclosure.lower[s] - self.spread[s] * SPARE,
                enclosure.upper[s] + self.spread[s] * SPARE,
            )
            for s in operation.sources
        ]
        least, most, own = _answer(operation, ends)
        steep = np.maximum(np.abs(least), np.abs(most))
        self.slopes[operation.output] = least / 2 + most / 2
        off = np.sum([self.spread[source] for source in operation.sources], axis=0)
        self.spread.append((steep * off + own) * SPARE)
        rest: Array = own + ((most - least) / 2 * SPARE + 8 * UNIT * steep) * off
        return rest

    def _settle(self, vector: int) -> None:
        """Bound more closely how far values are off whose sign is open, or in doubt thereby.

        What goes forward grows with every layer; a pass back from each value does not.
        """
        enclosure, off = self.enclosure, self.spread[vector][0]
        low, high = enclosure.lower[vector][0], enclosure.upper[vector][0]
        if not np.isfinite(off).all():
            return
        doubtful = ((low >= 0) & (low < off)) | ((high <= 0) & (-high < off))
        index = np.flatnonzero(doubtful | enclosure.undecided(vector)[0])
        if 10 * np.count_nonzero(doubtful) > len(off):
            index = np.arange(len(off))
        for part in enclosure.chunks(vector, len(index)):
            rows = np.zeros((len(index[part]), len(off)))
            rows[np.arange(len(rows)), index[part]] = 1.0
            off[index[part]] = np.minimum(off[index[part]], self._moved(vector, rows))


def _answer(operation: Nonlinear, ends: Ends) -> tuple[Array, Array, Array]:
    """Return least and largest slopes of a function, and what float32 adds."""
    low, high = ends[0]
    own = np.full_like(low, LEAST32)
    function = operation.function
    if function is RELU:
        return (low >= 0).astype(np.float64), (high > 0).astype(np.float64), own
    if not isinstance(function, Relaxed):
        return np.zeros_like(low), np.full_like(low, np.inf), own
    if function.rounded:
        own = own + 4 * UNIT32 * np.maximum(np.abs(low), np.abs(high)) + LEAST32
    return *function.slopes(ends), own + function.float32 + function.jump(ends)


def _is_copy(term: Term) -> bool:
    """Return whether every output is one of the inputs, its negative, or 0."""
    data = entries(term.matrix)
    single = sparse.csr_array(term.matrix).count_nonzero(axis=1).max() <= 1
    return bool(single and (np.abs(data[data != 0]) == 1.0).all())


def _repeated(values: Array, rows: int) -> Array:
    """Return numbers of each domain as often as it has rows."""
    return np.repeat(values, rows, axis=0) if len(values) > 1 else values
