"""What is said of inputs that were given up after too many attempts.

A user wants the answers for all other inputs, and to see at once which ones are missing and why.
So such an input is `unknown`, which no figure counts as certified, and the job succeeds; only where
not one input was answered has the job failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.chunks import ATTEMPTS, Parked
from worker.errors import RemoteError

__all__ = ["nothing_answered", "unknown_item"]


def unknown_item(
    index: int, methods: Sequence[str], error: Mapping[str, Any], *, label: int | None = None
) -> dict[str, Any]:
    """Return the item of an input that was given up.

    Args:
        index: Of the input in the data set.
        methods: That were asked for.
        error: What happened last: `type` and `message`.
        label: Of the input, where it is known.
    """
    reason = f"given up after {ATTEMPTS} attempts: {error['message']}"
    return {
        "index": index,
        "label": label,
        "predicted": None,
        "verdict": "unknown",
        "evidence": "none",
        "lower": {},
        "upper": None,
        "exact": None,
        "gap": {},
        "seconds": {},
        "counterexample": None,
        "reason": reason,
        # `failed` is what keeps it from answering later requests.
        "status": dict.fromkeys(methods, "failed"),
        "reasons": dict.fromkeys(methods, reason),
    }


def nothing_answered(parked: Sequence[Parked]) -> RemoteError:
    """Return why a job failed of which every input was given up."""
    error = parked[0].error
    return RemoteError(str(error["type"]), str(error["message"]))
