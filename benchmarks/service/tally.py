"""What came of the examples that a reader was given, and the limits that it was held to."""

from __future__ import annotations

import resource
import signal
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

__all__ = ["HANG_SECONDS", "LOADED", "HangError", "Tally", "alarmed", "limit_memory", "place"]

HANG_SECONDS = 20
LOADED = "loaded"
"""What a process tells once it is about to begin."""
_MEMORY_BYTES = 4 * 2**30


class HangError(BaseException):
    """An example took too long; no handler of a reader catches it."""


@dataclass
class Tally:
    """What came of the examples of one reader.

    Attributes:
        hangs: How to find the examples that took too long: numbers or files.
        crashes: The same of those that broke it, by what went wrong.
        kept: Examples that reached what none before them did, where that is watched.
    """

    executions: int = 0
    accepted: int = 0
    hangs: list[str] = field(default_factory=list)
    crashes: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0
    kept: int | None = None

    def add(self, told: Tally) -> None:
        """Count what another process told, too."""
        self.executions += told.executions
        self.accepted += told.accepted
        self.hangs += told.hangs
        self.crashes = {**told.crashes, **self.crashes}
        self.slowest = max(self.slowest, told.slowest)
        self.kept = told.kept

    def note_death(self, status: int | None, example: str) -> None:
        """Count the example that a process died of."""
        if status == -signal.SIGKILL:
            self.hangs.append(example)
        else:
            self.crashes.setdefault(f"the process ended with status {status}", example)


def alarmed() -> None:
    """Let alarms of this process raise `HangError`."""
    signal.signal(signal.SIGALRM, _interrupt)


def limit_memory() -> None:
    """Let a reader that asks for much more memory than the rest fail."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmSize:"))
    space = int(line.split()[1]) * 1024 + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


def place(error: Exception) -> str:
    """Return what went wrong and in which line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}: {words[0][:90]}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise HangError
