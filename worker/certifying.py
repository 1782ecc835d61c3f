"""Jobs that certify a network: one answer per input, each stored as it comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reports.summary import summarize
from store.certifications import Certifications
from store.chunks import Claim
from store.errors import StoreError
from store.sizing import LONGEST_SECONDS
from store.tables import CertificationRow, ComparisonRow, NetworkRow
from worker.lease import Lease
from worker.parking import nothing_answered, unknown_item
from worker.work import CertificationEngine, CertificationWork
from worker.workplace import Workplace, json_object
from worker.writing import AnswerWriter

__all__ = ["CertificationHandler", "answer_chunk", "work_on"]

logger = logging.getLogger(__name__)


class CertificationHandler:
    """Certifies.

    Args:
        place: The worker.
        engine: What computes.
    """

    def __init__(self, place: Workplace, engine: CertificationEngine) -> None:
        self._place = place
        self._engine = engine
        self._certifications = Certifications(place.database)

    def work(self, claim: Claim, lease: Lease) -> Sequence[int]:
        """Answer the inputs of a chunk; return those that are handed back."""
        row = self._certifications.get(claim.job_id)
        logger.info("chunk %s: %d inputs to certify", claim.number, len(claim.indices))
        work = work_on(self._place, row, row.network, claim.indices)
        store = partial(self._certifications.add_items, claim)
        return answer_chunk(self._engine, work, claim, lease, store=store)

    def compute(self, job_id: str, lease: Lease) -> None:
        """Say of the inputs that were given up that nothing is known, and why.

        Raises:
            RemoteError: Not one input was answered; this is why.
        """
        del lease  # soon done
        parked = self._place.chunks.parked(job_id)
        finished = self._certifications.finished_indices(job_id)
        if parked and not finished:
            raise nothing_answered(parked)
        methods = self._certifications.get(job_id).settings["methods"]
        items = [
            unknown_item(index, methods, chunk.error)
            for chunk in parked
            for index in chunk.indices
            if index not in finished
        ]
        whole = Claim(job_id, "certification", "", self._place.owner)
        self._certifications.add_items(whole, items)

    def complete(self, job_id: str) -> bool:
        """Store the summary and end the job, where every input has its answer."""
        row = self._certifications.get(job_id)
        items = self._certifications.items(job_id)
        if len(items) < row.job.total:
            return False
        summary = json_object(summarize(items, row.settings["methods"]))
        self._certifications.succeed(job_id, self._place.owner, summary)
        return True


def work_on(
    place: Workplace,
    row: CertificationRow | ComparisonRow,
    network: NetworkRow,
    indices: Sequence[int],
) -> CertificationWork:
    """Return what an engine needs to know to answer for inputs of a network."""
    return CertificationWork(
        network=place.blobs.path(network.sha256),
        network_name=network.name,
        dataset=place.blobs.path(row.dataset.sha256),
        dataset_name=row.dataset.name,
        settings=row.settings,
        indices=indices,
        device=place.settings.device,
        threads=place.threads(),
    )


def answer_chunk(
    engine: CertificationEngine,
    work: CertificationWork,
    claim: Claim,
    lease: Lease,
    *,
    store: Callable[[Sequence[Mapping[str, Any]]], None],
) -> Sequence[int]:
    """Compute the answers of a chunk and store them as they come.

    Args:
        engine: What computes.
        work: The chunk's inputs.
        claim: The chunk.
        lease: Of the chunk.
        store: Stores answers.

    Returns:
        Inputs that were not begun, because the others took long; empty where the lease ended, since
        whatever is left is found by what is not stored.

    Raises:
        StoreError: The engine left an input out.
        LeaseLostError: The chunk is no longer this worker's.
    """
    began, left = time.monotonic(), dict.fromkeys(claim.indices)
    with AnswerWriter(store) as writer:
        for item in engine(work, lambda: lease.cancelled() or writer.failed):
            if lease.cancelled() or writer.failed:
                return ()  # this answer may have been cut short
            writer.add(json_object(item))
            left.pop(item["index"], None)
            whole_batch = (len(claim.indices) - len(left)) % claim.grain == 0
            if whole_batch and time.monotonic() - began > LONGEST_SECONDS:
                break
        else:
            if left and not lease.cancelled() and not writer.failed:
                raise StoreError(f"the engine gave no answer for {len(left)} inputs")
    return () if lease.cancelled() else tuple(left)
