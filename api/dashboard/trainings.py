"""Trainings: what was asked, how they go, and the networks that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.dashboard.lines import JobView, job_view
from api.dashboard.rendering import listed
from api.dashboard.visiting import VisitDependency
from api.pagination import CursorParameter
from api.parameters import TrainingId
from api.principal import Scope, needs
from api.reporting import training_data
from reports import curves
from reports.page import number, percent, whole
from reports.training import epoch_rows, flat_settings, stopped_words, training_tiles
from reports.training_figures import ACCURACIES, Figure, figures_of, history_of, step_figures
from store.learning import Learning, TrainingLine
from store.states import FINAL_STATES
from store.tables import ArtifactRow
from store.titles import JobLine

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

_STEPS = 400


@dataclass(frozen=True)
class TrainingView:
    """A training in a table."""

    job: JobView
    dataset: str
    method: str
    arms: str
    accuracies: Mapping[str, str]


@router.get("/trainings", response_class=HTMLResponse)
def list_trainings(visit: VisitDependency, cursor: CursorParameter = None) -> HTMLResponse:
    """Return the page of all trainings."""
    lines, around = listed(
        Learning(visit.services.database).page, cursor, position=lambda line: line.job.id
    )
    return visit.show(
        "trainings.html",
        trainings=[_view(line) for line in lines],
        **around,
    )


@router.get("/trainings/{training_id}", response_class=HTMLResponse)
def show_training(visit: VisitDependency, training_id: TrainingId) -> HTMLResponse:
    """Return the page of one training."""
    row = visit.services.trainings.get(training_id)
    report = training_data(visit.services, row)
    arms = report["arms"]
    steps = Learning(visit.services.database).steps(training_id, most=_STEPS)
    final = row.job.state in FINAL_STATES
    return visit.show(
        "training.html",
        job=job_view(JobLine(row.job, report["network"]["name"], row.settings["epsilon"])),
        final=final,
        started=row.network,
        dataset=row.dataset,
        validation=row.validation,
        settings=row.settings,
        comparison_id=row.comparison_id,
        tiles=training_tiles(arms) if final and row.arms else _so_far(arms, steps),
        figures=_figures(arms, steps),
        drawing=curves,
        results=_results(arms),
        files=_files(visit.services.trainings.artifacts(training_id)),
        tables=[(arm, stopped_words(result), epoch_rows(result)) for arm, result in arms.items()],
        words=list(flat_settings(report["settings"])),
    )


def _view(line: TrainingLine) -> TrainingView:
    return TrainingView(
        job=job_view(JobLine(line.job, line.title, line.epsilon)),
        dataset=line.dataset,
        method=line.method,
        arms="beside a baseline" if line.baseline else "",
        accuracies={name: percent(line.best[name]) for name in ACCURACIES},
    )


def _figures(arms: Mapping[str, Any], steps: Mapping[str, Any]) -> list[Figure]:
    """Return the charts of epochs, and those of steps: all of them until an epoch is finished."""
    by_step = step_figures({arm: {"steps": noted} for arm, noted in steps.items()})
    by_epoch = figures_of(arms)
    return [*by_epoch, *by_step[:1]] if by_epoch else by_step


def _so_far(arms: Mapping[str, Any], steps: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures of the arm at work: of its last epoch, and of its last step."""
    if not steps:
        return []
    arm, noted = list(steps.items())[-1]
    step = noted[-1]
    history = history_of(arms.get(arm, {}))
    epoch: Mapping[str, Any] = history[-1] if history else {}
    measured = f"after epoch {epoch['epoch']}" if history else "measured after the first epoch"
    return [
        ("At work", arm, f"epoch {step['epoch']} of {step['epochs']}"),
        ("Loss", number(step["loss"].get("total")), f"of step {step['step']} of {step['steps']}"),
        ("ε now", number(step["epsilon"]), f"κ = {number(step['kappa'])}"),
        *(
            (name.replace("_", " ").capitalize(), percent(epoch.get(name)), measured)
            for name in ACCURACIES
        ),
    ]


def _results(arms: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the networks that came out."""
    results = []
    for arm, result in arms.items():
        if "network_id" not in result:
            continue
        history, best = history_of(result), result["best_epoch"]
        found = history[best - 1] if 0 < best <= len(history) else {}
        results.append(
            {
                "arm": arm,
                "network_id": result["network_id"],
                "epoch": f"{best} of {len(history)}",
                "ended": stopped_words(result),
                **{name: percent(found.get(name)) for name in ACCURACIES},
            }
        )
    return results


def _files(rows: list[ArtifactRow]) -> list[tuple[str, str]]:
    return [(row.name, whole(row.size_bytes)) for row in rows]
