"""Tighten the bounds of unstable neurons by linear programs, layer after layer."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from models.operators import LeakyRelu, Operator, PRelu, Relu
from solvers.budget import Budget
from solvers.exact.affine import IndexArray
from solvers.exact.context import Bounds
from solvers.exact.encode import EncodedNetwork, EncodingStoppedError, encode_network
from solvers.exact.seam import MilpSolver, Monitor, SolveRequest, SolveStatus
from solvers.problem import Box

if TYPE_CHECKING:
    from solvers.exact.options import ExactOptions

__all__ = ["tighten_bounds"]

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)
_HINGES: frozenset[type[Operator]] = frozenset({Relu, LeakyRelu, PRelu})


def tighten_bounds(
    network: Network,
    region: Box,
    bounds: Bounds,
    *,
    options: ExactOptions,
    budget: Budget,
) -> Bounds:
    """Return bounds at least as tight, from the linear relaxation of what lies before each neuron.

    Args:
        network: As for `exact_margin`.
        region: Of the network's input shape.
        bounds: By node name, of the node's shape.
        options: Solver, tolerances and encoding.
        budget: Tightening ends with it; what is done by then counts.

    Returns:
        The bounds of all nodes given, those of unstable hinges' inputs tightened.

    Raises:
        SolverFailedError: The solver gave no usable answer.
        UnsupportedMethodError: An operator has no encoding.

    Source: Ehlers 2017; Tjeng et al. 2019 (progressive bound tightening).
    """
    solver = options.suite.choose_linear(options.solver)
    tightened = dict(bounds)
    for node in network.graph.ancestors(network.graph.output):
        if type(node.operator) not in _HINGES or budget.exhausted:
            continue
        source = node.inputs[0]
        lower, upper = tightened[source]
        unstable = np.flatnonzero((lower.ravel() < 0) & (upper.ravel() > 0))
        try:
            encoded = encode_network(
                network,
                region,
                tightened,
                options=options.encoding,
                budget=budget,
                target=source,
            )
        except EncodingStoppedError:
            break
        job = _Job(encoded, solver, options, budget)
        tightened[source] = job.tighten(lower, upper, unstable)
    return tightened


class _Job:
    """The linear programs of one node."""

    def __init__(
        self,
        encoded: EncodedNetwork,
        solver: MilpSolver,
        options: ExactOptions,
        budget: Budget,
    ) -> None:
        self._model = encoded.model.relaxed()
        self._value = encoded.output
        self._solver = solver
        self._options = options
        self._budget = budget

    def tighten(
        self, lower: FloatArray, upper: FloatArray, unstable: IndexArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of the node with those of unstable entries tightened."""
        low, high = lower.ravel().copy(), upper.ravel().copy()
        for at in unstable:
            if self._budget.exhausted:
                break
            # the side nearer to 0 first: if it becomes stable, the other side does not matter
            signs = (1.0, -1.0) if -low[at] < high[at] else (-1.0, 1.0)
            for sign in signs:
                if low[at] >= 0 or high[at] <= 0:
                    break
                bound = self._minimum(int(at), sign)
                if sign > 0:
                    low[at] = min(max(low[at], bound), high[at])
                else:
                    high[at] = max(min(high[at], -bound), low[at])
        left = int(((low < 0) & (high > 0)).sum())
        _LOG.info("tightened %d unstable neurons, %d are left", unstable.size, left)
        return low.reshape(lower.shape), high.reshape(upper.shape)

    def _minimum(self, at: int, sign: float) -> float:
        """Return a lower bound of `sign` times one entry."""
        row = sign * self._value.matrix[[at]].toarray()[0]
        model = self._model.minimising(row, sign * float(self._value.offset[at]))
        safety = self._options.tolerances.safety(model)
        if not model.row_count:
            return model.minimum_over_boxes() - safety
        request = SolveRequest(
            self._options.tolerances,
            np.zeros(0, dtype=np.int64),
            threads=self._options.threads,
            seed=self._options.seed,
        )
        monitor = Monitor(self._budget, on_incumbent=lambda *_: False, on_bound=lambda *_: None)
        outcome = self._solver.solve(model, request, self._budget, monitor)
        finished = outcome.status is SolveStatus.OPTIMAL
        return outcome.objective_bound - safety if finished else -math.inf
