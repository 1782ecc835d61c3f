"""Bounds of hidden values by linear programs, every one of them safe, spread over cores."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.network import Network
from models.operators import LeakyRelu, Operator, PRelu, Relu
from solvers.budget import Budget
from solvers.convex.margins import ProgramOptions
from solvers.convex.program import Program
from solvers.convex.programs import SessionMaker, session_maker
from solvers.exact import EncodedNetwork, encode_network
from solvers.exact.context import Bounds
from solvers.exact.encode import EncodingStoppedError
from solvers.problem import Box

__all__ = ["tighten_by_programs"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_LOG = logging.getLogger(__name__)
_HINGES: frozenset[type[Operator]] = frozenset({LeakyRelu, PRelu, Relu})


def tighten_by_programs(
    network: Network,
    region: Box,
    bounds: Bounds,
    *,
    options: ProgramOptions,
    budget: Budget,
    workers: int = 1,
) -> Bounds:
    """Return bounds at least as tight, by the triangle relaxation of what lies before each value.

    Layer after layer, so that a layer's program has the tightened bounds of those before it. Every
    bound is what multipliers prove, not what the solver says.

    Args:
        network: As for `program_margins`.
        region: Of the network's input shape.
        bounds: Of every node, sound and finite.
        options: Solver and encoding.
        budget: Tightening ends with it; what is done by then counts.
        workers: Threads, each with a program of its own; solvers release the interpreter's lock.

    Returns:
        The bounds of all nodes given; those of undecided hinges' inputs tightened.

    Raises:
        UnsupportedMethodError: An operator is not piecewise linear.
        SolverFailedError: The solver broke down.

    Source: Ehlers 2017; Salman et al. 2019 (LP-LAST and LP-ALL).
    """
    maker = options.maker or session_maker(options.solver)
    tightened = dict(bounds)
    for source in _sources(network):
        lower, upper = tightened[source]
        undecided = np.flatnonzero((lower.ravel() < 0) & (upper.ravel() > 0))
        if not undecided.size:
            continue
        try:
            encoded = encode_network(
                network, region, tightened, options=options.encoding, budget=budget, target=source
            )
        except EncodingStoppedError:
            break
        parts = [part for part in np.array_split(undecided, max(1, workers)) if part.size]
        job = _Job(encoded, maker, budget)
        low, high = lower.ravel().copy(), upper.ravel().copy()
        with ThreadPoolExecutor(max_workers=len(parts)) as pool:
            for found in pool.map(lambda part: list(job.run(part, low, high)), parts):  # noqa: B023
                for at, least, most in found:
                    low[at], high[at] = least, most
        tightened[source] = low.reshape(lower.shape), high.reshape(upper.shape)
        left = int(((low < 0) & (high > 0)).sum())
        _LOG.info("%s: %d undecided values, %d are left", source, undecided.size, left)
    return tightened


def _sources(network: Network) -> Sequence[str]:
    """Return the nodes that hinges read, in topological order, each once."""
    graph = network.graph
    found = {
        node.inputs[0] for node in graph.ancestors(graph.output) if type(node.operator) in _HINGES
    }
    return [node.name for node in graph.nodes if node.name in found]


@dataclass(frozen=True, eq=False)
class _Job:
    """The programs of one node."""

    encoded: EncodedNetwork
    maker: SessionMaker
    budget: Budget

    def run(
        self, part: IndexArray, low: FloatArray, high: FloatArray
    ) -> Iterator[tuple[int, float, float]]:
        """Yield position, lower and upper bound of some values, until time is up."""
        program = Program(self.encoded.model, self.maker)
        for at in part:
            if self.budget.exhausted:
                return
            least, most = float(low[at]), float(high[at])
            # the side nearer to 0 first: if that decides the value, the other does not matter
            for sign in (1.0, -1.0) if -least < most else (-1.0, 1.0):
                if least >= 0 or most <= 0:
                    break
                row = sign * self.encoded.output.matrix[[int(at)]].toarray()[0]
                offset = sign * float(self.encoded.output.offset[at])
                bound = program.minimum(row, offset, self.budget).lower
                if sign > 0:
                    least = min(max(least, bound), most)
                else:
                    most = max(min(most, -bound), least)
            yield int(at), least, most
