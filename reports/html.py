"""A certification as one page that stands alone: no network, no scripts, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from reports import charts
from reports.examples import Example, example
from reports.numbers import finite, settled
from reports.page import (
    MISSING,
    duration,
    number,
    percent,
    region_text,
    render,
    setting_rows,
)
from reports.summary import EXACT, bracket

__all__ = ["VERDICTS", "certification_html", "item_row", "run_rows", "summary_tiles"]

_MAX_COUNTEREXAMPLES = 24
VERDICTS = ("verified", "falsified", "unknown", "misclassified")


@dataclass(frozen=True)
class _Cell:
    """One number of the table; `good` where it proves the answer, `note` for who points at it."""

    text: str
    good: bool = False
    note: str = ""


def certification_html(
    report: Mapping[str, Any],
    *,
    inputs: Mapping[int, ArrayLike] | None = None,
    input_shape: Sequence[int] | None = None,
) -> str:
    """Return the report as a page.

    Args:
        report: As `certification_report` returns it.
        inputs: Raw inputs by index, at least of those with a counterexample, each of the
            network's input shape; counterexamples without one are not shown.
        input_shape: The network's input shape, where `inputs` are flat.

    Returns:
        HTML5 with inline styles, charts as SVG and pictures as data URIs.
    """
    methods = list(report["summary"]["certified_accuracy"])
    items = report["items"]
    bounds = [method for method in methods if method != EXACT]
    examples, left_out = _examples(report, inputs or {}, input_shape)
    return render(
        "certification.html",
        network=report["network"],
        region=region_text(report["region"]),
        settings=run_rows(report),
        tiles=summary_tiles(report["summary"]),
        accuracy=charts.accuracy_chart(report["summary"]),
        gaps=charts.gap_chart(items, methods),
        drawing=charts,
        bounds=bounds,
        has_exact=EXACT in methods,
        rows=[item_row(item, bounds) for item in items],
        has_reasons=any(item.get("reason") for item in items),
        verdicts=[
            (verdict, sum(item.get("verdict") == verdict for item in items)) for verdict in VERDICTS
        ],
        examples=examples,
        left_out=left_out,
    )


def summary_tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the key figures: name, value, explanation."""
    shares = [share for share in summary["certified_accuracy"].values() if share is not None]
    return [
        ("Inputs", str(summary["count"]), "certified in this run"),
        ("Clean accuracy", percent(summary["clean_accuracy"]), "right on the input itself"),
        (
            "Empirical accuracy",
            percent(summary["empirical_accuracy"]),
            "right, and no counterexample found",
        ),
        (
            "Certified accuracy",
            percent(max(shares, default=None)),
            "right, and proved for the whole region",
        ),
        (
            "Certified gap",
            percent(summary["certified_gap"]),
            "empirical minus certified: still open",
        ),
        ("Evidence", *_trust(summary)),
        ("Time", duration(summary["seconds"]), "of all methods together"),
    ]


def _trust(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return how many verdicts are checked, and on what the others rest."""
    counts = summary.get("evidence") or {}
    others = f"verdicts checked; {counts.get('solver', 0)} by a solver's word"
    return str(counts.get("checked", MISSING)), f"{others}, {counts.get('none', 0)} without"


def run_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was certified and how, as name and value."""
    network = report["network"]
    rows = [("network", str(network.get("name"))), ("sha256", str(network.get("sha256") or ""))]
    rows += setting_rows({**report["region"], **report["settings"]})
    return [(name, value) for name, value in rows if value]


def item_row(item: Mapping[str, Any], bounds: Sequence[str]) -> dict[str, Any]:
    """Return one line of the table of inputs."""
    low, high = bracket(item)
    seconds = [finite(value) or 0.0 for value in (item.get("seconds") or {}).values()]
    ends = (number(low), number(high))
    exact = ends[0] if ends[0] == ends[1] else f"[{ends[0]}, {ends[1]}]"
    return {
        "index": item.get("index"),
        "label": item.get("label"),
        "predicted": item.get("predicted"),
        "verdict": str(item.get("verdict")),
        "evidence": _evidence(item),
        "weak": item.get("verdict") == "verified" and item.get("evidence") != "checked",
        "proof": _proof(item),
        "lower": [_bound_cell(item, method) for method in bounds],
        "exact": _Cell(exact, good=low is not None and low > 0),
        "upper": number(item.get("upper")),
        "seconds": duration(sum(seconds)) if seconds else MISSING,
        "reason": item.get("reason") or "",
    }


def _evidence(item: Mapping[str, Any]) -> str:
    """Return how far a verdict can be trusted, and whether it holds for float32 inference."""
    word = str(item.get("evidence") or MISSING)
    return f"{word}, float32" if item.get("deployment_sound") is True else word


def _proof(item: Mapping[str, Any]) -> str:
    """Return what became of proving a verdict; empty where nobody tried."""
    proof = item.get("proof")
    if not proof:
        return ""
    if proof.get("reason"):
        return f"no proof: {proof['reason']}"
    left = finite(proof.get("deployment_margin"))
    after = "" if left is None else f", {number(left)} left after float32 rounding"
    return f"proof of {proof.get('bytes')} bytes, margin {number(proof.get('margin'))}{after}"


def _bound_cell(item: Mapping[str, Any], method: str) -> _Cell:
    """Return a method's bound, or in its place how the method ended; the rest is in the note."""
    bound = finite((item.get("lower") or {}).get(method))
    status = (item.get("status") or {}).get(method, "done")
    notes = [
        f"gap {number(settled((item.get('gap') or {}).get(method)))}",
        duration(finite((item.get("seconds") or {}).get(method)) or 0.0),
        str((item.get("reasons") or {}).get(method) or status),
    ]
    text = number(bound) if bound is not None or status == "done" else str(status)
    return _Cell(text, good=(bound or 0.0) > 0, note=", ".join(notes))


def _examples(
    report: Mapping[str, Any],
    inputs: Mapping[int, ArrayLike],
    input_shape: Sequence[int] | None,
) -> tuple[list[Example], int]:
    """Return the counterexamples to show, and how many more there are."""
    shown = [
        item
        for item in report["items"]
        if item.get("counterexample") and item.get("index") in inputs
    ]
    valid = report["region"].get("valid_range")
    examples = [
        example(item, inputs[item["index"]], input_shape=input_shape, valid_range=valid)
        for item in shown[:_MAX_COUNTEREXAMPLES]
    ]
    return examples, len(shown) - len(examples)
