"""Print figures of the service: `python -m benchmarks.service [SECTION ...]`, default all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module

# Before torch loads: threads that spin on busy cores cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SECTIONS: Mapping[str, str] = {
    "overhead": "benchmarks.service.overhead",
    "workers": "benchmarks.service.workers",
    "pollers": "benchmarks.service.pollers",
    "cached": "benchmarks.service.cached",
    "submission": "benchmarks.service.submission",
    "pages": "benchmarks.service.pages",
    "dashboard": "benchmarks.service.dashboard",
    "faults": "benchmarks.service.faults",
    "fuzz": "benchmarks.service.fuzz",
}
"""The module of each section; it is loaded when it runs, and its `run()` prints the figures."""

TAKE_OPTIONS = frozenset({"faults", "fuzz"})
"""Sections whose own options may follow their name."""


def main() -> None:
    """Run the sections named, each in a process of its own, so that none warms another up."""
    wanted = sys.argv[1:] or list(SECTIONS)
    options = wanted[1:] if wanted[0] in TAKE_OPTIONS else []
    wanted = wanted[:1] if options else wanted
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        print(f"error: no section {unknown}; choose from {', '.join(SECTIONS)}", file=sys.stderr)
        raise SystemExit(2)
    if len(wanted) > 1:
        for name in wanted:
            subprocess.run([sys.executable, "-m", "benchmarks.service", name], check=True)
        return
    section = import_module(SECTIONS[wanted[0]])
    section.run(options) if wanted[0] in TAKE_OPTIONS else section.run()


if __name__ == "__main__":
    main()
