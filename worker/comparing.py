"""Jobs that compare networks: the answers of each, how tight its layers are, and the figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from reports.comparison import comparison_of
from store.comparisons import Comparisons
from store.tables import ComparedNetworkRow, ComparisonRow
from worker.certifying import CertificationEngine, CertificationWork
from worker.lease import Lease
from worker.workplace import Workplace, json_object

__all__ = ["ComparisonHandler", "TightnessEngine"]

logger = logging.getLogger(__name__)


class TightnessEngine(Protocol):
    """Measures how tight the relaxation of each layer is."""

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return one mapping per layer; None where that does not fit into memory."""
        ...


class ComparisonHandler:
    """Compares.

    Args:
        place: The worker.
        certify: What answers for inputs, as in certifications.
        measure: What measures layers.
    """

    def __init__(
        self, place: Workplace, certify: CertificationEngine, measure: TightnessEngine
    ) -> None:
        self._place = place
        self._certify = certify
        self._measure = measure
        self._comparisons = Comparisons(place.database)

    def compute(self, job_id: str, lease: Lease) -> None:
        """Compute and store what is missing of each network, until done or told to stop."""
        row = self._comparisons.get(job_id)
        for entry in row.networks:
            if lease.cancelled():
                return
            self._answer(row, entry, lease)
            if entry.tightness is None and not lease.cancelled():
                self._note_layers(row, entry, lease)

    def complete(self, job_id: str) -> bool:
        """Store the figures and end the job, where every network has all its answers."""
        row = self._comparisons.get(job_id)
        if row.job.done < row.job.total or any(entry.tightness is None for entry in row.networks):
            return False
        settings = row.settings
        sides = [self._side(row, entry) for entry in row.networks]
        result = comparison_of(
            sides[0], sides[1:], methods=settings["methods"], seed=settings["seed"]
        )
        self._comparisons.succeed(job_id, self._place.owner, json_object(result))
        return True

    def _answer(self, row: ComparisonRow, entry: ComparedNetworkRow, lease: Lease) -> None:
        """Certify the inputs for which a network has no answer yet."""
        finished = self._comparisons.finished_indices(row.id, entry.position)
        work = self._work(row, entry)
        work = replace(work, indices=[index for index in work.indices if index not in finished])
        logger.info("network %d: %d inputs to certify", entry.position, len(work.indices))
        if not work.indices:
            return
        for item in self._certify(work, lease.cancelled):
            if lease.cancelled():
                return  # this answer may have been cut short
            self._comparisons.add_item(
                row.id, self._place.owner, position=entry.position, item=json_object(item)
            )

    def _note_layers(self, row: ComparisonRow, entry: ComparedNetworkRow, lease: Lease) -> None:
        layers = self._measure(self._work(row, entry), lease.cancelled)
        if lease.cancelled():
            return  # measured on some of the inputs only
        clean = None if layers is None else [json_object(layer) for layer in layers]
        self._comparisons.set_layers(
            row.id, self._place.owner, position=entry.position, layers=clean
        )

    def _side(self, row: ComparisonRow, entry: ComparedNetworkRow) -> dict[str, Any]:
        """Return what the figures of one network are made from."""
        return {
            "network_id": entry.network_id,
            "name": entry.network.name,
            "sha256": entry.network.sha256,
            "items": self._comparisons.items(row.id, entry.position),
            "layers": (entry.tightness or {}).get("layers"),
        }

    def _work(self, row: ComparisonRow, entry: ComparedNetworkRow) -> CertificationWork:
        return CertificationWork(
            network=self._place.blobs.path(entry.network.sha256),
            network_name=entry.network.name,
            dataset=self._place.blobs.path(row.dataset.sha256),
            dataset_name=row.dataset.name,
            settings=row.settings,
            indices=row.settings["indices"],
            device=self._place.settings.device,
        )
