"""Units for machines without containers: what systemd says of them, and what they promise."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from store.settings import Settings
from tests.helpers.imports import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "LimitCORE": "0",
    "User": "tightrope",
}


def read(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(path, encoding="utf-8")
    return found


def test_there_is_one_for_the_api_and_one_for_workers() -> None:
    assert [path.name for path in UNITS] == ["tightrope-api.service", "tightrope-worker@.service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_can_do_no_more_than_it_needs(path: Path) -> None:
    unit = read(path)
    service = unit["Service"]
    assert {name: service.get(name) for name in HARDENED} == HARDENED
    assert "MemoryMax" in service
    assert int(service["TimeoutStopSec"]) > Settings.model_fields["stop_seconds"].default
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    known = {f"TIGHTROPE_{name.upper()}" for name in Settings.model_fields}
    stated = {word.partition("=")[0] for word in service["Environment"].split()}
    assert stated - {"PYTHONUNBUFFERED"} <= known
    for line in ("ExecStart", "ExecStartPre"):
        if line in service:
            program, flag, module, *_ = service[line].split()
            assert (program, flag) == ("/opt/tightrope/bin/python", "-m")
            assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file() or (
                ROOT / module / "__main__.py"
            ).is_file()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """With paths of this machine, since systemd looks whether programs and users exist."""
    (tmp_path / "environment").touch()
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        text = text.replace("/opt/tightrope/bin/python", sys.executable)
        text = text.replace("/etc/tightrope/environment", str(tmp_path / "environment"))
        text = text.replace("=tightrope\n", "=root\n").replace("file:///opt", f"file://{ROOT}")
        (tmp_path / path.name.replace("@.", "@bounds.")).write_text(text, encoding="utf-8")
    good = sorted(tmp_path.glob("*.service"))
    bad = tmp_path / "tightrope-bad.service"
    bad.write_text(good[0].read_text(encoding="utf-8").replace("UMask", "Mask"), encoding="utf-8")
    assert any("'Mask'" in line for line in complaints(bad))
    assert complaints(*good) == []


def complaints(*units: Path) -> list[str]:
    """Return what systemd has to say of unit files."""
    names = [str(path) for path in units]
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in run.stderr.splitlines() if "tightrope" in line]
