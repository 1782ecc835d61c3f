"""API keys: made once, shown once, kept as a hash.

A key reads `trk_<key id>_<secret>`. The secret has 256 random bits, so nobody finds it by trying,
however fast the hash: one SHA-256 is right here, where passwords, which people choose, would need a
slow one, and every request is spared its time. The id is hashed along, so that a row's hash is
worth nothing in another row. Comparisons take the same time whatever is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import exists, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from store.access_tables import ApiKeyRow, ProjectRow
from store.database import Database
from store.errors import AuthenticationError, NotFoundError
from store.identifiers import is_identifier, new_identifier
from store.tenancy import ALL_PROJECTS, tenant_of

__all__ = ["KeyLimits", "Keys", "MadeKey", "NewKey", "Scope", "is_usable", "limits_of", "scopes_of"]

_PREFIX = "key"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SECRET_DIGITS = 52
_TOKEN = re.compile(rf"trk_([{_ALPHABET}]{{26}})_([{_ALPHABET}]{{{_SECRET_DIGITS}}})")
_USE_NOTED_EVERY = timedelta(minutes=1)
_NOBODYS = "0" * 64
_NO_SUCH_KEY = "the key is not known here; check that all of it was copied"


class Scope(StrEnum):
    """What a key may do; `admin` may do everything in its project."""

    READ = "read"
    SUBMIT = "submit"
    TRAIN = "train"
    ADMIN = "admin"


@dataclass(frozen=True)
class KeyLimits:
    """Limits of a key: where they differ from the settings', or altogether; None for no limit.

    Attributes:
        requests_per_minute: On average.
        request_burst: At once, after a pause.
        queued_jobs: Waiting at the same time.
        upload_bytes: Of one file; never more than the service takes at all.
        inputs_per_job: That one job certifies.
    """

    requests_per_minute: int | None = None
    request_burst: int | None = None
    queued_jobs: int | None = None
    upload_bytes: int | None = None
    inputs_per_job: int | None = None


@dataclass(frozen=True)
class NewKey:
    """A key to make.

    Attributes:
        name: For people.
        project_id: What it opens.
        scopes: What it may do there.
        expires_at: From when on it is worth nothing; None for never.
        limits: Where they differ from the settings'.
        created_by: Key that asked for it; None for the command line.
    """

    name: str
    project_id: str
    scopes: Iterable[Scope]
    expires_at: datetime | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)
    created_by: str | None = None


@dataclass(frozen=True)
class MadeKey:
    """A new key.

    Attributes:
        row: What is kept of it.
        token: What its owner gets, once.
    """

    row: ApiKeyRow
    token: str = field(repr=False)


def is_usable(row: ApiKeyRow, now: datetime) -> bool:
    """Return whether a key opens anything at that moment."""
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


def scopes_of(row: ApiKeyRow) -> frozenset[Scope]:
    """Return what a key may do; `admin` brings every other scope along."""
    scopes = frozenset(Scope(name) for name in row.scopes)
    return frozenset(Scope) if Scope.ADMIN in scopes else scopes


def limits_of(row: ApiKeyRow) -> KeyLimits:
    """Return where a key's limits differ from the settings'."""
    return KeyLimits(**row.limits)


class Keys:
    """All keys, or those of one project.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ever_made = False

    def create(self, new: NewKey) -> MadeKey:
        """Make a key.

        Raises:
            NotFoundError: There is no such project, or it is not the tenant's.
        """
        key_id = new_identifier(_PREFIX)
        secret = _new_secret()
        row = ApiKeyRow(
            id=key_id,
            project_id=new.project_id,
            name=new.name,
            secret_sha256=_digest(key_id, secret),
            scopes=[scope.value for scope in Scope if scope in set(new.scopes)],
            limits={name: value for name, value in asdict(new.limits).items() if value is not None},
            created_at=datetime.now(UTC),
            created_by=new.created_by,
            expires_at=new.expires_at,
        )
        with self._database.write() as session:
            tenant = tenant_of(session)
            foreign = tenant is not None and tenant.project_id != new.project_id
            if foreign or session.get(ProjectRow, new.project_id) is None:
                raise NotFoundError("project", new.project_id)
            session.add(row)
            session.flush()
            session.refresh(row)
        return MadeKey(row, f"trk_{key_id.removeprefix('key_')}_{secret}")

    def get(self, key_id: str) -> ApiKeyRow:
        """Return what is kept of a key.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.read() as session:
            return _find(session, key_id)

    def page(self, *, limit: int, before: str | None = None) -> list[ApiKeyRow]:
        """Return at most `limit` keys, newest first, only those older than the id `before`."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(ApiKeyRow.id < before)
        with self._database.read() as session:
            return list(session.scalars(query))

    def revoke(self, key_id: str) -> ApiKeyRow:
        """Make a key worthless from now on; once more does no harm.

        Raises:
            NotFoundError: There is none with that id.
        """
        with self._database.write() as session:
            row = _find(session, key_id)
            row.revoked_at = row.revoked_at or datetime.now(UTC)
            return row

    def authenticate(self, token: str, *, now: datetime | None = None) -> ApiKeyRow:
        """Return the key that a client shows.

        Args:
            token: As the client sent it.
            now: In place of this moment.

        Raises:
            AuthenticationError: It is no key, unknown, revoked or expired.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise AuthenticationError("what was sent is no key; keys read trk_<key id>_<secret>")
        key_id, secret = f"key_{match[1]}", match[2]
        with self._database.read() as session:
            row = session.get(ApiKeyRow, key_id)
        # Hashed and compared for keys that do not exist too: both take the same time.
        expected = _NOBODYS if row is None else row.secret_sha256
        if not hmac.compare_digest(_digest(key_id, secret), expected) or row is None:
            raise AuthenticationError(_NO_SUCH_KEY)
        return self.checked(row, now=now)

    def checked(self, row: ApiKeyRow, *, now: datetime | None = None) -> ApiKeyRow:
        """Return a key that was found before, if it still opens anything, and note its use.

        Raises:
            AuthenticationError: It is revoked or expired.
        """
        now = now or datetime.now(UTC)
        if row.revoked_at is not None:
            raise AuthenticationError("the key was revoked; ask for another one")
        if not is_usable(row, now):
            raise AuthenticationError("the key has expired; ask for another one")
        self._note_use(row, now)
        return row

    def ever_made(self) -> bool:
        """Return whether any key was ever made here; once there was one, it stays so."""
        if not self._ever_made:
            query = select(exists().select_from(ApiKeyRow))
            with self._database.read() as session:
                self._ever_made = bool(session.scalar(query, execution_options=ALL_PROJECTS))
        return self._ever_made

    def _note_use(self, row: ApiKeyRow, now: datetime) -> None:
        """Write down that a key is used, at most once a minute; a clock may have been set back."""
        used = row.last_used_at
        if used is not None and abs(now - used) < _USE_NOTED_EVERY:
            return
        statement = update(ApiKeyRow).where(ApiKeyRow.id == row.id).values(last_used_at=now)
        try:
            with self._database.write() as session:
                session.execute(statement, execution_options={"synchronize_session": False})
        except OperationalError:
            return  # a full disk must not keep anybody from reading


def _new_secret() -> str:
    """Return 256 random bits in digits that survive copying by hand and by double click."""
    number = secrets.randbits(256)
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_SECRET_DIGITS)))


def _digest(key_id: str, secret: str) -> str:
    return hashlib.sha256(f"{key_id} {secret}".encode()).hexdigest()


def _find(session: Session, key_id: str) -> ApiKeyRow:
    row = session.get(ApiKeyRow, key_id) if is_identifier(key_id) else None
    if row is None:
        raise NotFoundError("key", key_id)
    return row
