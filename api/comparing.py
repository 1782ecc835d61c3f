"""From a request for a comparison to what the store keeps: checks that need no mathematics."""

from __future__ import annotations

from api.certifying import checked_question, queue_of
from api.checking import check_fit, check_inputs, referenced, refused
from api.origins import origin_of
from api.schemas.comparisons import ComparisonCreate
from api.services import Services
from store.comparisons import NewComparison
from store.uploads import UploadRow

__all__ = ["new_comparison"]


def new_comparison(create: ComparisonCreate, services: Services) -> NewComparison:
    """Return a request checked against its networks and data set.

    Raises:
        ApiError: They do not exist, or do not fit each other or the settings.
    """
    baseline = referenced(services.networks, "baseline_id", create.baseline_id)
    candidates = [
        referenced(services.networks, f"candidate_ids.{position}", identifier)
        for position, identifier in enumerate(create.candidate_ids)
    ]
    dataset = referenced(services.datasets, "dataset_id", create.dataset_id)
    for position, candidate in enumerate(candidates):
        _check_pair(baseline, candidate, f"candidate_ids.{position}")
        check_fit(candidate, dataset)
    settings = checked_question(create, baseline, dataset)
    networks = 1 + len(candidates)
    check_inputs(networks * len(settings["indices"]), services.limits.inputs_per_job)
    return NewComparison(
        network_ids=[baseline.id, *(candidate.id for candidate in candidates)],
        dataset_id=dataset.id,
        settings=settings,
        indices=settings["indices"],
        queue=queue_of(create),
        version=services.version,
        reuse=create.reuse,
        priority=create.priority,
        origin=origin_of(create.webhook, services, kind="comparison"),
    )


def _check_pair(baseline: UploadRow, candidate: UploadRow, location: str) -> None:
    wanted, given = baseline.details["outputs"], candidate.details["outputs"]
    if wanted != given:
        raise refused(
            "ShapeError",
            location,
            f"the network has {given} outputs, the baseline {wanted}; "
            "compare networks of the same classes",
        )
