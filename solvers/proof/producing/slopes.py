"""Slopes and multipliers of leaves, made small: rounded, shared where bounds allow it, pruned.

Any slopes and multipliers are sound, so that the only question is whether what is proved with them
still suffices. It is asked of the search's own bounds in float64; the checker has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.search.neurons.bounding import Bounder, Functions
from solvers.search.neurons.crossing import Terms

__all__ = ["Compact", "compacted", "quantised"]

_BATCH = 256
_ROUNDS = 12
"""Tries to find slopes that many leaves can share."""
_WORTH = 0.05
"""A row that fewer of the leaves can share ends the tries."""
_ADAPTIVE = -1
Kind = type[np.uint8] | type[np.uint16]
_KINDS: tuple[Kind, ...] = (np.uint8, np.uint16)
_LEAST_SHARES = (1e-2, 1e-4)
"""Multipliers below such a share of a leaf's largest are dropped, if the bound allows it."""


@dataclass(frozen=True, eq=False)
class Compact:
    """What leaves are proved with.

    Attributes:
        alpha: Rows of slopes, shape `(slopes, values)`, uint8 or uint16.
        chosen: Row of every leaf, −1 for adaptive slopes, shape `(leaves,)`.
        gamma: Multipliers, shape `(leaves, values)`, float32.
        lower: Proved bound, shape `(leaves,)`.
    """

    alpha: NDArray[np.uint8] | NDArray[np.uint16]
    chosen: NDArray[np.int32]
    gamma: Tensor
    lower: Tensor


def quantised(alpha: Tensor, kind: Kind) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return slopes in [0, 1] as the nearest fractions of the largest integer of a type."""
    top = int(np.iinfo(kind).max)
    whole: NDArray[np.float64] = np.rint(alpha.double().cpu().numpy() * top)
    return whole.astype(np.uint8) if top == np.iinfo(np.uint8).max else whole.astype(np.uint16)


def _rounded(alpha: Tensor, kind: Kind) -> Tensor:
    top = int(np.iinfo(kind).max)
    return (alpha.double() * top).round() / top


def compacted(bounder: Bounder, functions: Functions, terms: Terms, need: float) -> Compact | None:
    """Return smaller slopes and multipliers with which every leaf is proved all the same.

    Args:
        bounder: Bounds leaves in float64.
        functions: The row that is proved in each leaf.
        terms: Of each leaf.
        need: What bounds have to exceed.

    Returns:
        None where rounding costs some leaf its proof.
    """
    for kind in _KINDS:
        found = _Table(bounder, functions, terms, need, kind).fill()
        if found is not None:
            return found
    return None


class _Table:
    """Rows of slopes of one type, and which leaf uses which."""

    def __init__(
        self,
        bounder: Bounder,
        functions: Functions,
        terms: Terms,
        need: float,
        kind: Kind,
    ) -> None:
        self._bounder, self._functions, self._need = bounder, functions, need
        self._terms, self._kind = terms, kind
        count = len(terms.alpha)
        self._rows: list[Tensor] = []
        self._chosen = torch.full((count,), _ADAPTIVE, dtype=torch.int32)
        self._lower = torch.full((count,), -torch.inf, dtype=torch.float64)
        self._slopes = (terms.upper > -terms.lower).to(terms.alpha.dtype)
        # A slope matters where a leaf leaves its value undecided, nowhere else.
        self._unstable = (terms.lower < 0) & (terms.upper > 0)

    def fill(self) -> Compact | None:
        """Try the cheapest rows first, a row of its own for each leaf last."""
        left = torch.arange(len(self._chosen))
        left = self._try(left, self._slopes, _ADAPTIVE)
        for _ in range(_ROUNDS):
            if len(left) < 2:
                break
            weight = self._unstable[left].to(torch.float64)
            sums = (self._terms.alpha[left].double() * weight).sum(0)
            row = _rounded(sums / weight.sum(0).clamp(min=1.0), self._kind)
            after = self._try(left, row.expand(len(self._chosen), -1), len(self._rows))
            if len(after) < len(left):
                self._rows.append(row)
            if len(left) - len(after) <= _WORTH * len(left):
                left = after
                break
            left = after
        left = self._own(left)
        return None if len(left) else self._pruned()

    def _own(self, left: Tensor) -> Tensor:
        first = len(self._rows)
        slopes = _rounded(self._terms.alpha * self._unstable, self._kind)
        numbers = torch.full_like(self._chosen, _ADAPTIVE)
        numbers[left] = torch.arange(first, first + len(left), dtype=torch.int32)
        self._rows += list(slopes[left])
        return self._try(left, slopes, numbers)

    def _try(self, left: Tensor, slopes: Tensor, numbers: Tensor | int) -> Tensor:
        """Prove some leaves with such slopes; return those that are not proved."""
        if len(left) == 0:
            return left
        terms = replace(self._terms[left], alpha=slopes[left].to(self._terms.alpha.dtype))
        lower = self._bounds(left, replace(terms, alpha=slopes[left].double()))
        proved = left[lower > self._need]
        self._lower[proved] = lower[lower > self._need]
        self._chosen[proved] = numbers if isinstance(numbers, int) else numbers[proved]
        return left[~(lower > self._need)]

    def _bounds(self, places: Tensor, terms: Terms) -> Tensor:
        parts = [
            self._bounder.lower(
                self._functions[places[i : i + _BATCH].to(self._functions.offset.device)],
                self._wide(terms[slice(i, i + _BATCH)]),
            ).double()
            for i in range(0, len(places), _BATCH)
        ]
        return torch.cat(parts).cpu()

    def _pruned(self) -> Compact:
        """Drop multipliers that bounds do not miss."""
        rows = torch.stack(self._rows) if self._rows else self._slopes[:0].double()
        adaptive = self._chosen == _ADAPTIVE
        slopes = rows[self._chosen.clamp(min=0).long()] if len(rows) else self._slopes.double()
        slopes = torch.where(adaptive.unsqueeze(1), self._slopes.double(), slopes)
        gamma = self._terms.gamma.float()
        largest = gamma.abs().amax(1, keepdim=True) if gamma.shape[1] else gamma
        left = torch.arange(len(gamma))
        for share in _LEAST_SHARES:
            fewer = torch.where(gamma[left].abs() < share * largest[left], 0.0, gamma[left])
            terms = replace(self._terms[left], alpha=slopes[left], gamma=fewer)
            lower = self._bounds(left, terms)
            enough = lower > self._need
            gamma[left[enough]] = fewer[enough]
            self._lower[left[enough]] = lower[enough]
            left = left[~enough]
            if len(left) == 0:
                break
        return Compact(quantised(rows, self._kind), self._chosen.numpy(), gamma, self._lower)

    def _wide(self, terms: Terms) -> Terms:
        device = self._functions.offset.device
        parts = (terms.lower, terms.upper, terms.alpha, terms.gamma)
        return Terms(*(part.to(device, torch.float64) for part in parts))
