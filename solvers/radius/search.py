"""Brackets of minimum distortions: cheap steps for many inputs at once, then exact decisions."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from models.data import Dataset, fit_dataset
from models.errors import InvalidInputError
from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.attack import AttackOptions, attack
from solvers.balls import Norm
from solvers.bounds import BoundOptions
from solvers.budget import Budget, never_cancelled
from solvers.devices import resolve_device
from solvers.errors import MemoryLimitError
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Problem, robustness
from solvers.radius.item import RadiusItem, RadiusStatus
from solvers.radius.options import RadiusOptions
from solvers.radius.state import RadiusState
from solvers.results import Evidence, Verdict

__all__ = ["radius_items"]

_LOG = logging.getLogger(__name__)

_BATCH = 16
"""Inputs that share attacks and bounds."""
_ATTACK_ROUNDS = 10
_CROWN_ROUNDS = 14
_ALPHA_ROUNDS = 5
_FIRST_GUESS = 1e-3
"""Share of the largest radius below which a bracket without a lower end is split by ratios."""
_SHARE = 0.5
"""Of an input's time that is left, for one decision."""


def radius_items(
    network: Network,
    dataset: Dataset,
    options: RadiusOptions,
    *,
    indices: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: Callable[[str], None] | None = None,
) -> Iterator[RadiusItem]:
    """Bracket the minimum distortion of inputs: how far the nearest other answer is.

    For a batch of inputs at once: attacks at shrinking radii and along the way back to the input
    give upper ends, bisection with `crown` and then `alpha-crown` lower ends. What is left between
    them is bisected by exact decisions, input by input. Everything carries over between radii: a
    proof holds for all smaller ones, a counterexample for all radii from its own distance on.

    Args:
        network: Imported from ONNX, without a normalisation if the options give one.
        dataset: Raw inputs with labels.
        options: Norm, tolerances, time.
        indices: Positions in the data set, in the order wanted; None for all of it.
        cancelled: Asked often; True ends the work, and what is known of the batch at hand is
            yielded.
        progress: Told in words what is under way.

    Yields:
        One item per index, in order, until cancelled.

    Raises:
        InvalidInputError: Data, labels or options do not fit the network. Everything is checked
            before the first item.
    """
    search = _Search(network, dataset, options, cancelled, progress)
    chosen = range(len(search.dataset.y)) if indices is None else indices
    return search.items(search.checked(chosen))


class _Search:
    """A network, a data set and options, checked against each other."""

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        options: RadiusOptions,
        cancelled: Callable[[], bool],
        progress: Callable[[str], None] | None,
    ) -> None:
        self._options, self._cancelled = options, cancelled
        self._progress = progress
        device = resolve_device(options.device)
        whole = _normalised(network, options)
        wide = _normalised(network.to(torch.float64, device), options)
        self.dataset = fit_dataset(dataset, wide)
        self._whole = whole
        self._runtime = OnnxRuntime(whole)
        self._attacked = _normalised(network.to(torch.float32, device), options)
        self._network = fold_affine(wide)

    def checked(self, indices: Sequence[int]) -> list[RadiusState]:
        """Return the state of every index, so that bad input shows before any work."""
        count, options = len(self.dataset.y), self._options
        states = []
        for index in indices:
            if not 0 <= index < count:
                raise InvalidInputError(f"index {index} is outside the data set of {count} inputs")
            x, label = self.dataset.x[index], int(self.dataset.y[index])
            targets = options.targets
            if targets is not None:
                targets = tuple(target for target in targets if target != label)
            state = RadiusState(
                index=int(index),
                label=label,
                predicted=-1,
                x=x,
                specification=robustness(label, self._network.output_size, targets),
                norm=Norm(options.norm),
                valid_range=options.valid_range,
                limit=options.limit(x.size),
            )
            state.case(state.limit)  # refuses inputs outside the valid range
            states.append(state)
        return states

    def items(self, states: Sequence[RadiusState]) -> Iterator[RadiusItem]:
        """Yield brackets batch by batch."""
        for first in range(0, len(states), _BATCH):
            if self._cancelled():
                return
            yield from self._batch(states[first : first + _BATCH])

    def _batch(self, states: Sequence[RadiusState]) -> Iterator[RadiusItem]:
        outputs = self._runtime.run(np.stack([state.x for state in states]))
        for state, y in zip(states, outputs, strict=True):
            state.predicted = int(y.argmax())
            state.misclassified = not state.specification.margin(y) > 0
        right = [state for state in states if not state.misclassified]
        if right:
            self._narrow_together(right)
        for state in states:
            if not state.misclassified:
                began = time.perf_counter()
                self._decide(state)
                state.seconds += time.perf_counter() - began
            yield self._item(state)

    def _narrow_together(self, states: Sequence[RadiusState]) -> None:
        """Take the cheap steps for many inputs at once, in at most the time of their decisions."""
        began = time.perf_counter()
        seconds = self._options.timeout_seconds * len(states)
        budget = Budget.of_seconds(seconds, self._cancelled)
        self._tell("attacking")
        self._attack(states, budget.share(0.3))
        self._tell("bounding")
        self._bisect(states, Method.CROWN, _CROWN_ROUNDS, budget.share(0.5))
        self._bisect(states, Method.ALPHA_CROWN, _ALPHA_ROUNDS, budget)
        for state in states:
            state.seconds = (time.perf_counter() - began) / len(states)

    def _tell(self, words: str) -> None:
        if self._progress is not None:
            self._progress(words)

    def _attack(self, states: Sequence[RadiusState], budget: Budget) -> None:
        """Lower the upper ends: attack all inputs, each at a radius of its own, again and again."""
        fails = {id(state): 0.0 for state in states}
        for number in range(_ATTACK_ROUNDS):
            trying = [
                (state, _between(fails[id(state)], min(state.upper, state.limit), state.limit))
                for state in states
                if not self._options.narrow(fails[id(state)], min(state.upper, state.limit))
            ]
            if number == 0:
                trying = [(state, state.limit) for state in states]
            if not trying or budget.exhausted:
                return
            options = AttackOptions(seed=self._options.seed + number, steps=30)
            cases = [state.case(epsilon) for state, epsilon in trying]
            results = attack(self._attacked, cases, options, budget=budget)
            for (state, epsilon), result in zip(trying, results, strict=True):
                if state.offer(self._runtime, result.candidate):
                    state.approach(self._runtime)
                else:
                    fails[id(state)] = max(fails[id(state)], min(epsilon, state.upper))

    def _bisect(
        self, states: Sequence[RadiusState], method: Method, rounds: int, budget: Budget
    ) -> None:
        """Raise the lower ends by a bound, for all inputs at once, each at a radius of its own."""
        fails = {id(state): min(state.upper, state.limit) for state in states}
        for number in range(rounds):
            trying = [
                (state, _between(state.lower, fails[id(state)], state.limit))
                for state in states
                if not self._options.narrow(state.lower, fails[id(state)])
            ]
            if number == 0:
                # what no attack broke may be proved at once
                trying = [
                    (state, state.limit if math.isinf(state.upper) else epsilon)
                    for state, epsilon in trying
                ]
            if not trying or budget.exhausted:
                return
            batch = CaseBatch(self._network, [state.case(epsilon) for state, epsilon in trying])
            options = BoundOptions(stop_when_positive=True)
            try:
                step = batch.bound(method, options=options, budget=budget)
            except MemoryLimitError:
                _LOG.warning("%s does not fit into memory; left to exact decisions", method)
                return
            for position, (state, epsilon) in enumerate(trying):
                if step.lower(position) > 0:
                    state.prove(epsilon)
                else:
                    fails[id(state)] = min(fails[id(state)], epsilon)

    def _decide(self, state: RadiusState) -> None:
        """Bisect what is left by exact decisions."""
        budget = Budget.of_seconds(self._options.timeout_seconds, self._cancelled)
        while not (self._done(state) or budget.exhausted):
            low, high = state.gap()
            if self._options.narrow(low, high):
                state.reason = state.reason or "undecided"
                return
            unbroken = math.isinf(state.upper) and not state.undecided
            epsilon = state.limit if unbroken else _between(low, high, state.limit)
            self._tell(f"input {state.index}: deciding ε = {epsilon:.4g}")
            share = budget.remaining_seconds * _SHARE
            state.decisions += 1
            decision = decide(
                self._whole,
                Problem((state.case(epsilon),)),
                DecideOptions(max(share, 1e-3), self._options.device, self._options.seed),
                cancelled=self._cancelled,
            )
            if decision.verdict is Verdict.VERIFIED:
                state.prove(epsilon)
            elif decision.counterexample is not None and state.offer(
                self._runtime, decision.counterexample.x
            ):
                state.approach(self._runtime)
            else:
                state.undecided = sorted([*state.undecided, epsilon])
                state.reason = decision.reason or "undecided"
        if not self._done(state):
            state.reason = budget.stop_reason or state.reason

    def _done(self, state: RadiusState) -> bool:
        if state.contradiction is not None or state.lower >= state.limit:
            return True
        return self._options.narrow(state.lower, state.upper)

    def _item(self, state: RadiusState) -> RadiusItem:
        status, lower, upper, reason = RadiusStatus.OPEN, state.lower, state.upper, state.reason
        if self._options.narrow(lower, upper):
            status = RadiusStatus.BRACKETED
        elif lower >= state.limit:
            status = RadiusStatus.MAXIMUM
        if state.contradiction is not None:
            # believe nothing that was proved
            status, lower, reason = RadiusStatus.OPEN, 0.0, state.contradiction
        if state.misclassified:
            status, lower, upper, reason = RadiusStatus.MISCLASSIFIED, 0.0, 0.0, None
        return RadiusItem(
            state.index,
            state.label,
            state.predicted,
            lower,
            upper,
            status,
            Evidence.SOLVER if lower > 0 else Evidence.NONE,
            state.counterexample,
            state.seconds,
            state.decisions,
            reason if status is RadiusStatus.OPEN else None,
        )


def _between(low: float, high: float, limit: float) -> float:
    """Return the radius to try between two: by ratio while they differ by much."""
    floor = max(low, _FIRST_GUESS * min(high, limit))
    return math.sqrt(floor * high) if high > 2.0 * floor else 0.5 * (low + high)


def _normalised(network: Network, options: RadiusOptions) -> Network:
    """Return the network behind the normalisation that was asked for, if one was."""
    if options.normalization is None:
        return network
    return network.with_normalization(options.normalization)
