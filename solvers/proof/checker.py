"""Decides whether a proof shows what it says, by deriving every bound anew.

A case says: no input of a region makes all rows C y ≤ d of any of its clauses true. Its region is
cut into boxes; in every box, for every clause, some row of C y − d is bounded away from zero, on
the whole box or in each of the domains that splits of values inside the network cut it into.

This file, `bounds.py` and `network.py` have to be right for a proof to be right, with the parts
that its result names. `container.py` and `onnx_file.py` read files, or refuse them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Array, BallRule, Choice, Enclosure, Integers, Region
from solvers.proof.container import (
    BoundGroup,
    NeuronTree,
    Proof,
    ProofError,
    check_tree,
    read_proof,
)
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.stated import AskedCase, CheckResult

SPLIT, TIGHTEN, EARLY = 1, 2, 1 << 40
HELD_VALUES = 1 << 24
"""Bounds that are held at once."""
Box = tuple[Array, Array]


def check_proof(
    path: Path, network: bytes, specification: Sequence[AskedCase] | None = None, *,
    normalization: Sequence[Sequence[float]] | None = None, parts: Sequence[Part] = (),
) -> CheckResult:  # fmt: skip
    """Check a proof of a network; nothing but the two is trusted to say what they are.

    Args:
        path: Of the proof.
        network: Content of the ONNX file.
        specification: What must have been proved; None to accept whatever it is.
        normalization: Mean and standard deviation of what stands in front of the network in the
            specification, if anything does.
        parts: What the proof may rely on beside the core.

    Raises:
        OSError: The proof cannot be read.
    """
    try:
        proof = read_proof(path)
        digest = hashlib.sha256(network).hexdigest()
        stated = f"the proof is about the network with sha256 {proof.network_sha256}"
        require(digest == proof.network_sha256, f"{stated}, the one given has {digest}")
        check = Check(proof, CheckedNetwork(network, parts, proof.normalization), parts)
        check.run()
        if specification is not None:
            check.compare(specification, normalization)
    except ProofError as error:
        return CheckResult(False, str(error))
    used = tuple(part.name for part in parts if part.name in check.network.used)
    return CheckResult(True, None, check.margin, check.leaves, proof, used)


def require(condition: object, reason: str) -> None:
    """Reject the proof unless a condition holds."""
    if not condition:
        raise ProofError(reason)


def halves(box: Box, axis: int, point: float) -> list[Box]:
    """Cut a box; what lies in it lies in one of the two, whatever the point. The lower is last."""
    (low, high), above, below = box, box[0].copy(), box[1].copy()
    above[axis], below[axis] = max(low[axis], point), min(high[axis], point)
    return [(above, high), (low, below)]


class Check:
    """One proof on its way to be accepted; what fails raises."""

    def __init__(self, proof: Proof, network: CheckedNetwork, parts: Sequence[Part]) -> None:
        self.proof, self.network, self.parts = proof, network, parts
        self.margin, self.leaves = np.inf, 0

    def run(self) -> None:
        """Check everything but what was asked."""
        unit = np.float64(2.0**-53)
        sane = 1.0 + unit == 1.0 and 1.0 + 3 * unit > 1.0 + 2 * unit and np.float64(5e-324) / 1 > 0
        require(sane, "this process does not round as IEEE 754 has it")
        self._validate()
        plain: dict[bytes, list[tuple[int, Box]]] = {}
        for case, box, kind in self._boxes():
            if kind > 0:
                self._neurons(kind - 1, case, box)
                continue
            rows = self._rows(case)
            key = self.proof.matrix[rows].tobytes() + self.proof.row_clause[rows].tobytes()
            key += b"" if self.proof.balls is None else b"%d" % case
            plain.setdefault(key, []).append((case, box))
        for leaves in plain.values():
            self._plain(leaves)

    def _validate(self) -> None:
        """Check that numbers and numbering mean something."""
        proof, network = self.proof, self.network
        shapes = f"the proof is about inputs of shape {proof.input_shape}"
        require(proof.input_shape == network.input_shape, f"{shapes}, not {network.input_shape}")
        require(proof.matrix.shape[1] == network.sizes[network.output], "rows do not fit outputs")
        for name in ("lower", "upper", "matrix", "offset"):
            require(np.isfinite(getattr(proof, name)).all(), f"{name} holds what is not finite")
        require((proof.lower <= proof.upper).all(), "a region is empty: lower above upper")
        case, clause = np.diff(proof.row_case, prepend=-1), proof.row_clause
        same = (case == 0) & np.isin(np.diff(clause, prepend=0), (0, 1))
        known = (same | ((case == 1) & (clause == 0))).all() and case.sum() == len(proof.lower)
        require(known, "rows are not numbered by case and clause from 0 without gaps")
        if network.dropped is not None:
            pairs = (np.count_nonzero(proof.matrix, axis=1) == 2) & (proof.matrix.sum(axis=1) == 0)
            order = (pairs & (proof.offset == 0)).all()
            require(order, f"a row is more than an order of two outputs, before {network.dropped}")

    def _rows(self, case: int) -> slice:
        first, last = np.searchsorted(self.proof.row_case, [case, case + 1])
        return slice(int(first), int(last))

    def _boxes(self) -> Iterator[tuple[int, Box, int]]:
        """Cut the regions of all cases, and yield case, corners and kind of every leaf."""
        tree, trees = self.proof.tree, len(self.proof.trees)
        nodes, points, kinds = (iter(p.tolist()) for p in (tree.dimension, tree.point, tree.kind))
        for case, corners in enumerate(zip(self.proof.lower, self.proof.upper, strict=True)):
            waiting = [corners]
            while waiting:
                (low, high), axis = waiting.pop(), next(nodes, EARLY)
                require(axis != EARLY, "the tree of boxes ends early")
                if axis == -1:
                    kind = next(kinds, -1)
                    require(0 <= kind <= trees, f"a leaf of case {case} has no kind")
                    yield case, (low, high), kind
                    continue
                require(0 <= axis < len(low), f"a node of case {case} cuts input {axis}")
                point = next(points, np.inf)
                point = low[axis] + (high[axis] - low[axis]) / 2 if np.isnan(point) else point
                inside = low[axis] <= point <= high[axis]
                require(inside, f"a node of case {case} cuts outside its box, at {point}")
                waiting += halves((low, high), axis, point)
        require(not [*nodes, *points, *kinds], "the tree of boxes has parts left over")

    def _ball_rule(self) -> BallRule:
        """Return what a part says of balls, which the core knows nothing of."""
        for part in self.parts:
            if part.ball is not None:
                self.network.used.add(part.name)
                return part.ball
        raise ProofError("the proof is about balls, which the core does not know")

    def _enclosure(self, case: int, boxes: Sequence[Box]) -> Enclosure:
        """Bound all vectors over boxes of a case, or of several where regions are no balls."""
        region = Region(*(np.stack(corners) for corners in zip(*boxes, strict=True)))
        if self.proof.balls is not None:
            region = self._ball_rule().region(region, self.proof.balls, case)
        return Enclosure.of(self.network, region)

    def _plain(self, leaves: Sequence[tuple[int, Box]]) -> None:
        """Check leaves of cases that share all rows, by bounds of their boxes."""
        rows = self._rows(leaves[0][0])
        clauses, matrix = self.proof.row_clause[rows], self.proof.matrix[rows]
        step = max(HELD_VALUES // (max(4, len(matrix)) * sum(self.network.sizes)), 1)
        for start in range(0, len(leaves), step):
            cases, boxes = zip(*leaves[start : start + step], strict=True)
            enclosure = self._enclosure(cases[0], boxes)
            offsets = np.stack([self.proof.offset[self._rows(case)] for case in cases])
            margins = np.nextafter(enclosure.rows(matrix) - offsets, -np.inf)
            for clause in range(clauses[-1] + 1):
                own = np.flatnonzero(clauses == clause)
                best = own[margins[:, own].argmax(axis=1)]
                proved = margins[np.arange(len(best)), best]
                names = [
                    f"box {start + i} of case {k}, clause {clause}" for i, k in enumerate(cases)
                ]
                self._accept(enclosure, matrix[best], proved, names)

    def _accept(
        self, enclosure: Enclosure, rows: Array, margins: Array, names: Sequence[str]
    ) -> None:
        """Take leaves into account, all of which must have a positive margin."""
        for margin, name in zip(margins, names, strict=True):
            require(margin > 0, f"{name}: a bound of {margin} proves nothing")
        self.leaves += len(margins)
        self.margin = min(self.margin, float(margins.min(initial=np.inf)))
        for part in self.parts:
            if part.watch is not None:
                part.watch(enclosure, rows, margins)

    def _neurons(self, number: int, case: int, box: Box) -> None:
        """Check a box that splits of values inside the network close."""
        tree, name, rows = self.proof.trees[number], f"tree {number}", self._rows(case)
        walk = Walk(self._enclosure(case, [box]), tree, name)
        for clause in range(self.proof.row_clause[rows][-1] + 1):
            own = np.flatnonzero(self.proof.row_clause[rows] == clause) + rows.start
            leaves = walk.leaves()
            while batch := list(islice(leaves, walk.batch)):
                leaf, low, high = (np.array(part) for part in zip(*batch, strict=True))
                self.leaves += len(leaf)
                empty = (low > high).any(axis=1)
                leaf, low, high = leaf[~empty], low[~empty], high[~empty]
                row = tree.leaf_row[leaf]
                require((row >= 0).all(), f"{name}: a leaf is not empty as it claims")
                require(np.isin(row, own).all(), f"{name}: a leaf names a row of another clause")
                found = walk.bound(leaf, low, high, self.proof.matrix[row])
                margins = np.nextafter(found - self.proof.offset[row], -np.inf)
                self.leaves -= len(leaf)
                self._accept(walk.enclosure, self.proof.matrix[row], margins, [name] * len(row))
        require(walk.at_end(), f"{name} has parts left over")

    def compare(
        self, asked: Sequence[AskedCase], normalization: Sequence[Sequence[float]] | None
    ) -> None:
        """Require that every case asked about lies in proved cases that have its clauses."""
        proof = self.proof
        wanted = normalization and tuple(tuple(map(float, part)) for part in normalization)
        stated = f"the proof is about the network behind the normalisation {proof.normalization}"
        require(proof.normalization == wanted, f"{stated}, what was asked is behind {wanted}")
        proved: dict[bytes, list[int]] = {}
        for case in range(len(proof.lower)):
            rows = self._rows(case)
            for clause in range(proof.row_clause[rows][-1] + 1):
                own = np.arange(rows.start, rows.stop)[proof.row_clause[rows] == clause]
                proved.setdefault(key_of(proof.matrix[own], proof.offset[own]), []).append(case)
        for number, case_ in enumerate(asked):
            fit = case_.lower.shape == case_.upper.shape == proof.lower.shape[1:]
            require(fit, f"case {number} of the specification is about other inputs")
            for place, (matrix, offset) in enumerate(case_.clauses):
                cases = np.array(proved.get(key_of(matrix, offset), []), dtype=np.intp)
                where = f"clause {place} of case {number} of the specification"
                require(len(cases), f"{where} is not one that the proof is about")
                inside = (proof.lower[cases] <= case_.lower).all(axis=1)
                inside &= (proof.upper[cases] >= case_.upper).all(axis=1)
                held = any(self._holds(int(case), case_.ball) for case in cases[inside])
                require(held, f"the region of {where} lies in none that the proof is about")

    def _holds(self, case: int, ball: object) -> bool:
        """Return whether a case is not only about a ball that is no part of what was asked."""
        balls = self.proof.balls
        return balls is None or self._ball_rule().holds(balls, case, ball)


def key_of(matrix: Array, offset: Array) -> bytes:
    """Return the same bytes for clauses of the same rows in any order, and for no others."""
    rows = np.column_stack([matrix, offset]).astype(np.float64) + 0.0  # turns -0 into 0
    return b"%d " % rows.shape[1] + b"".join(sorted(row.tobytes() for row in rows))


class Values:
    """Which values have slopes, multipliers and splits: parts of vectors, one after the other."""

    def __init__(
        self, network: CheckedNetwork, values: Sequence[tuple[str, int]], index: NDArray[np.int32]
    ) -> None:
        self.parts: dict[int, tuple[slice, Integers]] = {}
        self.size = start = 0
        for name, many in values:
            vector, own = read_vector(network, name), index[start : start + many].astype(np.intp)
            require(vector not in self.parts, f"values of the tensor {name!r} are listed twice")
            require(len(own) == len(np.unique(own)) == many, f"values of {name!r} are repeated")
            inside = ((own >= 0) & (own < network.sizes[vector])).all()
            require(inside, f"the tensor {name!r} has no value with one of the indices given")
            self.parts[vector] = slice(start, start + many), own
            self.size = start = start + many
        require(start == len(index), "more indices of values are given than tensors have")

    def choices(self, slopes: Array | None, factors: Array | None = None) -> dict[int, Choice]:
        """Return slopes and multipliers of all values, `(rows, values)`, by vector."""
        if slopes is None:
            return {}
        require(slopes.shape[1] == self.size, "slopes do not fit the values they belong to")
        return {
            vector: Choice(own, slopes[:, part], None if factors is None else factors[:, part])
            for vector, (part, own) in self.parts.items()
        }


def read_vector(network: CheckedNetwork, name: str) -> int:
    """Return the number of a pre-activation."""
    vector = network.names.get(name, -1)
    known = vector in network.read_vectors
    require(known, f"no nonlinear operator of the network reads a tensor {name!r}")
    return vector


def apply_group(enclosure: Enclosure, group: BoundGroup, values: Values) -> None:
    """Improve bounds of a single domain by passes with the slopes of a group."""
    vector, index = read_vector(enclosure.network, group.tensor), group.index.astype(np.intp)
    inside = (index >= 0) & (index < enclosure.network.sizes[vector]) & (group.side <= 1)
    require(inside.all(), f"bounds of {group.tensor!r} do not fit it")
    slopes = None if group.alpha is None else group.alpha / float(np.iinfo(group.alpha.dtype).max)

    def choices(part: slice) -> dict[int, Choice]:
        return values.choices(slopes if slopes is None or len(slopes) == 1 else slopes[part])

    enclosure.improve(vector, np.zeros_like(index), index, group.side, choices)
    enclosure.renew()


class Walk:
    """Visits the domains of a neuron tree, clause after clause."""

    def __init__(self, enclosure: Enclosure, tree: NeuronTree, name: str) -> None:
        self.enclosure, self._tree, self._name = enclosure, tree, name
        check_tree(tree, name)
        self._values = Values(enclosure.network, tree.values, tree.index)
        for group in tree.groups:
            apply_group(enclosure, group, self._values)
        self._whole = np.zeros(self._values.size), np.zeros(self._values.size)
        for vector, (part, own) in self._values.parts.items():
            self._whole[0][part] = enclosure.lower[vector][0, own]
            self._whole[1][part] = enclosure.upper[vector][0, own]
        self._nodes = iter(tree.kind.tolist())
        self._splits = zip(tree.split_value, tree.split_point, strict=True)
        self._leaves, self._tightens = count(), count()
        self.batch = max(HELD_VALUES // (8 * sum(enclosure.network.sizes) + self._values.size), 1)

    def at_end(self) -> bool:
        """Return whether nothing is left over."""
        return next(self._nodes, None) is None

    def leaves(self) -> Iterator[tuple[int, Array, Array]]:
        """Yield number and bounds of the values of every leaf of the next clause's tree."""
        waiting = [self._whole]
        while waiting:
            box, kind = waiting.pop(), next(self._nodes, None)
            require(kind is not None, f"{self._name} ends early, or has no tree for some clause")
            if kind == SPLIT:
                value, point = next(self._splits)
                waiting += halves(box, value, point)
            elif kind == TIGHTEN:
                waiting.append(self._tightened(box, next(self._tightens)))
            else:
                yield next(self._leaves), *box

    def bound(self, leaf: Integers, low: Array, high: Array, rows: Array) -> Array:
        """Return lower bounds of one linear function of the outputs in each leaf."""
        tree, alpha = self._tree, self._tree.leaf_alpha[leaf]
        share = np.append(tree.alpha, np.zeros((1, self._values.size), tree.alpha.dtype), axis=0)
        slopes = share[alpha] / float(np.iinfo(tree.alpha.dtype).max)
        slopes = np.where(alpha[:, None] < 0, high > -low, slopes)
        factors = np.zeros(low.shape)
        for place, number in enumerate(leaf):
            part = slice(tree.gamma_start[number], tree.gamma_start[number + 1])
            factors[place, tree.gamma_value[part]] = tree.gamma[part]
        choices = self._values.choices(slopes, factors)
        network = self.enclosure.network
        return self._within(low, high).backward(network.output, rows, choices=choices)

    def _within(self, low: Array, high: Array, own: int | None = None) -> Enclosure:
        """Return bounds of all vectors in domains, given those of the values in each.

        Those of the vector `own` are copied in any case.
        """
        closer = {}
        for vector, (part, index) in self._values.parts.items():
            ends = low[:, part], high[:, part]
            wider = (ends[0] <= self._whole[0][part]).all() and (
                ends[1] >= self._whole[1][part]
            ).all()
            if vector == own or not wider:
                root = self.enclosure.lower[vector], self.enclosure.upper[vector]
                both = np.repeat(root[0], len(low), axis=0), np.repeat(root[1], len(low), axis=0)
                both[0][:, index], both[1][:, index] = ends
                closer[vector] = both
        return self.enclosure.within(closer)

    def _tightened(self, box: Box, number: int) -> Box:
        """Improve bounds in a domain by passes with adaptive slopes, tensor after tensor."""
        tree, low, high = self._tree, box[0].copy(), box[1].copy()
        chosen = slice(tree.tighten_start[number], tree.tighten_start[number + 1])
        value, side = tree.tighten_value[chosen], tree.tighten_side[chosen]
        for vector, (part, index) in self._values.parts.items():
            here = (value >= part.start) & (value < part.stop)
            if here.any():
                enclosure, own = (
                    self._within(low[None], high[None], vector),
                    index[value[here] - part.start],
                )
                enclosure.improve(vector, np.zeros_like(own), own, side[here])
                low[part] = enclosure.lower[vector][0, index]
                high[part] = enclosure.upper[vector][0, index]
        return low, high
