"""Writing: whole files or none, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.output import OutputError, problem_with, write_all
from reports import dump_json


def fail_on(call: int, error: int) -> Callable[[int], None]:
    """Return an `fsync` that fails at its n-th call, as on a full disk."""
    calls = 0

    def fsync(_descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(error, os.strerror(error))

    return fsync


def test_files_are_written_with_ordinary_rights(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.html"
    write_all({first: "{}", second: "µ"})
    assert first.read_text() == "{}"
    assert second.read_bytes() == "µ".encode()
    reference = tmp_path / "ordinary"
    reference.touch()
    assert stat.S_IMODE(first.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


@pytest.mark.parametrize("call", [1, 2])
def test_a_full_disk_leaves_nothing_half_done(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "a.json"
    old.write_text("as it was")
    monkeypatch.setattr("os.fsync", fail_on(call, errno.ENOSPC))
    with pytest.raises(OutputError, match="No space left on device; no partial file"):
        write_all({old: "new", tmp_path / "b.html": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert old.read_text() == "as it was"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*/dev/full: No space left on device"):
        write_all({tmp_path / "a.json": "{}", Path("/dev/full"): "x"})
    assert list(tmp_path.iterdir()) == []
    write_all({Path("/dev/null"): "x"})
    assert Path("/dev/null").is_char_device()
    assert problem_with(Path("/dev/null")) is None


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_all({link: "new"})
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_standard_output_gets_the_text_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all({Path("-"): "{}\n", tmp_path / "a": "x"})
    assert capsys.readouterr().out == "{}\n"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.touch(mode=0o444)
    assert "may not be written" in (problem_with(path) or "")


def test_nothing_speaks_against_a_new_file(tmp_path: Path) -> None:
    assert problem_with(tmp_path / "new.json") is None
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_text_do_not_stop_a_report(tmp_path: Path) -> None:
    text = dump_json({"name": os.fsdecode(b"net\xff")})
    write_all({tmp_path / "a.json": text})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"name": "net\udcff"}
