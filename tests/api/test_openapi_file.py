"""The interface's description is kept in the repository, where its changes show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from api.openapi import document_text
from tests.helpers.imports import ROOT

KEPT = ROOT / "docs" / "openapi.json"


def test_the_kept_document_is_the_present_one() -> None:
    kept, present = json.loads(KEPT.read_text("utf-8")), json.loads(document_text())
    for part in ("paths", "components"):
        assert kept[part] == present[part], "run: make openapi"
    assert KEPT.read_text("utf-8") == document_text(), "run: make openapi"


def test_the_command_writes_it_the_same_every_time(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    command = [sys.executable, "-m", "api.openapi"]
    subprocess.run([*command, str(file)], cwd=ROOT, check=True)
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    assert file.read_bytes() == printed == document_text().encode("utf-8")
    keys = list(json.loads(printed)["paths"])
    assert keys == sorted(keys)
    assert str(Path.home()).encode() not in printed
