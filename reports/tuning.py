"""The report of a sweep: its trials, and the front between clean and certified accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import curves
from reports.charts import nice_ticks
from reports.curves import AREA, Mark
from reports.numbers import finite, settled, strict
from reports.page import duration, number, percent, render, setting_rows

__all__ = ["tuning_html", "tuning_report"]

# An axis never spans less than this: two points of accuracy.
_LEAST_SPAN = 0.02
_MARGIN = 0.06


@dataclass(frozen=True)
class _Dot:
    """One trial in the plot."""

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True)
class _Plot:
    """Trials by clean (across) and certified accuracy (up); the front as a line of steps."""

    dots: tuple[_Dot, ...]
    front: str
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]


def tuning_report(
    *,
    network: Mapping[str, Any],
    dataset: Mapping[str, Any],
    settings: Mapping[str, Any],
    sweep: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `tune --json` writes, ready for strict JSON.

    Args:
        network: `name`, `sha256` and whatever else identifies where trials start from.
        dataset: What the trials were trained and measured on.
        settings: Of every training, and of the search.
        sweep: `trials`, `front` and `complete`.

    Returns:
        `{network, dataset, settings, trials, front, complete}`.
    """
    report = {"network": network, "dataset": dataset, "settings": settings, **sweep}
    return {part: strict(content) for part, content in report.items()}


def tuning_html(report: Mapping[str, Any]) -> str:
    """Return the report of a sweep as a page that stands alone.

    Args:
        report: As `tuning_report` returns it.
    """
    front = set(report["front"])
    trials = report["trials"]
    return render(
        "tuning.html",
        network=report["network"],
        lead=_lead(report),
        plot=_plot(trials, front),
        curves=curves,
        rows=[(trial["number"] in front, _cells(trial)) for trial in trials],
        dataset=setting_rows(report["dataset"]),
        settings=setting_rows(report["settings"]),
    )


def _lead(report: Mapping[str, Any]) -> str:
    count, front = len(report["trials"]), len(report["front"])
    ended = "" if report["complete"] else " The sweep was interrupted."
    return f"{count} trainings, {front} of them on the front: no other is better in both.{ended}"


def _cells(trial: Mapping[str, Any]) -> list[str]:
    return [
        str(trial["number"]),
        number(trial["feasibility_weight"], 3),
        number(trial["slack_weight"], 3),
        percent(trial["clean_accuracy"]),
        percent(trial.get("empirical_accuracy")),
        percent(trial["certified_accuracy"]),
        number(settled(trial.get("mean_gap"))),
        number(trial.get("unstable")),
        duration(trial.get("seconds")),
        str(trial.get("network") or trial.get("reason") or ""),
    ]


def _plot(trials: Sequence[Mapping[str, Any]], front: set[int]) -> _Plot | None:
    """Return the trials that have accuracies as dots, and the front as a line."""
    known = [
        (trial, clean, certified)
        for trial in trials
        if (clean := finite(trial["clean_accuracy"])) is not None
        and (certified := finite(trial["certified_accuracy"])) is not None
    ]
    if not known:
        return None
    left, right, top, bottom = AREA
    across = _range([clean for _, clean, _ in known])
    up = _range([certified for _, _, certified in known])

    def place(clean: float, certified: float) -> tuple[float, float]:
        x = left + (clean - across[0]) / (across[1] - across[0]) * (right - left)
        y = bottom - (certified - up[0]) / (up[1] - up[0]) * (bottom - top)
        return round(x, 1), round(y, 1)

    dots = tuple(
        _Dot(*place(clean, certified), _kind(trial, front), _words(trial))
        for trial, clean, certified in known
    )
    line = sorted({place(c, r) for trial, c, r in known if trial["number"] in front})
    return _Plot(
        dots,
        " ".join(f"{x},{y}" for x, y in line),
        tuple(Mark(place(mark, up[0])[0], _share(mark)) for mark in nice_ticks(*across)),
        tuple(Mark(place(across[0], mark)[1], _share(mark)) for mark in nice_ticks(*up)),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(high - low, _LEAST_SPAN)
    return low - _MARGIN * room, max(high, low + room) + _MARGIN * room


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def _kind(trial: Mapping[str, Any], front: set[int]) -> str:
    if not trial["feasibility_weight"] and not trial["slack_weight"]:
        return "clean"
    return "accent" if trial["number"] in front else "faint"


def _words(trial: Mapping[str, Any]) -> str:
    return (
        f"trial {trial['number']}: λ {trial['feasibility_weight']:.3g}, "
        f"γ {trial['slack_weight']:.3g}, clean {percent(trial['clean_accuracy'])}, "
        f"certified {percent(trial['certified_accuracy'])}"
    )
