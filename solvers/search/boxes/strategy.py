"""Which levels pay: measured on the boxes at hand, again and again.

The last level that boxes go through decides how many boxes there will be. Where a level leaves a
gap g between its bound and what was reached, and cuts shrink gaps with the square of the widths,
the number of boxes grows like (g / reached)^(d/2) for d inputs that matter; times the cost of one
box that is what a level costs in the end. Levels before the last one pay where they prove enough
boxes that the last one need not look at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from solvers.budget import Budget
from solvers.errors import UnsupportedMethodError
from solvers.search.boxes.boxes import Boxes
from solvers.search.boxes.engine import Engine
from solvers.search.boxes.levels import Bounded, Level

__all__ = ["Strategy"]

_SAMPLE = 48
"""Boxes that all levels are tried on."""
_COMPARING = 0.02
"""Share of the time left that comparing levels may take."""
_MOVING = 0.1
"""Share of the time spent that trying to move slopes may take: short searches do without."""
_FEWEST = 8
"""Fewer boxes say too little of a level."""
_MOST_INPUTS = 6
"""Of many inputs that vary, few matter to one box."""
_EVERY = 2.0
"""Levels are compared again when so many times more boxes were bounded."""
_DECAY = 0.8
_BLIND = {Level.INTERVAL, Level.FORWARD}
_BLIND_CUTS = 4.0
"""How many times more boxes it takes where cuts are not chosen by what inputs are to blame for."""


@dataclass
class _Record:
    """What a level was seen to do."""

    seconds: float = 0.0
    proved: float = 0.0
    looseness: float = 0.0


class Strategy:
    """Sends boxes through the levels that pay."""

    def __init__(self, engine: Engine, inputs: int) -> None:
        self._engine = engine
        self._power = min(inputs, _MOST_INPUTS) / 2
        self._records = {level: _Record() for level in Level}
        self._usable = list(engine.levels)
        self._final = Level.BACKWARD
        self._bounded, self._next_trial = 0, 1
        self._spent = 0.0

    @property
    def final(self) -> Level:
        """The level that boxes end with."""
        return self._final

    def bound(self, boxes: Boxes, budget: Budget) -> Bounded:
        """Bound boxes by the levels that pay, each only those that are still open."""
        if self._bounded >= self._next_trial:
            count = self._affordable(len(boxes), budget)
            if count >= _FEWEST:
                self._compare(boxes, budget, count)
        self._bounded += len(boxes)
        order: list[Tensor] = []
        parts: list[Bounded] = []
        places = torch.arange(len(boxes), device=boxes.case.device)
        for name in self._stages():
            found = self._timed(boxes, name, budget)
            open_ = found.boxes.worst <= 0
            if name == self._final:
                open_ = torch.zeros_like(open_)
            done = (~open_).nonzero().squeeze(1)
            rest = open_.nonzero().squeeze(1)
            parts.append(found[done])
            order.append(places[done])
            if not len(rest):
                break
            boxes, places = found.boxes[rest], places[rest]
        joined = Bounded.joined(parts)
        return joined[torch.cat(order).argsort()]

    def _stages(self) -> list[Level]:
        """Return the levels to go through, the last one last."""
        last = self._records[self._final]
        before = self._usable[: self._usable.index(self._final)]
        paying = [
            name
            for name in before
            if self._records[name].proved * last.seconds > 1.2 * self._records[name].seconds
            # Passes back are the first part of the level behind them.
            and name in _BLIND
        ]
        return [*paying, self._final]

    def _timed(self, boxes: Boxes, name: Level, budget: Budget) -> Bounded:
        began = time.perf_counter()
        found = self._engine.bound(boxes, name, budget)
        seconds = (time.perf_counter() - began) / len(boxes)
        self._spent += time.perf_counter() - began
        record = self._records[name]
        proved = float((found.boxes.worst > 0).double().mean())
        record.seconds = _blend(record.seconds, seconds)
        record.proved = _DECAY * record.proved + (1 - _DECAY) * proved
        return found

    def _affordable(self, boxes: int, budget: Budget) -> int:
        """Return on how many boxes there is time to try every level, as far as is known."""
        # With what boxes inherit, and without.
        seconds = max(1e-9, 2 * self._records[self._final].seconds)
        return int(min(_SAMPLE, boxes, _COMPARING * budget.remaining_seconds / seconds))

    def _compare(self, boxes: Boxes, budget: Budget, count: int) -> None:
        """Try every level on the same boxes, and choose the last one anew."""
        self._next_trial = int(_EVERY * max(self._bounded, 64))
        pick = torch.randperm(len(boxes), device=boxes.case.device)[:count]
        sample = boxes[pick]
        # A level that is used alone finds nothing to stand on.
        bare = replace(
            sample,
            bounds={},
            clause_lower=sample.clause_lower.masked_fill(sample.clause_lower <= 0, -torch.inf),
        )
        worst: dict[Level, Tensor] = {}
        for name in list(self._usable):
            some = bare if name is not Level.SLOPES else bare[: self._moved(count)]
            if not len(some):
                continue
            began = time.perf_counter()
            try:
                worst[name] = self._engine.bound(some, name, budget).boxes.worst
            except UnsupportedMethodError:
                self._usable.remove(name)
                continue
            if budget.exhausted:
                return
            record = self._records[name]
            record.seconds = (time.perf_counter() - began) / len(some)
            if name is not Level.SLOPES:
                inheriting = self._engine.bound(sample, name, budget).boxes.worst
                record.proved = float((inheriting > 0).double().mean())
        self._final = self._cheapest(worst, sample)

    def _moved(self, count: int) -> int:
        """Return on how many of the boxes of a trial slopes are moved; 0 where it is too early."""
        if self._final is Level.SLOPES:
            return count
        # Before slopes are moved, boxes are bounded backward.
        seconds = max(1e-9, 2 * self._records[Level.BACKWARD].seconds)
        fitting = min(count, int(_MOVING * self._spent / seconds))
        return fitting if fitting >= _FEWEST else 0

    def _cheapest(self, worst: dict[Level, Tensor], sample: Boxes) -> Level:
        """Return the level that is expected to cost least in the end, see above."""
        moved = worst.pop(Level.SLOPES, sample.reached[:0])
        reached = torch.stack([sample.reached, *worst.values()]).amax(0)
        reached[: len(moved)] = torch.maximum(reached[: len(moved)], moved)
        reached = reached.clamp(min=1e-12)
        reached = torch.where(sample.reached.isfinite(), reached, torch.ones_like(reached))
        loose = {name: _looseness(lower, reached) for name, lower in worst.items()}
        costs = {name: self._cost(name, float(values.mean())) for name, values in loose.items()}
        if len(moved):
            before = loose[Level.BACKWARD]
            gained = (before[: len(moved)] - _looseness(moved, reached[: len(moved)])).mean()
            costs[Level.SLOPES] = self._cost(Level.SLOPES, float(before.mean() - gained))
        return min(costs, key=lambda name: costs[name])

    def _cost(self, name: Level, looseness: float) -> float:
        """Return the logarithm of what a level is expected to cost in the end."""
        cost = looseness * self._power + _log(self._records[name].seconds)
        return cost + _log(_BLIND_CUTS) if name in _BLIND else cost


def _looseness(lower: Tensor, reached: Tensor) -> Tensor:
    """Return the logarithms of gaps as multiples of what was reached, shape `(boxes,)`."""
    gap = (reached - lower).clamp(max=1e30)
    return (gap / reached).clamp(min=1.0).log()


def _blend(old: float, new: float) -> float:
    return new if old == 0.0 else _DECAY * old + (1 - _DECAY) * new


def _log(value: float) -> float:
    return float(torch.tensor(max(value, 1e-9)).log())
