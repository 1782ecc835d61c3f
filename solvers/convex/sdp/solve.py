"""One program, one solver: multipliers found, polished, and turned into a proved bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from solvers.budget import Budget
from solvers.convex.sdp.cone import ConeRequest, build_cone_program
from solvers.convex.sdp.first_order import FirstOrder, FirstOrderSettings
from solvers.convex.sdp.interior import InteriorPoint, InteriorSettings
from solvers.convex.sdp.options import SdpOptions, SdpSolver, SolverOutcome
from solvers.convex.sdp.program import Program
from solvers.convex.sdp.safe import Multipliers, safe_bound

__all__ = ["ascend", "interior_bytes", "interior_seconds", "needed_bytes"]

StepHook = Callable[[float, int], None]

_MANY_INPUTS = 100
"""From here on inputs are eliminated, and products that couple two of them left out."""
_FLOAT = 8
_CONE_SHARE = 0.7
_FLOPS = 8e9
_CERTIFYING = 5e-10
"""Seconds per cube of the size that factorising S takes."""


def ascend(
    program: Program,
    solver: SdpSolver,
    options: SdpOptions,
    *,
    budget: Budget,
    on_step: StepHook,
) -> SolverOutcome:
    """Look for multipliers and return what they prove.

    Args:
        program: With its objective.
        solver: Any but `auto`.
        options: Limits.
        budget: When to stop.
        on_step: Told the bound so far, before rounding is counted, and the number of steps.
    """
    if program.size == 1:
        nothing = Multipliers(program.products, np.zeros(0), np.zeros(program.products.count))
        return SolverOutcome(safe_bound(program, nothing), True, 0, nothing)
    return _SOLVERS[solver](program, options, budget, on_step)


def interior_bytes(program: Program, options: SdpOptions) -> int:
    """Return what the interior-point method needs without added products."""
    del options
    return _interior_bytes(program, program.products.count)


def needed_bytes(program: Program, solver: SdpSolver, options: SdpOptions) -> int:
    """Return the least memory that a solver needs, as far as matrices go."""
    return _BYTES[solver](program, options)


def _interior_bytes(program: Program, products: int) -> int:
    size = program.size
    constraints = size + products
    forms = min(program.forms.matrix.shape[0], 2 * products)
    return _FLOAT * (constraints**2 + 2 * forms**2 + 3 * forms * size + 16 * size**2)


def _room(program: Program, options: SdpOptions) -> int:
    """Return how many products fit, no fewer than there are already."""
    most = options.max_products
    while most > program.products.count and _interior_bytes(program, most) > options.memory_bytes:
        most = int(0.8 * most)
    return max(most, program.products.count)


def _interior(
    program: Program,
    options: SdpOptions,
    budget: Budget,
    on_step: StepHook,
    start: Multipliers | None = None,
) -> SolverOutcome:
    settings = InteriorSettings(
        tolerance=options.tolerance,
        rounds=options.rounds,
        max_products=_room(program, options),
        iterations=options.iterations or InteriorSettings.iterations,
        goal=_goal(options),
    )
    eliminated = program.inputs if program.inputs >= _MANY_INPUTS else 0
    method = InteriorPoint(program, settings, eliminated)
    multipliers = method.run(
        budget, start=start, on_step=lambda bound: on_step(bound, method.iterations)
    )
    bound = safe_bound(program, multipliers)
    done = method.finished or bound > settings.goal
    return SolverOutcome(bound, done, method.iterations, multipliers)


def _first_order(
    program: Program, options: SdpOptions, budget: Budget, on_step: StepHook
) -> SolverOutcome:
    scale = program.objective.scale
    settings = FirstOrderSettings(
        steps=options.iterations or FirstOrderSettings.steps,
        # Beyond the goal by what certifying may cost
        goal=_goal(options) + 1e-4 * scale,
    )
    reserve = _CERTIFYING * program.size**3
    method = FirstOrder(program, settings, options.device, options.seed)
    working = budget.at_most(max(0.0, budget.remaining_seconds - reserve))
    multipliers = method.run(working, on_step=lambda estimate: on_step(estimate, method.steps))
    bound = safe_bound(program, multipliers)
    done = bound > _goal(options) or method.steps >= settings.steps
    return SolverOutcome(bound, done, method.steps, multipliers)


def interior_seconds(program: Program, options: SdpOptions) -> float:
    """Return about how long the interior-point method takes for one row, on one core."""
    added = int(options.rounds * InteriorSettings.per_round * program.size)
    products = min(program.products.count + added, _room(program, options))
    constraints = program.size + products
    step = 14 * program.size**3 + constraints**3 / 3 + 8 * program.size**2 * constraints
    return (20 + 12 * options.rounds) * step / _FLOPS


def _goal(options: SdpOptions) -> float:
    return 0.0 if options.stop_when_positive else np.inf


def _by_cone_solver(solver: SdpSolver) -> Ascent:
    """Return an ascent that asks a cone solver first, and believes nothing but what is proved."""

    def run(
        program: Program, options: SdpOptions, budget: Budget, on_step: StepHook
    ) -> SolverOutcome:
        arrays = build_cone_program(program, decompose=options.decompose)
        # What the solver leaves over is for the polish.
        share = budget.share(_CONE_SHARE) if options.polish else budget
        request = ConeRequest(options.iterations, options.tolerance, share)
        dual, done, steps = options.cone_solvers[solver](arrays, request)
        multipliers = arrays.multipliers(dual)
        bound = safe_bound(program, multipliers)
        on_step(bound, steps)
        fits = interior_bytes(program, options) <= options.memory_bytes
        if not options.polish or not fits or budget.exhausted or bound > _goal(options):
            return SolverOutcome(bound, done, steps, multipliers)
        # What proves nothing at all is no place to go on from.
        start = multipliers if np.isfinite(bound) else None
        polished = _interior(program, options, budget, on_step, start=start)
        best = polished.multipliers if polished.bound > bound else multipliers
        steps += polished.steps
        return SolverOutcome(max(bound, polished.bound), polished.finished, steps, best)

    return run


def _cone_bytes(program: Program, _: SdpOptions) -> int:
    """Sparse factors of a matrix with a few entries per entry of X, as measured with SCS."""
    return 60 * _FLOAT * program.size**2


def _first_order_bytes(program: Program, _: SdpOptions) -> int:
    """The matrix that is factorised at the end, a copy of it, and the basis of Lanczos."""
    return 5 * _FLOAT * program.size**2


def _clarabel_bytes(program: Program, _: SdpOptions) -> int:
    """Dense factors with one row per entry of X."""
    return 2 * _FLOAT * (program.size * (program.size + 1) // 2) ** 2


Ascent = Callable[[Program, SdpOptions, Budget, StepHook], SolverOutcome]

_SOLVERS: Mapping[SdpSolver, Ascent] = MappingProxyType(
    {
        SdpSolver.INTERIOR: _interior,
        SdpSolver.FIRST_ORDER: _first_order,
        SdpSolver.SCS: _by_cone_solver(SdpSolver.SCS),
        SdpSolver.CLARABEL: _by_cone_solver(SdpSolver.CLARABEL),
    }
)

_BYTES: Mapping[SdpSolver, Callable[[Program, SdpOptions], int]] = MappingProxyType(
    {
        SdpSolver.INTERIOR: interior_bytes,
        SdpSolver.FIRST_ORDER: _first_order_bytes,
        SdpSolver.SCS: _cone_bytes,
        SdpSolver.CLARABEL: _clarabel_bytes,
    }
)
