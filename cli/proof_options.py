"""The options of commands that prove what they found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.options import SECONDS

__all__ = ["proof_timeout_option", "proofs_option"]

Decorator = Callable[[Callable[..., Any]], Any]

proof_timeout_option: Decorator = click.option(
    "--proof-timeout",
    type=SECONDS,
    default=120.0,
    show_default=True,
    help="Seconds to prove one verdict in, on top of the time to find it.",
)


def proofs_option(of_what: str) -> Decorator:
    """Return `--proofs`.

    Args:
        of_what: What is proved.
    """
    return click.option(
        "--proofs",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Prove {of_what}, have the proofs checked, and write them into this folder.",
    )
