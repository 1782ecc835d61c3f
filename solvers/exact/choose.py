"""Which solver answers: the caller's choice, or the best one that licences allow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum

from solvers.errors import SolverUnavailableError
from solvers.exact.seam import Licence, MilpSolver

__all__ = ["SolverName", "SolverSuite"]

SolverFactory = Callable[[], MilpSolver]


class SolverName(StrEnum):
    """A solver, or `auto` for the best available one. `tree` is our own search, on HiGHS' LPs."""

    AUTO = "auto"
    TREE = "tree"
    HIGHS = "highs"
    SCIP = "scip"
    GUROBI = "gurobi"


class SolverSuite:
    """The solvers of one process; each is imported when first asked for, and kept.

    Args:
        gurobi_parameters: For Gurobi's environment, such as a licence server.
        factories: Makers of solvers by name, in place of the built-in ones.
    """

    def __init__(
        self,
        gurobi_parameters: Mapping[str, str | int] | None = None,
        factories: Mapping[SolverName, SolverFactory] | None = None,
    ) -> None:
        self._gurobi_parameters = dict(gurobi_parameters or {})
        self._factories: Mapping[SolverName, SolverFactory] = (
            {
                SolverName.TREE: self._make_tree,
                SolverName.HIGHS: self._make_highs,
                SolverName.SCIP: self._make_scip,
                SolverName.GUROBI: self._make_gurobi,
            }
            if factories is None
            else factories
        )
        self._made: dict[SolverName, MilpSolver] = {}
        self._missing: dict[SolverName, str] = {}
        self._lock = threading.Lock()

    def get(self, name: SolverName) -> MilpSolver:
        """Return a solver by name.

        Raises:
            SolverUnavailableError: It is not installed.
        """
        with self._lock:
            if name not in self._made and name not in self._missing:
                try:
                    self._made[name] = self._factories[name]()
                except (ImportError, KeyError) as error:
                    self._missing[name] = str(error)
            if name in self._missing:
                raise SolverUnavailableError(
                    f"solver {name.value} is not installed ({self._missing[name]}); "
                    "install it, or choose auto"
                )
            return self._made[name]

    def choose(self, name: SolverName, *, signs: bool = False) -> MilpSolver:
        """Return the solver for mixed-integer programs.

        `auto` takes Gurobi where its licence is full, never a restricted one, which excludes
        production use. Of the free ones our own tree measured fastest for signs, SCIP for values;
        HiGHS' own search comes last.

        Args:
            name: The caller's choice.
            signs: Whether the sign of the minimum is enough.

        Raises:
            SolverUnavailableError: The chosen solver, or every solver, is missing.
        """
        free = (SolverName.SCIP, SolverName.TREE)
        return self._first(name, (*(free[::-1] if signs else free), SolverName.HIGHS))

    def choose_linear(self, name: SolverName) -> MilpSolver:
        """Return the solver for linear programs: as `choose`, but HiGHS goes before SCIP.

        Raises:
            SolverUnavailableError: The chosen solver, or every solver, is missing.
        """
        if name is SolverName.TREE:
            name = SolverName.HIGHS
        return self._first(name, (SolverName.HIGHS, SolverName.SCIP))

    def _first(self, name: SolverName, free: tuple[SolverName, ...]) -> MilpSolver:
        if name is not SolverName.AUTO:
            return self.get(name)
        if self._licensed():
            return self.get(SolverName.GUROBI)
        for other in free[:-1]:
            with suppress(SolverUnavailableError):
                return self.get(other)
        return self.get(free[-1])

    def _licensed(self) -> bool:
        try:
            return self.get(SolverName.GUROBI).licence is Licence.FULL
        except SolverUnavailableError:
            return False

    def _make_tree(self) -> MilpSolver:
        from solvers.exact.tree import TreeSolver  # noqa: PLC0415  (loads HiGHS)

        return TreeSolver()

    def _make_highs(self) -> MilpSolver:
        from solvers.exact.highs import HighsSolver  # noqa: PLC0415  (loads the solver)

        return HighsSolver()

    def _make_scip(self) -> MilpSolver:
        from solvers.exact.scip import ScipSolver  # noqa: PLC0415  (loads the solver)

        return ScipSolver()

    def _make_gurobi(self) -> MilpSolver:
        from solvers.exact.gurobi import GurobiSolver  # noqa: PLC0415  (loads the solver)

        return GurobiSolver(self._gurobi_parameters)
