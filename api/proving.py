"""Stored evidence, judged anew by a process that can be spared: proofs and counterexamples."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from api.schemas.proofs import CounterexampleReplay, ProofCheck
from api.services import Services
from store.tables import CertificationRow
from worker.inspector import StoredExample, StoredProof

__all__ = ["check_stored", "replay_stored"]


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
    # Few at once: each may take as much memory as reading an uploaded file.
    limiter = services.inspections
    return await run_sync(_check, services, certification_id, index, limiter=limiter)


async def replay_stored(
    services: Services, certification_id: str, index: int
) -> CounterexampleReplay:
    """Run the counterexample to an input again.

    Args:
        services: Of the request.
        certification_id: Whose.
        index: Of the input.

    Raises:
        NotFoundError: There is no such certification, or no counterexample to that input.
        RejectedFileError: Running it broke a limit.
    """
    limiter = services.inspections
    return await run_sync(_replay, services, certification_id, index, limiter=limiter)


def _replay(services: Services, certification_id: str, index: int) -> CounterexampleReplay:
    row = services.certifications.get(certification_id)
    found = services.certifications.counterexample(certification_id, index)
    stored = StoredExample(found["x"], found["y"], **_asked(services, row), index=index)
    return CounterexampleReplay(**services.inspector.replay(stored))


def _asked(services: Services, row: CertificationRow) -> dict[str, Any]:
    """Return what a certification asked of every input."""
    return {
        "network": services.networks.path(row.network),
        "dataset": services.datasets.path(row.dataset),
        "settings": {name: one for name, one in row.settings.items() if name != "indices"},
    }


def _check(services: Services, certification_id: str, index: int) -> ProofCheck:
    row = services.certifications.get(certification_id)
    content = services.certifications.proof(certification_id, index)
    with tempfile.TemporaryDirectory(prefix="tightrope-") as folder:
        proof = Path(folder) / "proof"
        proof.write_bytes(content)
        stored = StoredProof(proof, **_asked(services, row), index=index)
        return ProofCheck(**services.inspector.check(stored))
