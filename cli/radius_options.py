"""The options of `radius`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.options import EPSILON, NUMBERS, RADIUS, SECONDS, TARGETS, VALID_RANGE
from cli.question_options import NORMS, data_options

__all__ = ["radius_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def radius_options(command: Command) -> Command:
    """Add the options of which inputs, which distances and how closely."""
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return data_options(command)


_OPTIONS = (
    click.option(
        "--norm",
        type=click.Choice(list(NORMS)),
        default="inf",
        show_default=True,
        help="How distances are measured.",
    ),
    click.option(
        "--count",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="Measure the first so many inputs.",
    ),
    click.option(
        "--max-epsilon",
        type=RADIUS,
        help="Try no larger radius; all that the valid range allows if absent.",
    ),
    click.option(
        "--tolerance",
        type=EPSILON,
        default=1e-4,
        show_default=True,
        help="A bracket this wide is narrow enough, in raw input units.",
    ),
    click.option(
        "--relative-tolerance",
        type=EPSILON,
        default=0.01,
        show_default=True,
        help="So is one of this share of its upper end.",
    ),
    click.option(
        "--targets", type=TARGETS, help="Classes that may win; all but the label if absent."
    ),
    click.option(
        "--timeout",
        type=SECONDS,
        default=60.0,
        show_default=True,
        help="Seconds for the exact decisions of each input.",
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
