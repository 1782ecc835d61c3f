"""Bounds of whole specifications: cases in, one lower bound per clause out.

The engine bounds rows of margins over a batch of regions. Here a batch of cases becomes such rows,
and row bounds become clause bounds: a clause, an AND of rows, fails everywhere in the region as
soon as one of its rows does, so its margin is at least the greatest row bound.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.network import Network
from solvers.bounds import (
    BoundOptions,
    Interval,
    Margins,
    Scene,
    bound_margins,
    boxes_to_interval,
    regions_to_balls,
    unbounded_nodes,
)
from solvers.bounds.windows import has_windows, window_margins
from solvers.budget import Budget
from solvers.methods import Method
from solvers.problem import Case

__all__ = ["CaseBatch", "LadderStep"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LadderStep:
    """What one method proved of a batch of cases.

    Attributes:
        clause_lower: Per case, a lower bound of every clause's margin, shape `(clauses,)`.
        intermediate: Bounds of every node over every case's region.
        network: What was bounded.
        seconds: Wall time of the whole batch.
    """

    clause_lower: tuple[FloatArray, ...]
    intermediate: Mapping[str, Interval]
    network: Network
    seconds: float

    def lower(self, case: int) -> float:
        """Return the lower bound of a case's margin: that of its weakest clause."""
        return float(self.clause_lower[case].min())

    def unbounded_reason(self, case: int) -> str | None:
        """Say where infinite bounds begin, if a case has them: a logarithm that reaches 0, say."""
        nodes = unbounded_nodes(self.network, self.intermediate, case)
        return nodes[0].reason if nodes else None

    def node_bounds(self, case: int) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Return the bounds of every node for one case, float64 numpy of the node's shape."""
        return {
            name: (
                interval.lower[case].detach().cpu().numpy().astype(np.float64),
                interval.upper[case].detach().cpu().numpy().astype(np.float64),
            )
            for name, interval in self.intermediate.items()
        }


class CaseBatch:
    """Cases over one network, laid out for the bound engine.

    Args:
        network: Of the dtype and on the device to compute with.
        cases: Regions of the network's input shape, of one norm; specifications may differ.
        watch: Ends backward passes in the middle once it is spent; None where each is finished.

    Raises:
        BoundsError: Norms differ.
    """

    def __init__(
        self, network: Network, cases: Sequence[Case], *, watch: Budget | None = None
    ) -> None:
        self._cases = tuple(cases)
        regions = [case.region for case in self._cases]
        self._scene = Scene(
            network,
            boxes_to_interval(regions, network.dtype, network.device),
            regions_to_balls(regions, network.dtype, network.device),
            watch=watch,
        )
        self._margins = _margins(network, self._cases)

    def bound(
        self,
        method: Method,
        *,
        options: BoundOptions,
        known: Mapping[str, Interval] | None = None,
        budget: Budget | None = None,
    ) -> LadderStep:
        """Bound every clause of every case by one method.

        Args:
            method: Any of `BOUND_METHODS`.
            options: Work and memory limits.
            known: Bounds of nodes from an earlier step over the same cases.
            budget: Time limit of methods that iterate.

        Raises:
            StoppedError: The batch is watched, and time is up.
        """
        began = time.perf_counter()
        with torch.set_grad_enabled(method is Method.ALPHA_CROWN):
            result = bound_margins(
                self._scene, self._margins, method, options=options, known=known, budget=budget
            )
        rows = result.lower.detach().cpu().numpy().astype(np.float64)
        lowers = tuple(
            _clause_lower(case, row) for case, row in zip(self._cases, rows, strict=True)
        )
        seconds = time.perf_counter() - began
        return LadderStep(lowers, result.intermediate, self._scene.network, seconds)

    @property
    def has_windows(self) -> bool:
        """Whether neurons of the first layer see few inputs, so that `by_windows` has a say."""
        return has_windows(self._scene)

    def by_windows(
        self, known: Mapping[str, Interval], clause_lower: FloatArray, budget: Budget
    ) -> FloatArray:
        """Bound the open clauses of the only case with neurons of a window bounded together.

        Args:
            known: Sound bounds of every node over its region.
            clause_lower: What is proved of every clause, shape `(clauses,)`.
            budget: Time limit.

        Returns:
            The same for what this proves; −∞ where nothing is open.

        Raises:
            StoppedError: The batch is watched, and time is up.
        """
        (case,) = self._cases
        lengths = [len(clause.offset) for clause in case.specification.clauses]
        wanted = torch.from_numpy(np.repeat(clause_lower <= 0, lengths)).to(
            self._scene.network.device
        )
        rows = window_margins(self._scene, self._margins, known, budget, wanted)
        return _clause_lower(case, rows.cpu().numpy().astype(np.float64))


def _margins(network: Network, cases: Sequence[Case]) -> Margins:
    """Stack the rows of every case, repeating a case's first row where it has fewer."""
    matrices = [np.concatenate([c.matrix for c in case.specification.clauses]) for case in cases]
    offsets = [np.concatenate([c.offset for c in case.specification.clauses]) for case in cases]
    most = max(len(offset) for offset in offsets)
    index = [np.r_[np.arange(len(o)), np.zeros(most - len(o), dtype=int)] for o in offsets]
    matrix = np.stack([m[i] for m, i in zip(matrices, index, strict=True)])
    offset = np.stack([o[i] for o, i in zip(offsets, index, strict=True)])
    return Margins(
        torch.from_numpy(matrix).to(dtype=network.dtype, device=network.device),
        torch.from_numpy(offset).to(dtype=network.dtype, device=network.device),
    )


def _clause_lower(case: Case, rows: FloatArray) -> FloatArray:
    """Return the best row bound of every clause."""
    lengths = [len(clause.offset) for clause in case.specification.clauses]
    starts = np.cumsum([0, *lengths[:-1]])
    return np.asarray(np.maximum.reduceat(rows[: sum(lengths)], starts), dtype=np.float64)
