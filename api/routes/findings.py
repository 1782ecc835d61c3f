"""What finished jobs found, in the formats of continuous integration: JUnit XML and SARIF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.answering import DirectRoute
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

router = APIRouter(
    prefix="/v1",
    tags=["reports"],
    dependencies=[needs(Scope.READ), FinalResult],
    route_class=DirectRoute,
)

Route = TypeVar("Route", bound=Callable[..., Response])
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


def _as_junit(path: str, what: str, meaning: str) -> Callable[[Route], Route]:
    """Return the decorator of what answers with JUnit XML."""
    return _answering(f"{path}/junit.xml", f"Get {what} as JUnit XML", _JUNIT, meaning, _TEXT)


def _as_sarif(path: str, what: str) -> Callable[[Route], Route]:
    """Return the decorator of what answers with SARIF."""
    return _answering(f"{path}/sarif.json", f"Get {what} as SARIF", _SARIF, "SARIF 2.1.0.", _OBJECT)


def _answering(
    path: str, summary: str, media_type: str, meaning: str, schema: dict[str, Any]
) -> Callable[[Route], Route]:
    good = {"description": meaning, "content": {media_type: schema}}
    responses = {200: good, **problems(404, 409, 422)}
    return router.get(path, summary=summary, response_class=Response, responses=responses)


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


@_as_junit("/certifications/{certification_id}", "the answers", "A test per input.")
def get_certification_junit(
    certification_id: CertificationId, services: ServicesDependency
) -> Response:
    """Return a test for each input, which passes where the input is verified.

    The certification has to be finished; inputs that it has no answer for are errors.
    """
    _, report, ending = _certified(services, certification_id)
    return Response(certification_junit(report, ending), media_type=_JUNIT)


@_as_sarif("/certifications/{certification_id}", "the answers")
def get_certification_sarif(
    certification_id: CertificationId, services: ServicesDependency, uri: RepositoryPath = None
) -> Response:
    """Return a result for each input that is not verified, for code scanning.

    The certification has to be finished.
    """
    row, report, ending = _certified(services, certification_id)
    text = certification_sarif(report, origin_of(services, row, uri), ending)
    return Response(text, media_type=_SARIF)


@_as_junit("/comparisons/{comparison_id}", "a comparison", "A test per candidate and input.")
def get_comparison_junit(comparison_id: ComparisonId, services: ServicesDependency) -> Response:
    """Return a test for each candidate and input: failed where only the baseline is verified.

    The comparison has to be finished; inputs that it has no answer for are errors.
    """
    row, sides, ending = _compared(services, comparison_id)
    return Response(comparison_junit(sides, row.settings, ending), media_type=_JUNIT)


@_as_sarif("/comparisons/{comparison_id}", "a comparison")
def get_comparison_sarif(
    comparison_id: ComparisonId, services: ServicesDependency, uri: RepositoryPath = None
) -> Response:
    """Return a result for each candidate's input that is not verified; `lost` if it was before.

    The comparison has to be finished. With several candidates, `uri` is where all of them are.
    """
    return Response(_comparison_sarif(services, comparison_id, uri), media_type=_SARIF)


@_as_junit("/trainings/{training_id}", "a training", "A test per trained network.")
def get_training_junit(training_id: TrainingId, services: ServicesDependency) -> Response:
    """Return a test for each trained network, which passes where training went to an end.

    The training has to be finished.
    """
    row = services.trainings.get(training_id)
    require_finished("training", row.job)
    text = training_junit(training_data(services, row), ending_of(row.job))
    return Response(text, media_type=_JUNIT)


@_as_sarif("/trainings/{training_id}", "a training")
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
