"""Items of certifications, as a report holds them, for the tests of what is made of them."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

METHODS = ["ibp", "crown", "exact"]


def item(
    index: int,
    verdict: str,
    *,
    lower: tuple[float, float] | None = None,
    exact: tuple[float, float] | None = None,
    upper: float | None = None,
    **others: object,
) -> dict[str, Any]:
    """Return one item; gaps follow from `upper` and the bounds."""
    bounds = {} if lower is None else dict(zip(METHODS, lower, strict=False))
    top = upper if exact is None else exact[1]
    gap = {} if top is None else {method: top - bound for method, bound in bounds.items()}
    return {
        "index": index,
        "label": 3,
        "predicted": 3,
        "verdict": verdict,
        "evidence": "solver" if verdict == "verified" else "checked",
        "lower": bounds,
        "upper": upper,
        "exact": None if exact is None else list(exact),
        "gap": gap,
        "seconds": {} if lower is None else {"ibp": 0.25, "crown": 0.5, "exact": 1.0},
        "counterexample": None,
        "reason": None,
        **others,
    }


FIVE_ITEMS: list[dict[str, Any]] = [
    item(0, "verified", lower=(-4.0, 0.5), exact=(1.0, 1.0), upper=1.0),
    item(1, "verified", lower=(-3.5, -0.5), exact=(0.5, 0.5), upper=0.5),
    item(2, "falsified", lower=(-4.0, -1.25), exact=(-1.0, -1.0), upper=-1.0),
    item(3, "unknown", lower=(-5.0, -1.0), exact=(-0.5, 1.0), upper=1.0, reason="timeout"),
    item(4, "misclassified", label=1, predicted=7),
]


def items_strategy() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists of items with any mixture of missing, infinite and ordinary numbers."""
    number = st.one_of(
        st.none(),
        st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
        st.floats(min_value=-1e6, max_value=1e6),
    )
    methods = st.dictionaries(st.sampled_from(METHODS), number)
    one = st.fixed_dictionaries(
        {
            "index": st.integers(0, 1000),
            "label": st.integers(0, 3),
            "predicted": st.one_of(st.none(), st.integers(0, 3)),
            "verdict": st.sampled_from(["verified", "falsified", "unknown", "misclassified"]),
            "evidence": st.sampled_from(["checked", "solver", "none"]),
            "lower": methods,
            "upper": number,
            "exact": st.one_of(st.none(), st.tuples(number, number)),
            "gap": methods,
            "seconds": methods,
            "counterexample": st.none(),
            "reason": st.one_of(st.none(), st.text(max_size=10)),
        }
    )
    return st.lists(one, max_size=8)
