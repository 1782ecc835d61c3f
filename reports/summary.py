"""The figures of a whole set: how much is right, right under attack, and proved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import finite, mean

__all__ = [
    "EVIDENCE",
    "EXACT",
    "best_certified",
    "bracket",
    "certified",
    "correct",
    "gap_of",
    "summarize",
    "verdict_counts",
]

EXACT = "exact"
EVIDENCE = ("checked", "solver", "none")
Item = Mapping[str, Any]


def correct(item: Item) -> bool:
    """Return whether the input itself is classified as its label says."""
    predicted = item.get("predicted")
    return predicted is not None and predicted == item.get("label")


def bracket(item: Item) -> tuple[float | None, float | None]:
    """Return what the exact search proved of the margin, `(lo, hi)`; None where it proved none."""
    pair = item.get("exact") or (None, None)
    return finite(pair[0]), finite(pair[1])


def certified(item: Item, method: str) -> bool:
    """Return whether `method` proves that the answer stays right on the whole region.

    A bound method proves it with a lower bound above 0, the exact search with the lower end of
    its bracket or with its verdict. A tie of two logits counts as a wrong answer, so 0 proves
    nothing.
    """
    if not correct(item):
        return False
    if method == EXACT:
        low, _ = bracket(item)
        return item.get("verdict") == "verified" or (low is not None and low > 0)
    lower = finite((item.get("lower") or {}).get(method))
    return lower is not None and lower > 0


def gap_of(item: Item, method: str) -> float | None:
    """Return how far the method's lower bound lies below the truth, or below the best upper bound.

    For `exact` it is the width of the bracket that the search left.
    """
    stated = finite((item.get("gap") or {}).get(method))
    if stated is not None or method != EXACT:
        return stated
    low, high = bracket(item)
    return None if low is None or high is None else high - low


def _share(count: int, total: int) -> float | None:
    """Return count / total, or None for an empty set: nothing is known about it."""
    return count / total if total else None


def summarize(items: Sequence[Item], methods: Sequence[str]) -> dict[str, Any]:
    """Return the summary of a certification.

    Args:
        items: One mapping per input: `index`, `label`, `predicted`, `verdict`, `lower`, `upper`,
            `exact`, `gap`, `seconds`, as a certification reports them. Missing, null and
            non-finite numbers prove nothing and are left out of means.
        methods: The methods to report, in this order.

    Returns:
        `count`; `clean_accuracy`, `empirical_accuracy` (right, and no counterexample is known) and
        `certified_accuracy` by method, shares in [0, 1]; `certified_gap`, the empirical accuracy
        minus that of the method that proves most; `mean_gap` by method; `falsified` and `unknown`
        inputs; `evidence`, how many verdicts were checked, rest on the word of a solver, or on
        nothing; `deployment_sound`, how many verified inputs are known to withstand float32
        rounding too; `seconds` of all methods together. Shares and means of nothing are None.
    """
    total = len(items)
    right = [item for item in items if correct(item)]
    withstood = sum(item.get("verdict") != "falsified" for item in right)
    proved = {method: sum(certified(item, method) for item in items) for method in methods}
    return {
        "count": total,
        "clean_accuracy": _share(len(right), total),
        "empirical_accuracy": _share(withstood, total),
        "certified_accuracy": {method: _share(count, total) for method, count in proved.items()},
        "certified_gap": _share(withstood - max(proved.values()), total) if proved else None,
        "mean_gap": {method: mean(gap_of(item, method) for item in items) for method in methods},
        "falsified": sum(item.get("verdict") == "falsified" for item in items),
        "unknown": sum(item.get("verdict") == "unknown" for item in items),
        "evidence": {
            name: sum(item.get("evidence") == name for item in items) for name in EVIDENCE
        },
        "deployment_sound": sum(item.get("deployment_sound") is True for item in items),
        "seconds": math.fsum(
            finite(value) or 0.0 for item in items for value in (item.get("seconds") or {}).values()
        ),
    }


def best_certified(summary: Mapping[str, Any]) -> float | None:
    """Return the certified accuracy of the method that proves most."""
    shares = map(finite, summary["certified_accuracy"].values())
    return max((share for share in shares if share is not None), default=None)


def verdict_counts(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return how many inputs a summary has of each verdict."""
    count = summary["count"]
    misclassified = count - round((finite(summary["clean_accuracy"]) or 0.0) * count)
    falsified, unknown = summary["falsified"], summary["unknown"]
    return {
        "verified": count - misclassified - falsified - unknown,
        "falsified": falsified,
        "unknown": unknown,
        "misclassified": misclassified,
    }
