"""Rows of the store as wire types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from api.problems import problem_of
from api.schemas.certifications import (
    CertificationPublic,
    CertificationSettings,
    Reference,
    Region,
    Summary,
)
from api.schemas.jobs import JobPublic, Progress, State
from api.schemas.problem import Problem
from api.schemas.uploads import DatasetPublic, NetworkPublic
from store.tables import CertificationRow, JobRow
from store.uploads import UploadRow

__all__ = ["certification", "dataset", "job", "network", "region_of", "settings_of"]


def network(row: UploadRow) -> NetworkPublic:
    """Return a network as clients see it."""
    return NetworkPublic(**_upload(row))


def dataset(row: UploadRow) -> DatasetPublic:
    """Return a data set as clients see it."""
    return DatasetPublic(**_upload(row))


def job(row: JobRow) -> JobPublic:
    """Return a job as clients see it."""
    return JobPublic(kind="certification", url=f"/v1/certifications/{row.id}", **_job(row))


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


def region_of(row: CertificationRow) -> Region:
    """Return the part of the stored settings that says which inputs are asked about."""
    return Region(**{name: row.settings[name] for name in Region.model_fields})


def settings_of(row: CertificationRow) -> CertificationSettings:
    """Return the part of the stored settings that says how they are certified."""
    return CertificationSettings(
        **{name: row.settings[name] for name in CertificationSettings.model_fields}
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
        "progress": Progress(done=row.done, total=row.total),
        "cancel_requested": row.cancel_requested,
        "cached": row.cached,
        "error": None if row.error is None else _problem(row.id, row.error),
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _problem(job_id: str, error: Mapping[str, Any]) -> Problem:
    return problem_of(error["type"], error["message"], instance=f"/v1/jobs/{job_id}")


def _reference(row: UploadRow) -> Reference:
    return Reference(id=row.id, name=row.name, sha256=row.sha256)
