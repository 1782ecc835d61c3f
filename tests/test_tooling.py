"""What surrounds the code: continuous integration, make, versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers.imports import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Run by hand in a checkout only: an installed copy has neither make nor these files.
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.parametrize(("status", "succeeds"), [(0, True), (1, False)])
def test_continuous_integration_ends_with_the_summary_and_its_status(
    status: int, succeeds: bool, tmp_path: Path
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    recipe = f"test:\n\t@read line && exit 9; echo '== 3 passed =='; exit {status}\n"
    (tmp_path / "Makefile").write_text(recipe)
    run = subprocess.run(
        [tmp_path / ".ci" / "run"],
        input="standard input is not read\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (run.returncode == 0) == succeeds
    assert run.stdout.splitlines()[-1] == "== 3 passed =="


@needs_make
@pytest.mark.parametrize("target", ["demo", "test", "lint", "serve", "docs"])
def test_every_target_is_there(target: str) -> None:
    run = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@needs_make
def test_a_python_that_is_too_old_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    run = subprocess.run(
        ["make", "serve", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    assert run.returncode != 0
    assert "needs Python 3.11 or newer" in run.stderr
    assert not (tmp_path / "venv").exists()


@needs_make
def test_a_missing_venv_module_is_named_to_those_who_cannot_install_it(tmp_path: Path) -> None:
    """A Debian without python3-venv, and a user who is not root."""
    tools = tmp_path / "bin"
    tools.mkdir()
    python = '#!/bin/sh\ncase "$*" in *venv*print*|*print*venv*) echo python3.11-venv;; '
    python += "*-m\\ venv*) mkdir -p $3/bin; exit 1;; esac\n"
    for name, text in (("python", python), ("id", "#!/bin/sh\necho 1000\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    run = subprocess.run(
        ["make", "serve", f"PYTHON={tools / 'python'}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MAKEFLAGS": "", "PATH": f"{tools}:{os.environ['PATH']}"},
    )
    assert run.returncode != 0
    assert "install it first: apt-get install python3.11-venv" in run.stderr
    assert not (tmp_path / "venv").exists()


def test_the_changelog_knows_the_version() -> None:
    version = PROJECT["project"]["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == version
    assert metadata.version("tightrope") == version


def test_constraints_fit_what_the_project_asks_for() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    asked = PROJECT["project"]["dependencies"]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        asked = [*asked, *extra]
    names = {re.split(r"[\[<>=~!]", entry)[0].lower() for entry in asked}
    assert pinned["torch"] == "2.13.0"
    unknown = {name for name in pinned if name.lower() not in names}
    # They come along with what is asked for, and decide what the documentation looks like.
    assert unknown <= {"mkdocs", "mkdocstrings-python"}
