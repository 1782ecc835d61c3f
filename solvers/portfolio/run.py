"""The state of one decision: what is known, what time is left, what has been done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.bounds import Interval
from solvers.bounds.intermediate import undecided_mask
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.exact import ExactOptions
from solvers.ladder import LadderStep
from solvers.proof.producing.trace import Trace
from solvers.results import Decision, Evidence, SolverReport, Stage, Verdict
from solvers.search.boxes import suits_boxes

__all__ = ["Ladder", "Run", "StageHook"]

StageHook = Callable[[Stage], None]


@dataclass(frozen=True)
class Ladder:
    """Node bounds of the cases that were open when they were computed.

    Attributes:
        step: What a method proved of them.
        brackets: Those cases, in the order of the step.
    """

    step: LadderStep
    brackets: tuple[Bracket, ...]

    def place(self, bracket: Bracket) -> int:
        """Return the position of a case in the step."""
        return next(i for i, other in enumerate(self.brackets) if other is bracket)

    def known(self, wanted: Sequence[Bracket]) -> dict[str, Interval]:
        """Return the bounds of every node for some of the cases."""
        places = {id(bracket): place for place, bracket in enumerate(self.brackets)}
        index = torch.tensor([places[id(bracket)] for bracket in wanted], dtype=torch.long)
        bounds: Mapping[str, Interval] = self.step.intermediate
        return {
            name: interval[index.to(interval.lower.device)] for name, interval in bounds.items()
        }


@dataclass
class Run:
    """One decision on its way.

    Attributes:
        attacked: The network in float32, for attacks.
        network: In float64 with affine operators merged, for everything that proves.
        witness: What judges candidates.
        brackets: One per case.
        budget: Time in all.
        exact: Options of the MILP, with the solvers that were found.
        seed: Of everything that is drawn at random.
        progress: Called after each stage, and now and then with one that is under way.
        ladder: The tightest node bounds so far.
        trace: Takes down what a proof can build on; None where none is wanted.
        stages: What ran.
        reason: Why the last member that gave up did so.
        unbounded: Where infinite bounds begin, if there are any.
        began: On the clock of `time.perf_counter()`.
    """

    attacked: Network
    network: Network
    witness: Witness
    brackets: list[Bracket]
    budget: Budget
    exact: ExactOptions
    seed: int = 0
    progress: StageHook | None = None
    ladder: Ladder | None = None
    trace: Trace | None = None
    stages: list[Stage] = field(default_factory=list)
    reason: str | None = None
    unbounded: str | None = None
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(
        cls,
        network: Network,
        brackets: list[Bracket],
        *,
        device: torch.device,
        budget: Budget,
        seed: int = 0,
        progress: StageHook | None = None,
        trace: Trace | None = None,
    ) -> Run:
        """Prepare a decision about cases that fit the network."""
        wide = network.to(torch.float64, device)
        return cls(
            attacked=network.to(torch.float32, device),
            network=fold_affine(wide),
            witness=Witness(wide, OnnxRuntime(network)),
            brackets=brackets,
            budget=budget,
            exact=ExactOptions(seed=seed),
            seed=seed,
            progress=progress,
            trace=trace,
        )

    @property
    def finished(self) -> bool:
        """Whether the verdict is known or time is up."""
        return self.falsified or not self.open or self.budget.exhausted

    @property
    def falsified(self) -> bool:
        """Whether some case has a counterexample, which decides them all."""
        return any(bracket.counterexample is not None for bracket in self.brackets)

    @property
    def open(self) -> list[Bracket]:
        """Cases without a verdict, less those whose bounds were found to contradict an input."""
        return [b for b in self.brackets if not b.decided and b.contradiction is None]

    @property
    def few_inputs(self) -> bool:
        """Whether every open case is one for input splitting."""
        return all(suits_boxes(self.network, bracket.case) for bracket in self.open)

    @property
    def open_places(self) -> set[int]:
        """Positions of the open cases."""
        open_ = {id(bracket) for bracket in self.open}
        return {place for place, b in enumerate(self.brackets) if id(b) in open_}

    def undecided(self) -> int:
        """Return how many values inside the network an open case leaves undecided, at most."""
        if self.ladder is None or not self.open:
            return 0
        graph, known = self.network.graph, self.ladder.known(self.open)
        masks = [undecided_mask(graph, node, known[node.name]) for node in graph.nodes]
        counts = torch.stack([mask.flatten(1).sum(1) for mask in masks]).sum(0)
        return int(counts.max())

    @property
    def lower(self) -> float:
        """Proved lower bound of the least margin."""
        return min(bracket.lower for bracket in self.brackets)

    @property
    def upper(self) -> float:
        """Least margin of any input tried."""
        return min(bracket.upper for bracket in self.brackets)

    def note(
        self,
        name: str,
        began: float,
        detail: str | None = None,
        solver: SolverReport | None = None,
    ) -> None:
        """Record a stage that began at a time of `time.perf_counter()`, and tell of it."""
        stage = replace(self._stage(name, began, detail), solver=solver)
        self.stages.append(stage)
        if self.progress is not None:
            self.progress(stage)

    def tell(self, name: str, began: float, detail: str) -> None:
        """Tell of a stage that is under way."""
        if self.progress is not None:
            self.progress(self._stage(name, began, detail))

    def _stage(self, name: str, began: float, detail: str | None) -> Stage:
        seconds = time.perf_counter() - began
        return Stage(name, seconds, _finite(self.lower), _finite(self.upper), detail)

    def _why(self) -> str | None:
        """Return what ended the run early, or kept it from getting anywhere."""
        stopped = self.budget.stop_reason
        # With infinite bounds more time would not have helped.
        return self.unbounded or stopped if stopped == "timeout" else stopped or self.unbounded

    def decision(self) -> Decision:
        """Return the answer as it stands."""
        broken = next((b.counterexample for b in self.brackets if b.counterexample), None)
        contradiction = next((b.contradiction for b in self.brackets if b.contradiction), None)
        verdict, evidence, reason = Verdict.UNKNOWN, Evidence.NONE, None
        if broken is not None:
            verdict, evidence = Verdict.FALSIFIED, Evidence.CHECKED
        elif contradiction is None and not self.open:
            verdict, evidence = Verdict.VERIFIED, Evidence.SOLVER
        else:
            reason = contradiction or self._why() or self.reason or "undecided"
        return Decision(
            verdict,
            evidence,
            time.perf_counter() - self.began,
            lower=_finite(self.lower),
            upper=_finite(self.upper),
            counterexample=broken,
            stages=tuple(self.stages),
            reason=reason,
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
