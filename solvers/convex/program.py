"""A relaxation as a program that is solved, rechecked and cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.convex.programs import LinearAnswer, LinearStatus, SessionMaker
from solvers.convex.recheck import safe_minimum
from solvers.exact.model import Rows, relax_small_coefficients

if TYPE_CHECKING:
    from solvers.exact.model import MilpModel

__all__ = ["Program", "Solution"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


class Solution:
    """What one solve came to.

    Attributes:
        lower: A safe lower bound of the minimum, from the duals alone; −∞ if they prove nothing.
        answer: What the solver said.
    """

    __slots__ = ("answer", "lower")

    def __init__(self, lower: float, answer: LinearAnswer) -> None:
        self.lower = lower
        self.answer = answer

    @property
    def finished(self) -> bool:
        """Whether the solver claims to have found its optimum."""
        return self.answer.status is LinearStatus.OPTIMAL


class Program:
    """A linear program whose objective and last rows change.

    Args:
        model: Columns and the rows that stay.
        maker: Opens the solver's session.
    """

    def __init__(self, model: MilpModel, maker: SessionMaker) -> None:
        self._model = model.relaxed()
        self._session = maker(self._model)
        self._fixed = model.row_count
        self._idle: IndexArray = np.zeros(0, dtype=np.int64)

    @property
    def model(self) -> MilpModel:
        """Columns and all rows at present, with the last objective."""
        return self._model

    @property
    def cuts(self) -> int:
        """Number of rows that were added."""
        return int(self._idle.size)

    def minimum(self, objective: FloatArray, offset: float, budget: Budget) -> Solution:
        """Bound `objective @ columns + offset` from below.

        Args:
            objective: Shape `(columns,)` or shorter: missing columns count as 0.
            offset: Constant term.
            budget: Deadline and cancellation.

        Raises:
            SolverFailedError: The solver broke down.
        """
        self._model = self._model.minimising(objective, offset)
        answer = self._session.minimise(self._model.objective, budget)
        return Solution(safe_minimum(self._model, answer.duals), answer)

    def add(self, rows: Rows) -> None:
        """Append rows, relaxed where a solver would drop coefficients."""
        model = self._model
        wide = sp.csr_array(
            (rows.matrix.data, rows.matrix.indices, rows.matrix.indptr),
            shape=(rows.matrix.shape[0], model.column_count),
        )
        new = relax_small_coefficients(
            Rows(wide, rows.lower, rows.upper), model.column_lower, model.column_upper
        )
        self._session.add_rows(new)
        self._idle = np.concatenate([self._idle, np.zeros(new.lower.size, dtype=np.int64)])
        old = model.rows
        joined = Rows(
            sp.vstack([old.matrix, new.matrix], format="csr"),
            np.concatenate([old.lower, new.lower]),
            np.concatenate([old.upper, new.upper]),
        )
        self._model = replace(model, rows=joined)

    def remove_idle(self, duals: FloatArray, oldest: int) -> None:
        """Count the solves in which an added row had no part, and remove those with too many.

        Args:
            duals: Of the last solve; of another length they count for nothing.
            oldest: So many solves on end without a multiplier are too many.
        """
        if duals.size != self._model.row_count:
            return
        self._idle = np.where(duals[self._fixed :] != 0, 0, self._idle + 1)
        kept = self._idle < oldest
        if kept.all():
            return
        chosen = np.concatenate([np.ones(self._fixed, dtype=np.bool_), kept])
        self._session.remove_rows(np.flatnonzero(~chosen))
        old = self._model.rows
        rows = Rows(old.matrix[np.flatnonzero(chosen)], old.lower[chosen], old.upper[chosen])
        self._model = replace(self._model, rows=rows)
        self._idle = self._idle[kept]
