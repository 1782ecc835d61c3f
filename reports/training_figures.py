"""The curves of a training: what is drawn in which figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.curves import CurveChart, Series, curve_chart
from reports.numbers import finite

__all__ = [
    "ACCURACIES",
    "Arms",
    "Figure",
    "figures_of",
    "history_of",
    "step_figures",
    "unstable_of",
]

ACCURACIES = {
    "clean_accuracy": ("clean", "clean"),
    "empirical_accuracy": ("under attack", "empirical"),
    "certified_accuracy": ("certified", "certified"),
}
_LOSS_COLOURS = ("accent", "empirical", "verified", "misclassified", "falsified", "clean")

Arms = Mapping[str, Mapping[str, Any]]
"""What training each network came to, by the network's name."""


@dataclass(frozen=True)
class Figure:
    """A chart with its words; `across` is what grows to the right."""

    title: str
    lead: str
    chart: CurveChart
    across: str = "epoch"


def figures_of(arms: Arms) -> list[Figure]:
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
            figures.append(Figure(title, words, chart))
    return figures


def step_figures(steps: Arms) -> list[Figure]:
    """Return the charts of single steps: the parts of the loss, then the schedule.

    Args:
        steps: By arm, `steps`: what was noted of them, with `step`, `epsilon`, `kappa` and `loss`.
    """
    arms = {arm: {"history": _as_history(result["steps"])} for arm, result in steps.items()}
    drawn = [
        ("Loss, step by step", "Parts of the loss of single batches.", _losses(arms), False),
        ("Schedule, step by step", "ε as a share of its largest value so far, and κ.",
         _schedule(arms), True),
    ]  # fmt: skip
    figures = []
    for title, lead, series, shares in drawn:
        chart = curve_chart(series, low=0.0, percent=shares)
        if chart is not None:
            figures.append(Figure(title, lead, chart, "step"))
    return figures


def _as_history(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "epoch": entry["step"]} for entry in steps]


def _plain(arms: Arms, names: Mapping[str, tuple[str, str]]) -> list[Series]:
    """Return a line for each of these entries of the epochs, in every arm."""
    return [
        _series(arms, arm, label, kind, [entry.get(name) for entry in history_of(result)])
        for arm, result in arms.items()
        for name, (label, kind) in names.items()
    ]


def _series(arms: Arms, arm: str, label: str, kind: str, values: Sequence[object]) -> Series:
    epochs = [float(entry["epoch"]) for entry in history_of(arms[arm])]
    named = f"{label} ({arm})" if len(arms) > 1 else label
    points = list(zip(epochs, values, strict=True))
    return Series(named, kind, points, dashed=arm == "baseline")


def history_of(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the finished epochs of a network."""
    return result.get("history") or []


def _accuracies(arms: Arms) -> list[Series]:
    return _plain(arms, ACCURACIES)


def _losses(arms: Arms) -> list[Series]:
    parts = sorted(
        {
            part
            for result in arms.values()
            for entry in history_of(result)
            for part in entry["loss"]
        },
        key=lambda part: (part != "total", part),
    )
    colours = dict(zip(parts, _LOSS_COLOURS, strict=False))
    return [
        _series(
            arms, arm, part, colours.get(part, "clean"),
            [entry["loss"].get(part) for entry in history_of(result)],
        )
        for arm, result in arms.items()
        for part in parts
    ]  # fmt: skip


def unstable_of(entry: Mapping[str, Any]) -> float | None:
    """Return the unstable neurons of all layers at the end of an epoch."""
    layers = entry.get("unstable") or {}
    return sum(finite(value) or 0.0 for value in layers.values()) if layers else None


def _unstable_series(arms: Arms) -> list[Series]:
    return [
        _series(arms, arm, "unstable", "accent", [unstable_of(e) for e in history_of(result)])
        for arm, result in arms.items()
    ]


def _schedule(arms: Arms) -> list[Series]:
    """Return ε and κ of the first arm; the others have the same."""
    arm, result = next(iter(arms.items()), (None, {}))
    if arm is None:
        return []
    history = history_of(result)
    radii = [finite(entry.get("epsilon")) or 0.0 for entry in history]
    largest = max(radii, default=0.0) or 1.0
    alone = {arm: result}
    return [
        _series(alone, arm, "ε", "accent", [radius / largest for radius in radii]),
        _series(alone, arm, "κ", "empirical", [entry.get("kappa") for entry in history]),
    ]
