"""What a semidefinite relaxation proved clauses with, kept for whoever proves them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from models.operators import Relu
from solvers.bounds.ibp import nonlinear_nodes
from solvers.convex.sdp import SdpDual
from solvers.exact.context import Bounds

__all__ = ["FoundDuals"]

IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class FoundDuals:
    """Multipliers, and which neurons they are of.

    Attributes:
        hinges: For every ReLU in order, the node that it reads, and flat indices of the values
            whose sign was open: the hinges of the relaxation, one node after the other.
        duals: The best of each clause.
    """

    hinges: tuple[tuple[str, IntArray], ...]
    duals: Mapping[int, SdpDual]

    @classmethod
    def of(cls, network: Network, bounds: Bounds, duals: Sequence[SdpDual]) -> FoundDuals | None:
        """Return multipliers with their neurons; None where some are of no ReLU.

        Args:
            network: That was bounded.
            bounds: Of nodes, that the relaxation was given.
            duals: What came of it.
        """
        needed = {node.name for node in network.graph.ancestors(network.graph.output)}
        nodes = [node for node in nonlinear_nodes(network.graph) if node.name in needed]
        if not duals or any(type(node.operator) is not Relu for node in nodes):
            return None
        hinges = []
        for node in nodes:
            lower, upper = (end.ravel() for end in bounds[node.inputs[0]])
            hinges.append((node.inputs[0], np.flatnonzero((lower < 0) & (upper > 0))))
        return cls(tuple(hinges), {dual.clause: dual for dual in duals})
