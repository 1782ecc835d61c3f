"""A share of time that can be cut short: deadline and cancellation in one small object."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from solvers.errors import StoppedError

__all__ = ["Budget", "never_cancelled"]


def never_cancelled() -> bool:
    """Return False: nobody asked to stop."""
    return False


@dataclass(frozen=True)
class Budget:
    """When work has to stop.

    Attributes:
        deadline: On the clock of `time.monotonic()`; infinite for no limit.
        cancelled: Asked between steps; True means stop now.
    """

    deadline: float = math.inf
    cancelled: Callable[[], bool] = never_cancelled

    @classmethod
    def of_seconds(
        cls, seconds: float | None, cancelled: Callable[[], bool] = never_cancelled
    ) -> Budget:
        """Return a budget that starts now; None means no limit."""
        deadline = math.inf if seconds is None else monotonic() + seconds
        return cls(deadline, cancelled)

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.deadline - monotonic())

    @property
    def exhausted(self) -> bool:
        """Whether to stop now, for either reason."""
        return self.stop_reason is not None

    @property
    def stop_reason(self) -> str | None:
        """`cancelled`, `timeout`, or None while work may go on."""
        if self.cancelled():
            return "cancelled"
        return "timeout" if monotonic() >= self.deadline else None

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            StoppedError: There is none, or somebody cancelled.
        """
        reason = self.stop_reason
        if reason is not None:
            raise StoppedError(f"stopped in the middle of a computation: {reason}")

    def share(self, fraction: float) -> Budget:
        """Return a budget that ends after that share of the time left."""
        if math.isinf(self.deadline):
            return self
        return Budget(monotonic() + fraction * self.remaining_seconds, self.cancelled)

    def at_most(self, seconds: float) -> Budget:
        """Return a budget that ends after `seconds`, or with this one if that is sooner."""
        return Budget(min(self.deadline, monotonic() + seconds), self.cancelled)
