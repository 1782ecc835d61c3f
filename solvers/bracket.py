"""What is known of one case: proved from below, reached from above, confirmed or not."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from models.network import Network
from solvers.float32_region import runnable_box
from solvers.problem import Case
from solvers.replay import Runtime, confirm
from solvers.results import Counterexample, Evidence, Verdict

__all__ = ["Bracket", "Witness"]

_LOG = logging.getLogger(__name__)

_CONTRADICTION = 1e-5
"""How far, relative to 1 + the margin's size, a float32 run may fall below a float64 bound."""


@dataclass(frozen=True)
class Witness:
    """What judges candidates.

    Attributes:
        network: In float64 on any device; gives margins comparable with bounds.
        runtime: The independent runtime, in the float32 that is deployed.
    """

    network: Network
    runtime: Runtime

    def margin(self, case: Case, x: NDArray[np.floating]) -> float:
        """Return the margin of one input in float64."""
        point = torch.from_numpy(x.astype(np.float64)).to(self.network.device)
        with torch.no_grad():
            y = self.network(point.unsqueeze(0)).reshape(-1).cpu().numpy()
        return float(case.specification.margin(y))


@dataclass
class Bracket:
    """The state of knowledge of one case, which only ever improves.

    Attributes:
        case: Region and specification.
        clause_lower: Proved lower bound per clause, shape `(clauses,)`.
        upper: Least margin of any input tried.
        counterexample: Confirmed by the runtime, or None.
        contradiction: Set when an input was found below a proved bound: nothing proved about this
            case may then be believed.
    """

    case: Case
    clause_lower: NDArray[np.float64] = field(init=False)
    upper: float = math.inf
    counterexample: Counterexample | None = None
    contradiction: str | None = None

    def __post_init__(self) -> None:
        self.clause_lower = np.full(len(self.case.specification.clauses), -np.inf)

    @property
    def lower(self) -> float:
        """Proved lower bound of the margin."""
        return float(self.clause_lower.min())

    @property
    def proved(self) -> bool:
        """Whether every clause is proved to fail on the whole region."""
        return self.lower > 0.0 and self.contradiction is None

    @property
    def decided(self) -> bool:
        """Whether there is a verdict."""
        return self.counterexample is not None or self.proved

    @property
    def verdict(self) -> tuple[Verdict, Evidence]:
        """The verdict, and how far to trust it. A confirmed counterexample outranks all else."""
        if self.counterexample is not None:
            return Verdict.FALSIFIED, Evidence.CHECKED
        if self.proved:
            return Verdict.VERIFIED, Evidence.SOLVER
        return Verdict.UNKNOWN, Evidence.NONE

    def prove(self, clause_lower: NDArray[np.float64]) -> None:
        """Take over lower bounds, shape `(clauses,)`; not a number proves nothing."""
        usable = np.where(np.isnan(clause_lower), -np.inf, clause_lower)
        self.clause_lower = np.maximum(self.clause_lower, usable)
        self._cross_check()

    def offer(self, witness: Witness, candidate: NDArray[np.floating] | None) -> None:
        """Try an input: rounded into the region, it lowers `upper` and may be a counterexample."""
        if candidate is None:
            return
        region = self.case.region
        runnable = runnable_box(region)
        inside = runnable.nearest(candidate.reshape(region.shape))
        if not runnable.contains(inside):
            return  # a ball so small that float32 has no input in it
        self.upper = min(self.upper, witness.margin(self.case, runnable.meant(inside)))
        if self.counterexample is None:
            found = confirm(witness.runtime, region, self.case.specification, inside)
            if found is not None:
                self.counterexample = found
                self.upper = min(self.upper, float(self.case.specification.margin(found.y)))
        self._cross_check()

    def _cross_check(self) -> None:
        slack = _CONTRADICTION * (1.0 + abs(self.upper))
        if math.isfinite(self.upper) and self.lower > self.upper + slack:
            self.contradiction = (
                f"the proved lower bound {self.lower:g} lies above a margin that was reached, "
                f"{self.upper:g}; please report this network and specification"
            )
            _LOG.error("bounds contradict a replayed input: %s", self.contradiction)
