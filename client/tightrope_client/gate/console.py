"""What the gate says while it works, and how it writes its files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tightrope_client.errors import ConfigurationError
from tightrope_client.models import JobBase

__all__ = ["Console", "write_all"]

_CLEAR = "\r\x1b[K"


class Console:
    """Results on one stream, progress and errors on another.

    Args:
        out, err: The streams.
        quiet: No progress, even on a terminal.
    """

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._err = err
        self.shows_progress = not quiet and err.isatty()
        self._line = ""

    def result(self, text: str) -> None:
        """Print a result."""
        self.clear()
        _say(self._out, text)

    def warn(self, text: str) -> None:
        """Say what is wrong."""
        self.clear()
        _say(self._err, f"{text}\n")

    def progress(self, job: JobBase) -> None:
        """Say how far a job is, on a terminal."""
        done = job.progress
        left = "" if done.seconds_left is None else f", about {_duration(done.seconds_left)} left"
        self.note(f"{job.id} is {job.state}: {done.done} of {done.total}{left}")

    def note(self, text: str) -> None:
        """Say what is going on, on a terminal, in place of what was said before."""
        if self.shows_progress:
            self._line = text
            _say(self._err, f"{_CLEAR}{text}")

    def clear(self) -> None:
        """Take back what was said of the progress."""
        if self._line:
            self._line = ""
            _say(self._err, _CLEAR)


def write_all(texts: Mapping[Path, str]) -> None:
    """Write every file, or none of them.

    Raises:
        ConfigurationError: One cannot be written; none has changed.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            target = path.resolve()
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            staged[target] = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            # mkstemp keeps the file to its owner; a result may be read by the next step's user.
            staged[target].chmod(0o644)
        for target, temporary in staged.items():
            temporary.replace(target)
    except OSError as error:
        names = ", ".join(str(path) for path in texts)
        raise ConfigurationError(f"cannot write {names}: {error.strerror or error}") from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def _say(stream: TextIO, text: str) -> None:
    """Write a text; what the stream's encoding has no letters for is replaced."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
