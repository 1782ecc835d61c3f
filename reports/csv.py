"""The items of a certification as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import finite
from reports.summary import EXACT, bracket, gap_of

__all__ = ["items_csv"]

_PLAIN = ("index", "label", "predicted", "verdict", "evidence")
# A spreadsheet runs a cell that starts like this as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def items_csv(items: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    """Return one line per input under a header; empty cells where nothing is known.

    Args:
        items: As a certification reports them.
        methods: The methods to list; each bound method gives a column `lower_METHOD`, and each
            method `gap_METHOD` and `seconds_METHOD`.
    """
    bounds = [method for method in methods if method != EXACT]
    header = [
        *_PLAIN,
        *(f"lower_{method}" for method in bounds),
        "upper",
        "exact_lower",
        "exact_upper",
        *(f"gap_{method}" for method in methods),
        *(f"seconds_{method}" for method in methods),
        "reason",
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(_row(item, methods, bounds) for item in items)
    return text.getvalue()


def _row(
    item: Mapping[str, Any], methods: Sequence[str], bounds: Sequence[str]
) -> list[str | float | None]:
    """Return the cells of one input."""
    lower, seconds = item.get("lower") or {}, item.get("seconds") or {}
    return [
        *(_text(item.get(name)) for name in _PLAIN),
        *(finite(lower.get(method)) for method in bounds),
        finite(item.get("upper")),
        *bracket(item),
        *(gap_of(item, method) for method in methods),
        *(finite(seconds.get(method)) for method in methods),
        _text(item.get("reason")),
    ]


def _text(value: object) -> str:
    """Return a cell's text; one that would run as a formula gets an apostrophe in front."""
    text = "" if value is None else str(value)
    # A negative number is no formula, and must stay a number.
    if text.startswith(_FORMULA_STARTS) and _number(text) is None:
        return "'" + text
    return text


def _number(text: str) -> float | None:
    """Return the number that a text states, or None."""
    try:
        return finite(float(text))
    except ValueError:
        return None
