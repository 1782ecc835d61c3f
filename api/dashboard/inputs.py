"""One input of a certification: its bounds, its evidence, and that judged anew on demand."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.dashboard.answers import asked_methods, method_row
from api.dashboard.certifications import certification_frame
from api.dashboard.overview import dashboard_of
from api.dashboard.posting import PostedForm
from api.dashboard.visiting import Visit, VisitDependency
from api.parameters import CertificationId
from api.principal import Scope, needs, needs_form
from api.proving import check_stored, replay_stored
from api.schemas.proofs import ProofCheck
from api.services import Services
from reports import charts
from reports.examples import Example, example
from reports.html import item_row
from reports.intervals import bounds_chart
from reports.page import duration, number
from store.dashboard import Answer
from store.tables import CertificationRow
from worker.inspector import RejectedFileError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_PATH = "/certifications/{certification_id}/inputs/{index}"
_MEANINGS = {
    "verified": "no input of the region changes the answer",
    "falsified": "an input of the region changes the answer",
    "unknown": "neither was shown",
    "misclassified": "the input itself is answered wrongly",
}

ItemIndex = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get(_PATH, response_class=HTMLResponse, dependencies=[needs(Scope.READ)])
def show_input(
    visit: VisitDependency, certification_id: CertificationId, index: ItemIndex
) -> HTMLResponse:
    """Return the page of one input."""
    return _page(visit, certification_id, index)


@router.post(_PATH, response_class=HTMLResponse, dependencies=[needs_form(Scope.SUBMIT)])
async def check_input(
    visit: VisitDependency, certification_id: CertificationId, index: ItemIndex, sent: PostedForm
) -> HTMLResponse:
    """Have the evidence of an input judged anew, and return its page with what came of it."""
    visit.principal.require(Scope.READ)
    judged = {}
    if sent.get("what") == "counterexample":
        judged["replayed"] = await _replayed(visit.services, certification_id, index)
    else:
        judged["checked"] = await _checked(visit.services, certification_id, index)
    page = partial(_page, visit, certification_id, index, **judged)
    return await run_sync(page)


async def _checked(services: Services, certification_id: str, index: int) -> dict[str, Any]:
    """Return what the checker says of a proof, as the page writes it."""
    try:
        return _told(await check_stored(services, certification_id, index))
    except RejectedFileError as error:
        return {"accepted": None, "reason": str(error)}


async def _replayed(services: Services, certification_id: str, index: int) -> dict[str, Any]:
    """Return what comes of running a counterexample again, as the page writes it."""
    try:
        found = await replay_stored(services, certification_id, index)
    except RejectedFileError as error:
        return {"confirmed": None, "reason": str(error)}
    return {
        **found.model_dump(),
        "margin": number(found.margin),
        "difference": number(found.difference, 2),
        "seconds": duration(found.seconds),
    }


def _page(
    visit: Visit,
    certification_id: str,
    index: int,
    *,
    checked: dict[str, Any] | None = None,
    replayed: dict[str, Any] | None = None,
) -> HTMLResponse:
    row = visit.services.certifications.get(certification_id)
    answer = dashboard_of(visit.services).answer(certification_id, index)
    methods = row.settings["methods"]
    return visit.show(
        "input.html",
        **certification_frame(row),
        item=answer.item,
        row=item_row(answer.item, []),
        meaning=_MEANINGS.get(str(answer.item.get("verdict")), ""),
        answer=answer,
        checked=checked,
        replayed=replayed,
        bounds=bounds_chart(answer.item, methods),
        charts=charts,
        methods=[method_row(answer.item, one) for one in asked_methods(answer.item, methods)],
        proving=_proving(answer),
        example=_example(row, answer),
    )


def _proving(answer: Answer) -> dict[str, str] | None:
    """Return what there is to say of making the proof; None where nobody tried."""
    proof = answer.item.get("proof")
    if not proof:
        return None
    leaves = proof.get("leaves")
    return {
        "proving": duration(proof.get("proving_seconds")),
        "checking": duration(proof.get("checking_seconds")),
        "margin": number(proof.get("margin")),
        "how": str(proof.get("reason") or (f"{leaves} leaves" if leaves else "done")),
    }


def _told(check: ProofCheck) -> dict[str, Any]:
    """Return what a check found, as the page writes it."""
    left = check.deployment_margin
    return {
        "accepted": check.accepted,
        "reason": check.reason or "",
        "statement": check.statement,
        "leaves": check.leaves,
        "margin": number(check.margin, 6),
        "float32": None if left is None else left > 0,
        "left": number(left, 6),
        "seconds": duration(check.seconds),
    }


def _example(row: CertificationRow, answer: Answer) -> Example | None:
    """Return the counterexample, where there is one and its input is kept."""
    if not answer.item.get("counterexample") or not answer.input:
        return None
    return example(
        answer.item,
        answer.input,
        input_shape=row.network.details["input_shape"],
        valid_range=row.settings.get("valid_range"),
    )
