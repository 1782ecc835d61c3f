"""Exact answers by mixed-integer linear programming.

`exact_margin` brackets the worst-case margin of one case or decides its sign. Solver packages are
imported by their adapters only, when a solver is first asked for.
"""

from solvers.exact.choose import SolverName, SolverSuite
from solvers.exact.context import EncodingOptions, Splits, StableEncoding
from solvers.exact.encode import EncodedNetwork, encode_network, has_encoding
from solvers.exact.model import MilpModel
from solvers.exact.options import (
    BoundTightening,
    ExactHints,
    ExactMode,
    ExactOptions,
    ExactProgress,
    ExactResult,
    ExactStatus,
)
from solvers.exact.seam import Licence, MilpOutcome, MilpSolver, SolveRequest, Tolerances
from solvers.exact.search import exact_margin

__all__ = [
    "BoundTightening",
    "EncodedNetwork",
    "EncodingOptions",
    "ExactHints",
    "ExactMode",
    "ExactOptions",
    "ExactProgress",
    "ExactResult",
    "ExactStatus",
    "Licence",
    "MilpModel",
    "MilpOutcome",
    "MilpSolver",
    "SolveRequest",
    "SolverName",
    "SolverSuite",
    "Splits",
    "StableEncoding",
    "Tolerances",
    "encode_network",
    "exact_margin",
    "has_encoding",
]
