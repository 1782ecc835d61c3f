"""One correctly classified input on its way through the methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from solvers.bracket import Bracket
from solvers.certification.per_item import MethodResult, MethodStatus
from solvers.exact import ExactResult, ExactStatus
from solvers.methods import Method
from solvers.proof.producing.trace import Trace

__all__ = ["Work"]

_EXACT_STATUSES: Mapping[ExactStatus, MethodStatus] = {
    ExactStatus.TIMEOUT: MethodStatus.TIMEOUT,
    ExactStatus.CANCELLED: MethodStatus.CANCELLED,
    ExactStatus.UNSUPPORTED: MethodStatus.UNSUPPORTED,
    ExactStatus.TOO_LARGE: MethodStatus.MEMORY,
}


@dataclass
class Work:
    """What the methods have found about one input so far.

    Attributes:
        bracket: What is known of its case.
        predicted: The class that the network gives.
        lower, seconds, status, reasons: By method; a reason only where the status is not `done`.
        exact: Bracket of the exact margin, once it was searched.
        reason: Why there may be no verdict, as far as the last method knows.
        unbounded: Where infinite bounds begin, if the input has them.
        trace: Takes down what a proof can build on; None where none is wanted.
    """

    bracket: Bracket
    predicted: int
    lower: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    exact: tuple[float, float] | None = None
    reason: str | None = None
    unbounded: str | None = None
    trace: Trace | None = None

    def note(self, method: Method, result: MethodResult) -> None:
        """Take over what a method proved; one that proved nothing leaves no bound."""
        self.ended(method, result.status, result.reason)
        self.seconds[method.value] = result.seconds
        if result.status is not MethodStatus.DONE and not math.isfinite(result.lower):
            return
        self.bracket.prove(result.clause_lower)
        self.lower[method.value] = result.lower

    def note_exact(self, result: ExactResult) -> None:
        """Take over how the exact search ended; the bracket has its numbers already."""
        status = _EXACT_STATUSES.get(result.status, MethodStatus.DONE)
        self.ended(Method.EXACT, status, result.why_unknown)
        self.reason = result.why_unknown

    def ended(self, method: Method, status: MethodStatus, reason: str | None) -> None:
        """Note how a method ended."""
        self.status[method.value] = status.value
        self.reasons.pop(method.value, None)
        if status is not MethodStatus.DONE:
            self.reasons[method.value] = reason or status.value
            self.reason = reason or status.value
