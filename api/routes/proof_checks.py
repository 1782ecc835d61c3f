"""Evidence of answers, judged anew on demand: proofs and counterexamples."""

from __future__ import annotations

from fastapi import APIRouter

from api.answering import DirectRoute
from api.parameters import CertificationId
from api.principal import Scope, needs
from api.problems import problems
from api.proving import check_stored, replay_stored
from api.routes.evidence import ItemIndex
from api.schemas.proofs import CounterexampleReplay, ProofCheck
from api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/certifications/{certification_id}/items/{index}",
    tags=["certifications"],
    dependencies=[needs(Scope.SUBMIT)],
    route_class=DirectRoute,
)


@router.post("/proof/check", summary="Check the proof of an answer", responses=problems(404, 422))
async def check_proof(
    certification_id: CertificationId, index: ItemIndex, services: ServicesDependency
) -> ProofCheck:
    """Have the independent checker judge the stored proof once more.

    A process with limits reads network, data set and proof, derives every bound anew, and compares
    what is proved with what the certification asked about this input.
    """
    return await check_stored(services, certification_id, index)


@router.post(
    "/counterexample/replay",
    summary="Run the counterexample to an answer again",
    responses=problems(404, 422),
)
async def replay_counterexample(
    certification_id: CertificationId, index: ItemIndex, services: ServicesDependency
) -> CounterexampleReplay:
    """Have onnxruntime run the stored counterexample once more.

    A process with limits reads network and data set, puts the normalisation that was asked for in
    front, and finds the input confirmed where it lies in the region and its outputs change the
    answer, both exactly.
    """
    return await replay_stored(services, certification_id, index)
