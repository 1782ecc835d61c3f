"""Jobs that compare networks: the answers of each, how tight its layers are, and the figures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from reports.comparison import comparison_of
from store.chunks import Claim
from store.comparisons import Comparisons
from store.plans import ITEMS, LAYERS
from store.tables import ComparedNetworkRow, ComparisonRow
from worker.certifying import answer_chunk, work_on
from worker.lease import Lease
from worker.parking import nothing_answered, unknown_item
from worker.work import CertificationEngine, TightnessEngine
from worker.workplace import Workplace, json_object

__all__ = ["ComparisonHandler"]

logger = logging.getLogger(__name__)


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

    def work(self, claim: Claim, lease: Lease) -> Sequence[int]:
        """Do a chunk: answers of one network, or the tightness of its layers."""
        row = self._comparisons.get(claim.job_id)
        entry = row.networks[claim.position]
        if claim.task == LAYERS:
            self._note_layers(row, entry, claim, lease)
            return ()
        logger.info(
            "chunk %s: %d inputs of network %d to certify",
            claim.number,
            len(claim.indices),
            claim.position,
        )
        work = work_on(self._place, row, entry.network, claim.indices)
        store = partial(self._comparisons.add_items, claim)
        return answer_chunk(self._certify, work, claim, lease, store=store)

    def compute(self, job_id: str, lease: Lease) -> None:
        """Say of what was given up that nothing is known, and why.

        Raises:
            RemoteError: Not one input was answered; this is why.
        """
        del lease  # soon done
        parked = self._place.chunks.parked(job_id)
        row = self._comparisons.get(job_id)
        sides = {
            one.position: self._comparisons.items(job_id, one.position) for one in row.networks
        }
        labels = {item["index"]: item["label"] for items in sides.values() for item in items}
        if any(chunk.task == ITEMS for chunk in parked) and not labels:
            raise nothing_answered(parked)
        for chunk in parked:
            claim = Claim(job_id, "comparison", "", self._place.owner, position=chunk.position)
            if chunk.task == LAYERS:
                self._comparisons.set_layers(claim, None)
                continue
            answered = {item["index"] for item in sides[chunk.position]}
            items = [
                unknown_item(index, row.settings["methods"], chunk.error, label=labels.get(index))
                for index in chunk.indices
                if index not in answered
            ]
            self._comparisons.add_items(claim, items)

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

    def _note_layers(
        self, row: ComparisonRow, entry: ComparedNetworkRow, claim: Claim, lease: Lease
    ) -> None:
        work = work_on(self._place, row, entry.network, row.settings["indices"])
        layers = self._measure(work, lease.cancelled)
        if lease.cancelled():
            return  # measured on some of the inputs only
        clean = None if layers is None else [json_object(layer) for layer in layers]
        self._comparisons.set_layers(claim, clean)

    def _side(self, row: ComparisonRow, entry: ComparedNetworkRow) -> dict[str, Any]:
        """Return what the figures of one network are made from."""
        return {
            "network_id": entry.network_id,
            "name": entry.network.name,
            "sha256": entry.network.sha256,
            "items": self._comparisons.items(row.id, entry.position),
            "layers": (entry.tightness or {}).get("layers"),
        }
