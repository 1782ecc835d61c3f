"""Where benchmark inputs lie, and how results are printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["fail", "print_table", "shared_folder"]


def shared_folder() -> Path:
    """Return the folder with networks, data and peers' figures beside the repository.

    Raises:
        SystemExit: It is absent.
    """
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        fail(f"these figures need the folder {folder}, which is absent")
    return folder


def fail(message: str) -> None:
    """End with a message and status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n## {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
        print("| " + " | ".join(cells) + " |", flush=True)
