"""Decides whether a proof shows what it says, by deriving every bound anew.

A case says: no input of a region makes all rows C y ≤ d of any of its clauses true. Its region is
cut into boxes; in every box, for every clause, some row of C y − d is bounded away from zero.

This file, `bounds.py` and `network.py` have to be right, with the parts that a result names, and
`container.py` and `onnx_file.py`, which read files. `asked.py` compares statement and question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from solvers.proof.bounds import RELUS, Array, Enclosure, Region
from solvers.proof.container import Proof, ProofError, read_proof, require
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.stated import CheckResult

EARLY, HELD_VALUES = 1 << 40, 1 << 24
"""No input has that number; bounds that are held at once."""
Box = tuple[Array, Array]


def check_proof(path: Path, network: bytes, parts: Sequence[Part] = ()) -> CheckResult:
    """Check that what a proof states is true; nothing but it and the network is trusted.

    Args:
        path: Of the proof.
        network: Content of the ONNX file.
        parts: What the proof may rely on beside the core.

    Raises:
        OSError: The proof cannot be read.
    """
    try:
        proof = read_proof(path)
        digest = hashlib.sha256(network).hexdigest()
        stated = f"the proof is about the network with sha256 {proof.network_sha256}"
        require(digest == proof.network_sha256, f"{stated}, the one given has {digest}")
        check = Check(proof, CheckedNetwork(network, (RELUS, *parts), proof.normalization), parts)
        check.run()
    except ProofError as error:
        return CheckResult(False, str(error))
    used = tuple(part.name for part in parts if part.name in check.network.used)
    return CheckResult(True, None, check.margin, check.leaves, proof, used)


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
        """Check all of it."""
        unit = np.float64(2.0**-53)
        sane = 1.0 + unit == 1.0 and 1.0 + 3 * unit > 1.0 + 2 * unit and np.float64(5e-324) / 1 > 0
        require(sane, "this process does not round as IEEE 754 has it")
        self._validate()
        plain: dict[bytes, list[tuple[int, Box]]] = {}
        for case, box, kind in self._boxes():
            if kind > 0:
                self._split(kind - 1, case, box)
                continue
            rows, ball = self._rows(case), b"" if self.proof.balls is None else b"%d" % case
            key = ball + self.proof.matrix[rows].tobytes() + self.proof.row_clause[rows].tobytes()
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
        known = (same | ((case == 1) & (clause == 0))).all() and 0 < case.sum() == len(proof.lower)
        require(known, "rows are not numbered by case and clause from 0 without gaps")
        if network.dropped is not None:
            pairs = (np.count_nonzero(proof.matrix, axis=1) == 2) & (proof.matrix.sum(axis=1) == 0)
            order = (pairs & (proof.offset == 0)).all()
            require(order, f"a row is more than an order of two outputs, before {network.dropped}")

    def _rows(self, case: int) -> slice:
        return slice(*np.searchsorted(self.proof.row_case, [case, case + 1]).tolist())

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

    def _known(self, kind: str) -> Any:  # noqa: ANN401  whatever a part says of it
        """Return what a part says of something that the core knows nothing of."""
        for part in self.parts:
            if getattr(part, kind) is not None:
                self.network.used.add(part.name)
                return getattr(part, kind)
        raise ProofError(f"the proof relies on {kind}, which the core does not know")

    def _enclosure(self, case: int, boxes: Sequence[Box]) -> Enclosure:
        """Bound all vectors over boxes of a case, or of several where regions are no balls."""
        region = Region(*(np.stack(corners) for corners in zip(*boxes, strict=True)))
        if self.proof.balls is not None:
            region = self._known("balls")(region, self.proof.balls, case)
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
            margins = enclosure.rows(matrix) - offsets
            for clause in range(clauses[-1] + 1):
                own, tail = np.flatnonzero(clauses == clause), f", clause {clause}"
                best = own[margins[:, own].argmax(axis=1)]
                names = [f"box {start + i} of case {k}{tail}" for i, k in enumerate(cases)]
                proved = margins[np.arange(len(best)), best]
                self._accept(names, enclosure, matrix[best], proved)

    def _split(self, number: int, case: int, box: Box) -> None:
        """Check a box that splits of values inside the network close."""
        known, rows, enclosure = self._known, self._rows(case), self._enclosure(case, [box])
        for row, bounds, empty in known("splits")(enclosure, self.proof, number, rows, known):
            margins, names = bounds - self.proof.offset[row], [f"tree {number}"] * len(row)
            self._accept(names, enclosure, self.proof.matrix[row], margins)
            self.leaves += empty

    def _accept(self, names: Sequence[str], bounds: Enclosure, rows: Array, found: Array) -> None:
        """Take leaves into account, all of which must have a positive margin."""
        margins = np.nextafter(found, -np.inf)
        for margin, name in zip(margins, names, strict=True):
            require(margin > 0, f"{name}: a bound of {margin} proves nothing")
        self.leaves += len(margins)
        self.margin = min(self.margin, float(margins.min(initial=np.inf)))
        for part in self.parts:
            if part.watch is not None:
                part.watch(bounds, rows, margins)
