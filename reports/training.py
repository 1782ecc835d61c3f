"""A training as a report, a table of its metrics, and one page that stands alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reports import curves
from reports.numbers import finite, strict
from reports.page import MISSING, duration, number, percent, render
from reports.training_figures import ACCURACIES, Arms, figures_of, history_of, unstable_of

__all__ = [
    "epoch_rows",
    "flat_settings",
    "metrics_csv",
    "stopped_words",
    "training_html",
    "training_report",
    "training_tiles",
]

_ENDS = {
    "completed": "went to its end",
    "early-stop": "was stopped when it got no better",
    "cancelled": "was cancelled",
}
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
        epoch = {**metrics, "unstable": unstable_of(metrics)}
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
        tiles=training_tiles(arms),
        figures=figures_of(arms),
        drawing=curves,
        tables=[(arm, stopped_words(result), epoch_rows(result)) for arm, result in arms.items()],
        settings=list(flat_settings(report["settings"])),
        dataset=list(flat_settings(report["dataset"])),
        records=[
            (arm, list(flat_settings(result.get("settings") or {}))) for arm, result in arms.items()
        ],
    )


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


def training_tiles(arms: Arms) -> list[tuple[str, str, str]]:
    """Return the key figures of the best epoch, the baseline's below the candidate's."""
    if not arms:
        return []
    (_, shown), *others = arms.items()
    figures: list[tuple[str, str, Callable[[Mapping[str, Any]], str]]] = [
        ("Clean accuracy", "on the validation data", lambda arm: _share(arm, "clean_accuracy")),
        (
            "Empirical accuracy",
            "right, and no counterexample found",
            lambda arm: _share(arm, "empirical_accuracy"),
        ),
        (
            "Certified accuracy",
            "right, and proved for the whole region",
            lambda arm: _share(arm, "certified_accuracy"),
        ),
        ("Best epoch", "by accuracy on the validation data", _best_epoch),
        ("Time", "training and measuring", lambda arm: duration(arm.get("seconds"))),
    ]
    return [
        (
            name,
            tell(shown),
            "; ".join(f"{arm}: {tell(result)}" for arm, result in others) or meaning,
        )
        for name, meaning, tell in figures
    ]


def _share(result: Mapping[str, Any], name: str) -> str:
    return percent(_best(result).get(name))


def _best_epoch(result: Mapping[str, Any]) -> str:
    return f"{_best(result).get('epoch', MISSING)} of {len(history_of(result))}"


def stopped_words(result: Mapping[str, Any]) -> str:
    """Return how a run ended, after the words "the run"."""
    stopped = result.get("stopped")
    return _ENDS.get(str(stopped), "is unfinished")


def epoch_rows(result: Mapping[str, Any]) -> list[tuple[bool, list[str]]]:
    """Return the lines of the table of epochs, each with whether it is the best one."""
    best = result.get("best_epoch")
    return [(entry["epoch"] == best, _cells(entry)) for entry in history_of(result)]


def _cells(entry: Mapping[str, Any]) -> list[str]:
    words = {
        "epoch": str(entry["epoch"]),
        "unstable": number(unstable_of(entry)),
        "loss": number(entry["loss"].get("total")),
        "seconds": duration(entry.get("seconds")),
        **{name: percent(entry.get(name)) for name in ACCURACIES},
    }
    return [words.get(name) or number(entry.get(name)) for name in _LISTED]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield names and values in words, those of groups under `group.name`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{prefix}{name}", ", ".join(str(entry) for entry in value[:16]) or MISSING
        else:
            yield f"{prefix}{name}", MISSING if value is None else str(value)
