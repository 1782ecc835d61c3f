"""Certify a set of labelled inputs: every method that was asked for, on every input."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.data import Dataset, fit_dataset
from models.errors import InvalidInputError
from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.attack import AttackOptions, attack
from solvers.balls import Norm
from solvers.bounds import BoundOptions
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget, never_cancelled
from solvers.certification.item import ItemResult
from solvers.certification.options import CertifyOptions
from solvers.devices import resolve_device
from solvers.errors import MemoryLimitError, SolverFailedError
from solvers.exact import ExactMode, ExactOptions, exact_margin
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Case, norm_ball, robustness
from solvers.results import Evidence, Verdict

__all__ = ["certify_items"]

_LOG = logging.getLogger(__name__)

NodeBounds = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Lower and upper bounds of every node, float64, of the node's shape."""

_BATCH = 16
"""Inputs that share attacks and bounds: many enough for two cores, few enough to report soon."""


@dataclass
class _Work:
    """One correctly classified input on its way through the methods."""

    bracket: Bracket
    predicted: int
    lower: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    exact: tuple[float, float] | None = None
    reason: str | None = None
    unbounded: str | None = None


def certify_items(
    network: Network,
    dataset: Dataset,
    options: CertifyOptions,
    *,
    indices: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
) -> Iterator[ItemResult]:
    """Certify inputs one after the other, sharing attacks and bounds in batches.

    Args:
        network: Imported from ONNX, without a normalisation if the options give one.
        dataset: Raw inputs with labels.
        options: What to certify and how.
        indices: Positions in the data set, in the order wanted; None for all of it.
        cancelled: Asked often; True ends the iteration after the input at hand.

    Yields:
        One result per index, in order.

    Raises:
        InvalidInputError: Data, labels or options do not fit the network. Everything is checked
            before the first result.
    """
    certifier = _Certifier(network, dataset, options, cancelled)
    chosen = range(len(certifier.dataset.y)) if indices is None else indices
    return certifier.results(certifier.checked(chosen))


class _Certifier:
    """A network, a data set and options, checked against each other."""

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        options: CertifyOptions,
        cancelled: Callable[[], bool],
    ) -> None:
        device = resolve_device(options.device)
        self._options, self._cancelled = options, cancelled
        # The factors of a normalisation are rounded to the network's type, so it goes in front
        # of the network after that has been chosen: bounds then have them in float64.
        wide = _normalised(network.to(torch.float64, device), options)
        self.dataset = fit_dataset(dataset, wide)
        self._runtime = OnnxRuntime(_normalised(network, options))
        self._attacked = _normalised(network.to(torch.float32, device), options)
        self._network = fold_affine(wide)
        self._witness = Witness(wide, self._runtime)
        self._exact_options = ExactOptions(seed=options.seed)

    def checked(self, indices: Sequence[int]) -> list[tuple[int, Case]]:
        """Return the case of every index, so that bad input shows before any work."""
        count = len(self.dataset.y)
        for index in indices:
            if not 0 <= index < count:
                raise InvalidInputError(f"index {index} is outside the data set of {count} inputs")
        return [(int(index), self._case(int(index))) for index in indices]

    def results(self, cases: Sequence[tuple[int, Case]]) -> Iterator[ItemResult]:
        """Yield results batch by batch."""
        for first in range(0, len(cases), _BATCH):
            if self._cancelled():
                return
            yield from self._batch(cases[first : first + _BATCH])

    def _case(self, index: int) -> Case:
        options = self._options
        label = int(self.dataset.y[index])
        targets = options.targets
        if targets is not None:
            targets = tuple(target for target in targets if target != label)
        specification = robustness(label, self._network.output_size, targets)
        x = self.dataset.x[index]
        region = norm_ball(x, options.epsilon, Norm(options.norm), valid_range=options.valid_range)
        return Case(region, specification)

    def _batch(self, cases: Sequence[tuple[int, Case]]) -> Iterator[ItemResult]:
        outputs = self._runtime.run(self.dataset.x[[index for index, _ in cases]])
        right = [
            (index, _Work(Bracket(case), int(y.argmax())))
            for (index, case), y in zip(cases, outputs, strict=True)
            if case.specification.margin(y) > 0
        ]
        works = dict(right)
        last: LadderStep | None = None
        if works:
            self._attack(list(works.values()))
            last = self._bound(list(works.values()))
        for (index, _), y in zip(cases, outputs, strict=True):
            work = works.get(index)
            if work is None:
                yield self._misclassified(index, y)
                continue
            if self._cancelled():
                return
            if Method.EXACT in self._options.methods and last is not None:
                position = list(works).index(index)
                self._search(work, last, position)
                if self._cancelled() and not work.bracket.decided:
                    return
            yield self._item(index, work)

    def _misclassified(self, index: int, y: NDArray[np.float32]) -> ItemResult:
        return ItemResult(
            index,
            int(self.dataset.y[index]),
            int(y.argmax()),
            Verdict.MISCLASSIFIED,
            Evidence.CHECKED,
        )

    def _attack(self, works: Sequence[_Work]) -> None:
        began = time.perf_counter()
        cases = [work.bracket.case for work in works]
        options = AttackOptions(seed=self._options.seed)
        budget = Budget(cancelled=self._cancelled)
        for work, result in zip(
            works, attack(self._attacked, cases, options, budget=budget), strict=True
        ):
            work.bracket.offer(self._witness, result.candidate)
        for work in works:
            work.seconds["attack"] = (time.perf_counter() - began) / len(works)

    def _bound(self, works: Sequence[_Work]) -> LadderStep | None:
        """Run every bound method that was asked for; return what exact search can build on."""
        batch = CaseBatch(self._network, [work.bracket.case for work in works])
        steps: dict[Method, LadderStep] = {}
        for method in Method:
            if method in self._options.methods and method is not Method.EXACT:
                # Only CROWN's bounds are handed on, so that a method's result does not depend on
                # which others were asked for beyond what its own definition starts from.
                start = steps.get(Method.CROWN) if method is Method.ALPHA_CROWN else None
                step = _step(batch, method, start)
                if step is None:
                    for work in works:
                        work.reason = "memory"
                    continue
                steps[method] = step
                self._note(works, method, step)
        tightest = steps.get(Method.ALPHA_CROWN) or steps.get(Method.CROWN)
        if tightest is None and Method.EXACT in self._options.methods:
            tightest = _step(batch, Method.CROWN, None)
        return tightest

    @staticmethod
    def _note(works: Sequence[_Work], method: Method, step: LadderStep) -> None:
        for position, work in enumerate(works):
            work.bracket.prove(step.clause_lower[position])
            work.lower[method.value] = step.lower(position)
            if not math.isfinite(work.lower[method.value]):
                work.unbounded = work.unbounded or step.unbounded_reason(position)
            work.seconds[method.value] = step.seconds / len(works)

    def _search(self, work: _Work, step: LadderStep, position: int) -> None:
        """Decide the sign first, then spend what time is left on the value."""
        began = time.perf_counter()
        infinite = step.unbounded_reason(position)
        if infinite is not None:
            work.reason = infinite
            return
        budget = Budget.of_seconds(self._options.timeout_seconds, self._cancelled)
        bounds = step.node_bounds(position)
        bracket = work.bracket
        modes = [] if bracket.decided else [(ExactMode.DECIDE, budget.share(0.6))]
        if self._options.exact_mode is ExactMode.OPTIMIZE:
            modes.append((ExactMode.OPTIMIZE, budget))
        for mode, share in modes:
            if share.exhausted:
                break
            try:
                self._solve(work, bounds, mode, share)
            except SolverFailedError as error:
                # What a solver said contradicts what is known: believe neither.
                _LOG.exception("exact search of an input failed")
                work.reason = str(error)
                break
        work.seconds[Method.EXACT.value] = time.perf_counter() - began
        work.lower[Method.EXACT.value] = bracket.lower
        work.exact = (bracket.lower, bracket.upper)

    def _solve(self, work: _Work, bounds: NodeBounds, mode: ExactMode, budget: Budget) -> None:
        bracket = work.bracket
        result = exact_margin(
            self._network,
            bracket.case,
            bounds,
            options=replace(self._exact_options, mode=mode),
            budget=budget,
            clause_lower=bracket.clause_lower,
            incumbent=bracket.upper,
        )
        bracket.prove(result.clause_lower)
        bracket.offer(self._witness, result.candidate)
        work.reason = result.why_unknown

    def _item(self, index: int, work: _Work) -> ItemResult:
        bracket = work.bracket
        verdict, evidence = bracket.verdict
        reason = None
        if verdict is Verdict.UNKNOWN:
            known = bracket.contradiction or work.unbounded or work.reason
            reason = known or "not proved by the methods asked for"
        return ItemResult(
            index,
            int(self.dataset.y[index]),
            work.predicted,
            verdict,
            evidence,
            lower=work.lower,
            upper=bracket.upper,
            exact=work.exact,
            gap={method: bracket.upper - lower for method, lower in work.lower.items()},
            seconds=work.seconds,
            counterexample=bracket.counterexample,
            reason=reason,
        )


def _normalised(network: Network, options: CertifyOptions) -> Network:
    """Return the network behind the normalisation that was asked for, if one was."""
    if options.normalization is None:
        return network
    return network.with_normalization(options.normalization)


def _step(batch: CaseBatch, method: Method, start: LadderStep | None) -> LadderStep | None:
    """Run one method; None where it does not fit into memory."""
    known = None if start is None else start.intermediate
    try:
        return batch.bound(method, options=BoundOptions(), known=known)
    except MemoryLimitError:
        _LOG.exception("%s does not fit into memory", method)
        return None
