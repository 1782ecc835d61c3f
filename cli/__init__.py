"""The `tightrope` command.

Each command is declared in `cli.commands` and does its work in a module of its own, imported when
the command runs: `tightrope --help` answers at once, without torch or a solver.
"""

from __future__ import annotations

__all__: list[str] = []
