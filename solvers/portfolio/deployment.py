"""Whether a margin found for real numbers survives float32 inference.

Proofs come with an answer of the checker. Without one, the same analysis runs on the bounds that
the search had, so that nobody takes a verdict about real numbers for one about what is deployed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from solvers.bracket import Bracket
from solvers.portfolio.run import Run
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.container import ProofError
from solvers.proof.network import CheckedNetwork
from solvers.proof.producing.ground import ball_of
from solvers.proof.producing.tensors import tensors_of

__all__ = ["survives_float32"]

_SECONDS = 2.0
"""More is not spent on it."""

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


class _Vouched(Enclosure):
    """Intervals of all vectors, and bounds that the search vouches for."""

    @classmethod
    def enclosing(
        cls, network: CheckedNetwork, region: Region, bounds: Mapping[int, Ends]
    ) -> Enclosure:
        """Enclose all vectors over one box.

        Args:
            network: What is bounded.
            region: Where.
            bounds: Per vector, arrays of shape `(values,)`.

        Raises:
            ProofError: A bound overflows.
        """
        self = cls(network, region)
        self._append(0, region.lower, region.upper)
        for operation in network.operations:
            low, high = self._interval(operation)
            if operation.output in bounds:
                closer = bounds[operation.output]
                low, high = np.maximum(low, closer[0]), np.minimum(high, closer[1])
                # Intervals that miss each other by a rounding have no inside.
                low, high = np.minimum(low, high), np.maximum(low, high)
            self._append(operation.output, low, high)
        return self


def survives_float32(network: Network, run: Run) -> bool | None:
    """Return whether every proved margin is larger than the error of float32 inference.

    Args:
        network: As imported.
        run: That found every case verified.

    Returns:
        None where that is not known: the file is not in float32, has an operator that the analysis
        does not cover, or takes too long.
    """
    began = time.perf_counter()
    try:
        checked = CheckedNetwork.read(network.source)
    except ProofError:
        return None
    if not checked.single or checked.dropped is not None:
        return None
    tensors = tensors_of(network, run.network)
    for bracket in run.brackets:
        if time.perf_counter() - began > _SECONDS:
            return None
        if not _survives(checked, bracket, _known(run, bracket, tensors)):
            return False
    return True


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


def _survives(checked: CheckedNetwork, bracket: Bracket, known: Mapping[str, Ends]) -> bool:
    region, ends = bracket.case.region, {checked.names[t]: e for t, e in known.items()}
    corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
    try:
        enclosure = _Vouched.enclosing(checked, Region(*corners, ball_of(region)), ends)
    except ProofError:
        return False
    for clause, lower in zip(bracket.case.specification.clauses, bracket.clause_lower, strict=True):
        # Which row was proved is not known here; the worst one counts.
        if not lower > float(enclosure.float32_error(clause.matrix).max()):
            return False
    return True
