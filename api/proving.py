"""A stored proof, checked anew by a process that trusts nothing but the checker."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from anyio.to_thread import run_sync

from api.schemas.proofs import ProofCheck
from api.services import Services
from worker.inspector import StoredProof

__all__ = ["check_stored"]


async def check_stored(services: Services, certification_id: str, index: int) -> ProofCheck:
    """Check that the proof of an input shows what its certification asked.

    Args:
        services: Of the request.
        certification_id: Whose.
        index: Of the input.

    Raises:
        NotFoundError: There is no such certification, or no proof of that input.
        RejectedFileError: Checking it broke a limit.
    """
    check = partial(_check, services, certification_id, index)
    # Few at once: each may take as much memory as reading an uploaded file.
    return await run_sync(check, limiter=services.inspections)


def _check(services: Services, certification_id: str, index: int) -> ProofCheck:
    row = services.certifications.get(certification_id)
    content = services.certifications.proof(certification_id, index)
    with tempfile.TemporaryDirectory(prefix="tightrope-") as folder:
        proof = Path(folder) / "proof"
        proof.write_bytes(content)
        stored = StoredProof(
            proof=proof,
            network=services.networks.path(row.network),
            dataset=services.datasets.path(row.dataset),
            settings={name: one for name, one in row.settings.items() if name != "indices"},
            index=index,
        )
        return ProofCheck(**services.inspector.check(stored))
