"""From a request for a certification to what the store keeps: checks that need no mathematics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.checking import check_fit, check_inputs, check_range, referenced, refused
from api.origins import origin_of
from api.schemas.certifications import CertificationCreate, QuestionBase
from api.services import Services
from reports.numbers import strict
from reports.summary import summarize
from store.certifications import NewCertification
from store.uploads import UploadRow

__all__ = ["checked_question", "new_certification", "queue_of"]

# What decides the answer of a network on a data set.
_SETTINGS = set(QuestionBase.model_fields) - {
    "dataset_id",
    "count",
    "indices",
    "reuse",
    "priority",
}


def new_certification(create: CertificationCreate, services: Services) -> NewCertification:
    """Return a request checked against its network and data set.

    Raises:
        ApiError: They do not exist, or do not fit each other or the settings.
    """
    network = referenced(services.networks, "network_id", create.network_id)
    dataset = referenced(services.datasets, "dataset_id", create.dataset_id)
    settings = checked_question(create, network, dataset)
    if create.proofs:
        settings["proof_timeout_seconds"] = create.proof_timeout_seconds
    check_inputs(len(settings["indices"]), services.limits.inputs_per_job)
    return NewCertification(
        network_id=network.id,
        dataset_id=dataset.id,
        settings=settings,
        indices=settings["indices"],
        queue=queue_of(create),
        version=services.version,
        reuse=create.reuse,
        priority=create.priority,
        origin=origin_of(create.webhook, services, kind="certification"),
        sum_up=_summary,
    )


def checked_question(
    create: QuestionBase, network: UploadRow, dataset: UploadRow
) -> dict[str, Any]:
    """Return the settings of what is asked, every default filled in, with `indices`.

    Raises:
        ApiError: Network, data set and settings do not fit each other.
    """
    check_fit(network, dataset)
    _check_targets(create.targets, network.details["outputs"])
    check_range(create.valid_range, dataset.details)
    settings = create.model_dump(mode="json", include=_SETTINGS)
    return {**settings, "indices": _indices(create, dataset.details["count"])}


def queue_of(create: QuestionBase) -> str:
    """Return where workers look for what is asked."""
    return "exact" if "exact" in create.methods else "bounds"


def _summary(items: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> dict[str, Any]:
    figures = summarize(items, methods)
    return {name: strict(value) for name, value in figures.items()}


def _check_targets(targets: Sequence[int] | None, outputs: int) -> None:
    if targets is not None and max(targets) >= outputs:
        raise refused(
            "ValidationError",
            "targets",
            f"{max(targets)} is out of range: the network has {outputs} outputs",
        )


def _indices(create: QuestionBase, available: int) -> list[int]:
    """Return the inputs to certify, in the order of the data set."""
    if create.indices is None:
        wanted = available if create.count is None else create.count
        return list(range(min(wanted, available)))
    if max(create.indices) >= available:
        raise refused(
            "ValidationError",
            "indices",
            f"{max(create.indices)} is out of range: the data set has {available} inputs",
        )
    return sorted(create.indices)
