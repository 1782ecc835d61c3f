"""Files uploaded on a page: what was recognised in them, or everything that is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import UploadFile

from api.dashboard.networks import list_page
from api.dashboard.visiting import Visit, VisitDependency
from api.principal import Scope, needs, needs_form
from api.problems import ApiError, problem_of
from api.services import Services
from api.uploading import store_upload
from store.errors import StoreError
from store.uploads import DATASETS, UploadRow
from worker.inspector import FileKind, RejectedFileError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

UploadId = Annotated[str, Path(max_length=40)]


@router.get(
    "/networks/uploaded/{upload_id}",
    response_class=HTMLResponse,
    dependencies=[needs(Scope.READ)],
)
def show_upload(visit: VisitDependency, upload_id: UploadId) -> HTMLResponse:
    """Return the page of networks with what was recognised in the file that came last."""
    row = _found(visit.services, upload_id)
    recognised = {"row": row, "network": not upload_id.startswith(DATASETS.prefix)}
    return list_page(visit, recognised=recognised)


@router.post("/networks", response_class=HTMLResponse, dependencies=[needs_form(Scope.SUBMIT)])
async def upload_file(visit: VisitDependency) -> Response:
    """Store a network or a data set, and lead to what was recognised in it."""
    visit.principal.require(Scope.READ)
    name, kind = await _sent(visit.request)
    if not name:
        told = {"title": "No file was chosen", "detail": "Choose one, or drop it on the form"}
        return await _refused(visit, told, status=422)
    try:
        row = await store_upload(
            visit.services, kind, visit.request, response=Response(), name=None, key=None
        )
    except (ApiError, StoreError) as error:
        told, status = _told(name, error)
        return await _refused(visit, told, status=status)
    return RedirectResponse(f"/networks/uploaded/{row.id}", status_code=303)


async def _sent(request: Request) -> tuple[str, FileKind]:
    """Return the name of the file of a form, and by it what the file is taken for."""
    file = (await request.form()).get("file")
    name = (file.filename or "") if isinstance(file, UploadFile) else ""
    return name, "dataset" if name.lower().endswith(DATASETS.suffix) else "network"


def _told(name: str, error: ApiError | StoreError) -> tuple[dict[str, Any], int]:
    """Return what a page says of a file that was refused, and the status of the answer."""
    parts: list[Mapping[str, str]] = []
    kind = error.name if isinstance(error, ApiError) else type(error).__name__
    if isinstance(error, RejectedFileError):
        kind, parts = error.kind, list(error.parts)
    problem = problem_of(kind, str(error))
    told = {"title": problem.title, "detail": problem.detail, "name": name, "parts": parts}
    return told, problem.status


async def _refused(visit: Visit, told: Mapping[str, Any], *, status: int) -> HTMLResponse:
    refused = {"name": "", "parts": [], **told}
    page = partial(list_page, visit, refused=refused, status=status)
    return await run_sync(page)


def _found(services: Services, identifier: str) -> UploadRow:
    """Return what was uploaded.

    Raises:
        NotFoundError: There is none with that id.
    """
    known = services.datasets if identifier.startswith(DATASETS.prefix) else services.networks
    return known.get(identifier)
