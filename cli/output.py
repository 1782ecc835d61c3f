"""Writing results: whole files or none.

A file appears under its name only when all of it is on the disk, and several files appear only
when each of them is. What cannot be written is said before the work starts where it can be known.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

__all__ = ["STANDARD_OUTPUT", "OutputError", "problem_with", "replaceable", "write_all"]

STANDARD_OUTPUT = Path("-")


class OutputError(OSError):
    """A result cannot be written."""


def problem_with(path: Path) -> str | None:
    """Return why a file cannot be written, or None where nothing speaks against it."""
    target = path.resolve()
    if target.is_dir():
        return f"{path} is a folder; name a file"
    if not target.parent.is_dir():
        return f"the folder {target.parent} does not exist; create it first"
    if target.exists() and not os.access(target, os.W_OK):
        return f"{path} may not be written; choose another file"
    if path == STANDARD_OUTPUT or _is_special(target):
        return None
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            return None
    except OSError as error:
        return f"no file can be written in {target.parent}: {error.strerror or error}"


def write_all(texts: Mapping[Path, str | bytes]) -> None:
    """Write every file, or none of them.

    Args:
        texts: Contents by path; the path `-` stands for standard output, which is written last.

    Raises:
        OutputError: The disk is full, or a file cannot be written; nothing is left behind.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            if replaceable(path):
                target = path.resolve()
                staged[target] = _stage(target, text)
        for path, text in texts.items():
            if path != STANDARD_OUTPUT and _is_special(path.resolve()):
                path.write_bytes(_encoded(text))
        for target, temporary in staged.items():
            temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot write {', '.join(str(path) for path in texts)}: {error.strerror or error}; "
            "no partial file was left behind"
        ) from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
    if STANDARD_OUTPUT in texts:
        click.echo(texts[STANDARD_OUTPUT], nl=False)


def replaceable(path: Path) -> bool:
    """Return whether a result can be written again and again, each time in place of the last."""
    return path != STANDARD_OUTPUT and not _is_special(path.resolve())


def _is_special(target: Path) -> bool:
    """Return whether the name belongs to a device or a pipe, which must not be replaced."""
    return target.exists() and not target.is_file()


def _stage(target: Path, text: str | bytes) -> Path:
    """Write a hidden file beside the target and return its path."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encoded(text))
            file.flush()
            os.fsync(file.fileno())
        # mkstemp keeps the file to its owner; a result gets the rights of any new file.
        temporary.chmod(0o666 & ~_umask())
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def _encoded(text: str | bytes) -> bytes:
    """Return what a file holds.

    A file name need not be text; what stands for its odd bytes is no UTF-8, but valid JSON once
    escaped.
    """
    return text if isinstance(text, bytes) else text.encode("utf-8", errors="backslashreplace")


def _umask() -> int:
    """Return the rights that new files do not get; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
