"""A training as a report, a table of its metrics, and one page that stands alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.curves import AREA, HEIGHT, WIDTH, CurveChart, Series, curve_chart
from reports.numbers import finite, strict
from reports.page import MISSING, duration, number, percent, render

__all__ = ["metrics_csv", "training_html", "training_report"]

_ACCURACIES = {
    "clean_accuracy": ("clean", "clean"),
    "empirical_accuracy": ("under attack", "empirical"),
    "certified_accuracy": ("certified", "certified"),
}
_LOSS_COLOURS = ("accent", "empirical", "verified", "misclassified", "falsified", "clean")
_LISTED = (
    "epoch", "epsilon", "kappa", "clean_accuracy", "empirical_accuracy", "certified_accuracy",
    "mean_bound", "mean_gap", "unstable", "loss", "seconds",
)  # fmt: skip
_STEP_COLUMNS = ("arm", "step", "epoch", "epsilon", "kappa")
_EPOCH_COLUMNS = (
    "learning_rate", "clean_accuracy", "empirical_accuracy", "certified_accuracy", "mean_bound",
    "mean_gap", "unstable", "seconds",
)  # fmt: skip


def training_report(
    *,
    network: Mapping[str, Any],
    dataset: Mapping[str, Any],
    settings: Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the report of a training: what was asked, and how each network became what it is.

    Args:
        network: `name` of what was trained, and what else is known of it.
        dataset: `name`, and what else is known of it.
        settings: Of the training, by name; groups of settings as mappings.
        arms: By name (`candidate`, and `baseline` where there is one) what training returned as
            plain values: `history`, `best_epoch`, `stopped`, `seconds`, and more where known.
    """
    report = {"network": network, "dataset": dataset, "settings": settings, "arms": arms}
    clean = strict(report)
    if not isinstance(clean, dict):
        raise TypeError("a report is a mapping")
    return clean


def metrics_csv(events: Iterable[Mapping[str, Any]]) -> str:
    """Return one line per step or epoch under a header; empty cells where nothing is known.

    Args:
        events: With `arm`, `step`, `epoch`, `epsilon`, `kappa`, `loss` by part, and `metrics` of
            the whole epoch where it ended.
    """
    rows = list(events)
    parts = sorted({part for row in rows for part in row["loss"]})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_STEP_COLUMNS, *(f"loss_{part}" for part in parts), *_EPOCH_COLUMNS])
    for row in rows:
        metrics = row.get("metrics") or {}
        # Where an epoch ends, its means say more than the last batch.
        loss = metrics.get("loss") or row["loss"]
        epoch = {**metrics, "unstable": _unstable(metrics)}
        writer.writerow(
            [row["arm"], row["step"], row["epoch"], finite(row["epsilon"]), finite(row["kappa"])]
            + [finite(loss.get(part)) for part in parts]
            + [finite(epoch.get(name)) for name in _EPOCH_COLUMNS]
        )
    return text.getvalue()


def training_html(report: Mapping[str, Any]) -> str:
    """Return the report as a page.

    Args:
        report: As `training_report` returns it; arms may be unfinished.

    Returns:
        HTML5 with inline styles and curves as SVG: no network, no scripts, no other file.
    """
    arms = report["arms"]
    return render(
        "training.html",
        network=report["network"],
        lead=_lead(report),
        tiles=_tiles(arms),
        figures=_figures(arms),
        area=AREA,
        width=WIDTH,
        height=HEIGHT,
        tables=[(arm, _stopped(result), _rows(result)) for arm, result in arms.items()],
        settings=list(_flat(report["settings"])),
        dataset=list(_flat(report["dataset"])),
        records=[(arm, list(_flat(result.get("settings") or {}))) for arm, result in arms.items()],
    )


@dataclass(frozen=True)
class _Figure:
    """A chart with its words."""

    title: str
    lead: str
    chart: CurveChart


def _lead(report: Mapping[str, Any]) -> str:
    settings = report["settings"]
    return (
        f"Trained by {settings.get('method')} within ε = {number(settings.get('epsilon'))} on "
        f"{report['dataset'].get('name')}, λ = {number(settings.get('feasibility_weight', 0))}, "
        f"γ = {number(settings.get('slack_weight', 0))}."
    )


def _best(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metrics of the best epoch; empty before the first."""
    history = result.get("history") or []
    best = result.get("best_epoch") or 0
    return history[best - 1] if 0 < best <= len(history) else {}


def _tiles(arms: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the key figures of every arm's best epoch: name, value, explanation."""
    tiles = []
    for arm, result in arms.items():
        best = _best(result)
        of = f" ({arm})" if len(arms) > 1 else ""
        tiles += [
            (f"Clean accuracy{of}", percent(best.get("clean_accuracy")), "on the validation data"),
            (
                f"Empirical accuracy{of}",
                percent(best.get("empirical_accuracy")),
                "right, and no counterexample found",
            ),
            (
                f"Certified accuracy{of}",
                percent(best.get("certified_accuracy")),
                "right, and proved for the whole region",
            ),
            (
                f"Best epoch{of}",
                str(best.get("epoch", MISSING)),
                f"of {len(result.get('history') or [])}, in {duration(result.get('seconds'))}",
            ),
        ]
    return tiles


def _figures(arms: Mapping[str, Mapping[str, Any]]) -> list[_Figure]:
    """Return the charts there are numbers for; what is not the candidate's is dashed."""
    both = len(arms) > 1
    drawn = [
        ("Accuracy", "On the validation data, at the full ε.", _accuracies(arms), 0.0, True),
        ("Loss", "Parts of the training loss, mean over each epoch.", _losses(arms), 0.0, False),
        (
            "Bounds",
            "Mean lower bound of the worst-case margin, and how far it lies below the margin "
            "that the attack finds.",
            _plain(arms, {"mean_bound": ("bound", "certified"), "mean_gap": ("gap", "empirical")}),
            0.0,
            False,
        ),
        (
            "Unstable neurons",
            "Mean number per input whose sign the bounds leave open.",
            _unstable_series(arms),
            0.0,
            False,
        ),
        (
            "Schedule",
            "ε as a share of its largest value, and κ, the weight of the robust loss.",
            _schedule(arms),
            0.0,
            True,
        ),
    ]
    figures = []
    for title, lead, series, low, shares in drawn:
        chart = curve_chart(series, low=low, percent=shares)
        if chart is not None:
            words = f"{lead} Dashed: baseline." if both and title != "Schedule" else lead
            figures.append(_Figure(title, words, chart))
    return figures


_Arms = Mapping[str, Mapping[str, Any]]


def _plain(arms: _Arms, names: Mapping[str, tuple[str, str]]) -> list[Series]:
    """Return a line for each of these entries of the epochs, in every arm."""
    return [
        _series(arms, arm, label, kind, [entry.get(name) for entry in _history(result)])
        for arm, result in arms.items()
        for name, (label, kind) in names.items()
    ]


def _series(arms: _Arms, arm: str, label: str, kind: str, values: Sequence[object]) -> Series:
    epochs = [float(entry["epoch"]) for entry in _history(arms[arm])]
    named = f"{label} ({arm})" if len(arms) > 1 else label
    points = list(zip(epochs, values, strict=True))
    return Series(named, kind, points, dashed=arm == "baseline")


def _history(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return result.get("history") or []


def _accuracies(arms: _Arms) -> list[Series]:
    return _plain(arms, _ACCURACIES)


def _losses(arms: _Arms) -> list[Series]:
    parts = sorted(
        {part for result in arms.values() for entry in _history(result) for part in entry["loss"]},
        key=lambda part: (part != "total", part),
    )
    colours = dict(zip(parts, _LOSS_COLOURS, strict=False))
    return [
        _series(
            arms, arm, part, colours.get(part, "clean"),
            [entry["loss"].get(part) for entry in _history(result)],
        )
        for arm, result in arms.items()
        for part in parts
    ]  # fmt: skip


def _unstable(entry: Mapping[str, Any]) -> float | None:
    layers = entry.get("unstable") or {}
    return sum(finite(value) or 0.0 for value in layers.values()) if layers else None


def _unstable_series(arms: _Arms) -> list[Series]:
    return [
        _series(arms, arm, "unstable", "accent", [_unstable(e) for e in _history(result)])
        for arm, result in arms.items()
    ]


def _schedule(arms: _Arms) -> list[Series]:
    """Return ε and κ of the first arm; the others have the same."""
    arm, result = next(iter(arms.items()), (None, {}))
    if arm is None:
        return []
    history = _history(result)
    radii = [finite(entry.get("epsilon")) or 0.0 for entry in history]
    largest = max(radii, default=0.0) or 1.0
    alone = {arm: result}
    return [
        _series(alone, arm, "ε", "accent", [radius / largest for radius in radii]),
        _series(alone, arm, "κ", "empirical", [entry.get("kappa") for entry in history]),
    ]


def _stopped(result: Mapping[str, Any]) -> str:
    return str(result.get("stopped") or "unfinished")


def _rows(result: Mapping[str, Any]) -> list[tuple[bool, list[str]]]:
    """Return the lines of the table of epochs, each with whether it is the best one."""
    best = result.get("best_epoch")
    return [(entry["epoch"] == best, _cells(entry)) for entry in _history(result)]


def _cells(entry: Mapping[str, Any]) -> list[str]:
    words = {
        "epoch": str(entry["epoch"]),
        "unstable": number(_unstable(entry)),
        "loss": number(entry["loss"].get("total")),
        "seconds": duration(entry.get("seconds")),
        **{name: percent(entry.get(name)) for name in _ACCURACIES},
    }
    return [words.get(name) or number(entry.get(name)) for name in _LISTED]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield names and values in words, those of groups under `group.name`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{prefix}{name}", ", ".join(str(entry) for entry in value[:16]) or MISSING
        else:
            yield f"{prefix}{name}", MISSING if value is None else str(value)
