"""Look the installed packages up among known vulnerabilities: `python .ci/audit.py STAMP`.

Ends with 1 where one of them has a vulnerability. Where nobody can be asked, offline or at an index
that keeps no such list, it says so and ends with 0, so that the rest of `make lint` still counts.
What came of it without a vulnerability is kept for a day, while nothing else is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

COMMAND = (
    sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner=off",
    "--timeout=5", "--format=json", "--desc=off",
)  # fmt: skip
_PATIENCE_SECONDS = 90
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Finding:
    """What came of it.

    Attributes:
        status: Of the process: 0, or 1 for a vulnerability.
        told: For people.
        settled: Whether it need not be asked again soon.
    """

    status: int
    told: str
    settled: bool = False


def installed() -> str:
    """Return a hash of every installed package and its version."""
    names = sorted(f"{entry.name}=={entry.version}" for entry in distributions())
    return sha256("\n".join(names).encode()).hexdigest()


def read(output: str, complaint: str) -> Finding:
    """Return what the output of pip-audit says.

    Args:
        output: JSON, if it came that far.
        complaint: What it wrote to standard error.
    """
    try:
        entries = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        return Finding(0, f"audit: nobody could be asked ({last[:160]}); audit again when online")
    looked_up = [entry for entry in entries if "skip_reason" not in entry]
    bad = [
        f"  {entry['name']} {entry['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for entry in looked_up
        for found in entry.get("vulns", [])
    ]
    if bad:
        return Finding(1, "\n".join(["audit: known vulnerabilities in installed packages:", *bad]))
    if not looked_up:
        told = "audit: this index keeps no list of vulnerabilities; audit at another one"
        return Finding(0, told, settled=True)
    told = f"audit: {len(looked_up)} packages without known vulnerabilities"
    left = len(entries) - len(looked_up)
    return Finding(0, told + (f", {left} could not be looked up" if left else ""), settled=True)


def audit(stamp: Path, command: Sequence[str] = COMMAND) -> Finding:
    """Look everything up, unless that was done within a day.

    Args:
        stamp: File that remembers when, and of which packages.
        command: Runs pip-audit.
    """
    packages = installed()
    try:
        fresh = time.time() - stamp.stat().st_mtime < _KEPT_SECONDS
        known, _, told = stamp.read_text(encoding="utf-8").partition("\n")
        if fresh and known == packages:
            return Finding(0, f"{told} (asked within a day)")
    except OSError:
        pass  # never, or somewhere else
    try:
        run = subprocess.run(
            list(command), capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return read("", f"no answer within {_PATIENCE_SECONDS} s")
    finding = read(run.stdout, run.stderr)
    if finding.settled:
        stamp.write_text(f"{packages}\n{finding.told}", encoding="utf-8")
    return finding


def main(arguments: Sequence[str]) -> int:
    """Audit and say what was found; return the exit status."""
    finding = audit(Path(arguments[0]))
    sys.stdout.write(f"{finding.told}\n")
    return finding.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
