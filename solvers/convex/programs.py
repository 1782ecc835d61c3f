"""Linear programs that are solved again and again: the seam, and the adapters' choice.

A session holds one program. Its objective changes from target to target and rows come and go as
cuts, while the solver keeps its basis. Nothing that a solver says is believed: an answer is a dual
vector to be rechecked and a point to separate cuts at, both of which may be rubbish.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.budget import Budget
from solvers.errors import SolverUnavailableError
from solvers.exact import Licence, SolverName, SolverSuite

if TYPE_CHECKING:
    from solvers.exact.model import MilpModel, Rows

__all__ = ["LinearAnswer", "LinearSession", "LinearStatus", "SessionMaker", "session_maker"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


class LinearStatus(StrEnum):
    """How a solve ended, in the solver's words about itself. `failed`: without an optimum."""

    OPTIMAL = "optimal"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class LinearAnswer:
    """What a solver says.

    Attributes:
        status: How the solve ended.
        values: Of the columns, shape `(columns,)`; may be neither optimal nor feasible.
        duals: Of the rows, shape `(rows,)`: how fast the minimum rises with a row's active side.
    """

    status: LinearStatus
    values: FloatArray
    duals: FloatArray


class LinearSession(ABC):
    """One linear program inside a solver."""

    @abstractmethod
    def minimise(self, objective: FloatArray, budget: Budget) -> LinearAnswer:
        """Solve with an objective, from where the last solve ended.

        Args:
            objective: Of every column, shape `(columns,)`, none too small for a solver.
            budget: Deadline and cancellation, kept within about a third of a second.

        Raises:
            SolverFailedError: The solver broke down.
            SolverUnavailableError: The licence does not allow this size.
        """

    @abstractmethod
    def add_rows(self, rows: Rows) -> None:
        """Append rows."""

    @abstractmethod
    def remove_rows(self, index: IndexArray) -> None:
        """Remove rows by position; the others close up."""


SessionMaker = Callable[["MilpModel"], LinearSession]


def _highs(model: MilpModel) -> LinearSession:
    from solvers.convex.highs_session import HighsSession  # noqa: PLC0415  (loads the solver)

    return HighsSession(model)


def _gurobi(model: MilpModel) -> LinearSession:
    from solvers.convex.gurobi_session import GurobiSession  # noqa: PLC0415  (loads the solver)

    return GurobiSession(model)


_MAKERS: Mapping[SolverName, SessionMaker] = MappingProxyType(
    {SolverName.HIGHS: _highs, SolverName.GUROBI: _gurobi}
)


def session_maker(name: SolverName = SolverName.AUTO) -> SessionMaker:
    """Return what opens sessions.

    Args:
        name: `highs`, `gurobi`, or `auto`: Gurobi where its licence is full, else HiGHS.

    Raises:
        SolverUnavailableError: The solver named has no sessions of linear programs.
    """
    chosen = name
    if name is SolverName.AUTO:
        chosen = SolverName.GUROBI if _gurobi_is_licensed() else SolverName.HIGHS
    if chosen not in _MAKERS:
        raise SolverUnavailableError(
            f"solver {chosen.value} solves no sequence of linear programs; choose highs or gurobi"
        )
    return _MAKERS[chosen]


def _gurobi_is_licensed() -> bool:
    try:
        return SolverSuite().get(SolverName.GUROBI).licence is Licence.FULL
    except SolverUnavailableError:
        return False
