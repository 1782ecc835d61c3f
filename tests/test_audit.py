"""The audit of dependencies: what is said, and when linting fails."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.imports import ROOT


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tightrope_audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("entries", "status", "settled", "words"),
    [
        ([GOOD], 0, True, "1 packages without known vulnerabilities"),
        ([GOOD, SKIPPED], 0, True, "1 could not be looked up"),
        ([GOOD, BAD], 1, False, "b 2: CVE-1, mended in 2.1"),
        ([{**BAD, "vulns": [{"id": "CVE-2", "fix_versions": []}]}], 1, False, "no version yet"),
        ([SKIPPED], 0, True, "keeps no list"),
    ],
)
def test_findings_are_told(
    audit: ModuleType, entries: list[object], status: int, settled: bool, words: str
) -> None:
    found = audit.read(json.dumps({"dependencies": entries}), "")
    assert (found.status, found.settled) == (status, settled)
    assert words in found.told


@pytest.mark.parametrize("output", ["", "{}", "no JSON"])
def test_nobody_to_ask_is_said_and_fails_nothing(audit: ModuleType, output: str) -> None:
    found = audit.read(output, "Traceback\nConnectionError: no network")
    assert (found.status, found.settled) == (0, False)
    assert "no network" in found.told


def test_the_same_packages_are_looked_up_once_a_day(audit: ModuleType, tmp_path: Path) -> None:
    calls, stamp = tmp_path / "calls", tmp_path / "stamp"
    script = (
        f"open({str(calls)!r}, 'a').write('x'); print({json.dumps({'dependencies': [GOOD]})!r})"
    )
    command = [sys.executable, "-c", script]
    assert audit.audit(stamp, command).settled
    again = audit.audit(stamp, command)
    assert again.told == "audit: 1 packages without known vulnerabilities (asked within a day)"
    assert calls.read_text() == "x"
    os.utime(stamp, (0, 0))
    assert audit.audit(stamp, command).settled
    stamp.write_text("other packages")
    assert audit.audit(stamp, command).settled
    assert calls.read_text() == "xxx"


def test_a_vulnerability_is_asked_for_again(audit: ModuleType, tmp_path: Path) -> None:
    script = f"print({json.dumps({'dependencies': [BAD]})!r})"
    found = audit.audit(tmp_path / "stamp", [sys.executable, "-c", script])
    assert found.status == 1
    assert not (tmp_path / "stamp").exists()


def test_patience_ends(audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PATIENCE_SECONDS", 0.2)
    found = audit.audit(tmp_path / "stamp", [sys.executable, "-c", "import time; time.sleep(60)"])
    assert found.status == 0
    assert "no answer within" in found.told


def test_linting_audits() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2]
    assert ".ci/audit.py" in recipe.partition("\n\n")[0]
