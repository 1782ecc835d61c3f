"""Proving one box again by the multipliers of semidefinite relaxations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import TightropeError
from solvers.budget import Budget
from solvers.convex.sdp import SdpDual, SdpOptions, sdp_margin
from solvers.convex.sdp.safe import best_repair, quick_repair
from solvers.problem import Case, Specification
from solvers.proof.bounds import RELU, Enclosure
from solvers.proof.container import Duals, NeuronTree, ProofError
from solvers.proof.network import Nonlinear, dense
from solvers.proof.parts.lifted import Relaxation
from solvers.proof.parts.semidefinite import Dual, dual_matrix, proved_by
from solvers.proof.producing.box_proof import stacked_rows
from solvers.proof.producing.found_duals import FoundDuals
from solvers.proof.producing.ground import Ground, ball_of
from solvers.proof.rooting import region_of

__all__ = ["DualCloser", "Fitter"]

_LOG = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
Numbers = type[np.float32] | type[np.float64]

_ADAPTIVE = -1
_TRIES = 4
_LEAST = 1e-12
"""Share of the largest κ that no other may be below: where it is 0, an input has no row."""


class DualCloser:
    """Proves that no clause of a case can hold, without splitting anything.

    Args:
        ground: The network.
        case: Region and specification.
        first_row: Number of the case's first row in the file.
        found: What clauses were proved with.
        budget: When to give up.
    """

    def __init__(
        self, ground: Ground, case: Case, first_row: int, found: FoundDuals, *, budget: Budget
    ) -> None:
        self._ground, self._case, self._budget = ground, case, budget
        self._first_row, self._found = first_row, found

    def close(self) -> NeuronTree | None:
        """Return a proof of all clauses, or None."""
        steps = [o for o in self._ground.checked.operations if isinstance(o, Nonlinear)]
        if any(step.function is not RELU for step in steps):
            return None
        region = self._case.region
        corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
        enclosure = Enclosure.of(self._ground.checked, region_of(*corners, ball_of(region)))
        matrix, offset, owner = stacked_rows(self._case.specification)
        margins = enclosure.rows(matrix)[0] - offset
        clauses = [np.flatnonzero(owner == clause) for clause in range(owner[-1] + 1)]
        best = np.array([rows[margins[rows].argmax()] for rows in clauses])
        open_ = np.flatnonzero(~(margins[best] > 0)).tolist()
        if any(not self._hopeful(clause) for clause in open_):
            return None
        try:
            fitter = Fitter.of(self._ground, enclosure)
            duals = self._duals(fitter, open_, [int(rows[0]) for rows in clauses])
        except (ProofError, TightropeError) as error:
            _LOG.warning("no dual matrices: %s", error)
            return None
        if duals is None:
            return None
        rows, alpha = best.copy(), np.full(len(clauses), _ADAPTIVE)
        for number, (clause, (row, _)) in enumerate(zip(open_, duals, strict=True)):
            rows[clause], alpha[clause] = row, _ADAPTIVE - 1 - number
        return fitter.tree(rows + self._first_row, alpha, [dual for _, dual in duals])

    def _hopeful(self, clause: int) -> bool:
        """Return whether a relaxation proved a clause."""
        dual = self._found.duals.get(clause)
        return dual is not None and dual.bound > 0

    def _duals(
        self, fitter: Fitter, clauses: list[int], first: list[int]
    ) -> list[tuple[int, Dual]] | None:
        """Return row and multipliers of every clause: those that were found, or new ones."""
        matrix, offset, _ = stacked_rows(self._case.specification)
        found = []
        for position, clause in enumerate(clauses):
            given: FoundDuals | None = self._found
            for again in (True, False):
                if given is None or clause not in given.duals:
                    return None
                row = first[clause] + given.duals[clause].row
                dual = fitter.fitted(given, given.duals[clause], matrix[row], float(offset[row]))
                if dual is not None:
                    found.append((row, dual))
                    break
                share = self._budget.share(1.0 / (len(clauses) - position))
                given = self._solved(clause, share) if again else None
        return found

    def _solved(self, clause: int, budget: Budget) -> FoundDuals | None:
        """Solve the relaxation of a clause on the checker's bounds."""
        ground, region = self._ground, self._case.region
        one = Case(region, Specification((self._case.specification.clauses[clause],)))
        bounds = {
            name: (known.lower[0].cpu().numpy(), known.upper[0].cpu().numpy())
            for name, known in ground.bounds(region).items()
        }
        result = sdp_margin(ground.folded, one, bounds, options=SdpOptions(), budget=budget)
        found = FoundDuals.of(ground.folded, bounds, result.duals)
        if found is None or not result.duals:
            return None
        return FoundDuals(found.hinges, {clause: found.duals[0]})


@dataclass(frozen=True, eq=False)
class Fitter:
    """Fits multipliers to the relaxation that the checker forms.

    Attributes:
        ground: The network.
        relaxation: Of the whole region.
        names: ONNX names of tensors whose values have columns, by vector.
        parts: By vector, where its values stand in the list, and which they are.
    """

    ground: Ground
    relaxation: Relaxation
    names: Mapping[int, str]
    parts: Mapping[int, tuple[slice, NDArray[np.intp]]]

    @classmethod
    def of(cls, ground: Ground, enclosure: Enclosure) -> Fitter:
        """List all values whose signs are open.

        Raises:
            ProofError: The relaxation is too large, or overflows.
        """
        parts, start = {}, 0
        for vector in sorted(ground.checked.read_vectors):
            index = np.flatnonzero(enclosure.undecided(vector)[0])
            parts[vector] = slice(start, start + len(index)), index
            start += len(index)
        names = {vector: name for name, vector in ground.checked.names.items()}
        return cls(ground, Relaxation(enclosure, parts), names, parts)

    def fitted(
        self, found: FoundDuals, dual: SdpDual, row: FloatArray, offset: float
    ) -> Dual | None:
        """Return multipliers that the checker proves a row with; None where it does not.

        Args:
            found: Whose neurons the multipliers are of.
            dual: The multipliers.
            row: Of the outputs.
            offset: What the row has to exceed.
        """
        known = all(node in self.ground.tensors for node, _ in found.hinges)
        given = self._translated(found, dual) if known else None
        if given is None:
            return None
        kinds: tuple[Numbers, ...] = (np.float32, np.float64)
        for kind in kinds:
            for repaired in self._repaired(given, row, kind):
                if proved_by(self.relaxation, row, repaired) > offset:
                    return repaired
        return None

    def _translated(self, found: FoundDuals, dual: SdpDual) -> Dual | None:
        """Return multipliers of the checker's forms, which are not scaled."""
        program, given = dual.program, dual.multipliers.clipped()
        place = self._places(found)
        if program.inputs != self.relaxation.inputs or len(place) != program.forms.hinges:
            return None
        unit = program.objective.scale
        columns, values = self.relaxation.columns, len(place)
        first, last = self.relaxation.heights
        column = np.full(program.size - 1, -1)
        column[: program.inputs] = np.arange(program.inputs)
        own = np.where(place < 0, -1, program.inputs + place)
        column[program.forms.height - 1] = own
        kinds = [np.where(place < 0, -1, last + kind * (last - first) + place) for kind in range(4)]
        form = np.concatenate([[0], column + 1, column + 1 + columns, *kinds])
        form[1:][np.concatenate([column, column, *kinds]) < 0] = -1
        products, scale = given.products, program.forms.scale
        left, right = form[products.left], form[products.right]
        weight = given.product * scale[products.left] * scale[products.right] * unit
        at = place[products.right[products.equality] - (len(form) - 4 * values)]
        heights = self.relaxation.forms.matrix
        radius = np.array([heights[first + p, 1 + program.inputs + p] if p >= 0 else 1 for p in at])
        left[products.equality] = np.where(at < 0, -1, first + at)
        weight[products.equality] /= np.where(radius > 0, radius, 1.0)
        diagonal = np.zeros(columns)
        diagonal[column[column >= 0]] = given.diagonal[column >= 0] * unit
        kept = (left >= 0) & (right >= 0) & (weight != 0)
        return Dual(0.0, diagonal, left[kept], right[kept], weight[kept])

    def _places(self, found: FoundDuals) -> NDArray[np.intp]:
        """Return where the values of hinges stand in the list, −1 for those that do not."""
        places = [np.zeros(0, dtype=np.intp)]
        for node, index in found.hinges:
            vector = self.ground.checked.names[self.ground.tensors[node]]
            part, own = self.parts[vector]
            at = np.searchsorted(own, index)
            there = np.append(own, -1)[at] == index
            places.append(np.where(there, part.start + at, -1))
        return np.concatenate(places)

    def _repaired(self, dual: Dual, row: FloatArray, kind: Numbers) -> Iterator[Dual]:
        """Yield multipliers as a file holds them, with a γ that they prove, cheap ones first."""
        weight = dual.product.astype(kind).astype(np.float64)
        least = _LEAST * float(dual.diagonal.max(initial=0.0))
        for repair in (quick_repair, best_repair):
            diagonal = np.maximum(dual.diagonal, least)
            for _ in range(_TRIES):
                diagonal = _raised(diagonal, kind)
                trial = Dual(0.0, diagonal, dual.left, dual.right, weight)
                matrix, _ = dual_matrix(self.relaxation, row, trial)
                shift, corner = repair(dense(matrix))
                if not np.isfinite(corner):
                    break
                if shift <= 0:
                    yield trial._replace(bound=corner)
                    break
                yield trial._replace(bound=corner - shift * self.relaxation.columns)
                diagonal = diagonal + 2 * shift

    def tree(
        self, rows: NDArray[np.intp], alpha: NDArray[np.intp], duals: list[Dual]
    ) -> NeuronTree:
        """Return a tree that splits nothing: of every clause a row, and a dual or none."""
        index = np.concatenate([np.zeros(0, int), *(own for _, own in self.parts.values())])
        none, whole = np.zeros(0, np.int32), np.zeros(1, np.int64)
        values = tuple((self.names[v], len(own)) for v, (_, own) in self.parts.items())
        return NeuronTree(
            values=values,
            groups=(),
            index=index.astype(np.int32),
            kind=np.zeros(len(rows), np.uint8),
            split_value=none,
            split_point=np.zeros(0),
            tighten_start=whole,
            tighten_value=none,
            tighten_side=np.zeros(0, np.uint8),
            leaf_row=rows.astype(np.int32),
            leaf_alpha=alpha.astype(np.int32),
            alpha=np.zeros((0, len(index)), np.uint8),
            gamma_start=np.zeros(len(rows) + 1, np.int64),
            gamma_value=none,
            gamma=np.zeros(0, np.float32),
            duals=_stored(duals, self.relaxation.columns),
        )


def _raised(values: FloatArray, kind: Numbers) -> FloatArray:
    """Return numbers that a type holds, none below those given."""
    held = values.astype(kind)
    above = np.nextafter(held, kind(np.inf)).astype(np.float64)
    return np.where(held.astype(np.float64) < values, above, held)


def _stored(duals: list[Dual], columns: int) -> Duals:
    """Return multipliers as a file holds them, in float32 where that loses nothing."""
    diagonal = np.stack([np.zeros(columns), *(dual.diagonal for dual in duals)])[1:]
    parts = [np.concatenate([np.zeros(0), *(dual.product for dual in duals)]), diagonal]
    parts = [p.astype(np.float32) if (p == p.astype(np.float32)).all() else p for p in parts]
    sides = ([np.zeros(0, int), *(dual[side] for dual in duals)] for side in (2, 3))
    left, right = (np.concatenate(side).astype(np.int32) for side in sides)
    start = np.cumsum([0, *(len(dual.product) for dual in duals)], dtype=np.int64)
    bound = np.array([dual.bound for dual in duals], dtype=np.float64)
    return Duals(bound, parts[1], start, left, right, parts[0])
