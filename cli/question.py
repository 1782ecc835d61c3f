"""What the options of `certify` and `compare` stand for."""

from __future__ import annotations

from typing import Any

from cli.arguments import QuestionArguments
from models.data import Dataset, load_source
from models.network import Normalization
from solvers.certification import CertifyOptions
from solvers.methods import Method

__all__ = ["certify_options", "read_data", "region_of", "settings_of"]


def read_data(arguments: QuestionArguments) -> Dataset:
    """Return the data set that was named.

    Raises:
        DataError: It cannot be read.
    """
    return load_source(arguments.data, split=arguments.split)


def certify_options(arguments: QuestionArguments) -> CertifyOptions:
    """Return the options of the engine."""
    normalization = None
    if arguments.mean is not None and arguments.std is not None:
        normalization = Normalization(arguments.mean, arguments.std)
    return CertifyOptions(
        epsilon=arguments.epsilon,
        methods=tuple(Method(name) for name in arguments.methods),
        norm=arguments.norm,
        timeout_seconds=arguments.timeout,
        valid_range=arguments.valid_range,
        targets=arguments.targets,
        device=arguments.device,
        seed=arguments.seed,
        normalization=normalization,
    )


def region_of(arguments: QuestionArguments) -> dict[str, Any]:
    """Return what reports say of the region."""
    return {
        "norm": arguments.norm,
        "epsilon": arguments.epsilon,
        "valid_range": arguments.valid_range,
    }


def settings_of(arguments: QuestionArguments, dataset: Dataset) -> dict[str, Any]:
    """Return what a reader needs to repeat the run."""
    return {
        "methods": arguments.methods,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, "split": arguments.split},
        "count": arguments.count,
        "timeout_seconds": arguments.timeout,
        "targets": arguments.targets,
        "normalization": None
        if arguments.mean is None
        else {"mean": arguments.mean, "std": arguments.std},
        "device": arguments.device,
        "seed": arguments.seed,
    }
