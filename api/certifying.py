"""From a request for a certification to what the store keeps: checks that need no mathematics."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from api.problems import ApiError
from api.schemas.certifications import CertificationCreate
from api.schemas.problem import InvalidPart
from api.services import Services
from store.certifications import NewCertification
from store.errors import NotFoundError
from store.uploads import UploadRow, Uploads

__all__ = ["create_hash", "new_certification"]

# Data sets come in float32: what was 1 may be a little more there.
_RANGE_TOLERANCE = 1e-6
_NOT_SETTINGS = {"network_id", "dataset_id", "count", "indices", "reuse"}


def create_hash(create: CertificationCreate) -> str:
    """Return what tells one request from another."""
    return hashlib.sha256(create.model_dump_json().encode()).hexdigest()


def new_certification(create: CertificationCreate, services: Services) -> NewCertification:
    """Return a request checked against its network and data set.

    Raises:
        ApiError: They do not exist, or do not fit each other or the settings.
    """
    network = _referenced(services.networks, "network_id", create.network_id)
    dataset = _referenced(services.datasets, "dataset_id", create.dataset_id)
    _check_fit(network, dataset)
    _check_targets(create.targets, network.details["outputs"])
    _check_range(create.valid_range, dataset.details)
    indices = _indices(create, dataset.details["count"])
    settings = create.model_dump(mode="json", exclude=_NOT_SETTINGS)
    return NewCertification(
        network_id=network.id,
        dataset_id=dataset.id,
        settings={**settings, "indices": indices},
        indices=indices,
        queue="exact" if "exact" in create.methods else "bounds",
        version=services.version,
        reuse=create.reuse,
    )


def _refused(name: str, location: str, message: str) -> ApiError:
    part = InvalidPart(location=f"body.{location}", message=message)
    return ApiError(name, f"{part.location}: {message}", [part])


def _referenced(uploads: Uploads, location: str, identifier: str) -> UploadRow:
    try:
        return uploads.get(identifier)
    except NotFoundError as error:
        raise _refused("ValidationError", location, str(error)) from error


def _check_fit(network: UploadRow, dataset: UploadRow) -> None:
    wanted, given = network.details["input_shape"], dataset.details["input_shape"]
    if math.prod(wanted) != math.prod(given):
        raise _refused(
            "ShapeError",
            "dataset_id",
            f"its inputs have shape {tuple(given)}, the network takes {tuple(wanted)}; "
            "upload a data set made for this network",
        )
    outputs, classes = network.details["outputs"], dataset.details["classes"]
    if classes > outputs:
        raise _refused(
            "DataError",
            "dataset_id",
            f"label {classes - 1} is out of range: the network has {outputs} outputs, "
            f"so labels go from 0 to {outputs - 1}",
        )


def _check_targets(targets: Sequence[int] | None, outputs: int) -> None:
    if targets is not None and max(targets) >= outputs:
        raise _refused(
            "ValidationError",
            "targets",
            f"{max(targets)} is out of range: the network has {outputs} outputs",
        )


def _check_range(valid_range: Sequence[float] | None, details: Mapping[str, Any]) -> None:
    if valid_range is None:
        return
    low, high = valid_range
    smallest, largest = details["minimum"], details["maximum"]
    if smallest < low - _RANGE_TOLERANCE or largest > high + _RANGE_TOLERANCE:
        raise _refused(
            "DataError",
            "valid_range",
            f"the data set has values from {smallest:g} to {largest:g}, outside the valid range "
            f"[{low:g}, {high:g}]; give the range of the data, or null for no range",
        )


def _indices(create: CertificationCreate, available: int) -> list[int]:
    """Return the inputs to certify, in the order of the data set."""
    if create.indices is None:
        wanted = available if create.count is None else create.count
        return list(range(min(wanted, available)))
    if max(create.indices) >= available:
        raise _refused(
            "ValidationError",
            "indices",
            f"{max(create.indices)} is out of range: the data set has {available} inputs",
        )
    return sorted(create.indices)
