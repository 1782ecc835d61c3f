"""What verdicts of certifications rest on, to be checked by whoever does not trust them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.answering import DirectRoute
from api.caching import FinalResult
from api.parameters import CertificationId
from api.principal import Scope, needs
from api.problems import problems
from api.services import ServicesDependency
from api.uploading import BINARY
from reports.evidence import counterexample_npz

__all__ = ["ItemIndex", "router"]

router = APIRouter(
    prefix="/v1/certifications/{certification_id}/items/{index}",
    tags=["certifications"],
    dependencies=[needs(Scope.READ), FinalResult],
    route_class=DirectRoute,
)

ItemIndex = Annotated[int, Path(ge=0, le=2**31 - 1, description="Of the input in its data set.")]

_BYTES = "application/octet-stream"


@router.get(
    "/proof",
    summary="Download the proof of an answer",
    response_class=Response,
    responses={
        200: {"description": "The proof.", "content": {_BYTES: BINARY}},
        **problems(404, 422),
    },
)
def download_proof(
    certification_id: CertificationId, index: ItemIndex, services: ServicesDependency
) -> Response:
    """Return the proof that an input is `verified`, as `tightrope check` takes it.

    There is one where the certification asked for proofs and the item's evidence is `checked`.
    """
    content = services.certifications.proof(certification_id, index)
    return _file(content, f"{certification_id}-{index}.proof")


@router.get(
    "/counterexample",
    summary="Download a counterexample",
    response_class=Response,
    responses={
        200: {"description": "The counterexample.", "content": {_BYTES: BINARY}},
        **problems(404, 422),
    },
)
def download_counterexample(
    certification_id: CertificationId, index: ItemIndex, services: ServicesDependency
) -> Response:
    """Return the counterexample of a `falsified` input as `.npz`, as `tightrope check` takes it."""
    found = services.certifications.counterexample(certification_id, index)
    content = counterexample_npz(found["x"], found["y"])
    return _file(content, f"{certification_id}-{index}.npz")


def _file(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=_BYTES, headers=headers)
