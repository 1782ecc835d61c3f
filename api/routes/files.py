"""What the resources `networks` and `datasets` have in common: files, uploaded and downloaded."""

# No lazy annotations here: the parameters of these routes are made for each resource, and FastAPI
# finds names of annotations among the globals of a module only.

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from api.answering import DirectRoute
from api.pagination import CursorParameter, LimitParameter, newest
from api.parameters import ContentHash, IdempotencyKey, UploadName
from api.principal import Scope, needs
from api.problems import problems
from api.schemas.uploads import UploadPublic
from api.services import Services, ServicesDependency
from api.uploading import BINARY, body, store_upload, uploads_of
from store.uploads import UploadRow
from worker.inspector import FileKind

__all__ = ["FileResource", "file_router"]


@dataclass(frozen=True)
class FileResource:
    """What tells one resource from the other.

    Attributes:
        kind: `network` or `dataset`; the plural names the resource.
        words: For people: `network` or `data set`.
        prefix: Of identifiers.
        public: How clients see one.
        page: How clients see several.
        view: Turns a row into `public`.
        upload: What the file is, in OpenAPI's words.
        about_upload: What uploading does, in OpenAPI's words.
    """

    kind: FileKind
    words: str
    prefix: str
    public: type[UploadPublic]
    page: type[Any]
    view: Callable[[UploadRow], UploadPublic]
    upload: str
    about_upload: str


def file_router(resource: FileResource) -> APIRouter:
    """Return the routes of one resource."""
    router = APIRouter(
        prefix=f"/v1/{resource.kind}s", tags=[f"{resource.kind}s"], route_class=DirectRoute
    )
    _add_upload(router, resource)
    _add_list(router, resource)
    _add_one(router, resource)
    return router


def _add_upload(router: APIRouter, resource: FileResource) -> None:
    @router.post(
        "",
        name=f"create_{resource.kind}",
        status_code=201,
        summary=f"Upload a {resource.words}",
        description=resource.about_upload,
        response_model=resource.public,
        openapi_extra=body(resource.upload),
        responses={
            200: {"model": resource.public, "description": "It was there already."},
            **problems(400, 409, 413, 415, 422, 507),
        },
        dependencies=[needs(Scope.SUBMIT)],
    )
    async def create(
        request: Request,
        response: Response,
        services: ServicesDependency,
        name: UploadName = None,
        idempotency_key: IdempotencyKey = None,
    ) -> UploadPublic:
        row = await store_upload(
            services, resource.kind, request, response=response, name=name, key=idempotency_key
        )
        return resource.view(row)


def _add_list(router: APIRouter, resource: FileResource) -> None:
    @router.get(
        "",
        name=f"list_{resource.kind}s",
        summary=f"List {resource.words}s",
        description=f"Return {resource.words}s, newest first; with `sha256`, those of one content.",
        response_model=resource.page,
        responses=problems(422),
        dependencies=[needs(Scope.READ)],
    )
    def list_all(
        services: ServicesDependency,
        sha256: ContentHash = None,
        limit: LimitParameter = 100,
        cursor: CursorParameter = None,
    ) -> Any:  # noqa: ANN401 (the page of either resource)
        found = partial(uploads_of(services, resource.kind).page, sha256=sha256)
        page, following = newest(found, limit, cursor)
        return resource.page(items=[resource.view(row) for row in page], next_cursor=following)


def _add_one(router: APIRouter, resource: FileResource) -> None:
    key = f"{resource.kind}_id"
    one = Path(
        alias=key,
        description=f"Of the {resource.words}.",
        examples=[f"{resource.prefix}_01jr3v7q9k2m4n6p8r0s2t4v6w"],
    )

    def found(services: Services, identifier: str) -> UploadRow:
        return uploads_of(services, resource.kind).get(identifier)

    @router.get(
        f"/{{{key}}}",
        name=f"get_{resource.kind}",
        summary=f"Get a {resource.words}",
        description=f"Return one {resource.words}.",
        response_model=resource.public,
        responses=problems(404),
        dependencies=[needs(Scope.READ)],
    )
    def get(services: ServicesDependency, identifier: str = one) -> UploadPublic:
        return resource.view(found(services, identifier))

    @router.get(
        f"/{{{key}}}/file",
        name=f"download_{resource.kind}",
        summary=f"Download a {resource.words}",
        description="Return the file as it was uploaded.",
        response_class=FileResponse,
        responses={
            200: {"description": "The file.", "content": {"application/octet-stream": BINARY}},
            **problems(404),
        },
        dependencies=[needs(Scope.READ)],
    )
    def download(services: ServicesDependency, identifier: str = one) -> FileResponse:
        row = found(services, identifier)
        path = uploads_of(services, resource.kind).path(row)
        return FileResponse(path, media_type="application/octet-stream", filename=row.name)

    @router.delete(
        f"/{{{key}}}",
        name=f"delete_{resource.kind}",
        status_code=204,
        summary=f"Delete a {resource.words}",
        description=f"Delete a {resource.words} that no job uses.",
        responses=problems(404, 409),
        dependencies=[needs(Scope.SUBMIT)],
    )
    def delete(services: ServicesDependency, identifier: str = one) -> None:
        uploads_of(services, resource.kind).delete(identifier)
