"""What requests that name a network and a data set are checked for; none of it is mathematics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from api.problems import ApiError
from api.schemas.problem import InvalidPart
from store.errors import NotFoundError
from store.uploads import UploadRow, Uploads

__all__ = ["check_fit", "check_inputs", "check_range", "referenced", "refused"]

# Data sets come in float32: what was 1 may be a little more there.
_RANGE_TOLERANCE = 1e-6


def refused(name: str, location: str, message: str) -> ApiError:
    """Return the error of a request whose body is wrong at one place.

    Args:
        name: A key of `PROBLEMS`.
        location: Of the part of the body.
        message: What is wrong with it.
    """
    part = InvalidPart(location=f"body.{location}", message=message)
    return ApiError(name, f"{part.location}: {message}", [part])


def referenced(uploads: Uploads, location: str, identifier: str) -> UploadRow:
    """Return what a part of the body names.

    Raises:
        ApiError: There is no such network or data set.
    """
    try:
        return uploads.get(identifier)
    except NotFoundError as error:
        raise refused("ValidationError", location, str(error)) from error


def check_fit(network: UploadRow, dataset: UploadRow, location: str = "dataset_id") -> None:
    """Check that the inputs of a data set are those of a network, and its labels outputs.

    Raises:
        ApiError: They are not.
    """
    wanted, given = network.details["input_shape"], dataset.details["input_shape"]
    if math.prod(wanted) != math.prod(given):
        raise refused(
            "ShapeError",
            location,
            f"its inputs have shape {tuple(given)}, the network takes {tuple(wanted)}; "
            "upload a data set made for this network",
        )
    outputs, classes = network.details["outputs"], dataset.details["classes"]
    if classes > outputs:
        raise refused(
            "DataError",
            location,
            f"label {classes - 1} is out of range: the network has {outputs} outputs, "
            f"so labels go from 0 to {outputs - 1}",
        )


def check_inputs(inputs: int, most: int | None) -> None:
    """Check that a job certifies no more inputs than its key may ask for; None for any number.

    Raises:
        ApiError: It does.
    """
    if most is not None and inputs > most:
        raise refused(
            "ValidationError",
            "count",
            f"the job would certify {inputs} inputs, this key may ask for {most}; ask for fewer",
        )


def check_range(valid_range: Sequence[float] | None, details: Mapping[str, Any]) -> None:
    """Check that a data set's values lie in the valid range.

    Raises:
        ApiError: Some do not.
    """
    if valid_range is None:
        return
    low, high = valid_range
    smallest, largest = details["minimum"], details["maximum"]
    if smallest < low - _RANGE_TOLERANCE or largest > high + _RANGE_TOLERANCE:
        raise refused(
            "DataError",
            "valid_range",
            f"the data set has values from {smallest:g} to {largest:g}, outside the valid range "
            f"[{low:g}, {high:g}]; give the range of the data, or null for no range",
        )
