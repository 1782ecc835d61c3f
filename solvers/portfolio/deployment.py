"""Whether a margin found for real numbers survives float32 inference.

Proofs come with an answer of the checker. Without one, the same analysis runs on the bounds that
the search had, so that nobody takes a verdict about real numbers for one about what is deployed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.portfolio.run import Run
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.container import ProofError
from solvers.proof.network import CheckedNetwork
from solvers.proof.parts import read_network
from solvers.proof.parts.float32 import float32_error
from solvers.proof.producing.ground import ball_of
from solvers.proof.producing.tensors import tensors_of
from solvers.proof.rooting import region_of

__all__ = ["survives_float32"]

_SECONDS = 1.0
_SHARE = 0.03
"""It takes about a second at most, and this share of the whole time after the deadline."""

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


class _Vouched(Enclosure):
    """Intervals of all vectors, and bounds that the search vouches for.

    Attributes:
        budget: Once it is spent, errors are left as large as what follows them forward says.
        hurried: Whether that has happened.
    """

    budget: Budget = Budget()
    hurried: bool = False

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # what overflows is refused
    def enclosing(
        cls, network: CheckedNetwork, region: Region, bounds: Mapping[int, Ends], budget: Budget
    ) -> _Vouched:
        """Enclose all vectors over one box.

        Args:
            network: What is bounded.
            region: Where.
            bounds: Per vector, arrays of shape `(values,)`.
            budget: Of the analysis.

        Raises:
            ProofError: A bound overflows.
        """
        self = cls.unbounded(network, region)
        self.budget = budget
        self.meet(0, region.lower, region.upper)
        for operation in network.operations:
            low, high = self.interval(operation)
            if operation.output in bounds:
                closer = bounds[operation.output]
                low, high = np.maximum(low, closer[0]), np.minimum(high, closer[1])
                # Intervals that miss each other by a rounding have no inside.
                low, high = np.minimum(low, high), np.maximum(low, high)
            self.meet(operation.output, low, high)
        return self

    def chunks(self, vector: int, rows: int) -> Iterator[slice]:
        """Return rows in pieces until time is up; what is left out keeps the wider bound it has."""
        for piece in super().chunks(vector, rows):
            if self.budget.exhausted:
                self.hurried = True
                return
            yield piece


def survives_float32(network: Network, run: Run) -> bool | None:
    """Return whether every proved margin is larger than the error of float32 inference.

    Args:
        network: As imported.
        run: That found every case verified.

    Returns:
        None where that is not known: the file is not in float32, has an operator that the analysis
        does not cover, or takes too long.
    """
    budget, front = _budget(run), network.normalization
    try:
        checked = read_network(network.source, None if front is None else (front.mean, front.std))
    except ProofError:
        return None
    if not checked.graph.single or checked.dropped is not None:
        return None
    tensors = tensors_of(network, run.network)
    for bracket in run.brackets:
        if budget.exhausted:
            return None
        survives = _survives(checked, bracket, _known(run, bracket, tensors), budget)
        if not survives:
            return survives
    return True


def _budget(run: Run) -> Budget:
    """Return the time for the analysis, of which a little is left after the deadline too."""
    spent, left = time.perf_counter() - run.began, run.budget.remaining_seconds
    return Budget.of_seconds(
        min(_SECONDS, max(left, _SHARE * (spent + left))), run.budget.cancelled
    )


def _known(run: Run, bracket: Bracket, tensors: Mapping[str, str]) -> dict[str, Ends]:
    """Return bounds of ONNX tensors that the run had for a case, flat."""
    ladder = run.ladder
    if ladder is None or all(other is not bracket for other in ladder.brackets):
        return {}
    bounds = ladder.step.node_bounds(ladder.place(bracket))
    return {
        tensor: (bounds[name][0].ravel(), bounds[name][1].ravel())
        for name, tensor in tensors.items()
        if name in bounds
    }


def _survives(
    checked: CheckedNetwork, bracket: Bracket, known: Mapping[str, Ends], budget: Budget
) -> bool | None:
    region, ends = bracket.case.region, {checked.names[t]: e for t, e in known.items()}
    corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
    try:
        enclosure = _Vouched.enclosing(checked, region_of(*corners, ball_of(region)), ends, budget)
    except ProofError:
        return False
    clauses = bracket.case.specification.clauses
    errors = float32_error(enclosure, np.concatenate([clause.matrix for clause in clauses]))[0]
    # Which row of a clause was proved is not known here; the worst one counts.
    starts = np.cumsum([0, *(len(clause.matrix) for clause in clauses[:-1])])
    if (bracket.clause_lower > np.maximum.reduceat(errors, starts)).all():
        return True
    return None if enclosure.hurried else False
