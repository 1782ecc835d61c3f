"""One decision: members of the portfolio take turns until the answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from models.network import Network
from solvers.bracket import Bracket
from solvers.budget import Budget, never_cancelled
from solvers.devices import resolve_device
from solvers.logits import require_same_meaning
from solvers.portfolio.deployment import survives_float32
from solvers.portfolio.options import DecideOptions
from solvers.portfolio.plan import Step, steps
from solvers.portfolio.run import Run, StageHook
from solvers.problem import Problem
from solvers.proof.producing.trace import Trace
from solvers.results import Decision, Verdict
from solvers.vnnlib import fit_problem

__all__ = ["decide", "settle"]


def decide(
    network: Network,
    problem: Problem,
    options: DecideOptions | None = None,
    *,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: StageHook | None = None,
    trace: Trace | None = None,
) -> Decision:
    """Decide whether a problem has a counterexample.

    Args:
        network: Imported from ONNX.
        problem: Cases over the network's inputs and outputs; a flat region is reshaped.
        options: Time, device, seed.
        cancelled: Asked often; True ends the work with an `unknown`.
        progress: Called after each stage, and now and then with one that is under way.
        trace: Takes down what a proof of the verdict can build on; whether it survives float32 is
            then left to the proof.

    Raises:
        InvalidInputError: The problem does not fit the network, or an option is out of range.
        SpecificationError: Import dropped a Softmax, and the problem speaks of what it gave.
    """
    chosen = DecideOptions() if options is None else options
    budget = Budget.of_seconds(chosen.timeout_seconds, cancelled)
    device = resolve_device(chosen.device)
    fitted = fit_problem(problem, network.input_shape, network.output_size)
    require_same_meaning(network, fitted)
    run = Run.of(
        network,
        [Bracket(case) for case in fitted.cases],
        device=device,
        budget=budget,
        seed=chosen.seed,
        progress=progress,
        trace=trace,
    )
    settle(run, steps(run))
    decision = run.decision()
    if decision.verdict is not Verdict.VERIFIED:
        return decision
    if trace is not None:
        # A proof comes with the checker's own word on float32, which would make this one idle.
        trace.assess = partial(survives_float32, network, run)
        return decision
    return replace(decision, deployment_sound=survives_float32(network, run))


def settle(run: Run, plan: Iterable[Step]) -> None:
    """Let members take turns until the run is finished or nothing is left to try.

    Args:
        run: Takes over what they find.
        plan: What runs when; asked for the next step once the one before has ended.
    """
    for step in plan:
        if run.finished:
            return
        step.member(run, run.budget.share(step.share))
        if run.finished:
            return
