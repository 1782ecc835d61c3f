"""The options of what `certify`, `compare` and `radius` ask of networks, declared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

__all__ = [
    "NORMALIZATION_OPTIONS",
    "NORMS",
    "VALID_RANGE_OPTION",
    "answer_options",
    "count_option",
    "input_options",
    "norm_option",
    "normalization_options",
    "question_options",
    "require_normalization",
]

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Any]

NORMS: Mapping[str, str] = {"inf": "L∞", "2": "L2", "1": "L1"}

VALID_RANGE_OPTION: Decorator = click.option(
    "--valid-range",
    type=VALID_RANGE,
    default="0,1",
    show_default=True,
    help="Smallest and largest valid input value, or none.",
)

NORMALIZATION_OPTIONS: Sequence[Decorator] = (
    click.option(
        "--mean", type=NUMBERS, help="Subtracted from inputs: one number, or per channel."
    ),
    click.option("--std", type=NUMBERS, help="Inputs are divided by it after the mean."),
)


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


def norm_option(meaning: str) -> Decorator:
    """Return `--norm`.

    Args:
        meaning: Its help: what the norm is of.
    """
    return click.option(
        "--norm", type=click.Choice(list(NORMS)), default="inf", show_default=True, help=meaning
    )


def count_option(default: int, *, meaning: str) -> Decorator:
    """Return `--count`.

    Args:
        default: How many inputs.
        meaning: Its help: what is done with them.
    """
    return click.option(
        "--count", type=click.IntRange(min=1), default=default, show_default=True, help=meaning
    )


def answer_options(timeout: str) -> tuple[Decorator, ...]:
    """Return the options of which answers count and how long to look for them.

    Args:
        timeout: Help of `--timeout`: what the seconds are for.
    """
    return (
        click.option(
            "--targets", type=TARGETS, help="Classes that may win; all but the label if absent."
        ),
        click.option("--timeout", type=SECONDS, default=60.0, show_default=True, help=timeout),
        VALID_RANGE_OPTION,
        *NORMALIZATION_OPTIONS,
    )


def input_options(command: Command, options: Sequence[Decorator]) -> Command:
    """Add the options of the data, then these in their order."""
    for decorate in reversed(options):
        command = decorate(command)
    return data_options(command)


def question_options(command: Command) -> Command:
    """Add the options of which inputs, which regions and which methods."""
    return input_options(command, _QUESTION)


_QUESTION = (
    click.option(
        "--epsilon", type=EPSILON, required=True, help="Radius of the region, in raw input units."
    ),
    norm_option("Of the region."),
    count_option(100, meaning="Certify the first so many inputs."),
    click.option(
        "--methods",
        type=METHODS,
        default="ibp,crown,alpha-crown,exact",
        show_default=True,
        help=f"Methods to run and report, of {', '.join(METHOD_NAMES)}.",
    ),
    *answer_options(timeout="Seconds for the exact answer of each input."),
)


def normalization_options(command: Command) -> Command:
    """Add `--mean` and `--std`."""
    for decorate in reversed(NORMALIZATION_OPTIONS):
        command = decorate(command)
    return command


def require_normalization(options: Mapping[str, object]) -> None:
    """Refuse one half of a normalisation."""
    if (options["mean"] is None) != (options["std"] is None):
        raise click.UsageError("give both --mean and --std, or neither")
