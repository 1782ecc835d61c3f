"""The items of a certification as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from reports.numbers import finite
from reports.summary import EXACT, bracket, gap_of

__all__ = ["comparison_csv", "items_csv"]

_PLAIN = ("index", "label", "predicted", "verdict", "evidence")
# A spreadsheet runs a cell that starts like this as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def items_csv(items: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    """Return one line per input under a header; empty cells where nothing is known.

    Args:
        items: As a certification reports them.
        methods: The methods to list; each bound method gives a column `lower_METHOD`, and each
            method `gap_METHOD`, `seconds_METHOD` and `status_METHOD`.
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
        *(f"status_{method}" for method in methods),
        "reason",
        "deployment_sound",
        "deployment_margin",
        "proof_bytes",
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(_row(item, methods, bounds) for item in items)
    return text.getvalue()


def comparison_csv(sides: Sequence[Sequence[Mapping[str, Any]]], methods: Sequence[str]) -> str:
    """Return one line per input with the answers of every network side by side.

    Args:
        sides: The items of the baseline, then of each candidate, which may lack some inputs.
        methods: The methods to list, as for `items_csv`.
    """
    names = ["baseline", *(f"candidate{position}" for position in range(1, len(sides)))]
    bounds = [method for method in methods if method != EXACT]
    columns = [
        "predicted",
        "verdict",
        *(f"lower_{method}" for method in bounds),
        "upper",
        *(f"gap_{method}" for method in methods),
    ]
    header = ["index", "label", *(f"{name}_{column}" for name in names for column in columns)]
    by_index = [{item["index"]: item for item in items} for items in sides]
    labels = {item["index"]: item.get("label") for items in sides for item in items}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for index, label in sorted(labels.items()):
        cells = (_cells(known.get(index, {}), methods, bounds) for known in by_index)
        writer.writerow([index, _text(label), *(cell for side in cells for cell in side)])
    return text.getvalue()


def _cells(
    item: Mapping[str, Any], methods: Sequence[str], bounds: Sequence[str]
) -> list[str | float | None]:
    """Return what a comparison lists of one network's answer."""
    lower = item.get("lower") or {}
    return [
        _text(item.get("predicted")),
        _text(item.get("verdict")),
        *(finite(lower.get(method)) for method in bounds),
        finite(item.get("upper")),
        *(gap_of(item, method) for method in methods),
    ]


def _row(
    item: Mapping[str, Any], methods: Sequence[str], bounds: Sequence[str]
) -> list[str | float | None]:
    """Return the cells of one input."""
    lower, seconds = item.get("lower") or {}, item.get("seconds") or {}
    proof = item.get("proof") or {}
    return [
        *(_text(item.get(name)) for name in _PLAIN),
        *(finite(lower.get(method)) for method in bounds),
        finite(item.get("upper")),
        *bracket(item),
        *(gap_of(item, method) for method in methods),
        *(finite(seconds.get(method)) for method in methods),
        *(_text((item.get("status") or {}).get(method)) for method in methods),
        _text(item.get("reason")),
        _text(item.get("deployment_sound")),
        finite(proof.get("deployment_margin")),
        finite(proof.get("bytes")),
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
