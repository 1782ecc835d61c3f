"""Keys are made once, kept as hashes, and worth nothing once they are expired or revoked."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from store.access_tables import ApiKeyRow
from store.audit import AuditLog, Deed
from store.errors import AuthenticationError, ConflictError, NotFoundError
from store.keys import KeyLimits, Keys, MadeKey, NewKey, Scope, is_usable, limits_of, scopes_of
from store.logins import Logins
from store.projects import Projects
from store.tenancy import Tenant
from tests.helpers.service import World

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
TOKEN = re.compile(r"trk_[0-9a-hjkmnp-tv-z]{26}_[0-9a-hjkmnp-tv-z]{52}")


@pytest.fixture
def keys(world: World) -> Keys:
    return Keys(world.database)


def make(
    keys: Keys, *scopes: Scope, project: str = "default", until: datetime | None = None
) -> MadeKey:
    return keys.create(NewKey("ci", project, scopes or (Scope.READ,), expires_at=until))


def test_a_key_opens_what_it_was_made_for(keys: Keys) -> None:
    limits = KeyLimits(queued_jobs=3)
    new = NewKey("ci", "default", [Scope.SUBMIT, Scope.READ], limits=limits, created_by="key_x")
    made = keys.create(new)
    assert TOKEN.fullmatch(made.token)
    assert made.row.id == f"key_{made.token.split('_')[1]}"
    row = keys.authenticate(made.token)
    assert (row.id, row.project_id, row.scopes) == (made.row.id, "default", ["read", "submit"])
    assert (row.name, row.created_by) == ("ci", "key_x")
    assert limits_of(row) == limits
    assert scopes_of(row) == {Scope.READ, Scope.SUBMIT}
    assert scopes_of(make(keys, Scope.ADMIN).row) == set(Scope)


def test_the_secret_is_kept_nowhere(keys: Keys, world: World) -> None:
    made = make(keys)
    secret = made.token.rpartition("_")[2]
    with world.database.read() as session:
        kept = session.execute(select(ApiKeyRow.__table__)).one()
    assert secret not in str(kept)
    assert secret not in repr(made)
    assert len({make(keys).row.secret_sha256 for _ in range(5)}) == 5


def test_the_hash_of_one_key_is_worth_nothing_in_another(keys: Keys, world: World) -> None:
    known, target = make(keys), make(keys, Scope.ADMIN)
    with world.database.write() as session:
        row = session.get_one(ApiKeyRow, target.row.id)
        row.secret_sha256 = known.row.secret_sha256
    secret = known.token.rpartition("_")[2]
    with pytest.raises(AuthenticationError, match="not known"):
        keys.authenticate(f"trk_{target.row.id.removeprefix('key_')}_{secret}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_other_text_is_a_key(keys: Keys, data: st.DataObject) -> None:
    token = make(keys).token
    position = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters())
    changed = token[:position] + letter + token[position + 1 :]
    other = data.draw(st.sampled_from([changed, token[:position], token + letter, letter + token]))
    if other != token:
        with pytest.raises(AuthenticationError):
            keys.authenticate(other)
    assert keys.authenticate(token).name == "ci"


def test_an_expired_key_is_worth_nothing_from_its_moment_on(keys: Keys) -> None:
    made = make(keys, until=NOW)
    just_before = NOW - timedelta(microseconds=1)
    assert keys.authenticate(made.token, now=just_before).id == made.row.id
    for late in (NOW, NOW + timedelta(days=1)):
        with pytest.raises(AuthenticationError, match="has expired"):
            keys.authenticate(made.token, now=late)
    assert is_usable(made.row, just_before)
    assert not is_usable(made.row, NOW)


def test_a_key_made_by_a_clock_that_is_ahead_is_good_at_once(keys: Keys, world: World) -> None:
    made = make(keys, until=NOW + timedelta(days=30))
    with world.database.write() as session:
        session.get_one(ApiKeyRow, made.row.id).created_at = NOW + timedelta(hours=3)
    assert keys.authenticate(made.token, now=NOW).id == made.row.id


def test_a_revoked_key_is_worth_nothing_at_once(keys: Keys) -> None:
    made = make(keys)
    keys.authenticate(made.token)
    revoked = keys.revoke(made.row.id)
    assert revoked.revoked_at is not None
    assert keys.revoke(made.row.id).revoked_at == revoked.revoked_at
    with pytest.raises(AuthenticationError, match="was revoked"):
        keys.authenticate(made.token)
    with pytest.raises(NotFoundError):
        keys.revoke("key_00000000000000000000000000")
    with pytest.raises(NotFoundError):
        keys.get("nonsense")


def test_the_last_use_is_noted_once_a_minute(keys: Keys) -> None:
    made = make(keys)

    def used_at(now: datetime) -> datetime | None:
        keys.authenticate(made.token, now=now)
        return keys.get(made.row.id).last_used_at

    assert used_at(NOW) == NOW
    assert used_at(NOW + timedelta(seconds=59)) == NOW
    later = NOW + timedelta(seconds=60)
    assert used_at(later) == later
    # The clock was set back: the last use is what it shows now, not what it showed then.
    back = NOW - timedelta(hours=1)
    assert used_at(back) == back


def test_a_disk_that_is_full_keeps_nobody_out(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(keys)

    def full(*_arguments: object, **_options: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr("store.database.Database.write", full)
    assert keys.authenticate(made.token).id == made.row.id


def test_once_there_was_a_key_there_was_one(keys: Keys, world: World) -> None:
    assert not keys.ever_made()
    made = make(keys)
    keys.revoke(made.row.id)
    assert keys.ever_made()
    elsewhere = Projects(world.database).create("other").id
    assert Keys(world.database.of(Tenant(elsewhere))).ever_made()


def test_keys_of_a_project_are_its_own(keys: Keys, world: World) -> None:
    elsewhere = Projects(world.database).create("other").id
    theirs = make(keys, project=elsewhere)
    scoped = Keys(world.database.of(Tenant()))
    ours = [make(keys).row.id for _ in range(3)]
    assert [row.id for row in scoped.page(limit=2)] == ours[:0:-1]
    assert [row.id for row in scoped.page(limit=5, before=ours[1])] == ours[:1]
    assert len(keys.page(limit=9)) == 4
    for touch in (scoped.get, scoped.revoke):
        with pytest.raises(NotFoundError):
            touch(theirs.row.id)
    for project in (elsewhere, "prj_00000000000000000000000000"):
        with pytest.raises(NotFoundError, match="there is no project"):
            make(scoped, project=project)


def test_projects_have_names_of_their_own(world: World) -> None:
    projects = Projects(world.database)
    made = [projects.create(name).id for name in ("a", "b", "c")]
    assert [row.id for row in projects.page(limit=9)] == [*reversed(made), "default"]
    assert [row.id for row in projects.page(limit=2, before=made[1])] == [made[0], "default"]
    assert projects.find("b").id == projects.find(made[1]).id == made[1]
    assert projects.find("default").name == "default"
    for name in ("a", made[0], "default"):
        with pytest.raises(ConflictError, match="already"):
            projects.create(name)
    with pytest.raises(NotFoundError):
        projects.find("z")


def test_a_login_lasts_its_time(keys: Keys, world: World) -> None:
    logins = Logins(world.database, seconds=60)
    made = make(keys)
    cookie = logins.open(made.row.id)
    assert logins.key_of(cookie).id == made.row.id
    soon = datetime.now(UTC) + timedelta(seconds=59)
    assert logins.key_of(cookie, now=soon).id == made.row.id
    for late in (timedelta(seconds=61), timedelta(days=2)):
        with pytest.raises(AuthenticationError, match="log in again"):
            logins.key_of(cookie, now=datetime.now(UTC) + late)
    with pytest.raises(AuthenticationError):
        logins.key_of(cookie + "x")


def test_a_login_ends_with_a_logout_and_with_its_key(keys: Keys, world: World) -> None:
    logins = Logins(world.database, seconds=60)
    made = make(keys)
    first, second = logins.open(made.row.id), logins.open(made.row.id)
    closed = logins.close(first)
    assert closed is not None
    assert closed.id == made.row.id
    assert logins.close(first) is None
    with pytest.raises(AuthenticationError):
        logins.key_of(first)
    keys.revoke(made.row.id)
    with pytest.raises(AuthenticationError, match="revoked"):
        keys.checked(logins.key_of(second))


def test_the_audit_log_is_read_by_project_key_and_action(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(world.database)
    with caplog.at_level(logging.DEBUG):
        for number in range(4):
            action = "delete_network" if number % 2 else "create_network"
            log.add(Deed(action, "ci", target=f"net_{number}", key_id="key_a", address="::1"))
        log.add(Deed("create_key", "command line", project_id="prj_x"))
    own = AuditLog(world.database.of(Tenant()))
    rows = own.page(limit=10)
    assert [row.target for row in rows] == ["net_3", "net_2", "net_1", "net_0"]
    assert rows[0].at.tzinfo is not None
    assert len(own.page(limit=10, action="create_network")) == 2
    assert own.page(limit=10, key_id="key_b") == []
    assert [row.target for row in own.page(limit=1, before=rows[1].id)] == ["net_1"]
    assert len(log.page(limit=10)) == 5
