"""The options of what `certify` and `compare` ask of networks, declared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from cli.options import (
    DATA_SOURCE,
    EPSILON,
    METHOD_NAMES,
    METHODS,
    NUMBERS,
    SECONDS,
    SPLIT_NAMES,
    TARGETS,
    VALID_RANGE,
)

__all__ = ["NORMS", "data_options", "question_options", "require_normalization"]

Command = TypeVar("Command", bound=Callable[..., Any])

NORMS: Mapping[str, str] = {"inf": "L∞", "2": "L2", "1": "L1"}


def data_options(command: Command) -> Command:
    """Add `--data` and `--split`, for every command that reads a data set."""
    command = click.option(
        "--split",
        type=click.Choice(SPLIT_NAMES),
        default="auto",
        show_default=True,
        help="Part of the data; auto is the source's own test part, or all if it has none.",
    )(command)
    return click.option(
        "--data",
        type=DATA_SOURCE,
        required=True,
        help="An .npz with x and y, MNIST idx files or CIFAR-10 batches or their folder, a folder "
        "of images with a subfolder per class, or digits.",
    )(command)


def question_options(command: Command) -> Command:
    """Add the options of which inputs, which regions and which methods."""
    for decorate in reversed(_QUESTION):
        command = decorate(command)
    return data_options(command)


_QUESTION = (
    click.option(
        "--epsilon", type=EPSILON, required=True, help="Radius of the region, in raw input units."
    ),
    click.option(
        "--norm",
        type=click.Choice(list(NORMS)),
        default="inf",
        show_default=True,
        help="Of the region.",
    ),
    click.option(
        "--count",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="Certify the first so many inputs.",
    ),
    click.option(
        "--methods",
        type=METHODS,
        default="ibp,crown,alpha-crown,exact",
        show_default=True,
        help=f"Methods to run and report, of {', '.join(METHOD_NAMES)}.",
    ),
    click.option(
        "--targets", type=TARGETS, help="Classes that may win; all but the label if absent."
    ),
    click.option(
        "--timeout",
        type=SECONDS,
        default=60.0,
        show_default=True,
        help="Seconds for the exact answer of each input.",
    ),
    click.option(
        "--valid-range",
        type=VALID_RANGE,
        default="0,1",
        show_default=True,
        help="Smallest and largest valid input value, or none.",
    ),
    click.option(
        "--mean", type=NUMBERS, help="Subtracted from inputs: one number, or per channel."
    ),
    click.option("--std", type=NUMBERS, help="Inputs are divided by it after the mean."),
)


def require_normalization(options: Mapping[str, object]) -> None:
    """Refuse one half of a normalisation."""
    if (options["mean"] is None) != (options["std"] is None):
        raise click.UsageError("give both --mean and --std, or neither")
