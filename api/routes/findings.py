"""What finished jobs found, in the formats of continuous integration: JUnit XML and SARIF."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.caching import FinalResult
from api.parameters import CertificationId, ComparisonId, TrainingId
from api.principal import Scope, needs
from api.problems import problems
from api.reporting import (
    certification_data,
    comparison_sides,
    ending_of,
    origin_of,
    require_finished,
    training_data,
)
from api.services import Services, ServicesDependency
from reports.findings import Ending, Side
from reports.junit import certification_junit, comparison_junit, training_junit
from reports.sarif import certification_sarif, comparison_sarif, training_sarif
from store.tables import CertificationRow, ComparisonRow

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["reports"], dependencies=[needs(Scope.READ), FinalResult])

_JUNIT = "application/xml"
_SARIF = "application/sarif+json"
_TEXT = {"schema": {"type": "string"}}
_OBJECT = {"schema": {"type": "object"}}

RepositoryPath = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=1000,
        description="Path of the network in its repository, where code scanning shows results; "
        "its name if absent.",
    ),
]


def _answers(media_type: str, meaning: str, schema: dict[str, Any]) -> dict[int | str, Any]:
    good = {"description": meaning, "content": {media_type: schema}}
    return {200: good, **problems(404, 409, 422)}


def _certified(
    services: Services, certification_id: str
) -> tuple[CertificationRow, dict[str, Any], Ending]:
    """Return a finished certification, what it found, and how it ended."""
    row = services.certifications.get(certification_id)
    require_finished("certification", row.job)
    report = certification_data(services, row)
    ending = ending_of(row.job, row.settings["indices"], report["items"])
    return row, report, ending


def _compared(services: Services, comparison_id: str) -> tuple[ComparisonRow, list[Side], Ending]:
    """Return a finished comparison, its networks with their answers, and how it ended."""
    row = services.comparisons.get(comparison_id)
    require_finished("comparison", row.job)
    sides = comparison_sides(services, row)
    ending = ending_of(row.job, row.settings["indices"], *(side.items for side in sides))
    return row, sides, ending


def _comparison_sarif(services: Services, comparison_id: str, uri: str | None) -> str:
    row, sides, ending = _compared(services, comparison_id)
    return comparison_sarif(sides, row.settings, origin_of(services, row, uri), ending)


@router.get(
    "/certifications/{certification_id}/junit.xml",
    summary="Get the answers as JUnit XML",
    response_class=Response,
    responses=_answers(_JUNIT, "A test per input.", _TEXT),
)
def get_certification_junit(
    certification_id: CertificationId, services: ServicesDependency
) -> Response:
    """Return a test for each input, which passes where the input is verified.

    The certification has to be finished; inputs that it has no answer for are errors.
    """
    _, report, ending = _certified(services, certification_id)
    return Response(certification_junit(report, ending), media_type=_JUNIT)


@router.get(
    "/certifications/{certification_id}/sarif.json",
    summary="Get the answers as SARIF",
    response_class=Response,
    responses=_answers(_SARIF, "SARIF 2.1.0.", _OBJECT),
)
def get_certification_sarif(
    certification_id: CertificationId, services: ServicesDependency, uri: RepositoryPath = None
) -> Response:
    """Return a result for each input that is not verified, for code scanning.

    The certification has to be finished.
    """
    row, report, ending = _certified(services, certification_id)
    text = certification_sarif(report, origin_of(services, row, uri), ending)
    return Response(text, media_type=_SARIF)


@router.get(
    "/comparisons/{comparison_id}/junit.xml",
    summary="Get a comparison as JUnit XML",
    response_class=Response,
    responses=_answers(_JUNIT, "A test per candidate and input.", _TEXT),
)
def get_comparison_junit(comparison_id: ComparisonId, services: ServicesDependency) -> Response:
    """Return a test for each candidate and input: failed where only the baseline is verified.

    The comparison has to be finished; inputs that it has no answer for are errors.
    """
    row, sides, ending = _compared(services, comparison_id)
    return Response(comparison_junit(sides, row.settings, ending), media_type=_JUNIT)


@router.get(
    "/comparisons/{comparison_id}/sarif.json",
    summary="Get a comparison as SARIF",
    response_class=Response,
    responses=_answers(_SARIF, "SARIF 2.1.0.", _OBJECT),
)
def get_comparison_sarif(
    comparison_id: ComparisonId, services: ServicesDependency, uri: RepositoryPath = None
) -> Response:
    """Return a result for each candidate's input that is not verified; `lost` if it was before.

    The comparison has to be finished. With several candidates, `uri` is where all of them are.
    """
    return Response(_comparison_sarif(services, comparison_id, uri), media_type=_SARIF)


@router.get(
    "/trainings/{training_id}/junit.xml",
    summary="Get a training as JUnit XML",
    response_class=Response,
    responses=_answers(_JUNIT, "A test per trained network.", _TEXT),
)
def get_training_junit(training_id: TrainingId, services: ServicesDependency) -> Response:
    """Return a test for each trained network, which passes where training went to an end.

    The training has to be finished.
    """
    row = services.trainings.get(training_id)
    require_finished("training", row.job)
    text = training_junit(training_data(services, row), ending_of(row.job))
    return Response(text, media_type=_JUNIT)


@router.get(
    "/trainings/{training_id}/sarif.json",
    summary="Get a training as SARIF",
    response_class=Response,
    responses=_answers(_SARIF, "SARIF 2.1.0.", _OBJECT),
)
def get_training_sarif(
    training_id: TrainingId, services: ServicesDependency, uri: RepositoryPath = None
) -> Response:
    """Return what the comparison of both arms found; no results where they are not compared.

    The training has to be finished, and the comparison that followed it.
    """
    row = services.trainings.get(training_id)
    require_finished("training", row.job)
    if row.comparison_id is None:
        text = training_sarif(origin_of(services, row, uri), ending_of(row.job))
    else:
        text = _comparison_sarif(services, row.comparison_id, uri)
    return Response(text, media_type=_SARIF)
