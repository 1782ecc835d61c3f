"""Networks and data sets."""

from __future__ import annotations

from datetime import datetime

from tightrope_client.wire import Received

__all__ = ["Dataset", "Network", "Reference", "Upload"]


class Reference(Received):
    """A network or data set that a job refers to."""

    id: str
    name: str
    sha256: str


class Upload(Reference):
    """A file on the server."""

    size_bytes: int
    created_at: datetime


class Network(Upload):
    """An ONNX network.

    Attributes:
        input_shape, output_shape: Of one input and one output, as the file declares them.
        neurons: Values behind nonlinearities; None where they were never counted.
        operators: How many there are of each.
        notes: What the import changed that readers should know.
    """

    input_shape: list[int]
    output_shape: list[int]
    outputs: int
    parameters: int
    neurons: int | None = None
    nodes: int
    operators: dict[str, int]
    notes: list[str]


class Dataset(Upload):
    """Labelled inputs: `count` of `input_shape`, labels below `classes`, values in a range."""

    count: int
    input_shape: list[int]
    classes: int
    minimum: float
    maximum: float
