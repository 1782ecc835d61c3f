"""Decides whether a proof shows what it says, by deriving every bound anew.

A case says: no input of a region makes all rows C y ≤ d of any of its clauses true. Its region is
cut into boxes; in every box, for every clause, some row of C y − d is bounded away from zero, on
the whole box or in each of the domains that splits of values inside the network cut it into.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.proof.bounds import Ball, Enclosure, Multipliers, Region, Slopes
from solvers.proof.container import BoundGroup, NeuronTree, Proof, ProofError, read_proof
from solvers.proof.network import CheckedNetwork, UnsupportedProofError

__all__ = [
    "AskedCase",
    "CheckResult",
    "CheckedNetwork",
    "Deployment",
    "UnsupportedProofError",
    "bound_boxes",
    "check_proof",
    "root_bounds",
]

Array = NDArray[np.float64]
Integers = NDArray[np.intp]
Layout = tuple[Sequence[tuple[str, int]], NDArray[np.int32]]
"""Names and counts of values, and their flat indices, as in `NeuronTree`."""
LEAF, SPLIT, TIGHTEN = 0, 1, 2
HELD_VALUES = 1 << 24
"""Bounds that are held at once."""


class AskedCase(NamedTuple):
    """What a specification asks: a box in a ball (norm 1 or 2) where there is one, and clauses.

    All arrays are float64: corners, centre and radius of shape `(inputs,)`, clauses as C and d.
    """

    lower: Array
    upper: Array
    clauses: Sequence[tuple[Array, Array]]
    ball: Ball | None = None


@dataclass(frozen=True)
class Deployment:
    """Whether what is proved holds for float32 inference too, see docs/proofs.md.

    Attributes:
        sound: Whether `left` is positive.
        error: Largest bound on how far float32 moves a row C y − d that a leaf relies on.
        left: Least difference of a leaf's margin and the error of its row.
    """

    sound: bool
    error: float
    left: float


@dataclass(frozen=True)
class CheckResult:
    """What came of a check.

    Attributes:
        accepted: Whether the proof shows what it says, and that is what was asked.
        reason: Why not, and where; None if accepted.
        margin: Least proved lower bound of a leaf's row; minus infinity if rejected.
        leaves: Number of leaves, once for every clause.
        statement: What is proved, in words, one line each.
        deployment: For float32 inference; None where nothing is known about that.
    """

    accepted: bool
    reason: str | None
    margin: float = -np.inf
    leaves: int = 0
    statement: tuple[str, ...] = ()
    deployment: Deployment | None = None


def check_proof(
    path: Path,
    network: bytes,
    specification: Sequence[AskedCase] | None = None,
    *,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
) -> CheckResult:
    """Check a proof of a network; nothing but the two is trusted to say what they are.

    Args:
        path: Of the proof.
        network: Content of the ONNX file.
        specification: What must have been proved; None to accept whatever it is.
        normalization: Mean and standard deviation of what stands in front of the network in the
            specification, if anything does.

    Raises:
        OSError: The proof cannot be read.
    """
    try:
        check = _Check(read_proof(path), network)
        check.run()
        if specification is not None:
            check.compare(specification, normalization)
    except ProofError as error:
        return CheckResult(False, str(error))
    deployment = None
    if check.network.single and check.network.dropped is None:
        deployment = Deployment(check.left > 0, check.error, check.left)
    return CheckResult(True, None, check.margin, check.leaves, check.statement(), deployment)


def bound_boxes(
    network: CheckedNetwork, lower: Array, upper: Array, matrix: Array, offset: Array,
    *, ball: Ball | None = None,
) -> Array:  # fmt: skip
    """Return rigorous lower bounds of C y − d over boxes, shape `(boxes, rows)`.

    Intervals, then backward passes with adaptive slopes for all undecided pre-activations, then
    one for every row.

    Args:
        network: As read from the file.
        lower: Corners, shape `(boxes, inputs)`, finite.
        upper: The same, nowhere below `lower`.
        matrix: C, shape `(rows, outputs)`.
        offset: d, shape `(rows,)`.
        ball: Inside which all boxes are taken, or None.

    Raises:
        ProofError: A bound overflows.
    """
    parts = [found for found, _ in _plain_bounds(network, (lower, upper), matrix, ball)]
    return np.nextafter(np.concatenate(parts) - offset, -np.inf)


def _plain_bounds(
    network: CheckedNetwork, boxes: tuple[Array, Array], matrix: Array, ball: Ball | None
) -> Iterator[tuple[Array, Array]]:
    """Yield lower bounds of C y over boxes, and how far float32 moves it: `(boxes, rows)`."""
    step = max(HELD_VALUES // (max(4, len(matrix)) * sum(network.sizes)), 1)
    for start in range(0, len(boxes[0]), step):
        region = Region(boxes[0][start : start + step], boxes[1][start : start + step], ball)
        enclosure = Enclosure.of(network, region)
        count = len(region.lower)
        domain, rows = np.repeat(np.arange(count), len(matrix)), np.tile(matrix, (count, 1))
        found = np.empty(len(rows))
        for part in enclosure.chunks(network.output, len(rows)):
            found[part] = enclosure.backward(network.output, rows[part], domain=domain[part])
        yield found.reshape(count, -1), enclosure.float32_error(matrix)


def root_bounds(
    network: CheckedNetwork,
    lower: Array,
    upper: Array,
    groups: Sequence[BoundGroup] = (),
    layout: Layout | None = None,
    *,
    ball: Ball | None = None,
) -> Mapping[str, tuple[Array, Array]]:
    """Return the bounds of pre-activations that a check derives over one box.

    Args:
        network: As read from the file.
        lower: Corner, shape `(inputs,)`.
        upper: The other corner.
        groups: Bounds with slopes of their own, in this order, after adaptive ones of all tensors.
        layout: What the columns of the groups' slopes stand for; None if no group has any.
        ball: Inside which the box is taken, or None.

    Returns:
        By ONNX name, lower and upper bounds, shape `(values,)` both.

    Raises:
        ProofError: A group does not fit the network, or a bound overflows.
    """
    enclosure = Enclosure.of(network, Region(lower[None], upper[None], ball))
    _apply_groups(enclosure, groups, _Values(network, *(layout or ((), np.zeros(0, np.int32)))))
    return {
        name: (enclosure.lower[vector][0], enclosure.upper[vector][0])
        for name, vector in network.names.items()
        if vector in network.read_vectors
    }


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise ProofError(reason)


class _Values:
    """Which values have slopes, multipliers and splits: parts of vectors, one after the other."""

    def __init__(
        self, network: CheckedNetwork, values: Sequence[tuple[str, int]], index: NDArray[np.int32]
    ) -> None:
        self.parts: dict[int, tuple[slice, Integers]] = {}
        self.size = len(index)
        start = 0
        for name, count in values:
            vector = _read_vector(network, name)
            _require(vector not in self.parts, f"values of the tensor {name!r} are listed twice")
            own = index[start : start + count].astype(np.intp)
            _require(len(own) == len(np.unique(own)) == count, f"values of {name!r} are repeated")
            inside = count == 0 or 0 <= own.min() <= own.max() < network.sizes[vector]
            _require(inside, f"the tensor {name!r} has no value with one of the indices given")
            self.parts[vector] = slice(start, start + count), own
            start += count
        _require(start == self.size, "more indices of values are given than tensors have")

    def slopes(self, alpha: NDArray[np.unsignedinteger] | None) -> Mapping[int, Slopes]:
        """Return lower slopes by vector, from fractions of the largest integer of their type."""
        if alpha is None:
            return {}
        _require(alpha.shape[1] == self.size, "slopes do not fit the values they belong to")
        share = alpha / float(np.iinfo(alpha.dtype).max)
        return {v: Slopes(own, share[:, part]) for v, (part, own) in self.parts.items()}


def _read_vector(network: CheckedNetwork, name: str) -> int:
    vector = network.names.get(name, -1)
    found = vector in network.read_vectors
    _require(found, f"no nonlinear operator of the network reads a tensor {name!r}")
    return vector


def _apply_groups(enclosure: Enclosure, groups: Sequence[BoundGroup], values: _Values) -> None:
    """Improve bounds of a single domain by passes with the slopes of groups."""
    for group in groups:
        vector = _read_vector(enclosure.network, group.tensor)
        index = group.index.astype(np.intp)
        if len(index) == 0:
            continue
        inside = 0 <= index.min() <= index.max() < enclosure.network.sizes[vector]
        _require(inside and group.side.max() <= 1, f"bounds of {group.tensor!r} do not fit it")
        for part in enclosure.chunks(vector, len(index)):
            own = group.alpha
            slopes = values.slopes(own if own is None or len(own) == 1 else own[part])
            rows = index[part], 1.0 - 2.0 * group.side[part]
            found = enclosure.backward(vector, rows, slopes=slopes)
            enclosure.improve(vector, np.zeros_like(rows[0]), rows[0], group.side[part], found)
        enclosure.renew()


class _Check:
    """One proof on its way to be accepted; what fails raises."""

    def __init__(self, proof: Proof, content: bytes) -> None:
        self.proof = proof
        digest = hashlib.sha256(content).hexdigest()
        _require(digest == proof.network_sha256, f"the proof is about the network with sha256 "
                 f"{proof.network_sha256}, the one given has {digest}")  # fmt: skip
        self.network = CheckedNetwork.read(content, proof.normalization)
        self.margin = self.left = np.inf
        self.error, self.leaves = 0.0, 0

    def run(self) -> None:
        """Check everything but what was asked."""
        unit = np.float64(2.0**-53)
        sane = 1.0 + unit == 1.0 and 1.0 + 3 * unit > 1.0 + 2 * unit and np.float64(5e-324) / 1 > 0
        _require(sane, "this process does not round as IEEE 754 has it")
        self._validate()
        boxes = self._boxes()
        plain: dict[bytes, list[tuple[int, Array, Array]]] = {}
        for case, low, high, kind in boxes:
            if kind > 0:
                self._neurons(kind - 1, case, (low, high))
                continue
            rows = self._rows(case)
            key = self.proof.matrix[rows].tobytes() + self.proof.row_clause[rows].tobytes()
            key += b"" if self.proof.balls is None else b"%d" % case
            plain.setdefault(key, []).append((case, low, high))
        for leaves in plain.values():
            self._plain(leaves)

    def _validate(self) -> None:
        """Check that numbers and numbering mean something."""
        proof, network = self.proof, self.network
        shapes = f"the proof is about inputs of shape {proof.input_shape}"
        _require(proof.input_shape == network.input_shape, f"{shapes}, not {network.input_shape}")
        _require(proof.matrix.shape[1] == network.sizes[network.output], "rows do not fit outputs")
        for name in ("lower", "upper", "matrix", "offset"):
            _require(np.isfinite(getattr(proof, name)).all(), f"{name} holds what is not finite")
        _require((proof.lower <= proof.upper).all(), "a region is empty: lower above upper")
        if proof.balls is not None:
            center, radius = proof.balls.center, proof.balls.radius
            fit = np.isfinite(center).all() and np.isfinite(radius).all() and (radius >= 0).all()
            _require(fit, "a ball has a centre or radius that is not finite or is negative")
        steps = np.stack([np.diff(proof.row_case), np.diff(proof.row_clause)])
        clauses = proof.row_clause[1:]
        known = ((steps[0] == 0) & ((steps[1] == 0) | (steps[1] == 1))) | (
            (steps[0] == 1) & (clauses == 0)
        )
        first = len(proof.row_case) > 0 and proof.row_case[0] == proof.row_clause[0] == 0
        whole = first and known.all() and proof.row_case[-1] == len(proof.lower) - 1
        _require(whole, "rows are not numbered by case and clause from 0 without gaps")
        if network.dropped is not None:
            pairs = (np.count_nonzero(proof.matrix, axis=1) == 2) & (proof.matrix.sum(axis=1) == 0)
            order = (pairs & (proof.offset == 0)).all() and network.dropped == "Softmax"
            _require(order, f"a row is more than an order of two outputs, before {network.dropped}")

    def _rows(self, case: int) -> slice:
        first, last = np.searchsorted(self.proof.row_case, [case, case + 1])
        return slice(int(first), int(last))

    def _boxes(self) -> list[tuple[int, Array, Array, int]]:
        """Cut the regions of all cases, and return case, corners and kind of every leaf."""
        tree = self.proof.tree
        found: list[tuple[int, Array, Array, int]] = []
        size = len(tree.kind) * self.proof.lower.shape[1]
        _require(size <= 1 << 27, f"boxes of {size} numbers are more than memory is meant to hold")
        points = iter(tree.point.tolist())
        kinds, node = iter(tree.kind.tolist()), 0
        for case, corners in enumerate(zip(self.proof.lower, self.proof.upper, strict=True)):
            waiting = [corners]
            while waiting:
                low, high = waiting.pop()
                _require(node < len(tree.dimension), "the tree of boxes ends early")
                axis, node = int(tree.dimension[node]), node + 1
                if axis == -1:
                    kind = next(kinds, -1)
                    _require(0 <= kind <= len(self.proof.trees), f"leaf {len(found)} has no kind")
                    found.append((case, low, high, kind))
                    continue
                point = next(points, np.inf)
                _require(0 <= axis < len(low), f"node {node - 1} cuts input {axis}")
                point = low[axis] + (high[axis] - low[axis]) / 2 if np.isnan(point) else point
                inside = low[axis] <= point <= high[axis]
                _require(inside, f"node {node - 1} cuts outside its box, at {point}")
                below, above = high.copy(), low.copy()
                below[axis] = above[axis] = point
                waiting += [(above, high), (low, below)]
        left = node < len(tree.dimension) or next(points, None) is not None
        _require(not left and next(kinds, None) is None, "the tree of boxes has parts left over")
        return found

    def _ball(self, case: int) -> Ball | None:
        balls = self.proof.balls
        if balls is None:
            return None
        return Ball(balls.norm, balls.center[case], balls.radius[case])

    def _plain(self, leaves: Sequence[tuple[int, Array, Array]]) -> None:
        """Check leaves of cases that share all rows."""
        cases = np.array([case for case, _, _ in leaves])
        boxes = tuple(np.stack([leaf[i] for leaf in leaves]) for i in (1, 2))
        rows = self._rows(leaves[0][0])
        clauses, matrix = self.proof.row_clause[rows], self.proof.matrix[rows]
        offsets = np.stack([self.proof.offset[self._rows(case)] for case in cases])
        done = 0
        ball = self._ball(leaves[0][0])
        for found, errors in _plain_bounds(self.network, (boxes[0], boxes[1]), matrix, ball):
            part = slice(done, done + len(found))
            margins = np.nextafter(found - offsets[part], -np.inf)
            for clause in range(clauses[-1] + 1):
                own = np.flatnonzero(clauses == clause)
                best = own[margins[:, own].argmax(axis=1)][:, None]
                proved, error = (np.take_along_axis(a, best, 1)[:, 0] for a in (margins, errors))
                self._accept(proved, error, lambda i: f"box {i} of case {cases[i]}", clause)
            done += len(found)

    def _accept(self, margins: Array, errors: Array, name: object, clause: int) -> None:
        """Take leaves into account, all of which must have a positive margin."""
        bad = np.flatnonzero(~(margins > 0))
        if len(bad):
            where = name(int(bad[0])) if callable(name) else name
            raise ProofError(
                f"{where}, clause {clause}: a bound of {margins[bad[0]]} proves nothing"
            )
        self.leaves += len(margins)
        if len(margins):
            self.margin = min(self.margin, float(margins.min()))
            self.error = max(self.error, float(errors.max()))
            self.left = min(self.left, float((margins - errors).min()))

    def _neurons(self, number: int, case: int, box: tuple[Array, Array]) -> None:
        """Check a box that splits of values inside the network close."""
        tree, name = self.proof.trees[number], f"tree {number}"
        region = Region(box[0][None], box[1][None], self._ball(case))
        enclosure = Enclosure.of(self.network, region)
        values = _Values(self.network, tree.values, tree.index)
        _apply_groups(enclosure, tree.groups, values)
        rows = self._rows(case)
        matrix, clauses = self.proof.matrix[rows], self.proof.row_clause[rows]
        errors = enclosure.float32_error(matrix)[0]
        walk = _Walk(enclosure, tree, values, name)
        for clause in range(clauses[-1] + 1):
            for leaves in walk.clause():
                row, part = walk.open_rows(leaves)
                self.leaves += len(leaves.node) - len(row)
                own = row - rows.start
                known = (own >= 0) & (own < len(clauses))
                known &= clauses[np.where(known, own, 0)] == clause
                _require(known.all(), f"{name}: a leaf names a row of another clause")
                found = walk.bound(part, matrix[own]) if len(row) else np.zeros(0)
                margins = np.nextafter(found - self.proof.offset[row], -np.inf)
                self._accept(margins, errors[own], lambda _: name, clause)
        _require(walk.at_end, f"{name} has parts left over")

    def compare(
        self,
        asked: Sequence[AskedCase],
        normalization: tuple[Sequence[float], Sequence[float]] | None,
    ) -> None:
        """Require that every case asked about lies in proved cases that have its clauses."""
        proof = self.proof
        wanted = normalization and tuple(tuple(map(float, part)) for part in normalization)
        stated = f"the proof is about the network behind the normalisation {proof.normalization}"
        _require(proof.normalization == wanted, f"{stated}, what was asked is behind {wanted}")
        proved: dict[bytes, list[int]] = {}
        for case in range(len(proof.lower)):
            rows = self._rows(case)
            for clause in range(proof.row_clause[rows][-1] + 1):
                own = np.arange(rows.start, rows.stop)[proof.row_clause[rows] == clause]
                key = _clause_key(proof.matrix[own], proof.offset[own])
                proved.setdefault(key, []).append(case)
        for number, case_ in enumerate(asked):
            shape = proof.lower.shape[1:]
            fit = case_.lower.shape == case_.upper.shape == shape
            _require(fit, f"case {number} of the specification is about other inputs")
            for place, (matrix, offset) in enumerate(case_.clauses):
                cases = np.array(proved.get(_clause_key(matrix, offset), []), dtype=np.intp)
                where = f"clause {place} of case {number} of the specification"
                _require(len(cases), f"{where} is not one that the proof is about")
                inside = (proof.lower[cases] <= case_.lower).all(axis=1)
                inside &= (proof.upper[cases] >= case_.upper).all(axis=1)
                held = any(self._holds_ball(case, case_.ball) for case in cases[inside])
                _require(held, f"the region of {where} lies in none that the proof is about")

    def _holds_ball(self, case: int, asked: Ball | None) -> bool:
        own = self._ball(case)
        if own is None or asked is None:
            return own is None
        same = own.norm == asked.norm and np.array_equal(own.center, asked.center)
        return bool(same and (own.radius >= asked.radius).all())

    def statement(self) -> tuple[str, ...]:
        """Return what is proved, in words."""
        proof, lines = self.proof, []
        lines.append(f"network with sha256 {proof.network_sha256}")
        if proof.normalization is not None:
            mean, std = proof.normalization
            lines.append(f"behind (x - mean) / std with mean {list(mean)} and std {list(std)}")
        for case in range(min(len(proof.lower), SHOWN_CASES)):
            lines.append(f"case {case}: for every input with {self._region_words(case)}")
            rows = self._rows(case)
            for clause in range(proof.row_clause[rows][-1] + 1):
                own = np.flatnonzero(proof.row_clause[rows] == clause) + rows.start
                words = [_row_words(proof.matrix[row], proof.offset[row]) for row in own]
                lines.append(f"  never {' and '.join(words)}")
        if len(proof.lower) > SHOWN_CASES:
            lines.append(f"and {len(proof.lower) - SHOWN_CASES} cases more")
        return tuple(lines)

    def _region_words(self, case: int) -> str:
        low, high = self.proof.lower[case], self.proof.upper[case]
        ends = zip(low[:SHOWN_INPUTS], high[:SHOWN_INPUTS], strict=True)
        words = ", ".join(f"{_digits(a)} <= X_{i} <= {_digits(b)}" for i, (a, b) in enumerate(ends))
        if len(low) > SHOWN_INPUTS:
            words += f" and so on for {len(low)} inputs, {np.max(high - low):.9g} wide at most"
        ball = self._ball(case)
        if ball is not None:
            words += f", in a ball of norm {ball.norm} with radius up to {ball.radius.max():.9g}"
        return words


SHOWN_CASES, SHOWN_INPUTS = 10, 8


def _row_words(row: Array, offset: float) -> str:
    terms = [f"{_digits(value, '+')}*Y_{i}" for i, value in enumerate(row) if value]
    return f"{' '.join(terms) or '0'} <= {_digits(offset)}"


def _digits(value: float, sign: str = "") -> str:
    """Return as many digits as it takes to tell a number from all others: no more was proved."""
    short = f"{value:{sign}.9g}"
    return short if float(short) == value else f"{value:{sign}.17g}"


def _clause_key(matrix: Array, offset: Array) -> bytes:
    """Return the same bytes for the same rows in any order, and for no others."""
    rows = np.column_stack([matrix, offset]).astype(np.float64) + 0.0  # turns -0 into 0
    return b"%d " % rows.shape[1] + b"".join(sorted(row.tobytes() for row in rows))


class _Domains(NamedTuple):
    """Nodes of a tree, and bounds of the values in the domain of each, `(nodes, values)`."""

    node: Integers
    lower: Array
    upper: Array


class _Walk:
    """Visits the domains of a neuron tree, clause after clause."""

    def __init__(self, enclosure: Enclosure, tree: NeuronTree, values: _Values, name: str) -> None:
        self._enclosure, self._tree, self._values, self._name = enclosure, tree, values, name
        self._lower, self._upper = np.zeros(values.size), np.zeros(values.size)
        for vector, (part, own) in values.parts.items():
            self._lower[part] = enclosure.lower[vector][0, own]
            self._upper[part] = enclosure.upper[vector][0, own]
        self._validate()
        # How many nodes of its kind stand before a node, and where its subtree ends.
        self._number = np.zeros(len(tree.kind), dtype=np.intp)
        for kind in (LEAF, SPLIT, TIGHTEN):
            own_kind = tree.kind == kind
            self._number[own_kind] = np.arange(own_kind.sum())
        self._end = self._ends(tree.kind.tolist())
        self._next = 0
        widest = 8 * sum(enclosure.network.sizes) + values.size
        self._batch = max(HELD_VALUES // widest, 1)

    @property
    def at_end(self) -> bool:
        return self._next == len(self._tree.kind)

    def clause(self) -> Iterator[_Domains]:
        """Yield the leaves of the next clause's tree, in batches."""
        _require(not self.at_end, f"{self._name} has no tree for some clause")
        tree = self._tree
        waiting = [(self._next, self._lower, self._upper)]
        self._next = self._end[self._next]
        held: dict[int, list[tuple[int, Array, Array]]] = {LEAF: [], TIGHTEN: []}
        while waiting or any(held.values()):
            if waiting:
                node, low, high = waiting.pop()
                if tree.kind[node] != SPLIT:
                    held[int(tree.kind[node])].append((node, low, high))
                else:
                    waiting += self._halves(node, low, high)
            for kind, nodes in held.items():
                if len(nodes) >= self._batch or (nodes and not waiting):
                    domains = _Domains(
                        np.array([n for n, _, _ in nodes]),
                        *(np.stack([entry[i] for entry in nodes]) for i in (1, 2)),
                    )
                    nodes.clear()
                    if kind == LEAF:
                        yield domains
                    else:
                        self._tighten(domains)
                        waiting += zip(domains.node + 1, domains.lower, domains.upper, strict=True)

    def _halves(self, node: int, low: Array, high: Array) -> list[tuple[int, Array, Array]]:
        number = self._number[node]
        value, point = self._tree.split_value[number], self._tree.split_point[number]
        below, above = high.copy(), low.copy()
        below[value], above[value] = min(high[value], point), max(low[value], point)
        return [(self._end[node + 1], above, high), (node + 1, low, below)]

    def open_rows(self, leaves: _Domains) -> tuple[Integers, _Domains]:
        """Return which rows are claimed in leaves that are not empty, and these leaves."""
        row = self._tree.leaf_row[self._number[leaves.node]].astype(np.intp)
        empty = (leaves.lower > leaves.upper).any(axis=1)
        _require((empty | (row >= 0)).all(), f"{self._name}: a leaf is not empty as it claims")
        open_ = _Domains(leaves.node[~empty], leaves.lower[~empty], leaves.upper[~empty])
        return row[~empty], open_

    def bound(self, leaves: _Domains, rows: Array) -> Array:
        """Return lower bounds of one linear function of the outputs in each leaf."""
        tree, number = self._tree, self._number[leaves.node]
        alpha = tree.leaf_alpha[number]
        share = np.append(tree.alpha, np.zeros((1, self._values.size), tree.alpha.dtype), axis=0)
        slopes = share[alpha] / float(np.iinfo(tree.alpha.dtype).max)
        slopes = np.where(alpha[:, None] < 0, leaves.upper > -leaves.lower, slopes)
        factor = np.zeros(leaves.lower.shape)
        for place, leaf in enumerate(number):
            part = slice(tree.gamma_start[leaf], tree.gamma_start[leaf + 1])
            factor[place, tree.gamma_value[part]] = tree.gamma[part]
        parts = self._values.parts.items()
        return self._domains(leaves).backward(
            self._enclosure.network.output,
            rows,
            slopes={v: Slopes(own, slopes[:, part]) for v, (part, own) in parts},
            multipliers={
                v: Multipliers(own, factor[:, part], leaves.lower[:, part], leaves.upper[:, part])
                for v, (part, own) in parts
                if factor[:, part].any()
            },
        )

    def _domains(self, domains: _Domains) -> Enclosure:
        """Return bounds of all vectors in every domain."""
        closer = {}
        for vector, (part, own) in self._values.parts.items():
            low, high = domains.lower[:, part], domains.upper[:, part]
            if np.any(low > self._lower[part]) or np.any(high < self._upper[part]):
                ends = self._enclosure.lower[vector], self._enclosure.upper[vector]
                whole = [np.repeat(end, len(low), axis=0) for end in ends]
                whole[0][:, own], whole[1][:, own] = low, high
                closer[vector] = whole[0], whole[1]
        return self._enclosure.within(closer)

    def _tighten(self, domains: _Domains) -> None:
        """Improve bounds in place by passes with adaptive slopes, tensor after tensor."""
        tree, numbers = self._tree, self._number[domains.node]
        starts, stops = tree.tighten_start[numbers], tree.tighten_start[numbers + 1]
        chosen = np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)])
        domain = np.repeat(np.arange(len(numbers)), stops - starts)
        value, side = tree.tighten_value[chosen], tree.tighten_side[chosen]
        for vector, (part, own) in self._values.parts.items():
            here = (value >= part.start) & (value < part.stop)
            if not here.any():
                continue
            enclosure = self._domains(domains)
            d, v, upper = domain[here], value[here].astype(np.intp), side[here] == 1
            signs = np.where(upper, -1.0, 1.0)
            for piece in enclosure.chunks(vector, len(d)):
                rows = own[v[piece] - part.start], signs[piece]
                found = enclosure.backward(vector, rows, domain=d[piece])
                is_upper = upper[piece]
                np.minimum.at(
                    domains.upper, (d[piece][is_upper], v[piece][is_upper]), -found[is_upper]
                )
                np.maximum.at(
                    domains.lower, (d[piece][~is_upper], v[piece][~is_upper]), found[~is_upper]
                )

    def _ends(self, kinds: list[int]) -> list[int]:
        """Return where the subtree of every node ends, from the last node to the first."""
        ends = [0] * len(kinds)
        for node in range(len(kinds) - 1, -1, -1):
            end = node + 1
            for _ in range({LEAF: 0, SPLIT: 2, TIGHTEN: 1}[kinds[node]]):
                _require(end < len(kinds), f"{self._name} ends early")
                end = ends[end]
            ends[node] = end
        return ends

    def _validate(self) -> None:
        tree, name = self._tree, self._name
        _require((tree.kind <= TIGHTEN).all(), f"{name} has nodes of an unknown kind")
        leaves, splits, tightens = np.bincount(tree.kind, minlength=3)
        counts = len(tree.leaf_row), len(tree.split_value), len(tree.tighten_start) - 1
        _require(counts == (leaves, splits, tightens), f"{name} has too many or too few leaves, "
                 "splits or tightenings for its nodes")  # fmt: skip
        for start, what in ((tree.tighten_start, tree.tighten_value),
                            (tree.gamma_start, tree.gamma)):  # fmt: skip
            rising = len(start) and start[0] == 0 and (np.diff(start) >= 0).all()
            _require(rising and start[-1] == len(what), f"{name} has offsets that do not fit")
        _require(len(tree.gamma_start) == leaves + 1, f"{name} has offsets that do not fit")
        for index in (tree.split_value, tree.tighten_value, tree.gamma_value):
            inside = (index >= 0) & (index < self._values.size)
            _require(inside.all(), f"{name} names a value that it does not list")
        _require((tree.tighten_side <= 1).all(), f"{name} tightens an unknown side")
        finite = np.isfinite(tree.split_point).all() and np.isfinite(tree.gamma).all()
        _require(finite, f"{name} has a split or multiplier that is not finite")
        known = (tree.leaf_alpha >= -1) & (tree.leaf_alpha < len(tree.alpha))
        _require(known.all() and (tree.leaf_row >= -1).all(), f"{name} has a leaf out of range")
