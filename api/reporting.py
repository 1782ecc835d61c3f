"""From finished jobs to what reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api import views
from api.services import Services
from reports.findings import Ending, Side
from reports.report import certification_report
from reports.sarif import Origin
from reports.training import training_report
from store.errors import ConflictError
from store.job_tables import JobRow
from store.learning import Learning
from store.states import FINAL_STATES
from store.tables import CertificationRow, ComparisonRow, TrainingRow
from store.uploads import UploadRow

__all__ = [
    "certification_data",
    "comparison_sides",
    "ending_of",
    "origin_of",
    "require_finished",
    "training_data",
]

# Where there is something to see of a job that goes on.
_SO_FAR = {"training": "metrics"}


def require_finished(kind: str, job: JobRow) -> None:
    """Refuse to report on a job that goes on.

    Args:
        kind: Of the job, for people.
        job: Which.

    Raises:
        ConflictError: It is queued or running.
    """
    if job.state not in FINAL_STATES:
        raise ConflictError(
            f"{kind} {job.id} is {job.state}; its report is there once it is finished, its "
            f"answers so far are at /{_SO_FAR.get(kind, 'items')}"
        )


def certification_data(services: Services, row: CertificationRow) -> dict[str, Any]:
    """Return the report of a certification, with the answers there are."""
    details = row.network.details
    return certification_report(
        network={
            **_identity(row.network),
            "input_shape": details["input_shape"],
            "notes": details["notes"],
        },
        region=views.region_of(row).model_dump(mode="json"),
        settings=views.settings_of(row).model_dump(mode="json"),
        items=services.certifications.items(row.id),
    )


def comparison_sides(services: Services, row: ComparisonRow) -> list[Side]:
    """Return the networks of a comparison, each with the answers there are."""
    return [
        Side(_identity(entry.network), services.comparisons.items(row.id, entry.position))
        for entry in row.networks
    ]


def training_data(services: Services, row: TrainingRow) -> dict[str, Any]:
    """Return the report of a training so far.

    Epochs come from the metrics, which are there from the first.
    """
    settings = dict(row.settings)
    title = settings.pop("name") or settings["architecture"]
    if title is None and row.network is not None:
        title = row.network.name
    return training_report(
        network={"name": title},
        dataset={
            "name": row.dataset.name,
            "sha256": row.dataset.sha256,
            "count": row.dataset.details["count"],
        },
        settings=settings,
        arms=_arms_of(services, row),
    )


def ending_of(
    job: JobRow,
    asked: Iterable[int] = (),
    *answered: Iterable[Mapping[str, Any]],
) -> Ending:
    """Return how a job ended.

    Args:
        job: Which.
        asked: Indices of inputs.
        answered: Items of each network; inputs that one of them lacks are missing.
    """
    known = [{item["index"] for item in items} for items in answered]
    return Ending(
        state=job.state,
        error=None if job.error is None else str(job.error["message"]),
        missing=[index for index in asked if any(index not in side for side in known)],
        started_at=job.started_at,
    )


def origin_of(
    services: Services, row: CertificationRow | ComparisonRow | TrainingRow, uri: str | None
) -> Origin:
    """Return what SARIF says of tool and place."""
    return Origin(services.version, uri, row.dataset.sha256)


def _identity(network: UploadRow) -> dict[str, str]:
    return {"name": network.name, "sha256": network.sha256}


def _arms_of(services: Services, row: TrainingRow) -> dict[str, dict[str, Any]]:
    epochs = Learning(services.database).epochs(row.id)
    arms: dict[str, dict[str, Any]] = {arm: {"history": history} for arm, history in epochs.items()}
    for arm, result in row.arms.items():
        arms.setdefault(arm, {"history": []}).update(
            best_epoch=result["best_epoch"],
            stopped=result["stopped"],
            seconds=result["seconds"],
            settings=result["record"],
            network_id=result["network_id"],
        )
    return arms
