"""What was found out about keys is used again for a moment, and for no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from api.keyring import Keyring
from store.errors import AuthenticationError
from store.keys import Keys, MadeKey, NewKey, Scope
from store.logins import Logins
from store.tenancy import DEFAULT_PROJECT
from tests.helpers.api import Api
from tests.helpers.service import World, service_settings


@dataclass
class Ring:
    """A keyring by a clock that a test sets, and what it stands on."""

    world: World
    seconds: float = 2.0
    now: float = 100.0

    def __post_init__(self) -> None:
        self.keys = Keys(self.world.database)
        self.logins = Logins(self.world.database, seconds=3600.0)
        self.ring = Keyring(self.keys, self.logins, seconds=self.seconds, clock=lambda: self.now)

    def key(self, *, expires_at: datetime | None = None) -> MadeKey:
        new = NewKey("test", DEFAULT_PROJECT, [Scope.READ], expires_at=expires_at)
        return self.keys.create(new)

    @contextmanager
    def questions(self) -> Iterator[list[str]]:
        """Collect the statements that reach the database."""
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            asked.append(statement)

        engine = self.world.database.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield asked
        finally:
            event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    world = World(service_settings(tmp_path))
    yield Ring(world)
    world.close()


def test_a_good_key_is_asked_for_once_in_a_while(ring: Ring) -> None:
    made = ring.key()
    assert ring.ring.of_token(made.token).id == made.row.id
    with ring.questions() as asked:
        for _ in range(3):
            assert ring.ring.remembers(token=made.token, cookie=None)
            assert ring.ring.of_token(made.token).id == made.row.id
    assert asked == []
    ring.now += ring.seconds
    assert not ring.ring.remembers(token=made.token, cookie=None)
    with ring.questions() as asked:
        ring.ring.of_token(made.token)
    assert asked


def test_a_key_revoked_elsewhere_is_worth_nothing_soon_and_one_revoked_here_at_once(
    ring: Ring,
) -> None:
    first, second = ring.key(), ring.key()
    for made in (first, second):
        ring.ring.of_token(made.token)
    ring.keys.revoke(first.row.id)
    assert ring.ring.of_token(first.token)
    ring.now += ring.seconds
    with pytest.raises(AuthenticationError, match="revoked"):
        ring.ring.of_token(first.token)
    ring.ring.of_token(second.token)
    ring.keys.revoke(second.row.id)
    ring.ring.forget()
    with pytest.raises(AuthenticationError, match="revoked"):
        ring.ring.of_token(second.token)


def test_the_end_of_a_key_is_seen_at_once(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ring.key(expires_at=datetime.now(UTC) + timedelta(hours=1))
    ring.ring.of_token(made.token)
    monkeypatch.setattr("api.keyring.is_usable", lambda _row, _now: False)
    assert not ring.ring.remembers(token=made.token, cookie=None)
    with ring.questions() as asked:
        ring.ring.of_token(made.token)
    assert asked


def test_what_is_refused_is_not_remembered(ring: Ring) -> None:
    made = ring.key()
    wrong = made.token[:-1] + ("0" if made.token[-1] != "0" else "1")
    for _ in range(2):
        with ring.questions() as asked, pytest.raises(AuthenticationError, match="not known"):
            ring.ring.of_token(wrong)
        assert asked
        assert not ring.ring.remembers(token=wrong, cookie=None)


def test_logins_are_remembered_apart_from_keys(ring: Ring) -> None:
    made = ring.key()
    cookie = ring.logins.open(made.row.id)
    assert ring.ring.ever_made()
    assert not ring.ring.remembers(token=None, cookie=cookie)
    assert ring.ring.of_cookie(cookie).id == made.row.id
    assert ring.ring.remembers(token=None, cookie=cookie)
    assert not ring.ring.remembers(token=cookie, cookie=None)
    ring.logins.close(cookie)
    ring.ring.forget()
    with pytest.raises(AuthenticationError, match="log in again"):
        ring.ring.of_cookie(cookie)


def test_that_there_are_no_keys_is_believed_for_a_moment(ring: Ring) -> None:
    assert not ring.ring.remembers(token=None, cookie=None)
    assert not ring.ring.ever_made()
    assert ring.ring.remembers(token=None, cookie=None)
    ring.key()
    assert not ring.ring.ever_made()
    ring.now += ring.seconds
    assert ring.ring.ever_made()
    ring.now += 10 * ring.seconds
    assert ring.ring.remembers(token=None, cookie=None)


def test_nothing_is_remembered_for_no_time(tmp_path: Path) -> None:
    world = World(service_settings(tmp_path))
    ring = Ring(world, seconds=0.0)
    made = ring.key()
    ring.ring.of_token(made.token)
    assert not ring.ring.remembers(token=made.token, cookie=None)
    world.close()


def test_status_takes_one_question(guarded: Api) -> None:
    made = guarded.key(Scope.READ)
    job = guarded.world.certify().id
    sent = {"Authorization": f"Bearer {made.token}"}
    ring = guarded.app.state.services.keyring
    engine = guarded.app.state.services.database.engine
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    for path in (f"/v1/jobs/{job}", f"/v1/certifications/{job}"):
        while not ring.remembers(token=made.token, cookie=None):
            guarded.client.get("/v1/me", headers=sent)
        event.listen(engine, "before_cursor_execute", note)
        assert guarded.client.get(path, headers=sent).json()["id"] == job
        event.remove(engine, "before_cursor_execute", note)
    # Each read once; a key may have to be asked for again on a slow machine.
    of_jobs = [statement for statement in asked if "api_keys" not in statement]
    assert len(of_jobs) == 2


def test_a_key_made_or_revoked_through_the_service_counts_at_once(guarded: Api) -> None:
    admin = guarded.key(Scope.ADMIN)
    sent = {"Authorization": f"Bearer {admin.token}"}
    made = guarded.client.post("/v1/keys", json={"name": "k", "scopes": ["read"]}, headers=sent)
    own = {"Authorization": f"Bearer {made.json()['key']}"}
    assert guarded.client.get("/v1/me", headers=own).status_code == 200
    path = f"/v1/keys/{made.json()['id']}/revoke"
    assert guarded.client.post(path, headers=sent).status_code == 200
    assert guarded.client.get("/v1/me", headers=own).status_code == 401
