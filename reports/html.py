"""A certification as one page that stands alone: no network, no scripts, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reports import charts
from reports.numbers import finite
from reports.page import (
    MISSING,
    duration,
    number,
    percent,
    region_text,
    render,
    setting_rows,
)
from reports.pictures import Layout, Pictures, image_layout, pictures
from reports.summary import EXACT, bracket

__all__ = ["certification_html"]

_MAX_COUNTEREXAMPLES = 24
_MAX_CHANGES = 8
VERDICTS = ("verified", "falsified", "unknown", "misclassified")


@dataclass(frozen=True)
class _Cell:
    """One number of the table; `good` where it proves the answer, `note` for who points at it."""

    text: str
    good: bool = False
    note: str = ""


@dataclass(frozen=True)
class _Change:
    """One input value of a counterexample that is no image."""

    position: int
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class _Example:
    """A counterexample to show: as pictures, or as the values that change most."""

    index: object
    label: object
    answer: object
    changed: int
    pictures: Pictures | None
    changes: Sequence[_Change]


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
        settings=_settings_rows(report),
        tiles=_tiles(report["summary"]),
        accuracy=charts.accuracy_chart(report["summary"]),
        gaps=charts.gap_chart(items, methods),
        drawing=charts,
        bounds=bounds,
        has_exact=EXACT in methods,
        rows=[_row(item, bounds) for item in items],
        has_reasons=any(item.get("reason") for item in items),
        verdicts=[
            (verdict, sum(item.get("verdict") == verdict for item in items)) for verdict in VERDICTS
        ],
        examples=examples,
        left_out=left_out,
    )


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
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


def _settings_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was certified and how, as name and value."""
    network = report["network"]
    rows = [("network", str(network.get("name"))), ("sha256", str(network.get("sha256") or ""))]
    rows += setting_rows({**report["region"], **report["settings"]})
    return [(name, value) for name, value in rows if value]


def _row(item: Mapping[str, Any], bounds: Sequence[str]) -> dict[str, Any]:
    """Return one line of the table of inputs."""
    low, high = bracket(item)
    seconds = [finite(value) or 0.0 for value in (item.get("seconds") or {}).values()]
    exact = MISSING if low is None and high is None else f"[{number(low)}, {number(high)}]"
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
        f"gap {number((item.get('gap') or {}).get(method))}",
        duration(finite((item.get("seconds") or {}).get(method)) or 0.0),
        str((item.get("reasons") or {}).get(method) or status),
    ]
    text = number(bound) if bound is not None or status == "done" else str(status)
    return _Cell(text, good=(bound or 0.0) > 0, note=", ".join(notes))


def _examples(
    report: Mapping[str, Any],
    inputs: Mapping[int, ArrayLike],
    input_shape: Sequence[int] | None,
) -> tuple[list[_Example], int]:
    """Return the counterexamples to show, and how many more there are."""
    shown = [
        item
        for item in report["items"]
        if item.get("counterexample") and item.get("index") in inputs
    ]
    valid = report["region"].get("valid_range")
    limits = (float(valid[0]), float(valid[1])) if valid else None
    examples = []
    for item in shown[:_MAX_COUNTEREXAMPLES]:
        original = np.asarray(inputs[item["index"]], dtype=np.float64)
        layout = image_layout(tuple(input_shape) if input_shape else original.shape)
        examples.append(_example(item, original, layout, limits))
    return examples, len(shown) - len(examples)


def _example(
    item: Mapping[str, Any],
    original: np.ndarray[Any, np.dtype[np.float64]],
    layout: Layout | None,
    limits: tuple[float, float] | None,
) -> _Example:
    """Return one counterexample beside the input it comes from."""
    found = item["counterexample"]
    after = np.array([finite(value) or 0.0 for value in found["x"]])
    outputs = [finite(value) for value in found.get("y") or ()]
    before = original.ravel()
    change = after - before
    answer = None
    if outputs and None not in outputs:
        answer = int(np.argmax(np.array(outputs, dtype=np.float64)))
    largest = np.argsort(-np.abs(change), kind="stable")[:_MAX_CHANGES]
    return _Example(
        index=item.get("index"),
        label=item.get("label"),
        answer=answer,
        changed=int(np.count_nonzero(change)),
        pictures=(None if layout is None else pictures(before, after, layout, valid_range=limits)),
        changes=[
            _Change(int(i), number(before[i]), number(after[i]), number(change[i], 3))
            for i in largest
        ],
    )
