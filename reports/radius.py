"""Minimum distortions: the report, accuracy as a function of the radius, and a page of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from reports import curves
from reports.curves import Series, curve_chart
from reports.numbers import finite, mean, strict
from reports.page import MISSING, duration, number, percent, render, setting_rows

__all__ = ["accuracy_curve", "radius_html", "radius_report"]

Item = Mapping[str, Any]

STATUSES = ("bracketed", "maximum", "open", "misclassified")


def radius_report(
    *,
    network: Mapping[str, Any],
    region: Mapping[str, Any],
    settings: Mapping[str, Any],
    items: Sequence[Item],
) -> dict[str, Any]:
    """Return what `radius --json` writes, ready for strict JSON.

    Args:
        network: `name`, `sha256` and whatever else identifies it.
        region: `norm`, `valid_range`, `max_epsilon`.
        settings: How it was run.
        items: One mapping per input: `index`, `label`, `predicted`, `lower`, `upper` (None where no
            counterexample is known), `status`, `seconds`.

    Returns:
        `{network, region, settings, summary, curve, items}`.
    """
    report = {
        "network": network,
        "region": region,
        "settings": settings,
        "summary": _summary(items),
        "curve": accuracy_curve(items),
        "items": items,
    }
    return {part: strict(content) for part, content in report.items()}


def accuracy_curve(items: Sequence[Item]) -> list[dict[str, float]]:
    """Return certified and empirical accuracy as functions of the radius.

    An input counts as certified at ε where `lower` ≥ ε, and as right under attack where no
    counterexample within ε is known, which is where `upper` > ε. Both are steps that only fall;
    the truth lies between them.

    Args:
        items: As for `radius_report`.

    Returns:
        `{epsilon, certified, empirical}`, shares of all inputs, with growing ε: from 0 on, at every
        end of a bracket, where `certified` changes only behind the radius and `empirical` at it.
    """
    right = [item for item in items if _right(item)]
    ends = {0.0}
    for item in right:
        ends |= {end for end in (finite(item["lower"]), finite(item.get("upper"))) if end}
    return [
        {
            "epsilon": epsilon,
            "certified": sum(_lower(item) >= epsilon for item in right) / len(items),
            "empirical": sum(_upper(item) > epsilon for item in right) / len(items),
        }
        for epsilon in (sorted(ends) if items else ())
    ]


def radius_html(report: Mapping[str, Any]) -> str:
    """Return the report as a page.

    Args:
        report: As `radius_report` returns it.

    Returns:
        HTML5 with inline styles and the curve as SVG.
    """
    items, curve = report["items"], report["curve"]
    return render(
        "radius.html",
        network=report["network"],
        lead=_lead(report["region"]),
        tiles=_tiles(report["summary"]),
        chart=curve_chart(_series(curve), percent=True, whole=False) if curve else None,
        drawing=curves,
        rows=[_row(item) for item in items],
        has_reasons=any(item.get("reason") for item in items),
        statuses=[(s, sum(item["status"] == s for item in items)) for s in STATUSES],
        settings=setting_rows({**report["region"], **report["settings"]}),
        missing=MISSING,
    )


def _right(item: Item) -> bool:
    return bool(item["status"] != "misclassified")


def _lower(item: Item) -> float:
    return finite(item.get("lower")) or 0.0


def _upper(item: Item) -> float:
    end = finite(item.get("upper"))
    return math.inf if end is None else end


def _summary(items: Sequence[Item]) -> dict[str, Any]:
    right = [item for item in items if _right(item)]
    lowers = [_lower(item) for item in right]
    uppers = [_upper(item) for item in right]
    known = [high - low for low, high in zip(lowers, uppers, strict=True) if math.isfinite(high)]
    return {
        "count": len(items),
        "clean_accuracy": len(right) / len(items) if items else None,
        "median_lower": median(lowers) if lowers else None,
        "median_upper": median(uppers) if uppers else None,
        "mean_lower": mean(lowers),
        "mean_width": mean(known),
        **{status: sum(item["status"] == status for item in items) for status in STATUSES},
        "seconds": math.fsum(finite(item.get("seconds")) or 0.0 for item in items),
    }


def _series(curve: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Return the two curves as steps."""
    certified = [(0.0, curve[0]["certified"])]
    empirical = [(0.0, curve[0]["empirical"])]
    for before, after in pairwise(curve):
        # what is proved at a radius is proved up to it; a counterexample counts from its radius on
        low, high = before["epsilon"], after["epsilon"]
        certified += [(low, after["certified"]), (high, after["certified"])]
        empirical += [(high, before["empirical"]), (high, after["empirical"])]
    return [
        Series("no counterexample known", "empirical", empirical),
        Series("proved", "certified", certified),
    ]


def _lead(region: Mapping[str, Any]) -> str:
    norm = {"inf": "L∞", "2": "L2", "1": "L1"}.get(str(region.get("norm")), region.get("norm"))
    text = f"How far from each input, in {norm} distance, is the nearest that is answered otherwise"
    valid = region.get("valid_range")
    return text + (f", among values in [{valid[0]:g}, {valid[1]:g}]?" if valid else "?")


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    done = summary["bracketed"] + summary["maximum"]
    return [
        ("Inputs", str(summary["count"]), "measured in this run"),
        ("Clean accuracy", percent(summary["clean_accuracy"]), "right on the input itself"),
        ("Median proved", number(summary["median_lower"]), "of the right inputs: radius proved"),
        ("Median reached", number(summary["median_upper"]), "radius with a counterexample"),
        ("To the tolerance", str(done), "brackets as narrow as asked for"),
        ("Time", duration(summary["seconds"]), "of all inputs together"),
    ]


def _row(item: Item) -> dict[str, Any]:
    return {
        "index": item["index"],
        "label": item["label"],
        "predicted": item["predicted"],
        "status": item["status"],
        "evidence": item.get("evidence") or MISSING,
        "lower": number(item["lower"]),
        "upper": number(item.get("upper")),
        "seconds": duration(item.get("seconds")),
        "reason": item.get("reason") or "",
    }
