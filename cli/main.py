"""Entry point: run a command, and turn whatever happens into an exit status.

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | a gate failed or a proof was rejected |
| 2 | bad input: arguments, files or data that cannot be used |
| 3 | failure of a solver, of the service, of the disk, or of this program |
| 130 | interrupted |
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

__all__ = ["main"]

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: Without the program's name; None for those of this process.
    """
    # Idle threads of torch would otherwise spin beside the solvers' own; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logging.basicConfig(
        level=os.environ.get("TIGHTROPE_LOG_LEVEL", "WARNING").upper(),
        format="%(levelname)s %(name)s: %(message)s",
    )
    from cli.commands import tightrope  # noqa: PLC0415 - after the environment is set

    try:
        status = tightrope.main(
            args=None if arguments is None else list(arguments),
            prog_name="tightrope",
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt) as interrupt:
        click.echo(f"interrupted; {str(interrupt) or 'nothing was written'}", err=True)
        return INTERRUPTED
    except SystemExit:
        # How click and rich leave when the reader of a pipe went away: it has what it wanted.
        return 0
    except Exception as error:
        return _explain(error)
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> int:
    """Say what went wrong on standard error and return the exit status."""
    from cli.failures import describe, exit_status  # noqa: PLC0415 - loads the layers below

    click.echo(f"error: {describe(error)}", err=True)
    if os.environ.get("TIGHTROPE_TRACEBACK"):
        logging.getLogger(__name__).error("traceback", exc_info=error)
    return exit_status(error)


if __name__ == "__main__":
    sys.exit(main())
