"""Tighten bounds where the margin can still be at most a cutoff.

Whoever looks for a margin below a known value need not bound neurons over the whole region: the
inputs that can reach it fill a small part. So the linear relaxation of the whole network gets one
more row, clause margin ≤ cutoff, and each undecided neuron is bounded over what is left. Bounds
found so hold only there: what is proved with them is min(bound, cutoff).

Sources: Belotti et al. 2009 (bound tightening by an objective cutoff); Kotha et al. 2023 (output
constraints tighten the bounds of hidden neurons).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.network import Network
from solvers.budget import Budget
from solvers.exact.affine import Affine
from solvers.exact.context import Bounds, Splits
from solvers.exact.encode import EncodedNetwork, encode_network
from solvers.exact.highs_simplex import Simplex
from solvers.exact.model import MilpModel, Rows
from solvers.problem import Case, Clause

if TYPE_CHECKING:
    from solvers.exact.options import ExactOptions

__all__ = ["Focus", "focus_rounds", "influences", "with_row"]

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)
_ROUNDS = 6
_WORTHWHILE = 0.1
"""A round that decides a smaller share of the undecided neurons, and closes a smaller share of
what is left between relaxation and cutoff, is the last one."""
_OUTWARDS = 1e-9
"""Relative to 1 + size: how far cutoff and bounds are moved outwards against rounding."""


@dataclass(frozen=True, eq=False)
class Focus:
    """Bounds where a clause's margin is at most a cutoff.

    Attributes:
        bounds: Of every node, there.
        cutoff: That cutoff.
        empty: Whether the margin is proved to be above the cutoff everywhere.
        last: Whether another round is not worth its time.
        seconds: That all rounds took so far.
    """

    bounds: Bounds
    cutoff: float
    empty: bool
    last: bool
    seconds: float


@dataclass(frozen=True)
class _Neuron:
    """One undecided value: its node, its flat position, its weight, and its two columns."""

    source: str
    at: int
    influence: float
    positive: int
    negative: int


def focus_rounds(
    network: Network,
    case: Case,
    bounds: Bounds,
    *,
    clause: Clause,
    cutoff: Callable[[], float],
    options: ExactOptions,
    budget: Budget,
    splits: Splits | None = None,
) -> Iterator[Focus]:
    """Tighten the bounds of undecided neurons for the search of margins up to a cutoff.

    Each round builds the relaxation anew from the bounds of the one before.

    Args:
        network: As for `exact_margin`.
        case: Its region counts.
        bounds: By node name, of the node's shape, sound.
        clause: Whose margin is meant.
        cutoff: Returns the value above which margins do not matter; it may fall between rounds.
        options: Encoding, threads, seed, and the share of the time.
        budget: Of the clause; rounds end with a share of it, and what is done by then counts.
        splits: As for `exact_margin`.

    Yields:
        What is known after each round, until a round was not worth its time or nothing is left.

    Raises:
        SolverFailedError: HiGHS stopped with an error.
        UnsupportedMethodError: An operator has no encoding, or the program is too large.
    """
    relaxed = replace(options.encoding, relaxed=True)
    tightened, root, seconds = dict(bounds), -np.inf, 0.0
    allowed = options.tightening_share * budget.remaining_seconds
    for number in range(_ROUNDS):
        began, limit = time.monotonic(), cutoff()
        share = budget.at_most(max(0.0, allowed - seconds))
        encoded = encode_network(
            network, case.region, tightened, options=relaxed, budget=budget, splits=splits
        )
        model = with_row(encoded.clause_model(clause).relaxed(), limit)
        job = _Round(encoded, model, options, share)
        before, outcome = root, job.run(tightened, limit)
        root = outcome.relaxation
        seconds += time.monotonic() - began
        closed = (root - before) / max(limit - before, 1e-12) if np.isfinite(before) else 1.0
        slow = outcome.decided < _WORTHWHILE * outcome.neurons and closed < _WORTHWHILE
        _LOG.info("round %d below %g: %s", number, limit, outcome)
        done = outcome.decided == outcome.neurons or number == _ROUNDS - 1
        last = slow or done or share.exhausted
        yield Focus(dict(tightened), limit, outcome.empty, last, seconds)
        if last or outcome.empty:
            return


def with_row(model: MilpModel, cutoff: float) -> MilpModel:
    """Return the program with the row objective ≤ cutoff."""
    row = sp.csr_array(model.objective[None])
    limit = cutoff - model.offset
    limit += _OUTWARDS * (1.0 + abs(limit) + float(np.abs(model.objective) @ _reach(model)))
    matrix = sp.vstack([model.rows.matrix, row], format="csr")
    rows = Rows(matrix, np.append(model.rows.lower, -np.inf), np.append(model.rows.upper, limit))
    return replace(model, rows=rows)


def _reach(model: MilpModel) -> FloatArray:
    return np.maximum(np.abs(model.column_lower), np.abs(model.column_upper))


def influences(
    encoded: EncodedNetwork, bounds: Bounds, values: FloatArray, duals: FloatArray
) -> list[_Neuron]:
    """Return the undecided neurons, the most influential ones first.

    What a neuron can cost the relaxation is the multiplier of its pre-activation, the counterpart
    of a coefficient in a backward pass, times the largest gap of its triangle. Neurons whose
    triangle is in use at the relaxed optimum go first.

    Args:
        encoded: With undecided hinges relaxed.
        bounds: Of the hinges' inputs.
        values: The relaxed optimum, shape `(columns,)`.
        duals: Multipliers of the rows there; those of added rows, at the end, do not matter.
    """
    neurons = []
    for hinge in encoded.hinges:
        if hinge.node not in encoded.sources:
            continue
        source = encoded.sources[hinge.node]
        lower, upper = (side.ravel()[hinge.at] for side in bounds[source])
        slack = -lower * upper / np.maximum(upper - lower, 1e-300)
        used = np.minimum(values[hinge.positive], values[hinge.negative])
        weight = np.abs(duals[hinge.ties]) * slack + np.abs(used)
        facts = zip(hinge.at, weight, hinge.positive, hinge.negative, strict=True)
        neurons += [_Neuron(source, int(i), float(w), int(p), int(n)) for i, w, p, n in facts]
    return sorted(neurons, key=lambda neuron: -neuron.influence)


@dataclass(frozen=True)
class _Outcome:
    """What one round brought: the relaxation before it, and how many neurons it decided."""

    relaxation: float = -np.inf
    neurons: int = 0
    decided: int = 0
    empty: bool = False


class _Round:
    """The linear programs of one round, all over the same rows."""

    def __init__(
        self, encoded: EncodedNetwork, model: MilpModel, options: ExactOptions, budget: Budget
    ) -> None:
        self._encoded, self._model = encoded, model
        self._options, self._budget = options, budget

    def run(self, bounds: dict[str, tuple[FloatArray, FloatArray]], cutoff: float) -> _Outcome:
        """Tighten `bounds` in place."""
        answer = Simplex(self._model, seed=self._options.seed).minimise(self._budget)
        if answer.bound > cutoff:
            return _Outcome(answer.bound, empty=True)
        if answer.values is None or answer.duals is None:
            return _Outcome()
        neurons = influences(self._encoded, bounds, answer.values, answer.duals)
        decided = self.tighten(neurons, bounds)
        if decided is None:
            return _Outcome(answer.bound, len(neurons), empty=True)
        return _Outcome(answer.bound, len(neurons), decided)

    def tighten(
        self, neurons: list[_Neuron], bounds: dict[str, tuple[FloatArray, FloatArray]]
    ) -> int | None:
        """Tighten `bounds` in place; return how many were decided, None if no point is left."""
        sides = {
            name: (bounds[name][0].copy(), bounds[name][1].copy())
            for name in {neuron.source for neuron in neurons}
        }
        # each thread has a session and every so many-th neuron; HiGHS solves without the lock
        workers = max(1, min(self._options.threads, len(neurons)))
        parts = [neurons[first::workers] for first in range(workers)]
        if workers == 1:
            empty = self._run(neurons, sides)
        else:
            with ThreadPoolExecutor(workers) as pool:
                empty = any(list(pool.map(lambda part: self._run(part, sides), parts)))
        bounds.update(sides)
        if empty:
            return None
        return sum(
            bool(sides[n.source][0].flat[n.at] >= 0 or sides[n.source][1].flat[n.at] <= 0)
            for n in neurons
        )

    def _run(
        self, neurons: list[_Neuron], sides: Mapping[str, tuple[FloatArray, FloatArray]]
    ) -> bool:
        """Tighten some neurons in place; return whether no point is left."""
        simplex = Simplex(self._model, seed=self._options.seed)
        for neuron in neurons:
            low, high = (side.reshape(-1) for side in sides[neuron.source])
            value, at = self._encoded.values[neuron.source], neuron.at
            # the side nearer to 0 first: if it decides, the other side does not matter
            for sign in (1.0, -1.0) if -low[at] < high[at] else (-1.0, 1.0):
                if low[at] >= 0 or high[at] <= 0 or self._budget.exhausted:
                    break
                bound = self._minimum(simplex, value, at, sign)
                if bound == np.inf:
                    return True
                if sign > 0:
                    low[at] = min(max(low[at], bound), high[at])
                else:
                    high[at] = max(min(high[at], -bound), low[at])
            # what was found helps those that come after it: z = p − n, with one of the two 0
            columns = np.array([neuron.positive, neuron.negative])
            ends = np.maximum([high[at], -low[at]], 0.0)
            simplex.set_boxes(columns, np.zeros(2), np.minimum(simplex.upper[columns], ends))
        return False

    def _minimum(self, simplex: Simplex, value: Affine, at: int, sign: float) -> float:
        """Return a lower bound of `sign` times one entry; ∞ where there is no point."""
        row = sign * value.matrix[[at]].toarray()[0]
        model = self._model.minimising(row, sign * float(value.offset[at]))
        simplex.set_objective(model.objective, model.offset)
        return simplex.minimise(self._budget).bound
