"""What trainings leave to download and to look at."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse

from api import views
from api.answering import DirectRoute
from api.caching import FinalResult
from api.documents import CSV, as_csv, as_page, csv_answer
from api.parameters import ArtifactName, TrainingId
from api.principal import Scope, needs
from api.problems import problems
from api.reporting import training_data
from api.schemas.trainings import ArtifactList, TrainingReport
from api.services import ServicesDependency
from api.uploading import BINARY
from reports.training import metrics_csv, training_html

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/trainings/{training_id}",
    tags=["trainings"],
    dependencies=[needs(Scope.READ), FinalResult],
    route_class=DirectRoute,
)


@as_csv(
    router, "/metrics.csv", summary="Get the metrics as CSV", meaning="A line per step or epoch."
)
def get_metrics_csv(training_id: TrainingId, services: ServicesDependency) -> PlainTextResponse:
    """Return the metrics so far as a table for spreadsheets."""
    return csv_answer(metrics_csv(services.trainings.metrics(training_id)), training_id)


@router.get("/artifacts", summary="List the files of a training", responses=problems(404))
def list_artifacts(training_id: TrainingId, services: ServicesDependency) -> ArtifactList:
    """Return what it has left: the network, its checkpoint, settings and metrics.

    Those of a baseline have names that start with `baseline-`. There are none before the first
    network is finished or cancelled.
    """
    return views.artifacts(services.trainings.artifacts(training_id))


@router.get(
    "/artifacts/{artifact_name}",
    summary="Download a file of a training",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The file.",
            "content": dict.fromkeys(("application/octet-stream", "application/json", CSV), BINARY),
        },
        **problems(404),
    },
)
def download_artifact(
    training_id: TrainingId, artifact_name: ArtifactName, services: ServicesDependency
) -> FileResponse:
    """Return one file."""
    row, path = services.trainings.artifact(training_id, artifact_name)
    return FileResponse(path, media_type=row.media_type, filename=row.name)


@router.get("/report", summary="Get the report as JSON", responses=problems(404))
def get_training_report(training_id: TrainingId, services: ServicesDependency) -> TrainingReport:
    """Return what its page shows, also while it runs."""
    return TrainingReport(**training_data(services, services.trainings.get(training_id)))


@as_page(router, "/report.html", 404, summary="Get the report as a page")
def get_training_report_html(training_id: TrainingId, services: ServicesDependency) -> HTMLResponse:
    """Return curves, epochs and settings to look at and to send on, also while it runs."""
    return HTMLResponse(training_html(training_data(services, services.trainings.get(training_id))))
