"""Small proofs once more, in exact arithmetic: no rounding, no error bounds to believe in.

Bounds follow from the same slopes, multipliers and splits as in the checker. All numbers of a
proof and of a network are dyadic fractions, and so are sums and products of them. What the rules
say is not shared with the checker, only how files are read and which slopes are tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import BoundGroup, NeuronTree, Proof, ProofError, read_proof
from solvers.proof.dyadic import Dyadic
from solvers.proof.exact_bounds import Domain, Exact, Extra, Indices, Meter
from solvers.proof.exact_planes import Plane, planes_of
from solvers.proof.network import CheckedNetwork
from solvers.proof.onnx_file import UnsupportedProofError
from solvers.proof.parts import read_network
from solvers.proof.rational_dual import exact_dual

__all__ = ["MOST_PRODUCTS", "ExactCheck", "check_exactly"]

MOST_PRODUCTS = 400_000_000
"""About a minute's work."""
_LEAF, _SPLIT, _CLOSE = 0, 1, 3
_ADAPTIVE = -1


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
        UnsupportedProofError: A function has no rule in rational numbers, or the proof is too
            large; says which.
    """
    proof = read_proof(path)
    content = read_network(network, proof.normalization)
    check = _Check(proof, Exact(content, Meter(most)))
    try:
        check.run()
    except ProofError as error:
        if isinstance(error, UnsupportedProofError):
            raise
        return ExactCheck(False, str(error))
    return ExactCheck(True, None, check.margin, check.leaves)


class _Check:
    """One proof on its way to be accepted; what fails raises."""

    def __init__(self, proof: Proof, exact: Exact) -> None:
        self._proof, self._exact = proof, exact
        self.margin: Fraction | None = None
        self.leaves = 0

    def run(self) -> None:
        """Check every leaf of every case."""
        for case, low, high, kind in _boxes(self._proof):
            balls = self._proof.balls
            self._exact.ball = None if balls is None else balls.of(case)
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

    def _margins(self, known: Domain, rows: Indices, extra: Mapping[int, Extra]) -> Dyadic:
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
        if tree.windows is not None:
            raise UnsupportedProofError(f"tree {number}: windows have no rule in exact arithmetic")
        values = _parts(self._exact.network, tree)
        place, passes = _Places(values).of, 0
        for group in tree.groups:
            every = [tuple(planes_of(tree, passes + k, place)) for k in range(len(group.index))]
            self._improve_by(known, group, values, every)
            passes += len(group.index)
        clauses = self._proof.row_clause[rows]
        of_row = dict(zip(rows.tolist(), clauses.tolist(), strict=True))
        walk = _leaves(self._exact, tree, values, known, of_row)
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
                extra = _with_planes(extra, planes_of(tree, passes + leaf, place))
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
        layers = self._exact.exact_layers()
        rows = Dyadic.of(self._proof.matrix[row : row + 1])
        given = tree.duals, number, rows
        found = exact_dual(self._exact.network, layers, domain, values, given)
        return found - Fraction(float(self._proof.offset[row]))

    def _improve_by(
        self,
        known: Domain,
        group: BoundGroup,
        values: Mapping[int, tuple[slice, Indices]],
        planes: Sequence[Sequence[Plane]],
    ) -> None:
        vector = self._exact.network.names[group.tensor]
        index, side = group.index.astype(np.intp), group.side.astype(np.intp)
        for place in range(len(index)):
            one = slice(place, place + 1)
            alpha = group.alpha
            share = None if alpha is None else _share(alpha[0 if len(alpha) == 1 else place])
            extra = _with_planes(_slopes(share, values, lines=group.lines), planes[place])
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


def _slopes(
    share: Dyadic | None, values: Mapping[int, tuple[slice, Indices]], *, lines: bool
) -> dict[int, Extra]:
    if share is None:
        return {}
    return {v: Extra(own, share[part], lines=lines) for v, (part, own) in values.items()}


def _extra_of_leaf(
    tree: NeuronTree, leaf: int, values: Mapping[int, tuple[slice, Indices]]
) -> dict[int, Extra]:
    """Return slopes and multipliers of a leaf."""
    row = int(tree.leaf_alpha[leaf])
    share = None if row < 0 else _share(tree.alpha[row])
    factor = np.zeros(len(tree.index))
    own = slice(int(tree.gamma_start[leaf]), int(tree.gamma_start[leaf + 1]))
    factor[tree.gamma_value[own]] = tree.gamma[own]
    found = {}
    for vector, (part, index) in values.items():
        some = Dyadic.of(factor[part]) if factor[part].any() else None
        slope = None if share is None else share[part]
        found[vector] = Extra(index, slope, some, lines=tree.lines)
    return found


def _with_planes(extra: Mapping[int, Extra], planes: Iterable[Plane]) -> dict[int, Extra]:
    """Return the same, and planes with the values that they are above."""
    found, nothing = dict(extra), Extra(np.zeros(0, np.intp))
    for plane in planes:
        before = found.get(plane.vector, nothing)
        found[plane.vector] = replace(before, planes=(*before.planes, plane))
    return found


def _is_empty(domain: Domain) -> bool:
    return any(bool((low > high).any()) for low, high in domain.values())


def _leaves(
    exact: Exact,
    tree: NeuronTree,
    values: Mapping[int, tuple[slice, Indices]],
    known: Domain,
    clauses: Mapping[int, int],
) -> Iterator[tuple[int, Domain]]:
    """Yield the leaves of all trees, by number, with what holds in them.

    Args:
        exact: Bounds them.
        tree: Of each clause, or common to all.
        values: Of the tree.
        known: What holds in the box.
        clauses: By the numbers of their rows; in a common tree none may be left out.
    """
    numbers = {kind: iter(range(len(tree.kind))) for kind in range(3)}
    place, every = _Places(values), set(clauses.values())
    waiting: list[tuple[Domain, frozenset[int]]] = []
    for kind in tree.kind.tolist():
        domain, proved = waiting.pop() if waiting else (dict(known), frozenset[int]())
        number = next(numbers[_LEAF if kind == _CLOSE else kind])
        if kind in (_LEAF, _CLOSE):
            yield number, domain
            proved |= {clauses.get(int(tree.leaf_row[number]), -1)}
            if kind == _CLOSE:
                waiting.append((domain, proved))
            elif tree.common is not None and not (_is_empty(domain) or every <= proved):
                raise ProofError(f"leaf {number} of a tree leaves a clause open")
        elif kind == _SPLIT:
            vector, index = place.of(int(tree.split_value[number]))
            point = Dyadic.of(np.array(tree.split_point[number]))
            low, high = domain[vector]
            below = low, high.put(index, high[index].least(point))
            above = low.put(index, low[index].greatest(point)), high
            halves = {**domain, vector: above}, {**domain, vector: below}
            waiting += [(half, proved) for half in halves]
        else:
            _tighten(exact, tree, number, domain, place)
            waiting.append((domain, proved))


class _Places:
    """Finds the vector and position of a value of a tree."""

    def __init__(self, values: Mapping[int, tuple[slice, Indices]]) -> None:
        self.values = values

    def of(self, number: int) -> tuple[int, int]:
        for vector, (part, index) in self.values.items():
            if part.start <= number < part.stop:
                return vector, int(index[number - part.start])
        raise ProofError(f"the tree has no value {number}")

    def vectors(self) -> Sequence[int]:
        return tuple(self.values)


def _tighten(exact: Exact, tree: NeuronTree, number: int, domain: Domain, place: _Places) -> None:
    """Improve bounds of a domain by passes, vector after vector."""
    own = slice(int(tree.tighten_start[number]), int(tree.tighten_start[number + 1]))
    found = [place.of(int(value)) for value in tree.tighten_value[own]]
    sides = tree.tighten_side[own].astype(np.intp)
    for vector in place.vectors():
        here = [k for k, (other, _) in enumerate(found) if other == vector]
        if here:
            index = np.array([found[k][1] for k in here])
            if tree.common is None:
                bound = exact.values(domain, vector, index, sides[here])
                exact.improve(domain, vector, index, sides[here], bound)
                continue
            rows = tree.common.slopes[own][here].tolist()
            for one, row in enumerate(rows):
                at = slice(one, one + 1)
                share = None if row < 0 else _share(tree.alpha[row])
                extra = _slopes(share, place.values, lines=False)
                bound = exact.values(domain, vector, index[at], sides[here][at], extra)
                exact.improve(domain, vector, index[at], sides[here][at], bound)
