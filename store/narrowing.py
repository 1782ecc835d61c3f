"""Whether an answer for one input, computed by some methods, answers a question about others.

What a method proves does not depend on which others were asked for, so an answer by more methods
than asked holds the answer for fewer: their bounds, and a verdict where one of them gives it. Three
things keep it consistent. A `verified` that only a method beyond those asked for has proved is not
taken over, since nothing shown would support it. A method that was stopped by its time may have
shared that time with methods that are not asked for now. And an input that failed or did not fit
into memory is worth another try.

The other way round nothing is taken over: an answer by fewer methods is computed anew with all of
them. The methods of one answer share a bracket, from which upper bound, gaps and verdict follow,
and exact search starts from the bounds of the others; two answers put together would mix two
brackets, to save what is cheap beside the search.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["narrowed"]

_TRY_AGAIN = frozenset({"failed", "memory", "cancelled"})
_BY_METHOD = ("lower", "gap", "status", "reasons")
_NOT_PROVED = "not proved by the methods asked for"


def narrowed(
    item: Mapping[str, Any], asked: Sequence[str], computed: Collection[str]
) -> dict[str, Any] | None:
    """Return an answer as if only the methods asked for had run; None where it is no answer.

    Args:
        item: As reports print it.
        asked: Methods.
        computed: Methods that were asked for when it was computed.
    """
    status = item.get("status", {})
    if not set(asked) <= set(computed) or any(status.get(one) in _TRY_AGAIN for one in asked):
        return None
    if set(asked) == set(computed) or item["verdict"] == "misclassified":
        return dict(item)
    if any(status.get(one, "done") != "done" for one in asked):
        return None
    lower = item["lower"]
    if item["verdict"] == "verified" and not any((lower.get(one) or 0) > 0 for one in asked):
        return None
    kept = {name: _only(item.get(name, {}), asked) for name in _BY_METHOD}
    return {
        **item,
        **kept,
        "seconds": _only(item["seconds"], ("attack", *asked)),
        "exact": item["exact"] if "exact" in asked else None,
        "reason": _NOT_PROVED if item["verdict"] == "unknown" else item["reason"],
    }


def _only(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
