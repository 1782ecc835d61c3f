"""What a worker's machine has, found out in a process of its own: `python -m worker.surveying`.

Solvers are loaded to ask for their licences, which a worker itself never does: one of them may ask
a server that does not answer, or end the process.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from solvers.errors import SolverFailedError, SolverUnavailableError
from solvers.exact.choose import SolverName, SolverSuite

__all__ = ["main", "solver_facts", "version_facts"]

_PACKAGES = (
    "tightrope", "torch", "numpy", "scipy", "onnx", "onnxruntime", "cvxpy", "clarabel", "scs",
    "highspy", "pyscipopt", "gurobipy",
)  # fmt: skip
_SOLVERS = {
    SolverName.GUROBI: "gurobipy",
    SolverName.SCIP: "pyscipopt",
    SolverName.HIGHS: "highspy",
}


def version_facts() -> dict[str, str]:
    """Return versions of what computes; what is not installed is left out."""
    return {"python": platform.python_version(), **dict(_versions())}


def solver_facts(suite: SolverSuite) -> list[dict[str, str]]:
    """Return which solvers there are, and what their licences allow.

    Args:
        suite: Of this process.

    Returns:
        For each `name`, `package`, `licence` as the seam calls it, and `note`: why it is not full.
    """
    return [
        {"name": name.value, "package": package, **_licence(suite, name)}
        for name, package in _SOLVERS.items()
    ]


def _licence(suite: SolverSuite, name: SolverName) -> dict[str, str]:
    try:
        solver = suite.get(name)
        return {"licence": solver.licence.value, "note": solver.licence_note}
    except (SolverUnavailableError, SolverFailedError) as error:
        return {"licence": "unavailable", "note": str(error)}


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def main() -> int:
    """Print what was found as JSON; return the exit status."""
    facts = {"versions": version_facts(), "solvers": solver_facts(SolverSuite())}
    sys.stdout.write(json.dumps(facts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
