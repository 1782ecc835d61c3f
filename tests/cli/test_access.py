"""`tightrope keys` and `tightrope projects` work on the database itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.authentication import keys_needed
from api.services import open_services
from cli.main import main
from store.audit import AuditLog
from store.database import Database
from store.errors import AuthenticationError
from store.keys import Keys
from store.settings import get_settings
from tests.helpers.service import service_settings


class Shell:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.words = ""

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command and return what it printed."""
        get_settings.cache_clear()
        assert main([*arguments, "--data-dir", str(self.folder)]) == status
        printed = self._capsys.readouterr()
        self.words = printed.err
        return printed.out

    def json(self, *arguments: str) -> Any:  # noqa: ANN401
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "data", capsys)


def keys_in(folder: Path) -> Keys:
    return Keys(Database(service_settings(folder).database))


def test_the_first_key_is_made_before_the_service_was_ever_started(shell: Shell) -> None:
    token = shell.run("keys", "create", "--name", "ci").strip()
    assert "shown this once" in shell.words
    assert token not in shell.words
    row = keys_in(shell.folder).authenticate(token)
    assert (row.name, row.project_id, row.scopes) == ("ci", "default", ["read", "submit"])
    assert row.expires_at is None
    services = open_services(service_settings(shell.folder))
    assert keys_needed(services)
    services.close()
    log = AuditLog(services.database).page(limit=5)
    assert [(one.action, one.actor, one.target) for one in log] == [
        ("create_key", "command line", row.id)
    ]


def test_a_key_of_a_project_with_limits_of_its_own(shell: Shell) -> None:
    project = shell.json("projects", "create", "vision")
    made = shell.json(
        "keys", "create", "--name", "n", "--project", "vision", "--scope", "train", "--scope",
        "read", "--days", "7", "--queued-jobs", "3",
    )  # fmt: skip
    assert made["project_id"] == project["id"]
    assert made["scopes"] == ["read", "train"]
    assert made["limits"]["queued_jobs"] == 3
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert keys_in(shell.folder).authenticate(made["key"]).id == made["id"]
    assert shell.run("projects", "create", "text").strip().startswith("prj_")
    assert [one["name"] for one in shell.json("projects", "list")] == ["text", "vision", "default"]
    assert "vision" in shell.run("projects", "list")


def test_keys_are_listed_without_their_secrets(shell: Shell) -> None:
    shell.run("projects", "create", "vision")
    first = shell.json("keys", "create", "--name", "a")
    second = shell.json("keys", "create", "--name", "b", "--project", "vision")
    shell.run("keys", "revoke", first["id"])
    text = shell.run("keys", "list")
    assert "revoked" in text
    assert "usable" in text
    listed = shell.json("keys", "list")
    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert [one["id"] for one in shell.json("keys", "list", "--project", "vision")] == [
        second["id"]
    ]
    for made in (first, second):
        secret = made["key"].rpartition("_")[2]
        assert secret not in text + json.dumps(listed)


@pytest.mark.parametrize("how", ["id", "digits", "key"])
def test_a_key_is_revoked_by_whatever_one_has_of_it(shell: Shell, how: str) -> None:
    made = shell.json("keys", "create", "--name", "a")
    known = {"id": made["id"], "digits": made["id"][4:], "key": made["key"]}[how]
    assert "worth nothing" in shell.run("keys", "revoke", known)
    with pytest.raises(AuthenticationError, match="revoked"):
        keys_in(shell.folder).authenticate(made["key"])
    assert shell.json("keys", "revoke", known)["revoked_at"] is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "revoke", "key_00000000000000000000000000"],
        ["keys", "revoke", "nonsense"],
        ["keys", "create"],
        ["keys", "create", "--name", ""],
        ["keys", "create", "--name", "a\nb"],
        ["keys", "create", "--name", "a", "--scope", "root"],
        ["keys", "create", "--name", "a", "--days", "0"],
        ["keys", "create", "--name", "a", "--project", "nowhere"],
        ["keys", "list", "--project", "nowhere"],
        ["projects", "create", "default"],
        ["projects", "create", ""],
    ],
)
def test_what_cannot_be_done_is_bad_input(shell: Shell, arguments: list[str]) -> None:
    assert shell.run(*arguments, status=2) == ""
    assert shell.words
    shell.run("keys", "list")  # the database is as good as before
