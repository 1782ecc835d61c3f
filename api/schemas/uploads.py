"""Networks and data sets on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas.base import Cursor, Name, Wire, example

__all__ = ["DatasetPage", "DatasetPublic", "NetworkPage", "NetworkPublic", "UploadPublic"]

_NETWORK: dict[str, Any] = {
    "id": "net_01jr3v7q9k2m4n6p8r0s2t4v6w",
    "name": "mnist-small.onnx",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 358_912,
    "created_at": "2030-01-31T12:00:00Z",
    "input_shape": [1, 784],
    "output_shape": [1, 10],
    "outputs": 10,
    "parameters": 89_610,
    "neurons": 200,
    "nodes": 8,
    "operators": {"Affine": 3, "Input": 1, "Relu": 2, "Reshape": 2},
    "notes": ["Softmax at the end was dropped: it does not change which output is largest"],
}
_DATASET: dict[str, Any] = {
    "id": "dat_01jr3v7q9k2m4n6p8r0s2t4v6w",
    "name": "mnist-test-100.npz",
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "size_bytes": 79_422,
    "created_at": "2030-01-31T12:00:00Z",
    "count": 100,
    "input_shape": [1, 28, 28],
    "classes": 10,
    "minimum": 0.0,
    "maximum": 1.0,
}


class UploadPublic(Wire):
    """What networks and data sets have in common."""

    id: str = Field(description="Identifier.")
    name: Name
    sha256: str = Field(description="Hash of the file, in hexadecimal.")
    size_bytes: int = Field(description="Size of the file.")
    created_at: datetime = Field(description="When it was first uploaded.")


class NetworkPublic(UploadPublic):
    """A network."""

    model_config = example(_NETWORK)

    input_shape: list[int] = Field(description="Shape of one input as the file declares it.")
    output_shape: list[int] = Field(description="Shape of one output.")
    outputs: int = Field(description="Number of outputs.")
    parameters: int = Field(description="Number of parameters.")
    neurons: int | None = Field(
        default=None,
        description="Number of values behind nonlinearities; null where it was never counted.",
    )
    nodes: int = Field(description="Number of operators after import.")
    operators: dict[str, int] = Field(description="How many there are of each operator.")
    notes: list[str] = Field(description="What the import changed that readers should know.")


class DatasetPublic(UploadPublic):
    """A data set."""

    model_config = example(_DATASET)

    count: int = Field(description="Number of inputs.")
    input_shape: list[int] = Field(description="Shape of one input.")
    classes: int = Field(description="Largest label plus one.")
    minimum: float = Field(description="Smallest value of all inputs.")
    maximum: float = Field(description="Largest value of all inputs.")


class NetworkPage(Wire):
    """Networks, newest first."""

    model_config = example({"items": [_NETWORK], "next_cursor": None})

    items: list[NetworkPublic]
    next_cursor: Cursor


class DatasetPage(Wire):
    """Data sets, newest first."""

    model_config = example({"items": [_DATASET], "next_cursor": None})

    items: list[DatasetPublic]
    next_cursor: Cursor
