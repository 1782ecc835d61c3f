"""How many domains a round takes, how long and in which way it works on them: as it pays."""

from __future__ import annotations

import math

__all__ = ["Choice", "Effort", "Pace"]

_FIRST = 16
_TRIAL = 0.08
"""Share of the time for which both trees are grown by turns."""
_EASY = 0.01
"""Share of the time that the first tree has for itself before."""
_LEAST_SECONDS = 0.3
_KEPT = 0.05
"""Share of the time that the tree that is further from its end gets all the same."""
_GAIN = 1.15
"""Twice as many domains must be faster by this factor to be kept."""
_PATIENCE = 0.02
_PROGRESS = 0.01
_WAIT = 4
"""Rounds without progress after which steps double."""
_MOST = 16
_ROUND_SECONDS = 0.5
"""Rounds longer than this report too seldom."""


class Pace:
    """Finds the size of rounds from measured throughput.

    Sizes double while domains per second rise. Timing is noisy, so that the best rate of each
    size counts, and a size is judged after two full rounds.

    Args:
        fixed: The size, where it is given.
        limit: The largest size that memory allows.
    """

    def __init__(self, fixed: int | None, limit: int) -> None:
        self.size = min(limit, _FIRST) if fixed is None else fixed
        self._limit, self._settled = limit, fixed is not None
        self._before = 0.0
        self._rates: list[float] = []

    def note(self, domains: int, seconds: float) -> None:
        """Take in what a round of that many domains took."""
        if self._settled or domains < self.size:
            return
        self._rates.append(domains / max(seconds, 1e-9))
        if len(self._rates) < 2:
            return
        rate = max(self._rates)
        self._rates.clear()
        if rate < _GAIN * self._before:
            self.size, self._settled = max(1, self.size // 2), True
        elif self.size / rate > _ROUND_SECONDS or 2 * self.size > self._limit:
            self._settled = True
        else:
            self._before, self.size = rate, 2 * self.size


class Effort:
    """Finds the number of gradient steps: few, and more while the search makes no progress.

    Where many splits bind, few steps leave their multipliers far from the best, and splitting
    goes on without end.

    Args:
        steps: To begin with.
    """

    def __init__(self, steps: int) -> None:
        self.steps = self._least = steps
        self._best, self._waited = -math.inf, 0

    @property
    def patience(self) -> float:
        """The share of what is missing that steps have to gain to go on."""
        return _PATIENCE * self._least / self.steps

    def note(self, lower: float) -> None:
        """Take in the bound after a round."""
        if lower > self._best + _PROGRESS * abs(self._best) or math.isinf(self._best):
            self._best, self._waited = lower, 0
            self.steps = max(self._least, self.steps // 2)
            return
        self._waited += 1
        if self._waited >= _WAIT:
            self._waited = 0
            self.steps = min(_MOST * self._least, 2 * self.steps)


class Choice:
    """Chooses which of two trees over the same region to grow: the one that will be closed sooner.

    A domain of depth d counts 2⁻ᵈ, so that all the leaves under one root count 1. What was closed
    fades with time, because what is left gets harder.

    Args:
        seconds: Left for the search; may be infinite.
        roots: Of each tree.
    """

    def __init__(self, seconds: float, roots: int) -> None:
        usual = seconds if math.isfinite(seconds) else 0.0
        self._easy = max(_LEAST_SECONDS, _EASY * usual)
        self._trial = max(_LEAST_SECONDS, _TRIAL * usual)
        self._left = [float(roots)] * 2
        self._spent, self._recent, self._closed = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]

    @property
    def second(self) -> bool:
        """Whether to grow the second tree."""
        first, second = self._spent
        if first < self._easy:
            return False
        if min(first, second) < max(self._trial, _KEPT * (first + second)):
            return second <= first
        return self._needed(1) <= self._needed(0)

    def note(self, *, second: bool, closed: float, seconds: float) -> None:
        """Take in what a tree closed in some time."""
        tree = int(second)
        fade = math.exp(-seconds / self._trial)
        self._spent[tree] += seconds
        self._left[tree] -= closed
        self._recent[tree] = fade * self._recent[tree] + seconds
        self._closed[tree] = fade * self._closed[tree] + closed

    def _needed(self, tree: int) -> float:
        """Return the seconds that a tree will need at its recent rate."""
        if self._closed[tree] <= 0:
            return math.inf
        return self._left[tree] * self._recent[tree] / self._closed[tree]
