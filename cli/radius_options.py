"""The options of `radius`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.options import EPSILON, RADIUS
from cli.question_options import answer_options, count_option, input_options, norm_option

__all__ = ["radius_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def radius_options(command: Command) -> Command:
    """Add the options of which inputs, which distances and how closely."""
    return input_options(command, _OPTIONS)


_OPTIONS = (
    norm_option("How distances are measured."),
    count_option(10, meaning="Measure the first so many inputs."),
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
    *answer_options(timeout="Seconds for the exact decisions of each input."),
)
