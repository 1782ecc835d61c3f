"""Keys, projects, the audit log and oneself on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Cursor, Wire, example

__all__ = [
    "AuditEntry",
    "AuditPage",
    "KeyCreate",
    "KeyMade",
    "KeyPage",
    "KeyPublic",
    "Limits",
    "Me",
    "ProjectCreate",
    "ProjectPage",
    "ProjectPublic",
    "ScopeName",
]

ScopeName = Literal["read", "submit", "train", "admin"]
_ID = "01jr3v7q9k2m4n6p8r0s2t4v6w"
_ShortName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="For people; any text without control characters.",
        examples=["ci"],
    ),
]
_Limit = Annotated[int, Field(ge=1, le=2**31 - 1)]
_KEY: dict[str, Any] = {
    "id": f"key_{_ID}",
    "name": "ci",
    "project_id": "default",
    "scopes": ["read", "submit"],
    "limits": {"requests_per_minute": 600},
    "created_at": "2030-01-31T12:00:00Z",
    "created_by": None,
    "expires_at": "2030-05-01T12:00:00Z",
    "revoked_at": None,
    "last_used_at": None,
}


class Limits(Wire):
    """Limits of a key; null where those of the service hold."""

    requests_per_minute: _Limit | None = Field(default=None, description="On average.")
    request_burst: _Limit | None = Field(default=None, description="At once, after a pause.")
    queued_jobs: _Limit | None = Field(default=None, description="Waiting at the same time.")
    upload_bytes: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        default=None, description="Of one file; never more than the service takes at all."
    )
    inputs_per_job: _Limit | None = Field(default=None, description="That one job certifies.")


class KeyCreate(Wire):
    """A key to make."""

    model_config = example({"name": "ci", "scopes": ["read", "submit"], "valid_days": 90})

    name: _ShortName
    scopes: list[ScopeName] = Field(
        default=["read", "submit"],
        min_length=1,
        max_length=4,
        description="What it may do; `admin` may do everything in its project.",
    )
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        default=None, description="How long it is good for; null for as long as nobody revokes it."
    )
    project_id: str | None = Field(
        default=None,
        max_length=40,
        description="What it opens; null: one's own project. Others take a key of `default`.",
    )
    limits: Limits | None = Field(
        default=None,
        description="Where they differ from those of the service; takes a key of `default`.",
    )


class KeyPublic(Wire):
    """A key, without its secret, which is kept nowhere."""

    model_config = example(_KEY)

    id: str = Field(description="Identifier; it is part of the key.")
    name: str = Field(description="For people.")
    project_id: str = Field(description="What it opens.")
    scopes: list[ScopeName] = Field(description="What it may do.")
    limits: Limits = Field(description="Where they differ from those of the service.")
    created_at: datetime
    created_by: str | None = Field(description="Id of the key that made it; null: command line.")
    expires_at: datetime | None = Field(description="From when on it is worth nothing.")
    revoked_at: datetime | None = Field(description="When it was made worthless.")
    last_used_at: datetime | None = Field(description="To within a minute.")


class KeyMade(KeyPublic):
    """A new key."""

    model_config = example({**_KEY, "key": f"trk_{_ID}_{'0' * 52}"})

    key: str = Field(description="The key itself. It is shown here and never again.")


class KeyPage(Wire):
    """Keys, newest first."""

    items: list[KeyPublic]
    next_cursor: Cursor


class ProjectCreate(Wire):
    """A project to make."""

    model_config = example({"name": "vision"})

    name: _ShortName


class ProjectPublic(Wire):
    """A project: its networks, data and jobs are seen by its own keys alone."""

    model_config = example(
        {"id": f"prj_{_ID}", "name": "vision", "created_at": "2030-01-31T12:00:00Z"}
    )

    id: str
    name: str
    created_at: datetime


class ProjectPage(Wire):
    """Projects, newest first; `default`, which is always there, comes last."""

    items: list[ProjectPublic]
    next_cursor: Cursor


class Me(Wire):
    """Who asks, and what that one may do."""

    model_config = example(
        {
            "name": "ci",
            "key_id": f"key_{_ID}",
            "project_id": "default",
            "scopes": ["read", "submit"],
            "limits": {
                "requests_per_minute": 6000,
                "request_burst": 1000,
                "queued_jobs": 1000,
                "upload_bytes": 536870912,
                "inputs_per_job": 100000,
            },
            "keys_needed": True,
        }
    )

    name: str = Field(description="Of the key; `anonymous` where nobody is asked for one.")
    key_id: str | None = Field(description="Of the key.")
    project_id: str = Field(description="Whose networks, data and jobs are seen.")
    scopes: list[ScopeName] = Field(description="What may be done with them.")
    limits: Limits = Field(description="How much of it; null for no limit.")
    keys_needed: bool = Field(description="Whether the service asks for keys.")


class AuditEntry(Wire):
    """Something that somebody did."""

    model_config = example(
        {
            "id": f"aud_{_ID}",
            "at": "2030-01-31T12:00:00Z",
            "project_id": "default",
            "actor": "ci",
            "key_id": f"key_{_ID}",
            "action": "delete_network",
            "target": f"net_{_ID}",
            "address": "192.0.2.7",
        }
    )

    id: str
    at: datetime
    project_id: str
    actor: str = Field(description="Name of the key; `anonymous` or `command line` without one.")
    key_id: str | None
    action: str = Field(description="Name of the operation, as in this document.")
    target: str | None = Field(description="Id of what was made, changed or deleted.")
    address: str | None = Field(description="Where the request came from.")


class AuditPage(Wire):
    """What was done, newest first."""

    items: list[AuditEntry]
    next_cursor: Cursor
