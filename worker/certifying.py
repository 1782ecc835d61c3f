"""Jobs that certify a network: one answer per input, each stored as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reports.summary import summarize
from store.certifications import Certifications
from store.tables import CertificationRow
from worker.lease import Lease
from worker.workplace import Workplace, json_object

__all__ = ["CertificationEngine", "CertificationHandler", "CertificationWork"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CertificationWork:
    """What an engine needs to know.

    Attributes:
        network, dataset: The files.
        network_name, dataset_name: For messages.
        settings: As the request gave them.
        indices: The inputs still without an answer.
        device: Where to compute.
    """

    network: Path
    network_name: str
    dataset: Path
    dataset_name: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    device: str


class CertificationEngine(Protocol):
    """Computes answers, one mapping per input, as they are ready."""

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield items; stop early once `cancelled` says so."""
        ...


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

    def compute(self, job_id: str, lease: Lease) -> None:
        """Compute and store the answers that are missing, until done or told to stop."""
        row = self._certifications.get(job_id)
        finished = self._certifications.finished_indices(job_id)
        missing = [index for index in row.settings["indices"] if index not in finished]
        logger.info("%d inputs to certify, %d are done", len(missing), len(finished))
        for item in self._engine(self._work(row, missing), lease.cancelled):
            if lease.cancelled():
                return  # this answer may have been cut short
            self._certifications.add_item(job_id, self._place.owner, json_object(item))

    def complete(self, job_id: str) -> bool:
        """Store the summary and end the job, where every input has its answer."""
        row = self._certifications.get(job_id)
        items = self._certifications.items(job_id)
        if len(items) < row.job.total:
            return False
        summary = json_object(summarize(items, row.settings["methods"]))
        self._certifications.succeed(job_id, self._place.owner, summary)
        return True

    def _work(self, row: CertificationRow, missing: Sequence[int]) -> CertificationWork:
        return CertificationWork(
            network=self._place.blobs.path(row.network.sha256),
            network_name=row.network.name,
            dataset=self._place.blobs.path(row.dataset.sha256),
            dataset_name=row.dataset.name,
            settings=row.settings,
            indices=missing,
            device=self._place.settings.device,
        )
