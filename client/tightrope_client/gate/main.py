"""Entry point of `tightrope-gate` and of `tightrope gate`.

| status | meaning |
| --- | --- |
| 0 | passed |
| 1 | gate failed |
| 2 | bad input: options, files, an address, or what the server refuses |
| 3 | failure of the server, of the way to it, or of the job |
| 130 | interrupted |
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from tightrope_client.client import Client
from tightrope_client.errors import (
    AuthenticationError,
    ClientError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from tightrope_client.gate.arguments import GateArguments, parse
from tightrope_client.gate.console import Console
from tightrope_client.gate.run import run
from tightrope_client.settings import RetryPolicy, Settings

__all__ = ["command", "main"]

PASSED, FAILED, BAD_INPUT, FAILURE, INTERRUPTED = 0, 1, 2, 3, 130
_STATUS: Mapping[type[ClientError], int] = {
    ConfigurationError: BAD_INPUT,
    InvalidRequestError: BAD_INPUT,
    AuthenticationError: BAD_INPUT,
    PermissionDeniedError: BAD_INPUT,
    NotFoundError: BAD_INPUT,
    ConflictError: BAD_INPUT,
    ClientError: FAILURE,
}
_Handler = Callable[[int, FrameType | None], object] | int | None


def command() -> int:
    """Run the gate with the arguments of this process."""
    return main(sys.argv[1:])


def main(
    arguments: Sequence[str],
    *,
    program: str = "tightrope-gate",
    out: TextIO | None = None,
    err: TextIO | None = None,
    make_client: Callable[..., Client] = Client,
) -> int:
    """Run the gate and return its exit status.

    Args:
        arguments: Of the command line, without the program's name.
        program: Its name, for help and errors.
        out: In place of this process's standard output.
        err: In place of its standard error.
        make_client: In place of `Client`, for tests.
    """
    console = Console(out or sys.stdout, err or sys.stderr)
    try:
        asked = parse(arguments, program=program)
        console = Console(out or sys.stdout, err or sys.stderr, quiet=asked.quiet)
        with _terminated_as_interrupted():
            passed = run(asked, console, _connector(asked, console, make_client))
    except ClientError as error:
        console.warn(f"error: {error}")
        return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    except OSError as error:
        console.warn(f"error: {error}")
        return FAILURE
    except KeyboardInterrupt:
        console.warn("interrupted")
        return INTERRUPTED
    except SystemExit as left:
        # argparse leaves so after it has printed help or version.
        return left.code if isinstance(left.code, int) else PASSED
    return PASSED if passed else FAILED


def _connector(
    asked: GateArguments, console: Console, make_client: Callable[..., Client]
) -> Callable[[RetryPolicy], Client]:
    def notice(why: str, seconds: float) -> None:
        console.warn(f"{why}; trying again in {seconds:.1f} s")

    def connect(retries: RetryPolicy) -> Client:
        settings = Settings.from_environment(asked.server, retries=retries)
        return make_client(settings=settings, notice=notice)

    return connect


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, by which continuous integration cancels, for Ctrl-C while the block runs."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before: _Handler = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        # Signals are the main thread's; whoever runs the gate in another has to see to them.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
