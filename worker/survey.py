"""What a worker says of itself: its cores, versions, and the solvers that it may use."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from worker.remote import passed_on

__all__ = ["SURVEY_COMMAND", "Survey"]

logger = logging.getLogger(__name__)

SURVEY_COMMAND = (sys.executable, "-m", "worker.surveying")
# A licence server that is away is asked again and again before that is given up.
_LONGEST_SECONDS = 180.0
_POLL_SECONDS = 0.5


class Survey:
    """Finds out once, beside everything else, what solvers and versions there are.

    Args:
        command: Prints it as JSON.
    """

    def __init__(self, command: Sequence[str] = SURVEY_COMMAND) -> None:
        self._command = tuple(command)
        self._facts: dict[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any] | None:
        """What was found: `versions` and `solvers`; None until it is known."""
        return self._facts

    def run(self, done: threading.Event) -> None:
        """Find it out.

        Args:
            done: Set when the worker stops, and nobody is interested any more.
        """
        with subprocess.Popen(  # noqa: S603 (no shell, no input of others)
            self._command,
            env=passed_on(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            waited = 0.0
            while not done.is_set() and waited < _LONGEST_SECONDS:
                try:
                    text, _ = process.communicate(timeout=_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    waited += _POLL_SECONDS
                    continue
                self._read(text, process.returncode)
                return
            process.kill()
        if not done.is_set():
            self._facts = {"solvers": [], "failure": f"no answer within {_LONGEST_SECONDS:.0f} s"}

    def _read(self, text: bytes, status: int) -> None:
        try:
            self._facts = json.loads(text)
        except ValueError:
            logger.warning("looking for solvers ended with status %s", status)
            self._facts = {"solvers": [], "failure": f"looking for them ended with status {status}"}
