"""What every search is given and what it answers.

A search improves brackets in place: whatever it proves or finds is in them at once, so that it can
be interrupted at any moment without losing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ProgressHook", "SearchOutcome", "SearchProgress", "SearchStatus"]


class SearchStatus(StrEnum):
    """Why a search ended.

    `decided`: every bracket it was given has a verdict. `stalled`: nothing is left that it could
    split, though something is open. `unsupported`: the network or region is none it can split.
    """

    DECIDED = "decided"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    MEMORY = "memory"
    STALLED = "stalled"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands.

    Attributes:
        lower: Proved lower bound of the least margin, over all that it was given.
        upper: Least margin of any input tried.
        domains: Domains bounded so far.
        open_domains: Domains that wait.
        seconds: Since the search began.
    """

    lower: float
    upper: float
    domains: int
    open_domains: int
    seconds: float


ProgressHook = Callable[[SearchProgress], None]


@dataclass(frozen=True)
class SearchOutcome:
    """How a search ended; what it proved and found is in the brackets.

    Attributes:
        status: Why it ended.
        domains: Domains bounded, the roots included.
        seconds: Wall time.
        reason: In words, where the status is neither `decided` nor a limit of time.
    """

    status: SearchStatus
    domains: int
    seconds: float
    reason: str | None = None
