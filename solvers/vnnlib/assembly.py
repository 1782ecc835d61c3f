"""From disjuncts to cases: one per input box, with a clause per disjunct that shares it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecificationError
from solvers.problem import Box, Case, Clause, Specification
from solvers.vnnlib.conditions import Bound, Branch, Row
from solvers.vnnlib.limits import VnnlibLimits

__all__ = ["build_cases"]

BoxKey = tuple[tuple[int, bool, float], ...]


@dataclass(frozen=True, eq=False)
class _Interval:
    """Corners under construction, with the lines that set them; line 0 means not set."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    lower_line: NDArray[np.int64]
    upper_line: NDArray[np.int64]

    @classmethod
    def unbounded(cls, size: int) -> _Interval:
        """Return an interval without any limit."""
        return cls(
            np.full(size, -math.inf),
            np.full(size, math.inf),
            np.zeros(size, dtype=np.int64),
            np.zeros(size, dtype=np.int64),
        )

    def cut(self, bounds: Iterable[Bound]) -> _Interval:
        """Return the part of the interval that meets the bounds."""
        result = _Interval(
            self.lower.copy(), self.upper.copy(), self.lower_line.copy(), self.upper_line.copy()
        )
        for index, upper, value, line in bounds:
            if upper and value < result.upper[index]:
                result.upper[index], result.upper_line[index] = value, line
            elif not upper and value > result.lower[index]:
                result.lower[index], result.lower_line[index] = value, line
        return result

    def emptiness(self) -> SpecificationError | None:
        """Return what to say if no point is left, naming the first such input."""
        empty = np.flatnonzero(self.lower > self.upper)
        if empty.size == 0:
            return None
        index = int(empty[0])
        lines = int(self.lower_line[index]), int(self.upper_line[index])
        return SpecificationError(
            f"input X_{index} has no value: it must be at least {self.lower[index]} "
            f"(line {lines[0]}) and at most {self.upper[index]} (line {lines[1]})",
            line=max(lines),
        )

    def require_bounded(self, line: int | None) -> None:
        """Raise unless every input has both bounds."""
        for side, corner in (("lower", self.lower), ("upper", self.upper)):
            missing = np.flatnonzero(np.isinf(corner))
            if missing.size:
                sign = ">=" if side == "lower" else "<="
                raise SpecificationError(
                    f"input X_{missing[0]} has no {side} bound"
                    + (f" ({missing.size} inputs have none)" if missing.size > 1 else "")
                    + f"; add (assert ({sign} X_{missing[0]} …))",
                    line=line,
                )


def build_cases(
    common: Branch, alternatives: list[Branch], sizes: tuple[int, int], *, limits: VnnlibLimits
) -> tuple[Case, ...]:
    """Return the cases of `common and (alternatives[0] or alternatives[1] or …)`.

    Alternatives over the same box become clauses of one case. An alternative whose box is empty
    has no counterexample and is left out.

    Args:
        common: What holds in all alternatives.
        alternatives: At least one.
        sizes: Number of inputs and of outputs.
        limits: On the size of the result.

    Raises:
        SpecificationError: An input is unbounded, every box is empty, an alternative says
            nothing about the outputs, or the result would be too large.
    """
    inputs, outputs = sizes
    groups = _by_box(alternatives)
    rows = sum(len(branch.rows) + len(common.rows) for branch in alternatives)
    _check_size("regions", 2 * inputs * len(groups), limits)
    _check_size("clauses", outputs * rows, limits)
    base = _Interval.unbounded(inputs).cut(common.bounds)
    first_empty = base.emptiness()
    if first_empty is not None:
        raise first_empty
    cases = []
    for members in groups.values():
        interval = base.cut(members[0].bounds)
        problem = interval.emptiness()
        if problem is None:
            interval.require_bounded(members[0].line if members[0].bounds else None)
            clauses = tuple(_clause(common.rows + m.rows, outputs, m.line) for m in members)
            cases.append(Case(Box(interval.lower, interval.upper), Specification(clauses)))
        first_empty = first_empty or problem
    if not cases and first_empty is not None:
        raise first_empty
    return tuple(cases)


def _by_box(alternatives: list[Branch]) -> dict[BoxKey, list[Branch]]:
    """Group by the box that the bounds describe, whatever their order; first seen, first."""
    groups: dict[BoxKey, list[Branch]] = {}
    for branch in alternatives:
        tightest: dict[tuple[int, bool], float] = {}
        for index, upper, value, _ in branch.bounds:
            choose = min if upper else max
            tightest[index, upper] = choose(value, tightest.get((index, upper), value))
        key = tuple(sorted((*side, value) for side, value in tightest.items()))
        groups.setdefault(key, []).append(branch)
    return groups


def _clause(rows: tuple[Row, ...], outputs: int, line: int) -> Clause:
    if not rows:
        raise SpecificationError(
            "no condition on the outputs here, so every input would be a counterexample; "
            "add (assert (<= Y_0 …)) or the like",
            line=line or None,
        )
    matrix = np.zeros((len(rows), outputs))
    for number, row in enumerate(rows):
        for index, coefficient in row.coefficients:
            matrix[number, index] = coefficient
    return Clause(matrix, np.array([row.offset for row in rows]))


def _check_size(what: str, numbers: int, limits: VnnlibLimits) -> None:
    if numbers > limits.coefficients:
        raise SpecificationError(
            f"the {what} would hold {numbers} numbers, more than the limit of "
            f"{limits.coefficients}; split the file into several"
        )
