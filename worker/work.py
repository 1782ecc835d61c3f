"""What engines are asked and what they answer: plain data, for both sides of the line between them.

Importing this loads neither the store nor torch: the process that computes has no use for the one,
the worker none for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "ArmOutcome",
    "CertificationEngine",
    "CertificationWork",
    "Engines",
    "TightnessEngine",
    "TrainingEngine",
    "TrainingWork",
]

CANDIDATE, BASELINE = "candidate", "baseline"


@dataclass(frozen=True)
class CertificationWork:
    """What an engine needs to know.

    Attributes:
        network, dataset: The files.
        network_name, dataset_name: For messages.
        settings: As the request gave them.
        indices: The inputs still without an answer.
        device: Where to compute.
        threads: For arithmetic; None leaves it as it is.
    """

    network: Path
    network_name: str
    dataset: Path
    dataset_name: str
    settings: Mapping[str, Any]
    indices: Sequence[int]
    device: str
    threads: int | None = None


class CertificationEngine(Protocol):
    """Computes answers, one mapping per input, as they are ready."""

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield items; stop early once `cancelled` says so."""
        ...


class TightnessEngine(Protocol):
    """Measures how tight the relaxation of each layer is."""

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return one mapping per layer; None where that does not fit into memory."""
        ...


@dataclass(frozen=True)
class TrainingWork:
    """What an engine needs to know to train one arm.

    Attributes:
        network: The file; None for an architecture, which the settings name.
        dataset, validation: The files; validation is None where a share of the data is kept.
        network_name, dataset_name, validation_name: For messages.
        settings: As the request gave them.
        arm: `candidate`, or `baseline` for the same without regularizers.
        checkpoint: Folder of what to go on from.
        device: Where to compute.
        max_parameters: That this server trains.
    """

    network: Path | None
    network_name: str
    dataset: Path
    dataset_name: str
    validation: Path | None
    validation_name: str
    settings: Mapping[str, Any]
    arm: str
    checkpoint: Path
    device: str
    max_parameters: int


@dataclass(frozen=True)
class ArmOutcome:
    """What an engine returns.

    Attributes:
        cancelled: The training was stopped before its end.
        result: `best_epoch`, `epochs`, `stopped`, `seconds`, `best`, `record`.
        onnx: The network of the best epoch.
        details: What inspection of that file finds.
        checkpoint: The last checkpoint, a safetensors file; None where none was written.
        validation_indices: Inputs of the data set that validated; None for all of a data set of
            its own.
    """

    cancelled: bool
    result: Mapping[str, Any]
    onnx: bytes
    details: Mapping[str, Any]
    checkpoint: bytes | None
    validation_indices: tuple[int, ...] | None


class TrainingEngine(Protocol):
    """Trains one arm."""

    def __call__(
        self,
        work: TrainingWork,
        cancelled: Callable[[], bool],
        progress: Callable[[Mapping[str, Any]], None],
    ) -> ArmOutcome:
        """Train, or go on training; stop early once `cancelled` says so."""
        ...


@dataclass(frozen=True)
class Engines:
    """What computes.

    Attributes:
        certify: Answers for inputs, one after the other.
        measure: How tight the relaxation of each layer is.
        train: Networks.
    """

    certify: CertificationEngine
    measure: TightnessEngine
    train: TrainingEngine
