"""Rigorous bounds of every vector of a network over boxes, in float64.

Every number that is claimed holds for the network of real numbers. A sum of n products, in any
order, fused or not, is off by at most γₙ Σ|aᵢbᵢ| with γₙ = nu / (1 − nu) and u = 2⁻⁵³ (Higham 2002,
section 3.1), plus n times the smallest number for what underflows. Errors are sums of numbers of
one sign themselves, with a share to spare. See docs/proofs.md.

A backward pass holds f(x) ≥ Σ Λ·v + constant − error for all x of a domain, with Λ exactly the
numbers in memory: whatever rounding changes in Λ is paid for by magnitudes of v known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.proof.container import ProofError
from solvers.proof.network import (
    UNIT,
    Affine,
    CheckedNetwork,
    Matrix,
    Nonlinear,
    Part,
    absolute,
    dense,
)
from solvers.proof.onnx_file import MOST

Array = NDArray[np.float64]
Integers = NDArray[np.intp]
Ends = Sequence[tuple[Array, Array]]
"""Bounds of every source of a function, each of shape `(domains, values)`."""
TINY = 2.0**-700
"""More than underflows lose: 2²⁶ in a coefficient, of each of 2²² values of at most 2³⁰⁰."""
SPARE = 1.0 + 2.0**-20
"""More than rounding takes off a sum of up to 2²⁶ errors."""
CHUNK_VALUES = 1 << 17
"""Coefficients of one vector that are handled at once, so that they stay in fast memory."""


class Lines(NamedTuple):
    """Σ lower·z + below ≤ f(z) ≤ Σ upper·z + above on every interval.

    Slopes are those of every source; arrays have shape `(domains, values)`, or `(1, values)`. Where
    `free` is true, any lower slope from 0 to 1 will do with the same intercept.
    """

    lower: Sequence[Array]
    upper: Sequence[Array]
    below: Array
    above: Array
    free: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Function:
    """What has to be known of a function.

    Attributes:
        image: Lower and upper bound of its values in every domain.
        lines: Lines on intervals; where an interval is empty, any numbers.
        corner: Whether it is linear on both sides of 0.
    """

    image: Callable[[Ends], tuple[Array, Array]]
    lines: Callable[[Ends], Lines]
    corner: bool = False


@dataclass(frozen=True, eq=False)
class Region:
    """Boxes, by their corners of shape `(domains, inputs)`."""

    lower: Array
    upper: Array

    def least(self, rows: Array, domain: Integers | None) -> tuple[Array, Array]:
        """Return lower bounds of rows over their domains, and how far they may be off."""
        center, radius = (pick(part, domain) for part in middle(self.lower, self.upper))
        (value, error), reach = product(rows, center), dot(np.abs(rows), radius)
        return value - reach, error + gamma(rows.shape[1] + 8) * (np.abs(value) + reach)


class Choices(NamedTuple):
    """What a proof chooses at values, `(rows or 1, values)` by vector; none makes a bound wrong.

    Slopes are lower ones in [0, 1] of ReLUs, or NaN for those of least area. With factors β, f
    becomes f + β·z − β⁺·upper + β⁻·lower, which is nowhere above f. With `cross`, a part takes some
    coefficients of a function on by itself, and returns the rest.
    """

    slopes: Mapping[int, Array]
    factors: Mapping[int, Array]
    cross: Callable[[Sweep, Nonlinear, Array], Array] = lambda _sweep, _step, rows: rows


@dataclass(eq=False)
class Enclosure:
    """Bounds of all vectors over every domain, and what backward passes need of them.

    Attributes:
        network, region: What is bounded, and where.
        lower, upper: One array per vector, shape `(domains, values)` or `(1, values)`.
        size: Per vector, the largest magnitude over all domains, shape `(values,)`.
        loss: Per vector, what a unit of a coefficient loses to rounding.
        lines: Of nonlinear steps, by the vector that they read and their own, as they are needed.
    """

    network: CheckedNetwork
    region: Region
    lower: list[Array]
    upper: list[Array]
    size: list[Array]
    loss: list[Array]
    lines: dict[tuple[int, int], Lines] = field(default_factory=dict)

    @classmethod
    def of(cls, network: CheckedNetwork, region: Region) -> Enclosure:
        """Bound all vectors: intervals, and a backward pass for each undecided pre-activation.

        Raises:
            ProofError: A bound overflows.
        """
        self = cls.unbounded(network, region)
        self.renew(refine=True)
        return self

    @classmethod
    def unbounded(cls, network: CheckedNetwork, region: Region) -> Self:
        """Know nothing yet but the region."""
        wide = [np.full((1, size), np.inf) for size in network.sizes]
        return cls(network, region, [-high for high in wide], wide, list(wide), list(wide))

    def meet(self, vector: int, low: Array, high: Array) -> None:
        """Take bounds of a vector where they are closer, and note what rounding can cost there.

        A unit of a coefficient loses 4u times the vector for how it was itself rounded. Behind an
        affine step, products with matrices lose γ |Λ| (|A| size), coefficients that are not held
        exactly as much as their share, and Λ·bias what the bias is off.
        """
        low, high = np.maximum(self.lower[vector], low), np.minimum(self.upper[vector], high)
        if not ((np.abs(low) <= MOST).all() and (np.abs(high) <= MOST).all()):
            raise ProofError(f"bounds of vector {vector} of the network overflow")
        self.lower[vector], self.upper[vector] = low, high
        self.size[vector] = np.maximum(np.abs(low), np.abs(high)).max(axis=0)
        loss = (4 * UNIT) * self.size[vector]
        operation = self.network.operations[vector - 1] if vector else None
        if isinstance(operation, Affine):
            loss = loss + operation.bias_error
            for term in operation.terms:
                share = gamma(operation.summed[1]) + term.share
                loss = loss + share * (term.absolute @ self.size[term.source])
        self.loss[vector] = loss * SPARE + TINY

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is refused
    def renew(self, *, refine: bool = False) -> None:
        """Draw conclusions from bounds that are known: intervals, and passes where asked for."""
        self.lines.clear()
        self.meet(0, self.region.lower, self.region.upper)
        for operation in self.network.operations:
            vector = operation.output
            self.meet(vector, *self.interval(operation))
            if refine and vector in self.network.read_vectors:
                domain, index = np.nonzero(self.undecided(vector))
                side = np.repeat([0, 1], len(index))
                self.improve(vector, np.tile(domain, 2), np.tile(index, 2), side)
                self.meet(vector, self.lower[vector], self.upper[vector])

    def interval(self, operation: Affine | Nonlinear) -> tuple[Array, Array]:
        """Return bounds of a step's result that follow from those of its sources."""
        if isinstance(operation, Nonlinear):
            ends = [(self.lower[source], self.upper[source]) for source in operation.sources]
            return operation.function.image(ends)
        spare, value = gamma(operation.summed[0]), operation.bias[None]
        reach = (spare * np.abs(operation.bias) + operation.bias_error)[None]
        for term in operation.terms:
            center, radius = middle(self.lower[term.source], self.upper[term.source])
            wide = radius + (spare + term.share) * SPARE * (np.abs(center) + radius)
            value = value + (term.matrix @ center.T).T
            reach = reach + (term.absolute @ wide.T).T
        reach = reach * (1 + 4 * spare) + TINY
        return np.nextafter(value - reach, -np.inf), np.nextafter(value + reach, np.inf)

    def undecided(self, vector: int) -> NDArray[np.bool_]:
        """Return where closer bounds would help those that read a vector."""
        readers = [o for o in self.network.operations if isinstance(o, Nonlinear)]
        corner = all(o.function.corner for o in readers if o.read == vector)
        low, high = self.lower[vector], self.upper[vector]
        return (low < 0) & (high > 0) if corner else low < high

    def within(self, bounds: Mapping[int, tuple[Array, Array]]) -> Enclosure:
        """Return the same for parts of a single domain where vectors have bounds of their own."""
        lower, upper = list(self.lower), list(self.upper)
        for vector, (low, high) in bounds.items():
            lower[vector], upper[vector] = low, high
        kept = {step: lines for step, lines in self.lines.items() if step[0] not in bounds}
        return replace(self, lower=lower, upper=upper, lines=kept)

    def improve(
        self, vector: int, domain: Integers, index: Integers, side: Integers,
        choices: Callable[[slice], Choices | None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Improve bounds of values, each in a domain, by backward passes; side 1 is the upper."""
        for part in self.chunks(vector, len(index)):
            where, own, upper = domain[part], index[part], side[part] == 1
            single = np.where(upper, -1.0, 1.0), own, np.arange(len(own) + 1)
            rows = sparse.csr_array(single, shape=(len(own), self.network.sizes[vector]))
            found = self.backward(vector, rows, domain=where, choices=choices(part))
            np.minimum.at(self.upper[vector], (where[upper], own[upper]), -found[upper])
            np.maximum.at(self.lower[vector], (where[~upper], own[~upper]), found[~upper])

    def chunks(self, vector: int, rows: int) -> Iterator[slice]:
        """Return rows in pieces whose coefficients fit into memory."""
        step = max(CHUNK_VALUES // max(self.network.sizes[: vector + 1]), 16)
        return (slice(start, start + step) for start in range(0, rows, step))

    def rows(self, matrix: Array) -> Array:
        """Return lower bounds of C y with adaptive slopes, shape `(domains, rows)`."""
        count = len(self.region.lower)
        domain, rows = np.repeat(np.arange(count), len(matrix)), np.tile(matrix, (count, 1))
        parts, output = self.chunks(self.network.output, len(rows)), self.network.output
        found = [self.backward(output, rows[part], domain=domain[part]) for part in parts]
        return np.concatenate(found).reshape(count, -1)

    @np.errstate(over="ignore", invalid="ignore")  # what overflows becomes −∞
    def backward(
        self, vector: int, rows: Matrix, *,
        domain: Integers | None = None, choices: Choices | None = None,
    ) -> Array:  # fmt: skip
        """Return rigorous lower bounds of linear functions of a vector, −∞ where they overflow.

        There is one for each row of coefficients, in its own domain; `domain` is None where there
        is one domain, or one for each row in order.
        """
        sweep = Sweep(self, domain, choices or Choices({}, {}), {vector: rows})
        for operation in reversed(self.network.operations):
            if operation.output in sweep.waiting:
                sweep.cross(operation)
        return sweep.finish()

    def lines_of(self, operation: Nonlinear) -> Lines:
        """Return what encloses a nonlinear step in every domain."""
        step = operation.sources[0], operation.output
        if step not in self.lines:
            ends = [(self.lower[source], self.upper[source]) for source in operation.sources]
            self.lines[step] = operation.function.lines(ends)
        return self.lines[step]


def relu_lines(ends: Ends) -> Lines:
    """Return lines of ReLU (Ehlers 2017): below, of slopes 0 and 1 that which leaves less area.

    The line above must not be below 0 at `low`, nor below `high` at `high`; between, the function
    is below its chord. So its slope need not be exact.
    """
    ((low, high),) = ends
    free = (low < 0) & (high > 0)
    active = (low >= 0).astype(np.float64)
    upper = np.where(free, high / np.where(free, high - low, 1.0), active)
    above = np.maximum(-upper * low, high * (1.0 - upper)) * (1 + 8 * UNIT) + TINY
    lower = np.where(free, high > -low, active)
    return Lines([lower], [upper], np.zeros_like(above[:1]), np.where(free, above, 0.0), free)


RELU = Function(lambda ends: tuple(np.maximum(ends[0], 0.0)), relu_lines, corner=True)
RELUS = Part("ReLU", {"Relu": lambda network, node: network.nonlinear(node, RELU)})


class Sweep:
    """One backward pass: f(x) ≥ Σ waiting[v]·v + constant − error in the domain of each row."""

    def __init__(
        self, enclosure: Enclosure, domain: Integers | None, choices: Choices,
        waiting: dict[int, Matrix],
    ) -> None:  # fmt: skip
        self.enclosure, self.domain, self.waiting = enclosure, domain, waiting
        self._choices, self._constant, self._error = choices, np.zeros(1), np.full(1, TINY)

    def cross(self, operation: Affine | Nonlinear) -> None:
        """Replace a step's output by its sources."""
        rows = self._taken(operation.output)
        if isinstance(operation, Affine):
            self.add(*product(rows, operation.bias[None]))
            for term in operation.terms:
                self.pass_on(term.source, term.back(rows))
        else:
            self._relax(operation, dense(rows))

    def finish(self) -> Array:
        """Return the bounds over the region."""
        self.waiting.setdefault(0, np.zeros((1, self.enclosure.network.sizes[0])))
        self.add(*self.enclosure.region.least(dense(self._taken(0)), self.domain))
        bound = np.nextafter(self._constant - self._error * SPARE, -np.inf)
        return np.where(np.isfinite(bound), bound, -np.inf)

    def _taken(self, vector: int) -> Matrix:
        """Take the coefficients of a vector, with multipliers of its bounds added to them."""
        factors, known = self._choices.factors.get(vector), self.enclosure
        if factors is not None:
            self.pass_on(vector, factors)
            high, low = (pick(ends[vector], self.domain) for ends in (known.upper, known.lower))
            self.add(*product(-factors, np.where(factors > 0, high, low)))
        rows = self.waiting.pop(vector)
        self.add(0.0, absolute(rows) @ known.loss[vector])
        return rows

    def _relax(self, operation: Nonlinear, rows: Array) -> None:
        """Replace a function by its lines: the upper one where coefficients are negative."""
        rows = self._choices.cross(self, operation, rows)
        lines, chosen = self.enclosure.lines_of(operation), self._choices.slopes.get(operation.read)
        positive, own = rows > 0, partial(pick, domain=self.domain)
        self.add(*product(rows, np.where(positive, own(lines.below), own(lines.above))))
        for source, lower, upper in zip(operation.sources, lines.lower, lines.upper, strict=True):
            slopes = own(lower)
            if chosen is not None and lines.free is not None:
                slopes = np.where(own(lines.free) & ~np.isnan(chosen), chosen, slopes)
            self.pass_on(source, rows * np.where(positive, slopes, own(upper)))

    def pass_on(self, source: int, rows: Matrix) -> None:
        """Let coefficients wait at a vector, added to those that wait there already."""
        if source in self.waiting:
            before = dense(self.waiting[source])
            rows = before + rows
            off = (4 * UNIT) * self.enclosure.size[source]
            self.add(0.0, np.abs(before) @ off + np.abs(rows) @ off)
        self.waiting[source] = rows

    def add(self, value: Array | float, error: Array) -> None:
        """Add to the constant a number that may be off by so much."""
        self._constant = self._constant + value
        self._error = self._error + error + 2 * UNIT * np.abs(self._constant) + TINY


def middle(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return centres and radii with lower ≥ centre − radius and upper ≤ centre + radius."""
    center = lower / 2 + upper / 2
    return center, np.maximum(upper - center, center - lower) * (1 + 4 * UNIT)


def pick(values: NDArray[Any], domain: Integers | None) -> NDArray[Any]:
    """Return what belongs to the domain of every row."""
    return values if domain is None or len(values) == 1 else values[domain]


def gamma(terms: float) -> float:
    """Return γₙ for a sum of that many products, rounded up."""
    return SPARE * terms * UNIT / (1.0 - terms * UNIT)


def dot(rows: Matrix, values: Array) -> Array:
    """Return the product of each row with a vector of its own, or one of all."""
    if len(values) == 1:
        return np.asarray(rows @ values[0])
    return np.asarray(np.einsum("ij,ij->i", dense(rows), values))


def product(rows: Matrix, values: Array) -> tuple[Array, Array]:
    """Return such products, and how far they may be off."""
    size = dot(absolute(rows), np.abs(values))
    return dot(rows, values), gamma(rows.shape[1] + 4) * size
