"""Small cases for semidefinite bounds, with their programs and points of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.network import Network
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.convex.sdp.hinges import lift_network
from solvers.convex.sdp.lift import LiftedNetwork
from solvers.convex.sdp.program import Program, build_program
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Box, Case, robustness

FloatArray = NDArray[np.float64]
Bounds = dict[str, tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, eq=False)
class LiftedCase:
    """A network, a case, and what CROWN says of it."""

    network: Network
    case: Case
    bounds: Bounds
    crown: FloatArray
    lifted: LiftedNetwork

    def program(self, clause: int = 0) -> Program:
        """Return the program of a clause's first row."""
        program, outputs = build_program(self.lifted)
        rows = self.case.specification.clauses[clause]
        return program.with_objective(outputs.objective(rows.matrix[0], float(rows.offset[0])))

    def margin_at(self, x: FloatArray, clause: int = 0) -> float:
        """Return the first row of a clause at an input, in float64."""
        y = self.network(torch.from_numpy(x[None]))[0].numpy().ravel()
        rows = self.case.specification.clauses[clause]
        return float(rows.matrix[0] @ y - rows.offset[0])


def lifted_case(network: Network, radius: float, *, center: float = 0.0) -> LiftedCase:
    """Return the cube around an input, to be given class 0."""
    shape = network.input_shape
    region = Box(np.full(shape, center - radius), np.full(shape, center + radius))
    return of_case(network, Case(region, robustness(0, network.output_size)))


def of_case(network: Network, case: Case) -> LiftedCase:
    """Return a case with CROWN's bounds and its lifted network."""
    wide = network.to(torch.float64)
    step = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions())
    bounds = step.node_bounds(0)
    lifted = lift_network(wide, case.region, bounds, max_nonzeros=10**6, budget=Budget())
    return LiftedCase(wide, case, bounds, step.clause_lower[0], lifted)


def inputs_of(case: Case, count: int, seed: int = 0) -> FloatArray:
    """Draw inputs of a region, a third of them corners."""
    generator = np.random.default_rng(seed)
    lower, upper = case.region.lower, case.region.upper
    share = generator.uniform(size=(count, *lower.shape))
    corners = generator.integers(0, 2, size=share.shape).astype(np.float64)
    share[: count // 3] = corners[: count // 3]
    return lower + share * (upper - lower)


def columns_at(lifted_: LiftedCase, x: FloatArray) -> FloatArray:
    """Return w = (1, w₁, …) of a run of the network, from the hinges in turn."""
    lifted = lifted_.lifted
    region = lifted_.case.region
    free = np.flatnonzero(region.lower.ravel() < region.upper.ravel())
    columns = np.zeros(lifted.columns)
    columns[: lifted.inputs] = x.ravel()[free]
    matrix, offset = (
        lifted.hinges.source.function.widened(lifted.columns),
        (lifted.hinges.source.function.offset),
    )
    for hinge, column in enumerate(lifted.hinges.column):
        row = matrix[[hinge]].toarray()[0]
        columns[column] = max(0.0, float(row @ columns + offset[hinge]))
    middle = (lifted.lower + lifted.upper) / 2
    radius = (lifted.upper - lifted.lower) / 2
    return np.concatenate([[1.0], (columns - middle) / radius])
