"""Small proofs once more, in exact arithmetic: no rounding, no error bounds to believe in.

Bounds follow from the same slopes, multipliers and splits as in the checker. All numbers of a
proof and of a network are dyadic fractions, and so are sums and products of them; lines above ReLUs
take a slope that float64 holds, and the exact intercept that belongs to it. What the rules say is
not shared with the checker, only how files are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import RELU
from solvers.proof.container import BoundGroup, NeuronTree, Proof, ProofError, read_proof
from solvers.proof.dyadic import Dyadic
from solvers.proof.network import Affine, CheckedNetwork, Nonlinear, dense
from solvers.proof.onnx_file import UnsupportedProofError
from solvers.proof.parts import read_network
from solvers.proof.rational_dual import exact_dual

__all__ = ["MOST_PRODUCTS", "ExactCheck", "check_exactly"]

MOST_PRODUCTS = 400_000_000
"""About a minute's work."""
_LEAF, _SPLIT = 0, 1
_ADAPTIVE = -1

Corners = tuple[Dyadic, Dyadic]
Indices = NDArray[np.intp]
Domain = dict[int, Corners]


@dataclass(frozen=True)
class ExactCheck:
    """What came of a check in exact arithmetic.

    Attributes:
        accepted: Whether every leaf is proved.
        reason: Why not, and where; None if accepted.
        margin: Least bound of a leaf that is not empty; None where there is none.
        leaves: Number of leaves.
    """

    accepted: bool
    reason: str | None
    margin: Fraction | None = None
    leaves: int = 0


def check_exactly(path: Path, network: bytes, *, most: int = MOST_PRODUCTS) -> ExactCheck:
    """Derive every bound of a proof again, in exact arithmetic.

    Args:
        path: Of a proof whose form the checker has accepted: hashes, trees and numbering are not
            looked at again.
        network: Content of the ONNX file.
        most: Products of two numbers that may be spent.

    Raises:
        OSError: The proof cannot be read.
        UnsupportedProofError: The network is not made of ReLUs and operators that are exact in
            what the file holds, a region is a ball, or the proof is too large; says which.
    """
    proof = read_proof(path)
    content = read_network(network, proof.normalization)
    if proof.balls is not None:
        raise UnsupportedProofError("exact arithmetic covers boxes, not L1 or L2 balls")
    check = _Check(proof, _Exact(content, _Meter(most)))
    try:
        check.run()
    except ProofError as error:
        if isinstance(error, UnsupportedProofError):
            raise
        return ExactCheck(False, str(error))
    return ExactCheck(True, None, check.margin, check.leaves)


class _Meter:
    """Counts products, and ends what takes too many."""

    def __init__(self, most: int) -> None:
        self._most, self._spent = most, 0

    def spend(self, products: int) -> None:
        self._spent += products
        if self._spent > self._most:
            raise UnsupportedProofError(
                f"the proof takes more than {self._most} products of exact numbers; "
                "check it without exact arithmetic"
            )


@dataclass(frozen=True, eq=False)
class _Layer:
    """An affine operation in exact numbers: matrices by source, and the bias."""

    terms: tuple[tuple[int, Dyadic], ...]
    bias: Dyadic


@dataclass(frozen=True, eq=False)
class _Extra:
    """What a leaf or a group says of the values of one vector.

    Attributes:
        index: Positions in the vector.
        slope: Lower slopes there, or None for adaptive ones.
        factor: Multipliers of bounds there, or None.
    """

    index: Indices
    slope: Dyadic | None = None
    factor: Dyadic | None = None


class _Exact:
    """A network whose every coefficient is exact."""

    def __init__(self, network: CheckedNetwork, meter: _Meter) -> None:
        self.network, self._meter = network, meter
        self.layers: dict[int, _Layer] = {}
        for operation in network.operations:
            if isinstance(operation, Affine):
                self.layers[operation.output] = _layer_of(operation)
            elif operation.function is not RELU:
                raise UnsupportedProofError(
                    f"exact arithmetic covers ReLUs; {operation.name} is none"
                )

    def enclose(self, lower: Dyadic, upper: Dyadic) -> Domain:
        """Bound all vectors over a box: intervals, and adaptive passes for undecided values."""
        known: Domain = {0: (lower, upper)}
        for operation in self.network.operations:
            vector = operation.output
            known[vector] = self._interval(operation, known)
            if vector not in self.network.read_vectors:
                continue
            low, high = known[vector]
            open_ = np.flatnonzero((-low).above_zero() & high.above_zero())
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
        extra: Mapping[int, _Extra] | None = None,
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
        self, known: Domain, vector: int, rows: Dyadic, extra: Mapping[int, _Extra]
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
                (source,) = operation.sources
                passed, added = self._through_relu(own, known[source], extra.get(source))
                constant = constant + added
                _wait(waiting, source, passed)
                continue
            layer = self.layers[out]
            constant = constant + self._product(own, layer.bias)
            for source, matrix in layer.terms:
                _wait(waiting, source, self._product(own, matrix))
        if 0 not in waiting:
            return constant
        own, added = _multiplied(waiting.pop(0), known[0], extra.get(0))
        positive, negative = own.clamped()
        low, high = known[0]
        return constant + added + self._product(positive, low) + self._product(negative, high)

    def _through_relu(
        self, rows: Dyadic, ends: Corners, extra: _Extra | None
    ) -> tuple[Dyadic, Dyadic]:
        """Return coefficients of a ReLU's input, and what the lines add."""
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
        positive, negative = rows.clamped()
        added = self._product(negative, intercept.where(unstable, zero))
        return positive * lower + negative * upper, added

    def _interval(self, operation: Affine | Nonlinear, known: Domain) -> Corners:
        if isinstance(operation, Nonlinear):
            low, high = known[operation.sources[0]]
            return low.clamped()[0], high.clamped()[0]
        layer = self.layers[operation.output]
        low = high = layer.bias
        for source, matrix in layer.terms:
            positive, negative = matrix.clamped()
            before = known[source]
            low = low + self._image(positive, before[0]) + self._image(negative, before[1])
            high = high + self._image(positive, before[1]) + self._image(negative, before[0])
        return low, high

    def spend(self, products: int) -> None:
        """Count products that are computed elsewhere."""
        self._meter.spend(products)

    def _image(self, matrix: Dyadic, values: Dyadic) -> Dyadic:
        self._meter.spend(matrix.mantissa.size)
        return matrix @ values

    def _product(self, rows: Dyadic, factor: Dyadic) -> Dyadic:
        """Return rows times a matrix of shape `(outputs, inputs)`, or times a vector."""
        self._meter.spend(rows.shape[0] * factor.mantissa.size)
        return rows @ factor


def _layer_of(operation: Affine) -> _Layer:
    """Return an operation in exact numbers.

    Raises:
        UnsupportedProofError: What the file says is not a number that float64 holds.
    """
    inexact = bool(np.any(operation.bias_error)) or any(term.share for term in operation.terms)
    if inexact:
        raise UnsupportedProofError(
            f"coefficients of {operation.name} are not exact in float64; exact arithmetic does "
            "not cover it"
        )
    terms = []
    for term in operation.terms:
        terms.append((term.source, Dyadic.of(dense(term.matrix))))
    return _Layer(tuple(terms), Dyadic.of(operation.bias))


def _multiplied(rows: Dyadic, ends: Corners, extra: _Extra | None) -> tuple[Dyadic, Dyadic]:
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


class _Check:
    """One proof on its way to be accepted; what fails raises."""

    def __init__(self, proof: Proof, exact: _Exact) -> None:
        self._proof, self._exact = proof, exact
        self.margin: Fraction | None = None
        self.leaves = 0

    def run(self) -> None:
        """Check every leaf of every case."""
        for case, low, high, kind in _boxes(self._proof):
            known = self._exact.enclose(Dyadic.of(low), Dyadic.of(high))
            first, last = np.searchsorted(self._proof.row_case, [case, case + 1])
            rows = np.arange(first, last)
            if kind == 0:
                self._plain(known, rows, f"a box of case {case}")
            else:
                self._neurons(known, rows, kind - 1)

    def _plain(self, known: Domain, rows: Indices, where: str) -> None:
        found = self._margins(known, rows, {})
        clauses = self._proof.row_clause[rows]
        for clause in np.unique(clauses):
            best = max(found[place].fraction() for place in np.flatnonzero(clauses == clause))
            self._accept(best, f"{where}, clause {clause}")

    def _margins(self, known: Domain, rows: Indices, extra: Mapping[int, _Extra]) -> Dyadic:
        matrix = Dyadic.of(self._proof.matrix[rows])
        found = self._exact.backward(known, self._exact.network.output, matrix, extra)
        return found - Dyadic.of(self._proof.offset[rows])

    def _accept(self, margin: Fraction, where: str) -> None:
        if margin <= 0:
            raise ProofError(f"{where}: the exact bound is {float(margin):.3g}, not positive")
        self.margin = margin if self.margin is None else min(self.margin, margin)
        self.leaves += 1

    def _neurons(self, known: Domain, rows: Indices, number: int) -> None:
        tree = self._proof.trees[number]
        values = _parts(self._exact.network, tree)
        for group in tree.groups:
            self._improve_by(known, group, values)
        walk = _leaves(self._exact, tree, values, known)
        for leaf, domain in walk:
            if _is_empty(domain):
                self.leaves += 1
                continue
            row = int(tree.leaf_row[leaf])
            if row not in rows:
                raise ProofError(f"tree {number}: leaf {leaf} is not empty and names no row")
            if tree.leaf_alpha[leaf] < _ADAPTIVE:
                margin = self._by_dual(domain, tree, leaf, values)
            else:
                extra = _extra_of_leaf(tree, leaf, values)
                margin = self._margins(domain, np.array([row]), extra).fraction()
            self._accept(margin, f"tree {number}, leaf {leaf}")

    def _by_dual(
        self,
        domain: Domain,
        tree: NeuronTree,
        leaf: int,
        values: Mapping[int, tuple[slice, Indices]],
    ) -> Fraction:
        """Return the exact margin of a leaf that a dual matrix proves."""
        row, number = int(tree.leaf_row[leaf]), _ADAPTIVE - 1 - int(tree.leaf_alpha[leaf])
        if tree.duals is None or number >= len(tree.duals.bound):
            raise ProofError(f"leaf {leaf} names dual {number}, which there is not")
        columns = len(self._proof.lower[0]) + len(tree.index)
        products = int(tree.duals.start[number + 1] - tree.duals.start[number])
        self._exact.spend((columns + products) * columns**2)
        layers = {out: (layer.terms, layer.bias) for out, layer in self._exact.layers.items()}
        rows = Dyadic.of(self._proof.matrix[row : row + 1])
        given = tree.duals, number, rows
        found = exact_dual(self._exact.network, layers, domain, values, given)
        return found - Fraction(float(self._proof.offset[row]))

    def _improve_by(
        self, known: Domain, group: BoundGroup, values: Mapping[int, tuple[slice, Indices]]
    ) -> None:
        vector = self._exact.network.names[group.tensor]
        index, side = group.index.astype(np.intp), group.side.astype(np.intp)
        for place in range(len(index)):
            one = slice(place, place + 1)
            alpha = group.alpha
            share = None if alpha is None else _share(alpha[0 if len(alpha) == 1 else place])
            extra = _slopes(share, values)
            found = self._exact.values(known, vector, index[one], side[one], extra)
            self._exact.improve(known, vector, index[one], side[one], found)
        self._exact.renew(known)


def _boxes(proof: Proof) -> Iterator[tuple[int, Any, Any, int]]:
    """Yield case, corners and kind of every leaf of the trees of boxes."""
    dimension, point = iter(proof.tree.dimension.tolist()), iter(proof.tree.point.tolist())
    kinds = iter(proof.tree.kind.tolist())
    for case, corners in enumerate(zip(proof.lower, proof.upper, strict=True)):
        waiting = [corners]
        while waiting:
            low, high = waiting.pop()
            axis = next(dimension)
            if axis < 0:
                yield case, low, high, next(kinds)
                continue
            at = next(point)
            at = low[axis] + (high[axis] - low[axis]) / 2 if math.isnan(at) else at
            if not low[axis] <= at <= high[axis]:
                raise ProofError(f"a box of case {case} is cut outside of itself")
            below, above = high.copy(), low.copy()
            below[axis] = above[axis] = at
            waiting += [(above, high), (low, below)]


def _parts(network: CheckedNetwork, tree: NeuronTree) -> dict[int, tuple[slice, Indices]]:
    """Return where the values of each vector stand in the tree's numbering, and their indices."""
    parts, start = {}, 0
    for name, count in tree.values:
        own = slice(start, start + count)
        parts[network.names[name]] = own, tree.index[own].astype(np.intp)
        start += count
    return parts


def _share(alpha: NDArray[np.unsignedinteger]) -> Dyadic:
    return Dyadic.of(alpha / float(np.iinfo(alpha.dtype).max))


def _slopes(share: Dyadic | None, values: Mapping[int, tuple[slice, Indices]]) -> dict[int, _Extra]:
    if share is None:
        return {}
    return {vector: _Extra(own, share[part]) for vector, (part, own) in values.items()}


def _extra_of_leaf(
    tree: NeuronTree, leaf: int, values: Mapping[int, tuple[slice, Indices]]
) -> dict[int, _Extra]:
    """Return slopes and multipliers of a leaf."""
    row = int(tree.leaf_alpha[leaf])
    share = None if row < 0 else _share(tree.alpha[row])
    factor = np.zeros(len(tree.index))
    own = slice(int(tree.gamma_start[leaf]), int(tree.gamma_start[leaf + 1]))
    factor[tree.gamma_value[own]] = tree.gamma[own]
    found = {}
    for vector, (part, index) in values.items():
        some = Dyadic.of(factor[part]) if factor[part].any() else None
        found[vector] = _Extra(index, None if share is None else share[part], some)
    return found


def _is_empty(domain: Domain) -> bool:
    return any(bool((low > high).any()) for low, high in domain.values())


def _leaves(
    exact: _Exact, tree: NeuronTree, values: Mapping[int, tuple[slice, Indices]], known: Domain
) -> Iterator[tuple[int, Domain]]:
    """Yield the leaves of all clauses' trees, by number, with what holds in them."""
    numbers = {kind: iter(range(len(tree.kind))) for kind in range(3)}
    place = _Places(values)
    waiting: list[Domain] = []
    for kind in tree.kind.tolist():
        domain = waiting.pop() if waiting else dict(known)
        number = next(numbers[kind])
        if kind == _LEAF:
            yield number, domain
        elif kind == _SPLIT:
            vector, index = place.of(int(tree.split_value[number]))
            point = Dyadic.of(np.array(tree.split_point[number]))
            low, high = domain[vector]
            below = low, high.put(index, high[index].least(point))
            above = low.put(index, low[index].greatest(point)), high
            waiting += [{**domain, vector: above}, {**domain, vector: below}]
        else:
            _tighten(exact, tree, number, domain, place)
            waiting.append(domain)


class _Places:
    """Finds the vector and position of a value of a tree."""

    def __init__(self, values: Mapping[int, tuple[slice, Indices]]) -> None:
        self._values = values

    def of(self, number: int) -> tuple[int, int]:
        for vector, (part, index) in self._values.items():
            if part.start <= number < part.stop:
                return vector, int(index[number - part.start])
        raise ProofError(f"the tree has no value {number}")

    def vectors(self) -> Sequence[int]:
        return tuple(self._values)


def _tighten(exact: _Exact, tree: NeuronTree, number: int, domain: Domain, place: _Places) -> None:
    """Improve bounds of a domain by adaptive passes, vector after vector."""
    own = slice(int(tree.tighten_start[number]), int(tree.tighten_start[number + 1]))
    found = [place.of(int(value)) for value in tree.tighten_value[own]]
    sides = tree.tighten_side[own].astype(np.intp)
    for vector in place.vectors():
        here = [k for k, (other, _) in enumerate(found) if other == vector]
        if here:
            index = np.array([found[k][1] for k in here])
            bound = exact.values(domain, vector, index, sides[here])
            exact.improve(domain, vector, index, sides[here], bound)
