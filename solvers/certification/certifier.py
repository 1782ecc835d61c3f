"""Certify a set of labelled inputs: every method that was asked for, on every input."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.data import Dataset, fit_dataset
from models.errors import InvalidInputError
from models.fold import fold_affine
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.attack import AttackOptions, attack
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget, never_cancelled
from solvers.certification.cases import case_of
from solvers.certification.exact import ExactSearch
from solvers.certification.item import ItemResult
from solvers.certification.options import CertifyOptions
from solvers.certification.progress import StageHook, ignore_stages, timed_stage
from solvers.certification.rungs import Rungs
from solvers.certification.work import Work
from solvers.devices import resolve_device
from solvers.exact import ExactOptions
from solvers.ladder import CaseBatch
from solvers.methods import BOUND_METHODS, ITEM_METHOD_NAMES, Method
from solvers.problem import Case, Problem
from solvers.proof.producing.evidence import proof_report, survives_float32
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace
from solvers.results import Evidence, Verdict

__all__ = ["Certifier", "certify_items"]

_LOG = logging.getLogger(__name__)

_BATCH = 16
"""Inputs that share attacks and bounds: many enough for two cores, few enough to report soon."""

_WITH_CUTS = (Method.FASTC2V, Method.ALPHA_FASTC2V, Method.OPTC2V)
"""Methods whose verdicts are proved with planes above ReLUs, if they can be."""


def certify_items(
    network: Network,
    dataset: Dataset,
    options: CertifyOptions,
    *,
    indices: Sequence[int] | None = None,
    cancelled: Callable[[], bool] = never_cancelled,
    progress: StageHook = ignore_stages,
) -> Iterator[ItemResult]:
    """Certify inputs one after the other, sharing attacks and bounds in batches.

    Args:
        network: Imported from ONNX, without a normalisation if the options give one.
        dataset: Raw inputs with labels.
        options: What to certify and how.
        indices: Positions in the data set, in the order wanted; None for all of it.
        cancelled: Asked often; True ends the iteration after the input at hand.
        progress: Told of every stage that has ended, by the thread that iterates.

    Yields:
        One result per index, in order.

    Raises:
        InvalidInputError: Data, labels or options do not fit the network. Everything is checked
            before the first result.
    """
    certifier = Certifier(network, dataset, options)
    return certifier.items(indices, cancelled=cancelled, progress=progress)


class Certifier:
    """A network, a data set and options, checked against each other and ready to certify.

    Getting ready takes far longer than a bound of one input: keep it where the same is asked about
    one part of the data after the other.

    Args:
        network: Imported from ONNX, without a normalisation if the options give one.
        dataset: Raw inputs with labels.
        options: What to certify and how.

    Raises:
        InvalidInputError: Data or options do not fit the network.
    """

    def __init__(self, network: Network, dataset: Dataset, options: CertifyOptions) -> None:
        device = resolve_device(options.device)
        self._options = options
        self._cancelled: Callable[[], bool] = never_cancelled
        self._progress: StageHook = ignore_stages
        # The factors of a normalisation are rounded to the network's type, so it goes in front
        # of the network after that has been chosen: bounds then have them in float64.
        wide = _normalised(network.to(torch.float64, device), options)
        self.dataset = fit_dataset(dataset, wide)
        self._runtime = OnnxRuntime(_normalised(network, options))
        self._attacked = _normalised(network.to(torch.float32, device), options)
        self._network = fold_affine(wide)
        self._witness = Witness(wide, self._runtime)
        self._exact = ExactSearch(
            self._attacked,
            self._network,
            self._witness,
            options.exact_mode,
            ExactOptions(seed=options.seed),
        )
        self._prover: Prover | None = None
        if options.proof_timeout_seconds is not None:
            self._prover = Prover(network, options.device, options.normalization)

    def items(
        self,
        indices: Sequence[int] | None = None,
        *,
        cancelled: Callable[[], bool] = never_cancelled,
        progress: StageHook = ignore_stages,
    ) -> Iterator[ItemResult]:
        """Certify inputs; see `certify_items`.

        Raises:
            InvalidInputError: An index or a label does not fit. Every input is checked before the
                first result.
        """
        chosen = range(len(self.dataset.y)) if indices is None else indices
        cases = self._checked(chosen)
        run = copy.copy(self)
        run._cancelled, run._progress = cancelled, progress
        return run._results(cases)

    def _checked(self, indices: Sequence[int]) -> list[tuple[int, Case]]:
        """Return the case of every index, so that bad input shows before any work."""
        count = len(self.dataset.y)
        for index in indices:
            if not 0 <= index < count:
                raise InvalidInputError(f"index {index} is outside the data set of {count} inputs")
        outputs = self._network.output_size
        return [
            (int(index), case_of(self.dataset, int(index), self._options, outputs))
            for index in indices
        ]

    def _results(self, cases: Sequence[tuple[int, Case]]) -> Iterator[ItemResult]:
        """Yield results batch by batch."""
        for first in range(0, len(cases), _BATCH):
            if self._cancelled():
                return
            yield from self._batch(cases[first : first + _BATCH])

    def _batch(self, cases: Sequence[tuple[int, Case]]) -> Iterator[ItemResult]:
        outputs = self._runtime.run(self.dataset.x[[index for index, _ in cases]])
        right = [
            (index, Work(Bracket(case), int(y.argmax()), trace=self._trace()))
            for (index, case), y in zip(cases, outputs, strict=True)
            if case.specification.margin(y) > 0
        ]
        works = dict(right)
        rungs: Rungs | None = None
        if works:
            self._attack(works)
            rungs = self._bound(works)
        for (index, _), y in zip(cases, outputs, strict=True):
            work = works.get(index)
            if work is None or rungs is None:
                yield self._misclassified(index, y)
                continue
            self._solve_programs(rungs, index, list(works).index(index))
            if self._cancelled():
                return
            if Method.EXACT in self._options.methods:
                budget = Budget.of_seconds(self._options.timeout_seconds, self._cancelled)
                with timed_stage(self._progress, Method.EXACT.value, [index]):
                    self._exact.search(work, rungs, list(works).index(index), budget)
                if self._cancelled() and not work.bracket.decided:
                    return
            item = self._item(index, work)
            if item.verdict is Verdict.VERIFIED and self._prover is not None:
                item = self._proved(self._prover, item, work)
            yield item

    def _trace(self) -> Trace | None:
        return None if self._prover is None else Trace()

    def _proved(self, prover: Prover, item: ItemResult, work: Work) -> ItemResult:
        """Return a verified input with its proof, or with why there is none."""
        trace = work.trace or Trace()
        if work.lower.get(Method.CROWN.value, 1.0) <= 0:
            trace.hard.add(0)
        if any(work.lower.get(method.value, 0.0) > 0 for method in _WITH_CUTS):
            trace.by_cuts.add(0)
        budget = Budget.of_seconds(self._options.proof_timeout_seconds, self._cancelled)
        with timed_stage(self._progress, "proof", [item.index]):
            outcome = prover.prove(Problem((work.bracket.case,)), budget, trace=trace)
        return replace(
            item,
            evidence=Evidence.CHECKED if isinstance(outcome, Proven) else item.evidence,
            deployment_sound=survives_float32(outcome),
            proof=proof_report(outcome),
            proof_file=outcome.content if isinstance(outcome, Proven) else None,
        )

    def _misclassified(self, index: int, y: NDArray[np.float32]) -> ItemResult:
        return ItemResult(
            index,
            int(self.dataset.y[index]),
            int(y.argmax()),
            Verdict.MISCLASSIFIED,
            Evidence.CHECKED,
        )

    def _attack(self, chosen: Mapping[int, Work]) -> None:
        began, works = time.perf_counter(), list(chosen.values())
        cases = [work.bracket.case for work in works]
        options = AttackOptions(seed=self._options.seed)
        budget = Budget(cancelled=self._cancelled)
        with timed_stage(self._progress, "attack", list(chosen)):
            results = attack(self._attacked, cases, options, budget=budget)
            for work, result in zip(works, results, strict=True):
                work.bracket.offer(self._witness, result.candidate)
        for work in works:
            work.seconds["attack"] = (time.perf_counter() - began) / len(works)

    def _bound(self, chosen: Mapping[int, Work]) -> Rungs:
        """Run every method of propagation that was asked for."""
        works = list(chosen.values())
        batch = CaseBatch(self._network, [work.bracket.case for work in works])
        seconds = self._options.timeout_seconds * len(works)
        budget = Budget.of_seconds(seconds, self._cancelled)
        rungs = Rungs(batch, works, frozenset(self._options.methods), budget)
        for method in BOUND_METHODS:
            if method in self._options.methods:
                with timed_stage(self._progress, method.value, list(chosen)):
                    rungs.bound(method)
        return rungs

    def _solve_programs(self, rungs: Rungs, index: int, position: int) -> None:
        """Run every convex program that was asked for on one input, each with its own budget."""
        for method in ITEM_METHOD_NAMES:
            if method in self._options.methods and not self._cancelled():
                budget = Budget.of_seconds(self._options.timeout_seconds, self._cancelled)
                with timed_stage(self._progress, method.value, [index]):
                    rungs.program(method, position, budget, self._options.seed)

    def _item(self, index: int, work: Work) -> ItemResult:
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
            status=work.status,
            reasons=work.reasons,
        )


def _normalised(network: Network, options: CertifyOptions) -> Network:
    """Return the network behind the normalisation that was asked for, if one was."""
    if options.normalization is None:
        return network
    return network.with_normalization(options.normalization)
