"""Bounds of a batch of inputs: every method of propagation that was asked for or is built on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.certification.per_item import (
    ITEM_METHODS,
    ItemTask,
    MethodResult,
    MethodStatus,
    run_item_method,
)
from solvers.certification.work import Work
from solvers.errors import MemoryLimitError, UnsupportedMethodError
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.proof.producing.found_duals import FoundDuals

__all__ = ["Rungs"]

_LOG = logging.getLogger(__name__)

_STARTS: Mapping[Method, Method] = {
    Method.ALPHA_CROWN: Method.CROWN,
    Method.FASTC2V: Method.CROWN,
    Method.ALPHA_FASTC2V: Method.ALPHA_CROWN,
}
"""Whose node bounds a method's own definition starts from."""

_OPTIONS: Mapping[Method, BoundOptions] = {
    # the bounds that it starts from have been optimised already
    Method.ALPHA_FASTC2V: BoundOptions(optimise_intermediate=False),
}

_ITERATING = frozenset({Method.ALPHA_CROWN, Method.FASTC2V, Method.ALPHA_FASTC2V})
"""Methods that heed a budget: the others take one pass, whatever the time."""


@dataclass
class Rungs:
    """The methods that were asked for, on one batch of inputs.

    Attributes:
        batch: The inputs' cases.
        works: The inputs, in the same order.
        methods: Asked for.
        budget: Of all bounds of the batch together.
        steps: What has been computed.
    """

    batch: CaseBatch
    works: Sequence[Work]
    methods: frozenset[Method]
    budget: Budget
    steps: dict[Method, LadderStep] = field(default_factory=dict)
    _failed: dict[Method, MethodResult] = field(default_factory=dict)

    def bound(self, method: Method) -> None:
        """Run a method of propagation that was asked for, and note what it proved."""
        step = self.step(method)
        for position, work in enumerate(self.works):
            if step is None:
                work.note(method, self._failed[method])
            else:
                self._note(position, method, step)

    def step(self, method: Method) -> LadderStep | None:
        """Return what a method proved, computing it if need be; None where it could not.

        Only a method's own starting bounds are handed to it, so that its result does not depend on
        which others were asked for.
        """
        if method not in self.steps and method not in self._failed:
            start = _STARTS.get(method)
            if start is not None and self.step(start) is None:
                self._failed[method] = self._failed[start]
            else:
                self._run(method, None if start is None else self.steps[start])
        return self.steps.get(method)

    def tightest(self) -> LadderStep | None:
        """Return what exact search builds on: the tightest node bounds there are, or CROWN's."""
        return self.steps.get(Method.ALPHA_CROWN) or self.step(Method.CROWN)

    def program(self, method: Method, position: int, budget: Budget, seed: int) -> None:
        """Run one of `ITEM_METHODS` on one input, from the node bounds that it starts from.

        Args:
            method: Which.
            position: Of the input in the batch.
            budget: Of this method on this input.
            seed: For methods that draw random numbers.
        """
        entry, work = ITEM_METHODS[method], self.works[position]
        step = self.step(entry.start)
        if step is None:
            work.note(method, self._failed[entry.start])
            return
        infinite = step.unbounded_reason(position)
        if infinite is not None:
            nothing = np.full_like(step.clause_lower[position], -np.inf)
            work.note(method, MethodResult(nothing, MethodStatus.UNSUPPORTED, reason=infinite))
            return
        task = ItemTask(
            step.network,
            work.bracket.case,
            step.node_bounds(position),
            step.clause_lower[position],
            budget,
            seed,
        )
        result = run_item_method(entry, task, method.value)
        if work.trace is not None and result.duals:
            found = FoundDuals.of(task.network, task.bounds, result.duals)
            if found is not None:
                work.trace.duals[0] = found
        before = self._unasked_seconds(entry.start)
        work.note(method, replace(result, seconds=result.seconds + before))

    def _run(self, method: Method, start: LadderStep | None) -> None:
        known = None if start is None else start.intermediate
        try:
            options = _OPTIONS.get(method, BoundOptions())
            step = self.batch.bound(method, options=options, known=known, budget=self.budget)
        except (MemoryLimitError, UnsupportedMethodError) as error:
            _LOG.warning("%s of %d inputs: %s", method, len(self.works), error)
            short = isinstance(error, MemoryLimitError)
            status = MethodStatus.MEMORY if short else MethodStatus.UNSUPPORTED
            self._failed[method] = MethodResult(np.full(1, -np.inf), status, reason=str(error))
            return
        if start is not None:
            pairs = zip(step.clause_lower, start.clause_lower, strict=True)
            step = replace(step, clause_lower=tuple(np.fmax(*pair) for pair in pairs))
        self.steps[method] = step

    def _note(self, position: int, method: Method, step: LadderStep) -> None:
        work = self.works[position]
        start = _STARTS.get(method)
        seconds = step.seconds / len(self.works)
        if start is not None:
            seconds += self._unasked_seconds(start)
        stopped = self.budget.stop_reason if method in _ITERATING else None
        status = MethodStatus(stopped or "done")
        lowers = step.clause_lower[position]
        work.note(method, MethodResult(lowers, status, seconds))
        if not math.isfinite(step.lower(position)):
            work.lower[method.value] = step.lower(position)
            work.unbounded = work.unbounded or step.unbounded_reason(position)

    def _unasked_seconds(self, method: Method) -> float:
        """Return the time per input of bounds that only served another method."""
        if method in self.methods:
            return 0.0
        start = _STARTS.get(method)
        before = 0.0 if start is None else self._unasked_seconds(start)
        return before + self.steps[method].seconds / len(self.works)
