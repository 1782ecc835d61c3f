"""A comparison as one page that stands alone: no network, no scripts, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import charts
from reports.html import VERDICTS
from reports.numbers import finite, settled
from reports.page import MISSING, number, percent, region_text, render, setting_rows
from reports.paired_charts import GroupedBars, IntervalChart, grouped_bars, interval_chart

__all__ = ["Compared", "compared_figures", "comparison_html", "settings_rows"]

_MAX_CHANGES = 500


@dataclass(frozen=True)
class _Row:
    """One line of the table of figures; `good` and `bad` where the interval leaves 0 out."""

    name: str
    before: str
    after: str
    change: str = MISSING
    interval: str = MISSING
    p_value: str = MISSING
    tone: str = ""


@dataclass(frozen=True)
class _Candidate:
    """What there is to say of one candidate."""

    name: str
    rows: Sequence[_Row]
    moves: Sequence[tuple[str, Sequence[int]]]
    changes: Sequence[Mapping[str, Any]]
    left_out: int


@dataclass(frozen=True)
class Compared:
    """What there is to draw and to tell of a comparison.

    Attributes:
        names: Of the networks, the baseline first.
        tiles: Key figures: name, value, explanation.
        accuracy: All accuracies side by side.
        difference: Those of the candidates, minus the baseline's.
        bars: Title, lead and chart of gaps by method, and of what was measured of layers.
        candidates: One by one.
    """

    names: Sequence[str]
    tiles: Sequence[tuple[str, str, str]]
    accuracy: GroupedBars | None
    difference: IntervalChart | None
    bars: Sequence[tuple[str, str, GroupedBars]]
    candidates: Sequence[_Candidate]


def compared_figures(
    baseline: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]
) -> Compared:
    """Return what there is to draw and to tell.

    Args:
        baseline: As `comparison_of` returns it.
        candidates: The same.
    """
    everyone = [baseline, *candidates]
    intervals = [entry.get("intervals") or {} for entry in everyone]
    return Compared(
        names=[str(entry["name"]) for entry in everyone],
        tiles=_tiles(baseline, candidates),
        accuracy=grouped_bars(_accuracies(everyone), shares=True, ends=_ends(intervals)),
        difference=interval_chart(_differences(candidates), "difference"),
        bars=[*_gap_chart(everyone), *_layer_charts(everyone)],
        candidates=[_candidate(baseline, candidate) for candidate in candidates],
    )


def comparison_html(report: Mapping[str, Any]) -> str:
    """Return the report of a comparison as a page.

    Args:
        report: As `comparison_report` returns it.

    Returns:
        HTML5 with inline styles and charts as SVG.
    """
    baseline, candidates = report["baseline"], report["candidates"]
    compared = compared_figures(baseline, candidates)
    return render(
        "comparison.html",
        compared=compared,
        region=region_text(report["region"]),
        settings=settings_rows(report),
        tiles=compared.tiles,
        drawing=charts,
        verdicts=VERDICTS,
        notes=[
            (entry["name"], note)
            for entry in (baseline, *candidates)
            for note in entry.get("notes") or ()
        ],
    )


def _ends(intervals: Sequence[Mapping[str, Any]]) -> list[list[Sequence[object] | None]]:
    """Return the ends of the interval of every accuracy, in the order of `_accuracies`."""
    methods = intervals[0].get("certified_accuracy") or {}
    rows = [
        [entry.get(name) for entry in intervals]
        for name in ("clean_accuracy", "empirical_accuracy")
    ]
    return rows + [
        [(entry.get("certified_accuracy") or {}).get(method) for entry in intervals]
        for method in methods
    ]


def _gap_chart(
    everyone: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, GroupedBars]]:
    """Return bars of the mean gap by method, where one is known."""
    gaps = [entry["summary"]["mean_gap"] for entry in everyone]
    chart = grouped_bars(
        [(method, [settled(entry[method]) for entry in gaps]) for method in gaps[0]], shares=False
    )
    lead = "Mean distance of a method's bound from the exact margin, or from the best upper bound."
    return [] if chart is None else [("Gaps", lead, chart)]


def _accuracies(everyone: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[object]]]:
    summaries = [entry["summary"] for entry in everyone]
    rows: list[tuple[str, list[object]]] = [
        ("clean", [summary["clean_accuracy"] for summary in summaries]),
        ("under attack", [summary["empirical_accuracy"] for summary in summaries]),
    ]
    return rows + [
        (method, [summary["certified_accuracy"][method] for summary in summaries])
        for method in summaries[0]["certified_accuracy"]
    ]


def _differences(
    candidates: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    rows = [
        ("clean", [candidate["accuracy"]["clean"] for candidate in candidates]),
        ("under attack", [candidate["accuracy"]["empirical"] for candidate in candidates]),
    ]
    methods = candidates[0]["difference"] if candidates else {}
    return rows + [
        (method, [_certified_change(candidate, method) for candidate in candidates])
        for method in methods
    ]


def _certified_change(candidate: Mapping[str, Any], method: str) -> dict[str, Any]:
    change = candidate["difference"][method]
    return {**change, "difference": change["certified_accuracy"]}


def _layer_charts(
    everyone: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, GroupedBars]]:
    """Return bars of unstable neurons and of slack by layer, where all have as many layers."""
    known = [(entry.get("tightness") or {}).get("layers") or [] for entry in everyone]
    depths = {len(layers) for layers in known}
    if len(depths) != 1 or depths == {0}:
        return []
    found = []
    for key, title, lead in (
        ("unstable", "Unstable neurons", "Mean number per input, by layer: each costs tightness."),
        ("slack", "Slack", "Mean of −ul/(u − l) over unstable neurons, by layer."),
    ):
        rows = [
            (f"layer {position}", [layer[key] for layer in level])
            for position, level in enumerate(zip(*known, strict=True), start=1)
        ]
        chart = grouped_bars(rows, shares=False)
        if chart is not None:
            found.append((title, lead, chart))
    return found


def settings_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was compared and how, as name and value."""
    everyone = [report["baseline"], *report["candidates"]]
    hashes = [(f"{entry['name']}, sha256", str(entry.get("sha256") or "")) for entry in everyone]
    rows = hashes + setting_rows({**report["region"], **report["settings"]})
    return [(name, value) for name, value in rows if value]


def _tiles(
    baseline: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    """Return the key figures: name, value, explanation."""
    tiles = [("Inputs", str(baseline["summary"]["count"]), "the same for every network")]
    for candidate in candidates:
        before, after = _best(baseline), _best(candidate)
        moved = f"{len(candidate['gained'])} gained, {len(candidate['lost'])} lost"
        tiles.append((str(candidate["name"]), _points(before, after), f"certified; {moved}"))
    return tiles


def _best(entry: Mapping[str, Any]) -> float | None:
    shares = entry["summary"]["certified_accuracy"].values()
    return max((share for share in shares if share is not None), default=None)


def _points(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return MISSING
    return f"{_signed(100 * (after - before))} points"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\u2212")


def _candidate(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> _Candidate:
    changes = candidate["changes"]
    return _Candidate(
        name=str(candidate["name"]),
        rows=_rows(baseline, candidate),
        moves=_moves(changes),
        changes=changes[:_MAX_CHANGES],
        left_out=max(0, len(changes) - _MAX_CHANGES),
    )


def _rows(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[_Row]:
    """Return accuracies, then gaps, then what was measured of the layers."""
    pairs = zip(_accuracies([baseline, candidate]), _differences([candidate]), strict=True)
    rows = [
        _row(name, (percent(was), percent(now)), change, scale=100.0)
        for (name, (was, now)), (_, [change]) in pairs
    ]
    before, after = baseline["summary"]["mean_gap"], candidate["summary"]["mean_gap"]
    for method, change in candidate["difference"].items():
        moved = {name: settled(change["mean_gap"][name]) for name in ("low", "value", "high")}
        gap = {**moved, "difference": moved["value"], "p_value": None}
        values = (number(settled(before[method])), number(settled(after[method])))
        rows.append(_row(f"mean gap, {method}", values, gap, scale=1.0, less_is_better=True))
    tight, tighter = baseline.get("tightness") or {}, candidate.get("tightness") or {}
    for name, key in (("unstable neurons", "unstable"), ("slack of all layers", "slack")):
        rows.append(_Row(name, number(tight.get(key)), number(tighter.get(key))))
    return rows


def _row(
    name: str,
    values: tuple[str, str],
    change: Mapping[str, Any],
    *,
    scale: float,
    less_is_better: bool = False,
) -> _Row:
    low, middle, high = (finite(change[key]) for key in ("low", "difference", "high"))
    if low is None or middle is None or high is None:
        return _Row(name, *values)
    up, down = ("bad", "good") if less_is_better else ("good", "bad")
    tone = up if low > 0 else down if high < 0 else ""
    if scale == 1.0:
        shown = [number(value) for value in (middle, low, high)]
    else:
        shown = [_signed(scale * value) for value in (middle, low, high)]
    p_value = change["p_value"]
    return _Row(
        name,
        *values,
        shown[0],
        f"{shown[1]} … {shown[2]}",
        MISSING if p_value is None else number(p_value, 2),
        tone,
    )


def _moves(changes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[int]]]:
    """Return how many inputs went from each verdict to each other one."""
    pairs = [(change["baseline"], change["candidate"]) for change in changes]
    return [(was, [pairs.count((was, now)) for now in VERDICTS]) for was in VERDICTS]
