"""Screening, then descents: the attack as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import BoundsError
from models.network import Network
from solvers.attack.descent import Descent, clearly_falsified, descend
from solvers.attack.geometry import balls_of
from solvers.attack.objectives import ClauseBatch, clause_margins
from solvers.attack.options import AttackOptions, AttackResult
from solvers.attack.starts import Plan, corners_of, landmarks, make_plan, random_points
from solvers.attack.surrogates import with_slopes
from solvers.budget import Budget
from solvers.float32_region import runnable_box
from solvers.problem import Case

__all__ = ["attack"]


# Values kept per node of the graph while a gradient is computed: forward, backward, scratch.
_COPIES = 3
# Points that run at once also bound the time between two looks at the budget. Where layers are
# dense, that time comes from the weights; this many of them take about as long as one activation
# of a convolution.
_WEIGHTS = 100


def attack(
    network: Network, cases: Sequence[Case], options: AttackOptions, *, budget: Budget
) -> list[AttackResult]:
    """Search each case for an input of low margin, on the network's device.

    Centre and corners come first. Then, in rounds, random points are screened, and from the best
    of them and from others, projected gradient descents aim at the most promising clauses. A
    case whose margin is clearly below zero is left alone. The same seed gives the same
    candidates on the same machine, as long as the budget does not cut in.

    Args:
        network: Float parameters of any width; the search runs in float32.
        cases: Regions of shape `network.input_shape`, specifications of as many outputs.
        options: How hard to try.
        budget: Asked between steps; when it is exhausted, the best so far is returned.

    Returns:
        One result per case, in order.

    Raises:
        ShapeError: A region or a specification does not fit the network.
        BoundsError: A region is beyond the range of float32, or norms differ.
    """
    _check(network, cases)
    search = _Search(network, cases, options, budget)
    search.survey()
    for number in range(options.rounds):
        search.round(number)
    return search.results()


def _check(network: Network, cases: Sequence[Case]) -> None:
    norms = {None if case.region.ball is None else case.region.ball.norm for case in cases}
    if len(norms) > 1:
        raise BoundsError("regions that are attacked together must all be of the same norm")
    for case in cases:
        case.require_fit(network.input_shape, network.output_size)


class _Search:
    """The state of one attack."""

    def __init__(
        self, network: Network, cases: Sequence[Case], options: AttackOptions, budget: Budget
    ) -> None:
        self.network = with_slopes(network.to(torch.float32, network.device))
        self.cases = cases
        self.options = options
        self.budget = budget
        self.boxes = [runnable_box(case.region) for case in cases]
        # A generator for each: what is found does not depend on who shares the batch.
        self.random = [torch.Generator().manual_seed(options.seed) for _ in cases]
        activations = sum(node.size for node in network.graph.nodes)
        weights = sum(value.numel() for value in network.parameters.values())
        cost = 4 * _COPIES * (activations + weights // _WEIGHTS)
        self.points = max(1, options.memory_bytes // cost)
        self.margin = np.full(len(cases), np.inf)
        self.best: dict[int, NDArray[np.float32]] = {}
        self.settled = np.zeros(len(cases), dtype=bool)

    @property
    def over(self) -> bool:
        """Whether to stop now."""
        first = self.options.stop_at_first and bool(self.settled.any())
        return first or self.budget.exhausted

    def run(self, x: Tensor) -> Tensor:
        """Return outputs, shape `(batch, outputs)`, of `(batch, *input_shape)`."""
        return self.network(x).flatten(1)

    def survey(self) -> None:
        """Evaluate the landmarks of every case."""
        for chunk in _chunks(range(len(self.cases)), self.points // 3):
            if self.over:
                return
            points = landmarks([self.cases[i] for i in chunk], [self.boxes[i] for i in chunk])
            self._screen(chunk, points)

    def round(self, number: int) -> None:
        """Screen random points of the open cases, and descend from the best of them."""
        growth = self.options.growth**number
        descents = min(self.options.restarts * growth, self.points)
        samples = self.options.samples * descents // self.options.restarts
        still_open = [i for i in self.best if not self.settled[i]]
        still_open.sort(key=lambda i: float(self.margin[i]))
        for chunk in _chunks(still_open, self.points // descents):
            plans = {}
            for index in chunk:
                if self.over:
                    return
                plan = self._plan(index, descents, samples)
                if not self.settled[index]:
                    plans[index] = plan
            if plans:
                self._descend(list(plans), list(plans.values()))

    def _screen(self, chunk: Sequence[int], points: Tensor) -> Tensor:
        """Return outputs, shape `(cases, points, outputs)`, and note the best."""
        with torch.no_grad():
            parts = torch.split(points.flatten(0, 1), self.points)
            y = torch.cat([self.run(part.to(self.network.device)).cpu() for part in parts])
        y = y.reshape(*points.shape[:2], -1)
        for position, index in enumerate(chunk):
            margins = clause_margins(self.cases[index].specification, y[position].numpy())
            point = int(margins.min(axis=1).argmin())
            margin = torch.tensor(float(margins[point].min()))
            settled = bool(clearly_falsified(margin, y[position, point]))
            self._note(index, float(margin), points[position, point], settled=settled)
        return y

    def _note(self, index: int, margin: float, x: Tensor, *, settled: bool) -> None:
        if margin < self.margin[index] or index not in self.best:
            self.margin[index], self.best[index] = margin, x.cpu().numpy().copy()
            self.settled[index] = settled

    def _plan(self, index: int, descents: int, samples: int) -> Plan:
        box = self.boxes[index]
        marks = landmarks([self.cases[index]], [box])[0]
        best = torch.from_numpy(self.best[index]).unsqueeze(0)
        random = self.random[index]
        points = torch.cat([best, marks, random_points(box, samples, random)])
        y = self._screen([index], points.unsqueeze(0))[0]
        fresh = random_points(box, descents, random)
        limit = min(self.options.clauses, descents)
        return make_plan(self.cases[index], points, y.numpy(), clauses=limit, fresh=fresh)

    def _descend(self, chunk: Sequence[int], plans: Sequence[Plan]) -> None:
        device = self.network.device
        boxes = [self.boxes[i] for i in chunk]
        lower, upper = corners_of(boxes)
        balls = balls_of(boxes)
        wander = torch.stack([plan.wander for plan in plans]).unsqueeze(-1)
        shape = (wander.shape[1], self.network.output_size)
        shares = torch.stack([torch.rand(shape, generator=self.random[i]) for i in chunk])
        direction = wander * (2 * shares - 1)
        descent = Descent(
            run=self.run,
            lower=lower.to(device),
            upper=upper.to(device),
            start=torch.stack([plan.start for plan in plans]).to(device),
            clauses=ClauseBatch.of([plan.clauses for plan in plans], device),
            target=torch.stack([plan.target for plan in plans]).to(device),
            stride=torch.stack([plan.stride for plan in plans]).to(device),
            direction=direction.to(device),
            balls=None if balls is None else balls.to(device),
        )
        found = descend(descent, self.options, self.budget)
        for row, index in enumerate(chunk):
            margin, settled = float(found.margin[row]), bool(found.settled[row])
            self._note(index, margin, found.x[row], settled=settled)

    def _inside(self, index: int) -> NDArray[np.float32] | None:
        """Return the best point of a case, moved inside exactly, or None if there is none."""
        best = self.best.get(index)
        if best is None:
            return None
        x = self.boxes[index].nearest(best)
        return x if self.boxes[index].contains(x) else None

    def results(self) -> list[AttackResult]:
        """Judge the best point of every case in float64, inside its region exactly."""
        network = self.network.to(torch.float64, self.network.device)
        results = []
        for index, case in enumerate(self.cases):
            margin = np.inf
            x = self._inside(index)
            if x is not None:
                wide = torch.from_numpy(x).to(self.network.device, torch.float64)
                with torch.no_grad():
                    y = network(wide.unsqueeze(0)).flatten(1).cpu().numpy()
                margin = float(clause_margins(case.specification, y).min())
            known = np.isfinite(margin)
            results.append(AttackResult(margin if known else np.inf, x if known else None))
        return results


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), max(1, size)):
        yield items[start : start + max(1, size)]
