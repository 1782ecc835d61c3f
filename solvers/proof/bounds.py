"""Rigorous bounds of every vector of a network over boxes, in float64.

Every number that is claimed holds for the network of real numbers. An error of a sum of n products
in any order, with fused operations or not, is at most γₙ Σ|aᵢbᵢ| with γₙ = nu / (1 − nu), u = 2⁻⁵³
(Higham 2002, section 3.1), plus n times the smallest number for what underflows. Errors themselves
are sums of numbers of one sign, computed with a share to spare. See docs/proofs.md.

A backward pass holds f(x) ≥ Σ Λ·v + constant − error for all x of a domain, with Λ exactly the
numbers in memory: whatever rounding changes in Λ is paid for by magnitudes of v known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.proof.container import Balls, ProofError
from solvers.proof.network import UNIT, Affine, CheckedNetwork, Matrix, Nonlinear, absolute, dense
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


class Function(Protocol):
    """What a part says of a function other than ReLU."""

    def undecided(self, lower: Array, upper: Array) -> NDArray[np.bool_]:
        """Return where closer bounds of its source would help."""

    def image(self, ends: Ends) -> tuple[Array, Array]:
        """Return bounds of its values in every domain."""

    def lines(self, ends: Ends) -> object:
        """Return what `relax` needs, derived once from bounds of the sources."""

    def relax(self, sweep: Sweep, operation: Nonlinear, rows: Array) -> None:
        """Replace it in a backward pass by linear functions of its sources."""


def gamma(terms: float) -> float:
    """Return γₙ for a sum of that many products, rounded up."""
    return SPARE * terms * UNIT / (1.0 - terms * UNIT)


@dataclass(frozen=True, eq=False)
class Region:
    """Boxes, by their corners of shape `(domains, inputs)`."""

    lower: Array
    upper: Array

    def least(self, rows: Array, domain: Integers | None) -> tuple[Array, Array]:
        """Return lower bounds of rows over their domains, and the sizes of what was added up."""
        center, radius = (pick(part, domain) for part in middle(self.lower, self.upper))
        spare = gamma(rows.shape[1] + 8)
        reach = dot(np.abs(rows), radius + spare * (np.abs(center) + radius)) * (1 + 2 * spare)
        value = dot(rows, center)
        return value - reach, np.abs(value) + reach


class BallRule(Protocol):
    """What a part says of proofs about balls."""

    def region(self, boxes: Region, balls: Balls, case: int) -> Region:
        """Put boxes of a case into its ball."""

    def holds(self, balls: Balls, case: int, asked: object) -> bool:
        """Return whether a case's ball holds one that was asked about."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What a proof chooses at some values of a vector; no choice makes a bound wrong.

    Attributes:
        index: Positions in the vector, all different.
        slope: Lower slopes α in [0, 1] of ReLUs that read it, `(rows or 1, values)`, or None.
        factor: Multipliers β of its bounds, `(rows, values)`, or None: f becomes
            f + β·z − β⁺·upper + β⁻·lower, which is nowhere above f.
    """

    index: Integers
    slope: Array | None = None
    factor: Array | None = None


@dataclass(eq=False)
class Enclosure:
    """Bounds of all vectors over every domain, and what backward passes need of them.

    Attributes:
        network, region: What is bounded, and where.
        lower, upper: One array per vector, shape `(domains, values)` or `(1, values)`.
        size: Per vector, the largest magnitude over all domains, shape `(values,)`.
        loss: Per affine step's output, what a unit of a coefficient loses to rounding.
        lines: Of nonlinear steps, by the vector that they read and their own, as they are needed.
    """

    network: CheckedNetwork
    region: Region
    lower: list[Array] = field(default_factory=list)
    upper: list[Array] = field(default_factory=list)
    size: list[Array] = field(default_factory=list)
    loss: dict[int, Array] = field(default_factory=dict)
    lines: dict[tuple[int, int], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: CheckedNetwork, region: Region) -> Enclosure:
        """Bound all vectors: intervals, and a backward pass for each undecided pre-activation.

        Raises:
            ProofError: A bound overflows.
        """
        self = cls(network, region)
        self.append(region.lower, region.upper)
        for operation in network.operations:
            self.append(*self.interval(operation))
            self.note_loss(operation)
            if operation.output in network.read_vectors:
                self.refine(operation.output)
        return self

    def append(self, lower: Array, upper: Array) -> None:
        """Take bounds of the next vector."""
        if not ((np.abs(lower) <= MOST).all() and (np.abs(upper) <= MOST).all()):
            raise ProofError(f"bounds of vector {len(self.lower)} of the network overflow")
        self.lower.append(lower.copy())
        self.upper.append(upper.copy())
        self.size.append(magnitude(lower, upper))

    def undecided(self, vector: int) -> NDArray[np.bool_]:
        """Return where closer bounds would help those that read a vector."""
        low, high = self.lower[vector], self.upper[vector]
        found = (low < 0) & (high > 0)
        for operation in self.network.operations:
            if isinstance(operation, Nonlinear) and operation.read == vector:
                function = operation.function
                found = found if function is None else found | function.undecided(low, high)
        return found

    def refine(self, vector: int) -> None:
        """Improve both bounds of values that are undecided by backward passes."""
        domain, index = np.nonzero(self.undecided(vector))
        for side in (0, 1):
            self.improve(vector, domain, index, np.full(len(index), side))
        self.size[vector] = magnitude(self.lower[vector], self.upper[vector])

    def renew(self) -> None:
        """Draw conclusions from bounds that were improved: intervals of later vectors."""
        self.lines.clear()
        for operation in self.network.operations:
            out, (low, high) = operation.output, self.interval(operation)
            np.maximum(self.lower[out], low, out=self.lower[out])
            np.minimum(self.upper[out], high, out=self.upper[out])
            self.size[out] = magnitude(self.lower[out], self.upper[out])
            self.note_loss(operation)

    def within(self, bounds: Mapping[int, tuple[Array, Array]]) -> Enclosure:
        """Return the same for parts of a single domain where vectors have bounds of their own."""
        lower, upper = list(self.lower), list(self.upper)
        for vector, (low, high) in bounds.items():
            lower[vector], upper[vector] = low, high
        kept = {step: lines for step, lines in self.lines.items() if step[0] not in bounds}
        return Enclosure(self.network, self.region, lower, upper, self.size, self.loss, kept)

    def improve(
        self, vector: int, domain: Integers, index: Integers, side: Integers,
        choices: Callable[[slice], Mapping[int, Choice]] = lambda _: {},
    ) -> None:  # fmt: skip
        """Improve bounds of values by backward passes.

        Args:
            vector: Whose values.
            domain: In which, for every bound.
            index: Of which value.
            side: 1 for the upper one.
            choices: Those for some of these bounds.
        """
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
        found, output = np.empty(len(rows)), self.network.output
        for part in self.chunks(output, len(rows)):
            found[part] = self.backward(output, rows[part], domain=domain[part])
        return found.reshape(count, -1)

    @np.errstate(over="ignore", invalid="ignore")  # what overflows becomes −∞
    def backward(
        self, vector: int, rows: Matrix, *,
        domain: Integers | None = None, choices: Mapping[int, Choice] | None = None,
    ) -> Array:  # fmt: skip
        """Return rigorous lower bounds of linear functions of a vector, −∞ where they overflow.

        Args:
            vector: Which.
            rows: Coefficients, shape `(rows, values)`.
            domain: Of every row; None where there is one domain, or one for each row.
            choices: By the vector that they belong to.
        """
        sweep = Sweep(self, domain, choices or {})
        sweep.waiting[vector] = rows
        for operation in reversed(self.network.operations):
            if operation.output in sweep.waiting:
                sweep.cross(operation)
        return sweep.finish()

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is refused
    def interval(self, operation: Affine | Nonlinear) -> tuple[Array, Array]:
        """Return bounds of a step's result that follow from those of its sources."""
        if isinstance(operation, Nonlinear):
            ends = [(self.lower[s], self.upper[s]) for s in operation.sources]
            if operation.function is not None:
                return operation.function.image(ends)
            return np.maximum(ends[0][0], 0.0), np.maximum(ends[0][1], 0.0)
        spare, value = gamma(operation.summed[0]), operation.bias[None]
        reach = (spare * np.abs(operation.bias) + operation.bias_error)[None]
        for term in operation.terms:
            center, radius = middle(self.lower[term.source], self.upper[term.source])
            wide = radius + (spare + term.share) * SPARE * (np.abs(center) + radius)
            value = value + (term.matrix @ center.T).T
            reach = reach + (term.absolute @ wide.T).T
        reach = reach * (1 + 4 * spare) + TINY
        return np.nextafter(value - reach, -np.inf), np.nextafter(value + reach, np.inf)

    @np.errstate(over="ignore", invalid="ignore")
    def note_loss(self, operation: Affine | Nonlinear) -> None:
        """Note what a unit of a coefficient of an affine step's output loses on the way back.

        Products with matrices lose γ |Λ| (|A| size), coefficients that are not held exactly as
        much as their share, Λ·bias loses γ |Λ||bias|; 4u for how Λ itself was rounded before.
        """
        if isinstance(operation, Affine):
            total = (4 * UNIT) * self.size[operation.output] + operation.bias_error
            total = total + gamma(len(operation.bias) + 4) * np.abs(operation.bias)
            for term in operation.terms:
                share = gamma(operation.summed[1]) + term.share
                total = total + share * (term.absolute @ self.size[term.source])
            self.loss[operation.output] = total * SPARE + TINY

    def lines_of(self, operation: Nonlinear) -> Any:  # noqa: ANN401  a part knows its own
        """Return what encloses a nonlinear step in every domain."""
        step = operation.sources[0], operation.output
        if step not in self.lines:
            make = relu_lines if operation.function is None else operation.function.lines
            self.lines[step] = make([(self.lower[s], self.upper[s]) for s in operation.sources])
        return self.lines[step]


def relu_lines(ends: Ends) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Return lower and upper slopes, upper intercepts, and where lower slopes are free.

    Ehlers 2017: the chord above; below, any slope from 0 to 1 will do, by default that of 0 and 1
    that leaves less area. The line above must not be below 0 at `low`, nor below `high` at `high`;
    between, the function is below its chord. So its slope need not be exact.
    """
    ((low, high),) = ends
    free = (low < 0) & (high > 0)
    active = (low >= 0).astype(np.float64)
    upper = np.where(free, high / np.where(free, high - low, 1.0), active)
    above = np.maximum(-upper * low, high * (1.0 - upper)) * (1 + 8 * UNIT) + TINY
    lower = np.where(free, high > -low, active)
    return lower, upper, np.where(free, above, 0.0), free


class Sweep:
    """One backward pass: f(x) ≥ Σ waiting[v]·v + constant − error in the domain of each row."""

    def __init__(
        self, enclosure: Enclosure, domain: Integers | None, choices: Mapping[int, Choice]
    ) -> None:
        self.enclosure, self.domain, self.waiting = enclosure, domain, dict[int, Matrix]()
        self._choices = choices
        self._constant, self._error, self._added = np.zeros(1), np.full(1, TINY), np.zeros(1)
        self._steps = 8

    def cross(self, operation: Affine | Nonlinear) -> None:
        """Replace a step's output by its sources."""
        rows = self._multiplied(operation.output, self.waiting.pop(operation.output))
        if isinstance(operation, Affine):
            self.charge(absolute(rows) @ self.enclosure.loss[operation.output])
            self.add(rows @ operation.bias)
            for term in operation.terms:
                self.pass_on(term.source, term.back(rows))
        elif operation.function is not None:
            operation.function.relax(self, operation, dense(rows))
        else:
            self._relax(operation, dense(rows))

    def finish(self) -> Array:
        """Return the bounds over the region."""
        region = self.enclosure.region
        rows = self.waiting.pop(0, np.zeros((1, region.lower.shape[1])))
        self.add(*region.least(dense(self._multiplied(0, rows)), self.domain))
        error = (self._error + gamma(self._steps) * self._added) * SPARE
        bound = np.nextafter(self._constant - error, -np.inf)
        return np.where(np.isfinite(bound), bound, -np.inf)

    def _relax(self, operation: Nonlinear, rows: Array) -> None:
        """Replace a ReLU by its lines: the upper one where coefficients are negative."""
        vector, choice = operation.read, self._choices.get(operation.read)
        lower, upper, above, free = self.enclosure.lines_of(operation)
        constant = dot(np.minimum(rows, 0.0), pick(above, self.domain))
        self.charge(gamma(rows.shape[1] + 4) * -constant)
        self.add(constant)
        lower = pick(lower, self.domain)
        if choice is not None and choice.slope is not None:
            index, count = choice.index, max(len(lower), len(choice.slope))
            lower = np.broadcast_to(lower, (count, lower.shape[1])).copy()
            free = pick(free, self.domain)[:, index]
            lower[:, index] = np.where(free, choice.slope, lower[:, index])
        slopes = np.where(rows > 0, lower, pick(upper, self.domain))
        self.pass_on(vector, np.multiply(rows, slopes, out=slopes), rounded=True)

    def _multiplied(self, vector: int, rows: Matrix) -> Matrix:
        """Add multipliers of a vector's bounds to its coefficients."""
        choice = self._choices.get(vector)
        if choice is None or choice.factor is None:
            return rows
        result, factor = dense(rows).copy(), choice.factor
        result[:, choice.index] += factor
        self.charge(np.abs(result) @ (4 * UNIT * self.enclosure.size[vector]))
        ends = self.enclosure.upper[vector], self.enclosure.lower[vector]
        for part, end in zip((np.maximum(factor, 0), np.minimum(factor, 0)), ends, strict=True):
            products = part * pick(end, self.domain)[:, choice.index]
            size = np.abs(products).sum(axis=1)
            self.charge(gamma(factor.shape[1] + 4) * size)
            self.add(-products.sum(axis=1), size)
        return result

    def pass_on(self, source: int, rows: Array, *, rounded: bool = False) -> None:
        """Let coefficients wait at a vector, added to those that wait there already.

        Args:
            source: The vector.
            rows: Coefficients.
            rounded: Whether each was rounded once, which is not paid for yet.
        """
        size = 4 * UNIT * self.enclosure.size[source]
        if rounded:
            self.charge(np.abs(rows) @ size)
        if source in self.waiting:
            before = dense(self.waiting[source])
            rows = before + rows
            self.charge(np.abs(before) @ size + np.abs(rows) @ size)
        self.waiting[source] = rows

    def charge(self, error: Array) -> None:
        """Add to the errors."""
        self._error = self._error + error + TINY

    def add(self, term: Array, size: Array | None = None) -> None:
        """Add to the constant; `size` is what the term itself is a sum of."""
        self._constant = self._constant + term
        self._added = self._added + (np.abs(term) if size is None else size)
        self._steps += 2


def middle(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return centres and radii with lower ≥ centre − radius and upper ≤ centre + radius."""
    center = lower / 2 + upper / 2
    return center, np.maximum(upper - center, center - lower) * (1 + 4 * UNIT)


def magnitude(lower: Array, upper: Array) -> Array:
    """Return the largest magnitudes over all domains."""
    return np.asarray(np.maximum(np.abs(lower), np.abs(upper)).max(axis=0))


def pick(values: NDArray, domain: Integers | None) -> NDArray:  # type: ignore[type-arg]
    """Return what belongs to the domain of every row."""
    return values if domain is None or len(values) == 1 else values[domain]


def dot(rows: Array, values: Array) -> Array:
    """Return the product of each row with a vector of its own, or one of all."""
    if len(values) == 1:
        return np.asarray(rows @ values[0])
    return np.asarray(np.einsum("ij,ij->i", rows, values))
