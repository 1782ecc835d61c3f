"""One decision: attack, bounds from cheap to tight, exact search, until the answer is known."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from models.errors import InvalidInputError
from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions, Interval
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget, never_cancelled
from solvers.devices import resolve_device
from solvers.errors import MemoryLimitError, SolverFailedError
from solvers.exact import ExactMode, ExactOptions, exact_margin
from solvers.ladder import CaseBatch, LadderStep
from solvers.logits import require_same_meaning
from solvers.methods import Method
from solvers.problem import Problem
from solvers.results import Decision, Evidence, SolverReport, Stage, Verdict
from solvers.vnnlib import fit_problem

__all__ = ["DecideOptions", "decide"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecideOptions:
    """How a decision is made.

    Attributes:
        timeout_seconds: For all of it.
        device: `cpu`, `cuda` or `auto`.
        seed: Of the attack's random starts.

    Raises:
        InvalidInputError: The time is not positive.
    """

    timeout_seconds: float = 60.0
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.timeout_seconds > 0 or math.isnan(self.timeout_seconds):
            raise InvalidInputError(
                f"the timeout is {self.timeout_seconds} seconds; give a number above 0"
            )


def decide(
    network: Network,
    problem: Problem,
    options: DecideOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Callable[[Stage], None] | None = None,
) -> Decision:
    """Decide whether a problem has a counterexample.

    Args:
        network: Imported from ONNX.
        problem: Cases over the network's inputs and outputs; a flat region is reshaped.
        options: Time, device, seed.
        cancelled: Asked often; True ends the work with an `unknown`.
        progress: Called after each stage.

    Raises:
        InvalidInputError: The problem does not fit the network, or an option is out of range.
        SpecificationError: Import dropped a Softmax, and the problem speaks of what it gave.
    """
    chosen = DecideOptions() if options is None else options
    run = _Run(network, problem, chosen, cancelled, progress)
    for stage in (run.attack, run.crown, run.alpha_crown, run.attack_harder, run.exact):
        if run.finished:
            break
        stage()
    return run.decision()


class _Run:
    """The state of one decision."""

    def __init__(
        self,
        network: Network,
        problem: Problem,
        options: DecideOptions,
        cancelled: Callable[[], bool],
        progress: Callable[[Stage], None] | None,
    ) -> None:
        self._began = time.perf_counter()
        self._budget = Budget.of_seconds(options.timeout_seconds, cancelled)
        self._options, self._progress = options, progress
        device = resolve_device(options.device)
        fitted = fit_problem(problem, network.input_shape, network.output_size)
        require_same_meaning(network, fitted)
        self._attacked = network.to(torch.float32, device)
        self._network = fold_affine(network.to(torch.float64, device))
        self._witness = Witness(network.to(torch.float64, device), OnnxRuntime(network))
        self._brackets = [Bracket(case) for case in fitted.cases]
        self._stages: list[Stage] = []
        self._ladder: LadderStep | None = None
        self._laddered: list[Bracket] = []
        self._reason: str | None = None
        self._unbounded: str | None = None
        self._exact_options = ExactOptions(mode=ExactMode.DECIDE, seed=options.seed)

    @property
    def finished(self) -> bool:
        """Whether the verdict is known or time is up."""
        return self._falsified or not self._open or self._budget.exhausted

    @property
    def _falsified(self) -> bool:
        return any(bracket.counterexample is not None for bracket in self._brackets)

    @property
    def _open(self) -> list[Bracket]:
        return [bracket for bracket in self._brackets if not bracket.decided]

    @property
    def _lower(self) -> float:
        return min(bracket.lower for bracket in self._brackets)

    @property
    def _upper(self) -> float:
        return min(bracket.upper for bracket in self._brackets)

    def attack(self) -> None:
        """Look for a counterexample for a short while."""
        options = AttackOptions(rounds=2, stop_at_first=True, seed=self._options.seed)
        self._attack("attack", options, share=0.1)

    def attack_harder(self) -> None:
        """Look again, with other starts and more time, where bounds left cases open."""
        options = AttackOptions(rounds=5, stop_at_first=True, seed=self._options.seed + 1)
        self._attack("attack-again", options, share=0.2)

    def crown(self) -> None:
        """Bound every open case by CROWN."""
        self._bound(Method.CROWN, BoundOptions(), self._budget.share(0.5))

    def alpha_crown(self) -> None:
        """Optimise slopes: first of the margins alone, then of intermediate bounds too."""
        cheap = BoundOptions(stop_when_positive=True, optimise_intermediate=False)
        self._bound(Method.ALPHA_CROWN, cheap, self._budget.share(0.15))
        if not self.finished:
            full = replace(cheap, optimise_intermediate=True, iterations=30)
            self._bound(Method.ALPHA_CROWN, full, self._budget.share(0.25))

    def exact(self) -> None:
        """Search the open cases, the least certain first, each with an equal share of the time."""
        waiting = sorted(self._open, key=lambda bracket: bracket.lower)
        for position, bracket in enumerate(waiting):
            if self._falsified or self._budget.exhausted:
                break
            self._search(bracket, self._budget.share(1.0 / (len(waiting) - position)))

    def decision(self) -> Decision:
        """Return the answer as it stands."""
        seconds = time.perf_counter() - self._began
        broken = next((b.counterexample for b in self._brackets if b.counterexample), None)
        contradiction = next((b.contradiction for b in self._brackets if b.contradiction), None)
        verdict, evidence, reason = Verdict.UNKNOWN, Evidence.NONE, None
        if broken is not None:
            verdict, evidence = Verdict.FALSIFIED, Evidence.CHECKED
        elif contradiction is None and not self._open:
            verdict, evidence = Verdict.VERIFIED, Evidence.SOLVER
        else:
            stopped = self._budget.stop_reason or self._unbounded
            reason = contradiction or stopped or self._reason or "undecided"
        return Decision(
            verdict,
            evidence,
            seconds,
            lower=_finite(self._lower),
            upper=_finite(self._upper),
            counterexample=broken,
            stages=tuple(self._stages),
            reason=reason,
        )

    def _attack(self, name: str, options: AttackOptions, *, share: float) -> None:
        began = time.perf_counter()
        tried = self._open
        cases = [bracket.case for bracket in tried]
        results = attack(self._attacked, cases, options, budget=self._budget.share(share))
        for bracket, result in zip(tried, results, strict=True):
            bracket.offer(self._witness, result.candidate)
        self._finish(name, began)

    def _bound(self, method: Method, options: BoundOptions, budget: Budget) -> None:
        began = time.perf_counter()
        tried = self._open
        batch = CaseBatch(self._network, [bracket.case for bracket in tried])
        known = self._known_for(tried)
        try:
            step = batch.bound(method, options=options, known=known, budget=budget)
        except MemoryLimitError as error:
            self._reason = "memory"
            self._finish(method.value, began, str(error))
            return
        for position, (bracket, lowers) in enumerate(zip(tried, step.clause_lower, strict=True)):
            bracket.prove(lowers)
            if not math.isfinite(bracket.lower):
                self._unbounded = self._unbounded or step.unbounded_reason(position)
        self._ladder, self._laddered = step, tried
        self._finish(method.value, began)

    def _known_for(self, tried: Sequence[Bracket]) -> dict[str, Interval] | None:
        """Return the node bounds of the last step for those of its cases that are still open."""
        if self._ladder is None:
            return None
        places = {id(bracket): place for place, bracket in enumerate(self._laddered)}
        index = torch.tensor([places[id(bracket)] for bracket in tried], dtype=torch.long)
        known = self._ladder.intermediate.items()
        return {name: interval[index.to(interval.lower.device)] for name, interval in known}

    def _search(self, bracket: Bracket, budget: Budget) -> None:
        if self._ladder is None:
            return
        began = time.perf_counter()
        place = next(i for i, other in enumerate(self._laddered) if other is bracket)
        infinite = self._ladder.unbounded_reason(place)
        if infinite is not None:
            self._reason = infinite
            self._finish("exact", began, f"skipped: {infinite}")
            return
        try:
            result = exact_margin(
                self._network,
                bracket.case,
                self._ladder.node_bounds(place),
                options=self._exact_options,
                budget=budget,
                clause_lower=bracket.clause_lower,
                incumbent=bracket.upper,
            )
        except SolverFailedError as error:
            # What a solver said contradicts what is known: believe neither, decide nothing.
            _LOG.exception("exact search failed")
            self._reason = str(error)
            self._finish("exact", began, str(error))
            return
        bracket.prove(result.clause_lower)
        bracket.offer(self._witness, result.candidate)
        self._reason = result.why_unknown or self._reason
        detail = f"{result.status}, {result.nodes} nodes"
        self._finish("exact", began, detail, result.reports[-1] if result.reports else None)

    def _finish(
        self,
        name: str,
        began: float,
        detail: str | None = None,
        solver: SolverReport | None = None,
    ) -> None:
        stage = Stage(
            name,
            time.perf_counter() - began,
            _finite(self._lower),
            _finite(self._upper),
            detail,
            solver,
        )
        self._stages.append(stage)
        if self._progress is not None:
            self._progress(stage)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
