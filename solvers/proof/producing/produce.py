"""From a verdict to a proof that the checker has accepted."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.network import Network, Normalization
from solvers.budget import Budget
from solvers.devices import resolve_device
from solvers.problem import Box, Case, Problem
from solvers.proof.asked import AskedCase
from solvers.proof.container import Balls, InputTree, NeuronTree, Proof, ProofError
from solvers.proof.onnx_file import UnsupportedProofError
from solvers.proof.parts import check_proof
from solvers.proof.producing.box_proof import BoxCloser, clause_margins, stacked_rows
from solvers.proof.producing.box_tree import BoxTree
from solvers.proof.producing.dual_proof import DualCloser
from solvers.proof.producing.ground import Ground, ball_of
from solvers.proof.producing.neuron_search import NeuronCloser
from solvers.proof.producing.plane_proof import PlaneCloser
from solvers.proof.producing.trace import Trace
from solvers.proof.producing.window_proof import WindowCloser
from solvers.proof.stated import CheckResult
from solvers.proof.writing import write_proof
from solvers.search.boxes import suits_boxes

__all__ = ["Proven", "Prover", "Unproven", "asked"]

_LOG = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

_PRODUCER = "tightrope"
_MOST_LEAVES = 500_000
_CASES_AT_ONCE = 1024
_EXTRA_LEAVES = 2
"""How many times more leaves a larger margin may cost."""
_EXTRA_TIME = 1.0
"""How many times more time it may cost."""


@dataclass(frozen=True, eq=False)
class Proven:
    """A proof that the checker has accepted.

    Attributes:
        content: The file.
        check: What the checker said.
        proving_seconds, checking_seconds: Wall time of either.
    """

    content: bytes
    check: CheckResult
    proving_seconds: float
    checking_seconds: float


@dataclass(frozen=True)
class Unproven:
    """There is no proof that the checker accepts, and why.

    Attributes:
        reason: In words.
        proving_seconds, checking_seconds: Wall time of either.
    """

    reason: str
    proving_seconds: float
    checking_seconds: float = 0.0


class Prover:
    """Proves verdicts about one network.

    Args:
        network: As imported, with its file.
        device: `cpu`, `cuda` or `auto`.
        normalization: Applied in front of it, or None.
    """

    def __init__(
        self, network: Network, device: str = "auto", normalization: Normalization | None = None
    ) -> None:
        self._network = network
        self._before = None if normalization is None else (normalization.mean, normalization.std)
        self._unsupported: str | None = None
        self._ground: Ground | None = None
        try:
            self._ground = Ground.of(network, resolve_device(device), normalization)
        except UnsupportedProofError as error:
            self._unsupported = str(error)

    def prove(
        self,
        problem: Problem,
        budget: Budget,
        *,
        trace: Trace | None = None,
        specification_sha256: str | None = None,
    ) -> Proven | Unproven:
        """Prove that no case of a problem has a counterexample.

        Args:
            problem: That was verified, fitted to the network.
            budget: When to give up; checking is not cut short.
            trace: What decided it.
            specification_sha256: Of the file that states it, if there is one.
        """
        began = time.perf_counter()
        if self._ground is None:
            return Unproven(f"the checker cannot read the network: {self._unsupported}", 0.0)
        work = _Work(self._ground, problem, budget, trace or Trace())
        try:
            found: Proof | str = work.proof(specification_sha256)
        except ProofError as error:
            found = f"the checker's bounds are of no use: {error}"
        proving = time.perf_counter() - began
        if isinstance(found, str):
            return Unproven(found, proving)
        return self._checked(found, problem, proving)

    def _checked(self, proof: Proof, problem: Problem, proving: float) -> Proven | Unproven:
        """Let the checker judge the file, as anybody else would."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "proof"
            write_proof(path, proof)
            began = time.perf_counter()
            source = self._network.source
            check = check_proof(path, source, asked(problem), normalization=self._before)
            checking = time.perf_counter() - began
            if check.accepted:
                return Proven(path.read_bytes(), check, proving, checking)
        _LOG.warning("the checker rejected a proof: %s", check.reason)
        return Unproven(f"the checker rejected the proof: {check.reason}", proving, checking)


def asked(problem: Problem) -> list[AskedCase]:
    """Return what a problem asks, as the checker takes it."""
    return [
        AskedCase(
            case.region.lower.ravel(),
            case.region.upper.ravel(),
            [(clause.matrix, clause.offset) for clause in case.specification.clauses],
            ball_of(case.region),
        )
        for case in problem.cases
    ]


class _Work:
    """One problem on its way to a proof."""

    def __init__(self, ground: Ground, problem: Problem, budget: Budget, trace: Trace) -> None:
        self._ground, self._cases, self._budget = ground, problem.cases, budget
        self._trace = trace
        self._rows = [stacked_rows(case.specification) for case in self._cases]
        self._inputs: list[BoxTree] = []
        self._kinds: list[int] = []
        self._trees: list[NeuronTree] = []

    def proof(self, specification_sha256: str | None) -> Proof | str:
        """Return the proof of all cases, or why one of them has none."""
        open_ = self._plain()
        if open_ is None:
            return "time was up before the checker had bounded every case"
        first_row = 0
        for place, case in enumerate(self._cases):
            region = case.region
            tree = BoxTree.whole(region.lower.ravel(), region.upper.ravel())
            if open_[place]:
                found = self._closed(place, case, first_row)
                if isinstance(found, str):
                    return found if len(self._cases) == 1 else f"case {place}: {found}"
                tree, kind = found
            else:
                kind = 0
            self._inputs.append(tree)
            self._kinds += [kind] * len(tree.leaves)
            first_row += len(self._rows[place][1])
        return self._assembled(specification_sha256)

    def _plain(self) -> NDArray[np.bool_] | None:
        """Return which cases the checker's bounds of the whole region leave open.

        None where there is no time for all of them; the first are always bounded.
        """
        margins = np.full(len(self._cases), -np.inf)
        groups: dict[bytes, list[int]] = {}
        for place, (matrix, _, clause) in enumerate(self._rows):
            groups.setdefault(matrix.tobytes() + clause.tobytes(), []).append(place)
        parts = [
            places[first : first + _CASES_AT_ONCE]
            for places in groups.values()
            for first in range(0, len(places), _CASES_AT_ONCE)
        ]
        for number, places in enumerate(parts):
            if number and self._budget.exhausted:
                return None
            matrix, offset, clause = self._rows[places[0]]
            found = self._ground.region_rows(
                [self._cases[place].region for place in places], matrix, np.zeros_like(offset)
            )
            offsets = np.stack([self._rows[place][1] for place in places])
            margins[places] = clause_margins(found - offsets, clause).min(axis=1)
        return ~(margins > 0)

    def _closed(self, place: int, case: Case, first_row: int) -> tuple[BoxTree, int] | str:
        """Close one case as a whole, by boxes or by splits inside the network."""
        share = self._budget.share(1.0 / (len(self._cases) - place))
        reason = "no proof was found"
        found = self._unsplit(place, case, first_row, share)
        if found is not None:
            return self._by_tree(case, found)
        if suits_boxes(self._ground.folded, case):
            tree = self._boxes(place, case, share)
            if tree is not None:
                return tree, 0
            reason = "the boxes that it takes are too many"
            if place in self._trace.by_boxes:
                return reason
        recorded = self._trace.neurons.get(place)
        leaves = None if recorded is None else recorded.best
        closer = NeuronCloser(self._ground, case, first_row, share, found=leaves)
        neurons = closer.close(hard=place in self._trace.hard)
        if neurons is None:
            return closer.reason
        return self._by_tree(case, neurons)

    def _unsplit(self, place: int, case: Case, first_row: int, budget: Budget) -> NeuronTree | None:
        """Close one case by what decided it, where that takes no split: duals, planes, windows."""
        duals = self._trace.duals.get(place)
        if duals is not None:
            found = DualCloser(self._ground, case, first_row, duals, budget=budget).close()
            if found is not None:
                return found
        if place in self._trace.by_cuts:
            found = PlaneCloser(self._ground, case, first_row, budget).close()
            if found is not None:
                return found
        if place in self._trace.by_windows:
            return WindowCloser(self._ground, case, first_row, budget).close()
        return None

    def _by_tree(self, case: Case, tree: NeuronTree) -> tuple[BoxTree, int]:
        """Close the whole region of a case by a tree."""
        self._trees.append(tree)
        region = case.region
        return BoxTree.whole(region.lower.ravel(), region.upper.ravel()), len(self._trees)

    def _boxes(self, place: int, case: Case, budget: Budget) -> BoxTree | None:
        """Close one case by boxes, with larger margins where these cost little."""
        region = case.region.lower.ravel(), case.region.upper.ravel()
        leaves = self._trace.boxes.of(place) if place in self._trace.by_boxes else None
        tree = BoxTree.whole(*region) if leaves is None else BoxTree.rebuilt(region, leaves)
        share = budget if leaves is not None else budget.share(0.7)
        began = time.monotonic()
        closer = BoxCloser(self._ground, case, share, _MOST_LEAVES)
        if not closer.close(tree):
            return None
        larger = tree.copy()
        closer.most_leaves = _EXTRA_LEAVES * len(tree.leaves) + 100
        closer.budget = budget.at_most(_EXTRA_TIME * (time.monotonic() - began) + 0.2)
        return larger if closer.widen(larger) else tree

    def _assembled(self, specification_sha256: str | None) -> Proof:
        network = self._ground.network
        orders = [(tree, tree.preorder()) for tree in self._inputs]
        inner = [(tree, order[tree.dim[order] >= 0]) for tree, order in orders]
        regions = [case.region for case in self._cases]
        counts = [len(offset) for _, offset, _ in self._rows]
        normalization = network.normalization
        return Proof(
            producer=_PRODUCER,
            network_sha256=hashlib.sha256(network.source).hexdigest(),
            specification_sha256=specification_sha256,
            normalization=None
            if normalization is None
            else (tuple(normalization.mean), tuple(normalization.std)),
            input_shape=network.input_shape,
            lower=np.stack([region.lower.ravel() for region in regions]),
            upper=np.stack([region.upper.ravel() for region in regions]),
            balls=_balls(regions),
            matrix=np.concatenate([matrix for matrix, _, _ in self._rows]),
            offset=np.concatenate([offset for _, offset, _ in self._rows]),
            row_case=np.repeat(np.arange(len(counts)), counts).astype(np.int32),
            row_clause=np.concatenate([clause for _, _, clause in self._rows]).astype(np.int32),
            tree=InputTree(
                np.concatenate([tree.dim[order] for tree, order in orders]).astype(np.int32),
                np.concatenate([tree.points(nodes) for tree, nodes in inner]),
                np.array(self._kinds, dtype=np.int32),
            ),
            trees=tuple(self._trees),
        )


def _balls(regions: Sequence[Box]) -> Balls | None:
    """Return the balls of regions, which all have one or none has."""
    balls = [region.ball for region in regions if region.ball is not None]
    if not balls:
        return None
    return Balls(
        int(balls[0].norm.value),
        np.stack([ball.center.ravel() for ball in balls]),
        np.stack([ball.radii.ravel() for ball in balls]),
    )
