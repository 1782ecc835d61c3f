"""What the options of `certify`, `compare` and `radius` stand for."""

from __future__ import annotations

from typing import Any, TypedDict

from cli.arguments import InputArguments, QuestionArguments, RadiusArguments
from models.data import Dataset, load_source
from models.network import Normalization
from solvers.certification import CertifyOptions
from solvers.methods import Method
from solvers.radius import RadiusOptions

__all__ = [
    "certify_options",
    "radius_options",
    "radius_settings_of",
    "read_data",
    "region_of",
    "settings_of",
]


def read_data(arguments: InputArguments) -> Dataset:
    """Return the data set that was named.

    Raises:
        DataError: It cannot be read.
    """
    return load_source(arguments.data, split=arguments.split)


def certify_options(
    arguments: QuestionArguments, *, proof_timeout: float | None = None
) -> CertifyOptions:
    """Return the options of the engine that certifies.

    Args:
        arguments: Of the command.
        proof_timeout: Seconds for each proof; None for no proofs.
    """
    return CertifyOptions(
        epsilon=arguments.epsilon,
        methods=tuple(Method(name) for name in arguments.methods),
        proof_timeout_seconds=proof_timeout,
        **_engine_options(arguments),
    )


def radius_options(arguments: RadiusArguments) -> RadiusOptions:
    """Return the options of the engine that brackets radii."""
    return RadiusOptions(
        max_epsilon=arguments.max_epsilon,
        tolerance=arguments.tolerance,
        relative_tolerance=arguments.relative_tolerance,
        **_engine_options(arguments),
    )


def region_of(arguments: QuestionArguments) -> dict[str, Any]:
    """Return what reports say of the region."""
    return {
        "norm": arguments.norm,
        "epsilon": arguments.epsilon,
        "valid_range": arguments.valid_range,
    }


def settings_of(arguments: QuestionArguments, dataset: Dataset) -> dict[str, Any]:
    """Return what a reader needs to repeat a certification or a comparison."""
    return {
        "methods": arguments.methods,
        **_inputs_of(arguments, dataset),
        **_run_of(arguments),
    }


def radius_settings_of(arguments: RadiusArguments, dataset: Dataset) -> dict[str, Any]:
    """Return what a reader needs to repeat a search for radii."""
    return {
        **_inputs_of(arguments, dataset),
        "tolerance": arguments.tolerance,
        "relative_tolerance": arguments.relative_tolerance,
        **_run_of(arguments),
    }


class _EngineOptions(TypedDict):
    norm: str
    timeout_seconds: float
    valid_range: tuple[float, float] | None
    targets: tuple[int, ...] | None
    device: str
    seed: int
    normalization: Normalization | None


def _engine_options(arguments: InputArguments) -> _EngineOptions:
    """Return the options that both engines take."""
    normalization = None
    if arguments.mean is not None and arguments.std is not None:
        normalization = Normalization(arguments.mean, arguments.std)
    return {
        "norm": arguments.norm,
        "timeout_seconds": arguments.timeout,
        "valid_range": arguments.valid_range,
        "targets": arguments.targets,
        "device": arguments.device,
        "seed": arguments.seed,
        "normalization": normalization,
    }


def _inputs_of(arguments: InputArguments, dataset: Dataset) -> dict[str, Any]:
    """Return which inputs were asked about."""
    return {
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, "split": arguments.split},
        "count": arguments.count,
    }


def _run_of(arguments: InputArguments) -> dict[str, Any]:
    """Return which answers counted, and how they were looked for."""
    return {
        "timeout_seconds": arguments.timeout,
        "targets": arguments.targets,
        "normalization": None
        if arguments.mean is None
        else {"mean": arguments.mean, "std": arguments.std},
        "device": arguments.device,
        "seed": arguments.seed,
    }
