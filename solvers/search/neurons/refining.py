"""Bounds inside the network, tightened for single domains.

A split makes relaxations tighter, and with them the bounds of everything behind them. Bounding them
again takes two rows per value, so that it pays where few values are left undecided: there it ends
the search of networks whose curves would otherwise be split for ever, and finds empty domains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from solvers.budget import Budget
from solvers.search.neurons.bounding import Bounder, Start
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.domains import Domains
from solvers.search.neurons.layout import Layout, Slot, rounded_out

__all__ = [
    "Refiner",
    "TightenedHook",
    "behind",
    "both_sides",
    "emptied",
    "start_of",
    "tightened",
]

_FEW = 24
"""So many undecided values cost about as much as a climb of a dozen steps."""

TightenedHook = Callable[[Domains, Tensor, Tensor], None]
"""Told of domains and of the bounds found in them, shape `(domains, size)` each."""


class Refiner:
    """Tightens the bounds of values that are still undecided.

    Args:
        layout: Numbers the values.
        bounder: Bounds them.
        row_limit: Most rows of one pass.
    """

    def __init__(self, layout: Layout, bounder: Bounder, *, row_limit: int) -> None:
        self._layout, self._bounder, self._row_limit = layout, bounder, row_limit
        self._slots = behind(layout, bounder)

    def cheap(self, domains: Domains) -> Tensor:
        """Return where tightening costs little beside a climb, shape `(domains,)`."""
        if len(self._slots) == 0:
            return torch.zeros(len(domains), dtype=torch.bool, device=domains.clause.device)
        undecided = self._layout.undecided(domains.lower, domains.upper)
        undecided[:, self._layout.slots[0].part] = False
        count = undecided.sum(1)
        return (count > 0) & (count <= _FEW)

    def refine(
        self, domains: Domains, budget: Budget, seen: TightenedHook | None = None
    ) -> Domains:
        """Tighten the bounds of domains; those found empty get an infinite floor.

        Args:
            domains: In which few values are undecided.
            budget: When to stop.
            seen: Told of the bounds found, crossed where a domain is empty.
        """
        lower, upper = domains.lower, domains.upper
        for slot in self._slots:
            rows = self._rows(slot, lower, upper)
            for part in _pieces(rows, self._row_limit):
                if budget.exhausted:
                    break
                start = start_of(slot, part[:, 1], part[:, 2])
                found = self._bounder.lower(start, self._terms(lower, upper, part))
                lower, upper = tightened(lower, upper, part, found)
        if seen is not None:
            seen(domains, lower, upper)
        infinity = torch.full_like(domains.floor, torch.inf)
        return emptied(domains, lower, upper, infinity)

    def _rows(self, slot: Slot, lower: Tensor, upper: Tensor) -> Tensor:
        """Return domain, value and side of every bound worth a row, shape `(rows, 3)`."""
        undecided = torch.zeros_like(lower, dtype=torch.bool)
        undecided[:, slot.part] = self._layout.undecided(lower, upper)[:, slot.part]
        undecided &= ~(lower > upper).any(1, keepdim=True)
        return both_sides(undecided)

    def _terms(self, lower: Tensor, upper: Tensor, rows: Tensor) -> Terms:
        domain = rows[:, 0]
        low, high = lower[domain], upper[domain]
        return Terms(low, high, (high > -low).to(low.dtype), torch.zeros_like(low))


def behind(layout: Layout, bounder: Bounder) -> tuple[Slot, ...]:
    """Return the slots whose values splits of others can tighten."""
    front = bounder.scene.front
    return tuple(slot for slot in layout.slots[1:] if slot.node.name not in front)


def start_of(slot: Slot, value: Tensor, side: Tensor) -> Start:
    """Return values of a slot, or their negatives, to bound from below.

    Args:
        slot: Of all of them.
        value: Numbers of values, shape `(rows,)`.
        side: 0 below, 1 above, the same shape.
    """
    return Start(slot.node, slot.indices[value - slot.part.start], 1.0 - 2.0 * side)


def _pieces(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    return tuple(rows[first : first + size] for first in range(0, len(rows), size))


def both_sides(wanted: Tensor) -> Tensor:
    """Return domain, value and side (0 below, 1 above) of bounds, shape `(rows, 3)`.

    Args:
        wanted: Values to bound, shape `(domains, size)`.
    """
    places = wanted.nonzero()
    side = torch.zeros_like(places[:, :1])
    return torch.cat([torch.cat([places, side], 1), torch.cat([places, side + 1], 1)])


def emptied(domains: Domains, lower: Tensor, upper: Tensor, floor: Tensor) -> Domains:
    """Return domains with tighter bounds; where these cross, with the old ones and a floor.

    Args:
        domains: That were tightened.
        lower: Their new bounds, shape `(domains, size)`.
        upper: The same.
        floor: Of those where no value is left, shape `(domains,)`.
    """
    empty = (lower > upper).any(1)
    return replace(
        domains,
        lower=torch.where(empty.unsqueeze(1), domains.lower, lower),
        upper=torch.where(empty.unsqueeze(1), domains.upper, upper),
        floor=torch.where(empty, torch.maximum(domains.floor, floor), domains.floor),
    )


def tightened(lower: Tensor, upper: Tensor, rows: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Return bounds with those that were found, rounded outward.

    Args:
        lower: Of domains, shape `(domains, size)`.
        upper: The same.
        rows: As of `both_sides`.
        found: Lower bounds of values below, and of their negatives above, shape `(rows,)`.
    """
    domain, value, side = rows.unbind(1)
    lower, upper = lower.clone(), upper.clone()
    below, above = side == 0, side == 1
    d, v = domain[below], value[below]
    lower[d, v] = torch.maximum(lower[d, v], rounded_out(found[below], up=False))
    d, v = domain[above], value[above]
    upper[d, v] = torch.minimum(upper[d, v], rounded_out(-found[above], up=True))
    return lower, upper
