"""Rows of the store as wire types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from api.problems import problem_of
from api.schemas.certifications import (
    CertificationPublic,
    CertificationSettings,
    Reference,
    Region,
    Summary,
)
from api.schemas.comparisons import ComparisonPublic, ComparisonResult
from api.schemas.jobs import JobKind, JobPublic, Progress, State
from api.schemas.problem import Problem
from api.schemas.trainings import (
    ArmName,
    ArmResult,
    Artifact,
    ArtifactList,
    TrainingPublic,
    TrainingSettings,
)
from api.schemas.uploads import DatasetPublic, NetworkPublic
from store.job_tables import JobRow
from store.states import JobState
from store.tables import ArtifactRow, CertificationRow, ComparisonRow, TrainingRow
from store.uploads import UploadRow

__all__ = [
    "artifacts",
    "certification",
    "comparison",
    "dataset",
    "job",
    "network",
    "region_of",
    "seconds_left",
    "settings_of",
    "training",
]


def network(row: UploadRow) -> NetworkPublic:
    """Return a network as clients see it."""
    known: dict[str, Any] = {"neurons": None, **_upload(row)}
    wanted = {name: known[name] for name in NetworkPublic.model_fields}
    return NetworkPublic(**wanted)


def dataset(row: UploadRow) -> DatasetPublic:
    """Return a data set as clients see it."""
    return DatasetPublic(**_upload(row))


def job(row: JobRow) -> JobPublic:
    """Return a job as clients see it."""
    return JobPublic(kind=cast("JobKind", row.kind), url=f"/v1/{row.kind}s/{row.id}", **_job(row))


def certification(row: CertificationRow) -> CertificationPublic:
    """Return a certification as clients see it."""
    return CertificationPublic(
        **_job(row.job),
        network=_reference(row.network),
        dataset=_reference(row.dataset),
        region=region_of(row),
        settings=settings_of(row),
        summary=None if row.summary is None else Summary(**row.summary),
    )


def comparison(row: ComparisonRow) -> ComparisonPublic:
    """Return a comparison as clients see it."""
    baseline, *candidates = (_reference(entry.network) for entry in row.networks)
    return ComparisonPublic(
        **_job(row.job),
        baseline=baseline,
        candidates=candidates,
        dataset=_reference(row.dataset),
        region=region_of(row),
        settings=settings_of(row),
        result=None if row.result is None else ComparisonResult(**row.result),
    )


def training(row: TrainingRow) -> TrainingPublic:
    """Return a training as clients see it."""
    return TrainingPublic(
        **_job(row.job),
        network=None if row.network is None else _reference(row.network),
        dataset=_reference(row.dataset),
        validation=None if row.validation is None else _reference(row.validation),
        settings=TrainingSettings(**row.settings),
        arms={
            cast("ArmName", arm): ArmResult(
                **{name: result[name] for name in ArmResult.model_fields}
            )
            for arm, result in row.arms.items()
        },
        comparison_id=row.comparison_id,
    )


def artifacts(rows: Iterable[ArtifactRow]) -> ArtifactList:
    """Return the files of a training as clients see them."""
    return ArtifactList(
        items=[
            Artifact(
                name=row.name,
                media_type=row.media_type,
                size_bytes=row.size_bytes,
                sha256=row.sha256,
                url=f"/v1/trainings/{row.training_id}/artifacts/{row.name}",
            )
            for row in rows
        ]
    )


def region_of(row: CertificationRow | ComparisonRow) -> Region:
    """Return the part of the stored settings that says which inputs are asked about."""
    return Region(**{name: row.settings[name] for name in Region.model_fields})


def settings_of(row: CertificationRow | ComparisonRow) -> CertificationSettings:
    """Return the part of the stored settings that says how they are certified."""
    return CertificationSettings(
        **{
            name: row.settings[name]
            for name in CertificationSettings.model_fields
            if name in row.settings
        }
    )


def _upload(row: UploadRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "sha256": row.sha256,
        "size_bytes": row.size_bytes,
        "created_at": row.created_at,
        **row.details,
    }


def _job(row: JobRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": cast("State", row.state),
        "progress": Progress(
            done=row.done,
            total=row.total,
            parked=row.parked,
            seconds_left=seconds_left(row),
        ),
        "cancel_requested": row.cancel_requested,
        "cached": row.cached,
        "priority": row.priority,
        "error": None if row.error is None else _problem(row.id, row.error),
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def seconds_left(row: JobRow) -> float | None:
    """Return how long a running job will take, if it goes on as since its worker took it."""
    fresh = row.done - row.claimed_done
    if row.state != JobState.RUNNING or row.claimed_at is None or fresh <= 0:
        return None
    elapsed = (datetime.now(UTC) - row.claimed_at).total_seconds()
    return round(max(elapsed, 0.0) / fresh * max(row.total - row.done, 0), 1)


def _problem(job_id: str, error: Mapping[str, Any]) -> Problem:
    return problem_of(error["type"], error["message"], instance=f"/v1/jobs/{job_id}")


def _reference(row: UploadRow) -> Reference:
    return Reference(id=row.id, name=row.name, sha256=row.sha256)
